"""Train on some corpora, test on others."""
from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from colab_utils.protocols.folds import FoldError, check_disjoint, split_once


def cross_corpus_split(manifest: pd.DataFrame, train_corpora: Sequence[str], test_corpora: Sequence[str], seed: int = 0,
                       n_valid_speakers: int = 0) -> pd.DataFrame:
    """The split that trains on all of `train_corpora` and tests on all of `test_corpora`: one fold, named after the tested corpora.

    Utterances of other corpora are left out. Validation speakers come from the training corpora. Raises FoldError where a corpus is
    not in the manifest, stands on both sides, or where a tested emotion is not spoken in training.
    """
    train, test = list(train_corpora), list(test_corpora)
    missing = sorted({*train, *test} - set(manifest["corpus"]))
    if missing or not train or not test:
        raise FoldError(f"no utterances of {', '.join(missing) or 'the training or the test side'}: the manifest holds "
                        f"{', '.join(sorted(set(manifest['corpus'])))}")
    both = sorted(set(train) & set(test))
    if both:
        raise FoldError(f"{', '.join(both)} on both sides: a corpus either trains or is tested")
    rows = manifest[manifest["corpus"].isin(train + test)]
    split = split_once(rows, rows["corpus"].isin(test).to_numpy(), "+".join(test), (seed, 0), seed, n_valid_speakers)
    check_disjoint(split)
    return split
