"""Settings of meta-training and of the test episodes: ranges, presets, and who looks at which."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from colab_utils.learning.recipe import StudySettings
from colab_utils.methods.maml import published
from colab_utils.models import NETWORKS
from colab_utils.settings import COST, INPUT, RESULT, TRAINING, SettingError, Settings, setting

# What a setting decides (by default: the training of MAML). Rivals that are trained share the
# network's with meta-training; those that are not trained know how clips are given, and no more.
NETWORK = "network"

REGIMES = ("fixed", "permuted")
ORDERS = ("first", "second", "annealed")
MULTI_STEP = ("final", "ramp", "annealed")
CONTRASTIVE = ("none", "nt-xent", "supervised")
ENGINES = ("func", "higher")

_TOLD = {"ways": "ways", "shots": "shots", "steps": "inner steps"}
_ON_FRAMES = {"network": ("conv4", "lstm")}
_WITH_TERM = {"contrastive": CONTRASTIVE[1:]}


def _count(default: int, help: str, low: int, high: int, step: int = 1, **more: Any) -> Any:
    """A setting that is a whole number from `low` to `high`, on a slider."""
    return setting(default, help, low=low, high=high, step=step, **more)


def _number(default: float, help: str, low: float, high: float, **more: Any) -> Any:
    """A setting that is a number from `low` to `high`."""
    return setting(default, help, low=low, high=high, **more)


@dataclasses.dataclass(frozen=True)
class MamlConfig(StudySettings):
    """Settings of meta-training: to change them asks for another training.

    What a test episode looks like does not: `EpisodeConfig`.

    Example:
        config = MamlConfig.from_form("paper", {"iterations": 500}, shots=1)
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "default-permuted": {"regime": "permuted"},
        **published.PRESETS,
    }

    regime: str = setting(
        "fixed",
        "class ids in an episode: always the emotion's own (fixed), or shuffled in each (permuted)",
        options=REGIMES,
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
    )
    multi_step: str = setting(
        "annealed",
        "query losses that count: after the last step (final), after each step with "
        "rising weight (ramp), or of each step at first and of the last in the end (annealed)",
        options=MULTI_STEP,
    )
    contrastive: str = setting(
        "none",
        "contrastive term beside the cross-entropy, in the inner and the outer loss",
        options=CONTRASTIVE,
    )
    ways: int = _count(5, "classes in an episode", 2, 8, scope=NETWORK, task=True)
    shots: int = _count(5, "support utterances of each class", 1, 25, scope=NETWORK)
    queries: int = _count(10, "query utterances of each class", 1, 30, scope=NETWORK)
    steps: int = _count(5, "inner gradient steps in training", 1, 20)
    test_steps: int = _count(
        0, "inner gradient steps at test; 0: as many as in training", 0, 50, scope=RESULT
    )
    inner_rate: float = _number(
        0.05, "inner learning rate (its start, where rates are learnt)", 0.0, 2.0
    )
    learn_rates: bool = setting(True, "learn one inner rate for each layer and step")
    adapted: str = setting(
        "all",
        "what the inner loop adapts: all layers, or the head alone (ANIL)",
        options=("all", "head"),
    )
    iterations: int = _count(600, "meta-updates at most", 1, 100000, step=50, scope=NETWORK)
    meta_batch: int = _count(8, "episodes in a meta-update", 1, 64, scope=NETWORK)
    meta_rate: float = _number(
        1e-3, "learning rate of the meta-update (Adam, cosine to a tenth)", 1e-6, 0.1, scope=NETWORK
    )
    seed: int = _count(
        0, "first seed, of weights and episodes", 0, 100000, scope=NETWORK, task=True
    )
    within: str = setting(
        "corpus",
        "a training episode comes from one corpus (its speakers, its recording), or from all",
        options=("corpus", "all"),
        more=True,
        scope=NETWORK,
    )
    standardise: bool = setting(
        True,
        "features at mean 0 and deviation 1 over the training utterances; no: as they are",
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
    width: int = _count(
        64, "channels or hidden units of a layer", 8, 512, step=8, more=True, scope=NETWORK
    )
    multi_step_share: float = _number(
        0.15,
        "share of training in which every step's loss counts",
        0.0,
        1.0,
        more=True,
        used={"multi_step": ("annealed",)},
    )
    order_share: float = _number(
        0.3,
        "share of training in first order",
        0.0,
        1.0,
        more=True,
        used={"order": ("annealed",)},
    )
    contrastive_weight: float = _number(
        0.1, "weight of the contrastive term", 0.0, 10.0, more=True, used=_WITH_TERM
    )
    temperature: float = _number(
        0.1,
        "temperature of the contrastive term",
        0.01,
        2.0,
        more=True,
        used=_WITH_TERM,
    )
    projection: int = _count(
        64,
        "dimensions of the projection that the contrastive term sees; 0: the embedding itself",
        0,
        512,
        step=8,
        more=True,
        used=_WITH_TERM,
    )
    schedule: str = setting(
        "cosine",
        "learning rate of the meta-update over training",
        options=("cosine", "constant"),
        more=True,
    )
    clip: float = _number(
        10.0,
        "largest norm of the meta-gradient; 0: no clipping",
        0.0,
        1000.0,
        more=True,
    )
    validate_every: int = _count(
        25, "meta-updates from one validation to the next", 1, 10000, more=True, scope=NETWORK
    )
    valid_tasks: int = _count(
        200, "validation episodes, always the same", 8, 2000, step=8, more=True, scope=NETWORK
    )
    patience: int = _count(
        8,
        "validations without a better one before training stops",
        1,
        1000,
        more=True,
        scope=NETWORK,
    )
    max_frames: int = _count(
        200, "frames of a crop (conv4, lstm)", 16, 2000, more=True, scope=INPUT, used=_ON_FRAMES
    )
    engine: str = setting(
        "func",
        "who differentiates through the inner loop: torch.func, or higher",
        options=ENGINES,
        more=True,
    )
    recompute: bool = setting(
        False,
        "compute each inner step again on the way back instead of keeping it (second order): the "
        "memory of one step and the same result, in more time",
        more=True,
        scope=COST,
    )

    def rules(self) -> None:
        """Raise SettingError for settings that do not go with the network or the engine."""
        if self.recompute and self.engine == "higher":
            raise SettingError(
                "recompute = True: higher keeps all inner steps; set engine = 'func'"
            )
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

    def outputs(self, n_labels: int) -> int:
        """How many outputs the head has: one a label, or with permuted ids one a way."""
        return n_labels if self.regime == "fixed" else self.ways

    @property
    def title(self) -> str:
        """What figures and tables call the meta-trained network."""
        return f"MAML, {self.regime} ids"


@dataclasses.dataclass(frozen=True)
class EpisodeConfig(Settings):
    """What a test episode looks like, and how a trained network adapts to it.

    Nothing here asks for another training, except where `needs_retraining` says so.

    Example:
        episodes = EpisodeConfig(ways=4, shots=1, n_tasks=600)
    """

    ways: int = _count(5, "classes in an episode", 2, 8, scope=RESULT, task=True)
    shots: int = _count(5, "support utterances of each class", 1, 25, scope=RESULT)
    queries: int = _count(10, "query utterances of each class", 1, 30, scope=RESULT)
    steps: int = _count(5, "inner steps at test", 1, 50, scope=RESULT)
    inner_rate: float = _number(
        0.0, "inner learning rate at test; 0: the trained rates", 0.0, 2.0, step=0.01, scope=RESULT
    )
    n_tasks: int = _count(200, "test episodes", 1, 2000, scope=RESULT, task=True)
    seed: int = _count(
        0, "first seed of the test episodes", 0, 100000, more=True, scope=RESULT, task=True
    )
    n_seeds: int = _count(
        1,
        "how many trainings and sets of episodes, counted up from the first seed",
        1,
        20,
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
    """The settings that a training looks at; all others as in the defaults.

    Args:
        training: "maml", the name of another one, or "" for none.
        config: all settings.
    """
    if not training:
        return config.only(INPUT)
    if training == "maml":
        return config.only(INPUT, NETWORK, TRAINING)
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


def other_episodes(trained: MamlConfig, test: EpisodeConfig) -> list[str]:
    """How test episodes and their inner loop differ from the trained ones, a sentence each."""
    notes = []
    if test.inner_rate and trained.learn_rates:
        notes.append(
            f"inner rate {test.inner_rate:g} for all layers and steps instead of the learnt ones"
        )
    elif test.inner_rate not in (0, trained.inner_rate):
        notes.append(f"inner rate {test.inner_rate:g} instead of {trained.inner_rate:g}")
    for name in ("ways", "shots", "steps"):
        then, now = getattr(trained, name), getattr(test, name)
        if now != then:
            notes.append(f"trained with {then} {_TOLD[name]}, tested with {now}")
    if test.steps > trained.steps and trained.learn_rates and not test.inner_rate:
        notes[-1] += ": the last rates are repeated"
    return notes
