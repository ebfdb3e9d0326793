"""The page: every finished run with its numbers and picture, other folders with their reason."""

import base64
import dataclasses
import html.parser
import os
import re
import shutil
import sys
import urllib.parse

import nbformat
import pytest
from browser import browser_page
from tampered import XSS, nasty_runs, tamper
from toy_predictions import predictions

from colab_utils import files, session
from colab_utils.display import figures
from colab_utils.display.figures import confusion_matrix_figure
from colab_utils.display.page import report
from colab_utils.results.runs import open_run

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


@dataclasses.dataclass(frozen=True)
class Config:
    C: float = 0.5
    note: str = "<script>alert(1)</script>"


def add_run(out, method, name, when, picture=False, independence="independent", **columns):
    """A finished run of 90 predictions under `out`, made at `when` (s since the epoch)."""
    data = predictions(LABELS, n=90, n_speakers=11, **columns)
    split = data[["seed", "fold", "draw", "task", "utt_id", "speaker"]].assign(role="test")
    run = open_run(out, method, name, Config(), {"task": name, "labels": LABELS}, split)
    run.finish(data, LABELS, speaker_independence=independence)
    run.mark_done()
    if picture:
        figures.save_confusion_matrix(run)
    os.utime(run.path / "DONE", (when, when))
    return run


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Nobody asks here what a run was made with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "environment", dict)
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The page of three finished runs, one that was stopped, one with a torn config; two notebooks,
    one of them broken.
    """
    out = tmp_path_factory.mktemp("out")
    add_run(out, "logistic", "emodb-old", 1_000_000)
    new = {"corpus": "synthetic-studio", "picture": True}
    add_run(out, "maml", "studio-new", 3_000_000, **new)
    middle = {"independence": "overlap allowed"}
    add_run(out, "logistic", "emodb-middle", 2_000_000, **middle)
    stopped = add_run(out, "mldg", "stopped", 1_000_000)
    (stopped.path / "DONE").unlink()
    files.write_text(out / "runs" / "mldg" / "torn-000000000005" / "config.json", "{")
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


def test_every_finished_run_stands_on_the_page_newest_first(out, page):
    assert page.open == []
    articles = [attributes["id"] for tag, attributes in page.tags if tag == "article"]
    names = [identity.rpartition("/")[2][:-13] for identity in articles]
    assert names == ["studio-new", "emodb-middle", "emodb-old"]
    linked = [attributes.get("href", "") for _, attributes in page.tags]
    for identity in articles:
        assert f"#{identity}" in linked
        metrics = files.read_json(out / identity / "metrics.json")
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


def test_what_is_no_finished_run_stands_at_the_end_with_its_reason(out, page):
    shown, _, left_out = page.text.partition("Left out")
    for name, reason in (("mldg/stopped-", "not finished"), ("mldg/torn-", "config.json")):
        assert name not in shown and name in left_out and reason in left_out
    assert "2 folders are left out" in shown and "%" not in left_out.partition("Notebooks")[0]
    assert str(out) not in page.text


def test_a_picture_that_nothing_vouches_for_is_not_shown(tmp_path):
    run = add_run(tmp_path, "maml", "studio", 3_000_000, picture=True)
    (run.path / "confusion_matrix.png").write_bytes(b"not a picture")
    (picture,) = [one for tag, one in Page(report.build_page(tmp_path)).tags if tag == "img"]
    drawn = confusion_matrix_figure(run.predictions, run.metrics)._repr_png_()
    assert base64.b64decode(picture["src"].partition(",")[2]) == drawn


@pytest.mark.slow
def test_no_tampered_folder_stops_the_page_or_shows_a_number(tmp_path):
    told, whole = tamper(tmp_path)
    page = Page(report.build_page(tmp_path))
    articles = {attributes["id"] for tag, attributes in page.tags if tag == "article"}
    assert articles == {path.relative_to(tmp_path).as_posix() for path in whole}
    shown, _, left_out = page.text.partition("Left out")
    for folder, word in told.items():
        assert f"{folder.parent.name}/{folder.name}" in left_out and word in left_out
    assert "%" not in left_out and str(tmp_path) not in page.text and "%" in shown


@pytest.mark.slow
def test_tags_and_scripts_in_names_are_text_on_the_page(tmp_path):
    nasty_runs(tmp_path)
    path = report.build_page(tmp_path)
    page = Page(path)
    assert page.open == [] and page.text.count(XSS) > 10
    tags = [tag for tag, _ in page.tags]
    assert tags.count("article") == 2 and tags.count("img") == 2
    assert not {"script", "svg"} & set(tags)
    assert not [one for _, attributes in page.tags for one in attributes if one.startswith("on")]
    with browser_page() as shown:
        shown.goto(path.as_uri())
        assert shown.evaluate("window.hacked") is None and shown.errors == []


def test_page_is_self_contained_safe_and_its_links_lead_somewhere(out, page):
    linked = set()
    for tag, attributes in page.tags:
        assert tag not in ("script", "link")
        assert attributes.get("src", "data:").startswith("data:")
        link = attributes.get("href", "#")
        if not link.startswith("#"):
            linked.add(urllib.parse.unquote(link))
            assert (out / urllib.parse.unquote(link)).is_file(), link
    for mark in out.glob("runs/*/*/DONE"):
        for file in mark.parent.glob("*.*"):
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
    assert "There is no finished run yet." in Page(report.build_page(tmp_path)).text
    with pytest.raises(FileNotFoundError, match="no such folder"):
        report.build_page(tmp_path / "missing")


@pytest.mark.slow
def test_a_browser_shows_the_page_without_errors(out):
    with browser_page(width=500) as page:
        page.goto((out / "index.html").as_uri())
        assert page.locator("article").count() == 3
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 300)")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
            "fits a narrow window"
        )
        page.locator("summary", has_text="01 first").click()
        page.frame_locator("iframe").locator("text=it ran").wait_for()
        assert page.errors == []
