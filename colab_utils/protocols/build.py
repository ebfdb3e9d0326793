"""From a published task and a manifest to the split table.

Pure functions of the manifest, the frozen folds and a seed.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from colab_utils.corpora.cards import frozen_folds
from colab_utils.corpora.emotions import as_known, select_emotions
from colab_utils.protocols.folds import (
    FoldError,
    check_disjoint,
    folds_from_table,
    grouped_values,
    hold_out,
    split_rows,
    unit_keys,
)
from colab_utils.protocols.published import Protocol, ProtocolError, Task
from colab_utils.protocols.recordings import never_tested


def build_task(
    protocol: Protocol,
    name: str,
    manifest: pd.DataFrame,
    seed: int = 0,
    *,
    check_counts: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The utterances of a published task, and who trains, validates and is tested.

    Args:
        protocol: of `published.load_protocol`.
        name: of the task.
        manifest: rows of its corpora, others are left out.
        seed: of the validation speakers, and of folds that are drawn.
        check_counts: refuse another number of utterances than the verified one; else warn.

    Returns:
        The rows with emotions merged and chosen, and the split (`folds.SPLIT_COLUMNS`, `task` is
        the name).

    Raises:
        ProtocolError: an unknown task, corpus, speaker or film, or a count that differs.
        LeakError: a speaker or film would stand on both sides.
        FoldError: folds or validation units cannot be made.

    Example:
        >>> rows, split = build_task(load_protocol("emofsl"), "I-R", scan.manifest)
    """
    if name not in protocol.tasks:
        raise ProtocolError(
            f"{protocol.name} has no task {name!r}; it has {', '.join(protocol.tasks)}"
        )
    task = protocol.tasks[name]
    rows = _rows_of(task, manifest)
    _check_counts(protocol, task, rows, check_counts)
    group = protocol.group
    units = unit_keys(rows, group).set_axis(rows["utt_id"])
    unknown = units.index[units == ""]
    if len(unknown):
        raise ProtocolError(
            f"{protocol.name}, {name}: {len(unknown)} utterance(s) have no {group}, the first is "
            f"{unknown[0]}; without it nobody can say that no {group} stands on both sides"
        )
    parts = []
    for number, (fold, train, test) in enumerate(_folds(task, rows, seed)):
        if not task.only_folds or fold in task.only_folds:
            # else the training side is one, and so are those that validate it
            moving = task.within or task.folds.get("both_sides")
            if group != "speaker":
                train = _not_by_tested(rows, train, test, f"task {name}, fold {fold}")
            role = _roles(task, rows, train, test, fold, (seed, number if moving else 0))
            used = role != ""
            parts.append(split_rows(rows[used], role[used], seed=seed, fold=fold, task=name))
    if len(parts) < len(task.only_folds):
        folds = ", ".join(task.only_folds)
        raise ProtocolError(f"{protocol.name}, {name}: the manifest lacks one of the folds {folds}")
    split = pd.concat(parts, ignore_index=True)
    check_disjoint(split, units=None if task.allow_group_overlap else units)
    return rows, split


def _matches(rows: pd.DataFrame, wanted: Mapping[str, list[str]]) -> np.ndarray:
    """Which rows have, in every column of the filter, one of its values.

    A language `en` also means `en-US`.
    """
    chosen = np.ones(len(rows), dtype=bool)
    for column, values in wanted.items():
        found = rows[column]
        if column == "language":
            found = found.str.split("-").str[0]
        chosen &= found.isin(values).to_numpy()
    return chosen


def _rows_of(task: Task, manifest: pd.DataFrame) -> pd.DataFrame:
    """The utterances that the task uses, emotions merged and chosen.

    Raises ProtocolError for a corpus that is not there, and a side without utterances.
    """
    lacking = sorted(set(task.corpora) - set(manifest["corpus"]))
    if lacking:
        raise ProtocolError(
            f"task {task.name} needs {', '.join(task.corpora)}; the manifest has no "
            f"{', '.join(lacking)}"
        )
    needed = manifest[_matches(manifest, task.train) | _matches(manifest, task.test)]
    there = set(needed["emotion"])
    known = as_known(needed, list(task.merge))
    merge = {old: new for old, new in task.merge.items() if known[old] in there}
    rows, _ = select_emotions(needed, task.emotions, merge, allow_absent=True)
    for side, wanted in (("training", task.train), ("test", task.test)):
        if not _matches(rows, wanted).any():
            raise ProtocolError(
                f"task {task.name}: no utterance on the {side} side ({dict(wanted)}, emotions "
                f"{', '.join(task.emotions)})"
            )
    return rows


def _check_counts(protocol: Protocol, task: Task, rows: pd.DataFrame, strict: bool) -> None:
    """Compare utterances and emotions of each corpus with what the protocol says of it."""
    for corpus in task.corpora:
        spoken = rows.loc[rows["corpus"] == corpus, "emotion"]
        absent = set(protocol.absent.get(corpus, ()))
        lacking = sorted(set(task.emotions) - set(spoken) - absent)
        faults = [f"no {', '.join(lacking)}"] if lacking else []
        expected = protocol.expected.get(corpus)
        verified = expected is not None and expected["confidence"] == "V"
        if expected and len(spoken) != expected["utterances"]:
            known = "known" if verified else "recalled"
            faults.append(f"{len(spoken)} utterances where {expected['utterances']} are {known}")
        if not faults:
            continue
        message = f"{protocol.name}, task {task.name}: {corpus} has {' and '.join(faults)}"
        if strict and (lacking or verified):
            raise ProtocolError(
                f"{message}; scan the corpus to see what is missing, or pass check_counts=False to "
                "run on what is there"
            )
        print(f"warning: {message}")


def _folds(
    task: Task, rows: pd.DataFrame, seed: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each fold's name, training mask and test mask, bool (rows,)."""
    train, test = _matches(rows, task.train), _matches(rows, task.test)
    if task.holdout:
        keys = unit_keys(rows, task.holdout["unit"]).to_numpy()
        number = max(1, round(task.holdout["share"] * len(set(keys[test]))))
        rng = np.random.default_rng((seed, 7))
        emotions = rows["emotion"].to_numpy()
        held = hold_out(emotions, keys, test, rng, number, f"task {task.name}")
        yield "holdout", train & ~held, held
    elif task.folds:
        both_sides = task.folds.get("both_sides", False)
        fold = _fold_names(task, rows, train | test if both_sides else test, seed)
        for name in sorted(set(fold[test])):
            inside = fold == name
            leaves = inside if task.within or both_sides else np.zeros_like(inside)
            yield name, train & ~leaves, test & inside
    else:
        yield "+".join(task.test["corpus"]), train, test


def _fold_names(task: Task, rows: pd.DataFrame, folded: np.ndarray, seed: int) -> np.ndarray:
    """The fold of each row, str (rows,), "" for rows outside `folded`."""
    by, mine = task.folds["by"], rows[folded]
    fold = np.full(len(rows), "", dtype=object)
    if by == "frozen":
        table = folds_from_table(mine, frozen_folds(task.test["corpus"][0]))
        on = [column for column in table.columns if column != "fold"]
        fold[folded] = mine[on].merge(table, "left", on)["fold"]
    elif "number" in task.folds:
        units = unit_keys(mine, by)
        fold[folded] = grouped_values(
            mine["emotion"], units, task.folds["number"], seed, f"{by}(s)"
        )
    else:
        fold[folded] = mine[by]
    return fold


def _not_by_tested(
    rows: pd.DataFrame, train: np.ndarray, test: np.ndarray, where: str
) -> np.ndarray:
    """The training rows, bool (rows,), without those of speakers who are tested, which is printed.

    Folds of films do not keep speakers apart: some dub in several films, or in two languages.
    """
    speaker = unit_keys(rows, "speaker").to_numpy()
    heard = train & np.isin(speaker, speaker[test]) & (speaker != "")
    if heard.any():
        print(f"{where}: {heard.sum()} training utterances are left out, their speakers are tested")
    return train & ~heard


def _roles(
    task: Task,
    rows: pd.DataFrame,
    train: np.ndarray,
    test: np.ndarray,
    fold: str,
    stream: tuple[int, int],
) -> np.ndarray:
    """The role of each row in one fold, str (rows,), "" for none.

    Train, valid, test and, where the task has one, the support side.
    """
    where = f"task {task.name}, fold {fold}"
    emotions = rows["emotion"].to_numpy()
    silent = set(emotions[test]) - set(emotions[train])
    if silent:
        raise FoldError(f"{where}: nobody on the training side speaks {', '.join(sorted(silent))}")
    role = np.full(len(rows), "", dtype=object)
    role[train] = "train"
    role[test] = "test"
    if task.rest == "support":
        role[_matches(rows, task.test) & ~test] = "support"
    if "partner_by" in task.valid:
        shared = unit_keys(rows, task.valid["partner_by"]).to_numpy()
        role[train & np.isin(shared, shared[test])] = "valid"
    elif task.valid:
        stays = never_tested(rows, train, test)
        role[_validation(task.valid, rows, stays, where, stream)] = "valid"
    return role


def _validation(
    rule: Mapping, rows: pd.DataFrame, train: np.ndarray, where: str, stream: tuple[int, int]
) -> np.ndarray:
    """Which training rows validate, bool (rows,).

    A corpus with one unit left keeps it for training, and that is printed.
    """
    unit, emotions = rule["unit"], rows["emotion"].to_numpy()
    keys = unit_keys(rows, unit).to_numpy()
    whose = np.full(len(rows), "the training side", dtype=object)
    if "of_each" in rule:
        whose = rows[rule["of_each"]].to_numpy()
    valid = np.zeros(len(rows), dtype=bool)
    for number, group in enumerate(sorted(set(whose[train]))):
        eligible = train & (whose == group)
        units = len(set(keys[eligible]))
        if units < 2:
            print(f"{where}: {group} has one {unit} for training, so none of it validates")
            continue
        wanted = rule.get("number")
        if wanted is None:
            wanted = max(rule.get("at_least", 1), round(rule["share"] * units))
        rng = np.random.default_rng((*stream, number))
        valid |= hold_out(emotions, keys, eligible, rng, wanted, where)
    return valid
