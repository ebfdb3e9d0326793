"""Model-agnostic meta-learning for few-shot SER: the learner that the training loop drives.

Finn et al. 2017 (MAML, first and second order), Antoniou et al. 2019 (MAML++: multi-step loss, a
learnt rate for each layer and step, annealed order, cosine schedule), Raghu et al. 2020 (ANIL: the
head alone adapts).
"""

import math
from collections.abc import Callable

import torch
from torch import nn

from colab_utils.learning.tasks import Tasks, accuracy
from colab_utils.learning.training import ModuleLearner, TrainingError
from colab_utils.methods.maml.inner_loop import (
    MetaGradient,
    adapted_scores,
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


def engine_of(name: str) -> Callable[..., MetaGradient]:
    """Who differentiates through the inner loop, "func" or "higher": a `meta_gradient`."""
    if name == "higher":
        # imported late: the second engine is optional
        from colab_utils.methods.maml import inner_loop_higher

        return inner_loop_higher.meta_gradient
    return meta_gradient


def make_network(config: MamlConfig, dim: int, outputs: int) -> nn.Module:
    """A fresh network for features of `dim` columns, seeded by config.seed."""
    torch.manual_seed(config.seed)
    return network(
        config.network, dim, outputs, norm=config.norm, width=config.width, frames=config.max_frames
    )


def names_of(net: nn.Module, part: str) -> list[str]:
    """The names of a network's parameters: of "all", or of the "head" alone."""
    names = [name for name, _ in net.named_parameters()]
    if part == "all":
        return names
    return [name for name in names if "head" in name.split(".")]


class MetaModel(nn.Module):
    """A network and the rates of its inner loop: what meta-training learns, and what is kept of it.

    Args:
        config: which network, and what of it adapts.
        dim: columns of the features.
        n_labels: how many labels there are.
    """

    def __init__(self, config: MamlConfig, dim: int, n_labels: int):
        super().__init__()
        self.network = make_network(config, dim, config.outputs(n_labels))
        if config.contrastive != "none" and config.projection:
            self.network = WithProjection(self.network, config.projection)
        self._rates = nn.ParameterDict()
        for name in names_of(self.network, config.adapted):
            start = torch.full((config.steps,), config.inner_rate)
            rate = nn.Parameter(start, requires_grad=config.learn_rates)
            self._rates[name.replace(".", "/")] = rate  # torch allows no dot in a name

    def rates(self) -> dict[str, torch.Tensor]:
        """The rates of each adapted parameter, {name: (steps,)}, positive or not."""
        return {name.replace("/", "."): rate for name, rate in self._rates.items()}

    def rates_for(self, steps: int) -> dict[str, torch.Tensor]:
        """The rates for so many steps: those beyond the trained ones repeat the last."""
        found = {}
        for name, rate in self.rates().items():
            more = rate[-1:].expand(max(0, steps - len(rate)))
            found[name] = torch.cat([rate, more])[:steps]
        return found


class MamlLearner(ModuleLearner):
    """Meta-training, one meta-update a step, for `training.train`.

    A resumed training ends bit for bit like an uninterrupted one.

    Args:
        config: its settings.
        model: where it is to be computed.
        sample: sample(i) gives the Tasks of meta-update i; all randomness comes from i.
        valid: fixed Tasks of held-out speakers; the mean query accuracy after the last inner step
            picks the checkpoint.
    """

    def __init__(
        self, config: MamlConfig, model: MetaModel, sample: Callable[[int], Tasks], valid: Tasks
    ):
        self.config = config
        self.module = model
        self.sample = sample
        self.valid = valid
        self.loss = episode_loss(config.contrastive, config.contrastive_weight, config.temperature)
        self.meta_gradient = engine_of(config.engine)
        learnt = [value for value in model.parameters() if value.requires_grad]
        self.optimiser = torch.optim.Adam(learnt, lr=config.meta_rate)

    def step(self, i: int) -> dict[str, float]:
        """One meta-update; the mean query loss and accuracy after the last inner step."""
        progress = i / self.config.iterations
        found = self._gradient(self.sample(i), progress)
        loss = float(found.query_loss)
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
        return {"query_loss": loss, "query_accuracy": float(found.query_accuracy)}

    def _gradient(self, tasks: Tasks, progress: float) -> MetaGradient:
        """The meta-gradient of some tasks at `progress` of the training, from 0 to 1."""
        config = self.config
        multi_step_progress = 1.0
        if config.multi_step_share:
            multi_step_progress = progress / config.multi_step_share
        return self.meta_gradient(
            self.module.network,
            self.loss,
            self.module.rates(),
            tasks,
            step_weights(config.multi_step, config.steps, multi_step_progress),
            first_order_at(progress, config.order, config.order_share),
            config.recompute,
        )

    def _meta_rate(self, progress: float) -> float:
        """The learning rate at `progress`: a cosine down to a tenth, or constant."""
        if self.config.schedule == "constant":
            return self.config.meta_rate
        return self.config.meta_rate * (0.55 + 0.45 * math.cos(math.pi * progress))

    def validate(self) -> float:
        """Mean query accuracy of the validation episodes after the last inner step, in [0, 1]."""
        scores = self.scores(self.valid, self.config.steps)
        return float(accuracy(scores[:, -1], self.valid.query.y).mean())

    def scores(self, tasks: Tasks, steps: int, rate: float = 0.0) -> torch.Tensor:
        """Probabilities of the query after each inner step.

        Args:
            tasks: to answer.
            steps: inner steps.
            rate: one inner rate for all layers and steps; 0: the trained ones.

        Returns:
            float (tasks, steps + 1, n_query, classes).
        """
        return adapted_scores(self.module.network, self.loss, self.rates(steps, rate), tasks)

    def rates(self, steps: int, rate: float = 0.0) -> dict[str, torch.Tensor]:
        """The rates of so many inner steps, as of `scores`."""
        rates = self.module.rates_for(steps)
        if rate:
            for name, trained in rates.items():
                rates[name] = torch.full_like(trained, rate)
        return rates
