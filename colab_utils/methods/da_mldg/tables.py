"""Algorithms on several target corpora: rates, paired differences to one of them, and the three means that the DA-MLDG paper gives."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from colab_utils.results.methods import methods_table
from colab_utils.results.predictions import PredictionError
from colab_utils.results.runs import Run

MEANS = ("UM", "WM", "GM")


def targets_table(runs: Mapping[str, Mapping[str, Run]], baseline: str, n_boot: int = 2000, ci_seed: int = 0) -> pd.DataFrame:
    """Finished runs {target: {algorithm: run}}, one row each: algorithm, target, the columns of `methods.methods_table`, majority and n.

    Differences are to the run named `baseline` on the same target. Raises what `methods_table` raises.
    """
    if not runs:
        raise PredictionError("no runs: there is nothing to compare; run one algorithm on one target at least")
    tables = []
    for target, of_target in runs.items():
        table = methods_table(of_target, baseline, n_boot, ci_seed).rename(columns={"method": "algorithm"})
        metrics = [run.metrics for run in of_target.values()]
        tables.append(table.assign(target=target, majority=[one["majority"] for one in metrics], n=[one["n_utterances"] for one in metrics]))
    return pd.concat(tables, ignore_index=True)


def means_table(table: pd.DataFrame, rate: str = "uar") -> pd.DataFrame:
    """Means of a rate over targets, fractions, a row for each algorithm: UM (of the targets alike), WM (by utterances), GM (geometric).

    table: columns algorithm, target, n (utterances of the target) and `rate`. The paper gives all three of accuracy (method_facts §4.7); WM is
    ruled by the largest corpus, GM by the worst. Raises PredictionError where an algorithm lacks a target that another has.
    """
    wide = table.pivot(index="algorithm", columns="target", values=rate).reindex(list(dict.fromkeys(table["algorithm"])))
    if wide.isna().any(axis=None):
        lacking = wide.isna().stack()
        algorithm, target = lacking[lacking].index[0]
        raise PredictionError(f"{algorithm} was not tested on {target}: means over different targets cannot be compared")
    weights = table.groupby("target")["n"].first().reindex(wide.columns)
    with np.errstate(divide="ignore"):
        geometric = np.exp(np.log(wide).mean(axis=1))
    return pd.DataFrame({"UM": wide.mean(axis=1), "WM": (wide * weights).sum(axis=1) / weights.sum(), "GM": geometric})


def readable_targets(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `targets_table` as text for a page: per cent, differences in points, one row for each target and algorithm."""
    def span(low: float, high: float, sign: str = "") -> str:
        return "none" if np.isnan(low) else f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f}"
    rows = []
    for row in table.itertuples():
        other = not np.isnan(row.difference)
        rows.append({"target": row.target, "algorithm": row.algorithm, "UAR %": f"{100 * row.uar:.1f}", "95 % interval": span(row.low, row.high),
                     "difference": f"{100 * row.difference:+.1f}" if other else "",
                     "its 95 % interval": span(row.difference_low, row.difference_high, "+") if other else "",
                     "WA %": f"{100 * row.wa:.1f}", "majority %": f"{100 * row.majority:.1f}", "chance %": f"{100 * row.chance:.1f}"})
    return pd.DataFrame(rows).set_index(["target", "algorithm"])
