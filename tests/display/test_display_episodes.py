"""The picture of an episode: who stands where, in which colour, what can be played; and the figure
of support speakers.
"""

import re

import ipywidgets
import matplotlib
import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest
from browser import make_notebook

from colab_utils.display import captions, report, speakers, style
from colab_utils.methods.maml import figures
from colab_utils.results.metrics import summarise
from colab_utils.results.support import SUPPORT_COLUMNS

LABELS = ["anger", "fear", "joy & <bliss>"]


@pytest.fixture
def corpus(tmp_path, tone):
    """A manifest of 36 clips, 12 by each of three speakers, and a split with two tasks: 00 and 01
    support 02, and 02 supports 00.
    """
    manifest = pd.DataFrame(
        [
            {
                "utt_id": f"x/{i:02d}",
                "corpus": "x",
                "speaker": f"{i // 12:02d}",
                "emotion": LABELS[i % 3],
                "file": str(tone(tmp_path / f"{i:02d}.wav", seconds=0.1, hz=200 + 10 * i)),
            }
            for i in range(36)
        ]
    )
    rows = []
    for task, support, query in ((0, range(24), range(24, 36)), (1, range(24, 30), range(6))):
        for role, ids in (("support", support), ("query", query)):
            rows += [
                {
                    "seed": 0,
                    "fold": "0",
                    "draw": 0,
                    "task": task,
                    "utt_id": f"x/{i:02d}",
                    "speaker": f"x/{i // 12:02d}",
                    "role": role,
                }
                for i in ids
            ]
    train = [{**rows[0], "task": 0, "role": "train", "utt_id": "elsewhere"}]
    return manifest, pd.DataFrame(rows + train)


def cells(page):
    """{class: (support cell, query cell)} of the table."""
    found = {}
    for row in re.findall(r"<tr style.*?</tr>", page, re.S):
        found[re.search(r"<th[^>]*>(.*?)</th>", row).group(1)] = tuple(
            re.findall(r"<td.*?</td>", row, re.S)
        )
    return found


def test_rows_of_a_task_are_the_split_joined_with_the_manifest(corpus):
    manifest, split = corpus
    rows = figures.episode_rows(split, manifest.sample(frac=1, random_state=0), task=1)
    assert list(rows.columns) == list(figures.EPISODE_COLUMNS) and len(rows) == 12
    for row in rows.itertuples():
        clip = manifest.set_index("utt_id").loc[row.utt_id]
        assert (row.emotion, row.corpus, row.file) == (clip.emotion, clip.corpus, clip.file)
    assert list(rows["utt_id"]) == list(split.loc[split["task"] == 1, "utt_id"])
    with pytest.raises(ValueError, match="no task 7: the split holds tasks 0 to 1"):
        figures.episode_rows(split, manifest, task=7)
    with pytest.raises(ValueError, match="no task 0 of seed 3"):
        figures.episode_rows(split, manifest, seed=3)
    with pytest.raises(ValueError, match="no task 0: the split holds no episodes"):
        figures.episode_rows(split[split["role"] == "train"], manifest)
    both = pd.concat([split, split.assign(seed=4)])
    with pytest.raises(ValueError, match="task 0 is there for the seeds 0, 4: choose one"):
        figures.episode_rows(both, manifest)
    assert len(figures.episode_rows(both, manifest, seed=4)) == 36
    with pytest.raises(
        ValueError, match=r"x/35 \(and 0 more\) is in the split but not in the manifest"
    ):
        figures.episode_rows(split, manifest.iloc[:35])


def test_every_clip_stands_once_in_its_class_and_on_its_side(corpus):
    manifest, split = corpus
    rows = figures.episode_rows(split, manifest)
    found = cells(figures.episode_html(rows))
    assert list(found) == ["anger", "fear", "joy &amp; &lt;bliss&gt;"]
    for emotion, sides in zip(LABELS, found.values(), strict=True):
        for role, cell in zip(("support", "query"), sides, strict=True):
            wanted = rows[(rows["emotion"] == emotion) & (rows["role"] == role)]["utt_id"]
            assert re.findall(r'title="(x/\d\d)"', cell) == list(wanted)


def test_players_are_few_and_shared_out_over_the_classes(corpus):
    manifest, split = corpus
    many, few = (
        cells(figures.episode_html(figures.episode_rows(split, manifest, task))) for task in (0, 1)
    )
    assert [[cell.count("<audio") for cell in sides] for sides in many.values()] == [[4, 1]] * 3, (
        "24 support clips: 12 are played, 4 a class"
    )
    assert [[cell.count("<audio") for cell in sides] for sides in few.values()] == [[2, 1]] * 3, (
        "6 support clips: all of them"
    )
    assert 'aria-label="fear, support, speaker 02"' in few["fear"][0]


def test_sides_have_their_own_hue_and_speakers_their_own_shade(corpus):
    manifest, split = corpus
    chips = figures.speaker_chips(figures.episode_rows(split, manifest))
    assert set(chips) == {("x/00", "support"), ("x/01", "support"), ("x/02", "query")}
    assert [name for name, _ in chips.values()] == ["00", "01", "02"] and len(
        {colour for _, colour in chips.values()}
    ) == 3
    for (_, side), (_, colour) in chips.items():
        red, _, blue = matplotlib.colors.to_rgb(colour)
        assert (blue > red) == (side == "support") and style.contrast(
            style.ink_on(colour), colour
        ) >= 4.5
    several = figures.speaker_chips(
        figures.episode_rows(split, manifest).assign(corpus=["x", "y"] * 18)
    )
    assert [name for name, _ in several.values()] == [
        "x/00",
        "x/01",
        "x/02",
    ], "with several corpora the name says which"
    assert all(
        colour in figures.episode_html(figures.episode_rows(split, manifest))
        for _, colour in chips.values()
    )


def test_the_sentence_says_what_it_is_and_who_is_on_both_sides(corpus):
    manifest, split = corpus
    rows = figures.episode_rows(split, manifest)
    page = figures.episode_html(rows)
    assert (
        "Task 0: 3-way, 8-shot</b>, 4 queries a class." in page
        and "Nobody is on both sides." in page
        and style.WARN not in page
    )
    assert "24 clips, 2 speakers" in page and "12 clips, 1 speaker<" in page
    overlap = figures.episode_html(rows.assign(speaker=rows["speaker"].replace("x/01", "x/02")))
    assert (
        "On both sides: x/02." in overlap
        and style.WARN in overlap
        and overlap.count("background:#b3261e") == 24
    )
    unknown = figures.episode_html(rows.assign(speaker=""))
    assert (
        ">unknown</span>" in unknown
        and "Speakers unknown" in unknown
        and style.WARN in unknown
        and "speakers unknown" in unknown
    )
    uneven = figures.episode_html(rows.drop(index=rows.index[0]))
    assert "7 to 8-shot" in uneven
    assert "Synthetic corpus: not human speech." in figures.episode_html(
        rows.assign(corpus="synthetic-studio")
    )


def test_labels_order_the_classes_and_foreign_ones_are_refused(corpus):
    manifest, split = corpus
    rows = figures.episode_rows(split, manifest)
    assert list(
        cells(figures.episode_html(rows, ["fear", "boredom", "joy & <bliss>", "anger"]))
    ) == ["fear", "joy &amp; &lt;bliss&gt;", "anger"]
    with pytest.raises(ValueError, match="holds fear, which is not among the labels anger, joy"):
        figures.episode_html(rows, ["anger", "joy & <bliss>"])
    for wrong, message in (
        (rows[rows["role"] == "query"], r"1 task\(s\) with query: choose one"),
        (rows.head(0), "with no rows"),
        (rows.drop(columns="file"), "lacks the column.* file: make it with episode_rows"),
        (pd.concat([rows, rows.assign(task=1)]), r"2 task\(s\)"),
    ):
        with pytest.raises(ValueError, match=message):
            figures.show_episode(wrong)


def test_an_unreadable_clip_is_named_and_the_others_play(corpus):
    manifest, split = corpus
    rows = figures.episode_rows(split, manifest, task=1)
    page = figures.episode_html(
        rows.assign(file=rows["file"].where(rows["utt_id"] != "x/24", "/nowhere/24.wav"))
    )
    assert "cannot be played: no such file" in page and page.count("<audio") == 8


def test_it_is_an_html_widget_or_without_ipywidgets_a_page(corpus, monkeypatch):
    manifest, split = corpus
    rows = figures.episode_rows(split, manifest)
    widget = figures.show_episode(rows)
    assert type(widget) is ipywidgets.HTML and widget.value == figures.episode_html(rows)
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    assert figures.show_episode(rows).data == widget.value


HEADLESS = """
import numpy as np, pandas as pd, soundfile
from colab_utils.display import curves
from colab_utils.methods.maml import figures as episodes
from colab_utils.panel import source
soundfile.write("a.wav", np.random.default_rng(0).normal(0, .1, 12 * 16000), 16000)
rows = pd.DataFrame([{"task": 0, "role": role, "utt_id": f"x/{role}{k}", "speaker": f"x/{role}", "emotion": emotion, "corpus": "x", "file": "a.wav"}
                     for role in ("support", "query") for emotion in ("anger", "fear") for k in range(6)])
"""


def test_a_headless_run_ends_with_megabytes_of_audio_and_the_report_keeps_it(tmp_path):
    train = (
        "live = curves.live_curve(seconds=0)\nfor n in (1, 2, 3):\n    live([{'step': i, 'loss': 1"
        " / i} for i in range(1, n + 1)])"
    )
    notebook = make_notebook(
        HEADLESS, "episodes.show_episode(rows)", "source.show_source(curves.spread)", train
    )
    nbclient.NotebookClient(
        notebook,
        timeout=120,
        store_widget_state=True,
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    _, picture, code, live = notebook.cells
    state = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    page = next(one["state"]["value"] for one in state.values() if one["model_name"] == "HTMLModel")
    assert len(page) > 5e6 and page.count("<audio") == 14
    assert (
        "def spread(" in code.outputs[0]["data"]["text/plain"]
        and "<pre" in code.outputs[0]["data"]["text/html"]
    )
    assert [set(output["data"]) for output in live.outputs] == [{"image/png", "text/plain"}], (
        "one picture, redrawn in place"
    )
    unfolded = report.unfold_widgets(nbformat.from_dict(notebook))
    assert (
        any(
            "<audio" in output.get("data", {}).get("text/html", "")
            for output in unfolded.cells[1].outputs
        )
        and picture.outputs
    )


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
    ).sort_values("difference", ascending=False, ignore_index=True)
    return table.assign(low=table["difference"] - 0.03, high=table["difference"] + 0.03)[
        list(SUPPORT_COLUMNS)
    ]


def texts_of(figure):
    return " ".join(t.get_text() for t in figure.findobj(matplotlib.text.Text)).replace("\n", " ")


def test_support_figure_shows_the_numbers_of_its_table():
    table = support_table()
    figure = speakers.support_speakers_figure(
        table, "MAML on EMOVO", marks=["Synthetic corpus: not a result on speech."]
    )
    left, right = figure.axes
    by_label = {line.get_label(): line for line in left.lines}
    for name in ("with", "without"):
        np.testing.assert_allclose(
            by_label[f"{name} the speaker"].get_xdata(), 100 * table[f"accuracy_{name}"]
        )
    assert [segment[0, 0] for segment in left.collections[0].get_segments()] == pytest.approx(
        list(100 * table["with_low"])
    )
    points = next(line for line in right.lines if line.get_marker() == "o")
    np.testing.assert_allclose(
        points.get_xydata(), np.stack([100 * table["difference"], np.arange(6)[::-1]], axis=1)
    )
    for segment, row in zip(right.collections[0].get_segments(), table.itertuples(), strict=True):
        assert list(segment[:, 0]) == pytest.approx([100 * row.low, 100 * row.high])
    assert [t.get_text() for t in left.get_yticklabels()] == [
        f"{row.speaker[2:]} ({row.tasks_with})" for row in table.itertuples()
    ]
    said = texts_of(figure)
    assert (
        "95 % interval over tasks: this corpus, these speakers" in said
        and "own queries are left out" in said
        and "Synthetic corpus" in said
    )
    assert (left.get_xlabel(), right.get_xlabel()) == (
        "Task accuracy (%)",
        "With minus without (points)",
    )
    assert figure.get_figwidth() == style.WIDE_COLUMN and "MAML on EMOVO" in said


def test_support_figure_of_many_speakers_keeps_the_extremes(tmp_path):
    table = support_table(speakers.MANY + 25)
    table.loc[
        table.index[-1],
        ["difference", "low", "high", "accuracy_without", "without_low", "without_high"],
    ] = np.nan
    figure = speakers.support_speakers_figure(table)
    shown = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert (
        len(shown) == speakers.MANY
        and f"Of {speakers.MANY + 25} speakers the 20 with the greatest gain" in texts_of(figure)
    )
    kept = [*table["speaker"].head(20), *table["speaker"].iloc[-21:-1]]
    assert [name.split(" ")[0] for name in shown] == [name[2:] for name in kept]
    assert len(style.save_figure(figure, tmp_path / "support")) == 3
    with pytest.raises(ValueError, match="no support speakers: there is nothing to draw"):
        speakers.support_speakers_figure(table.head(0))


def test_the_figure_over_test_speakers_takes_two_hundred_episodes():
    rng, parts = np.random.default_rng(1), []
    for task in range(200):
        classes = rng.permutation(["anger", "fear", "joy", "sadness", "neutral", "disgust"])[:3]
        true = np.repeat(classes, 5)
        parts.append(
            pd.DataFrame(
                {
                    "method": "maml",
                    "rule": "inductive",
                    "seed": 0,
                    "fold": "0",
                    "draw": 0,
                    "task": task,
                    "utt_id": [f"x/{task}-{i}" for i in range(15)],
                    "corpus": "x",
                    "speaker": rng.choice(["a", "b", "c"], 15),
                    "true": true,
                    "pred": np.where(rng.random(15) < 0.5, true, rng.choice(classes, 15)),
                }
            )
        )
    predictions = pd.concat(parts, ignore_index=True)
    metrics = summarise(
        predictions,
        sorted(set(predictions["true"])),
        n_boot=50,
        chance=1 / 3,
        speaker_independence="independent",
    )
    assert "200 tasks" in texts_of(speakers.per_speaker_figure(predictions, metrics))
    assert "chance: 33.3 %" in texts_of(
        speakers.per_speaker_figure(predictions, metrics)
    ) and "chance 33.3" in captions.rates(metrics)
