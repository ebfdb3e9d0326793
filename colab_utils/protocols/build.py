"""From a published task and a manifest to the split table: pure functions of the manifest, the
frozen folds and a seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from colab_utils.corpora.cards import frozen_folds
from colab_utils.corpora.emotions import select_emotions
from colab_utils.corpora.manifest import speaker_keys
from colab_utils.protocols.folds import (
    SPLIT_COLUMNS,
    FoldError,
    check_disjoint,
    folds_from_table,
    grouped_values,
    hold_out,
)
from colab_utils.protocols.published import Protocol, ProtocolError, Task


def build_task(
    protocol: Protocol,
    name: str,
    manifest: pd.DataFrame,
    seed: int = 0,
    *,
    check_counts: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The utterances of a published task (emotions merged and chosen) and its split table
    (folds.SPLIT_COLUMNS, `task` = `name`).

    Raises ProtocolError, in one sentence, for an unknown task, a corpus that is not in the
    manifest, a count that differs from the verified one (a recalled one warns; check_counts=False
    warns for both) and an utterance whose speaker or film is unknown; LeakError where a speaker or
    film would stand on both sides; FoldError where folds or validation units cannot be made.
    """
    if name not in protocol.tasks:
        raise ProtocolError(
            f"{protocol.name} has no task {name!r}; it has {', '.join(protocol.tasks)}"
        )
    task = protocol.tasks[name]
    rows = _rows_of(task, manifest)
    _check_counts(protocol, task, rows, check_counts)
    units = unit_keys(rows, protocol.group)
    if (units == "").any():
        first = rows["utt_id"][(units == "").to_numpy()].iloc[0]
        raise ProtocolError(
            f"{protocol.name}, {name}: {(units == '').sum()} utterance(s) have no {protocol.group},"
            f" the first is {first}; without it nobody can say that no {protocol.group} stands on"
            " both sides"
        )
    # else the training side is one, and so are those that validate it
    moving = task.within or bool(task.folds.get("both_sides"))
    parts = [
        _fold_table(protocol, task, rows, *masks, fold, (seed, number if moving else 0), seed)
        for number, (fold, *masks) in enumerate(_folds(protocol, task, rows, seed))
        if not task.only_folds or fold in task.only_folds
    ]
    if task.only_folds and len(parts) < len(task.only_folds):
        raise ProtocolError(
            f"{protocol.name}, {name}: the manifest does not have all of the folds"
            f" {', '.join(task.only_folds)}"
        )
    split = pd.concat(parts, ignore_index=True)
    check_disjoint(
        split,
        units=(
            None
            if task.allow_group_overlap
            else pd.Series(units.to_numpy(), rows["utt_id"], name=protocol.group)
        ),
    )
    return rows, split


def unit_keys(rows: pd.DataFrame, unit: str) -> pd.Series:
    """`<corpus>/<value>` of a unit (speaker, session or film) for each row, "" where it is unknown."""
    if unit == "speaker":
        return speaker_keys(rows)
    return (rows["corpus"] + "/" + rows[unit]).where(rows[unit] != "", "").rename(unit)


def _matches(rows: pd.DataFrame, wanted: Mapping[str, list[str]]) -> np.ndarray:
    """Which rows have, in every column of the filter, one of its values.

    A language `en` also means `en-US`.
    """
    chosen = np.ones(len(rows), dtype=bool)
    for column, values in wanted.items():
        column_values = rows[column].str.split("-").str[0] if column == "language" else rows[column]
        chosen &= column_values.isin(values).to_numpy()
    return chosen


def _rows_of(task: Task, manifest: pd.DataFrame) -> pd.DataFrame:
    """The utterances that the task uses, emotions merged and chosen.

    Raises ProtocolError for a corpus that is not there.
    """
    lacking = sorted(set(task.corpora) - set(manifest["corpus"]))
    if lacking:
        raise ProtocolError(
            f"task {task.name} needs {', '.join(task.corpora)}; the manifest has no"
            f" {', '.join(lacking)}"
        )
    needed = manifest[_matches(manifest, task.train) | _matches(manifest, task.test)]
    rows, _ = select_emotions(
        needed,
        task.emotions,
        {old: new for old, new in task.merge.items() if old in set(needed["emotion"])},
        allow_absent=True,
    )
    for side, wanted in (("training", task.train), ("test", task.test)):
        if not _matches(rows, wanted).any():
            raise ProtocolError(
                f"task {task.name}: no utterance on the {side} side ({dict(wanted)}, emotions"
                f" {', '.join(task.emotions)})"
            )
    return rows


def _check_counts(protocol: Protocol, task: Task, rows: pd.DataFrame, strict: bool) -> None:
    """Compare the number of utterances of each corpus with the published one, and its emotions with
    those it should have.
    """
    for corpus in task.corpora:
        mine = rows[rows["corpus"] == corpus]
        lacking = set(task.emotions) - set(mine["emotion"]) - set(protocol.absent.get(corpus, ()))
        faults = [f"no {', '.join(sorted(lacking))}"] if lacking else []
        expected = protocol.expected.get(corpus)
        if expected and len(mine) != expected["utterances"]:
            faults.append(
                f"{len(mine)} utterances where {expected['utterances']} are"
                f" {'known' if expected['confidence'] == 'V' else 'recalled'}"
            )
        message = f"{protocol.name}, task {task.name}: {corpus} has {' and '.join(faults)}"
        if faults and strict and (lacking or expected["confidence"] == "V"):
            raise ProtocolError(
                f"{message}; scan the corpus to see what is missing, or pass check_counts=False to"
                " run on what is there"
            )
        if faults:
            print(f"warning: {message}")


def _folds(
    protocol: Protocol, task: Task, rows: pd.DataFrame, seed: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each fold's name, training mask and test mask, bool (rows,)."""
    train, test = _matches(rows, task.train), _matches(rows, task.test)
    if task.holdout:
        keys = unit_keys(rows, task.holdout["unit"]).to_numpy()
        number = max(1, round(task.holdout["share"] * len(set(keys[test]))))
        held = hold_out(
            rows["emotion"].to_numpy(),
            keys,
            test,
            np.random.default_rng((seed, 7)),
            number,
            f"task {task.name}",
        )
        yield "holdout", train & ~held, held
    elif task.folds:
        fold = _fold_names(task, rows, train | test if task.folds.get("both_sides") else test, seed)
        for name in sorted(set(fold[test])):
            inside = fold == name
            yield (
                name,
                train & ~inside if task.within or task.folds.get("both_sides") else train,
                test & inside,
            )
    else:
        yield "+".join(task.test["corpus"]), train, test


def _fold_names(task: Task, rows: pd.DataFrame, folded: np.ndarray, seed: int) -> np.ndarray:
    """The fold of each row, str (rows,), "" for rows outside `folded`."""
    fold, by = np.full(len(rows), "", dtype=object), task.folds["by"]
    mine = rows[folded]
    if by == "frozen":
        table = folds_from_table(mine, frozen_folds(task.test["corpus"][0]))
        fold[folded] = mine[["utt_id", "speaker", "corpus"]].merge(table, how="left")["fold"]
    elif "number" in task.folds:
        fold[folded] = grouped_values(
            mine["emotion"], unit_keys(mine, by), task.folds["number"], seed
        )
    else:
        fold[folded] = mine[by]
    return fold


def _fold_table(
    protocol: Protocol,
    task: Task,
    rows: pd.DataFrame,
    train: np.ndarray,
    test: np.ndarray,
    fold: str,
    stream: tuple[int, int],
    seed: int,
) -> pd.DataFrame:
    """The split rows of one fold: train, valid, test and, where the task has one, the support side."""
    emotions = rows["emotion"].to_numpy()
    silent = set(emotions[test]) - set(emotions[train])
    if silent:
        raise FoldError(
            f"task {task.name}, fold {fold}: nobody on the training side speaks"
            f" {', '.join(sorted(silent))}"
        )
    role = np.full(len(rows), "", dtype=object)
    role[train], role[test] = "train", "test"
    if task.rest == "support":
        role[_matches(rows, task.test) & ~test] = "support"
    if task.valid:
        role[_validation(task, rows, train, test, fold, stream)] = "valid"
    used = role != ""
    return pd.DataFrame(
        {
            "seed": seed,
            "fold": fold,
            "draw": 0,
            "task": task.name,
            "utt_id": rows["utt_id"][used].to_numpy(),
            "speaker": speaker_keys(rows)[used].to_numpy(),
            "role": role[used],
        }
    )[list(SPLIT_COLUMNS)]


def _validation(
    task: Task,
    rows: pd.DataFrame,
    train: np.ndarray,
    test: np.ndarray,
    fold: str,
    stream: tuple[int, int],
) -> np.ndarray:
    """Which training rows validate, bool (rows,).

    A corpus with one unit left keeps it for training, and that is printed.
    """
    keys = unit_keys(rows, task.valid["unit"]).to_numpy()
    if "partner_by" in task.valid:
        shared = unit_keys(rows, task.valid["partner_by"]).to_numpy()
        return train & np.isin(shared, shared[test])
    emotions, valid = rows["emotion"].to_numpy(), np.zeros(len(rows), dtype=bool)
    of_each = (
        rows[task.valid["of_each"]].to_numpy()
        if "of_each" in task.valid
        else np.full(len(rows), "the training side")
    )
    for number, group in enumerate(sorted(set(of_each[train]))):
        eligible = train & (of_each == group)
        units = len(set(keys[eligible]))
        if units < 2:
            print(
                f"task {task.name}, fold {fold}: {group} has one {task.valid['unit']} for training,"
                " so none of it validates"
            )
            continue
        wanted = task.valid.get("number") or max(
            task.valid.get("at_least", 1), round(task.valid["share"] * units)
        )
        valid |= hold_out(
            emotions,
            keys,
            eligible,
            np.random.default_rng((*stream, number)),
            wanted,
            f"task {task.name}, fold {fold}",
        )
    return valid
