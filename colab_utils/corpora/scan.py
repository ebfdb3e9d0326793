"""From a folder of audio to a manifest of what is usable in it, with a reason for everything that
is not.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping

import pandas as pd

from colab_utils.corpora.cards import CorpusCard, load_card, shipped_manifest
from colab_utils.corpora.check import check_manifest
from colab_utils.corpora.decode import Found, decode_files, find_audio, nfc, without_extension
from colab_utils.corpora.manifest import (
    COLUMNS,
    ManifestError,
    read_manifest,
    speaker_keys,
    validate,
)
from colab_utils.corpora.parsers import ANNOTATIONS, PARSERS, ForeignNameError, belongs_to
from colab_utils.files import short_hash

PROBLEM_COLUMNS = ("file", "utt_id", "reason")


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a folder holds: `manifest` (usable utterances, COLUMNS and LOCAL_COLUMNS), `problems`
    (file, utt_id, reason), the corpus' `card` or None, `ignored` (suffix -> number of files that
    are not audio) and `decoded` (files decoded now, the others being known already).
    """

    manifest: pd.DataFrame
    problems: pd.DataFrame
    card: CorpusCard | None = None
    ignored: Mapping[str, int] = dataclasses.field(default_factory=dict)
    decoded: int = 0

    def __str__(self) -> str:
        """One or two sentences: how much is usable, how much is not and why."""
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
            text += (
                "; not audio:"
                f" {', '.join(f'{number} {suffix}' for suffix, number in sorted(self.ignored.items()))}"
            )
        return text


def scan(
    corpus_or_manifest: str | os.PathLike | pd.DataFrame,
    root: str | os.PathLike,
    cache: str | os.PathLike | None = None,
    progress: bool = True,
) -> Scan:
    """Decode what lies below `root` and say which utterances of a known corpus, a manifest CSV or a
    manifest are usable.

    A known corpus (a str: its name) is found by its file names in any sub-folders, at any rate,
    with any of audio.EXTENSIONS. A manifest (a path or a DataFrame) is found by `path`, or by the
    last part of it where that is unique. Files that are missing, foreign, hidden, unreadable or
    there twice become rows of `.problems`; the rest goes on. `cache` is the CSV of `decode_files`.
    Raises ManifestError when the folder is not there or holds nothing of the corpus.
    """
    root = existing_folder(root)
    found = find_audio(root)
    problems = [(file, "", reason) for file, reason in found.refused.items()]
    if isinstance(corpus_or_manifest, str):
        card = load_card(corpus_or_manifest)
        rows, expected = _match_names(card, root, found, problems)
    else:
        card = None
        expected = (
            validate(corpus_or_manifest)
            if isinstance(corpus_or_manifest, pd.DataFrame)
            else read_manifest(corpus_or_manifest)
        )
        rows = _match_paths(expected, root, found, problems)
    facts, decoded = decode_files(
        rows.pop("found").tolist(), root, pathlib.Path(cache) if cache else None, progress
    )
    rows = pd.concat([rows[list(COLUMNS)], facts], axis=1)
    skipped = rows["utt_id"].isin(
        [f"{card.name}/{bad['path']}" for bad in card.known_bad if bad.get("skip")] if card else []
    )
    problems += [
        (os.path.relpath(row.file, root), row.utt_id, "left out: a known bad file")
        for row in rows[skipped].itertuples()
    ]
    manifest = usable(rows[~skipped], root, problems)
    if expected is not None:
        absent = expected[~expected["utt_id"].isin(rows["utt_id"])]
        problems += [
            (path, utt_id, "missing: no audio file of this name")
            for path, utt_id in zip(absent["path"], absent["utt_id"], strict=True)
        ]
    return Scan(manifest, problem_table(problems, card), card, found.ignored, decoded)


def existing_folder(root: str | os.PathLike) -> pathlib.Path:
    """The absolute path of an existing folder; raises ManifestError."""
    folder = pathlib.Path(os.path.abspath(os.path.expanduser(root)))
    if not folder.is_dir():
        hint = ": unpack it first" if folder.is_file() else ""
        raise ManifestError(f"{folder}: no such folder{hint}")
    return folder


def _match_names(
    card: CorpusCard, root: pathlib.Path, found: Found, problems: list
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Rows (COLUMNS and `found`, the relative file) of the files whose names the corpus' parser
    reads, and the rows to expect (or None).

    The folder's own name counts as the first part of each path: some corpora name the speaker by
    folder.
    """
    if card.name not in PARSERS:
        raise ManifestError(
            f"{card.name} has no file-name rule: pass its manifest to scan, or use load_corpus"
        )
    parsed = []
    for file in found.files:
        try:
            parsed.append(
                {**PARSERS[card.name](pathlib.PurePosixPath(root.name, nfc(file))), "found": file}
            )
        except ForeignNameError as error:
            problems.append((file, "", f"foreign: {error.reason}"))
    if not parsed:
        raise ManifestError(_nothing(card.name, root, found, problems))
    # the same order in every folder layout
    rows = pd.DataFrame(parsed).sort_values("utt_id", kind="stable", ignore_index=True)
    expected = shipped_manifest(card.name)
    if expected is None:
        return _labelled(_annotated(rows, card.name, root, problems), card, problems), None
    foreign = ~rows["utt_id"].isin(expected["utt_id"])
    problems += [
        (file, utt_id, f"foreign: a legal name, but not among the utterances of {card.name}")
        for file, utt_id in zip(rows["found"][foreign], rows["utt_id"][foreign], strict=True)
    ]
    return expected.merge(rows.loc[~foreign, ["utt_id", "found"]], on="utt_id"), expected


def _nothing(name: str, root: pathlib.Path, found: Found, problems: list) -> str:
    """Why nothing of a corpus was found below a folder, and what may have been meant."""
    if not found.files:
        return (
            f"{root}: no audio file in it or its sub-folders ({len(problems)} refused): is this the"
            f" folder of {name}?"
        )
    other = belongs_to(pathlib.PurePosixPath(root.name, nfc(found.files[0])))
    hint = f"; the name is one of {other[0]}" if other else ""
    return (
        f"{root}: none of its {len(found.files)} audio files is one of {name}; the first:"
        f" {found.files[0]}, {problems[-len(found.files)][2]}{hint}"
    )


def _annotated(rows: pd.DataFrame, name: str, root: pathlib.Path, problems: list) -> pd.DataFrame:
    """Fill in the columns that stand in a corpus' annotation files; utterances without an entry
    become problems.
    """
    if name not in ANNOTATIONS:
        return rows
    table = ANNOTATIONS[name](root)
    bare = ~rows["utt_id"].isin(table.index)
    problems += [
        (file, utt_id, "no entry in the annotation files")
        for file, utt_id in zip(rows["found"][bare], rows["utt_id"][bare], strict=True)
    ]
    rows = rows[~bare].reset_index(drop=True)
    return rows.assign(**{column: rows["utt_id"].map(table[column]) for column in table.columns})


def _labelled(rows: pd.DataFrame, card: CorpusCard, problems: list) -> pd.DataFrame:
    """Fill in `emotion` by the card's label map; labels that are not in it become problems."""
    strange = ~rows["emotion_raw"].isin(list(card.label_map))
    problems += [
        (
            row.found,
            row.utt_id,
            f"label {row.emotion_raw!r} is not in the label map of {card.name}.yaml",
        )
        for row in rows[strange].itertuples()
    ]
    rows = rows[~strange].reset_index(drop=True)
    return rows.assign(emotion=rows["emotion_raw"].map(card.label_map))


def _match_paths(
    manifest: pd.DataFrame, root: pathlib.Path, found: Found, problems: list
) -> pd.DataFrame:
    """Rows (COLUMNS and `found`) of a manifest with the files at their `path`, or of the same last
    part where only one utterance has it.
    """
    keys = pd.DataFrame(
        {"found": found.files, "path": [without_extension(file) for file in found.files]},
        dtype=object,
    )
    keys["stem"] = keys["path"].str.rsplit("/", n=1).str[-1]
    wanted = manifest[["utt_id", "path"]].assign(stem=manifest["path"].str.rsplit("/", n=1).str[-1])
    exact = wanted.merge(keys[["path", "found"]], on="path")
    loose = wanted[
        ~wanted["utt_id"].isin(exact["utt_id"]) & ~wanted["stem"].duplicated(keep=False)
    ].merge(keys.loc[~keys["found"].isin(exact["found"]), ["stem", "found"]], on="stem")
    matched = pd.concat([exact, loose])[["utt_id", "found"]]
    foreign = [file for file in found.files if file not in set(matched["found"])]
    if matched.empty:
        raise ManifestError(
            f"{root}: none of the manifest's {len(manifest)} utterances is below it (the first:"
            f" {'; '.join(manifest['path'][:1])}); audio files found: {len(found.files)}"
        )
    problems += [(file, "", "foreign: not in the manifest") for file in foreign]
    return manifest[list(COLUMNS)].merge(matched, on="utt_id")


def usable(rows: pd.DataFrame, root: pathlib.Path, problems: list) -> pd.DataFrame:
    """The rows whose file is good, each utterance once (the first file in order), validated; the
    others are added to `problems`.

    `rows` has COLUMNS, `file` and the facts of `decode_files`; files in `problems` are relative to
    `root`.
    """
    short = [os.path.relpath(file, root) for file in rows["file"]]
    rows = rows.assign(short=pd.Series(short, index=rows.index, dtype=object))
    bad = rows["reason"] != ""
    problems += list(
        rows.loc[bad, ["short", "utt_id", "reason"]].itertuples(index=False, name=None)
    )
    good = rows[~bad]
    again = good["utt_id"].duplicated()
    first = good[~again].set_index("utt_id")[["short", "audio_sha256", "emotion"]]
    for row in good[again].itertuples():
        used = first.loc[row.utt_id]
        same = "the same samples" if used["audio_sha256"] == row.audio_sha256 else "other samples"
        labels = (
            f" with the label {used['emotion']} (this one says {row.emotion})"
            if used["emotion"] != row.emotion
            else ""
        )
        problems.append(
            (
                row.short,
                row.utt_id,
                f"duplicate: {same} under the same name as {used['short']}, which is used{labels}",
            )
        )
    return validate(good[~again].drop(columns=["short", "reason"]))


def problem_table(problems: list, card: CorpusCard | None = None) -> pd.DataFrame:
    """The DataFrame(file, utt_id, reason) of a list of such tuples; what the card knows of a bad
    file is added to its reason.
    """
    known = {f"{card.name}/{bad['path']}": bad["reason"] for bad in card.known_bad} if card else {}
    rows = [
        (file, utt_id, f"{reason} (known: {known[utt_id]})" if utt_id in known else reason)
        for file, utt_id, reason in problems
    ]
    return pd.DataFrame(rows, columns=list(PROBLEM_COLUMNS), dtype=object)


def load_corpus(
    name: str,
    audio: str | os.PathLike | None = None,
    cache: str | os.PathLike | None = None,
    workspace: str | os.PathLike | None = None,
) -> Scan:
    """The notebooks' door to a corpus: scan `audio`, print what is usable and every check that did
    not pass, return the Scan.

    `name` is one of corpus_names(); "synthetic" is made below `workspace` (default:
    session.workspace()) and takes `audio=None`. `cache` defaults to a file below the workspace, one
    for each corpus folder. Raises ManifestError as `scan` does, or when `audio` is not given.
    """
    card = load_card(name)
    if workspace is None:
        from colab_utils.session import workspace as default_workspace

        workspace = default_workspace()
    if name == "synthetic":
        from colab_utils.corpora.synthetic import make_synthetic_corpus

        made = make_synthetic_corpus(
            pathlib.Path(audio or pathlib.Path(workspace) / "corpora" / "synthetic")
        )
        result = Scan(validate(made), problem_table([]), card)
    elif audio is None:
        raise ManifestError(
            f"{name}: no audio comes with the suite ({card.access}, {card.url}); pass audio=<the"
            " folder that holds it>"
        )
    else:
        cache = (
            cache
            or pathlib.Path(workspace)
            / "scans"
            / f"{name}-{short_hash(os.path.abspath(audio))}.csv"
        )
        result = scan(name, audio, cache)
    print(result)
    for row in check_manifest(result.manifest, card).query("severity != 'ok'").itertuples():
        print(f"  {row.severity}: {row.check}: {row.detail}")
    return result
