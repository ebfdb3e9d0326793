"""Training of AlexNet on spectrogram pictures.

Mixup (Zhang et al. 2018), stability training (Zheng et al. 2016), SpecAugment (Park et al. 2019),
oversampling; optimiser and batches as published (samsudinng/speech_emo_recognition, train_ser.py).
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from colab_utils.features.published.alexnet import AlexNetSpectrogram
from colab_utils.learning.own import checked, in_one_sentence, name_of
from colab_utils.learning.training import ModuleLearner
from colab_utils.methods.alexnet.network import network, start_from
from colab_utils.methods.alexnet.pictures import Images, Range, utterance_probabilities
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.results.rates import confusion, uar, wa

OwnNetwork = Callable[[int], torch.nn.Module]
_TEST_BATCH = 128


class FoldPictures(NamedTuple):
    """Pictures of one fold.

    train: of the training speakers.
    noisy: the same segments recorded worse, one for each condition.
    valid: of the validation speakers.
    """

    train: Images
    noisy: list[Images]
    valid: Images


class TrainingFold(NamedTuple):
    """What a network is trained on.

    limits: of the training utterances.
    y: class ids of their segments, int64 (segments,).
    true: class ids of the validation utterances, int64 (utterances,).
    make_pictures: makes the pictures, which are large, when they are needed.
    """

    limits: Range
    y: np.ndarray
    true: np.ndarray
    make_pictures: Callable[[], FoldPictures]


class Batch(NamedTuple):
    """Pictures that take part in one update.

    images: float (n, channels, height, width).
    valid: the share of the width that is speech, (n,).
    targets: probabilities of the classes, float (n, classes).
    noisy: the same segments recorded worse, as `images`, or None.
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
        self.config = config
        self.n_labels = n_labels
        self.fold = fold
        self.limits = fold.limits
        torch.manual_seed(config.seed)
        if own is None:
            self.module = network(config.ser_model, n_labels, config.pooling)
            self.started = start_from(self.module, config.pretrained)
        else:
            self.module = self._made(own)
            self.started = "scratch (a network of one's own)"
        # a fifth faster on a CPU
        self.module.to(device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(
            self.module.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        self.pool = np.arange(len(fold.y))
        if config.oversampling:
            self.pool = oversampled(fold.y, config.seed, config.oversampling_of)
        # of one segment alone the batch statistics of one's own network may be undefined: left over
        # at the end of an epoch, it joins the batch before
        lone = 1 if own is not None and len(self.pool) > 1 else 0
        self.steps_per_epoch = math.ceil((len(self.pool) - lone) / config.batch_size)
        self.steps = self.steps_per_epoch * config.num_epochs

    def _made(self, own: OwnNetwork) -> torch.nn.Module:
        """A network of one's own, whose lazy layers have seen the shape of two pictures.

        What it gives is checked at every call. Raises SettingError.
        """
        channels = AlexNetSpectrogram(feature_set=self.config.features).channels
        shape = channels, *self.config.image_size
        n = self.n_labels
        images = torch.zeros(2, *shape)
        sizes = ", ".join(map(str, shape))
        what = (
            f"the network {name_of(own)}, made for {n} classes, (images (n, {sizes}), valid (n,)) "
            f"-> logits (n, {n})"
        )
        with in_one_sentence(what):
            module = own(n)
            logits = module.eval()(images, torch.ones(2))
        checked(what, logits, (2, n), images, learning=True, finite=False)

        def check(_: torch.nn.Module, inputs: tuple, found: object) -> None:
            checked(what, found, (len(inputs[0]), n), inputs[0], finite=False)

        module.register_forward_hook(check)
        return module

    @functools.cached_property
    def pictures(self) -> FoldPictures:
        """The pictures, made when they are first needed: a network that is loaded needs none."""
        return self.fold.make_pictures()

    def let_go(self) -> None:
        """Forget pictures and optimiser: a trained network needs neither."""
        self.__dict__.pop("pictures", None)
        self.optimiser = None

    def step(self, i: int) -> dict[str, float]:
        """One update; loss and, with stability training, its divergence."""
        rate = self.config.lr * rate_at(i, self.steps, self.config.schedule)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.module.train()
        rng = np.random.default_rng((self.config.seed, 71, i))
        batch = self.batch(self.segments_of(i, rng), rng)
        loss, told = self.loss(batch)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item(), **told}

    def segments_of(self, i: int, rng: np.random.Generator) -> np.ndarray:
        """Segment numbers of the i-th batch, int64 (n,)."""
        size, y = self.config.batch_size, self.fold.y
        if self.config.balanced:
            classes = rng.permutation(np.unique(y))
            classes = rng.permutation(np.resize(classes, size))
            drawn = [rng.choice(np.flatnonzero(y == one)) for one in classes]
            return np.array(drawn)
        epoch, place = divmod(i, self.steps_per_epoch)
        of_epoch = np.random.default_rng((self.config.seed, 73, epoch))
        order = of_epoch.permutation(self.pool)
        if place + 1 == self.steps_per_epoch:
            return order[place * size :]
        return order[place * size : (place + 1) * size]

    def batch(self, numbers: np.ndarray, rng: np.random.Generator) -> Batch:
        """The pictures of these segments, altered as the settings say."""
        train = self.pictures.train
        images = train.values[numbers].float()
        y = torch.from_numpy(self.fold.y[numbers])
        targets = functional.one_hot(y, self.n_labels).to(images)
        noisy = None
        if self.config.hears_noise:
            noisy = self._noisy(numbers, rng)
        if self.config.spec_augment:
            hidden = bands(images.shape, rng).to(images.device)
            images = images.masked_fill(hidden, 0.0)
            if noisy is not None:
                noisy = noisy.masked_fill(hidden, 0.0)
        batch = Batch(images, train.valid[numbers], targets, noisy)
        if self.config.mixup:
            batch = mixed(batch, self.config, rng)
        return batch

    def _noisy(self, numbers: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        """The same segments, each under one of the conditions, drawn anew."""
        copies = self.pictures.noisy
        drawn = rng.integers(len(copies), size=len(numbers))
        chosen = []
        for condition, number in zip(drawn, numbers, strict=True):
            chosen.append(copies[condition].values[number])
        return torch.stack(chosen).float()

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss of a batch, as in stability training (Zheng et al. 2016).

            L(x, x') = CE(x) + alpha D(x, x')                      stability_loss = "clean"
            L(x, x') = 0.5 (CE(x) + CE(x')) + alpha D(x, x')       stability_loss = "both"

        CE is cross-entropy, x' the noisy copy of x, D `divergence`, and alpha the setting
        `stability`. The second is that of musifahamran/FYP (train_ser_CLoss.py) with alpha = 0.5;
        with alpha = 0 it is training on noisy copies. The gradient passes through the answers for
        both.

        Returns:
            The loss, a scalar, and {"divergence": D} where D takes part.
        """
        logits = self.module(batch.images, batch.valid)
        ce = soft_cross_entropy(logits, batch.targets)
        if batch.noisy is None:
            return ce, {}
        noisy_logits = self.module(batch.noisy, batch.valid)
        if self.config.stability_loss == "both":
            noisy_ce = soft_cross_entropy(noisy_logits, batch.targets)
            ce = 0.5 * (ce + noisy_ce)
        alpha = self.config.stability
        if alpha == 0:
            return ce, {}
        d = divergence(logits, noisy_logits)
        return ce + alpha * d, {"divergence": d.item()}

    def validate(self) -> float:
        """UAR or WA of the validation utterances."""
        valid = self.pictures.valid
        segments = probabilities(self.module, valid)
        found = utterance_probabilities(segments, valid, self.config.decision).argmax(axis=1)
        score = uar if self.config.select == "uar" else wa
        return float(score(confusion(self.fold.true, found, range(self.n_labels))))


@torch.no_grad()
def answers(call: Callable[..., torch.Tensor], images: Images) -> torch.Tensor:
    """What a network (or a part of one) gives for each segment, float (segments, ...)."""
    found = []
    for first in range(0, len(images.values), _TEST_BATCH):
        part = slice(first, first + _TEST_BATCH)
        found.append(call(images.values[part].float(), images.valid[part]))
    return torch.cat(found)


def probabilities(module: torch.nn.Module, images: Images) -> torch.Tensor:
    """What a network says of each segment, float (segments, classes)."""
    module.eval()
    return torch.softmax(answers(module, images), dim=1)


def soft_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy with soft targets, probabilities (n, classes): a scalar.

    Mixed targets give l CE(y_i) + (1 - l) CE(y_j).
    """
    return -(targets * functional.log_softmax(logits, dim=1)).sum(dim=1).mean()


def divergence(logits: torch.Tensor, noisy_logits: torch.Tensor) -> torch.Tensor:
    """How far the answers for clips x and their noisy copies x' are apart.

        D(x, x') = KL(P(y|x) || P(y|x')) = sum_y P(y|x) (log P(y|x) - log P(y|x'))

    0 where both agree, positive elsewhere. Zheng et al. 2016 name this divergence and write the
    part of it that depends on x', -sum_y P(y|x) log P(y|x'). A published code
    (musifahamran/FYP, train_ser_CLoss.py) hands probabilities to a function that expects
    log-probabilities: its value is negative, and its minimum does not lie where both agree.

    Args:
        logits: of the clips, float (n, classes).
        noisy_logits: of their copies, the same shape.

    Returns:
        The mean over the batch, a scalar.
    """
    log_p = functional.log_softmax(logits, dim=1)
    log_q = functional.log_softmax(noisy_logits, dim=1)
    p = log_p.exp()
    total = (p * (log_p - log_q)).sum()
    return total / len(logits)


def mixed(batch: Batch, config: AlexnetConfig, rng: np.random.Generator) -> Batch:
    """Mixup (Zhang et al. 2018): each picture with that of a random partner.

        x = share x_i + (1 - share) x_j
        y = share y_i + (1 - share) y_j,  share ~ Beta(a, a) for each i

    The partners j are a permutation, so that a picture may meet itself. Noisy copies are mixed in
    the same way; the speech of the mixture is as wide as that of the wider picture. With
    `mixup_larger` x_i has the larger share, as in the published code
    (samsudinng/speech_emo_recognition, train_ser.py).

    Args:
        batch: what is mixed.
        config: `mixup_alpha` (a) and `mixup_larger`.
        rng: draws shares and partners.

    Returns:
        A batch of the same shapes.
    """
    n = len(batch.images)
    share = rng.beta(config.mixup_alpha, config.mixup_alpha, size=n)
    if config.mixup_larger:
        share = np.maximum(share, 1 - share)
    partner = rng.permutation(n)
    # one share a picture, shaped to multiply targets (n, classes) and images (n, channels, h, w)
    of_targets = torch.from_numpy(share).to(batch.targets)[:, None]
    of_images = of_targets[:, :, None, None]
    images = of_images * batch.images + (1 - of_images) * batch.images[partner]
    targets = of_targets * batch.targets + (1 - of_targets) * batch.targets[partner]
    valid = torch.maximum(batch.valid, batch.valid[partner])
    noisy = batch.noisy
    if noisy is not None:
        noisy = of_images * noisy + (1 - of_images) * noisy[partner]
    return Batch(images, valid, targets, noisy)


def bands(shape: tuple[int, ...], rng: np.random.Generator) -> torch.Tensor:
    """Places to hide (SpecAugment, Park et al. 2019), bool (n, 1, height, width).

    Up to two bands of a tenth of the height and of the width of each picture.
    """
    n, _, height, width = shape
    hidden = torch.zeros(n, 1, height, width, dtype=torch.bool)
    for picture in hidden:
        for axis in (1, 2, 1, 2):
            size = picture.shape[axis]
            long = rng.integers(size // 10 + 1)
            begin = rng.integers(size - long + 1)
            picture.narrow(axis, begin, long).fill_(True)
    return hidden


def oversampled(y: np.ndarray, seed: int, of: str = "all") -> np.ndarray:
    """Segment numbers in which rarer classes are as frequent as the commonest.

    All of a class, then random ones again.

    Args:
        y: class ids, int64 (segments,).
        seed: of the random ones.
        of: "all" classes, or the "two-smallest": data_utils.py of the released system raises the
            smallest class, and does so twice.

    Returns:
        int64 (at least as many).
    """
    rng = np.random.default_rng((seed, 79))
    classes, counts = np.unique(y, return_counts=True)
    raised = classes
    if of == "two-smallest":
        raised = classes[np.argsort(counts, kind="stable")[:2]]
    parts = []
    for one in classes:
        numbers = np.flatnonzero(y == one)
        parts.append(numbers)
        if one in raised:
            parts.append(rng.choice(numbers, counts.max() - len(numbers)))
    return np.concatenate(parts)


def rate_at(i: int, steps: int, schedule: str) -> float:
    """Factor of the learning rate at step i.

    1, or up over the first tenth of the steps and down to 0 along half a cosine.
    """
    if schedule == "constant":
        return 1.0
    warm = max(1, steps // 10)
    if i < warm:
        return (i + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (i - warm) / max(1, steps - warm)))
