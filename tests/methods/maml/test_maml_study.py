"""Few-shot studies: the target is read at the end only, validation picks the checkpoint, killed
trainings end the same, errors are sentences."""

import dataclasses
import gc
import importlib
import json
import multiprocessing
import os
import signal
import time
import weakref

import matplotlib.text
import numpy as np
import pandas as pd
import pytest
import torch
from toy_store import Features, toy_corpus

from colab_utils import settings
from colab_utils.learning.study import Tested
from colab_utils.learning.training import TrainingError
from colab_utils.methods import maml
from colab_utils.methods.maml.rivals import BASELINES, TRAINED_AS
from colab_utils.methods.maml.settings import (
    EpisodeConfig,
    MamlConfig,
    both_regimes,
    needs_retraining,
    used_by,
)
from colab_utils.methods.maml.study import MamlStudy, open_study, shares_of
from colab_utils.protocols.domains import cross_corpus_split
from colab_utils.protocols.episodes import EpisodeError, EpisodePlan, EpisodePool
from colab_utils.protocols.folds import LeakError
from colab_utils.protocols.published import ProtocolError
from colab_utils.results.metrics import recompute
from colab_utils.settings import SettingError

LABELS = ["anger", "fear", "happiness", "sadness"]
CONFIG = MamlConfig(
    ways=4,
    shots=2,
    queries=3,
    steps=2,
    iterations=30,
    meta_batch=4,
    validate_every=10,
    valid_tasks=8,
    width=16,
)
EPISODES = EpisodeConfig(ways=4, shots=2, queries=3, steps=3, n_tasks=20, n_boot=50)


def corpus(name, speakers=4, each=6):
    return toy_corpus(name, LABELS, speakers, each)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """A confusion matrix takes most of a second; one test draws them."""
    monkeypatch.setattr("colab_utils.learning.study.save_confusion_matrix", lambda run: None)


@pytest.fixture
def rows():
    return pd.concat([corpus("aa"), corpus("bb"), corpus("cc")], ignore_index=True)


def make_study(rows, root, **more):
    split = cross_corpus_split(rows, ["aa", "bb"], ["cc"], n_valid_speakers=4)
    return MamlStudy(
        "toy", rows, split, Features(rows, LABELS), LABELS, root, progress=False, **more
    )


def folded_study(root, n_folds):
    """A target in several folds of four speakers, which all have the same training side."""
    rows = pd.concat([corpus("aa"), corpus("bb"), corpus("cc", 4 * n_folds)], ignore_index=True)
    one = cross_corpus_split(rows, ["aa", "bb"], ["cc"], n_valid_speakers=4)
    parts = []
    for fold in range(n_folds):
        mine = {f"cc/s{who}" for who in range(4 * fold, 4 * fold + 4)}
        kept = (one["role"] != "test") | one["speaker"].isin(mine)
        parts.append(one[kept].assign(fold=str(fold)))
    split = pd.concat(parts, ignore_index=True)
    return MamlStudy("toy", rows, split, Features(rows, LABELS), LABELS, root, progress=False)


def small_study(root):
    """From start to end, for a test that kills it."""
    study = folded_study(root, 2)
    config = dataclasses.replace(CONFIG, iterations=60, validate_every=5)
    study.train(config)
    study.compare(
        config,
        dataclasses.replace(EPISODES, n_seeds=2),
        {"MAML": config},
        ["nearest prototype", "ProtoNet", "pooled, fine-tuned"],
    )


def one_of(kind, config=CONFIG, episodes=EPISODES):
    return Tested(kind, config, kind=kind, test=episodes)


def only_run(study, baseline, episodes=EPISODES):
    """The run of one baseline."""
    return study.compare(CONFIG, episodes, {}, [baseline])[baseline]


def meta_trained(study, config=CONFIG, episodes=EPISODES):
    """The run of one meta-trained network."""
    return study.compare(config, episodes, {"MAML": config}, [])["MAML"]


def test_training_never_reads_the_target_and_the_test_does(rows, tmp_path):
    study = make_study(rows, tmp_path)
    target = set(rows.loc[rows["corpus"] == "cc", "utt_id"])
    study.train(CONFIG)
    for kind in TRAINED_AS:
        assert study.trained(one_of(kind), study.folds[0])[0] is not None
    assert study.store.read and not study.store.read & target
    study.compare(CONFIG, EPISODES, {"MAML": CONFIG})
    assert study.store.read & target


def test_the_checkpoint_is_the_best_on_held_out_speakers_of_the_training_corpora(rows, tmp_path):
    study = make_study(rows, tmp_path)
    history = study.train(CONFIG)
    measured = {
        record["step"]: record["validation"] for record in history.records if "validation" in record
    }
    assert history.best_step == min(
        step for step, value in measured.items() if value == max(measured.values())
    )
    side = study.side(one_of("maml"), study.folds[0])
    known = {
        name: set(clips.rows["corpus"] + clips.rows["speaker"])
        for name, clips in (("train", side.train), ("valid", side.valid))
    }
    assert known["train"] and known["valid"] and not known["train"] & known["valid"]
    assert set(side.train.corpus) | set(side.valid.corpus) == {"aa", "bb"}
    learner = study.trained(one_of("maml"), study.folds[0])[0]
    assert learner.validate() == pytest.approx(history.best_score, abs=1e-12)


def test_every_method_answers_the_same_queries_and_the_metrics_follow_from_the_predictions(
    rows, tmp_path
):
    models = {"fixed": CONFIG, "permuted": dataclasses.replace(CONFIG, regime="permuted")}
    runs = make_study(rows, tmp_path).compare(CONFIG, EPISODES, models)
    assert list(runs) == [*BASELINES, "fixed", "permuted"]
    keys = [
        run.predictions[["seed", "task", "utt_id", "true"]]
        .sort_values(["task", "utt_id"])
        .reset_index(drop=True)
        for run in runs.values()
    ]
    assert all(key.equals(keys[0]) for key in keys)
    assert len(keys[0]) == 20 * 4 * 3
    for name, run in runs.items():
        assert run.metrics == recompute(run.path), name
        assert (
            run.metrics["chance"] == 0.25 and run.metrics["speaker_independence"] == "independent"
        )
    assert abs(runs["chance"].metrics["wa"] - 0.25) < 0.1
    assert runs["logistic regression"].metrics["uar"] > 0.5 and runs["fixed"].metrics["uar"] > 0.5


def test_support_and_query_speakers_differ_in_every_episode(rows, tmp_path):
    run = only_run(make_study(rows, tmp_path), "nearest prototype")
    episodes = run.split[run.split["role"].isin(["support", "query"])]
    assert set(episodes["task"]) == set(range(20))
    for _, part in episodes.groupby("task"):
        sides = part.groupby("role")["speaker"].agg(set)
        assert not sides["support"] & sides["query"]


def test_the_steps_file_starts_at_the_zero_shot_accuracy_and_ends_with_the_predictions(
    rows, tmp_path
):
    run = meta_trained(make_study(rows, tmp_path))
    steps = pd.read_csv(run.path / "steps.csv")
    assert sorted(set(steps["step"])) == [0, 1, 2, 3]
    last = steps[steps["step"] == 3].set_index("task")["accuracy"]
    table = run.predictions
    right = (table["true"] == table["pred"]).groupby(table["task"]).mean()
    assert np.allclose(last.sort_index(), right.sort_index())


def test_a_second_call_computes_nothing_again(rows, tmp_path, capsys):
    make_study(rows, tmp_path).compare(CONFIG, EPISODES, {"MAML": CONFIG}, ["chance"])
    capsys.readouterr()
    study = make_study(rows, tmp_path)
    study.train(CONFIG)
    study.compare(CONFIG, EPISODES, {"MAML": CONFIG}, ["chance"])
    printed = capsys.readouterr().out
    assert "trained before, loaded" in printed and printed.count("nothing is computed again") == 2


def train_in_a_child(rows, root):
    torch.set_num_threads(1)
    make_study(rows, root).train(
        dataclasses.replace(CONFIG, iterations=400, validate_every=5, patience=1000)
    )


@pytest.mark.parametrize("delay", [0.2, 0.6, 1.1])
def test_killed_at_any_moment_training_ends_bit_for_bit_like_an_uninterrupted_one(
    rows, tmp_path, delay, monkeypatch
):
    monkeypatch.setattr(
        "colab_utils.learning.training.train.__kwdefaults__",
        {**_train_defaults(), "save_seconds": 0.0},
        raising=False,
    )
    context = multiprocessing.get_context("fork")
    whole = context.Process(target=train_in_a_child, args=(rows, tmp_path / "whole"))
    whole.start()
    whole.join(120)
    killed = context.Process(target=train_in_a_child, args=(rows, tmp_path / "killed"))
    killed.start()
    limit = time.monotonic() + 60
    while (
        not list((tmp_path / "killed").glob("trained/maml/*/checkpoint.pt"))
        and time.monotonic() < limit
    ):
        time.sleep(0.01)
    time.sleep(delay)
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    again = context.Process(target=train_in_a_child, args=(rows, tmp_path / "killed"))
    again.start()
    again.join(120)
    files = [
        next((tmp_path / side).glob("trained/maml/*/model.safetensors")).read_bytes()
        for side in ("whole", "killed")
    ]
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


@pytest.mark.parametrize(
    ("episodes", "words"),
    [({"shots": 20}, "fear"), ({"ways": 6}, "4"), ({"shots": 6, "queries": 20}, "fewer")],
)
def test_episodes_that_cannot_be_drawn_say_what_to_change(rows, tmp_path, episodes, words):
    with pytest.raises(EpisodeError, match=words):
        only_run(make_study(rows, tmp_path), "chance", dataclasses.replace(EPISODES, **episodes))


def test_one_speaker_only_is_one_sentence(tmp_path):
    rows = pd.concat([corpus("aa"), corpus("bb"), corpus("cc", speakers=1)], ignore_index=True)
    with pytest.raises(EpisodeError, match="speaker"):
        only_run(make_study(rows, tmp_path), "chance")


def test_an_inner_rate_that_breaks_the_loss_is_one_sentence(rows, tmp_path):
    with pytest.raises(TrainingError, match="inner_rate"):
        make_study(rows, tmp_path).train(
            dataclasses.replace(
                CONFIG,
                inner_rate=2.0,
                steps=20,
                learn_rates=False,
                meta_rate=0.1,
                clip=0.0,
                iterations=200,
                patience=1000,
                width=512,
            )
        )


def test_running_out_of_memory_is_one_sentence(rows, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("colab_utils.methods.maml.maml.meta_gradient", full)
    with pytest.raises(TrainingError, match="memory.*meta_batch"):
        make_study(rows, tmp_path).train(CONFIG)


def test_a_network_on_frames_refuses_vectors_in_one_sentence(rows, tmp_path):
    with pytest.raises(
        SettingError,
        match="conv4 needs frames, and toy gives one vector an utterance: choose frame features",
    ):
        make_study(rows, tmp_path).train(dataclasses.replace(CONFIG, network="conv4"))


def test_more_ways_than_the_head_was_trained_for_ask_for_retraining(rows, tmp_path):
    permuted = dataclasses.replace(CONFIG, regime="permuted", ways=3)
    assert (
        "train again" in needs_retraining(permuted, EPISODES)
        and needs_retraining(CONFIG, EPISODES) == ""
    )
    assert needs_retraining(permuted, dataclasses.replace(EPISODES, ways=2)) == ""
    with pytest.raises(SettingError, match="train again"):
        make_study(rows, tmp_path).compare(permuted, EPISODES, {"permuted": permuted})
    assert not list(tmp_path.glob("runs/*/*")) and not list(tmp_path.glob("trained/*/*"))


def test_a_method_of_ones_own_runs_in_the_same_episodes(rows, tmp_path):
    def always_first(tasks):
        """The first active class, whatever is asked."""
        return (
            tasks.query.active.float()
            .unsqueeze(1)
            .expand(-1, tasks.query.y.shape[1], -1)
            .cumsum(-1)
            .eq(1)
            .float()
        )

    study = make_study(rows, tmp_path)
    runs = study.compare(CONFIG, EPISODES, {}, ["chance"], {"always first": always_first})
    assert runs["always first"].metrics["uar"] == pytest.approx(0.25)
    assert not list(tmp_path.glob("trained/*/*")), "nothing was trained for it"
    assert set(runs["always first"].predictions["pred"]) == {"anger"}


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
def test_every_choice_trains_and_tests(rows, tmp_path, change):
    config = dataclasses.replace(CONFIG, iterations=3, validate_every=3, **change)
    run = meta_trained(make_study(rows, tmp_path), config)
    assert run.metrics["n"] == 240
    assert any("transductive" in rule for rule in run.metrics["rule"]) == (
        change.get("norm") == "batch"
    )


# --- settings -------------------------------------------------------------------------------------


def test_a_setting_that_is_not_looked_at_names_nothing(rows, tmp_path):
    study = make_study(rows, tmp_path)
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


def test_rivals_with_the_same_network_share_their_training(rows, tmp_path):
    study = make_study(rows, tmp_path)
    study.compare(CONFIG, EPISODES, {}, ["pooled, zero-shot", "pooled, fine-tuned", "ProtoNet"])
    other = dataclasses.replace(CONFIG, regime="permuted", order="first")
    study.compare(other, EPISODES)
    names = sorted(path.name.rpartition("-seed")[0] for path in tmp_path.glob("trained/maml/*"))
    assert names == [
        "toy-toy-maml-mlp-fixed-4way2shot",
        "toy-toy-maml-mlp-permuted-4way2shot",
        "toy-toy-pretraining-mlp-4way2shot",
        "toy-toy-protonet-mlp-4way2shot",
    ]


def test_training_and_test_count_their_seeds_together(rows, tmp_path):
    two = dataclasses.replace(EPISODES, seed=5, n_seeds=2)
    study = make_study(rows, tmp_path)
    table = meta_trained(study, dataclasses.replace(CONFIG, seed=2), two).predictions
    assert sorted(set(table["seed"])) == [5, 6]
    folders = [path.name for path in tmp_path.glob("trained/maml/*")]
    assert sorted(name.split("-seed")[1][0] for name in folders) == ["2", "3"]
    alone = make_study(rows, tmp_path / "alone")
    second = meta_trained(
        alone, dataclasses.replace(CONFIG, seed=3), dataclasses.replace(two, seed=6, n_seeds=1)
    ).predictions
    mine = table[table["seed"] == 6].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, second)


def test_episodes_follow_the_training_and_its_ways_the_emotions(rows, tmp_path):
    study = make_study(rows, tmp_path)
    config = MamlConfig.from_form("default", {"steps": 3}, ways=8, shots=0, queries=0, seed=4)
    episodes = study.episodes(config, n_tasks=30, n_seeds=0)
    assert episodes == EpisodeConfig(ways=4, shots=5, queries=10, steps=3, n_tasks=30, seed=4)
    assert study.episodes(config, shots=2).shots == 2
    published = study.episodes(MamlConfig.from_form("paper", shots=0, queries=0))
    assert (published.shots, published.queries) == (5, 20)
    assert study.train(dataclasses.replace(CONFIG, ways=8)).records, "with all four emotions"


def test_both_regimes_begin_with_that_of_the_settings():
    assert list(both_regimes(CONFIG)) == ["MAML, fixed ids", "MAML, permuted ids"]
    permuted = dataclasses.replace(CONFIG, regime="permuted")
    models = both_regimes(permuted)
    assert list(models) == ["MAML, permuted ids", "MAML, fixed ids"]
    assert models == both_regimes(CONFIG) and permuted.title == "MAML, permuted ids"


@pytest.mark.parametrize(("network", "norm"), [("lstm", "batch"), ("mlp", "paper-batch")])
def test_a_network_without_these_normalisation_layers_is_refused(network, norm):
    with pytest.raises(SettingError, match="norm = "):
        MamlConfig.from_preset("default", network=network, norm=norm)


# --- folds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_tasks", "n_folds", "sizes"),
    [(10, 1, [10]), (10, 6, [2, 2, 2, 2, 1, 1]), (2, 3, [1, 1, 0]), (9, 3, [3, 3, 3])],
)
def test_episodes_are_shared_out_over_folds(n_tasks, n_folds, sizes):
    shares = shares_of(n_tasks, n_folds)
    assert [len(share) for share in shares] == sizes
    assert [number for share in shares for number in share] == list(range(n_tasks))


@pytest.mark.parametrize(("n_folds", "n_tasks"), [(6, 10), (3, 2), (1, 4)])
def test_any_number_of_folds_and_episodes_works(tmp_path, n_folds, n_tasks):
    study = folded_study(tmp_path, n_folds)
    episodes = dataclasses.replace(EPISODES, n_tasks=n_tasks, n_seeds=2)
    runs = study.compare(
        CONFIG, episodes, {"MAML": dataclasses.replace(CONFIG, iterations=2)}, ["nearest prototype"]
    )
    for run in runs.values():
        table = run.predictions
        assert len(table) == 2 * n_tasks * 12 and run.metrics == recompute(run.path)
        for fold, share in zip(study.folds, shares_of(n_tasks, n_folds), strict=True):
            mine = table[table["fold"] == fold]
            assert set(mine["task"]) == set(share)
            plan = EpisodePlan(4, 2, 3, ("speaker",))
            rows = study.part(one_of("maml"), fold, "test")
            if share:
                drawn = EpisodePool(rows, LABELS, plan).episodes(1, share.start, len(share))
                asked = [row for episode in drawn for row in episode.query.ravel()]
                wanted = rows["utt_id"].to_numpy()[asked]
                assert list(mine.loc[mine["seed"] == 1, "utt_id"]) == list(wanted)
        steps = pd.read_csv(run.path / "steps.csv")
        assert len(steps[steps["step"] == 0]) == 2 * n_tasks
    assert len(list(tmp_path.glob("trained/maml/*"))) == 2, "one training side, two seeds"


def test_what_a_fold_needed_is_let_go(tmp_path):
    study = folded_study(tmp_path, 3)
    seen, held = [], []
    make = study._clips

    def watched(*arguments):
        gc.collect()
        held.append(sum(clips() is not None for clips in seen))
        clips = make(*arguments)
        seen.append(weakref.ref(clips))
        return clips

    study._clips = watched
    study.compare(CONFIG, EPISODES, {}, ["nearest prototype", "logistic regression"])
    assert len(seen) == 6 and max(held) == 0, "three folds: for the scale, and to be tested"


def test_an_episode_of_any_fold_can_be_looked_at(tmp_path):
    study = folded_study(tmp_path, 3)
    study.rows = study.rows.assign(file="")
    for task in (0, 7, 19, 40):
        shown = study.episode(EPISODES, task)
        assert set(shown["task"]) == {task} and len(shown) == 4 * (2 + 3)
    run = only_run(study, "chance")
    split = run.split[(run.split["task"] == 7) & run.split["role"].isin(["support", "query"])]
    assert list(study.episode(EPISODES, 7)["utt_id"]) == list(split["utt_id"])


def test_films_stay_on_one_side_unless_they_were_published_so(rows, tmp_path):
    dubbed = rows.assign(film=[f"f{i % 3}" for i in range(len(rows))], corpus="aa")
    split = cross_corpus_split(rows, ["aa", "bb"], ["cc"], n_valid_speakers=4)

    def made(**more):
        return MamlStudy(
            "toy", dubbed, split, Features(dubbed, LABELS), LABELS, tmp_path, progress=False, **more
        )

    with pytest.raises(LeakError, match="film"):
        made()
    study = made(film_overlap=True)
    assert "films stand in training and in test, as published" in study.notes(one_of("maml"))


# --- one's own code -------------------------------------------------------------------------------

FACTOR = 1.0


def sign(value):
    return value


class Base:
    def signed(self, value):
        return value


class Derived(Base):
    factor = 1.0

    def __call__(self, tasks):
        return nearest(tasks, self.signed(self.factor))


def nearest(tasks, factor):
    """The nearest class mean, or with a factor of -1 the farthest."""
    scores = maml.vectors(tasks.query)
    means = prototypes(tasks)
    apart = torch.cdist(scores, means)
    return torch.softmax((-factor * apart).masked_fill(~tasks.query.active[:, None], -1e9), dim=-1)


def prototypes(tasks):
    member = torch.nn.functional.one_hot(tasks.support.y, tasks.support.active.shape[1]).float()
    return member.transpose(1, 2) @ maml.vectors(tasks.support) / 2


def with_global(tasks):
    return nearest(tasks, FACTOR)


def with_helper(tasks):
    return nearest(tasks, sign(1.0))


def with_closure():
    held = [1.0]

    def method(tasks):
        return nearest(tasks, held[0])

    return method, held


CHANGES = {
    "global": lambda patch: patch.setattr(f"{__name__}.FACTOR", -1.0),
    "helper": lambda patch: patch.setattr(f"{__name__}.sign", lambda value: -value),
    "class attribute": lambda patch: patch.setattr(Derived, "factor", -1.0),
    "base class": lambda patch: patch.setattr(Base, "signed", lambda self, value: -value),
}


@pytest.mark.parametrize("case", [*CHANGES, "closure"])
def test_changed_code_of_ones_own_is_computed_anew(rows, tmp_path, monkeypatch, case):
    method, held = with_closure()
    methods = {
        "global": with_global,
        "helper": with_helper,
        "closure": method,
        "class attribute": Derived(),
        "base class": Derived(),
    }
    own = {"mine": methods[case]}
    study = make_study(rows, tmp_path)
    before = study.compare(CONFIG, EPISODES, {}, [], own)["mine"]
    held[0] = -1.0
    if case != "closure":
        CHANGES[case](monkeypatch)
    after = study.compare(CONFIG, EPISODES, {}, [], own)["mine"]
    assert before.metrics["uar"] > 0.5 and after.metrics["uar"] < 0.2 and before.path != after.path


# --- what a notebook shows ------------------------------------------------------------------------


def test_the_notebook_s_figures_say_what_the_runs_were(rows, tmp_path, monkeypatch):
    monkeypatch.undo()
    study = make_study(rows, tmp_path)
    config = dataclasses.replace(CONFIG, iterations=2)
    runs = study.compare(config, EPISODES)
    table = study.table(runs)
    assert list(table.index) == list(runs) and table.loc["nearest prototype", "difference"] == ""
    assert study.overview().loc[("test", "cc"), "speakers"] == 4
    main = runs[config.title]
    figures = {
        "methods": maml.methods_figure(runs),
        "steps": maml.steps_figure(runs),
        "matrix": maml.matrix_figure(main, ", 3 steps"),
        "support": maml.support_figure(main),
        "speakers": maml.speakers_figure(main),
    }
    assert all((run.path / "confusion_matrix.png").exists() for run in runs.values())
    words = {
        name: " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))
        for name, figure in figures.items()
    }
    for name in ("methods", "steps"):
        assert "toy, 4-way 2-shot" in words[name] and "MAML, permuted ids" in words[name]
        assert "chance" in words[name] and "25.0" in words[name]
    assert "MAML, fixed ids, 4-way 2-shot, 3 steps" in words["matrix"]
    assert config.title in words["support"] and config.title in words["speakers"]


def test_the_panel_tests_other_episodes_and_says_where_it_cannot(rows, tmp_path, monkeypatch):
    shown = []
    module = importlib.import_module("colab_utils.methods.maml.panel")
    monkeypatch.setattr(module, "display", shown.append)
    permuted = dataclasses.replace(CONFIG, regime="permuted", ways=3, iterations=2)
    study = make_study(rows, tmp_path)
    panel = maml.panel(study, permuted, study.episodes(permuted, n_tasks=10, n_boot=0))
    panel.set(shots=1, steps=4)
    runs = panel.run_once()
    assert list(runs) == ["nearest prototype", "logistic regression", "MAML, permuted ids"]
    assert runs["MAML, permuted ids"].config["test"]["shots"] == 1 and len(shown) == 2
    panel.set(ways=4)
    with pytest.raises(SettingError, match="train again"):
        panel.run_once()


def test_an_unknown_task_is_one_sentence(tmp_path):
    with pytest.raises(ProtocolError, match="synthetic_domains has no task 'moon'; it has "):
        open_study("synthetic_domains", "moon", root=tmp_path)
