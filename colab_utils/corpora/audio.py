"""Decoding audio files: every bad file gives an AudioError with its reason, every good one float samples and an identity."""
from __future__ import annotations

import hashlib
import os
import pathlib

import numpy as np
import soundfile

EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".opus")
SHORTEST_SECONDS = 0.05      # under two 25 ms frames nothing can be said of an emotion
_LFS_POINTER = b"version https://git-lfs"


class AudioError(ValueError):
    """An audio file that cannot be used; the message is `file: reason`, `.reason` is the reason alone."""

    def __init__(self, file: str | os.PathLike, reason: str):
        super().__init__(f"{file}: {reason}")
        self.file, self.reason = str(file), reason


def read_audio(file: str | os.PathLike) -> tuple[np.ndarray, int]:
    """Decode a file: float32 samples of shape (samples, channels), full scale ±1, and the sample rate in Hz.

    32-bit float files may go beyond ±1 and are returned as they are. Raises AudioError for a file that is missing, empty, a Git LFS
    pointer, not audio, truncated, without samples, shorter than SHORTEST_SECONDS, or that holds NaN or infinity.
    """
    path = pathlib.Path(file)
    if not path.is_file():
        raise AudioError(file, "no such file")
    if path.stat().st_size == 0:
        raise AudioError(file, "empty file (0 bytes)")
    with open(path, "rb") as handle:
        if handle.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise AudioError(file, "a Git LFS pointer, not audio: run `git lfs pull` in the corpus folder")
    try:
        with soundfile.SoundFile(str(path)) as handle:
            declared, rate = handle.frames, handle.samplerate
            samples = handle.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(file, f"not readable as audio ({getattr(error, 'error_string', error)})") from error
    if len(samples) == 0:
        raise AudioError(file, "0 samples")
    if len(samples) < declared or _is_truncated_wav(path):
        raise AudioError(file, "truncated: the header announces more samples than the file holds")
    if len(samples) < SHORTEST_SECONDS * rate:
        raise AudioError(file, f"too short ({len(samples) / rate:.3f} s; at least {SHORTEST_SECONDS} s is needed)")
    if not np.isfinite(samples).all():
        raise AudioError(file, "holds NaN or infinite samples")
    return samples, rate


def _is_truncated_wav(path: pathlib.Path) -> bool:
    """Whether a RIFF file is shorter than its header says (libsndfile reads such files without a word).

    Only the sizes of the data chunk are compared; 0 and 0xFFFFFFFF mean "streamed, size unknown" and are accepted.
    """
    size = path.stat().st_size
    with open(path, "rb") as handle:
        if handle.read(4) != b"RIFF":
            return False
        handle.seek(12)
        while len(header := handle.read(8)) == 8:
            length = int.from_bytes(header[4:], "little")
            if header[:4] == b"data":
                return length not in (0, 0xFFFFFFFF) and handle.tell() + length > size
            handle.seek(length + length % 2, os.SEEK_CUR)
    return False


def load_audio(file: str | os.PathLike, sample_rate: int = 16000) -> np.ndarray:
    """Decode, average the channels and resample (soxr, high quality): float32 of shape (samples,) at `sample_rate` Hz.

    Raises AudioError as `read_audio` does.
    """
    samples, rate = read_audio(file)
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if rate != sample_rate:
        import librosa                                  # imported late: it costs a second, and 16 kHz corpora never need it
        mono = librosa.resample(mono, orig_sr=rate, target_sr=sample_rate, res_type="soxr_hq")
    return np.ascontiguousarray(mono, dtype=np.float32)


def samples_sha256(samples: np.ndarray, rate: int) -> str:
    """Identity of decoded audio: SHA-256 of rate, shape and 16-bit rounded samples, so FLAC and WAV of one recording agree."""
    rounded = np.clip(np.rint(samples * 32768.0), -(2 ** 31), 2 ** 31 - 1).astype("<i4")
    return hashlib.sha256(f"{rate},{samples.shape}".encode() + rounded.tobytes()).hexdigest()
