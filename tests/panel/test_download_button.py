"""The zip holds what was shown: every figure in three formats, counts, tables, runs, texts."""

import csv
import io
import json
import re
import xml.etree.ElementTree
import zipfile

import IPython.display
import pytest
from finished_run import finished
from PIL import Image

from colab_utils import session
from colab_utils.corpora.cards import corpus_names, load_card
from colab_utils.display import style
from colab_utils.features import FRONT_ENDS
from colab_utils.panel import download, texts
from colab_utils.results.folders import runs_table


@pytest.fixture(autouse=True)
def workspace(monkeypatch, tmp_path):
    """A workspace of the test's own in which nothing was shown yet."""
    monkeypatch.setenv("SER_WORKSPACE", str(tmp_path / "work"))
    monkeypatch.setattr(session, "shown", {})
    return tmp_path / "work"


def show(name, alt="numbers"):
    with style.suite_style():
        figure = style.new_figure(2, 1)
        figure.subplots().plot([0, 1])
    figure.name, figure.alt = name, alt
    figure.html()
    return figure


def made(runs, tables=None, name="all"):
    """{file: bytes} of the zip, without its one folder."""
    path = download.Download(name, runs, tables).save()
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        found = {one: opened.read(one) for one in opened.namelist()}
    assert {one.split("/")[0] for one in found} == {path.stem}
    return {one.partition("/")[2]: data for one, data in found.items()}


def rows_of(latex):
    """The cells of a table in LaTeX, the header first."""
    lines = [line for line in latex.splitlines() if line.endswith(r"\\")]
    found = []
    for line in lines:
        cells = re.split(r"(?<!\\)&", line.removesuffix(r"\\"))
        found.append([re.sub(r"\\([%_&])", r"\1", cell).strip() for cell in cells])
    return found


def test_every_figure_that_was_shown_is_there_in_three_formats():
    show("speakers", "the first one")
    show("speakers", "the later one")
    files = made({})
    kinds = ("png", "pdf", "svg")
    figures = {name for name in files if name.startswith("figures/")}
    assert figures >= {f"figures/speakers.{kind}" for kind in kinds}
    assert {name.rpartition(".")[0] for name in figures} == {"figures/speakers"}
    assert Image.open(io.BytesIO(files["figures/speakers.png"])).width == 600, "2 inches, 300 dpi"
    assert files["figures/speakers.pdf"].startswith(b"%PDF")
    xml.etree.ElementTree.fromstring(files["figures/speakers.svg"])
    readme = files["README.txt"].decode()
    assert "- speakers: the later one" in readme and "the first one" not in readme


def test_no_figure_takes_the_place_of_another(monkeypatch):
    """Names that differ as names and not as files; figures without a name."""
    drawn = []
    monkeypatch.setattr(style.SuiteFigure, "png", lambda figure: b"not looked at here")
    monkeypatch.setattr(style, "save_figure", lambda figure, path: drawn.append(path.name))
    for name in (
        "matrix, EMOFSL: 5/3 shots",
        "matrix",
        "Matrix",
        "matrix ",
        "Überblick 数",
        "",
        "",
    ):
        show(name)
    made({})
    assert drawn == [
        "matrix, EMOFSL, 5-3 shots",
        "matrix",
        "Matrix (2)",
        "matrix (3)",
        "Überblick 数",
        "figure 6",
        "figure 7",
    ]


def test_what_is_shown_has_its_alt_text_in_every_front_end(monkeypatch):
    sent = []
    monkeypatch.setattr(IPython.display, "display", lambda bundle, raw: sent.append(bundle))
    figure = show("a <name>", 'UAR 50 %, "anger" & fear')
    figure._ipython_display_()
    (bundle,) = sent
    assert set(bundle) == {"text/html", "text/plain"}, "no second picture"
    image = xml.etree.ElementTree.fromstring(bundle["text/html"].replace(">", "/>"))
    assert image.get("alt") == bundle["text/plain"] == 'UAR 50 %, "anger" & fear'
    assert session.shown == {"a <name>": figure}


def test_numbers_in_the_zip_are_those_of_the_run(tmp_path):
    runs = {"a_b & 50 %": finished(tmp_path), "=better": finished(tmp_path, "other", 0.9)}
    files = made(runs, {"comparison": download.metrics_table(runs)[["UAR %"]]})
    header, *rows = rows_of(files["tables/results.tex"].decode())
    assert [row[0] for row in rows] == list(runs)
    for (name, run), row in zip(runs.items(), rows, strict=True):
        stored = json.loads((run.path / "metrics.json").read_text())
        rate = f"{100 * stored['uar']:.1f}"
        found = dict(zip(header, row, strict=True))
        assert found["UAR %"] == rate and found["utterances"] == str(stored["n"])
        assert found["WA %"] == f"{100 * stored['wa']:.1f}"
        assert found["95 % interval of UAR"] == "–".join(
            f"{100 * limit:.1f}" for limit in stored["uar_ci95"]
        )
        counts = list(csv.reader(io.StringIO(files[f"tables/counts, {name}.csv"].decode())))
        table = run.predictions
        for emotion, *numbers in counts[1:]:
            for other, number in zip(counts[0][1:], numbers, strict=True):
                hits = 0
                for true, pred in zip(table["true"], table["pred"], strict=True):
                    hits += true == emotion and pred == other
                assert int(number) == hits
    assert "tables/comparison.csv" in files and "tables/recalls.tex" in files


def test_runs_of_the_zip_can_be_opened_again(tmp_path, workspace):
    run = finished(tmp_path)
    files = made({"one": run})
    with zipfile.ZipFile(workspace / "downloads" / "all.zip") as opened:
        opened.extractall(tmp_path / "unzipped")
    table = runs_table(tmp_path / "unzipped" / "all")
    assert table["done"].tolist() == [True] and table["run"].tolist() == [run.path.name]
    assert not [name for name in files if "/parts/" in name]
    kept = f"runs/baselines/{run.path.name}/predictions.csv"
    assert files[kept] == (run.path / "predictions.csv").read_bytes()


def entries_of(text):
    """{key: fields} of BibTeX, braces counted."""
    found = {}
    for begin in re.finditer(r"^@(\w+)\{([^,\s]+),", text, flags=re.MULTILINE):
        depth, end = 1, begin.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        body = text[begin.end() : end - 1]
        assert begin[2] not in found, f"{begin[2]} twice"
        found[begin[2]] = dict(re.findall(r"(\w+) = \{((?:[^{}]|\{[^{}]*\})*)\}", body))
    assert len(found) == text.count("\n@") + text.startswith("@")
    return found


def test_a_corpus_of_ones_own_is_named_beside_the_licences(tmp_path):
    files = made({"one": finished(tmp_path, corpora={"test": ["mine"]})})
    assert "- mine" in files["README.txt"].decode().splitlines()


def test_what_to_cite_is_what_was_used(tmp_path):
    run = finished(tmp_path)
    found = entries_of(made({"one": run})["cite.bib"].decode())
    assert {"burkhardt2005emodb", "haq2010savee", "jeffries2024moonshine"} <= set(found)
    assert {"pedregosa2011sklearn", "colab_utils"} <= set(found)
    others = {"finn2017maml", "livingstone2018ravdess", "zhang2018mixup", "chen2022wavlm"}
    assert not others & set(found)
    for fields in found.values():
        assert fields["title"] and fields["author"]


def test_references_are_those_of_the_corpus_cards():
    text = (texts.data_folder() / "references.bib").read_text()
    parts = re.findall(r"^for: (.*)\n((?:.+\n)+)", text, flags=re.MULTILINE)
    assert len(parts) == text.count("\n@"), "each entry has its line"
    cited = {}
    for words, entry in parts:
        for word in words.split():
            cited.setdefault(word, []).extend(entries_of(entry).values())
    for name in set(corpus_names()) - {"synthetic"}:
        (fields,) = cited[name]
        citation = load_card(name).citation
        assert fields["year"] in citation, name
        surname = re.sub(r"[{}]", "", fields["author"].split(",")[0])
        assert surname in citation and fields["title"].split()[-1].strip("{()}") in citation, name
        assert fields.get("pages", "").replace("--", "-") in citation, name
    known = {*corpus_names(), *FRONT_ENDS, "all"}
    rooms = {"maml", "emofsl", "da_mldg", "alexnet"}
    settings = {"annealed", "ramp", "contrastive", "prototype", "mldg", "rsc", "coral", "erm"}
    settings |= {"mixup", "stability", "spec_augment"}
    encoders = {"wav2vec2", "hubert", "wavlm", "whisper"}
    assert set(cited) <= known | rooms | settings | encoders


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 300, "con|<>?*"])
def test_any_name_gives_a_file_name(name, workspace):
    path = download.Download(name, {}).save()
    assert path.parent == workspace / "downloads" and len(path.name) < 130
    assert not re.search(r'[<>:"/\\|?*]', path.name)


def test_windows_opens_the_longest_path(tmp_path, workspace):
    """Where Explorer unpacks into a folder of the zip's name: 259 characters in all."""
    show("f" * 200)
    runs = {"r" * 200: finished(tmp_path, "synthetic-" + "n" * 200)}
    path = download.Download("03_" + "synthetic-phone+" * 9, runs).save()
    with zipfile.ZipFile(path) as opened:
        longest = max(len(name) for name in opened.namelist())
    downloads = len("C:/Users/somebody/Downloads/") + len(path.stem) + 1
    assert downloads + longest < 260
    assert path.stem == "03_phone+phone+phone+phone+phone+phone+p"


def test_the_button_makes_the_zip_and_shows_an_error(workspace, monkeypatch):
    parts = []
    monkeypatch.setattr(download, "display", parts.append)
    shown = download.Download("some", {})
    shown._ipython_display_()
    row, _below = parts[0].children
    button = row.children[0]
    button.click()
    assert (workspace / "downloads" / "some.zip").exists()
    assert not button.disabled

    def full(folder, name):
        raise OSError("no room")

    monkeypatch.setattr(download.drive, "download", full)
    button.click()
    assert "no room" in parts[-1].data and not button.disabled
