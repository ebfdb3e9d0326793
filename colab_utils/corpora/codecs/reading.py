"""From a file to its samples, whatever its header says of their number."""

import contextlib
import io
import os
import pathlib
import re
import threading
from collections.abc import Iterator

import numpy as np
import soundfile

from colab_utils.corpora.codecs import ffmpeg
from colab_utils.corpora.codecs.mp3 import Mp3
from colab_utils.files import AnyPath

LONGEST_SECONDS = 1800.0  # what is longer is a session and no utterance
RATES = (4000, 768000)  # Hz; a header that says less or more is wrong
_MOST_SAMPLES = 1 << 28  # of all channels together: a gigabyte
_BLOCK = 1 << 20  # samples read at a time where the length is unknown
_OGG_TAIL = 1 << 17  # an Ogg page is at most 65,307 bytes
_STEP = np.float32(2.0**-15)  # of 16-bit samples
_STREAMED = 0x7FFF0000  # bytes; writers of streams announce about 2 or 4 GiB
# libsndfile's log of a file that announces (first number) another length than it has
_OTHER_LENGTH = re.compile(
    r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.MULTILINE
)
_TRUNCATED = "truncated: the header announces more samples than the file holds"


class AudioError(ValueError):
    """An audio file that cannot be used: the message names it, `.reason` is the reason alone."""

    def __init__(self, file: AnyPath, reason: str):
        super().__init__(f"{file}: {reason}")
        self.reason = reason


class _Stream(soundfile.SoundFile):
    """A file read from its beginning until the decoder gives no more.

    soundfile asks a seekable file for its length and its position: the first is what the header
    claims, the second fails where that is beyond belief. Some codecs (GSM) cannot seek at all.
    """

    def seekable(self) -> bool:
        """No."""
        return False


@contextlib.contextmanager
def blaming(file: AnyPath) -> Iterator[None]:
    """Make an AudioError of `file` out of whatever is raised, a MemoryError too."""
    try:
        yield
    except AudioError:
        raise
    except Exception as error:
        told = str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")
        reason = f"not readable as audio ({told or type(error).__name__})"
        raise AudioError(file, reason) from error


def decoded(path: pathlib.Path, start: bytes) -> tuple[np.ndarray, int, str]:
    """All samples of a file, its rate, and a note where its header is wrong. Raises AudioError."""
    whole = Decoder(path, start)
    blocks = list(whole)
    samples = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return samples, whole.rate, whole.note


class Decoder:
    """A file that is decoded from its beginning to its end.

    Iterating gives its samples, float32 (samples, channels): one block where its header says how
    many there are, several otherwise and with `longest`; one block, an empty one, where there are
    none. It raises AudioError for a file that is truncated, too long, or at an unlikely rate.

    Args:
        path: the file.
        start: its first bytes, 8 at least.
        longest: in seconds; a file to be read in blocks may be as long. None: LONGEST_SECONDS, and
            a gigabyte.

    Attributes:
        rate: in Hz, known with the first block.
        length: samples of a channel that were given so far.
        note: where the header is wrong, "" otherwise; known behind the last block.
    """

    def __init__(self, path: pathlib.Path, start: bytes, longest: float | None = None):
        self.path, self.start, self.longest = path, start, longest
        self.rate, self.length, self.note = 0, 0, ""

    def __iter__(self) -> Iterator[np.ndarray]:
        self.length = 0
        start = self.start
        container = ffmpeg.container(start)
        if container:
            yield from self._converted(container)
            return
        if start[:3] == b"ID3" or start[0] == 0xFF:
            bare = Mp3(self.path.read_bytes())
            if bare.count and not bare.measured:
                yield from self._through_a_pipe(bare)
                return
        yield from self._as_announced()
        if self.length == 0 and start[:4] == b"RIFF":
            # the header of a WAV says 0 bytes until its recorder ends
            self.note = "its header announces 0 bytes, as that of a broken recording: all were read"
            data = self.path.read_bytes()
            data = data.replace(b"data\0\0\0\0", b"data\xff\xff\xff\xff", 1)
            with _Stream(io.BytesIO(data)) as handle:
                yield from self._read(handle)

    def _read(self, handle: _Stream) -> Iterator[np.ndarray]:
        """What is left of an open file."""
        rate, channels, announced = handle.samplerate, handle.channels, handle.frames
        if not RATES[0] <= rate <= RATES[1]:
            why = f"its header says {rate} Hz, and rates of {RATES[0]} to {RATES[1]} Hz are read"
            raise AudioError(self.path, why)
        self.rate = rate
        most = min(int(LONGEST_SECONDS * rate), _MOST_SAMPLES // channels)
        # an announced length beyond that is not believed, nor is memory asked for
        size = announced if announced <= most else _BLOCK
        if self.longest is not None:
            most, size = int(self.longest * rate), _BLOCK
        # libsndfile makes floats of 16 bits sample by sample, NumPy the same ones at once
        small = handle.subtype == "PCM_16"
        dtype = "int16" if small else "float32"
        while self.length < announced:
            block = handle.read(size, dtype=dtype, always_2d=True)
            if len(block) == 0:
                break
            if small:
                block = block * _STEP
            self.length += len(block)
            if self.length > most:
                why = f"longer than {most / rate / 60:.0f} minutes: cut it into utterances"
                raise AudioError(self.path, why)
            yield block
        if self.length == 0:
            yield np.zeros((0, channels), np.float32)

    def _as_announced(self) -> Iterator[np.ndarray]:
        """The samples of a file whose header is believed, and then compared with them."""
        open_end = self.start[:4] == b"OggS" and _lacks_end(self.path)
        with _Stream(str(self.path)) as handle:
            yield from self._read(handle)
            announced = handle.frames
            wrong = _OTHER_LENGTH.search(handle.extra_info)
        if self.length < announced < 1 << 62:
            raise AudioError(self.path, f"{_TRUNCATED} ({announced} and {self.length})")
        if wrong and int(wrong[1]) > int(wrong[2]):
            if int(wrong[1]) < _STREAMED:
                raise AudioError(self.path, _TRUNCATED)
            self.note = (
                f"its header announces {wrong[1]} bytes, as streams do: all {wrong[2]} were read"
            )
        if open_end:
            self.note = "without an end mark, so it may have been cut: all there is was read"

    def _through_a_pipe(self, mp3: Mp3) -> Iterator[np.ndarray]:
        """An MP3 that says nothing of its length: of a pipe libsndfile asks none."""
        cut = AudioError(self.path, "truncated: its last MPEG frames are cut off")
        if mp3.torn:
            raise cut
        reader, writer = os.pipe()

        def feed() -> None:
            with contextlib.suppress(OSError), open(writer, "wb") as pipe:
                pipe.write(mp3.data)

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            with open(reader, "rb") as pipe, _Stream(pipe.fileno(), closefd=False) as handle:
                yield from self._read(handle)
        finally:
            feeder.join()
        # the first frame may only prepare the next one
        if self.length < (mp3.count - 2) * mp3.samples:
            raise cut
        if mp3.announced:
            told = f"{mp3.announced} of {mp3.count - 1} frames"
            self.note = f"its header announces {told}: all were read"

    def _converted(self, container: str) -> Iterator[np.ndarray]:
        """What the program ffmpeg makes of a container that libsndfile does not read."""
        name = ffmpeg.NAMES[container]
        try:
            conversion = ffmpeg.Conversion(self.path, container)
        except FileNotFoundError as error:
            # told with its cause: a scan tries again once the program is there
            raise AudioError(
                self.path,
                f"{name}, which needs the program ffmpeg: install it (`apt-get install ffmpeg`),"
                f" or convert the file elsewhere (`ffmpeg -i {self.path.name} clip.wav`)",
            ) from error
        with conversion as pipe:
            with contextlib.suppress(soundfile.LibsndfileError):
                # no header at all where ffmpeg found no sound: it says why
                with _Stream(pipe.fileno(), closefd=False) as handle:
                    yield from self._read(handle)
            fault = conversion.fault()
        if fault:
            raise AudioError(self.path, f"{name} that is damaged or holds no sound ({fault})")


def _lacks_end(path: pathlib.Path) -> bool:
    """Whether an Ogg file lacks the mark of its end (RFC 3533, section 6).

    Raises:
        AudioError: it ends within a page.
    """
    with open(path, "rb") as handle:
        handle.seek(max(0, path.stat().st_size - _OGG_TAIL))
        tail = handle.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    segments = page[26] if len(page) > 26 else 0
    lengths = page[27 : 27 + segments]
    if len(page) < 27 + segments or len(page) < 27 + segments + sum(lengths):
        raise AudioError(path, _TRUNCATED)
    return not page[5] & 4


def _realise_types() -> None:
    """Make what cffi makes of soundfile's functions at their first use, before threads use them.

    Two threads that meet there end the process: cffi 2 makes types without a lock where Python has
    a global one (python-cffi/cffi, issue 271).
    """
    library = soundfile._snd
    for name in dir(library):
        getattr(library, name)
    sound = io.BytesIO()
    soundfile.write(sound, np.zeros(8, np.float32), 16000, format="WAV")
    sound.seek(0)
    with _Stream(sound) as handle:
        handle.read(4, dtype="float32", always_2d=True)
        _OTHER_LENGTH.search(handle.extra_info)


_realise_types()  # once, by the thread that imports this
