"""Speaker-independent tasks within one corpus: folds of speakers, or speakers by their ids."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from colab_utils.corpora.emotions import merged
from colab_utils.protocols.build import build_task
from colab_utils.protocols.domains import with_tasks
from colab_utils.protocols.folds import FoldError, check_disjoint, split_rows
from colab_utils.protocols.published import Protocol, Task
from colab_utils.settings import as_list


def build_within(
    protocol: Protocol,
    manifest: pd.DataFrame,
    corpus: str,
    *,
    task: str = "",
    n_folds: int = 5,
    emotions: Sequence[str] = (),
    merge: Mapping[str, str | None] | None = None,
    test_id: str = "",
    val_id: str = "",
    seed: int = 0,
) -> tuple[Task, pd.DataFrame, pd.DataFrame]:
    """A task within one corpus, its utterances and its split.

    Args:
        protocol: that has the task.
        manifest: rows of the corpus.
        corpus: its name.
        task: a published one; "": groups of speakers are tested in turn, one of the other speakers
            validates.
        n_folds: how many groups.
        emotions: default: all that the corpus has after renaming.
        merge: what emotions are renamed to before.
        test_id: speakers, commas between, who are tested, in one fold instead of all.
        val_id: speakers who validate there.
        seed: of folds and validation speakers.

    Returns:
        The task, its rows, and its split (`folds.SPLIT_COLUMNS`).

    Raises:
        ProtocolError, LeakError: as of `build_task`.
        FoldError: so, too, and for ids that are not there, on both sides, or all there are.
    """
    if not task:
        task = f"{corpus}-{n_folds}-folds"
        spoken = set(merged(manifest[manifest["corpus"] == corpus], merge).dropna())
        found = Task(
            name=task,
            train={"corpus": [corpus]},
            test={"corpus": [corpus]},
            emotions=tuple(emotions or sorted(spoken - {"", "other"})),
            merge=dict(merge or {}),
            folds={"by": "speaker", "number": n_folds},
            valid={"unit": "speaker", "number": 1},
        )
        protocol = dataclasses.replace(with_tasks(protocol, [found]), expected={})
    rows, split = build_task(protocol, task, manifest, seed)
    if bool(test_id) != bool(val_id):
        raise FoldError(
            f"test_id = {test_id!r}, val_id = {val_id!r}: give both, or neither for all folds"
        )
    if test_id:
        split = _named_split(rows, test_id, val_id, seed)
    return protocol.tasks[task], rows, split


def _named_split(rows: pd.DataFrame, test_id: str, val_id: str, seed: int) -> pd.DataFrame:
    """One fold that tests the speakers in `test_id` and validates on those in `val_id`."""
    role = np.full(len(rows), "train", dtype=object)
    # a speaker may be called 11
    tested, validating = (list(map(str, as_list(ids) or [ids])) for ids in (test_id, val_id))
    speakers = sorted(set(rows["speaker"]))
    for argument, names in (("test_id", tested), ("val_id", validating)):
        for name in names:
            if name not in speakers:
                raise FoldError(
                    f"{argument} = {name!r}: no such speaker; there are {', '.join(speakers)}"
                )
    role[rows["speaker"].isin(tested)] = "test"
    role[rows["speaker"].isin(validating)] = "valid"
    both = sorted(set(tested) & set(validating))
    if both:
        raise FoldError(
            f"{both[0]} is in test_id and in val_id: a speaker either validates or is tested"
        )
    if not (role == "train").any():
        raise FoldError("test_id and val_id name every speaker: nobody is left to train on")
    split = split_rows(rows, role, seed=seed, fold="+".join(tested))
    check_disjoint(split)
    return split
