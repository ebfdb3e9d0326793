"""The interval of a rate: bootstrap replicates that resample speakers, tasks, draws and seeds.

Tasks redrawn from six speakers are not 600 independent facts: what generalises to the next speaker
is how much speakers differ. Each factor is resampled on its own level and the weights multiply
(Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 386-411). A draw's
support set serves all its test speakers, so a resampled draw (task, seed) is the same one for every
speaker; redrawing inside each speaker on its own would average that common effect away and give too
narrow an interval.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from colab_utils.results import rates

STEP_INTERVAL = "95 % interval over tasks: this corpus, these speakers"
FEW_SPEAKERS = 10  # below this an interval over speakers says little
# Each has a random stream of its own, so that two methods share their speakers.
FACTORS = ("unit", "task", "draw", "seed")
_BLOCK = 100  # replicates computed at once


def resampling_units(predictions: pd.DataFrame) -> tuple[pd.Series, str]:
    """What the bootstrap resamples first: speakers, or utterances where a speaker is unknown.

    Args:
        predictions: a table of `results.predictions`.

    Returns:
        "corpus/speaker" of each prediction and "speaker", or its utt_id and "utterance".
    """
    if (predictions["speaker"] == "").any():
        return predictions["utt_id"], "utterance"
    return predictions["corpus"] + "/" + predictions["speaker"], "speaker"


def resample_weights(number: int, n_boot: int, ci_seed: int, factor: str) -> np.ndarray:
    """How often each level of a factor is picked in each replicate.

    Args:
        number: of levels; one is picked once each time.
        n_boot: of replicates.
        ci_seed: the seed.
        factor: one of FACTORS.

    Returns:
        int32 (n_boot, number); rows sum to `number`.
    """
    weights = np.ones((n_boot, number), dtype=np.int32)
    if number > 1:
        rng = np.random.default_rng((ci_seed, FACTORS.index(factor)))
        for replicate in weights:
            picks = rng.integers(0, number, size=number)
            replicate[:] = np.bincount(picks, minlength=number)
    return weights


def uar_replicates(
    predictions: pd.DataFrame, labels: Sequence[str], n_boot: int, ci_seed: int
) -> np.ndarray:
    """Bootstrap replicates of the UAR (pooled within a (seed, draw), averaged over these).

    Tables with the same units, tasks, draws and seeds are resampled alike, which makes the
    difference of two such arrays a paired bootstrap. Time grows with units x labels^2 x n_boot.

    Args:
        predictions: a table of `results.predictions`.
        labels: the emotions in a fixed order.
        n_boot: of replicates.
        ci_seed: same seed, same values.

    Returns:
        float64 (n_boot,); NaN for a replicate without any picked (seed, draw) of an incomplete
        grid.
    """
    factors = predictions.assign(unit=resampling_units(predictions)[0])
    codes, weights = pd.DataFrame(), {}
    for name in FACTORS:
        codes[name], levels = factors[name].factorize(sort=True)
        weights[name] = resample_weights(len(levels), n_boot, ci_seed, name)
    index = pd.Index(list(labels))
    true = index.get_indexer(predictions["true"])
    codes["answer"] = true * len(index) + index.get_indexer(predictions["pred"])
    total = np.zeros(n_boot)
    mass = np.zeros(n_boot)
    for (seed, draw), rows in codes.groupby(["seed", "draw"]):
        values = _replicates_of_cell(rows, len(index), weights["task"], weights["unit"])
        share = weights["seed"][:, seed] * weights["draw"][:, draw] * ~np.isnan(values)
        total += share * np.nan_to_num(values)
        mass += share
    return rates.ratio(total, mass)


def _replicates_of_cell(
    rows: pd.DataFrame, n_labels: int, tasks: np.ndarray, units: np.ndarray
) -> np.ndarray:
    """The UAR of one (seed, draw) in every replicate, NaN where none of it is picked.

    rows: codes of task, unit and answer; tasks (n_boot, tasks) and units (n_boot, units): how often
    each is picked.
    """
    entries = rows.value_counts(["task", "unit", "answer"]).reset_index(name="number")
    few_units = units.shape[1] * n_labels**2 < len(entries)
    pool = _by_task if few_units else _by_entry
    values = np.empty(len(units))
    for first in range(0, len(units), _BLOCK):
        block = slice(first, first + _BLOCK)
        counts = pool(entries, n_labels**2, tasks[block].astype(float), units[block].astype(float))
        values[block] = rates.uar(counts.reshape(-1, n_labels, n_labels))
    return values


def _by_task(
    entries: pd.DataFrame, n_answers: int, tasks: np.ndarray, units: np.ndarray
) -> np.ndarray:
    """Resampled counts (replicates, answers), tasks first: for many tasks of few speakers."""
    n_units = units.shape[1]
    places = (entries["task"], entries["unit"] * n_answers + entries["answer"])
    shape = (tasks.shape[1], n_units * n_answers)
    of_task = sparse.csr_array((entries["number"], places), shape=shape)
    of_unit = (tasks @ of_task).reshape(-1, n_units, n_answers)
    return np.einsum("bu,bua->ba", units, of_unit)


def _by_entry(
    entries: pd.DataFrame, n_answers: int, tasks: np.ndarray, units: np.ndarray
) -> np.ndarray:
    """Resampled counts (replicates, answers), entry by entry."""
    number = entries["number"].to_numpy()
    of_answer = np.eye(n_answers)[entries["answer"]] * number[:, None]
    picked = tasks[:, entries["task"]] * units[:, entries["unit"]]
    return picked @ of_answer


def row_weights(rows: pd.DataFrame, units: Sequence[str], n_boot: int, ci_seed: int) -> np.ndarray:
    """How often each row counts in each bootstrap replicate.

    Args:
        rows: with a column for each of `units`.
        units: the FACTORS that are resampled.
        n_boot: of replicates.
        ci_seed: their seed.

    Returns:
        float64 (n_boot, rows): the product of the picks of its units.
    """
    weights = np.ones((n_boot, len(rows)))
    for unit in units:
        codes, levels = rows[unit].factorize(sort=True)
        weights *= resample_weights(len(levels), n_boot, ci_seed, unit)[:, codes]
    return weights


def interval(replicates: np.ndarray) -> np.ndarray:
    """The 2.5th and 97.5th percentile of bootstrap replicates.

    Args:
        replicates: (n_boot, columns).

    Returns:
        float64 (2, columns); NaN where a column has no value.
    """
    there = ~np.isnan(replicates).all(axis=0)
    values = replicates[:, there]
    found = np.full((2, len(there)), np.nan)
    found[:, there] = np.nanpercentile(values, [2.5, 97.5], axis=0)
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
    return interval(replicates[:, None])[:, 0].tolist(), unit, remarks
