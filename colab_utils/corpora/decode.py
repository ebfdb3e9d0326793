"""Finding audio files below a folder, and decoding each once: what was learnt of a file is kept, so
that a second scan decodes nothing.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import unicodedata
from collections.abc import Sequence

import pandas as pd

from colab_utils.corpora import audio
from colab_utils.corpora.manifest import ManifestError, read_table
from colab_utils.files import write_csv
from colab_utils.progress import bar as progress_bar

FACTS = ("sample_rate", "channels", "duration", "audio_sha256", "reason")
_CACHE_COLUMNS = ("path", "size", "mtime_ns", *FACTS)
_SAVE_EVERY = 2000  # decoded files between two writes of the cache


@dataclasses.dataclass(frozen=True)
class Found:
    """What lies below a folder: `files` (relative POSIX paths as on disk, in NFC order), `refused`
    (file -> reason), `ignored` (suffix -> number).
    """

    files: list[str]
    refused: dict[str, str]
    ignored: dict[str, int]


def find_audio(root: pathlib.Path) -> Found:
    """List the audio files (audio.EXTENSIONS in any case) in all sub-folders of `root`, following
    links once.

    Hidden audio files (`._a.wav`, anything below a folder that begins with a dot or is called
    __MACOSX), names with a backslash or that are not valid text, and folders that cannot be read
    are refused with a reason; other files are only counted by their suffix.
    """
    files, refused, ignored, seen = [], {}, collections.Counter(), set()

    def unreadable(error: OSError) -> None:
        refused[os.path.relpath(error.filename, root)] = f"folder cannot be read ({error.strerror})"

    for folder, folders, names in os.walk(root, followlinks=True, onerror=unreadable):
        folders[:] = sorted(
            name for name in folders if os.path.realpath(os.path.join(folder, name)) not in seen
        )
        seen |= {os.path.realpath(os.path.join(folder, name)) for name in folders}
        for name in names:
            file = pathlib.PurePath(os.path.relpath(os.path.join(folder, name), root)).as_posix()
            if not name.lower().endswith(audio.EXTENSIONS):
                ignored[os.path.splitext(name)[1].lower() or "(no suffix)"] += 1
            elif reason := _unfit(file):
                refused[file.encode("utf-8", "replace").decode("utf-8")] = reason
            else:
                files.append(file)
    return Found(sorted(files, key=nfc), refused, dict(ignored))


def _unfit(file: str) -> str:
    """Why the name of an audio file rules it out, or ""."""
    if any(part.startswith(".") or part == "__MACOSX" for part in file.split("/")):
        return "hidden file (macOS leaves such copies), ignored"
    if "\\" in file:
        return "the name holds a backslash, which Windows reads as a folder: rename it"
    if not file.isascii() and any("\ud800" <= letter <= "\udfff" for letter in file):
        return "the name is not valid UTF-8: rename it"
    return ""


def nfc(text: str) -> str:
    """Unicode form NFC: macOS stores the same name in another form (NFD), so names are compared in
    this one.
    """
    return unicodedata.normalize("NFC", text)


def without_extension(file: str) -> str:
    """A relative path in NFC without its audio extension (or several, as in `a.wav.wav`)."""
    while file.lower().endswith(audio.EXTENSIONS) and not pathlib.PurePosixPath(
        file
    ).name.startswith("."):
        file = file[: file.rindex(".")]
    return nfc(file)


def decode_files(
    files: Sequence[str],
    root: pathlib.Path,
    cache: pathlib.Path | None = None,
    progress: bool = True,
) -> tuple[pd.DataFrame, int]:
    """Decode `files` (relative to `root`) in a few threads; returns (table, number of files decoded
    now).

    The table has one row a file, in order: file (absolute str) and FACTS: sample_rate (int, Hz),
    channels (int), duration (s), audio_sha256 (of the decoded samples), reason ("" where the file
    is good; numbers are 0 where it is not). `cache` is a CSV keyed by relative path, size and
    modification time; it is written as work goes on and after an interruption. What the disk
    refused to give (an I/O error) is not kept, so the next scan tries again.
    """
    known = _read_cache(cache)
    keys = [_key(file, root) for file in files]
    wanted = list(dict.fromkeys(key for key in keys if key not in known))
    fresh: dict[tuple, dict] = {}
    pool = concurrent.futures.ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    try:
        results = pool.map(lambda key: _facts(root / key[0]), wanted)
        for key, facts in zip(
            wanted,
            progress_bar(
                results, "decoding", len(wanted), disable=not progress or not wanted, unit="file"
            ),
            strict=True,
        ):
            fresh[key] = facts
            if len(fresh) % _SAVE_EVERY == 0:
                _write_cache(cache, known, fresh)
    finally:
        pool.shutdown(cancel_futures=True)
        if fresh:
            _write_cache(cache, known, fresh)
    rows = [
        {"file": str(root / file), **{name: (known.get(key) or fresh[key])[name] for name in FACTS}}
        for file, key in zip(files, keys, strict=True)
    ]
    return pd.DataFrame(rows, columns=["file", *FACTS]), len(wanted)


def _key(file: str, root: pathlib.Path) -> tuple[str, int, int]:
    """(relative path, size in bytes, modification time in ns); (path, -1, -1) for a file that is
    not there.
    """
    try:
        facts = os.stat(root / file)
    except OSError:
        return file, -1, -1
    return file, facts.st_size, facts.st_mtime_ns


def _facts(file: pathlib.Path) -> dict:
    """FACTS of one file, and `lasting`: whether they would be the same next time."""
    try:
        samples, rate = audio.read_audio(file)
    except audio.AudioError as error:
        return {
            **dict.fromkeys(FACTS, 0),
            "duration": 0.0,
            "audio_sha256": "",
            "reason": error.reason,
            "lasting": not isinstance(error.__cause__, OSError),
        }
    return {
        "sample_rate": rate,
        "channels": samples.shape[1],
        "duration": len(samples) / rate,
        "audio_sha256": audio.samples_sha256(samples, rate),
        "reason": "",
        "lasting": True,
    }


def _read_cache(cache: pathlib.Path | None) -> dict[tuple, dict]:
    """What an earlier scan learnt; a file that is not such a cache is set aside with a sentence."""
    if cache is None or not cache.is_file():
        return {}
    try:
        table = read_table(cache)
        table = table.astype(
            {"size": int, "mtime_ns": int, "sample_rate": int, "channels": int, "duration": float}
        )
        rows = table[list(_CACHE_COLUMNS)].to_dict("records")
    except (ManifestError, ValueError, KeyError) as error:
        print(f"{cache} is not a scan cache ({error}): every file is decoded again")
        return {}
    return {
        (row["path"], row["size"], row["mtime_ns"]): {name: row[name] for name in FACTS}
        for row in rows
    }


def _write_cache(
    cache: pathlib.Path | None, known: dict[tuple, dict], fresh: dict[tuple, dict]
) -> None:
    """Keep what is known and lasting; of a file that changed, the newest.

    A cache that cannot be written costs time, not the scan.
    """
    if cache is None:
        return
    newest = {
        key[0]: (key, facts)
        for key, facts in {**known, **fresh}.items()
        if facts.get("lasting", True)
    }
    rows = [(*key, *(facts[name] for name in FACTS)) for key, facts in newest.values()]
    try:
        write_csv(cache, pd.DataFrame(rows, columns=list(_CACHE_COLUMNS)))
    except OSError as error:
        print(f"the scan cache {cache} could not be written ({error}): the next scan decodes again")
