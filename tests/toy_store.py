"""A feature store in memory for corpora that exist only as a table: shifted by corpus, moved by
emotion, and it notes whose features were read.
"""

import numpy as np
import pandas as pd

from colab_utils.corpora.manifest import empty_row
from colab_utils.features.store import features
from colab_utils.protocols.folds import split_once


class InMemory(features.Features):
    """Features in a dict {utt_id: float32 (frames, dim)}."""

    key, spec = "0123456789ab", {"name": "toy"}

    def __init__(self, values, pooled=True):
        self.values, self.pooled = values, pooled
        self.feature_names = [f"f{i}" for i in range(next(iter(values.values())).shape[1])]
        self.skipped = pd.DataFrame(columns=["utt_id", "reason"])

    @property
    def ids(self):
        return list(self.values)

    def __getitem__(self, utt_id):
        if utt_id not in self.values:
            raise self.why_missing(utt_id)
        return self.values[utt_id].copy()

    def __contains__(self, utt_id):
        return utt_id in self.values

    def lengths(self, ids):
        return np.array([len(self.values[utt_id]) for utt_id in ids])


class Features(InMemory):
    """Six numbers (or `dim`) an utterance, or a frame: the corpus' centre, `spread` times the
    emotion's direction, and noise.
    """

    key = "abc"

    def __init__(self, rows, labels, spread=2.0, frames=False, seed=0, dim=6):
        rng = np.random.default_rng(seed)
        self.spec = {"name": "toy", "version": 1, "settings": {"floor": 1e-6}, "parts": []}
        centres = {corpus: rng.normal(size=dim) for corpus in sorted(set(rows["corpus"]))}
        places = {label: spread * rng.normal(size=dim) for label in labels}
        values = {
            row.utt_id: (
                (
                    centres[row.corpus]
                    + places[row.emotion]
                    + rng.normal(size=(int(rng.integers(5, 40)) if frames else 1, dim))
                ).astype(np.float32)
            )
            for row in rows.itertuples()
        }
        super().__init__(values, not frames)
        self.read = set()

    def __getitem__(self, utt_id):
        self.read.add(utt_id)
        return self.values[utt_id]


def toy_corpus(name, labels, speakers=4, each=4):
    """A manifest of `each` utterances of each emotion and speaker; there is no audio."""
    return pd.DataFrame(
        [
            {
                **empty_row(name, f"{who}-{label}-{i}"),
                "speaker": f"s{who}",
                "emotion": label,
                "emotion_raw": label,
            }
            for who in range(speakers)
            for label in labels
            for i in range(each)
        ]
    )


def cross_corpus_split(rows, target, n_valid_speakers=0):
    """One fold: the corpus `target` is tested, all others train."""
    tested = (rows["corpus"] == target).to_numpy()
    return split_once(rows, tested, target, (0, 0), 0, n_valid_speakers)
