"""Tables of predictions whose rates are known or drawn by chance."""

import numpy as np
import pandas as pd

LABELS = ["anger", "happiness", "neutral", "sadness"]


def table(true, pred, **columns):
    """A table of predictions; everything but the labels has a default."""
    n = len(true)
    corpus = columns.get("corpus", "emodb")
    defaults = {
        "method": "logistic",
        "rule": "inductive",
        "seed": 0,
        "fold": "0",
        "draw": 0,
        "task": 0,
        "utt_id": [f"{corpus}/u{i}" for i in range(n)],
        "corpus": corpus,
        "speaker": [f"{i % 3:02d}" for i in range(n)],
    }
    return pd.DataFrame({**defaults, "true": list(true), "pred": list(pred), **columns})


def predictions(
    labels=LABELS, n=120, n_speakers=12, draws=1, seeds=(0,), right=0.5, seed=0, **columns
):
    """Each (seed, draw) tests n utterances; about `right` of them are recognised, others guessed.

    Three utterances in a row are by one speaker.
    """
    rng = np.random.default_rng(seed)
    true = np.array([labels[i % len(labels)] for i in range(n)], dtype=object)
    tables = []
    for one_seed in seeds:
        for draw in range(draws):
            guessed = rng.choice(np.array(labels, dtype=object), n)
            pred = np.where(rng.random(n) < right, true, guessed)
            speaker = [f"{(i // 3) % n_speakers:02d}" for i in range(n)]
            facts = {"seed": one_seed, "draw": draw, "speaker": speaker, **columns}
            tables.append(table(true, pred, **facts))
    return pd.concat(tables, ignore_index=True)
