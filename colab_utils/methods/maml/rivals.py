"""How each method is trained and answers an episode: meta-learning, and what it has to beat.

Without training: guessing, nearest prototype, logistic regression. Linear heads that know the
source: on source and support together, and with the source as prior, which is what we recommend.
Trained on the same episodes:
prototypical networks (Snell et al. 2017). Trained on all utterances at once ("pooled", as they are
called in results): supervised pre-training, as it is or fine-tuned on the support.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from colab_utils.learning import heads, supervised
from colab_utils.learning.contract import Tested
from colab_utils.learning.own import checked, in_one_sentence
from colab_utils.learning.recipe import RECOMMENDED
from colab_utils.learning.tasks import Batch, Tasks, accuracy, masked_cross_entropy, probabilities
from colab_utils.learning.training import ModuleLearner
from colab_utils.methods.maml.episode_tasks import TrainingSide
from colab_utils.methods.maml.inner_loop import (
    MOST_AT_ONCE,
    adapted_scores,
    portions,
    tasks_at_once,
)
from colab_utils.methods.maml.maml import (
    MamlLearner,
    MetaModel,
    make_network,
    names_of,
)
from colab_utils.methods.maml.published import other_features
from colab_utils.methods.maml.settings import (
    NETWORK,
    MamlConfig,
    both_regimes,
    other_episodes,
    used_by,
)
from colab_utils.settings import INPUT, SettingError, fields_of, with_settings

BASELINES = (
    RECOMMENDED,
    "chance",
    "nearest prototype",
    "logistic regression",
    heads.PRIOR,
    heads.JOINT,
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
# Of the settings that each looks at; MAML at all of them.
SCOPES = {
    **dict.fromkeys((*BASELINES, "own"), (INPUT,)),
    **dict.fromkeys(("ProtoNet", "pooled, zero-shot", "pooled, fine-tuned"), (NETWORK,)),
}
# Of fine-tuning, to choose from.
PARTS = ("all", "head")
RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
STEPS = 20

# what no setting says
CHOICES = {
    "logistic regression": [f"inverse strength of the L2 penalty C = {heads.C:g}"],
    "pooled, fine-tuned": [
        f"rate ({RATES[0]:g} to {RATES[-1]:g}), steps (up to {STEPS}) and part (all layers or the "
        "head) of the fine-tuning were picked in validation episodes"
    ],
}

Method = Callable[[Tasks], torch.Tensor]  # probabilities of the query


def by_name(
    config: MamlConfig, name: str, values: Mapping[str, Any]
) -> tuple[str, MamlConfig, dict[str, Any]]:
    """What a row of a table is, by its name.

    Args:
        config: of all rows.
        name: of BASELINES, or "MAML, fixed ids".
        values: settings that are otherwise: of MamlConfig, or else of the test.

    Returns:
        The `Tested.kind`, its settings, and those of the test.

    Raises:
        SettingError: a method or a setting that there is not.
    """
    known = {field.name for field in fields_of(config)}
    test = {key: value for key, value in values.items() if key not in known}
    trained = {key: value for key, value in values.items() if key in known}
    config = with_settings(config, **trained)
    models = both_regimes(config)
    if name in models:
        return "maml", models[name], test
    if name not in BASELINES:
        listed = ", ".join([*BASELINES, *models])
        raise SettingError(f"no method {name!r}: choose from {listed}")
    return name, config, test


# --- training -------------------------------------------------------------------------------------


def make_learner(kind: str, side: TrainingSide, n_labels: int, device: str) -> ModuleLearner:
    """The learner of "maml", "protonet" or "pretraining" on the training side of a fold."""
    config = side.config
    dim = side.train.dim
    if kind == "maml":
        model = MetaModel(config, dim, n_labels).to(device)
        outputs = config.outputs(n_labels)
        valid = side.valid_tasks(config.regime, outputs)
        return MamlLearner(config, model, lambda i: side.tasks(i, config.regime, outputs), valid)
    module = make_network(config, dim, n_labels).to(device)
    if kind == "protonet":
        valid = side.valid_tasks("permuted", config.ways)
        return ProtoNetLearner(
            module, lambda i: side.tasks(i, "permuted", config.ways), valid, config.meta_rate
        )
    weights = supervised.class_weights(side.train.y, n_labels).to(device)
    return supervised.SupervisedLearner(
        module, side.batch, weights, side.valid_batch(), rate=config.meta_rate
    )


def notes_of(tested: Tested, spec: Mapping[str, Any], corpora: Sequence[str]) -> list[str]:
    """What a reader has to know of a method, a sentence each.

    Args:
        tested: which one, with its settings.
        spec: of the features.
        corpora: of all utterances.
    """
    config, kind = tested.config, tested.kind
    notes = []
    if kind == "maml":
        notes += [f"class ids {config.regime}", *other_episodes(config, tested.test)]
        notes += other_features(config.preset, spec)
    if kind in heads.LINEAR:
        notes += heads.linear_notes(kind, spec["name"], corpora)
    return notes + CHOICES.get(kind, [])


def settings_of(kind: str, config: MamlConfig) -> MamlConfig:
    """The settings that one of BASELINES, or a method of the user's own, looks at.

    Args:
        kind: which one.
        config: all settings.
    """
    if kind == "chance":
        config = dataclasses.replace(config, normalisation="none")
    if kind not in heads.LINEAR:
        return used_by(TRAINED_AS.get(kind, ""), config)
    on_vectors = used_by("", dataclasses.replace(config, network="mlp"))
    return on_vectors.recommended() if kind == RECOMMENDED else on_vectors


# --- answers --------------------------------------------------------------------------------------


def answer_of(tested: Tested, learner: Any, valid: Callable[[], Tasks], n_labels: int) -> Method:
    """How a method answers test episodes.

    Args:
        tested: "maml", one of BASELINES or a method of the user's own, with the settings of the
            test: inner steps and rate, seed of guesses.
        learner: the trained one that TRAINED_AS names, or None without one.
        valid: gives the validation episodes with fixed class ids, for what is chosen in them.
        n_labels: how many labels there are.

    Returns:
        A function of Tasks to probabilities of the query, float (tasks, n_query, classes), or
        (tasks, steps + 1, n_query, classes) of a method that adapts by inner steps.
    """
    kind, test = tested.kind, tested.test
    if tested.own is not None:
        return own_answer(tested.name, tested.own, n_labels)
    if kind == "maml":
        return lambda tasks: learner.scores(tasks, test.steps, test.inner_rate)
    if kind == "pooled, fine-tuned":
        return _fine_tuning(learner.module, valid())
    if kind == "pooled, zero-shot":
        # the pre-trained network as it is: no support is looked at
        return lambda tasks: adapted_scores(learner.module, masked_cross_entropy, {}, tasks)
    if kind == "ProtoNet":
        return learner.scores
    if kind == "chance":
        return lambda tasks: heads.chance(tasks, test.seed)
    if kind == "logistic regression":
        return heads.logistic_regression
    return heads.nearest_prototype


def own_answer(name: str, own: Method, n_labels: int) -> Method:
    """A method of the user's own, whose answers are checked.

    Args:
        name: what figures call it.
        own: (Tasks) -> probabilities of the query, (tasks, n_query, labels).
        n_labels: how many labels there are.

    Returns:
        The same as a function that raises SettingError, in one sentence, where it fails or gives
        something else.
    """
    what = f"the method {name!r}, (tasks) -> probabilities of the query (tasks, n_query, labels)"

    def answer(tasks: Tasks) -> torch.Tensor:
        y = tasks.query.y
        with in_one_sentence(what):
            found = own(tasks)
        return checked(what, found, (*y.shape, n_labels), y)

    return answer


def _fine_tuning(module: nn.Module, valid: Tasks) -> Method:
    """Gradient steps on the support from the pre-trained weights.

    Rate, part and number of steps are those that do best in validation episodes.
    """
    rates = chosen_rates(module, valid)
    return lambda tasks: adapted_scores(module, masked_cross_entropy, rates, tasks)


def chosen_rates(module: nn.Module, valid: Tasks) -> dict[str, torch.Tensor]:
    """The rates of `choose_fine_tuning`, with steps of 0 up to STEPS: curves are equally long."""
    best = choose_fine_tuning(module, valid)
    rates = {}
    for name, values in fine_tune_rates(module, best.rate, best.steps, best.part).items():
        idle = values.new_zeros(STEPS - best.steps)
        rates[name] = torch.cat([values, idle])
    return rates


# --- fine-tuning ----------------------------------------------------------------------------------


class FineTuning(NamedTuple):
    """What does best in validation episodes.

    Attributes:
        rate: of each gradient step.
        part: of the network that is tuned, one of PARTS.
        steps: how many.
        accuracy: mean over the validation episodes, in [0, 1].
    """

    rate: float
    part: str
    steps: int
    accuracy: float


def fine_tune_rates(
    module: nn.Module, rate: float, steps: int, part: str
) -> dict[str, torch.Tensor]:
    """One rate for gradient steps on a part of the network, {parameter: (steps,)}."""
    weight = next(module.parameters())
    return {name: weight.new_full((steps,), rate) for name in names_of(module, part)}


def choose_fine_tuning(module: nn.Module, valid: Tasks) -> FineTuning:
    """Part, rate and number of steps, of PARTS, RATES and 1 to STEPS, that do best.

    Of equal ones the first part, rate and smallest number. The episodes are of the source: the
    target takes no part in the choice.

    Args:
        module: the pre-trained network.
        valid: the validation episodes.
    """
    best = FineTuning(0.0, "", 0, -1.0)
    for part in PARTS:
        for rate in RATES:
            rates = fine_tune_rates(module, rate, STEPS, part)
            scores = adapted_scores(module, masked_cross_entropy, rates, valid)
            by_step = accuracy(scores, valid.query.y).mean(dim=0)[1:]
            top = int(by_step.argmax())
            if float(by_step[top]) > best.accuracy:
                best = FineTuning(rate, part, top + 1, float(by_step[top]))
    return best


# --- prototypical networks ------------------------------------------------------------------------


class ProtoNetLearner(ModuleLearner):
    """Prototypical networks (Snell et al. 2017), one meta-batch a step, for `training.train`.

    The embedding is trained (Adam) so that queries are near the mean of their class' support.

    Args:
        module: a network, of which the embedding is used and the head is not.
        sample: sample(i) gives the Tasks of step i.
        valid: fixed Tasks whose mean query accuracy picks the checkpoint.
        rate: learning rate.
    """

    def __init__(
        self, module: nn.Module, sample: Callable[[int], Tasks], valid: Tasks, rate: float
    ):
        self.module = module
        self.sample = sample
        self.valid = valid
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
        support = self.embedded(tasks.support)
        query = self.embedded(tasks.query)
        classes = tasks.support.active.shape[1]
        prototypes = heads.class_means(support, tasks.support.y, classes)
        apart = query.unsqueeze(2) - prototypes.unsqueeze(1)
        return -apart.square().sum(dim=-1)

    def embedded(self, batch: Batch) -> torch.Tensor:
        """Embeddings, float (tasks, n, embedding_dim), each task's by themselves.

        So batch statistics are never those of several tasks.
        """

        def embedded(*inputs: torch.Tensor) -> torch.Tensor:
            return self.module(*inputs)[1]

        number = len(batch.y)
        if tasks_at_once(self.module, number) > 1:
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
        for some in portions(tasks, MOST_AT_ONCE):
            found.append(probabilities(self._logits(some), some.query.active))
        return torch.cat(found)
