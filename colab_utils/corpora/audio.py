"""Decoding audio files: a good one gives samples and an identity, a bad one its reason."""

import hashlib
import os
import pathlib

import numpy as np
import soundfile

from colab_utils.files import AnyPath

EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".opus")
SHORTEST_SECONDS = 0.05  # under two 25 ms frames nothing can be said of an emotion
_LFS_POINTER = b"version https://git-lfs"
_OGG_TAIL = 1 << 17  # an Ogg page is at most 65,307 bytes
_STREAMED = (0, 0xFFFFFFFF)  # lengths that mean "size unknown"
# audio_sha256 by file, size and time of its last change in ns, of all that this process met: to
# hash anew what was scanned would cost a tenth of a light front end
KNOWN: dict[tuple[str, int, int], str] = {}
# samples hashed at a time: an hour of speech then needs no second copy in memory
_HASH_BLOCK = 1 << 20


class AudioError(ValueError):
    """An audio file that cannot be used: the message names it, `.reason` is the reason alone."""

    def __init__(self, file: AnyPath, reason: str):
        super().__init__(f"{file}: {reason}")
        self.reason = reason


def read_audio(file: AnyPath) -> tuple[np.ndarray, int]:
    """Decode a file without changing rate or channels.

    Returns:
        float32 samples of shape (samples, channels) and the sample rate in Hz. Full scale is ±1;
        files of 32-bit floats may go beyond it and are returned as they are.

    Raises:
        AudioError: for a file that is missing, unreadable, empty, a Git LFS pointer, not audio,
            truncated, without samples, shorter than SHORTEST_SECONDS, or holds NaN or infinity.

    Example:
        >>> samples, rate = read_audio("wav/03a01Fa.wav")
    """
    path = pathlib.Path(file)
    _check_start(path)
    try:
        with soundfile.SoundFile(str(path)) as handle:
            declared = handle.frames
            rate = handle.samplerate
            samples = handle.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        reason = str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")
        raise AudioError(file, f"not readable as audio ({reason})") from error
    if len(samples) == 0:
        raise AudioError(file, "0 samples")
    if len(samples) < declared or _is_truncated(path):
        raise AudioError(file, "truncated: the header announces more samples than the file holds")
    seconds = len(samples) / rate
    if seconds < SHORTEST_SECONDS:
        raise AudioError(
            file, f"too short ({seconds:.3f} s; at least {SHORTEST_SECONDS} s is needed)"
        )
    if not np.isfinite(samples).all():
        raise AudioError(file, "holds NaN or infinite samples")
    return samples, rate


def _check_start(path: pathlib.Path) -> None:
    """Refuse a file that is missing, empty, a Git LFS pointer, or that the disk does not give.

    Raises:
        AudioError: whose cause is an OSError where the disk is at fault.
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


def _is_truncated(path: pathlib.Path) -> bool:
    """Whether a WAV, AIFF or Ogg file ends before its own structure says so.

    libsndfile reads such files without a word. FLAC and MP3 need no look: their decoders refuse or
    come back with too few samples.
    """
    size = path.stat().st_size
    with open(path, "rb") as handle:
        kind = handle.read(4)
        if kind == b"OggS":
            handle.seek(max(0, size - _OGG_TAIL))
            return not _ends_ogg_stream(handle.read())
        if kind == b"RIFF":
            order, wanted = "little", b"data"
        elif kind == b"FORM":
            order, wanted = "big", b"SSND"
        else:
            return False
        handle.seek(12)
        while len(header := handle.read(8)) == 8:
            length = int.from_bytes(header[4:], order)
            if header[:4] == wanted:
                return length not in _STREAMED and handle.tell() + length > size
            handle.seek(length + length % 2, os.SEEK_CUR)
    return False


def _ends_ogg_stream(tail: bytes) -> bool:
    """Whether the last Ogg page in `tail` is whole and ends its stream (RFC 3533, section 6)."""
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or not page[5] & 4:
        return False
    segments = page[26]
    lengths = page[27 : 27 + segments]
    return len(lengths) == segments and len(page) >= 27 + segments + sum(lengths)


def load_audio(
    file: AnyPath, sample_rate: int = 16000, audio_sha256: str | None = None
) -> np.ndarray:
    """Decode a file, average its channels and resample (soxr, high quality).

    Args:
        file: any of EXTENSIONS.
        sample_rate: in Hz.
        audio_sha256: `samples_sha256` of what the file held when it was scanned, or None.

    Returns:
        float32 of shape (samples,).

    Raises:
        AudioError: as `read_audio`, and when the samples are others than those that were scanned.

    Example:
        >>> wave = load_audio("wav/03a01Fa.wav")  # 16 kHz, mono
    """
    samples, rate = read_audio(file)
    if audio_sha256 is not None and _identity(file, samples, rate) != audio_sha256:
        raise AudioError(file, "the file has changed since it was scanned: scan the audio again")
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
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
