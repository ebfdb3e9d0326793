"""wav2vec 2.0 features: the suite's length-bucketed batches, against a loop over the clips one by
one with transformers.

    python benchmarks/embeddings.py [--audio FOLDER] [--clips 32] [--repetitions 3]

Both use one checkpoint of wav2vec2-base's size (95 million parameters, random weights), written to
a temporary folder in the Hub's format, and give mean and standard deviation over frames. They run
in turn in this process on the same clips; on a GPU, where there is one, also in float16. Without
--audio, noise of lengths like EmoDB's stands in: the numbers do not depend on what is said.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import platform
import statistics
import tempfile
import time

import numpy as np
import torch
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from colab_utils.corpora.audio import EXTENSIONS, load_audio
from colab_utils.features.encoders.embeddings import SpeechEncoder, buckets, seconds_at_once
from colab_utils.features.front_end import workers

RATE, MOST = 16000, 10 * 16000  # Hz; both use the first ten seconds
BOUND = 1e-4


def clips(folder: pathlib.Path | None, n: int) -> list[np.ndarray]:
    """N clips of at most ten seconds: files spread evenly over the sorted folder, or noise with
    EmoDB's lengths.
    """
    if folder is None:
        rng = np.random.default_rng(0)
        lengths = np.clip(rng.lognormal(np.log(2.6), 0.36, n), 1.2, 9.0) * RATE
        return [rng.normal(0, 0.1, int(length)).astype(np.float32) for length in lengths]
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not files:
        raise SystemExit(f"{folder}: no audio files below this folder")
    return [
        load_audio(files[round(position)], RATE)[:MOST]
        for position in np.linspace(0, len(files) - 1, min(n, len(files)))
    ]


def base(folder: pathlib.Path) -> int:
    """Write a random checkpoint of wav2vec2-base's size, return its number of parameters."""
    torch.manual_seed(0)
    model = Wav2Vec2Model(Wav2Vec2Config())
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


class Loop:
    """What a script does without the suite: extractor and model on one clip after the other."""

    def __init__(self, folder: pathlib.Path, device: str, half: bool):
        self.device, self.half = device, half
        self.extractor, self.model = (
            AutoFeatureExtractor.from_pretrained(folder),
            AutoModel.from_pretrained(folder).eval().to(device),
        )

    @torch.inference_mode()
    def __call__(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        features = []
        for wave in waves:
            values = self.extractor(wave, sampling_rate=RATE, return_tensors="pt").input_values.to(
                self.device
            )
            with torch.autocast(self.device, torch.float16, enabled=self.half):
                frames = self.model(values).last_hidden_state[0].float()
            features.append(
                torch.cat([frames.mean(0), frames.std(0, correction=0)])[None].cpu().numpy()
            )
        return features


def duel(
    folder: pathlib.Path, waves: list[np.ndarray], device: str, half: bool, repetitions: int
) -> float:
    """Loop and suite in turn; prints times and agreement, returns how many times faster the suite
    is.
    """
    spec = SpeechEncoder(checkpoint=str(folder), half=half)
    runs = {
        "one by one": Loop(folder, device, half),
        "in buckets": lambda some: spec.compute(some, device),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(waves[:4])  # loads and warms up
    for _ in range(repetitions):
        results = []
        for name, run in runs.items():
            start = time.perf_counter()
            # ends with a copy to the processor's memory, so a GPU is done
            results.append(run(waves))
            times[name].append(time.perf_counter() - start)
    seconds = sum(map(len, waves)) / RATE
    print(f"\n{device}{', float16' if half else ''}: median of {repetitions} turns")
    for name, all_turns in times.items():
        print(
            f"  {name}  {statistics.median(all_turns):7.2f} s,"
            f" {seconds / statistics.median(all_turns):.1f} times real time   all turns "
            + " ".join(f"{turn:.2f}" for turn in all_turns)
        )
    worst = max(np.abs(one - other).max() for one, other in zip(*results, strict=True))
    print(f"  largest difference {worst:.1e}" + ("" if half else f" (bound: {BOUND:.0e})"))
    if not half and not worst < BOUND:
        raise SystemExit("the two do not agree, so their times cannot be compared")
    return statistics.median(times["one by one"]) / statistics.median(times["in buckets"])


def padding(waves: list[np.ndarray], device: str) -> float:
    """Share of the frames in the transformer's batches that is padding."""
    batches = [
        [len(waves[position]) for position in batch]
        for batch in buckets([len(wave) for wave in waves], seconds_at_once(device) * RATE)
    ]
    return 1 - sum(map(sum, batches)) / sum(len(batch) * max(batch) for batch in batches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--audio", type=pathlib.Path, help="a folder with speech, such as EmoDB's")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    waves = clips(arguments.audio, arguments.clips)
    # equal output is asked for; the suite computes without TF32 anyway
    torch.backends.cudnn.allow_tf32 = False
    print(
        f"{platform.processor() or platform.machine()}, {workers()} of {os.cpu_count()} cores,"
        f" torch {torch.__version__}"
    )
    ratios = {}
    with tempfile.TemporaryDirectory() as name:
        parameters = base(pathlib.Path(name))
        print(
            f"{parameters / 1e6:.1f} million parameters; {len(waves)} clips,"
            f" {sum(map(len, waves)) / RATE:.0f} s of speech, {min(map(len, waves)) / RATE:.1f} to"
            f" {max(map(len, waves)) / RATE:.1f} s"
        )
        for device, half in [("cpu", False)] + [
            ("cuda", half) for half in (False, True) if torch.cuda.is_available()
        ]:
            title = device + ("_half" if half else "")
            ratios[f"embeddings_{title}"] = duel(
                pathlib.Path(name), waves, device, half, arguments.repetitions
            )
            print(f"  padding {padding(waves, device):.1%} of the frames")
    print()
    for name, ratio in ratios.items():
        print(f"RATIO {name} {ratio:.2f}")


if __name__ == "__main__":
    main()
