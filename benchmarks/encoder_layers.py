"""Fine-tuning the last layers of wav2vec 2.0 on a few clips: the suite against the whole encoder.

    python benchmarks/encoder_layers.py [--audio FOLDER] [--clips 20] [--epochs 10] [--layers 2] \
        [--repetitions 3]

The suite caches what goes into the layers. Both start from one checkpoint of wav2vec2-base's size
(95 million parameters, random weights) and make the same updates with Adam: cross-entropy on pooled
frames, `layers` transformer layers, projection and head. The peer is what a script with
transformers does: everything below is frozen, and computed again in each update. The suite's time
holds the extraction of these clips, which other draws, methods and shots then share.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import platform
import statistics
import tempfile
import time

import numpy as np
import torch
from embeddings import base, clips
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from colab_utils.features.encoders.embeddings import SpeechEncoder, load_encoder, load_upper_layers
from colab_utils.features.front_end import workers
from colab_utils.learning.clips import Scale
from colab_utils.methods.emofsl.layers.network import EncoderNet, over_time
from colab_utils.methods.emofsl.layers.tuning import fine_tune_layers
from colab_utils.methods.emofsl.network import EmofslNet
from colab_utils.methods.emofsl.settings import EmofslConfig

BOUND = 1e-3  # of the logits, which are about 1


def cached(
    spec: SpeechEncoder,
    net: EmofslNet,
    waves: list[np.ndarray],
    y: torch.Tensor,
    config: EmofslConfig,
    device: str,
) -> torch.Tensor:
    """The suite: logits after the fine-tuning."""
    frames = []
    for clip in spec.below(config.tune_layers).compute(waves, device):
        frames.append(torch.from_numpy(clip).to(device))
    lengths = torch.tensor([len(clip) for clip in frames], device=device)
    values = pad_sequence(frames, batch_first=True)
    mask = torch.arange(values.shape[1], device=device) < lengths[:, None]
    upper = load_upper_layers(spec, config.tune_layers, device)
    module = EncoderNet(upper, net, spec.pooling)
    tuned = fine_tune_layers(module, (values, mask), y, config, None)
    with torch.no_grad():
        return tuned(values, mask)[0]


def whole(
    spec: SpeechEncoder,
    net: EmofslNet,
    waves: list[np.ndarray],
    y: torch.Tensor,
    config: EmofslConfig,
    device: str,
) -> torch.Tensor:
    """The peer: logits after the same updates through the whole encoder, lower layers frozen."""
    encoder = load_encoder(spec, device).requires_grad_(False)
    layers = encoder.encoder.layers[-config.tune_layers :].requires_grad_(True)
    slow = {"params": layers.parameters(), "lr": config.layers_rate}
    fast = {"params": net.parameters(), "lr": config.learning_rate}
    optimiser = torch.optim.Adam([slow, fast])
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, config.decay)

    def logits() -> torch.Tensor:
        frames, mask = encoder(waves)
        return net(over_time(frames, mask, spec.pooling))[0]

    for _ in range(config.epochs):
        optimiser.zero_grad()
        functional.cross_entropy(logits(), y).backward()
        optimiser.step()
        decay.step()
    with torch.no_grad():
        return logits()


def duel(
    folder: pathlib.Path,
    waves: list[np.ndarray],
    config: EmofslConfig,
    device: str,
    repetitions: int,
) -> float:
    """Both in turn; prints times and agreement, returns how many times faster the suite is."""
    spec = SpeechEncoder(checkpoint=str(folder))
    y = (torch.arange(len(waves)) % 4).to(device)
    x = torch.from_numpy(np.concatenate(spec.compute(waves, device)))
    scale = Scale(x.mean(dim=0), 1 / x.std(dim=0, correction=0))
    times: dict[str, list[float]] = {"whole encoder": [], "cached frames": []}
    for turn in range(repetitions + 1):  # the first warms up
        results = []
        for name, run in (("whole encoder", whole), ("cached frames", cached)):
            torch.manual_seed(0)
            net = EmofslNet(scale, 4).to(device)
            start = time.perf_counter()
            results.append(run(spec, net, waves, y, config, device).cpu())
            if turn:
                times[name].append(time.perf_counter() - start)
    print(f"\n{device}: median of {repetitions} turns")
    for name, turns in times.items():
        told = " ".join(f"{one:.2f}" for one in turns)
        print(f"  {name}  {statistics.median(turns):7.2f} s   all turns {told}")
    worst = float((results[0] - results[1]).abs().max())
    print(f"  largest difference of the logits {worst:.1e} (bound: {BOUND:.0e})")
    if not worst < BOUND:
        raise SystemExit("the two do not agree, so their times cannot be compared")
    slow, fast = (statistics.median(turns) for turns in times.values())
    return slow / fast


def main() -> None:
    """Run the duel on every device that there is."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--audio", type=pathlib.Path, help="a folder with speech, such as EmoDB's")
    parser.add_argument("--clips", type=int, default=20, help="5 shots of 4 classes")
    parser.add_argument("--epochs", type=int, default=10, help="as published")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    config = dataclasses.replace(
        EmofslConfig(normalisation="none"),
        epochs=arguments.epochs,
        tune_layers=arguments.layers,
    )
    waves = clips(arguments.audio, arguments.clips)
    torch.backends.cudnn.allow_tf32 = False
    print(
        f"{platform.processor() or platform.machine()}, {workers()} of {os.cpu_count()} cores, "
        f"torch {torch.__version__}"
    )
    print(
        f"{len(waves)} clips, {sum(map(len, waves)) / 16000:.0f} s of speech, {arguments.epochs} "
        f"updates of {arguments.layers} layers"
    )
    ratios = {}
    with tempfile.TemporaryDirectory() as name:
        print(f"{base(pathlib.Path(name)) / 1e6:.1f} million parameters")
        for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
            ratios[device] = duel(pathlib.Path(name), waves, config, device, arguments.repetitions)
    print()
    for device, ratio in ratios.items():
        print(f"RATIO encoder_layers_{device} {ratio:.2f}")


if __name__ == "__main__":
    main()
