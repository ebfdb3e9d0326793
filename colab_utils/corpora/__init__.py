"""Corpora: what was said, by whom, with which emotion. Nothing here knows of torch."""

from colab_utils.corpora.cards import corpus_names, frozen_folds, load_card
from colab_utils.corpora.check import check_manifest
from colab_utils.corpora.download import drive_overview, how_to_get
from colab_utils.corpora.emotions import choose_utterances
from colab_utils.corpora.manifest import ManifestError
from colab_utils.corpora.opening import open_corpora, open_corpus
from colab_utils.corpora.own.named import Own
from colab_utils.corpora.own_data import from_csv, from_folder, from_split_csvs
from colab_utils.corpora.scan import load_corpus

__all__ = [
    "ManifestError",
    "Own",
    "check_manifest",
    "choose_utterances",
    "corpus_names",
    "drive_overview",
    "from_csv",
    "from_folder",
    "from_split_csvs",
    "frozen_folds",
    "how_to_get",
    "load_card",
    "load_corpus",
    "open_corpora",
    "open_corpus",
]
