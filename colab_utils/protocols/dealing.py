"""Utterances dealt out in equal shares of each emotion: to folds, and to validation."""

import warnings

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

# of the training utterances, where speakers are unknown and cannot be held out
_VALID_SHARE = 0.2


class FoldError(ValueError):
    """Folds that cannot be made or used; the message names the speaker, fold or emotion."""


def check_emotions(emotions: pd.Series) -> None:
    """Raise FoldError where there is no emotion to be told from another."""
    if emotions.nunique() < 2:
        raise FoldError(
            f"one emotion only ({counts(emotions) or 'none'}), and nothing to tell it from: add"
            " recordings of another, or look at EMOTIONS, MERGE and what was left out"
        )


def counts(emotions: pd.Series | np.ndarray) -> str:
    """`anger 8, fear 2`: utterances of each emotion, the most frequent first."""
    found = pd.Series(emotions, dtype=object).value_counts()
    return ", ".join(f"{emotion} {number}" for emotion, number in found.items())


def grouped_values(
    emotions: pd.Series, units: pd.Series, n_folds: int, seed: int, what: str = "unit(s)"
) -> np.ndarray:
    """The fold ("0", "1", ...) of each row, str (rows,); units stay together.

    Class shares are as equal as the units allow (StratifiedGroupKFold).

    Raises:
        FoldError: fewer units (`what` they are) than folds, or too few utterances of all emotions.
    """
    if n_folds < 2:
        raise FoldError(f"{n_folds} folds leave nobody to train: choose two or more")
    number = units.nunique()
    most = min(number, emotions.value_counts().max())
    if most < n_folds:
        way_out = f"choose at most {most}" if most > 1 else "add more, folds need two or more"
        raise FoldError(
            f"{number} {what} cannot make {n_folds} folds: {way_out} ({counts(emotions)})"
        )
    fold = np.empty(len(units), dtype=object)
    codes, names = units.factorize(sort=True)
    # units with equal class counts are dealt in this order
    order = np.random.default_rng(seed).permutation(len(names))[codes]
    with warnings.catch_warnings():  # an emotion that the training side lacks is refused later
        warnings.filterwarnings("ignore", "The least populated class")
        for number, (_, test) in enumerate(
            StratifiedGroupKFold(n_folds).split(codes, emotions, order)
        ):
            fold[test] = str(number)
    return fold


def some_utterances(
    emotions: np.ndarray, training: np.ndarray, rng: np.random.Generator, what: str
) -> np.ndarray:
    """Numbers of utterances that validate where speakers are unknown.

    Raises FoldError where there are too few of an emotion.
    """
    rows, seed = np.flatnonzero(training), int(rng.integers(2**31))
    stratify = emotions[rows]
    try:
        valid = train_test_split(
            rows, test_size=_VALID_SHARE, stratify=stratify, random_state=seed
        )[1]
    except ValueError as error:
        rarest = pd.Series(stratify).value_counts().index[-1]
        raise FoldError(
            f"{what}: too few utterances to train and to validate on ({counts(stratify)}): add"
            f" more, leave {rarest} out, or choose a method without validation"
        ) from error
    print(
        f"{what}: speakers unknown, so a stratified {_VALID_SHARE:.0%} of the training utterances "
        "validates"
    )
    return valid
