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

from colab_utils.corpora.codecs.mp3 import Mp3
from colab_utils.files import AnyPath

LONGEST_SECONDS = 1800.0  # what is longer is a session and no utterance
RATES = (4000, 768000)  # Hz; a header that says less or more is wrong
_MOST_SAMPLES = 1 << 28  # of all channels together: a gigabyte
_BLOCK = 1 << 20  # samples read at a time where the length is unknown
_OGG_TAIL = 1 << 17  # an Ogg page is at most 65,307 bytes
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
    if start[:3] == b"ID3" or start[0] == 0xFF:
        bare = Mp3(path.read_bytes())
        if bare.count and not bare.measured:
            return _through_a_pipe(path, bare)
    open_end = start[:4] == b"OggS" and _lacks_end(path)
    with _Stream(str(path)) as handle:
        samples = _read(path, handle)
        rate, announced = handle.samplerate, handle.frames
        wrong = _OTHER_LENGTH.search(handle.extra_info)
    note = ""
    if len(samples) < announced < 1 << 62:
        raise AudioError(path, f"{_TRUNCATED} ({announced} and {len(samples)})")
    if wrong and int(wrong[1]) > int(wrong[2]):
        if int(wrong[1]) < _STREAMED:
            raise AudioError(path, _TRUNCATED)
        note = f"its header announces {wrong[1]} bytes, as streams do: all {wrong[2]} were read"
    if open_end:
        note = "without an end mark, so it may have been cut: all there is was read"
    if len(samples) == 0 and start[:4] == b"RIFF":
        samples = _unmeasured_wav(path)
        note = "its header announces 0 bytes, as that of a broken recording: all were read"
    return samples, rate, note


def _read(path: pathlib.Path, handle: _Stream) -> np.ndarray:
    """What is left of an open file: float32 (samples, channels).

    Raises:
        AudioError: its rate is none, or it is too long.
    """
    rate, channels, announced = handle.samplerate, handle.channels, handle.frames
    if not RATES[0] <= rate <= RATES[1]:
        why = f"its header says {rate} Hz, and rates of {RATES[0]} to {RATES[1]} Hz are read"
        raise AudioError(path, why)
    most = min(int(LONGEST_SECONDS * rate), _MOST_SAMPLES // channels)
    # an announced length beyond that is not believed, nor is memory asked for
    size = announced if announced <= most else _BLOCK
    blocks = [np.zeros((0, channels), np.float32)]
    total = 0
    while total < announced:
        block = handle.read(size, dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        blocks.append(block)
        total += len(block)
        if total > most:
            why = f"longer than {most / rate / 60:.0f} minutes: cut it into utterances"
            raise AudioError(path, why)
    return blocks[1] if len(blocks) == 2 else np.concatenate(blocks)


def _through_a_pipe(path: pathlib.Path, mp3: Mp3) -> tuple[np.ndarray, int, str]:
    """As `decoded`, of an MP3 that says nothing of its length: of a pipe libsndfile asks none."""
    cut = AudioError(path, "truncated: its last MPEG frames are cut off")
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
            samples, rate = _read(path, handle), handle.samplerate
    finally:
        feeder.join()
    # the first frame may only prepare the next one
    if len(samples) < (mp3.count - 2) * mp3.samples:
        raise cut
    note = ""
    if mp3.announced:
        note = f"its header announces {mp3.announced} of {mp3.count - 1} frames: all were read"
    return samples, rate, note


def _unmeasured_wav(path: pathlib.Path) -> np.ndarray:
    """As `_read`, of a WAV whose header says 0 bytes, as it does until a recorder ends."""
    data = path.read_bytes().replace(b"data\0\0\0\0", b"data\xff\xff\xff\xff", 1)
    with _Stream(io.BytesIO(data)) as handle:
        return _read(path, handle)


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
