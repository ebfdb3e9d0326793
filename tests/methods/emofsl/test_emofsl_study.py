"""Few-shot transfer studies: source first, support from other speakers, the same draws for all,
nothing computed twice, errors are sentences.
"""

import dataclasses
import gc
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from notebook_runs import loaded
from toy_store import Features, toy_corpus

from colab_utils.learning.clips import Scale
from colab_utils.learning.training import TrainingError
from colab_utils.methods.emofsl import emofsl
from colab_utils.methods.emofsl.network import EmofslNet
from colab_utils.methods.emofsl.retrieval.embeddings import embeddings
from colab_utils.methods.emofsl.settings import METHODS, EmofslConfig
from colab_utils.methods.emofsl.source import SourceLearner
from colab_utils.methods.emofsl.study import BASELINES, TransferStudy
from colab_utils.protocols.build import build_task
from colab_utils.protocols.draws import pair_task
from colab_utils.protocols.folds import FoldError, LeakError
from colab_utils.protocols.published import load_protocol
from colab_utils.results.metrics import recompute
from colab_utils.settings import SettingError

LABELS = ["anger", "happiness", "neutral", "sadness"]
CONFIG = EmofslConfig(
    normalisation="none",
    margins="paper",
    alpha=1.0,
    beta=0.6,
    source_loss_weight=0.0,
    shots=2,
    n_draws=2,
    epochs=20,
    source_epochs=6,
    width=8,
    learning_rate=0.01,
    source_rate=0.02,
)


def corpus(name, speakers=6, each=3):
    return toy_corpus(name, LABELS, speakers, each)


MANIFEST = pd.concat([corpus("aa"), corpus("bb")], ignore_index=True)
TARGET = set(MANIFEST.loc[MANIFEST["corpus"] == "bb", "utt_id"])


def task_of(rows, target="bb", **how):
    protocol = load_protocol("emofsl")
    task = pair_task(protocol, "aa", target, 3)
    protocol = dataclasses.replace(protocol, tasks={task.name: task})
    return build_task(protocol, task.name, rows, **how)


def make_study(root, manifest=MANIFEST, target="bb", **how):
    rows, split = task_of(manifest, target, **how)
    store = Features(rows, LABELS, spread=1.5)
    return TransferStudy(f"aa-{target}", rows, split, store, LABELS, root, progress=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study, and its runs of everything at two shots and of some at one."""
    study = make_study(tmp_path_factory.mktemp("whole"))
    runs = study.compare(CONFIG, pictures=False)
    one = dataclasses.replace(CONFIG, shots=1)
    few = {"methods": ["EMOFSL"], "decisions": ["head"], "baselines": ["source only"]}
    return study, {**runs, **study.compare(one, **few, pictures=False)}


def support_of(run):
    support = run.split[run.split["role"] == "support"]
    return support.sort_values(["fold", "draw", "utt_id"]).reset_index(drop=True)


def test_the_source_is_trained_once_for_all_folds_without_a_look_at_the_target(tmp_path):
    study = make_study(tmp_path)
    study.train_source(CONFIG)
    assert study.store.read and not study.store.read & TARGET
    study.compare(CONFIG, methods=["BTL"], decisions=["head"], baselines=[], pictures=False)
    assert study.store.read & TARGET
    assert len(list((tmp_path / "trained" / "emofsl").iterdir())) == 1
    valid = study.split[study.split["role"] == "valid"].groupby("fold")["speaker"].agg(frozenset)
    assert len(study.folds) == 3 and valid.nunique() == 1
    assert all(speaker.startswith("aa/") for speaker in valid.iloc[0])


def test_no_support_speaker_is_tested_and_every_target_utterance_is_tested_in_every_draw(whole):
    run = whole[1]["EMOFSL, head", 2]
    for _, part in run.split.groupby(["seed", "fold"]):
        sides = part.groupby("role")["speaker"].agg(set)
        assert not sides["support"] & sides["test"]
        assert all(speaker.startswith("bb/") for speaker in sides["support"])
    sizes = support_of(run).groupby(["fold", "draw"]).size()
    assert (sizes == 2 * 4).all() and len(sizes) == 3 * 2
    tested = run.predictions.groupby("draw")["utt_id"].agg(set)
    assert len(tested) == 2 and all(utterances == TARGET for utterances in tested)


def test_a_leak_between_support_and_test_is_refused(tmp_path):
    rows, split = task_of(MANIFEST)
    tested = split[(split["role"] == "test") & (split["fold"] == split["fold"].iloc[0])].iloc[:1]
    split = pd.concat([split, tested.assign(role="support")])
    with pytest.raises(LeakError, match="bb/"):
        TransferStudy("aa-bb", rows, split, Features(rows, LABELS), LABELS, tmp_path)


def test_every_method_answers_the_same_queries_on_the_same_draws(whole):
    _, runs = whole
    tuned = [f"{method}, {rule}" for method in METHODS for rule in ("prototype", "head")]
    more = {("EMOFSL, head", 1), ("source only", 1)}
    assert set(runs) == {(name, 2) for name in [*BASELINES, *tuned]} | more
    assert next(iter(runs)) == ("recommended", 2)
    asked = ["seed", "fold", "draw", "utt_id", "true"]
    first = runs["source + support", 2].predictions[asked].sort_values(asked, ignore_index=True)
    supports = {k: support_of(runs["source only", k]) for k in (1, 2)}
    for (_, k), run in runs.items():
        assert run.metrics == recompute(run.path)
        assert run.predictions[asked].sort_values(asked, ignore_index=True).equals(first)
        assert support_of(run).equals(supports[k])
    assert runs["EMOFSL, head", 2].metrics["uar"] > 0.5


def trained_by_hand(x, y, roles):
    """The network of the epoch with the best validation, by the steps of a SourceLearner."""
    study_data = type("Data", (), {})()
    study_data.labels, study_data.y = LABELS, torch.as_tensor(y)
    study_data.inputs = lambda rows: (torch.from_numpy(x[rows]),)
    study_data.through = lambda module, rows: module(*study_data.inputs(rows))
    train, valid = (np.flatnonzero(roles == role) for role in ("train", "valid"))
    mean, deviation = x[train].mean(axis=0), x[train].std(axis=0)
    torch.manual_seed(CONFIG.seed)
    scale = Scale(torch.from_numpy(mean), torch.from_numpy(1 / deviation))
    learner = SourceLearner(EmofslNet(scale, 4, 8), study_data, train, valid, CONFIG)
    best, state = -1.0, None
    for i in range(learner.steps):
        learner.step(i)
        if (i + 1) % learner.steps_per_epoch == 0 and (score := learner.validate()) > best:
            best = score
            state = {name: one.clone() for name, one in learner.module.state_dict().items()}
    learner.module.load_state_dict(state)
    return learner.module


@pytest.mark.parametrize("decision", ["prototype", "head"])
def test_predictions_are_those_of_the_three_stages_done_by_hand_for_one_draw(whole, decision):
    study, runs = whole
    run, rows = runs[f"EMOFSL, {decision}", 2], study.rows
    fold = study.folds[1]
    roles = study.split[study.split["fold"] == fold].set_index("utt_id")["role"]
    roles = roles.reindex(rows["utt_id"]).to_numpy()
    x = study.store.matrix(rows["utt_id"])
    y = np.array([LABELS.index(emotion) for emotion in rows["emotion"]])
    module = trained_by_hand(x, y, roles)
    chosen = support_of(run).query("fold == @fold and draw == 1")["utt_id"]
    numbers = pd.Index(rows["utt_id"]).get_indexer(chosen)
    support, labels = torch.from_numpy(x[numbers])[None], torch.from_numpy(y[numbers])
    metric = emofsl.metric_loss(CONFIG, LABELS)
    parameters = emofsl.fine_tune(module, support, labels, CONFIG, metric)
    query = torch.from_numpy(x[roles == "test"])
    scores = emofsl.decide(parameters, query, support, labels, CONFIG)[decision][0]
    table = run.predictions.query("fold == @fold and draw == 1").set_index("utt_id")
    mine = table.loc[rows["utt_id"][roles == "test"], [f"p_{label}" for label in LABELS]]
    assert np.allclose(mine, scores, atol=1e-4)


@pytest.mark.slow
def test_a_second_call_computes_nothing_and_a_margin_makes_only_emofsl_anew(tmp_path, capsys):
    few = {"decisions": ["head"], "baselines": ["LDA"], "pictures": False}
    make_study(tmp_path).compare(CONFIG, **few)
    capsys.readouterr()
    make_study(tmp_path).compare(CONFIG, **few)
    assert loaded(capsys.readouterr().out) == 4
    runs = make_study(tmp_path).compare(dataclasses.replace(CONFIG, beta=0.3), **few)
    assert loaded(capsys.readouterr().out) == 3 and len(runs) == 4


def small_study(root):
    """A study from start to end: two seeds, three folds, the metric loss on the source, too."""
    rows = pd.concat([corpus("aa", 4, 2), corpus("bb", 6, 2)], ignore_index=True)
    config = dataclasses.replace(
        CONFIG,
        normalisation="speaker",
        n_seeds=2,
        n_draws=4,
        epochs=30,
        shots=1,
        source_loss_weight=1.0,
    )
    study = make_study(root, rows)
    study.train_source(config)
    methods, baselines = ["BTL", "EMOFSL"], ["recommended", "LDA"]
    return study.compare(config, methods=methods, baselines=baselines, pictures=False)


@pytest.mark.slow
def test_a_small_study_ends_the_same_twice(tmp_path):
    """`tests/notebooks/test_kills.py` kills it on its way."""
    one, other = small_study(tmp_path / "one"), small_study(tmp_path / "other")
    tuned = [f"{method}, {rule}" for method in ("BTL", "EMOFSL") for rule in ("prototype", "head")]
    assert list(one) == [(name, 1) for name in ("recommended", "LDA", *tuned)]
    for key, run in one.items():
        assert set(run.predictions["seed"]) == {0, 1} and run.predictions["fold"].nunique() == 3
        assert run.predictions.equals(other[key].predictions)
        assert run.path.name == other[key].path.name
    folders = sorted(path.name[:-13] for path in (tmp_path / "one/trained/emofsl").iterdir())
    assert folders == ["aa-toy-source-seed0", "aa-toy-source-seed1"], "one for all methods"


def test_one_source_model_serves_every_target(tmp_path, capsys):
    make_study(tmp_path).train_source(CONFIG)
    more = pd.concat([MANIFEST, corpus("cc")], ignore_index=True)
    capsys.readouterr()
    make_study(tmp_path, more, "cc").train_source(CONFIG)
    assert "trained before, loaded" in capsys.readouterr().out


def test_source_only_looks_at_no_support(whole):
    one, two = (whole[1]["source only", k].predictions for k in (1, 2))
    assert one["pred"].equals(two["pred"])
    assert (one.groupby("utt_id")["pred"].nunique() == 1).all()


def test_embeddings_before_and_after_are_the_same_without_an_epoch_and_differ_with_some(whole):
    study, _ = whole
    still = embeddings(study, dataclasses.replace(CONFIG, epochs=0))
    moved = embeddings(study, CONFIG, method="EMOFSL")
    assert np.array_equal(still.before, still.after) and np.array_equal(still.before, moved.before)
    assert np.abs(moved.after - moved.before).max() > 1e-3
    assert list(still.rows["role"].value_counts().loc[["support", "test"]]) == [8, 24]


def test_annotated_margins_come_from_the_source_alone(tmp_path):
    config = dataclasses.replace(CONFIG, method="EMOFSL", margins="annotated")
    with pytest.raises(SettingError, match="valence and arousal"):
        make_study(tmp_path).compare(config, methods=["EMOFSL"], baselines=[])
    places = {"anger": (2, 4.5), "happiness": (4, 4), "neutral": (3, 3), "sadness": (2, 2)}
    rated = MANIFEST.copy()
    for label, place in places.items():
        rated.loc[rated["emotion"] == label, ["valence", "arousal"]] = place
    other = rated.copy()
    other.loc[other["corpus"] == "bb", ["valence", "arousal"]] = 1.0, 1.0
    embedding, y = torch.randn(1, 8, 5), torch.arange(4).repeat(2)
    losses = []
    for rows in (rated, other):
        study = make_study(tmp_path, rows)
        losses.append(study.metric(config, study.folds[0])(embedding, y))
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"shots": 40}, FoldError, "40 shots need as many utterances of each class"),
        ({"alpha": 0.2, "beta": 0.6}, SettingError, "alpha = 0.2 and beta = 0.6"),
        ({"learning_rate": 2.0}, SettingError, "learning_rate = 2.0"),
    ],
)
def test_bad_settings_are_one_sentence(tmp_path, change, error, told):
    with pytest.raises(error, match=told):
        make_study(tmp_path).compare(dataclasses.replace(CONFIG, **change), methods=["EMOFSL"])


def test_broken_features_and_a_source_with_one_speaker_are_one_sentence(tmp_path):
    study = make_study(tmp_path)
    study.store.values[min(TARGET)][:] = np.nan
    with pytest.raises((TrainingError, ValueError), match="not finite|NaN|nan"):
        study.compare(CONFIG)
    alone = pd.concat([corpus("aa", speakers=1), corpus("bb")], ignore_index=True)
    with pytest.raises(SettingError, match="no speaker of the source validates"):
        make_study(tmp_path, alone).train_source(CONFIG)


def test_a_task_without_support_is_refused(tmp_path):
    rows, split = task_of(MANIFEST)
    split = split[split["role"] != "support"]
    with pytest.raises(SettingError, match="no support side"):
        TransferStudy("aa-bb", rows, split, Features(rows, LABELS), LABELS, tmp_path)


@pytest.mark.slow
def test_what_a_fold_needed_is_let_go(tmp_path, monkeypatch):
    study, alive = make_study(tmp_path), []
    decided = TransferStudy._decided

    def watched(self, learner, config, fold, own):
        gc.collect()
        kept = {of for of, scores in alive if scores() is not None}
        assert kept <= {fold}, "scores of another fold are still there"
        scores = decided(self, learner, config, fold, own)
        alive.append((fold, weakref.ref(scores["head"])))
        return scores

    monkeypatch.setattr(TransferStudy, "_decided", watched)
    study.compare(CONFIG, decisions=["head"], baselines=[], pictures=False)
    gc.collect()
    assert len({fold for fold, _ in alive}) == 3 and len(alive) == 3 * len(METHODS)
    assert not any(scores() is not None for _, scores in alive)
