"""The page: every finished run with its numbers and picture, other folders with their reason."""

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


def add_run(
    out, method, name, when, picture=False, independence="independent", condition="", **columns
):
    """A finished run of 90 predictions under `out`, made at `when` (s since the epoch)."""
    data = predictions(LABELS, n=90, n_speakers=11, **columns)
    split = data[["seed", "fold", "draw", "task", "utt_id", "speaker"]].assign(role="test")
    facts = {"task": name, "labels": LABELS, "condition": condition}
    run = open_run(out, method, name, Config(), facts, split)
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


def test_every_finished_run_stands_under_its_question_the_newest_question_first(out, page):
    assert page.open == []
    articles = [attributes["id"] for tag, attributes in page.tags if tag == "article"]
    names = [identity.rpartition("/")[2][:-13] for identity in articles]
    assert names[0] == "studio-new" and set(names[1:]) == {"emodb-middle", "emodb-old"}
    rates = [files.read_json(out / identity / "metrics.json")["uar"] for identity in articles]
    assert rates[1] >= rates[2], "in a question the best run first"
    first, second = [page.text.index(f"{corpus}, 3 emotions, 90 utt") for corpus in CORPORA]
    assert first < page.text.index("studio-new") < second < page.text.index("emodb-middle")
    for identity in articles:
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


CORPORA = ("synthetic-studio", "emodb")


def test_shots_are_questions_of_their_own_and_only_the_newest_run_is_open(tmp_path):
    for when, name in enumerate(("a", "b"), start=1):
        for shots in (1, 5):
            add_run(tmp_path, "m", f"{name}-{shots}", when * shots, condition=f"{shots}-shot")
    page = Page(report.build_page(tmp_path))
    five, one = (page.text.index(f"90 utterances, {shots}-shot 2 runs") for shots in (5, 1))
    assert five < page.text.index("b-5") < one < page.text.index("a-1")
    opened = [about for tag, about in page.tags if tag == "details" and "open" in about]
    assert [about.get("class") for about in opened] == ["question", "run"]
    assert page.text.count("Settings that all runs of m have here") == 2
    assert page.text.count("settings.C 0.5") == 2 and page.text.count("task a-1") == 1


def test_a_page_of_two_thousand_runs_stays_under_20_megabytes(tmp_path):
    """What three runs more cost, two thousand times; with eight emotions and long notes."""
    labels = [f"emotion {number}" for number in range(8)]
    sizes = []
    for part in range(2):
        for number in range(3):
            data = predictions(labels, n=96, seed=number)
            split = data[["seed", "fold", "draw", "task", "utt_id", "speaker"]].assign(role="test")
            facts = {"task": f"{part}-{number}", "more": dict.fromkeys(map(str, range(60)), 0.5)}
            name = f"emodb+emovo-ravdess-acoustic+moonshine-method-{part}-{number}-5shot"
            run = open_run(tmp_path, "m", name, Config(), facts, split)
            notes = [f"a note of more than a hundred letters, as many runs have: {'x' * 80}"] * 3
            run.finish(data, labels, speaker_independence="independent", notes=notes)
            run.mark_done()
        sizes.append(report.build_page(tmp_path).stat().st_size)
    assert (sizes[1] - sizes[0]) / 3 * 2000 < 18e6, "and two megabytes are left for notebooks"


def cells_of(path):
    """Rows of (per cent, count) of each table of a page that has such cells."""
    cells = re.findall(r'--share:(\d+)"[^>]*>(\d+)<small>(\d+)</small>', path.read_text())
    return [(int(shade), int(share), int(count)) for shade, share, count in cells]


def test_the_matrix_is_that_of_the_predictions(tmp_path):
    run = add_run(tmp_path, "maml", "studio", 3_000_000, picture=True)
    (run.path / "confusion_matrix.png").write_bytes(b"not a picture")
    page = report.build_page(tmp_path)
    table = run.predictions
    wanted = []
    for true in LABELS:
        asked = table[table["true"] == true]
        for pred in LABELS:
            count = int((asked["pred"] == pred).sum())
            share = round(100 * count / len(asked))
            wanted.append((share, share, count))
    assert cells_of(page) == wanted
    assert "img" not in [tag for tag, _ in Page(page).tags]


def test_sixty_emotions_have_recalls_and_no_matrix(tmp_path):
    labels = [f"emotion {number:02d}" for number in range(60)]
    data = predictions(labels, n=240)
    split = data[["seed", "fold", "draw", "task", "utt_id", "speaker"]].assign(role="test")
    run = open_run(tmp_path, "m", "many", Config(), {}, split)
    run.finish(data, labels, speaker_independence="independent")
    run.mark_done()
    path = report.build_page(tmp_path)
    assert cells_of(path) == [] and "Recall of each emotion" in Page(path).text
    for label, recall in run.metrics["per_class_recall"].items():
        assert f"{label} {100 * recall:.1f} %" in re.sub("<[^>]+>", " ", path.read_text()).replace(
            "\xa0", " "
        ).replace("  ", " ")


def test_what_is_no_finished_run_stands_at_the_end_with_its_reason(out, page):
    shown, _, left_out = page.text.partition("Left out")
    for name, reason in (("mldg/stopped-", "not finished"), ("mldg/torn-", "config.json")):
        assert name not in shown and name in left_out and reason in left_out
    assert "2 folders are left out" in shown and "%" not in left_out.partition("Notebooks")[0]
    assert str(out) not in page.text


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
    assert tags.count("article") == 2 and tags.count("img") == 0
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
    with browser_page(width=400) as page:
        page.goto((out / "index.html").as_uri())
        assert page.locator("article").count() == 3
        assert page.locator(".headline:visible").count() == 1, "all runs but the newest are folded"
        page.locator(".question > summary").nth(1).click()
        closed = page.locator(".run:not([open]) > summary:visible").first
        closed.focus()
        page.keyboard.press("Enter")
        assert page.locator(".headline:visible").count() == 2, "and the keyboard unfolds them"
        fits = "[document.documentElement, ...document.querySelectorAll('.wide')].every(e =>"
        assert page.evaluate(f"{fits} e.scrollWidth <= e.clientWidth)"), "fits a narrow window"
        page.locator("summary", has_text="01 first").click()
        page.frame_locator("iframe").locator("text=it ran").wait_for()
        assert page.errors == []
