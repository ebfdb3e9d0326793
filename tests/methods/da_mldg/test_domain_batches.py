"""Batches of domain generalisation against independent rules: pure in (seed, step), fair to
utterances, honest about padding, blind to company.
"""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from colab_utils import corpora
from colab_utils.corpora.audio import load_audio
from colab_utils.corpora.manifest import empty_row
from colab_utils.features import front_end
from colab_utils.features.front_end import identity
from colab_utils.features.store.extract import extract
from colab_utils.learning.clips import Clips
from colab_utils.methods.da_mldg.algorithms import ALGORITHMS
from colab_utils.methods.da_mldg.batches import DomainBatches, digital_silence, predict_table
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.models import network

LABELS = ["anger", "fear", "sadness"]
STRETCH, SHIFT = (0.8, 1.25), 0.1  # the report's (method_facts §4.2), not the code's


class Memory:
    """A store in memory: {utt_id: float32 (frames, dim)}."""

    def __init__(self, values, pooled=False, spec=None):
        self.values, self.ids, self.pooled = values, list(values), pooled
        self.spec = spec or {"name": "da-mldg", "settings": {"floor": 1e-6, "normalise": "none"}}

    def __getitem__(self, utt_id):
        return self.values[utt_id]

    def matrix(self, ids):
        return np.concatenate([self.values[utt_id] for utt_id in ids])


def corpus(name, number, labels=LABELS):
    return pd.DataFrame(
        [
            {**empty_row(name, f"{i}"), "speaker": f"s{i % 3}", "emotion": labels[i % len(labels)]}
            for i in range(number)
        ]
    )


@pytest.fixture
def rows():
    return pd.concat(
        [corpus("aa", 7), corpus("bb", 12), corpus("cc", 30, LABELS[:2])], ignore_index=True
    )


def frames(rows, shortest=5, longest=40, dim=6, seed=0):
    rng = np.random.default_rng(seed)
    return Memory(
        {
            utt: rng.normal(size=(int(rng.integers(shortest, longest)), dim)).astype(np.float32)
            for utt in rows["utt_id"]
        }
    )


def numbered(rows):
    """Vectors that hold the row number: which utterances a batch took can be read off."""
    return Memory(
        {utt: np.full((1, 3), number, np.float32) for number, utt in enumerate(rows["utt_id"])},
        pooled=True,
    )


def batches_of(store, rows, crop_frames=198):
    """Batches of unscaled clips, with the silence of the store."""
    return DomainBatches(Clips(store, rows, LABELS), crop_frames, digital_silence(store.spec))


def flat(batch):
    """All tensors of a batch, in order."""
    return [tensor for name in sorted(batch) for tensor in (*batch[name][0], batch[name][1])]


# --- drawing
# ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balanced", "balance", "augment", "padding"),
    list(itertools.product([True, False], ["none", "class"], [True, False], ["masked", "zeros"])),
)
def test_a_batch_is_a_pure_function_of_seed_and_step(rows, balanced, balance, augment, padding):
    how = {"domain_balanced": balanced, "balance": balance, "augment": augment, "padding": padding}
    data = batches_of(frames(rows), rows, crop_frames=16)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    inorder = [flat(data.batch(5, step, 4, **how)) for step in range(6)]
    assert (
        torch.equal(states[0], torch.get_rng_state())
        and (states[1] == np.random.get_state()[1]).all()
    )
    torch.manual_seed(99)
    np.random.seed(99)
    # as after a restart, and from the last step to the first
    other = batches_of(frames(rows), rows, crop_frames=16)
    for step in reversed(range(6)):
        found = flat(other.batch(5, step, 4, **how))
        assert all(torch.equal(*pair) for pair in zip(inorder[step], found, strict=True))
    steps = {tuple(one[0].flatten().tolist()) for one in inorder}
    # steps differ, seeds do too
    assert len(steps) == 6
    assert not torch.equal(inorder[0][0], flat(data.batch(6, 0, 4, **how))[0])


@pytest.mark.parametrize("per_domain", [1, 2, 5, 9])
def test_every_utterance_of_a_domain_is_taken_once_before_any_is_taken_twice(rows, per_domain):
    batches, taken = batches_of(numbered(rows), rows), np.zeros(len(rows), int)
    data = batches.clips
    for step in range(14):
        for name, ((values,), y) in batches.batch(1, step, per_domain).items():
            numbers = values[:, 0].long().numpy()
            np.add.at(taken, numbers, 1)
            assert len(y) == per_domain and torch.equal(y, data.y[numbers])
            assert set(data.corpus[numbers]) == {name}
        for name in data.corpora:
            mine = taken[data.corpus == name]
            assert mine.max() - mine.min() <= 1 and mine.sum() == per_domain * (step + 1)


def test_proportional_batches_take_the_pool_in_turn_and_follow_its_sizes(rows):
    data, taken = batches_of(numbered(rows), rows), np.zeros(len(rows), int)
    # 49 utterances, 7 steps of 3 x 7: three epochs
    for step in range(7):
        batch = data.batch(2, step, 7, domain_balanced=False)
        numbers = np.concatenate([values[:, 0].long().numpy() for (values,), _ in batch.values()])
        if all(len(y) > 2 for _, y in batch.values()):
            assert len(numbers) == 21
        np.add.at(taken, numbers, 1)
    assert taken.min() == 3 and taken.sum() <= 3 * 49 + 2


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_no_proportional_batch_leaves_a_side_of_an_algorithm_empty(algorithm):
    """The released code's did (method_facts §4.6, 4): with a small corpus beside a large one most
    draws of 4 hold one domain.
    """
    rows = pd.concat([corpus("aa", 200), corpus("bb", 3), corpus("cc", 1)], ignore_index=True)
    data = batches_of(numbered(rows), rows)
    torch.manual_seed(0)
    learner = ALGORITHMS[algorithm](
        network("mlp", 3, 3, width=4), lambda p: torch.optim.SGD(p, lr=1e-3)
    )
    for step in range(40):
        batch = data.batch(0, step, 2, domain_balanced=False)
        assert sorted(batch) == ["aa", "bb", "cc"] and all(len(y) >= 2 for _, y in batch.values())
        assert np.isfinite(learner.update(batch)["loss"])


def test_class_balance_within_one_utterance_and_a_missing_class_stays_missing(rows):
    data, total = batches_of(numbered(rows), rows), 0
    for step in range(60):
        for name, (_, y) in data.batch(0, step, 8, balance="class").items():
            counts = torch.bincount(y, minlength=3)
            assert sorted(counts.tolist()) == ([0, 4, 4] if name == "cc" else [2, 3, 3]) and (
                name != "cc" or counts[2] == 0
            )
            total = total + counts * (name == "aa")
    # no emotion is always the one that gets less: that would be 60
    assert total.sum() == 480 and total.max() - total.min() <= 30


# --- crops
# -----------------------------------------------------------------------------------------------------------------------------


def test_presets_crop_the_seconds_of_the_report_and_of_the_code():
    spec = front_end("da-mldg")
    for name, seconds in (("paper", 2.0), ("code", 3.5)):
        frames = spec.compute([np.zeros(int(seconds * 16000), np.float32)])[0]
        assert len(frames) == DomainConfig.from_preset(name).crop_frames


def test_zeros_around_a_clip_are_what_the_front_end_makes_of_a_waveform_with_zeros_around_it():
    """The released code pads the waveform; only frames that straddle speech and zeros may differ."""
    # 120 frames
    spec, wave = (
        front_end("da-mldg"),
        np.random.default_rng(0).normal(0, 0.1, 400 + 160 * 119).astype(np.float32),
    )
    before = 160 * 114
    padded = np.zeros(400 + 160 * 347, np.float32)
    padded[before : before + len(wave)] = wave
    (expected,) = spec.compute([padded])
    rows = corpus("aa", 1)
    store = Memory({rows["utt_id"][0]: spec.compute([wave])[0]}, spec=identity(spec))
    batches = batches_of(store, rows, crop_frames=348)
    values, mask = batches.crops(np.array([0]), np.random.default_rng(0), padding="zeros")
    assert mask.all() and values.shape == (1, 348, 64)
    differ = np.abs(values[0].numpy() - expected).max(axis=1) > 1e-4
    assert set(np.flatnonzero(differ)) <= {112, 113, 234, 235} and np.allclose(
        expected[:112], np.log(1e-6)
    )
    assert np.allclose(values[0, 114:234], expected[114:234], atol=1e-5)


def test_random_crops_reach_both_ends_of_a_clip_and_every_place_between():
    rows = corpus("aa", 1)
    ramp = Memory({rows["utt_id"][0]: np.arange(20, dtype=np.float32)[:, None]})
    data = batches_of(ramp, rows, crop_frames=16)
    values, mask = data.crops(np.zeros(300, int), np.random.default_rng(0))
    assert (
        set(values[:, 0, 0].tolist()) == {0, 1, 2, 3, 4}
        and (values[:, 15, 0] == values[:, 0, 0] + 15).all()
        and mask.all()
    )


def test_augmented_crops_are_stretched_and_shifted_within_the_published_ranges():
    """A clip whose frames count up: the slope of what comes out is 1 / factor, zeros at an end are
    the shift.
    """
    rows, length = corpus("aa", 1), 400
    ramp = Memory({rows["utt_id"][0]: np.arange(1, length + 1, dtype=np.float32)[:, None]})
    data = DomainBatches(Clips(ramp, rows, LABELS), 100, silence=0.0)  # what comes in
    values, mask = data.crops(np.zeros(200, int), np.random.default_rng(0), augment=True)
    assert mask.all()
    factors, shifts = [], []
    for row in values[..., 0].numpy():
        filled = np.flatnonzero(row)
        # what is left of the clip is one piece
        assert (np.diff(filled) == 1).all()
        steps = np.diff(row[filled])
        # interpolation holds the first and last value
        inner = steps[1:-1][(row[filled][1:-2] > 1.5) & (row[filled][2:-1] < length - 0.5)]
        assert np.ptp(inner) < 1e-3
        factors.append(1 / inner.mean())
        shifts.append(filled[0] if filled[0] else filled[-1] - 99)
    assert STRETCH[0] - 0.01 <= min(factors) < 0.85 and 1.2 < max(factors) <= STRETCH[1] + 0.01
    assert -100 * SHIFT <= min(shifts) <= -8 and 8 <= max(shifts) <= 100 * SHIFT


def test_an_augmented_short_clip_keeps_its_padding_masked(rows):
    data = batches_of(frames(rows, 5, 9), rows, crop_frames=16)
    lengths = data.clips.lengths
    values, mask = data.crops(np.arange(len(rows)), np.random.default_rng(0), augment=True)
    counts = mask.sum(1).numpy()
    assert (counts >= np.floor(STRETCH[0] * lengths)).all()
    assert (counts <= np.ceil(STRETCH[1] * lengths)).all()
    assert (values[~mask] == 0).all() and (mask.numpy() == (np.arange(16) < counts[:, None])).all()


# --- prediction
# ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("window", [0, 32])
def test_what_a_clip_gets_depends_neither_on_its_batch_nor_on_the_order(rows, norm, window):
    torch.manual_seed(0)
    net = network("resnet18", 16, 3, norm=norm, width=8)
    learner = ALGORITHMS["erm"](net, lambda p: torch.optim.SGD(p, lr=0.05))
    store = frames(rows, 3, 90, dim=16)
    data = Clips(store, rows, LABELS)
    # so that running statistics of "batch" are not those of a fresh network
    learner.update(DomainBatches(data, 40).batch(0, 0, 6))
    table = predict_table(learner.predict, data, window)
    assert (
        table.shape == (len(rows), 3)
        and table.dtype == np.float64
        and np.allclose(table.sum(axis=1), 1)
    )
    order = np.random.default_rng(3).permutation(len(rows))
    shuffled = predict_table(learner.predict, Clips(store, rows.iloc[order], LABELS), window)
    assert np.allclose(shuffled, table[order], atol=1e-5)
    for number in range(0, len(rows), 6):
        clip = torch.from_numpy(store[rows["utt_id"][number]])
        begins = [0]
        while window and begins[-1] + window < len(clip):
            begins.append(min(begins[-1] + window // 2, len(clip) - window))
        pieces = [clip[begin : begin + window] if window else clip for begin in begins]
        alone = [
            torch.softmax(
                net.eval()(piece[None], torch.ones(1, len(piece), dtype=torch.bool))[0].double(), 1
            )
            for piece in pieces
        ]
        assert np.allclose(table[number], torch.cat(alone).mean(0).detach().numpy(), atol=1e-5)


def test_vectors_are_predicted_as_they_are(rows):
    data = Clips(numbered(rows), rows, LABELS)
    found = predict_table(
        lambda inputs: functional.one_hot(inputs[0][:, 0].long(), len(rows)), data, 198
    )
    assert np.array_equal(found, np.eye(len(rows)))


# --- real speech
# -----------------------------------------------------------------------------------------------------------------------


def test_crops_of_real_corpora_are_pieces_of_their_clips_and_every_algorithm_takes_them(
    real_corpora, tmp_path
):
    manifest = corpora.open_corpora(["emodb", "savee"], real_corpora, tmp_path)
    manifest = (
        manifest[manifest["emotion"].isin(LABELS)]
        .groupby(["corpus", "emotion"])
        .head(4)
        .reset_index(drop=True)
    )
    store = extract(manifest, front_end("da-mldg"), tmp_path / "features", progress=False)
    data = Clips(store, manifest, LABELS)
    batches = DomainBatches(data, 198)
    for (values, mask), y in batches.batch(0, 0, 6, balance="class").values():
        assert values.shape == (6, 198, 64) and torch.bincount(y).tolist() == [2, 2, 2]
        for crop, valid in zip(values, mask, strict=True):
            count = int(valid.sum())
            found = [
                row
                for row in range(len(manifest))
                for begin in range(len(store[manifest["utt_id"][row]]) - count + 1)
                if np.array_equal(
                    store[manifest["utt_id"][row]][begin : begin + count], crop[:count].numpy()
                )
            ]
            assert len(found) == 1 and (count == 198 or count == data.lengths[found[0]])
    assert data.lengths.tolist() == [
        1 + (len(load_audio(file, 16000)) - 400) // 160 for file in manifest["file"]
    ]
    scale = data.fit_scale(by_corpus=True)
    batches = DomainBatches(data.scaled(scale), 198, digital_silence(store.spec))
    for name, kind in ALGORITHMS.items():
        torch.manual_seed(0)
        learner = kind(
            network("resnet18", 64, 3, norm="batch", width=4), lambda p: torch.optim.SGD(p, lr=0.01)
        )
        augmented = batches.batch(0, 0, 6, augment=True)
        assert np.isfinite(learner.update(augmented)["loss"]), name
        padded = batches.batch(0, 1, 4, domain_balanced=False, padding="zeros")
        assert np.isfinite(learner.update(padded)["loss"]), name
