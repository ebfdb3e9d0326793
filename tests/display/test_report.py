"""The report page: every run with its numbers and picture, broken ones with their reason."""

import html.parser
import os
import re
import shutil
import sys
import urllib.parse

import nbformat
import pandas as pd
import pytest
from browser import browser_page
from toy_predictions import predictions

from colab_utils import files
from colab_utils.display import figures, report
from colab_utils.results.metrics import summarise
from colab_utils.results.predictions import write_predictions
from colab_utils.results.runs import Run

LABELS = ["anger", "happiness", "sadness"]


class Page(html.parser.HTMLParser):
    """Text outside of style and attributes, the attributes of each tag, and the tags that were left
    open.
    """

    VOID = {"meta", "img", "br", "link", "hr", "input"}

    def __init__(self, path):
        super().__init__()
        self.text, self.tags, self.open = "", [], []
        self.feed(path.read_text())
        self.text = re.sub(r"\s+", " ", self.text.replace("\xa0", " "))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


def add_run(out, method, name, when, picture=False, independence="independent", **columns):
    """A finished run of 90 predictions under `out`, made at `when` (s since the epoch)."""
    folder = out / "runs" / method / name
    data = predictions(LABELS, n=90, n_speakers=11, **columns)
    write_predictions(data, folder / "predictions.csv")
    metrics = summarise(data, LABELS, 50, speaker_independence=independence)
    files.write_json(folder / "metrics.json", metrics)
    settings = {"C": 0.5, "note": "<script>alert(1)</script>"}
    config = {"method": method, "settings": settings, "labels": LABELS}
    files.write_json(folder / "config.json", config)
    if picture:
        figures.save_confusion_matrix(Run(folder, {}, pd.DataFrame()))
    files.write_json(folder / "DONE", {})
    os.utime(folder / "DONE", (when, when))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The page of three finished runs, one that was stopped, one with a torn config; two notebooks,
    one of them broken.
    """
    out = tmp_path_factory.mktemp("out")
    add_run(out, "logistic", "emodb-old-000000000001", 1_000_000)
    new = {"corpus": "synthetic-studio", "picture": True}
    add_run(out, "maml", "studio-new-000000000003", 3_000_000, **new)
    middle = {"independence": "overlap allowed"}
    add_run(out, "logistic", "emodb-middle-000000000002", 2_000_000, **middle)
    runs = out / "runs" / "mldg"
    files.write_json(runs / "stopped-000000000004" / "config.json", {"method": "mldg"})
    files.write_text(runs / "torn-000000000005" / "config.json", "{")
    ran = nbformat.v4.new_output("stream", text="it ran </iframe>\n")
    code = nbformat.v4.new_code_cell("print('<&>')", outputs=[ran])
    text = nbformat.v4.new_markdown_cell("# First steps")
    (out / "notebooks").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[text, code])
    nbformat.write(notebook, out / "notebooks" / "01 first.ipynb")
    files.write_text(out / "notebooks" / "02_broken.ipynb", "{}")
    report.build_page(out)
    return out


@pytest.fixture(scope="module")
def page(out):
    return Page(out / "index.html")


def test_every_run_stands_on_the_page_newest_first(out, page):
    assert page.open == []
    articles = [attributes["id"] for tag, attributes in page.tags if tag == "article"]
    assert articles[-3:] == ["000000000003", "000000000002", "000000000001"]
    assert set(articles) == {f"{i:012d}" for i in range(1, 6)}
    for file in out.glob("runs/*/*/metrics.json"):
        metrics = files.read_json(file)
        low, high = metrics["uar_ci95"]
        assert (
            f"UAR {100 * metrics['uar']:.1f} % (95 % interval over speakers {100 * low:.1f} to"
            f" {100 * high:.1f})" in page.text
        )
        for recall in metrics["per_class_recall"].values():
            assert f"{100 * recall:.1f} %" in page.text
    assert "chance 33.3 %" in page.text and "90 utterances, 11 speakers" in page.text
    assert "Synthetic corpus: not a result on speech." in page.text
    assert "Speaker overlap allowed" in page.text
    assert "settings.C 0.5" in page.text


def test_broken_and_unfinished_runs_stand_there_with_the_reason(out, tmp_path):
    copy = shutil.copytree(out, tmp_path / "copy")
    old = copy / "runs" / "logistic" / "emodb-old-000000000001"
    files.write_text(old / "metrics.json", "{\n")
    page = Page(report.build_page(copy))
    assert "Not finished: run its notebook again" in page.text
    assert page.text.count("Cannot be shown:") == 4, (
        "two runs, each in the table and in its own place"
    )
    assert str(copy) not in page.text


def test_page_is_self_contained_safe_and_its_links_lead_somewhere(out, page):
    linked = set()
    for tag, attributes in page.tags:
        assert tag not in ("script", "link")
        assert attributes.get("src", "data:").startswith("data:")
        link = attributes.get("href", "#")
        if not link.startswith("#"):
            linked.add(urllib.parse.unquote(link))
            assert (out / urllib.parse.unquote(link)).is_file(), link
    for file in out.glob("runs/*/*/*.*"):
        assert str(file.relative_to(out)) in linked
    assert "<script>alert(1)</script>" in page.text, "shown as text, not run"
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 3 and all(attributes["alt"] for attributes in pictures)


def test_notebooks_are_rendered_inside_and_broken_ones_named(page):
    (frame,) = [attributes for tag, attributes in page.tags if tag == "iframe"]
    assert frame["title"] == "01 first"
    assert "allow-same-origin" not in frame["sandbox"], "its scripts cannot touch the page"
    assert "First steps" in frame["srcdoc"] and "it ran &lt;/iframe&gt;" in frame["srcdoc"]
    assert "Not rendered" in page.text and "02_broken" in page.text


def test_without_nbconvert_the_notebook_is_linked(out, tmp_path, monkeypatch):
    shutil.copytree(out / "notebooks", tmp_path / "notebooks")
    monkeypatch.setitem(sys.modules, "nbconvert", None)
    page = Page(report.build_page(tmp_path))
    assert "nbconvert is not installed" in page.text
    assert "notebooks/01%20first.ipynb" in [attributes.get("href") for _, attributes in page.tags]


def test_widgets_become_what_their_output_held():
    view = {
        "output_type": "display_data",
        "data": {
            "application/vnd.jupyter.widget-view+json": {"model_id": "top"},
            "text/plain": "VBox()",
        },
        "metadata": {},
    }
    text = {"output_type": "stream", "name": "stdout", "text": "UAR 61 %\n"}
    cell = nbformat.v4.new_code_cell("panel", outputs=[nbformat.from_dict(view)])
    notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_markdown_cell("x")])
    notebook.metadata["widgets"] = {
        "application/vnd.jupyter.widget-state+json": {
            "state": {
                "top": {"state": {"children": ["IPY_MODEL_a", "IPY_MODEL_b"]}},
                "a": {"state": {"value": 3}},
                "b": {"state": {"outputs": [text]}},
            }
        }
    }
    unfolded = report.unfold_widgets(notebook)
    assert [output["text"] for output in unfolded.cells[0].outputs] == [
        "[interactive controls: open the notebook to use them]\n",
        "UAR 61 %\n",
    ]
    nbformat.validate(unfolded)


def test_an_empty_folder_gives_a_page_and_a_missing_one_an_error(tmp_path):
    assert "There is no run yet." in Page(report.build_page(tmp_path)).text
    with pytest.raises(FileNotFoundError, match="no such folder"):
        report.build_page(tmp_path / "missing")


@pytest.mark.slow
def test_a_browser_shows_the_page_without_errors(out):
    with browser_page(width=500) as page:
        page.goto((out / "index.html").as_uri())
        assert page.locator("article").count() == 5
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 300)")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
            "fits a narrow window"
        )
        page.locator("summary", has_text="01 first").click()
        page.frame_locator("iframe").locator("text=it ran").wait_for()
        assert page.errors == []
