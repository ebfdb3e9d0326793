"""k-shot support draws from the other folds of a target corpus, and clips for enrolment.

Pure functions of rows, split and seed.
"""

import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from colab_utils.corpora.manifest import speaker_keys
from colab_utils.protocols.folds import SPLIT_COLUMNS, TESTING_ROLES, FoldError, split_rows
from colab_utils.protocols.published import Protocol, ProtocolError, Task

_STREAM = 23  # apart from the streams of folds and episodes


def pair_task(
    protocol: Protocol, sources: str | Sequence[str], target: str, n_folds: int = 5
) -> Task:
    """The task `sources`-`target` of any corpora, in the manner of a protocol.

    Support is drawn from the other folds of the target; a tenth of the source's speakers validates.

    Args:
        protocol: whose emotions and merging it has.
        sources: the corpus that trains, or several.
        target: the corpus that is tested.
        n_folds: groups of its speakers.

    Raises:
        ProtocolError: the target is among them.
    """
    sources = [sources] if isinstance(sources, str) else list(sources)
    if target in sources:
        raise ProtocolError(f"{target} on both sides: choose two different corpora")
    return protocol.similar_task(
        f"{'+'.join(sources)}-{target}",
        sources,
        [target],
        folds={"by": "speaker", "number": n_folds},
        rest="support",
        valid={"unit": "speaker", "share": 0.1},
    )


def support_draws(
    rows: pd.DataFrame,
    split: pd.DataFrame,
    labels: Sequence[str],
    shots: int,
    n_draws: int,
    seed: int,
) -> np.ndarray:
    """Support sets for one fold, from the utterances that the split marks "support".

    The support of fewer shots is the beginning of that of more, so that curves over k differ in k
    alone; draw d does not depend on how many are made.

    Args:
        rows: the utterances of the task.
        split: its rows of one fold.
        labels: the classes.
        shots: utterances of each class.
        n_draws: how many sets.
        seed: they follow from it and the fold's name.

    Returns:
        Row numbers, int64 (draws, classes, shots).

    Raises:
        FoldError: a class has too few utterances.
    """
    eligible = rows["utt_id"].isin(split.loc[split["role"] == "support", "utt_id"])
    fold = split["fold"].iloc[0]
    by_class, short = [], []
    for label in labels:
        numbers = np.flatnonzero(eligible & (rows["emotion"] == label))
        by_class.append(numbers)
        if len(numbers) < shots:
            short.append(f"{label} has {len(numbers)}")
    if short:
        raise FoldError(
            f"fold {fold}: {shots} shots need as many utterances of each class outside the tested "
            f"fold, and {', '.join(short)}: choose fewer shots or leave the emotion out"
        )
    stream = int.from_bytes(fold.encode()[-6:], "big")
    draws = np.empty((n_draws, len(labels), shots), dtype=np.int64)
    for draw in range(n_draws):
        for number, numbers in enumerate(by_class):
            rng = np.random.default_rng((seed, _STREAM, stream, draw, number))
            draws[draw, number] = rng.permutation(numbers)[:shots]
    return draws


def draws_table(
    rows: pd.DataFrame, split: pd.DataFrame, draws: np.ndarray, seed: int
) -> pd.DataFrame:
    """The split of one fold with its draws.

    Args:
        rows: the utterances of the task.
        split: its rows of one fold.
        draws: of `support_draws`.
        seed: of the repetition.

    Returns:
        A table of SPLIT_COLUMNS: train and valid rows, then for each draw the tested rows, then
        the support of each draw.
    """
    split = split.assign(seed=seed, task=0)[list(SPLIT_COLUMNS)]
    each = np.arange(len(draws))
    support = split_rows(
        rows.iloc[draws.ravel()],
        "support",
        seed=seed,
        fold=split["fold"].iloc[0],
        draw=np.repeat(each, draws[0].size),
    )
    test = split[split["role"] == "test"]
    tested = [test.assign(draw=draw) for draw in each]
    training = split[split["role"].isin(["train", "valid"])]
    return pd.concat([training, *tested, support], ignore_index=True)


def enrolment_clips(rows: pd.DataFrame, unit: str, number: int) -> set[str]:
    """Clips that a corpus or a speaker is known by before the test; labels play no part.

    The same ones always: those whose ids have the lowest checksums. At most half of the clips of a
    speaker (or corpus), so that something is left to be tested.

    Args:
        rows: manifest rows.
        unit: "speaker" or "corpus"; an utterance of an unknown speaker counts for its corpus.
        number: of each.

    Returns:
        Their `utt_id`.
    """
    group = rows["corpus"]
    if unit == "speaker":
        keys = speaker_keys(rows)
        group = keys.where(keys != "", rows["corpus"])
    chosen = _lowest(rows, group, number)
    # corpora whose speakers have one clip each
    silent = ~rows["corpus"].isin(rows.loc[rows["utt_id"].isin(chosen), "corpus"])
    return chosen | _lowest(rows[silent], rows.loc[silent, "corpus"], number)


def _lowest(rows: pd.DataFrame, group: pd.Series, number: int) -> set[str]:
    """The `number` utterances of each group with the lowest checksums, at most half of them."""

    def checksum(utt_id: str) -> tuple[int, str]:
        return zlib.crc32(utt_id.encode()), utt_id

    chosen = set()
    for _, ids in rows.groupby(group)["utt_id"]:
        ordered = sorted(ids, key=checksum)
        most = min(number, len(ordered) // 2)
        chosen.update(ordered[:most])
    return chosen


def without_enrolled(split: pd.DataFrame, enrolled: set[str]) -> pd.DataFrame:
    """A split whose tested rows among `enrolled` have the role "enrolment" instead."""
    leaves = split["role"].isin(TESTING_ROLES) & split["utt_id"].isin(enrolled)
    return split.assign(role=split["role"].where(~leaves, "enrolment"))
