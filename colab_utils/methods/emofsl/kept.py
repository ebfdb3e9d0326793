"""What a method answers after the first support draw as a model to keep."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from colab_utils.learning import heads
from colab_utils.learning.clips import Scale
from colab_utils.learning.contract import Tested
from colab_utils.learning.kept import ModelError
from colab_utils.learning.kept.predictor import Predictor
from colab_utils.learning.kept.steps import (
    Dense,
    LayerWeights,
    Linear,
    Nearest,
    Relu,
    Step,
    UnitLength,
)
from colab_utils.learning.tasks import Tasks
from colab_utils.methods.emofsl.data import TransferData
from colab_utils.methods.emofsl.emofsl import fine_tune
from colab_utils.methods.emofsl.network import Parameters, forward
from colab_utils.methods.emofsl.pair_losses import EPS
from colab_utils.methods.emofsl.rivals import TUNED, as_tasks, of_length_1
from colab_utils.methods.emofsl.settings import EmofslConfig


def kept_transfer(study: Any, learner: Any, tested: Tested, fold: str) -> Predictor:
    """What a method of a `study.TransferStudy` answers after the first draw.

    Raises:
        ModelError: a method that cannot be kept.
    """
    config, kind = tested.config, tested.kind
    data = study.data(config)
    if kind in heads.LINEAR:
        return kept_linear(kind, data, config, fold)
    source = learner.module.state_dict()
    if kind == "nearest prototype":
        return kept_nearest(data, config, fold, source)
    support, y = data.support(data.draws(config, fold)[:1])
    labels = list(study.labels)
    if kind == "source only":
        return kept_network(labels, source, support[0], y, config, "head")
    if kind != TUNED:
        raise ModelError(
            f"{tested.label} is there to be compared with: keep recommended, nearest prototype, "
            "source only, or a method that was fine-tuned"
        )
    metric = study.metric(config, fold, tested.own)
    tuned = fine_tune(learner.module, support, y, config, metric)
    first = {name: value[0].detach() for name, value in tuned.items()}
    return kept_network(labels, first, support[0], y, config, config.decision)


def kept_linear(kind: str, data: TransferData, config: EmofslConfig, fold: str) -> Predictor:
    """A linear head that knows the source, of the first draw.

    It is fitted with those of all draws, as it was in the test: a solver that stops a step later
    differs by a millionth.
    """
    draws = data.draws(config, fold)
    scale, source = data.known_source(fold)
    support, y = data.support(draws)
    tasks = as_tasks(scale.applied, len(data.labels), support, y, support[0])
    head, classes = source.head(kind, tasks)
    labels = [data.labels[number] for number in classes]
    return Predictor(labels, [Linear.of_head(head)], scale)


def kept_nearest(
    data: TransferData, config: EmofslConfig, fold: str, parameters: Parameters
) -> Predictor:
    """The nearest prototype on features as the source's network scales them."""
    support, y = data.support(data.draws(config, fold)[:1])
    before = _scaling(parameters)
    scale = Scale(parameters["mean"], parameters["factor"])
    x = scale.applied(support)[0]
    for step in before:
        x = step(x)
    tasks = as_tasks(lambda values: values, len(data.labels), x[None], y, x)
    steps = list(before)
    if config.nearest != "plain":
        unit = UnitLength(x.shape[1])
        if config.nearest == "centred":
            unit.middle.copy_(x.mean(dim=0))
        steps.append(unit)
    tasks = of_length_1(tasks, config.nearest)
    steps.append(Nearest.of(_centres(tasks, len(data.labels)), "half square"))
    return Predictor(list(data.labels), steps, scale)


def kept_network(
    labels: list[str],
    parameters: Parameters,
    support: torch.Tensor,
    y: torch.Tensor,
    config: EmofslConfig,
    decision: str,
) -> Predictor:
    """The source's network, or what fine-tuning made of it, by one of both decisions.

    Args:
        labels: the emotions.
        parameters: of one network, see `network.forward`.
        support: features of the first draw, float (n, dim).
        y: their class ids.
        config: the settings.
        decision: "head" or "prototype".
    """
    scale = Scale(parameters["mean"], parameters["factor"])
    steps = _scaling(parameters)
    steps.append(Dense.of(parameters["projection.weight"], parameters["projection.bias"]))
    if decision == "head":
        if config.activation == "relu":
            steps.append(Relu())
        steps.append(Dense.of(parameters["head.weight"], parameters["head.bias"]))
        return Predictor(labels, steps, scale)
    known = forward(parameters, support, config.activation)[1]
    if config.normalise:
        steps.append(UnitLength(known.shape[-1]))
        known = functional.normalize(known, dim=-1, eps=EPS)
    centres = heads.class_means(known[None], y[None], len(labels))[0]
    measure = "cosine" if config.similarity == "cosine" else "distance"
    steps.append(Nearest.of(centres.detach(), measure))
    return Predictor(labels, steps, scale)


def _scaling(parameters: Parameters) -> list[Step]:
    """What stands between the scale and the projection: the weights of an encoder's layers."""
    if "layer_weights" not in parameters:
        return []
    weights = parameters["layer_weights"].detach()
    step = LayerWeights(len(weights))
    step.logits.copy_(weights)
    return [step]


def _centres(tasks: Tasks, classes: int) -> torch.Tensor:
    """The class means of the one support, (classes, dim)."""
    return heads.class_means(tasks.support.inputs[0], tasks.support.y, classes)[0]
