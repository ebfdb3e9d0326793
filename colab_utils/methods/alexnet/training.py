"""Training of AlexNet on spectrogram pictures: mixup, stability training, oversampling, SpecAugment (method_facts §3.4, §3.5, §3.8)."""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from colab_utils import settings
from colab_utils.features.published.alexnet import FEATURE_SETS
from colab_utils.learning.training import ModuleLearner
from colab_utils.methods.alexnet.network import MODELS, SMALLEST, spectrogram_net, start_from
from colab_utils.methods.alexnet.pictures import Images, utterance_probabilities
from colab_utils.results.rates import confusion, uar, wa

VERSION = 1                  # raised when the same settings would give other predictions
_TEST_BATCH = 128


@dataclasses.dataclass(frozen=True)
class SpectrogramConfig:
    """Settings of the AlexNet system, under the names its users know."""
    features: str = settings.setting("logspec", "feature set", options=FEATURE_SETS)
    ser_model: str = settings.setting("alexnet_gap", "network", options=MODELS)
    mixup: bool = settings.setting(False, "mix pairs of pictures and of labels")
    stability: float = settings.setting(0.0, "weight of the divergence between a clip and its noisy copy; 0: none", low=0.0, high=10.0, step=0.1)
    oversampling: bool = settings.setting(False, "repeat segments of rarer classes until all are equally many")
    num_epochs: int = settings.setting(20, "passes over the training segments", low=1, high=1000, step=1)
    batch_size: int = settings.setting(64, "segments in a batch", low=2, high=1024, step=1)
    lr: float = settings.setting(1e-4, "learning rate of AdamW", low=1e-7, high=1.0)
    pretrained: str = settings.setting("imagenet", "scratch, imagenet (fetched by torchvision), or a file of weights")
    image_height: int = settings.setting(256, "pixels", low=SMALLEST, high=512, step=1, more=True)
    image_width: int = settings.setting(384, "pixels", low=SMALLEST, high=1024, step=1, more=True)
    seed: int = settings.setting(0, "first seed", low=0, high=100000, step=1)
    n_seeds: int = settings.setting(1, "how many seeds, counted up from the first", low=1, high=20, step=1)
    balanced: bool = settings.setting(True, "draw every class equally often", more=True)
    spec_augment: bool = settings.setting(True, "hide up to two bands of time and of frequency (SpecAugment)", more=True)
    schedule: str = settings.setting("cosine", "learning rate: constant, or warmed up over a tenth and then lowered along a cosine",
                                     options=("constant", "cosine"), more=True)
    mixup_alpha: float = settings.setting(0.4, "of the Beta distribution of the mixing share", low=0.01, high=10.0, more=True)
    mixup_larger: bool = settings.setting(True, "the own picture has at least half of the share", more=True)
    noisy_loss: bool = settings.setting(False, "the noisy copies also count in cross-entropy (augmentation)", more=True)
    select: str = settings.setting("uar", "what the validation speakers pick the epoch by", options=("uar", "wa"), more=True)
    decision: str = settings.setting("mean", "segments to utterance: mean of probabilities weighted by valid frames, or the published geometric mean",
                                     options=("mean", "geometric"), more=True)
    test_hop: int = settings.setting(150, "frames from one test segment to the next (300: side by side)", low=30, high=300, step=30, more=True)
    padding: str = settings.setting("floor", "frames that are not there: silence, or 0 dB as published", options=("floor", "zero"), more=True)
    eight_bit: bool = settings.setting(False, "pictures of 256 levels, as published", more=True)
    weight_decay: float = settings.setting(0.01, "of AdamW", low=0.0, high=1.0, more=True)
    patience: int = settings.setting(0, "epochs without a better score before it stops; 0: goes to the end", low=0, high=1000, step=1, more=True)
    n_boot: int = settings.setting(2000, "resamples of the interval", low=0, high=20000, step=100, more=True)

    @classmethod
    def preset(cls, name: str) -> SpectrogramConfig:
        """The settings called `name` in PRESETS. Raises SettingError."""
        if name not in PRESETS:
            raise settings.SettingError(f"no preset {name!r}: choose from {', '.join(PRESETS)}")
        return PRESETS[name]


_PAPER = {"num_epochs": 100, "balanced": False, "spec_augment": False, "schedule": "constant", "select": "wa", "decision": "geometric",
          "test_hop": 300, "eight_bit": True}
PRESETS = {
    "default": SpectrogramConfig(),
    "small": SpectrogramConfig(image_height=64, image_width=96, pretrained="scratch", num_epochs=12, batch_size=32, lr=3e-4),        # for a CPU
    "paper": SpectrogramConfig(**_PAPER),                                       # §3.4, padded with silence
    "paper-as-released": SpectrogramConfig(**_PAPER, padding="zero"),           # with padding as the loudest value (§3.7)
}


def preset_name(config: SpectrogramConfig) -> str:
    """The preset these settings are but for the choices of §3 (features, model, mixup, stability, oversampling), seeds and resamples."""
    def plain(one: SpectrogramConfig) -> SpectrogramConfig:
        return dataclasses.replace(one, features="logspec", ser_model="alexnet", mixup=False, stability=0.0, oversampling=False, seed=0, n_seeds=1,
                                   n_boot=0, pretrained="scratch")
    return next((name for name, preset in PRESETS.items() if plain(preset) == plain(config)), "changed")


def check(config: SpectrogramConfig) -> None:
    """Raise SettingError for a setting out of range, and for settings that contradict each other."""
    settings.check(config)
    if config.balanced and config.oversampling:
        raise settings.SettingError("balanced and oversampling both even out the classes: choose one")
    if config.noisy_loss and not config.stability and config.mixup:
        raise settings.SettingError("noisy_loss with mixup but without stability: noisy copies of mixed pictures are not made; choose one")


class SpectrogramLearner(ModuleLearner):
    """One network in training, for `training.train`: step i takes the batch that follows from (config.seed, i).

    train: pictures of the training speakers; noisy: the same segments recorded worse, one Images for each condition; valid: pictures of other
    speakers, whose utterances' UAR (or WA, config.select) picks the epoch. own: makes another network from the number of classes,
    called with (images, valid) as those of models.alexnet. `started` says in words what the weights started from.
    """

    def __init__(self, train: Images, valid: Images, true: np.ndarray, n_labels: int, config: SpectrogramConfig, noisy: Sequence[Images] = (),
                 own: Callable[[int], torch.nn.Module] | None = None):
        check(config)
        if (config.stability or config.noisy_loss) and not noisy:
            raise settings.SettingError("stability training needs noisy copies of the training clips: give conditions such as babble@10")
        torch.manual_seed(config.seed)
        self.module = spectrogram_net(config.ser_model, n_labels) if own is None else own(n_labels)
        self.started = start_from(self.module, config.pretrained) if own is None else "scratch (a network of one's own)"
        if own is not None:                                     # lazy layers learn their sizes here
            with torch.no_grad():
                self.module.eval()(train.values[:2].float().cpu(), train.valid[:2].cpu())
        self.module.to(train.values.device, memory_format=torch.channels_last)           # a fifth faster on a CPU
        self.optimiser = torch.optim.AdamW(self.module.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        self.train_images, self.valid, self.true, self.noisy, self.config, self.n_labels = train, valid, true, list(noisy), config, n_labels
        self.pool = oversampled(train.y.cpu().numpy(), config.seed) if config.oversampling else np.arange(len(train.y))
        self.steps_per_epoch = max(1, -(-len(self.pool) // config.batch_size))
        self.steps = self.steps_per_epoch * config.num_epochs

    def step(self, i: int) -> dict[str, float]:
        """One update; loss and, with stability training, its divergence."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * rate_at(i, self.steps, self.config.schedule)
        self.module.train()
        rng = np.random.default_rng((self.config.seed, 71, i))
        rows = self._rows(i, rng)
        loss, values = self.loss(torch.as_tensor(rows, device=self.train_images.y.device), rng)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item(), **values}

    def _rows(self, i: int, rng: np.random.Generator) -> np.ndarray:
        """Segment numbers of the i-th batch."""
        epoch, place = divmod(i, self.steps_per_epoch)
        if self.config.balanced:
            y = self.train_images.y.cpu().numpy()
            classes = rng.permutation(np.resize(rng.permutation(np.unique(y)), self.config.batch_size))
            return np.array([rng.choice(np.flatnonzero(y == one)) for one in classes])
        order = np.random.default_rng((self.config.seed, 73, epoch)).permutation(self.pool)
        return order[place * self.config.batch_size:(place + 1) * self.config.batch_size]

    def loss(self, rows: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        """Cross-entropy of a batch, with what the settings add; the clean pictures alone are told apart (Zheng et al. 2016) unless noisy_loss."""
        images, valid, y = self.train_images.values[rows].float(), self.train_images.valid[rows], self.train_images.y[rows]
        targets = functional.one_hot(y, self.n_labels).float()
        other = self._noisy(rows, rng) if self.config.stability or self.config.noisy_loss else None
        if self.config.spec_augment:
            hidden = bands(images.shape, rng).to(images.device)
            images, other = images.masked_fill(hidden, 0.0), None if other is None else other.masked_fill(hidden, 0.0)
        if self.config.mixup:
            images, valid, targets, other = mixed(images, valid, targets, other, self.config, rng)
        logits = self.module(images, valid)
        loss = cross_entropy(logits, targets)
        if other is None:
            return loss, {}
        noisy_logits = self.module(other, valid)
        if self.config.noisy_loss:
            loss = 0.5 * (loss + cross_entropy(noisy_logits, targets))
        if not self.config.stability:
            return loss, {}
        apart = divergence(logits, noisy_logits)
        return loss + self.config.stability * apart, {"divergence": apart.item()}

    def _noisy(self, rows: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """The same segments, each under one of the conditions, drawn anew."""
        which = rng.integers(len(self.noisy), size=len(rows))
        return torch.stack([self.noisy[k].values[row] for k, row in zip(which, rows.tolist(), strict=True)]).float()

    def validate(self) -> float:
        """UAR or WA of the validation utterances."""
        found = utterance_probabilities(self.probabilities(self.valid), self.valid, self.config.decision).argmax(axis=1)
        names = list(range(self.n_labels))
        return float({"uar": uar, "wa": wa}[self.config.select](confusion(self.true, found, names)))

    @torch.no_grad()
    def probabilities(self, images: Images) -> torch.Tensor:
        """Of each segment, float (segments, classes)."""
        self.module.eval()
        parts = [self.module(images.values[first:first + _TEST_BATCH].float(), images.valid[first:first + _TEST_BATCH])
                 for first in range(0, len(images.values), _TEST_BATCH)]
        return torch.softmax(torch.cat(parts), dim=1)


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy with soft targets (n, classes): a scalar. Mixed targets give l CE(y_i) + (1 - l) CE(y_j)."""
    return -(targets * functional.log_softmax(logits, dim=1)).sum(dim=1).mean()


def divergence(logits: torch.Tensor, noisy_logits: torch.Tensor) -> torch.Tensor:
    """KL(P(y|x) || P(y|x')), the mean over the batch: a scalar, 0 where both agree and positive elsewhere (Zheng et al. 2016; method_facts §3.5).

    The code in circulation hands probabilities to a function that expects log-probabilities: negative, and not least where both agree.
    """
    clean, noisy = functional.log_softmax(logits, dim=1), functional.log_softmax(noisy_logits, dim=1)
    return functional.kl_div(noisy, clean, reduction="batchmean", log_target=True)


def mixed(images: torch.Tensor, valid: torch.Tensor, targets: torch.Tensor, other: torch.Tensor | None, config: SpectrogramConfig,
          rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """mixup (Zhang et al. 2018): each picture with that of a random partner, x = l x_i + (1 - l) x_j, targets alike, l ~ Beta(a, a) for each.

    The noisy copies are mixed in the same way; what is speech in either picture is speech in the mixture.
    """
    share = rng.beta(config.mixup_alpha, config.mixup_alpha, size=len(images))
    share = np.maximum(share, 1 - share) if config.mixup_larger else share
    own = torch.as_tensor(share, dtype=images.dtype, device=images.device)
    partner = torch.as_tensor(rng.permutation(len(images)), device=images.device)

    def mix(values: torch.Tensor) -> torch.Tensor:
        weight = own.reshape(-1, *[1] * (values.dim() - 1))
        return weight * values + (1 - weight) * values[partner]
    return mix(images), torch.maximum(valid, valid[partner]), mix(targets), None if other is None else mix(other)


def bands(shape: tuple[int, ...], rng: np.random.Generator) -> torch.Tensor:
    """SpecAugment (Park et al. 2019): up to two bands of a tenth of the height and of the width of each picture, bool (n, 1, height, width)."""
    n, _, height, width = shape
    hidden = torch.zeros(n, 1, height, width, dtype=torch.bool)
    for one in range(n):
        for _ in range(2):
            for axis, size in ((1, height), (2, width)):
                long = int(rng.integers(0, size // 10 + 1))
                begin = int(rng.integers(0, size - long + 1))
                hidden[one].narrow(axis, begin, long).fill_(True)
    return hidden


def oversampled(y: np.ndarray, seed: int) -> np.ndarray:
    """Segment numbers in which every class is as frequent as the commonest: all of a class, then random ones again."""
    rng, most = np.random.default_rng((seed, 79)), np.bincount(y).max()
    parts = [np.flatnonzero(y == one) for one in np.unique(y)]
    return np.concatenate([np.concatenate([part, rng.choice(part, most - len(part))]) for part in parts])


def rate_at(i: int, steps: int, schedule: str) -> float:
    """Factor of the learning rate at step i: 1, or up over the first tenth of the steps and down to 0 along half a cosine."""
    if schedule == "constant":
        return 1.0
    warm = max(1, steps // 10)
    return (i + 1) / warm if i < warm else 0.5 * (1 + math.cos(math.pi * (i - warm) / max(1, steps - warm)))
