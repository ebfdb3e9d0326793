"""EMOFSL: few-shot fine-tuning guided by emotion distance, with its rivals BTL and FSTL (Yue et al. 2023, APSIPA ASC; method_facts §2).

For frozen features, one vector an utterance. Three stages: `SourceLearner` trains projection and head on the source by cross-entropy;
`fine_tune` goes on from there on the k-shot support of the target, many draws at once, with cross-entropy alone (BTL) or with the loss of
eq. 1 (FSTL) or eq. 2 (EMOFSL) on the projection; `decide` compares queries with the class centres of the support, or asks the head.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from colab_utils import settings
from colab_utils.methods import circumplex
from colab_utils.methods.episode_baselines import class_means
from colab_utils.methods.pair_losses import EPS, REDUCTIONS, emotion_distance, graded_distance, siamese
from colab_utils.methods.pooled import PooledLearner, class_weights
from colab_utils.methods.tasks import Batch, probabilities
from colab_utils.methods.training import TrainingError
from colab_utils.models.emofsl_net import EmofslNet, forward

VERSION = 1                  # raised when the same settings would give other predictions
METHODS = ("BTL", "FSTL", "EMOFSL")
DECISIONS = ("prototype", "head")
Parameters = dict[str, torch.Tensor]
Metric = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclasses.dataclass(frozen=True)
class EmofslConfig:
    """Settings of the three stages; those of the source's training begin with `source_`, `width` and `activation` belong to it, too."""
    method: str = settings.setting("EMOFSL", "loss of the fine-tuning beside cross-entropy: none (BTL), all pairs alike (FSTL), or by the distance "
                                   "of the emotions (EMOFSL)", options=METHODS)
    shots: int = settings.setting(5, "support utterances a class", low=1, high=50, step=1)
    n_draws: int = settings.setting(10, "support draws a fold", low=1, high=100, step=1)
    alpha: float = settings.setting(1.8, "margin of far emotions (PN); distances lie between 0 and 2", low=0.0, high=2.0, step=0.05)
    beta: float = settings.setting(0.9, "margin of the other different emotions (MN)", low=0.0, high=2.0, step=0.05)
    kappa1: float = settings.setting(0.6, "weight of far emotions (PN)", low=0.0, high=10.0, step=0.1)
    kappa2: float = settings.setting(0.3, "weight of the other different emotions (MN)", low=0.0, high=10.0, step=0.1)
    kappa: float = settings.setting(1.0, "weight of different emotions (FSTL)", low=0.0, high=10.0, step=0.1)
    loss_weight: float = settings.setting(1.0, "weight of the metric loss beside cross-entropy", low=0.0, high=100.0)
    margins: str = settings.setting("graded", "two margins by level (paper), or one for each pair of emotions by their distance: in the table of the "
                                    "circumplex (graded), or by the ratings of the source's utterances (annotated)",
                                    options=("paper", "graded", "annotated"))
    decision: str = settings.setting("head", "what decides in the figures: nearest class centre of the support, or the head; both are kept",
                                     options=DECISIONS)
    learning_rate: float = settings.setting(1e-4, "learning rate of the fine-tuning (Adam)", low=1e-6, high=1.0)
    epochs: int = settings.setting(100, "epochs of the fine-tuning; the whole support is one batch, so each is one update", low=0, high=1000, step=1)
    tune: str = settings.setting("all", "what is fine-tuned: projection and head, or the head alone (BTL only)", options=("all", "head"))
    seed: int = settings.setting(0, "seed of weights, batches and draws", low=0, high=100000, step=1)
    n_seeds: int = settings.setting(1, "how many seeds, counted up from the first", low=1, high=20, step=1)
    source_epochs: int = settings.setting(30, "passes over the source at most", low=1, high=1000, step=1)
    source_rate: float = settings.setting(1e-3, "learning rate of the source's training (Adam)", low=1e-6, high=1.0, more=True)
    source_batch: int = settings.setting(32, "source utterances per batch", low=1, high=4096, step=1, more=True)
    source_patience: int = settings.setting(8, "epochs without a better UAR of the source's validation speakers before it stops", low=1, high=1000,
                                            step=1, more=True)
    source_loss_weight: float = settings.setting(5.0, "weight of the metric loss in the source's training, too; 0: cross-entropy alone, and one "
                                                 "source model serves all methods", low=0.0, high=100.0, more=True)
    decay: float = settings.setting(0.98, "factor of the learning rates after each epoch", low=0.1, high=1.0, more=True)
    width: int = settings.setting(256, "dimensions of the projection", low=4, high=2048, step=4, more=True)
    activation: str = settings.setting("none", "between projection and head", options=("none", "relu"), more=True)
    centre: float = settings.setting(0.0, "mean of the features: the source's (0), the support's (1), or between", low=0.0, high=1.0, step=0.1,
                                    more=True)
    normalise: bool = settings.setting(True, "bring projections to length 1 for the metric loss and for prototypes", more=True)
    similarity: str = settings.setting("euclidean", "to the class centres", options=("euclidean", "cosine"), more=True)
    reduction: str = settings.setting("mean", "pairs of a group: mean, or sum as published", options=REDUCTIONS, more=True)
    cap: float = settings.setting(0.0, "distance from which FSTL pushes no more; 0: none, as published", low=0.0, high=2.0, step=0.1, more=True)
    valence: float = settings.setting(circumplex.WEIGHTS[0], "what valence counts in the distance of emotions; arousal counts 1", low=0.0, high=1.0,
                                      step=0.05, more=True)
    far: float = settings.setting(circumplex.FAR, "distance from which two emotions are far (PN)", low=0.0, high=3.0, step=0.01, more=True)
    n_boot: int = settings.setting(2000, "resamples of the interval", low=0, high=20000, step=100, more=True)

    @classmethod
    def preset(cls, name: str) -> EmofslConfig:
        """The settings called `name` in PRESETS. Raises SettingError."""
        if name not in PRESETS:
            raise settings.SettingError(f"no preset {name!r}: choose from {', '.join(PRESETS)}")
        return PRESETS[name]


# default: chosen on mock transfers between speakers of one corpus and between domains of the embedded one, before any target's table
# (tools/emofsl_tuning.py, docs/results/emofsl.md). paper: Table I (method_facts §2.4);
# what it leaves open is as §2.2-2.4 recommends, but for the sums over pairs, which the equations have.
PRESETS = {
    "default": EmofslConfig(),
    "paper": EmofslConfig(learning_rate=1e-4, decay=0.98, epochs=10, source_rate=1e-4, source_epochs=10, source_patience=10, alpha=1.0, beta=0.6,
                          kappa=1.0, kappa1=0.6, kappa2=0.3, loss_weight=1.0, reduction="sum", margins="paper", decision="prototype",
                          source_loss_weight=0.0),
}


def preset_name(config: EmofslConfig) -> str:
    """The preset these settings are but for method, seeds, shots, draws and resamples, or "changed"."""
    def plain(one: EmofslConfig) -> EmofslConfig:
        return dataclasses.replace(one, method="BTL", seed=0, n_seeds=1, shots=1, n_draws=1, n_boot=0)
    return next((name for name, preset in PRESETS.items() if plain(preset) == plain(config)), "changed")


def check(config: EmofslConfig) -> None:
    """Raise SettingError for a setting out of range, and for settings that contradict each other."""
    settings.check(config)
    if config.method == "EMOFSL" and not config.alpha > config.beta:
        raise settings.SettingError(f"alpha = {config.alpha} and beta = {config.beta}: far emotions need the larger margin")
    if config.tune == "head" and config.method != "BTL":
        raise settings.SettingError(f"tune = 'head' with {config.method}: its loss acts on the projection, which would not move; choose tune = 'all'")


class SourceLearner(PooledLearner):
    """Stage 1, a learner for `training.train`: cross-entropy on the source, classes weighted to equal mass, Adam with config.decay an epoch;
    plus config.source_loss_weight times `metric` (of `metric_loss`) on the pairs of a batch, where that is not 0.

    x: float (n, dim), y: label indices (n,) of the training speakers, whose mean and deviation standardise; valid: (x, y) of other speakers of
    the source, whose UAR picks the epoch. Order and weights follow from config.seed. `module` is the EmofslNet. `steps` is config.source_epochs
    passes of `steps_per_epoch`.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, valid: tuple[np.ndarray, np.ndarray], n_labels: int, config: EmofslConfig,
                 metric: Metric | None = None, device: str | torch.device = "cpu"):
        check(config)
        values, labels = torch.as_tensor(x, dtype=torch.float32, device=device), torch.as_tensor(y, dtype=torch.int64, device=device)
        active = torch.ones(n_labels, dtype=torch.bool, device=device)
        torch.manual_seed(config.seed)
        module = EmofslNet(*scale_of(np.asarray(x)), n_labels, width=config.width, activation=config.activation).to(device)
        self.config, self.metric, self.steps_per_epoch = config, metric, -(-len(values) // config.source_batch)
        self.steps = config.source_epochs * self.steps_per_epoch

        def batch(i: int) -> Batch:
            epoch, position = divmod(i, self.steps_per_epoch)
            order = np.random.default_rng((config.seed, epoch)).permutation(len(values))
            rows = torch.as_tensor(order[position * config.source_batch:(position + 1) * config.source_batch], device=device)
            return Batch((values[rows],), labels[rows], active)

        held = Batch((torch.as_tensor(valid[0], dtype=torch.float32, device=device),), torch.as_tensor(valid[1], device=device), active)
        super().__init__(module, batch, class_weights(labels, n_labels), held, config.source_rate)

    def step(self, i: int) -> dict[str, float]:
        """One update; the loss. The rate follows from i alone, so a resumed training ends like an uninterrupted one."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.source_rate * self.config.decay ** (i // self.steps_per_epoch)
        batch = self.batches(i)
        logits, embedding = self.module(*batch.inputs)
        loss = self.loss(logits, batch.y)
        if self.metric is not None and self.config.source_loss_weight:
            loss = loss + self.config.source_loss_weight * self.metric(embedding, batch.y)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item()}


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
    if config.activation != module.activation:
        raise settings.SettingError(f"activation = {config.activation!r}, but the source was trained with {module.activation!r}: train it again")
    y = torch.as_tensor(y, device=support.device)
    parameters = {name: value.expand(len(support), *value.shape) for name, value in module.state_dict().items()}
    parameters["mean"] = torch.lerp(parameters["mean"], support.mean(dim=1), config.centre)
    layers = ("head",) if config.tune == "head" else ("projection", "head")
    tuned = {name: parameters[name].clone().requires_grad_() for name in parameters if name.split(".")[0] in layers}
    parameters |= tuned
    optimiser = torch.optim.Adam(tuned.values(), lr=config.learning_rate, fused=True)      # the plain one takes most of the time
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, config.decay)
    for _ in range(config.epochs):
        logits, embedding = forward(parameters, support, module.activation)
        loss = functional.cross_entropy(logits.transpose(1, 2), y.expand(logits.shape[:2]), reduction="none").mean(dim=1)
        if metric is not None:
            loss = loss + config.loss_weight * metric(embedding, y)
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
        decay.step()
    parameters = {name: value.detach() for name, value in parameters.items()}
    if not all(bool(torch.isfinite(value).all()) for value in parameters.values()):
        raise TrainingError("fine-tuning ended in numbers that are not finite: lower the learning rate or look for broken features")
    return parameters


@torch.no_grad()
def decide(parameters: Parameters, query: torch.Tensor, support: torch.Tensor, y: torch.Tensor, config: EmofslConfig) -> dict[str, torch.Tensor]:
    """Stage 3: {"prototype", "head"}: scores of the query, float (draws, n_query, classes) that sum to 1, by either rule.

    parameters: of `fine_tune`; query: (n_query, dim), or (draws, n_query, dim); support, y: as fine-tuned. prototype: softmax of minus the
    distance (or of the cosine) to the mean of the support's embeddings of each class; the order means something, the size is not calibrated,
    as distances lie between 0 and 2. A class without support is never chosen by it. head: softmax of the logits.
    """
    y = torch.as_tensor(y, device=support.device).expand(support.shape[:2])
    logits, found = forward(parameters, query, config.activation)
    known = forward(parameters, support, config.activation)[1]
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
