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
from colab_utils.display.page.template import NOTEBOOK, PAGE
from colab_utils.results.folders import Found, find_runs
from colab_utils.results.runs import Run

_WIDGET = "application/vnd.jupyter.widget-view+json"
_STATES = "application/vnd.jupyter.widget-state+json"
_NOTE = {
    "output_type": "stream",
    "name": "stdout",
    "text": "[interactive controls: open the notebook to use them]\n",
}


def build_page(out: str | os.PathLike) -> pathlib.Path:
    """Write index.html: each run with its figure, tables and settings, and the executed notebooks.

    Pictures and notebooks are inside the page; files are linked relative to it. Numbers are shown
    of finished runs alone (`results.folders.find_runs`), and drawn from their predictions. Other
    folders below runs/ stand in a list at the end, and a notebook that cannot be rendered in its
    place, with the reason.

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
    runs, left_out = [], []
    found = find_runs(out)
    found.sort(key=lambda one: (_time(one.folder), one.folder.name), reverse=True)
    for one in found:
        about = _about(one, out)
        if not about["problem"]:
            about.update(_result(one.run, out))
        shown = left_out if about["problem"] else runs
        shown.append(about)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    page = environment.from_string(PAGE).render(
        made=f"{datetime.date.today():%d %B %Y}",
        runs=runs,
        left_out=left_out,
        notebooks=[_notebook(path, out) for path in sorted(out.glob("notebooks/*.ipynb"))],
    )
    # Half a character, such as in a folder's name that is no UTF-8, cannot be written.
    return files.write_text(out / "index.html", page.encode("utf-8", "replace").decode())


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
        "when": f"{datetime.datetime.fromtimestamp(_time(folder)):%d %B %Y, %H:%M}",
        "problem": found.problem,
    }


def _link(path: pathlib.Path, out: pathlib.Path) -> str:
    return quote(os.fsencode(path.relative_to(out).as_posix()))


def _result(run: Run, out: pathlib.Path) -> dict[str, Any]:
    """What it shows of a finished run besides: numbers, picture, settings and files."""
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
    """The numbers and the picture of a finished run."""
    metrics, predictions = run.metrics, run.predictions
    inside = captions.span(metrics)
    recalls = {}
    for label, recall in metrics["per_class_recall"].items():
        told = "no utterance" if recall is None else captions.per_cent(recall)
        recalls[label] = told, round(100 * (recall or 0))
    return {
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
        "picture": _picture(predictions, metrics),
    }


def _picture(predictions: pd.DataFrame, metrics: dict) -> str:
    """The confusion matrix as base64 PNG; empty for several methods or rules.

    Nothing vouches for the file that lies in the folder: it is drawn from the predictions.
    """
    if len(metrics["method"]) > 1 or len(metrics["rule"]) > 1:
        return ""
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
