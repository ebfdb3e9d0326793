"""Notebook 05: AlexNet on spectrogram pictures, clean and in noise."""

from colab_utils.display.curves import live_curve
from colab_utils.methods.alexnet.figures import (
    beside_published,
    clean_runs,
    folds_figure,
    noise_figure,
)
from colab_utils.methods.alexnet.notebook import AlexnetStudy, open_study
from colab_utils.methods.alexnet.panel import panel
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.methods.alexnet.training import AlexnetLearner, divergence, mixed
from colab_utils.panel.download import Download
from colab_utils.panel.source import show_source

__all__ = [
    "Download",
    "AlexnetConfig",
    "AlexnetLearner",
    "AlexnetStudy",
    "beside_published",
    "clean_runs",
    "divergence",
    "folds_figure",
    "live_curve",
    "mixed",
    "noise_figure",
    "open_study",
    "panel",
    "show_source",
]
