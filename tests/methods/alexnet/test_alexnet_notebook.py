"""What notebook 05 shows and keeps: tables, figures, the panel, a labeller of audio."""

import numpy as np
import pandas as pd
import pytest
import torch
from alexnet_toys import LABELS, SMALL, changed, corpus, toy_study, trained
from drawn import assert_nothing_is_cut_off, words
from kept_again import largest_difference
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from colab_utils.learning import kept
from colab_utils.methods.alexnet import (
    beside_published,
    clean_runs,
    folds_figure,
    noise_figure,
)
from colab_utils.methods.alexnet.figures import conditions_table, folds_table
from colab_utils.methods.alexnet.network import AlexNetGap
from colab_utils.methods.alexnet.panel import panel
from colab_utils.settings import SettingError

SHORT = changed(num_epochs=1)


def always_fear(network, images, valid):
    return torch.tensor([0.0, 1.0, 0.0]).expand(len(images), 3)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A study on which nothing is changed, and its runs with and without stability training."""
    study = toy_study(tmp_path_factory.mktemp("shown"), corpus(4, 2), folds=2)
    return study, study.compare(SHORT, 0.0, ["clean", "pink@10"])


def test_who_trains_and_who_is_tested_is_shown(study):
    table = study.overview()
    assert table.index.names == ["fold", "role"] and list(table) == ["utterances", "speakers"]
    assert table["utterances"].groupby("fold").sum().tolist() == [36] * 3
    assert table.xs("valid", level="role")["utterances"].tolist() == [6] * 3


def test_comparing_means_with_and_without_stability_training(shown):
    study, runs = shown
    assert list(runs) == [
        "alexnet_gap, clean",
        "alexnet_gap, pink@10",
        "alexnet_gap + stability, clean",
        "alexnet_gap + stability, pink@10",
        "frozen, linear, clean",
        "frozen, linear, pink@10",
    ]
    weights = [run.config["settings"]["stability"] for run in runs.values()]
    assert weights == [0.0, 0.0, 0.5, 0.5, 0.0, 0.0]
    assert runs["frozen, linear, clean"].config["settings"]["tune"] == "linear"
    assert runs["alexnet_gap + stability, clean"].config["conditions"] == ["white@10"]
    models = ["alexnet_gap", "alexnet_gap + stability", "frozen, linear"]
    assert list(clean_runs(runs)) == models
    table = conditions_table(runs)
    assert table["model"].tolist() == [model for model in models for _ in range(2)]
    assert table["condition"].tolist() == ["clean", "pink@10"] * 3
    assert list(study.table(runs).index) == list(runs)


def test_rates_by_fold_and_pooled(shown):
    _, runs = shown
    run = runs["alexnet_gap, clean"]
    table = folds_table(run)
    for number, (_, part) in enumerate(run.predictions.groupby("fold")):
        right = part["true"] == part["pred"]
        row = table.iloc[number]
        assert row["uar"] == pytest.approx(right.groupby(part["true"]).mean().mean())
        assert np.isnan(row["low"]) and np.isnan(row["high"])  # of two speakers
        assert row["counts"] == f"no interval, {right.sum()} of 12 right"
        assert f"(n = 12, WA {100 * right.mean():.1f})" in row["method"]
    pooled = table.iloc[2]
    assert pooled["uar"] == run.metrics["uar"] and len(table) == 3
    assert pooled["low"] <= pooled["uar"] <= pooled["high"]
    figure = folds_figure(runs)
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names == table["method"].tolist() and names[-1].startswith("all, pooled (n = 24")
    said = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert all(f"({told})" in said for told in table["counts"][:2])
    assert_nothing_is_cut_off(figure)
    with pytest.raises(ValueError, match="no run on clean"):
        folds_figure({"noisy": runs["alexnet_gap, pink@10"]})


def test_rates_as_means_of_folds_stand_beside_the_pooled_and_the_published(shown):
    _, runs = shown
    table = beside_published(runs)
    run = runs["alexnet_gap, clean"]
    scores = []
    for _, part in run.predictions.groupby("fold"):
        true, found = part["true"], part["pred"]
        scores.append((accuracy_score(true, found), balanced_accuracy_score(true, found)))
    means = 100 * np.mean(scores, axis=0)
    pooled = 100 * run.metrics["wa"], 100 * run.metrics["uar"]
    assert table.loc["toy", "alexnet_gap"].tolist() == pytest.approx([*means, *pooled], abs=0.051)
    published = table.loc["published: 16 kHz"].iloc[:, :2]
    assert published.loc["alexnet + stability"].tolist() == [74.0, 64.4]
    assert published.loc["alexnet_gap"].tolist() == [73.2, 62.6]
    assert len(table) == 3 + 6 and table.loc["published: 8 kHz"].iloc[:, 2:].isna().all(axis=None)


def test_rates_against_the_noise(shown, capsys):
    _, runs = shown
    figure = noise_figure(runs)
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["10", "clean"]
    uar = 100 * runs["alexnet_gap, pink@10"].metrics["uar"]
    assert axes.lines[0].get_ydata()[0] == pytest.approx(uar)
    assert "AlexNet-GAP + stability" in words(figure) and "pink noise" in words(figure)
    assert_nothing_is_cut_off(figure)
    with pytest.raises(ValueError, match="no condition has hum noise"):
        noise_figure(runs, "hum")
    assert noise_figure(clean_runs(runs)) is None and "clean" in capsys.readouterr().out


@pytest.mark.parametrize("ser_model", ["alexnet_gap", "own"])
def test_what_the_network_sees_and_where_it_looks(shown, ser_model, monkeypatch):
    study, runs = shown
    if ser_model == "own":  # a network that cannot tell where it looks
        monkeypatch.delattr(AlexNetGap, "activation_map")
        monkeypatch.setattr(AlexNetGap, "forward", always_fear)
    figure = study.views_figure(SHORT)
    pictures = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(pictures) == (6 if ser_model == "alexnet_gap" else 3)
    scales = [axes.get_ylabel() for axes in figure.axes if axes not in pictures]
    assert scales == ["Scaled level", "Evidence (logit)"][: len(pictures) // 3]
    (speech,) = figure.axes[0].images
    padding = np.asarray(speech.get_array().filled(np.nan))
    empty = np.isnan(padding).all(axis=0)
    assert not empty[0] and (np.diff(empty.astype(int)) >= 0).all(), "white once speech has ended"
    text = words(figure)
    assert all(f"{label} taken for" in text for label in LABELS) and "Time (s)" in text
    assert len(figure.axes[0].images) == 1 and figure.axes[0].images[0].get_array().shape == (
        63,
        94,
    )
    assert_nothing_is_cut_off(figure)


def test_matrices_of_clean_runs(shown):
    study, runs = shown
    assert len(study.matrices_figure(clean_runs(runs), "clean").axes) == 3


def test_parameters_and_time_of_models_are_told(study, monkeypatch):
    monkeypatch.setattr("colab_utils.methods.alexnet.notebook.MODELS", ("alexnet_gap",))
    table = study.sizes(SHORT)
    parameters = sum(p.numel() for p in AlexNetGap(3).parameters())
    assert table.loc["alexnet_gap", "parameters"] == parameters
    assert table.loc["alexnet_gap", "seconds an epoch"] > 0
    assert table.loc["alexnet_gap", "segments"] > 0


def test_a_kept_network_labels_new_audio_alone_and_together(shown):
    study, runs = shown
    run = next(iter(runs.values()))
    model = kept.open_model(study.keep(run, "mine"))
    rng, waves = np.random.default_rng(0), {}
    for number in range(2):
        wave = rng.normal(0, 0.1, 20000 + 30000 * number)
        waves[f"{number}"] = wave.astype(np.float32)
    found = dict(zip(waves, model.features({16000: list(waves.values())}), strict=True))
    rows = pd.DataFrame({"utt_id": list(waves), "corpus": "", "speaker": ""})
    scores = model.scores(found, rows)
    assert model.labels == LABELS and np.allclose(scores.sum(axis=1), 1)
    alone = model.scores(found, rows[1:])
    assert np.allclose(alone, scores[1:], atol=1e-5)
    assert torch.equal(model.predictor.limits.low, trained(study, SHORT).limits.low)
    assert largest_difference(study, run) < 1e-6


def test_the_panel_trains_and_tests_the_chosen_fold(tmp_path):
    study = toy_study(tmp_path, corpus(4, 1), folds=2)
    made_panel = panel(study, SHORT)
    made_panel.set(fold="1", mixup=True, normalisation="speaker")
    runs = made_panel.run_once()
    assert list(runs) == ["alexnet_gap, clean", "alexnet_gap, pink@10"]
    for run in runs.values():
        assert set(run.predictions["fold"]) == {"1"} and run.config["changed"]["mixup"] is True
        assert run.config["settings"]["normalisation"] == "speaker"


def test_a_setting_that_cannot_work_is_refused_by_the_panel(study):
    with pytest.raises(SettingError, match="both even out"):
        panel(study, SMALL).set(oversampling=True)
