"""Notebook 03: one labelled corpus and a few labels of another, with EMOFSL and its rivals."""

from colab_utils.display.curves import live_curve
from colab_utils.methods.emofsl.emofsl import fine_tune
from colab_utils.methods.emofsl.figures.circumplex import emotions_figure
from colab_utils.methods.emofsl.figures.runs import (
    layers_figure,
    luck_figure,
    matrices_figure,
    shots_figure,
    show_certainty,
    show_groups,
    support_figure,
)
from colab_utils.methods.emofsl.pair_losses import emotion_distance, equation_2
from colab_utils.methods.emofsl.panel import panel
from colab_utils.methods.emofsl.retrieval.embeddings import embeddings, maps_figure, nearest_table
from colab_utils.methods.emofsl.retrieval.nearest import hear_support
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.study import TransferStudy
from colab_utils.methods.emofsl.transfers import (
    Transfers,
    keep_encoder,
    open_transfers,
    runs_by_name,
)
from colab_utils.panel.download import Download
from colab_utils.panel.source import show_source

__all__ = [
    "Download",
    "EmofslConfig",
    "TransferStudy",
    "Transfers",
    "embeddings",
    "emotion_distance",
    "emotions_figure",
    "equation_2",
    "fine_tune",
    "hear_support",
    "keep_encoder",
    "layers_figure",
    "live_curve",
    "luck_figure",
    "maps_figure",
    "matrices_figure",
    "nearest_table",
    "open_transfers",
    "panel",
    "runs_by_name",
    "shots_figure",
    "show_certainty",
    "show_groups",
    "show_source",
    "support_figure",
]
