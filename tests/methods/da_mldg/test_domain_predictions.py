"""Probabilities of whole tables: windows, company and order of utterances change nothing."""

import numpy as np
import pytest
import torch
from domain_toys import LABELS, Memory, numbered, three_corpora
from torch.nn import functional
from toy_store import Features

from colab_utils.learning.clips import Clips, predict_table, windows
from colab_utils.methods.da_mldg.algorithms import ALGORITHMS
from colab_utils.methods.da_mldg.batches import DomainBatches
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.models import network


@pytest.fixture
def rows():
    return three_corpora().iloc[::6].reset_index(drop=True)


def test_windows_cover_a_clip_and_their_mean_is_weighted_by_frames(rows):
    store = Features(rows, LABELS, frames=True)
    data = Clips(store, rows, LABELS)

    def mean_of_frames(inputs):
        values, mask = inputs
        return (values * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    whole, cut = predict_table(mean_of_frames, data), predict_table(mean_of_frames, data, 16)
    for number, utt_id in enumerate(rows["utt_id"]):
        clip = store[utt_id].astype(float)
        assert np.allclose(whole[number], clip.mean(0), atol=1e-5)
        pieces = [np.arange(begin, begin + count) for begin, count in windows(len(clip), 16)]
        covered = np.concatenate(pieces)
        assert set(covered) == set(range(len(clip)))
        assert all(len(piece) == min(16, len(clip)) for piece in pieces)
        total = sum(len(piece) * clip[piece].mean(0) for piece in pieces) / len(covered)
        assert np.allclose(cut[number], total, atol=1e-5)


def naive_windows(clip, window):
    """Half-overlapping pieces of a clip; the clip itself without a window."""
    begins = [0]
    while window and begins[-1] + window < len(clip):
        begins.append(min(begins[-1] + window // 2, len(clip) - window))
    return [clip[begin : begin + window] if window else clip for begin in begins]


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("window", [0, 32])
def test_what_a_clip_gets_depends_neither_on_its_batch_nor_on_the_order(rows, norm, window):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 90, len(rows))
    values = [rng.normal(size=(length, 16)).astype(np.float32) for length in lengths]
    store = Memory(dict(zip(rows["utt_id"], values, strict=True)))
    net = network("resnet18", 16, 3, norm=norm, width=8)
    config = DomainConfig("erm", crop_frames=40, per_domain=6)
    learner = ALGORITHMS["erm"](net, config)
    data = Clips(store, rows, LABELS)
    # so that running statistics of "batch" are not those of a fresh network
    learner.update(DomainBatches(data, config).batch(0))
    table = predict_table(learner.predict, data, window)
    assert table.shape == (len(rows), 3) and table.dtype == np.float64
    assert np.allclose(table.sum(axis=1), 1)
    order = rng.permutation(len(rows))
    shuffled = predict_table(learner.predict, Clips(store, rows.iloc[order], LABELS), window)
    assert np.allclose(shuffled, table[order], atol=1e-5)
    for number in range(0, len(rows), 4):
        alone = []
        for piece in naive_windows(torch.from_numpy(values[number]), window):
            mask = torch.ones(1, len(piece), dtype=torch.bool)
            alone.append(torch.softmax(net.eval()(piece[None], mask)[0].double(), 1))
        assert np.allclose(table[number], torch.cat(alone).mean(0).detach().numpy(), atol=1e-5)


def test_vectors_are_predicted_as_they_are(rows):
    def row_number(inputs):
        return functional.one_hot(inputs[0][:, 0].long(), len(rows))

    found = predict_table(row_number, Clips(numbered(rows), rows, LABELS), 198)
    assert np.array_equal(found, np.eye(len(rows)))
