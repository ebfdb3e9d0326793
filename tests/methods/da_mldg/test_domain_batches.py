"""Batches of domains: pure in (seed, step), fair to utterances, honest about padding."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from domain_toys import LABELS, Memory, numbered

from colab_utils import corpora
from colab_utils.corpora.audio import load_audio
from colab_utils.corpora.manifest import empty_row
from colab_utils.features import front_end
from colab_utils.features.front_end import identity
from colab_utils.features.store.extract import extract
from colab_utils.learning.clips import Clips
from colab_utils.methods.da_mldg.algorithms import ALGORITHMS
from colab_utils.methods.da_mldg.batches import DomainBatches, digital_silence, shifted, stretched
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.models import network

STRETCH, SHIFT = (0.8, 1.25), 0.1  # of the report of King Gandhi et al. (2023), not of their code


def corpus(name, number, labels=LABELS):
    rows = []
    for i in range(number):
        who = {"speaker": f"s{i % 3}", "emotion": labels[i % len(labels)]}
        rows.append(empty_row(name, f"{i}") | who)
    return pd.DataFrame(rows)


@pytest.fixture
def rows():
    parts = [corpus("aa", 7), corpus("bb", 12), corpus("cc", 30, LABELS[:2])]
    return pd.concat(parts, ignore_index=True)


def frames(rows, shortest=5, longest=40):
    rng = np.random.default_rng(0)
    values = {}
    for utt in rows["utt_id"]:
        size = int(rng.integers(shortest, longest)), 6
        values[utt] = rng.normal(size=size).astype(np.float32)
    return Memory(values)


def batches_of(store, rows, **changes):
    """Batches of unscaled clips, with the silence of the store."""
    config = DomainConfig(**{"classes": "none"} | changes)
    return DomainBatches(Clips(store, rows, LABELS), config, digital_silence(store.spec))


def taken(batch):
    """The row numbers of a batch of `numbered`, by domain."""
    return {name: values[:, 0].long().numpy() for name, ((values,), _) in batch.items()}


def flat(batch):
    """All tensors of a batch, in order."""
    return [tensor for name in sorted(batch) for tensor in (*batch[name][0], batch[name][1])]


# --- drawing --------------------------------------------------------------------------------------

WAYS = itertools.product(
    ["balanced", "proportional"], ["none", "class"], [True, False], ["masked", "zeros"]
)


@pytest.mark.parametrize(("how", "classes", "augment", "padding"), WAYS)
def test_a_batch_is_a_pure_function_of_seed_and_step(rows, how, classes, augment, padding):
    changes = {"batches": how, "classes": classes, "augment": augment, "padding": padding}
    changes |= {"crop_frames": 16, "per_domain": 4}
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    one = batches_of(frames(rows), rows, seed=5, **changes)
    inorder = [flat(one.batch(step)) for step in range(6)]
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()
    torch.manual_seed(99)
    np.random.seed(99)
    # as after a restart, and from the last step to the first
    other = batches_of(frames(rows), rows, seed=5, **changes)
    for step in reversed(range(6)):
        found = flat(other.batch(step))
        assert all(torch.equal(*pair) for pair in zip(inorder[step], found, strict=True))
    steps = {tuple(tensors[0].flatten().tolist()) for tensors in inorder}
    assert len(steps) == 6, "steps differ"
    seeds = batches_of(frames(rows), rows, seed=6, **changes)
    assert not torch.equal(inorder[0][0], flat(seeds.batch(0))[0]), "and so do seeds"


@pytest.mark.parametrize("per_domain", [1, 2, 5, 9])
def test_every_utterance_of_a_domain_is_taken_once_before_any_is_taken_twice(rows, per_domain):
    batches = batches_of(numbered(rows), rows, per_domain=per_domain)
    data, counts = batches.clips, np.zeros(len(rows), int)
    for step in range(14):
        batch = batches.batch(step)
        for name, numbers in taken(batch).items():
            np.add.at(counts, numbers, 1)
            assert len(numbers) == per_domain and set(data.corpus[numbers]) == {name}
            assert torch.equal(batch[name][1], data.y[numbers])
        for name in data.corpora:
            mine = counts[data.corpus == name]
            assert mine.max() - mine.min() <= 1 and mine.sum() == per_domain * (step + 1)


@pytest.mark.parametrize(("batch", "shares"), [(7, [3, 2, 2]), (32, [11, 11, 10]), (6, [2, 2, 2])])
def test_a_batch_is_shared_by_the_sources(rows, batch, shares):
    data = batches_of(numbered(rows), rows, batch=batch)
    counts = np.zeros(len(rows), int)
    for step in range(5):
        found = taken(data.batch(step))
        assert [len(found[name]) for name in sorted(found)] == shares
        np.add.at(counts, np.concatenate(list(found.values())), 1)
    for name in "aa", "bb", "cc":
        mine = counts[data.clips.corpus == name]
        assert mine.max() - mine.min() <= 1


def test_a_batch_is_drawn_whole_from_the_pool(rows):
    pool = batches_of(numbered(rows), rows, batch=32, batches="proportional")
    for step in range(5):
        assert sum(map(len, taken(pool.batch(step)).values())) == 32


def test_proportional_batches_take_the_pool_in_turn_and_follow_its_sizes(rows):
    data = batches_of(numbered(rows), rows, per_domain=7, batches="proportional")
    counts = np.zeros(len(rows), int)
    for step in range(7):  # 49 utterances, 7 steps of 3 x 7: three epochs
        batch = taken(data.batch(step))
        numbers = np.concatenate(list(batch.values()))
        if all(len(mine) > 2 for mine in batch.values()):
            assert len(numbers) == 21
        np.add.at(counts, numbers, 1)
    assert counts.min() == 3 and counts.sum() <= 3 * 49 + 2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_proportional_batch_leaves_a_side_of_an_algorithm_empty(algorithm):
    """The code of King Gandhi et al. (2023) does: a small corpus beside a large one."""
    rows = pd.concat([corpus("aa", 200), corpus("bb", 3), corpus("cc", 1)], ignore_index=True)
    data = batches_of(numbered(rows), rows, per_domain=2, batches="proportional")
    torch.manual_seed(0)
    learner = ALGORITHMS[algorithm](network("mlp", 3, 3, width=4), DomainConfig(algorithm))
    for step in range(20):
        batch = data.batch(step)
        assert sorted(batch) == ["aa", "bb", "cc"] and all(len(y) >= 2 for _, y in batch.values())
        assert np.isfinite(learner.update(batch)["loss"])


def test_class_balance_within_one_utterance_and_a_missing_class_stays_missing(rows):
    data = batches_of(numbered(rows), rows, per_domain=8, classes="class")
    total = torch.zeros(3)
    for step in range(60):
        for name, (_, y) in data.batch(step).items():
            counts = torch.bincount(y, minlength=3)
            if name == "cc":
                assert counts.tolist() == [4, 4, 0]
            else:
                assert sorted(counts.tolist()) == [2, 3, 3]
            total += counts * (name == "aa")
    # no emotion is always the one that gets less: that would be 60
    assert total.sum() == 480 and total.max() - total.min() <= 30


def test_class_balance_takes_a_rare_emotion_as_often_as_the_others(rows):
    fear = (rows["corpus"] == "aa") & (rows["emotion"] == "fear")
    rare = pd.concat([rows[~fear], rows[fear].iloc[:1]], ignore_index=True)
    y = batches_of(numbered(rare), rare, per_domain=9, classes="class").batch(0)["aa"][1]
    assert torch.bincount(y).tolist() == [3, 3, 3]


# --- crops ----------------------------------------------------------------------------------------


def test_presets_crop_the_seconds_of_the_report_and_of_the_code():
    spec = front_end("da-mldg")
    for name, seconds in (("paper", 2.0), ("code", 3.5)):
        made = spec.compute([np.zeros(int(seconds * 16000), np.float32)])[0]
        assert len(made) == DomainConfig.from_preset(name).crop_frames


def test_zeros_around_a_clip_are_what_the_front_end_makes_of_a_waveform_with_zeros_around_it():
    """The released code pads the waveform; only frames that straddle speech and zeros differ."""
    spec, rng = front_end("da-mldg"), np.random.default_rng(0)
    wave = rng.normal(0, 0.1, 400 + 160 * 119).astype(np.float32)  # 120 frames
    before = 160 * 114
    padded = np.zeros(400 + 160 * 347, np.float32)
    padded[before : before + len(wave)] = wave
    (expected,) = spec.compute([padded])
    rows = corpus("aa", 1)
    store = Memory({rows["utt_id"][0]: spec.compute([wave])[0]}, spec=identity(spec))
    batches = batches_of(store, rows, crop_frames=348, padding="zeros")
    values, mask = batches.crops(np.array([0]), rng)
    assert mask.all() and values.shape == (1, 348, 64)
    differ = np.abs(values[0].numpy() - expected).max(axis=1) > 1e-4
    assert set(np.flatnonzero(differ)) <= {112, 113, 234, 235}
    assert np.allclose(expected[:112], np.log(1e-6))
    assert np.allclose(values[0, 114:234], expected[114:234], atol=1e-5)


def test_zeros_are_scaled_like_the_clips(rows):
    store = frames(rows, 5, 9)
    clips = Clips(store, rows, LABELS)
    scale = clips.fit_scale(by_corpus=True)
    config = DomainConfig(crop_frames=20, padding="zeros")
    batches = DomainBatches(clips.scaled(scale), config, digital_silence(store.spec))
    values, mask = batches.crops(np.array([0]), np.random.default_rng(0))
    before = (20 - clips.lengths[0]) // 2
    clip = torch.from_numpy(store[rows["utt_id"][0]])
    assert mask.all() and before > 0
    assert torch.allclose(values[0, 0], (np.log(1e-6) - scale.mean) * scale.factor)
    assert torch.allclose(values[0, before], scale.applied(clip[0]), atol=1e-5)


def test_crops_are_pieces_of_clips_and_what_follows_is_masked(rows):
    store = frames(rows)
    batches = batches_of(store, rows, crop_frames=20)
    values, mask = batches.crops(np.arange(30), np.random.default_rng(0))
    for row, clip in enumerate(store[utt] for utt in rows["utt_id"][:30]):
        length = min(20, len(clip))
        assert mask[row].tolist() == [True] * length + [False] * (20 - length)
        piece = values[row, :length].numpy()
        begins = range(len(clip) - length + 1)
        assert any(np.array_equal(piece, clip[begin : begin + length]) for begin in begins)
        assert (values[row, length:] == 0).all()


def ramp_of(length):
    """Clips of one utterance whose frames count up from 1."""
    rows = corpus("aa", 1)
    counting = np.arange(1, length + 1, dtype=np.float32)[:, None]
    return Clips(Memory({rows["utt_id"][0]: counting}), rows, LABELS)


def test_random_crops_reach_both_ends_of_a_clip_and_every_place_between():
    data = DomainBatches(ramp_of(20), DomainConfig(crop_frames=16))
    values, mask = data.crops(np.zeros(300, int), np.random.default_rng(0))
    assert set(values[:, 0, 0].tolist()) == {1, 2, 3, 4, 5} and mask.all()
    assert (values[:, 15, 0] == values[:, 0, 0] + 15).all()


def test_augmented_crops_are_stretched_and_shifted_within_the_published_ranges():
    """The slope of what comes out is 1 / factor, zeros at an end are the shift."""
    data = DomainBatches(ramp_of(400), DomainConfig(crop_frames=100, augment=True))
    values, mask = data.crops(np.zeros(200, int), np.random.default_rng(0))
    assert mask.all()
    factors, shifts = [], []
    for row in values[..., 0].numpy():
        filled = np.flatnonzero(row)
        assert (np.diff(filled) == 1).all(), "what is left of the clip is one piece"
        steps = np.diff(row[filled])
        # interpolation holds the first and last value
        inner = steps[1:-1][(row[filled][1:-2] > 1.5) & (row[filled][2:-1] < 399.5)]
        assert np.ptp(inner) < 1e-3
        factors.append(1 / inner.mean())
        shifts.append(filled[0] if filled[0] else filled[-1] - 99)
    assert STRETCH[0] - 0.01 <= min(factors) < 0.85 and 1.2 < max(factors) <= STRETCH[1] + 0.01
    assert -100 * SHIFT <= min(shifts) <= -8 and 8 <= max(shifts) <= 100 * SHIFT


def test_an_augmented_short_clip_keeps_its_padding_masked(rows):
    data = batches_of(frames(rows, 5, 9), rows, crop_frames=16, augment=True)
    lengths = data.clips.lengths
    values, mask = data.crops(np.arange(len(rows)), np.random.default_rng(0))
    counts = mask.sum(1).numpy()
    assert (counts >= np.floor(STRETCH[0] * lengths)).all()
    assert (counts <= np.ceil(STRETCH[1] * lengths)).all()
    assert (values[~mask] == 0).all() and (mask.numpy() == (np.arange(16) < counts[:, None])).all()


def test_stretch_and_shift():
    ramp, silence = torch.arange(10.0)[:, None], torch.zeros(1)
    assert len(stretched(ramp, 1.25)) == 12 and len(stretched(ramp, 0.8)) == 8
    assert len(stretched(ramp[:1], 0.8)) == 1
    assert torch.allclose(stretched(ramp, 2.0)[1:-1, 0].diff(), torch.full((17,), 0.5))
    assert shifted(ramp, 3, silence)[:, 0].tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6]
    assert shifted(ramp, -4, silence)[:, 0].tolist() == [4, 5, 6, 7, 8, 9, 0, 0, 0, 0]
    assert torch.equal(shifted(ramp, 0, silence), ramp)


# --- real speech ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_crops_of_real_corpora_are_pieces_of_their_clips_and_every_algorithm_takes_them(
    real_corpora, tmp_path
):
    manifest = corpora.open_corpora(["emodb", "savee"], real_corpora, tmp_path)
    manifest = manifest[manifest["emotion"].isin(LABELS)]
    manifest = manifest.groupby(["corpus", "emotion"]).head(2).reset_index(drop=True)
    store = extract(manifest, front_end("da-mldg"), tmp_path / "features", progress=False)
    clips = [store[utt_id] for utt_id in manifest["utt_id"]]
    lengths = [1 + (len(load_audio(file, 16000)) - 400) // 160 for file in manifest["file"]]
    assert [len(clip) for clip in clips] == lengths
    batch = batches_of(store, manifest, per_domain=6, classes="class").batch(0)
    for (values, mask), y in batch.values():
        assert values.shape == (6, 198, 64) and torch.bincount(y).tolist() == [2, 2, 2]
        for crop, count in zip(values.numpy(), mask.sum(1).tolist(), strict=True):
            found = [row for row, clip in enumerate(clips) if holds(clip, crop[:count])]
            assert len(found) == 1 and count in (198, lengths[found[0]])
    data = Clips(store, manifest, LABELS)
    data = data.scaled(data.fit_scale(by_corpus=True))
    for name in ALGORITHMS:
        torch.manual_seed(0)
        net = network("resnet18", 64, 3, norm="batch", width=4)
        learner = ALGORITHMS[name](net, DomainConfig(name))
        for changes in ({"augment": True}, {"batches": "proportional", "padding": "zeros"}):
            config = DomainConfig(per_domain=4, **changes)
            batches = DomainBatches(data, config, digital_silence(store.spec))
            assert np.isfinite(learner.update(batches.batch(0))["loss"]), name


def holds(clip, piece):
    """Whether the frames of `piece` follow one another in a clip."""
    begins = range(len(clip) - len(piece) + 1)
    return any(np.array_equal(clip[begin : begin + len(piece)], piece) for begin in begins)
