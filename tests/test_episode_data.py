"""Episodes as tensors against naive loops: labels, crops, masks, scaling, and predictions that come back as emotions."""
import time

import hypothesis
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from colab_utils.features.store.shards import write_shard
from colab_utils.features.store.store import INDEX, FeatureStore
from colab_utils.files import write_json
from colab_utils.learning.clips import EpisodeData, episode_predictions, label_scores
from colab_utils.learning.tasks import probabilities
from colab_utils.protocols.episodes import EpisodeError, EpisodePlan, EpisodePool
from colab_utils.results.predictions import PREDICTION_COLUMNS, PredictionError

EMOTIONS = ["anger", "disgust", "fear", "happiness", "sadness"]


class Store:
    """What a feature store looks like from here."""

    def __init__(self, values, pooled):
        self.values, self.pooled, self.ids = values, pooled, list(values)

    def __getitem__(self, utt_id):
        return self.values[utt_id].copy()

    def matrix(self, ids):
        return np.concatenate([self.values[utt_id] for utt_id in ids])


def toy(pooled, n=60, dim=4, longest=40, seed=0):
    """Rows of 6 speakers and features: vectors, or 1 to `longest` frames whose feature 0 is the utterance and feature 1 the frame."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame([(f"c/{i:03}", "c", f"s{i % 6}", EMOTIONS[i % 5], "") for i in range(n)],
                        columns=["utt_id", "corpus", "speaker", "emotion", "film"])
    values = {}
    for i, utt_id in enumerate(rows["utt_id"]):
        frames = rng.normal(3, 2, (1 if pooled else int(rng.integers(1, longest + 1)), dim)).astype(np.float32)
        if not pooled:
            frames[:, 0], frames[:, 1] = i + 1, np.arange(len(frames))
        values[utt_id] = frames
    return rows, Store(values, pooled)


def drawn(rows, number=6, **plan):
    return EpisodePool(rows, EMOTIONS, EpisodePlan(**{"ways": 3, "shots": 2, "queries": 3, **plan})).episodes(0, 0, number)


@hypothesis.given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 3), st.integers(1, 3), st.integers(0, 3), st.booleans())
@hypothesis.settings(max_examples=40, deadline=None)
def test_both_regimes_equal_a_naive_loop_and_map_back(seed, ways, shots, queries, more, pooled):
    rows, store = toy(pooled, seed=seed)
    episodes = EpisodePool(rows, EMOTIONS, EpisodePlan(ways, shots, queries)).episodes(seed, 5, 4)
    data = EpisodeData(store, rows, EMOTIONS, max_frames=100)
    rng = np.random.default_rng(seed)
    for regime, outputs in (("permuted", ways + more), ("fixed", 5)):
        tasks = data.tasks(episodes, regime, outputs=ways + more if more else None)
        for batch, part, size in ((tasks.support, "support", shots), (tasks.query, "query", queries)):
            assert batch.y.shape == (4, ways * size) and batch.y.dtype == torch.int64
            assert batch.active.shape == (4, outputs) and batch.active.dtype == torch.bool
            for t, episode in enumerate(episodes):
                position = 0
                for way in range(ways):
                    for shot in range(size):
                        number = getattr(episode, part)[way, shot]
                        id_ = int(batch.y[t, position])
                        assert id_ == (way if regime == "permuted" else EMOTIONS.index(rows["emotion"].iloc[number])) and batch.active[t, id_]
                        mine = [tensor[t, position] for tensor in batch.inputs]
                        vectors = mine[0][mine[1]] if len(mine) == 2 else mine[0][None]
                        assert np.array_equal(vectors.numpy(), store[rows["utt_id"].iloc[number]])
                        position += 1
                wanted = set(range(ways)) if regime == "permuted" else set(episode.classes.tolist())
                assert set(torch.nonzero(batch.active[t]).ravel().tolist()) == wanted
        logits = torch.as_tensor(rng.normal(size=(4, ways * queries, outputs)))
        scores = label_scores(probabilities(logits, tasks.query.active), episodes, regime, 5)
        assert scores.shape == (4, ways * queries, 5) and np.allclose(scores.sum(axis=2), 1)
        right = torch.nn.functional.one_hot(tasks.query.y, outputs).float()          # an oracle's answers come back as the true emotions
        found = label_scores(right, episodes, regime, 5).argmax(axis=2)
        assert all(EMOTIONS[found[t, q]] == rows["emotion"].iloc[episodes[t].query.ravel()[q]] for t in range(4) for q in range(ways * queries))
        exact = probabilities(logits, tasks.query.active).numpy()
        for t, episode in enumerate(episodes):
            for position, c in enumerate(episode.classes):
                assert np.array_equal(scores[t, :, c], exact[t, :, position if regime == "permuted" else c])


def test_crops_lie_inside_their_clip_and_reach_all_of_it():
    rows, store = toy(False, longest=40)
    data, numbers = EpisodeData(store, rows, EMOTIONS, max_frames=16), np.arange(60)
    starts = {i: set() for i in numbers}
    crop = torch.Generator().manual_seed(0)
    for _ in range(300):
        values, mask = data.inputs(numbers, crop)
        assert values.shape == (60, 16, 4) and mask.shape == (60, 16)
        for i, utt_id in enumerate(rows["utt_id"]):
            clip, mine = store[utt_id], values[i][mask[i]].numpy()
            first = int(mine[0, 1])
            assert len(mine) == min(16, len(clip)) and np.array_equal(mine, clip[first:first + 16]) and not values[i][~mask[i]].any()
            assert mask[i, :len(mine)].all()
            starts[i].add(first)
    lengths = {i: len(store[utt_id]) for i, utt_id in enumerate(rows["utt_id"])}
    assert all(starts[i] == set(range(max(1, length - 15))) for i, length in lengths.items()) and max(lengths.values()) > 30
    values, mask = data.inputs(numbers)                                              # without a generator: the middle
    assert all(int(values[i, 0, 1]) == max(0, length - 16) // 2 for i, length in lengths.items())


def test_random_crops_follow_from_the_generator_and_differ_between_uses():
    rows, store = toy(False, longest=200)
    data, episodes = EpisodeData(store, rows, EMOTIONS, max_frames=8), drawn(rows)
    one, again, other = (data.tasks(episodes, "fixed", torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.query.inputs[0], again.query.inputs[0]) and not torch.equal(one.query.inputs[0], other.query.inputs[0])
    crop = torch.Generator().manual_seed(1)
    assert not torch.equal(data.tasks(episodes, "fixed", crop).query.inputs[0], data.tasks(episodes, "fixed", crop).query.inputs[0])
    assert torch.equal(data.tasks(episodes, "fixed").query.inputs[0], data.tasks(episodes, "fixed").query.inputs[0])


def test_padding_changes_nothing_that_the_mask_shows():
    rows, store = toy(False)
    short = rows[rows["utt_id"].map(lambda utt_id: len(store[utt_id]) <= 10)].reset_index(drop=True)
    alone = EpisodeData(store, short, EMOTIONS).inputs(np.arange(len(short)))
    beside = EpisodeData(store, rows, EMOTIONS).inputs(rows.index[rows["utt_id"].isin(short["utt_id"])].to_numpy())
    assert len(short) > 5 and alone[0].shape[1] <= 10 < beside[0].shape[1]
    for i in range(len(short)):
        assert torch.equal(alone[0][i][alone[1][i]], beside[0][i][beside[1][i]])
        assert alone[1][i].sum() == beside[1][i].sum() == len(store[short["utt_id"][i]])
    assert not beside[0][~beside[1]].any()


@pytest.mark.parametrize("pooled", [True, False])
def test_the_scale_is_that_of_scikit_learn_on_the_training_rows_alone(pooled):
    rows, store = toy(pooled)
    store.values = {utt_id: np.concatenate([value, np.full((len(value), 1), 1234.567, np.float32)], axis=1) for utt_id, value in store.values.items()}
    training = np.arange(0, 60, 3)
    data = EpisodeData(store, rows, EMOTIONS, max_frames=5)          # a crop is scaled by whole clips
    scale = data.fit_scale(training)
    oracle = StandardScaler().fit(np.concatenate([store[rows["utt_id"][i]] for i in training]).astype(np.float64)[:, :4])
    assert np.allclose(scale.mean[:4], oracle.mean_, rtol=1e-5) and np.allclose(scale.factor[:4], 1 / oracle.scale_, rtol=1e-5)
    assert scale.factor[4] == 0 and scale.mean.dtype == scale.factor.dtype == torch.float32
    other = Store({utt_id: value if i in training else 100 * value + 7 for i, (utt_id, value) in enumerate(store.values.items())}, pooled)
    changed = EpisodeData(other, rows, EMOTIONS, max_frames=5)
    assert all(torch.equal(a, b) for a, b in zip(scale, changed.fit_scale(training), strict=True))
    assert not torch.allclose(changed.fit_scale().mean, scale.mean)
    mine = EpisodeData(store, rows.iloc[training], EMOTIONS).fit_scale()                    # the same from the training rows by themselves
    assert all(torch.allclose(a, b) for a, b in zip(scale, mine, strict=True))
    before = data.values.clone()
    scaled, built = data.scaled(scale), EpisodeData(store, rows, EMOTIONS, max_frames=5, scale=scale)
    assert torch.equal(scaled.values, built.values) and torch.equal(data.values, before)
    fitted = scaled.values[scaled._positions(training)]
    assert fitted[:, :4].mean(dim=0).abs().max() < 1e-5 and (fitted[:, :4].std(dim=0, unbiased=False) - 1).abs().max() < 1e-5
    assert not built.values[:, 4].any()
    if not pooled:
        values, mask = built.inputs(np.arange(60))
        assert not values[~mask].any()                                # what is masked stays 0 after scaling


def test_scaling_by_utterance_uses_each_whole_clip_and_no_other():
    rows, store = toy(False)
    data = EpisodeData(store, rows, EMOTIONS, max_frames=12, scale="utterance")
    values, mask = data.inputs(np.arange(60))
    for i, utt_id in enumerate(rows["utt_id"]):
        clip = store[utt_id].astype(float)
        deviation = clip.std(axis=0)
        whole = np.where(deviation > 0, (clip - clip.mean(axis=0)) / np.where(deviation > 0, deviation, 1), 0)
        first = max(0, len(clip) - 12) // 2
        assert np.allclose(values[i][mask[i]], whole[first:first + 12], atol=1e-5)
        assert not values[i, :, 0].any()                              # feature 0 is constant in each clip
    alone = EpisodeData(store, rows.iloc[[7]], EMOTIONS, max_frames=12, scale="utterance").inputs([0])
    assert torch.equal(alone[0][0][alone[1][0]], values[7][mask[7]])


def test_frames_become_vectors_on_request():
    rows, store = toy(False)
    data = EpisodeData(store, rows, EMOTIONS, pooled=True)
    (values,) = data.inputs(np.array([[3, 4], [5, 3]]))
    for number, vector in zip((3, 4, 5, 3), values.reshape(4, -1), strict=True):
        clip = store[rows["utt_id"][number]]
        assert np.allclose(vector, np.concatenate([clip.mean(axis=0), clip.std(axis=0)]), atol=1e-5)
    assert data.dim == 8 and "pooled" in data.note and EpisodeData(*toy(True)[::-1], EMOTIONS).note == ""
    assert data.y.tolist() == [EMOTIONS.index(emotion) for emotion in rows["emotion"]]


def test_a_store_on_disk_serves_as_the_toy_does(tmp_path):
    rows, store = toy(False, n=20)
    head = write_shard(tmp_path / "0.safetensors", "0123456789ab", store.values, [], 4)
    entry = {"file": "0.safetensors", "ids": head.ids, "frames": head.frames, "skipped": [], "crc32": head.crc32}
    write_json(tmp_path / INDEX, {"spec": {"name": "toy"}, "feature_names": list("abcd"), "pooled": False, "key": "0123456789ab", "shards": [entry]})
    one, other = (EpisodeData(each, rows, EMOTIONS, max_frames=9).inputs(np.arange(20)) for each in (FeatureStore.open(tmp_path), store))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_predictions_of_episodes_equal_a_naive_loop():
    rows, _ = toy(True)
    episodes = drawn(rows, 5)
    scores = np.random.default_rng(0).dirichlet(np.ones(5), (5, 9))
    table = episode_predictions(scores, episodes, rows, EMOTIONS, method="m", rule="inductive", seed=3, fold="it")
    assert list(table.columns) == [*PREDICTION_COLUMNS, *(f"p_{name}" for name in EMOTIONS)] and len(table) == 45
    line = table.to_dict("records")
    for t, episode in enumerate(episodes):
        for q, number in enumerate(episode.query.ravel()):
            row, best = rows.iloc[number], max(range(5), key=lambda c: scores[t, q, c])
            assert line[9 * t + q] == {"method": "m", "rule": "inductive", "seed": 3, "fold": "it", "draw": 0, "task": episode.task,
                                       "utt_id": row.utt_id, "corpus": "c", "speaker": row.speaker, "true": row.emotion, "pred": EMOTIONS[best],
                                       **{f"p_{name}": scores[t, q, c] for c, name in enumerate(EMOTIONS)}}
    with pytest.raises(PredictionError, match="probabilities that sum to 1"):
        episode_predictions(2 * scores, episodes, rows, EMOTIONS, method="m", rule="inductive", seed=3, fold="it")
    with pytest.raises(EpisodeError, match=r"\(5, 9, 4\): \(5, 9, 5\) is needed"):
        episode_predictions(scores[..., :4], episodes, rows, EMOTIONS, method="m", rule="inductive", seed=3, fold="it")


def test_six_hundred_tasks_of_seventy_five_queries_become_predictions_within_a_second():
    rows, _ = toy(True, n=420)
    episodes = EpisodePool(rows, EMOTIONS, EpisodePlan()).episodes(0, 0, 600)
    scores = np.full((600, 75, 5), 0.2, dtype=np.float32)
    before = time.process_time()
    table = episode_predictions(scores, episodes, rows, EMOTIONS, method="m", rule="inductive", seed=0, fold="it")
    assert time.process_time() - before < 1 and len(table) == 45000 and (table["pred"] == "anger").all()


REFUSED = {
    "no features": (lambda rows, store: EpisodeData(Store({}, True), rows, EMOTIONS), "60 utterance.s. have no features, the first is c/000"),
    "foreign": (lambda rows, store: EpisodeData(store, rows, EMOTIONS[:3]), "'happiness', 'sadness', which the labels lack"),
    "no rows": (lambda rows, store: EpisodeData(store, rows.iloc[:0], EMOTIONS), "0 utterances"),
    "no frames": (lambda rows, store: EpisodeData(store, rows, EMOTIONS, max_frames=0), "max_frames = 0"),
    "scale of vectors": (lambda rows, store: EpisodeData(store, rows, EMOTIONS, scale="utterance"), "needs frames"),
    "scale of nothing": (lambda rows, store: EpisodeData(store, rows, EMOTIONS, scale="speaker"), 'scale = "speaker"'),
    "other scale": (lambda rows, store: EpisodeData(store, rows, EMOTIONS, scale=EpisodeData(*toy(True, dim=7)[::-1], EMOTIONS).fit_scale()),
                    "fitted on 7 features and these utterances have 4"),
    "regime": (lambda rows, store: EpisodeData(store, rows, EMOTIONS).tasks(drawn(rows), "free"), "regime 'free': choose from fixed, permuted"),
    "outputs": (lambda rows, store: EpisodeData(store, rows, EMOTIONS).tasks(drawn(rows), "permuted", outputs=2),
                "3 ways, but the head has 2 outputs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_held_or_asked_is_said_in_one_sentence(case):
    call, words = REFUSED[case]
    with pytest.raises(EpisodeError, match=words) as caught:
        call(*toy(True))
    assert "\n" not in str(caught.value)
