"""Domain generalisation studies: selection without the target, restarts, and what they leave."""

import dataclasses
import gc
import multiprocessing
import os
import signal
import time
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from domain_toys import CONFIG, LABELS, make_study, three_corpora, trained
from toy_store import Features, cross_corpus_split

from colab_utils.drive.memory import Memory
from colab_utils.learning.study import Tested
from colab_utils.learning.training import TrainingError
from colab_utils.methods.da_mldg.algorithms import ALGORITHMS
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.methods.da_mldg.speaker_pretraining import pretrain, speakers_config
from colab_utils.methods.da_mldg.study import DomainStudy, algorithms_of
from colab_utils.results.metrics import recompute
from colab_utils.settings import SettingError

ERM = dataclasses.replace(CONFIG, algorithm="erm")
PLAIN = dataclasses.replace(CONFIG, normalisation="none")
FRAMES = dataclasses.replace(CONFIG, network="resnet18", crop_frames=16, steps=2)


@pytest.fixture
def rows():
    return three_corpora()


def two_folds(root):
    """A study whose folds test one corpus each."""
    rows = three_corpora()
    parts = [cross_corpus_split(rows, target, 4) for target in ("bb", "cc")]
    split = pd.concat(parts, ignore_index=True)
    return DomainStudy("each", rows, split, Features(rows, LABELS), LABELS, root, progress=False)


def small_study(root):
    """From start to end, for a test that kills it."""
    config = dataclasses.replace(CONFIG, n_seeds=2, steps=40, gamma_rule="normalised")
    two_folds(root).compare(config, ["erm", "da-mldg"])


def weights_of(root):
    """The bytes of the one trained network."""
    (file,) = root.glob("trained/da_mldg/*/model.safetensors")
    return file.read_bytes()


# --- selection ------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_selection_never_sees_the_target(rows, tmp_path, algorithm):
    study = make_study(rows, tmp_path)
    target = set(rows.loc[rows["corpus"] == "cc", "utt_id"])
    config = dataclasses.replace(CONFIG, algorithm=algorithm, steps=20)
    history = trained(study, config)
    assert study.store.read and not study.store.read & target
    measured = {one["step"]: one["validation"] for one in history.records if "validation" in one}
    best = [step for step, value in measured.items() if value == max(measured.values())]
    assert history.best_step == min(best)
    # another target with other labels and features leaves the trained weights as they are
    other = rows.copy()
    other.loc[other["corpus"] == "cc", "emotion"] = "anger"
    same = make_study(other, tmp_path / "other")
    for utt_id, values in study.store.values.items():
        same.store.values[utt_id] = 7 * values if utt_id in target else values
    trained(same, config)
    assert weights_of(tmp_path) == weights_of(tmp_path / "other")
    study.compare(config, algorithm, pictures=False)
    assert study.store.read & target


def test_the_score_is_the_mean_uar_of_the_source_domains(rows, tmp_path):
    study = make_study(rows, tmp_path)
    learner, history = study.trained(Tested("da-mldg", PLAIN), study.folds[0])
    chosen = study.split.loc[study.split["role"] == "valid", "utt_id"]
    valid = study.rows[study.rows["utt_id"].isin(chosen)].reset_index(drop=True)
    x = torch.from_numpy(study.store.matrix(valid["utt_id"]))
    scaled = learner.batches.clips.scale.applied(x)
    pred = np.array(LABELS)[learner.algorithm.predict((scaled,)).argmax(1)]
    right = (pred == valid["emotion"]).groupby([valid["corpus"], valid["emotion"]]).mean()
    expected = pytest.approx(right.groupby("corpus").mean().mean())
    assert learner.validate() == expected and history.best_score == expected


def test_features_are_scaled_by_training_utterances_every_source_counting_the_same(rows, tmp_path):
    study = make_study(rows, tmp_path)
    tested = Tested("erm", PLAIN)
    train = study.clips(tested, study.folds[0], "train")
    by_corpus = []
    for _, part in train.rows.groupby("corpus"):
        by_corpus.append(study.store.matrix(part["utt_id"]).astype(float))
    mean = np.mean([values.mean(0) for values in by_corpus], axis=0)
    square = np.mean([(values**2).mean(0) for values in by_corpus], axis=0)
    assert np.allclose(train.scale.mean, mean, atol=1e-5)
    assert np.allclose(1 / train.scale.factor, np.sqrt(square - mean**2), rtol=1e-4)
    assert study.clips(tested, study.folds[0], "test").scale is train.scale


@pytest.mark.parametrize(
    ("changes", "batch"), [({"batch": 7}, 7), ({"per_domain": 5}, 10), ({"batch": 1000}, 120)]
)
def test_an_epoch_is_a_pass_over_the_training_side_in_full_batches(rows, tmp_path, changes, batch):
    """Two epochs, one validation after each; less than a batch is left out, as in the code."""
    config = DomainConfig("erm", epochs=2, width=8, n_seeds=1, **changes)
    study = make_study(rows, tmp_path)
    sides = study.split.merge(study.rows[["utt_id", "corpus"]])
    sources = sides[(sides["role"] == "train") & sides["corpus"].isin(["aa", "bb"])]
    updates = 1  # one batch is the least
    while (updates + 1) * batch <= len(sources):
        updates += 1
    history = trained(study, config)
    tried = [one["step"] for one in history.records if "validation" in one]
    assert len(history.records) == 2 * updates and tried == [updates, 2 * updates]
    notes = study.compare(config, "erm", pictures=False)["erm"].metrics["notes"]
    assert f"2 epochs of the sources are {2 * updates} updates" in notes


@pytest.mark.slow
def test_every_algorithm_learns_and_its_metrics_follow_from_its_predictions(rows, tmp_path):
    study = make_study(rows, tmp_path)
    config = dataclasses.replace(CONFIG, steps=60, n_seeds=2)
    runs = study.compare(config, list(ALGORITHMS), pictures=False)
    assert list(runs) == list(ALGORITHMS)
    for name, run in runs.items():
        assert run.metrics == recompute(run.path) and run.metrics["seeds"] == [0, 1]
        assert run.metrics["speaker_independence"] == "independent"
        assert run.metrics["uar"] > 0.6, name
        assert set(run.predictions["corpus"]) == {"cc"}
        assert run.predictions.groupby("seed")["utt_id"].nunique().tolist() == [48, 48]


def test_a_class_that_the_target_lacks_is_left_out_of_its_mean(rows, tmp_path):
    lacking = (rows["corpus"] == "cc") & (rows["emotion"] == "fear")
    study = make_study(rows[~lacking].reset_index(drop=True), tmp_path)
    metrics = study.compare(CONFIG, "erm", pictures=False)["erm"].metrics
    assert metrics["labels_absent"] == ["fear"] and metrics["chance"] == 0.5
    assert metrics["per_class_recall"]["fear"] is None


# --- frames and starting weights ------------------------------------------------------------------


@pytest.mark.slow
def test_frames_through_resnet_with_windows_and_speakers_first(rows, tmp_path):
    config = dataclasses.replace(
        FRAMES, start="speakers", test="windows", augment=True, norm="batch", algorithm="mldg"
    )
    config = dataclasses.replace(config, speaker_epochs=2)
    study = make_study(rows, tmp_path, frames=True)
    trained(study, config)
    target = set(rows.loc[rows["corpus"] == "cc", "utt_id"])
    assert not study.store.read & target
    run = study.compare(config, "mldg", pictures=False)["mldg"]
    assert any("speakers of aa, bb" in note for note in run.metrics["notes"])
    assert len(list((tmp_path / "trained" / "speakers").iterdir())) == 1
    (told,) = tmp_path.glob("trained/da_mldg/*/config.json")
    assert "speakers: sha256" in told.read_text()
    other = dataclasses.replace(config, speaker_epochs=1)
    again = study.compare(other, "mldg", pictures=False)["mldg"]
    assert again.path != run.path, "another pretraining is another result"


def test_a_file_of_weights_that_is_torn_or_of_another_width_is_refused(rows, tmp_path):
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(b"x" * 100)
    small = speakers_config(dataclasses.replace(FRAMES, width=16))
    small = dataclasses.replace(small, epochs=0, steps=1, batch=8, crop_frames=16)
    store = Features(rows, LABELS, frames=True)
    file, _ = pretrain(rows, store, small, Memory(tmp_path), progress=False)
    pickled = tmp_path / "network.pt"
    torch.save(torch.nn.Linear(1, 1), pickled)
    vector = tmp_path / "vector.pt"
    torch.save({"conv1.weight": torch.ones(3)}, vector)
    cases = (
        (torn, "torn.safetensors cannot be used"),
        (pickled, "network.pt cannot be used, for it is a pickle"),
        (vector, "vector.pt cannot be used"),
        (tmp_path / "missing.pt", "no such file"),
        (file, "of this width"),
    )
    for start, told in cases:
        config = dataclasses.replace(FRAMES, start=str(start))
        with pytest.raises(SettingError, match=told):
            trained(make_study(rows, tmp_path, frames=True), config)


@pytest.mark.slow
def test_how_it_is_tested_does_not_train_again(rows, tmp_path):
    study = make_study(rows, tmp_path, frames=True)
    whole = study.compare(FRAMES, "erm", pictures=False)["erm"]
    windows = dataclasses.replace(FRAMES, test="windows")
    cut = study.compare(windows, "erm", pictures=False)["erm"]
    assert len(list(tmp_path.glob("trained/da_mldg/*"))) == 1
    assert whole.path != cut.path and cut.config["changed"]["test"] == "windows"


def test_embeddings_are_those_of_validation_and_target(rows, tmp_path):
    study = make_study(rows, tmp_path)
    vectors, found = study.embeddings(Tested("da-mldg", CONFIG))
    assert vectors.shape == (len(found), 8) and vectors.dtype == np.float32
    assert set(found["role"]) == {"valid", "test"}
    assert (found.loc[found["role"] == "test", "corpus"] == "cc").all()


# --- restarts -------------------------------------------------------------------------------------


def train_in_a_child(rows, root):
    torch.set_num_threads(1)
    config = dataclasses.replace(CONFIG, steps=150, validate_every=5, gamma_rule="normalised")
    trained(make_study(rows, root), config)


@pytest.mark.slow
def test_killed_training_ends_bit_for_bit_like_an_uninterrupted_one(rows, tmp_path, monkeypatch):
    from colab_utils.learning import training

    monkeypatch.setitem(training.train.__kwdefaults__, "save_seconds", 0.0)
    context = multiprocessing.get_context("fork")
    for name, killed in (("whole", False), ("killed", True), ("killed", False)):
        child = context.Process(target=train_in_a_child, args=(rows, tmp_path / name))
        child.start()
        if killed:
            while not list((tmp_path / name).rglob("checkpoint.pt")):
                time.sleep(0.01)
            os.kill(child.pid, signal.SIGKILL)
        child.join()
    assert weights_of(tmp_path / "whole") == weights_of(tmp_path / "killed")


def test_a_second_call_computes_nothing_and_settings_of_other_algorithms_do_not_count(
    rows, tmp_path, capsys
):
    make_study(rows, tmp_path).compare(CONFIG, "erm", pictures=False)
    capsys.readouterr()
    other = dataclasses.replace(
        CONFIG, inner_rate=0.5, gamma_rule="1+gamma", crop_frames=50, momentum=0.5, test="windows"
    )
    make_study(rows, tmp_path).compare(other, "erm", pictures=False)
    assert "nothing is computed again" in capsys.readouterr().out


def test_the_names_of_folders_say_task_features_algorithm_and_network(rows, tmp_path):
    run = make_study(rows, tmp_path).compare(CONFIG, ["coral"], pictures=False)["coral"]
    (folder,) = tmp_path.glob("trained/da_mldg/*")
    assert folder.name.startswith("to-cc-toy-coral-mlp-seed0-")
    assert run.path.parent.name == "da_mldg" and run.path.name.startswith("to-cc-toy-coral-")


def test_what_a_fold_needed_is_let_go(tmp_path):
    study, tested, seen = two_folds(tmp_path), Tested("erm", ERM), []
    for fold in study.folds:
        learner = study.trained(tested, fold)[0]
        study.predict(learner, tested, fold)
        seen += [weakref.ref(study.clips(tested, fold, role)) for role in ("train", "test")]
        del learner
        gc.collect()
        assert [one() is not None for one in seen[-2:]] == [True, True]
        assert all(one() is None for one in seen[:-2]), "the fold before"
    study.let_go()
    gc.collect()
    assert all(one() is None for one in seen)


@pytest.mark.slow
def test_a_study_of_two_folds_and_seeds_runs_from_start_to_end(tmp_path):
    small_study(tmp_path)
    folders = {path.name.split("-toy-")[1][:3]: path for path in tmp_path.glob("runs/da_mldg/*")}
    assert set(folders) == {"erm", "da-"}
    for path in folders.values():
        table = pd.read_csv(path / "predictions.csv", dtype={"fold": str})
        cells = set(zip(table["seed"], table["fold"], strict=True))
        assert cells == {(seed, fold) for seed in (0, 1) for fold in ("bb", "cc")}
    assert len(list(tmp_path.glob("trained/da_mldg/*"))) == 8


# --- refusals -------------------------------------------------------------------------------------


def test_algorithms_are_named_as_a_list_or_in_words(rows, tmp_path):
    study = make_study(rows, tmp_path)
    assert [one.name for one in algorithms_of(CONFIG, "erm, rsc")] == ["erm", "rsc"]
    for names, told in ((["erm", "irm"], "algorithm = 'irm'"), ((), "no algorithm is chosen")):
        with pytest.raises(SettingError, match=told):
            study.compare(CONFIG, names)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"norm": "batch"}, "statistics of the tested utterances"),
        ({"start": "imagenet"}, "pretrained weights are for resnet18"),
        ({"clamp_low": 2.0, "clamp_high": 1.0}, "is above clamp_high"),
        ({"learning_rate": 3.0}, "learning_rate"),
        ({"order": "third"}, "order = 'third'.*'first', 'second'"),
        ({"gamma_rule": "one"}, "gamma_rule = 'one'"),
        ({"loss": "sum"}, "loss = 'sum'"),
        ({"inner_rate": -1.0}, "inner_rate = -1"),
        ({"rsc_period": -1}, "rsc_period = -1"),
        ({"epochs": 2}, "steps = 30 does nothing with epochs = 2: set epochs = 0"),
        ({"epochs": 2, "steps": 600}, "validate_every = 10 does nothing with epochs = 2"),
        ({"batch": 9}, "per_domain = 6 does nothing with batch = 9"),
        ({"coral_weight": -1.0}, "coral_weight = -1"),
        ({"network": "resnet18"}, "the mlp takes one vector"),
    ],
)
def test_bad_settings_are_named(rows, tmp_path, change, told):
    with pytest.raises(SettingError, match=told):
        make_study(rows, tmp_path).compare(dataclasses.replace(CONFIG, **change), "da-mldg")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"start": "nowhere.safetensors"}, "'nowhere.safetensors': no such file"),
        ({"padding": "zeros"}, "padding = 'zeros' with toy"),
    ],
)
def test_bad_settings_of_frames_are_named(rows, tmp_path, change, told):
    study = make_study(rows, tmp_path, frames=True)
    with pytest.raises(SettingError, match=told):
        study.compare(dataclasses.replace(FRAMES, **change), "da-mldg")


def test_one_domain_and_a_missing_class_are_refused(rows, tmp_path):
    two = rows[rows["corpus"] != "bb"].reset_index(drop=True)
    with pytest.raises(SettingError, match="2 source domains or more and got 1"):
        trained(make_study(two, tmp_path / "one"))
    assert make_study(two, tmp_path / "one").compare(CONFIG, "erm", pictures=False)
    silent = rows[rows["emotion"] != "fear"].reset_index(drop=True)
    with pytest.raises(SettingError, match="no training corpus has fear"):
        trained(make_study(silent, tmp_path / "silent"))


def test_a_loss_that_is_not_finite_stops_the_training(rows, tmp_path):
    wild = {"optimiser": "sgd", "learning_rate": 1.0, "inner_rate": 10.0, "weight_decay": 1.0}
    config = dataclasses.replace(CONFIG, steps=3000, algorithm="mldg", momentum=0.999, **wild)
    with pytest.raises(TrainingError, match="not finite|is nan|is inf"):
        trained(make_study(rows, tmp_path), config)
