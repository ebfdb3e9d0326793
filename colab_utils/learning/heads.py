"""The simplest methods inside an episode: what meta-learning has to beat, on the same clips.

The same support, the same queries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from torch.nn import functional

from colab_utils.learning import recipe
from colab_utils.learning.tasks import Batch, Tasks, probabilities
from colab_utils.results.calibration import temperature


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


def logistic_regression(tasks: Tasks, c: float = 0.1) -> torch.Tensor:
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


class LinearHead(NamedTuple):
    """Logits x @ weight / sqrt(dim) + bias.

    The root makes a strength of the penalty mean the same for 75 features and for 700.

    Attributes:
        weight: float64 (dim, classes).
        bias: float64 (classes,).
    """

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, x: np.ndarray) -> np.ndarray:
        """float64 (..., n, classes) of x (..., n, dim)."""
        return x @ self.weight / np.sqrt(x.shape[-1]) + self.bias

    def of(self, classes: np.ndarray) -> LinearHead:
        """The head of some classes, by number or as bool (classes,)."""
        return LinearHead(self.weight[:, classes], self.bias[classes])


def balanced(y: np.ndarray, classes: int) -> np.ndarray:
    """Weights of utterances, float64 (n,), sum 1: each class that occurs has the same mass."""
    counts = np.bincount(y, minlength=classes)
    return 1 / (counts[y] * np.count_nonzero(counts))


def linear_head(
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    strength: float,
    prior: LinearHead | None = None,
    mass: np.ndarray | None = None,
) -> LinearHead:
    """Multinomial logistic regression whose weights stay near those of a prior.

    The least of sum_i mass_i CE(logits_i, y_i) + strength / 2 ||weight - prior.weight||^2: the most
    probable weights where they are normal about the prior's (Chelba & Acero 2004, Adaptation of
    maximum entropy capitalizer, EMNLP). The bias is free. Without a prior: about 0, as usual.

    Args:
        x: standardised features, float (n, dim).
        y: class ids, int (n,).
        classes: how many there are.
        strength: of the penalty.
        prior: such as the head of the source.
        mass: what each utterance counts, (n,), sum 1; default: every class that occurs the same.

    Returns:
        The head.
    """
    x = np.asarray(x, dtype=np.float64)
    if mass is None:
        mass = balanced(y, classes)
    if prior is None:
        prior = LinearHead(np.zeros((x.shape[1], classes)), np.zeros(classes))
    start = prior.logits(x)
    basis = None
    scaled = x / np.sqrt(x.shape[1])
    if x.shape[1] > len(x):
        # the weights differ from the prior's in the span of the utterances alone
        basis = np.linalg.qr(scaled.T).Q
        scaled = scaled @ basis
    truth = np.eye(classes)[y]
    size = scaled.shape[1] * classes

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        change, bias = values[:size].reshape(-1, classes), values[size:]
        logits = start + scaled @ change + bias
        log_p = log_softmax(logits, axis=1)
        wrong = mass[:, None] * (np.exp(log_p) - truth)
        gradient = scaled.T @ wrong + strength * change
        value = -(mass * (log_p * truth).sum(axis=1)).sum() + strength / 2 * (change**2).sum()
        return value, np.concatenate([gradient.ravel(), wrong.sum(axis=0)])

    how = {
        "jac": True,
        "method": "L-BFGS-B",
        "options": {"maxiter": 2000, "gtol": 1e-7, "ftol": 1e-13},
    }
    found = minimize(loss, np.zeros(size + classes), **how).x
    change, bias = found[:size].reshape(-1, classes), found[size:]
    if basis is not None:
        change = basis @ change
    return LinearHead(prior.weight + change, prior.bias + bias)


def source_head(
    x: np.ndarray, y: np.ndarray, classes: int, strength: float = recipe.PRIOR_STRENGTH
) -> LinearHead:
    """The recipe's head of the source: `linear_head` of all its training utterances.

    Args:
        x: standardised features, float (n, dim).
        y: class ids, int (n,).
        classes: how many there are.
        strength: of the penalty; the default where the head is the prior of a support's, and
            `recipe.SOURCE_STRENGTH` where it is all there is.
    """
    return linear_head(x, y, classes, strength)


def source_temperature(
    x: np.ndarray,
    y: np.ndarray,
    speakers: np.ndarray,
    classes: int,
    strength: float = recipe.PRIOR_STRENGTH,
) -> float:
    """The temperature of the source's head, from speakers that it has not heard.

    Args:
        x: standardised features, float (n, dim).
        y: class ids, int (n,).
        speakers: of each utterance, (n,); five groups of them are left out in turn.
        classes: how many there are.
        strength: as of `source_head`.

    Returns:
        What logits are to be divided by; 1 where there is one speaker alone.
    """
    groups = min(5, len(np.unique(speakers)))
    if groups < 2:
        return 1.0
    logits = np.zeros((len(y), classes))
    for train, test in GroupKFold(groups).split(x, y, speakers):
        logits[test] = source_head(x[train], y[train], classes, strength).logits(x[test])
    return temperature(logits, y, balanced(y, classes))


def source_as_prior(tasks: Tasks, source: LinearHead, source_t: float = 1.0) -> torch.Tensor:
    """The recipe: the source's weights are where those of the support begin, and what holds them.

    `linear_head` with the source's head as prior on the support of each task. Logits are divided by
    one temperature, which is found on support utterances left out in turn, a shot of each class at
    a time; with one shot it is the source's.

    Args:
        tasks: what is learnt and asked, as vectors.
        source: the head of the source, a column for each class.
        source_t: its temperature.

    Returns:
        Probabilities, float64 (tasks, n_query, classes).
    """
    support = vectors(tasks.support).cpu().double().numpy()
    query = vectors(tasks.query).cpu().double().numpy()
    active = tasks.support.active.cpu().numpy()
    y = tasks.support.y.cpu().numpy()
    scores = np.zeros((*query.shape[:2], active.shape[1]))
    for task in range(len(y)):
        there = np.flatnonzero(active[task])
        prior = source.of(there)
        own_y = np.searchsorted(there, y[task])

        def fitted(x: np.ndarray, y: np.ndarray, prior: LinearHead = prior) -> LinearHead:
            return linear_head(x, y, len(prior.bias), recipe.SUPPORT_STRENGTH, prior)

        t = _support_temperature(fitted, support[task], own_y, source_t)
        logits = fitted(support[task], own_y).logits(query[task])
        scores[task][:, there] = softmax(logits / t, axis=1)
    return torch.from_numpy(scores)


def _support_temperature(
    fitted: Callable[[np.ndarray, np.ndarray], LinearHead],
    x: np.ndarray,
    y: np.ndarray,
    source_t: float,
) -> float:
    """The temperature of a head on utterances of the support that it has not seen.

    The utterances of a class are dealt to as many parts, five at most.
    """
    place = np.zeros(len(y), dtype=int)
    for label in np.unique(y):
        place[y == label] = np.arange(np.sum(y == label))
    parts = place % min(5, place.max() + 1)
    if not parts.any():
        return source_t
    logits = []
    for part in range(parts.max() + 1):
        out = parts == part
        logits.append(fitted(x[~out], y[~out]).logits(x[out]))
    order = np.argsort(parts, kind="stable")
    return temperature(np.concatenate(logits), y[order])


def source_and_support(tasks: Tasks, x: np.ndarray, y: np.ndarray) -> torch.Tensor:
    """One regression on source and support together, whose support counts SUPPORT_MASS of all.

    Args:
        tasks: what is learnt and asked, as vectors.
        x: utterances of the source, standardised, float (n, dim).
        y: their class ids, int (n,).

    Returns:
        Probabilities, float64 (tasks, n_query, classes).
    """
    support = vectors(tasks.support).cpu().double().numpy()
    query = vectors(tasks.query).cpu().double().numpy()
    active = tasks.support.active.cpu().numpy()
    scores = np.zeros((*query.shape[:2], active.shape[1]))
    for task, own_y in enumerate(tasks.support.y.cpu().numpy()):
        there = np.flatnonzero(active[task])
        used = np.isin(y, there)
        both_x = np.concatenate([x[used], support[task]])
        both_y = np.searchsorted(there, np.concatenate([y[used], own_y]))
        n_source = used.sum()
        of_source = balanced(both_y[:n_source], len(there)) * (1 - recipe.SUPPORT_MASS)
        of_support = balanced(both_y[n_source:], len(there)) * recipe.SUPPORT_MASS
        mass = np.concatenate([of_source, of_support])
        head = linear_head(both_x, both_y, len(there), recipe.PRIOR_STRENGTH, mass=mass)
        scores[task][:, there] = softmax(head.logits(query[task]), axis=1)
    return torch.from_numpy(scores)
