"""AlexNet as a study: who is heard and tested, what is trained once, what pictures live for."""

import gc
import sys
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from alexnet_toys import (
    LABELS,
    SMALL,
    ToyStudy,
    changed,
    corpus,
    kept_trainings,
    toy_study,
    trained,
)
from notebook_runs import loaded
from safetensors.torch import save_file

from colab_utils.learning.study import Tested
from colab_utils.learning.training import train
from colab_utils.methods.alexnet import study as contract
from colab_utils.methods.alexnet.network import AlexNetGap
from colab_utils.methods.alexnet.notebook import AlexnetStudy
from colab_utils.methods.alexnet.pictures import utterance_probabilities
from colab_utils.methods.alexnet.training import probabilities
from colab_utils.protocols.folds import grouped_folds, make_split
from colab_utils.settings import SettingError


def small_study(root):
    """A network on two folds in two conditions, trained and tested from start to end: 4 parts."""
    study = toy_study(root, corpus(speakers=4, each=2), folds=2)
    config = changed(num_epochs=1, stability=0.5)
    study.train(config)
    return study.run(config, ["clean", "pink@10"], pictures=False)


def test_validation_speakers_are_never_test_speakers_and_pick_the_epoch(study):
    one = Tested("gap", SMALL)
    for fold in study.folds:
        speakers = {}
        for role in ("train", "valid", "test"):
            speakers[role] = set(study.part(one, fold, role)["speaker"])
        assert not speakers["valid"] & speakers["test"] and speakers["valid"]
        assert not speakers["train"] & (speakers["valid"] | speakers["test"])
    history = study.train(SMALL)
    measured = {}
    for record in history.records:
        if "validation" in record:
            measured[record["step"]] = record["validation"]
    best = max(measured.values())
    assert history.best_step == min(step for step, value in measured.items() if value == best)
    learner = trained(study, SMALL)
    assert learner.validate() == pytest.approx(history.best_score)
    valid = study.part(one, study.folds[0], "valid")
    assert learner.fold.true.tolist() == pd.Index(LABELS).get_indexer(valid["emotion"]).tolist()
    train = study.part(one, study.folds[0], "train")
    spoken = pd.Index(LABELS).get_indexer(train["emotion"])
    owner = learner.pictures.train.utterance.numpy()
    assert learner.fold.y.tolist() == spoken[owner].tolist()


def test_a_split_without_validation_speakers_is_refused(tmp_path):
    rows = corpus()
    split = make_split(rows, grouped_folds(rows, 3, 0), seed=0)
    with pytest.raises(SettingError, match="no validation speakers"):
        AlexnetStudy("toy", rows, split, None, LABELS, tmp_path)


@pytest.mark.slow
def test_one_training_is_tested_in_all_conditions_and_a_second_call_loads(study, capsys):
    config = changed(num_epochs=8)
    runs = study.run(config, ["clean", "pink@10"], name="gap", pictures=False)
    assert set(runs) == {"gap, clean", "gap, pink@10"}
    assert len(kept_trainings(study)) == 3
    clean = runs["gap, clean"]
    assert clean.metrics["uar"] > 0.5 and clean.metrics["n_speakers"] == 6
    assert clean.metrics["notes"][0] == "started from: scratch"
    assert clean.config["condition"] == "clean" and clean.config["model"] == "gap"
    assert clean.predictions["pred"].tolist() != runs["gap, pink@10"].predictions["pred"].tolist()
    capsys.readouterr()
    study.run(config, ["clean", "pink@10"], name="gap", pictures=False)
    assert loaded(capsys.readouterr().out) == 2


def test_settings_of_the_test_alone_train_nothing_again(study):
    alone, config = study.of_fold("0"), changed(num_epochs=1)
    alone.run(config, pictures=False)
    other = changed(num_epochs=1, test_hop=300, mixup_alpha=0.9)
    alone.run(other, name="another", pictures=False)
    assert len(kept_trainings(study)) == 1
    alone.run(changed(num_epochs=1, decision="geometric"), pictures=False)
    assert len(kept_trainings(study)) == 2


def test_one_fold_alone_is_the_fold_of_the_whole_study_and_each_network_by_hand(study, capsys):
    """The fold alone shares the network; by hand it is trained and asked without the contract."""
    config = changed(num_epochs=1)
    whole = study.run(config, pictures=False)["alexnet_gap, clean"].predictions
    alone = study.of_fold("1")
    capsys.readouterr()
    run = alone.run(config, pictures=False)["alexnet_gap, clean"]
    assert capsys.readouterr().out.count("trained before, loaded") == 1
    assert "-fold-1-alexnet-gap-clean-" in run.path.name and alone.folds == ["1"]
    there = whole[whole["fold"] == "1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(run.predictions, there)
    assert study.folds == ["0", "1", "2"]
    one = Tested("gap", config)
    learner, steps, every, _ = study.learner(one, "1")
    train(learner, steps, study.root / "by-hand", every=every, progress=False)
    rows = study.part(one, "1", "test")
    images = study.images(rows, config, learner.limits, hop=config.test_hop)
    scores = utterance_probabilities(probabilities(learner.module, images), images)
    found = there.set_index("utt_id").loc[rows["utt_id"]]
    assert np.allclose(found[[f"p_{label}" for label in LABELS]], scores, atol=1e-6)


def test_what_cannot_be_tested_is_said_before_anything_is_computed(study):
    with pytest.raises(SettingError, match="white@10 was heard in stability training"):
        study.run(changed(stability=0.5), ["clean", "white@10"])
    with pytest.raises(SettingError, match=r"weights\.npz.*no such file"):
        study.run(changed(pretrained="weights.npz"))
    assert not kept_trainings(study)


def test_other_weights_in_the_same_file_are_another_training(study, tmp_path):
    file = tmp_path / "weights.safetensors"
    config = changed(num_epochs=1, pretrained=str(file))
    alone, paths = study.of_fold("0"), set()
    weights = AlexNetGap(3).state_dict()
    del weights["head.weight"], weights["head.bias"]
    for factor in (1, 1, 2):
        save_file({name: factor * value for name, value in weights.items()}, file)
        paths.add(alone.run(config, pictures=False)["alexnet_gap, clean"].path)
    assert len(paths) == 2 and len(kept_trainings(study)) == 2


def test_methods_of_one_training_go_together(study):
    tested = [Tested("gap", SMALL, condition=one) for one in ("clean", "pink@10")]
    tested.append(Tested("mixed", changed(mixup=True), condition="clean"))
    assert [len(group) for group in study._groups(tested)] == [2, 1]


@pytest.mark.slow
def test_a_small_study_ends_the_same_twice(tmp_path):
    one, other = small_study(tmp_path / "one"), small_study(tmp_path / "other")
    assert list(one) == list(other) and len(one) == 2
    for name, run in one.items():
        pd.testing.assert_frame_equal(run.predictions, other[name].predictions)
        assert run.path.name == other[name].path.name


# --- memory ---------------------------------------------------------------------------------------


@pytest.fixture
def made(monkeypatch):
    """Weak references to the values of all pictures that a study makes."""
    references, make = [], contract.make_images

    def watched(*arguments, **others):
        images = make(*arguments, **others)
        references.append(weakref.ref(images.values))
        return images

    monkeypatch.setattr(contract, "make_images", watched)
    return references


def alive(references):
    gc.collect()
    return sum(reference() is not None for reference in references)


@pytest.mark.slow
def test_no_picture_outlives_its_training_or_its_test(tmp_path, made, monkeypatch):
    study = toy_study(tmp_path, corpus(4, 1), folds=2)
    at_start, learner = [], ToyStudy.learner

    def counted(self, tested, fold):
        at_start.append(alive(made))
        return learner(self, tested, fold)

    monkeypatch.setattr(ToyStudy, "learner", counted)
    config = changed(num_epochs=1, stability=0.5, n_seeds=2)
    study.run(config, ["clean", "pink@10"], pictures=False)
    assert len(made) == 4 * (3 + 2)  # 2 folds, 2 seeds: train, noisy, valid; 2 tests
    assert at_start == [0] * 4 and alive(made) == 0
    study.views_figure(config)
    monkeypatch.setattr("colab_utils.methods.alexnet.notebook.MODELS", ("alexnet_gap",))
    study.sizes(config)
    assert alive(made) == 0
    learner = trained(study, config)
    assert learner.optimiser is None and learner.limits.low.shape == (1, 200)


def test_an_interrupted_training_lets_its_pictures_go(study, made):
    class Stopped(Exception):
        pass

    def stop(_records):
        assert alive(made) == 2
        raise Stopped

    try:
        study.train(SMALL, on_record=stop)
    except Stopped:  # as in a notebook, the traceback is kept
        _, _, kept = sys.exc_info()
        assert kept is not None and alive(made) == 0


def test_a_network_that_is_loaded_needs_no_pictures(study, made):
    config = changed(num_epochs=1)
    study.train(config)
    made.clear()
    again = toy_study(study.root, study.rows)
    again.train(config)
    assert not made
    one, other = (trained(each, config).module.state_dict() for each in (study, again))
    assert all(torch.equal(other[name], value) for name, value in one.items())
