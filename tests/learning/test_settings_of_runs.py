"""settings.csv of a run: what had a part in its numbers, with values and meanings."""

import dataclasses
import inspect

import pytest
from one_file_method import SoftmaxConfig, SoftmaxStudy
from toy_store import Features, toy_corpus

from colab_utils.csv_files import read_csv
from colab_utils.learning import heads
from colab_utils.learning.study import Tested
from colab_utils.methods.baselines import BaselineConfig, BaselineStudy
from colab_utils.methods.da_mldg import DomainConfig
from colab_utils.methods.da_mldg.study import DomainStudy
from colab_utils.methods.emofsl import EmofslConfig
from colab_utils.methods.emofsl import rivals as emofsl_rivals
from colab_utils.methods.emofsl.study import TransferStudy
from colab_utils.methods.maml import MamlConfig
from colab_utils.methods.maml import rivals as maml_rivals
from colab_utils.methods.maml.study import MamlStudy
from colab_utils.protocols import folds

LABELS = ["anger", "fear", "sadness"]


@pytest.mark.slow
def test_a_run_lists_what_was_looked_at(tmp_path):
    rows = toy_corpus("aa", LABELS, 6, 3)
    split = folds.make_split(rows, folds.grouped_folds(rows, 3, 0), 0, 1)
    study = SoftmaxStudy("toy", rows, split, Features(rows, LABELS), LABELS, tmp_path)
    study.progress = False
    config = SoftmaxConfig(rate=0.5, normalisation="none")
    run = study.evaluate([Tested("mine", config)], pictures=False)["mine"]
    table = read_csv(run.path / "settings.csv", dtype=str).set_index("setting")
    assert table.loc["rate"].tolist() == ["0.5", "learning rate"]
    assert "prior_clips" not in table.index, "of the normalisation by speaker"
    assert table.index.tolist()[2:] == ["rate", "steps", "seed", "n_seeds"]
    (run.path / "settings.csv").write_text("changed")
    assert not run.done, "DONE vouches for it"


def names(study_class, config, kind="", **of_study):
    """The settings that a row of a study looks at; the study is never made."""
    study = object.__new__(study_class)
    vars(study).update(of_study)
    return {field.name for field in study.looked_at(Tested("row", config, kind=kind))}


def test_rows_of_maml_look_at_what_they_use():
    config = MamlConfig()
    maml = names(MamlStudy, config, "maml")
    assert maml >= {"inner_rate", "regime", "iterations", "width", "normalisation"}
    assert not maml & {"temperature", "max_frames"}, "of the contrastive term, of frames"
    proto = names(MamlStudy, config, "ProtoNet")
    assert proto >= {"iterations", "meta_rate", "width"} and not proto & {"inner_rate", "regime"}
    for kind in ("recommended", "chance", "nearest prototype", "own"):
        found = names(MamlStudy, config, kind)
        assert "normalisation" in found and not found & {"iterations", "inner_rate", "width"}


def test_rows_of_emofsl_look_at_what_they_use():
    config = EmofslConfig()
    tuned = names(TransferStudy, config, emofsl_rivals.TUNED)
    assert tuned >= {"alpha", "epochs", "source_epochs", "shots", "n_draws", "normalisation"}
    assert not tuned & {"C", "shrinkage", "nearest", "kappa"}, "of baselines, of FSTL"
    of = {"logistic regression": "C", "LDA": "shrinkage", "nearest prototype": "nearest"}
    for kind, own in of.items():
        found = names(TransferStudy, config, kind)
        assert {own, "shots", "n_draws"} <= found
        assert not found & {"alpha", "epochs", "source_epochs", *of.values()} - {own}
    assert "source_epochs" in names(TransferStudy, config, "source only")
    assert not names(TransferStudy, config, "recommended") & {"source_epochs", "epochs"}


@pytest.mark.parametrize("algorithm", ["recommended", "linear", "coral"])
def test_rows_of_da_mldg_look_at_what_they_use(algorithm):
    found = names(DomainStudy, DomainConfig(algorithm=algorithm))
    assert ({"steps", "coral_weight"} <= found) == (algorithm == "coral")
    assert "normalisation" in found and not found & {"rsc_period", "gamma_rule"}


def test_folds_of_the_corpus_have_no_number_of_ones_own():
    config = BaselineConfig(folds="grouped")
    assert "n_folds" in names(BaselineStudy, config, split=None)
    frozen = dataclasses.replace(config, folds="frozen")
    assert "n_folds" not in names(BaselineStudy, frozen, split=None)
    assert "dropout" not in names(BaselineStudy, frozen, split=None)


def test_what_no_setting_says_is_a_note():
    default = inspect.signature(heads.logistic_regression).parameters["c"].default
    row = Tested("row", MamlConfig(), kind="logistic regression")
    (note,) = maml_rivals.notes_of(row, {"name": "acoustic"}, [])
    assert note.endswith(f"C = {default}")
    tuned = Tested("row", MamlConfig(), kind="pooled, fine-tuned")
    (note,) = maml_rivals.notes_of(tuned, {"name": "acoustic"}, [])
    assert "picked in validation episodes" in note and "0.003 to 0.3" in note
