"""Algorithms on several target corpora: rates, and paired differences to ERM or another of them.

And the three means over targets that the DA-MLDG paper gives, and its own table.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from colab_utils.protocols.published import load_protocol
from colab_utils.results.predictions import PredictionError
from colab_utils.results.runs import Run
from colab_utils.results.tables import methods_table, published_table, readable, with_holm

# Of King Gandhi et al. (2023): {title: how the names of its tasks begin}
_PUBLISHED = {
    "Tables III and IV, the scenarios, log-mel and TRILLsson input": "",
    "Table II, English corpora, each left out": "eng4",
    "Table I, within one corpus, other speakers": "in-domain",
}

Runs = Mapping[str, Mapping[str, Run]]  # {target: {algorithm: finished run}}


def targets_table(runs: Runs, baseline: str = "erm") -> pd.DataFrame:
    """Finished runs, one row each.

    Args:
        runs: {target: {algorithm: run}}; p_holm holds for the contrasts of all targets.
        baseline: the algorithm that differences are to; the first of a target that lacks it.

    Returns:
        Columns algorithm, target, those of `results.tables.methods_table` (rates as fractions),
        majority (share of the commonest class) and n (utterances).

    Raises:
        PredictionError: no runs.
        UnpairedError: algorithms of a target were not tested on the same utterances.
        RunError: a run is not finished.

    Example:
        >>> table = targets_table(studies.compare(config, ["erm", "da-mldg"]))
    """
    if not runs:
        raise PredictionError(
            "no runs: there is nothing to compare; run one algorithm on one target at least"
        )
    tables = []
    for target, of_target in runs.items():
        to = baseline if baseline in of_target else next(iter(of_target), "")
        table = methods_table(of_target, baseline=to)
        table = table.rename(columns={"method": "algorithm"}).assign(target=target)
        table["majority"] = [run.metrics["majority"] for run in of_target.values()]
        table["n"] = [run.metrics["n_utterances"] for run in of_target.values()]
        tables.append(table)
    return with_holm(pd.concat(tables, ignore_index=True))


def means_table(table: pd.DataFrame, rate: str = "uar") -> pd.DataFrame:
    """Means of a rate over targets, fractions, a row for each algorithm.

    UM: of the targets alike; WM: by utterances; GM: geometric. The paper gives all three of
    accuracy (King Gandhi et al. 2023, Table III); WM is ruled by the largest corpus, GM by the
    worst.

    Args:
        table: columns algorithm, target, n (utterances of the target) and `rate`.
        rate: which column.

    Returns:
        Columns UM, WM, GM.

    Raises:
        PredictionError: where an algorithm lacks a target that another has.
    """
    wide = table.pivot(index="algorithm", columns="target", values=rate)
    wide = wide.reindex(table["algorithm"].unique())
    lacking = wide.isna().stack()
    if lacking.any():
        algorithm, target = lacking.idxmax()
        raise PredictionError(
            f"{algorithm} was not tested on {target}: means over different targets cannot be "
            "compared"
        )
    weights = table.groupby("target")["n"].first()
    weighted = (wide * weights).sum(axis=1) / weights.sum()
    with np.errstate(divide="ignore"):
        geometric = np.exp(np.log(wide).mean(axis=1))
    return pd.DataFrame({"UM": wide.mean(axis=1), "WM": weighted, "GM": geometric})


def readable_means(table: pd.DataFrame) -> pd.DataFrame:
    """The means of UAR and WA side by side, see `means_table`.

    Args:
        table: of `targets_table`.

    Returns:
        Per cent, a row for each algorithm.
    """
    parts = []
    for rate in ("uar", "wa"):
        means = (100 * means_table(table, rate)).round(1)
        parts.append(means.add_prefix(f"{rate.upper()} "))
    return pd.concat(parts, axis=1)


def readable_targets(table: pd.DataFrame) -> pd.DataFrame:
    """The results as text for a page, one row for each target and algorithm.

    Args:
        table: of `targets_table`.

    Returns:
        Rates in per cent, differences in points; majority is the WA of always choosing the
        commonest class.
    """
    parts = {}
    for target, part in table.groupby("target", sort=False):
        text = readable(part.rename(columns={"algorithm": "method"})).drop(columns="rule")
        text.insert(3, "majority %", [f"{100 * share:.1f}" for share in part["majority"]])
        parts[target] = text
    return pd.concat(parts, names=["target", "algorithm"])


def published_rates() -> tuple[dict[str, pd.DataFrame], str]:
    """Every published figure of speech: Tables I to IV of King Gandhi et al. (2023).

    The pictures of Table II (PACS) stand in docs/methods/da_mldg.md.

    Returns:
        {title: table}, accuracy in per cent, a row for each method and a column for each scenario
        or corpus; and a sentence on what they may be compared with.
    """
    published = load_protocol("da_mldg").published
    figures = published_table(published)
    group = figures["task"].str.rpartition("-")  # eng4-savee, in-domain-savee; a scenario has none
    tables = {}
    for title, begins in _PUBLISHED.items():
        own = figures.assign(task=group[2])[group[0] == begins]
        table = own.pivot(index="method", columns="task", values="rate")
        tables[title] = (100 * table).round(2)
    return tables, published["note"]


def runs_by_name(runs: Runs) -> dict[str, Run]:
    """All runs by one text.

    Args:
        runs: {target: {algorithm: finished run}}.

    Returns:
        Runs by "target, algorithm", target by target.
    """
    found = {}
    for target, of_target in runs.items():
        found |= {f"{target}, {algorithm}": run for algorithm, run in of_target.items()}
    return found
