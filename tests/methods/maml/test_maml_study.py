"""Few-shot studies: the target is read at the end only, validation picks the checkpoint, killed
trainings end the same, errors are sentences."""

import dataclasses
import json
import multiprocessing
import os
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from maml_toys import (
    CONFIG,
    EPISODES,
    make_rows,
    make_study,
    meta_trained,
    one_of,
    only_run,
    study_of,
)
from notebook_runs import loaded
from toy_store import cross_corpus_split

from colab_utils import settings
from colab_utils.learning import training
from colab_utils.learning.heads import PRIOR
from colab_utils.learning.training import TrainingError
from colab_utils.methods.maml.maml import MamlLearner
from colab_utils.methods.maml.rivals import BASELINES, TRAINED_AS
from colab_utils.methods.maml.settings import (
    EpisodeConfig,
    MamlConfig,
    both_regimes,
    needs_retraining,
    used_by,
)
from colab_utils.methods.maml.steps import read_seen
from colab_utils.protocols.episodes import EpisodeError
from colab_utils.results.metrics import recompute
from colab_utils.settings import SettingError


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All methods, both regimes."""
    models = {"fixed": CONFIG, "permuted": dataclasses.replace(CONFIG, regime="permuted")}
    return make_study(tmp_path_factory.mktemp("all")).compare(CONFIG, EPISODES, models)


def test_training_never_reads_the_target_and_the_test_does(tmp_path):
    study = make_study(tmp_path)
    target = set(study.rows.loc[study.rows["corpus"] == "cc", "utt_id"])
    for kind in TRAINED_AS:
        assert study.trained(one_of(kind), study.folds[0])[0] is not None
    assert study.store.read and not study.store.read & target
    only_run(study, "nearest prototype")
    assert study.store.read & target


def test_the_checkpoint_is_the_best_on_held_out_speakers_of_the_training_corpora(tmp_path):
    study = make_study(tmp_path)
    history = study.train(CONFIG)
    measured = {one["step"]: one["validation"] for one in history.records if "validation" in one}
    best = [step for step, value in measured.items() if value == max(measured.values())]
    assert history.best_step == min(best)
    side = study.side(one_of("maml"), study.folds[0])
    train, valid = (
        set(clips.rows["corpus"] + clips.rows["speaker"]) for clips in (side.train, side.valid)
    )
    assert train and valid and not train & valid
    assert set(side.train.corpus) | set(side.valid.corpus) == {"aa", "bb"}
    learner = study.trained(one_of("maml"), study.folds[0])[0]
    assert learner.validate() == pytest.approx(history.best_score, abs=1e-12)


@pytest.mark.slow
def test_every_method_answers_the_same_queries_and_the_metrics_follow_from_the_predictions(runs):
    assert list(runs) == [kind for kind in BASELINES if kind != PRIOR] + ["fixed", "permuted"]
    columns = ["seed", "task", "utt_id", "true"]
    keys = []
    for run in runs.values():
        asked = run.predictions[columns].sort_values(["task", "utt_id"])
        keys.append(asked.reset_index(drop=True))
    assert all(key.equals(keys[0]) for key in keys)
    assert len(keys[0]) == 20 * 4 * 3
    for name, run in runs.items():
        assert run.metrics == recompute(run.path), name
        assert run.metrics["chance"] == 0.25
        assert run.metrics["speaker_independence"] == "independent"
    assert abs(runs["chance"].metrics["wa"] - 0.25) < 0.1
    assert runs["logistic regression"].metrics["uar"] > 0.5 and runs["fixed"].metrics["uar"] > 0.5


@pytest.mark.slow
def test_support_and_query_speakers_differ_in_every_episode(runs):
    split = runs["nearest prototype"].split
    episodes = split[split["role"].isin(["support", "query"])]
    assert set(episodes["task"]) == set(range(20))
    for _, part in episodes.groupby("task"):
        sides = part.groupby("role")["speaker"].agg(set)
        assert not sides["support"] & sides["query"]


@pytest.mark.slow
def test_the_steps_file_starts_at_the_zero_shot_accuracy_and_ends_with_the_predictions(runs):
    run = runs["fixed"]
    steps = pd.read_csv(run.path / "steps.csv")
    assert sorted(set(steps["step"])) == [0, 1, 2, 3]
    last = steps[steps["step"] == 3].set_index("task")["accuracy"]
    table = run.predictions
    right = (table["true"] == table["pred"]).groupby(table["task"]).mean()
    assert np.allclose(last.sort_index(), right.sort_index())


def test_seen_episodes_are_those_of_the_training_and_of_the_validation(tmp_path):
    study = make_study(tmp_path)
    run = meta_trained(study)
    learner = study.trained(one_of("maml"), "cc")[0]
    side = study.side(one_of("maml"), "cc")
    seen = read_seen(run.path)
    assert list(seen) == ["training", "validation"]
    right = []
    for i in range(5):  # twenty episodes: those that the first five meta-updates learnt from
        tasks = side.tasks(i, "fixed", 4)
        for task, scores in enumerate(learner.scores(tasks, EPISODES.steps)):
            for step in scores:
                right.append(float((step.argmax(dim=1) == tasks.query.y[task]).double().mean()))
    assert list(seen["training"]["accuracy"]) == pytest.approx(right)
    first = seen["validation"][seen["validation"]["task"] < CONFIG.valid_tasks]
    trained = first[first["step"] == CONFIG.steps]
    assert trained["accuracy"].mean() == pytest.approx(learner.validate())
    last = seen["training"][seen["training"]["step"] == EPISODES.steps]["accuracy"].mean()
    simple = only_run(study, "nearest prototype")
    table = study.table({"MAML": run, "nearest prototype": simple})
    assert table.loc["MAML", "training episodes"] == f"{100 * last:.1f}"
    assert table.loc["nearest prototype", "training episodes"] == ""
    assert list(table.columns)[-1] == "notes"
    assert read_seen(simple.path) == {}, "it was never trained"


def test_a_second_call_computes_nothing_again(tmp_path, capsys):
    make_study(tmp_path).compare(CONFIG, EPISODES, {"MAML": CONFIG}, ["chance"])
    capsys.readouterr()
    study = make_study(tmp_path)
    study.train(CONFIG)
    study.compare(CONFIG, EPISODES, {"MAML": CONFIG}, ["chance"])
    printed = capsys.readouterr().out
    assert "trained before, loaded" in printed and loaded(printed) == 2


# --- killed ---------------------------------------------------------------------------------------


def train_in_a_child(root, kill_at=None):
    """Trains in a process of its own, which kills itself before meta-update `kill_at`."""

    def work():
        torch.set_num_threads(1)
        training.train.__kwdefaults__["save_seconds"] = 0.0  # a checkpoint at every chance
        step = MamlLearner.step

        def killing(self, i):
            if i == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(self, i)

        MamlLearner.step = killing
        make_study(root).train(dataclasses.replace(CONFIG, validate_every=5))

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(120)
    return child.exitcode


def weights_of(root):
    return next(root.glob("trained/maml/*/model.safetensors")).read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    assert train_in_a_child(root) == 0
    return weights_of(root)


@pytest.mark.parametrize("kill_at", [3, 10, 29])
def test_killed_at_any_step_training_ends_bit_for_bit_like_an_uninterrupted_one(
    uninterrupted, tmp_path, kill_at
):
    assert train_in_a_child(tmp_path, kill_at) == -signal.SIGKILL
    assert train_in_a_child(tmp_path) == 0
    assert weights_of(tmp_path) == uninterrupted


def test_a_damaged_model_is_said_and_trained_again(tmp_path, capsys):
    make_study(tmp_path).train(CONFIG)
    weights = next(tmp_path.glob("trained/maml/*/model.safetensors"))
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    make_study(tmp_path).train(CONFIG)
    assert "trained again" in capsys.readouterr().out and weights.read_bytes() == good


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("episodes", "words"),
    [({"shots": 20}, "fear"), ({"shots": 6, "queries": 20}, "fewer")],
)
def test_episodes_that_cannot_be_drawn_say_what_to_change(tmp_path, episodes, words):
    with pytest.raises(EpisodeError, match=words):
        only_run(make_study(tmp_path), "chance", dataclasses.replace(EPISODES, **episodes))


def test_one_speaker_only_is_one_sentence(tmp_path):
    rows = make_rows(tested_speakers=1)
    study = study_of(rows, cross_corpus_split(rows, "cc", n_valid_speakers=4), tmp_path)
    with pytest.raises(EpisodeError, match="speaker"):
        only_run(study, "chance")


def test_an_inner_rate_that_breaks_the_loss_is_one_sentence(tmp_path):
    config = dataclasses.replace(
        CONFIG, inner_rate=2.0, steps=20, learn_rates=False, meta_rate=0.1, clip=0.0, width=512
    )
    with pytest.raises(TrainingError, match="inner_rate"):
        make_study(tmp_path).train(dataclasses.replace(config, iterations=200, patience=1000))


def test_running_out_of_memory_is_one_sentence(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("colab_utils.methods.maml.maml.meta_gradient", full)
    with pytest.raises(TrainingError, match="memory.*meta_batch"):
        make_study(tmp_path).train(CONFIG)


def test_a_network_on_frames_refuses_vectors_in_one_sentence(tmp_path):
    with pytest.raises(SettingError, match="conv4 needs frames, and toy gives one vector"):
        make_study(tmp_path).train(dataclasses.replace(CONFIG, network="conv4"))


def test_more_ways_than_the_head_was_trained_for_ask_for_retraining(tmp_path):
    permuted = dataclasses.replace(CONFIG, regime="permuted", ways=3)
    assert "train again" in needs_retraining(permuted, EPISODES)
    assert needs_retraining(CONFIG, EPISODES) == ""
    assert needs_retraining(permuted, dataclasses.replace(EPISODES, ways=2)) == ""
    with pytest.raises(SettingError, match="train again"):
        make_study(tmp_path).compare(permuted, EPISODES, {"permuted": permuted})
    assert not list(tmp_path.glob("runs/*/*")) and not list(tmp_path.glob("trained/*/*"))


@pytest.mark.parametrize(("network", "norm"), [("lstm", "batch"), ("mlp", "paper-batch")])
def test_a_network_without_these_normalisation_layers_is_refused(network, norm):
    with pytest.raises(SettingError, match="norm = "):
        MamlConfig.from_preset("default", network=network, norm=norm)


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MamlConfig.PRESETS)
def test_every_preset_is_within_its_ranges(name):
    config = MamlConfig.from_preset(name)
    settings.check(config)
    assert json.dumps(settings.as_dict(config)) and config.preset == name and not config.changed()


@pytest.mark.parametrize(
    "change",
    [
        {"regime": "permuted"},
        {"contrastive": "supervised"},
        {"contrastive": "nt-xent", "projection": 0},
        {"adapted": "head"},
        {"order": "first"},
        {"order": "annealed"},
        {"multi_step": "ramp"},
        {"norm": "batch"},
        {"engine": "higher"},
        {"learn_rates": False},
        {"within": "all"},
    ],
)
def test_every_choice_trains_and_tests(tmp_path, change):
    config = dataclasses.replace(CONFIG, iterations=3, validate_every=3, **change)
    episodes = dataclasses.replace(EPISODES, n_tasks=4)
    run = meta_trained(make_study(tmp_path), config, episodes)
    assert run.metrics["n"] == 4 * 12
    told = "transductive: normalised by speaker"
    if change.get("norm") == "batch":
        told += ", batch statistics of the query"
    assert run.metrics["rule"] == [told]


def test_a_setting_that_is_not_looked_at_names_nothing(tmp_path):
    study = make_study(tmp_path)
    other = dataclasses.replace(
        CONFIG, steps=4, regime="permuted", clip=1.0, order="first", preset="paper"
    )
    later = dataclasses.replace(EPISODES, steps=9, inner_rate=0.1)
    for name in BASELINES:
        before = study._tested(name, name, CONFIG, EPISODES)
        assert before == study._tested(name, name, other, later)
    wider = dataclasses.replace(CONFIG, width=32, iterations=9, seed=3)
    assert used_by("", wider) == used_by("", CONFIG)
    assert used_by("protonet", wider) != used_by("protonet", CONFIG)
    assert used_by("maml", other) != used_by("maml", CONFIG)
    assert used_by("maml", dataclasses.replace(CONFIG, temperature=0.5)) == used_by("maml", CONFIG)


def test_rivals_with_the_same_network_share_their_training(tmp_path):
    study = make_study(tmp_path)
    config = dataclasses.replace(CONFIG, iterations=2)
    episodes = dataclasses.replace(EPISODES, n_tasks=4)
    study.compare(config, episodes, {}, ["pooled, zero-shot", "pooled, fine-tuned", "ProtoNet"])
    study.compare(dataclasses.replace(config, regime="permuted", order="first"), episodes)
    names = sorted(path.name.rpartition("-seed")[0] for path in tmp_path.glob("trained/maml/*"))
    assert names == [
        "toy-toy-maml-mlp-fixed-4way2shot",
        "toy-toy-maml-mlp-permuted-4way2shot",
        "toy-toy-pretraining-mlp-4way2shot",
        "toy-toy-protonet-mlp-4way2shot",
    ]


def test_training_and_test_count_their_seeds_together(tmp_path):
    config = dataclasses.replace(CONFIG, seed=2, iterations=10)
    two = dataclasses.replace(EPISODES, seed=5, n_seeds=2)
    table = meta_trained(make_study(tmp_path), config, two).predictions
    assert sorted(set(table["seed"])) == [5, 6]
    folders = [path.name for path in tmp_path.glob("trained/maml/*")]
    assert sorted(name.split("-seed")[1][0] for name in folders) == ["2", "3"]
    second = meta_trained(
        make_study(tmp_path / "alone"),
        dataclasses.replace(config, seed=3),
        dataclasses.replace(two, seed=6, n_seeds=1),
    )
    mine = table[table["seed"] == 6].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, second.predictions)


def test_episodes_follow_the_training_and_its_ways_the_emotions(tmp_path, capsys):
    study = make_study(tmp_path)
    config = MamlConfig.from_form("default", {"steps": 3}, ways=8, shots=0, queries=0, seed=4)
    episodes = study.episodes(config, n_tasks=30, n_seeds=0)
    assert capsys.readouterr().out == "8 ways asked for, 4 emotions there: 4 ways\n"
    assert episodes == EpisodeConfig(ways=4, shots=5, queries=10, steps=3, n_tasks=30, seed=4)
    assert study.episodes(config, shots=2).shots == 2
    published = study.episodes(MamlConfig.from_form("paper", shots=0, queries=0))
    assert (published.shots, published.queries) == (5, 20)
    assert study.train(dataclasses.replace(CONFIG, ways=8)).records, "with all four emotions"
    eight = EpisodeConfig(ways=8, shots=1, queries=2, n_tasks=4)
    (run,) = study.compare(CONFIG, eight, models={}, baselines=["nearest prototype"]).values()
    assert run.config["test"]["ways"] == 4
    assert (
        "4-way 1-shot episodes, 2 queries a class, all emotions there are" in run.metrics["notes"]
    )


def test_both_regimes_begin_with_that_of_the_settings():
    assert list(both_regimes(CONFIG)) == ["MAML, fixed ids", "MAML, permuted ids"]
    permuted = dataclasses.replace(CONFIG, regime="permuted")
    models = both_regimes(permuted)
    assert list(models) == ["MAML, permuted ids", "MAML, fixed ids"]
    assert models == both_regimes(CONFIG) and permuted.title == "MAML, permuted ids"
