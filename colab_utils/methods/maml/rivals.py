"""How each method is trained and answers an episode: meta-learning, and what it has to beat.

Without training: guessing, nearest prototype, logistic regression. Trained on the same episodes:
prototypical networks (Snell et al. 2017). Trained on all utterances at once ("pooled", as they are
called in results): supervised pre-training, as it is or fine-tuned on the support.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from colab_utils.learning import heads, supervised
from colab_utils.learning.tasks import Batch, Tasks, accuracy, masked_cross_entropy, probabilities
from colab_utils.learning.training import ModuleLearner
from colab_utils.methods.maml.inner_loop import adapted_scores, best_tasks_at_once, some_tasks
from colab_utils.methods.maml.maml import MamlLearner
from colab_utils.methods.maml.settings import EpisodeConfig, MamlConfig
from colab_utils.methods.maml.training_side import TrainingSide
from colab_utils.models import network
from colab_utils.settings import SettingError

BASELINES = (
    "chance",
    "nearest prototype",
    "logistic regression",
    "ProtoNet",
    "pooled, zero-shot",
    "pooled, fine-tuned",
)
# The training that a method uses; a method that is not here trains nothing.
TRAINED_AS = {
    "maml": "maml",
    "ProtoNet": "protonet",
    "pooled, zero-shot": "pretraining",
    "pooled, fine-tuned": "pretraining",
}
PARTS = ("all", "head")
_RATES, _STEPS = (0.003, 0.01, 0.03, 0.1, 0.3), 20  # of fine-tuning, to choose from
_TASKS_AT_ONCE = 64  # what is held in memory when nothing is trained

Answer = Callable[[Tasks], torch.Tensor]


# --- training -------------------------------------------------------------------------------------


def make_learner(
    kind: str, side: TrainingSide, config: MamlConfig, n_labels: int, device: str
) -> ModuleLearner:
    """The learner of "maml", "protonet" or "pretraining" on the training side of a fold."""
    dim = side.train.dim
    if kind == "maml":
        outputs = config.ways if config.regime == "permuted" else n_labels
        return MamlLearner(
            config,
            dim,
            n_labels,
            side.sampler(config, config.regime, outputs),
            side.valid_tasks(config, config.regime, outputs),
            device,
        )
    if kind == "protonet":
        module = _network(config, dim, n_labels, device)
        return ProtoNetLearner(
            module,
            side.sampler(config, "permuted", config.ways),
            side.valid_tasks(config, "permuted", config.ways),
            rate=config.meta_rate,
        )
    weights = supervised.class_weights(side.train.y, n_labels).to(device)
    module = _network(config, dim, n_labels, device)
    return supervised.SupervisedLearner(
        module, side.batches(config), weights, side.valid_batch(config), rate=config.meta_rate
    )


def _network(config: MamlConfig, dim: int, n_labels: int, device: str) -> nn.Module:
    """A fresh network, seeded by config.seed."""
    torch.manual_seed(config.seed)
    module = network(
        config.network,
        dim,
        n_labels,
        norm=config.norm,
        width=config.width,
        frames=config.max_frames,
    )
    return module.to(device)


# --- answers --------------------------------------------------------------------------------------


def answer_of(
    kind: str,
    learner: Any,
    side: TrainingSide | None,
    config: MamlConfig,
    test: EpisodeConfig,
    n_labels: int,
) -> Answer:
    """How a method answers test episodes.

    Args:
        kind: "maml", or one of BASELINES.
        learner: the trained one that TRAINED_AS names, or None without one.
        side: for what is chosen in validation episodes, or None without training.
        config: the settings of the training.
        test: the settings of the test: inner steps and rate, seed of guesses.
        n_labels: how many labels there are.

    Returns:
        A function of Tasks to probabilities of the query, float (tasks, n_query, classes), or
        (tasks, steps + 1, n_query, classes) of a method that adapts by inner steps.
    """
    if kind == "maml":
        return lambda tasks: learner.scores(tasks, test.steps, test.inner_rate or None)
    if kind == "pooled, fine-tuned":
        return _fine_tuning(learner.module, side.valid_tasks(config, "fixed", n_labels))
    if kind == "pooled, zero-shot":
        return lambda tasks: _zero_shot(learner.module, tasks)
    if kind == "ProtoNet":
        return learner.scores
    if kind == "chance":
        return lambda tasks: heads.chance(tasks, test.seed)
    return {
        "nearest prototype": heads.nearest_prototype,
        "logistic regression": heads.logistic_regression,
    }[kind]


def _zero_shot(module: nn.Module, tasks: Tasks) -> torch.Tensor:
    """The pre-trained network as it is: no support is looked at."""
    number = len(tasks.query.y)
    return adapted_scores(module, masked_cross_entropy, {}, tasks, tasks_at_once=number)[:, 0]


def _fine_tuning(module: nn.Module, valid: Tasks) -> Answer:
    """Gradient steps on the support from the pre-trained weights.

    Rate, part and number of steps are those that do best in validation episodes.
    """
    best = choose_fine_tuning(module, valid, _RATES, steps=_STEPS)
    device = valid.query.y.device
    idle = torch.zeros(_STEPS - best.steps, device=device)  # curves of all seeds equally long
    rates = {}
    for name, values in fine_tune_rates(module, best.rate, best.steps, best.part).items():
        rates[name] = torch.cat([values, idle])
    at_once = best_tasks_at_once(module, str(device), _TASKS_AT_ONCE)

    def answer(tasks: Tasks) -> torch.Tensor:
        return adapted_scores(module, masked_cross_entropy, rates, tasks, tasks_at_once=at_once)

    return answer


# --- fine-tuning ----------------------------------------------------------------------------------


class FineTuning(NamedTuple):
    """What does best in validation episodes: `accuracy` is their mean."""

    rate: float
    part: str
    steps: int
    accuracy: float


def fine_tune_rates(
    module: nn.Module, rate: float, steps: int, part: str = "all"
) -> dict[str, torch.Tensor]:
    """One rate for gradient steps on all parameters, or on the head alone.

    Returns:
        {parameter: (steps,)}, for `inner_loop.adapted_scores`.

    Raises:
        SettingError: a part that is not in PARTS.
    """
    if part not in PARTS:
        raise SettingError(f"part = {part!r}: fine-tune {' or '.join(map(repr, PARTS))}")
    rates = {}
    for name, value in module.named_parameters():
        if part == "all" or "head" in name.split(".")[-2:-1]:
            rates[name] = torch.full((steps,), rate, dtype=value.dtype, device=value.device)
    return rates


def choose_fine_tuning(
    module: nn.Module,
    valid: Tasks,
    rates: Sequence[float],
    steps: int,
    parts: Sequence[str] = PARTS,
) -> FineTuning:
    """Rate, part and number of steps that do best in the validation episodes.

    Of equal ones the first part, rate and smallest number. The episodes are of the source: the
    target takes no part in the choice.

    Args:
        module: the pre-trained network.
        valid: the episodes.
        rates: to choose from.
        steps: at most so many, at least one.
        parts: to choose from.

    Raises:
        SettingError: there is nothing to choose from.
    """
    if not rates or not parts or steps < 1:
        raise SettingError(
            f"rates = {tuple(rates)}, parts = {tuple(parts)}, steps = {steps}: "
            "fine-tuning needs a rate, a part and a step at least"
        )
    y = valid.query.y
    at_once = best_tasks_at_once(module, str(y.device), min(_TASKS_AT_ONCE, len(y)))
    best = FineTuning(0.0, "", 0, -1.0)
    for part in parts:
        for rate in rates:
            scores = adapted_scores(
                module,
                masked_cross_entropy,
                fine_tune_rates(module, rate, steps, part),
                valid,
                tasks_at_once=at_once,
            )
            means = accuracy(scores, y).mean(dim=0)[1:]
            top = int(means.argmax())
            if float(means[top]) > best.accuracy:
                best = FineTuning(rate, part, top + 1, float(means[top]))
    return best


# --- prototypical networks ------------------------------------------------------------------------


class ProtoNetLearner(ModuleLearner):
    """Episodic training of an embedding in which the class means of the support are near their
    queries (Snell et al. 2017), one meta-batch a step, for `training.train`. Adam at `rate`.

    Args:
        module: a network, of which the embedding is used and the head is not.
        sample: sample(i) gives the Tasks of step i.
        valid: fixed Tasks whose mean query accuracy picks the checkpoint.
        rate: learning rate.
    """

    def __init__(
        self, module: nn.Module, sample: Callable[[int], Tasks], valid: Tasks, rate: float = 1e-3
    ):
        self.module, self.sample, self.valid = module, sample, valid
        self.optimiser = torch.optim.Adam(module.parameters(), lr=rate)

    def step(self, i: int) -> dict[str, float]:
        """One update on a meta-batch; the mean query loss."""
        tasks = self.sample(i)
        absent = ~tasks.query.active.unsqueeze(1)
        logits = self._logits(tasks).masked_fill(absent, float("-inf"))
        loss = functional.cross_entropy(logits.flatten(0, 1), tasks.query.y.flatten())
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"query_loss": loss.item()}

    def _logits(self, tasks: Tasks) -> torch.Tensor:
        """Minus the squared distances of the query's embeddings to the prototypes.

        Returns:
            float (tasks, n_query, classes).
        """
        support = self._embedded(tasks.support)
        query = self._embedded(tasks.query)
        means = heads.class_means(support, tasks.support.y, tasks.support.active.shape[1])
        return -(query.unsqueeze(2) - means.unsqueeze(1)).square().sum(dim=-1)

    def _embedded(self, batch: Batch) -> torch.Tensor:
        """Embeddings, float (tasks, n, embedding_dim), each task's by themselves: batch
        statistics are never those of several tasks.
        """

        def embedded(*inputs: torch.Tensor) -> torch.Tensor:
            return self.module(*inputs)[1]

        number = len(batch.y)
        if best_tasks_at_once(self.module, str(batch.y.device), number) > 1:
            return torch.vmap(embedded)(*batch.inputs)
        found = []
        for i in range(number):
            found.append(embedded(*(part[i] for part in batch.inputs)))
        return torch.stack(found)

    def validate(self) -> float:
        """Mean query accuracy of the validation episodes, in [0, 1]."""
        return float(accuracy(self.scores(self.valid), self.valid.query.y).mean())

    @torch.no_grad()
    def scores(self, tasks: Tasks) -> torch.Tensor:
        """Probabilities of the query, float (tasks, n_query, classes)."""
        found = []
        for first in range(0, len(tasks.query.y), _TASKS_AT_ONCE):
            chunk = some_tasks(tasks, slice(first, first + _TASKS_AT_ONCE))
            found.append(probabilities(self._logits(chunk), chunk.query.active))
        return torch.cat(found)
