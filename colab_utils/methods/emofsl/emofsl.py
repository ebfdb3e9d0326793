"""EMOFSL: few-shot fine-tuning guided by emotion distance, with its rivals BTL and FSTL (Yue et al. 2023, APSIPA ASC; method_facts §2).

For frozen features, one vector an utterance (`emofsl_layers`: with layers of the encoder that learn). Three stages: the learner of
`source_learner` trains projection and head on the source; `fine_tune` goes on from there on the k-shot support of the target, many draws at
once, with cross-entropy alone (BTL) or with the loss of eq. 1 (FSTL) or eq. 2 (EMOFSL) on the projection; `decide` compares queries with
the class centres of the support, or asks the head.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional

from colab_utils import settings
from colab_utils.learning.heads import class_means
from colab_utils.learning.supervised import PooledLearner, class_weights
from colab_utils.learning.tasks import Batch, probabilities
from colab_utils.learning.training import TrainingError
from colab_utils.methods.emofsl import circumplex
from colab_utils.methods.emofsl.network import EmofslNet, forward
from colab_utils.methods.emofsl.pair_losses import EPS, emotion_distance, graded_distance, siamese
from colab_utils.methods.emofsl.settings import EmofslConfig, check

_MOST = 2 ** 26            # numbers of the query that are held at once, all draws together
Parameters = dict[str, torch.Tensor]
Metric = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class SourceLearner(PooledLearner):
    """Stage 1, a learner for `training.train`: cross-entropy on the source, classes weighted to equal mass, Adam with config.decay an epoch;
    plus config.source_loss_weight times `metric` (of `metric_loss`) on the pairs of a batch, where that is not 0.

    module: (inputs) -> (logits, F); inputs: of row numbers (n,), those of the training utterances 0 ... len(y) - 1; y: label indices (n,);
    valid: other speakers of the source, whose UAR picks the epoch. Order follows from config.seed. `steps` is config.source_epochs passes of
    `steps_per_epoch`.
    """

    def __init__(self, module: nn.Module, inputs: Callable[[np.ndarray], tuple[torch.Tensor, ...]], y: torch.Tensor, valid: Batch, n_labels: int,
                 config: EmofslConfig, metric: Metric | None = None):
        self.config, self.metric, self.steps_per_epoch = config, metric, -(-len(y) // config.source_batch)
        self.steps = config.source_epochs * self.steps_per_epoch
        active = torch.ones(n_labels, dtype=torch.bool, device=y.device)

        def batch(i: int) -> Batch:
            epoch, position = divmod(i, self.steps_per_epoch)
            order = np.random.default_rng((config.seed, epoch)).permutation(len(y))
            rows = order[position * config.source_batch:(position + 1) * config.source_batch]
            return Batch(inputs(rows), y[torch.as_tensor(rows, device=y.device)], active)

        super().__init__(module, batch, class_weights(y, n_labels), valid, config.source_rate)

    def step(self, i: int) -> dict[str, float]:
        """One update; the loss. The rate follows from i alone, so a resumed training ends like an uninterrupted one."""
        for group in self.optimiser.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * self.config.decay ** (i // self.steps_per_epoch)
        batch = self.batches(i)
        logits, embedding = self.module(*batch.inputs)
        loss = self.loss(logits, batch.y)
        if self.metric is not None and self.config.source_loss_weight:
            loss = loss + self.config.source_loss_weight * self.metric(embedding, batch.y)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item()}


def source_learner(x: np.ndarray, y: np.ndarray, valid: tuple[np.ndarray, np.ndarray], n_labels: int, config: EmofslConfig,
                   metric: Metric | None = None, device: str | torch.device = "cpu", layers: int = 1) -> SourceLearner:
    """Stage 1 on frozen features: `module` is an EmofslNet whose weights follow from config.seed.

    x: float (n, dim), y: label indices (n,) of the training speakers, whose mean and deviation standardise; valid: (x, y) of other speakers of
    the source; layers: of an encoder that stand side by side in x. Raises SettingError.
    """
    check(config)
    values, labels = torch.as_tensor(x, dtype=torch.float32, device=device), torch.as_tensor(y, dtype=torch.int64, device=device)
    torch.manual_seed(config.seed)
    module = EmofslNet(*scale_of(np.asarray(x)), n_labels, width=config.width, activation=config.activation, layers=layers).to(device)
    held = Batch((torch.as_tensor(valid[0], dtype=torch.float32, device=device),), torch.as_tensor(valid[1], device=device),
                 torch.ones(n_labels, dtype=torch.bool, device=device))
    return SourceLearner(module, lambda rows: (values[torch.as_tensor(rows, device=device)],), labels, held, n_labels, config, metric)


def scale_of(x: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and 1 / deviation of each column, float32 (dim,); 0 for a constant column, which then plays no part."""
    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    varies = deviation > 1e-7 * np.abs(mean)             # less is what float32 rounding leaves of a constant
    factor = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
    return torch.as_tensor(mean, dtype=torch.float32), torch.as_tensor(factor, dtype=torch.float32)


def levels_and_margins(config: EmofslConfig, emotions: Sequence[str],
                       coordinates: circumplex.Coordinates | None = None) -> tuple[pd.DataFrame, dict[str, float] | pd.DataFrame]:
    """The level of each pair of emotions (a table of "PP", "PN", "MN"), and the margins: of each level, or a table of pairs where they are graded.

    What `metric_loss` uses, for a figure or a reader; arguments as there. Raises SettingError.
    """
    weights, emotions = (config.valence, 1.0, 0.0), list(emotions)
    levels = pd.DataFrame(circumplex.pair_levels(emotions, coordinates, weights=weights, far=config.far), emotions, emotions)
    if config.margins == "paper":
        return levels, {"PN": config.alpha, "MN": config.beta}
    margins = circumplex.graded_margins(emotions, coordinates, alpha=config.alpha, beta=config.beta, weights=weights)
    return levels, pd.DataFrame(margins, emotions, emotions)


def metric_loss(config: EmofslConfig, emotions: Sequence[str], coordinates: circumplex.Coordinates | None = None) -> Metric | None:
    """The metric term (embedding (draws, n, width), y (draws, n) or (n,)) -> (draws,) of config.method; None for BTL.

    emotions: in the order of the class ids; coordinates: of `circumplex.coordinates_from_annotations` on the source (default: the table's).
    Raises SettingError.
    """
    check(config)
    common: dict[str, Any] = {"normalise": config.normalise, "reduction": config.reduction}
    if config.method == "BTL":
        return None
    if config.method == "FSTL":
        return lambda embedding, y: siamese(embedding, y, kappa=config.kappa, cap=config.cap, **common)
    levels, margins = levels_and_margins(config, emotions, coordinates)
    if config.margins == "paper":
        far = torch.as_tensor(levels.to_numpy() == "PN")
        return lambda embedding, y: emotion_distance(embedding, y, far, alpha=config.alpha, beta=config.beta, kappa1=config.kappa1,
                                                     kappa2=config.kappa2, **common)
    each = torch.as_tensor(margins.to_numpy())
    kappas = config.kappa2 + (config.kappa1 - config.kappa2) * (each - config.beta) / (config.alpha - config.beta)
    return lambda embedding, y: graded_distance(embedding, y, each, kappas, **common)


def fine_tune(module: EmofslNet, support: torch.Tensor, y: torch.Tensor, config: EmofslConfig, metric: Metric | None) -> Parameters:
    """Stage 2: Adam on cross-entropy + config.loss_weight * metric(F, y), from the source's weights, for each draw on its own support.

    support: float (draws, n, dim), y: class ids (draws, n) or (n,); metric: of `metric_loss`, or one's own of that form. Returns the parameters
    of each draw, {name: (draws, ...)}, for `decide`; `module` stays as it is. All draws are one computation: Adam works number by number and the
    draws' losses are added, so each draw ends as it would alone. Gradients are not clipped: Adam does not see their size.
    Raises SettingError, and TrainingError where a draw diverges.
    """
    check(config)
    check_trained(config, module)
    y = torch.as_tensor(y, device=support.device)
    parameters = {name: value.expand(len(support), *value.shape) for name, value in module.state_dict().items()}
    parameters["mean"] = torch.lerp(parameters["mean"], support.mean(dim=1), config.centre)
    layers = ("head",) if config.tune == "head" else ("layer_weights", "projection", "head")
    tuned = {name: parameters[name].clone().requires_grad_() for name in parameters if name.split(".")[0] in layers}
    parameters |= tuned
    optimiser = torch.optim.Adam(tuned.values(), lr=config.learning_rate, fused=True)      # the plain one takes most of the time
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
        raise TrainingError("fine-tuning ended in numbers that are not finite: lower the learning rate or look for broken features")
    return parameters


def check_trained(config: EmofslConfig, module: EmofslNet) -> None:
    """Raise SettingError where the source's network was made with another activation."""
    if config.activation != module.activation:
        raise settings.SettingError(f"activation = {config.activation!r}, but the source was trained with {module.activation!r}: train it again")


def loss_of(logits: torch.Tensor, embedding: torch.Tensor, y: torch.Tensor, config: EmofslConfig, metric: Metric | None) -> torch.Tensor:
    """What the fine-tuning lowers, for each draw (draws,): cross-entropy + config.loss_weight * metric(F, y); y: (draws, n) or (n,)."""
    loss = functional.cross_entropy(logits.transpose(1, 2), y.expand(logits.shape[:2]), reduction="none").mean(dim=1)
    return loss if metric is None else loss + config.loss_weight * metric(embedding, y)


@torch.no_grad()
def decide(parameters: Parameters, query: torch.Tensor, support: torch.Tensor, y: torch.Tensor, config: EmofslConfig) -> dict[str, torch.Tensor]:
    """Stage 3: {"prototype", "head"}: scores of the query, float (draws, n_query, classes) that sum to 1, by either rule.

    parameters: of `fine_tune`; query: (n_query, dim), or (draws, n_query, dim); support, y: as fine-tuned. prototype: softmax of minus the
    distance (or of the cosine) to the mean of the support's embeddings of each class; the order means something, the size is not calibrated,
    as distances lie between 0 and 2. A class without support is never chosen by it. head: softmax of the logits.
    """
    at_once = max(1, _MOST // (len(support) * query.shape[-1]))          # every draw may see a query on a scale of its own
    logits, found = (torch.cat(parts, dim=1) for parts in zip(*(forward(parameters, part, config.activation)
                                                                for part in query.split(at_once, dim=-2)), strict=True))
    return scores_of(logits, found, forward(parameters, support, config.activation)[1], y, config)


def scores_of(logits: torch.Tensor, found: torch.Tensor, known: torch.Tensor, y: torch.Tensor, config: EmofslConfig) -> dict[str, torch.Tensor]:
    """`decide` for logits (draws, n_query, classes) and projections F of the query (draws, n_query, width) and support (draws, n, width)."""
    y = torch.as_tensor(y, device=known.device).expand(known.shape[:2])
    if config.normalise:
        found, known = (functional.normalize(one, dim=-1, eps=EPS) for one in (found, known))
    classes = logits.shape[-1]
    centres = class_means(known, y, classes)
    if config.similarity == "cosine":
        nearness = functional.normalize(found, dim=-1, eps=EPS) @ functional.normalize(centres, dim=-1, eps=EPS).transpose(1, 2)
    else:
        nearness = -torch.cdist(found, centres, compute_mode="donot_use_mm_for_euclid_dist")
    there = functional.one_hot(y, classes).any(dim=1)
    return {"prototype": probabilities(nearness, there), "head": torch.softmax(logits, dim=-1)}
