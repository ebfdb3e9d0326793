"""Pairs of corpora on request: published tasks as published, all others in their manner, and the
panel that switches between them.
"""

import pandas as pd
import pytest
from drawn import line, words
from tiny_encoders import hums

from colab_utils.methods.emofsl.figures import runs as figures
from colab_utils.methods.emofsl.panel import panel
from colab_utils.methods.emofsl.retrieval import embeddings as retrieval
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.transfers import Transfers
from colab_utils.protocols.published import ProtocolError, load_protocol
from colab_utils.results.tables import PUBLISHED_COLUMNS, published_table
from colab_utils.settings import SettingError

FOUR = ["anger", "happiness", "neutral", "sadness"]
THREE = ["anger", "neutral", "sadness"]


@pytest.fixture(scope="module")
def transfers(tmp_path_factory):
    """Three corpora of hums that pass for synthetic speech."""
    root = tmp_path_factory.mktemp("transfers")
    there = []
    for seed, corpus in enumerate(("synthetic-phone", "synthetic-room", "synthetic-studio")):
        there.append(hums(root, corpus, shift=1 + 0.1 * seed, seed=seed))
    manifest = pd.concat(there, ignore_index=True)
    return Transfers(load_protocol("emofsl"), manifest, root, progress=False)


def test_a_pair_is_made_once_and_holds_the_chosen_emotions_alone(transfers):
    study = transfers.study("synthetic-studio", "synthetic-phone", "logmel", THREE)
    assert transfers.study("synthetic-studio", "synthetic-phone", "logmel", THREE) is study
    assert (
        set(study.rows["corpus"]) == {"synthetic-studio", "synthetic-phone"}
        and study.labels == THREE
    )
    other = transfers.study("synthetic-phone", "synthetic-room", "logmel", ["neutral", "sadness"])
    assert set(other.rows["emotion"]) == {"neutral", "sadness"} and other.store is study.store


def test_a_published_pair_is_the_published_task_and_other_emotions_are_not(transfers):
    assert transfers.task("ravdess", "iemocap", FOUR).name == "R-I"
    assert transfers.task("ravdess+emodb", "iemocap", FOUR).folds["by"] == "speaker"
    assert transfers.task("ravdess", "iemocap", FOUR).folds == {"by": "session"}
    assert transfers.task("ravdess", "iemocap", ["anger", "sadness"]).name == "ravdess-iemocap"
    merging = Transfers(
        load_protocol("emofsl"), transfers.manifest, transfers.root, merge={"calm": "neutral"}
    )
    assert merging.task("ravdess", "iemocap", FOUR).name == "ravdess-iemocap"
    assert merging.task("ravdess", "iemocap", FOUR).folds == {"by": "session"}
    assert merging.task("ravdess", "iemocap", FOUR).merge == {
        "excited": "happiness",
        "calm": "neutral",
    }


@pytest.mark.parametrize("emotions", [[], ["anger"]])
def test_fewer_than_two_emotions_are_refused(transfers, emotions):
    with pytest.raises(SettingError, match="choose two or more"):
        transfers.study("synthetic-studio", "synthetic-phone", "logmel", emotions)


def test_emotions_are_a_list_or_a_text(transfers):
    listed = transfers.study("synthetic-studio", "synthetic-phone", "logmel", ["anger", "sadness"])
    text = transfers.study("synthetic-studio", "synthetic-phone", "logmel", "anger, sadness")
    assert text is listed and text.labels == ["anger", "sadness"]


@pytest.mark.slow
def test_the_panel_says_what_the_study_runs(transfers):
    config = EmofslConfig(source_epochs=3, n_draws=2, epochs=5)
    study = transfers.study("synthetic-studio", "synthetic-phone", "logmel", THREE)
    shown = panel(transfers, study, config)
    start = {
        "source": "synthetic-studio",
        "target": "synthetic-phone",
        "features": "logmel",
        "emotions": tuple(THREE),
        "methods": ("recommended", "EMOFSL"),
    }
    assert shown.config == config and shown.chosen == start
    shown.set(source="synthetic-room", emotions=("anger", "sadness"), methods=("EMOFSL", "BTL"))
    shown.set(shots=2, beta=0.3, decision="head")
    runs = shown.run_once()
    assert list(runs) == [(name, 2) for name in ("BTL, head", "EMOFSL, head")]
    run = runs["EMOFSL, head", 2]
    assert run.config["settings"]["beta"] == 0.3 and run.metrics["chance"] == 0.5
    assert run.config["task"] == "synthetic-room-synthetic-phone"
    assert run.config["preset"] == "default" and run.config["changed"] == {
        "shots": 2,
        "n_draws": 2,
        "beta": 0.3,
        "epochs": 5,
        "source_epochs": 3,
    }
    shown.set(methods=("recommended",), shots=1)
    assert list(shown.run_once()) == [("recommended", 1)]
    with pytest.raises(SettingError, match="source"):
        shown.set(source="emodb")


def test_several_corpora_are_one_source(transfers):
    """In any order, and by a list, it is one study; the panel offers it beside its parts."""
    two = "synthetic-studio+synthetic-room"
    study = transfers.study(two, "synthetic-phone", "logmel", THREE)
    listed = transfers.study(["synthetic-room", "synthetic-studio"], "synthetic-phone", "", THREE)
    assert study is listed and study.name == "synthetic-room+synthetic-studio-synthetic-phone"
    assert study.pair == ("synthetic-room+synthetic-studio", "synthetic-phone")
    for _, sides in study.split.merge(study.rows[["utt_id", "corpus"]]).groupby("fold"):
        there = sides.groupby("role")["corpus"].agg(set)
        assert there["test"] == there["support"] == {"synthetic-phone"}
        assert there["train"] | there["valid"] == {"synthetic-room", "synthetic-studio"}
    config = EmofslConfig(n_draws=2, shots=1)
    shown = panel(transfers, study, config)
    assert shown.chosen["source"] == study.pair[0]
    shown.set(methods=("recommended",))
    run = shown.run_once()["recommended", 1]
    assert run.config["corpora"]["train"] == ["synthetic-room", "synthetic-studio"]
    assert run.path.name.startswith(study.name)
    shown.set(source="synthetic-room")
    assert shown.run_once()["recommended", 1].config["task"] == "synthetic-room-synthetic-phone"
    with pytest.raises(ProtocolError, match="on both sides"):
        transfers.study("synthetic-phone+synthetic-room", "synthetic-phone", "logmel", THREE)


def test_one_of_several_sources_may_lack_an_emotion(transfers, capsys):
    rows = transfers.manifest
    rows = rows[(rows["corpus"] != "synthetic-room") | (rows["emotion"] != "sadness")]
    other = Transfers(transfers.protocol, rows, transfers.root, progress=False)
    study = other.study("synthetic-room+synthetic-studio", "synthetic-phone", "", THREE)
    assert "synthetic-room has no sadness" in capsys.readouterr().out
    assert set(study.rows["corpus"]) == set(rows["corpus"])
    with pytest.raises(ProtocolError, match="synthetic-room has no sadness"):
        other.study("synthetic-room", "synthetic-phone", "", THREE)


def test_pictures_are_drawn_where_they_are_asked_for(transfers):
    config = EmofslConfig(source_epochs=3, n_draws=2, shots=1, epochs=5)
    study = transfers.study("synthetic-studio", "synthetic-phone", "logmel", THREE)
    for pictures in (False, True):
        runs = study.compare(
            config, methods=["BTL"], decisions=["head"], baselines=[], pictures=pictures
        )
        path = runs["BTL, head", 1].path
        assert (path / "confusion_matrix.csv").exists() == pictures
        assert (path / "confusion_matrix.pdf").exists() == pictures


@pytest.mark.slow
def test_the_figures_of_the_notebook_are_those_of_the_runs(transfers):
    config = EmofslConfig(source_epochs=3, n_draws=3, shots=2, epochs=5)
    study = transfers.study("synthetic-studio", "synthetic-phone", "logmel", THREE)
    runs = study.compare(config, shots="1", decisions=["head"], pictures=False)
    table = study.table(runs, config)
    names = [name for name, k in runs if k == 2]
    assert list(table.index) == names and table.loc["BTL, head", "difference"] == ""
    for (name, k), run in runs.items():
        if k == 2:
            assert table.loc[name, "UAR %"] == f"{100 * run.metrics['uar']:.1f}"
    curves = figures.shots_figure(study, runs, config)
    for method in ("BTL", "EMOFSL", "recommended"):
        name = method if method == "recommended" else f"{method}, head"
        rates = [100 * runs[name, k].metrics["uar"] for k in (1, 2)]
        assert list(line(curves.axes[0], method).get_ydata()) == pytest.approx(rates)
    assert "studio → phone, logmel, decided by head" in words(curves)
    tables = {name: runs[f"{name}, head", 2].predictions for name in ("BTL", "FSTL", "EMOFSL")}
    tables["recommended"] = runs["recommended", 2].predictions
    luck = figures.luck_figure(study, runs, config)
    for name, mean in figures.uar_by_draw(tables, study.labels).mean().items():
        assert f"{100 * mean:.1f} ±" in words(luck) and name in words(luck)
    matrices = figures.matrices_figure(study, runs, config)
    assert matrices.axes[0].get_title().startswith("recommended")
    drawn = (
        curves,
        luck,
        matrices,
        figures.support_figure(study, runs, config),
    )
    for figure in drawn:
        assert "Synthetic corpus" in words(figure)
    assert figures.layers_figure(study, config) is None
    found = retrieval.embeddings(study, config)
    assert "Synthetic corpus" in words(retrieval.maps_figure(study, found))
    assert list(retrieval.nearest_table(found).index) == ["before", "after"]


def test_published_figures_are_those_of_the_paper_and_only_of_its_tasks():
    table = published_table(load_protocol("emofsl").published)
    assert tuple(table.columns) == PUBLISHED_COLUMNS
    five = table[table["k"] == 5].pivot(index="task", columns="method", values="rate")
    assert (
        five.shape == (6, 3)
        and five["EMOFSL"].mean() == pytest.approx(0.4657, abs=1e-4)
        and five["BTL"].mean() == pytest.approx(0.4482, abs=1e-4)
    )
    assert published_table(load_protocol("emofsl").published, "emodb-emovo").empty
