"""Decoding audio files: a good one gives samples and an identity, a bad one its reason."""

import contextlib
import dataclasses
import hashlib
import math
import os
import pathlib
import threading

import numpy as np

from colab_utils.corpora.codecs.reading import AudioError, blaming, decoded
from colab_utils.files import AnyPath

EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".opus")
SHORTEST_SECONDS = 0.05  # under two 25 ms frames nothing can be said of an emotion
_LFS_POINTER = b"version https://git-lfs"
_STEP = 2.0**-15  # of 16 bits, in which the identity of a recording is taken
# whole numbers beyond 2, and whatever lies beyond 100, were never meant as ±1
_FAR, _BEYOND = 100.0, 2.0
# audio_sha256 by file, size and time of its last change in ns, of all that this process met: to
# hash anew what was scanned would cost a tenth of a light front end
KNOWN: dict[tuple[str, int, int], str] = {}
# samples hashed at a time: an hour of speech then needs no second copy in memory
_HASH_BLOCK = 1 << 20
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
        seconds = len(samples) / rate
        if len(samples) == 0:
            raise AudioError(file, "0 samples")
        if seconds < SHORTEST_SECONDS:
            reason = f"too short ({seconds:.3f} s; at least {SHORTEST_SECONDS} s is needed)"
            raise AudioError(file, reason)
        notes = [note, _brought_to_scale(path, samples)]
        channel = None
        if samples.shape[1] > 1:
            channel = _if_cancelling(samples)
        if channel is not None:
            notes.append(f"its channels cancel each other out: channel {channel + 1} is used alone")
        return Recording(samples, rate, channel, "; ".join(filter(None, notes)))


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


def _brought_to_scale(path: pathlib.Path, samples: np.ndarray) -> str:
    """Divide (in place) what is far beyond full scale; the note that says so, or "".

    Raises:
        AudioError: NaN or infinity, no signal, or a scale that cannot be guessed.
    """
    lows = [float(channel.min()) for channel in samples.T]
    highs = [float(channel.max()) for channel in samples.T]
    # NaN and infinity stay in any sum
    if not math.isfinite(sum(highs) - sum(lows)):
        raise AudioError(path, "holds NaN or infinite samples")
    if all(high - low <= 2 * _STEP for low, high in zip(lows, highs, strict=True)):
        raise AudioError(path, "no signal: it is silent (or constant) from beginning to end")
    peak = max(*highs, -min(lows))
    if peak <= _BEYOND:
        return ""
    if peak <= _FAR and not np.array_equal(samples, np.rint(samples)):
        return ""
    for bits in (16, 24, 32):
        full = 2.0 ** (bits - 1)
        if peak <= 2 * full:
            samples /= full
            return f"floats up to {peak:.6g}, taken for {bits}-bit values: divided by {full:.0f}"
    raise AudioError(
        path, f"floats up to {peak:.3g}: full scale is 1, so divide them and save again"
    )


def _if_cancelling(samples: np.ndarray) -> int | None:
    """The loudest channel, where the mean of all lies more than 20 dB below it; else None."""
    means = np.array([channel.mean() for channel in samples.T])
    powers = samples.T @ samples
    powers /= len(samples)
    powers -= np.outer(means, means)
    loudest = int(powers.diagonal().argmax())
    if powers.mean() < 0.01 * powers[loudest, loudest]:
        return loudest
    return None


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
        if recording.channel is not None:
            mono = samples[:, recording.channel]
        elif samples.shape[1] == 1:
            mono = samples[:, 0]
        else:
            mono = samples.mean(axis=1)
        if rate != sample_rate:
            import librosa  # imported late: it costs a second, and 16 kHz corpora never need it

            mono = librosa.resample(mono, orig_sr=rate, target_sr=sample_rate, res_type="soxr_hq")
        return np.ascontiguousarray(mono, dtype=np.float32)


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
    for start in range(0, len(samples), _HASH_BLOCK):
        block = np.rint(samples[start : start + _HASH_BLOCK] * 32768.0)
        # 2**31 - 128 is the largest int32 in float32
        block = np.clip(block, -(2**31), 2**31 - 128)
        digest.update(block.astype("<i4").tobytes())
    return digest.hexdigest()
