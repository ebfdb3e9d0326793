"""Episodes: nobody in support and query of one task, every clip within reach, any task again."""

import itertools
import time

import hypothesis
import numpy as np
import pandas as pd
import pytest
from clips_at_random import EMOTIONS, FILMS, table
from hypothesis import strategies as st

from colab_utils.protocols.episodes import STREAMS, EpisodeError, EpisodePlan, EpisodePool

SPARE = EpisodePlan(ways=3, shots=2, queries=3)


@hypothesis.given(
    st.integers(0, 10_000),
    st.integers(4, 9),
    st.sampled_from(sorted(FILMS)),
    st.integers(2, 5),
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from([(), ("speaker",), ("film",), ("speaker", "film"), ("film", "speaker")]),
)
@hypothesis.settings(max_examples=40, deadline=None)
def test_support_and_query_share_no_clip_and_no_unit_that_is_kept_apart(
    seed, n_speakers, films, ways, shots, queries, apart
):
    rows = table(np.random.default_rng(seed).integers(30, 60, 5), n_speakers, seed, FILMS[films])
    pool = EpisodePool(rows, EMOTIONS, EpisodePlan(ways, shots, queries, apart))
    emotion = pd.Index(EMOTIONS).get_indexer(rows["emotion"])
    for episode in pool.episodes(seed, 0, 8):
        assert episode.classes.shape == (ways,) and len(set(episode.classes)) == ways
        assert episode.support.shape == (ways, shots) and episode.query.shape == (ways, queries)
        assert (emotion[episode.support] == episode.classes[:, None]).all()
        assert (emotion[episode.query] == episode.classes[:, None]).all()
        support, query = episode.support.ravel(), episode.query.ravel()
        assert len({*support, *query}) == ways * (shots + queries)
        for column in apart:
            assert not set(rows[column].iloc[support]) & set(rows[column].iloc[query]), column


@hypothesis.given(
    st.integers(0, 10_000),
    st.integers(2, 5),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(3, 14),
)
@hypothesis.settings(max_examples=50, deadline=None)
def test_an_episode_is_drawn_exactly_where_some_division_of_the_speakers_allows_one(
    seed, n_speakers, shots, queries, clips
):
    """The oracle tries every division of the speakers."""
    rows = table([clips, clips + 2], n_speakers, seed)
    count = pd.crosstab(rows["emotion"], rows["speaker"]).to_numpy()
    speakers, possible = range(count.shape[1]), False
    for size in speakers[1:]:
        for side in itertools.combinations(speakers, size):
            supported = count[:, side].sum(axis=1).min() >= shots
            asked = np.delete(count, side, axis=1).sum(axis=1).min() >= queries
            possible |= supported and asked
    try:
        EpisodePool(rows, EMOTIONS, EpisodePlan(2, shots, queries)).episode(seed, 0)
        assert possible
    except EpisodeError as error:
        assert not possible and "\n" not in str(error)


def same(one, other):
    arrays = zip(one[1:], other[1:], strict=True)
    return one.task == other.task and all(np.array_equal(a, b) for a, b in arrays)


def test_a_task_follows_from_seed_stream_and_number_whatever_else_is_drawn():
    rows = table([30] * 5, 6)
    pool = EpisodePool(rows, EMOTIONS, SPARE)
    many = pool.episodes(3, 0, 40)
    assert [episode.task for episode in many] == list(range(40))
    again = EpisodePool(rows, EMOTIONS, SPARE)
    assert all(same(again.episode(3, task), many[task]) for task in (31, 7, 7, 0))
    assert all(same(a, b) for a, b in zip(again.episodes(3, 10, 5), many[10:15], strict=True))
    others = [(4, 7), (3, 8), (3, 7, "train"), (3, 7, "valid"), (7, 3)]
    drawn = {pool.episode(*which).support.tobytes() for which in [(3, 7, "test"), *others]}
    assert len(drawn) == 6 and same(pool.episode(3, 7, "test"), many[7])
    assert len({pool.episode(0, 0, stream).query.tobytes() for stream in STREAMS}) == 3


def test_the_order_of_the_rows_and_their_index_do_not_matter():
    rows = table([30] * 5, 6, films_of=FILMS["nested"])
    plan = EpisodePlan(3, 2, 3, apart=("speaker", "film"))

    def drawn(rows):
        names = rows["utt_id"].to_numpy()
        episodes = EpisodePool(rows, EMOTIONS, plan).episodes(0, 0, 10)
        return [(names[one.support].tolist(), names[one.query].tolist()) for one in episodes]

    assert drawn(rows) == drawn(rows.sample(frac=1, random_state=9))


@pytest.mark.parametrize("apart", [(), ("speaker",), ("speaker", "film")])
def test_every_clip_of_every_class_is_drawn_into_support_and_into_query(apart):
    """The published code draws from the first `smallest class size` clips: 12 of the 80 here."""
    rows = table([12, 80, 40], 5, seed=2, films_of=FILMS["mostly one"])
    number = 1500 if apart else 700
    episodes = EpisodePool(rows, EMOTIONS, EpisodePlan(3, 2, 2, apart)).episodes(0, 0, number)
    support = np.concatenate([one.support.ravel() for one in episodes])
    query = np.concatenate([one.query.ravel() for one in episodes])
    assert set(support) == set(query) == set(range(132))
    if not apart:  # then clips of a class are equally likely: 4 of 80 in each episode
        counts = np.bincount(np.concatenate([support, query]), minlength=132)
        expected = number * 4 / rows["emotion"].map(rows["emotion"].value_counts()).to_numpy()
        assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_classes_are_equally_frequent_at_every_position_and_never_twice_in_an_episode():
    pool = EpisodePool(table([40, 20, 30, 25, 60], 6), EMOTIONS, SPARE)
    classes = np.stack([one.classes for one in pool.episodes(1, 0, 1000)])
    for position in classes.T:
        assert (np.abs(np.bincount(position, minlength=5) - 200) < 5 * np.sqrt(200 * 0.8)).all()
    assert (np.diff(np.sort(classes, axis=1), axis=1) > 0).all()


def test_within_draws_each_episode_from_one_corpus_all_equally_likely():
    parts = [table([30] * 5, 4, corpus="a"), table([90] * 5, 9, corpus="b")]
    parts.append(table([20] * 4, 3, corpus="c"))  # without sadness
    rows = pd.concat(parts, ignore_index=True)
    pool = EpisodePool(rows, EMOTIONS, EpisodePlan(4, 1, 2, within="corpus"))
    corpora = []
    for one in pool.episodes(0, 0, 400):
        clips = rows.iloc[[*one.support.ravel(), *one.query.ravel()]]
        (corpus,) = set(clips["corpus"])
        assert corpus != "c" or 4 not in one.classes, "an emotion without a clip is never drawn"
        corpora.append(corpus)
    counts = pd.Series(corpora).value_counts()
    assert len(counts) == 3 and (np.abs(counts - 400 / 3) < 5 * np.sqrt(400 / 3)).all()


def test_a_thousand_five_way_five_shot_episodes_take_less_than_a_second():
    pool = EpisodePool(table([120] * 5, 10), EMOTIONS, EpisodePlan(5, 5, 15))
    pool.episodes(0, 0, 20)
    before = time.process_time()
    pool.episodes(1, 0, 1000)
    assert time.process_time() - before < 1.0


# --- refusals -------------------------------------------------------------------------------------


def fewer_films():
    return table([30] * 3, 4).assign(film=["f1"] * 50 + [""] * 40)


def one_speaker_in_d():
    return pd.concat([table([30] * 3, 4), table([30] * 3, 1, corpus="d")])


def fear_of_one_speaker():
    return pd.concat([table([30] * 2, 4), table([0, 0, 30], 1)])


USUAL = table([30] * 3, 4)
REFUSED = {
    "shots": (
        table([9, 30, 30], 4),
        EpisodePlan(2, 5, 5),
        ("anger has 9 clip", "4 speaker", "need 10 clips", "fewer shots or queries"),
    ),
    "ways": (USUAL, EpisodePlan(5, 1, 1), ("5 ways", "3 classes", "disgust, fear", "at most 3")),
    "unknown speakers": (
        USUAL.assign(speaker=""),
        SPARE,
        ("90 of 90 utterances have no speaker", "name the speaker of each"),
    ),
    "one unknown": (fewer_films(), EpisodePlan(3, 1, 1, ("film",)), ("40 of 90", "no film")),
    "one speaker": (table([30] * 3, 1), SPARE, ("one speaker only", "c/s0", "with more speakers")),
    "one speaker of a corpus": (
        one_speaker_in_d(),
        EpisodePlan(3, 1, 1, within="corpus"),
        ("one speaker only in corpus d",),
    ),
    "a class of one speaker": (
        fear_of_one_speaker(),
        SPARE,
        ("fear has 30 clip", "(1 speaker(s))"),
    ),
    "a tight division": (
        table([10] * 3, 2).assign(speaker=list("aab" * 10)),
        EpisodePlan(3, 5, 5),
        ("no division into 5", "10 clip(s) (2"),
    ),
    "foreign": (USUAL.replace({"emotion": {"fear": "calm"}}), SPARE, ("'calm'", "select_emotions")),
    "twice": (pd.concat([USUAL] * 2), SPARE, ("stands twice",)),
    "none": (USUAL.iloc[:0], SPARE, ("no utterances",)),
    "column": (USUAL, EpisodePlan(3, 1, 1, ("scene",)), ("no column scene", "choose apart")),
    "no language": (
        USUAL,
        EpisodePlan(3, 1, 1, within="language"),
        ("90 of 90 utterances have no language", "name the language"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_drawn_is_refused_in_one_sentence_with_counts(case):
    rows, plan, words = REFUSED[case]
    with pytest.raises(EpisodeError) as caught:
        EpisodePool(rows.sort_values("utt_id"), EMOTIONS, plan).episodes(0, 0, 20)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message and ". " not in message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"apart": "speaker"}, 'write apart=("speaker",)'),
        ({"ways": 1}, "ways = 1"),
        ({"shots": 0}, "shots = 0"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(values, words):
    with pytest.raises(EpisodeError) as caught:
        EpisodePlan(**values)
    assert words in str(caught.value)
    with pytest.raises(EpisodeError, match="stream 'query': choose from train, valid, test"):
        EpisodePool(USUAL, EMOTIONS, SPARE).episode(0, 0, "query")
