"""What answers an episode as a model to keep: the network after its inner steps, or a head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from colab_utils.learning import heads
from colab_utils.learning.clips import Clips
from colab_utils.learning.contract import Tested
from colab_utils.learning.kept import ModelError
from colab_utils.learning.kept.predictor import Predictor
from colab_utils.learning.kept.steps import Chosen, Linear, Moments, Nearest, Network, Step
from colab_utils.learning.tasks import Tasks, masked_cross_entropy
from colab_utils.methods.maml import rivals
from colab_utils.methods.maml.episode_tasks import TASKS_AT_ONCE, make_tasks
from colab_utils.methods.maml.inner_loop import adapted_parameters, detached, portions
from colab_utils.methods.maml.settings import MamlConfig
from colab_utils.protocols.episodes import Episode

Answer = tuple[list[int], list[Step]]  # class ids of the columns, and the steps to their logits


def kept_answer(
    tested: Tested,
    learner: Any,
    clips: Clips,
    episodes: Sequence[Episode],
    source: Callable[[], heads.Source],
    valid: Callable[[], Tasks],
) -> Predictor:
    """What a method answers in the first episode, to keep.

    Args:
        tested: the method.
        learner: the trained one, or None.
        clips: of the rows that the episode was drawn from, scaled.
        episodes: the first is that whose support it adapts to; heads are fitted to all, as they
            were in the test: a solver that stops a step later differs by a millionth.
        source: gives what linear heads know of the source.
        valid: gives the validation episodes, as of `rivals.answer_of`.

    Raises:
        ModelError: a method that cannot be kept.
    """
    config, kind = tested.config, tested.kind
    if learner is not None and config.norm != "group":
        raise ModelError(
            f"{tested.label}: with norm = {config.norm!r} an answer depends on what else is asked; "
            "keep one that was trained with norm = 'group'"
        )
    if kind in heads.LINEAR:
        classes, steps = _linear(tested, clips, episodes[:TASKS_AT_ONCE], source())
    elif kind == "nearest prototype":
        classes, steps = _prototypes(tested, clips, episodes[0])
    elif kind == "ProtoNet":
        classes, steps = _prototypical(tested, learner, clips, episodes[0])
    elif learner is not None:
        classes, steps = _adapted(tested, learner, clips, episodes[0], valid)
    else:
        raise ModelError(
            f"{tested.label} is there to be compared with: keep recommended, or a trained network"
        )
    labels = [clips.labels[number] for number in classes]
    frames = config.max_frames if clips.frames else 0
    return Predictor(labels, steps, clips.scale, frames=frames)


def _tasks(tested: Tested, clips: Clips, episodes: Sequence[Episode]) -> Tasks:
    """Episodes as the method was asked them, see `make_tasks`."""
    regime, outputs = _regime(tested, clips)
    return make_tasks(clips, episodes, regime, outputs, tested.config.max_frames)


def _regime(tested: Tested, clips: Clips) -> tuple[str, int]:
    """Which class ids, and how many outputs."""
    number = len(clips.labels)
    if tested.kind == "maml":
        return tested.config.regime, tested.config.outputs(number)
    return "fixed", number


def _linear(
    tested: Tested, clips: Clips, episodes: Sequence[Episode], source: heads.Source
) -> Answer:
    """A linear head that knows the source."""
    head, classes = source.head(tested.kind, _tasks(tested, clips, episodes))
    return classes, [Linear.of_head(head)]


def _prototypes(tested: Tested, clips: Clips, episode: Episode) -> Answer:
    """The nearest class mean of the features themselves."""
    tasks = _tasks(tested, clips, [episode])
    classes, steps = _nearest(tasks, heads.vectors(tasks.support), "half square", episode)
    return classes, [Moments(), *steps] if clips.frames else steps


@torch.no_grad()
def _prototypical(tested: Tested, learner: Any, clips: Clips, episode: Episode) -> Answer:
    """The nearest class mean of the embeddings of a prototypical network."""
    tasks = _tasks(tested, clips, [episode])
    embedded = learner.embedded(tasks.support)
    classes, steps = _nearest(tasks, embedded, "square", episode)
    theta = detached(dict(learner.module.named_parameters()))
    embedding = _network(tested.config, clips, len(clips.labels), theta, "embedding")
    return classes, [embedding, *steps]


def _nearest(tasks: Tasks, support: torch.Tensor, measure: str, episode: Episode) -> Answer:
    """Distances to the class means of the support, (1, n, dim)."""
    y, active = tasks.support.y, tasks.support.active
    centres = heads.class_means(support, y, active.shape[1])[0]
    classes = episode.classes.tolist()
    step = Nearest.of(centres[classes], measure)
    return classes, [step]


def _adapted(
    tested: Tested, learner: Any, clips: Clips, episode: Episode, valid: Callable[[], Tasks]
) -> Answer:
    """A network after its steps on the support."""
    test, loss, network, rates = tested.test, masked_cross_entropy, learner.module, {}
    if tested.kind == "maml":
        network, loss = learner.module.network, learner.loss
        rates = learner.rates(test.steps, test.inner_rate)
    elif tested.kind == "pooled, fine-tuned":
        rates = rivals.chosen_rates(network, valid())
    (task,) = portions(_tasks(tested, clips, [episode]), 1)
    theta = adapted_parameters(network, loss, rates, task)
    regime, outputs = _regime(tested, clips)
    classes = episode.classes.tolist()
    columns = range(len(classes)) if regime == "permuted" else classes
    step = _network(tested.config, clips, outputs, theta, "logits")
    return classes, [step, Chosen(columns)]


def _network(
    config: MamlConfig, clips: Clips, outputs: int, theta: dict[str, torch.Tensor], gives: str
) -> Network:
    """A network with these parameters; of one with a projection behind it, the network alone."""
    inside = {
        name.removeprefix("network."): value
        for name, value in theta.items()
        if not name.startswith("projection.") or not config.projection
    }
    made = {"name": config.network, "dim": clips.dim, "n_classes": outputs}
    made |= {"norm": config.norm, "width": config.width, "frames": config.max_frames}
    return Network.of(inside, gives, **made)
