"""The confusion matrix: cells against naive counts, what title and stamps say, nothing overlaps."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from drawn import assert_nothing_is_cut_off, assert_saved_exactly, words
from sklearn.metrics import confusion_matrix, recall_score
from toy_predictions import LABELS, predictions

from colab_utils import files
from colab_utils.display import captions, figures, speakers, style
from colab_utils.results.metrics import summarise
from colab_utils.results.predictions import write_predictions
from colab_utils.results.runs import Run

TEN = [
    "anger",
    "happiness",
    "sadness",
    "frustration",
    "disgust",
    "disappointment",
    "surprise",
    "calm",
    "boredom",
    "contempt",
]


def cells(figure):
    """(upper, lower) texts of a matrix, in reading order."""
    texts = [text.get_text().replace("\xa0", " ") for text in figure.axes[0].texts]
    return texts[: len(texts) // 2], texts[len(texts) // 2 :]


def test_cells_hold_counts_and_per_cent():
    data = predictions()
    percents, counts = [], []
    for true in LABELS:
        rows = [p for t, p in zip(data["true"], data["pred"], strict=True) if t == true]
        for pred in LABELS:
            count = sum(p == pred for p in rows)
            percents.append(f"{100 * count / len(rows):.0f} %")
            counts.append(str(count))
    figure = figures.confusion_matrix_figure(data, summarise(data, LABELS))
    assert cells(figure) == (percents, counts)


def test_title_and_axes_say_what_a_reader_needs():
    data = predictions()
    metrics = summarise(data, LABELS, speaker_independence="independent")
    figure = figures.confusion_matrix_figure(data, metrics, "EmoDB, logistic")
    title = figure.get_suptitle().replace("\n", " ").replace("\xa0", " ")
    uar = 100 * recall_score(data["true"], data["pred"], average="macro")
    wa = 100 * (data["true"] == data["pred"]).mean()
    low, high = (100 * limit for limit in metrics["uar_ci95"])
    assert title == (
        f"EmoDB, logistic UAR {uar:.1f} % (95 % interval over speakers {low:.1f} to {high:.1f})"
        f" WA {wa:.1f} %, chance 25.0 %, majority 25.0 % 120 utterances, 12 speakers"
    )
    few = predictions(n_speakers=2)
    figure_of_few = figures.confusion_matrix_figure(few, summarise(few, LABELS))
    right = (few["true"] == few["pred"]).sum()
    assert f"(no interval, {right} of 120 right)" in figure_of_few.get_suptitle()
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted emotion", "True emotion")
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == LABELS


@pytest.mark.parametrize(
    ("change", "independence", "stamps"),
    [
        ({}, "independent", []),
        ({"corpus": "synthetic-studio"}, "independent", ["Synthetic corpus"]),
        ({}, "overlap allowed", ["Speaker overlap allowed"]),
        ({}, "unknown", ["Speaker independence unknown"]),
        ({"rule": "speaker-normalised (transductive)"}, "independent", ["Transductive"]),
        (
            {"corpus": "synthetic-phone", "rule": "transductive"},
            "unknown",
            ["Synthetic corpus", "Speaker independence unknown", "Transductive"],
        ),
    ],
)
def test_stamps_stand_in_the_figures(change, independence, stamps):
    data = predictions(**change)
    metrics = summarise(data, LABELS, speaker_independence=independence)
    assert len(captions.stamps(data, metrics)) == len(stamps)
    for draw in (figures.confusion_matrix_figure, speakers.per_speaker_figure):
        text = words(draw(data, metrics))
        for stamp in ("Synthetic", "Speaker overlap", "Speaker independence", "Transductive"):
            assert (stamp in text) == any(told.startswith(stamp) for told in stamps), stamp


def test_a_transductive_note_is_said_once_as_a_stamp():
    data = predictions()
    note = "transductive: each speaker's own mean"
    about = {"speaker_independence": "independent", "notes": [note]}
    metrics = summarise(data, LABELS, **about)
    assert captions.stamps(data, metrics) == ["Transductive: each speaker's own mean."]
    assert words(figures.confusion_matrix_figure(data, metrics)).count("ransductive") == 1


def test_partly_synthetic_tables_are_stamped_too():
    mixed = pd.concat([predictions(), predictions(corpus="synthetic-room")])
    (stamp,) = captions.stamps(mixed, {"speaker_independence": "independent"})
    assert stamp.startswith("Partly synthetic")


def test_stamps_that_not_all_runs_have_name_theirs():
    metrics = {"speaker_independence": "unknown", "notes": []}
    two = predictions(rule="transductive: speaker-normalised")
    results = {"one": (predictions(), metrics), "two": (two, metrics)}
    shared, own = captions.stamps_of_all(results)
    assert shared.startswith("Speaker independence unknown")
    assert own.startswith("two: Transductive")


def test_pooled_counts_are_stated():
    data = predictions(seeds=(0, 1), draws=3)
    figure = figures.confusion_matrix_figure(data, summarise(data, LABELS))
    assert (
        "Counts are pooled over 2 seeds x 3 draws (720 predictions). UAR and WA are means over"
        " seeds and draws." in words(figure)
    )
    assert "120 utterances" in words(figure)
    assert sum(map(int, cells(figure)[1])) == 720


def test_an_emotion_without_utterances_is_not_zero_per_cent():
    data = predictions()
    metrics = summarise(data, [*LABELS, "disgust"])
    figure = figures.confusion_matrix_figure(data, metrics)
    assert cells(figure)[0][-5:] == ["n/a"] * 5
    assert "No true utterance of disgust" in words(figure)


def test_unusable_tables_are_refused():
    data = predictions()
    metrics = summarise(data, LABELS)
    with pytest.raises(ValueError, match="nothing to draw"):
        figures.confusion_matrix_figure(data.head(0), metrics)
    both = pd.concat([data, data.assign(rule="prototypes")])
    with pytest.raises(ValueError, match="logistic / inductive; logistic / prototypes"):
        figures.confusion_matrix_figure(both, metrics)


def smallest(figure):
    """The size of its smallest letters, in points."""
    found = figure.findobj(matplotlib.text.Text)
    return min(text.get_fontsize() for text in found if text.get_text() and text.get_visible())


def boxes(texts):
    return [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]


@pytest.mark.parametrize("n_labels", [2, 6, 8, 10])
def test_nothing_overlaps_or_is_cut_off(n_labels):
    labels = TEN[:n_labels]
    data = predictions(labels, n=20_000, corpus="synthetic-studio", rule="transductive")
    title = "A long title that tells corpus, method, front end and protocol of a run " * 2
    figure = figures.confusion_matrix_figure(data, summarise(data, labels), title)
    assert_nothing_is_cut_off(figure)
    axes = figure.axes[0]
    cell = axes.get_window_extent().width / n_labels
    assert max(box.width for box in boxes(axes.texts)) < 0.95 * cell
    half = n_labels**2
    assert len(axes.texts) == half * (1 + (n_labels <= 6)), "the counts go first"
    told = "per cent of the true emotion" + (", and count" if n_labels <= 6 else "; the counts")
    assert told in words(figure)
    for upper, lower in zip(boxes(axes.texts[:half]), boxes(axes.texts[half:]), strict=False):
        assert upper.y0 >= lower.y1
    names = axes.get_xticklabels()
    if names[0].get_rotation() == 0:
        for one, other in zip(boxes(names), boxes(names)[1:], strict=False):
            assert one.x1 < other.x0
    assert figure.get_figwidth() == style.ONE_COLUMN
    assert smallest(figure) >= 6
    (title,), (caption,) = boxes([figure._suptitle]), boxes([figure._supxlabel])
    stamps = [text for text in figure.texts if text.get_color() == style.WARN]
    (stamp,) = boxes(stamps)
    assert title.y0 >= axes.get_window_extent().y1
    assert stamp.y1 <= axes.get_tightbbox().y0 + 0.5 and caption.y1 <= stamp.y0 + 0.5


def test_sixty_emotions_fit_a_page_and_a_scale_of_shades_stands_for_their_numbers():
    labels = [f"feeling {number:02d}" for number in range(60)]
    data = predictions(labels, n=600)
    figure = figures.confusion_matrix_figure(data, summarise(data, labels))
    axes, scale = figure.axes
    assert not axes.texts and [t.get_text() for t in scale.get_yticklabels()] == ["0 %", "100 %"]
    assert figure.get_figwidth() == style.TWO_COLUMNS and figure.get_figheight() < 9.5
    figure.canvas.draw()
    rows = boxes(axes.get_yticklabels())
    assert len(rows) == 60 and smallest(figure) >= 6
    assert all(above.y0 >= below.y0 + 6 for above, below in zip(rows, rows[1:], strict=False))
    assert_nothing_is_cut_off(figure)


def test_a_matrix_in_words_has_its_recalls_and_what_was_taken_for_what():
    true, pred = list("aaaabb"), list("aaabbb")
    told = figures.in_words(pd.DataFrame({"true": true, "pred": pred}), ["a", "b", "c"])
    assert told == "Recognised: a 75 % (else mostly b, 25 %), b 100 %, c 0 %."


def test_what_most_runs_have_names_the_others():
    told = {"a": ["x."], "b": ["x.", "y."], "c": ["x."], "chance": ["y."]}
    assert captions.shared(told) == ["All but chance: x.", "b, chance: y."]
    assert captions.shared({"a": ["x."], "b": ["x."]}) == ["x."]


def test_names_are_written_as_people_write_them():
    assert captions.transfer("emodb+crema_d", "synthetic-phone") == "EmoDB + CREMA-D → phone"
    assert captions.task("phone+room-studio") == "phone + room → studio"
    assert captions.task("mine") == "mine" and captions.corpus("my-own") == "my-own"
    assert captions.run("source-+-support-5shot") == "source + support, 5-shot"
    assert captions.run("EMOFSL-head-5shot") == "EMOFSL, head, 5-shot"
    assert captions.run("alexnet_gap + stability") == "AlexNet-GAP + stability"
    assert captions.run("alexnet-clean") == "AlexNet-clean"
    data = predictions(corpus="emodb")
    figure = figures.confusion_matrix_figure(data, summarise(data, LABELS))
    assert figure.name == "confusion matrix, EmoDB, logistic"


def test_save_confusion_matrix_writes_raw_counts(tmp_path):
    folder = tmp_path / "runs" / "logistic" / "emodb-egemaps-0123456789ab"
    data = predictions(draws=2)
    write_predictions(data, folder / "predictions.csv")
    files.write_json(folder / "metrics.json", summarise(data, LABELS))
    saved = figures.save_confusion_matrix(Run(folder, {}, pd.DataFrame()))
    kinds = [path.name.removeprefix("confusion_matrix.") for path in saved]
    assert kinds == ["png", "pdf", "svg", "txt", "csv"]
    table = pd.read_csv(folder / "confusion_matrix.csv", index_col="true")
    assert list(table.index) == list(table.columns) == LABELS
    np.testing.assert_array_equal(
        table, confusion_matrix(data["true"], data["pred"], labels=LABELS)
    )


def test_it_is_saved_exactly_and_leaves_no_trace_in_pyplot(tmp_path):
    data = predictions()
    metrics = summarise(data, LABELS)
    assert_saved_exactly(lambda: figures.confusion_matrix_figure(data, metrics), tmp_path)
