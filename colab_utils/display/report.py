"""One self-contained page of all that is in an output folder: runs and executed notebooks."""

import base64
import datetime
import json
import os
import pathlib
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd

from colab_utils import files
from colab_utils.display import captions
from colab_utils.display.figures import confusion_matrix_figure
from colab_utils.display.page_template import NOTEBOOK, PAGE
from colab_utils.results.predictions import read_predictions

_WIDGET = "application/vnd.jupyter.widget-view+json"
_STATES = "application/vnd.jupyter.widget-state+json"
_NOTE = {
    "output_type": "stream",
    "name": "stdout",
    "text": "[interactive controls: open the notebook to use them]\n",
}


def build_page(out: str | os.PathLike) -> pathlib.Path:
    """Write index.html: each run with its figure, tables and settings, and the executed notebooks.

    Pictures and notebooks are inside the page; files are linked relative to it. A run that is not
    finished or cannot be read, and a notebook that cannot be rendered, stand on the page with the
    reason.

    Args:
        out: holds runs/<method>/<name>-<12 hex>/ (shown newest first) and notebooks/*.ipynb.

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
    folders = [file.parent for file in out.glob("runs/*/*/config.json")]
    folders.sort(key=lambda folder: (_time(folder), folder.name), reverse=True)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    page = environment.from_string(PAGE).render(
        made=f"{datetime.date.today():%d %B %Y}",
        runs=[_run(folder, out) for folder in folders],
        notebooks=[_notebook(path, out) for path in sorted(out.glob("notebooks/*.ipynb"))],
    )
    return files.write_text(out / "index.html", page)


def _time(folder: pathlib.Path) -> float:
    """When a run was finished (or last written), seconds since the epoch."""
    marks = [folder / name for name in ("DONE", "metrics.json", "config.json")]
    return next(mark for mark in marks if mark.exists()).stat().st_mtime


def _run(folder: pathlib.Path, out: pathlib.Path) -> dict[str, Any]:
    """All that the template shows of one run; `metrics` is None where there is a `problem`."""
    name, _, hexadecimal = folder.name.rpartition("-")
    there = [file for file in sorted(folder.glob("[!.]*.*")) if file.is_file()]
    shown = {
        "method": folder.parent.name,
        "name": name or folder.name,
        "anchor": hexadecimal,
        "when": f"{datetime.datetime.fromtimestamp(_time(folder)):%d %B %Y, %H:%M}",
        "files": {file.name: _link(file, out) for file in there},
        "settings": {},
        "stamps": [],
        "metrics": None,
        "problem": "Not finished: run its notebook again, it goes on where it stopped.",
    }
    try:
        shown["settings"] = _flat(files.read_json(folder / "config.json"))
        if (folder / "metrics.json").exists():
            shown.update(_result(folder))
    except (ValueError, KeyError, OSError) as error:
        shown["metrics"] = None
        shown["problem"] = f"Cannot be shown: {error}".replace(str(out), out.name)
    return shown


def _link(path: pathlib.Path, out: pathlib.Path) -> str:
    return quote(path.relative_to(out).as_posix())


def _result(folder: pathlib.Path) -> dict[str, Any]:
    """The numbers and the picture of a finished run."""
    metrics = files.read_json(folder / "metrics.json")
    predictions = read_predictions(folder / "predictions.csv")
    inside = captions.span(metrics)
    recalls = {}
    for label, recall in metrics["per_class_recall"].items():
        told = "no utterance" if recall is None else captions.per_cent(recall)
        recalls[label] = told, round(100 * (recall or 0))
    return {
        "metrics": metrics,
        "uar": captions.per_cent(metrics["uar"]),
        "wa": captions.per_cent(metrics["wa"]),
        "chance": captions.per_cent(metrics["chance"]),
        "interval": f"{inside} (over {captions.interval_unit(metrics)})" if inside else "none",
        "utterances": f"{predictions['utt_id'].nunique():,}",
        "speakers": f"{metrics['n_speakers']:,}" if metrics["n_speakers"] else "unknown",
        "headline": captions.headline(metrics),
        "rates": captions.rates(metrics),
        "sample": captions.sample(predictions),
        "pooling": captions.pooling(predictions),
        "notes": captions.notes(metrics),
        "stamps": captions.stamps(predictions, metrics),
        "recalls": recalls,
        "picture": _picture(folder, predictions, metrics),
    }


def _picture(folder: pathlib.Path, predictions: pd.DataFrame, metrics: dict) -> str:
    """The confusion matrix as base64 PNG, the saved one or drawn now; empty for several rules."""
    saved = folder / "confusion_matrix.png"
    if saved.exists():
        png = saved.read_bytes()
    elif len(metrics["method"]) > 1 or len(metrics["rule"]) > 1:
        return ""
    else:
        png = confusion_matrix_figure(predictions, metrics)._repr_png_()
    return base64.b64encode(png).decode()


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
