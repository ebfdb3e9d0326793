"""Settings of EMOFSL and its rivals: ranges, presets, and what each of them decides.

Those of the scope TRAINING decide the source model (some of them the fine-tuning, too); TUNING: the
fine-tuning and the decision alone; RESULT: what all methods and baselines share on the target, such
as the number of shots. A scope with a baseline's name decides that baseline alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from colab_utils.learning.heads import LINEAR
from colab_utils.learning.recipe import RECOMMENDED, StudySettings
from colab_utils.methods.emofsl import circumplex
from colab_utils.methods.emofsl.pair_losses import REDUCTIONS
from colab_utils.settings import (
    INPUT,
    RESULT,
    TRAINING,
    SettingError,
    fields_of,
    is_empty,
    read_as,
    setting,
)

METHODS = ("BTL", "FSTL", "EMOFSL")
DECISIONS = ("prototype", "head")
BASELINES = (*LINEAR, "source only", "nearest prototype", "logistic regression", "LDA")
NEAREST = ("plain", "length 1", "centred")
TUNING = "tuning"  # a scope: decides what is made of the source model, not the model
_FSTL, _EMOFSL = {"method": ("FSTL",)}, {"method": ("EMOFSL",)}
_METRIC = {"method": ("FSTL", "EMOFSL")}
_MOST_LAYERS = 24


@dataclasses.dataclass(frozen=True)
class EmofslConfig(StudySettings):
    """Settings of the three stages; those of the source's training begin with `source_`.

    `width`, `activation` and `decay` belong to it, too.

    Example:
        >>> EmofslConfig.from_preset("paper", method="FSTL", shots=10)
    """

    # default: chosen by scores on corpora that no table shows, as its rivals' settings were
    # (tools/emofsl_tuning.py, docs/methods/emofsl.md).
    # paper: Table I of Yue et al. 2023. What it leaves open: decided by class centres (Fig. 2),
    # sums over pairs (equations 1 and 2), the source trained by cross-entropy for as long as the
    # fine-tuning.
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "paper": {
            "normalisation": "none",
            "learning_rate": 1e-4,
            "decay": 0.98,
            "epochs": 10,
            "layers_rate": 1e-4,
            "source_rate": 1e-4,
            "source_epochs": 10,
            "source_patience": 10,
            "alpha": 1.0,
            "beta": 0.6,
            "kappa": 1.0,
            "kappa1": 0.6,
            "kappa2": 0.3,
            "loss_weight": 1.0,
            "reduction": "sum",
            "margins": "paper",
            "decision": "prototype",
            "source_loss_weight": 0.0,
        },
    }

    method: str = setting(
        "EMOFSL",
        "loss of the fine-tuning beside cross-entropy: none (BTL), all pairs alike "
        "(FSTL), or by the distance of the emotions (EMOFSL)",
        options=METHODS,
        task=True,
        panel=False,
    )
    shots: int = setting(5, "support utterances a class", low=1, high=50, step=1, scope=RESULT)
    n_draws: int = setting(
        10, "support draws a fold", low=1, high=100, step=1, scope=RESULT, more=True
    )
    alpha: float = setting(
        1.4,
        "margin of far emotions (PN); distances lie between 0 and 2",
        low=0.0,
        high=2.0,
        step=0.05,
        used=_EMOFSL,
    )
    beta: float = setting(
        0.6,
        "margin of the other different emotions (MN)",
        low=0.0,
        high=2.0,
        step=0.05,
        used=_EMOFSL,
    )
    kappa1: float = setting(
        0.6, "weight of far emotions (PN)", low=0.0, high=10.0, step=0.1, used=_EMOFSL, more=True
    )
    kappa2: float = setting(
        0.3,
        "weight of the other different emotions (MN)",
        low=0.0,
        high=10.0,
        step=0.1,
        used=_EMOFSL,
        more=True,
    )
    kappa: float = setting(
        0.3,
        "weight of different emotions (FSTL)",
        low=0.0,
        high=10.0,
        step=0.1,
        used=_FSTL,
        more=True,
    )
    loss_weight: float = setting(
        3.0,
        "weight of the metric loss beside cross-entropy",
        low=0.0,
        high=100.0,
        scope=TUNING,
        used=_METRIC,
    )
    margins: str = setting(
        "graded",
        "two margins by level (paper), or one for each pair of emotions by their "
        "distance: in the table of the circumplex (graded), or by the ratings of the source's "
        "utterances (annotated)",
        options=("paper", "graded", "annotated"),
        used=_EMOFSL,
        more=True,
    )
    decision: str = setting(
        "head",
        "what decides in the figures: nearest class centre of the support, or the head; "
        "both are kept",
        options=DECISIONS,
        scope=TUNING,
        task=True,
        more=True,
    )
    learning_rate: float = setting(
        3e-4, "learning rate of the fine-tuning (Adam)", low=1e-6, high=1.0, scope=TUNING, more=True
    )
    epochs: int = setting(
        100,
        "epochs of the fine-tuning; the whole support is one batch, so each is one update",
        low=0,
        high=1000,
        step=1,
        scope=TUNING,
        more=True,
    )
    tune: str = setting(
        "all",
        "what is fine-tuned: projection and head, or the head alone (BTL only)",
        options=("all", "head"),
        scope=TUNING,
        panel=False,
    )
    tune_layers: int = setting(
        0,
        "last transformer layers of a speech encoder that learn, too, on the source and on the "
        "support; 0: frozen",
        low=0,
        high=_MOST_LAYERS,
        step=1,
        more=True,
    )
    layers_rate: float = setting(
        1e-5,
        "learning rate of these layers (Adam)",
        low=1e-7,
        high=1e-2,
        panel=False,
        used={"tune_layers": tuple(range(1, _MOST_LAYERS + 1))},
    )
    seed: int = setting(
        0, "seed of weights, batches and draws", low=0, high=100000, step=1, task=True, more=True
    )
    n_seeds: int = setting(
        1,
        "how many seeds, counted up from the first",
        low=1,
        high=20,
        step=1,
        scope=RESULT,
        task=True,
        panel=False,
    )
    source_epochs: int = setting(
        30, "passes over the source at most", low=1, high=1000, panel=False
    )
    source_rate: float = setting(
        1e-3,
        "learning rate of the source's training (Adam)",
        low=1e-6,
        high=1.0,
        panel=False,
    )
    source_batch: int = setting(32, "source utterances per batch", low=1, high=4096, panel=False)
    source_patience: int = setting(
        10,
        "epochs without a better UAR of the source's validation speakers before it stops",
        low=1,
        high=1000,
        panel=False,
    )
    source_loss_weight: float = setting(
        0.0,
        "an ablation: weight of EMOFSL's loss in the source's training, for all methods alike; "
        "0: cross-entropy alone",
        low=0.0,
        high=100.0,
        panel=False,
    )
    decay: float = setting(
        0.98,
        "factor of the learning rates after each epoch",
        low=0.1,
        high=1.0,
        panel=False,
    )
    width: int = setting(256, "dimensions of the projection", low=4, high=2048, panel=False)
    activation: str = setting(
        "none", "between projection and head", options=("none", "relu"), panel=False
    )
    centre: float = setting(
        0.0,
        "mean of the features: the source's (0), the support's (1), or between",
        low=0.0,
        high=1.0,
        scope=TUNING,
        panel=False,
    )
    normalise: bool = setting(
        True,
        "bring projections to length 1 for the metric loss and for prototypes",
        panel=False,
    )
    similarity: str = setting(
        "euclidean",
        "to the class centres",
        options=("euclidean", "cosine"),
        scope=TUNING,
        panel=False,
    )
    reduction: str = setting(
        "mean",
        "pairs of a group: mean, or sum as published",
        options=REDUCTIONS,
        panel=False,
        used=_METRIC,
    )
    cap: float = setting(
        0.0,
        "distance from which FSTL pushes no more; 0: none, as published",
        low=0.0,
        high=2.0,
        panel=False,
        used=_FSTL,
    )
    valence: float = setting(
        circumplex.VALENCE,
        "what valence counts in the distance of emotions; arousal counts 1",
        low=0.0,
        high=1.0,
        panel=False,
        used=_EMOFSL,
    )
    far: float = setting(
        circumplex.FAR,
        "distance from which two emotions are far (PN)",
        low=0.0,
        high=3.0,
        panel=False,
        used={"method": ("EMOFSL",), "margins": ("paper",)},
    )
    nearest: str = setting(
        "plain",
        "what the baseline nearest prototype compares: features as they are, of length 1, or of "
        "length 1 after the support's mean is taken off",
        options=NEAREST,
        scope="nearest prototype",
        panel=False,
    )
    C: float = setting(
        3.16,
        "inverse strength of the penalty of the baseline logistic regression",
        low=1e-6,
        high=1e6,
        scope="logistic regression",
        panel=False,
    )
    shrinkage: float = setting(
        0.857,
        "how far the baseline LDA takes features as independent and alike; 1: nearest prototype",
        low=0.0,
        high=1.0,
        scope="LDA",
        panel=False,
    )

    @classmethod
    def from_form(
        cls,
        preset: str = "default",
        settings: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> EmofslConfig:
        """As of `Settings`; where layers learn, features come as they are unless it is said."""
        said = {**values, **(settings or {})}
        layers = read_as(cls.__dataclass_fields__["tune_layers"], said.get("tune_layers"))
        if layers and is_empty(said.get("normalisation")):
            print("normalisation: none, for layers that learn take features as they come")
            said["normalisation"] = "none"
        return super().from_form(preset, said)

    def rules(self) -> None:
        """Raise SettingError for settings that contradict each other."""
        if self.method == "EMOFSL" and not self.alpha > self.beta:
            raise SettingError(
                f"alpha = {self.alpha} and beta = {self.beta}: far emotions need the larger margin"
            )
        if self.tune == "head" and self.method != "BTL":
            raise SettingError(
                f"tune = 'head' with {self.method}: its loss acts on the projection, which would "
                "not move; choose tune = 'all'"
            )
        if self.tune_layers and self.normalisation != "none":
            raise SettingError(
                f"tune_layers = {self.tune_layers} with normalisation = {self.normalisation!r}: "
                "layers that learn take features as they come; choose normalisation = 'none', or "
                "tune_layers = 0"
            )
        if self.tune == "head" and self.tune_layers:
            raise SettingError(
                f"tune = 'head' with tune_layers = {self.tune_layers}: layers that learn below a "
                "projection that does not; choose tune = 'all', or tune_layers = 0"
            )

    def of_source(self) -> EmofslConfig:
        """What decides the source model: one for all methods and baselines of a comparison."""
        if self.source_loss_weight:
            return dataclasses.replace(self, method="EMOFSL").only(TRAINING)
        # without a metric loss there is no embedding to bring to length 1
        return dataclasses.replace(self, method="BTL", normalise=True).only(TRAINING)

    def of_method(self, method: str) -> EmofslConfig:
        """What BTL, FSTL or EMOFSL looks at; the rest is as in the preset."""
        return self._as_preset_but(method, TRAINING, TUNING, RESULT)

    def of_baseline(self, name: str) -> EmofslConfig:
        """What one of BASELINES looks at, the source included; the rest is as in the preset.

        Linear heads look at no training, so that they are the same in all presets.
        """
        if name not in LINEAR:
            return self._as_preset_but("BTL", TRAINING, RESULT, name)
        config = type(self)(method="BTL", seed=self.seed, **self._own(RESULT))
        return config.recommended() if name == RECOMMENDED else config

    def _as_preset_but(self, method: str, *scopes: str) -> EmofslConfig:
        """The preset's settings, but of these scopes one's own."""
        preset = type(self).from_preset(self.preset)
        return dataclasses.replace(preset, **{**self._own(*scopes), "method": method})

    def _own(self, *scopes: str) -> dict[str, Any]:
        """The settings of these scopes and of INPUT."""
        found = {}
        for field in fields_of(self):
            if field.metadata["scope"] in (INPUT, *scopes):
                found[field.name] = getattr(self, field.name)
        return found
