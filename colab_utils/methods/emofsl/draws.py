"""Few-shot runs by the number of shots and by the draw of their support: which rate each draw gave, and who was in it."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from colab_utils.results.metrics import cell_counts
from colab_utils.results.predictions import PredictionError, check_one_rule, validate
from colab_utils.results.rates import uar
from colab_utils.results.runs import Run

SHOTS_COLUMNS = ("method", "k", "uar", "low", "high")
SUPPORT = "support speakers"


def shots_table(runs: Mapping[tuple[str, int], Run]) -> pd.DataFrame:
    """Finished runs as SHOTS_COLUMNS, a row for each {(method, k): run} in the given order; fractions, NaN where there is no interval.

    Raises PredictionError without runs, and RunError for one that is not finished.
    """
    if not runs:
        raise PredictionError("no runs: there is nothing to compare; run one method at one number of shots at least")
    rows = []
    for (method, k), run in runs.items():
        metrics = run.metrics
        low, high = metrics["uar_ci95"] or (np.nan, np.nan)
        rows.append((method, int(k), metrics["uar"], low, high))
    return pd.DataFrame(rows, columns=list(SHOTS_COLUMNS))


def uar_by_draw(predictions: Mapping[str, pd.DataFrame], labels: Sequence[str], by: Sequence[str] = ("seed", "draw")) -> pd.DataFrame:
    """UAR of each draw (rows, indexed by the columns `by`) under each method (columns, by the given names); fractions.

    predictions: a table of `results.predictions` for each method, one method and rule each, on the same draws. by: ("seed", "draw") pools the
    folds, as the UAR of a run does; with "fold" each support set stands alone. Raises PredictionError, naming the method whose draws differ.
    """
    if not predictions:
        raise PredictionError("no methods: there is nothing to compare; pass the predictions of one method at least")
    found = {}
    for name, rows in predictions.items():
        check_one_rule(rows, name)
        table = validate(rows, labels)
        keys = pd.MultiIndex.from_frame(table[list(by)].drop_duplicates().sort_values(list(by)))
        found[name] = pd.Series(uar(cell_counts(table, labels, by)), index=keys)
        first = next(iter(found))
        if not keys.equals(found[first].index):
            raise PredictionError(f"{name} was tested on other draws than {first}: compare runs with the same seeds, folds and draws")
    return pd.DataFrame(found)


def draws_table(predictions: Mapping[str, pd.DataFrame], labels: Sequence[str], split: pd.DataFrame,
                by: Sequence[str] = ("seed", "fold", "draw")) -> pd.DataFrame:
    """`uar_by_draw` and, in the last column SUPPORT, the speakers of each support set: `01 (2), 05 (1)`, in brackets their clips.

    split: rows of seed, fold, draw, utt_id, speaker ("<corpus>/<speaker>", "" where unknown), role, as the runs have it; of several folds
    in a row each is named. Corpora are named where there are several. Raises PredictionError for a draw without support in the split.
    """
    table = uar_by_draw(predictions, labels, by)
    support = split[split["role"] == "support"].astype({"fold": str}).drop_duplicates(["seed", "fold", "draw", "utt_id"])
    several = len({key.rpartition("/")[0] for key in support["speaker"] if key}) > 1
    support = support.assign(who=[(key if several else key.rpartition("/")[2]) or "unknown" for key in support["speaker"]])
    there = {}
    for key, rows in support.groupby(list(by)):
        folds = {fold: ", ".join(f"{who} ({n})" for who, n in part.groupby("who").size().items()) for fold, part in rows.groupby("fold")}
        there[key] = "; ".join(f"fold {fold}: {text}" for fold, text in folds.items()) if len(folds) > 1 else next(iter(folds.values()))
    lacking = [key for key in table.index if key not in there]
    if lacking:
        told = ", ".join(f"{name} {value}" for name, value in zip(by, lacking[0], strict=True))
        raise PredictionError(f"{len(lacking)} draw(s) have no support in the split (such as {told}): pass the split of these very runs")
    return table.assign(**{SUPPORT: [there[key] for key in table.index]})
