"""From a folder of audio to a manifest of what is usable, with a reason for all that is not."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping

import pandas as pd

from colab_utils import session
from colab_utils.corpora.archives import what_lies
from colab_utils.corpora.cards import CorpusCard, load_card, shipped_manifest
from colab_utils.corpora.check import check_manifest
from colab_utils.corpora.decode import Found, decode_rows, find_audio, nfc
from colab_utils.corpora.download import locate_corpus, unpack_inside
from colab_utils.corpora.manifest import ManifestError, speaker_keys, text_faults, validate
from colab_utils.corpora.parsers import ANNOTATIONS, PARSERS, ForeignNameError, belongs_to
from colab_utils.files import AnyPath, short_hash

PROBLEM_COLUMNS = ("file", "utt_id", "reason")
Problem = tuple[str, str, str]
LOSSY = (".mp3", ".ogg", ".opus", ".m4a", ".webm")
NESTED = 2  # an archive in the folder, and archives in that archive


class NothingFoundError(ManifestError):
    """A folder that holds no file of the corpus; the message says what it holds."""


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a folder holds; `print(scan)` says it in a sentence or two.

    Attributes:
        manifest: usable utterances, COLUMNS and LOCAL_COLUMNS.
        problems: DataFrame(file, utt_id, reason) of what is not usable.
        card: of the corpus, or None.
        ignored: suffix -> number of files that are not audio.
        notes: DataFrame(file, utt_id, note) of usable files in which something was set right.
    """

    manifest: pd.DataFrame
    problems: pd.DataFrame
    card: CorpusCard | None = None
    ignored: Mapping[str, int] = dataclasses.field(default_factory=dict)
    notes: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)

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
        if len(self.notes):
            first = self.notes.iloc[0]
            text += (
                f"; {len(self.notes)} set right (all in .notes), the first: {first['file']}:"
                f" {first['note']}"
            )
        if self.ignored:
            others = [f"{number} {suffix}" for suffix, number in sorted(self.ignored.items())]
            text += f"; not audio: {', '.join(others)}"
        return text


def scan(corpus: str, root: AnyPath, cache: AnyPath | None = None) -> Scan:
    """Decode what lies below a folder and say which utterances of a known corpus are usable.

    Utterances are found by their file names in any sub-folders, at any rate, with any of
    audio.EXTENSIONS. Files that are missing, foreign, hidden, unreadable or there twice become
    rows of `.problems`; the rest goes on. Of two files of one utterance a lossless one is used.

    Args:
        corpus: its name.
        root: the folder.
        cache: the CSV of `decode_rows`.

    Returns:
        The Scan.

    Raises:
        ManifestError: when the folder is not there.
        NothingFoundError: when it holds nothing of the corpus.
    """
    root = existing_folder(root)
    card = load_card(corpus)
    found = find_audio(root)
    sieve = _named(card, root, found)
    expected = shipped_manifest(card.name)
    absent = []
    if expected is None:
        _annotate(sieve, card.name, root)
        _label(sieve, card)
    else:
        foreign = ~sieve.rows["utt_id"].isin(expected["utt_id"])
        why = f"foreign: a legal name, but not among the utterances of {card.name}"
        sieve.take_out(foreign, why)
        sieve.rows = expected.merge(sieve.rows[["utt_id", "found"]], on="utt_id")
        missing = expected[~expected["utt_id"].isin(sieve.rows["utt_id"])]
        for row in missing.itertuples():
            absent.append((row.path, row.utt_id, "missing: no audio file of this name"))
    skip = [f"{card.name}/{bad['path']}" for bad in card.known_bad if bad.get("skip")]
    sieve.take_out(sieve.rows["utt_id"].isin(skip), "left out: a known bad file")
    sieve.decode(root, cache)
    sieve.problems += absent
    return sieve.scan(card, found.ignored)


class Sieve:
    """Rows that may become utterances, and the problems of those that cannot.

    Args:
        rows: COLUMNS and `found`, the file relative to a folder.
        problems: what is known already, as (file, utt_id, reason).
    """

    def __init__(self, rows: pd.DataFrame, problems: list[Problem]):
        self.rows = rows
        self.problems = problems

    def take_out(self, bad: pd.Series, reason: str | pd.Series) -> None:
        """Make problems of the bad rows: one reason for all, or one each."""
        out = self.rows.assign(reason=reason)
        for row in out[bad].itertuples():
            problem = (row.found, row.utt_id, row.reason)
            self.problems.append(problem)
        self.rows = self.rows[~bad].reset_index(drop=True)

    def decode(self, root: pathlib.Path, cache: AnyPath | None) -> None:
        """Keep the rows whose texts and file are good, each utterance once.

        Of several files of one utterance the first lossless one in order is kept, or the first.
        """
        self.rows = decode_rows(self.rows, root, cache)
        self._name_substitutes()
        self.take_out(self.rows["reason"] != "", self.rows["reason"])
        faults = text_faults(self.rows)
        self.take_out(faults != "", faults)
        again = self._lossless_first()["utt_id"].duplicated().reindex(self.rows.index)
        first = self.rows[~again].set_index("utt_id")
        reasons = pd.Series("", index=self.rows.index)
        for row in self.rows[again].itertuples():
            used = first.loc[row.utt_id]
            same = "the same" if used["audio_sha256"] == row.audio_sha256 else "other"
            why = f"duplicate: {same} samples under the same name as {used['found']}, which is used"
            if used["emotion"] != row.emotion:
                why += f" with the label {used['emotion']} (this one says {row.emotion})"
            reasons[row.Index] = why
        self.take_out(again, reasons)

    def _lossless_first(self) -> pd.DataFrame:
        """The rows, those of lossy files behind the others: MP3s are made of WAVs."""
        lossy = self.rows["found"].str.lower().str.endswith(LOSSY)
        return self.rows.assign(lossy=lossy).sort_values("lossy", kind="stable")

    def _name_substitutes(self) -> None:
        """Add to the reason of a file what is used of the same utterance in its place."""
        ordered = self._lossless_first()
        good = ordered[ordered["reason"] == ""].drop_duplicates("utt_id")
        used = dict(zip(good["utt_id"], good["found"], strict=True))
        for row in self.rows[self.rows["reason"] != ""].itertuples():
            if row.utt_id in used:
                told = f"{row.reason}; {used[row.utt_id]} is used in its place"
                self.rows.loc[row.Index, "reason"] = told

    def scan(
        self, card: CorpusCard | None = None, ignored: Mapping[str, int] | None = None
    ) -> Scan:
        """What is left, validated; what the card knows of a bad file is added to its reason."""
        known = card.bad_files() if card else {}
        problems = []
        for file, utt_id, reason in self.problems:
            note = f" (known: {known[utt_id]})" if utt_id in known else ""
            problems.append((file, utt_id, reason + note))
        table = pd.DataFrame(problems, columns=list(PROBLEM_COLUMNS), dtype=object)
        manifest = validate(self.rows.drop(columns=["found", "reason", "note"]))
        noted = self.rows.loc[self.rows["note"] != "", ["found", "utt_id", "note"]]
        notes = noted.rename(columns={"found": "file"}).reset_index(drop=True)
        return Scan(manifest, table, card, ignored or {}, notes)


def existing_folder(root: AnyPath) -> pathlib.Path:
    """The absolute path of an existing folder; raises ManifestError."""
    folder = pathlib.Path(os.path.abspath(os.path.expanduser(root)))
    if folder.is_file():
        raise ManifestError(
            f"{folder} is a file: give the folder that holds the audio (of an archive: unpack it"
            " first)"
        )
    if not folder.is_dir():
        near = next(parent for parent in folder.parents if parent.is_dir())
        raise ManifestError(f"{folder}: no such folder; {near} is there, {what_lies(near, {})}")
    return folder


def _named(card: CorpusCard, root: pathlib.Path, found: Found) -> Sieve:
    """The files whose names the corpus' parser reads; the others are problems.

    The folder's own name counts as the first part of each path: some corpora name the speaker by
    folder.
    """
    if card.name not in PARSERS:
        raise ManifestError(f"{card.name} has no file-name rule: use load_corpus")
    parsed, foreign = [], []
    for file in found.files:
        try:
            row = PARSERS[card.name](pathlib.PurePosixPath(root.name, nfc(file)))
        except ForeignNameError as error:
            foreign.append((file, "", f"foreign: {error.reason}"))
        else:
            parsed.append(row | {"found": file})
    if not parsed:
        raise NothingFoundError(_nothing(card, root, found, foreign))
    # the same order in every folder layout
    rows = pd.DataFrame(parsed).sort_values("utt_id", kind="stable", ignore_index=True)
    return Sieve(rows, found.refused + foreign)


def _nothing(card: CorpusCard, root: pathlib.Path, found: Found, foreign: list[Problem]) -> str:
    """Why nothing of a corpus was found below a folder, what is there and what may be meant."""
    there = what_lies(root, found.ignored)
    if not foreign:
        refused = ""
        if found.refused:
            file, _, reason = found.refused[0]
            refused = f" ({len(found.refused)} refused, the first: {file}, {reason})"
        return (
            f"{root}: no audio file in it or its sub-folders{refused}; {there}; is this the folder"
            f" of {card.name}? Its files are called so: {card.naming}"
        )
    first, _, reason = foreign[0]
    other = belongs_to(pathlib.PurePosixPath(root.name, nfc(first)))
    hint = f"; the name is one of {other[0]}" if other else ""
    return (
        f"{root}: none of its {len(foreign)} audio files is one of {card.name}; the first: {first},"
        f" {reason}{hint}; {there}"
    )


def _annotate(sieve: Sieve, name: str, root: pathlib.Path) -> None:
    """Fill in what stands in annotation files; utterances without an entry are taken out."""
    if name in ANNOTATIONS:
        table = ANNOTATIONS[name](root)
        bare = ~sieve.rows["utt_id"].isin(table.index)
        sieve.take_out(bare, "no entry in the annotation files")
        for column in table:
            sieve.rows[column] = sieve.rows["utt_id"].map(table[column])


def _label(sieve: Sieve, card: CorpusCard) -> None:
    """Fill in `emotion` by the card's label map; rows with a label not in it are taken out."""
    raw = sieve.rows["emotion_raw"]
    sieve.rows["emotion"] = raw.map(card.label_map)
    why = "label " + raw.map(repr) + f" is not in the label map of {card.name}.yaml"
    sieve.take_out(sieve.rows["emotion"].isna(), why)


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
        audio: the folder of the corpus, its archive, or a folder in which its archive lies, such
            as `~/Downloads/ravdess (1).zip`; of "synthetic" it may be left out. Archives are
            unpacked below the workspace.
        workspace: what was decoded is remembered below it (default: session.workspace()).

    Returns:
        The Scan.

    Raises:
        ManifestError: as `scan`, when `audio` is not given, and when several archives fit.
        ArchiveError: for an archive that is damaged, a .rar or a .7z.

    Example:
        >>> corpus = load_corpus("ravdess", "/content/corpora/ravdess")
        >>> corpus.manifest, corpus.problems
    """
    card = load_card(name)
    workspace = workspace or session.workspace()
    if name == "synthetic":
        from colab_utils.corpora.synthetic import make_synthetic_corpus

        folder = audio or pathlib.Path(workspace) / "corpora" / "synthetic"
        made = validate(make_synthetic_corpus(folder))
        result = Scan(made, pd.DataFrame(columns=PROBLEM_COLUMNS), card)
    elif audio is None:
        raise ManifestError(
            f"{name}: no audio comes with the suite ({card.access}, {card.url}); pass audio=<the"
            " folder that holds it>"
        )
    else:
        result = _scanned(name, audio, pathlib.Path(workspace))
    print(result)
    for row in check_manifest(result.manifest, card).query("severity != 'ok'").itertuples():
        print(f"  {row.severity}: {row.check}: {row.detail}")
    return result


def _scanned(name: str, audio: AnyPath, workspace: pathlib.Path) -> Scan:
    """The Scan of a corpus' folder, or of what is unpacked from its archive or archives there."""
    unpacked = workspace / "corpora"
    audio = locate_corpus(name, audio, unpacked)
    for _ in range(NESTED):
        try:
            return scan(name, audio, cache_file(workspace, name, audio))
        except NothingFoundError:
            inside = unpack_inside(name, audio, unpacked)
            if inside is None:
                raise
        audio = inside
    return scan(name, audio, cache_file(workspace, name, audio))
