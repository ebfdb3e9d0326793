"""Pairs of corpora on request: published tasks as published, all others in their manner, and the panel that switches between them."""
import dataclasses

import numpy as np
import pandas as pd
import pytest

from colab_utils import corpora
from colab_utils.methods.emofsl.emofsl import levels_and_margins
from colab_utils.methods.emofsl.retrieval_tables import distance_table
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.transfers import Transfers, config_of, panel_settings
from colab_utils.panel.panel import Panel
from colab_utils.protocols.published import load_protocol
from colab_utils.results.methods import PUBLISHED_COLUMNS, published_table
from colab_utils.settings import SettingError

FOUR = ["anger", "happiness", "neutral", "sadness"]


@pytest.fixture(scope="module")
def transfers(embedded_workspace):
    manifest = corpora.open_corpora(["synthetic"], "", embedded_workspace[0])
    return Transfers(load_protocol("emofsl"), manifest, embedded_workspace[0], progress=False)


def test_a_pair_is_made_once_and_holds_the_chosen_emotions_alone(transfers):
    study = transfers.study("synthetic-studio", "synthetic-phone", "logmel", FOUR)
    assert transfers.study("synthetic-studio", "synthetic-phone", "logmel", FOUR) is study
    assert set(study.rows["corpus"]) == {"synthetic-studio", "synthetic-phone"} and study.labels == FOUR
    other = transfers.study("synthetic-phone", "synthetic-room", "logmel", ["fear", "sadness"])
    assert set(other.rows["emotion"]) == {"fear", "sadness"} and other.store is study.store


def test_a_published_pair_is_the_published_task_and_other_emotions_are_not(transfers):
    assert transfers.task("ravdess", "iemocap", FOUR).name == "R-I"
    assert transfers.task("ravdess", "iemocap", FOUR).folds == {"by": "session"}
    assert transfers.task("ravdess", "iemocap", ["anger", "sadness"]).name == "ravdess-iemocap"
    merging = Transfers(load_protocol("emofsl"), transfers.manifest, transfers.root, merge={"calm": "neutral"})
    assert merging.task("ravdess", "iemocap", FOUR).name == "ravdess-iemocap"
    assert merging.task("ravdess", "iemocap", FOUR).merge == {"excited": "happiness", "calm": "neutral"}


@pytest.mark.parametrize("emotions", [[], ["anger"]])
def test_fewer_than_two_emotions_are_refused(transfers, emotions):
    with pytest.raises(SettingError, match="choose two or more"):
        transfers.study("synthetic-studio", "synthetic-phone", "logmel", emotions)


def test_the_panel_says_what_the_study_runs(transfers):
    config = EmofslConfig(n_boot=10, source_epochs=3)
    start = panel_settings(config, "synthetic-studio", "synthetic-phone", "logmel", FOUR, corpora=transfers.corpora, front_ends=["acoustic"],
                           known=sorted({*FOUR, "fear"}))
    panel = Panel(start, run=lambda chosen: chosen)
    assert config_of(panel.config, config) == config
    panel.set(source="synthetic-room", emotions=("anger", "sadness"), shots=2, beta=0.3, decision="head")
    chosen = panel.run_once()
    study = transfers.chosen(chosen)
    assert study.name == "synthetic-room-synthetic-phone" and study.labels == ["anger", "sadness"]
    runs = study.evaluate(config_of(chosen, config), methods=["EMOFSL"], decisions=["head"], baselines=[], pictures=False)
    run = runs["EMOFSL, head", 2]
    assert run.config["settings"]["beta"] == 0.3 and run.metrics["chance"] == 0.5
    assert not (run.path / "confusion_matrix.csv").exists()
    study.evaluate(config_of(chosen, config), methods=["EMOFSL"], decisions=["head"], baselines=[])
    assert (run.path / "confusion_matrix.pdf").exists()
    with pytest.raises(SettingError, match="source"):
        panel.set(source="emodb")


def test_published_figures_are_those_of_the_paper_and_only_of_its_tasks():
    table = published_table(load_protocol("emofsl").published)
    assert tuple(table.columns) == PUBLISHED_COLUMNS
    five = table[table["k"] == 5].pivot(index="task", columns="method", values="rate")
    assert five.shape == (6, 3) and five["EMOFSL"].mean() == pytest.approx(0.4657, abs=1e-4) and five["BTL"].mean() == pytest.approx(0.4482, abs=1e-4)
    assert published_table(load_protocol("emofsl").published, "emodb-emovo").empty


def test_levels_and_margins_are_the_papers_for_its_emotions_and_graded_ones_lie_between():
    levels, margins = levels_and_margins(EmofslConfig.preset("paper"), FOUR)
    far = {frozenset(pair) for pair in levels.stack()[lambda one: one == "PN"].index}
    assert far == {frozenset({"happiness", "sadness"}), frozenset({"anger", "sadness"})} and margins == {"PN": 1.0, "MN": 0.6}
    graded = levels_and_margins(dataclasses.replace(EmofslConfig.preset("paper"), margins="graded"), FOUR)[1]
    between = graded.to_numpy()[~np.eye(4, dtype=bool)]
    assert between.min() == pytest.approx(0.6) and between.max() == pytest.approx(1.0)


def test_distances_are_those_of_vectors_of_length_one():
    rng = np.random.default_rng(0)
    vectors, names = rng.normal(size=(6, 3)), list("abcdef")
    asked = np.array([True, True, False, False, False, False])
    table = distance_table(vectors, names, asked, ~asked)
    assert list(table.index) == ["a", "b"] and list(table.columns) == list("cdef")
    one, other = (vectors[i] / np.linalg.norm(vectors[i]) for i in (1, 3))
    assert table.loc["b", "d"] == pytest.approx(np.linalg.norm(one - other))
    with pytest.raises(ValueError, match="no queries"):
        distance_table(vectors, names, np.zeros(6, dtype=bool), asked)
    assert isinstance(table, pd.DataFrame)
