"""Notebook 02: meta-learning from language to language, in few-shot episodes."""

from colab_utils.display.curves import live_curve
from colab_utils.learning.heads import vectors
from colab_utils.learning.recipe import RECOMMENDED
from colab_utils.methods.maml.figures.episode import show_episode
from colab_utils.methods.maml.figures.runs import (
    matrix_figure,
    methods_figure,
    seen_figure,
    speakers_figure,
    steps_figure,
    support_figure,
)
from colab_utils.methods.maml.inner_loop import adapt, as_function, outer_objective
from colab_utils.methods.maml.losses import contrastive_term, step_weights
from colab_utils.methods.maml.opening import open_study, panel
from colab_utils.methods.maml.published import REPAIRS
from colab_utils.methods.maml.rivals import BASELINES
from colab_utils.methods.maml.settings import EpisodeConfig, MamlConfig
from colab_utils.methods.maml.study import MamlStudy
from colab_utils.panel.download import Download
from colab_utils.panel.source import show_source

__all__ = [
    "Download",
    "BASELINES",
    "RECOMMENDED",
    "REPAIRS",
    "EpisodeConfig",
    "MamlConfig",
    "MamlStudy",
    "adapt",
    "contrastive_term",
    "as_function",
    "live_curve",
    "matrix_figure",
    "methods_figure",
    "open_study",
    "outer_objective",
    "panel",
    "seen_figure",
    "show_episode",
    "show_source",
    "speakers_figure",
    "step_weights",
    "steps_figure",
    "support_figure",
    "vectors",
]
