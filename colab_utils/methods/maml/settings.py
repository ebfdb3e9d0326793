"""Settings of meta-training and of the test episodes: presets, and what was repaired in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from colab_utils.models import NETWORKS
from colab_utils.settings import RESULT, SettingError, Settings, setting

# What a setting decides. Rivals that are trained share the network's with meta-training; those that
# are not trained know how clips are given, and no more.
INPUT, NETWORK, MAML = "input", "network", "maml"

REGIMES = ("fixed", "permuted")
ORDERS = ("first", "second", "annealed")
MULTI_STEP = ("final", "ramp", "annealed")
CONTRASTIVE = ("none", "nt-xent", "supervised")
ENGINES = ("func", "higher")

_ON_FRAMES = {"network": ("conv4", "lstm")}
_WITH_TERM = {"contrastive": CONTRASTIVE[1:]}

# Few-Shot_SER as published (method_facts §1.1, §1.4) with the repairs that REPAIRS names.
_PAPER = {
    "regime": "permuted",
    "network": "conv4",
    "norm": "paper-batch",
    "order": "first",
    "multi_step": "final",
    "steps": 5,
    "inner_rate": 0.01,
    "learn_rates": False,
    "ways": 5,
    "shots": 5,
    "queries": 20,
    "meta_batch": 4,
    "meta_rate": 1e-3,
    "schedule": "constant",
    "clip": 0.0,
    "within": "all",
    "iterations": 2000,
    "validate_every": 50,
    "patience": 1000,
}
REPAIRS = (
    (
        "every clip of a class can be drawn; the original drew only the first `smallest class`"
        " clips of each"
    ),
    (
        "speakers (films on EmoFilm) never stand in support and query, nor in training and test;"
        " the original had no grouping"
    ),
    (
        "held-out speakers or films of the training languages pick the checkpoint; the original"
        " kept the lowest training loss of one meta-batch"
    ),
    (
        "padded frames are masked; the original filled them with -3 or -1, a loudness like any"
        " other in its MFCC"
    ),
    (
        "of a long clip training hears random crops and the test the middle; the original heard the"
        " first 0.8 to 2.3 s"
    ),
    "the log-mel range is [-4, 4] as intended; a misspelt argument made it [0, 4]",
    (
        "every weighted step of the multi-step loss has a gradient; the original computed steps 0"
        " and 1 without one"
    ),
    "each task counts once; the second-order script weighted task j (B - j + 1) times",
    (
        "the contrastive term stands in the inner loss of test episodes as well; the original left"
        " it out there"
    ),
    (
        "a meta-batch holds 4 episodes; the original's constant of 16 was not the meta-batch, which"
        " was 2 or 4"
    ),
    "batch statistics of the query make a result transductive, and every result says so",
)


@dataclasses.dataclass(frozen=True)
class MamlConfig(Settings):
    """Settings of meta-training. What changes them asks for retraining; what a test episode looks
    like does not (`EpisodeConfig`).
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "default-permuted": {"regime": "permuted"},
        "paper": _PAPER,
        "paper-msl": {**_PAPER, "multi_step": "ramp", "steps": 8, "inner_rate": 0.05},
        "paper-contrastive": {
            **_PAPER,
            "contrastive": "nt-xent",
            "contrastive_weight": 1.0,
            "temperature": 0.07,
            "projection": 0,
        },
        "paper-second-order": {
            **_PAPER,
            "order": "second",
            "steps": 8,
            "inner_rate": 1e-3,
            "shots": 25,
            "queries": 25,
        },
    }

    regime: str = setting(
        "fixed",
        "class ids in an episode: always the emotion's own (fixed), or shuffled in each (permuted)",
        options=REGIMES,
        scope=MAML,
    )
    network: str = setting(
        "mlp",
        "network: mlp on one vector an utterance, conv4 or lstm on frames",
        options=NETWORKS,
        scope=INPUT,
    )
    order: str = setting(
        "second",
        "meta-gradient: first order, second order, or first order in the first part of "
        "training (annealed)",
        options=ORDERS,
        scope=MAML,
    )
    multi_step: str = setting(
        "annealed",
        "query losses that count: after the last step (final), after each step with "
        "rising weight (ramp), or of each step at first and of the last in the end (annealed)",
        options=MULTI_STEP,
        scope=MAML,
    )
    contrastive: str = setting(
        "none",
        "contrastive term beside the cross-entropy, in the inner and the outer loss",
        options=CONTRASTIVE,
        scope=MAML,
    )
    ways: int = setting(5, "classes in an episode", low=2, high=8, step=1, scope=NETWORK, task=True)
    shots: int = setting(
        5, "support utterances of each class", low=1, high=25, step=1, scope=NETWORK
    )
    queries: int = setting(
        10, "query utterances of each class", low=1, high=30, step=1, scope=NETWORK
    )
    steps: int = setting(5, "inner gradient steps in training", low=1, high=20, step=1, scope=MAML)
    inner_rate: float = setting(
        0.05,
        "inner learning rate (its start, where rates are learnt)",
        low=0.0,
        high=2.0,
        scope=MAML,
    )
    learn_rates: bool = setting(True, "learn one inner rate for each layer and step", scope=MAML)
    adapted: str = setting(
        "all",
        "what the inner loop adapts: all layers, or the head alone (ANIL)",
        options=("all", "head"),
        scope=MAML,
    )
    iterations: int = setting(
        600, "meta-updates at most", low=1, high=100000, step=50, scope=NETWORK
    )
    meta_batch: int = setting(8, "episodes in a meta-update", low=1, high=64, step=1, scope=NETWORK)
    meta_rate: float = setting(
        1e-3,
        "learning rate of the meta-update (Adam, cosine to a tenth)",
        low=1e-6,
        high=0.1,
        scope=NETWORK,
    )
    seed: int = setting(
        0,
        "first seed, of weights and episodes",
        low=0,
        high=100000,
        step=1,
        scope=NETWORK,
        task=True,
    )
    within: str = setting(
        "corpus",
        "a training episode comes from one corpus (its speakers, its recording), or from all",
        options=("corpus", "all"),
        more=True,
        scope=NETWORK,
    )
    norm: str = setting(
        "group",
        "normalisation layers: group (each utterance alone), or batch (transductive: "
        "statistics of the whole query), as published",
        options=("group", "batch", "paper-batch"),
        more=True,
        scope=NETWORK,
    )
    width: int = setting(
        64, "channels or hidden units of a layer", low=8, high=512, step=8, more=True, scope=NETWORK
    )
    multi_step_share: float = setting(
        0.15,
        "share of training in which every step's loss counts",
        low=0.0,
        high=1.0,
        more=True,
        scope=MAML,
        used={"multi_step": ("annealed",)},
    )
    order_share: float = setting(
        0.3,
        "share of training in first order",
        low=0.0,
        high=1.0,
        more=True,
        scope=MAML,
        used={"order": ("annealed",)},
    )
    contrastive_weight: float = setting(
        0.1,
        "weight of the contrastive term",
        low=0.0,
        high=10.0,
        more=True,
        scope=MAML,
        used=_WITH_TERM,
    )
    temperature: float = setting(
        0.1,
        "temperature of the contrastive term",
        low=0.01,
        high=2.0,
        more=True,
        scope=MAML,
        used=_WITH_TERM,
    )
    projection: int = setting(
        64,
        "dimensions of the projection that the contrastive term sees; 0: the embedding itself",
        low=0,
        high=512,
        step=8,
        more=True,
        scope=MAML,
        used=_WITH_TERM,
    )
    schedule: str = setting(
        "cosine",
        "learning rate of the meta-update over training",
        options=("cosine", "constant"),
        more=True,
        scope=MAML,
    )
    clip: float = setting(
        10.0,
        "largest norm of the meta-gradient; 0: no clipping",
        low=0.0,
        high=1000.0,
        more=True,
        scope=MAML,
    )
    validate_every: int = setting(
        25,
        "meta-updates from one validation to the next",
        low=1,
        high=10000,
        step=1,
        more=True,
        scope=NETWORK,
    )
    valid_tasks: int = setting(
        200,
        "validation episodes, always the same",
        low=8,
        high=2000,
        step=8,
        more=True,
        scope=NETWORK,
    )
    patience: int = setting(
        8,
        "validations without a better one before training stops",
        low=1,
        high=1000,
        step=1,
        more=True,
        scope=NETWORK,
    )
    max_frames: int = setting(
        200,
        "frames of a crop (conv4, lstm)",
        low=16,
        high=2000,
        step=1,
        more=True,
        scope=INPUT,
        used=_ON_FRAMES,
    )
    engine: str = setting(
        "func",
        "who differentiates through the inner loop: torch.func, or higher",
        options=ENGINES,
        more=True,
        scope=MAML,
    )

    def rules(self) -> None:
        """Raise SettingError for normalisation layers that the network does not have."""
        if self.network == "lstm" and self.norm != "group":
            raise SettingError(
                f"norm = {self.norm!r}: the lstm has no normalisation layers; set norm = 'group'"
            )
        if self.network == "mlp" and self.norm == "paper-batch":
            raise SettingError(
                "norm = 'paper-batch' is that of conv4: set norm = 'group' or "
                "'batch', or network = 'conv4'"
            )

    @property
    def pooled(self) -> bool:
        """Whether the network takes one vector an utterance."""
        return self.network == "mlp"

    @property
    def title(self) -> str:
        """What figures and tables call the meta-trained network."""
        return f"MAML, {self.regime} ids"


@dataclasses.dataclass(frozen=True)
class EpisodeConfig(Settings):
    """What a test episode looks like, and how a trained network adapts to it: nothing here asks
    for retraining, except where `needs_retraining` says so.
    """

    ways: int = setting(5, "classes in an episode", low=2, high=8, step=1, scope=RESULT, task=True)
    shots: int = setting(
        5, "support utterances of each class", low=1, high=25, step=1, scope=RESULT
    )
    queries: int = setting(
        10, "query utterances of each class", low=1, high=30, step=1, scope=RESULT
    )
    steps: int = setting(5, "inner steps at test", low=1, high=50, step=1, scope=RESULT)
    inner_rate: float = setting(
        0.0,
        "inner learning rate at test; 0: the trained rates",
        low=0.0,
        high=2.0,
        step=0.01,
        scope=RESULT,
    )
    n_tasks: int = setting(200, "test episodes", low=1, high=2000, step=1, scope=RESULT, task=True)
    seed: int = setting(
        0,
        "first seed of the test episodes",
        low=0,
        high=100000,
        step=1,
        more=True,
        scope=RESULT,
        task=True,
    )
    n_seeds: int = setting(
        1,
        "how many trainings and sets of episodes, counted up from the first seed",
        low=1,
        high=20,
        step=1,
        more=True,
        scope=RESULT,
        task=True,
    )
    n_boot: int = setting(
        1000,
        "resamples of the interval",
        low=0,
        high=20000,
        step=100,
        more=True,
        scope=RESULT,
        task=True,
    )


def both_regimes(config: MamlConfig) -> dict[str, MamlConfig]:
    """The settings under fixed and under permuted class ids, by title, their own regime first."""
    found = {config.title: config}
    for regime in REGIMES:
        other = dataclasses.replace(config, regime=regime)
        found.setdefault(other.title, other)
    return found


def used_by(training: str, config: MamlConfig) -> MamlConfig:
    """The settings that a training looks at: "maml", another one's name, or "" for none."""
    if not training:
        return config.only(INPUT)
    if training == "maml":
        return config.only(INPUT, NETWORK, MAML)
    return config.only(INPUT, NETWORK)


def needs_retraining(trained: MamlConfig, wanted: EpisodeConfig) -> str:
    """Why these episodes ask for another meta-training, in one sentence.

    "" where the trained network can take them as it is.
    """
    if trained.regime == "permuted" and wanted.ways > trained.ways:
        return (
            f"{wanted.ways} ways need a head with {wanted.ways} outputs, and with permuted "
            f"class ids this model was trained for {trained.ways}: set ways in the training "
            "settings and train again"
        )
    return ""


def rule_of(norm: str) -> str:
    """How the query was used: inductive, or transductive through batch statistics."""
    return "inductive" if norm == "group" else "transductive: batch statistics of the query"
