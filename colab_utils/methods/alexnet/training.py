"""Training of AlexNet on spectrogram pictures: mixup, stability training, oversampling,
SpecAugment (method_facts §3.4, §3.5, §3.8).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from colab_utils.features.published.alexnet import AlexNetSpectrogram
from colab_utils.learning.training import ModuleLearner
from colab_utils.methods.alexnet.network import spectrogram_net, start_from
from colab_utils.methods.alexnet.pictures import Images, Range, utterance_probabilities
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.results.rates import confusion, uar, wa
from colab_utils.settings import SettingError

OwnNetwork = Callable[[int], torch.nn.Module]
_TEST_BATCH = 128
_SCORES = {"uar": uar, "wa": wa}


class FoldPictures(NamedTuple):
    """Pictures of the training speakers, the same segments recorded worse (one Images for each
    condition), and pictures of the validation speakers.
    """

    train: Images
    noisy: list[Images]
    valid: Images


class TrainingFold(NamedTuple):
    """What a network is trained on.

    limits: of the training utterances; y: class ids of their segments, int64 (segments,); true:
    class ids of the validation utterances, int64 (utterances,); pictures: makes the pictures, which
    are large, when they are needed.
    """

    limits: Range
    y: np.ndarray
    true: np.ndarray
    pictures: Callable[[], FoldPictures]


class Batch(NamedTuple):
    """Pictures that take part in one update.

    images: float (n, channels, height, width); valid: the share of the width that is speech, (n,);
    targets: probabilities of the classes, float (n, classes); noisy: the same segments recorded
    worse, as `images`, or None.
    """

    images: torch.Tensor
    valid: torch.Tensor
    targets: torch.Tensor
    noisy: torch.Tensor | None


class AlexnetLearner(ModuleLearner):
    """One network in training, for `training.train`.

    Step i takes the batch that follows from (config.seed, i); UAR or WA of the validation speakers
    picks the epoch. A trained learner needs only `module` and `limits`, the range of the bins.
    `started` says in words what the weights started from.

    Args:
        config: the settings.
        n_labels: how many classes.
        fold: what it is trained on.
        device: where to compute.
        own: makes another network from the number of classes; it is called with (images, valid) as
            those of network.py are.
    """

    def __init__(
        self,
        config: AlexnetConfig,
        n_labels: int,
        fold: TrainingFold,
        device: str = "cpu",
        own: OwnNetwork | None = None,
    ):
        self.config, self.n_labels, self.limits = config, n_labels, fold.limits
        self.y, self.true = fold.y, fold.true
        self._make_pictures, self._pictures = fold.pictures, None
        torch.manual_seed(config.seed)
        if own is None:
            self.module = spectrogram_net(config.ser_model, n_labels)
            self.started = start_from(self.module, config.pretrained)
        else:
            self.module = own(n_labels)
            self.started = "scratch (a network of one's own)"
            self._learn_sizes()
        # a fifth faster on a CPU
        self.module.to(device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(
            self.module.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        self.pool = np.arange(len(self.y))
        if config.oversampling:
            self.pool = oversampled(self.y, config.seed)
        self.steps_per_epoch = max(1, -(-len(self.pool) // config.batch_size))
        self.steps = self.steps_per_epoch * config.num_epochs

    @torch.no_grad()
    def _learn_sizes(self) -> None:
        """Let lazy layers of one's own network see the shape of two pictures."""
        channels = AlexNetSpectrogram(feature_set=self.config.features).channels
        shape = 2, channels, self.config.image_height, self.config.image_width
        self.module.eval()(torch.zeros(shape), torch.ones(2))

    # --- what it learns from ----------------------------------------------------------------------

    @property
    def pictures(self) -> FoldPictures:
        """The pictures, made when they are first needed: a network that is loaded needs none."""
        if self._pictures is None:
            self._pictures = self._make_pictures()
            if self.config.hears_noise and not self._pictures.noisy:
                raise SettingError(
                    "stability training needs noisy copies of the training clips: "
                    "give conditions such as babble@10"
                )
        return self._pictures

    def let_go(self) -> None:
        """Forget pictures and optimiser: a trained network needs neither."""
        self._pictures, self.optimiser = None, None

    # --- a step -----------------------------------------------------------------------------------

    def step(self, i: int) -> dict[str, float]:
        """One update; loss and, with stability training, its divergence."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * rate_at(i, self.steps, self.config.schedule)
        self.module.train()
        rng = np.random.default_rng((self.config.seed, 71, i))
        loss, values = self.loss(self.batch(self.segments_of(i, rng), rng))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item(), **values}

    def segments_of(self, i: int, rng: np.random.Generator) -> np.ndarray:
        """Segment numbers of the i-th batch, int64 (n,)."""
        size = self.config.batch_size
        epoch, place = divmod(i, self.steps_per_epoch)
        if not self.config.balanced:
            order = np.random.default_rng((self.config.seed, 73, epoch)).permutation(self.pool)
            return order[place * size : (place + 1) * size]
        classes = rng.permutation(np.resize(rng.permutation(np.unique(self.y)), size))
        return np.array([rng.choice(np.flatnonzero(self.y == one)) for one in classes])

    def batch(self, numbers: np.ndarray, rng: np.random.Generator) -> Batch:
        """The pictures of these segments, altered as the settings say."""
        train = self.pictures.train
        rows = torch.as_tensor(numbers, device=train.y.device)
        targets = functional.one_hot(train.y[rows], self.n_labels).float()
        noisy = self._noisy(numbers, rng) if self.config.hears_noise else None
        batch = Batch(train.values[rows].float(), train.valid[rows], targets, noisy)
        if self.config.spec_augment:
            batch = with_bands_hidden(batch, rng)
        if self.config.mixup:
            batch = mixed(batch, self.config, rng)
        return batch

    def _noisy(self, numbers: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        """The same segments, each under one of the conditions, drawn anew."""
        copies = self.pictures.noisy
        which = rng.integers(len(copies), size=len(numbers))
        drawn = []
        for condition, number in zip(which, numbers, strict=True):
            drawn.append(copies[condition].values[number])
        return torch.stack(drawn).float()

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        """Cross-entropy of a batch, and the divergence of its noisy copies.

        The clean pictures alone are told apart (Zheng et al. 2016) unless `noisy_loss`.
        """
        logits = self.module(batch.images, batch.valid)
        loss = soft_cross_entropy(logits, batch.targets)
        if batch.noisy is None:
            return loss, {}
        noisy_logits = self.module(batch.noisy, batch.valid)
        if self.config.noisy_loss:
            loss = 0.5 * (loss + soft_cross_entropy(noisy_logits, batch.targets))
        if not self.config.stability:
            return loss, {}
        apart = divergence(logits, noisy_logits)
        return loss + self.config.stability * apart, {"divergence": apart.item()}

    # --- what it says -----------------------------------------------------------------------------

    def validate(self) -> float:
        """UAR or WA of the validation utterances."""
        valid = self.pictures.valid
        found = utterance_probabilities(self.probabilities(valid), valid, self.config.decision)
        counts = confusion(self.true, found.argmax(axis=1), list(range(self.n_labels)))
        return float(_SCORES[self.config.select](counts))

    @torch.no_grad()
    def probabilities(self, images: Images) -> torch.Tensor:
        """Of each segment, float (segments, classes)."""
        return probabilities(self.module, images)


@torch.no_grad()
def probabilities(module: torch.nn.Module, images: Images) -> torch.Tensor:
    """What a network says of each segment, float (segments, classes)."""
    module.eval()
    logits = []
    for first in range(0, len(images.values), _TEST_BATCH):
        part = slice(first, first + _TEST_BATCH)
        logits.append(module(images.values[part].float(), images.valid[part]))
    return torch.softmax(torch.cat(logits), dim=1)


def soft_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy with soft targets, probabilities (n, classes): a scalar.

    Mixed targets give l CE(y_i) + (1 - l) CE(y_j).
    """
    return -(targets * functional.log_softmax(logits, dim=1)).sum(dim=1).mean()


def divergence(logits: torch.Tensor, noisy_logits: torch.Tensor) -> torch.Tensor:
    """KL(P(y|x) || P(y|x')), the mean over the batch: a scalar.

    0 where both agree and positive elsewhere (Zheng et al. 2016; method_facts §3.5). The code in
    circulation hands probabilities to a function that expects log-probabilities: negative, and not
    least where both agree.
    """
    clean = functional.log_softmax(logits, dim=1)
    noisy = functional.log_softmax(noisy_logits, dim=1)
    return functional.kl_div(noisy, clean, reduction="batchmean", log_target=True)


def mixed(batch: Batch, config: AlexnetConfig, rng: np.random.Generator) -> Batch:
    """Mixup (Zhang et al. 2018): each picture with that of a random partner.

    x = l x_i + (1 - l) x_j, targets alike, l ~ Beta(a, a) for each. The noisy copies are mixed in
    the same way; what is speech in either picture is speech in the mixture.
    """
    n = len(batch.images)
    share = rng.beta(config.mixup_alpha, config.mixup_alpha, size=n)
    if config.mixup_larger:
        share = np.maximum(share, 1 - share)
    own = torch.as_tensor(share, dtype=batch.images.dtype, device=batch.images.device)
    partner = torch.as_tensor(rng.permutation(n), device=batch.images.device)

    def mix(values: torch.Tensor) -> torch.Tensor:
        weight = own.reshape(-1, *[1] * (values.dim() - 1))
        return weight * values + (1 - weight) * values[partner]

    speech = torch.maximum(batch.valid, batch.valid[partner])
    noisy = None if batch.noisy is None else mix(batch.noisy)
    return Batch(mix(batch.images), speech, mix(batch.targets), noisy)


def with_bands_hidden(batch: Batch, rng: np.random.Generator) -> Batch:
    """SpecAugment; the same bands are hidden in a picture and in its noisy copy."""
    hidden = bands(batch.images.shape, rng).to(batch.images.device)
    images = batch.images.masked_fill(hidden, 0.0)
    noisy = None if batch.noisy is None else batch.noisy.masked_fill(hidden, 0.0)
    return batch._replace(images=images, noisy=noisy)


def bands(shape: tuple[int, ...], rng: np.random.Generator) -> torch.Tensor:
    """Places to hide (SpecAugment, Park et al. 2019): up to two bands of a tenth of the height and
    of the width of each picture, bool (n, 1, height, width).
    """
    n, _, height, width = shape
    hidden = torch.zeros(n, 1, height, width, dtype=torch.bool)
    for picture in hidden:
        for _ in range(2):
            for axis, size in ((1, height), (2, width)):
                long = int(rng.integers(0, size // 10 + 1))
                begin = int(rng.integers(0, size - long + 1))
                picture.narrow(axis, begin, long).fill_(True)
    return hidden


def oversampled(y: np.ndarray, seed: int) -> np.ndarray:
    """Segment numbers in which every class is as frequent as the commonest: all of a class, then
    random ones again.
    """
    rng, most = np.random.default_rng((seed, 79)), np.bincount(y).max()
    parts = []
    for one in np.unique(y):
        numbers = np.flatnonzero(y == one)
        parts.append(numbers)
        parts.append(rng.choice(numbers, most - len(numbers)))
    return np.concatenate(parts)


def rate_at(i: int, steps: int, schedule: str) -> float:
    """Factor of the learning rate at step i: 1, or up over the first tenth of the steps and down to
    0 along half a cosine.
    """
    if schedule == "constant":
        return 1.0
    warm = max(1, steps // 10)
    if i < warm:
        return (i + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (i - warm) / max(1, steps - warm)))
