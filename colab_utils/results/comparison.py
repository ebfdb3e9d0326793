"""Is one method better than another on the same speakers? Paired tests, each named."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from colab_utils.results import intervals
from colab_utils.results.metrics import cell_counts, mean_rate
from colab_utils.results.predictions import validate
from colab_utils.results.rates import uar

_FACTS = ["utt_id", "corpus", "speaker", "true"]  # equal in tables that can be compared
_NOT_TESTED = {
    "difference_ci95": None,
    "p_bootstrap": None,
    "statistic_wilcoxon": None,
    "p_wilcoxon": None,
    "test": "",
}


class UnpairedError(ValueError):
    """Two tables of predictions of other utterances; the message says how they differ."""


def compare(
    predictions_a: pd.DataFrame,
    predictions_b: pd.DataFrame,
    labels: Sequence[str],
    n_boot: int = 2000,
    ci_seed: int = 0,
) -> dict:
    """The UAR of a minus that of b on the same utterances.

    Args:
        predictions_a: a table of `results.predictions`.
        predictions_b: another.
        labels: the emotions in a fixed order.
        n_boot: resamples of the paired bootstrap: each takes the same speakers (and tasks, draws,
            seeds where both have them) for both.
        ci_seed: their seed.

    Returns:
        Plain JSON values, rates as fractions. `difference`, `difference_ci95` and `p_bootstrap`
        (two-sided, twice the smaller share of replicates beyond 0) come from the bootstrap;
        `p_wilcoxon` from the Wilcoxon signed-rank test over the speakers' UARs (Wilcoxon 1945,
        "Individual comparisons by ranking methods"), None where every speaker ties; `speakers`
        holds one row a speaker. With one speaker, or unknown speakers, what cannot be tested is
        None and `notes` say why.

    Raises:
        UnpairedError: the two do not hold the same utterances, speakers and true labels.

    Example:
        >>> compare(run.predictions, other.predictions, run.metrics["labels"])["p_bootstrap"]
    """
    a = validate(predictions_a, labels)
    b = validate(predictions_b, labels)
    _check_paired(a, b)
    uar_a = mean_rate(uar, cell_counts(a, labels))
    uar_b = mean_rate(uar, cell_counts(b, labels))
    units, unit = intervals.resampling_units(a)
    number = units.nunique()
    result = {
        "uar_a": uar_a,
        "uar_b": uar_b,
        "difference": uar_a - uar_b,
        **_NOT_TESTED,
        "unit": unit,
        "n_units": number,
        "n_boot": n_boot,
        "ci_seed": ci_seed,
        "speakers": [],
        "notes": [],
    }
    if number > 1:
        _add_tests(result, a, b, labels)
    else:
        result["notes"].append(f"one {unit}: no interval and no test")
    if unit == "utterance":
        result["notes"].append("speakers unknown: resampled by utterance, no test over speakers")
    return result


def _add_tests(result: dict, a: pd.DataFrame, b: pd.DataFrame, labels: Sequence[str]) -> None:
    """Put interval and tests into a result of `compare`, with their names and limits."""
    number, unit, n_boot = result["n_units"], result["unit"], result["n_boot"]
    result["test"] = (
        f"paired bootstrap of the UAR difference over {number} {unit}s ({n_boot} resamples)"
    )
    result.update(_paired_bootstrap(a, b, labels, n_boot, result["ci_seed"]))
    if unit == "speaker":
        result["test"] += f"; Wilcoxon signed-rank test over {number} speakers' UARs, two-sided"
        result.update(_over_speakers(a, b, labels))
        if number < intervals.FEW_SPEAKERS:
            result["notes"].append(
                f"{number} speakers: indicative; the smallest p the Wilcoxon test can give is"
                f" {2.0 ** (1 - number):.3g}"
            )


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


def _paired_bootstrap(
    a: pd.DataFrame, b: pd.DataFrame, labels: Sequence[str], n_boot: int, ci_seed: int
) -> dict:
    """Percentile interval and two-sided p; both share the picks of the factors they share."""
    of_a = intervals.uar_replicates(a, labels, n_boot, ci_seed)
    of_b = intervals.uar_replicates(b, labels, n_boot, ci_seed)
    difference = of_a - of_b
    difference = difference[~np.isnan(difference)]
    tail = min((difference <= 0).sum(), (difference >= 0).sum())
    return {
        "difference_ci95": np.percentile(difference, [2.5, 97.5]).tolist(),
        "p_bootstrap": float(min(1.0, 2 * (tail + 1) / (len(difference) + 1))),
    }


def _over_speakers(a: pd.DataFrame, b: pd.DataFrame, labels: Sequence[str]) -> dict:
    """The speakers' UARs under both methods and the Wilcoxon test of their differences."""
    of_b = dict(list(b.groupby(["corpus", "speaker"])))
    rows = []
    for (corpus, speaker), part in a.groupby(["corpus", "speaker"]):
        uar_a = mean_rate(uar, cell_counts(part, labels))
        uar_b = mean_rate(uar, cell_counts(of_b[corpus, speaker], labels))
        # Equal gains are ties, whatever the last bit says.
        gain = float(np.round(uar_a - uar_b, 12))
        rows.append(
            {
                "corpus": corpus,
                "speaker": speaker,
                "uar_a": uar_a,
                "uar_b": uar_b,
                "difference": gain,
            }
        )
    gains = [row["difference"] for row in rows]
    if not any(gains):
        return {"speakers": rows}
    test = stats.wilcoxon(gains)
    return {
        "statistic_wilcoxon": float(test.statistic),
        "p_wilcoxon": float(test.pvalue),
        "speakers": rows,
    }
