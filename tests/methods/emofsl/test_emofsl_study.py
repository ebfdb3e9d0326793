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
from toy_store import Features, toy_corpus

from colab_utils.learning.training import TrainingError
from colab_utils.methods.emofsl import emofsl
from colab_utils.methods.emofsl.emofsl import source_learner
from colab_utils.methods.emofsl.retrieval import embeddings
from colab_utils.methods.emofsl.settings import METHODS, EmofslConfig
from colab_utils.methods.emofsl.study import BASELINES, TransferStudy
from colab_utils.protocols.build import build_task
from colab_utils.protocols.draws import pair_task
from colab_utils.protocols.folds import FoldError, LeakError
from colab_utils.protocols.published import load_protocol
from colab_utils.results.metrics import recompute
from colab_utils.settings import SettingError

LABELS = ["anger", "happiness", "neutral", "sadness"]
CONFIG = EmofslConfig(
    margins="paper",
    alpha=1.0,
    beta=0.6,
    source_loss_weight=0.0,
    shots=2,
    n_draws=3,
    epochs=20,
    source_epochs=6,
    width=8,
    n_boot=20,
    learning_rate=0.01,
    source_rate=0.02,
)


def corpus(name, speakers=6, each=4):
    return toy_corpus(name, LABELS, speakers, each)


def task_of(rows, n_folds=3):
    protocol = load_protocol("emofsl")
    task = pair_task(protocol, "aa", "bb", n_folds)
    return build_task(dataclasses.replace(protocol, tasks={task.name: task}), task.name, rows)


@pytest.fixture
def manifest():
    return pd.concat([corpus("aa"), corpus("bb")], ignore_index=True)


def make_study(manifest, root, store=None):
    rows, split = task_of(manifest)
    return TransferStudy(
        "aa-bb",
        rows,
        split,
        store or Features(rows, LABELS, spread=1.5),
        LABELS,
        root,
        progress=False,
    )


def test_the_source_is_trained_once_for_all_folds_without_a_look_at_the_target(manifest, tmp_path):
    study = make_study(manifest, tmp_path)
    study.train_source(CONFIG)
    target = set(manifest.loc[manifest["corpus"] == "bb", "utt_id"])
    assert study.store.read and not study.store.read & target
    study.compare(CONFIG, pictures=False)
    assert study.store.read & target
    assert len(list((tmp_path / "trained" / "emofsl").iterdir())) == 1
    by_fold = (
        study.split[study.split["role"] == "valid"]
        .groupby("fold")["speaker"]
        .agg(lambda one: tuple(sorted(set(one))))
    )
    assert len(study.folds) == 3 and by_fold.nunique() == 1 and by_fold.iloc[0][0].startswith("aa/")


def test_no_support_speaker_is_tested_and_every_target_utterance_is_tested_in_every_draw(
    manifest, tmp_path
):
    run = make_study(manifest, tmp_path).compare(
        CONFIG, methods=["EMOFSL"], decisions=["head"], baselines=[]
    )[("EMOFSL, head", 2)]
    for _, part in run.split.groupby(["seed", "fold"]):
        sides = part.groupby("role")["speaker"].agg(set)
        assert not sides["support"] & sides["test"] and all(
            key.startswith("bb/") for key in sides["support"]
        )
    support = run.split[run.split["role"] == "support"].groupby(["fold", "draw"]).size()
    assert (support == 2 * 4).all() and len(support) == 3 * 3
    tested = run.predictions.groupby("draw")["utt_id"].agg(set)
    assert all(
        utterances == set(manifest.loc[manifest["corpus"] == "bb", "utt_id"])
        for utterances in tested
    )


def test_a_leak_between_support_and_test_is_refused(manifest, tmp_path):
    rows, split = task_of(manifest)
    tested = split[(split["role"] == "test") & (split["fold"] == split["fold"].iloc[0])].iloc[:1]
    with pytest.raises(LeakError, match="bb/"):
        TransferStudy(
            "aa-bb",
            rows,
            pd.concat([split, tested.assign(role="support")]),
            Features(rows, LABELS, spread=1.5),
            LABELS,
            tmp_path,
        )


def test_every_method_answers_the_same_queries_on_the_same_draws_and_metrics_follow_from_predictions(
    manifest, tmp_path
):
    runs = make_study(manifest, tmp_path).compare(CONFIG, shots=(1, 2), pictures=False)
    names = [
        *BASELINES,
        *(
            f"{method}, {rule}"
            for method in ("BTL", "FSTL", "EMOFSL")
            for rule in ("prototype", "head")
        ),
    ]
    assert set(runs) == {(name, k) for name in names for k in (1, 2)}
    keys = [
        run.predictions[["seed", "fold", "draw", "utt_id", "true"]]
        .sort_values(["fold", "draw", "utt_id"])
        .reset_index(drop=True)
        for run in runs.values()
    ]
    assert all(key.equals(keys[0]) for key in keys)
    supports = {
        k: (
            run.split[run.split["role"] == "support"]
            .sort_values(["fold", "draw", "utt_id"])
            .reset_index(drop=True)
        )
        for (_, k), run in runs.items()
    }
    for (_, k), run in runs.items():
        assert run.metrics == recompute(run.path)
        mine = (
            run.split[run.split["role"] == "support"]
            .sort_values(["fold", "draw", "utt_id"])
            .reset_index(drop=True)
        )
        assert mine.equals(supports[k])
    assert runs[("EMOFSL, head", 2)].metrics["uar"] > 0.5


@pytest.mark.parametrize("decision", ["prototype", "head"])
def test_predictions_are_those_of_the_three_stages_done_by_hand_for_one_draw(
    manifest, tmp_path, decision
):
    study = make_study(manifest, tmp_path)
    run = study.compare(CONFIG, decisions=[decision], methods=["EMOFSL"], baselines=[])[
        (f"EMOFSL, {decision}", 2)
    ]
    rows, fold, draw = study.rows, study.folds[1], 2
    roles = (
        study.split[study.split["fold"] == fold]
        .set_index("utt_id")["role"]
        .reindex(rows["utt_id"])
        .to_numpy()
    )
    x = study.store.matrix(rows["utt_id"])
    y = np.array([LABELS.index(emotion) for emotion in rows["emotion"]])
    train, valid, test = (roles == role for role in ("train", "valid", "test"))
    learner = source_learner(x[train], y[train], (x[valid], y[valid]), 4, CONFIG)
    best, state = -1.0, None
    for i in range(learner.steps):
        learner.step(i)
        if (i + 1) % learner.steps_per_epoch == 0 and (score := learner.validate()) > best:
            best, state = (
                score,
                {name: value.clone() for name, value in learner.module.state_dict().items()},
            )
    learner.module.load_state_dict(state)
    chosen = run.split[
        (run.split["role"] == "support") & (run.split["fold"] == fold) & (run.split["draw"] == draw)
    ]
    numbers = pd.Index(rows["utt_id"]).get_indexer(chosen["utt_id"])
    support, labels = torch.from_numpy(x[numbers])[None], torch.from_numpy(y[numbers])
    parameters = emofsl.fine_tune(
        learner.module, support, labels, CONFIG, emofsl.metric_loss(CONFIG, LABELS)
    )
    scores = emofsl.decide(parameters, torch.from_numpy(x[test]), support, labels, CONFIG)[
        decision
    ][0]
    table = run.predictions
    mine = (
        table[(table["fold"] == fold) & (table["draw"] == draw)]
        .set_index("utt_id")
        .loc[rows["utt_id"][test]]
    )
    assert np.allclose(mine[[f"p_{label}" for label in LABELS]], scores, atol=1e-5)


def test_a_second_call_computes_nothing_and_a_margin_makes_only_emofsl_anew(
    manifest, tmp_path, capsys
):
    make_study(manifest, tmp_path).compare(CONFIG, pictures=False)
    capsys.readouterr()
    make_study(manifest, tmp_path).compare(CONFIG, pictures=False)
    assert capsys.readouterr().out.count("nothing is computed again") == 10
    runs = make_study(manifest, tmp_path).compare(
        dataclasses.replace(CONFIG, beta=0.3), pictures=False
    )
    assert capsys.readouterr().out.count("nothing is computed again") == 8 and len(runs) == 10


def small_study(root):
    """A study from start to end: two seeds, three folds, a source model of each kind."""
    rows = pd.concat([corpus("aa", 4, 2), corpus("bb", 6, 2)], ignore_index=True)
    config = dataclasses.replace(
        CONFIG, n_seeds=2, n_draws=4, epochs=30, shots=1, source_loss_weight=1.0
    )
    study = make_study(rows, root)
    study.train_source(config)
    return study.compare(
        config, methods=["BTL", "EMOFSL"], baselines=["source only", "LDA"], pictures=False
    )


def test_a_small_study_ends_the_same_twice(tmp_path):
    """`tests/test_kills.py` kills it on its way."""
    one, other = small_study(tmp_path / "one"), small_study(tmp_path / "other")
    assert list(one) == [
        (name, 1)
        for name in (
            "source only",
            "LDA",
            "BTL, prototype",
            "BTL, head",
            "EMOFSL, prototype",
            "EMOFSL, head",
        )
    ]
    for key, run in one.items():
        assert set(run.predictions["seed"]) == {0, 1} and run.predictions["fold"].nunique() == 3
        assert (
            run.predictions.equals(other[key].predictions) and run.path.name == other[key].path.name
        )
    folders = sorted(path.name[:-13] for path in (tmp_path / "one/trained/emofsl").iterdir())
    assert folders == [f"aa-toy-source-seed{seed}" for seed in (0, 0, 1, 1)], "of two kinds each"


def test_one_source_model_serves_every_target(manifest, tmp_path, capsys):
    make_study(manifest, tmp_path).train_source(CONFIG)
    store = Features(pd.concat([manifest, corpus("cc")], ignore_index=True), LABELS, spread=1.5)
    protocol = load_protocol("emofsl")
    task = pair_task(protocol, "aa", "cc", 3)
    both = pd.concat([manifest, corpus("cc")], ignore_index=True)
    rows, split = build_task(
        dataclasses.replace(protocol, tasks={task.name: task}), task.name, both
    )
    study = TransferStudy("aa-cc", rows, split, store, LABELS, tmp_path, progress=False)
    capsys.readouterr()
    study.train_source(CONFIG)
    assert "trained before, loaded" in capsys.readouterr().out


def test_source_only_looks_at_no_support(manifest, tmp_path):
    runs = make_study(manifest, tmp_path).compare(
        CONFIG, shots=(1, 2), methods=[], baselines=["source only"]
    )
    one, two = (runs[("source only", k)].predictions for k in (1, 2))
    assert one["pred"].equals(two["pred"])
    assert (one.groupby("utt_id")["pred"].nunique() == 1).all()


def test_a_metric_loss_of_ones_own_is_added_to_cross_entropy(manifest, tmp_path):
    def nothing(embedding, y):
        return embedding.sum(dim=(1, 2)) * 0

    runs = make_study(manifest, tmp_path).compare(
        CONFIG, methods=["BTL"], decisions=["head"], baselines=[], own={"mine": nothing}
    )
    assert (
        runs[("mine, head", 2)]
        .predictions["pred"]
        .equals(runs[("BTL, head", 2)].predictions["pred"])
    )
    assert "own" in runs[("mine, head", 2)].config and "own" not in runs[("BTL, head", 2)].config


def test_embeddings_before_and_after_are_the_same_without_an_epoch_and_differ_with_some(
    manifest, tmp_path
):
    study = make_study(manifest, tmp_path)
    still = embeddings(study, dataclasses.replace(CONFIG, epochs=0))
    moved = embeddings(study, CONFIG)
    assert np.array_equal(still.before, still.after) and np.array_equal(still.before, moved.before)
    assert np.abs(moved.after - moved.before).max() > 1e-3
    assert list(still.rows["role"].value_counts().loc[["support", "test"]]) == [8, 32]


def test_annotated_margins_come_from_the_source_alone(manifest, tmp_path):
    config = dataclasses.replace(CONFIG, margins="annotated")
    with pytest.raises(SettingError, match="valence and arousal"):
        make_study(manifest, tmp_path).compare(config, methods=["EMOFSL"], baselines=[])
    places = {
        "anger": (2.0, 4.5),
        "happiness": (4.0, 4.0),
        "neutral": (3.0, 3.0),
        "sadness": (2.0, 2.0),
    }
    rated = manifest.copy()
    for label, (valence, arousal) in places.items():
        rated.loc[rated["emotion"] == label, ["valence", "arousal"]] = valence, arousal
    study = make_study(rated, tmp_path)
    found = study.metric(dataclasses.replace(config, method="EMOFSL"), study.folds[0])
    rated.loc[rated["corpus"] == "bb", ["valence", "arousal"]] = 1.0, 1.0
    same = make_study(rated, tmp_path).metric(
        dataclasses.replace(config, method="EMOFSL"), study.folds[0]
    )
    embedding, y = torch.randn(1, 8, 5), torch.arange(4).repeat(2)
    assert torch.equal(found(embedding, y), same(embedding, y))


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"shots": 40}, FoldError, "40 shots need as many utterances of each class"),
        ({"alpha": 0.2, "beta": 0.6}, SettingError, "far emotions need the larger margin"),
        ({"learning_rate": 2.0}, SettingError, "learning_rate"),
    ],
)
def test_bad_settings_are_one_sentence(manifest, tmp_path, change, error, told):
    with pytest.raises(error, match=told):
        make_study(manifest, tmp_path).compare(
            dataclasses.replace(CONFIG, **change), methods=["EMOFSL"]
        )


def test_broken_features_and_a_source_with_one_speaker_are_one_sentence(manifest, tmp_path):
    rows, _ = task_of(manifest)
    store = Features(rows, LABELS, spread=1.5)
    store.values[rows.loc[rows["corpus"] == "bb", "utt_id"].iloc[0]][:] = np.nan
    with pytest.raises((TrainingError, ValueError), match="not finite|NaN|nan"):
        make_study(manifest, tmp_path, store).compare(CONFIG)
    alone = pd.concat([corpus("aa", speakers=1), corpus("bb")], ignore_index=True)
    with pytest.raises(SettingError, match="no speaker of the source validates"):
        make_study(alone, tmp_path).train_source(CONFIG)


def test_a_task_without_support_is_refused(manifest, tmp_path):
    rows, split = task_of(manifest)
    with pytest.raises(SettingError, match="no support side"):
        TransferStudy(
            "aa-bb",
            rows,
            split[split["role"] != "support"],
            Features(rows, LABELS, spread=1.5),
            LABELS,
            tmp_path,
        )


def test_what_a_fold_needed_is_let_go(manifest, tmp_path, monkeypatch):
    study, alive = make_study(manifest, tmp_path), []
    decided = TransferStudy._decided

    def watched(self, learner, draws, numbers, config, metric):
        gc.collect()
        kept = {fold for fold, scores in alive if scores() is not None}
        assert kept <= {tuple(numbers)}, "scores of another fold are still there"
        scores = decided(self, learner, draws, numbers, config, metric)
        alive.append((tuple(numbers), weakref.ref(scores["head"])))
        return scores

    monkeypatch.setattr(TransferStudy, "_decided", watched)
    study.compare(CONFIG, baselines=[], pictures=False)
    gc.collect()
    assert len({fold for fold, _ in alive}) == 3 and len(alive) == 3 * len(METHODS)
    assert not any(scores() is not None for _, scores in alive)


FACTOR = 0.0


def helper(embedding):
    return FACTOR * embedding.square().mean(dim=(1, 2))


class Base:
    factor = 0.0

    def scaled(self, embedding):
        return self.factor * embedding.square().mean(dim=(1, 2))


def own_losses():
    """{kind: (loss, what changes it)}: none of the changes is in the function's own source."""

    class Own(Base):
        def __call__(self, embedding, y):
            return self.scaled(embedding)

    class Weighed(Own):
        factor = 0.0

    values = {"factor": 0.0}

    def closed(embedding, y):
        return values["factor"] * embedding.square().mean(dim=(1, 2))

    def by_global(embedding, y):
        return FACTOR * embedding.square().mean(dim=(1, 2))

    def by_helper(embedding, y):
        return helper(embedding)

    def other_base(self, embedding):
        return 50 * embedding.square().mean(dim=(1, 2))

    return {
        "global": (by_global, lambda patch: patch.setitem(globals(), "FACTOR", 50.0)),
        "helper": (
            by_helper,
            lambda patch: patch.setitem(
                globals(), "helper", lambda embedding: 50 * embedding.square().mean(dim=(1, 2))
            ),
        ),
        "closure": (closed, lambda patch: patch.setitem(values, "factor", 50.0)),
        "class attribute": (Weighed(), lambda patch: patch.setattr(Weighed, "factor", 50.0)),
        "base class": (Own(), lambda patch: patch.setattr(Base, "scaled", other_base)),
    }


@pytest.mark.parametrize("n_folds", [1, 3])
@pytest.mark.parametrize("kind", list(own_losses()))
def test_own_code_that_changed_elsewhere_is_computed_anew(
    manifest, tmp_path, monkeypatch, kind, n_folds
):
    loss, change = own_losses()[kind]
    rows, split = task_of(manifest)
    split = split[split["fold"].isin(sorted(set(split["fold"]))[:n_folds])]
    study = TransferStudy(
        "aa-bb", rows, split, Features(rows, LABELS, spread=1.5), LABELS, tmp_path, progress=False
    )

    def scores():
        runs = study.compare(
            CONFIG,
            methods=["BTL"],
            decisions=["head"],
            baselines=[],
            own={"mine": loss},
            pictures=False,
        )
        return [runs[f"{name}, head", 2].predictions.filter(like="p_") for name in ("BTL", "mine")]

    plain, before = scores()
    assert np.allclose(before, plain, atol=1e-4), "it adds nothing yet"
    change(monkeypatch)
    plain_again, after = scores()
    assert plain_again.equals(plain) and not np.allclose(after, before, atol=1e-2)
