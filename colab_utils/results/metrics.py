"""metrics.json from a table of predictions: rates, interval, and what has to be said about them.

Predictions are pooled over folds and tasks within a (seed, draw), then averaged over these: where a
speaker has one clip of an emotion, a UAR per fold is nearly noise.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from colab_utils import files
from colab_utils.results.intervals import uar_interval
from colab_utils.results.predictions import PredictionError, read_predictions, validate
from colab_utils.results.rates import confusion, macro_f1, recalls, uar, wa


def cell_counts(
    predictions: pd.DataFrame, labels: Sequence[str], by: Sequence[str] = ("seed", "draw")
) -> np.ndarray:
    """Counts of each group of `by`, int64 (groups, labels, labels), groups in sorted order;
    default: the (seed, draw) cells.
    """
    groups = predictions.groupby(list(by), sort=True)
    return np.stack([confusion(part["true"], part["pred"], labels) for _, part in groups])


def per_speaker(predictions: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """One row a speaker: corpus, speaker, n (predictions), uar, wa; averaged over the (seed, draw)
    cells, fractions.
    """
    rows = []
    for (corpus, speaker), part in predictions.groupby(["corpus", "speaker"], sort=True):
        counts = cell_counts(part, labels)
        rows.append(
            {
                "corpus": corpus,
                "speaker": speaker,
                "n": len(part),
                "uar": float(np.mean(uar(counts))),
                "wa": float(np.mean(wa(counts))),
            }
        )
    return pd.DataFrame(rows, columns=["corpus", "speaker", "n", "uar", "wa"])


def summarise(
    predictions: pd.DataFrame,
    labels: Sequence[str],
    n_boot: int = 2000,
    ci_seed: int = 0,
    *,
    preset: str = "",
    speaker_independence: str = "not checked",
    notes: Sequence[str] = (),
    chance: float | None = None,
) -> dict:
    """Everything in metrics.json, as plain JSON values; rates are fractions.

    n_boot: resamples of the 95 % interval (0: none); ci_seed: their seed. preset,
    speaker_independence and notes are carried along; what the numbers themselves call for (an
    absent label, few or unknown speakers) is added to the notes.
    chance: the rate of guessing where fewer labels compete than `labels` has, such as 1/3 in 3-way
    tasks over six emotions; `majority` is then counted within each task, too. Default: one over the
    number of labels that occur. Raises PredictionError.
    """
    table = validate(predictions, labels)
    if table.empty:
        raise PredictionError("there are no predictions to evaluate")
    if chance is not None and not 0 < chance <= 1:
        raise PredictionError(
            f"chance = {chance}: a rate above 0 and up to 1 is needed, such as 1 / ways"
        )
    labels = list(labels)
    cells = cell_counts(table, labels)
    interval, unit, remarks = uar_interval(table, labels, n_boot, ci_seed)
    recall = recalls(cells)
    occurs = ~np.isnan(recall).all(axis=0)
    absent = [label for label, there in zip(labels, occurs, strict=True) if not there]
    if absent:
        remarks.append(f"no true utterance of {', '.join(absent)}: left out of the means")
    known = table.loc[table["speaker"] != "", ["corpus", "speaker"]].drop_duplicates()
    total = cells.sum(axis=0)
    within = (
        total[None]
        if chance is None
        else cell_counts(table, labels, ("seed", "fold", "draw", "task"))
    )
    return {
        "uar": float(np.mean(uar(cells))),
        "uar_ci95": interval,
        "ci_unit": unit,
        "ci_seed": int(ci_seed),
        "n_boot": int(n_boot),
        "wa": float(np.mean(wa(cells))),
        "macro_f1": float(np.mean(macro_f1(cells))),
        "per_class_recall": {
            label: float(np.nanmean(recall[:, i])) if occurs[i] else None
            for i, label in enumerate(labels)
        },
        "fold_mean_uar": float(np.mean(uar(cell_counts(table, labels, ("seed", "draw", "fold"))))),
        "labels": labels,
        "labels_absent": absent,
        "chance": 1.0 / int(occurs.sum()) if chance is None else float(chance),
        "chance_given": chance is not None,
        "majority": float(within.sum(axis=2).max(axis=1).sum() / total.sum()),
        "n": len(table),
        "n_utterances": int(table["utt_id"].nunique()),
        "n_speakers": len(known),
        "n_folds": int(table["fold"].nunique()),
        "n_draws": int(table["draw"].nunique()),
        "n_tasks": int(table["task"].nunique()),
        "seeds": sorted({int(s) for s in table["seed"]}),
        "confusion": total.tolist(),
        "method": sorted(set(table["method"])),
        "rule": sorted(set(table["rule"])),
        "preset": preset,
        "speaker_independence": speaker_independence,
        "notes": [*dict.fromkeys([*notes, *remarks])],
    }


def recompute(run_folder: str | os.PathLike) -> dict:
    """Make metrics.json of a run again from its predictions.csv; labels, seeds, notes and a given
    chance are those metrics.json states.

    Anyone can compare the result with the stored file: they agree to 1e-12. Raises PredictionError
    or ValueError naming the file.
    """
    folder = pathlib.Path(run_folder)
    stored = files.read_json(folder / "metrics.json")
    return summarise(
        read_predictions(folder / "predictions.csv"),
        stored["labels"],
        stored["n_boot"],
        stored["ci_seed"],
        preset=stored["preset"],
        speaker_independence=stored["speaker_independence"],
        notes=stored["notes"],
        chance=stored["chance"] if stored.get("chance_given") else None,
    )
