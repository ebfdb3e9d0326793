"""One self-contained page of all that is in an output folder: runs and executed notebooks."""

import datetime
import json
import os
import pathlib
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd

from colab_utils import files, ledger
from colab_utils.display import captions
from colab_utils.display.page.template import NOTEBOOK, PAGE
from colab_utils.progress import bar as progress_bar
from colab_utils.results.folders import Found, find_runs
from colab_utils.results.groups import by_question
from colab_utils.results.runs import Run

_WIDGET = "application/vnd.jupyter.widget-view+json"
_STATES = "application/vnd.jupyter.widget-state+json"
_WIDEST = 16  # emotions of a matrix that is shown: a page holds thousands of runs
_NOTE = {
    "output_type": "stream",
    "name": "stdout",
    "text": "[interactive controls: open the notebook to use them]\n",
}


def build_page(out: str | os.PathLike) -> pathlib.Path:
    """Write index.html: each run with its matrix, numbers and settings, and executed notebooks.

    Runs stand folded under their question (`results.groups.by_question`), the newest question
    first, its best run first; open is the newest run. Matrices and notebooks are inside the page;
    files are linked relative to it. Numbers are shown of finished runs alone
    (`results.folders.find_runs`). How far sweeps are stands above them. Other folders below runs/
    stand in a list at the end, and a notebook that cannot be rendered in its place, with the
    reason.

    Args:
        out: holds runs/<method>/<name>-<12 hex>/ and notebooks/*.ipynb.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: `out` is missing.
    """
    out = pathlib.Path(out)
    if not out.is_dir():
        raise FileNotFoundError(
            f"{out}: no such folder; run a notebook first, or pass the folder that holds runs/"
        )
    cells = ledger.ledger(out)
    known = cells[cells["reason"].fillna("") != ""].set_index("folder")
    ends = (known["state"] + ": " + known["reason"]).to_dict()
    finished, left_out = [], []
    for one in find_runs(out):
        if one.problem:
            about = _about(one, out)
            about["problem"] = ends.get(str(one.folder), one.problem)
            left_out.append(about)
        else:
            finished.append(one)
    questions = []
    with progress_bar(total=len(finished), desc="page", leave=False) as shown:
        for title, same in by_question(finished).items():
            runs = []
            for one in same:
                about = _about(one, out) | _result(one.run, out)
                (left_out if about["problem"] else runs).append(about)
                shown.update()
            if runs:
                questions.append(_question(title, runs))
    questions.sort(key=lambda question: question["newest"]["time"], reverse=True)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    page = environment.from_string(PAGE).render(
        made=f"{datetime.date.today():%d %B %Y}",
        questions=questions,
        sweeps=[
            {"name": name, "told": ledger.summary(same)} for name, same in cells.groupby("sweep")
        ],
        left_out=sorted(left_out, key=lambda one: one["time"], reverse=True),
        notebooks=[_notebook(path, out) for path in sorted(out.glob("notebooks/*.ipynb"))],
    )
    # Half a character, such as in a folder's name that is no UTF-8, cannot be written.
    return files.write_text(out / "index.html", page.encode("utf-8", "replace").decode())


def _question(title: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A question with its runs, the best first, and what all runs of one method have in common."""
    runs.sort(key=lambda one: (-one["rank"], one["folder"]))
    of_method: dict[str, list[dict[str, Any]]] = {}
    for one in runs:
        of_method.setdefault(one["method"], []).append(one)
    common = {}
    for method, same in of_method.items():
        if len(same) > 1:
            common[method] = dict(_shared([one["settings"] for one in same]))
            for one in same:
                others = one["settings"].items() - common[method].items()
                one["settings"] = dict(sorted(others))
    newest = max(runs, key=lambda one: one["time"])
    return {"title": title, "runs": runs, "common": common, "newest": newest}


def _shared(settings: list[dict[str, str]]) -> list[tuple[str, str]]:
    """The settings that all of several runs have, in their order."""
    of_all = set.intersection(*(set(one.items()) for one in settings))
    return [item for item in settings[0].items() if item in of_all]


def _time(folder: pathlib.Path) -> float:
    """When a run was finished (or last written), seconds since the epoch."""
    marks = [folder / name for name in ("DONE", "metrics.json", "config.json")]
    there = [mark for mark in marks if os.path.exists(mark)]
    return os.lstat((there or [folder])[0]).st_mtime


def _about(found: Found, out: pathlib.Path) -> dict[str, Any]:
    """What the template shows of every folder below runs/."""
    folder = found.folder
    name, _, hexadecimal = folder.name.rpartition("-")
    return {
        "folder": f"{folder.parent.name}/{folder.name}",
        "method": folder.parent.name,
        "name": name,
        "hash": hexadecimal,
        "link": _link(folder, out),
        "time": (_time(folder), folder.name),
        "when": f"{datetime.datetime.fromtimestamp(_time(folder)):%d %B %Y, %H:%M}",
        "problem": found.problem,
    }


def _link(path: pathlib.Path, out: pathlib.Path) -> str:
    return quote(os.fsencode(path.relative_to(out).as_posix()))


def _result(run: Run, out: pathlib.Path) -> dict[str, Any]:
    """What it shows of a finished run besides: numbers, matrix, settings and files."""
    there = [path for path in sorted(run.path.glob("[!.]*.*")) if path.is_file()]
    try:
        return _numbers(run) | {
            "settings": _flat(run.config),
            "files": {path.name: _link(path, out) for path in there},
        }
    except Exception as error:
        # Whatever one run raises when it is drawn, the rest of the page stands.
        return {"problem": f"cannot be shown: {error}".replace(str(out), out.name)}


def _numbers(run: Run) -> dict[str, Any]:
    """The numbers and the confusion matrix of a finished run."""
    metrics, predictions = run.metrics, run.predictions
    return {
        "rank": metrics["uar"],
        "uar": captions.per_cent(metrics["uar"]),
        "interval": captions.span(metrics) or "no interval",
        "headline": captions.headline(metrics),
        "rates": captions.rates(metrics),
        "sample": captions.sample(predictions),
        "pooling": captions.pooling(predictions),
        "notes": captions.notes(metrics),
        "stamps": captions.stamps(predictions, metrics),
        "labels": metrics["labels"],
        "rows": _rows(metrics),
    }


def _rows(metrics: dict) -> list[dict[str, Any]]:
    """The confusion matrix: emotion, recall, and (per cent of the row, count) of each cell.

    No cells for several methods or rules in one, and for more than _WIDEST emotions.
    """
    mixed = len(metrics["method"]) > 1 or len(metrics["rule"]) > 1
    rows = []
    for label, counts in zip(metrics["labels"], metrics["confusion"], strict=True):
        recall = metrics["per_class_recall"][label]
        told = "no utterance" if recall is None else captions.per_cent(recall)
        total = sum(counts) or 1
        cells = [(round(100 * count / total), count) for count in counts]
        shown = [] if mixed or len(counts) > _WIDEST else cells
        rows.append({"label": label, "recall": told, "cells": shown})
    return rows


def _flat(config: dict) -> dict[str, str]:
    """config.json in one level: nested settings with dots in their names, values as JSON."""
    (flat,) = pd.json_normalize(config).to_dict("records")
    found = {}
    for name, value in flat.items():
        is_text = isinstance(value, str)
        found[name] = value if is_text else json.dumps(value, ensure_ascii=False)
    return found


def _notebook(path: pathlib.Path, out: pathlib.Path) -> dict[str, str]:
    """An executed notebook rendered by nbconvert, or the reason why it is not."""
    shown = {"name": path.stem, "link": _link(path, out), "html": "", "problem": ""}
    try:
        import nbformat
        from nbconvert import HTMLExporter
        from pygments.formatters import HtmlFormatter
    except ImportError:
        shown["problem"] = (
            "Not rendered: nbconvert is not installed (pip install nbconvert); the file itself is"
            " linked below."
        )
        return shown
    try:
        exporter = HTMLExporter(
            template_name="basic",
            embed_images=True,
            exclude_input_prompt=True,
            exclude_output_prompt=True,
        )
        notebook = unfold_widgets(nbformat.read(path, as_version=4))
        body, _ = exporter.from_notebook_node(notebook)
        colours = HtmlFormatter(style="default").get_style_defs(".highlight")
        shown["html"] = NOTEBOOK.replace("COLOURS", colours).replace("BODY", body)
    except Exception as error:
        # Whatever a broken notebook raises in nbconvert, the rest of the page stands.
        shown["problem"] = f"Not rendered: {type(error).__name__}: {error}"
    return shown


def unfold_widgets(notebook: Any) -> Any:
    """Replace the widgets of an executed notebook, which are dead without a kernel.

    Args:
        notebook: of nbformat; changed in place.

    Returns:
        The same: a note stands for each widget, and what its Output and HTML areas held; a progress
        bar, of which nothing is worth telling once it is full, is left out.
    """
    states = notebook.metadata.pop("widgets", {}).get(_STATES, {}).get("state", {})
    for cell in notebook.cells:
        outputs = []
        for output in cell.get("outputs", []):
            view = output.get("data", {}).get(_WIDGET)
            if view is None:
                outputs.append(output)
            else:
                outputs += _held(view["model_id"], states)
        if "outputs" in cell:
            cell.outputs = [type(cell)(output) for output in outputs]
    return notebook


def _held(model: str, states: dict) -> list[dict]:
    """What stands for a widget: a note, and what it and those below show, in their order."""
    found = [_NOTE]
    waiting = [model]
    while waiting:
        state = states.get(waiting.pop(0), {}).get("state", {})
        kind = state.get("_model_name")
        if kind == "FloatProgressModel":
            return []
        found += state.get("outputs", [])
        if kind == "HTMLModel" and "<audio" in state.get("value", ""):
            page = {"text/html": state["value"]}
            found.append({"output_type": "display_data", "metadata": {}, "data": page})
        below = [child.removeprefix("IPY_MODEL_") for child in state.get("children", [])]
        waiting = below + waiting
    return found
