"""The container of clips against naive loops: crops, masks, scaling, vectors of frames."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from toy_store import InMemory

from colab_utils.corpora.manifest import ManifestError
from colab_utils.features.store.shards import write_shard
from colab_utils.features.store.store import INDEX, FeatureStore
from colab_utils.files import write_json
from colab_utils.learning.clips import Clips
from colab_utils.settings import SettingError

EMOTIONS = ["anger", "disgust", "fear", "happiness", "sadness"]


def toy(pooled, n=60, dim=4, longest=40, seed=0):
    """Rows of two corpora and their features.

    Vectors, or 1 to `longest` frames whose feature 0 is the utterance and feature 1 the frame.
    """
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "utt_id": [f"c/{i:03}" for i in range(n)],
            "corpus": ["b" if i < n // 4 else "a" for i in range(n)],
            "emotion": [EMOTIONS[i % 5] for i in range(n)],
        }
    )
    values = {}
    for i, utt_id in enumerate(rows["utt_id"]):
        length = 1 if pooled else int(rng.integers(1, longest + 1))
        frames = rng.normal(3, 2, (length, dim)).astype(np.float32)
        if not pooled:
            frames[:, 0], frames[:, 1] = i + 1, np.arange(len(frames))
        values[utt_id] = frames
    return rows, InMemory(values, pooled)


@pytest.mark.parametrize("pooled", [True, False])
def test_clips_are_held_as_they_are_stored_and_asked_for_by_their_number(pooled):
    rows, store = toy(pooled)
    data = Clips(store, rows.iloc[::-1], EMOTIONS)
    assert data.rows.index.tolist() == list(range(60)) and len(data) == 60
    assert data.rows["utt_id"].tolist() == rows["utt_id"].tolist()[::-1]
    assert data.y.dtype == torch.int64
    assert data.y.tolist() == [EMOTIONS.index(emotion) for emotion in data.rows["emotion"]]
    assert data.corpora == ["a", "b"] and (data.corpus == data.rows["corpus"]).all()
    assert data.frames != pooled and data.dim == 4 and data.scale is None
    for number, utt_id in enumerate(data.rows["utt_id"]):
        assert np.array_equal(data.clip(number), store[utt_id])
        assert data.lengths[number] == len(store[utt_id])


# --- inputs of a network --------------------------------------------------------------------------


def test_crops_lie_inside_their_clip_and_reach_all_of_it():
    rows, store = toy(False, n=20, longest=40)
    data, numbers = Clips(store, rows, EMOTIONS), np.arange(20)
    starts = {i: set() for i in numbers}
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        values, mask = data.crops(numbers, 16, generator)
        assert values.shape == (20, 16, 4) and mask.shape == (20, 16)
        for i, utt_id in enumerate(rows["utt_id"]):
            clip, mine = store[utt_id], values[i][mask[i]].numpy()
            first = int(mine[0, 1])
            assert len(mine) == min(16, len(clip)) and mask[i, : len(mine)].all()
            assert np.array_equal(mine, clip[first : first + 16]) and not values[i][~mask[i]].any()
            starts[i].add(first)
    lengths = [len(store[utt_id]) for utt_id in rows["utt_id"]]
    assert max(lengths) > 30
    for i, length in enumerate(lengths):
        assert starts[i] == set(range(max(1, length - 15)))
    values, mask = data.crops(numbers, 16)  # without a generator: the middle
    for i, length in enumerate(lengths):
        assert int(values[i, 0, 1]) == max(0, length - 16) // 2


def test_random_crops_follow_from_the_generator_alone():
    rows, store = toy(False, longest=200)
    data, numbers = Clips(store, rows, EMOTIONS), np.arange(60).reshape(4, 15)
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 1, 2)]
    one, again, other = (data.crops(numbers, 8, generator)[0] for generator in generators)
    assert one.shape == (4, 15, 8, 4)
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert not torch.equal(one, data.crops(numbers, 8, generators[0])[0])  # the next ones
    assert torch.equal(data.crops(numbers, 8)[0], data.crops(numbers, 8)[0])


def test_crops_are_no_longer_than_the_longest_clip_that_is_held():
    rows, store = toy(False)
    data = Clips(store, rows, EMOTIONS)
    shortest = np.array([data.lengths.argmin()])
    values, mask = data.crops(shortest, 300)
    assert values.shape == (1, data.lengths.max(), 4) and mask.sum() == data.lengths.min()


def test_whole_clips_and_pieces_of_them_are_padded_to_the_longest():
    rows, store = toy(False)
    data, numbers = Clips(store, rows, EMOTIONS), np.array([5, 3, 5, 20])
    values, mask = data.inputs(numbers)
    lengths = data.lengths[numbers]
    assert values.shape == (4, lengths.max(), 4) and mask.sum(1).tolist() == lengths.tolist()
    for row, number in enumerate(numbers):
        assert np.array_equal(values[row][mask[row]], store[rows["utt_id"][number]])
    assert not values[~mask].any()
    begins, counts = lengths // 3, np.maximum(1, lengths // 2)
    values, mask = data.inputs(numbers, begins, counts)
    assert values.shape == (4, counts.max(), 4)
    for row, number in enumerate(numbers):
        clip = store[rows["utt_id"][number]][begins[row] : begins[row] + counts[row]]
        assert np.array_equal(values[row][mask[row]], clip) and mask[row, : len(clip)].all()
    assert not values[~mask].any()


def test_padding_changes_nothing_that_the_mask_shows():
    rows, store = toy(False)
    is_short = rows["utt_id"].map(lambda utt_id: len(store[utt_id]) <= 10)
    short = rows[is_short].reset_index(drop=True)
    alone = Clips(store, short, EMOTIONS).crops(np.arange(len(short)), 300)
    beside = Clips(store, rows, EMOTIONS).crops(rows.index[is_short].to_numpy(), 300)
    assert len(short) > 5 and alone[0].shape[1] <= 10 < beside[0].shape[1]
    for i in range(len(short)):
        assert torch.equal(alone[0][i][alone[1][i]], beside[0][i][beside[1][i]])
        assert alone[1][i].sum() == beside[1][i].sum() == len(store[short["utt_id"][i]])
    assert not beside[0][~beside[1]].any()


def test_a_store_on_disk_serves_as_the_toy_does(tmp_path):
    rows, store = toy(False, n=20)
    head = write_shard(tmp_path / "0.safetensors", "0123456789ab", store.values, [], 4)
    shard = {
        "file": "0.safetensors",
        "ids": head.ids,
        "frames": head.frames,
        "skipped": [],
        "crc32": head.crc32,
    }
    write_json(
        tmp_path / INDEX,
        {
            "spec": {"name": "toy"},
            "feature_names": list("abcd"),
            "pooled": False,
            "key": "0123456789ab",
            "shards": [shard],
        },
    )
    stores = FeatureStore([tmp_path]), store
    one, other = (Clips(each, rows, EMOTIONS).crops(np.arange(20), 9) for each in stores)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# --- scale ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooled", [True, False])
def test_the_scale_is_that_of_scikit_learn_on_the_training_rows_alone(pooled):
    rows, store = toy(pooled)
    for utt_id, value in store.values.items():
        constant = np.full((len(value), 1), 1234.567, np.float32)
        store.values[utt_id] = np.concatenate([value, constant], axis=1)
    store = InMemory(store.values, pooled)
    training = np.arange(0, 60, 3)
    data = Clips(store, rows, EMOTIONS)
    scale = data.fit_scale(training)
    frames = np.concatenate([store[rows["utt_id"][i]] for i in training])
    oracle = StandardScaler().fit(frames.astype(np.float64)[:, :4])
    assert np.allclose(scale.mean[:4], oracle.mean_, rtol=1e-5)
    assert np.allclose(scale.factor[:4], 1 / oracle.scale_, rtol=1e-5)
    assert scale.factor[4] == 0 and scale.mean.dtype == scale.factor.dtype == torch.float32

    others = {
        utt_id: value if i in training else 100 * value + 7
        for i, (utt_id, value) in enumerate(store.values.items())
    }
    changed = Clips(InMemory(others, pooled), rows, EMOTIONS)
    assert all(torch.equal(a, b) for a, b in zip(scale, changed.fit_scale(training), strict=True))
    assert not torch.allclose(changed.fit_scale().mean, scale.mean)
    alone = Clips(store, rows.iloc[training], EMOTIONS).fit_scale()  # of the training rows
    assert all(torch.allclose(a, b) for a, b in zip(scale, alone, strict=True))

    before = data.values.clone()
    scaled, built = data.scaled(scale), Clips(store, rows, EMOTIONS, scale=scale)
    assert torch.equal(scaled.values, built.values) and torch.equal(data.values, before)
    assert scaled.scale is built.scale is scale and data.scale is None
    fitted = torch.cat([scaled.clip(number) for number in training])
    assert fitted[:, :4].mean(dim=0).abs().max() < 1e-5
    assert (fitted[:, :4].std(dim=0, unbiased=False) - 1).abs().max() < 1e-5
    assert not built.values[:, 4].any()
    if not pooled:
        values, mask = built.crops(np.arange(60), 5)
        assert not values[~mask].any()  # what is masked stays 0 after scaling


def test_a_scale_by_corpus_counts_corpora_alike_and_survives_constants_and_offsets():
    rows, store = toy(False)
    rng = np.random.default_rng(0)
    for utt_id in rows["utt_id"]:
        columns = [1e4 + rng.normal(size=9), np.full(9, 5.0), rng.normal(size=9)]
        store.values[utt_id] = np.column_stack(columns).astype(np.float32)
    train, test = rows.iloc[:40], rows.iloc[40:]
    assert train["corpus"].value_counts().to_dict() == {"a": 25, "b": 15}
    data = Clips(store, train, EMOTIONS)
    scaled = data.scaled(data.fit_scale(by_corpus=True))
    for column in (0, 2):
        owner = np.repeat(scaled.corpus, 9)
        pieces = [scaled.values[owner == name, column].double() for name in ("a", "b")]
        assert abs(float(sum(piece.mean() for piece in pieces))) < 1e-3
        square = float(sum(piece.square().mean() for piece in pieces)) / 2
        assert square == pytest.approx(1, abs=1e-2)
    assert (scaled.values[:, 1] == 0).all()
    assert torch.equal(data.values[:, 1], torch.full((40 * 9,), 5.0))  # it is as it was
    other = Clips(store, test, EMOTIONS, scale=scaled.scale)
    stored = torch.from_numpy(np.concatenate([store[utt_id] for utt_id in test["utt_id"]]))
    assert torch.equal(other.values, (stored - scaled.scale.mean) * scaled.scale.factor)
    whole = Clips(store, rows, EMOTIONS).fit_scale(np.arange(40), by_corpus=True)
    assert all(torch.equal(a, b) for a, b in zip(whole, scaled.scale, strict=True))


# --- what is refused ------------------------------------------------------------------------------


def other_scale():
    rows, store = toy(True, dim=7)
    return Clips(store, rows, EMOTIONS).fit_scale()


REFUSED = {
    "no features": (
        lambda rows, store: Clips(InMemory({"x": np.zeros((1, 4))}, True), rows, EMOTIONS),
        ManifestError,
        "60 utterance.s. have no features, the first is c/000",
    ),
    "foreign": (
        lambda rows, store: Clips(store, rows, EMOTIONS[:3]),
        ManifestError,
        "'happiness', 'sadness', which the labels lack",
    ),
    "no rows": (
        lambda rows, store: Clips(store, rows.iloc[:0], EMOTIONS),
        ManifestError,
        "no utterances",
    ),
    "no frames": (
        lambda rows, store: Clips(store, rows, EMOTIONS).crops([0], 0),
        SettingError,
        "max_frames = 0",
    ),
    "scale": (
        lambda rows, store: Clips(store, rows, EMOTIONS, scale=other_scale()),
        SettingError,
        "fitted on 7 features and these utterances have 4",
    ),
    "scaled": (
        lambda rows, store: Clips(store, rows, EMOTIONS).scaled(other_scale()),
        SettingError,
        "fitted on 7 features and these utterances have 4",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_held_or_asked_is_said_in_one_sentence(case):
    call, error, words = REFUSED[case]
    with pytest.raises(error, match=words) as caught:
        call(*toy(True))
    assert "\n" not in str(caught.value)
