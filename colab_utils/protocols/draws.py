"""k-shot support draws from the other folds of a target corpus: pure functions of rows, split and
seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from colab_utils.corpora.manifest import speaker_keys
from colab_utils.protocols.folds import SPLIT_COLUMNS, FoldError
from colab_utils.protocols.published import Protocol, ProtocolError, Task

_STREAM = 23  # apart from the streams of folds and episodes


def pair_task(protocol: Protocol, source: str, target: str, n_folds: int = 5) -> Task:
    """The task `source`-`target` of any two corpora, in the manner of `protocol`: the target in its
    `n_folds` groups of speakers, support drawn from the other folds, a tenth of the source's
    speakers for validation. Raises ProtocolError where both are the same.
    """
    if source == target:
        raise ProtocolError(f"{source} on both sides: choose two different corpora")
    first = next(iter(protocol.tasks.values()))
    return Task(
        name=f"{source}-{target}",
        train={"corpus": [source]},
        test={"corpus": [target]},
        emotions=first.emotions,
        merge=first.merge,
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
    """Support sets for one fold: row numbers, int64 (draws, classes, shots), from the utterances
    that the split marks "support".

    rows: the utterances of the task, split: its rows of one fold. The support of fewer shots is the
    beginning of that of more, so that curves over k differ in k alone; draw d does not depend on
    how many are made. Raises FoldError where a class has too few utterances.
    """
    eligible = rows["utt_id"].isin(split.loc[split["role"] == "support", "utt_id"]).to_numpy()
    fold = "".join(sorted(set(split["fold"])))
    by_class = [
        np.flatnonzero(eligible & (rows["emotion"] == label).to_numpy()) for label in labels
    ]
    short = [
        f"{label} has {len(numbers)}"
        for label, numbers in zip(labels, by_class, strict=True)
        if len(numbers) < shots
    ]
    if short:
        raise FoldError(
            f"fold {fold}: {shots} shots need as many utterances of each class outside the tested"
            f" fold, and {', '.join(short)}: choose fewer shots or leave the emotion out"
        )
    stream = int.from_bytes(fold.encode()[-6:], "big")
    return np.stack(
        [
            np.stack(
                [
                    np.random.default_rng((seed, _STREAM, stream, draw, number)).permutation(
                        numbers
                    )[:shots]
                    for number, numbers in enumerate(by_class)
                ]
            )
            for draw in range(n_draws)
        ]
    )


def draws_table(
    rows: pd.DataFrame, split: pd.DataFrame, draws: np.ndarray, seed: int
) -> pd.DataFrame:
    """The split rows of one fold and its draws (folds.SPLIT_COLUMNS): train and valid rows, tested
    rows, and the support of each draw.
    """
    fixed = split[split["role"].isin(["train", "valid", "test"])].assign(seed=seed, task=0)
    numbers = draws.reshape(len(draws), -1)
    chosen = rows.iloc[numbers.ravel()]
    support = pd.DataFrame(
        {
            "seed": seed,
            "fold": split["fold"].iloc[0],
            "draw": np.repeat(np.arange(len(draws)), numbers.shape[1]),
            "task": 0,
            "utt_id": chosen["utt_id"].to_numpy(),
            "speaker": speaker_keys(chosen).to_numpy(),
            "role": "support",
        }
    )
    tested = fixed[fixed["role"] == "test"]
    tested = pd.concat([tested.assign(draw=draw) for draw in range(len(draws))], ignore_index=True)
    return pd.concat([fixed[fixed["role"] != "test"], tested, support], ignore_index=True)[
        list(SPLIT_COLUMNS)
    ]
