"""Notebook 04: train on some corpora, test on one never seen (DA-MLDG and its rivals)."""

from colab_utils.methods.da_mldg.algorithms.algorithm import Algorithm, weighted_cross_entropy
from colab_utils.methods.da_mldg.algorithms.gamma import domain_shift, energy
from colab_utils.methods.da_mldg.algorithms.mldg import Mldg
from colab_utils.methods.da_mldg.figures import (
    domains_figure,
    gamma_figure,
    marks_of,
    matrices_figure,
    show_certainty,
    show_groups,
)
from colab_utils.methods.da_mldg.panel import panel
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.methods.da_mldg.study import DomainStudy, main_algorithm
from colab_utils.methods.da_mldg.tables import (
    means_table,
    published_rates,
    readable_means,
    readable_targets,
    runs_by_name,
    targets_table,
)
from colab_utils.methods.da_mldg.targets import DomainStudies, open_studies
from colab_utils.panel.download import Download
from colab_utils.panel.source import show_source

__all__ = [
    "Download",
    "Algorithm",
    "DomainConfig",
    "DomainStudies",
    "DomainStudy",
    "Mldg",
    "domain_shift",
    "domains_figure",
    "energy",
    "gamma_figure",
    "main_algorithm",
    "marks_of",
    "matrices_figure",
    "means_table",
    "open_studies",
    "panel",
    "published_rates",
    "readable_means",
    "readable_targets",
    "runs_by_name",
    "show_certainty",
    "show_groups",
    "show_source",
    "targets_table",
    "weighted_cross_entropy",
]
