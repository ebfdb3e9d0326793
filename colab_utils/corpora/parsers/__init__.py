"""What a file name says, corpus by corpus.

Letters collide over corpora (W is anger in EmoDB and surprise in ShEMO; docs/corpora.md lists
more), so nothing is parsed globally.

A corpus module has `NAME` (that of its card), `parse(path) -> row` and, where labels or speakers do
not stand in the file names, `annotations(root) -> table`: indexed by utt_id, with the manifest
columns that it fills (IEMOCAP's EmoEvaluation files, EmoFilm's legend). To add a corpus: write the
module, name it below, write `data_manifests/<name>.yaml`. `parse` gives `emotion_raw`; the card's
`label_map` turns it into `emotion`.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterable

import pandas as pd

from colab_utils.corpora.manifest import empty_row
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
from colab_utils.corpora.parsers.names import GENDER, ForeignNameError

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


def rows_of_names(utt_ids: Iterable[str]) -> pd.DataFrame:
    """What the names of utterances say of them, where no manifest is at hand.

    Args:
        utt_ids: of any corpora.

    Returns:
        A manifest row each; of the user's own data, and of foreign names, the corpus alone is
        known. `emotion` is not filled.
    """
    # imported late: what makes the embedded corpus needs WORLD and scipy
    from colab_utils.corpora.synthetic.channels import DOMAINS

    languages = {domain.corpus: domain.language for domain in DOMAINS}
    rows = []
    for utt_id in utt_ids:
        corpus, _, path = utt_id.partition("/")
        row = empty_row(corpus, path)
        if corpus in languages:  # f1-anger-01
            gender = GENDER.get(path[:1].upper(), "")
            row.update(language=languages[corpus], gender=gender)
        if corpus in PARSERS:
            with contextlib.suppress(ForeignNameError):
                row = PARSERS[corpus](pathlib.PurePosixPath(path))
        rows.append(row)
    return pd.DataFrame(rows)
