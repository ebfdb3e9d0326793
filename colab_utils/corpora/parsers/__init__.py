"""What a file name says, corpus by corpus.

Letters collide over corpora (W is anger in EmoDB and surprise in ShEMO; docs/corpora.md lists
more), so nothing is parsed globally.

A corpus module has `NAME` (that of its card), `parse(path) -> row` and, where labels or speakers do
not stand in the file names, `annotations(root) -> table`: indexed by utt_id, with the manifest
columns that it fills (IEMOCAP's EmoEvaluation files, EmoFilm's legend). To add a corpus: write the
module, name it below, write `data_manifests/<name>.yaml`. `parse` gives `emotion_raw`; the card's
`label_map` turns it into `emotion`.
"""

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

PARSERS: dict[str, Callable[[pathlib.PurePosixPath], dict]] = {
    module.NAME: module.parse
    for module in (
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
}
ANNOTATIONS: dict[str, Callable[[pathlib.Path], pd.DataFrame]] = {
    module.NAME: module.annotations for module in (emofilm, iemocap, msp_improv)
}


def belongs_to(path: pathlib.PurePosixPath) -> list[str]:
    """The corpora whose naming the path follows: one at most, as long as no two rules collide."""
    found = []
    for name, parse in PARSERS.items():
        try:
            parse(path)
        except ForeignNameError:
            continue
        found.append(name)
    return found
