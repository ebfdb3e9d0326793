"""The rows of a comparison, and what EMOFSL has to beat without any training of features.

The heads of `learning.heads`, and linear discriminant analysis, on the same support draws.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from sklearn.covariance import ledoit_wolf, shrunk_covariance
from torch.nn import functional

from colab_utils.learning.contract import Tested
from colab_utils.learning.heads import (
    logistic_regression,
    nearest_prototype,
    without_twin,
)
from colab_utils.learning.tasks import Batch, Tasks
from colab_utils.methods.emofsl.network import EmofslNet
from colab_utils.methods.emofsl.settings import (
    BASELINES,
    DECISIONS,
    METHODS,
    TUNING,
    EmofslConfig,
)
from colab_utils.methods.emofsl.source import Metric
from colab_utils.settings import RESULT, TRAINING, SettingError

TUNED = "tuned"  # the `Tested.kind` of a fine-tuned method; that of others is their name
# of the settings that each looks at
SCOPES = {
    **{name: (RESULT, name) for name in BASELINES},
    "source only": (RESULT, TRAINING),
    TUNED: (RESULT, TRAINING, TUNING),
}

Scaled = Callable[[torch.Tensor], torch.Tensor]  # features (..., dim), standardised


def untuned(config: EmofslConfig, names: Iterable[str]) -> Iterator[Tested]:
    """Rows of `settings.BASELINES`; "source prior" only where it is not what we recommend."""
    for name in without_twin(names, config):
        yield Tested(name, config.of_baseline(name), None, name, f"{config.shots}-shot")


def tuned_name(method: str, config: EmofslConfig) -> str:
    """What the runs of a fine-tuned method are called: "EMOFSL, head"."""
    return f"{method}, {config.decision}"


def tuned(
    config: EmofslConfig, decisions: Sequence[str], losses: Mapping[str, Metric | None]
) -> Iterator[Tested]:
    """Rows of fine-tuned methods: {name: a loss of one's own, or None}."""
    for name, own in losses.items():
        one = config.of_method(name if own is None else config.method)
        for decision in decisions:
            one = dataclasses.replace(one, decision=decision)
            yield Tested(tuned_name(name, one), one, own, TUNED, f"{config.shots}-shot")


def by_name(config: EmofslConfig, name: str) -> Tested:
    """A row by its name: a baseline, or "EMOFSL, head". Raises SettingError."""
    if name in BASELINES:
        label = f"{config.shots}-shot"
        return Tested(name, config.of_baseline(name), None, name, label)
    method, _, decision = name.partition(", ")
    decision = decision or config.decision
    if method not in METHODS or decision not in DECISIONS:
        both = ", ".join(f"'{one}, {DECISIONS[0]}'" for one in METHODS)
        known = f"{', '.join(BASELINES)}, {both}"
        raise SettingError(f"no method {name!r}: choose from {known} (or '{DECISIONS[1]}')")
    return next(tuned(config, [decision], {method: None}))


@torch.no_grad()
def as_tasks(
    scaled: Scaled, classes: int, support: torch.Tensor, y: torch.Tensor, query: torch.Tensor
) -> Tasks:
    """Support draws of one fold as Tasks, for `learning.heads` and `lda`.

    The query's labels are not known (0).

    Args:
        scaled: what is done to features: by the source's network, as its projection sees them, or
            by the scale of the source.
        classes: how many there are.
        support: float (draws, n, dim).
        y: class ids, int64 (n,), the same for all draws.
        query: float (n_query, dim), the same for all draws.
    """
    draws = len(support)
    known = y.expand(draws, -1)
    unknown = y.new_zeros(draws, len(query))
    active = torch.nn.functional.one_hot(known, classes).any(dim=1)
    query = scaled(query).expand(draws, -1, -1)
    return Tasks(Batch((scaled(support),), known, active), Batch((query,), unknown, active))


def baseline(
    kind: str,
    config: EmofslConfig,
    tasks: Tasks,
    module: EmofslNet,
    source: tuple[torch.Tensor, np.ndarray],
) -> torch.Tensor:
    """Probabilities of a baseline on support draws, float (draws, n_query, classes).

    Args:
        kind: "nearest prototype", "logistic regression" or "LDA".
        config: the settings.
        tasks: of `as_tasks`.
        module: the source's network.
        source: features of the source's training utterances, float (n, dim), and class ids (n,).
    """
    if kind == "nearest prototype":
        return nearest_prototype(of_length_1(tasks, config.nearest))
    if kind == "logistic regression":
        return logistic_regression(tasks, config.C)
    x = module.scaled(source[0]).detach().cpu().numpy()
    covariance = within_class_covariance(x, source[1])
    return lda(tasks, shrunk_covariance(covariance, config.shrinkage))


def of_length_1(tasks: Tasks, nearest: str) -> Tasks:
    """Features as "nearest prototype" compares them.

    Source: Wang et al. 2019, SimpleShot (arXiv 1911.04623): L2N, and CL2N with the mean of the
    support (there that of the base classes, which `as_tasks` has taken off).

    Args:
        tasks: of `as_tasks`.
        nearest: "plain" leaves them as they are; "length 1"; "centred" takes off the mean of the
            support first.
    """
    if nearest == "plain":
        return tasks
    middle = 0.0
    if nearest == "centred":
        middle = tasks.support.inputs[0].mean(dim=1, keepdim=True)
    found = []
    for batch in tasks:
        unit = functional.normalize(batch.inputs[0] - middle, dim=-1)
        found.append(batch._replace(inputs=(unit,)))
    return Tasks(*found)


def within_class_covariance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Covariance of utterances about the mean of their class, float64 (dim, dim).

    Shrunk by the rule of Ledoit & Wolf (2004).

    Args:
        x: float (n, dim).
        y: class ids (n,).

    Raises:
        SettingError: no class has two utterances.
    """
    residuals = np.array(x, dtype=np.float64)
    classes, counts = np.unique(y, return_counts=True)
    if counts.max() < 2:
        raise SettingError(
            "one utterance a class says nothing of the spread within a class: leave LDA out, or "
            "take another source"
        )
    for label in classes:
        residuals[y == label] -= x[y == label].mean(axis=0, dtype=np.float64)
    return ledoit_wolf(residuals, assume_centered=True)[0]


def lda(tasks: Tasks, covariance: np.ndarray) -> torch.Tensor:
    """Linear discriminant analysis with equal priors on the support of each task.

    It is the nearest prototype where the covariance within a class is that of unit noise. Equals
    scikit-learn's with solver="lsqr" and this covariance, without a decomposition for each draw.

    Args:
        tasks: of `as_tasks`.
        covariance: (dim, dim) within a class. That of the source's features serves one shot, too,
            which says nothing of the spread within a class.

    Returns:
        Probabilities, float64 (tasks, n_query, classes).
    """
    root = torch.linalg.cholesky(torch.as_tensor(covariance))
    white = []
    for batch in tasks:
        values = batch.inputs[0].cpu().double()
        values = torch.linalg.solve_triangular(root, values.mT, upper=False).mT
        white.append(Batch((values,), batch.y.cpu(), batch.active.cpu()))
    return nearest_prototype(Tasks(*white))
