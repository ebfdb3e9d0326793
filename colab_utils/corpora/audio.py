"""Decoding audio files: a good one gives samples and an identity, a bad one its reason."""

import contextlib
import dataclasses
import hashlib
import math
import os
import pathlib
import threading
from collections.abc import Iterable, Iterator

import numpy as np

from colab_utils.corpora.codecs.reading import AudioError, Decoder, blaming, decoded
from colab_utils.files import AnyPath

# the last two by the program ffmpeg, where it is there
EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".opus", ".m4a", ".webm")
SHORTEST_SECONDS = 0.05  # under two 25 ms frames nothing can be said of an emotion
_LFS_POINTER = b"version https://git-lfs"
# two steps of 16 bits, in which the identity of a recording is taken, between lowest and highest
NO_SIGNAL = 2 * 2.0**-15
# whole numbers beyond 2, and whatever lies beyond 100, were never meant as ±1
_FAR, _BEYOND = 100.0, 2.0
_CLIPPED = 0.99  # of full scale
WHOLE_SECONDS = 60.0  # up to here `stream` gives a recording in one block
_ANY_LENGTH = 1e9  # seconds
# audio_sha256 by file, size and time of its last change in ns, of all that this process met: to
# hash anew what was scanned would cost a tenth of a light front end
KNOWN: dict[tuple[str, int, int], str] = {}
# samples looked at or hashed at a time: an hour of speech then needs no second copy in memory
_BLOCK = 1 << 20
_FEW = 1 << 10
_LONG_BYTES = 1 << 24  # files above it are decoded one after another
_one_at_a_time = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Recording:
    """A decoded file.

    Attributes:
        samples: float32 (samples, channels). Full scale is ±1, which floats may exceed.
        rate: in Hz.
        channel: the one to use where the mean of the channels would cancel them out, else None.
        note: what was set right, or is to be known; "" for most.
    """

    samples: np.ndarray
    rate: int
    channel: int | None
    note: str


def turn(file: AnyPath) -> contextlib.AbstractContextManager:
    """A lock to hold while a file is decoded and used: several long ones would fill the memory."""
    with contextlib.suppress(OSError):
        if os.path.getsize(file) > _LONG_BYTES:
            return _one_at_a_time
    return contextlib.nullcontext()


def read_audio(file: AnyPath) -> tuple[np.ndarray, int]:
    """Decode a file without changing rate or channels.

    Returns:
        float32 samples of shape (samples, channels) and the sample rate in Hz. Full scale is ±1;
        files of floats may go beyond it and are returned as they are.

    Raises:
        AudioError: as `decode`.

    Example:
        >>> samples, rate = read_audio("wav/03a01Fa.wav")
    """
    recording = decode(file)
    return recording.samples, recording.rate


def decode(file: AnyPath) -> Recording:
    """As `read_audio`, with what is to be known of the file.

    Its length is what was decoded, whatever its header says. Floats that hold whole numbers, or are
    beyond 100 times full scale, are taken for 16-, 24- or 32-bit values and brought to ±1.

    Raises:
        AudioError: for a file that is missing, unreadable, empty, a Git LFS pointer, not audio,
            truncated, without samples, shorter than SHORTEST_SECONDS or longer than
            LONGEST_SECONDS, at a rate outside RATES, without any signal, or that holds NaN or
            infinity; and whatever else its decoder raises.

    Example:
        >>> decode("wav/03a01Fa.wav").note
        ''
    """
    path = pathlib.Path(file)
    start = _start(path)
    with blaming(file):
        samples, rate, note = decoded(path, start)
        measures = _Measures()
        for begin in range(0, len(samples), _BLOCK):
            measures.add(samples[begin : begin + _BLOCK])
        found = measures.survey(path, rate, note)
        if found.full_scale != 1:
            samples /= found.full_scale
        return Recording(samples, rate, found.channel, found.note)


@dataclasses.dataclass(frozen=True)
class Survey:
    """What one pass through a file tells of it, with nothing kept in memory.

    Attributes:
        file: the path.
        rate: in Hz.
        length: samples of a channel.
        full_scale: what samples are to be divided by.
        channel: the one to use where the mean of the channels would cancel them out, else None.
        clipped: the share of samples at 0.99 of full scale or beyond. Speech has few there, speech
            that was cut off many.
        note: what was set right, or is to be known; "" for most.
    """

    file: AnyPath
    rate: int
    length: int
    full_scale: float
    channel: int | None
    clipped: float
    note: str


def survey(file: AnyPath, longest: float) -> Survey:
    """Decode a file block by block to see whether, and how, it can be used.

    Args:
        file: any of EXTENSIONS.
        longest: in seconds; it may be many hours.

    Raises:
        AudioError: as `decode`.
    """
    path = pathlib.Path(file)
    start = _start(path)
    with blaming(file):
        blocks = Decoder(path, start, longest)
        measures = _Measures()
        for block in blocks:
            measures.add(block)
        return measures.survey(path, blocks.rate, blocks.note)


def stream(found: Survey, sample_rate: int = 16000) -> Iterator[np.ndarray]:
    """What `load_audio` gives, block by block, of a recording of any length.

    Args:
        found: of `survey`.
        sample_rate: in Hz.

    Yields:
        float32 (samples,), of which together there are ceil(length * (sample_rate / rate)).

    Raises:
        AudioError: as `decode`, and when the file is not as long as it was.
    """
    path = pathlib.Path(found.file)
    if found.length <= WHOLE_SECONDS * found.rate:
        yield load_audio(path, sample_rate)
        return
    blocks = Decoder(path, _start(path), _ANY_LENGTH)
    # as librosa rounds
    wanted = math.ceil(found.length * (sample_rate / found.rate))
    given = 0
    with blaming(path):
        mono = (_mono(block / found.full_scale, found.channel) for block in blocks)
        for block in _resampled(mono, found.rate, sample_rate):
            yield block[: wanted - given]
            given += len(block)
        if blocks.length != found.length:
            raise AudioError(path, "it changed while it was read: try again")
        if given < wanted:
            yield np.zeros(wanted - given, np.float32)


def _resampled(blocks: Iterable[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    """Blocks of one sound at another rate, without a seam between them."""
    if rate == sample_rate:
        yield from blocks
        return
    import soxr  # what librosa resamples by

    resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


class _Measures:
    """What decides how samples are used, gathered block by block."""

    def __init__(self) -> None:
        self.length = self.clipped = 0
        self.whole = True  # whether all are whole numbers
        self.lows, self.highs, self.sums, self.powers = np.inf, -np.inf, 0.0, 0.0

    def add(self, block: np.ndarray) -> None:
        """Take in samples, float32 (samples, channels)."""
        if len(block) == 0:
            return
        self.length += len(block)
        lows = [channel.min() for channel in block.T]
        highs = [channel.max() for channel in block.T]
        self.lows = np.minimum(self.lows, lows)
        self.highs = np.maximum(self.highs, highs)
        # the first samples tell of most blocks that they are none
        self.whole = self.whole and _are_whole(block[:_FEW]) and _are_whole(block)
        if max(*highs, -min(lows)) >= _CLIPPED:
            self.clipped += np.count_nonzero(np.abs(block) >= _CLIPPED) / block.shape[1]
        if block.shape[1] > 1:
            with np.errstate(all="ignore"):  # NaN and infinity are told in the end
                self.sums = self.sums + block.sum(axis=0, dtype=np.float64)
                self.powers = self.powers + (block.T @ block).astype(np.float64)

    def survey(self, path: pathlib.Path, rate: int, note: str) -> Survey:
        """What all samples say. Raises AudioError where they cannot be used."""
        seconds = self.length / max(rate, 1)
        if self.length == 0:
            raise AudioError(path, "0 samples")
        if seconds < SHORTEST_SECONDS:
            reason = f"too short ({seconds:.3f} s; at least {SHORTEST_SECONDS} s is needed)"
            raise AudioError(path, reason)
        full_scale, told = self._scale(path)
        notes = [note, told]
        channel = self._if_cancelling()
        if channel is not None:
            notes.append(f"its channels cancel each other out: channel {channel + 1} is used alone")
        clipped = self.clipped / self.length if full_scale == 1 else 0.0
        told = "; ".join(filter(None, notes))
        return Survey(path, rate, self.length, full_scale, channel, clipped, told)

    def _scale(self, path: pathlib.Path) -> tuple[float, str]:
        """What to divide by, and the note that says so, or 1 and "".

        Raises:
            AudioError: NaN or infinity, no signal, or a scale that cannot be guessed.
        """
        if not np.isfinite([self.highs, self.lows]).all():
            raise AudioError(path, "holds NaN or infinite samples")
        if np.all(self.highs - self.lows <= NO_SIGNAL):
            raise AudioError(path, "no signal: it is silent (or constant) from beginning to end")
        peak = float(max(*self.highs, *-self.lows))
        if peak <= _BEYOND or (peak <= _FAR and not self.whole):
            return 1.0, ""
        for bits in (16, 24, 32):
            full = 2.0 ** (bits - 1)
            if peak <= 2 * full:
                told = f"taken for {bits}-bit values: divided by {full:.0f}"
                return full, f"floats up to {peak:.6g}, {told}"
        raise AudioError(
            path, f"floats up to {peak:.3g}: full scale is 1, so divide them and save again"
        )

    def _if_cancelling(self) -> int | None:
        """The loudest channel, where the mean of all lies more than 20 dB below it; else None."""
        if np.ndim(self.powers) == 0:
            return None
        means = self.sums / self.length
        powers = self.powers / self.length - np.outer(means, means)
        loudest = int(powers.diagonal().argmax())
        return loudest if powers.mean() < 0.01 * powers[loudest, loudest] else None


def _are_whole(block: np.ndarray) -> bool:
    """Whether all are whole numbers."""
    return np.array_equal(block, np.rint(block))


def _start(path: pathlib.Path) -> bytes:
    """The first bytes of a file.

    Raises:
        AudioError: it is missing, empty, a Git LFS pointer, or the disk does not give it (the cause
            is an OSError then).
    """
    try:
        with open(path, "rb") as handle:
            start = handle.read(len(_LFS_POINTER))
    except FileNotFoundError as error:
        raise AudioError(path, "no such file") from error
    except OSError as error:
        raise AudioError(
            path, f"cannot be read from the disk ({error.strerror or error})"
        ) from error
    if not start:
        raise AudioError(path, "empty file (0 bytes)")
    if start == _LFS_POINTER:
        raise AudioError(
            path, "a Git LFS pointer, not audio: run `git lfs pull` in the corpus folder"
        )
    return start


def load_audio(
    file: AnyPath, sample_rate: int = 16000, audio_sha256: str | None = None
) -> np.ndarray:
    """Decode a file, average its channels and resample (soxr, high quality).

    Where the mean of the channels would cancel them out, the loudest is taken alone.

    Args:
        file: any of EXTENSIONS.
        sample_rate: in Hz.
        audio_sha256: `samples_sha256` of what the file held when it was scanned, or None.

    Returns:
        float32 of shape (samples,).

    Raises:
        AudioError: as `decode`, and when the samples are others than those that were scanned.

    Example:
        >>> wave = load_audio("wav/03a01Fa.wav")  # 16 kHz, mono
    """
    with turn(file), blaming(file):
        recording = decode(file)
        samples, rate = recording.samples, recording.rate
        if audio_sha256 is not None and _identity(file, samples, rate) != audio_sha256:
            raise AudioError(
                file, "the file has changed since it was scanned: scan the audio again"
            )
        mono = _mono(samples, recording.channel)
        if rate != sample_rate:
            mono = _at_rate(mono, rate, sample_rate)
        return np.ascontiguousarray(mono, dtype=np.float32)


def _at_rate(mono: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """One channel at another rate, with the samples and the length that librosa gives it."""
    import soxr  # what librosa resamples by, without the second that its import takes

    found = soxr.resample(mono, rate, sample_rate, quality="HQ")
    wanted = math.ceil(len(mono) * (sample_rate / rate))
    missing = max(0, wanted - len(found))
    return np.pad(found[:wanted], (0, missing))


def _mono(samples: np.ndarray, channel: int | None) -> np.ndarray:
    """One channel of (samples, channels): the mean, or the one that is told."""
    if channel is not None:
        return samples[:, channel]
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)


def _identity(file: AnyPath, samples: np.ndarray, rate: int) -> str:
    """`samples_sha256` of a file that was just read, from KNOWN where its state is known."""
    try:
        facts = os.stat(file)
    except OSError as error:
        raise AudioError(file, "no such file") from error
    state = os.fspath(file), facts.st_size, facts.st_mtime_ns
    if state not in KNOWN:
        KNOWN[state] = samples_sha256(samples, rate)
    return KNOWN[state]


def samples_sha256(samples: np.ndarray, rate: int) -> str:
    """Identity of decoded audio: FLAC and WAV of one recording agree.

    Args:
        samples: float of shape (samples, channels), full scale ±1.
        rate: in Hz.

    Returns:
        SHA-256, in hex digits, of rate, shape and samples rounded to 16 bits.
    """
    digest = hashlib.sha256(f"{rate},{samples.shape}".encode())
    for start in range(0, len(samples), _BLOCK):
        block = np.rint(samples[start : start + _BLOCK] * 32768.0)
        # 2**31 - 128 is the largest int32 in float32
        block = np.clip(block, -(2**31), 2**31 - 128)
        digest.update(block.astype("<i4").tobytes())
    return digest.hexdigest()
