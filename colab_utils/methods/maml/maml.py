"""Model-agnostic meta-learning for few-shot SER: the learner that the training loop drives.

Finn et al. 2017 (MAML, first and second order), Antoniou et al. 2019 (multi-step loss, learnable
per-layer per-step rates, derivative-order annealing), Raghu et al. 2020 (ANIL: the head alone
adapts); method_facts §1, §6.1, §6.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from colab_utils.learning.tasks import Tasks, accuracy
from colab_utils.learning.training import ModuleLearner, TrainingError
from colab_utils.methods.maml.inner_loop import (
    MetaGradient,
    adapted_scores,
    best_tasks_at_once,
    meta_gradient,
)
from colab_utils.methods.maml.losses import (
    WithProjection,
    episode_loss,
    first_order_at,
    step_weights,
)
from colab_utils.methods.maml.settings import MamlConfig
from colab_utils.models import network

_TASKS_AT_ONCE = 64  # of a test: each holds its own weights after every step


def engine_of(name: str) -> Callable[..., MetaGradient]:
    """Who differentiates through the inner loop, "func" or "higher": a `meta_gradient`."""
    if name == "higher":
        # late: the second engine is optional
        from colab_utils.methods.maml import inner_loop_higher

        return inner_loop_higher.meta_gradient
    return meta_gradient


class MetaModel(nn.Module):
    """A network and the rates of its inner loop: what meta-training learns, and what is kept of it.

    Args:
        net: the network.
        adapted: names of the parameters that the inner loop adapts.
        inner_rate: where each rate starts.
        steps: inner steps.
        learn: whether rates are learnt.
    """

    def __init__(
        self, net: nn.Module, adapted: Iterable[str], inner_rate: float, steps: int, learn: bool
    ):
        super().__init__()
        self.network = net
        start = torch.full((steps,), inner_rate, dtype=next(net.parameters()).dtype)
        self._rates = nn.ParameterDict()
        for name in adapted:
            rate = nn.Parameter(start.clone(), requires_grad=learn)
            self._rates[name.replace(".", "/")] = rate

    def rates(self, steps: int | None = None) -> dict[str, torch.Tensor]:
        """Rates of each adapted parameter, {name: (steps,)}, positive or not.

        Args:
            steps: how many (default: as trained); further steps repeat the last trained one.
        """
        rates = {name.replace("/", "."): rate for name, rate in self._rates.items()}
        if steps is None:
            return rates
        found = {}
        for name, rate in rates.items():
            more = rate[-1:].expand(max(0, steps - len(rate)))
            found[name] = torch.cat([rate, more])[:steps]
        return found


def make_model(config: MamlConfig, dim: int, n_labels: int) -> MetaModel:
    """A fresh network for features of `dim` columns, seeded by config.seed, with its rates."""
    torch.manual_seed(config.seed)
    outputs = n_labels if config.regime == "fixed" else config.ways
    net = network(
        config.network, dim, outputs, norm=config.norm, width=config.width, frames=config.max_frames
    )
    if config.contrastive != "none" and config.projection:
        net = WithProjection(net, config.projection)
    adapted = []
    for name, _ in net.named_parameters():
        if config.adapted == "all" or name.split(".")[-2] == "head":
            adapted.append(name)
    return MetaModel(net, adapted, config.inner_rate, config.steps, config.learn_rates)


class MamlLearner(ModuleLearner):
    """Meta-training, one meta-update a step, for `training.train`.

    A resumed training ends bit for bit like an uninterrupted one.

    Args:
        config: its settings.
        dim: columns of the features.
        n_labels: how many labels there are.
        sample: sample(i) gives the Tasks of meta-update i; all randomness comes from i.
        valid: fixed Tasks of held-out speakers; the mean query accuracy after the last inner step
            picks the checkpoint.
        device: where to compute.
    """

    def __init__(
        self,
        config: MamlConfig,
        dim: int,
        n_labels: int,
        sample: Callable[[int], Tasks],
        valid: Tasks,
        device: str = "cpu",
    ):
        self.config, self.sample, self.valid = config, sample, valid
        self.module = make_model(config, dim, n_labels).to(device)
        self.loss = episode_loss(config.contrastive, config.contrastive_weight, config.temperature)
        self.meta_gradient = engine_of(config.engine)
        learnt = [value for value in self.module.parameters() if value.requires_grad]
        self.optimiser = torch.optim.Adam(learnt, lr=config.meta_rate)
        at_once = best_tasks_at_once(self.module.network, device, config.meta_batch)
        self.tasks_at_once = 1 if config.contrastive != "none" else at_once

    def step(self, i: int) -> dict[str, float]:
        """One meta-update; the mean query loss and accuracy after the last inner step."""
        progress = i / self.config.iterations
        found = self._gradient(self.sample(i), progress)
        loss = float(found.query_losses[-1])
        if not math.isfinite(loss):
            raise TrainingError(
                f"the query loss is {loss} at step {i + 1}, after {self.config.steps} inner steps "
                f"at inner_rate = {self.config.inner_rate:g}: lower inner_rate, steps or "
                f"meta_rate = {self.config.meta_rate:g}"
            )
        for name, parameter in self.module.network.named_parameters():
            parameter.grad = found.gradients[name]
        for name, rate in self.module.rates().items():
            rate.grad = found.rate_gradients[name] if self.config.learn_rates else None
        if self.config.clip:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.config.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self._meta_rate(progress)
        self.optimiser.step()
        return {"query_loss": loss, "query_accuracy": float(found.query_accuracy[-1])}

    def _gradient(self, tasks: Tasks, progress: float) -> MetaGradient:
        """The meta-gradient of some tasks at `progress` of the training, from 0 to 1."""
        config = self.config
        share = min(1.0, progress / config.multi_step_share) if config.multi_step_share else 1.0
        weights = step_weights(config.multi_step, config.steps, share)
        first_order = first_order_at(progress, config.order, config.order_share)
        return self.meta_gradient(
            self.module.network,
            self.loss,
            self.module.rates(),
            tasks,
            weights,
            first_order=first_order,
            tasks_at_once=self.tasks_at_once,
        )

    def _meta_rate(self, progress: float) -> float:
        """The learning rate at `progress`: a cosine down to a tenth, or constant."""
        if self.config.schedule == "constant":
            return self.config.meta_rate
        return self.config.meta_rate * (0.55 + 0.45 * math.cos(math.pi * progress))

    def validate(self) -> float:
        """Mean query accuracy of the validation episodes after the last inner step, in [0, 1]."""
        return float(accuracy(self.scores(self.valid)[:, -1], self.valid.query.y).mean())

    def scores(
        self, tasks: Tasks, steps: int | None = None, rate: float | None = None
    ) -> torch.Tensor:
        """Probabilities of the query after each inner step.

        Args:
            tasks: to answer.
            steps: inner steps; default: as trained.
            rate: one inner rate for all layers and steps instead of the trained ones.

        Returns:
            float (tasks, steps + 1, n_query, classes).
        """
        rates = {}
        for name, values in self.module.rates(steps or self.config.steps).items():
            trained = values.detach()
            rates[name] = trained if rate is None else torch.full_like(trained, rate)
        at_once = 1
        if self.tasks_at_once > 1:
            at_once = min(len(tasks.query.y), _TASKS_AT_ONCE)
        return adapted_scores(self.module.network, self.loss, rates, tasks, tasks_at_once=at_once)
