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
from colab_utils.methods.maml.inner_loop import adapted_parameters, portions
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
    regime, outputs = "fixed", len(clips.labels)
    if kind == "maml":
        regime, outputs = config.regime, config.outputs(outputs)
    episode = episodes[0]
    tasks = make_tasks(clips, [episode], regime, outputs, config.max_frames)
    if kind in heads.LINEAR:
        first = episodes[:TASKS_AT_ONCE]
        together = make_tasks(clips, first, regime, outputs, config.max_frames)
        head, classes = source().head(kind, together)
        steps = [Linear.of_head(head)]
    elif kind == "nearest prototype":
        classes, steps = _nearest(tasks, heads.vectors(tasks.support), "half square", episode)
        if clips.frames:
            steps.insert(0, Moments())
    elif kind == "ProtoNet":
        with torch.no_grad():
            embedded = learner.embedded(tasks.support)
        classes, steps = _nearest(tasks, embedded, "square", episode)
        whole = dict(learner.module.named_parameters())
        steps.insert(0, _network(config, clips, outputs, whole, "embedding"))
    elif learner is not None:
        classes = episode.classes.tolist()
        columns = range(len(classes)) if regime == "permuted" else classes
        theta = _adapted(tested, learner, tasks, valid)
        network = _network(config, clips, outputs, theta, "logits")
        steps = [network, Chosen(columns)]
    else:
        raise ModelError(
            f"{tested.label} is there to be compared with: keep recommended, or a trained network"
        )
    labels = [clips.labels[number] for number in classes]
    frames = config.max_frames if clips.frames else 0
    return Predictor(labels, steps, clips.scale, frames=frames)


def _nearest(tasks: Tasks, support: torch.Tensor, measure: str, episode: Episode) -> Answer:
    """Distances to the class means of the support, (1, n, dim)."""
    number = tasks.support.active.shape[1]
    classes = episode.classes.tolist()
    centres = heads.class_means(support, tasks.support.y, number)[0][classes]
    return classes, [Nearest.of(centres, measure)]


def _adapted(
    tested: Tested, learner: Any, tasks: Tasks, valid: Callable[[], Tasks]
) -> dict[str, torch.Tensor]:
    """The network's parameters after its steps on the support."""
    (task,) = portions(tasks, 1)
    test = tested.test
    if tested.kind == "maml":
        rates = learner.rates(test.steps, test.inner_rate)
        return adapted_parameters(learner.module.network, learner.loss, rates, task)
    rates = {}
    if tested.kind == "pooled, fine-tuned":
        rates = rivals.chosen_rates(learner.module, valid())
    return adapted_parameters(learner.module, masked_cross_entropy, rates, task)


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
