"""Rates of groups: the figure shows the numbers of the table, and says what there is not."""

import dataclasses

import matplotlib
import numpy as np
import pandas as pd
import pytest
from drawn import assert_nothing_is_cut_off, words
from toy_predictions import LABELS, predictions

from colab_utils import session
from colab_utils.corpora import ManifestError
from colab_utils.display import by_group, style
from colab_utils.results.comparison import compare_groups
from colab_utils.results.runs import open_run


@dataclasses.dataclass(frozen=True)
class Config:
    C: float = 0.5


@pytest.fixture
def run_of(tmp_path, monkeypatch):
    """A finished run of a corpus."""
    monkeypatch.setattr(session, "environment", dict)

    def made(corpus="emodb", **columns):
        data = predictions(**columns)
        data["corpus"], data["utt_id"] = corpus, corpus + "/" + data["utt_id"].str.split("/").str[1]
        split = data[["seed", "fold", "draw", "task", "utt_id", "speaker"]].assign(role="test")
        run = open_run(tmp_path, "logistic", corpus, Config(), {"labels": LABELS}, split)
        run.finish(data, LABELS, speaker_independence="independent")
        run.mark_done()
        return run

    return made


@pytest.fixture
def shown(monkeypatch):
    """The figures that are displayed."""
    figures = []
    monkeypatch.setattr(by_group, "display", figures.append)
    return figures


def manifest_of(*runs):
    """Speakers 00 to 04 are women, 05 to 09 men, of the others nothing is known."""
    rows = pd.concat([run.predictions for run in runs]).drop_duplicates("utt_id")
    number = rows["speaker"].astype(int)
    gender = np.select([number < 5, number < 10], ["female", "male"], "")
    facts = {
        "gender": gender,
        "style": "scripted",
        "accent": rows["speaker"],
        "valence": number % 2,
    }
    return rows[["utt_id", "corpus", "speaker"]].assign(emotion=rows["true"], **facts)


def bars(axes):
    """The two ends of each bar, float (rows, 2) from the first row down; NaN: no bar."""
    (found,) = [one for one in axes.collections if len(one.get_segments()) > 1]
    ends = [one[:, 0] if len(one) else [np.nan, np.nan] for one in found.get_segments()]
    return np.array(ends)


def test_what_is_drawn_and_told_is_the_table(run_of, shown, capsys):
    run = run_of(n_speakers=12, draws=2, n=480)
    manifest = manifest_of(run)
    by_group.show_groups(run, "gender", manifest)
    assert capsys.readouterr().out == "other columns for GROUP_BY: accent\n"
    (figure,) = shown
    gender = manifest.set_index("utt_id")["gender"]
    table = compare_groups(run.predictions, LABELS, gender, run.split)
    assert list(table["group"]) == ["female", "male", "not known"]
    for axes, name in zip(figure.axes, ("uar", "difference"), strict=True):
        drawn = [one for one in axes.lines if one.get_marker() == "o"]
        np.testing.assert_allclose(drawn[0].get_xdata(), 100 * table[name])
        ends = 100 * table[[f"{name}_low", f"{name}_high"]].to_numpy()
        np.testing.assert_allclose(bars(axes), ends)
    assert np.isnan(bars(figure.axes[0])).sum(axis=1).tolist() == [0, 0, 2]
    rates = [f"{100 * rate:.1f}" for rate in table["uar"]]
    apart = [f"{100 * rate:+.1f}" for rate in table["difference"]]
    for text in (words(figure).replace("\u2212", "-"), figure.alt):
        assert all(rate in text for rate in [*rates, *apart])
        assert text.count("(no interval)") == 2
    assert "female\n5 speakers\n" in figure.axes[0].get_yticklabels()[0].get_text()
    assert figure.name == "UAR by gender, EmoDB, logistic"
    for told in (
        "Not known: 2 speakers: no interval, which needs 4 or more.",
        "says nothing about people at large.",
        "Over 2 draws.",
    ):
        assert told in figure.caption
    assert "other corpora" not in figure.caption
    assert_nothing_is_cut_off(figure)
    texts = figure.findobj(matplotlib.text.Text)
    sizes = [text.get_fontsize() for text in texts if text.get_text() and text.get_visible()]
    assert min(sizes) >= 6 and figure.get_figwidth() == style.ONE_COLUMN


def test_runs_on_several_corpora_are_pooled_and_it_is_said_that_groups_are_of_others(
    run_of, shown, capsys
):
    runs = {"EmoDB": run_of(n_speakers=5), "EMOVO": run_of("emovo", n_speakers=10, seed=1)}
    by_group.show_groups(runs, "gender", manifest_of(*runs.values()), "pooled")
    (figure,) = shown
    both = pd.concat([run.predictions for run in runs.values()])
    women = both[both["speaker"].astype(int) < 5]
    recalls = (women["true"] == women["pred"]).groupby(women["true"]).mean()
    drawn = next(one for one in figure.axes[0].lines if one.get_marker() == "o")
    assert drawn.get_xdata()[0] == pytest.approx(100 * recalls.mean())
    assert "female EmoDB + EMOVO; male EMOVO." in figure.caption
    assert "10 speakers\n" in figure.axes[0].get_yticklabels()[0].get_text()
    assert capsys.readouterr().out == "other columns for GROUP_BY: corpus, accent\n"
    run = runs["EMOVO"]
    for of_same in ({"one": run}, {"one": run, "two": run}):  # two sources, one target
        by_group.show_groups(of_same, "gender", manifest_of(run))
    assert shown[1].axes[0].lines[1].get_xdata() == pytest.approx(
        shown[2].axes[0].lines[1].get_xdata()
    )


def test_where_there_is_nothing_to_compare_a_sentence_says_so(run_of, shown, capsys):
    run = run_of(n_speakers=20)
    for by, why in (
        ("style", "all are of one group (scripted)"),
        ("accent", "more than 16 groups cannot be read"),
    ):
        by_group.show_groups(run, by, manifest_of(run))
        said = f"no figure by {by}: {why}; other columns for GROUP_BY: gender\n"
        assert capsys.readouterr().out == said
    few = run_of("emovo", n_speakers=12)
    for by in ("gendr", "emotion", "valence", ""):
        with pytest.raises(ManifestError, match=f"no column '{by}' to group by; .*: gender, acc"):
            by_group.show_groups(few, by, manifest_of(few))
    assert not shown


def test_without_a_manifest_names_say_what_is_known(run_of, shown, capsys):
    by_group.show_groups(run_of("mine"), "gender")
    assert "all are of one group (not known)" in capsys.readouterr().out
    nobody = run_of("own", speaker="")
    half = nobody.predictions["utt_id"].str[-1].isin(list("01234")).map({True: "a", False: "b"})
    by_group.show_groups(nobody, "accent", nobody.predictions.assign(accent=half))
    ticks = [tick.get_text() for tick in shown.pop().axes[0].get_yticklabels()]
    assert ticks == [f"{name}\nspeakers unknown\n60 utt." for name in "ab"]
    data = run_of("synthetic-phone", n_speakers=8)
    names = data.predictions["speaker"].map(
        lambda one: f"synthetic-phone/{'fm'[int(one) % 2]}{one}"
    )
    renamed = data.predictions.assign(utt_id=names + "-anger-" + data.predictions.index.astype(str))
    renamed.to_csv(data.path / "predictions.csv", index=False)
    by_group.show_groups(data, "gender")
    ticks = [tick.get_text() for tick in shown[0].axes[0].get_yticklabels()]
    assert [tick.partition("\n")[0] for tick in ticks] == ["female", "male"]
    assert shown[0].caption.endswith("Synthetic corpus: not a result on speech.")


def test_a_group_without_an_emotion_in_common_has_no_point_and_says_none():
    data = predictions(n_speakers=12)
    groups = (data["true"] == "anger").map({True: "angry", False: "calm"})
    table = compare_groups(data, LABELS, groups.set_axis(data["utt_id"]))
    figure = by_group.groups_figure(table, "mood", 0.25)
    assert "angry none, less all others none; calm none" in figure.alt
    assert (
        "Without anger, happiness, neutral, sadness, which it or all others lack." in figure.caption
    )
