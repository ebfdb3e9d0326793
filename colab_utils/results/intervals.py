"""How much a rate would change with other speakers: delete-one jackknife, Student's t.

What generalises to the next speaker is how much speakers differ, not how many clips or episodes
they gave. So each speaker in turn is left out of the same pooled UAR, and with S speakers

    V_speakers = (S - 1) / S * sum_i (UAR without i - their mean)^2
    V = V_speakers + variance between seeds (or draws) / their number
    interval = UAR +- t(df) * sqrt(V)        p = P(|t(df)| > |difference| / sqrt(V))

(Efron and Stein 1981, "The jackknife estimate of variance", Annals of Statistics 9(3), 586-596.) df
is S - 1, or fewer where few seeds or draws make most of V (Satterthwaite 1946, "An approximate
distribution of estimates of variance components", Biometrics Bulletin 2(6), 110-114). A difference
of two methods is treated alike: both lose the same speaker. So is one of two groups of speakers:
each speaker is left out of both groups, as one that is asked in one and supports the other may be,
and V_speakers is the sum of that over the speakers of one group and that over those of the other,
each with its own number (the jackknife of two samples: Arvesen 1969, "Jackknifing U-statistics",
Annals of Mathematical Statistics 40(6), 2076-2100). Where nobody supports, that is the sum of two
separate variances, and the interval that of Welch (1947, "The generalization of 'Student's'
problem", Biometrika 34(1-2), 28-35).

In few-shot tables a speaker is in the queries of some episodes and in the support of others.
Without the speaker there would be neither: the queries go, and with them the episodes (or draws)
that the speaker supports. The greater of this variance and that without the queries alone counts.

Assumed: speakers are a random sample and differ independently of each other; the training is given
(its speakers are not drawn again). How often the interval holds the true rate is measured:
docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from colab_utils.results import rates
from colab_utils.results.predictions import FILM

STEP_INTERVAL = "95 % interval over tasks: this corpus, these speakers"
LEAST = 4  # speakers; with two or three no interval keeps what it promises
EPISODE = ["seed", "fold", "draw", "task"]  # what names one support set
_LEAST_LEFT = 0.4  # share of the draws without a speaker; with fewer left, chance decides


class Estimate(NamedTuple):
    """A rate, or a difference of two, with its standard error.

    Attributes:
        value: a fraction.
        error: the standard error; NaN where none can be given.
        freedom: degrees of freedom of t.
    """

    value: float
    error: float
    freedom: float

    def limits(self, low: float, high: float) -> list[float] | None:
        """The 95 % interval within [low, high]; None where there is none."""
        if not self.error > 0:
            return None
        half = stats.t.ppf(0.975, self.freedom) * self.error
        lower = max(low, self.value - half)
        upper = min(high, self.value + half)
        return [float(lower), float(upper)]

    def p(self) -> float | None:
        """The two-sided p of "it is 0"; None where there is none."""
        if not self.error > 0:
            return None
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.freedom))


class Leaving(NamedTuple):
    """A UAR, and what becomes of it without each unit.

    Attributes:
        value: the UAR.
        without: float64 (ways, units): without each unit's queries; in a second row, where it can
            be told, without the episodes that it supports, too.
        repeated: the UAR of each seed (of each draw, where there is one seed).
        remarks: what has to be said about it.
    """

    value: float
    without: np.ndarray
    repeated: pd.Series
    remarks: list[str]

    def less(self, other: Leaving, samples: np.ndarray | None = None) -> Estimate:
        """The difference to another table of the same units.

        Args:
            other: the table.
            samples: as of `estimate`.
        """
        repeated = [self.repeated, other.repeated]
        if self.repeated.index.equals(other.repeated.index):
            repeated = [self.repeated - other.repeated]
        without = self.without - other.without
        return _estimate(self.value - other.value, without, repeated, samples)

    def estimate(self, samples: np.ndarray | None = None) -> Estimate:
        """The UAR with its standard error.

        Args:
            samples: (units,), the code of the sample that each unit is of; None: all of one.
        """
        return _estimate(self.value, self.without, [self.repeated], samples)


def _estimate(
    value: float,
    without: np.ndarray,
    repeated: Sequence[pd.Series],
    samples: np.ndarray | None = None,
) -> Estimate:
    """The variance of the jackknife and of repetitions, and their degrees of freedom."""
    if samples is None:
        samples = np.zeros(without.shape[1], dtype=int)
    variances, freedoms = [], []
    for sample in np.unique(samples):
        part = without[:, samples == sample]
        number = part.shape[1]
        if number > 1:
            apart = part - part.mean(axis=1, keepdims=True)
            variances.append((number - 1) / number * (apart**2).sum(axis=1))
            freedoms.append(number - 1)
    if not variances:
        return Estimate(value, np.nan, np.nan)
    most = sum(freedoms)
    way = np.argmax(np.sum(variances, axis=0))
    variances = [of_sample[way] for of_sample in variances]
    for values in repeated:
        if len(values) > 1:
            variances.append(values.var(ddof=1) / len(values))
            freedoms.append(len(values) - 1)
    variance, freedom = combined(variances, freedoms)
    # Rounding is no difference between speakers.
    error = float(np.sqrt(variance)) if variance > 1e-24 else np.nan
    return Estimate(value, error, float(min(most, freedom)))


def combined(variances: Sequence, freedoms: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """The sum of independent estimates of variances, and its degrees of freedom.

    After Satterthwaite (1946); NaN where the sum is 0.

    Args:
        variances: each a number, or float64 of one shape.
        freedoms: of each.
    """
    variances = np.asarray(variances)
    total = variances.sum(axis=0)
    squares = rates.ratio(variances**2, np.asarray(freedoms))
    freedom = rates.ratio(total**2, squares.sum(axis=0))
    return total, freedom


def of_mean(
    mean: np.ndarray, variances: Sequence, freedoms: Sequence, low: float = 0.0, high: float = 1.0
) -> np.ndarray:
    """The 95 % interval of means (of tasks: STEP_INTERVAL).

    Args:
        mean: float64 (n,).
        variances: of the mean, one entry or more of float64 (n,): parts that are summed.
        freedoms: of each part, int (n,), 0 where it has one value alone.
        low: least value of the mean.
        high: greatest.

    Returns:
        float64 (2, n); NaN where a part has no degree of freedom.
    """
    variance, freedom = combined(variances, freedoms)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    return np.clip([mean - half, mean + half], low, high)


def units_of(predictions: pd.DataFrame) -> tuple[pd.Series, str]:
    """Whom an interval is over: speakers, or films where there are fewer of these.

    Speakers of a dubbed film say the same scenes, and are no independent sample.

    Args:
        predictions: a table of `results.predictions`.

    Returns:
        "corpus/speaker" of each prediction and "speaker", or "corpus/film" and "film"; "" where a
        speaker is unknown.
    """
    names = predictions["corpus"] + "/"
    if FILM in predictions and (predictions[FILM] != "").all():
        films, speakers = names + predictions[FILM], names + predictions["speaker"]
        if films.nunique() < speakers.nunique():
            return films, "film"
    return (names + predictions["speaker"]).where(predictions["speaker"] != "", ""), "speaker"


def leave_out(
    predictions: pd.DataFrame,
    labels: Sequence[str],
    split: pd.DataFrame | None = None,
    asked: np.ndarray | None = None,
) -> Leaving:
    """The UAR, and the UAR without each unit (speaker or film).

    Args:
        predictions: a table of `results.predictions`, all speakers known.
        labels: the emotions in a fixed order.
        split: rows of EPISODE, utt_id, speaker ("<corpus>/<speaker>") and role: who supports which
            episode; None: unknown.
        asked: bool (predictions,), those that the UAR is of, such as of one group of speakers;
            None: all. Whoever else is there is left out, too, as support.

    Returns:
        `without` has all units in sorted order; it is NaN where fewer than LEAST are asked.
    """
    units = units_of(predictions)[0]
    index = pd.Index(list(labels))
    rows = pd.DataFrame({"cell": predictions.groupby(["seed", "draw"]).ngroup()})
    rows["seed"] = predictions["seed"].factorize(sort=True)[0]
    rows["unit"], names = units.factorize(sort=True)
    rows["episode"] = predictions.groupby(EPISODE).ngroup()
    rows["true"] = index.get_indexer(predictions["true"])
    rows["pred"] = index.get_indexer(predictions["pred"])
    rows["asked"] = True if asked is None else asked
    every = rows.value_counts().reset_index(name="number")
    entries = every[every["asked"]]
    sizes = len(names), len(index), len(index)
    counts = _Places(entries, "cell", sizes).count(entries["number"])
    of_cell = pd.Series(rates.uar(counts.sum(axis=1)))
    by = "seed" if predictions["seed"].nunique() > 1 else "draw"
    level_of = predictions.groupby(rows["cell"])[by].first()
    repeated = of_cell.groupby(level_of).mean()
    without, remarks = np.full((1, len(names)), np.nan), []
    if entries["unit"].nunique() >= LEAST:
        without = _without_queries(counts)[None]
        supports, remarks = _supports(predictions, split, every, pd.Index(names))
        if supports is not None:
            without = np.stack([without[0], _without_episodes(entries, supports, sizes)])
    return Leaving(float(of_cell.mean()), without, repeated, remarks)


class _Places:
    """Where each entry counts in confusion counts (groups, units, labels, labels)."""

    def __init__(self, entries: pd.DataFrame, group: str, sizes: tuple[int, int, int]):
        self.shape = (entries[group].max() + 1, *sizes)
        codes = entries[[group, "unit", "true", "pred"]].to_numpy()
        self.places = np.ravel_multi_index(codes.T, self.shape)

    def count(self, number: np.ndarray) -> np.ndarray:
        """The counts, float64, from the number of each entry."""
        counts = np.bincount(self.places, number, minlength=np.prod(self.shape))
        return counts.reshape(self.shape)


def _without_queries(counts: np.ndarray) -> np.ndarray:
    """The UAR without each unit, float64 (units,), from counts (cells, units, size, size)."""
    rest = counts.sum(axis=1, keepdims=True) - counts
    return np.nanmean(rates.uar(rest), axis=0)


def _without_episodes(
    entries: pd.DataFrame, supports: np.ndarray, sizes: tuple[int, int, int]
) -> np.ndarray:
    """The UAR without each unit and the episodes it supports, float64 (units,).

    The other units count as much as before, whichever of their episodes are left; all count of a
    unit of which none is. supports: bool (episodes, units).
    """
    places = _Places(entries, "seed", sizes)
    numbers, episode = entries["number"].to_numpy(), entries["episode"].to_numpy()
    every = places.count(numbers)
    number = every.sum(axis=(2, 3), keepdims=True)
    found = np.empty(supports.shape[1])
    for unit, supported in enumerate(supports.T):
        counts = places.count(numbers * ~supported[episode])
        left = counts.sum(axis=(2, 3), keepdims=True)
        counts = np.where(left > 0, counts * number / np.maximum(left, 1), every)
        counts[:, unit] = 0
        found[unit] = np.nanmean(rates.uar(counts.sum(axis=1)))
    return found


def _supports(
    predictions: pd.DataFrame, split: pd.DataFrame | None, entries: pd.DataFrame, names: pd.Index
) -> tuple[np.ndarray | None, list[str]]:
    """Who supports which episode, bool (episodes, units), or None; and what has to be said."""
    support = None if split is None else split[split["role"] == "support"]
    if support is None or support.empty or (support["speaker"] == "").any():
        several = len(predictions[["draw", "task"]].drop_duplicates()) > 1
        remark = "support speakers unknown: the interval leaves speakers out as query alone"
        return None, [remark] if several else []
    who = support["speaker"]
    units, kind = units_of(predictions)
    if kind == "film":
        who = support["utt_id"].map(dict(zip(predictions["utt_id"], units, strict=True)))
    episodes = predictions.groupby(EPISODE).size().index
    cells = support[EPISODE].astype({"fold": str})
    episode = episodes.get_indexer(pd.MultiIndex.from_frame(cells))
    unit = names.get_indexer(who)
    supports = np.zeros((len(episodes), len(names)), dtype=bool)
    asked = supports.copy()
    there = (episode >= 0) & (unit >= 0)
    supports[episode[there], unit[there]] = True
    asked[entries["episode"], entries["unit"]] = True
    left = (~supports & ~asked).sum() / max(1, (~asked).sum())
    if predictions["task"].nunique() == 1 and left < _LEAST_LEFT:
        remark = (
            "most draws have clips of each other speaker in their support: the interval leaves"
            " speakers out as query alone, and is one for these support speakers"
        )
        return None, [remark]
    if (unit < 0).any():
        return supports, [f"support {kind}s who are never tested: the interval takes them as given"]
    return supports, []


def over_speakers(
    predictions: pd.DataFrame, labels: Sequence[str], split: pd.DataFrame | None = None
) -> tuple[Leaving | None, str, list[str]]:
    """What intervals and p-values are made of, or why there are none.

    Args:
        predictions: a table of `results.predictions`.
        labels: the emotions in a fixed order.
        split: of the run, see `leave_out`; None: unknown.

    Returns:
        The leaving-out (None where there can be no interval), the unit, and what has to be said.
    """
    units, unit = units_of(predictions)
    number = units.nunique()
    if (units == "").any():
        remark = (
            "speakers unknown: no interval and no p, since clips of one speaker are alike and an"
            " interval over clips would be far too narrow; name the speakers"
        )
        return None, unit, [remark]
    if number < LEAST:
        whom = f"{number} test {unit}{'s' * (number > 1)}"
        return None, unit, [f"{whom}: no interval and no p, which need {LEAST} or more"]
    leaving = leave_out(predictions, labels, split)
    return leaving, unit, leaving.remarks
