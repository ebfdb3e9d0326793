"""Who is tested in which fold: fold tables, and the splits made from them.

Pure functions of a manifest and a seed.

A fold table has the columns speaker (corpus-local), corpus, fold; where folds do not follow from
speakers (speakers unknown, folds by session or film) it has utt_id besides, one row an utterance. A
split has SPLIT_COLUMNS; its speaker is the key "<corpus>/<speaker>".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse import csgraph

from colab_utils.corpora.manifest import speaker_keys
from colab_utils.protocols.dealing import FoldError, counts, grouped_values, some_utterances
from colab_utils.protocols.recordings import never_tested

SPLIT_COLUMNS = ("seed", "fold", "draw", "task", "utt_id", "speaker", "role")
TRAINING_ROLES, TESTING_ROLES = ("train", "valid"), ("test", "query")
ROLES = ("train", "valid", "support", "query", "test", "enrolment")
# what stands against the tested, and within which columns: training counts for a whole fold
SIDES = ((TRAINING_ROLES, ("seed", "fold")), (("support",), ("seed", "fold", "draw", "task")))


class LeakError(ValueError):
    """A speaker (or film, or utterance) stands on the training and on the test side of a split."""


def unit_keys(rows: pd.DataFrame, unit: str) -> pd.Series:
    """`<corpus>/<value>` of each row's speaker, session or film, "" where it is unknown."""
    keys = rows["corpus"] + "/" + rows[unit]
    return keys.where(rows[unit] != "", "").rename(unit)


def split_rows(
    rows: pd.DataFrame, role: Sequence[str] | str, *, seed: int, fold: str, **more: Any
) -> pd.DataFrame:
    """Rows of a split table.

    Args:
        rows: manifest rows.
        role: of each of them, or of all.
        seed: of the repetition.
        fold: its name.
        **more: draw and task, of each or of all; default 0.
    """
    table = rows[["utt_id"]].assign(
        seed=seed, fold=str(fold), draw=0, task=0, speaker=speaker_keys(rows), role=role
    )
    return table.assign(**more)[list(SPLIT_COLUMNS)].reset_index(drop=True)


def leave_one_speaker_out(manifest: pd.DataFrame) -> pd.DataFrame:
    """A fold table with one fold per speaker, named by the speaker key.

    Unknown speakers: five random stratified folds, printed. Raises FoldError for one speaker.
    """
    if (manifest["speaker"] == "").any():
        return grouped_folds(manifest, 5, seed=0)
    table = manifest[["speaker", "corpus"]].drop_duplicates()
    if len(table) < 2:
        raise FoldError(
            f"one speaker only ({speaker_keys(table).iloc[0]}, {len(manifest)} utterances): leaving"
            " one speaker out needs at least two, so add another"
        )
    table = table.sort_values(["corpus", "speaker"], ignore_index=True)
    return table.assign(fold=speaker_keys(table))


def grouped_folds(manifest: pd.DataFrame, n_folds: int, seed: int) -> pd.DataFrame:
    """A fold table with groups of speakers, class shares as equal as the speakers allow.

    Speakers of one film stay together: dubbed corpora hold each scene in several voices. Utterances
    of unknown speakers are dealt singly (or with their film), which is printed: whether a speaker
    is on both sides is then unknown.

    Args:
        manifest: rows with speaker, corpus, film and emotion.
        n_folds: how many groups.
        seed: the order in which speakers are dealt (`shuffle=True` of scikit-learn mixes up whose
            class counts are whose).

    Returns:
        A fold table.

    Raises:
        FoldError: there are fewer speakers (or groups of speakers who share films) than folds.
    """
    keys, films = speaker_keys(manifest), unit_keys(manifest, "film")
    unknown = keys == ""
    units = linked(keys.where(~unknown, manifest["utt_id"]), films)
    what = "utterance(s) and speaker(s)" if unknown.any() else "speaker(s)"
    if (films != "").any():
        what = "group(s) of speakers by film"
    fold = grouped_values(manifest["emotion"], units, n_folds, seed, what)
    columns = ["speaker", "corpus"]
    if unknown.any():
        columns.append("utt_id")
        print(
            f"{unknown.sum()} utterance(s) without a known speaker are dealt at random, stratified "
            "by emotion: whether speakers are independent is unknown, and every result says so"
        )
    return manifest[columns].assign(fold=fold).drop_duplicates(ignore_index=True)


def linked(units: pd.Series, films: pd.Series) -> pd.Series:
    """The units of each row; those that share a film, if through others, go by the first's name."""
    known = (films != "").to_numpy()
    if not known.any():
        return units
    unit, names = units.factorize(sort=True)
    film = films.factorize()[0]
    # a graph whose nodes are the units and, after them, the films
    nodes = len(names) + film.max() + 1
    edges = unit[known], len(names) + film[known]
    graph = sparse.coo_array((np.ones(known.sum()), edges), shape=(nodes, nodes))
    part = csgraph.connected_components(graph, directed=False)[1]
    first = names.to_series().groupby(part[: len(names)]).transform("first")
    return units.map(first)


def hold_out(
    emotions: np.ndarray,
    units: np.ndarray,
    eligible: np.ndarray,
    rng: np.random.Generator,
    number: int,
    what: str,
    keep: set[str] | None = None,
) -> np.ndarray:
    """Which rows belong to units drawn to be held out, such that all emotions are still left.

    Args:
        emotions: of each row.
        units: their speakers, films or sessions.
        eligible: which rows may be held out, bool (rows,).
        rng: where the units are drawn from.
        number: how many units.
        what: whose they are, for a message.
        keep: the emotions that have to be left; default: all of the eligible rows.

    Returns:
        bool (rows,).

    Raises:
        FoldError: no such draw is found.
    """
    names = np.unique(units[eligible])
    keep = set(emotions[eligible]) if keep is None else keep
    if number >= len(names):
        raise FoldError(
            f"{what}: {number} held-out speaker(s), films or sessions out of {len(names)} leave "
            "nobody to train: hold out fewer, or add speakers"
        )
    for _ in range(200):
        chosen = eligible & np.isin(units, rng.choice(names, number, replace=False))
        if keep <= set(emotions[eligible & ~chosen]):
            return chosen
    raise FoldError(
        f"{what}: no {number} held-out speaker(s), films or sessions leave every tested emotion in "
        "training; choose fewer"
    )


def folds_from_table(manifest: pd.DataFrame, frozen: pd.DataFrame) -> pd.DataFrame:
    """The fold table of one corpus from frozen folds.

    Args:
        manifest: rows of the corpus.
        frozen: columns fold and speaker (or session, or film).

    Returns:
        A fold table.

    Raises:
        FoldError: columns that are missing, a unit without a fold or with two, several corpora.
    """
    there = set(frozen.columns)
    units = [unit for unit in ("speaker", "session", "film") if unit in there]
    if not units or "fold" not in there:
        raise FoldError(
            f"frozen folds have the columns {', '.join(frozen.columns)}: fold and one of speaker, "
            "session, film are needed"
        )
    unit = units[0]
    if manifest["corpus"].nunique() > 1:
        raise FoldError("the manifest holds several corpora: each has frozen folds of its own")
    fold_of = frozen.astype(str).set_index(unit)["fold"]
    if fold_of.index.has_duplicates:
        twice = fold_of.index[fold_of.index.duplicated()][0]
        raise FoldError(f"{unit} {twice!r} stands twice in the fold table")
    fold = manifest[unit].map(fold_of)
    if fold.isna().any():
        lost = sorted(map(repr, manifest.loc[fold.isna(), unit].unique()))
        raise FoldError(f"{unit}(s) without a fold: {', '.join(lost[:10])}")
    columns = ["speaker", "corpus"] if unit == "speaker" else ["speaker", "corpus", "utt_id"]
    return manifest[columns].assign(fold=fold).drop_duplicates(ignore_index=True)


def make_split(
    manifest: pd.DataFrame,
    folds: pd.DataFrame,
    seed: int = 0,
    n_valid_speakers: int = 0,
    *,
    allow_speaker_overlap: bool = False,
) -> pd.DataFrame:
    """The split table of every fold: its speakers are tested, the others train and validate.

    Validation speakers are drawn by (seed, fold) such that every tested emotion is left in
    training. Where speakers are unknown a stratified fifth of the training utterances validates.

    Args:
        manifest: the rows.
        folds: a fold table.
        seed: of the draw.
        n_valid_speakers: how many speakers of the training side validate.
        allow_speaker_overlap: a speaker may stand on both sides, and every result says so.

    Returns:
        A table of SPLIT_COLUMNS.

    Raises:
        FoldError: an emotion that nobody on the training side speaks, an utterance without a fold,
            too few speakers.
        LeakError: a speaker or film stands on both sides.

    Example:
        >>> split = make_split(rows, leave_one_speaker_out(rows), n_valid_speakers=1)
    """
    on = ["utt_id"] if "utt_id" in folds.columns else ["speaker", "corpus"]
    folds = folds[[*on, "fold"]].astype(str)
    fold = manifest[["utt_id", "speaker", "corpus"]].merge(folds, "left", on, validate="m:1")
    lost = fold.loc[fold["fold"].isna(), "utt_id"]
    if len(lost):
        raise FoldError(f"{lost.iloc[0]} has no fold: its speaker is not in the fold table")
    fold = fold["fold"].to_numpy()
    names = sorted(set(fold))
    if len(names) < 2:
        raise FoldError(f"all utterances are in fold {fold[0]!r}: nobody is left to train")
    parts = []
    for number, name in enumerate(names):
        stream = seed, number
        parts.append(split_once(manifest, fold == name, name, stream, seed, n_valid_speakers))
    split = pd.concat(parts, ignore_index=True)
    films = unit_keys(manifest, "film").set_axis(manifest["utt_id"])
    check_disjoint(split, allow_speaker_overlap, films)
    return split


def split_once(
    manifest: pd.DataFrame,
    test: np.ndarray,
    fold: str,
    stream: tuple[int, ...],
    seed: int,
    n_valid_speakers: int = 0,
) -> pd.DataFrame:
    """The split of one fold.

    Args:
        manifest: the rows.
        test: which of them are tested, bool (rows,).
        fold: its name.
        stream: seeds the choice of validation speakers.
        seed: of the repetition.
        n_valid_speakers: how many speakers of the training side validate.

    Returns:
        A table of SPLIT_COLUMNS.

    Raises:
        FoldError: a tested emotion that nobody on the training side speaks, too few speakers.
    """
    emotions, keys = manifest["emotion"].to_numpy(), speaker_keys(manifest).to_numpy()
    tested = set(emotions[test])
    silent = tested - set(emotions[~test])
    if silent:
        spoken = counts(emotions[np.isin(emotions, list(silent))])
        raise FoldError(
            f"fold {fold}: nobody on the training side speaks {', '.join(sorted(silent))}"
            f" (utterances, all tested: {spoken}); leave it out or choose other folds"
        )
    role = np.where(test, "test", "train").astype(object)
    if n_valid_speakers:
        rng = np.random.default_rng(stream)
        what = f"fold {fold}"
        training = never_tested(manifest, ~test, test)
        if (keys[~test] == "").any():
            held = some_utterances(emotions, training, rng, what)
        else:
            what += f" of {len(set(keys))} speaker(s)"
            held = hold_out(emotions, keys, training, rng, n_valid_speakers, what, keep=tested)
        role[held] = "valid"
    return split_rows(manifest, role, seed=seed, fold=fold)


def check_disjoint(
    split: pd.DataFrame, allow_speaker_overlap: bool = False, units: pd.Series | None = None
) -> None:
    """Raise LeakError, naming them, for speakers on both sides of a fold.

    Sides are train and valid against test and query, and support against query.

    Args:
        split: a table of SPLIT_COLUMNS.
        allow_speaker_overlap: only the same utterance on both sides is refused.
        units: another unit by utt_id, such as the film of a dubbed corpus; "" is not compared.
    """
    _refuse(split, split["utt_id"], "utterance")
    if allow_speaker_overlap:
        return
    way_out = " (allow_speaker_overlap=True runs it all the same, and every result says so)"
    _refuse(split, split["speaker"], "speaker", way_out)
    if units is not None:
        films = units.name == "film"
        way_out = " (grouped folds keep the speakers of a film together)" if films else ""
        _refuse(split, split["utt_id"].map(units).fillna(""), units.name or "unit", way_out)


def _refuse(split: pd.DataFrame, unit: pd.Series, what: str, way_out: str = "") -> None:
    """Raise LeakError for units on both sides."""
    names = on_both_sides(split, unit)
    if names:
        more = " ..." if len(names) > 10 else ""
        told = f"{', '.join(names[:10])}{more}{way_out}"
        raise LeakError(f"{what}(s) on both the training and the test side: {told}")


def on_both_sides(split: pd.DataFrame, unit: pd.Series) -> list[str]:
    """The units of the split's rows that stand on both sides (SIDES), sorted; "" is none."""
    unknown = set(split["role"]) - set(ROLES)
    if unknown:
        named = ", ".join(sorted(map(str, unknown)))
        raise FoldError(f"unknown role(s) in the split: {named}; choose from {', '.join(ROLES)}")
    table = split.assign(unit=unit.to_numpy())
    table = table[table["unit"] != ""]
    tested = table[table["role"].isin(TESTING_ROLES)]
    found: set[str] = set()
    for roles, columns in SIDES:
        on = [*columns, "unit"]
        left = table.loc[table["role"].isin(roles), on].drop_duplicates()
        found |= set(tested.merge(left, on=on)["unit"])
    return sorted(found)


def speaker_independence(split: pd.DataFrame, persons: pd.Series | None = None) -> str:
    """What a result of this split has to say of its speakers.

    Args:
        split: a table of SPLIT_COLUMNS.
        persons: of `copies.persons`.

    Returns:
        "independent", "overlap allowed" or "unknown" (of some speakers it is not known who).
    """
    if (split["speaker"] == "").any():
        return "unknown"
    if on_both_sides(split, split["speaker"]):
        return "overlap allowed"
    if persons is not None and on_both_sides(split, split["utt_id"].map(persons)):
        return "unknown"
    return "independent"
