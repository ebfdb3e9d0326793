"""Episodes: nobody in support and query of one task, every clip within reach, any task again by its
number, and counts in every refusal.
"""

import itertools
import time

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from colab_utils.corpora.cards import shipped_manifest
from colab_utils.corpora.manifest import empty_row, validate
from colab_utils.corpora.synthetic import DOMAINS
from colab_utils.corpora.synthetic.corpus import plan as synthetic_plan
from colab_utils.protocols.build import build_task
from colab_utils.protocols.episodes import (
    STREAMS,
    EpisodeError,
    EpisodePlan,
    EpisodePool,
    episodes_table,
)
from colab_utils.protocols.folds import SPLIT_COLUMNS, FoldError, LeakError, check_disjoint
from colab_utils.protocols.published import load_protocol

EMOTIONS = ["anger", "disgust", "fear", "happiness", "sadness"]
SPARE = EpisodePlan(ways=3, shots=2, queries=3)


def table(counts, n_speakers, seed=0, films_of=lambda rng, speaker: "", corpus="c", language=""):
    """Utterances of each emotion by speakers drawn at random; `films_of` gives the film of a clip
    of a speaker (a number).
    """
    rng, rows = np.random.default_rng(seed), []
    for emotion, count in zip(EMOTIONS, counts, strict=False):
        for number in range(count):
            speaker = int(rng.integers(n_speakers))
            rows.append(
                (
                    f"{corpus}/{emotion}{number:03}",
                    corpus,
                    f"s{speaker}",
                    films_of(rng, speaker),
                    language,
                    emotion,
                )
            )
    return pd.DataFrame(
        rows, columns=["utt_id", "corpus", "speaker", "film", "language", "emotion"]
    ).sample(frac=1, random_state=seed)


FILMS = {
    "nested": lambda rng, speaker: f"f{speaker // 2}",
    "crossed": lambda rng, speaker: f"f{rng.integers(4)}",
    "mostly one": lambda rng, speaker: f"f{speaker % 3 if rng.random() < 0.9 else rng.integers(3)}",
}


@hypothesis.given(
    st.integers(0, 10_000),
    st.integers(4, 9),
    st.sampled_from(sorted(FILMS)),
    st.integers(2, 5),
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from([(), ("speaker",), ("film",), ("speaker", "film"), ("film", "speaker")]),
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_support_and_query_share_no_clip_and_no_unit_that_is_kept_apart(
    seed, n_speakers, films, ways, shots, queries, apart
):
    rows = table(np.random.default_rng(seed).integers(30, 60, 5), n_speakers, seed, FILMS[films])
    pool = EpisodePool(rows, EMOTIONS, EpisodePlan(ways, shots, queries, apart))
    emotion = pd.Index(EMOTIONS).get_indexer(rows["emotion"])
    for episode in pool.episodes(seed, 0, 8):
        assert episode.classes.shape == (ways,) and len(set(episode.classes)) == ways
        assert episode.support.shape == (ways, shots) and episode.query.shape == (ways, queries)
        assert (emotion[episode.support] == episode.classes[:, None]).all() and (
            emotion[episode.query] == episode.classes[:, None]
        ).all()
        assert len({*episode.support.ravel(), *episode.query.ravel()}) == ways * (shots + queries)
        for column in apart:
            support, query = (
                set(rows[column].iloc[part.ravel()]) for part in (episode.support, episode.query)
            )
            assert not support & query, column


@hypothesis.given(
    st.integers(0, 10_000),
    st.integers(2, 5),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(3, 14),
)
@hypothesis.settings(max_examples=80, deadline=None)
def test_an_episode_is_drawn_exactly_where_some_division_of_the_speakers_allows_one(
    seed, n_speakers, shots, queries, clips
):
    """The oracle tries every division of the speakers."""
    rows = table([clips, clips + 2], n_speakers, seed)
    count = pd.crosstab(rows["emotion"], rows["speaker"]).to_numpy()
    possible = any(
        count[:, list(side)].sum(axis=1).min() >= shots
        and np.delete(count, side, axis=1).sum(axis=1).min() >= queries
        for size in range(1, count.shape[1])
        for side in itertools.combinations(range(count.shape[1]), size)
    )
    try:
        EpisodePool(rows, EMOTIONS, EpisodePlan(2, shots, queries)).episode(seed, 0)
        assert possible
    except EpisodeError as error:
        assert not possible and "\n" not in str(error)


def same(one, other):
    return one.task == other.task and all(
        np.array_equal(a, b) for a, b in zip(one[1:], other[1:], strict=True)
    )


def test_a_task_follows_from_seed_stream_and_number_whatever_else_is_drawn():
    rows = table([30] * 5, 6)
    pool = EpisodePool(rows, EMOTIONS, SPARE)
    many = pool.episodes(3, 0, 40)
    assert [episode.task for episode in many] == list(range(40))
    again = EpisodePool(rows, EMOTIONS, SPARE)
    assert all(same(again.episode(3, task), many[task]) for task in (31, 7, 7, 0))
    assert all(same(a, b) for a, b in zip(again.episodes(3, 10, 5), many[10:15], strict=True))
    others = [
        pool.episode(4, 7),
        pool.episode(3, 8),
        pool.episode(3, 7, "train"),
        pool.episode(3, 7, "valid"),
        pool.episode(7, 3),
    ]
    drawn = {episode.support.tobytes() for episode in [many[7], *others]}
    assert len(drawn) == 6 and same(pool.episode(3, 7, "test"), many[7])
    assert len({pool.episode(0, 0, stream).query.tobytes() for stream in STREAMS}) == 3


def test_the_order_of_the_rows_and_their_index_do_not_matter():
    rows = table([30] * 5, 6, films_of=FILMS["nested"])
    shuffled = rows.sample(frac=1, random_state=9)
    plan = EpisodePlan(3, 2, 3, apart=("speaker", "film"))
    drawn = [EpisodePool(one, EMOTIONS, plan).episodes(0, 0, 10) for one in (rows, shuffled)]
    for one, other in zip(*drawn, strict=True):
        assert list(rows["utt_id"].iloc[one.query.ravel()]) == list(
            shuffled["utt_id"].iloc[other.query.ravel()]
        )
        assert list(rows["utt_id"].iloc[one.support.ravel()]) == list(
            shuffled["utt_id"].iloc[other.support.ravel()]
        )


@pytest.mark.parametrize("apart", [(), ("speaker",), ("speaker", "film")])
def test_every_clip_of_every_class_is_drawn_into_support_and_into_query(apart):
    """The original draws from the first `smallest class size` clips of each class: 12 of the 80
    here.
    """
    rows = table([12, 80, 40], 5, seed=2, films_of=FILMS["mostly one"])
    pool = EpisodePool(rows, EMOTIONS, EpisodePlan(3, 2, 2, apart))
    episodes = pool.episodes(0, 0, 1500)
    for drawn in (
        np.concatenate([one.support.ravel() for one in episodes]),
        np.concatenate([one.query.ravel() for one in episodes]),
    ):
        assert set(drawn) == set(range(132))
    # then clips of a class are equally likely: 4 of 80 in each episode
    if not apart:
        counts = np.bincount(
            np.concatenate(
                [one.support.ravel() for one in episodes] + [one.query.ravel() for one in episodes]
            ),
            minlength=132,
        )
        expected = 1500 * 4 / rows["emotion"].map(rows["emotion"].value_counts()).to_numpy()
        assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_classes_are_equally_frequent_at_every_position_and_never_twice_in_an_episode():
    classes = np.stack(
        [
            one.classes
            for one in EpisodePool(table([40, 20, 30, 25, 60], 6), EMOTIONS, SPARE).episodes(
                1, 0, 2000
            )
        ]
    )
    counts = np.stack([np.bincount(column, minlength=5) for column in classes.T])
    assert (np.abs(counts - 400) < 5 * np.sqrt(400 * 0.8)).all() and (
        np.diff(np.sort(classes, axis=1), axis=1) > 0
    ).all()


def test_within_draws_each_episode_from_one_corpus_or_language_all_equally_likely():
    rows = pd.concat(
        [
            table([30] * 5, 4, corpus="a", language="de"),
            table([90] * 5, 9, corpus="b", language="en-US"),
            table([20] * 4, 3, corpus="c", language="en-GB"),
        ],
        ignore_index=True,
    )
    for within, values in (("corpus", rows["corpus"]), ("language", rows["language"].str[:2])):
        pool = EpisodePool(rows, EMOTIONS, EpisodePlan(4, 1, 2, within=within))
        drawn = [
            set(values.iloc[np.concatenate([one.support, one.query], axis=1).ravel()])
            for one in pool.episodes(0, 0, 600)
        ]
        assert all(len(one) == 1 for one in drawn)
        counts = pd.Series([one.pop() for one in drawn]).value_counts()
        assert (
            len(counts) == values.nunique()
            and (np.abs(counts - 600 / len(counts)) < 5 * np.sqrt(600 / len(counts))).all()
        )
    both = EpisodePool(rows, EMOTIONS, EpisodePlan(4, 1, 2, within="language")).episodes(0, 0, 100)
    assert any({"b", "c"} <= set(rows["corpus"].iloc[one.query.ravel()]) for one in both)
    # c has no sadness: it is never drawn
    four = EpisodePool(rows[rows["corpus"] == "c"], EMOTIONS, EpisodePlan(4, 1, 2)).episodes(
        0, 0, 50
    )
    assert {int(c) for one in four for c in one.classes} == {0, 1, 2, 3}


def without(rows, **columns):
    return rows.assign(**columns)


REFUSED = {
    "shots": (
        lambda: (table([9, 30, 30], 4), EpisodePlan(2, 5, 5)),
        ("anger has 9 clip", "4 speaker", "need 10 clips", "fewer shots or queries"),
    ),
    "ways": (
        lambda: (table([30, 30, 30], 4), EpisodePlan(5, 1, 1)),
        ("5 ways", "3 classes", "anger, disgust, fear", "at most 3"),
    ),
    "unknown speakers": (
        lambda: (without(table([30] * 3, 4), speaker=""), SPARE),
        ("90 of 90 utterances have no speaker", "apart=()"),
    ),
    "one unknown": (
        lambda: (
            without(table([30] * 3, 4), film=["f1"] * 50 + [""] * 40),
            EpisodePlan(3, 1, 1, ("film",)),
        ),
        ("40 of 90", "no film"),
    ),
    "one speaker": (lambda: (table([30] * 3, 1), SPARE), ("one speaker only", "c/s0", "apart=()")),
    "one speaker of a corpus": (
        lambda: (
            pd.concat([table([30] * 3, 4), table([30] * 3, 1, corpus="d")]),
            EpisodePlan(3, 1, 1, within="corpus"),
        ),
        ("one speaker only in corpus d",),
    ),
    "a class of one speaker": (
        lambda: (pd.concat([table([30] * 2, 4), table([0, 0, 30], 1)]), SPARE),
        ("fear has 30 clip", "(1 speaker(s))"),
    ),
    "a tight division": (
        lambda: (without(table([10] * 3, 2), speaker=list("aab" * 10)), EpisodePlan(3, 5, 5)),
        ("no division into 5", "10 clip(s) (2"),
    ),
    "foreign": (
        lambda: (table([30] * 5, 4).replace({"emotion": {"fear": "calm"}}), SPARE),
        ("'calm'", "select_emotions"),
    ),
    "twice": (lambda: (pd.concat([table([30] * 3, 4)] * 2), SPARE), ("stands twice",)),
    "none": (lambda: (table([30] * 3, 4).iloc[:0], SPARE), ("no utterances",)),
    "column": (
        lambda: (table([30] * 3, 4), EpisodePlan(3, 1, 1, ("scene",))),
        ("no column scene", "choose apart"),
    ),
    "no language": (
        lambda: (table([30] * 3, 4), EpisodePlan(3, 1, 1, within="language")),
        ("90 of 90 utterances have no language",),
    ),
    "a text": (lambda: (None, EpisodePlan(apart="speaker")), ('write apart=("speaker",)',)),
    "one way": (lambda: (None, EpisodePlan(ways=1)), ("ways = 1",)),
    "no shot": (lambda: (None, EpisodePlan(shots=0)), ("shots = 0",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_drawn_is_refused_in_one_sentence_with_counts(case):
    make, words = REFUSED[case]
    with pytest.raises(EpisodeError) as caught:
        rows, plan = make()
        EpisodePool(rows.sort_values("utt_id"), EMOTIONS, plan).episodes(0, 0, 20)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message and ". " not in message
    with pytest.raises(EpisodeError, match="stream 'query': choose from train, valid, test"):
        EpisodePool(table([30] * 3, 4), EMOTIONS, SPARE).episode(0, 0, "query")


@pytest.fixture(scope="module")
def languages():
    return pd.concat(
        [shipped_manifest(name) for name in ("emodb", "emovo", "ravdess", "savee")],
        ignore_index=True,
    )


def side(rows, split, *roles):
    return rows[rows["utt_id"].isin(split.loc[split["role"].isin(roles), "utt_id"])].reset_index(
        drop=True
    )


@pytest.mark.parametrize("task", load_protocol("open_languages").tasks)
def test_open_languages_give_episodes_on_every_side(languages, task):
    protocol = load_protocol("open_languages")
    labels = list(protocol.tasks[task].emotions)
    for seed in range(3):
        rows, split = build_task(protocol, task, languages, seed)
        assert rows["corpus"].value_counts().to_dict() == {
            "emodb": 375,
            "emovo": 420,
            "ravdess": 960,
            "savee": 300,
        }
        held = (
            split[split["role"] == "valid"]["speaker"]
            .drop_duplicates()
            .str.split("/")
            .str[0]
            .value_counts()
            .to_dict()
        )
        assert held == {
            name: {"emodb": 2, "emovo": 2, "ravdess": 5, "savee": 2}[name]
            for name in protocol.tasks[task].train["corpus"]
        }
        EpisodePool(
            side(rows, split, "train"), labels, EpisodePlan(5, 5, 10, within="corpus")
        ).episodes(seed, 0, 50, "train")
        EpisodePool(side(rows, split, "valid"), labels, EpisodePlan(5, 5, 10)).episodes(
            seed, 0, 50, "valid"
        )
        tested = side(rows, split, "test")
        episodes = EpisodePool(tested, labels, EpisodePlan(5, 5, 15)).episodes(seed, 0, 50)
        check_disjoint(episodes_table(tested, episodes, seed, split["fold"].iloc[0], split))


def test_open_languages_find_their_files_in_the_real_corpora(languages, real_corpora):
    there = {
        f"{folder.name}/{file.stem}"
        for folder in real_corpora.iterdir()
        if folder.is_dir()
        for file in folder.iterdir()
    }
    rows, _ = build_task(load_protocol("open_languages"), "de+en-it", languages)
    assert {
        f"{corpus}/{path.split('/')[-1]}"
        for corpus, path in zip(rows["corpus"], rows["path"], strict=True)
    } <= there


@pytest.mark.parametrize("task", load_protocol("synthetic_domains").tasks)
def test_synthetic_domains_give_six_way_episodes_on_every_side(task):
    jobs = synthetic_plan(seed=0, n_speakers=8, n_repetitions=5)
    manifest = validate(
        pd.DataFrame(
            [
                empty_row(
                    DOMAINS[job["domain"]].corpus,
                    f"{job['name']}-{job['emotion']}-{job['number']}",
                    speaker=job["name"],
                    emotion=job["emotion"],
                    emotion_raw=job["emotion"],
                )
                for job in jobs
            ]
        )
    )
    rows, split = build_task(load_protocol("synthetic_domains"), task, manifest)
    labels = list(load_protocol("synthetic_domains").tasks[task].emotions)
    assert len(rows) == len(jobs) and len(labels) == 6
    for role, plan in (
        ("train", EpisodePlan(6, 5, 5, within="corpus")),
        ("valid", EpisodePlan(6, 5, 5)),
        ("test", EpisodePlan(6, 5, 15)),
    ):
        tested = side(rows, split, role)
        episodes = EpisodePool(tested, labels, plan).episodes(0, 0, 50, role)
    whole = episodes_table(tested, episodes, 0, split["fold"].iloc[0], split)
    check_disjoint(whole)
    assert set(whole["role"]) == {"train", "valid", "support", "query"}


def test_the_split_table_of_episodes_names_every_clip_and_refuses_a_leak(tmp_path):
    rows = table([30] * 3, 6).reset_index(drop=True)
    trained = rows["speaker"].isin(["s0", "s1"])
    training = pd.DataFrame(
        {
            "seed": 4,
            "fold": "c",
            "draw": 0,
            "task": "x-y",
            "utt_id": rows["utt_id"],
            "speaker": "c/" + rows["speaker"],
            "role": np.where(trained, np.where(rows["speaker"] == "s0", "train", "valid"), "test"),
        }
    )
    tested = rows[~trained].reset_index(drop=True)
    episodes = EpisodePool(tested, EMOTIONS, SPARE).episodes(4, 10, 5)
    split = episodes_table(tested, episodes, 4, "c", training)
    assert (
        list(split.columns) == list(SPLIT_COLUMNS)
        and split["task"].dtype == int
        and set(split["task"]) == {-1, 10, 11, 12, 13, 14}
    )
    for episode in episodes:
        mine = split[split["task"] == episode.task]
        for role in ("support", "query"):
            numbers = getattr(episode, role).ravel()
            assert list(mine.loc[mine["role"] == role, "utt_id"]) == list(
                tested["utt_id"].iloc[numbers]
            )
            assert list(mine.loc[mine["role"] == role, "speaker"]) == list(
                "c/" + tested["speaker"].iloc[numbers]
            )
    assert len(split) == 5 * 3 * 5 + trained.sum()
    check_disjoint(split)
    # training speakers are tested
    leak = EpisodePool(rows, EMOTIONS, SPARE).episodes(4, 0, 5)
    with pytest.raises(LeakError, match="on both the training and the test side"):
        check_disjoint(episodes_table(rows, leak, 4, "c", training))
    mixed = episodes_table(
        tested,
        EpisodePool(tested, EMOTIONS, EpisodePlan(3, 2, 3, apart=())).episodes(4, 0, 5),
        4,
        "c",
    )
    with pytest.raises(LeakError, match="speaker"):
        check_disjoint(mixed)
    check_disjoint(mixed, allow_speaker_overlap=True)
    with pytest.raises(EpisodeError, match="no training rows of seed 5, fold c"):
        episodes_table(tested, episodes, 5, "c", training)
    assert (
        episodes_table(tested, [], 4, "c").empty
        and issubclass(EpisodeError, ValueError)
        and not issubclass(EpisodeError, FoldError)
    )


def test_a_thousand_five_way_five_shot_episodes_take_less_than_a_second():
    pool = EpisodePool(table([120] * 5, 10), EMOTIONS, EpisodePlan(5, 5, 15))
    pool.episodes(0, 0, 20)
    before = time.process_time()
    pool.episodes(1, 0, 1000)
    assert time.process_time() - before < 1.0
