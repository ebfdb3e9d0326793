"""Utterances of four classes around fixed places, support draws of them, and networks for them."""

import numpy as np
import pandas as pd
import torch
from toy_store import InMemory

from colab_utils.learning.clips import Scale
from colab_utils.methods.emofsl.data import TransferData
from colab_utils.methods.emofsl.network import EmofslNet
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.source import SourceLearner

FOUR = ["anger", "happiness", "neutral", "sadness"]
DIM = 10
PLAIN = {
    "margins": "paper",
    "alpha": 1.0,
    "beta": 0.6,
    "source_loss_weight": 0.0,
    "learning_rate": 1e-3,
    "epochs": 30,
    "width": 6,
    "decision": "prototype",
}


def config_with(**changes):
    """Settings near the paper's, but for what a test is about."""
    return EmofslConfig(**{**PLAIN, **changes})


def world(n, seed, shift=0.0):
    """n utterances a class, class by class: x float64 (4 n, DIM), y int64."""
    places = 2 * np.random.default_rng(0).normal(size=(4, DIM))
    y = np.repeat(np.arange(4), n)
    return places[y] + np.random.default_rng(seed).normal(size=(4 * n, DIM)) + shift, y


def draws(count, k, seed=2, dtype=torch.float64, shift=0.0):
    """Supports (count, 4 k, DIM) and their labels (4 k,)."""
    supports = [torch.as_tensor(world(k, seed + i, shift)[0], dtype=dtype) for i in range(count)]
    return torch.stack(supports), torch.arange(4).repeat_interleave(k)


def net(dtype=torch.float64, activation="none", width=6):
    torch.manual_seed(0)
    x = torch.as_tensor(world(20, 1)[0])
    scale = Scale(x.mean(dim=0), 1 / x.std(dim=0, correction=0))
    return EmofslNet(scale, 4, width, activation).to(dtype)


def data_of(x, y, n_train, labels=FOUR):
    """The first `n_train` utterances train, the others validate; there is no target."""
    ids = [f"aa/{i}" for i in range(len(x))]
    rows = pd.DataFrame({"utt_id": ids, "corpus": "aa", "emotion": np.array(labels)[y]})
    roles = np.where(np.arange(len(x)) < n_train, "train", "valid")
    split = pd.DataFrame({"utt_id": ids, "role": roles, "fold": "0"})
    vectors = np.asarray(x, dtype=np.float32)[:, None]
    store = InMemory(dict(zip(ids, vectors, strict=True)))
    return TransferData(rows, split, store, labels)


def source_learner(config, metric=None, n=30, layers=1, labels=FOUR, x=None, y=None):
    """A learner of the source model on `world`, or on the utterances given."""
    if x is None:
        parts = [world(n, 1), world(10, 51)]
        x, y = (np.concatenate(both) for both in zip(*parts, strict=True))
    data = data_of(x, y, len(x) - 40, labels)
    train, valid = (data.numbers("0", role) for role in ("train", "valid"))
    torch.manual_seed(config.seed)
    scale = data.scale(train)
    module = EmofslNet(scale, len(labels), config.width, config.activation, layers)
    return SourceLearner(module, data, train, valid, config, metric)
