"""Notebook 01: simple classifiers, tested on speakers they have never heard."""

from colab_utils.display.by_group import show_groups
from colab_utils.display.certainty import show_certainty
from colab_utils.display.figures import confusion_matrix_figure
from colab_utils.display.hear import hear_errors
from colab_utils.display.speakers import per_speaker_figure, speakers_by_emotion
from colab_utils.methods.baselines.gallery import show_gallery
from colab_utils.methods.baselines.panel import panel
from colab_utils.methods.baselines.settings import BaselineConfig
from colab_utils.methods.baselines.study import BaselineStudy, make_example_runs
from colab_utils.panel.download import Download

__all__ = [
    "Download",
    "BaselineConfig",
    "BaselineStudy",
    "confusion_matrix_figure",
    "hear_errors",
    "make_example_runs",
    "panel",
    "per_speaker_figure",
    "show_certainty",
    "show_gallery",
    "show_groups",
    "speakers_by_emotion",
]
