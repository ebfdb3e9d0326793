"""Several confusion matrices side by side: their counts, one scale of shades, and what is told."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from drawn import assert_nothing_is_cut_off, words
from toy_predictions import LABELS, predictions

from colab_utils.display import matrices, style
from colab_utils.results.metrics import summarise
from colab_utils.results.rates import confusion


def test_matrices_side_by_side_hold_their_counts_and_one_scale_of_shades():
    given = {}
    for name, right in (("BTL", 0.2), ("FSTL", 0.5), ("EMOFSL", 0.9)):
        data = predictions(n_speakers=6, draws=4, right=right)
        given[name] = data, summarise(data, LABELS, speaker_independence="independent")
    figure = matrices.confusion_matrices_figure(given, "EmoDB to RAVDESS, 5-shot")
    for axes, (name, (data, metrics)) in zip(figure.axes, given.items(), strict=True):
        counts = confusion(data["true"], data["pred"], LABELS)
        share = counts / counts.sum(axis=1, keepdims=True)
        texts = [text.get_text() for text in axes.texts]
        assert texts[:16] == [f"{100 * cell:.0f}" for cell in share.ravel()]
        assert texts[16:] == [str(count) for count in counts.ravel()]
        colours = matplotlib.colormaps[style.HEAT](0.62 * share.ravel())
        np.testing.assert_allclose(axes.collections[0].get_facecolors(), colours, atol=0.01)
        low, high = metrics["uar_ci95"]
        above = axes.get_title().replace("\n", " ").replace("\xa0", " ")
        assert above == (
            f"{name} UAR {100 * metrics['uar']:.1f} % ({100 * low:.1f} to {100 * high:.1f}) n ="
            " 120 utterances, 6 speakers"
        )
        assert axes.get_xlabel() == "Predicted emotion"
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == LABELS
    assert [axes.get_ylabel() for axes in figure.axes] == ["True emotion", "", ""]
    said = words(figure)
    assert "Counts are pooled over 4 draws; UAR is the mean over seeds and draws." in said
    assert "95 % interval over speakers" in said
    assert said.count("Support speakers unknown: the interval leaves speakers out") == 1
    assert figure.get_figwidth() == style.TWO_COLUMNS
    assert_nothing_is_cut_off(figure)


def test_matrices_of_many_emotions_fit_and_stamps_stand_below():
    labels = ["anger", "boredom", "contempt", "disgust", "fear", "frustration", "happiness"]
    data = predictions(labels, corpus="synthetic-a")
    result = data, summarise(data, labels)
    figure = matrices.confusion_matrices_figure({f"method {i}": result for i in range(4)})
    figure.canvas.draw()
    for axes in figure.axes:
        cell = axes.get_window_extent().width / len(labels)
        assert all(text.get_window_extent().width < cell for text in axes.texts)
    assert "Synthetic corpus: not a result on speech." in words(figure)
    assert_nothing_is_cut_off(figure)


def test_where_there_is_no_interval_counts_stand():
    data = predictions(n_speakers=3)
    figure = matrices.confusion_matrices_figure({"one": (data, summarise(data, LABELS))})
    right = (data["true"] == data["pred"]).sum()
    above = figure.axes[0].get_title().replace("\n", " ").replace("\xa0", " ")
    assert f"(no interval, {right} of 120 right)" in above
    assert "In brackets" not in words(figure) and "3 test speakers: no interval" in words(figure)


def test_notes_of_one_run_name_it():
    data = predictions()
    given = {
        "one": (data, summarise(data, LABELS)),
        "two": (data, summarise(data, LABELS, notes=["as given"])),
    }
    said = words(matrices.confusion_matrices_figure(given))
    assert "two: As given." in said


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({}, "0 confusion matrices: pass 1 to 12"),
        (dict.fromkeys(range(13), (predictions(), None)), "13 confusion matrices"),
        ({"BTL": (predictions().head(0), None)}, "BTL has no predictions"),
        (
            {"x": (pd.concat([predictions(), predictions(method="m")]), None)},
            "x holds several methods or rules",
        ),
    ],
)
def test_matrices_without_predictions_are_refused(results, message):
    with pytest.raises(ValueError, match=message):
        matrices.confusion_matrices_figure(results)
