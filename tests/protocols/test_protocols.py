"""The papers' protocols: each builds from a fabricated corpus of the published shape."""

import collections

import pytest
import yaml
from fabricated import needed

from colab_utils.corpora.cards import card_name, corpus_names
from colab_utils.methods import maml
from colab_utils.methods.maml.episode_tasks import training_pools
from colab_utils.protocols.build import build_task
from colab_utils.protocols.episodes import EpisodePlan
from colab_utils.protocols.folds import LeakError, check_disjoint, unit_keys
from colab_utils.protocols.near_episodes import films_shared, pool_that_fits
from colab_utils.protocols.published import ProtocolError, load_protocol, protocol_names

ALL_TASKS = [(name, task) for name in protocol_names() for task in load_protocol(name).tasks]


@pytest.mark.parametrize(("name", "task"), ALL_TASKS)
def test_every_task_builds_keeps_groups_apart_and_tests_each_utterance_once(corpora, name, task):
    protocol = load_protocol(name)
    mine = protocol.tasks[task]
    rows, split = build_task(protocol, task, needed(corpora, mine), seed=3)
    assert set(rows["emotion"]) <= set(mine.emotions) and set(split["task"]) == {task}
    assert set(split["utt_id"]) <= set(rows["utt_id"])
    told = rows.assign(unit=unit_keys(rows, protocol.group))[["utt_id", "unit", "emotion"]]
    for fold, part in split.merge(told).groupby("fold"):
        assert part["utt_id"].is_unique
        units, spoken = {}, {}
        for role in ("train", "valid", "test"):
            units[role] = set(part.loc[part["role"] == role, "unit"])
            spoken[role] = set(part.loc[part["role"] == role, "emotion"])
        assert units["train"] and units["test"], fold
        assert spoken["test"] <= spoken["train"]
        if not mine.allow_group_overlap:
            assert not units["test"] & (units["train"] | units["valid"])
            assert not units["valid"] & units["train"]
    if not mine.only_folds and not mine.holdout:
        target = rows[rows["corpus"].isin(mine.test["corpus"])]
        if "language" in mine.test:
            target = target[target["language"].isin(mine.test["language"])]
        tested = split.loc[split["role"] == "test", "utt_id"]
        assert sorted(tested) == sorted(target["utt_id"])


def built(corpora, name, task):
    protocol = load_protocol(name)
    return build_task(protocol, task, needed(corpora, protocol.tasks[task]))


def speakers_by_role(part):
    return part.groupby("role")["speaker"].agg(set)


def test_emofsl_sizes_folds_and_support(corpora):
    rows, split = built(corpora, "emofsl", "I-R")
    assert rows["corpus"].value_counts().to_dict() == {"iemocap": 5531, "ravdess": 672}
    assert split["fold"].nunique() == 6
    for _, part in split.groupby("fold"):
        roles = speakers_by_role(part)
        assert len(roles["test"]) == 4 and len(roles["support"]) == 20
        assert not roles["test"] & roles["support"] and len(roles["valid"]) == 1
        assert all(name.startswith("iemocap/") for name in roles["train"] | roles["valid"])
    assert built(corpora, "emofsl", "I-M")[1]["fold"].nunique() == 6
    assert built(corpora, "emofsl", "R-I")[1]["fold"].nunique() == 5


def test_alexnet_speakers_partner_validates_and_hand_picked_five(corpora):
    rows, split = built(corpora, "alexnet", "iemocap-speakers")
    assert len(rows) == 2280 and set(rows["style"]) == {"improvised"}
    assert split["fold"].nunique() == 10
    for fold, part in split.groupby("fold"):
        roles = speakers_by_role(part)
        partner = fold[0] + {"F": "M", "M": "F"}[fold[1]]
        assert roles["test"] == {f"iemocap/{fold}"} and roles["valid"] == {f"iemocap/{partner}"}
        assert len(roles["train"]) == 8
    picked = built(corpora, "alexnet", "iemocap-hand-picked")[1]
    assert set(picked["fold"]) == {"1M", "2F", "3F", "4F", "5F"}
    sessions = built(corpora, "alexnet", "iemocap-sessions")[1]
    number = sessions.groupby(["fold", "role"])["speaker"].nunique().unstack()
    assert set(number["test"]) == {2} and set(number["valid"]) == {2}


def test_da_mldg_sizes_validation_in_every_source_and_shemo_without_disgust(corpora, capsys):
    rows, split = built(corpora, "da_mldg", "1")
    counts = {"crema_d": 6354, "iemocap": 3865, "ravdess": 960, "savee": 300}
    assert rows["corpus"].value_counts().to_dict() == counts
    valid = split.loc[split["role"] == "valid", "speaker"].unique()
    shares = collections.Counter(name.split("/")[0] for name in valid)
    assert shares == {"crema_d": 14, "ravdess": 4, "savee": 1}
    tested = split.loc[split["role"] == "test", "speaker"]
    assert set(tested.str.split("/").str[0]) == {"iemocap"}
    rows, _ = built(corpora, "da_mldg", "6")
    spoken = set(rows.loc[rows["corpus"] == "shemo", "emotion"])
    assert spoken == {"anger", "happiness", "sadness", "fear"}
    capsys.readouterr()
    built(corpora, "da_mldg", "in-domain-tess")
    assert "has one speaker for training" in capsys.readouterr().out
    assert "tess" not in load_protocol("da_mldg").absent


def test_emofilm_films_and_the_unrestricted_variant(corpora):
    rows, split = built(corpora, "few_shot_ser", "en+es-it")
    assert len(rows) == 1115 and split["fold"].nunique() == 2
    tested = split.loc[split["role"] == "test", "utt_id"]
    assert tested.str.endswith("it").all() and tested.is_unique and len(tested) == 413
    _, free = built(corpora, "few_shot_ser", "en+es-it-unrestricted")
    with pytest.raises(LeakError, match="film"):
        check_disjoint(free, units=rows.set_index("utt_id")["film"])


def test_training_clips_of_speakers_who_are_tested_are_left_out_and_said(corpora, capsys):
    _, split = built(corpora, "few_shot_ser", "es+it-en-unrestricted")
    assert "left out" not in capsys.readouterr().out
    rows, split = built(corpora, "few_shot_ser", "en+es-it-unrestricted")
    assert (
        "1 training utterances are left out, their speakers are tested" in capsys.readouterr().out
    )
    assert set(rows["utt_id"]) - set(split["utt_id"]) == {"emofilm/fear000es"}
    rows, split = built(corpora, "few_shot_ser", "agnostic")
    for _, fold in split.groupby("fold"):
        tested = fold["role"] == "test"
        assert not set(fold.loc[tested, "speaker"]) & set(fold.loc[~tested, "speaker"])


@pytest.mark.parametrize("task", load_protocol("few_shot_ser").tasks)
@pytest.mark.parametrize("preset", maml.MamlConfig.PRESETS)
def test_episodes_of_the_published_size_can_be_drawn_from_films(corpora, task, preset):
    """Support and query of other films where there are enough, validation as near as it can be."""
    rows, split = built(corpora, "few_shot_ser", task)
    config = maml.MamlConfig.from_preset(preset)
    labels = load_protocol("few_shot_ser").tasks[task].emotions
    if preset == "paper-second-order" and not task.endswith("unrestricted"):
        pytest.skip("25 + 25 clips of contempt are more than half the films have")
    for _, fold in split.groupby("fold"):
        parts = {
            role: rows[rows["utt_id"].isin(fold.loc[fold["role"] == role, "utt_id"])]
            for role in ("train", "valid", "test")
        }
        apart = ("film",)
        pools = training_pools(parts["train"], parts["valid"], labels, config, apart)
        assert pools[0].plan.shots == config.shots and pools[0].plan.queries == config.queries
        if preset.startswith("default") or task.endswith("unrestricted"):
            plan = EpisodePlan(5, config.shots, config.queries, apart)
            pool_that_fits(parts["test"], labels, films_shared(plan), 0, range(20), "test")


def test_the_seed_decides_and_nothing_else(corpora):
    protocol = load_protocol("few_shot_ser")

    def folds_of(table, seed):
        split = build_task(protocol, "agnostic", table, seed)[1]
        return split.set_index(["fold", "utt_id"])["role"].sort_index()

    films = corpora["emofilm"]
    one = folds_of(films, 0)
    assert one.equals(folds_of(films, 0)) and not one.equals(folds_of(films, 1))
    assert one.equals(folds_of(films.sample(frac=1, random_state=1), 0))


@pytest.mark.parametrize("name", protocol_names())
def test_describe_tells_all_of_it(name):
    protocol = load_protocol(name)
    told = yaml.safe_load(protocol.describe())
    assert told.get("expected", {}) == protocol.expected
    for field in ("title", "source", "metric", "group"):
        assert told[field] == getattr(protocol, field)
    assert told["deviations"] == list(protocol.deviations)
    assert told.get("disagreements", []) == list(protocol.disagreements)
    for task in protocol.tasks.values():
        for field in ("train", "test", "folds", "holdout", "valid", "merge", "note"):
            empty = type(getattr(task, field))()
            assert told["tasks"][task.name].get(field, empty) == getattr(task, field)
        assert told["tasks"][task.name]["emotions"] == list(task.emotions)
        assert {card_name(corpus) for corpus in task.corpora} <= set(corpus_names())


def test_scenario_five_stands_both_ways_and_says_why():
    tasks = load_protocol("da_mldg").tasks
    assert tasks["5"].test["corpus"] == ["emodb"]
    assert tasks["5-as-printed"].test["corpus"] == ["aesdd"]
    assert any("Scenario 5" in one for one in load_protocol("da_mldg").disagreements)
    with pytest.raises(ProtocolError, match="known: alexnet"):
        load_protocol("nope")
