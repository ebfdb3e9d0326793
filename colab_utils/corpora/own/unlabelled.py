"""Recordings without labels, wherever they lie: files, folders, archives, tables, waves."""

import os
import pathlib
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import soundfile

from colab_utils.corpora.archives import what_lies
from colab_utils.corpora.decode import find_audio
from colab_utils.corpora.own.finding import locate
from colab_utils.corpora.tables.reading import ManifestError, read_table
from colab_utils.drive.archives import ArchiveError, unpack
from colab_utils.drive.staging import ARCHIVES
from colab_utils.settings import SettingError

TABLES = (".csv", ".tsv", ".xlsx")


class Recording(NamedTuple):
    """One recording.

    Attributes:
        name: what the user calls it: the path as given, or below the folder or archive given.
        file: its path.
        speaker: who speaks, "" where that is not known.
    """

    name: str
    file: str
    speaker: str


class Recordings:
    """Recordings of any sources.

    Args:
        scratch: an empty folder for what is unpacked, and for waves.
        speaker: of recordings of which no table names the speaker.

    Attributes:
        found: the recordings, in the order given; those of a folder by name.
        refused: (name, reason) of what is no recording.
        ignored: suffix -> number of files in folders that are not audio.
    """

    def __init__(self, scratch: pathlib.Path, speaker: str = ""):
        self.found: list[Recording] = []
        self.refused: list[tuple[str, str]] = []
        self.ignored: Counter[str] = Counter()
        self._scratch, self._speaker = scratch, speaker

    def add(self, sources: Any) -> None:
        """Take in a source, or several.

        Args:
            sources: a file of any name; a folder or an archive, with sub-folders; a table with a
                column `file` and, if need be, `speaker`; a wave in memory, (name, float samples of
                shape (samples,) or (samples, channels), rate in Hz); or a list of such.

        Raises:
            SettingError: something else.
        """
        if isinstance(sources, (str, os.PathLike)):
            self._path(pathlib.Path(os.path.expanduser(sources)))
        elif _is_wave(sources):
            self._wave(*sources)
        elif isinstance(sources, Iterable):
            for source in sources:
                self.add(source)
        else:
            raise SettingError(
                f"{sources!r} is no recording: give a file, a folder, an archive, a table, a wave"
                " as (name, samples, rate), or a list of them"
            )

    def _path(self, path: pathlib.Path) -> None:
        """A file or folder of any kind."""
        try:
            if path.is_dir():
                self._folder(path, path)
            elif ARCHIVES.search(path.name) and path.is_file():
                inside = self._empty()
                unpack(path, inside, path.name)
                self._folder(inside, path)
            elif path.suffix.lower() in TABLES:
                self._table(path)
            else:
                self.found.append(Recording(str(path), str(path), self._speaker))
        except (ArchiveError, ManifestError) as error:
            self.refused.append((str(path), str(error)))

    def _folder(self, folder: pathlib.Path, given: pathlib.Path) -> None:
        """All audio below a folder, which is the contents of what was given."""
        inside = find_audio(folder)
        for file in inside.files:
            self.found.append(Recording(str(given / file), str(folder / file), self._speaker))
        for name, _, reason in inside.refused:
            self.refused.append((str(given / name), reason))
        self.ignored.update(inside.ignored)
        if not inside.files:
            told = what_lies(folder, inside.ignored)
            self.refused.append((str(given), f"no audio in it: {told}"))

    def _table(self, path: pathlib.Path) -> None:
        """The files of a table, relative to its folder."""
        table = read_table(path)
        if "file" not in table:
            raise ManifestError(
                f"{path}: no column 'file'; found: {', '.join(table.columns)}: name the column of"
                " audio files 'file', and that of speakers, if there is one, 'speaker'"
            )
        names = table["file"].str.strip().tolist()
        speakers = [self._speaker] * len(table)
        if "speaker" in table:
            speakers = table["speaker"].str.strip().tolist()
        files, faults = locate(names, path, None, path.stem)
        for name, file, speaker, fault in zip(names, files, speakers, faults, strict=True):
            if fault or not name:
                self.refused.append((name or str(path), fault or "a row without a file"))
            else:
                self.found.append(Recording(name, file, speaker))

    def _wave(self, name: str, wave: np.ndarray, rate: int) -> None:
        """A wave in memory, which becomes a file: so it is read and refused like any other."""
        file = self._empty() / "wave.wav"
        samples = np.asarray(wave, dtype=np.float32)
        try:
            soundfile.write(file, samples, int(rate), format="WAV", subtype="FLOAT")
        except (TypeError, ValueError, IndexError, soundfile.SoundFileError) as error:
            self.refused.append((str(name), f"no wave ({error}): shape {samples.shape}"))
        else:
            self.found.append(Recording(str(name), str(file), self._speaker))

    def _empty(self) -> pathlib.Path:
        """A new folder."""
        folder = self._scratch / str(len(os.listdir(self._scratch)))
        folder.mkdir()
        return folder


def _is_wave(source: Any) -> bool:
    """Whether this is (name, samples, rate), and no list of three files."""
    if not isinstance(source, tuple) or len(source) != 3:
        return False
    return not isinstance(source[1], (str, os.PathLike, tuple))
