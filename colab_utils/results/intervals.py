"""The interval of a rate: bootstrap replicates that resample speakers first, then tasks, draws and
seeds.

Tasks redrawn from six speakers are not 600 independent facts: what generalises to the next speaker
is how much speakers differ. Each factor is resampled on its own level and the weights multiply
(Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 386-411). A draw's
support set serves all its test speakers, so a resampled draw (task, seed) is the same one for every
speaker; redrawing inside each speaker on its own would average that common effect away and give too
narrow an interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from colab_utils.results import rates

STEP_INTERVAL = "95 % interval over tasks: this corpus, these speakers"
FEW_SPEAKERS = 10  # below this an interval over speakers says little
# each has a random stream of its own, so two methods share their speakers
FACTORS = ("unit", "task", "draw", "seed")
_BLOCK = 20_000_000  # float64 values held at once (160 MB)


def resampling_units(predictions: pd.DataFrame) -> tuple[pd.Series, str]:
    """The unit of each prediction and what it is: "corpus/speaker", or the utt_id where any speaker
    is unknown ("utterance").
    """
    if (predictions["speaker"] == "").any():
        return predictions["utt_id"], "utterance"
    return predictions["corpus"] + "/" + predictions["speaker"], "speaker"


def resample_weights(number: int, n_boot: int, ci_seed: int, factor: str) -> np.ndarray:
    """How often each of `number` levels of a factor is picked in each replicate: int32 (n_boot,
    number), rows sum to `number`.
    """
    if number == 1:
        return np.ones((n_boot, 1), dtype=np.int32)
    rng = np.random.default_rng((ci_seed, FACTORS.index(factor)))
    weights = np.empty((n_boot, number), dtype=np.int32)
    step = max(1, _BLOCK // (4 * number))
    for first in range(0, n_boot, step):
        rows = min(step, n_boot - first)
        picks = rng.integers(0, number, size=(rows, number)) + number * np.arange(rows)[:, None]
        weights[first : first + rows] = np.bincount(picks.ravel(), minlength=rows * number).reshape(
            rows, number
        )
    return weights


def uar_replicates(
    predictions: pd.DataFrame, labels: Sequence[str], n_boot: int, ci_seed: int
) -> np.ndarray:
    """Bootstrap replicates of the UAR (pooled within a (seed, draw), averaged over these): float64
    (n_boot,), same seed, same values.

    Tables with the same units, tasks, draws and seeds are resampled alike, which makes the
    difference of two such arrays a paired bootstrap. A replicate without any picked (seed, draw) of
    an incomplete grid is NaN. Time grows with units x labels^2 x n_boot.
    """
    codes = {"unit": resampling_units(predictions)[0].factorize(sort=True)[0]}
    codes |= {name: predictions[name].factorize(sort=True)[0] for name in ("task", "draw", "seed")}
    sizes = {name: int(code.max()) + 1 for name, code in codes.items()}
    weights = {name: resample_weights(sizes[name], n_boot, ci_seed, name) for name in FACTORS}
    index = pd.Index(list(labels))
    answer = index.get_indexer(predictions["true"]) * len(index) + index.get_indexer(
        predictions["pred"]
    )
    total, mass = np.zeros(n_boot), np.zeros(n_boot)
    for seed, draw in sorted(set(zip(codes["seed"].tolist(), codes["draw"].tolist(), strict=True))):
        here = (codes["seed"] == seed) & (codes["draw"] == draw)
        cell = _Cell(codes["task"][here], codes["unit"][here], answer[here], len(index))
        values = np.concatenate(
            [rates.uar(block) for block in cell.resampled(weights["task"], weights["unit"])]
        )
        share = weights["seed"][:, seed] * weights["draw"][:, draw] * ~np.isnan(values)
        total, mass = total + share * np.nan_to_num(values), mass + share
    return np.divide(total, mass, out=np.full(n_boot, np.nan), where=mass > 0)


class _Cell:
    """The distinct (task, unit, answer) entries of one (seed, draw) and how many predictions each
    stands for.
    """

    def __init__(self, task: np.ndarray, unit: np.ndarray, answer: np.ndarray, n_labels: int):
        entries, self.number = np.unique(np.stack([task, unit, answer]), axis=1, return_counts=True)
        self.task, self.unit, self.answer = entries
        self.n_labels = n_labels

    def resampled(self, tasks: np.ndarray, units: np.ndarray) -> Iterator[np.ndarray]:
        """Confusion counts in every replicate, in blocks of float64 (replicates, labels, labels).

        tasks, units: how often each is picked, (replicates, tasks) and (replicates, units). Tasks
        are summed first where that is less work than going through every entry (many tasks of few
        speakers).
        """
        width = units.shape[1] * self.n_labels**2
        few = width < len(self.number)
        if few:
            by_task = sparse.csr_array(
                (self.number, (self.task, self.unit * self.n_labels**2 + self.answer)),
                shape=(tasks.shape[1], width),
            )
        else:
            of_answer = np.eye(self.n_labels**2)[self.answer] * self.number[:, None]
        step = max(1, _BLOCK // (width if few else len(self.number)))
        for first in range(0, len(units), step):
            task, unit = (
                weights[first : first + step].astype(np.float64) for weights in (tasks, units)
            )
            if few:
                pooled = (
                    unit[:, None, :] @ (task @ by_task).reshape(len(unit), unit.shape[1], -1)
                )[:, 0]
            else:
                pooled = (
                    unit[:, self.unit]
                    if tasks.shape[1] == 1
                    else task[:, self.task] * unit[:, self.unit]
                ) @ of_answer
            yield pooled.reshape(-1, self.n_labels, self.n_labels)


def row_weights(rows: pd.DataFrame, units: Sequence[str], n_boot: int, ci_seed: int) -> np.ndarray:
    """How often each row counts in each bootstrap replicate: float64 (n_boot, rows), the product of
    the picks of its `units` (columns).
    """
    weights = np.ones((n_boot, len(rows)))
    for unit in units:
        codes, levels = rows[unit].factorize(sort=True)
        weights *= resample_weights(len(levels), n_boot, ci_seed, unit)[:, codes]
    return weights


def interval(replicates: np.ndarray) -> np.ndarray:
    """The 2.5th and 97.5th percentile of bootstrap replicates (n_boot, columns): float64 (2,
    columns); NaN where a column has no value.
    """
    found = np.full((2, replicates.shape[1]), np.nan)
    there = ~np.isnan(replicates).all(axis=0)
    found[:, there] = np.nanpercentile(replicates[:, there], [2.5, 97.5], axis=0)
    return found


def uar_interval(
    predictions: pd.DataFrame, labels: Sequence[str], n_boot: int, ci_seed: int
) -> tuple[list[float] | None, str, list[str]]:
    """The 95 % interval of the UAR: what stands on every figure.

    Args:
        predictions: a table of `results.predictions`.
        labels: the emotions in a fixed order.
        n_boot: resamples; 0: none.
        ci_seed: their seed.

    Returns:
        The limits (None where there is no interval), the unit that is resampled first, and what
        has to be said about it.
    """
    units, unit = resampling_units(predictions)
    number = units.nunique()
    remarks = []
    if unit == "utterance":
        remarks.append(
            "speakers unknown: the interval resamples utterances and is too narrow for new speakers"
        )
    elif number == 1:
        return None, unit, ["one test speaker: an interval over speakers does not exist"]
    elif number < FEW_SPEAKERS:
        remarks.append(f"{number} test speakers: the interval is indicative")
    if n_boot == 0:
        return None, unit, [*remarks, "no interval: no resamples"]
    if number == 1:
        return None, unit, [*remarks, "no interval: one utterance"]
    replicates = uar_replicates(predictions, labels, n_boot, ci_seed)
    limits = np.nanpercentile(replicates, [2.5, 97.5])
    return [float(limit) for limit in limits], unit, remarks
