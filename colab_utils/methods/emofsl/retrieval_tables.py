"""Retrieval measures of several embeddings side by side."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

MEASURES = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
HEADS = dict(zip(MEASURES, ("precision at 1 %", "R-precision %", "MAP@R %"), strict=True))


def quality_table(qualities: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """What `methods.retrieval.retrieval_quality` gave for each named embedding, one row each, as text for a page: per cent.

    chance is what precision at 1 and R-precision are for a random order; MAP@R is then lower. Raises ValueError without any.
    """
    if not qualities:
        raise ValueError("no embeddings: there is nothing to compare; pass the result of retrieval_quality for one at least")
    rows = {}
    for name, quality in qualities.items():
        left = f" ({quality['left_out']:,} left out: nobody to find)" if quality["left_out"] else ""
        rows[name] = {**{head: f"{100 * quality[key]:.1f}" for key, head in HEADS.items()}, "chance %": f"{100 * quality['chance']:.1f}",
                      "queries": f"{quality['n_queries']:,}{left}", "references": f"{quality['n_references']:,}", "search": quality["search"]}
    return pd.DataFrame.from_dict(rows, orient="index")


def distance_table(embeddings: np.ndarray, utterances: Sequence[str], queries: np.ndarray, references: np.ndarray) -> pd.DataFrame:
    """Euclidean distances of embeddings brought to length 1, in [0, 2]: a row for each query and a column for each reference, by utt_id.

    embeddings: float (n, dim), utterances: their (n,) ids; queries, references: bool (n,). Raises ValueError where either has none.
    """
    if not queries.any() or not references.any():
        raise ValueError("no queries or no references: pass masks with a True among them")
    values = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    apart = np.sqrt(np.square(values[queries][:, None] - values[references][None]).sum(axis=2))
    names = np.asarray(utterances)
    return pd.DataFrame(apart, names[queries], names[references])
