"""Settings of domain generalisation: one algorithm, its network and its training."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

from colab_utils.learning.recipe import RECOMMENDED, StudySettings
from colab_utils.settings import RESULT, SettingError, fields_of, setting

# as people write them
NAMES = {"erm": "Deep-All", "mldg": "MLDG", "da-mldg": "DA-MLDG", "rsc": "RSC", "coral": "CORAL"}
LINEAR = "linear"
HEADS = (RECOMMENDED, LINEAR)  # one linear head on all sources
TRAINED = ("erm", "mldg", "da-mldg", "rsc", "coral")
ALGORITHM_NAMES = (*HEADS, *TRAINED)
_aside = functools.partial(setting, panel=False)  # no slider
_META = {"algorithm": ("mldg", "da-mldg")}
_DA_MLDG = {"algorithm": ("da-mldg",)}
_FRAMES = {"network": ("resnet18",)}

# As King Gandhi et al. (2023) report it, and what their code (vtsouval/DA_MLDG at 8a95bc8) sets out
# to do, with an inner step that works. docs/methods/da_mldg.md says what differs and why.
_PAPER = {
    "normalisation": "none",
    "network": "resnet18",
    "width": 64,
    "start": "speakers",
    "norm": "batch",
    "crop_frames": 198,
    "augment": True,
    "batch": 32,
    "epochs": 50,
    "optimiser": "sgd",
    "learning_rate": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "inner_rate": 0.01,
    "order": "second",
    "rsc_period": 0,
    "classes": "none",
}
_CODE = {
    "normalisation": "none",
    "network": "resnet18",
    "width": 64,
    "standardise": False,
    "start": "speakers",
    "norm": "batch",
    "crop_frames": 348,
    "batch": 128,
    "epochs": 50,
    "optimiser": "sgd",
    "learning_rate": 0.01,
    "momentum": 0.85,
    "weight_decay": 0.0,
    "decay": 0.96,
    "inner_rate": 0.01,
    "order": "second",
    "gamma_statistics": "running",
    "rsc_period": 0,
    "loss": "sample-mean",
    "batches": "proportional",
    "classes": "none",
    "padding": "zeros",
}
# {what decides: what it decides}: with the one above 0 the other is not looked at
_DECIDES = (("epochs", "steps"), ("epochs", "validate_every"), ("batch", "per_domain"))


@dataclasses.dataclass(frozen=True)
class DomainConfig(StudySettings):
    """Settings of one algorithm, its network and its training.

    The defaults were chosen by tools/da_mldg_tuning.py; docs/results/da_mldg.md says on what.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "paper": _PAPER,
        "code": _CODE,
    }

    algorithm: str = _aside(
        "da-mldg",
        "recommended: a linear head on features normalised as we recommend; linear: on features as "
        "they are here; erm trains on all sources at once (Deep-All)",
        options=ALGORITHM_NAMES,
        task=True,
    )
    order: str = setting(
        "second",
        "mldg, da-mldg: whether the outer gradient passes through the inner step",
        options=("first", "second"),
        used=_META,
        more=True,
    )
    gamma_rule: str = setting(
        "gamma",
        "da-mldg: weight of the held-out domain's loss; gamma: how far the mean log-sum-exp of "
        "its logits lies from that of the other domains",
        options=("gamma", "1+gamma", "normalised"),
        used=_DA_MLDG,
        more=True,
    )
    gamma_statistics: str = _aside(
        "batch",
        "da-mldg: what batch normalisation takes for gamma: the statistics of each batch, or the "
        "running ones (the released code)",
        options=("batch", "running"),
        used=_DA_MLDG | {"norm": ("batch",)},
    )
    inner_rate: float = setting(
        0.1,
        "mldg, da-mldg: learning rate of the inner step",
        low=0.0,
        high=10.0,
        used=_META,
        more=True,
    )
    coral_weight: float = setting(
        1.0,
        "coral: weight of the distance between domains",
        low=0.0,
        high=1000.0,
        used={"algorithm": ("coral",)},
        more=True,
    )
    rsc_period: int = _aside(
        50,
        "rsc: updates after which more utterances are challenged; 0: a third of the training (its "
        "authors' schedule)",
        low=0,
        high=100000,
        used={"algorithm": ("rsc",)},
    )
    clamp_low: float = _aside(
        0.0,
        "da-mldg: least weight of the held-out domain's loss",
        low=0.0,
        high=10.0,
        used=_DA_MLDG,
    )
    clamp_high: float = _aside(
        0.0, "da-mldg: largest weight; 0: no limits", low=0.0, high=100.0, used=_DA_MLDG
    )
    network: str = _aside(
        "mlp", "mlp for one vector an utterance, resnet18 for frames", options=("mlp", "resnet18")
    )
    start: str = _aside(
        "scratch",
        "resnet18: scratch, speakers (of the sources, told apart first), imagenet, or a "
        "file of weights",
        used=_FRAMES,
    )
    speaker_epochs: int = _aside(
        50,
        "start = 'speakers': passes over the utterances whose speakers are told apart",
        low=1,
        high=1000,
        used=_FRAMES | {"start": ("speakers",)},
    )
    epochs: int = setting(
        0,
        "passes over the training utterances, each followed by a validation; 0: `steps` updates",
        low=0,
        high=1000,
        step=1,
        more=True,
    )
    steps: int = setting(
        600,
        "updates, each on a batch of every source",
        low=1,
        high=1000000,
        step=1,
        used={"epochs": (0,)},
    )
    batch: int = _aside(
        0, "utterances in a batch, of all sources; 0: `per_domain` of each", low=0, high=4096
    )
    per_domain: int = _aside(
        32, "utterances of each source in a batch", low=2, high=1024, used={"batch": (0,)}
    )
    learning_rate: float = setting(3e-3, "learning rate", low=1e-6, high=1.0, more=True)
    seed: int = setting(
        0,
        "seed of weights, batches and held-out domains",
        low=0,
        high=100000,
        step=1,
        task=True,
        more=True,
    )
    n_seeds: int = setting(
        3,
        "how many seeds, counted up from the first",
        low=1,
        high=20,
        step=1,
        scope=RESULT,
        task=True,
        more=True,
    )
    optimiser: str = _aside("adam", "which optimiser", options=("adam", "sgd"))
    momentum: float = _aside(0.9, "of sgd", low=0.0, high=0.999, used={"optimiser": ("sgd",)})
    weight_decay: float = _aside(1e-4, "of the optimiser", low=0.0, high=1.0)
    decay: float = _aside(1.0, "factor of the learning rate in 10 000 updates", low=0.01, high=1.0)
    clip: float = _aside(0.0, "largest norm of the gradient; 0: none", low=0.0, high=1000.0)
    loss: str = _aside(
        "domain-mean",
        "whether each domain or each utterance counts the same",
        options=("domain-mean", "sample-mean"),
    )
    batches: str = _aside(
        "balanced",
        "as many utterances of every source, or in proportion to their sizes, and with them how "
        "often mldg and da-mldg hold it out (the released code)",
        options=("balanced", "proportional"),
    )
    classes: str = _aside(
        "class",
        "batches balanced over the emotions of a source, or as they come",
        options=("class", "none"),
    )
    width: int = _aside(
        256, "units of the mlp; first channels of resnet18 (published: 64)", low=4, high=1024
    )
    norm: str = _aside(
        "group",
        "normalisation; batch: statistics of the training domains (resnet18)",
        options=("group", "batch"),
        used=_FRAMES,
    )
    standardise: bool = _aside(
        True, "scale features by the training utterances; the released code keeps them raw"
    )
    crop_frames: int = _aside(
        198, "frames of a training crop (198: 2 s, 348: 3.5 s)", low=8, high=3000, used=_FRAMES
    )
    augment: bool = _aside(
        False, "stretch (0.8 to 1.25) and shift (10 %) frames in time", used=_FRAMES
    )
    padding: str = _aside(
        "masked",
        "short clips in a crop: masked, or zeros around them that count as frames (the "
        "released code)",
        options=("masked", "zeros"),
        used=_FRAMES,
    )
    test: str = _aside(
        "whole",
        "test on whole clips, or on the mean of half-overlapping windows of crop_frames",
        options=("whole", "windows"),
        scope=RESULT,
        used=_FRAMES,
    )
    validate_every: int = _aside(
        25, "updates from one validation to the next", low=1, high=100000, used={"epochs": (0,)}
    )
    patience: int = _aside(
        0,
        "validations without a better score before it stops; 0: goes to the end",
        low=0,
        high=10000,
    )

    def for_head(self, algorithm: str) -> "DomainConfig":
        """What a linear head looks at of these settings: normalisation and seeds.

        Args:
            algorithm: one of HEADS.
        """
        names = [field.name for field in fields_of(StudySettings)]
        kept = {name: getattr(self, name) for name in (*names, "seed", "n_seeds")}
        config = DomainConfig(algorithm, **kept)
        return config.recommended() if algorithm == RECOMMENDED else config

    def in_updates(self, utterances: int, sources: int) -> "DomainConfig":
        """The same settings with the epochs counted in updates, as `steps` and `validate_every`.

        An epoch has as many full batches as the training utterances of all sources make; like the
        released code it leaves out what is less than a batch, and one batch is the least.

        Args:
            utterances: that train, of all sources.
            sources: how many there are.
        """
        if not self.epochs:
            return self
        batch = self.batch or sources * self.per_domain
        updates = max(1, utterances // batch)
        steps = self.epochs * updates
        return dataclasses.replace(self, epochs=0, steps=steps, validate_every=updates)

    def rules(self) -> None:
        """Raise SettingError for settings that contradict each other."""
        for name, other in _DECIDES:
            decides, value = getattr(self, name), getattr(self, other)
            if decides and value != getattr(type(self), other):
                raise SettingError(
                    f"{other} = {value} does nothing with {name} = {decides}: set {name} = 0, or "
                    f"leave {other} out"
                )
        if self.network == "mlp" and self.norm == "batch":
            raise SettingError(
                "norm = 'batch' with the mlp: it would take statistics of the "
                "tested utterances; choose 'group'"
            )
        if self.network == "mlp" and self.start != "scratch":
            raise SettingError(
                f"start = {self.start!r} with the mlp: pretrained weights are for "
                "resnet18; choose 'scratch'"
            )
        if self.clamp_high and self.clamp_low > self.clamp_high:
            raise SettingError(
                f"clamp_low = {self.clamp_low} is above clamp_high = {self.clamp_high}"
            )
