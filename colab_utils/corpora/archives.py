"""Which archives and folders hold a corpus: by a name it goes by, or by what a zip says is in it.

The names under which a corpus is published stand on its card. Browsers, Drive, GitHub and file
managers add to them: `ravdess (1).zip`, `EMO-DB-20240101T000000Z-001.zip`, `Copy of tess.zip`.
"""

import contextlib
import functools
import os
import pathlib
import re
import zipfile
from collections.abc import Iterable, Mapping

from colab_utils.corpora.audio import EXTENSIONS
from colab_utils.corpora.cards import corpus_names, load_card
from colab_utils.corpora.parsers import PARSERS, ForeignNameError
from colab_utils.corpora.tables.reading import ManifestError
from colab_utils.drive.archives import DAMAGE
from colab_utils.drive.staging import ARCHIVES, PACKED

_ADDED = re.compile(
    r"^copy of |( ?\(\d+\)| - copy| copy( \d+)?|-\d{8}t\d{6}z(-\d+)?|-\d{3}|-master|-main)$"
)
_SHOWN = 6  # names in a message
# what lies there instead of audio, by its suffix, and what to do about it
_ADVICE = {
    r"\.(mp4|flv|avi|mov|mkv|mpe?g|wmv|m4v|3gp)": "video: get the corpus' audio, or"
    " take the sound out, such as by `ffmpeg -i clip{suffix} clip.wav`",
    r"\.(aac|wma|amr|ac3|caf|au|w64|sph|mka)": "convert to WAV or FLAC, such as by"
    " `ffmpeg -i clip{suffix} clip.wav`",
    r"\.(rar|7z|zst|[rz]\d\d|\d{3})": "an archive that is not read here: unpack it, such as with"
    " 7-Zip",
    r"\.(zip|tar|tgz|tbz2|txz|gz|bz2|xz)": "packed: unpack what holds the audio",
}


def things(folder: pathlib.Path, pattern: str, folders: bool = True) -> list[pathlib.Path]:
    """The archives (readable or not) and, with `folders`, the folders that match a glob pattern."""
    found = []
    for path in sorted(folder.glob(pattern)):
        archive = ARCHIVES.search(path.name) or PACKED.search(path.name)
        wanted = folders if path.is_dir() else archive
        if wanted and not path.name.startswith("."):
            found.append(path)
    return found


def choose(name: str, candidates: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Those that hold a corpus: one, or the parts that it comes in.

    The one that is called exactly so, else by a published name, else by one with additions, else
    the zips in whose table of contents the corpus' utterances stand. What only another program
    unpacks comes last. What is chosen, and what else is called after the corpus, is printed.

    Args:
        name: of the corpus.
        candidates: as `things` gives them.

    Returns:
        Empty where none fits.

    Raises:
        ManifestError: several fit equally well and are no parts of one whole.
    """
    candidates = list(candidates)
    readable = [path for path in candidates if not PACKED.search(path.name)]
    found = fitting(name, readable) or fitting(name, candidates)
    if len(found) > 1 and not are_parts(name, found):
        names = ", ".join(path.name for path in found)
        raise ManifestError(
            f"{found[0].parent} holds {name} more than once ({names}): keep one archive, or set"
            " AUDIO to the one that is meant"
        )
    if not found:
        return found
    keys = _keys(name)
    if _rank(found[0].name, keys) != 0:
        print(f"{name} is taken from {_some(path.name for path in found)}.")
    named = [path for path in candidates if _rank(path.name, keys) is not None]
    others = [path.name for path in named if path not in found]
    if others:
        print(f"{name} is not taken from {_some(others)}, which may hold it, too.")
    return found


def fitting(name: str, candidates: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """All that fit a corpus equally well, and best; as `choose`, without a word."""
    keys = _keys(name)
    ranked = {}
    for path in candidates:
        ranked.setdefault(_rank(path.name, keys), []).append(path)
    unnamed = ranked.pop(None, [])
    if ranked:
        return ranked[min(ranked)]
    return [path for path in unnamed if _held(name, path)]


def is_named(name: str, path: pathlib.Path) -> bool:
    """Whether nothing is called so but the corpus: its own or a published name, nothing added."""
    return _rank(path.name, _keys(name)) in (0, 1)


def are_parts(name: str, archives: list[pathlib.Path]) -> bool:
    """Whether zips hold different utterances of a corpus, and so belong together."""
    if not all(map(zipfile.is_zipfile, archives)):
        return False
    held = [_held(name, path) for path in archives]
    together = set().union(*held)
    number = sum(map(len, held))
    return 0 < len(together) == number


def _keys(name: str) -> list[str]:
    """The names that a corpus goes by, its own first, as they are compared."""
    published = load_card(name).archives if name in corpus_names() else ()
    return [name.lower(), *map(_key, (name, *published))]


def _key(text: str) -> str:
    """A name without case, blanks and signs: EMO-DB is emodb."""
    return re.sub(r"[\W_]+", "", text.lower())


def _rank(file: str, keys: list[str]) -> int | None:
    """How exactly a file is called after a corpus: 0 is most, None not at all."""
    stem = ARCHIVES.sub("", PACKED.sub("", file.lower()))
    if stem == keys[0]:
        return 0
    if _key(stem) in keys:
        return 1
    while (shorter := _ADDED.sub("", stem)) != stem:
        stem = shorter
    return 2 if _key(stem) in keys else None


def _held(name: str, archive: pathlib.Path) -> set[str]:
    """The utterances of a corpus, and the archives called after it, that a zip says it holds."""
    held = set()
    is_zip = archive.suffix.lower() == ".zip" and os.path.isfile(archive)
    if name not in PARSERS or not is_zip:
        return held
    keys = _keys(name)
    for path in _members(archive, archive.stat().st_mtime_ns):
        if ARCHIVES.search(path.name):
            if _rank(path.name, keys) is not None:
                held.add(str(path))
            continue
        with contextlib.suppress(ForeignNameError):
            held.add(PARSERS[name](path)["utt_id"])
    return held


@functools.lru_cache(maxsize=8)
def _members(archive: pathlib.Path, changed: int) -> tuple[pathlib.PurePosixPath, ...]:
    """The audio files and archives in the table of contents of a zip as it was at a time in ns.

    Its own name comes first in each path: some corpora name the speaker by folder.
    """
    names, wanted = [], []
    with contextlib.suppress(OSError, *DAMAGE), zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
    for name in names:
        if name.lower().endswith(EXTENSIONS) or ARCHIVES.search(name):
            wanted.append(pathlib.PurePosixPath(archive.stem, name))
    return tuple(wanted)


def what_lies(folder: pathlib.Path, ignored: Mapping[str, int]) -> str:
    """What a folder holds in place of audio and what to do with it, as part of a sentence.

    Args:
        folder: it need not be there.
        ignored: suffix -> number of files that are not audio, of `find_audio`.

    Returns:
        Such as "it holds anger, sad; 2 .wma (convert to WAV or FLAC, ...), 1 .txt".
    """
    if not folder.is_dir():
        return "it is not there"
    told = []
    for suffix, number in sorted(ignored.items()):
        advice = [text for kind, text in _ADVICE.items() if re.fullmatch(kind, suffix)]
        hint = f" ({advice[0].format(suffix=suffix)})" if advice else ""
        told.append(f"{number} {suffix}{hint}")
    names = _entries(folder)
    inner = folder / "".join(names[:1])
    if len(names) == 1 and inner.is_dir():
        names = [f"{names[0]}/{entry}" for entry in _entries(inner)] or names
    counts = f"; {', '.join(told)}" if told else ""
    return f"it holds {_some(names) or 'nothing'}{counts}"


def _entries(folder: pathlib.Path) -> list[str]:
    """The names in a folder that are not hidden, in order."""
    with contextlib.suppress(OSError):
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    return []


def _some(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
