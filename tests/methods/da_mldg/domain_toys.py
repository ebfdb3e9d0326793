"""Small networks, batches and corpora for tests of domain generalisation, and plain formulas."""

import numpy as np
import pandas as pd
import torch
from torch.func import functional_call
from torch.nn import functional
from toy_store import Features, InMemory, cross_corpus_split, toy_corpus

from colab_utils.learning.study import Tested
from colab_utils.methods.da_mldg.algorithms import ALGORITHMS
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.methods.da_mldg.study import DomainStudy
from colab_utils.models import network

CLASSES = 3
NETWORKS = [("mlp", "group"), ("conv4", "group"), ("resnet18", "group"), ("resnet18", "batch")]
LABELS = ["anger", "fear", "sadness"]
CONFIG = DomainConfig(
    steps=30, per_domain=6, width=8, validate_every=10, n_seeds=1, learning_rate=0.01
)


# --- algorithms -----------------------------------------------------------------------------------


def settings_of(algorithm, **changes):
    """Settings of an algorithm with plain SGD; nothing of them is checked."""
    plain = {"optimiser": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0}
    return DomainConfig(algorithm=algorithm, **plain | changes)


def small(name="mlp", norm="group", dtype=torch.float64, dim=12):
    return network(name, dim, CLASSES, norm=norm, width=8).to(dtype)


def made(algorithm, net=None, **changes):
    """An algorithm on a small network."""
    return ALGORITHMS[algorithm](net or small(), settings_of(algorithm, **changes))


def batches(name="mlp", domains=3, n=4, dtype=torch.float64, dim=12, seed=0, frames=24):
    """Noise of each domain's own level; clips of different length where there are frames."""
    generator = torch.Generator().manual_seed(seed)
    given = {}
    for number in range(domains):
        y = torch.randint(CLASSES, (n,), generator=generator)
        if name == "mlp":
            inputs = (torch.randn(n, dim, generator=generator, dtype=dtype) + number,)
        else:
            lengths = torch.tensor([frames - frames // 6 * (row % 3) for row in range(n)])
            mask = torch.arange(frames) < lengths[:, None]
            values = torch.randn(n, frames, dim, generator=generator, dtype=dtype) + number
            inputs = (values * mask[..., None], mask)
        given["cabde"[number]] = (inputs, y)
    return given


def all_of(some):
    """Inputs and labels of several domains below one another."""
    inputs = tuple(torch.cat(parts) for parts in zip(*(one for one, _ in some), strict=True))
    return inputs, torch.cat([y for _, y in some])


def split(algorithm, given):
    """The batches of S' and of V, as lists."""
    held = algorithm.held_out(given)
    return [given[name] for name in sorted(given) if name != held], [given[held]]


def values_of(net):
    return {name: parameter.detach().clone() for name, parameter in net.named_parameters()}


def logits_at(net, parameters, inputs):
    """Logits with other parameters; nothing of the network changes."""
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    return functional_call(net, parameters | buffers, inputs)[0]


def loss_at(net, parameters, some):
    """Mean over domains of the mean cross-entropy, one pass, statistics of the batch."""
    inputs, _ = all_of(some)
    logits = logits_at(net, parameters, inputs).split([len(y) for _, y in some])
    losses = [functional.cross_entropy(own, y) for own, (_, y) in zip(logits, some, strict=True)]
    return sum(losses) / len(some)


def inner_step(net, theta, train, rate):
    """theta' = theta - rate grad L(S'; theta), without gradient, as it is published."""
    leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
    slopes = torch.autograd.grad(loss_at(net, leaves, train), list(leaves.values()))
    moved = {}
    for (name, value), slope in zip(leaves.items(), slopes, strict=True):
        moved[name] = (value - rate * slope).detach()
    return moved


def gradient_of(algorithm, given):
    """The gradient of one step and what it measured; the parameters are left alone."""
    algorithm.network.train().zero_grad()
    values = algorithm.gradients(given)
    slopes = {name: p.grad.clone() for name, p in algorithm.network.named_parameters()}
    return slopes, {name: float(value) for name, value in values.items()}


def apart_by(one, other):
    """The largest difference of two sets of parameters."""
    return max(float((one[name] - other[name]).abs().max()) for name in one)


class Memory(InMemory):
    """Frames in memory with the spec of a log-mel spectrogram."""

    def __init__(self, values, pooled=False, spec=None):
        super().__init__(values, pooled)
        self.spec = spec or {"name": "da-mldg", "settings": {"floor": 1e-6, "normalise": "none"}}


def numbered(rows):
    """Vectors that hold the row number: which utterances a batch took can be read off."""
    ids = enumerate(rows["utt_id"])
    return Memory({utt: np.full((1, 3), n, np.float32) for n, utt in ids}, pooled=True)


# --- studies --------------------------------------------------------------------------------------


def three_corpora():
    """A manifest of aa, bb (larger) and cc."""
    parts = [toy_corpus("aa", LABELS), toy_corpus("bb", LABELS, 6), toy_corpus("cc", LABELS)]
    return pd.concat(parts, ignore_index=True)


def make_study(rows, root, frames=False, **more):
    """cc is tested, the others train."""
    split = cross_corpus_split(rows, "cc", 2 * rows["corpus"].nunique() - 2)
    store = Features(rows, LABELS, frames=frames)
    return DomainStudy("to-cc", rows, split, store, LABELS, root, progress=False, **more)


def trained(study, config=CONFIG, own=None):
    """The history of one algorithm."""
    return study.train(Tested("mine", config, own=own))
