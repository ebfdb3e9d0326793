"""The picture of an episode: who stands where, in which colour, what can be played."""

import re

import ipywidgets
import matplotlib
import nbclient
import nbformat
import pandas as pd
import pytest
from browser import make_notebook
from drawn import contrast

from colab_utils.display import style
from colab_utils.display.page import report
from colab_utils.methods.maml.figures.episode import (
    EPISODE_COLUMNS,
    episode_html,
    episode_rows,
    show_episode,
    speaker_chips,
)

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
    rows = episode_rows(split, manifest.sample(frac=1, random_state=0), task=1)
    assert list(rows.columns) == list(EPISODE_COLUMNS) and len(rows) == 12
    for row in rows.itertuples():
        clip = manifest.set_index("utt_id").loc[row.utt_id]
        assert (row.emotion, row.corpus, row.file) == (clip.emotion, clip.corpus, clip.file)
    assert list(rows["utt_id"]) == list(split.loc[split["task"] == 1, "utt_id"])
    with pytest.raises(ValueError, match="no task 7: the split holds tasks 0 to 1"):
        episode_rows(split, manifest, task=7)
    with pytest.raises(ValueError, match="no task 0: the split holds no episodes"):
        episode_rows(split[split["role"] == "train"], manifest, 0)


def test_every_clip_stands_once_in_its_class_and_on_its_side(corpus):
    manifest, split = corpus
    rows = episode_rows(split, manifest, 0)
    found = cells(episode_html(rows, LABELS))
    assert list(found) == ["anger", "fear", "joy &amp; &lt;bliss&gt;"]
    for emotion, sides in zip(LABELS, found.values(), strict=True):
        for role, cell in zip(("support", "query"), sides, strict=True):
            wanted = rows[(rows["emotion"] == emotion) & (rows["role"] == role)]["utt_id"]
            assert re.findall(r'title="(x/\d\d)"', cell) == list(wanted)


def test_players_are_few_and_shared_out_over_the_classes(corpus):
    manifest, split = corpus
    many, few = (
        cells(episode_html(episode_rows(split, manifest, task), LABELS)) for task in (0, 1)
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
    chips = speaker_chips(episode_rows(split, manifest, 0))
    assert set(chips) == {("x/00", "support"), ("x/01", "support"), ("x/02", "query")}
    assert [name for name, _ in chips.values()] == ["00", "01", "02"] and len(
        {colour for _, colour in chips.values()}
    ) == 3
    for (_, side), (_, colour) in chips.items():
        red, _, blue = matplotlib.colors.to_rgb(colour)
        assert (blue > red) == (side == "support") and contrast(style.ink_on(colour), colour) >= 4.5
    several = speaker_chips(episode_rows(split, manifest, 0).assign(corpus=["x", "y"] * 18))
    assert [name for name, _ in several.values()] == [
        "x/00",
        "x/01",
        "x/02",
    ], "with several corpora the name says which"
    assert all(
        colour in episode_html(episode_rows(split, manifest, 0), LABELS)
        for _, colour in chips.values()
    )


def test_the_sentence_says_what_it_is_and_who_is_on_both_sides(corpus):
    manifest, split = corpus
    rows = episode_rows(split, manifest, 0)
    page = episode_html(rows, LABELS)
    assert (
        "Task 0: 3-way, 8-shot</b>, 4 queries a class." in page
        and "Nobody is on both sides." in page
        and style.WARN not in page
    )
    assert "24 clips, 2 speakers" in page and "12 clips, 1 speaker<" in page
    overlap = episode_html(rows.assign(speaker=rows["speaker"].replace("x/01", "x/02")), LABELS)
    assert (
        "On both sides: x/02." in overlap
        and style.WARN in overlap
        and overlap.count("background:#b3261e") == 24
    )
    unknown = episode_html(rows.assign(speaker=""), LABELS)
    assert (
        ">unknown</span>" in unknown
        and "Speakers unknown" in unknown
        and style.WARN in unknown
        and "speakers unknown" in unknown
    )
    synthetic = rows.assign(corpus="synthetic-studio")
    assert "Synthetic corpus: not human speech." in episode_html(synthetic, LABELS)


def test_labels_order_the_classes_and_foreign_ones_are_refused(corpus):
    manifest, split = corpus
    rows = episode_rows(split, manifest, 0)
    assert list(cells(episode_html(rows, ["fear", "boredom", "joy & <bliss>", "anger"]))) == [
        "fear",
        "joy &amp; &lt;bliss&gt;",
        "anger",
    ]
    with pytest.raises(ValueError, match="holds fear, which is not among the labels anger, joy"):
        episode_html(rows, ["anger", "joy & <bliss>"])
    for wrong, message in (
        (rows[rows["role"] == "query"], r"1 task\(s\) with query: choose one"),
        (rows.head(0), "with no rows"),
        (rows.drop(columns="file"), "lacks the column.* file: make it with study.episode"),
        (pd.concat([rows, rows.assign(task=1)]), r"2 task\(s\)"),
    ):
        with pytest.raises(ValueError, match=message):
            show_episode(wrong, LABELS)


def test_an_unreadable_clip_is_named_and_the_others_play(corpus):
    manifest, split = corpus
    rows = episode_rows(split, manifest, task=1)
    files = rows["file"].where(rows["utt_id"] != "x/24", "/nowhere/24.wav")
    page = episode_html(rows.assign(file=files), LABELS)
    assert "cannot be played: no such file" in page and page.count("<audio") == 8


def test_it_is_an_html_widget(corpus):
    manifest, split = corpus
    rows = episode_rows(split, manifest, 0)
    widget = show_episode(rows, LABELS)
    assert type(widget) is ipywidgets.HTML and widget.value == episode_html(rows, LABELS)


HEADLESS = """
import numpy as np, pandas as pd, soundfile
from colab_utils.methods import maml
soundfile.write("a.wav", np.random.default_rng(0).normal(0, .1, 12 * 16000), 16000)
rows = pd.MultiIndex.from_product([["support", "query"], ["anger", "fear"], range(6)])
rows = rows.to_frame(False, ["role", "emotion", "number"])
rows["utt_id"] = "x/" + rows["role"] + rows["number"].astype(str)
rows = rows.assign(task=0, speaker="x/" + rows["role"], corpus="x", file="a.wav")
"""


@pytest.mark.slow
def test_a_headless_run_ends_with_megabytes_of_audio_and_the_report_keeps_it(tmp_path):
    train = """live = maml.live_curve()
for n in (1, 2, 3):
    live.finish([{"step": i, "loss": 1 / i} for i in range(1, n + 1)])"""
    notebook = make_notebook(
        HEADLESS,
        "maml.show_episode(rows, ['anger', 'fear'])",
        "maml.show_source(maml.adapt)",
        train,
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
        "def adapt(" in code.outputs[0]["data"]["text/plain"]
        and "<pre" in code.outputs[0]["data"]["text/html"]
    )
    assert [set(output["data"]) for output in live.outputs] == [{"text/html", "text/plain"}], (
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
