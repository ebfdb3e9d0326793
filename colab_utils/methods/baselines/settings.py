"""Settings of the simple baselines."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

from colab_utils.learning.recipe import StudySettings
from colab_utils.settings import RESULT, setting

CLASSIFIERS = ("majority", "nearest-mean", "logistic", "linear-svm", "mlp")
FOLDS = ("auto", "frozen", "leave-one-speaker-out", "grouped")
_of_mlp = functools.partial(setting, more=True, used={"classifier": ("mlp",)})


@dataclasses.dataclass(frozen=True)
class BaselineConfig(StudySettings):
    """Settings of one baseline."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "majority": {"classifier": "majority", "normalisation": "none"},
        "nearest-mean": {"classifier": "nearest-mean"},
        "linear-svm": {"classifier": "linear-svm", "C": 0.001, "normalisation": "none"},
        "linear-svm-speaker": {"classifier": "linear-svm", "C": 0.001},
        "mlp": {"classifier": "mlp"},
    }

    classifier: str = setting("logistic", "which classifier", options=CLASSIFIERS)
    C: float = setting(
        0.1,
        "inverse strength of the L2 penalty (logistic, linear-svm)",
        low=1e-5,
        high=100.0,
        used={"classifier": ("logistic", "linear-svm")},
    )
    folds: str = setting(
        "auto",
        "the corpus' frozen folds, one fold per speaker, or groups of speakers; auto: the "
        "first of these that can be made",
        options=FOLDS,
        task=True,
    )
    n_folds: int = setting(
        5,
        "number of folds (grouped)",
        low=2,
        high=20,
        step=1,
        task=True,
        used={"folds": ("auto", "grouped")},
        more=True,
    )
    seed: int = setting(0, "first seed", low=0, high=100000, step=1, task=True, more=True)
    n_seeds: int = setting(
        1,
        "how many seeds, counted up from the first (grouped folds and mlp depend on it)",
        low=1,
        high=20,
        step=1,
        scope=RESULT,
        task=True,
        more=True,
    )
    hidden: int = _of_mlp(64, "units of the hidden layer (mlp)", low=4, high=1024, step=4)
    dropout: float = _of_mlp(0.3, "dropout of the hidden layer (mlp)", low=0.0, high=0.9, step=0.1)
    epochs: int = _of_mlp(
        40, "passes over the training utterances at most (mlp)", low=1, high=500, step=1
    )
    patience: int = _of_mlp(
        10, "epochs without a better validation UAR before it stops (mlp)", low=1, high=500, step=1
    )
    learning_rate: float = _of_mlp(1e-3, "learning rate of AdamW (mlp)", low=1e-6, high=1.0)
    weight_decay: float = _of_mlp(1e-2, "weight decay of AdamW (mlp)", low=0.0, high=1.0)
    batch: int = _of_mlp(32, "utterances per batch (mlp)", low=1, high=4096, step=1)
    n_valid_speakers: int = _of_mlp(
        2, "training speakers that select the epoch (mlp)", low=1, high=50, step=1
    )
