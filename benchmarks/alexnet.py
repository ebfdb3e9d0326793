"""One epoch of AlexNet (GAP) on spectrogram pictures, against the published data path and loop.

    python benchmarks/alexnet.py [--audio FOLDER] [--segments 96] [--batch 16] [--repetitions 3]

The suite's pictures are made once. The peer does as the original does (samsudinng/
speech_emo_recognition, data_utils.py and train_ser.py, written anew): 8-bit pictures in memory, and
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
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms

from colab_utils.corpora.audio import EXTENSIONS, load_audio
from colab_utils.features.front_end import workers
from colab_utils.features.published.alexnet import AlexNetSpectrogram, segments
from colab_utils.methods.alexnet.network import IMAGENET_MEAN, IMAGENET_STD, AlexNetGap
from colab_utils.methods.alexnet.pictures import Images, Range, fit_range, make_images
from colab_utils.methods.alexnet.settings import AlexnetConfig

SIZE, CLASSES = (256, 384), 4
# of a normalised picture: two levels of 255, which PIL and torch round apart
BOUND = 0.05


def frames(folder: pathlib.Path | None, number: int) -> dict[str, np.ndarray]:
    """Frames by name, at least so many segments' worth."""
    found = {}
    if folder is None:
        rng = np.random.default_rng(0)
        for i in range(number):
            shape = int(rng.integers(120, 300)), 200
            found[f"u{i}"] = rng.uniform(-80, 0, size=shape).astype(np.float32)
        return found
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not files:
        raise SystemExit(f"{folder}: no audio files below this folder")
    for file in files[:number]:
        wave = load_audio(file, 16000)
        found[str(file)] = AlexNetSpectrogram().compute([wave])[0]
    return found


class Published(Dataset):
    """8-bit pictures; everything else is done for each item, each time."""

    def __init__(self, pictures: np.ndarray, y: np.ndarray):
        self.pictures, self.y = pictures, y
        colours = transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)
        self.transform = transforms.Compose(
            [transforms.Resize(SIZE), transforms.ToTensor(), colours]
        )

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        picture = Image.fromarray(np.repeat(self.pictures[number][:, :, None], 3, axis=2))
        return self.transform(picture), int(self.y[number])


def eight_bit(store: dict[str, np.ndarray], limits: Range) -> np.ndarray:
    """The published pictures: scaled, turned, 0 to 255, uint8 (segments, 200, 300)."""
    low = limits.low.numpy()[:, :, None]
    span = (limits.high - limits.low).clamp(min=1e-6).numpy()[:, :, None]
    cut = [segments(one, AlexNetSpectrogram())[0] for one in store.values()]
    scaled = (np.concatenate(cut) - low) / span
    turned = scaled.clip(0, 1)[:, 0, ::-1]
    return (turned * 255).astype(np.uint8)


class Trainer:
    """AdamW on one network; `losses` of all its batches."""

    def __init__(self, model: torch.nn.Module, device: str):
        self.model, self.device = model, device
        self.optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
        self.losses: list[float] = []

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """One update."""
        logits = self.model(x, torch.ones(len(y), device=self.device))
        loss = torch.nn.functional.cross_entropy(logits, y)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.losses.append(float(loss.detach()))


def epoch_published(trainer: Trainer, data: Published, order: np.ndarray, batch: int) -> None:
    """One epoch as the original does it."""
    for x, y in DataLoader(Subset(data, order.tolist()), batch_size=batch):
        trainer.step(x.to(trainer.device), y.to(trainer.device))


def epoch_ours(
    trainer: Trainer, images: Images, y: torch.Tensor, order: np.ndarray, batch: int
) -> None:
    """One epoch of the suite."""
    trainer.model.to(memory_format=torch.channels_last)
    for first in range(0, len(order), batch):
        rows = order[first : first + batch]
        trainer.step(images.values[rows].float(), y[rows])


def check_alike(data: Published, images: Images, chosen: np.ndarray) -> None:
    """Stop where the two would not train on the same pictures."""
    there = torch.stack([data[int(number)][0] for number in chosen])
    grey = there[:, :1] * IMAGENET_STD[0] + IMAGENET_MEAN[0]
    there = (grey - np.mean(IMAGENET_MEAN)) / np.mean(IMAGENET_STD)
    apart = float((there - images.values[chosen].float().cpu()).abs().max())
    print(f"first batch differs by {apart:.3f} at most (bound {BOUND})")
    if not apart < BOUND:
        raise SystemExit(
            "the two do not train on the same pictures, so their times cannot be compared"
        )


def duel(
    store: dict[str, np.ndarray], number: int, batch: int, repetitions: int, device: str
) -> float:
    """Both in turn; prints agreement and times.

    Returns how many times faster the suite is; the making of its pictures is told apart.
    """
    config = AlexnetConfig(image_height=SIZE[0], eight_bit=True)
    limits = fit_range(store, list(store), config)
    begin = time.perf_counter()
    images = make_images(store, list(store), config, limits, device=device)
    making = time.perf_counter() - begin
    y = images.utterance % CLASSES
    data = Published(eight_bit(store, limits), y.cpu().numpy())
    order = np.random.default_rng(0).permutation(len(y))[:number]
    print(f"\n{device}: {len(order)} segments of {SIZE[0]} x {SIZE[1]}, batches of {batch}")
    check_alike(data, images, order[:batch])
    torch.manual_seed(0)
    start = AlexNetGap(CLASSES).to(device)
    times: dict[str, list[float]] = {"published": [], "ours": []}
    for turn in range(repetitions + 1):  # the first one warms up
        for name, its_times in times.items():
            trainer = Trainer(copy.deepcopy(start), device)
            begin = time.perf_counter()
            if name == "published":
                epoch_published(trainer, data, order, batch)
            else:
                epoch_ours(trainer, images, y, order, batch)
            if turn:
                its_times.append(time.perf_counter() - begin)
            if turn == repetitions:
                losses = trainer.losses
                print(f"  {name:10s} losses {losses[0]:.4f} at first, {losses[-1]:.4f} at last")
    for name, its_times in times.items():
        every = " ".join(f"{seconds:.2f}" for seconds in its_times)
        median = statistics.median(its_times)
        print(f"  {name:10s} {median:6.2f} s an epoch   all turns {every}")
    print(f"  the suite's pictures are made once, in {making:.2f} s")
    return statistics.median(times["published"]) / statistics.median(times["ours"])


def main() -> None:
    """Compare on every device there is."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--audio", type=pathlib.Path, help="a folder with speech, such as EmoDB's")
    parser.add_argument("--segments", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    processor = platform.processor() or platform.machine()
    print(f"{processor}, {workers()} of {os.cpu_count()} cores, torch {torch.__version__}")
    print(f"{torch.get_num_threads()} threads")
    store = frames(arguments.audio, arguments.segments)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in devices:
        ratio = duel(store, arguments.segments, arguments.batch, arguments.repetitions, device)
        print(f"\nRATIO alexnet_epoch_{device} {ratio:.2f}")


if __name__ == "__main__":
    main()
