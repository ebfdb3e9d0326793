"""Few-shot studies: the target is read at the end only, validation picks the checkpoint, killed trainings end the same, errors are sentences."""
import dataclasses
import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pandas as pd
import pytest
import torch
from toy_store import Features, toy_corpus

from colab_utils.learning.training import TrainingError
from colab_utils.methods.maml.maml import PRESETS, MamlConfig
from colab_utils.methods.maml.study import BASELINES, EpisodeConfig, Study, needs_retraining
from colab_utils.protocols.domains import cross_corpus_split
from colab_utils.protocols.episodes import EpisodeError
from colab_utils.results.metrics import recompute
from colab_utils.settings import SettingError

LABELS = ["anger", "fear", "happiness", "sadness"]
CONFIG = MamlConfig(ways=4, shots=2, queries=3, steps=2, iterations=30, meta_batch=4, validate_every=10, valid_tasks=8, width=16)
EPISODES = EpisodeConfig(ways=4, shots=2, queries=3, steps=3, n_tasks=20, n_boot=50)


def corpus(name, speakers=4, each=6):
    return toy_corpus(name, LABELS, speakers, each)


@pytest.fixture
def rows():
    return pd.concat([corpus("aa"), corpus("bb"), corpus("cc")], ignore_index=True)


def make_study(rows, root, **more):
    split = cross_corpus_split(rows, ["aa", "bb"], ["cc"], n_valid_speakers=4)
    return Study("toy", rows, split, Features(rows, LABELS), LABELS, root, progress=False, **more)


def test_training_never_reads_the_target_and_the_test_does(rows, tmp_path):
    study = make_study(rows, tmp_path)
    target = set(rows.loc[rows["corpus"] == "cc", "utt_id"])
    study.train(CONFIG)
    for method in ("protonet", "pooled"):
        study.learner(method, CONFIG, study.folds[0])
    assert study.store.read and not study.store.read & target
    study.evaluate(EPISODES, {"MAML": CONFIG})
    assert study.store.read & target


def test_the_checkpoint_is_the_best_on_held_out_speakers_of_the_training_corpora(rows, tmp_path):
    study = make_study(rows, tmp_path)
    history = study.train(CONFIG)
    measured = {record["step"]: record["validation"] for record in history.records if "validation" in record}
    assert history.best_step == min(step for step, value in measured.items() if value == max(measured.values()))
    source = study.source(CONFIG, study.folds[0])
    speakers = source.split.groupby("role")["speaker"].agg(set)
    assert set(speakers.index) == {"train", "valid"} and not speakers["train"] & speakers["valid"]
    assert {key.split("/")[0] for key in speakers["train"] | speakers["valid"]} == {"aa", "bb"}
    learner = study.learner("maml", CONFIG, study.folds[0])
    assert learner.validate() == pytest.approx(history.best_score, abs=1e-12)


def test_every_method_answers_the_same_queries_and_the_metrics_follow_from_the_predictions(rows, tmp_path):
    runs = make_study(rows, tmp_path).evaluate(EPISODES, {"fixed": CONFIG, "permuted": dataclasses.replace(CONFIG, regime="permuted")})
    assert set(runs) == {*BASELINES, "fixed", "permuted"}
    keys = [run.predictions[["seed", "task", "utt_id", "true"]].sort_values(["task", "utt_id"]).reset_index(drop=True) for run in runs.values()]
    assert all(key.equals(keys[0]) for key in keys)
    assert len(keys[0]) == 20 * 4 * 3
    for name, run in runs.items():
        assert run.metrics == recompute(run.path), name
        assert run.metrics["chance"] == 0.25 and run.metrics["speaker_independence"] == "independent"
    assert abs(runs["chance"].metrics["wa"] - 0.25) < 0.1
    assert runs["logistic regression"].metrics["uar"] > 0.5 and runs["fixed"].metrics["uar"] > 0.5


def test_support_and_query_speakers_differ_in_every_episode(rows, tmp_path):
    run = make_study(rows, tmp_path).evaluate(EPISODES, {}, ["nearest prototype"])["nearest prototype"]
    episodes = run.split[run.split["role"].isin(["support", "query"])]
    assert set(episodes["task"]) == set(range(20))
    for _, part in episodes.groupby("task"):
        sides = part.groupby("role")["speaker"].agg(set)
        assert not sides["support"] & sides["query"]


def test_the_steps_file_starts_at_the_zero_shot_accuracy_and_ends_with_the_predictions(rows, tmp_path):
    run = make_study(rows, tmp_path).evaluate(EPISODES, {"MAML": CONFIG}, [])["MAML"]
    steps = pd.read_csv(run.path / "steps.csv")
    assert sorted(set(steps["step"])) == [0, 1, 2, 3]
    last = steps[steps["step"] == 3].set_index("task")["accuracy"]
    table = run.predictions
    right = (table["true"] == table["pred"]).groupby(table["task"]).mean()
    assert np.allclose(last.sort_index(), right.sort_index())


def test_a_second_call_computes_nothing_again(rows, tmp_path, capsys):
    make_study(rows, tmp_path).evaluate(EPISODES, {"MAML": CONFIG}, ["chance"])
    capsys.readouterr()
    study = make_study(rows, tmp_path)
    study.train(CONFIG)
    study.evaluate(EPISODES, {"MAML": CONFIG}, ["chance"])
    printed = capsys.readouterr().out
    assert "trained before, loaded" in printed and printed.count("nothing is computed again") == 2


def train_in_a_child(rows, root):
    torch.set_num_threads(1)
    make_study(rows, root).train(dataclasses.replace(CONFIG, iterations=400, validate_every=5, patience=1000))


@pytest.mark.parametrize("delay", [0.2, 0.6, 1.1])
def test_killed_at_any_moment_training_ends_bit_for_bit_like_an_uninterrupted_one(rows, tmp_path, delay, monkeypatch):
    monkeypatch.setattr("colab_utils.learning.training.train.__kwdefaults__", {**_train_defaults(), "save_seconds": 0.0}, raising=False)
    context = multiprocessing.get_context("fork")
    whole = context.Process(target=train_in_a_child, args=(rows, tmp_path / "whole"))
    whole.start()
    whole.join(120)
    killed = context.Process(target=train_in_a_child, args=(rows, tmp_path / "killed"))
    killed.start()
    limit = time.monotonic() + 60
    while not list((tmp_path / "killed").glob("trained/maml/*/checkpoint.pt")) and time.monotonic() < limit:
        time.sleep(0.01)
    time.sleep(delay)
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    again = context.Process(target=train_in_a_child, args=(rows, tmp_path / "killed"))
    again.start()
    again.join(120)
    files = [next((tmp_path / side).glob("trained/maml/*/model.safetensors")).read_bytes() for side in ("whole", "killed")]
    assert files[0] == files[1]


def _train_defaults():
    from colab_utils.learning import training
    return dict(training.train.__kwdefaults__)


def test_a_damaged_model_is_said_and_trained_again(rows, tmp_path, capsys):
    make_study(rows, tmp_path).train(CONFIG)
    weights = next(tmp_path.glob("trained/maml/*/model.safetensors"))
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    make_study(rows, tmp_path).train(CONFIG)
    assert "trained again" in capsys.readouterr().out and weights.read_bytes() == good


@pytest.mark.parametrize(("episodes", "words"), [
    ({"shots": 20}, "fear"), ({"ways": 6}, "4"), ({"shots": 6, "queries": 20}, "fewer")])
def test_episodes_that_cannot_be_drawn_say_what_to_change(rows, tmp_path, episodes, words):
    with pytest.raises(EpisodeError, match=words):
        make_study(rows, tmp_path).evaluate(dataclasses.replace(EPISODES, **episodes), {}, ["chance"])


def test_one_speaker_only_is_one_sentence(tmp_path):
    rows = pd.concat([corpus("aa"), corpus("bb"), corpus("cc", speakers=1)], ignore_index=True)
    with pytest.raises(EpisodeError, match="speaker"):
        make_study(rows, tmp_path).evaluate(EPISODES, {}, ["chance"])


def test_an_inner_rate_that_breaks_the_loss_is_one_sentence(rows, tmp_path):
    with pytest.raises(TrainingError, match="inner_rate"):
        make_study(rows, tmp_path).train(dataclasses.replace(CONFIG, inner_rate=2.0, steps=20, learn_rates=False, meta_rate=0.1, clip=0.0,
                                                             iterations=200, patience=1000, width=512))


def test_running_out_of_memory_is_one_sentence(rows, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr("colab_utils.methods.maml.maml.meta_gradient", full)
    with pytest.raises(TrainingError, match="memory.*meta_batch"):
        make_study(rows, tmp_path).train(CONFIG)


def test_a_network_on_frames_refuses_vectors_in_one_sentence(rows, tmp_path):
    with pytest.raises(SettingError, match="conv4 needs frames, and toy gives one vector an utterance: choose frame features"):
        make_study(rows, tmp_path).train(dataclasses.replace(CONFIG, network="conv4"))


def test_more_ways_than_the_head_was_trained_for_ask_for_retraining(rows, tmp_path):
    permuted = dataclasses.replace(CONFIG, regime="permuted", ways=3)
    assert "train again" in needs_retraining(permuted, EPISODES) and needs_retraining(CONFIG, EPISODES) == ""
    assert needs_retraining(permuted, dataclasses.replace(EPISODES, ways=2)) == ""
    with pytest.raises(SettingError, match="train again"):
        make_study(rows, tmp_path).evaluate(EPISODES, {"permuted": permuted})


def test_a_method_of_ones_own_runs_in_the_same_episodes(rows, tmp_path):
    def always_first(tasks):
        """The first active class, whatever is asked."""
        return tasks.query.active.float().unsqueeze(1).expand(-1, tasks.query.y.shape[1], -1).cumsum(-1).eq(1).float()
    study = make_study(rows, tmp_path)
    runs = study.evaluate(EPISODES, {}, ["chance"], own={"always first": always_first})
    assert runs["always first"].metrics["uar"] == pytest.approx(0.25)
    assert set(runs["always first"].predictions["pred"]) == {"anger"}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_within_its_ranges(name):
    config = MamlConfig.preset(name)
    from colab_utils import settings
    settings.check(config)
    assert json.dumps(settings.as_dict(config))


@pytest.mark.parametrize("change", [{"regime": "permuted"}, {"contrastive": "supervised"}, {"contrastive": "nt-xent", "projection": 0},
                                    {"adapted": "head"}, {"order": "first"}, {"order": "annealed"}, {"multi_step": "ramp"}, {"norm": "batch"},
                                    {"engine": "higher"},
                                    {"learn_rates": False}, {"within": ""}])
def test_every_choice_trains_and_tests(rows, tmp_path, change):
    config = dataclasses.replace(CONFIG, iterations=3, validate_every=3, **change)
    run = make_study(rows, tmp_path).evaluate(EPISODES, {"MAML": config}, [])["MAML"]
    assert run.metrics["n"] == 240
    assert any("transductive" in rule for rule in run.metrics["rule"]) == (change.get("norm") == "batch")
