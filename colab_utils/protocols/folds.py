"""Who is tested in which fold: fold tables, and the splits made from them.

Pure functions of a manifest and a seed.

A fold table has the columns speaker (corpus-local), corpus, fold; where folds do not follow from
speakers (speakers unknown, folds by session or film) it has utt_id besides, one row an utterance. A
split has SPLIT_COLUMNS; its speaker is the key "<corpus>/<speaker>".
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse import csgraph
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from colab_utils.corpora.manifest import speaker_keys

SPLIT_COLUMNS = ("seed", "fold", "draw", "task", "utt_id", "speaker", "role")
TRAINING_ROLES, TESTING_ROLES = ("train", "valid"), ("test", "query")
ROLES = ("train", "valid", "support", "query", "test")
# of the training utterances, where speakers are unknown and cannot be held out
_VALID_SHARE = 0.2


class FoldError(ValueError):
    """Folds that cannot be made or used with this manifest; the message names the speaker, fold or
    emotion.
    """


class LeakError(ValueError):
    """A speaker (or film, or utterance) stands on the training side and on the test side of one
    split.
    """


def leave_one_speaker_out(manifest: pd.DataFrame) -> pd.DataFrame:
    """A fold table with one fold per speaker, named by the speaker key.

    Unknown speakers: five random stratified folds, printed.
    """
    if (manifest["speaker"] == "").any():
        return grouped_folds(manifest, 5, seed=0)
    table = (
        manifest[["speaker", "corpus"]]
        .drop_duplicates()
        .sort_values(["corpus", "speaker"], ignore_index=True)
    )
    if len(table) < 2:
        raise FoldError("one speaker only: leaving one speaker out needs at least two")
    return table.assign(fold=speaker_keys(table))


def grouped_folds(manifest: pd.DataFrame, n_folds: int, seed: int) -> pd.DataFrame:
    """A fold table with `n_folds` groups of speakers, class shares as equal as the speakers allow
    (StratifiedGroupKFold).

    The seed decides the order in which speakers are dealt: `shuffle=True` of scikit-learn mixes up
    whose class counts are whose.

    Speakers of one film stay together: dubbed corpora hold each scene in several voices. Utterances
    of unknown speakers are dealt singly (or with their film), which is printed: whether a speaker
    is on both sides is then unknown. Raises FoldError where there are fewer speakers (or groups of
    speakers who share films) than folds.
    """
    keys, films = speaker_keys(manifest), film_keys(manifest)
    unknown = keys == ""
    units = _linked(keys.where(~unknown, manifest["utt_id"]), films)
    fold = grouped_values(
        manifest["emotion"],
        units,
        n_folds,
        seed,
        "group(s) of speakers by film" if (films != "").any() else "speaker(s)",
    )
    columns = ["speaker", "corpus"] + (["utt_id"] if unknown.any() else [])
    if unknown.any():
        print(
            f"{unknown.sum()} utterance(s) without a known speaker are dealt at random, stratified"
            " by emotion: whether speakers are independent is unknown, and every result says so"
        )
    return manifest[columns].assign(fold=fold).drop_duplicates(ignore_index=True)


def film_keys(manifest: pd.DataFrame) -> pd.Series:
    """`<corpus>/<film>` for each row, "" where the utterance is of no known film."""
    return (
        (manifest["corpus"] + "/" + manifest["film"])
        .where(manifest["film"] != "", "")
        .rename("film")
    )


def _linked(units: pd.Series, films: pd.Series) -> pd.Series:
    """The units of each row, those that share a film (directly or through others) under the name of
    the first of them.
    """
    known = (films != "").to_numpy()
    if not known.any():
        return units
    (unit, names), film = units.factorize(sort=True), films.factorize()[0]
    size = len(names) + film.max() + 1
    shared = sparse.coo_array(
        (np.ones(known.sum()), (unit[known], len(names) + film[known])), shape=(size, size)
    )
    part = csgraph.connected_components(shared, directed=False)[1][: len(names)]
    first = names[np.unique(part, return_index=True)[1]]
    return pd.Series(first[np.unique(part, return_inverse=True)[1]][unit], index=units.index)


def grouped_values(
    emotions: pd.Series, units: pd.Series, n_folds: int, seed: int, what: str = "unit(s)"
) -> np.ndarray:
    """The fold ("0", "1", ...) of each row, str (rows,): units stay together, class shares are as
    equal as they allow (StratifiedGroupKFold).

    Raises FoldError where there are fewer units than folds.
    """
    if units.nunique() < n_folds:
        raise FoldError(
            f"{units.nunique()} {what} cannot make {n_folds} folds: choose at most"
            f" {units.nunique()}"
        )
    fold = np.empty(len(units), dtype=object)
    codes, names = units.factorize(sort=True)
    # units with equal class counts are dealt in this order
    order = np.random.default_rng(seed).permutation(len(names))[codes]
    for number, (_, test) in enumerate(
        StratifiedGroupKFold(n_splits=n_folds).split(np.empty(len(units)), emotions, order)
    ):
        fold[test] = str(number)
    return fold


def hold_out(
    emotions: np.ndarray,
    units: np.ndarray,
    eligible: np.ndarray,
    rng: np.random.Generator,
    number: int,
    what: str,
    keep: set[str] | None = None,
) -> np.ndarray:
    """Which rows belong to `number` units drawn from the eligible rows, bool (rows,), such that the
    others still have every emotion of `keep`.

    keep: default all emotions of the eligible rows. Raises FoldError, naming `what`, where no such
    draw is found.
    """
    names = np.array(sorted(set(units[eligible])))
    keep = set(emotions[eligible]) if keep is None else keep
    if number >= len(names):
        raise FoldError(
            f"{what}: {number} held-out speaker(s), films or sessions out of {len(names)} leave"
            " nobody to train"
        )
    for _ in range(200):
        chosen = eligible & np.isin(units, rng.choice(names, number, replace=False))
        if keep <= set(emotions[eligible & ~chosen]):
            return chosen
    raise FoldError(
        f"{what}: no {number} held-out speaker(s), films or sessions leave every tested emotion in"
        " training; choose fewer"
    )


def folds_from_table(manifest: pd.DataFrame, frozen: pd.DataFrame) -> pd.DataFrame:
    """The fold table of this manifest from frozen folds: columns fold and speaker (or session, or
    film), and corpus for several corpora.

    Raises FoldError for a speaker without a fold, or where the corpus column is needed and missing.
    """
    unit = next((name for name in ("speaker", "session", "film") if name in frozen.columns), None)
    if unit is None or "fold" not in frozen.columns:
        raise FoldError(
            f"frozen folds have the columns {', '.join(frozen.columns)}: fold and one of speaker,"
            " session, film are needed"
        )
    if "corpus" not in frozen.columns and manifest["corpus"].nunique() > 1:
        raise FoldError("the manifest holds several corpora: the fold table needs a corpus column")
    on = [unit] + (["corpus"] if "corpus" in frozen.columns else [])
    frozen = frozen[[*on, "fold"]].astype(str)
    if frozen.duplicated(on).any():
        raise FoldError(
            f"{unit} {frozen[frozen.duplicated(on)].iloc[0][unit]!r} stands twice in the fold table"
        )
    table = manifest[["utt_id", "speaker", "corpus", *({unit} - {"speaker"})]].merge(
        frozen, on=on, how="left"
    )
    lost = table["fold"].isna()
    if lost.any():
        raise FoldError(
            f"{unit}(s) without a fold:"
            f" {', '.join(sorted(map(repr, set(table.loc[lost, unit])))[:10])}"
        )
    columns = ["speaker", "corpus", "fold"] + ([] if unit == "speaker" else ["utt_id"])
    return table[columns].drop_duplicates(ignore_index=True)


def make_split(
    manifest: pd.DataFrame,
    folds: pd.DataFrame,
    seed: int = 0,
    n_valid_speakers: int = 0,
    *,
    allow_speaker_overlap: bool = False,
) -> pd.DataFrame:
    """The split table of every fold: its speakers are tested, the others train, `n_valid_speakers`
    of the others validate.

    Validation speakers are drawn by (seed, fold) such that every tested emotion is left in
    training. Where speakers are unknown a stratified fifth of the training utterances validates.
    Raises FoldError (an emotion that nobody on the training side speaks, an utterance without a
    fold, too few speakers) and LeakError.
    """
    on = ["utt_id"] if "utt_id" in folds.columns else ["speaker", "corpus"]
    fold = (
        manifest[["utt_id", "speaker", "corpus"]]
        .merge(folds[[*on, "fold"]].astype(str), on=on, how="left", validate="m:1")["fold"]
        .to_numpy()
    )
    if pd.isna(fold).any():
        raise FoldError(
            f"{manifest['utt_id'].iloc[int(np.argmax(pd.isna(fold)))]} has no fold: its speaker is"
            " not in the fold table"
        )
    if len(set(fold)) < 2:
        raise FoldError(f"all utterances are in fold {fold[0]!r}: nobody is left to train")
    parts = [
        split_once(manifest, fold == name, name, (seed, number), seed, n_valid_speakers)
        for number, name in enumerate(sorted(set(fold)))
    ]
    split = pd.concat(parts, ignore_index=True)
    check_disjoint(split, allow_speaker_overlap, film_keys(manifest).set_axis(manifest["utt_id"]))
    return split


def split_once(
    manifest: pd.DataFrame,
    test: np.ndarray,
    fold: str,
    stream: tuple[int, ...],
    seed: int,
    n_valid_speakers: int = 0,
) -> pd.DataFrame:
    """The split of one fold. test: bool (utterances,); stream: seeds the choice of validation
    speakers; raises FoldError.
    """
    emotions, keys = manifest["emotion"].to_numpy(), speaker_keys(manifest).to_numpy()
    tested = set(emotions[test])
    silent = tested - set(emotions[~test])
    if silent:
        raise FoldError(
            f"fold {fold}: nobody on the training side speaks {', '.join(sorted(silent))}; leave it"
            " out or choose other folds"
        )
    role = np.where(test, "test", "train").astype(object)
    if n_valid_speakers:
        role[_validation(emotions, keys, ~test, tested, fold, stream, n_valid_speakers)] = "valid"
    return pd.DataFrame(
        {
            "seed": seed,
            "fold": str(fold),
            "draw": 0,
            "task": 0,
            "utt_id": manifest["utt_id"].to_numpy(),
            "speaker": keys,
            "role": role,
        }
    )[list(SPLIT_COLUMNS)]


def _validation(
    emotions: np.ndarray,
    keys: np.ndarray,
    training: np.ndarray,
    tested: set[str],
    fold: str,
    stream: tuple[int, ...],
    n_speakers: int,
) -> np.ndarray:
    """Which utterances validate, bool (utterances,): speakers of the training side that leave every
    tested emotion in training.
    """
    rng = np.random.default_rng(stream)
    if (keys[training] == "").any():
        rows = np.flatnonzero(training)
        print(
            f"fold {fold}: speakers unknown, so a stratified {_VALID_SHARE:.0%} of the training"
            " utterances validates"
        )
        held = train_test_split(
            rows,
            test_size=_VALID_SHARE,
            stratify=emotions[rows],
            random_state=int(rng.integers(2**31)),
        )[1]
        return np.isin(np.arange(len(keys)), held)
    return hold_out(emotions, keys, training, rng, n_speakers, f"fold {fold}", keep=tested)


def check_disjoint(
    split: pd.DataFrame, allow_speaker_overlap: bool = False, units: pd.Series | None = None
) -> None:
    """Raise LeakError, naming them, for speakers on both sides of a fold: train/valid against
    test/query, support against query.

    units: another unit for each utt_id (index) such as the film of a dubbed corpus; "" is unknown
    and is not compared. The same utterance on both sides is refused even with
    `allow_speaker_overlap`.
    """
    for column, allowed in (("utt_id", False), ("speaker", allow_speaker_overlap)):
        names = _on_both_sides(split, split[column])
        if names and not allowed:
            what = "utterance" if column == "utt_id" else "speaker"
            raise LeakError(
                f"{what}(s) on both the training and the test side:"
                f" {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}"
                + (
                    ""
                    if column == "utt_id"
                    else (
                        " (allow_speaker_overlap=True runs it all the same, and every result"
                        " says so)"
                    )
                )
            )
    if units is not None and not allow_speaker_overlap:
        names = _on_both_sides(split, split["utt_id"].map(units).fillna(""))
        if names:
            raise LeakError(
                f"{units.name or 'unit'}(s) on both the training and the test side:"
                f" {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}"
                + (
                    " (grouped folds keep the speakers of a film together)"
                    if units.name == "film"
                    else ""
                )
            )


def _on_both_sides(split: pd.DataFrame, unit: pd.Series) -> list[str]:
    """The units that stand on both sides of a fold, sorted.

    Training rows count for every draw and task of their fold.
    """
    unknown = set(split["role"]) - set(ROLES)
    if unknown:
        raise FoldError(
            f"unknown role(s) in the split: {', '.join(sorted(map(str, unknown)))}; choose from"
            f" {', '.join(ROLES)}"
        )
    table = split[["seed", "fold", "draw", "task", "role"]].assign(unit=unit.to_numpy())
    table = table[table["unit"] != ""]
    tested, found = table["role"].isin(TESTING_ROLES), set()
    for roles, on in (
        (TRAINING_ROLES, ["seed", "fold", "unit"]),
        (("support",), ["seed", "fold", "draw", "task", "unit"]),
    ):
        left = table.loc[table["role"].isin(roles), on].drop_duplicates()
        found |= set(left.merge(table.loc[tested, on].drop_duplicates(), on=on)["unit"])
    return sorted(found)


def speaker_independence(split: pd.DataFrame) -> str:
    """What a result of this split has to say: "independent", "overlap allowed" or "unknown" (some
    speakers are not known).
    """
    if (split["speaker"] == "").any():
        return "unknown"
    return "overlap allowed" if _on_both_sides(split, split["speaker"]) else "independent"
