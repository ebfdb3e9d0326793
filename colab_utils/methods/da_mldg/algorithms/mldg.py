"""MLDG and DA-MLDG: a step that helps on the source domains must help on a held-out one, too.

Which of the two it is, is a matter of one number: what the loss of the held-out domain counts
(`Mldg.weight`), 1 or the domain shift gamma.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from colab_utils.methods.da_mldg.algorithms.algorithm import (
    Algorithm,
    Batches,
    Joined,
    weighted_cross_entropy,
)
from colab_utils.methods.da_mldg.algorithms.gamma import domain_shift
from colab_utils.methods.da_mldg.settings import DomainConfig

_MEMORY = 0.99  # of the running mean of gamma
_LEAST = 1e-12  # a running mean of 0 would divide by 0


class Mldg(Algorithm):
    """Meta-learning domain generalisation, and with the weight gamma DA-MLDG.

    In each step one domain V, drawn at random (`held_out`), is held out of the others S':

        theta' = theta - inner_rate grad L(S'; theta)
        gamma  = |E(S'; theta') - E(V; theta')|
        theta  = theta - learning_rate grad [ L(S'; theta) + weight L(V; theta') ]

    L: mean over domains of the mean cross-entropy. E: mean log-sum-exp of the logits
    (`gamma.energy`). "mldg" (Li et al. 2018, Learning to Generalize, Algorithm 1): the weight is 1.
    "da-mldg" (King Gandhi et al. 2023, PerCom Workshops): the weight is gamma, see `weight`. The
    last gradient passes through theta' with order = "second"; "first" treats the inner gradient
    as a constant. The outer step may be any optimiser's.

    Batch normalisation: S' at theta moves the running statistics; what is computed at theta'
    normalises with its own batch (gamma with the running statistics where `gamma_statistics` is
    "running") and leaves them alone. Keeps `loss`, its parts `meta_train_loss`
    and `meta_test_loss`, `weight`, `gamma` (DA-MLDG), and `held_out`, the number of V in the order
    of names.
    """

    least_domains = 2

    def __init__(self, network: nn.Module, config: DomainConfig):
        super().__init__(network, config)
        self.usual_gamma: float | None = None

    def gradients(self, batches: Batches) -> dict[str, Any]:
        """Put the gradient of L(S'; theta) + weight L(V; theta') by theta into every `.grad`.

        With order = "second" it passes through the inner step; "first" treats the gradient in that
        step as a constant. Every `.grad` is empty before.

        Args:
            batches: {source: its batch}.

        Returns:
            Numbers for the history: `loss`, `meta_train_loss`, `meta_test_loss`, `weight`, `gamma`
            (DA-MLDG), and `held_out`, the place of V in the order of names.
        """
        held_out = self.held_out(batches)
        seen = self.join({name: batches[name] for name in batches if name != held_out})  # S'
        unseen = self.join({held_out: batches[held_out]})  # V

        train_loss = weighted_cross_entropy(self.network(*seen.inputs)[0], seen)  # L(S'; theta)
        # theta'; its gradient, grad L(S'; theta), is in every .grad from here on
        adapted = self.inner_step(train_loss)
        unseen_logits = self.logits_at(adapted, unseen)
        test_loss = weighted_cross_entropy(unseen_logits, unseen)  # L(V; theta')

        gamma = None
        if self.config.algorithm == "da-mldg":
            gamma = self.gamma(adapted, seen, unseen, unseen_logits)
        weight = self.weight(gamma)
        (weight * test_loss).backward()  # adds weight grad L(V; theta') to every .grad

        values = {
            "loss": train_loss.detach() + weight * test_loss.detach(),
            "held_out": sorted(batches).index(held_out),
            "meta_train_loss": train_loss.detach(),
            "meta_test_loss": test_loss.detach(),
            "weight": weight,
        }
        if gamma is not None:
            values["gamma"] = gamma
        return values

    def held_out(self, batches: Batches) -> str:
        """The domain V of this step, every one equally likely.

        With "proportional" batches it is the domain of a random utterance, as in the released code:
        the larger, the likelier. With two domains or more neither side is ever empty.
        """
        names = sorted(batches)
        if self.config.batches == "proportional":
            sizes = [len(batches[name][1]) for name in names]
            names = np.repeat(names, sizes)
        return names[self.draw().integers(len(names))]

    def inner_step(self, train_loss: torch.Tensor) -> dict[str, torch.Tensor]:
        """The adapted weights theta' = theta - inner_rate grad L(S'; theta), {name: tensor}."""
        adapted = {}
        for name, slope in self.inner_gradient(train_loss).items():
            parameter = self.network.get_parameter(name)
            adapted[name] = torch.sub(parameter, slope, alpha=self.config.inner_rate)
        return adapted

    def inner_gradient(self, train_loss: torch.Tensor) -> dict[str, torch.Tensor]:
        """The gradient of L(S'; theta), {name: tensor}; also put into every `.grad`.

        There it is the first part of the outer gradient. With order = "second" what is returned
        can be differentiated once more; with "first" it is a constant. Parameters without effect
        on the loss are left out.
        """
        named = self.network.named_parameters()
        theta = {name: parameter for name, parameter in named if parameter.requires_grad}
        if self.config.order == "first":
            train_loss.backward()
            slopes = [parameter.grad for parameter in theta.values()]
        else:
            slopes = torch.autograd.grad(
                train_loss, list(theta.values()), create_graph=True, allow_unused=True
            )
        found = {}
        for (name, parameter), slope in zip(theta.items(), slopes, strict=True):
            if slope is not None:
                found[name] = slope
                if self.config.order == "second":
                    copied = slope.detach().clone(memory_format=torch.contiguous_format)
                    parameter.grad = copied
        return found

    def logits_at(self, adapted: dict[str, torch.Tensor], batch: Joined) -> torch.Tensor:
        """Logits (n, classes) at theta'; running statistics move in copies that are thrown away."""
        copies = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        return functional_call(self.network, adapted | copies, batch.inputs)[0]

    @torch.no_grad()
    def gamma(
        self,
        adapted: dict[str, torch.Tensor],
        seen: Joined,
        unseen: Joined,
        unseen_logits: torch.Tensor,
    ) -> float:
        """Gamma = |E(S'; theta') - E(V; theta')|.

        Args:
            adapted: theta'.
            seen: S'.
            unseen: V.
            unseen_logits: of V at theta', normalised by its own batch, (n, classes).
        """
        if self.config.gamma_statistics == "running":
            self.network.eval()
            unseen_logits = self.logits_at(adapted, unseen)
        seen_logits = self.logits_at(adapted, seen)
        self.network.train()
        return domain_shift(seen_logits, unseen_logits)

    def weight(self, gamma: float | None) -> float:
        """How much the loss of the held-out domain V counts.

        1 in MLDG. In DA-MLDG by `gamma_rule`: "gamma" as published; "1+gamma"; or "normalised",
        gamma over its running mean (0.99 of the old mean, 0.01 of the new value, beginning with
        the first), for logits and so gamma begin near 0. With a `clamp_high` above 0 the weight is
        kept between `clamp_low` and `clamp_high`.

        Args:
            gamma: the domain shift of this step; None in MLDG.

        Returns:
            The weight, 0 or more. "normalised" moves the running mean.
        """
        config = self.config
        if config.algorithm == "mldg":
            return 1.0
        if config.gamma_rule == "gamma":
            weight = gamma
        elif config.gamma_rule == "1+gamma":
            weight = 1.0 + gamma
        else:
            if self.usual_gamma is None:
                self.usual_gamma = gamma
            else:
                self.usual_gamma = _MEMORY * self.usual_gamma + (1 - _MEMORY) * gamma
            weight = gamma / max(self.usual_gamma, _LEAST)
        if config.clamp_high:
            weight = min(max(weight, config.clamp_low), config.clamp_high)
        return weight

    def state(self) -> dict[str, Any]:
        """As in any algorithm, with the running mean of gamma."""
        return super().state() | {"usual_gamma": self.usual_gamma}

    def load(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        super().load(state)
        self.usual_gamma = state["usual_gamma"]
