"""k-shot support draws from the other folds of a target corpus.

Pure functions of rows, split and seed.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from colab_utils.protocols.folds import SPLIT_COLUMNS, FoldError, split_rows
from colab_utils.protocols.published import Protocol, ProtocolError, Task

_STREAM = 23  # apart from the streams of folds and episodes


def pair_task(protocol: Protocol, source: str, target: str, n_folds: int = 5) -> Task:
    """The task `source`-`target` of any two corpora, in the manner of a protocol.

    Support is drawn from the other folds of the target; a tenth of the source's speakers validates.

    Args:
        protocol: whose emotions and merging it has.
        source: the corpus that trains.
        target: the corpus that is tested.
        n_folds: groups of its speakers.

    Raises:
        ProtocolError: both are the same.
    """
    if source == target:
        raise ProtocolError(f"{source} on both sides: choose two different corpora")
    return protocol.similar_task(
        f"{source}-{target}",
        [source],
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
