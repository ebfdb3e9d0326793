"""Spectrograms in memory, and learners and studies small enough for tests."""

import dataclasses

import numpy as np
import pandas as pd
import torch
from toy_store import toy_corpus

from colab_utils.features.front_end import identity
from colab_utils.features.published.alexnet import AlexNetSpectrogram
from colab_utils.features.store.features import Frames
from colab_utils.learning.study import Tested
from colab_utils.methods.alexnet.linear import LinearLearner
from colab_utils.methods.alexnet.notebook import AlexnetStudy
from colab_utils.methods.alexnet.pictures import fit_range, make_images
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.methods.alexnet.training import AlexnetLearner, FoldPictures, TrainingFold
from colab_utils.protocols.folds import grouped_folds, make_split

LABELS = ["anger", "fear", "sadness"]
SMALL = AlexnetConfig.from_preset("small", num_epochs=2, batch_size=8, image_height=63)


def changed(**changes):
    return dataclasses.replace(SMALL, **changes)


def corpus(speakers=6, each=3):
    return toy_corpus("aa", LABELS, speakers, each)


def spectrograms(rows, channels=1):
    """Frames in which each emotion is loud in bins of its own."""
    spec = AlexNetSpectrogram(feature_set="logspec" if channels == 1 else "logdeltaspec")
    rng, store = np.random.default_rng(0), Frames({}, identity(spec), spec.feature_names)
    for row in rows.itertuples():
        shape = int(rng.integers(120, 500)), channels * 200
        frames = rng.uniform(-70, -40, size=shape).astype(np.float32)
        loud = 60 * LABELS.index(row.emotion)
        frames[:, loud : loud + 40] += 35
        store[row.utt_id] = frames
    return store


def learner_of(config, rows=None, channels=1, own=None):
    """One that trains and validates on the same utterances; noisy copies are of one kind."""
    rows = corpus() if rows is None else rows
    store = spectrograms(rows, channels)
    limits = fit_range(store, rows["utt_id"], config)
    images = make_images(store, rows["utt_id"], config, limits)
    noise = torch.randn(images.values.shape, generator=torch.Generator().manual_seed(1))
    noisy = [images._replace(values=images.values + 0.3 * noise)]
    true = pd.Index(LABELS).get_indexer(rows["emotion"])
    pictures = FoldPictures(images, noisy, images)
    fold = TrainingFold(limits, true[images.utterance.numpy()], true, lambda: pictures)
    kind = LinearLearner if config.tune == "linear" else AlexnetLearner
    return kind(config, len(LABELS), fold, own=own)


class ToyStudy(AlexnetStudy):
    """Spectrograms in memory; "pink@10" is 15 dB louder."""

    small = True  # one thread
    conditions = ("white@10",)

    def store_of(self, features, condition=""):
        key = features, condition or "clean"
        if key not in self._stores:
            store = spectrograms(self.rows)
            store.key = key[1]
            if condition == "pink@10":
                for utt_id in store:
                    store[utt_id] = store[utt_id] + 15
            self._stores[key] = store
        return self._stores[key]


def split_of(rows, folds=3):
    return make_split(rows, grouped_folds(rows, folds, 0), seed=0, n_valid_speakers=1)


def toy_study(root, rows=None, folds=3):
    rows = corpus() if rows is None else rows
    return ToyStudy("toy", rows, split_of(rows, folds), None, LABELS, root, progress=False)


def trained(study, config):
    """The trained learner of the first fold."""
    return study.trained(Tested("gap", config), study.folds[0])[0]


def kept_trainings(study):
    return list((study.root / "trained" / "alexnet").glob("*"))
