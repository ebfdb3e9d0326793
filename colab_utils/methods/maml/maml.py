"""Model-agnostic meta-learning for few-shot SER: its settings, and the learner that the training loop drives.

Finn et al. 2017 (MAML, first and second order), Antoniou et al. 2019 (multi-step loss, learnable per-layer per-step rates,
derivative-order annealing), Raghu et al. 2020 (ANIL: the head alone adapts); method_facts §1, §6.1, §6.2.
"""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from colab_utils import settings
from colab_utils.learning.tasks import Tasks, accuracy
from colab_utils.learning.training import ModuleLearner, TrainingError
from colab_utils.methods.maml.inner_loop import adapted_scores, best_tasks_at_once, meta_gradient
from colab_utils.methods.maml.losses import CONTRASTIVE, episode_loss
from colab_utils.methods.maml.multi_step import MULTI_STEP, ORDERS, first_order_at, step_weights
from colab_utils.methods.maml.projection import WithProjection
from colab_utils.models import NETWORKS, network

VERSION = 1                  # raised when the same settings would train other weights
REGIMES = ("fixed", "permuted")
ENGINES = ("func", "higher")


@dataclasses.dataclass(frozen=True)
class MamlConfig:
    """Settings of meta-training. What changes them asks for retraining; what a test episode looks like does not (few_shot.EpisodeConfig)."""
    regime: str = settings.setting("fixed", "class ids in an episode: always the emotion's own (fixed), or shuffled in each (permuted)",
                                   options=REGIMES)
    network: str = settings.setting("mlp", "network: mlp on one vector an utterance, conv4 or lstm on frames", options=NETWORKS)
    order: str = settings.setting("second", "meta-gradient: first order, second order, or first order in the first part of training (annealed)",
                                  options=ORDERS)
    multi_step: str = settings.setting("annealed", "query losses that count: after the last step (final), after each step with rising weight "
                                       "(ramp), or of each step at first and of the last in the end (annealed)", options=MULTI_STEP)
    contrastive: str = settings.setting("none", "contrastive term beside the cross-entropy, in the inner and the outer loss", options=CONTRASTIVE)
    ways: int = settings.setting(5, "classes in a training episode", low=2, high=8, step=1)
    shots: int = settings.setting(5, "support utterances a class in training", low=1, high=25, step=1)
    queries: int = settings.setting(10, "query utterances a class in training", low=1, high=30, step=1)
    steps: int = settings.setting(5, "inner gradient steps in training", low=1, high=20, step=1)
    inner_rate: float = settings.setting(0.05, "inner learning rate (its start, where rates are learnt)", low=0.0, high=2.0)
    learn_rates: bool = settings.setting(True, "learn one inner rate for each layer and step")
    adapted: str = settings.setting("all", "what the inner loop adapts: all layers, or the head alone (ANIL)", options=("all", "head"))
    iterations: int = settings.setting(600, "meta-updates at most", low=1, high=100000, step=50)
    meta_batch: int = settings.setting(8, "episodes in a meta-update", low=1, high=64, step=1)
    meta_rate: float = settings.setting(1e-3, "learning rate of the meta-update (Adam, cosine to a tenth)", low=1e-6, high=0.1)
    seed: int = settings.setting(0, "seed of weights and episodes", low=0, high=100000, step=1)
    within: str = settings.setting("corpus", "a training episode comes from one corpus (its speakers, its recording), or from all",
                                   options=("corpus", ""), more=True)
    norm: str = settings.setting("group", "normalisation layers: group (each utterance alone), or batch (transductive: statistics of the whole "
                                 "query), as published", options=("group", "batch", "paper-batch"), more=True)
    width: int = settings.setting(64, "channels or hidden units of a layer", low=8, high=512, step=8, more=True)
    multi_step_share: float = settings.setting(0.15, "share of training in which every step's loss counts (annealed)", low=0.0, high=1.0, more=True)
    order_share: float = settings.setting(0.3, "share of training in first order (annealed)", low=0.0, high=1.0, more=True)
    contrastive_weight: float = settings.setting(0.1, "weight of the contrastive term", low=0.0, high=10.0, more=True)
    temperature: float = settings.setting(0.1, "temperature of the contrastive term", low=0.01, high=2.0, more=True)
    projection: int = settings.setting(64, "dimensions of the projection that the contrastive term sees; 0: the embedding itself", low=0, high=512,
                                       step=8, more=True)
    schedule: str = settings.setting("cosine", "learning rate of the meta-update over training", options=("cosine", "constant"), more=True)
    clip: float = settings.setting(10.0, "largest norm of the meta-gradient; 0: no clipping", low=0.0, high=1000.0, more=True)
    validate_every: int = settings.setting(25, "meta-updates from one validation to the next", low=1, high=10000, step=1, more=True)
    valid_tasks: int = settings.setting(200, "validation episodes, always the same", low=8, high=2000, step=8, more=True)
    patience: int = settings.setting(8, "validations without a better one before training stops", low=1, high=1000, step=1, more=True)
    max_frames: int = settings.setting(200, "frames of a crop (conv4, lstm)", low=16, high=2000, step=1, more=True)
    engine: str = settings.setting("func", "who differentiates through the inner loop: torch.func, or higher", options=ENGINES, more=True)

    @classmethod
    def preset(cls, name: str) -> MamlConfig:
        """The settings called `name` in PRESETS. Raises SettingError."""
        if name not in PRESETS:
            raise settings.SettingError(f"no preset {name!r}: choose from {', '.join(PRESETS)}")
        return PRESETS[name]


# Few-Shot_SER as published (method_facts §1.1, §1.4) with the repairs that REPAIRS names.
_PAPER = MamlConfig(regime="permuted", network="conv4", norm="paper-batch", order="first", multi_step="final", steps=5, inner_rate=0.01,
                    learn_rates=False, ways=5, shots=5, queries=20, meta_batch=4, meta_rate=1e-3, schedule="constant", clip=0.0, within="",
                    iterations=2000, validate_every=50, patience=1000)
PRESETS = {
    "default": MamlConfig(),
    "default-permuted": MamlConfig(regime="permuted"),
    "paper": _PAPER,
    "paper-msl": dataclasses.replace(_PAPER, multi_step="ramp", steps=8, inner_rate=0.05),
    "paper-contrastive": dataclasses.replace(_PAPER, contrastive="nt-xent", contrastive_weight=1.0, temperature=0.07, projection=0),
    "paper-second-order": dataclasses.replace(_PAPER, order="second", steps=8, inner_rate=1e-3, shots=25, queries=25),
}
REPAIRS = (
    "every clip of a class can be drawn; the original drew only the first `smallest class` clips of each",
    "speakers (films on EmoFilm) never stand in support and query, nor in training and test; the original had no grouping",
    "held-out speakers or films of the training languages pick the checkpoint; the original kept the lowest training loss of one meta-batch",
    "padded frames are masked; the original filled them with -3 or -1, a loudness like any other in its MFCC",
    "of a long clip training hears random crops and the test the middle; the original heard the first 0.8 to 2.3 s",
    "the log-mel range is [-4, 4] as intended; a misspelt argument made it [0, 4]",
    "every weighted step of the multi-step loss has a gradient; the original computed steps 0 and 1 without one",
    "each task counts once; the second-order script weighted task j (B - j + 1) times",
    "the contrastive term stands in the inner loss of test episodes as well; the original left it out there",
    "a meta-batch holds 4 episodes; the original's constant of 16 was not the meta-batch, which was 2 or 4",
    "batch statistics of the query make a result transductive, and every result says so",
)


def preset_name(config: MamlConfig) -> str:
    """The preset these settings are but for the seed, the ways and the shots, or "changed"."""
    def plain(one: MamlConfig) -> MamlConfig:
        return dataclasses.replace(one, seed=0, ways=2, shots=1)
    return next((name for name, preset in PRESETS.items() if plain(preset) == plain(config)), "changed")


def rule_of(norm: str) -> str:
    """What a result has to say of how the query was used: inductive, or transductive through batch statistics."""
    return "inductive" if norm == "group" else "transductive: batch statistics of the query"


class MetaModel(nn.Module):
    """A network and the rates of its inner loop: what meta-training learns, and what is kept of it.

    `rates()` gives {parameter: (steps,)}, positive or not, for the parameters that the inner loop adapts.
    """

    def __init__(self, net: nn.Module, adapted: Iterable[str], inner_rate: float, steps: int, learn: bool):
        super().__init__()
        self.network = net
        rate = torch.full((steps,), inner_rate, dtype=next(net.parameters()).dtype)
        self._rates = nn.ParameterDict({name.replace(".", "/"): nn.Parameter(rate.clone(), requires_grad=learn) for name in adapted})

    def rates(self, steps: int | None = None) -> dict[str, torch.Tensor]:
        """Rates of each adapted parameter for `steps` steps (default: as trained); further steps repeat the last trained one."""
        rates = {name.replace("/", "."): rate for name, rate in self._rates.items()}
        if steps is None:
            return rates
        return {name: torch.cat([rate, rate[-1:].expand(max(0, steps - len(rate)))])[:steps] for name, rate in rates.items()}


def make_model(config: MamlConfig, dim: int, n_labels: int) -> MetaModel:
    """A fresh network for features of `dim` columns, seeded by config.seed, with its inner rates."""
    torch.manual_seed(config.seed)
    outputs = n_labels if config.regime == "fixed" else config.ways
    net = network(config.network, dim, outputs, norm=config.norm, width=config.width, frames=config.max_frames)
    if config.contrastive != "none" and config.projection:
        net = WithProjection(net, config.projection)
    adapted = [name for name, _ in net.named_parameters() if config.adapted == "all" or name.split(".")[-2] == "head"]
    return MetaModel(net, adapted, config.inner_rate, config.steps, config.learn_rates)


class MamlLearner(ModuleLearner):
    """Meta-training, one meta-update a step, for `training.train`.

    sample(i): the Tasks of meta-update i (all randomness of the episodes comes from i); valid: fixed Tasks of held-out speakers, whose
    mean query accuracy after the last inner step picks the checkpoint. A resumed training ends bit for bit like an uninterrupted one.
    """

    def __init__(self, config: MamlConfig, dim: int, n_labels: int, sample: Callable[[int], Tasks], valid: Tasks, device: str = "cpu"):
        self.config, self.sample, self.valid = config, sample, valid
        self.module = make_model(config, dim, n_labels).to(device)
        self.loss = episode_loss(config.contrastive, config.contrastive_weight, config.temperature)
        self.optimiser = torch.optim.Adam([p for p in self.module.parameters() if p.requires_grad], lr=config.meta_rate)
        at_once = best_tasks_at_once(self.module.network, device, config.meta_batch)
        self.tasks_at_once = 1 if config.contrastive != "none" else at_once

    def step(self, i: int) -> dict[str, float]:
        """One meta-update; the mean query loss and accuracy after the last inner step."""
        c = self.config
        progress = i / c.iterations
        weights = step_weights(c.multi_step, c.steps, min(1.0, progress / c.multi_step_share) if c.multi_step_share else 1.0)
        found = meta_gradient(self.module.network, self.loss, self.module.rates(), self.sample(i), weights,
                              first_order=first_order_at(progress, c.order, c.order_share), engine=c.engine, tasks_at_once=self.tasks_at_once)
        loss = float(found.query_losses[-1])
        if not math.isfinite(loss):
            raise TrainingError(f"the query loss is {loss} at step {i + 1}, after {c.steps} inner steps at inner_rate = {c.inner_rate:g}: lower "
                                f"inner_rate, steps or meta_rate = {c.meta_rate:g}")
        for name, parameter in self.module.network.named_parameters():
            parameter.grad = found.gradients[name]
        for name, rate in self.module.rates().items():
            rate.grad = found.rate_gradients[name] if c.learn_rates else None
        if c.clip:
            nn.utils.clip_grad_norm_(self.module.parameters(), c.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = c.meta_rate * (0.55 + 0.45 * math.cos(math.pi * progress) if c.schedule == "cosine" else 1.0)
        self.optimiser.step()
        return {"query_loss": loss, "query_accuracy": float(found.query_accuracy[-1])}

    def validate(self) -> float:
        """Mean query accuracy of the validation episodes after the last inner step, in [0, 1]."""
        return float(accuracy(self.scores(self.valid)[:, -1], self.valid.query.y).mean())

    def scores(self, tasks: Tasks, steps: int | None = None, rate: float | None = None) -> torch.Tensor:
        """Probabilities of the query after each inner step, float (tasks, steps + 1, n_query, classes).

        steps: default as trained; rate: one inner rate for all layers and steps instead of the trained ones.
        """
        rates = {name: values.detach() if rate is None else torch.full_like(values, rate)
                 for name, values in self.module.rates(steps or self.config.steps).items()}
        at_once = 1 if self.tasks_at_once == 1 else len(tasks.query.y)
        return adapted_scores(self.module.network, self.loss, rates, tasks, tasks_at_once=min(at_once, 64))
