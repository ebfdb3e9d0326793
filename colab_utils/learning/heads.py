"""The simplest methods inside an episode: what meta-learning has to beat, on the same clips.

The same support, the same queries.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from torch.nn import functional

from colab_utils.learning import recipe
from colab_utils.learning.tasks import Batch, Tasks, probabilities
from colab_utils.models.linear import (
    Known,
    LinearHead,
    balanced,
    balanced_masses,
    least,
    linear_head,
    linear_heads,
)
from colab_utils.results.calibration import temperature

C = 0.1  # of a logistic regression on a support
_PARTS = 5  # of a source, at most, that are left out in turn for a temperature


def vectors(batch: Batch) -> torch.Tensor:
    """One vector for each utterance of a batch.

    Args:
        batch: utterances as vectors, or as frames with the mask of those that are not padding.

    Returns:
        float (..., n, dim), the vectors as given; of frames their mean and standard deviation over
        time side by side, (..., n, 2 dim), padded frames left out.
    """
    if len(batch.inputs) == 1:
        return batch.inputs[0]
    values, mask = batch.inputs
    valid = mask.unsqueeze(-1).to(values)
    count = valid.sum(dim=-2).clamp(min=1)
    mean = (values * valid).sum(dim=-2) / count
    apart = values - mean.unsqueeze(-2)
    variance = (apart.square() * valid).sum(dim=-2) / count
    return torch.cat([mean, variance.sqrt()], dim=-1)


def class_means(x: torch.Tensor, y: torch.Tensor, classes: int) -> torch.Tensor:
    """The prototype of each class.

    Args:
        x: float (tasks, n, dim).
        y: class ids (tasks, n).
        classes: how many there are.

    Returns:
        float (tasks, classes, dim), 0 for a class without utterances.
    """
    member = functional.one_hot(y, classes).to(x)
    number = member.sum(dim=1).clamp(min=1).unsqueeze(-1)
    return member.transpose(1, 2) @ x / number


def chance(tasks: Tasks, seed: int = 0) -> torch.Tensor:
    """Guessing: equal probabilities of the competing classes, but for a nudge that breaks the tie.

    Args:
        tasks: whose queries are guessed.
        seed: of the nudge.

    Returns:
        float (tasks, n_query, classes).
    """
    y, active = tasks.query.y, tasks.query.active
    generator = torch.Generator().manual_seed(seed)
    shape = *y.shape, active.shape[1]
    nudge = 1e-3 * torch.rand(shape, generator=generator)
    return probabilities(nudge.to(y.device), active)


def nearest_prototype(tasks: Tasks) -> torch.Tensor:
    """Softmax of minus half the squared distance of each query to each class mean of the support.

    Returns:
        Probabilities, float (tasks, n_query, classes).
    """
    classes = tasks.support.active.shape[1]
    means = class_means(vectors(tasks.support), tasks.support.y, classes)
    # by differences: |a|^2 - 2ab + |b|^2 cancels where features are far from 0
    how = "donot_use_mm_for_euclid_dist"
    distance = torch.cdist(vectors(tasks.query), means, compute_mode=how)
    return probabilities(-0.5 * distance.square(), tasks.query.active)


def logistic_regression(tasks: Tasks, c: float = C) -> torch.Tensor:
    """Multinomial logistic regression on the support of each task.

    Fitted until the gradient of the mean loss is below 1e-8: at scikit-learn's 1e-4 probabilities
    are off by 0.001 to 0.3, with `c`.

    Args:
        tasks: what is learnt and asked.
        c: inverse strength of the L2 penalty.

    Returns:
        Probabilities, float64 (tasks, n_query, classes).
    """
    support = vectors(tasks.support).cpu().double().numpy()
    query = vectors(tasks.query).cpu().double().numpy()
    y = tasks.support.y.cpu().numpy()
    if support.shape[2] > support.shape[1]:
        # the weights lie in the span of the support: the same optimum in fewer coordinates
        axes = np.linalg.qr(support.swapaxes(1, 2)).Q
        support = support @ axes
        query = query @ axes
    scores = np.zeros((*query.shape[:2], tasks.support.active.shape[1]))
    for task, labels in enumerate(y):
        model = LogisticRegression(C=c, tol=1e-8, max_iter=10_000)
        model.fit(support[task], labels)
        scores[task][:, model.classes_] = model.predict_proba(query[task])
    return torch.from_numpy(scores)


# --- linear heads that know the source ------------------------------------------------------------

PRIOR, JOINT = "source prior", "source + support"
_VOTE = (
    "two linear heads vote, one fitted on the source and one fitted on the support with a head of"
    " the source as its prior"
)
# the rows of a few-shot table, and what they are
LINEAR = {
    recipe.RECOMMENDED: f"the recommended recipe, whatever else was set: {_VOTE}",
    PRIOR: f"{_VOTE}; features are normalised as set",
    JOINT: "one linear head fitted on source and support, which has half of the weight",
}


def without_twin(names: Iterable[str], config: recipe.StudySettings) -> list[str]:
    """`names` without PRIOR where features are normalised as we recommend: it is the same then."""
    same = config.normalising == config.recommended().normalising
    return [name for name in names if name != PRIOR or not same]


def linear_notes(kind: str, features: str, corpora: Iterable[str]) -> list[str]:
    """What one of LINEAR is, a sentence each.

    Args:
        kind: which one.
        features: the name of the front end.
        corpora: of all utterances.
    """
    told = [LINEAR[kind]]
    if kind == recipe.RECOMMENDED:
        told += recipe.features_note(features, corpora)
    return told


def linear_facts() -> dict[str, Any]:
    """The numbers that decide what a row of LINEAR predicts, for the identity of its run."""
    names = "SOURCE_STRENGTH", "PRIOR_STRENGTH", "SUPPORT_PRECISION", "SOURCE_TEMPERATURE"
    return {name.lower(): getattr(recipe, name) for name in (*names, "SURER", "SUPPORT_MASS")}


class SourceHeads(NamedTuple):
    """What linear heads know of a source.

    Attributes:
        alone: strongly held to 0, the best where no label of the target is known.
        prior: weakly held, the best as prior of the head of a support.
        corpora: how many the source has.
    """

    alone: LinearHead
    prior: LinearHead
    corpora: int = 1

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray, classes: int, corpora: int = 1) -> SourceHeads:
        """Both heads of all training utterances of the source.

        Args:
            x: standardised features, float (n, dim).
            y: class ids, int (n,).
            classes: how many there are.
            corpora: how many these utterances are from.
        """
        strengths = recipe.SOURCE_STRENGTH, recipe.PRIOR_STRENGTH
        alone, prior = (linear_head(x, y, classes, strength) for strength in strengths)
        return cls(alone, prior, corpora)


class Source:
    """The utterances of a source as linear heads know them.

    Args:
        x: standardised features, float (n, dim).
        y: class ids, int64 (n,).
        classes: how many there are.
        corpora: that of each utterance.
    """

    def __init__(self, x: torch.Tensor, y: torch.Tensor, classes: int, corpora: Iterable[str]):
        self.x, self.y = x.cpu().double().numpy(), y.cpu().numpy()
        self.classes = classes
        self.corpora = len(set(corpora))

    @functools.cached_property
    def heads(self) -> SourceHeads:
        """The heads of all of them, fitted once."""
        return SourceHeads.of(self.x, self.y, self.classes, self.corpora)

    def answer(self, kind: str, tasks: Tasks) -> torch.Tensor:
        """Probabilities by one of LINEAR, float64 (tasks, n_query, classes)."""
        if kind == JOINT:
            return source_and_support(tasks, self.x, self.y)
        return source_as_prior(tasks, self.heads)

    def head(self, kind: str, tasks: Tasks) -> tuple[LinearHead, list[int]]:
        """What answers the first of these tasks, and the class ids of its columns."""
        support = _Supports.of(tasks)
        found = self._fitted(kind, support)
        first = LinearHead(found.weight[0], found.bias[0])
        return first, support.there[0].tolist()

    def _fitted(self, kind: str, support: _Supports) -> LinearHead:
        """One of LINEAR, for each task."""
        return _joint(support, self.x, self.y) if kind == JOINT else _voted(support, self.heads)


def source_temperature(x: np.ndarray, y: np.ndarray, speakers: np.ndarray, classes: int) -> float:
    """The temperature of the source's head alone, from speakers that it has not heard.

    Args:
        x: standardised features, float (n, dim).
        y: class ids, int (n,).
        speakers: of each utterance, (n,); five groups of them are left out in turn.
        classes: how many there are.

    Returns:
        What logits are to be divided by; 1 where there is one speaker alone.
    """
    groups = min(_PARTS, len(np.unique(speakers)))
    if groups < 2:
        return 1.0
    logits = np.zeros((len(y), classes))
    for train, test in GroupKFold(groups).split(x, y, speakers):
        head = linear_head(x[train], y[train], classes, recipe.SOURCE_STRENGTH)
        logits[test] = head.logits(x[test])
    return temperature(logits, y, balanced(y, classes))


class _Supports(NamedTuple):
    """Tasks as arrays; classes are counted among the `ways` that compete in a task.

    Attributes:
        x: support features, float64 (tasks, n, dim).
        truth: whether a class is that of a support utterance, bool (tasks, n, ways).
        query: features, float64 (tasks, n_query, dim).
        there: the class ids that compete, int (tasks, ways).
        classes: how many there are in all.
    """

    x: np.ndarray
    truth: np.ndarray
    query: np.ndarray
    there: np.ndarray
    classes: int

    @classmethod
    def of(cls, tasks: Tasks) -> _Supports:
        """From tasks of vectors; as many classes compete in each."""
        support, query = tasks
        x, asked = vectors(support), vectors(query)
        number, classes = support.active.shape
        there = support.active.nonzero()[:, 1].reshape(number, -1)
        truth = support.y.unsqueeze(2) == there.unsqueeze(1)
        parts = x.double(), truth, asked.double(), there
        return cls(*(part.cpu().numpy() for part in parts), classes)

    def answers(self, logits: np.ndarray) -> torch.Tensor:
        """Probabilities with a column for each class, of logits (tasks, n_query, ways)."""
        found = torch.zeros(*logits.shape[:2], self.classes, dtype=torch.float64)
        columns = torch.from_numpy(self.there)[:, None].expand(logits.shape)
        return found.scatter_(2, columns, torch.from_numpy(logits).softmax(dim=2))


def source_as_prior(tasks: Tasks, source: SourceHeads) -> torch.Tensor:
    """The recipe, see `_voted`.

    Args:
        tasks: what is learnt and asked, as vectors; as many classes compete in each.
        source: the heads of the source, a column for each class.

    Returns:
        Probabilities, float64 (tasks, n_query, classes).
    """
    support = _Supports.of(tasks)
    return support.answers(_voted(support, source).logits(support.query))


def _voted(support: _Supports, source: SourceHeads) -> LinearHead:
    """The recipe: two linear heads vote, that of the source alone and that of the support.

    The head of the support is `linear_head` with the source's as prior: of strength
    SUPPORT_PRECISION over the number of support utterances, a normal distribution of weights that
    is the same for any number of shots. The source alone has a share of 1 / (1 + sqrt(shots)): all
    of it without a label, a fifth with sixteen. Logits are divided by temperatures before they are
    added, the support's by 1 + 1 / shots: the fewer clips are known, the less certain it is; the
    sum is multiplied by corpora ** SURER. (A temperature from support utterances or speakers that
    are left out in turn was no better: docs/recommended.md.)

    Returns:
        The sum of both, a linear head again, one for each task.
    """
    number, ways = support.truth.shape[1:]
    shots = number / ways
    mass = balanced_masses(support.truth)
    strength = recipe.SUPPORT_PRECISION / number
    prior = source.prior.of(support.there)
    head = linear_heads(support.x, support.truth, mass, prior, strength)
    share = 1 / (1 + np.sqrt(shots))
    of_source = share / recipe.SOURCE_TEMPERATURE
    of_support = (1 - share) / (1 + 1 / shots)
    surer = source.corpora**recipe.SURER
    both = zip(source.alone.of(support.there), head, strict=True)
    return LinearHead(*(surer * (of_source * one + of_support * other) for one, other in both))


def adapted_head(head: LinearHead, temperature: float, x: np.ndarray, y: np.ndarray) -> LinearHead:
    """The recipe (`_voted`) with a trained head as the source, for a few labelled utterances.

    Args:
        head: the trained one, which is also the prior.
        temperature: what its logits are divided by, found without these utterances.
        x: their features, standardised as those of the head, float64 (n, dim).
        y: their class ids among the head's classes, int (n,); some classes may be absent.

    Returns:
        Another head, whose logits need no temperature.
    """
    classes = head.weight.shape[1]
    truth = np.eye(classes, dtype=bool)[y][None]
    there = np.arange(classes)[None]
    support = _Supports(x[None], truth, x[None], there, classes)
    # the vote divides by SOURCE_TEMPERATURE: what is left is the head at its own temperature
    factor = recipe.SOURCE_TEMPERATURE / temperature
    alone = LinearHead(head.weight * factor, head.bias * factor)
    source = SourceHeads(alone, head)
    voted = _voted(support, source)
    return LinearHead(voted.weight[0], voted.bias[0])


def source_and_support(tasks: Tasks, x: np.ndarray, y: np.ndarray) -> torch.Tensor:
    """One regression on source and support together, whose support counts SUPPORT_MASS of all.

    Args:
        tasks: what is learnt and asked, as vectors; as many classes compete in each.
        x: utterances of the source, standardised, float (n, dim).
        y: their class ids, int (n,).

    Returns:
        Probabilities, float64 (tasks, n_query, classes).
    """
    support = _Supports.of(tasks)
    return support.answers(_joint(support, x, y).logits(support.query))


def _joint(support: _Supports, x: np.ndarray, y: np.ndarray) -> LinearHead:
    """The head of `source_and_support`, one for each task."""
    of_source = y[:, None] == support.there[:, None]
    sides = [
        (x, of_source, 1 - recipe.SUPPORT_MASS),
        (support.x, support.truth, recipe.SUPPORT_MASS),
    ]
    known = []
    for features, truth, share in sides:
        scaled = features.astype(np.float64) / np.sqrt(features.shape[-1])
        known.append(Known.of(scaled, truth, share * balanced_masses(truth), np.zeros(truth.shape)))
    weight = least(known, recipe.PRIOR_STRENGTH).numpy()
    return LinearHead(weight[:, :-1], weight[:, -1])
