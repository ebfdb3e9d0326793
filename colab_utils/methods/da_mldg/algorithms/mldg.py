"""MLDG and DA-MLDG: a step that helps on the source domains must help on a held-out one, too.

Which of the two it is, is a matter of one number: what the loss of the held-out domain counts
(`Mldg.weight`), 1 or the domain shift gamma.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from colab_utils.methods.da_mldg.algorithms.algorithm import (
    Algorithm,
    Batches,
    Joined,
    weighted_cross_entropy,
)
from colab_utils.methods.da_mldg.algorithms.gamma import GAMMA_RULES, domain_shift
from colab_utils.settings import SettingError

ORDERS = ("first", "second")
_MEMORY = 0.99  # of the running mean of gamma
_LEAST = 1e-12  # a running mean of 0 would divide by 0


class Mldg(Algorithm):
    """Meta-learning domain generalisation (Li et al. 2018, Algorithm 1; method_facts §6.3).

    In each step one domain V, every one equally likely, is held out of the others S'. With
    theta' = theta - inner_rate grad L(S'; theta), the step goes down
    L(S'; theta) + weight L(V; theta'). With another rule than "one" it is DA-MLDG (§4.4).

    Batch normalisation: S' at theta moves the running statistics; what is computed at theta'
    normalises with its own batch and leaves them alone. Keeps `loss`, its parts `meta_train_loss`
    and `meta_test_loss`, `weight`, `gamma` (unless rule is "one"), and `held_out`, the number of V
    in the order of names.

    Args:
        *arguments: of `Algorithm`.
        order: "second" differentiates through theta', "first" takes the inner gradient for a
            constant.
        rule: the weight. "one": 1 (MLDG). "gamma": gamma = |E(S'; theta') - E(V; theta')| with E
            the mean log-sum-exp of the logits, a number without gradient, from the adapted
            parameters (DA-MLDG as published). "1+gamma". "normalised": gamma over its running
            mean, since gamma starts near 0.
        inner_rate: learning rate of the inner step.
        clamp: (low, high) of the weight, such as (0.1, 3); None for no limits.
        apart: the domains of S' pass through the network one after the other, so that the first
            order takes the memory of one; the same gradient, but that batch normalisation then
            takes the statistics of each domain.
        **shared: of `Algorithm`.

    Raises:
        SettingError: for settings that do not exist.
    """

    least_domains = 2

    def __init__(
        self,
        *arguments: Any,
        order: str = "first",
        rule: str = "one",
        inner_rate: float = 0.01,
        clamp: tuple[float, float] | None = None,
        apart: bool = False,
        **shared: Any,
    ):
        super().__init__(*arguments, **shared)
        for name, value, known in (("order", order, ORDERS), ("rule", rule, GAMMA_RULES)):
            if value not in known:
                listed = ", ".join(map(repr, known))
                raise SettingError(f"{name} = {value!r}: choose from {listed}")
        if not inner_rate >= 0:
            raise SettingError(f"inner_rate = {inner_rate}: must be at least 0")
        if clamp is not None and not 0 <= clamp[0] <= clamp[1]:
            raise SettingError(f"clamp = {clamp}: 0 <= low <= high is needed")
        self.order, self.rule, self.inner_rate = order, rule, inner_rate
        self.clamp, self.apart = clamp, apart
        self.usual_gamma: float | None = None

    def gradients(self, batches: Batches) -> dict[str, Any]:
        """The core: an inner step on S', the loss of V after it, and the sum of both gradients."""
        held = self.held_out(batches)
        train = {name: batches[name] for name in batches if name != held}
        test = self.join({held: batches[held]})

        train_loss, slopes = self.inner_gradient(train)  # is in every .grad as well
        adapted = self.inner_step(slopes)
        logits = self.logits_after(adapted, test)
        gamma = None
        if self.rule != "one":  # the domain shift, a plain number
            gamma = domain_shift(self.seen_logits(adapted, train), logits)

        test_loss = weighted_cross_entropy(logits, test)
        weight = self.weight(gamma)
        (weight * test_loss).backward()  # adds its own to every .grad

        test_loss = test_loss.detach()
        values = {
            "loss": train_loss + weight * test_loss,
            "held_out": sorted(batches).index(held),
            "meta_train_loss": train_loss,
            "meta_test_loss": test_loss,
            "weight": weight,
        }
        if gamma is not None:
            values["gamma"] = gamma
        return values

    def theta(self) -> dict[str, nn.Parameter]:
        """The parameters that learn, by name."""
        named = self.network.named_parameters()
        return {name: parameter for name, parameter in named if parameter.requires_grad}

    def passes(self, train: Batches) -> Iterator[Joined]:
        """What of S' goes through the network at a time: all of it, or one domain after another."""
        if not self.apart:
            yield self.join(train)
            return
        for name in sorted(train):
            yield self.join({name: train[name]}, among=train)

    def inner_gradient(self, train: Batches) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """L(S'; theta) and its gradient, which is put into the parameters as well.

        In second order the returned gradient is something to differentiate again.
        """
        theta = list(self.theta().values())
        loss = torch.zeros((), device=theta[0].device)
        for part in self.passes(train):
            own = weighted_cross_entropy(self.network(*part.inputs)[0], part)
            if self.order == "first":
                own.backward()
                own = own.detach()
            loss = loss + own
        if self.order == "first":
            return loss, [parameter.grad for parameter in theta]
        slopes = torch.autograd.grad(loss, theta, create_graph=True, allow_unused=True)
        for parameter, slope in zip(theta, slopes, strict=True):
            if slope is None:
                parameter.grad = None
            else:
                copied = slope.detach().clone(memory_format=torch.contiguous_format)
                parameter.grad = copied
        return loss.detach(), list(slopes)

    def inner_step(self, slopes: list[torch.Tensor | None]) -> dict[str, torch.Tensor]:
        """Theta' = theta - inner_rate slope, by name; what has no slope stays."""
        adapted = {}
        for (name, one), slope in zip(self.theta().items(), slopes, strict=True):
            adapted[name] = one
            if slope is not None:
                adapted[name] = torch.sub(one, slope, alpha=self.inner_rate)
        return adapted

    def held_out(self, batches: Batches) -> str:
        """The domain V of this step, every one equally likely.

        With two domains or more neither side is ever empty.
        """
        return sorted(batches)[self.draw().integers(len(batches))]

    def logits_after(self, adapted: dict[str, torch.Tensor], batch: Joined) -> torch.Tensor:
        """Logits (n, classes) at theta'; running statistics move in copies that are thrown away."""
        copies = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        return functional_call(self.network, {**adapted, **copies}, batch.inputs)[0]

    @torch.no_grad()
    def seen_logits(self, adapted: dict[str, torch.Tensor], train: Batches) -> torch.Tensor:
        """Logits of all S' at theta', without gradient."""
        return torch.cat([self.logits_after(adapted, part) for part in self.passes(train)])

    def weight(self, gamma: float | None) -> float:
        """What the loss of the held-out domain counts: by the rule, within `clamp`.

        Args:
            gamma: the domain shift of this step; None for the rule "one". "normalised" moves its
                running mean, which starts at the first one.
        """
        if self.rule == "one":
            weight = 1.0
        elif self.rule == "gamma":
            weight = gamma
        elif self.rule == "1+gamma":
            weight = 1.0 + gamma
        else:
            if self.usual_gamma is None:
                self.usual_gamma = gamma
            else:
                self.usual_gamma = _MEMORY * self.usual_gamma + (1 - _MEMORY) * gamma
            weight = gamma / max(self.usual_gamma, _LEAST)
        if self.clamp is not None:
            weight = min(max(weight, self.clamp[0]), self.clamp[1])
        return weight

    def state(self) -> dict[str, Any]:
        """As in any algorithm, with the running mean of gamma."""
        return {**super().state(), "usual_gamma": self.usual_gamma}

    def load(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        super().load(state)
        self.usual_gamma = state["usual_gamma"]


class DaMldg(Mldg):
    """Domain-shift aware MLDG (King Gandhi et al. 2023; method_facts §4.4).

    It is MLDG whose rule is "gamma" unless told otherwise.
    """

    def __init__(self, *arguments: Any, rule: str = "gamma", **settings: Any):
        super().__init__(*arguments, rule=rule, **settings)
