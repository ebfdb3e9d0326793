"""Episodes from the tasks that ship with the suite, and their rows in the split table."""

import numpy as np
import pandas as pd
import pytest
from clips_at_random import EMOTIONS, table

from colab_utils.corpora.cards import shipped_manifest
from colab_utils.corpora.manifest import empty_row, validate
from colab_utils.corpora.synthetic import DOMAINS
from colab_utils.corpora.synthetic.corpus import plan as synthetic_plan
from colab_utils.protocols.build import build_task
from colab_utils.protocols.episodes import EpisodePlan, EpisodePool, episodes_table
from colab_utils.protocols.folds import SPLIT_COLUMNS, LeakError, check_disjoint, split_rows
from colab_utils.protocols.published import load_protocol

LANGUAGES = ("emodb", "emovo", "ravdess", "savee")


@pytest.fixture(scope="module")
def languages():
    return pd.concat([shipped_manifest(name) for name in LANGUAGES], ignore_index=True)


def side(rows, split, role):
    chosen = split.loc[split["role"] == role, "utt_id"]
    return rows[rows["utt_id"].isin(chosen)].reset_index(drop=True)


def with_training(split, episodes):
    """The episodes under the training and validation rows of their fold, as a run has it."""
    training = split[split["role"].isin(["train", "valid"])].assign(task=-1)
    return pd.concat([training, episodes], ignore_index=True)


@pytest.mark.parametrize("task", load_protocol("open_languages").tasks)
def test_open_languages_give_episodes_on_every_side(languages, task):
    protocol = load_protocol("open_languages")
    mine = protocol.tasks[task]
    labels, counts = list(mine.emotions), {"emodb": 375, "emovo": 420, "ravdess": 960, "savee": 300}
    sizes = {"emodb": 2, "emovo": 2, "ravdess": 5, "savee": 2}
    for seed in range(2):
        rows, split = build_task(protocol, task, languages, seed)
        assert rows["corpus"].value_counts().to_dict() == counts
        valid = split.loc[split["role"] == "valid", "speaker"].drop_duplicates()
        held = valid.str.split("/").str[0].value_counts().to_dict()
        assert held == {name: sizes[name] for name in mine.train["corpus"]}
        train = EpisodePool(
            side(rows, split, "train"), labels, EpisodePlan(5, 5, 10, within="corpus")
        )
        train.episodes(seed, 0, 30, "train")
        valid = EpisodePool(side(rows, split, "valid"), labels, EpisodePlan(5, 5, 10))
        valid.episodes(seed, 0, 30, "valid")
        tested = side(rows, split, "test")
        episodes = EpisodePool(tested, labels, EpisodePlan(5, 5, 15)).episodes(seed, 0, 30)
        fold = split["fold"].iloc[0]
        check_disjoint(with_training(split, episodes_table(tested, episodes, seed, fold)))


def test_open_languages_find_their_files_in_the_real_corpora(languages, real_corpora):
    rows, _ = build_task(load_protocol("open_languages"), "de+en-it", languages)
    there = set()
    for file in real_corpora.glob("*/*"):
        there.add(f"{file.parent.name}/{file.stem}")
    files = rows["corpus"] + "/" + rows["path"].str.split("/").str[-1]
    assert set(files) <= there


@pytest.fixture(scope="module")
def domains():
    rows = []
    for job in synthetic_plan(seed=0, n_speakers=8, n_repetitions=5):
        corpus, emotion = DOMAINS[job["domain"]].corpus, job["emotion"]
        stem = f"{job['name']}-{emotion}-{job['number']}"
        rows.append(
            empty_row(corpus, stem, speaker=job["name"], emotion=emotion, emotion_raw=emotion)
        )
    return validate(pd.DataFrame(rows))


@pytest.mark.parametrize("task", load_protocol("synthetic_domains").tasks)
def test_synthetic_domains_give_six_way_episodes_on_every_side(domains, task):
    protocol = load_protocol("synthetic_domains")
    rows, split = build_task(protocol, task, domains)
    labels = list(protocol.tasks[task].emotions)
    assert len(rows) == len(domains) and len(labels) == 6
    plans = {
        "train": EpisodePlan(6, 5, 5, within="corpus"),
        "valid": EpisodePlan(6, 5, 5),
        "test": EpisodePlan(6, 5, 15),
    }
    for role, plan in plans.items():
        tested = side(rows, split, role)
        episodes = EpisodePool(tested, labels, plan).episodes(0, 0, 30, role)
    whole = with_training(split, episodes_table(tested, episodes, 0, split["fold"].iloc[0]))
    check_disjoint(whole)
    assert set(whole["role"]) == {"train", "valid", "support", "query"}


def test_the_split_table_of_episodes_names_every_clip_and_refuses_a_leak():
    rows = table([30] * 3, 6).reset_index(drop=True)
    trained = rows["speaker"].isin(["s0", "s1"]).to_numpy()
    role = np.where(trained, np.where(rows["speaker"] == "s0", "train", "valid"), "test")
    training = split_rows(rows, role, seed=4, fold="c")
    tested = rows[~trained].reset_index(drop=True)
    plan = EpisodePlan(ways=3, shots=2, queries=3)
    episodes = EpisodePool(tested, EMOTIONS, plan).episodes(4, 10, 5)
    split = episodes_table(tested, episodes, 4, "c")
    assert list(split.columns) == list(SPLIT_COLUMNS) and len(split) == 5 * 3 * 5
    assert split["task"].dtype == int and set(split["task"]) == {10, 11, 12, 13, 14}
    for episode in episodes:
        mine = split[split["task"] == episode.task]
        for role in ("support", "query"):
            found = mine[mine["role"] == role]
            wanted = tested.iloc[getattr(episode, role).ravel()]
            assert list(found["utt_id"]) == list(wanted["utt_id"])
            assert list(found["speaker"]) == list("c/" + wanted["speaker"])
    check_disjoint(with_training(training, split))
    leak = EpisodePool(rows, EMOTIONS, plan).episodes(4, 0, 5)  # training speakers are tested
    with pytest.raises(LeakError, match="on both the training and the test side"):
        check_disjoint(with_training(training, episodes_table(rows, leak, 4, "c")))
    free = EpisodePool(tested, EMOTIONS, EpisodePlan(3, 2, 3, apart=())).episodes(4, 0, 5)
    mixed = episodes_table(tested, free, 4, "c")
    with pytest.raises(LeakError, match="speaker"):
        check_disjoint(mixed)
    check_disjoint(mixed, allow_speaker_overlap=True)
    assert episodes_table(tested, [], 4, "c").empty
