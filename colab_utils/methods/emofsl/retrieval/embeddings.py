"""What fine-tuning does to an embedding: maps, and whether the nearest clips are of one emotion.

The measures are those of pytorch-metric-learning, searched by faiss.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.spatial.distance import cdist
from sklearn.preprocessing import normalize

from colab_utils.display import captions, maps, style
from colab_utils.learning.contract import Tested
from colab_utils.learning.training import single_thread
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.study import TransferStudy
from colab_utils.protocols.copies import persons
from colab_utils.protocols.folds import speaker_independence

MEASURES = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
FAISS, EXACT = "faiss", "pytorch-metric-learning (without faiss)"


class Embeddings(NamedTuple):
    """Projections of a fold's tested utterances and of one draw's support.

    Attributes:
        rows: manifest rows of both, with a column `role`: "test" or "support".
        before: the projection of each before the fine-tuning, float32 (n, width).
        after: likewise after it.
    """

    rows: pd.DataFrame
    before: np.ndarray
    after: np.ndarray

    @property
    def queries(self) -> np.ndarray:
        """Which rows are tested, bool (n,); the others are support."""
        return self.rows["role"].eq("test").to_numpy()

    def distances(self) -> pd.DataFrame:
        """Euclidean distances after the fine-tuning, of projections brought to length 1.

        Returns:
            A table in [0, 2]: tested utterances by row, support by column, by utt_id.
        """
        names = self.rows["utt_id"].to_numpy()
        unit = normalize(self.after)
        apart = cdist(unit[self.queries], unit[~self.queries])
        return pd.DataFrame(apart, names[self.queries], names[~self.queries])


def embeddings(study: TransferStudy, config: EmofslConfig, method: str = "") -> Embeddings:
    """Projections of the first fold's tested utterances and of its first draw's support.

    Args:
        study: the study.
        config: the settings.
        method: whose fine-tuning, "BTL", "FSTL" or "EMOFSL"; default: config.method.

    Returns:
        The rows, and their projections before and after the fine-tuning.
    """
    if method:
        config = dataclasses.replace(config, method=method)
    fold = study.folds[0]
    data = study.data(config)
    tested = data.numbers(fold, "test")
    support = data.draws(config, fold)[0].ravel()
    numbers = np.concatenate([tested, support])
    learner = study.source_of(config, fold)
    with single_thread(study.small):
        _, before = data.through(learner.module, numbers)
        after = study.projected(learner, config, fold, numbers)
    rows = study.rows.iloc[numbers].reset_index(drop=True)
    rows["rule"] = study.rule_of(Tested("", config))
    rows["role"] = ["test"] * len(tested) + ["support"] * len(support)
    return Embeddings(rows, before.cpu().numpy(), after.cpu().numpy())


def maps_figure(study: TransferStudy, found: Embeddings, seed: int = 0) -> style.SuiteFigure:
    """A map of the embedding before and one after the fine-tuning (t-SNE, see `display.maps`).

    Args:
        study: the study.
        found: of `embeddings`.
        seed: of the maps.

    Returns:
        The figure.
    """
    places = {
        "before fine-tuning": maps.embedding_map(found.before, found.rows, seed=seed),
        "after fine-tuning": maps.embedding_map(found.after, found.rows, seed=seed),
    }
    marks = captions.stamps(
        found.rows,
        {"speaker_independence": speaker_independence(study.split, persons(study.rows))},
    )
    return maps.embedding_maps_figure(
        places, title=f"{study.title}: tested utterances and support", marks=marks
    )


def nearest_table(found: Embeddings) -> pd.DataFrame:
    """Whether the support clips nearest to a tested one have its emotion.

    Args:
        found: of `embeddings`.

    Returns:
        A row for before and one for after the fine-tuning, as text in per cent. chance is what
        precision at 1 and R-precision are for a random order; MAP@R is then lower.

    Raises:
        ValueError: for projections that are not finite.
    """
    queries = int(found.queries.sum())
    rows = {}
    for name, vectors in (("before", found.before), ("after", found.after)):
        quality = retrieval_quality(vectors, found.rows["emotion"], found.queries)
        rows[name] = {
            "precision at 1 %": f"{100 * quality['precision_at_1']:.1f}",
            "R-precision %": f"{100 * quality['r_precision']:.1f}",
            "MAP@R %": f"{100 * quality['mean_average_precision_at_r']:.1f}",
            "chance %": f"{100 * quality['chance']:.1f}",
            "queries": f"{queries:,}",
            "references": f"{len(vectors) - queries:,}",
            "search": quality["search"],
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def retrieval_quality(vectors: np.ndarray, labels: pd.Series, queries: np.ndarray) -> dict:
    """How well a search among the references finds utterances of the query's label.

    By Euclidean distance of vectors brought to length 1. With R the references of a query's label
    (Musgrave et al. 2020, A Metric Learning Reality Check, section 3.2): r_precision is the share
    of that label among the R nearest, and MAP@R also counts how early they come.

    Args:
        vectors: the embedding, float (n, dim).
        labels: (n,); each label of a query has references.
        queries: bool (n,), who asks; the others are the references.

    Returns:
        MEASURES in [0, 1], chance (expected precision_at_1 and r_precision of a random order) and
        search (FAISS, or EXACT where faiss is missing: the same numbers, slower).

    Raises:
        ValueError: for numbers that are not finite.
    """
    # Here, not above: Colab's set-up may have failed to install it, and only this needs it.
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    values = torch.nn.functional.normalize(torch.as_tensor(vectors).float(), dim=1)
    broken = ~torch.isfinite(values).all(dim=1)
    if broken.any():
        raise ValueError(
            f"embedding {int(broken.nonzero()[0])} is not finite: look for the utterance it comes "
            "from"
        )
    y = torch.as_tensor(pd.factorize(labels)[0])
    asked, there = torch.as_tensor(queries), torch.as_tensor(~queries)
    search, neighbours = _search()
    calculator = AccuracyCalculator(
        include=MEASURES, k="max_bin_count", device=torch.device("cpu"), knn_func=neighbours
    )
    quality = calculator.get_accuracy(values[asked], y[asked], values[there], y[there])
    alike = y[asked].unsqueeze(1) == y[there]
    quality["chance"] = float(alike.double().mean())
    quality["search"] = search
    return quality


def _search() -> tuple[str, Callable]:
    """How neighbours are found, in words and for pytorch-metric-learning."""
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.utils.inference import CustomKNN, FaissKNN

    try:
        import faiss  # noqa: F401
    except ImportError:
        return EXACT, CustomKNN(LpDistance(normalize_embeddings=False), batch_size=256)
    return FAISS, FaissKNN()
