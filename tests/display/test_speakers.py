"""Figures about speakers: every speaker is there, and what is drawn equals what was counted."""

import collections

import numpy as np
import pandas as pd
import pytest
from drawn import assert_nothing_is_cut_off, assert_saved_exactly, line, words
from sklearn.metrics import recall_score
from toy_predictions import LABELS, predictions

from colab_utils.display import captions, speakers, style
from colab_utils.results.metrics import summarise
from colab_utils.results.support import SUPPORT_COLUMNS


def test_speaker_recall_is_the_macro_recall_of_each_speaker_and_draw():
    data = predictions(draws=2, n_speakers=5)
    table = speakers.speaker_recall(data, LABELS)
    assert len(table) == 10
    for speaker, part in data.groupby("speaker"):
        expected = []
        for _, one in part.groupby("draw"):
            labels = sorted(set(one["true"]))
            expected.append(recall_score(one["true"], one["pred"], average="macro", labels=labels))
        found = table[table["speaker"] == f"emodb/{speaker}"]
        assert found["uar"].tolist() == pytest.approx(expected)
        assert set(found["n"]) == {part["utt_id"].nunique()}
    means = table.groupby("speaker", sort=False)["uar"].mean()
    assert means.is_monotonic_increasing


@pytest.mark.parametrize(("n_speakers", "draws"), [(4, 3), (90, 1)])
def test_per_speaker_figure_shows_every_speaker(n_speakers, draws):
    data = predictions(n=360, n_speakers=n_speakers, draws=draws)
    figure = speakers.per_speaker_figure(data, summarise(data, LABELS), title="EmoDB")
    axes = figure.axes[0]
    groups = speakers.speaker_recall(data, LABELS).groupby("speaker", sort=False)["uar"]
    points = next(one for one in axes.lines if one.get_marker() == "o")
    assert points.get_xdata() == pytest.approx(100 * groups.mean().to_numpy())
    bars = [one for one in axes.lines if len(set(one.get_ydata())) == 1 and one is not points]
    for bar, (_, values) in zip(bars, groups, strict=False):
        ends = 100 * np.array([values.min(), values.max()])
        np.testing.assert_allclose(bar.get_xdata(), ends if draws > 1 else np.nan)
    names = [text.get_text() for text in axes.get_yticklabels()]
    if n_speakers == 4:
        assert sorted(names) == [f"{i:02d} (n = 90)" for i in range(4)]
        assert points.get_ydata().tolist() == [0, 1, 2, 3]
        assert axes.get_ylim()[0] < axes.get_ylim()[1], "the best on top"
    else:
        assert names == []
    assert "chance: 25.0 %" in words(figure) and "EmoDB" in words(figure)
    assert_nothing_is_cut_off(figure)


def test_the_figure_over_test_speakers_says_how_often_they_were_tested():
    tables = [predictions(n=60, n_speakers=3, task=task, seed=task) for task in range(20)]
    data = pd.concat(tables, ignore_index=True)
    about = {"chance": 1 / 3, "speaker_independence": "independent"}
    metrics = summarise(data, LABELS, **about)
    said = words(speakers.per_speaker_figure(data, metrics))
    assert "Point: over 20 tasks, pooled." in said
    assert "chance: 33.3 %" in said and "chance 33.3" in captions.rates(metrics)
    several = predictions(draws=2)
    said = words(speakers.per_speaker_figure(several, summarise(several, LABELS)))
    assert "Point: over 2 draws; bar: lowest to highest seed and draw." in said


def make_manifest(n_speakers, corpora=("emodb",), n=200):
    rng = np.random.default_rng(1)
    corpus = [corpora[i % len(corpora)] for i in range(n)]
    speaker = [i % n_speakers for i in range(n)]
    return pd.DataFrame(
        {
            "utt_id": [f"{name}/u{i}" for i, name in enumerate(corpus)],
            "corpus": corpus,
            "speaker": [f"{s:03d}" for s in speaker],
            "gender": ["male" if s % 2 else "female" for s in speaker],
            "emotion": rng.choice(LABELS, n),
        }
    )


@pytest.mark.parametrize(
    ("n_speakers", "corpora"),
    [(6, ("emodb",)), (100, ("emodb",)), (6, ("emodb", "savee", "emovo"))],
)
def test_speakers_by_emotion_counts_every_utterance_once(n_speakers, corpora):
    manifest = make_manifest(n_speakers, corpora, n=300)
    keys = manifest["corpus"] + "/" + manifest["speaker"]
    naive = collections.Counter(zip(keys, manifest["emotion"], strict=True))
    table = speakers.speaker_emotion_table(manifest)
    for speaker in table.index:
        for emotion in table.columns:
            assert table.loc[speaker, emotion] == naive[speaker, emotion]
    figure = speakers.speakers_by_emotion(manifest, "My corpora")
    axes = figure.axes[0]
    assert sum(int(text.get_text()) for text in axes.texts) == 300
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert len(names) == min(len(table), speakers.MANY)
    if n_speakers == 100:
        assert names[-1] == "61 others"
        rest = axes.collections[0].get_array()[-1]
        assert rest.max() == 0, "a sum is not shaded"
    else:
        assert names[0] == ("000 (f)" if len(corpora) == 1 else "EmoDB 000 (f)")
    assert "My corpora 300 utterances" in words(figure)
    assert_nothing_is_cut_off(figure)


def test_speakers_that_are_not_known_are_one_row():
    manifest = make_manifest(3).assign(speaker="", gender="")
    axes = speakers.speakers_by_emotion(manifest).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["unknown"]


def support_table(n=6):
    rng = np.random.default_rng(0)
    rate = rng.uniform(0.4, 0.6, (n, 2))
    table = pd.DataFrame(
        {
            "speaker": [f"x/{i:02d}" for i in range(n)],
            "tasks_with": range(90, 90 + n),
            "tasks_without": 200,
            "accuracy_with": rate[:, 0],
            "with_low": rate[:, 0] - 0.02,
            "with_high": rate[:, 0] + 0.03,
            "accuracy_without": rate[:, 1],
            "without_low": rate[:, 1] - 0.01,
            "without_high": rate[:, 1] + 0.02,
            "difference": rate[:, 0] - rate[:, 1],
        }
    )
    table = table.sort_values("difference", ascending=False, ignore_index=True)
    table = table.assign(low=table["difference"] - 0.03, high=table["difference"] + 0.03)
    return table[list(SUPPORT_COLUMNS)]


def test_support_figure_shows_the_numbers_of_its_table():
    table = support_table()
    stamp = "Synthetic corpus: not a result on speech."
    figure = speakers.support_speakers_figure(table, "MAML on EMOVO", marks=[stamp])
    left, right = figure.axes
    for number, name in enumerate(("with", "without")):
        points = line(left, f"{name} the speaker")
        np.testing.assert_allclose(points.get_xdata(), 100 * table[f"accuracy_{name}"])
        ends = [bar[:, 0] for bar in left.collections[number].get_segments()]
        np.testing.assert_allclose(ends, 100 * table[[f"{name}_low", f"{name}_high"]])
    points = next(one for one in right.lines if one.get_marker() == "o")
    places = np.stack([100 * table["difference"], np.arange(6)[::-1]], axis=1)
    np.testing.assert_allclose(points.get_xydata(), places)
    ends = [bar[:, 0] for bar in right.collections[0].get_segments()]
    np.testing.assert_allclose(ends, 100 * table[["low", "high"]])
    names = [text.get_text() for text in left.get_yticklabels()]
    assert names == [f"{row.speaker[2:]} ({row.tasks_with})" for row in table.itertuples()]
    said = words(figure)
    assert "95 % interval over tasks: this corpus, these speakers" in said
    assert "own queries are left out" in said and stamp in said and "MAML on EMOVO" in said
    assert left.get_xlabel() == "Task accuracy (%)"
    assert right.get_xlabel() == "With minus without (points)"
    assert figure.get_figwidth() == style.WIDE_COLUMN
    assert_nothing_is_cut_off(figure)


def test_a_very_long_bar_does_not_squeeze_the_others():
    table = support_table()
    table.loc[2, ["low", "high"]] = -0.9, 0.9
    figure = speakers.support_speakers_figure(table)
    low, high = figure.axes[1].get_xlim()
    assert -50 < low < 100 * table["difference"].min() and 100 * table["difference"].max() < high
    assert "Bars that go to the frame are longer." in words(figure)
    table = support_table()
    table.loc[2, ["with_low", "with_high"]] = 0.0, 1.0
    figure = speakers.support_speakers_figure(table)
    low, high = figure.axes[0].get_xlim()
    rates = 100 * table[["accuracy_with", "accuracy_without"]].to_numpy()
    assert low < rates.min() and rates.max() < high and high - low < 60
    assert words(figure).count("Bars that go to the frame are longer.") == 1
    assert "longer" not in words(speakers.support_speakers_figure(support_table()))


def test_a_speaker_who_is_always_in_the_support_is_named_and_no_number_is_made_up():
    table = support_table()
    name = table["speaker"].iloc[1][2:]
    empty = ["difference", "low", "high", "accuracy_without", "without_low", "without_high"]
    table.loc[table.index[1], empty] = np.nan
    figure = speakers.support_speakers_figure(table)
    assert f"Always in the support, so without a difference: {name}." in words(figure)
    assert "nan" not in figure.alt and figure.alt.count(";") == len(table) - 2


def test_support_figure_of_many_speakers_keeps_the_extremes():
    table = support_table(speakers.MANY + 25)
    empty = ["difference", "low", "high", "accuracy_without", "without_low", "without_high"]
    table.loc[table.index[-1], empty] = np.nan
    figure = speakers.support_speakers_figure(table)
    shown = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(shown) == speakers.MANY
    told = f"Of {speakers.MANY + 25} speakers the 20 with the greatest gain"
    assert told in words(figure)
    kept = [*table["speaker"].head(20), *table["speaker"].iloc[-21:-1]]
    assert [name.split(" ")[0] for name in shown] == [name[2:] for name in kept]
    with pytest.raises(ValueError, match="no support speakers: there is nothing to draw"):
        speakers.support_speakers_figure(table.head(0))


def test_figures_are_saved_exactly_and_leave_no_trace_in_pyplot(tmp_path):
    data = predictions(draws=2)
    metrics = summarise(data, LABELS)
    assert_saved_exactly(lambda: speakers.per_speaker_figure(data, metrics), tmp_path)
    assert_saved_exactly(lambda: speakers.support_speakers_figure(support_table()), tmp_path)
