"""One rule for equal recordings: the same decoded samples never stand on two sides of a split.

Whatever their names, corpora and speakers. A tested utterance stays, and its copies leave training,
validation and support; where a copy has another label, the tested one leaves, too. Copies on one
side stay; training and validation are one. What is not known to be equal (no `audio_sha256`) counts
as different.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from colab_utils.corpora.manifest import speaker_keys
from colab_utils.protocols.folds import (
    SIDES,
    TESTING_ROLES,
    LeakError,
    linked,
    on_both_sides,
    unit_keys,
)
from colab_utils.protocols.recordings import recordings

COPIES_COLUMNS = ("seed", "fold", "recording", "utt_id", "speaker", "emotion", "role", "left_out")
_FOR = {"train": "train on", "valid": "validate with", "support": "draw support from"}


def persons(rows: pd.DataFrame) -> pd.Series:
    """The speaker of each utt_id; speakers under whose names one recording stands are one."""
    speakers = speaker_keys(rows).set_axis(rows["utt_id"])
    return linked(speakers, recordings(rows))


def contradicted(rows: pd.DataFrame, apart: Sequence[str] = ()) -> np.ndarray:
    """Which utterances have a copy with another label that may stand on another side.

    Args:
        rows: manifest rows.
        apart: the columns of which no value stands on two sides.

    Returns:
        bool (rows,).
    """
    recording = recordings(rows)
    facts = pd.DataFrame({"emotion": rows["emotion"]})
    for column in apart:
        facts[column] = unit_keys(rows, column)
    several = facts.groupby(recording.to_numpy()).nunique() > 1
    names = several.index[several.all(axis=1)]
    return (recording.isin(names) & (recording != "")).to_numpy()


def no_copies() -> pd.DataFrame:
    """A table of COPIES_COLUMNS without rows."""
    kinds = {"seed": int, "left_out": bool}
    table = pd.DataFrame(columns=list(COPIES_COLUMNS), dtype=str)
    return table.astype(kinds)


def without_copies(split: pd.DataFrame, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A split in which nothing is tested that is trained on under another name.

    Args:
        split: a table of SPLIT_COLUMNS.
        rows: the manifest rows of its utterances, emotions merged.

    Returns:
        The split without what has to go, and all that had a copy on the other side, gone or not:
        a table of COPIES_COLUMNS; left_out is bool, recording as of `recordings`.

    Raises:
        LeakError: nothing is left to train, validate, support or test with, or an emotion is lost.

    Example:
        >>> split, copies = without_copies(split, rows)
    """
    recording = split["utt_id"].map(recordings(rows)).fillna("").to_numpy()
    if not recording.any():
        return split, no_copies()
    emotion = split["utt_id"].map(rows.set_index("utt_id")["emotion"])
    table = split.assign(recording=recording, emotion=emotion).reset_index(drop=True)
    part = table[table["recording"] != ""]
    tested = part["role"].isin(TESTING_ROLES)
    shared = goes = pd.Series(False, index=part.index)
    for roles, columns in SIDES:
        learns = part["role"].isin(roles)
        group = part.groupby([*columns, "recording"]).ngroup()
        on_both = group.isin(group[learns]) & group.isin(group[tested])
        labels = part["emotion"][learns].groupby(group[learns])
        agree = (group.map(labels.min()) == part["emotion"]) & (
            group.map(labels.max()) == part["emotion"]
        )
        shared = shared | (on_both & (learns | tested))
        goes = goes | (on_both & (learns | (tested & ~agree)))
    if not goes.any():
        return split, no_copies()
    table["left_out"] = goes.reindex(table.index, fill_value=False)
    copies = table.loc[shared.index[shared], list(COPIES_COLUMNS)].drop_duplicates()
    copies = copies.sort_values(list(COPIES_COLUMNS), ignore_index=True)
    _refuse_losses(table, copies)
    stays = ~table["left_out"].to_numpy()
    return split[stays].reset_index(drop=True), copies


def _refuse_losses(table: pd.DataFrame, copies: pd.DataFrame) -> None:
    """Raise LeakError where a role of a fold, an emotion that is learnt, or a tested one is lost.

    Args:
        table: the split with recording, emotion and left_out.
        copies: a table of COPIES_COLUMNS.
    """
    learns = table["role"].isin(_FOR)
    for part, on in (
        (table, ["seed", "fold", "role"]),
        (table[learns & (table["role"] != "valid")], ["seed", "fold", "role", "emotion"]),
        (table[~learns], ["seed", "role", "emotion"]),
    ):
        counts = part.groupby(on)["left_out"].agg(["all", "size"])
        lost = counts[counts["all"]].reset_index()
        if len(lost):
            raise LeakError(_loss(lost.iloc[:1].drop(columns="all"), copies))


def _loss(lost: pd.DataFrame, copies: pd.DataFrame) -> str:
    """The sentence on what is lost: one row of what it has in common, and its size."""
    gone = copies[copies["left_out"]].merge(lost).iloc[0]
    alike = copies[copies["recording"] == gone["recording"]]
    other = alike.loc[alike["utt_id"] != gone["utt_id"], "utt_id"].iloc[0]
    where = f"fold {gone['fold']}: " if "fold" in lost else ""
    what = gone["emotion"] if "emotion" in lost else "utterance"
    why = "recordings that are tested, too"
    if gone["role"] in TESTING_ROLES:
        why = "recordings that are trained with another label"
    return (
        f"{where}no {what} is left to {_FOR.get(gone['role'], 'test')}: all {gone['size']} are "
        f"{why}, such as {gone['utt_id']} and {other}; take other corpora or folds, or leave one "
        "of each pair out of the data"
    )


def check_copies(split: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Raise LeakError, naming them, for equal recordings on two sides of a split."""
    recording = split["utt_id"].map(recordings(rows)).fillna("")
    if names := on_both_sides(split, recording):
        raise LeakError(
            f"equal recordings on both the training and the test side: {', '.join(names)}; pass "
            "the split through protocols.copies.without_copies"
        )


def copies_notes(copies: pd.DataFrame) -> list[str]:
    """What a result has to say of a table of COPIES_COLUMNS, a sentence each."""
    gone = copies[copies["left_out"]]
    tested = gone["role"].isin(TESTING_ROLES)
    notes = []
    if number := gone["utt_id"][~tested].nunique():
        speakers = copies.groupby("recording")["speaker"].nunique().max()
        others = ", some under another speaker's name" if speakers > 1 else ""
        notes.append(
            f"equal recordings: {number} utterances are left out of training, validation or "
            f"support where a copy of them is tested{others} (all in copies.csv)"
        )
    if number := gone["utt_id"][tested].nunique():
        notes.append(
            f"equal recordings: {number} utterances are left out of the test, since a copy of them "
            "in training or support has another label"
        )
    return notes
