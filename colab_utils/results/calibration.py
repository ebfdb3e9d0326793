"""Whether scores mean what they say: temperature, expected calibration error, risk and coverage.

How certain a classifier is of a prediction is its top probability. As all rates, what is measured
here is pooled over folds and tasks within a (seed, draw), then averaged over these. Predictions
that are equally certain share what is right and wrong among them: the order of rows is nothing.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import interpolate, optimize, special

from colab_utils.results.predictions import probability_columns
from colab_utils.results.rates import ratio

COOLEST, HOTTEST = 0.05, 20.0  # temperatures that are looked at
BINS = 15  # of the top probability, with equally many predictions in each
SHARES = np.arange(1, 101) / 100  # of the predictions that are kept
_CELL = ["seed", "draw"]


def temperature(scores: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The temperature T at which softmax(scores / T) makes the true labels most likely.

    It minimises the weighted mean of -log softmax(scores / T)[y], which is convex in 1 / T, within
    [COOLEST, HOTTEST] (Guo et al. 2017, "On calibration of modern neural networks", ICML, arXiv
    1706.04599, section 4.2). Give it clips that the classifier was not fitted on: on its own
    training clips it is nearly always right, and T says that it may be as sure as it likes.

    Args:
        scores: (n, labels), logits or log-probabilities; -inf where a label does not compete.
        y: int (n,), the column of the true label.
        weights: (n,), 0 or more, not all 0; None: all count alike.

    Returns:
        T: above 1 where the classifier is too sure, below 1 where it is not sure enough.

    Raises:
        ValueError: no clips, or one whose own label has no finite score; names its row.

    Example:
        >>> temperature(np.log(probabilities), y)
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not len(scores):
        raise ValueError("no clips to take a temperature from: pass one at least")
    rows = np.arange(len(scores))
    own = scores[rows, y]
    if not np.isfinite(own).all():
        row = int(np.argmin(np.isfinite(own)))
        raise ValueError(
            f"row {row} has score {own[row]} for its own label: no temperature makes it possible;"
            " leave out clips whose label the classifier does not know"
        )

    def loss(log_t: float) -> float:
        t = np.exp(log_t)
        likelihood = own / t - special.logsumexp(scores / t, axis=1)
        return -np.average(likelihood, weights=weights)

    bounds = np.log([COOLEST, HOTTEST])
    return float(np.exp(optimize.minimize_scalar(loss, bounds=bounds, method="bounded").x))


def with_temperature(probabilities: np.ndarray, t: float) -> np.ndarray:
    """Probabilities at another temperature: softmax(log p / t), row by row.

    The order of the labels in a row stays, and a probability of 0 stays 0: what a label that does
    not compete has, but also what rounding has made 0, so give it float64.

    Args:
        probabilities: (n, labels), in [0, 1], some of each row above 0.
        t: of `temperature`.

    Returns:
        float64 (n, labels); each row sums to 1.
    """
    with np.errstate(divide="ignore"):
        logits = np.log(np.asarray(probabilities, dtype=np.float64)) / t
    return special.softmax(logits, axis=1)


def certainty(predictions: pd.DataFrame) -> pd.Series:
    """The top probability of each prediction; NaN where the method gives no scores."""
    return predictions[probability_columns(predictions)].max(axis=1)


def _sums_of_surest(sure: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums of `values` over the 1, 2, ... n most certain; the equally certain share theirs alike.

    sure: (n,); values: (n, columns). Returns float64 (n, columns).
    """
    order = np.argsort(-sure, kind="stable")
    changes = np.diff(sure[order], append=np.nan)
    last = np.flatnonzero(changes)  # of each run of equally certain ones
    number = np.append(0, last + 1)
    sums = values[order].cumsum(axis=0)[last]
    sums = np.pad(sums.astype(float), ((1, 0), (0, 0)))
    # in between, sums grow evenly
    sums_of = interpolate.make_interp_spline(number, sums, k=1)
    every = np.arange(1, len(sure) + 1)
    return sums_of(every)


def reliability(predictions: pd.DataFrame) -> pd.DataFrame:
    """Top probability and accuracy in BINS bins of equally many predictions.

    Bins of equal mass (Nguyen and O'Connor 2015, "Posterior calibration and exploratory analysis
    for natural language processing models", EMNLP) have less bias than those of equal width
    (Roelofs et al. 2022, "Mitigating bias in calibration error estimation", AISTATS).

    Args:
        predictions: a table of `results.predictions` with scores.

    Returns:
        A row for each seed, draw and bin that holds a prediction, the most certain in bin 0: seed,
        draw, bin, n (predictions), confidence (mean top probability), accuracy (share of right
        ones), and by_luck: how far apart these two are on average in a bin of this size where the
        probabilities are right (normal approximation).
    """
    tables = []
    for (seed, draw), part in predictions.groupby(_CELL):
        table = _binned(certainty(part).to_numpy(), _right(part))
        tables.append(table.assign(seed=seed, draw=draw))
    return pd.concat(tables, ignore_index=True)


def _right(predictions: pd.DataFrame) -> np.ndarray:
    """Whether each prediction is right, bool (n,)."""
    return (predictions["true"] == predictions["pred"]).to_numpy()


def _binned(sure: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """The bins of `reliability` of one seed and draw."""
    confidence = -np.sort(-sure)
    hits = _sums_of_surest(sure, right[:, None])[:, 0]
    table = pd.DataFrame(
        {
            "bin": np.arange(len(sure)) * BINS // len(sure),
            "n": 1.0,
            "confidence": confidence,
            "accuracy": np.diff(hits, prepend=0),
            "by_luck": confidence * (1 - confidence),
        }
    )
    sums = table.groupby("bin").sum()
    found = sums.div(sums["n"], axis=0).assign(n=sums["n"])
    # of a variance to the mean distance of a normal variable from its mean
    found["by_luck"] = np.sqrt(2 / np.pi * found["by_luck"] / found["n"])
    return found.reset_index()


def calibration_error(bins: pd.DataFrame) -> float:
    """Expected calibration error: the mean of |accuracy - confidence| over bins, by their size.

    ECE of Guo et al. (2017), equation 5, with bins of equal mass.

    Args:
        bins: of `reliability`.

    Returns:
        A fraction, the mean over seeds and draws.
    """
    return _over_bins(bins, (bins["accuracy"] - bins["confidence"]).abs())


def error_by_luck(bins: pd.DataFrame) -> float:
    """The `calibration_error` that would be found if all probabilities were right.

    Accuracies of few clips are off by chance, so the error of a finite sample is never 0.

    Args:
        bins: of `reliability`.

    Returns:
        A fraction, expected.
    """
    return _over_bins(bins, bins["by_luck"])


def _over_bins(bins: pd.DataFrame, gap: pd.Series) -> float:
    """The mean of a gap over the predictions of a seed and draw, then over these."""
    cells = bins.assign(gap=gap * bins["n"]).groupby(_CELL)
    mean = cells["gap"].sum() / cells["n"].sum()
    return float(mean.mean())


def risk_under_coverage(predictions: pd.DataFrame) -> float:
    """Area under the risk-coverage curve: the mean error rate of the 1, 2, ... n most certain.

    The curve is that of Geifman and El-Yaniv (2017, "Selective classification for deep neural
    networks", NeurIPS), its area AURC of Geifman, Uziel and El-Yaniv (2019, ICLR). Where certainty
    says nothing of being right it is 1 - WA; lower is better.

    Args:
        predictions: a table of `results.predictions` with scores.

    Returns:
        A fraction, the mean over seeds and draws.
    """
    areas = []
    for _, part in predictions.groupby(_CELL):
        wrong = ~_right(part)
        errors = _sums_of_surest(certainty(part).to_numpy(), wrong[:, None])[:, 0]
        number = np.arange(1, len(part) + 1)
        areas.append(np.mean(errors / number))
    return float(np.mean(areas))


def uar_by_share(predictions: pd.DataFrame, labels: Sequence[str], sure: pd.Series) -> np.ndarray:
    """UAR of the share of predictions that is kept when the least certain are left out.

    Args:
        predictions: a table of `results.predictions`.
        labels: the emotions in a fixed order.
        sure: how certain each prediction is (`certainty`); with whether it is right, the errors are
            left out first.

    Returns:
        float64 (100,), for each of SHARES: the mean over seeds and draws; NaN where an emotion that
        occurs is left out altogether in one of them.
    """
    curves = []
    for _, part in predictions.groupby(_CELL):
        occurring = [label for label in labels if label in set(part["true"])]
        is_label = part["true"].to_numpy()[:, None] == np.array(occurring, dtype=object)
        is_hit = is_label & _right(part)[:, None]
        certain = sure[part.index].to_numpy(dtype=np.float64)
        number = _sums_of_surest(certain, is_label)
        hits = _sums_of_surest(certain, is_hit)
        last = np.ceil(SHARES * len(part) - 1e-9).astype(int) - 1
        recalls = ratio(hits[last], number[last])
        curves.append(recalls.mean(axis=1))
    return np.mean(curves, axis=0)


def surest(predictions: pd.DataFrame, per_cent: float) -> pd.Series:
    """Which predictions are kept when the least certain of each seed and draw are left out.

    Args:
        predictions: a table of `results.predictions` with scores.
        per_cent: how many are left out, in [0, 100), rounded down to whole predictions.

    Returns:
        bool for each prediction. Of the equally certain, some are drawn, always the same.
    """
    shuffled = predictions.sample(frac=1, random_state=0)
    cells = [shuffled[name] for name in _CELL]
    rank = certainty(shuffled).groupby(cells).rank(method="first")
    number = rank.groupby(cells).transform("size")
    kept = rank > np.floor(number * per_cent / 100 + 1e-9)
    return kept.reindex(predictions.index)
