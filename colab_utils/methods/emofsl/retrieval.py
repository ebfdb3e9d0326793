"""How well an embedding finds utterances of the same emotion: retrieval measures of pytorch-metric-learning, searched by faiss."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN, FaissKNN

from colab_utils.methods.emofsl.retrieval_tables import MEASURES

FAISS, EXACT = "faiss", "pytorch-metric-learning (without faiss)"


def retrieval_quality(embeddings: np.ndarray | torch.Tensor, labels: Sequence, queries: np.ndarray | None = None,
                      references: np.ndarray | None = None, normalise: bool = False) -> dict:
    """precision_at_1, r_precision and mean_average_precision_at_r in [0, 1] of a search by Euclidean distance, and what they stand for.

    embeddings: float (n, dim), labels: (n,) of any kind; queries, references: bool (n,), who asks and who may be found (default: all). With R
    the references of a query's label (Musgrave et al. 2020, A Metric Learning Reality Check, section 3.2): r_precision is the share of that
    label among the R nearest, and MAP@R also counts how early they come. The query itself is never found. normalise: bring embeddings to
    length 1 first, which makes the search one by cosine. Keep a speaker's own clips out of the references of this speaker's queries: they are
    found by the voice. Further keys: chance (expected precision_at_1 and r_precision of a random order), n_queries, n_references, left_out
    (queries whose label no reference has: in none of the means) and search (FAISS, or EXACT where faiss is missing: the same numbers, slower).
    Raises ValueError for other shapes, numbers that are not finite, masks that overlap in part, and where nothing can be found.
    """
    values = torch.as_tensor(embeddings).detach().to("cpu", torch.float32)
    asked, kept = _rows(values, labels, queries, references)
    if normalise:
        values = torch.nn.functional.normalize(values, dim=1)
    inside = bool(np.isin(asked, kept).any())
    if inside and not np.isin(asked, kept).all():
        raise ValueError("some queries are among the references and some are not: pass masks that share nothing, or references that hold all queries")
    kept = np.concatenate([asked, np.setdiff1d(kept, asked)]) if inside else kept         # the calculator expects a query at its own number
    y = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
    others = np.bincount(y[kept], minlength=y.max() + 1)[y[asked]] - inside
    if not (others > 0).any():
        raise ValueError(f"none of the {len(asked)} queries has its label among the other references: nothing can be found")
    search = _faiss_is_there()
    calculator = AccuracyCalculator(include=MEASURES, k="max_bin_count", device=torch.device("cpu"),
                                    knn_func=FaissKNN() if search else CustomKNN(LpDistance(normalize_embeddings=False), batch_size=256))
    classes = torch.as_tensor(y)
    found = calculator.get_accuracy(values[asked], classes[asked], values[kept], classes[kept], ref_includes_query=inside)
    return {**{name: float(found[name]) for name in MEASURES}, "chance": float((others[others > 0] / (len(kept) - inside)).mean()),
            "n_queries": len(asked), "n_references": len(kept), "left_out": int((others <= 0).sum()), "search": FAISS if search else EXACT}


def _rows(values: torch.Tensor, labels: Sequence, queries: np.ndarray | None, references: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of queries and references. Raises ValueError."""
    if values.ndim != 2 or len(values) != len(labels):
        raise ValueError(f"embeddings have shape {tuple(values.shape)} and there are {len(labels)} labels: one vector a label is needed")
    if not torch.isfinite(values).all():
        row = int((~torch.isfinite(values).all(dim=1)).nonzero()[0])
        raise ValueError(f"embedding {row} is not finite: look for the utterance it comes from")
    rows = []
    for name, mask in (("queries", queries), ("references", references)):
        chosen = np.ones(len(values), dtype=bool) if mask is None else np.asarray(mask)
        if chosen.dtype != bool or chosen.shape != (len(values),) or not chosen.any():
            raise ValueError(f"{name} is no mask of {len(values)} rows with a True among them (got {chosen.dtype}, shape {chosen.shape})")
        rows.append(np.flatnonzero(chosen))
    return rows[0], rows[1]


def _faiss_is_there() -> bool:
    try:
        import faiss  # noqa: F401
    except ImportError:
        return False
    return True
