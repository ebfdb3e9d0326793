"""Names that are tags, formulas or mathematics, from a user's tables to every output."""

import csv
import html.parser
import itertools
import json

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile
from notebook_runs import loaded, only, run

pytestmark = pytest.mark.slow

EMOTIONS = ["<hostile>", '" hostile="1', "=1+1", r"$\frac{x$"]
SPEAKERS = ["'><hostile>", "-rf", "@me", "_a", "&lt;hostile&gt;"]
COLUMNS = {"wav": "file", "emotion": "label", "speaker": "who"}


def write_table(folder, name, speakers, each):
    """A CSV and its audio: hums, whose pitch tells the emotion."""
    rng, rows = np.random.default_rng(len(speakers)), []
    for number, speaker in enumerate(speakers):
        for pitch, emotion in enumerate(EMOTIONS):
            for take in range(each):
                hertz = (150 + 200 * pitch) * (1 + 0.03 * rng.normal())
                wave = rng.uniform(0.1, 0.5) * np.sin(hertz * np.arange(6400) * 2 * np.pi / 16000)
                file = f"{name}{number}/=<hostile>{pitch}{take}.wav"
                (folder / file).parent.mkdir(exist_ok=True)
                soundfile.write(folder / file, wave + 0.01 * rng.normal(size=6400), 16000)
                rows.append((file, emotion, speaker))
    pd.DataFrame(rows, columns=list(COLUMNS.values())).to_csv(folder / f"{name}.csv", index=False)
    return folder / f"{name}.csv"


class Parsed(html.parser.HTMLParser):
    """What a browser would make of a page: whether a name became an element or an attribute."""

    hostile = False

    def handle_starttag(self, tag, attrs):
        self.hostile |= "hostile" in [tag, *(name for name, _ in attrs)]


def pages_of(notebook):
    """All HTML of an executed notebook: outputs, and what widgets of ipywidgets 7 make HTML of."""
    pages = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            pages += [text for kind, text in data.items() if kind in ("text/html", "image/svg+xml")]
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    for widget in states.values():
        pages.append(widget["state"].get("description", ""))
        if widget["model_name"] == "HTMLModel":
            pages.append(widget["state"]["value"])
    return pages


def assert_harmless(workspace):
    """No name is an element of a page or a formula in a table, and no tested utterance is lost."""
    executed = nbformat.read(only(workspace, "notebooks/*.ipynb"), as_version=4)
    pages = pages_of(executed)
    for page in pages:
        parsed = Parsed()
        parsed.feed(page or "")
        assert not parsed.hostile, page[:2000]
    assert any("&lt;hostile&gt;" in page for page in pages if page), "the names are shown"
    tables = list(workspace.glob("runs/**/*.csv"))
    assert tables
    for table in tables:
        with open(table, encoding="utf-8", newline="") as handle:
            for cell in itertools.chain.from_iterable(csv.reader(handle)):
                assert not cell.startswith(("=", "@"))
                if cell.startswith(("+", "-")):
                    float(cell)
    return [json.loads(path.read_text()) for path in workspace.glob("runs/*/*/metrics.json")]


def test_notebook_01_with_names_that_are_tags_formulas_and_mathematics(tmp_path):
    table = write_table(tmp_path, "own", SPEAKERS, 2)
    workspace = tmp_path / "out"
    given = "CORPUS=own", f"AUDIO={table}", f"OWN_CSV={COLUMNS}"
    for _ in range(2):
        done = run("01_feature_extraction.ipynb", workspace, *given)
        assert done.returncode == 0, done.stdout + done.stderr
        found = assert_harmless(workspace)
        assert [metrics["n"] for metrics in found] == [40, 40, 40]
    assert loaded(done.stdout) == 3 and "torn" not in done.stdout


def test_notebook_02_with_names_that_are_tags_formulas_and_mathematics(tmp_path):
    train = write_table(tmp_path, "train", SPEAKERS, 4)
    test = write_table(tmp_path, "test", [f"{who}2" for who in SPEAKERS[:3]], 4)
    parameters = {
        "TRAIN_CSV": train,
        "TEST_CSV": test,
        "CSV_COLUMNS": COLUMNS,
        "FEATURES": "logmel",
        "WAYS": 4,
        "SHOTS": 1,
        "QUERIES": 2,
        "TASKS": 4,
        "ITERATIONS": 2,
        "SETTINGS": {"valid_tasks": 8, "meta_batch": 2},
    }
    given = [f"{name}={value}" for name, value in parameters.items()]
    done = run("02_maml_training.ipynb", tmp_path / "out", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {metrics["n"] for metrics in assert_harmless(tmp_path / "out")} == {4 * 8}
