"""From a folder of audio to a manifest of what is usable, with a reason for all that is not."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping

import pandas as pd

from colab_utils import session
from colab_utils.corpora.cards import CorpusCard, load_card, shipped_manifest
from colab_utils.corpora.check import check_manifest
from colab_utils.corpora.decode import Found, decode_rows, find_audio, nfc
from colab_utils.corpora.manifest import ManifestError, speaker_keys, validate
from colab_utils.corpora.parsers import ANNOTATIONS, PARSERS, ForeignNameError, belongs_to
from colab_utils.files import AnyPath, short_hash

PROBLEM_COLUMNS = ("file", "utt_id", "reason")
Problem = tuple[str, str, str]


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a folder holds; `print(scan)` says it in a sentence or two.

    Attributes:
        manifest: usable utterances, COLUMNS and LOCAL_COLUMNS.
        problems: DataFrame(file, utt_id, reason) of what is not usable.
        card: of the corpus, or None.
        ignored: suffix -> number of files that are not audio.
    """

    manifest: pd.DataFrame
    problems: pd.DataFrame
    card: CorpusCard | None = None
    ignored: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        """How much is usable, how much is not and why."""
        names = ", ".join(self.manifest["corpus"].unique()) or "nothing"
        speakers = speaker_keys(self.manifest)
        text = (
            f"{names}: {len(self.manifest)} utterances, {speakers[speakers != ''].nunique()} known"
            f" speakers, {self.manifest['emotion'].nunique()} emotions,"
            f" {self.manifest['duration'].sum() / 60:.1f} min"
        )
        if len(self.problems):
            first = self.problems.iloc[0]
            text += (
                f"; {len(self.problems)} problems (all in .problems), the first: {first['file']}:"
                f" {first['reason']}"
            )
        if self.ignored:
            others = [f"{number} {suffix}" for suffix, number in sorted(self.ignored.items())]
            text += f"; not audio: {', '.join(others)}"
        return text


def scan(corpus: str, root: AnyPath, cache: AnyPath | None = None) -> Scan:
    """Decode what lies below a folder and say which utterances of a known corpus are usable.

    Utterances are found by their file names in any sub-folders, at any rate, with any of
    audio.EXTENSIONS. Files that are missing, foreign, hidden, unreadable or there twice become
    rows of `.problems`; the rest goes on.

    Args:
        corpus: its name.
        root: the folder.
        cache: the CSV of `decode_rows`.

    Returns:
        The Scan.

    Raises:
        ManifestError: when the folder is not there or holds nothing of the corpus.
    """
    root = existing_folder(root)
    card = load_card(corpus)
    found = find_audio(root)
    problems = list(found.refused)
    rows = _named(card, root, found, problems)
    expected = shipped_manifest(card.name)
    missing: list[Problem] = []
    if expected is None:
        rows = _annotated(rows, card.name, root, problems)
        rows = _labelled(rows, card, problems)
    else:
        foreign = ~rows["utt_id"].isin(expected["utt_id"])
        why = f"foreign: a legal name, but not among the utterances of {card.name}"
        rows = set_aside(rows, foreign, why, problems)
        rows = expected.merge(rows[["utt_id", "found"]], on="utt_id")
        absent = expected[~expected["utt_id"].isin(rows["utt_id"])]
        why = "missing: no audio file of this name"
        missing = because(absent.assign(found=absent["path"], reason=why))
    rows = decode_rows(rows, root, cache)
    skip = [f"{card.name}/{bad['path']}" for bad in card.known_bad if bad.get("skip")]
    rows = set_aside(rows, rows["utt_id"].isin(skip), "left out: a known bad file", problems)
    manifest = usable(rows, problems)
    return Scan(manifest, problem_table(problems + missing, card), card, found.ignored)


def existing_folder(root: AnyPath) -> pathlib.Path:
    """The absolute path of an existing folder; raises ManifestError."""
    folder = pathlib.Path(os.path.abspath(os.path.expanduser(root)))
    if not folder.is_dir():
        hint = ": unpack it first" if folder.is_file() else ""
        raise ManifestError(f"{folder}: no such folder{hint}")
    return folder


def because(rows: pd.DataFrame) -> list[Problem]:
    """The problem of each row: its `found` (the file), `utt_id` and `reason`."""
    return list(rows[["found", "utt_id", "reason"]].itertuples(index=False, name=None))


def set_aside(
    rows: pd.DataFrame, bad: pd.Series, reason: str | pd.Series, problems: list[Problem]
) -> pd.DataFrame:
    """The good rows; the bad ones become problems."""
    problems += because(rows.assign(reason=reason)[bad])
    return rows[~bad].reset_index(drop=True)


def _named(
    card: CorpusCard, root: pathlib.Path, found: Found, problems: list[Problem]
) -> pd.DataFrame:
    """Rows (COLUMNS and `found`, the relative file) of the names that the corpus' parser reads.

    The folder's own name counts as the first part of each path: some corpora name the speaker by
    folder.
    """
    if card.name not in PARSERS:
        raise ManifestError(f"{card.name} has no file-name rule: use load_corpus")
    parsed = []
    for file in found.files:
        try:
            row = PARSERS[card.name](pathlib.PurePosixPath(root.name, nfc(file)))
        except ForeignNameError as error:
            problems.append((file, "", f"foreign: {error.reason}"))
        else:
            parsed.append(row | {"found": file})
    if not parsed:
        raise ManifestError(_nothing(card.name, root, found, problems))
    # the same order in every folder layout
    return pd.DataFrame(parsed).sort_values("utt_id", kind="stable", ignore_index=True)


def _nothing(name: str, root: pathlib.Path, found: Found, problems: list[Problem]) -> str:
    """Why nothing of a corpus was found below a folder, and what may have been meant."""
    if not found.files:
        return (
            f"{root}: no audio file in it or its sub-folders ({len(problems)} refused): is this the"
            f" folder of {name}?"
        )
    first = found.files[0]
    reason = problems[-len(found.files)][2]
    other = belongs_to(pathlib.PurePosixPath(root.name, nfc(first)))
    hint = f"; the name is one of {other[0]}" if other else ""
    return (
        f"{root}: none of its {len(found.files)} audio files is one of {name}; the first:"
        f" {first}, {reason}{hint}"
    )


def _annotated(
    rows: pd.DataFrame, name: str, root: pathlib.Path, problems: list[Problem]
) -> pd.DataFrame:
    """Fill in what stands in annotation files; utterances without an entry become problems."""
    if name not in ANNOTATIONS:
        return rows
    table = ANNOTATIONS[name](root)
    bare = ~rows["utt_id"].isin(table.index)
    rows = set_aside(rows, bare, "no entry in the annotation files", problems)
    for column in table:
        rows[column] = rows["utt_id"].map(table[column])
    return rows


def _labelled(rows: pd.DataFrame, card: CorpusCard, problems: list[Problem]) -> pd.DataFrame:
    """Fill in `emotion` by the card's label map; labels that are not in it become problems."""
    raw = rows["emotion_raw"]
    rows = rows.assign(emotion=raw.map(card.label_map))
    strange = rows["emotion"].isna()
    why = "label " + raw.map(repr) + f" is not in the label map of {card.name}.yaml"
    return set_aside(rows, strange, why, problems)


def usable(rows: pd.DataFrame, problems: list[Problem]) -> pd.DataFrame:
    """The rows whose file is good, each utterance once (the first file in order), validated.

    Args:
        rows: COLUMNS, `found`, and what `decode_rows` adds.
        problems: the other rows are added to it.
    """
    good = set_aside(rows, rows["reason"] != "", rows["reason"], problems)
    again = good["utt_id"].duplicated()
    first = good[~again].set_index("utt_id")
    for row in good[again].itertuples():
        used = first.loc[row.utt_id]
        same = "the same samples" if used["audio_sha256"] == row.audio_sha256 else "other samples"
        why = f"duplicate: {same} under the same name as {used['found']}, which is used"
        if used["emotion"] != row.emotion:
            why += f" with the label {used['emotion']} (this one says {row.emotion})"
        problems.append((row.found, row.utt_id, why))
    return validate(good[~again].drop(columns=["found", "reason"]))


def problem_table(problems: list[Problem], card: CorpusCard | None = None) -> pd.DataFrame:
    """DataFrame(file, utt_id, reason); what the card knows of a bad file is added to its reason."""
    known = card.bad_files() if card else {}
    table = pd.DataFrame(problems, columns=list(PROBLEM_COLUMNS), dtype=object)
    notes = table["utt_id"].map(
        lambda utt_id: f" (known: {known[utt_id]})" if utt_id in known else ""
    )
    return table.assign(reason=table["reason"] + notes)


def cache_file(workspace: AnyPath, name: str, audio: AnyPath) -> pathlib.Path:
    """Where it is kept what was learnt of the files of a corpus folder."""
    digits = short_hash(os.path.abspath(audio))
    return pathlib.Path(workspace) / "scans" / f"{name}-{digits}.csv"


def load_corpus(
    name: str,
    audio: AnyPath | None = None,
    workspace: AnyPath | None = None,
) -> Scan:
    """Scan a corpus; print what is usable and every check that did not pass.

    Args:
        name: one of corpus_names(); "synthetic" is made below the workspace.
        audio: the folder of the corpus; of "synthetic" it may be left out.
        workspace: what was decoded is remembered below it (default: session.workspace()).

    Returns:
        The Scan.

    Raises:
        ManifestError: as `scan`, and when `audio` is not given.

    Example:
        >>> corpus = load_corpus("ravdess", "/content/corpora/ravdess")
        >>> corpus.manifest, corpus.problems
    """
    card = load_card(name)
    workspace = workspace or session.workspace()
    if name == "synthetic":
        from colab_utils.corpora.synthetic import make_synthetic_corpus

        folder = audio or pathlib.Path(workspace) / "corpora" / "synthetic"
        result = Scan(validate(make_synthetic_corpus(folder)), problem_table([]), card)
    elif audio is None:
        raise ManifestError(
            f"{name}: no audio comes with the suite ({card.access}, {card.url}); pass audio=<the"
            " folder that holds it>"
        )
    else:
        result = scan(name, audio, cache_file(workspace, name, audio))
    print(result)
    for row in check_manifest(result.manifest, card).query("severity != 'ok'").itertuples():
        print(f"  {row.severity}: {row.check}: {row.detail}")
    return result
