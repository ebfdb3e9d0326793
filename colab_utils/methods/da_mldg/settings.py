"""Settings of domain generalisation: one algorithm, its network and its training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from colab_utils.methods.da_mldg.algorithms import ALGORITHMS, GAMMA_RULES, LOSSES, ORDERS
from colab_utils.settings import RESULT, SettingError, Settings, setting

_GAMMA_WEIGHTS = tuple(rule for rule in GAMMA_RULES if rule != "one")  # "one" is mldg
_META = {"algorithm": ("mldg", "da-mldg")}
_DA_MLDG = {"algorithm": ("da-mldg",)}
_FRAMES = {"network": ("resnet18",)}

# method_facts §4.2, §4.4, §4.5. 50 epochs of 7600 utterances (scenarios 1, 3 and 6) are 12 000
# batches of 32 and 3000 of 128; three sources share a batch.
_PAPER = {
    "network": "resnet18",
    "width": 64,
    "start": "speakers",
    "norm": "batch",
    "crop_frames": 198,
    "augment": True,
    "per_domain": 11,
    "steps": 12_000,
    "optimiser": "sgd",
    "learning_rate": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "inner_rate": 0.01,
    "order": "second",
    "classes": "none",
    "validate_every": 240,
}
# What the released code sets out to do, with an inner step that works; its RSC used Adam at 0.01.
_CODE = {
    "network": "resnet18",
    "width": 64,
    "standardise": False,
    "start": "speakers",
    "norm": "batch",
    "crop_frames": 348,
    "per_domain": 43,
    "steps": 3000,
    "optimiser": "sgd",
    "learning_rate": 0.01,
    "momentum": 0.85,
    "weight_decay": 0.0,
    "decay": 0.96,
    "inner_rate": 0.01,
    "order": "second",
    "loss": "sample-mean",
    "batches": "proportional",
    "classes": "none",
    "padding": "zeros",
    "validate_every": 60,
}


@dataclasses.dataclass(frozen=True)
class DomainConfig(Settings):
    """Settings of one algorithm, its network and its training.

    The defaults were chosen by tools/da_mldg_tuning.py, without any target corpus.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "paper": _PAPER,
        "code": _CODE,
    }

    algorithm: str = setting(
        "da-mldg",
        "erm trains on all sources at once (Deep-All)",
        options=tuple(ALGORITHMS),
        task=True,
        panel=False,
    )
    order: str = setting(
        "second",
        "mldg, da-mldg: whether the outer gradient passes through the inner step",
        options=ORDERS,
        used=_META,
    )
    gamma_rule: str = setting(
        "gamma",
        "da-mldg: weight of the held-out domain's loss",
        options=_GAMMA_WEIGHTS,
        used=_DA_MLDG,
    )
    inner_rate: float = setting(
        0.1, "mldg, da-mldg: learning rate of the inner step", low=0.0, high=10.0, used=_META
    )
    coral_weight: float = setting(
        1.0,
        "coral: weight of the distance between domains",
        low=0.0,
        high=1000.0,
        used={"algorithm": ("coral",)},
    )
    rsc_period: int = setting(
        50,
        "rsc: updates after which more utterances are challenged",
        low=1,
        high=100000,
        step=1,
        panel=False,
        used={"algorithm": ("rsc",)},
    )
    clamp_low: float = setting(
        0.0,
        "da-mldg: least weight of the held-out domain's loss",
        low=0.0,
        high=10.0,
        panel=False,
        used=_DA_MLDG,
    )
    clamp_high: float = setting(
        0.0,
        "da-mldg: largest weight; 0: no limits",
        low=0.0,
        high=100.0,
        panel=False,
        used=_DA_MLDG,
    )
    network: str = setting(
        "mlp",
        "mlp for one vector an utterance, resnet18 for frames",
        options=("mlp", "resnet18"),
        panel=False,
    )
    start: str = setting(
        "scratch",
        "resnet18: scratch, speakers (of the sources, told apart first), imagenet, or a "
        "file of weights",
        panel=False,
        used=_FRAMES,
    )
    steps: int = setting(
        600, "updates, each on a batch of every source", low=1, high=1000000, step=1
    )
    per_domain: int = setting(
        32, "utterances of each source in a batch", low=2, high=1024, step=1, panel=False
    )
    learning_rate: float = setting(3e-3, "learning rate", low=1e-6, high=1.0)
    seed: int = setting(
        0, "seed of weights, batches and held-out domains", low=0, high=100000, step=1, task=True
    )
    n_seeds: int = setting(
        3,
        "how many seeds, counted up from the first",
        low=1,
        high=20,
        step=1,
        scope=RESULT,
        task=True,
    )
    optimiser: str = setting("adam", "which optimiser", options=("adam", "sgd"), panel=False)
    momentum: float = setting(
        0.9, "of sgd", low=0.0, high=0.999, panel=False, used={"optimiser": ("sgd",)}
    )
    weight_decay: float = setting(1e-4, "of the optimiser", low=0.0, high=1.0, panel=False)
    decay: float = setting(
        1.0, "factor of the learning rate in 10 000 updates", low=0.01, high=1.0, panel=False
    )
    clip: float = setting(
        0.0, "largest norm of the gradient; 0: none", low=0.0, high=1000.0, panel=False
    )
    loss: str = setting(
        "domain-mean",
        "whether each domain or each utterance counts the same",
        options=LOSSES,
        panel=False,
    )
    batches: str = setting(
        "balanced",
        "as many utterances of every source, or in proportion to their sizes (the released code)",
        options=("balanced", "proportional"),
        panel=False,
    )
    classes: str = setting(
        "class",
        "batches balanced over the emotions of a source, or as they come",
        options=("class", "none"),
        panel=False,
    )
    width: int = setting(
        256,
        "units of the mlp; first channels of resnet18 (published: 64)",
        low=4,
        high=1024,
        step=4,
        panel=False,
    )
    norm: str = setting(
        "group",
        "normalisation; batch: statistics of the training domains (resnet18)",
        options=("group", "batch"),
        panel=False,
        used=_FRAMES,
    )
    standardise: bool = setting(
        True,
        "scale features by the training utterances; the released code keeps them raw",
        panel=False,
    )
    crop_frames: int = setting(
        198,
        "frames of a training crop (198: 2 s, 348: 3.5 s)",
        low=8,
        high=3000,
        step=1,
        panel=False,
        used=_FRAMES,
    )
    augment: bool = setting(
        False, "stretch (0.8 to 1.25) and shift (10 %) frames in time", panel=False, used=_FRAMES
    )
    padding: str = setting(
        "masked",
        "short clips in a crop: masked, or zeros around them that count as frames (the "
        "released code)",
        options=("masked", "zeros"),
        panel=False,
        used=_FRAMES,
    )
    test: str = setting(
        "whole",
        "test on whole clips, or on the mean of half-overlapping windows of crop_frames",
        options=("whole", "windows"),
        panel=False,
        scope=RESULT,
        used=_FRAMES,
    )
    validate_every: int = setting(
        25, "updates from one validation to the next", low=1, high=100000, step=1, panel=False
    )
    patience: int = setting(
        0,
        "validations without a better score before it stops; 0: goes to the end",
        low=0,
        high=10000,
        step=1,
        panel=False,
    )
    n_boot: int = setting(
        2000,
        "resamples of the interval",
        low=0,
        high=20000,
        step=100,
        panel=False,
        scope=RESULT,
        task=True,
    )

    def rules(self) -> None:
        """Raise SettingError for settings that contradict each other."""
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

    def sampling(self) -> dict[str, Any]:
        """How `DomainBatches.batch` is to draw."""
        return {
            "domain_balanced": self.batches == "balanced",
            "balance": self.classes,
            "augment": self.augment,
            "padding": self.padding,
        }
