"""One self-contained page of everything in an output folder: each run with its figure, tables and
settings, and the executed notebooks.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
import pathlib
from typing import Any
from urllib.parse import quote

import jinja2

from colab_utils import files
from colab_utils.display import captions, figures
from colab_utils.display.page_template import NOTEBOOK, PAGE
from colab_utils.results.predictions import read_predictions

SHOWN_FILES = (
    "config.json",
    "environment.json",
    "split.csv",
    "predictions.csv",
    "metrics.json",
    "steps.csv",
    "history.jsonl",
    "confusion_matrix.png",
    "confusion_matrix.pdf",
    "confusion_matrix.svg",
    "confusion_matrix.csv",
)
_WIDGET = "application/vnd.jupyter.widget-view+json"


def build_page(
    out: str | os.PathLike, title: str = "Speech emotion recognition: results"
) -> pathlib.Path:
    """Write `out`/index.html from `out`/runs/<method>/<name>-<12 hex>/ (newest first) and
    `out`/notebooks/*.ipynb; returns its path.

    Pictures and notebooks are inside the page; files are linked relative to it. A run that is not
    finished or cannot be read, and a notebook that cannot be rendered, stand on the page with the
    reason. Raises FileNotFoundError when `out` is missing.
    """
    out = pathlib.Path(out)
    if not out.is_dir():
        raise FileNotFoundError(
            f"{out}: no such folder; run a notebook first, or pass the folder that holds runs/"
        )
    folders = sorted(
        (file.parent for file in out.glob("runs/*/*/config.json")),
        key=lambda folder: (_time(folder), folder.name),
        reverse=True,
    )
    notebooks = [_notebook(path, out) for path in sorted(out.glob("notebooks/*.ipynb"))]
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    page = environment.from_string(PAGE).render(
        title=title,
        made=f"{datetime.date.today():%d %B %Y}",
        notebooks=notebooks,
        runs=[_run(folder, out) for folder in folders],
    )
    return files.write_text(out / "index.html", page)


def _time(folder: pathlib.Path) -> float:
    """When a run was finished (or last written), seconds since the epoch."""
    marks = [folder / name for name in ("DONE", "metrics.json", "config.json")]
    return next(mark for mark in marks if mark.exists()).stat().st_mtime


def _run(folder: pathlib.Path, out: pathlib.Path) -> dict[str, Any]:
    """All that the template shows of one run."""
    name, _, hexadecimal = folder.name.rpartition("-")
    link = folder.relative_to(out)
    run = {
        "method": folder.parent.name,
        "name": name or folder.name,
        "anchor": hexadecimal,
        "metrics": None,
        "problem": "",
        "settings": [],
        "stamps": [],
        "when": f"{datetime.datetime.fromtimestamp(_time(folder)):%d %B %Y, %H:%M}",
        "files": [
            (file, quote((link / file).as_posix()))
            for file in SHOWN_FILES
            if (folder / file).exists()
        ],
    }
    try:
        run["settings"] = _settings(files.read_json(folder / "config.json"))
        if not (folder / "metrics.json").exists():
            return run | {
                "problem": "Not finished: run its notebook again, it goes on where it stopped."
            }
        return run | _result(folder)
    except (ValueError, KeyError, OSError) as error:
        return run | {
            "metrics": None,
            "problem": f"Cannot be shown: {error}".replace(str(out), out.name),
        }


def _result(folder: pathlib.Path) -> dict[str, Any]:
    """The numbers and the picture of a finished run, as text ready to show."""
    metrics, predictions = (
        files.read_json(folder / "metrics.json"),
        read_predictions(folder / "predictions.csv"),
    )
    recalls = [
        (
            label,
            "no utterance" if value is None else captions.per_cent(value),
            0 if value is None else round(100 * value),
        )
        for label, value in metrics["per_class_recall"].items()
    ]
    interval = metrics.get("uar_ci95")
    return {
        "metrics": metrics,
        "uar": captions.per_cent(metrics["uar"]),
        "wa": captions.per_cent(metrics["wa"]),
        "recalls": recalls,
        "chance": captions.per_cent(metrics["chance"]),
        "headline": captions.headline(metrics),
        "rates": captions.rates(metrics),
        "interval": (
            f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} (over"
            f" {captions.interval_unit(metrics)})"
            if interval
            else "none"
        ),
        "sample": captions.sample(predictions),
        "pooling": captions.pooling(predictions),
        "notes": captions.notes(metrics),
        "utterances": f"{predictions['utt_id'].nunique():,}",
        "speakers": f"{metrics['n_speakers']:,}" if metrics["n_speakers"] else "unknown",
        "stamps": captions.stamps(predictions, metrics),
        "picture": _picture(folder, predictions, metrics),
    }


def _picture(folder: pathlib.Path, predictions: Any, metrics: dict) -> str:
    """The run's confusion matrix as base64 PNG: the saved one, or drawn now; empty for a run with
    several rules, which has none.
    """
    saved = folder / "confusion_matrix.png"
    if saved.exists():
        return base64.b64encode(saved.read_bytes()).decode()
    if len(predictions[["method", "rule"]].drop_duplicates()) > 1:
        return ""
    return base64.b64encode(
        figures.confusion_matrix_figure(predictions, metrics)._repr_png_()
    ).decode()


def _settings(config: dict, above: str = "") -> list[tuple[str, str]]:
    """config.json as rows (name, value): nested settings with dots in their names, values as JSON."""
    rows = []
    for name, value in config.items():
        rows += (
            _settings(value, f"{above}{name}.")
            if isinstance(value, dict) and value
            else [(above + name, _shown(value))]
        )
    return rows


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _notebook(path: pathlib.Path, out: pathlib.Path) -> dict[str, str]:
    """An executed notebook rendered by nbconvert, or the reason why it is not."""
    shown = {
        "name": path.stem,
        "link": quote(path.relative_to(out).as_posix()),
        "html": "",
        "problem": "",
    }
    try:
        import nbformat
        from nbconvert import HTMLExporter
        from pygments.formatters import HtmlFormatter
    except ImportError:
        return shown | {
            "problem": (
                "Not rendered: nbconvert is not installed (pip install nbconvert); the file itself"
                " is linked below."
            )
        }
    try:
        exporter = HTMLExporter(
            template_name="basic",
            embed_images=True,
            exclude_input_prompt=True,
            exclude_output_prompt=True,
        )
        body = exporter.from_notebook_node(unfold_widgets(nbformat.read(path, as_version=4)))[0]
        return shown | {
            "html": (
                NOTEBOOK.replace(
                    "COLOURS", HtmlFormatter(style="default").get_style_defs(".highlight")
                ).replace("BODY", body)
            )
        }
    except Exception as error:
        # whatever a broken notebook raises in nbconvert, the rest of the page stands
        return shown | {"problem": f"Not rendered: {type(error).__name__}: {error}"}


def unfold_widgets(notebook: Any) -> Any:
    """Replace the widgets of an executed notebook, which are dead without a kernel, by a note and
    what their Output and HTML areas held.
    """
    stored = (
        notebook.metadata.pop("widgets", {})
        .get("application/vnd.jupyter.widget-state+json", {})
        .get("state", {})
    )
    note = {
        "output_type": "stream",
        "name": "stdout",
        "text": "[interactive controls: open the notebook to use them]\n",
    }
    for cell in notebook.cells:
        outputs = []
        for output in cell.get("outputs", []):
            view = output.get("data", {}).get(_WIDGET)
            held = _held(view["model_id"], stored) if view else []
            outputs += (
                [output]
                if view is None
                else held
                if _is_progress(view["model_id"], stored)
                else [note, *held]
            )
        if "outputs" in cell:
            cell.outputs = [type(cell)(output) for output in outputs]
    return notebook


def _is_progress(model: str, stored: dict) -> bool:
    """Whether a widget is a progress bar, of which nothing is worth telling once it is full."""
    state = stored.get(model, {}).get("state", {})
    below = [child.removeprefix("IPY_MODEL_") for child in state.get("children", [])]
    return state.get("_model_name") == "FloatProgressModel" or any(
        _is_progress(child, stored) for child in below
    )


def _held(model: str, stored: dict) -> list[dict]:
    """What the Output and HTML widgets at or below `model` show, as outputs, in their order."""
    state = stored.get(model, {}).get("state", {})
    below = [child.removeprefix("IPY_MODEL_") for child in state.get("children", [])]
    page = state.get("value", "") if state.get("_model_name") == "HTMLModel" else ""
    written = (
        [{"output_type": "display_data", "metadata": {}, "data": {"text/html": page}}]
        if "<audio" in page
        else []
    )
    return [
        *state.get("outputs", []),
        *written,
        *(output for child in below for output in _held(child, stored)),
    ]
