"""Episodes as tensors against naive loops: labels, both regimes, predictions that are emotions."""

import time

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from toy_store import Features, toy_corpus

from colab_utils.learning.clips import Clips
from colab_utils.learning.tasks import probabilities
from colab_utils.methods.maml.episode_tasks import episode_predictions, label_scores, make_tasks
from colab_utils.protocols.episodes import EpisodeError, EpisodePlan, EpisodePool
from colab_utils.results.predictions import PREDICTION_COLUMNS, PredictionError
from colab_utils.settings import SettingError

EMOTIONS = ["anger", "disgust", "fear", "happiness", "sadness"]
COLUMNS = {"method": "m", "rule": "inductive", "seed": 3, "fold": "it"}


def toy(frames, each=2, seed=0):
    """Rows of 6 speakers, `each` of every emotion, and their features."""
    rows = toy_corpus("c", EMOTIONS, speakers=6, each=each)
    return rows, Features(rows, EMOTIONS, frames=frames, seed=seed)


def drawn(rows, number=6, seed=0, ways=3, shots=2, queries=3):
    plan = EpisodePlan(ways=ways, shots=shots, queries=queries)
    return EpisodePool(rows, EMOTIONS, plan).episodes(seed, 0, number)


def features_of(batch, task, position):
    """The features of one utterance, numpy (frames or 1, dim), without padding."""
    values, *mask = [tensor[task, position] for tensor in batch.inputs]
    return (values[mask[0]] if mask else values[None]).numpy()


@hypothesis.given(
    st.integers(0, 10_000),
    st.integers(2, 5),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 3),
    st.booleans(),
)
@hypothesis.settings(max_examples=40, deadline=None)
def test_both_regimes_equal_a_naive_loop_and_map_back(seed, ways, shots, queries, more, frames):
    rows, store = toy(frames, seed=seed)
    emotion = rows["emotion"].tolist()
    episodes = drawn(rows, 4, seed, ways, shots, queries)
    data = Clips(store, rows, EMOTIONS)
    rng = np.random.default_rng(seed)
    for regime, outputs in (("permuted", ways + more), ("fixed", 5)):
        tasks = make_tasks(data, episodes, regime, outputs, max_frames=100)
        for batch, part, size in (
            (tasks.support, "support", shots),
            (tasks.query, "query", queries),
        ):
            assert batch.y.shape == (4, ways * size) and batch.y.dtype == torch.int64
            assert batch.active.shape == (4, outputs) and batch.active.dtype == torch.bool
            for t, episode in enumerate(episodes):
                position = 0
                for way in range(ways):
                    for shot in range(size):
                        number = getattr(episode, part)[way, shot]
                        label = EMOTIONS.index(emotion[number])
                        found = int(batch.y[t, position])
                        assert found == (way if regime == "permuted" else label)
                        assert batch.active[t, found]
                        mine = features_of(batch, t, position)
                        assert np.array_equal(mine, store[rows["utt_id"][number]])
                        position += 1
                wanted = range(ways) if regime == "permuted" else episode.classes.tolist()
                assert set(torch.nonzero(batch.active[t]).ravel().tolist()) == set(wanted)
        # an oracle's answers come back as the true emotions
        right = torch.nn.functional.one_hot(tasks.query.y, outputs).float()
        found = label_scores(right[:, None], episodes, regime, 5)[:, 0].argmax(axis=2)
        for t, episode in enumerate(episodes):
            true = [emotion[number] for number in episode.query.ravel()]
            assert [EMOTIONS[c] for c in found[t]] == true
        # any other answers come back unchanged
        logits = torch.as_tensor(rng.normal(size=(4, ways * queries, outputs)))
        exact = probabilities(logits, tasks.query.active)
        scores = label_scores(exact[:, None], episodes, regime, 5)[:, 0]
        assert scores.shape == (4, ways * queries, 5) and np.allclose(scores.sum(axis=2), 1)
        for t, episode in enumerate(episodes):
            for position, c in enumerate(episode.classes):
                output = position if regime == "permuted" else c
                assert np.array_equal(scores[t, :, c], exact[t, :, output].numpy())


def test_random_crops_follow_from_the_generator_and_differ_between_uses():
    rows, store = toy(True)
    data, episodes = Clips(store, rows, EMOTIONS), drawn(rows)

    def queries(crop=None):
        tasks = make_tasks(data, episodes, "fixed", 5, max_frames=8, crop=crop)
        return tasks.query.inputs[0]

    one, again, other = (queries(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.shape == (6, 9, 8, 6)
    assert torch.equal(one, again) and not torch.equal(one, other)
    crop = torch.Generator().manual_seed(1)
    assert not torch.equal(queries(crop), queries(crop))
    assert torch.equal(queries(), queries())


def test_predictions_of_episodes_equal_a_naive_loop():
    rows, _ = toy(False)
    episodes = drawn(rows, 5)
    scores = np.random.default_rng(0).dirichlet(np.ones(5), (5, 9))
    table = episode_predictions(scores, episodes, rows, EMOTIONS, COLUMNS)
    assert list(table.columns) == [*PREDICTION_COLUMNS, *(f"p_{name}" for name in EMOTIONS)]
    assert len(table) == 45
    line = table.to_dict("records")
    for t, episode in enumerate(episodes):
        for q, number in enumerate(episode.query.ravel()):
            row, best = rows.iloc[number], max(range(5), key=lambda c: scores[t, q, c])
            shares = {f"p_{name}": scores[t, q, c] for c, name in enumerate(EMOTIONS)}
            assert line[9 * t + q] == {
                **COLUMNS,
                "draw": 0,
                "task": episode.task,
                "utt_id": row.utt_id,
                "corpus": "c",
                "speaker": row.speaker,
                "true": row.emotion,
                "pred": EMOTIONS[best],
                **shares,
            }
    with pytest.raises(PredictionError, match="probabilities that sum to 1"):
        episode_predictions(2 * scores, episodes, rows, EMOTIONS, COLUMNS)
    with pytest.raises(EpisodeError, match=r"\(5, 9, 4\): \(5, 9, 5\) is needed"):
        episode_predictions(scores[..., :4], episodes, rows, EMOTIONS, COLUMNS)


def test_six_hundred_tasks_of_seventy_five_queries_become_predictions_within_a_second():
    rows, _ = toy(False, each=14)
    episodes = EpisodePool(rows, EMOTIONS, EpisodePlan()).episodes(0, 0, 600)
    scores = np.full((600, 75, 5), 0.2, dtype=np.float32)
    before = time.process_time()
    table = episode_predictions(scores, episodes, rows, EMOTIONS, COLUMNS)
    assert time.process_time() - before < 1
    assert len(table) == 45000 and (table["pred"] == "anger").all()


REFUSED = {
    "regime": ({"regime": "free"}, EpisodeError, "regime 'free': choose from fixed, permuted"),
    "outputs": ({"outputs": 2}, EpisodeError, "3 ways, but the head has 2 outputs"),
    "no frames": ({"max_frames": 0}, SettingError, "max_frames = 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_tasks_that_cannot_be_made_are_refused_in_one_sentence(case):
    more, error, words = REFUSED[case]
    rows, store = toy(False)
    data = Clips(store, rows, EMOTIONS)
    with pytest.raises(error, match=words) as caught:
        make_tasks(
            data, drawn(rows), **{"regime": "permuted", "outputs": 3, "max_frames": 5, **more}
        )
    assert "\n" not in str(caught.value)
