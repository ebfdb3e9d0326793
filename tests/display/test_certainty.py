"""Certainty: the figure shows the numbers of the run, the slider those of what is kept."""

import base64
import dataclasses
import re

import ipywidgets
import numpy as np
import pandas as pd
import pytest
from drawn import assert_nothing_is_cut_off, line, words
from scipy import special
from sklearn.metrics import recall_score
from toy_predictions import LABELS, table

from colab_utils import session
from colab_utils.display import certainty, style
from colab_utils.results import calibration
from colab_utils.results.metrics import summarise
from colab_utils.results.runs import metrics_table, open_run
from colab_utils.results.tables import methods_table, readable


@dataclasses.dataclass(frozen=True)
class Config:
    C: float = 0.5


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Nobody asks here what a run was made with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "environment", dict)
        yield


def make_run(folder, name, seed, draws=1, labels=LABELS, **columns):
    """A finished run: 160 utterances of 8 speakers, scores that are too sure; of several draws two
    speakers support each, and are not tested in it.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for draw in range(draws):
        true = np.repeat(np.array(labels, dtype=object), 160 // len(labels))
        logits = rng.normal(0, 1, (160, len(labels)))
        logits[np.arange(160), np.repeat(np.arange(len(labels)), 160 // len(labels))] += 1
        scores = special.softmax(3 * logits, axis=1)
        pred = np.array(labels, dtype=object)[scores.argmax(axis=1)]
        speaker = [f"{i % 8}" for i in range(160)]
        task = np.arange(160) // 8 % draws
        part = table(true, pred, draw=draw, task=task, speaker=speaker, **columns)
        parts.append(part.assign(**{f"p_{one}": scores[:, k] for k, one in enumerate(labels)}))
    data = pd.concat(parts, ignore_index=True)
    split = data[["seed", "fold", "draw", "task", "utt_id", "speaker"]].assign(role="test")
    split["speaker"] = data["corpus"] + "/" + split["speaker"]
    supports = (draws > 1) & (data["speaker"].astype(int) // 2 == data["draw"])
    split.loc[supports, "role"] = "support"
    data = data[~supports]
    run = open_run(folder, "logistic", name, Config(), {"labels": labels}, split)
    run.finish(data, labels, speaker_independence="independent", notes=["as given"])
    run.mark_done()
    return run


def without_scores(folder):
    run = make_run(folder, "plain", 0)
    data = run.predictions.drop(columns=[f"p_{one}" for one in LABELS])
    run.finish(data, LABELS, speaker_independence="independent")
    run.mark_done()
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {"one": make_run(folder, "one", 0), "two": make_run(folder, "two", 1, draws=3)}


def test_the_figure_holds_the_bins_the_error_and_the_uar_of_what_is_kept(runs):
    run = runs["two"]
    data, metrics = run.predictions, run.metrics
    figure = certainty.certainty_figure(run, "EmoDB")
    left, right = figure.axes
    assert left.get_title() == f"ECE {100 * metrics['ece']:.1f}\xa0%"
    drawn = left.lines[-1]
    bins = calibration.reliability(data)
    assert len(bins) == 3 * 15
    means = [bins[bins["bin"] == place].mean() for place in range(15)]
    np.testing.assert_allclose(drawn.get_xdata(), [100 * one["confidence"] for one in means])
    np.testing.assert_allclose(drawn.get_ydata(), [100 * one["accuracy"] for one in means])
    kept = line(right, "least certain left out first")
    expected = calibration.uar_by_share(data, LABELS, calibration.certainty(data))
    np.testing.assert_allclose(kept.get_ydata(), 100 * expected)
    assert kept.get_xdata()[-1] == 100 and kept.get_ydata()[-1] == pytest.approx(
        100 * metrics["uar"]
    )
    first = line(right, "errors left out first")
    assert first.get_ydata()[20] == 100 and first.get_ydata()[-1] == kept.get_ydata()[-1]
    assert set(line(right, "left out at random").get_ydata()) == {100 * metrics["uar"]}
    told = words(figure)
    luck = 100 * calibration.error_by_luck(bins)
    assert (
        "EmoDB" in told
        and f"give {luck:.1f} % by luck" in told
        and "Over 3 draws x 3 tasks" in told
    )
    assert_nothing_is_cut_off(figure)


def test_several_runs_stand_side_by_side_in_one_colour_the_others_grey(runs):
    figure = certainty.certainty_figure(runs)
    panels = np.array(figure.axes).reshape(2, len(runs)).T
    for place, (name, run) in enumerate(runs.items()):
        reliable, kept = panels[place]
        assert reliable.get_title() == f"{name}\nECE {100 * run.metrics['ece']:.1f}\xa0%"
        data = run.predictions
        expected = calibration.uar_by_share(data, LABELS, calibration.certainty(data))
        (own,) = [one for one in kept.lines if one.get_color() == style.ACCENT]
        np.testing.assert_allclose(own.get_ydata(), 100 * expected)
        bins = calibration.reliability(data).groupby("bin")["accuracy"].mean()
        (own,) = [one for one in reliable.lines if one.get_color() == style.ACCENT]
        np.testing.assert_allclose(own.get_ydata(), 100 * bins)
        assert len(kept.lines) == len(runs) and kept.get_legend() is None
    assert "Chance, 25.0 %, is below the axis." in words(figure)
    long = {f"{name}-{'of a long name ' * 4}": run for name, run in runs.items()}
    assert_nothing_is_cut_off(certainty.certainty_figure(long, "a title " * 15))


def test_stamps_stand_in_the_figure(tmp_path):
    run = make_run(tmp_path, "studio", 2, corpus="synthetic-studio", rule="transductive")
    told = words(certainty.certainty_figure(run))
    assert "Synthetic corpus" in told and "Transductive" in told


def test_what_cannot_be_drawn_is_named(runs, tmp_path):
    with pytest.raises(ValueError, match="7 runs: 1 to 6 have room"):
        certainty.certainty_figure({str(number): runs["one"] for number in range(7)})
    with pytest.raises(ValueError, match="0 runs"):
        certainty.certainty_figure({})
    with pytest.raises(ValueError, match="plain has no scores: columns p_<emotion>"):
        certainty.certainty_figure(runs | {"plain": without_scores(tmp_path)})


def parts_of(widget):
    """(drop-down or None, slider, page) of the widget."""
    *controls, page = widget.children
    return (None, *controls, page) if len(controls) == 1 else (*controls, page)


def test_the_slider_starts_with_everything_and_makes_all_numbers_anew(runs):
    run = runs["one"]
    data, metrics = run.predictions, run.metrics
    choice, slider, page = parts_of(certainty.leave_out(run))
    assert choice is None and isinstance(slider, ipywidgets.IntSlider) and slider.value == 0
    low, high = (100 * limit for limit in metrics["uar_ci95"])
    start = page.value
    assert (
        f"160 of 160 utterances are kept: UAR {100 * metrics['uar']:.1f}\xa0% (95\xa0% interval"
        f" over speakers {low:.1f} to {high:.1f})." in start
    )
    assert "Left out" not in start and start.count("<img") == 1
    slider.value = 25
    sure = data[[f"p_{one}" for one in LABELS]].max(axis=1)
    kept = data.loc[sure.nlargest(120).index]
    rate = recall_score(kept["true"], kept["pred"], average="macro")
    assert f"120 of 160 utterances are kept: UAR {100 * rate:.1f}" in page.value
    gone = data.drop(kept.index)["true"].value_counts()
    for emotion, number in gone.items():
        assert f"{number} of 40 {emotion}" in page.value
    pictures = [re.search(r"base64,([^\"]+)", one).group(1) for one in (start, page.value)]
    assert len(set(pictures)) == 2
    assert base64.b64decode(pictures[1]).startswith(b"\x89PNG")
    slider.value = 0
    assert page.value == start
    names = list(session.shown)
    assert names[-2:] == [
        "confusion matrix, EmoDB, logistic",
        "confusion matrix without the least certain, EmoDB, logistic",
    ]


def test_the_interval_of_what_is_kept_is_that_of_its_predictions_alone(runs, monkeypatch):
    drawn = []

    def remember(predictions, metrics, title=""):
        drawn.append((len(predictions), metrics, title))
        return style.SuiteFigure(figsize=(0.1, 0.1))

    monkeypatch.setattr(certainty, "confusion_matrix_figure", remember)
    run = runs["two"]
    page = certainty.kept_html(run, 40, "two")
    ((number, metrics, title),) = drawn
    data = run.predictions
    kept = data[calibration.surest(data, 40)]
    about = {"speaker_independence": "independent", "notes": ["as given"]}
    assert metrics == summarise(kept, LABELS, split=run.split, **about)
    assert "support speakers unknown" in str(summarise(kept, LABELS, **about)["notes"])
    assert metrics["notes"] == ["as given"]
    assert number == 216 and title == "EmoDB, two: the least certain 40 % left out"
    assert "216 of 360 predictions are kept" in page
    certainty.kept_html(run, 0)
    assert drawn[1][1] == run.metrics and drawn[1][2] == "EmoDB, logistic"


def test_a_drop_down_chooses_the_run(runs):
    choice, slider, page = parts_of(certainty.leave_out(runs))
    slider.value = 10
    of_one = page.value
    choice.value = "two"
    assert "144 of 160 utterances" in of_one and "324 of 360 predictions" in page.value


def test_notebooks_show_the_figure_and_the_slider_and_are_told_of_runs_without_scores(
    runs, tmp_path, monkeypatch, capsys
):
    shown = []
    monkeypatch.setattr(certainty, "display", shown.append)
    plain = without_scores(tmp_path)
    widget = certainty.show_certainty({"plain": plain, **runs})
    assert "plain has no scores" in capsys.readouterr().out
    assert len(shown) == 1 and isinstance(shown[0], style.SuiteFigure)
    assert [name for name, _ in parts_of(widget)[0].options] == ["one", "two"]
    many = {str(number): runs["one"] for number in range(8)}
    monkeypatch.setattr(certainty, "certainty_figure", lambda runs, title: len(runs))
    certainty.show_certainty(many)
    told = capsys.readouterr().out
    assert shown[1] == 6 and "6 is not shown" in told and "7 is not shown" in told
    assert certainty.show_certainty(plain) is None and len(shown) == 2


def test_tags_in_labels_and_names_are_text(tmp_path):
    tag = '<img src=x onerror="alert(1)">'
    run = make_run(tmp_path, "tags", 3, labels=["anger", tag])
    page = certainty.kept_html(run, 50, tag)
    assert page.count("<img") == 1 and "&lt;img" in page and 'onerror="' not in page


def test_tables_have_the_calibration_error_of_runs_with_scores(runs, tmp_path):
    shown = {"one": runs["one"], "plain": without_scores(tmp_path)}
    error = f"{100 * runs['one'].metrics['ece']:.1f}"
    assert metrics_table(shown)["ECE %"].tolist() == [error, ""]
    table = methods_table(shown, "one")
    assert readable(table)["ECE %"].tolist() == [error, ""] and table["ece"].dtype == float
