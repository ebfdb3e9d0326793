"""All methods of one study side by side: rates, interval and the paired difference to one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from colab_utils.results.comparison import UnpairedError, compare
from colab_utils.results.predictions import PredictionError
from colab_utils.results.runs import Run

METHOD_COLUMNS = (
    "method",
    "uar",
    "low",
    "high",
    "ci_unit",
    "wa",
    "macro_f1",
    "chance",
    "n_tasks",
    "n_speakers",
    "rule",
    "preset",
    "speaker_independence",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "p_wilcoxon",
    "test",
)


def methods_table(
    runs: Mapping[str, Run], baseline: str, n_boot: int = 2000, ci_seed: int = 0
) -> pd.DataFrame:
    """Finished runs of the same tasks, one row each in the given order: METHOD_COLUMNS, rates as
    fractions.

    difference: the UAR less that of the run named `baseline`, on the same speakers and tasks, with
    the 95 % interval and two-sided p of the paired bootstrap, and p_wilcoxon over speakers
    (`comparison.compare`); NaN for the baseline itself. `test` names both tests. Raises
    PredictionError for an unknown baseline, UnpairedError naming the method that was not tested on
    the same utterances, RunError for a run that is not finished.
    """
    if baseline not in runs:
        raise PredictionError(
            f"no run named {baseline!r}: choose from {', '.join(runs) or 'none, there are no runs'}"
        )
    reference, rows = runs[baseline].predictions, []
    for name, run in runs.items():
        metrics = run.metrics
        low, high = metrics["uar_ci95"] or (np.nan, np.nan)
        row = {
            "method": name,
            "low": low,
            "high": high,
            **{key: metrics[key] for key in METHOD_COLUMNS if key in metrics},
            "rule": ", ".join(metrics["rule"]),
            "test": "",
        }
        row |= {"method": name} | dict.fromkeys(
            ("difference", "difference_low", "difference_high", "p", "p_wilcoxon"), np.nan
        )
        rows.append(
            row
            if name == baseline
            else row | _against(name, run, baseline, reference, metrics["labels"], n_boot, ci_seed)
        )
    return pd.DataFrame(rows)[list(METHOD_COLUMNS)]


def _against(
    name: str,
    run: Run,
    baseline: str,
    reference: pd.DataFrame,
    labels: list[str],
    n_boot: int,
    ci_seed: int,
) -> dict:
    """The columns of the paired difference. Raises UnpairedError."""
    try:
        found = compare(run.predictions, reference, labels, n_boot, ci_seed)
    except UnpairedError as error:
        raise UnpairedError(f"{name} against {baseline}: {error}") from error
    low, high = found["difference_ci95"] or (np.nan, np.nan)
    return {
        "difference": found["difference"],
        "difference_low": low,
        "difference_high": high,
        "test": found["test"],
        **{
            key: np.nan if found[source] is None else found[source]
            for key, source in (("p", "p_bootstrap"), ("p_wilcoxon", "p_wilcoxon"))
        },
    }


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `methods_table` as text for a page: per cent, differences in points, one row a
    method.
    """

    def span(low: float, high: float, sign: str = "") -> str:
        return "none" if np.isnan(low) else f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f}"

    rows = {}
    for row in table.itertuples():
        other = not np.isnan(row.difference)
        rows[row.method] = {
            "UAR %": f"{100 * row.uar:.1f}",
            "95 % interval": span(row.low, row.high),
            "WA %": f"{100 * row.wa:.1f}",
            "chance %": f"{100 * row.chance:.1f}",
            "difference": f"{100 * row.difference:+.1f}" if other else "",
            "its 95 % interval": (
                span(row.difference_low, row.difference_high, "+") if other else ""
            ),
            "p": "" if np.isnan(row.p) else "< 0.001" if row.p < 0.001 else f"{row.p:.3f}",
            "rule": row.rule,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


PUBLISHED_COLUMNS = ("task", "method", "k", "rate")


def published_table(published: Mapping[str, Any], task: str | None = None) -> pd.DataFrame:
    """PUBLISHED_COLUMNS of `Protocol.published`, fractions; k is 0 where a figure has none. task:
    that one alone; no rows where it has no figures.
    """
    rows = [
        (name, method, k, rate / 100)
        for name, methods in published.get("values", {}).items()
        if task in (None, name)
        for method, figures in methods.items()
        for k, rate in (figures if isinstance(figures, Mapping) else {0: figures}).items()
    ]
    return pd.DataFrame(rows, columns=list(PUBLISHED_COLUMNS))
