"""Algorithms on several target corpora: rates, and paired differences to one of them.

And the three means over targets that the DA-MLDG paper gives, and its own table.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from colab_utils.protocols.published import load_protocol
from colab_utils.results.predictions import PredictionError
from colab_utils.results.runs import Run
from colab_utils.results.tables import methods_table, published_table

MEANS = ("UM", "WM", "GM")
Runs = Mapping[str, Mapping[str, Run]]  # {target: {algorithm: finished run}}


def targets_table(
    runs: Runs, baseline: str = "", n_boot: int = 2000, ci_seed: int = 0
) -> pd.DataFrame:
    """Finished runs, one row each.

    Args:
        runs: {target: {algorithm: run}}.
        baseline: the algorithm that differences are to, on the same target; default: the first.
        n_boot: resamples of the interval of a difference.
        ci_seed: of the resamples.

    Returns:
        Columns algorithm, target, those of `methods.methods_table`, majority and n (utterances).

    Raises:
        PredictionError, UnpairedError, RunError: what `methods_table` raises; no runs.
    """
    if not runs:
        raise PredictionError(
            "no runs: there is nothing to compare; run one algorithm on one target at least"
        )
    tables = []
    for target, of_target in runs.items():
        first = next(iter(of_target), "")
        table = methods_table(of_target, baseline or first, n_boot, ci_seed)
        metrics = [run.metrics for run in of_target.values()]
        tables.append(
            table.rename(columns={"method": "algorithm"}).assign(
                target=target,
                majority=[one["majority"] for one in metrics],
                n=[one["n_utterances"] for one in metrics],
            )
        )
    return pd.concat(tables, ignore_index=True)


def means_table(table: pd.DataFrame, rate: str = "uar") -> pd.DataFrame:
    """Means of a rate over targets, fractions, a row for each algorithm.

    UM: of the targets alike; WM: by utterances; GM: geometric. The paper gives all three of
    accuracy (method_facts §4.7); WM is ruled by the largest corpus, GM by the worst.

    Args:
        table: columns algorithm, target, n (utterances of the target) and `rate`.
        rate: which column.

    Raises:
        PredictionError: where an algorithm lacks a target that another has.
    """
    wide = table.pivot(index="algorithm", columns="target", values=rate)
    wide = wide.reindex(list(dict.fromkeys(table["algorithm"])))
    if wide.isna().any(axis=None):
        lacking = wide.isna().stack()
        algorithm, target = lacking[lacking].index[0]
        raise PredictionError(
            f"{algorithm} was not tested on {target}: means over different "
            "targets cannot be compared"
        )
    weights = table.groupby("target")["n"].first().reindex(wide.columns)
    with np.errstate(divide="ignore"):
        geometric = np.exp(np.log(wide).mean(axis=1))
    weighted = (wide * weights).sum(axis=1) / weights.sum()
    return pd.DataFrame({"UM": wide.mean(axis=1), "WM": weighted, "GM": geometric})


def readable_means(table: pd.DataFrame) -> pd.DataFrame:
    """The means of UAR and WA side by side, per cent, of the table of `targets_table`."""
    parts = []
    for rate in ("uar", "wa"):
        means = (100 * means_table(table, rate)).round(1)
        parts.append(means.add_prefix(f"{rate.upper()} "))
    return pd.concat(parts, axis=1)


def readable_targets(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `targets_table` as text for a page.

    Per cent, differences in points, one row for each target and algorithm.
    """
    rows = []
    for row in table.itertuples():
        difference, its_interval = "", ""
        if not np.isnan(row.difference):
            difference = f"{100 * row.difference:+.1f}"
            its_interval = _span(row.difference_low, row.difference_high, "+")
        rows.append(
            {
                "target": row.target,
                "algorithm": row.algorithm,
                "UAR %": f"{100 * row.uar:.1f}",
                "95 % interval": _span(row.low, row.high),
                "difference": difference,
                "its 95 % interval": its_interval,
                "WA %": f"{100 * row.wa:.1f}",
                "majority %": f"{100 * row.majority:.1f}",
                "chance %": f"{100 * row.chance:.1f}",
            }
        )
    return pd.DataFrame(rows).set_index(["target", "algorithm"])


def _span(low: float, high: float, sign: str = "") -> str:
    """An interval in per cent, or "none"."""
    if np.isnan(low):
        return "none"
    return f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f}"


def published_rates() -> tuple[pd.DataFrame, str]:
    """Table III of the paper, per cent, and a sentence on what it may be compared with."""
    published = load_protocol("da_mldg").published
    table = published_table(published).pivot(index="method", columns="task", values="rate")
    return (100 * table).round(1), published["note"]


def folders_of(runs: Runs) -> list[pathlib.Path]:
    """The folders of all runs."""
    folders = []
    for of_target in runs.values():
        folders += [run.path for run in of_target.values()]
    return folders
