"""Log-mel spectrograms from files: the suite's extraction into a store, against librosa.

    python benchmarks/features.py --audio FOLDER [--repetitions 5] [--clips 0]
        [--store-utterances 10000] [--against CHECKOUT]

The peer is a loop of librosa.load and melspectrogram. Both run in this process, turn by turn, on
the same clips; ours also writes its store to the disk. Wall time is compared, and, where the audio
has to be resampled first, also processor time (all threads together), since both use the same
resampler. A table says what each stage takes by itself, in one thread.

With --against, the front end `acoustic` is extracted by this checkout and by another one, turn by
turn, each in a process of its own, and their features are compared.
"""

from __future__ import annotations

import argparse
import functools
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import librosa
import numpy as np
import pandas as pd
import soundfile

from colab_utils.corpora.audio import EXTENSIONS, load_audio, read_audio, samples_sha256
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.front_end import workers
from colab_utils.features.store.extract import SHARD_UTTERANCES, extract
from colab_utils.features.store.shards import write_shard
from colab_utils.features.store.store import FeatureStore

SPEC = LogMel()
DB = 10 / np.log(10)
BOUND = 1e-3  # dB
SAME = 1e-5  # of a feature, or of its size where that is above 1
BATCH = 8  # clips computed together in the table of stages


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


def each(function, items: list) -> list:
    """What `function` gives for each item."""
    return [function(item) for item in items]


def batched(function, items: list, size: int) -> list:
    """What `function` gives for `size` items at a time, in one list."""
    return [one for i in range(0, len(items), size) for one in function(items[i : i + size])]


def stages(title: str, files: list[pathlib.Path], repetitions: int) -> None:
    """Print the processor seconds of each stage of our way, one after the other in one thread."""
    seconds = {}

    def staged(stage: str, function, *arguments) -> object:
        (_, processor), result = timed(function, *arguments)
        seconds.setdefault(stage, []).append(processor)
        return result

    def loaded(file: pathlib.Path) -> np.ndarray:
        return load_audio(file, SPEC.sample_rate)

    def hashed(sound: tuple[np.ndarray, int]) -> str:
        return samples_sha256(*sound)

    for _ in range(repetitions):
        sounds = staged("decode", each, read_audio, files)
        waves = staged("decode and resample", each, loaded, files)
        frames = staged("features", batched, SPEC.compute, waves, BATCH)
        staged("hashing", each, hashed, sounds)
        with tempfile.TemporaryDirectory() as root:
            staged("check, sum up and write", written, frames, root)
    medians = {stage: statistics.median(found) for stage, found in seconds.items()}
    medians["resample"] = max(0.0, medians.pop("decode and resample") - medians["decode"])
    print(f"  stages of {title}, processor seconds in one thread:")
    for stage in ("decode", "resample", "features", "check, sum up and write"):
        print(f"    {stage:24s} {medians[stage]:7.3f}")
    print(f"    {'once before: hashing':24s} {medians['hashing']:7.3f}")


def written(frames: list[np.ndarray], root: str) -> None:
    """Write features as extraction does, in shards."""
    for begin in range(0, len(frames), SHARD_UTTERANCES):
        some = frames[begin : begin + SHARD_UTTERANCES]
        named = {str(number): values for number, values in enumerate(some)}
        if all(np.isfinite(values).all() for values in some):
            write_shard(f"{root}/{begin}.safetensors", "key", named, [], SPEC.dim)


def against(checkout: pathlib.Path, audio: pathlib.Path, repetitions: int) -> np.ndarray:
    """`acoustic` by another checkout and by this one, in turn; prints times and agreement.

    Returns:
        The ratios of wall time and of processor time.
    """
    here = pathlib.Path(__file__).resolve()
    child = [sys.executable, str(here.with_name("one_checkout.py"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    sides = {}
    for name, root in (("the other checkout", checkout), ("this checkout", here.parents[1])):
        command = [*child, str(root.resolve()), str(audio.resolve())]
        sides[name] = subprocess.Popen(command, **pipes)
    turns = {name: [] for name in sides}
    found = {}
    # the first turn warms both up and is not counted
    for _ in range(repetitions + 1):
        for name, process in sides.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            wall, processor, file = process.stdout.readline().split()
            turns[name].append((float(wall), float(processor)))
            found[name] = np.load(file)
    for process in sides.values():
        process.communicate()
    other, ours_now = found.values()
    far = np.abs(ours_now - other) / np.maximum(1, np.abs(other))
    print(
        f"\nacoustic, {len(other)} clips; median of {repetitions} turns, wall (processor) seconds"
    )
    medians = [np.median(turns[name][1:], axis=0) for name in sides]
    for name, (wall, processor) in zip(sides, medians, strict=True):
        walls = " ".join(f"{turn[0]:.2f}" for turn in turns[name][1:])
        print(f"  {name:18s} {wall:7.3f} ({processor:.3f})   all turns {walls}")
    print(
        f"  largest difference {far.max():.1e} (bound: {SAME:.0e} of the larger of 1 and |value|)"
    )
    if not far.max() <= SAME:
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
    parser.add_argument(
        "--against", type=pathlib.Path, help="another checkout, whose `acoustic` is timed as well"
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
    stages("the clips as they are", files, arguments.repetitions)
    with tempfile.TemporaryDirectory() as folder:
        some = resampled(files[::4], pathlib.Path(folder))
        wall, per_core = duel("44.1 and 48 kHz", some, arguments.repetitions)
        stages("the clips at 44.1 and 48 kHz", some, arguments.repetitions)
    if arguments.store_utterances:
        cached(files, arguments.store_utterances)
    acoustic = None
    if arguments.against:
        acoustic = against(arguments.against, arguments.audio, arguments.repetitions)
    print(f"\nRATIO logmel_from_files {plain:.2f}")
    print(f"RATIO logmel_resampled {wall:.2f}")
    print(f"RATIO logmel_resampled_per_core {per_core:.2f}")
    if acoustic is not None:
        print(f"RATIO acoustic {acoustic[0]:.2f}")
        print(f"RATIO acoustic_per_core {acoustic[1]:.2f}")


if __name__ == "__main__":
    main()
