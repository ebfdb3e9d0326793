"""The papers' own figures, to stand beside ours where the protocol is the same one."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

PUBLISHED_COLUMNS = ("task", "method", "k", "rate")


def published_table(published: Mapping[str, Any], task: str | None = None) -> pd.DataFrame:
    """PUBLISHED_COLUMNS of `Protocol.published`, fractions; k is 0 where a figure has none. task: that one alone; no rows where it has no figures."""
    rows = [(name, method, k, rate / 100) for name, methods in published.get("values", {}).items() if task in (None, name)
            for method, figures in methods.items() for k, rate in (figures if isinstance(figures, Mapping) else {0: figures}).items()]
    return pd.DataFrame(rows, columns=list(PUBLISHED_COLUMNS))
