"""One epoch of AlexNet (GAP) on spectrogram pictures: the suite's pictures, made once, against the
published data path and loop.

    python benchmarks/alexnet.py [--audio FOLDER] [--segments 96] [--batch 16] [--repetitions 3]

The peer does as the original does (method_facts §3.2, written anew): 8-bit pictures in memory, and
for each item of each batch three channels, a PIL picture, a resize to 256 x 384, a tensor,
ImageNet's statistics, through a plain DataLoader. Both train the same network from the same weights
on the same batches in this process, in turn; both see 8-bit pictures here, so that the batches can
be compared. On a GPU, where there is one, too. Without --audio, pictures of noise stand in: the
time does not depend on what is said.
"""

from __future__ import annotations

import argparse
import copy
import os
import pathlib
import platform
import statistics
import time

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms

from colab_utils.corpora.audio import EXTENSIONS, load_audio
from colab_utils.features.front_end import workers
from colab_utils.features.published.alexnet import AlexNetSpectrogram, segments
from colab_utils.methods.alexnet.network import AlexNetGap
from colab_utils.methods.alexnet.pictures import Images, fit_range, make_images
from colab_utils.methods.alexnet.settings import AlexnetConfig

SIZE, CLASSES = (256, 384), 4
# of a normalised picture: two levels of 255, which PIL and torch round apart
BOUND = 0.05


class Store(dict):
    """Frames by name, as a feature store has them."""

    @property
    def ids(self) -> list[str]:
        return list(self)


def frames(folder: pathlib.Path | None, number: int) -> Store:
    """At least so many segments' worth of frames."""
    if folder is None:
        rng = np.random.default_rng(0)
        return Store(
            {
                f"u{i}": (
                    rng.uniform(-80, 0, size=(int(rng.integers(120, 300)), 200)).astype(np.float32)
                )
                for i in range(number)
            }
        )
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not files:
        raise SystemExit(f"{folder}: no audio files below this folder")
    spec, found = AlexNetSpectrogram(), Store()
    for file in files[:number]:
        (found[str(file)],) = spec.compute([load_audio(file, 16000)])
    return found


class Published(Dataset):
    """8-bit pictures; everything else is done for each item, each time."""

    def __init__(self, pictures: np.ndarray, y: np.ndarray):
        self.pictures, self.y = pictures, y
        self.transform = transforms.Compose(
            [
                transforms.Resize(SIZE),
                transforms.ToTensor(),
                transforms.Normalize(
                    [np.mean([0.485, 0.456, 0.406])] * 3, [np.mean([0.229, 0.224, 0.225])] * 3
                ),
            ]
        )

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        picture = Image.fromarray(np.repeat(self.pictures[number][:, :, None], 3, axis=2))
        return self.transform(picture), int(self.y[number])


def eight_bit(store: Store, limits: object) -> np.ndarray:
    """The published pictures: scaled, turned, 0 to 255, uint8 (segments, 200, 300)."""
    low, span = (
        limits.low.numpy()[:, :, None],
        (limits.high - limits.low).clamp(min=1e-6).numpy()[:, :, None],
    )
    made = np.concatenate([segments(one, AlexNetSpectrogram())[0] for one in store.values()])
    return (np.clip((made - low) / span, 0, 1)[:, 0, ::-1] * 255).astype(np.uint8)


def step(
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    x: torch.Tensor,
    valid: torch.Tensor,
    y: torch.Tensor,
) -> float:
    loss = torch.nn.functional.cross_entropy(model(x, valid), y)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def epoch_published(
    data: Published, order: np.ndarray, batch: int, model: torch.nn.Module, device: str
) -> list[float]:
    optimiser, losses = torch.optim.AdamW(model.parameters(), lr=1e-4), []
    for x, y in DataLoader(Subset(data, order.tolist()), batch_size=batch):
        losses.append(
            step(model, optimiser, x.to(device), torch.ones(len(y), device=device), y.to(device))
        )
    return losses


def epoch_ours(
    images: Images, order: np.ndarray, batch: int, model: torch.nn.Module
) -> list[float]:
    model = model.to(memory_format=torch.channels_last)
    optimiser, losses = torch.optim.AdamW(model.parameters(), lr=1e-4), []
    for first in range(0, len(order), batch):
        rows = torch.as_tensor(order[first : first + batch], device=images.values.device)
        losses.append(
            step(
                model,
                optimiser,
                images.values[rows].float(),
                torch.ones(len(rows), device=images.values.device),
                images.y[rows],
            )
        )
    return losses


def duel(store: Store, number: int, batch: int, repetitions: int, device: str) -> float:
    """Both in turn; prints agreement and times, returns how many times faster the suite is, its
    pictures' making included.
    """
    limits = fit_range(store, list(store), AlexNetSpectrogram())
    rows = pd.DataFrame(
        {"utt_id": list(store), "emotion": [f"e{i % CLASSES}" for i in range(len(store))]}
    )
    begin = time.perf_counter()
    config = AlexnetConfig(image_height=SIZE[0], image_width=SIZE[1], eight_bit=True)
    labels = [f"e{i}" for i in range(CLASSES)]
    images = make_images(store, rows, labels, config, limits, device=device)
    making = time.perf_counter() - begin
    data, order = (
        Published(eight_bit(store, limits), images.y.cpu().numpy()),
        np.random.default_rng(0).permutation(len(images.y))[:number],
    )
    there = torch.stack([data[int(i)][0] for i in order[:batch]])
    apart = float(
        (there - images.values[torch.as_tensor(order[:batch], device=device)].float().cpu())
        .abs()
        .max()
    )
    print(
        f"\n{device}: {len(order)} segments of {SIZE[0]} x {SIZE[1]}, batches of {batch}; first"
        f" batch differs by {apart:.3f} at most (bound {BOUND})"
    )
    if not apart < BOUND:
        raise SystemExit(
            "the two do not train on the same pictures, so their times cannot be compared"
        )
    torch.manual_seed(0)
    start = AlexNetGap(CLASSES).to(device)
    times: dict[str, list[float]] = {"published": [], "ours": []}
    for turn in range(repetitions + 1):  # the first one warms up
        losses = {}
        for name, run in (
            ("published", lambda model: epoch_published(data, order, batch, model, device)),
            ("ours", lambda model: epoch_ours(images, order, batch, model)),
        ):
            begin = time.perf_counter()
            losses[name] = run(copy.deepcopy(start))
            if turn:
                times[name].append(time.perf_counter() - begin)
    print(
        f"  first losses {losses['published'][0]:.4f} and {losses['ours'][0]:.4f}, last"
        f" {losses['published'][-1]:.4f} and {losses['ours'][-1]:.4f}"
    )
    for name, all_turns in times.items():
        print(
            f"  {name:10s} {statistics.median(all_turns):6.2f} s an epoch   all turns"
            f" {' '.join(f'{turn:.2f}' for turn in all_turns)}"
        )
    print(f"  the suite's pictures are made once, in {making:.2f} s")
    return statistics.median(times["published"]) / statistics.median(times["ours"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--audio", type=pathlib.Path, help="a folder with speech, such as EmoDB's")
    parser.add_argument("--segments", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {workers()} of {os.cpu_count()} cores,"
        f" torch {torch.__version__}, {torch.get_num_threads()} threads"
    )
    store = frames(arguments.audio, arguments.segments)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    ratios = {
        device: duel(store, arguments.segments, arguments.batch, arguments.repetitions, device)
        for device in devices
    }
    print()
    for device, ratio in ratios.items():
        print(f"RATIO alexnet_epoch_{device} {ratio:.2f}")


if __name__ == "__main__":
    main()
