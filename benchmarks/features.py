"""Log-mel spectrograms from files: the suite's extraction into a store, against librosa.

    python benchmarks/features.py --audio FOLDER [--repetitions 5] [--clips 0]
        [--store-utterances 10000]

The peer is a loop of librosa.load and melspectrogram. Both run in this process, turn by turn, on
the same clips; ours also writes its store to the disk. Wall time is compared, and, where the audio
has to be resampled first, also processor time (all threads together), since both use the same
resampler.
"""

from __future__ import annotations

import argparse
import functools
import os
import pathlib
import platform
import statistics
import tempfile
import time

import librosa
import numpy as np
import pandas as pd
import soundfile

from colab_utils.corpora.audio import EXTENSIONS, read_audio, samples_sha256
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.front_end import workers
from colab_utils.features.store.extract import extract
from colab_utils.features.store.store import FeatureStore

SPEC = LogMel()
DB = 10 / np.log(10)
BOUND = 1e-3  # dB


def manifest_of(files: list[pathlib.Path], n: int) -> pd.DataFrame:
    """A manifest of n utterances that goes round the files."""
    chosen = [str(files[number % len(files)]) for number in range(n)]
    ids = [f"bench/{number:05d}" for number in range(n)]
    hashes = [hash_of(file) for file in chosen]
    return pd.DataFrame({"utt_id": ids, "corpus": "bench", "file": chosen, "audio_sha256": hashes})


@functools.cache
def hash_of(file: str) -> str:
    """What a scan notes of a file; in the turn that is not counted."""
    return samples_sha256(*read_audio(file))


def ours(files: list[pathlib.Path], root: str) -> FeatureStore:
    """The suite's way."""
    return extract(manifest_of(files, len(files)), SPEC, root, progress=False)


def theirs(files: list[pathlib.Path]) -> list[np.ndarray]:
    """What a script does without the suite: file by file, log power as the suite gives it."""
    features = []
    for file in files:
        wave, _ = librosa.load(file, sr=SPEC.sample_rate)
        power = librosa.feature.melspectrogram(
            y=wave,
            sr=SPEC.sample_rate,
            n_fft=SPEC.n_fft,
            hop_length=SPEC.hop,
            win_length=SPEC.window,
            pad_mode="reflect",
            n_mels=SPEC.n_mels,
            fmin=SPEC.low_hz,
            fmax=SPEC.high_hz,
        )
        features.append(np.log(SPEC.floor + power).T)
    return features


def timed(function, *arguments) -> tuple[np.ndarray, object]:
    """Wall seconds and processor seconds (all threads), and the result."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return np.array([time.perf_counter() - wall, time.process_time() - processor]), result


def duel(title: str, files: list[pathlib.Path], repetitions: int) -> np.ndarray:
    """Peer and suite in turn; prints times and agreement.

    Returns:
        The ratios of wall time and of processor time.
    """
    peer, suite, worst = [], [], 0.0
    # the first turn warms both up and is not counted
    for _ in range(repetitions + 1):
        with tempfile.TemporaryDirectory() as root:
            seconds, frames = timed(theirs, files)
            peer.append(seconds)
            seconds, store = timed(ours, files, root)
            suite.append(seconds)
            for utt_id, expected in zip(store.ids, frames, strict=True):
                worst = max(worst, DB * np.abs(store[utt_id] - expected).max())
    print(
        f"\n{title}: {len(files)} clips; median of {repetitions} turns, wall seconds (processor"
        " seconds)"
    )
    medians = []
    for name, turns in (("librosa, file by file", peer), ("extract(), with store", suite)):
        medians.append(np.median(turns[1:], axis=0))
        wall, processor = medians[-1]
        walls = " ".join(f"{turn[0]:.2f}" for turn in turns[1:])
        print(f"  {name}  {wall:7.3f} ({processor:.3f})   all turns {walls}")
    print(f"  both computed the same: largest difference {worst:.1e} dB (bound: {BOUND:.0e} dB)")
    if not worst < BOUND:
        raise SystemExit("the two do not agree, so their times cannot be compared")
    return medians[0] / medians[1]


def resampled(files: list[pathlib.Path], folder: pathlib.Path) -> list[pathlib.Path]:
    """Copies of the files as 16-bit WAV, at 44.1 and 48 kHz in turn."""
    made = []
    for number, file in enumerate(files):
        samples, rate = read_audio(file)
        target = (44100, 48000)[number % 2]
        copy = librosa.resample(samples[:, 0], orig_sr=rate, target_sr=target)
        made.append(folder / f"{number:05d}.wav")
        soundfile.write(made[-1], copy, target, subtype="PCM_16")
    return made


def cached(files: list[pathlib.Path], n: int) -> None:
    """Fill a store of n utterances; print how long opening it takes, and extracting it again."""
    table = manifest_of(files, n)
    with tempfile.TemporaryDirectory() as root:
        folders = extract(table, SPEC, root, progress=False).folders
        opened = [timed(FeatureStore, folders)[0][0] for _ in range(5)]
        again = [timed(extract, table, SPEC, root, "cpu", False)[0][0] for _ in range(3)]
        size = sum(path.stat().st_size for path in folders[0].iterdir()) / 1e6
    print(
        f"\ncached store of {n} utterances ({size:.0f} MB): opened in"
        f" {statistics.median(opened):.3f} s; extract(), which checks every byte:"
        f" {statistics.median(again):.3f} s"
    )


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--audio",
        type=pathlib.Path,
        required=True,
        help="a folder with 16 kHz speech, such as EmoDB's",
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--clips", type=int, default=0, help="only that many clips (0: all)")
    parser.add_argument(
        "--store-utterances",
        type=int,
        default=10_000,
        help="size of the cached store (0: leave it out)",
    )
    arguments = parser.parse_args()
    files = sorted(arguments.audio.rglob("*"))
    files = [file for file in files if file.suffix.lower() in EXTENSIONS]
    files = files[: arguments.clips or None]
    if not files:
        raise SystemExit(f"{arguments.audio}: no audio files below this folder")
    print(
        f"{platform.processor() or platform.machine()}, {workers()} of {os.cpu_count()} cores,"
        f" Python {platform.python_version()}"
    )
    plain, _ = duel("as they are", files, arguments.repetitions)
    with tempfile.TemporaryDirectory() as folder:
        some = resampled(files[::4], pathlib.Path(folder))
        wall, per_core = duel("44.1 and 48 kHz", some, arguments.repetitions)
    if arguments.store_utterances:
        cached(files, arguments.store_utterances)
    print(f"\nRATIO logmel_from_files {plain:.2f}")
    print(f"RATIO logmel_resampled {wall:.2f}")
    print(f"RATIO logmel_resampled_per_core {per_core:.2f}")


if __name__ == "__main__":
    main()
