"""Settings of EMOFSL and its rivals: ranges, presets, and which of them a method looks at."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from colab_utils import settings
from colab_utils.methods.emofsl import circumplex
from colab_utils.methods.emofsl.pair_losses import REDUCTIONS

VERSION = 1                  # raised when the same settings would give other predictions
METHODS = ("BTL", "FSTL", "EMOFSL")
DECISIONS = ("prototype", "head")
_SOURCE = ("seed", "source_epochs", "source_rate", "source_batch", "source_patience", "source_loss_weight", "decay", "width", "activation",
           "tune_layers", "layers_rate")
_EVERY = ("shots", "n_draws", "seed", "n_seeds", "n_boot")
_TUNING = ("learning_rate", "epochs", "tune", "centre", "normalise", "similarity", "decision", "method")
_METRIC = {"BTL": (), "FSTL": ("loss_weight", "kappa", "cap", "reduction"),
           "EMOFSL": ("loss_weight", "alpha", "beta", "kappa1", "kappa2", "margins", "valence", "far", "reduction")}


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
    tune_layers: int = settings.setting(0, "last transformer layers of a speech encoder that learn, too, on the source and on the support; 0: frozen",
                                        low=0, high=24, step=1)
    layers_rate: float = settings.setting(1e-5, "learning rate of these layers (Adam)", low=1e-7, high=1e-2, more=True)
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
    if config.tune == "head" and config.tune_layers:
        raise settings.SettingError(f"tune = 'head' with tune_layers = {config.tune_layers}: layers that learn below a projection that does not; "
                                    "choose tune = 'all', or tune_layers = 0")


def _only(config: EmofslConfig, names: Sequence[str]) -> EmofslConfig:
    """The settings of these names, all others as in the defaults: what a method does not look at does not name its run."""
    return dataclasses.replace(EmofslConfig(), **{name: getattr(config, name) for name in names})


def source_settings(config: EmofslConfig) -> EmofslConfig:
    """What decides the source's training; with source_loss_weight 0 the same for all methods."""
    if not config.source_loss_weight:
        return dataclasses.replace(_only(config, _SOURCE), method="BTL")
    return dataclasses.replace(_only(config, (*_SOURCE, *_METRIC[config.method], "method", "normalise")))


def relevant(config: EmofslConfig) -> EmofslConfig:
    """What decides the result of config.method: a margin does not make BTL anew."""
    return _only(config, (*_EVERY, *_SOURCE, *_TUNING, *_METRIC[config.method]))


def baseline_settings(config: EmofslConfig) -> EmofslConfig:
    """What decides the result of the baselines, which share the source model's standardisation."""
    return dataclasses.replace(_only(config, (*_EVERY, *_SOURCE)), method="BTL", source_loss_weight=0.0)
