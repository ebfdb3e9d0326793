"""Features made of others, against naive loops: pooled, joined, normalised."""

import numpy as np
import pandas as pd
import pytest
from toy_store import InMemory, toy_corpus

from colab_utils.features.store.features import Held
from colab_utils.features.store.shards import StoreError
from colab_utils.features.store.views import Joined, Normalised, Pooled
from colab_utils.learning.clips import Clips
from colab_utils.protocols.draws import enrolment_clips, without_enrolled

LABELS = ["anger", "fear", "sadness"]


def toy(pooled=True, seed=0, dim=4):
    """Two corpora of three and five speakers, nine clips each; feature 3 never varies."""
    rows = pd.concat([toy_corpus("aa", LABELS, 3, 3), toy_corpus("bb", LABELS, 5, 3)])
    rng = np.random.default_rng(seed)
    values = {}
    for number, utt_id in enumerate(rows["utt_id"]):
        frames = 1 if pooled else int(rng.integers(2, 9))
        values[utt_id] = rng.normal(number % 7, 2, (frames, dim)).astype(np.float32)
        values[utt_id][:, 3] = 7.1
    return rows.reset_index(drop=True), InMemory(values, pooled)


def naive(rows, store, unit, prior_clips, heard):
    """Each clip by a loop over the others."""
    found = {}
    for me in rows.itertuples():
        corpus, own = [], []
        for other in rows.itertuples():
            if other.utt_id in heard and other.corpus == me.corpus:
                corpus.append(store[other.utt_id].astype(float))
                if other.speaker == me.speaker != "":
                    own.append(store[other.utt_id].astype(float))
        all_frames = np.concatenate(corpus)
        mean = all_frames.mean(axis=0)
        if unit == "speaker" and own:
            share = len(own) / (len(own) + prior_clips)
            mean = share * np.concatenate(own).mean(axis=0) + (1 - share) * mean
        deviation = all_frames.std(axis=0)
        deviation[3] = np.inf
        found[me.utt_id] = (store[me.utt_id] - mean) / deviation
    return found


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("unit", ["corpus", "speaker"])
@pytest.mark.parametrize("few", [False, True])
def test_clips_are_normalised_by_what_is_heard_of_their_corpus_or_speaker(pooled, unit, few):
    rows, store = toy(pooled)
    rows.loc[rows["speaker"] == "s2", "speaker"] = ""  # of both corpora: not known
    heard = set(rows["utt_id"])
    if few:
        heard = enrolment_clips(rows, unit, 2)
        if unit == "speaker":  # nothing is heard of one of them
            rows.loc[rows["speaker"] == "s4", "utt_id"].map(heard.discard)
    view = Normalised(store, rows, unit, 4.0, heard if few else None)
    expected = naive(rows, store, unit, 4.0, heard)
    for utt_id, values in expected.items():
        assert np.allclose(view[utt_id], values, atol=1e-4)
    if pooled:
        matrix = view.matrix(rows["utt_id"])
        assert np.array_equal(matrix, np.concatenate([view[one] for one in rows["utt_id"]]))
        assert matrix.dtype == np.float32


def test_a_speaker_of_no_other_clips_stays_near_the_corpus_and_one_of_many_does_not():
    rows, store = toy()
    for prior_clips, share in ((0.0, 1.0), (9.0, 0.5), (27.0, 0.25)):
        view = Normalised(store, rows, "speaker", prior_clips)
        by_corpus = Normalised(store, rows, "corpus")
        mine = rows["utt_id"][(rows["corpus"] == "bb") & (rows["speaker"] == "s1")]
        shift = by_corpus.matrix(mine).mean(axis=0) - view.matrix(mine).mean(axis=0)
        assert np.allclose(shift, share * by_corpus.matrix(mine).mean(axis=0), atol=1e-5)


class Watched(InMemory):
    """It notes whose features were read."""

    def __init__(self, values, pooled):
        super().__init__(values, pooled)
        self.read = set()

    def __getitem__(self, utt_id):
        self.read.add(utt_id)
        return super().__getitem__(utt_id)


def test_nobody_is_listened_to_who_is_not_asked_for_or_not_enrolled():
    rows, store = toy()
    watched = Watched(store.values, True)
    enrolled = enrolment_clips(rows, "speaker", 2)
    view = Normalised(watched, rows, "speaker", 3.0, enrolled)
    asked = rows["utt_id"][(rows["corpus"] == "aa") & ~rows["utt_id"].isin(enrolled)]
    view.matrix(asked)
    of_corpus = set(rows["utt_id"][rows["corpus"] == "aa"])
    assert watched.read == set(asked) | (of_corpus & enrolled)


def test_a_corpus_that_one_clip_is_heard_of_is_refused():
    rows, store = toy()
    with pytest.raises(StoreError, match="aa is to be normalised by 1 clip.*enrolment"):
        Normalised(store, rows, "corpus", heard={rows["utt_id"][0]}).matrix(rows["utt_id"])


def test_labels_play_no_part():
    rows, store = toy()
    other = rows.assign(emotion=rows["emotion"].sample(frac=1, random_state=0).to_numpy())
    for unit in ("corpus", "speaker"):
        one, two = (Normalised(store, some, unit, 5.0) for some in (rows, other))
        assert np.array_equal(one.matrix(rows["utt_id"]), two.matrix(rows["utt_id"]))
        assert enrolment_clips(rows, unit, 3) == enrolment_clips(other, unit, 3)


# --- enrolment ------------------------------------------------------------------------------------


def test_enrolment_takes_so_many_of_each_and_half_of_them_at_most():
    rows, _ = toy()
    rows.loc[:3, "speaker"] = "rare"  # four clips
    rows.loc[4, "speaker"] = "once"
    chosen = rows[rows["utt_id"].isin(enrolment_clips(rows, "speaker", 3))]
    number = chosen.groupby(["corpus", "speaker"]).size()
    size = rows.groupby(["corpus", "speaker"]).size()
    expected = np.minimum(3, size // 2)
    assert number.reindex(size.index, fill_value=0).equals(expected)
    by_corpus = rows[rows["utt_id"].isin(enrolment_clips(rows, "corpus", 20))]
    assert by_corpus.groupby("corpus").size().to_dict() == {"aa": 13, "bb": 20}
    # the same ones whoever else is there, in whatever order
    some = rows[rows["corpus"] == "bb"].sample(frac=1, random_state=1)
    assert enrolment_clips(some, "corpus", 20) == set(
        by_corpus["utt_id"][by_corpus["corpus"] == "bb"]
    )
    # speakers of one clip each: the corpus is known by half of them at most
    alone = rows.assign(speaker=[f"s{i}" for i in range(len(rows))])
    of_alone = rows[rows["utt_id"].isin(enrolment_clips(alone, "speaker", 3))]
    assert of_alone.groupby("corpus").size().to_dict() == {"aa": 3, "bb": 3}


def test_enrolled_clips_are_not_tested_and_train_or_support_as_before():
    split = pd.DataFrame({"utt_id": list("abcd"), "role": ["train", "test", "query", "support"]})
    found = without_enrolled(split, {"a", "b", "c", "d"})
    assert found["role"].tolist() == ["train", "enrolment", "enrolment", "support"]
    assert without_enrolled(split, set()).equals(split)


# --- several side by side -------------------------------------------------------------------------


def test_parts_count_alike_whatever_their_number_of_features():
    rows, small = toy(dim=5)
    _, frames = toy(pooled=False, seed=1, dim=11)
    both = Joined([small, frames])
    assert both.dim == 5 + 22 and both.pooled and both.spec["name"] == "toy+toy"
    assert "pooled" in both.note and both.weights.shape == (27,)
    clips = Clips(both, rows, LABELS)
    values = clips.scaled(clips.fit_scale()).values.numpy()
    parts = values[:, :5], values[:, 5:]
    varies = [part.std(axis=0) > 0 for part in parts]
    squares = [(part**2).sum(axis=1).mean() for part in parts]
    # a constant feature (one of 5, and mean and deviation of one of 11) is nothing
    assert squares[0] * 5 / varies[0].sum() == pytest.approx(13.5, rel=1e-4)
    assert squares[1] * 22 / varies[1].sum() == pytest.approx(13.5, rel=1e-4)
    assert np.array_equal(both.matrix(rows["utt_id"]), np.concatenate([both[i] for i in both.ids]))


def test_an_utterance_that_a_part_lacks_is_skipped_with_its_reason():
    rows, one = toy()
    _, two = toy(seed=1)
    gone = rows["utt_id"][4]
    del two.values[gone]
    two.skipped = pd.DataFrame({"utt_id": [gone], "reason": ["too short"]})
    both = Joined([one, two])
    assert gone not in both and len(both) == len(rows) - 1 and gone not in both.ids
    assert both.skipped["reason"].tolist() == ["too short"]
    with pytest.raises(KeyError, match="too short"):
        both[gone]
    with pytest.raises(KeyError, match="too short"):
        Normalised(both, rows, "corpus").matrix([gone])


def test_frames_become_their_mean_and_deviation_and_vectors_stay():
    rows, store = toy(pooled=False)
    view = Pooled(store)
    for utt_id in rows["utt_id"]:
        clip = store[utt_id]
        expected = np.append(clip.mean(axis=0), clip.std(axis=0))
        assert np.allclose(view[utt_id][0], expected, atol=1e-5)
    assert view.dim == 8 and view.pooled and "pooled" in view.note
    _, vectors = toy()
    assert Pooled(vectors).note == "" and Pooled(vectors).dim == 4
    held = Held(rows["utt_id"], view.matrix(rows["utt_id"]), store.spec, store.key)
    assert np.array_equal(held.matrix(rows["utt_id"][::-1]), view.matrix(rows["utt_id"])[::-1])
    assert held.pooled and held.dim == 8 and len(held) == len(rows)
