"""Is one method better than another on the same speakers? Paired tests, each named."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from colab_utils.results import intervals
from colab_utils.results.intervals import FEW_SPEAKERS
from colab_utils.results.metrics import cell_counts, per_speaker
from colab_utils.results.predictions import validate
from colab_utils.results.rates import uar


class UnpairedError(ValueError):
    """Two tables of predictions that do not speak of the same utterances; the message says how they
    differ.
    """


def compare(
    predictions_a: pd.DataFrame,
    predictions_b: pd.DataFrame,
    labels: Sequence[str],
    n_boot: int = 2000,
    ci_seed: int = 0,
) -> dict:
    """The UAR of a minus that of b on the same utterances, as plain JSON values (fractions).

    difference, difference_ci95 and p_bootstrap come from a paired bootstrap: each replicate takes
    the same speakers (and tasks, draws, seeds where both have them) for both; p is two-sided, twice
    the smaller share of replicates beyond 0. p_wilcoxon is the Wilcoxon signed-rank test over the
    speakers' UARs (Wilcoxon 1945), None where every speaker ties. speakers: one row a speaker. With
    one speaker, or with unknown speakers, what cannot be tested is None and the notes say why.
    Raises UnpairedError where the two do not hold the same utterances, speakers and true labels.
    """
    a, b = validate(predictions_a, labels), validate(predictions_b, labels)
    _check_paired(a, b)
    rates_a, rates_b = (float(np.mean(uar(cell_counts(table, labels)))) for table in (a, b))
    units, unit = intervals.resampling_units(a)
    number, notes = units.nunique(), []
    result = {
        "uar_a": rates_a,
        "uar_b": rates_b,
        "difference": rates_a - rates_b,
        "difference_ci95": None,
        "p_bootstrap": None,
        "statistic_wilcoxon": None,
        "p_wilcoxon": None,
        "test": "",
        "unit": unit,
        "n_units": number,
        "n_boot": n_boot,
        "ci_seed": ci_seed,
        "speakers": [],
    }
    tests = []
    if number > 1:
        result |= _paired_bootstrap(a, b, labels, n_boot, ci_seed)
        tests.append(
            f"paired bootstrap of the UAR difference over {number} {unit}s ({n_boot} resamples)"
        )
    else:
        notes.append(f"one {unit}: no interval and no test")
    if unit == "speaker" and number > 1:
        result |= _over_speakers(a, b, labels)
        tests.append(f"Wilcoxon signed-rank test over {number} speakers' UARs, two-sided")
        if number < FEW_SPEAKERS:
            notes.append(
                f"{number} speakers: indicative; the smallest p the Wilcoxon test can give is"
                f" {2.0 ** (1 - number):.3g}"
            )
    elif unit == "utterance":
        notes.append("speakers unknown: resampled by utterance, no test over speakers")
    return result | {"test": "; ".join(tests), "notes": notes}


def _check_paired(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Raise UnpairedError unless both tables hold the same utterances with the same corpus, speaker
    and true label.
    """
    facts = [
        table[["utt_id", "corpus", "speaker", "true"]].drop_duplicates().set_index("utt_id")
        for table in (a, b)
    ]
    only = [facts[0].index.difference(facts[1].index), facts[1].index.difference(facts[0].index)]
    for name, extra in zip(("first", "second"), only, strict=True):
        if len(extra):
            raise UnpairedError(
                f"not paired: {len(extra)} utterance(s) stand only in the {name} table (such as"
                f" {extra[0]}); compare runs made with the same manifest, emotions and split"
            )
    if any(fact.index.has_duplicates for fact in facts) or not facts[0].sort_index().equals(
        facts[1].sort_index()
    ):
        raise UnpairedError(
            "not paired: an utterance has another true emotion or speaker in one table; use one"
            " EMOTIONS/MERGE setting for both"
        )


def _paired_bootstrap(
    a: pd.DataFrame, b: pd.DataFrame, labels: Sequence[str], n_boot: int, ci_seed: int
) -> dict:
    """Percentile interval and two-sided p of the difference; both tables share the picks of every
    factor they have in common.
    """
    replicates = [intervals.uar_replicates(table, labels, n_boot, ci_seed) for table in (a, b)]
    difference = replicates[0] - replicates[1]
    difference = difference[~np.isnan(difference)]
    tail = min((difference <= 0).sum(), (difference >= 0).sum())
    return {
        "difference_ci95": [float(x) for x in np.percentile(difference, [2.5, 97.5])],
        "p_bootstrap": float(min(1.0, 2 * (tail + 1) / (len(difference) + 1))),
    }


def _over_speakers(a: pd.DataFrame, b: pd.DataFrame, labels: Sequence[str]) -> dict:
    """The speakers' UARs under both methods and the Wilcoxon signed-rank test of their differences."""
    table = per_speaker(a, labels).merge(
        per_speaker(b, labels), on=["corpus", "speaker"], suffixes=("_a", "_b")
    )
    # equal gains are ties, whatever the last bit says
    gain = (table["uar_a"] - table["uar_b"]).round(12)
    speakers = (
        table[["corpus", "speaker", "uar_a", "uar_b"]].assign(difference=gain).to_dict("records")
    )
    if not gain.any():
        return {"speakers": speakers}
    test = stats.wilcoxon(gain)
    return {
        "statistic_wilcoxon": float(test.statistic),
        "p_wilcoxon": float(test.pvalue),
        "speakers": speakers,
    }
