"""What a file name says, corpus by corpus.

Letters collide over corpora (method_facts §5.12), so nothing is parsed globally.

A corpus module has `NAME` (that of its card), `parse(path) -> row` and, where labels or speakers do
not stand in the file names, `annotations(root) -> table`: indexed by utt_id, with the manifest
columns that it fills (IEMOCAP's EmoEvaluation files, EmoFilm's legend). To add a corpus: write the
module, add it to `_MODULES`, write `data_manifests/<name>.yaml`. `parse` gives `emotion_raw`; the
card's `label_map` turns it into `emotion`.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pandas as pd

from colab_utils.corpora.parsers import (
    aesdd,
    cafe,
    crema_d,
    emodb,
    emofilm,
    emovo,
    esd,
    iemocap,
    msp_improv,
    ravdess,
    savee,
    shemo,
    tess,
)
from colab_utils.corpora.parsers.names import ForeignNameError

__all__ = ["ANNOTATIONS", "PARSERS", "ForeignNameError", "belongs_to"]

_MODULES = (
    aesdd,
    cafe,
    crema_d,
    emodb,
    emofilm,
    emovo,
    esd,
    iemocap,
    msp_improv,
    ravdess,
    savee,
    shemo,
    tess,
)

PARSERS: dict[str, Callable[[pathlib.PurePosixPath], dict]] = {
    module.NAME: module.parse for module in _MODULES
}
# callable: `from __future__ import annotations` leaves an attribute of this name, which is no
# function, in every module.
ANNOTATIONS: dict[str, Callable[[pathlib.Path], pd.DataFrame]] = {
    module.NAME: module.annotations
    for module in _MODULES
    if callable(getattr(module, "annotations", None))
}


def belongs_to(path: pathlib.PurePosixPath) -> list[str]:
    """The corpora whose naming the path follows, in alphabetical order: at most one, as long as no
    two naming rules collide.
    """
    found = []
    for name, parse in sorted(PARSERS.items()):
        try:
            parse(path)
        except ForeignNameError:
            continue
        found.append(name)
    return found
