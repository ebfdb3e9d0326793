"""wav2vec 2.0 features: the suite's batches of like length, against a loop with transformers.

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
    """Clips of at most ten seconds.

    Files spread evenly over the sorted folder, or noise with EmoDB's lengths.
    """
    if folder is None:
        rng = np.random.default_rng(0)
        lengths = np.clip(rng.lognormal(np.log(2.6), 0.36, n), 1.2, 9.0) * RATE
        return [rng.normal(0, 0.1, int(length)).astype(np.float32) for length in lengths]
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not files:
        raise SystemExit(f"{folder}: no audio files below this folder")
    positions = np.linspace(0, len(files) - 1, min(n, len(files)))
    return [load_audio(files[round(position)], RATE)[:MOST] for position in positions]


def base(folder: pathlib.Path) -> int:
    """Write a random checkpoint of wav2vec2-base's size, return its number of parameters."""
    torch.manual_seed(0)
    model = Wav2Vec2Model(Wav2Vec2Config())
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return model.num_parameters()


class Loop:
    """What a script does without the suite: extractor and model on one clip after the other."""

    def __init__(self, folder: pathlib.Path, device: str, half: bool):
        self.device, self.half = device, half
        self.extractor = AutoFeatureExtractor.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval().to(device)

    @torch.inference_mode()
    def compute(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        """Mean and deviation of each clip."""
        features = []
        for wave in waves:
            inputs = self.extractor(wave, sampling_rate=RATE, return_tensors="pt")
            values = inputs.input_values.to(self.device)
            with torch.autocast(self.device, torch.float16, enabled=self.half):
                frames = self.model(values).last_hidden_state[0].float()
            pooled = torch.cat([frames.mean(0), frames.std(0, correction=0)])
            features.append(pooled[None].cpu().numpy())
        return features


def duel(
    folder: pathlib.Path, waves: list[np.ndarray], device: str, half: bool, repetitions: int
) -> float:
    """Loop and suite in turn; prints times and agreement.

    Returns:
        How many times faster the suite is.
    """
    spec = SpeechEncoder(checkpoint=str(folder), half=half)
    loop = Loop(folder, device, half)
    runs = {"one by one": loop.compute, "in buckets": lambda some: spec.compute(some, device)}
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
    for name, turns in times.items():
        median = statistics.median(turns)
        listed = " ".join(f"{turn:.2f}" for turn in turns)
        print(f"  {name}  {median:7.2f} s, {seconds / median:.1f} times real time   {listed}")
    worst = max(np.abs(one - other).max() for one, other in zip(*results, strict=True))
    print(f"  largest difference {worst:.1e}" + ("" if half else f" (bound: {BOUND:.0e})"))
    if not half and not worst < BOUND:
        raise SystemExit("the two do not agree, so their times cannot be compared")
    return statistics.median(times["one by one"]) / statistics.median(times["in buckets"])


def padding(waves: list[np.ndarray], device: str) -> float:
    """Share of the frames in the transformer's batches that is padding."""
    lengths = [len(wave) for wave in waves]
    padded = 0
    for batch in buckets(lengths, seconds_at_once(device) * RATE):
        padded += len(batch) * max(lengths[position] for position in batch)
    return 1 - sum(lengths) / padded


def main() -> None:
    """Run the comparison."""
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
    cases = [("cpu", False)]
    if torch.cuda.is_available():
        cases += [("cuda", False), ("cuda", True)]
    ratios = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        parameters = base(folder)
        lengths = [len(wave) / RATE for wave in waves]
        print(
            f"{parameters / 1e6:.1f} million parameters; {len(waves)} clips, {sum(lengths):.0f} s"
            f" of speech, {min(lengths):.1f} to {max(lengths):.1f} s"
        )
        for device, half in cases:
            title = f"embeddings_{device}" + ("_half" if half else "")
            ratios[title] = duel(folder, waves, device, half, arguments.repetitions)
            print(f"  padding {padding(waves, device):.1%} of the frames")
    print()
    for name, ratio in ratios.items():
        print(f"RATIO {name} {ratio:.2f}")


if __name__ == "__main__":
    main()
