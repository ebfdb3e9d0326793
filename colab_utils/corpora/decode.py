"""Finding audio files below a folder, and decoding each once.

What was learnt of a file is kept, so that a second scan decodes nothing.
"""

import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import unicodedata

import pandas as pd

from colab_utils import progress
from colab_utils.corpora import audio
from colab_utils.csv_files import read_csv, write_csv
from colab_utils.files import AnyPath

FACTS = ("sample_rate", "channels", "duration", "audio_sha256", "reason", "note")
_KEY = ("path", "size", "mtime_ns")
_THREADS = min(4, os.cpu_count() or 1)  # more than cores only wait for each other
_SAVE_EVERY = 2000  # decoded files between two writes of the cache


@dataclasses.dataclass(frozen=True)
class Found:
    """What lies below a folder.

    Attributes:
        files: relative POSIX paths as on disk, in NFC order.
        refused: (file, "", reason) of what is not to be read.
        ignored: suffix -> number of files that are not audio.
    """

    files: list[str]
    refused: list[tuple[str, str, str]]
    ignored: dict[str, int]


def find_audio(root: pathlib.Path) -> Found:
    """List the audio files in all sub-folders of `root`, following links once.

    Hidden audio files (`._a.wav`, anything below a folder that begins with a dot or is called
    __MACOSX), names with a backslash or that are not valid text, and folders that cannot be read
    are refused with a reason; files without one of audio.EXTENSIONS are only counted.
    """
    files, refused, ignored, seen = [], [], collections.Counter(), set()

    def unreadable(error: OSError) -> None:
        name = os.path.relpath(error.filename, root)
        refused.append((name, "", f"folder cannot be read ({error.strerror})"))

    for folder, folders, names in os.walk(root, followlinks=True, onerror=unreadable):
        real = {name: os.path.realpath(f"{folder}/{name}") for name in folders}
        folders[:] = sorted(name for name in folders if real[name] not in seen)
        seen.update(real.values())
        for name in names:
            file = pathlib.Path(folder, name).relative_to(root).as_posix()
            if not name.lower().endswith(audio.EXTENSIONS):
                ignored[os.path.splitext(name)[1].lower() or "(no suffix)"] += 1
            elif reason := _unfit(file):
                readable = file.encode("utf-8", "replace").decode("utf-8")
                refused.append((readable, "", reason))
            else:
                files.append(file)
    return Found(sorted(files, key=nfc), refused, dict(ignored))


def _unfit(file: str) -> str:
    """Why the name of an audio file rules it out, or ""."""
    if any(part.startswith(".") or part == "__MACOSX" for part in file.split("/")):
        return "hidden file (macOS leaves such copies), ignored"
    if "\\" in file:
        return "the name holds a backslash, which Windows reads as a folder: rename it"
    try:
        file.encode("utf-8")
    except UnicodeEncodeError:
        return "the name is not valid UTF-8: rename it"
    return ""


def nfc(text: str) -> str:
    """Unicode form NFC, in which names are compared: macOS stores the same name in another."""
    return unicodedata.normalize("NFC", text)


def without_extension(file: str) -> str:
    """A relative path in NFC without its audio extension (or several, as in `a.wav.wav`)."""
    path = pathlib.PurePosixPath(file)
    while path.suffix.lower() in audio.EXTENSIONS:
        path = path.with_suffix("")
    return nfc(str(path))


def decode_rows(
    rows: pd.DataFrame, root: pathlib.Path, cache: AnyPath | None = None
) -> pd.DataFrame:
    """Decode the files of `rows` in a few threads.

    Args:
        rows: any table with the column `found`, a path relative to `root`.
        root: a folder.
        cache: a CSV keyed by relative path, size and modification time; it is written as work goes
            on and after an interruption. What the disk refused to give (an I/O error) is not kept,
            so the next scan tries again.

    Returns:
        `rows` with file (absolute, str) and FACTS behind: sample_rate (int, Hz), channels (int),
        duration (s, of what was decoded), audio_sha256 (of the decoded samples), reason ("" where
        the file is good; numbers are 0 where it is not), note (what was set right in a good one).
    """
    known = _read_cache(cache)
    keys = [_key(file, root) for file in rows["found"]]
    wanted = [key for key in dict.fromkeys(keys) if key not in known]
    pool = concurrent.futures.ThreadPoolExecutor(_THREADS)
    facts = pool.map(_facts, [root / file for file, _, _ in wanted])
    bar = progress.bar(wanted, "decoding", unit="file", disable=not wanted)
    try:
        for number, key in enumerate(bar, 1):
            known[key] = next(facts)
            if number % _SAVE_EVERY == 0:
                _write_cache(cache, known)
    finally:
        pool.shutdown(cancel_futures=True)
        if wanted:
            _write_cache(cache, known)
    for file, *state in keys:
        audio.KNOWN[str(root / file), *state] = known[file, *state]["audio_sha256"]
    table = pd.DataFrame([known[key] for key in keys], columns=list(FACTS))
    table.insert(0, "file", [str(root / file) for file in rows["found"]])
    return pd.concat([rows.reset_index(drop=True), table], axis=1)


def _key(file: str, root: pathlib.Path) -> tuple[str, int, int]:
    """Path, size in bytes, modification time in ns; -1 twice for a file that is not there."""
    try:
        facts = os.stat(root / file)
    except OSError:
        return file, -1, -1
    return file, facts.st_size, facts.st_mtime_ns


def _facts(file: pathlib.Path) -> dict:
    """FACTS of one file, and `lasting`: whether they would be the same next time."""
    facts = dict.fromkeys(FACTS, "") | {"sample_rate": 0, "channels": 0, "duration": 0.0}
    lasting = True
    try:
        with audio.turn(file), audio.blaming(file):
            recording = audio.decode(file)
            samples, rate = recording.samples, recording.rate
            facts["audio_sha256"] = audio.samples_sha256(samples, rate)
    except audio.AudioError as error:
        facts["reason"] = error.reason
        lasting = not isinstance(error.__cause__, (OSError, MemoryError))
    else:
        facts["sample_rate"] = rate
        facts["channels"] = samples.shape[1]
        facts["duration"] = len(samples) / rate
        facts["note"] = recording.note
    return facts | {"lasting": lasting}


def _read_cache(cache: AnyPath | None) -> dict[tuple, dict]:
    """FACTS by `_key`, from an earlier scan; a file that is no such cache costs a sentence."""
    if cache is None or not os.path.isfile(cache):
        return {}
    whole = dict.fromkeys(("size", "mtime_ns", "sample_rate", "channels"), int)
    try:
        table = read_csv(cache, dtype=str).astype({**whole, "duration": float})
        table = table.set_index(list(_KEY))[list(FACTS)].assign(lasting=True)
        return table.to_dict("index")
    except (ValueError, KeyError) as error:
        print(f"{cache} is not a scan cache of this version ({error}): every file is decoded again")
        return {}


def _write_cache(cache: AnyPath | None, known: dict[tuple, dict]) -> None:
    """Keep what is lasting; of a file that changed, the newest.

    A cache that cannot be written costs time, not the scan.
    """
    if cache is None or not known:
        return
    keys = pd.MultiIndex.from_tuples(list(known), names=_KEY)
    table = pd.DataFrame(list(known.values()), index=keys)
    lasting = table.pop("lasting")
    table = table[lasting].reset_index().drop_duplicates("path", keep="last")
    try:
        write_csv(cache, table)
    except OSError as error:
        print(f"the scan cache {cache} could not be written ({error}): the next scan decodes again")
