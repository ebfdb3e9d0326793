"""Log-mel spectrograms from files: the suite's extraction into a store, against a loop of
librosa.load and melspectrogram.

    python benchmarks/features.py --audio FOLDER [--repetitions 5] [--clips 0] [--store-utterances
    10000]

Both run in this process, turn by turn, on the same clips; ours also writes its store to the disk.
Wall time is compared, and, where the audio has to be resampled first, also processor time (all
threads together), since both use the same resampler.
"""

from __future__ import annotations

import argparse
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

from colab_utils.corpora.audio import EXTENSIONS, read_audio
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.front_end import workers
from colab_utils.features.store.extract import extract
from colab_utils.features.store.store import FeatureStore

SPEC = LogMel()
DB = 10 / np.log(10)


def manifest_of(files: list[pathlib.Path], n: int) -> pd.DataFrame:
    """A manifest of n utterances that goes round the files."""
    chosen = [files[number % len(files)] for number in range(n)]
    ids = [f"bench/{number:05d}" for number in range(n)]
    return pd.DataFrame(
        {
            "utt_id": ids,
            "corpus": "bench",
            "file": [str(file) for file in chosen],
            "audio_sha256": ids,
        }
    )


def peer(files: list[pathlib.Path]) -> list[np.ndarray]:
    """What a script does without the suite: file by file, log power as the suite gives it."""

    def one(file: pathlib.Path) -> np.ndarray:
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
        return np.log(SPEC.floor + power).T

    return [one(file) for file in files]


def timed(function, *arguments) -> tuple[float, float, object]:
    """Wall seconds, processor seconds (all threads), and the result."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return time.perf_counter() - wall, time.process_time() - processor, result


def duel(title: str, files: list[pathlib.Path], repetitions: int) -> tuple[float, float]:
    """Peer and suite in turn; prints times, agreement and stage shares, returns the ratios of wall
    and of processor time.
    """
    ours, theirs, shares = [], [], []
    # the first turn warms both up and is not counted
    for repetition in range(repetitions + 1):
        with tempfile.TemporaryDirectory() as root:
            theirs.append(timed(peer, files))
            ours.append(
                timed(
                    lambda root=root: extract(
                        manifest_of(files, len(files)), SPEC, root, progress=False
                    )
                )
            )
            store = ours[-1][2]
            shares.append(store.report.shares)
            if repetition == 0:
                worst = max(
                    np.abs(DB * (store[utt_id] - frames)).max()
                    for utt_id, frames in zip(store.ids, theirs[-1][2], strict=True)
                )
        theirs[-1], ours[-1] = theirs[-1][:2], ours[-1][:2]
    (peer_wall, peer_cpu), (wall, cpu) = (
        [statistics.median(run[kind] for run in runs[1:]) for kind in (0, 1)]
        for runs in (theirs, ours)
    )
    print(
        f"\n{title}: {len(files)} clips; median of {repetitions} turns, wall seconds (processor"
        " seconds)"
    )
    print(
        f"  librosa, file by file  {peer_wall:7.3f} ({peer_cpu:.3f})   all turns"
        f" {' '.join(f'{run[0]:.2f}' for run in theirs[1:])}"
    )
    print(
        f"  extract(), with store  {wall:7.3f} ({cpu:.3f})   all turns"
        f" {' '.join(f'{run[0]:.2f}' for run in ours[1:])}"
    )
    print(
        "  share of the stages' busy time: "
        + ", ".join(
            f"{stage} {statistics.median(s[stage] for s in shares[1:]):.0%}" for stage in shares[0]
        )
    )
    print(f"  both computed the same: largest difference {worst:.1e} dB (bound: 1e-3 dB)")
    if not worst < 1e-3:
        raise SystemExit("the two do not agree, so their times cannot be compared")
    return peer_wall / wall, peer_cpu / cpu


def resampled(files: list[pathlib.Path], folder: pathlib.Path) -> list[pathlib.Path]:
    """Copies of the files as 16-bit WAV, at 44.1 and 48 kHz in turn."""
    made = []
    for number, file in enumerate(files):
        samples, rate = read_audio(file)
        target = (44100, 48000)[number % 2]
        made.append(folder / f"{number:05d}.wav")
        soundfile.write(
            made[-1],
            librosa.resample(samples[:, 0], orig_sr=rate, target_sr=target),
            target,
            subtype="PCM_16",
        )
    return made


def cached(files: list[pathlib.Path], n: int) -> None:
    """Fill a store of n utterances and print how long it takes to open it and to find that nothing
    is to be made.
    """
    with tempfile.TemporaryDirectory() as root:
        folders = extract(manifest_of(files, n), SPEC, root, progress=False).folders
        opened = statistics.median(timed(FeatureStore, folders)[0] for _ in range(5))
        again = statistics.median(
            timed(lambda: extract(manifest_of(files, n), SPEC, root, progress=False))[0]
            for _ in range(3)
        )
        size = sum(path.stat().st_size for path in folders[0].iterdir()) / 1e6
    print(
        f"\ncached store of {n} utterances ({size:.0f} MB): opened in {opened:.3f} s; extract(),"
        f" which checks every byte: {again:.3f} s"
    )


def main() -> None:
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
    files = sorted(
        path for path in arguments.audio.rglob("*") if path.suffix.lower() in EXTENSIONS
    )[: arguments.clips or None]
    if not files:
        raise SystemExit(f"{arguments.audio}: no audio files below this folder")
    print(
        f"{platform.processor() or platform.machine()}, {workers()} of {os.cpu_count()} cores,"
        f" Python {platform.python_version()}"
    )
    ratios = {"logmel_from_files": duel("as they are", files, arguments.repetitions)[0]}
    with tempfile.TemporaryDirectory() as folder:
        some = resampled(files[::4], pathlib.Path(folder))
        ratios["logmel_resampled"], ratios["logmel_resampled_per_core"] = duel(
            "44.1 and 48 kHz", some, arguments.repetitions
        )
    if arguments.store_utterances:
        cached(files, arguments.store_utterances)
    print()
    for name, ratio in ratios.items():
        print(f"RATIO {name} {ratio:.2f}")


if __name__ == "__main__":
    main()
