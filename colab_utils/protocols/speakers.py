"""Speaker-independent tasks within one corpus: folds of speakers, or speakers named by their ids."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pandas as pd

from colab_utils.corpora.manifest import speaker_keys
from colab_utils.protocols.build import build_task
from colab_utils.protocols.folds import SPLIT_COLUMNS, FoldError, check_disjoint
from colab_utils.protocols.published import Protocol, Task


def speaker_folds(
    protocol: Protocol,
    corpus: str,
    n_folds: int,
    emotions: Sequence[str],
    merge: Mapping[str, str | None] | None = None,
) -> Task:
    """The task within any corpus: `n_folds` groups of its speakers are tested in turn, one of the
    others validates.
    """
    return Task(
        name=f"{corpus}-{n_folds}-folds",
        train={"corpus": [corpus]},
        test={"corpus": [corpus]},
        emotions=tuple(emotions),
        merge=dict(merge or {}),
        folds={"by": "speaker", "number": n_folds},
        valid={"unit": "speaker", "number": 1},
    )


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
    """A task within `corpus`, its utterances and its split: the published one named `task`, or
    folds of speakers; with `test_id` and `val_id` (speakers, commas between several) one fold that
    tests and validates on these. emotions: default all that the corpus has.

    Raises what `build_task` raises, and FoldError for ids that are not there, on both sides, or all
    there are.
    """
    if task:
        rows, split = build_task(protocol, task, manifest, seed)
        found = protocol.tasks[task]
    else:
        spoken = manifest.loc[manifest["corpus"] == corpus, "emotion"]
        found = speaker_folds(
            protocol, corpus, n_folds, emotions or sorted(set(spoken) - {"", "other"}), merge
        )
        rows, split = build_task(
            dataclasses.replace(protocol, tasks={found.name: found}, expected={}),
            found.name,
            manifest,
            seed,
        )
    if bool(test_id) != bool(val_id):
        raise FoldError(
            f"test_id = {test_id!r}, val_id = {val_id!r}: give both, or neither for all folds"
        )
    return found, rows, named_split(rows, test_id, val_id, seed) if test_id else split


def named_split(rows: pd.DataFrame, test_id: str, val_id: str, seed: int = 0) -> pd.DataFrame:
    """One fold that tests the speakers in `test_id` and validates on those in `val_id` (names,
    commas between), folds.SPLIT_COLUMNS.
    """
    sides = {
        role: [one.strip() for one in text.split(",")]
        for role, text in (("test", test_id), ("valid", val_id))
    }
    speakers = set(rows["speaker"])
    for role, names in sides.items():
        if unknown := sorted(set(names) - speakers):
            raise FoldError(
                f"{'test_id' if role == 'test' else 'val_id'} = {unknown[0]!r}: no such speaker;"
                f" there are {', '.join(sorted(speakers))}"
            )
    role = pd.Series("train", index=rows.index)
    for name, names in sides.items():
        role[rows["speaker"].isin(names)] = name
    if both := sorted(set(sides["test"]) & set(sides["valid"])):
        raise FoldError(
            f"{both[0]} is in test_id and in val_id: a speaker either validates or is tested"
        )
    if not (role == "train").any():
        raise FoldError("test_id and val_id name every speaker: nobody is left to train on")
    split = pd.DataFrame(
        {
            "seed": seed,
            "fold": "+".join(sides["test"]),
            "draw": 0,
            "task": 0,
            "utt_id": rows["utt_id"],
            "speaker": speaker_keys(rows),
            "role": role,
        }
    )[list(SPLIT_COLUMNS)]
    check_disjoint(split)
    return split
