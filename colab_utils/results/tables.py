"""All methods of a study side by side: rates, intervals, and paired differences to one of them."""

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
PUBLISHED_COLUMNS = ("task", "method", "k", "rate")


def methods_table(
    runs: Mapping[str, Run], baseline: str, n_boot: int = 2000, ci_seed: int = 0
) -> pd.DataFrame:
    """Finished runs of the same tasks side by side.

    Args:
        runs: by the name to show, in the order of the rows.
        baseline: the run that differences are to.
        n_boot: resamples of the paired bootstrap.
        ci_seed: their seed.

    Returns:
        METHOD_COLUMNS, rates as fractions. difference: the UAR less that of `baseline`, on the same
        speakers and tasks, with the 95 % interval and two-sided p of the paired bootstrap, and
        p_wilcoxon over speakers (`comparison.compare`); NaN for the baseline itself. `test` names
        both tests.

    Raises:
        PredictionError: an unknown baseline.
        UnpairedError: names the method that was not tested on the same utterances.
        RunError: a run that is not finished.
    """
    if baseline not in runs:
        raise PredictionError(
            f"no run named {baseline!r}: choose from {', '.join(runs) or 'none, there are no runs'}"
        )
    reference = runs[baseline].predictions
    rows = []
    for name, run in runs.items():
        metrics = run.metrics
        row = {key: metrics[key] for key in METHOD_COLUMNS if key in metrics}
        row["method"] = name
        row["low"], row["high"] = metrics["uar_ci95"] or (np.nan, np.nan)
        row["rule"] = ", ".join(metrics["rule"])
        row["test"] = ""
        if name != baseline:
            try:
                found = compare(run.predictions, reference, metrics["labels"], n_boot, ci_seed)
            except UnpairedError as error:
                raise UnpairedError(f"{name} against {baseline}: {error}") from error
            limits = found["difference_ci95"] or (np.nan, np.nan)
            row["difference_low"], row["difference_high"] = limits
            row["difference"] = found["difference"]
            row["p"] = found["p_bootstrap"]
            row["p_wilcoxon"] = found["p_wilcoxon"]
            row["test"] = found["test"]
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(METHOD_COLUMNS))
    compared = ["difference", "difference_low", "difference_high", "p", "p_wilcoxon"]
    # A missing p is NaN, as everything that cannot be compared.
    table[compared] = table[compared].astype(float)
    return table


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `methods_table` as text for a page: per cent, differences in points.

    Args:
        table: of `methods_table`.

    Returns:
        One row a method, with the methods as index.
    """
    rows = {}
    for row in table.itertuples():
        difference, p = "", ""
        its_interval = ""
        if not np.isnan(row.difference):
            difference = f"{100 * row.difference:+.1f}"
            its_interval = _span(row.difference_low, row.difference_high, "+")
        if not np.isnan(row.p):
            p = "< 0.001" if row.p < 0.001 else f"{row.p:.3f}"
        rows[row.method] = {
            "UAR %": f"{100 * row.uar:.1f}",
            "95 % interval": _span(row.low, row.high),
            "WA %": f"{100 * row.wa:.1f}",
            "chance %": f"{100 * row.chance:.1f}",
            "difference": difference,
            "its 95 % interval": its_interval,
            "p": p,
            "rule": row.rule,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _span(low: float, high: float, sign: str = "") -> str:
    """An interval in per cent, or "none"."""
    return "none" if np.isnan(low) else f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f}"


def published_table(published: Mapping[str, Any], task: str | None = None) -> pd.DataFrame:
    """The figures of a paper.

    Args:
        published: of `protocols.published.Protocol`.
        task: this one alone; None: all.

    Returns:
        PUBLISHED_COLUMNS, fractions; k is 0 where a figure has none. No rows where there are no
        figures.
    """
    rows = []
    for name, methods in published.get("values", {}).items():
        if task in (None, name):
            for method, figures in methods.items():
                by_k = figures if isinstance(figures, Mapping) else {0: figures}
                for k, rate in by_k.items():
                    rows.append((name, method, k, rate / 100))
    return pd.DataFrame(rows, columns=list(PUBLISHED_COLUMNS))
