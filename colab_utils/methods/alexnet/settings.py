"""Settings of AlexNet on spectrogram pictures, under the names its users know."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from colab_utils.features.published.alexnet import FEATURE_SETS, SEGMENT, AlexNetSpectrogram
from colab_utils.learning.recipe import StudySettings, normalisation
from colab_utils.methods.alexnet.network import MODELS, POOLINGS, SMALLEST
from colab_utils.settings import RESULT, SettingError, is_empty, setting

_STEPS = {"tune": ("all",)}  # what only training step by step looks at
_MIXUP = {"mixup": (True,)}
_PRETRAINED = {"true": "imagenet", "false": "scratch"}  # the published flag
_FOR_A_CPU = {
    "image_height": 64,
    "pretrained": "scratch",
    "num_epochs": 12,
    "batch_size": 32,
    "lr": 3e-4,
}
# samsudinng/speech_emo_recognition (a38c296): crossval_SER.py, train_ser.py, data_utils.py.
# Repaired: padding is silence, alexnet_gap averages over speech (docs/methods/alexnet.md).
_PAPER = {
    "num_epochs": 100,
    "batch_size": 64,
    "lr": 1e-4,
    "weight_decay": 0.01,
    "pretrained": "imagenet",
    "image_height": 256,
    "mixup_alpha": 0.4,
    "mixup_larger": True,
    "balanced": False,
    "spec_augment": False,
    "schedule": "constant",
    "select": "wa",
    "decision": "geometric",
    "test_hop": 300,
    "eight_bit": True,
}
# the loss of musifahamran/FYP (2449631), train_ser_CLoss.py, with a divergence that is one
_STABILITY = {**_PAPER, "stability": 0.5, "stability_loss": "both"}
# without the repairs: features_util.py, model.py, data_utils.py
_AS_RELEASED = {
    **_PAPER,
    "padding": "zero",
    "pooling": "all",
    "oversampling_of": "two-smallest",
}


@dataclasses.dataclass(frozen=True)
class AlexnetConfig(StudySettings):
    """Settings of one network, its training and its test.

    Example:
        config = AlexnetConfig.from_preset("small", mixup=True)
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "small": _FOR_A_CPU,
        "paper": _PAPER,
        "paper-stability": _STABILITY,
        "paper-as-released": _AS_RELEASED,
    }

    normalisation: str = normalisation("none")
    features: str = setting("logspec", "feature set", options=FEATURE_SETS, task=True)
    ser_model: str = setting("alexnet_gap", "network", options=MODELS, task=True)
    mixup: bool = setting(False, "mix pairs of pictures and of labels")
    stability: float = setting(
        0.0,
        "weight of the divergence between a clip and its noisy copy; 0: none",
        low=0.0,
        high=10.0,
        step=0.1,
    )
    oversampling: bool = setting(
        False, "repeat segments of rarer classes until they are as many as the commonest"
    )
    tune: str = setting(
        "all",
        "all layers are trained, or linear: the last one of alexnet_gap alone, by logistic "
        "regression on frozen convolutions",
        options=("all", "linear"),
        more=True,
    )
    num_epochs: int = setting(
        20, "passes over the training segments", low=1, high=1000, step=1, used=_STEPS
    )
    batch_size: int = setting(
        64, "segments in a batch", low=2, high=1024, step=1, used=_STEPS, more=True
    )
    lr: float = setting(1e-4, "learning rate of AdamW", low=1e-7, high=1.0, used=_STEPS, more=True)
    pretrained: str = setting(
        "imagenet",
        "scratch (or False), imagenet (or True; fetched by torchvision), or a file of weights",
        more=True,
    )
    image_height: int = setting(
        256,
        "pixels; the width follows, 1.5 times as many (with mel bands 2.3 times), as published",
        low=SMALLEST,
        high=512,
        step=1,
        more=True,
    )
    seed: int = setting(0, "first seed", low=0, high=100000, step=1, task=True, more=True)
    n_seeds: int = setting(
        1,
        "how many seeds, counted up from the first",
        low=1,
        high=20,
        step=1,
        scope=RESULT,
        task=True,
        more=True,
    )
    balanced: bool = setting(True, "draw every class equally often", more=True)
    spec_augment: bool = setting(
        True,
        "hide up to two bands of time and of frequency (SpecAugment)",
        more=True,
        used=_STEPS,
    )
    schedule: str = setting(
        "cosine",
        "learning rate: constant, or warmed up over a tenth and then lowered along a cosine",
        options=("constant", "cosine"),
        more=True,
        used=_STEPS,
    )
    mixup_alpha: float = setting(
        0.4,
        "of the Beta distribution of the mixing share",
        low=0.01,
        high=10.0,
        more=True,
        used=_MIXUP,
    )
    mixup_larger: bool = setting(
        True, "the own picture has at least half of the share", more=True, used=_MIXUP
    )
    stability_loss: str = setting(
        "clean",
        "cross-entropy beside the divergence: CE of the clips (clean), or 0.5 (CE + CE') of clips "
        "and noisy copies (both); both without stability is training on noisy copies",
        options=("clean", "both"),
        more=True,
    )
    oversampling_of: str = setting(
        "all",
        "oversampling: of all classes, or of the two smallest as released",
        options=("all", "two-smallest"),
        more=True,
        used={"oversampling": (True,)},
    )
    pooling: str = setting(
        "speech",
        "alexnet_gap averages over the columns of speech, or over all as released",
        options=POOLINGS,
        more=True,
        used={"ser_model": ("alexnet_gap",)},
    )
    select: str = setting(
        "uar",
        "what the validation speakers pick the epoch by",
        options=("uar", "wa"),
        more=True,
        used=_STEPS,
    )
    # the validation decides by it, too, so it decides which epoch is kept
    decision: str = setting(
        "mean",
        "segments to utterance: mean of probabilities weighted by valid frames, or the "
        "published geometric mean",
        options=("mean", "geometric"),
        more=True,
    )
    test_hop: int = setting(
        150,
        "frames from one test segment to the next (300: side by side)",
        low=30,
        high=300,
        step=30,
        more=True,
        scope=RESULT,
    )
    padding: str = setting(
        "floor",
        "frames that are not there: silence, or 0 dB as released",
        options=("floor", "zero"),
        more=True,
    )
    eight_bit: bool = setting(False, "pictures of 256 levels, as published", more=True)
    weight_decay: float = setting(
        0.01, "of AdamW", low=0.0, high=1.0, step=0.01, more=True, used=_STEPS
    )
    patience: int = setting(
        0,
        "epochs without a better score before it stops; 0: goes to the end",
        low=0,
        high=1000,
        step=1,
        more=True,
        used=_STEPS,
    )

    def __post_init__(self) -> None:
        """Take the published flag for the weights it stands for."""
        weights = _PRETRAINED.get(str(self.pretrained).lower(), self.pretrained)
        object.__setattr__(self, "pretrained", weights)

    @classmethod
    def from_form(
        cls, preset: str = "default", settings: Mapping[str, Any] | None = None, **values: Any
    ) -> AlexnetConfig:
        """As `Settings.from_form`; oversampling takes the place of balanced batches.

        Both even out the classes. Whoever asks for `oversampling` and says nothing of `balanced`
        gets the one without the other.
        """
        given = {**values, **(settings or {})}
        if is_empty(given.get("balanced")):
            unbalanced = super().from_form(preset, {**given, "balanced": False})
            if unbalanced.oversampling:
                return unbalanced
        return super().from_form(preset, given)

    @property
    def hears_noise(self) -> bool:
        """Whether training needs noisy copies of the training clips."""
        return self.stability > 0 or self.stability_loss == "both"

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of a picture, pixels.

        Torchvision's `Resize(height)` as published: a segment of 300 frames keeps its proportions.
        """
        bins = AlexNetSpectrogram(feature_set=self.features).bins
        return self.image_height, self.image_height * SEGMENT // bins

    def rules(self) -> None:
        """Raise SettingError for settings that contradict each other."""
        if self.balanced and self.oversampling:
            raise SettingError("balanced and oversampling both even out the classes: choose one")
        if self.tune == "linear" and self.ser_model != "alexnet_gap":
            raise SettingError(f"tune = 'linear' is for alexnet_gap, not for {self.ser_model}")
        if self.tune == "linear" and (self.mixup or self.oversampling or self.hears_noise):
            raise SettingError(
                "tune = 'linear' takes no mixup, oversampling, stability or noisy copies: switch "
                "them off, or set tune = 'all'"
            )
