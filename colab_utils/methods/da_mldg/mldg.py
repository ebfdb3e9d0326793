"""MLDG and DA-MLDG: a step that helps on the source domains must also help on one that was held out of it."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from colab_utils.methods.da_mldg.algorithm import Algorithm, Batches, Joined, cross_entropy
from colab_utils.settings import SettingError

ORDERS = ("first", "second")
GAMMA_RULES = ("one", "gamma", "1+gamma", "normalised")
_MEMORY = 0.99               # of the running mean of gamma
_LEAST = 1e-12               # a running mean of 0 would divide by 0


class Mldg(Algorithm):
    """Meta-learning domain generalisation (Li et al. 2018, Algorithm 1; method_facts §6.3), and with another rule DA-MLDG (§4.4).

    In each step one domain V, every one equally likely, is held out of the others S'. With theta' = theta - inner_rate grad L(S'; theta),
    the step goes down L(S'; theta) + weight L(V; theta'). order: "second" differentiates through theta', "first" takes the inner gradient
    for a constant. rule: weight = 1 ("one": MLDG); gamma = |E(S'; theta') - E(V; theta')| with E the mean log-sum-exp of the logits, a
    weight without gradient, from the adapted parameters ("gamma": DA-MLDG as published); 1 + gamma; or gamma over its running mean
    ("normalised"), since gamma starts near 0. clamp: (low, high) of the weight, such as (0.1, 3). apart: the domains of S' pass through the
    network one after the other, so that the first order takes the memory of one; the same gradient, but that batch normalisation
    then takes the statistics of each domain.

    Batch normalisation: S' at theta moves the running statistics; what is computed at theta' normalises with its own batch and leaves
    them alone. Keeps `loss`, its parts `meta_train_loss` and `meta_test_loss`, `weight`, `gamma` (unless rule is "one"), and `held_out`,
    the number of V in the order of names. Raises SettingError for settings that do not exist.
    """
    least_domains = 2

    def __init__(self, *arguments: Any, order: str = "first", rule: str = "one", inner_rate: float = 0.01,
                 clamp: tuple[float, float] | None = None, apart: bool = False, **shared: Any):
        super().__init__(*arguments, **shared)
        for name, value, known in (("order", order, ORDERS), ("rule", rule, GAMMA_RULES)):
            if value not in known:
                raise SettingError(f"{name} = {value!r}: choose from {', '.join(map(repr, known))}")
        if not inner_rate >= 0:
            raise SettingError(f"inner_rate = {inner_rate}: must be at least 0")
        if clamp is not None and not 0 <= clamp[0] <= clamp[1]:
            raise SettingError(f"clamp = {clamp}: 0 <= low <= high is needed")
        self.order, self.rule, self.inner_rate, self.clamp, self.apart, self.usual_gamma = order, rule, inner_rate, clamp, apart, None

    def gradients(self, batches: Batches) -> dict[str, Any]:
        """The core: an inner step on S', the loss of V after it, and the sum of both gradients in the parameters."""
        held = self.held_out(batches)
        train, test = {name: batches[name] for name in batches if name != held}, self.join({held: batches[held]})
        theta = {name: parameter for name, parameter in self.network.named_parameters() if parameter.requires_grad}

        train_loss, slopes = self.inner_gradient(list(theta.values()), train)         # is in every .grad as well
        adapted = {name: one if slope is None else torch.sub(one, slope, alpha=self.inner_rate)
                   for (name, one), slope in zip(theta.items(), slopes, strict=True)}
        seen = None if self.rule == "one" else energy(self.seen_logits(adapted, train))
        logits = self.logits_after(adapted, test)
        gamma = None if seen is None else abs(seen - energy(logits))
        test_loss, weight = cross_entropy(logits, test), self.weight(gamma)
        (weight * test_loss).backward()                                               # adds its own, in place
        kept = {"meta_train_loss": train_loss, "meta_test_loss": test_loss.detach(), "weight": weight, "gamma": gamma}
        return {"loss": train_loss + weight * test_loss.detach(), "held_out": sorted(batches).index(held),
                **{name: value for name, value in kept.items() if value is not None}}

    def passes(self, train: Batches) -> Iterator[Joined]:
        """What of S' goes through the network at a time: all of it, or one domain after the other."""
        if not self.apart:
            yield self.join(train)
        else:
            yield from (self.join({name: train[name]}, among=train) for name in sorted(train))

    def inner_gradient(self, theta: list[nn.Parameter], train: Batches) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """L(S'; theta); its gradient is put into the parameters and returned, in second order as something to differentiate again."""
        loss = torch.zeros((), device=theta[0].device)
        for part in self.passes(train):
            own = cross_entropy(self.network(*part.inputs)[0], part)
            if self.order == "first":
                own.backward()
                own = own.detach()
            loss = loss + own
        if self.order == "first":
            return loss, [parameter.grad for parameter in theta]
        slopes = list(torch.autograd.grad(loss, theta, create_graph=True, allow_unused=True))
        for parameter, slope in zip(theta, slopes, strict=True):
            parameter.grad = None if slope is None else slope.detach().clone(memory_format=torch.contiguous_format)
        return loss.detach(), slopes

    def held_out(self, batches: Batches) -> str:
        """The domain V of this step, every one equally likely: with two or more neither side is ever empty."""
        return sorted(batches)[self.draw().integers(len(batches))]

    def logits_after(self, adapted: dict[str, torch.Tensor], batch: Joined) -> torch.Tensor:
        """Logits (n, classes) at theta'; running statistics move in copies, which are thrown away."""
        copies = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        return functional_call(self.network, {**adapted, **copies}, batch.inputs)[0]

    @torch.no_grad()
    def seen_logits(self, adapted: dict[str, torch.Tensor], train: Batches) -> torch.Tensor:
        """Logits of all S' at theta', without gradient."""
        return torch.cat([self.logits_after(adapted, part) for part in self.passes(train)])

    def weight(self, gamma: float | None) -> float:
        """What the meta-test loss counts, by the rule; "normalised" moves the running mean of gamma, which starts at the first one."""
        if self.rule == "normalised":
            self.usual_gamma = gamma if self.usual_gamma is None else _MEMORY * self.usual_gamma + (1 - _MEMORY) * gamma
            weight = gamma / max(self.usual_gamma, _LEAST)
        else:
            weight = {"one": 1.0, "gamma": gamma, "1+gamma": 1.0 + (gamma or 0.0)}[self.rule]
        return weight if self.clamp is None else min(max(weight, self.clamp[0]), self.clamp[1])

    def state(self) -> dict[str, Any]:
        """As in any algorithm, with the running mean of gamma."""
        return {**super().state(), "usual_gamma": self.usual_gamma}

    def load(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        super().load(state)
        self.usual_gamma = state["usual_gamma"]


class DaMldg(Mldg):
    """Domain-shift aware MLDG (King Gandhi et al. 2023; method_facts §4.4): MLDG whose rule is "gamma" unless told otherwise."""

    def __init__(self, *arguments: Any, rule: str = "gamma", **settings: Any):
        super().__init__(*arguments, rule=rule, **settings)


def energy(logits: torch.Tensor) -> float:
    """E: the mean over utterances of log sum_c exp(z_c), of logits (n, classes); minus the usual free energy at temperature 1."""
    return float(torch.logsumexp(logits.detach(), dim=1).mean())
