"""Where the audio files lie that a table names: where it says, or else found by their names."""

import os
import pathlib
import unicodedata
from collections import Counter
from collections.abc import Sequence

from colab_utils.corpora.audio import EXTENSIONS
from colab_utils.corpora.decode import find_audio, nfc, without_extension
from colab_utils.files import AnyPath

_ENDINGS = ("", *EXTENSIONS, *(ending.upper() for ending in EXTENSIONS))
_Parts = tuple[str, ...]  # of a path, as names are compared: NFC, small letters, no audio extension


def locate(
    cells: Sequence[str], table: AnyPath, root: AnyPath | None, corpus: str
) -> tuple[list[str], list[str]]:
    """The file that each cell means.

    A file that is not where its cell says is looked for by name, whatever its audio extension and
    capitals, in the folder that it should be in; where no file of that folder is there, in all
    folders below `root`. How many were found so is printed. A file is taken only where no other
    has its name, nor any other cell means it.

    Args:
        cells: as written, with / or a backslash, with or without extension.
        table: the table's file.
        root: what cells are relative to; None: the folder of the table, and where that holds no
            audio, the one above for what is looked for by name.
        corpus: its name, for the message.

    Returns:
        For each cell the absolute path ("as written" where there is no such file), and why it
        means no file, or "" (a missing file is left to the decoder).
    """
    base = os.path.abspath(root or pathlib.Path(table).parent)
    paths = {cell: _as_written(base, cell) for cell in dict.fromkeys(cells)}
    there = {cell: path for cell, path in paths.items() if path}
    faults = {}
    if len(there) < len(paths):
        lost = [cell for cell in paths if cell not in there]
        found, faults = _by_name(lost, there, base, climb=root is None)
        paths |= found
        if found:
            cell, path = next(iter(found.items()))
            print(
                f"{corpus}: {len(found)} of {len(paths)} files are not where the table says and"
                f" were found by name: {cell} is {path}"
            )
    for cell in paths:
        paths[cell] = paths[cell] or _absolute(base, cell.replace("\\", "/"))
    return [paths[cell] for cell in cells], [faults.get(cell, "") for cell in cells]


def _as_written(base: str, cell: str) -> str:
    """The file that a cell names, in either Unicode form or without extension; "" for none."""
    written = cell.replace("\\", "/")
    forms = (written, nfc(written), unicodedata.normalize("NFD", written))
    for form in dict.fromkeys(forms):
        for ending in _ENDINGS:
            path = _absolute(base, form + ending)
            if os.path.isfile(path):
                return path
    return ""


def _absolute(base: str, path: str) -> str:
    return os.path.normpath(os.path.join(base, path))


def _by_name(
    lost: Sequence[str], there: dict[str, str], base: str, climb: bool
) -> tuple[dict[str, str], dict[str, str]]:
    """Files of cells that are not where these say, and why others have none (ambiguous, taken)."""
    top, files = base, _audio_below(base)
    above = os.path.dirname(base)
    if not files and climb and above not in (os.path.dirname(above), os.path.expanduser("~")):
        top, files = above, _audio_below(above)
    named: dict[_Parts, list[str]] = {}  # by the ends of their paths
    for file in files:
        parts = _parts(file)
        for start in range(len(parts)):
            named.setdefault(parts[start:], []).append(file)
    whole = {_parts(_inside(base, cell))[:-1] for cell in there}
    found, faults = {}, {}
    for cell in lost:
        matches = _matching(_parts(_inside(base, cell)), named, whole)
        if len(matches) == 1:
            found[cell] = _absolute(top, matches[0])
        elif matches:
            faults[cell] = f"is not there, and several files have its name: {', '.join(matches)}"
    uses = Counter([*there.values(), *found.values()])
    for cell, path in list(found.items()):
        if uses[path] > 1:
            faults[cell] = f"is not there, and {path}, which has its name, is that of another row"
            del found[cell]
    return found, faults


def _matching(parts: _Parts, named: dict[_Parts, list[str]], whole: set[_Parts]) -> list[str]:
    """The files that a cell may mean: in its place, or else with most folders in common.

    Nothing elsewhere where files of its folder are in their place: then this one is missing.
    """
    if parts[-1:] not in named:
        # the suffix of a video, say
        parts = (*parts[:-1], os.path.splitext(parts[-1])[0])
    same = [file for file in named.get(parts, []) if file.count("/") == len(parts) - 1]
    if same or parts[:-1] in whole:
        return same
    for start in range(len(parts)):
        if parts[start:] in named:
            return named[parts[start:]]
    return []


def _inside(base: str, cell: str) -> str:
    """A cell as a path from `base` where it lies below."""
    path = _absolute(base, cell.replace("\\", "/"))
    return os.path.relpath(path, base) if path.startswith(base + os.sep) else path


def _parts(path: str) -> _Parts:
    """The parts of a path as names are compared."""
    return tuple(without_extension(path.casefold()).casefold().split("/"))


def _audio_below(folder: str) -> list[str]:
    """The audio files below a folder, relative to it; not those of hidden or mounted folders."""
    files = []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        if not entry.is_dir():
            files += [entry.name] * entry.name.lower().endswith(EXTENSIONS)
        elif not os.path.ismount(entry.path):
            inner = find_audio(pathlib.Path(entry.path)).files
            files += [f"{entry.name}/{file}" for file in inner]
    return files
