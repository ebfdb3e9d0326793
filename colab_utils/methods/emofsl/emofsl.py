"""EMOFSL: few-shot fine-tuning guided by emotion distance, with its rivals BTL and FSTL.

Yue et al. 2023, APSIPA ASC (method_facts §2). For frozen features, one vector an utterance
(`emofsl.layers`: with layers of the encoder that learn). Three stages: the learner of
`source_learner` trains projection and head on the source; `fine_tune` goes on from there on the
k-shot support of the target, many draws at once, with cross-entropy alone (BTL) or with the loss of
eq. 1 (FSTL) or eq. 2 (EMOFSL) on the projection; `decide` compares queries with the class centres
of the support, or asks the head.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from colab_utils.learning.heads import class_means
from colab_utils.learning.supervised import SupervisedLearner, class_weights
from colab_utils.learning.tasks import Batch, probabilities
from colab_utils.learning.training import TrainingError
from colab_utils.methods.emofsl import circumplex
from colab_utils.methods.emofsl.network import EmofslNet, forward
from colab_utils.methods.emofsl.pair_losses import EPS, emotion_distance, graded_distance, siamese
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.settings import SettingError, check

_MOST = 2**26  # numbers of the query that are held at once, all draws together
Parameters = dict[str, torch.Tensor]
Metric = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


# --- stage 1: the source --------------------------------------------------------------------------


class SourceLearner(SupervisedLearner):
    """Stage 1, a learner for `training.train`: cross-entropy on the source, by Adam.

    Classes are weighted to equal mass, and the learning rate falls by config.decay an epoch. Where
    config.source_loss_weight is not 0, `metric` on the pairs of a batch is added with this weight.

    Args:
        module: (inputs) -> (logits, F).
        inputs: what `module` is called with for row numbers (n,), those of the training utterances
            0 ... len(y) - 1.
        y: label indices, int64 (n,).
        valid: other speakers of the source, whose UAR picks the epoch.
        n_labels: how many classes there are.
        config: the settings; the order of batches follows from config.seed.
        metric: of `metric_loss`, or None.

    Attributes:
        steps: config.source_epochs passes of `steps_per_epoch`.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: Callable[[np.ndarray], tuple[torch.Tensor, ...]],
        y: torch.Tensor,
        valid: Batch,
        n_labels: int,
        config: EmofslConfig,
        metric: Metric | None = None,
    ):
        super().__init__(module, self._batch, class_weights(y, n_labels), valid, config.source_rate)
        self.config, self.metric = config, metric
        self.steps_per_epoch = -(-len(y) // config.source_batch)
        self.steps = config.source_epochs * self.steps_per_epoch
        self._inputs, self._y = inputs, y
        self._active = torch.ones(n_labels, dtype=torch.bool, device=y.device)

    def _batch(self, i: int) -> Batch:
        """The batch of step i; each epoch has an order of its own."""
        epoch, position = divmod(i, self.steps_per_epoch)
        order = np.random.default_rng((self.config.seed, epoch)).permutation(len(self._y))
        first = position * self.config.source_batch
        rows = order[first : first + self.config.source_batch]
        y = self._y[torch.as_tensor(rows, device=self._y.device)]
        return Batch(self._inputs(rows), y, self._active)

    def step(self, i: int) -> dict[str, float]:
        """One update; the loss.

        The rate follows from i alone, so a resumed training ends like an uninterrupted one.
        """
        epoch = i // self.steps_per_epoch
        for group in self.optimiser.param_groups:
            start = group.setdefault("initial_lr", group["lr"])
            group["lr"] = start * self.config.decay**epoch
        batch = self.batches(i)
        logits, embedding = self.module(*batch.inputs)
        loss = self.loss(logits, batch.y)
        if self.metric is not None and self.config.source_loss_weight:
            loss = loss + self.config.source_loss_weight * self.metric(embedding, batch.y)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item()}


def source_learner(
    x: np.ndarray,
    y: np.ndarray,
    valid: tuple[np.ndarray, np.ndarray],
    n_labels: int,
    config: EmofslConfig,
    metric: Metric | None = None,
    device: str | torch.device = "cpu",
    layers: int = 1,
) -> SourceLearner:
    """Stage 1 on frozen features: `module` is an EmofslNet whose weights follow from config.seed.

    Args:
        x: features of the training speakers, float (n, dim); their mean and deviation standardise.
        y: their label indices (n,).
        valid: (x, y) of other speakers of the source.
        n_labels: how many classes there are.
        config: the settings.
        metric: of `metric_loss`, or None.
        device: where to compute.
        layers: of an encoder that stand side by side in x.

    Raises:
        SettingError: for settings that cannot work.
    """
    check(config)
    values = torch.as_tensor(x, dtype=torch.float32, device=device)
    labels = torch.as_tensor(y, dtype=torch.int64, device=device)
    mean, factor = scale_of(np.asarray(x))
    torch.manual_seed(config.seed)
    module = EmofslNet(
        mean, factor, n_labels, width=config.width, activation=config.activation, layers=layers
    ).to(device)

    def inputs(rows: np.ndarray) -> tuple[torch.Tensor]:
        return (values[torch.as_tensor(rows, device=device)],)

    valid_x = torch.as_tensor(valid[0], dtype=torch.float32, device=device)
    valid_y = torch.as_tensor(valid[1], device=device)
    active = torch.ones(n_labels, dtype=torch.bool, device=device)
    return SourceLearner(
        module, inputs, labels, Batch((valid_x,), valid_y, active), n_labels, config, metric
    )


def scale_of(x: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and 1 / deviation of each column of x, float32 (dim,).

    The factor of a constant column is 0: it plays no part.
    """
    mean = x.mean(axis=0, dtype=np.float64)
    deviation = x.std(axis=0, dtype=np.float64)
    varies = deviation > 1e-7 * np.abs(mean)  # less is what float32 leaves of a constant
    factor = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
    return (
        torch.as_tensor(mean, dtype=torch.float32),
        torch.as_tensor(factor, dtype=torch.float32),
    )


# --- the metric loss ------------------------------------------------------------------------------


def levels_and_margins(
    config: EmofslConfig,
    emotions: Sequence[str],
    coordinates: circumplex.Coordinates | None = None,
) -> tuple[pd.DataFrame, dict[str, float] | pd.DataFrame]:
    """What `metric_loss` uses, for a figure or a reader; arguments as there.

    Returns:
        The level of each pair of emotions (a table of "PP", "PN", "MN"), and the margins: of each
        level, or a table of pairs where they are graded.

    Raises:
        SettingError: for an emotion without coordinates.
    """
    weights, emotions = (config.valence, 1.0, 0.0), list(emotions)
    levels = circumplex.pair_levels(emotions, coordinates, weights=weights, far=config.far)
    levels = pd.DataFrame(levels, emotions, emotions)
    if config.margins == "paper":
        return levels, {"PN": config.alpha, "MN": config.beta}
    margins = circumplex.graded_margins(
        emotions, coordinates, alpha=config.alpha, beta=config.beta, weights=weights
    )
    return levels, pd.DataFrame(margins, emotions, emotions)


def metric_loss(
    config: EmofslConfig, emotions: Sequence[str], coordinates: circumplex.Coordinates | None = None
) -> Metric | None:
    """The metric term of config.method, (embedding, y) -> (draws,); None for BTL.

    It is called with an embedding (draws, n, width) and class ids y, (draws, n) or (n,).

    Args:
        config: the settings.
        emotions: in the order of the class ids.
        coordinates: of `circumplex.coordinates_from_annotations` on the source; default: the
            table's.

    Raises:
        SettingError: for settings that cannot work, and an emotion without coordinates.
    """
    check(config)
    if config.method == "BTL":
        return None
    if config.method == "FSTL":
        return functools.partial(
            siamese,
            kappa=config.kappa,
            cap=config.cap,
            normalise=config.normalise,
            reduction=config.reduction,
        )
    levels, margins = levels_and_margins(config, emotions, coordinates)
    if config.margins == "paper":
        far = torch.as_tensor(levels.to_numpy() == "PN")
        return functools.partial(
            emotion_distance,
            far=far,
            alpha=config.alpha,
            beta=config.beta,
            kappa1=config.kappa1,
            kappa2=config.kappa2,
            normalise=config.normalise,
            reduction=config.reduction,
        )
    each = torch.as_tensor(margins.to_numpy())
    share = (each - config.beta) / (config.alpha - config.beta)
    weights = config.kappa2 + (config.kappa1 - config.kappa2) * share
    return functools.partial(
        graded_distance,
        margins=each,
        weights=weights,
        normalise=config.normalise,
        reduction=config.reduction,
    )


# --- stage 2: the support -------------------------------------------------------------------------


def fine_tune(
    module: EmofslNet,
    support: torch.Tensor,
    y: torch.Tensor,
    config: EmofslConfig,
    metric: Metric | None,
) -> Parameters:
    """Stage 2: Adam from the source's weights, for each draw on its own support.

    The loss is cross-entropy + config.loss_weight * metric(F, y). All draws are one computation:
    Adam works number by number and the draws' losses are added, so each draw ends as it would
    alone. Gradients are not clipped: Adam does not see their size.

    Args:
        module: the source's network; it stays as it is.
        support: float (draws, n, dim).
        y: class ids, (draws, n) or (n,).
        config: the settings.
        metric: of `metric_loss`, or one's own of that form.

    Returns:
        The parameters of each draw, {name: (draws, ...)}, for `decide`.

    Raises:
        SettingError: for settings that cannot work.
        TrainingError: where a draw diverges.
    """
    check(config)
    check_trained(config, module)
    y = torch.as_tensor(y, device=support.device)
    parameters = {
        name: value.expand(len(support), *value.shape)
        for name, value in module.state_dict().items()
    }
    parameters["mean"] = torch.lerp(parameters["mean"], support.mean(dim=1), config.centre)
    layers = ("head",) if config.tune == "head" else ("layer_weights", "projection", "head")
    tuned = []
    for name, value in parameters.items():
        if name.split(".")[0] in layers:
            parameters[name] = value.clone().requires_grad_()
            tuned.append(parameters[name])
    # fused: the plain Adam takes most of the time
    optimiser = torch.optim.Adam(tuned, lr=config.learning_rate, fused=True)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, config.decay)
    for _ in range(config.epochs):
        logits, embedding = forward(parameters, support, module.activation)
        loss = loss_of(logits, embedding, y, config, metric)
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
        decay.step()
    parameters = {name: value.detach() for name, value in parameters.items()}
    if not all(bool(torch.isfinite(value).all()) for value in parameters.values()):
        raise TrainingError(
            "fine-tuning ended in numbers that are not finite: lower the learning "
            "rate or look for broken features"
        )
    return parameters


def check_trained(config: EmofslConfig, module: EmofslNet) -> None:
    """Raise SettingError where the source's network was made with another activation."""
    if config.activation != module.activation:
        raise SettingError(
            f"activation = {config.activation!r}, but the source was trained with "
            f"{module.activation!r}: train it again"
        )


def loss_of(
    logits: torch.Tensor,
    embedding: torch.Tensor,
    y: torch.Tensor,
    config: EmofslConfig,
    metric: Metric | None,
) -> torch.Tensor:
    """What the fine-tuning lowers, for each draw (draws,).

    Cross-entropy of logits (draws, n, classes) + config.loss_weight * metric(F, y), where F is the
    embedding (draws, n, width) and y the class ids, (draws, n) or (n,).
    """
    y_of_draws = y.expand(logits.shape[:2])
    loss = functional.cross_entropy(logits.transpose(1, 2), y_of_draws, reduction="none")
    loss = loss.mean(dim=1)
    return loss if metric is None else loss + config.loss_weight * metric(embedding, y)


# --- stage 3: the query ---------------------------------------------------------------------------


@torch.no_grad()
def decide(
    parameters: Parameters,
    query: torch.Tensor,
    support: torch.Tensor,
    y: torch.Tensor,
    config: EmofslConfig,
) -> dict[str, torch.Tensor]:
    """Stage 3: scores of the query by either rule.

    prototype: softmax of minus the distance (or of the cosine) to the mean of the support's
    embeddings of each class; the order means something, the size is not calibrated, as distances
    lie between 0 and 2. A class without support is never chosen by it. head: softmax of the
    logits.

    Args:
        parameters: of `fine_tune`.
        query: float (n_query, dim), or (draws, n_query, dim).
        support, y: as fine-tuned.
        config: the settings.

    Returns:
        {"prototype", "head"}: float (draws, n_query, classes) that sum to 1.
    """
    # Every draw may see a query on a scale of its own.
    at_once = max(1, _MOST // (len(support) * query.shape[-1]))
    logits, found = [], []
    for part in query.split(at_once, dim=-2):
        part_logits, part_embedding = forward(parameters, part, config.activation)
        logits.append(part_logits)
        found.append(part_embedding)
    known = forward(parameters, support, config.activation)[1]
    return scores_of(torch.cat(logits, dim=1), torch.cat(found, dim=1), known, y, config)


def scores_of(
    logits: torch.Tensor,
    found: torch.Tensor,
    known: torch.Tensor,
    y: torch.Tensor,
    config: EmofslConfig,
) -> dict[str, torch.Tensor]:
    """`decide` for what the network gives.

    Args:
        logits: of the query, (draws, n_query, classes).
        found: projections F of the query, (draws, n_query, width).
        known: projections F of the support, (draws, n, width).
        y: class ids of the support, (draws, n) or (n,).
        config: the settings.
    """
    y = torch.as_tensor(y, device=known.device).expand(known.shape[:2])
    if config.normalise:
        found = functional.normalize(found, dim=-1, eps=EPS)
        known = functional.normalize(known, dim=-1, eps=EPS)
    classes = logits.shape[-1]
    centres = class_means(known, y, classes)
    if config.similarity == "cosine":
        directions = functional.normalize(centres, dim=-1, eps=EPS).transpose(1, 2)
        nearness = functional.normalize(found, dim=-1, eps=EPS) @ directions
    else:
        nearness = -torch.cdist(found, centres, compute_mode="donot_use_mm_for_euclid_dist")
    there = functional.one_hot(y, classes).any(dim=1)
    return {"prototype": probabilities(nearness, there), "head": torch.softmax(logits, dim=-1)}
