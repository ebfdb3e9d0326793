"""Is one method better than another on the same speakers, or with one group of them than others?

One test, paired where both sides have the same speakers, and many of them.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from colab_utils.results.intervals import LEAST, Estimate, leave_out, over_speakers, units_of
from colab_utils.results.metrics import cell_counts, mean_rate
from colab_utils.results.predictions import FILM, PredictionError, validate
from colab_utils.results.rates import uar
from colab_utils.results.runs import Run

_FACTS = ["utt_id", "corpus", "speaker", "true"]  # equal in tables that can be compared
NOT_KNOWN = "not known"  # the group of utterances of which a column says nothing


class UnpairedError(ValueError):
    """Two tables of predictions of other utterances; the message says how they differ."""


def compare(
    predictions_a: pd.DataFrame,
    predictions_b: pd.DataFrame,
    labels: Sequence[str],
    splits: tuple[pd.DataFrame | None, pd.DataFrame | None] = (None, None),
) -> dict:
    """The UAR of a minus that of b on the same utterances.

    Both lose the same speaker in turn; interval and p come from the one variance that this gives
    (`intervals`). A test of each speaker's own UARs (Wilcoxon, paired t) takes speakers for
    independent, which they are not where they share support sets: it is left out.

    Args:
        predictions_a: a table of `results.predictions`.
        predictions_b: another.
        labels: the emotions in a fixed order.
        splits: of both runs, where there are episodes or draws (`intervals.leave_out`); None:
            unknown.

    Returns:
        Plain JSON values, rates as fractions: `uar_a`, `uar_b`, `difference`, its
        `difference_ci95` within [-1, 1], the two-sided `p`, the degrees of freedom `df`, what
        `test` it is, over how many (`n_units`) of what (`unit`), one row a speaker in `speakers`
        (to look at, not to test). Interval and p are None where there can be none, and `notes` say
        why.

    Raises:
        UnpairedError: the two do not hold the same utterances, speakers and true labels.

    Example:
        >>> splits = run.split, other.split
        >>> compare(run.predictions, other.predictions, run.metrics["labels"], splits)["p"]
    """
    a = validate(predictions_a, labels)
    b = validate(predictions_b, labels)
    _check_paired(a, b)
    if not (FILM in a and FILM in b):  # an older run knows no films
        a, b = (table.drop(columns=FILM, errors="ignore") for table in (a, b))
    uar_a = mean_rate(uar, cell_counts(a, labels))
    uar_b = mean_rate(uar, cell_counts(b, labels))
    return {
        "uar_a": uar_a,
        "uar_b": uar_b,
        "difference": uar_a - uar_b,
        **_test(a, b, labels, splits),
        "speakers": _over_speakers(a, b),
    }


def _test(
    a: pd.DataFrame, b: pd.DataFrame, labels: Sequence[str], splits: Sequence[pd.DataFrame | None]
) -> dict:
    """Interval, p and what they are; None where there can be none, with the reason in `notes`."""
    of_a, unit, notes = over_speakers(a, labels, splits[0])
    of_b, _, notes_of_b = over_speakers(b, labels, splits[1])
    notes = list(dict.fromkeys([*notes, *notes_of_b]))
    number = units_of(a)[0].nunique()
    found = {"difference_ci95": None, "p": None, "df": None, "test": "", "unit": unit}
    found |= {"n_units": number, "notes": notes}
    if of_a is None:
        return found
    estimate = of_a.less(of_b)
    if estimate.p() is None:
        notes.append(f"no interval and no p: no {unit} changes the difference")
        return found
    told = f"t with {estimate.freedom:.3g} degrees of freedom"
    return found | {
        "difference_ci95": estimate.limits(-1.0, 1.0),
        "p": estimate.p(),
        "df": estimate.freedom,
        "test": f"paired delete-one jackknife of the UAR over {number} {unit}s, {told}",
    }


def compare_runs(one: Run, other: Run) -> dict:
    """`compare` of two finished runs, the episodes that each speaker supports included.

    Args:
        one: a finished run.
        other: the run that the difference is to.

    Returns:
        As `compare`.

    Raises:
        UnpairedError: they tested other utterances.
    """
    tables = one.predictions, other.predictions
    return compare(*tables, one.metrics["labels"], (one.split, other.split))


def compare_groups(
    predictions: pd.DataFrame,
    labels: Sequence[str],
    groups: pd.Series,
    split: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The UAR of each group of utterances, and how far it is from that of all others together.

    Of each group those emotions count that the others have, too, on both sides. The UAR has the
    interval of any UAR over its speakers. Of the difference, where each speaker is on one side,
    the variances of both sides are added (Welch's interval; `intervals`); where a speaker is on
    both, as with loud and soft speech, the speaker is left out of both at once.

    Args:
        predictions: a table of `results.predictions`.
        labels: the emotions in a fixed order.
        groups: the group of each utterance, text by utt_id; missing or "": NOT_KNOWN.
        split: of the run, see `intervals.leave_out`; None: unknown.

    Returns:
        A row a group, NOT_KNOWN last: group, n_speakers, n_utterances; uar, uar_low, uar_high,
        difference, difference_low and difference_high as fractions, NaN where there is none;
        notes, a list of why, and of which emotions do not count.

    Raises:
        PredictionError: fewer than two groups.

    Example:
        >>> gender = manifest.set_index("utt_id")["gender"]
        >>> compare_groups(run.predictions, run.metrics["labels"], gender, run.split)
    """
    table = validate(predictions, labels)
    group_of = table["utt_id"].map(groups).fillna("").astype(str).replace("", NOT_KNOWN)
    names = sorted(set(group_of), key=lambda name: (name == NOT_KNOWN, name))
    if len(names) < 2:
        raise PredictionError(
            f"one group only ({', '.join(names)}): there is nothing to compare; choose another"
            " column"
        )
    rows = []
    for name in names:
        inside = (group_of == name).to_numpy()
        own = table[inside]
        speakers = own.loc[own["speaker"] != "", ["corpus", "speaker"]].drop_duplicates()
        row = {"group": name, "n_speakers": len(speakers)}
        row["n_utterances"] = own["utt_id"].nunique()
        rows.append(row | _against_others(table, labels, inside, split))
    return pd.DataFrame(rows)


def _against_others(
    table: pd.DataFrame, labels: Sequence[str], inside: np.ndarray, split: pd.DataFrame | None
) -> dict:
    """Rates, limits and notes of a row of `compare_groups`. inside: bool (predictions,)."""
    true = table["true"]
    emotions = set(true[inside]) & set(true[~inside])
    left_out = [label for label in labels if label in set(true) - emotions]
    notes = []
    if left_out:
        notes.append(f"without {', '.join(left_out)}, which it or all others lack")
    if not emotions:
        nothing = Estimate(np.nan, np.nan, np.nan)
        return {**_limits("uar", nothing), **_limits("difference", nothing), "notes": notes}
    counted = true.isin(emotions).to_numpy()
    sides = [inside & counted, ~inside & counted]
    own, others = (leave_out(table, labels, split, side) for side in sides)
    units, unit = units_of(table)
    here, there = (np.isin(np.unique(units), units[side]) for side in sides)
    rate, difference = own.estimate(here), own.less(others, here + 2 * there)
    paired = (here & there).any()
    if paired:  # one sample: each speaker leaves both sides at once
        difference = own.less(others, here | there)
    number = here.sum()
    if (units == "").any():
        notes.append("speakers unknown: no interval")
        rate, difference = (one._replace(error=np.nan) for one in (rate, difference))
    elif number < LEAST:
        told = f"{number} {unit}{'s' * (number > 1)}"
        notes.append(f"{told}: no interval, which needs {LEAST} or more")
    elif rate.limits(0.0, 1.0) is None:
        notes.append(f"no interval: every {unit} has the same rates")
    if paired and difference.error > 0:
        notes.append(f"{unit}s are on both sides of the difference: it is paired")
    notes += own.remarks
    return {**_limits("uar", rate), **_limits("difference", difference, -1.0), "notes": notes}


def _limits(name: str, estimate: Estimate, lowest: float = 0.0) -> dict[str, float]:
    """An estimate and its interval, NaN where there is none, as entries of a row."""
    low, high = estimate.limits(lowest, 1.0) or (np.nan, np.nan)
    return {name: estimate.value, f"{name}_low": low, f"{name}_high": high}


def holm(p: Sequence[float]) -> np.ndarray:
    """The p of several contrasts, corrected for their number.

    Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6(2), 65-70.

    Args:
        p: of each contrast; NaN where there is none.

    Returns:
        float64, in the same order: each holds for all at once; NaN stays NaN.
    """
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)
    order = order[: np.isfinite(p).sum()]  # NaN stands last
    times = np.arange(len(order), 0, -1)
    corrected = np.maximum.accumulate(times * p[order])
    found = np.full(len(p), np.nan)
    found[order] = np.minimum(1, corrected)
    return found


def _check_paired(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Raise UnpairedError for other utterances, or one with another speaker or true label."""
    first, second = (table[_FACTS].drop_duplicates().set_index("utt_id") for table in (a, b))
    for name, one, other in (("first", first, second), ("second", second, first)):
        extra = one.index.difference(other.index)
        if len(extra):
            raise UnpairedError(
                f"not paired: {len(extra)} utterance(s) stand only in the {name} table (such as"
                f" {extra[0]}); compare runs made with the same manifest, emotions and split"
            )
    twice = first.index.has_duplicates or second.index.has_duplicates
    if twice or not first.sort_index().equals(second.sort_index()):
        raise UnpairedError(
            "not paired: an utterance has another true emotion or speaker in one table; use one"
            " EMOTIONS/MERGE setting for both"
        )


def _over_speakers(a: pd.DataFrame, b: pd.DataFrame) -> list[dict]:
    """The speakers' UARs under both methods, means over seeds and draws."""
    rates = pd.DataFrame({"uar_a": _of_speakers(a), "uar_b": _of_speakers(b)})
    rates["difference"] = rates["uar_a"] - rates["uar_b"]
    return rates.reset_index().to_dict("records")


def _of_speakers(table: pd.DataFrame) -> pd.Series:
    """The UAR of each (corpus, speaker)."""
    cell = ["corpus", "speaker", "seed", "draw"]
    table = table.assign(right=table["true"] == table["pred"])
    recalls = table.groupby([*cell, "true"])["right"].mean()
    of_cells = recalls.groupby(cell).mean()
    return of_cells.groupby(["corpus", "speaker"]).mean()
