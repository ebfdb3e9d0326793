"""How far scores can be trusted, and what is left of a run without its least certain answers."""

import html
from collections.abc import Mapping
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.axes import Axes

from colab_utils.display import captions, style
from colab_utils.display.figures import confusion_matrix_figure
from colab_utils.results import calibration
from colab_utils.results.metrics import summarise_again
from colab_utils.results.predictions import PredictionError, check_one_rule, probability_columns
from colab_utils.results.runs import Run

MOST = 6  # runs in a figure
_HEAD = 6.5  # points
_OWN = {"color": style.ACCENT, "lw": 1.2, "ms": 2.6, "zorder": 3}
_OTHER = {"color": "#cfcfcf", "lw": 0.8, "ms": 0}
Runs = Run | Mapping[str, Run]


def show_certainty(runs: Runs, title: str = "") -> Any:
    """Display `certainty_figure`, and give the slider of `leave_out`.

    Args:
        runs: a finished run, or several by name: the first MOST that have scores are shown, and it
            is said which are not.
        title: above the figure.

    Returns:
        The widget to show as a cell's last value; None where no run has scores.

    Example:
        >>> show_certainty(run)
    """
    shown = {}
    for name, run in _by_name(runs).items():
        if not probability_columns(run.predictions):
            print(f"{name or run.path.name} has no scores: nothing can be said of its certainty")
        elif len(shown) == MOST:
            print(f"{name} is not shown: no more than {MOST} runs have room")
        else:
            shown[name] = run
    if not shown:
        return None
    display(certainty_figure(shown, title))
    return leave_out(shown)


def _by_name(runs: Runs) -> dict[str, Run]:
    """The runs by name; one alone has none."""
    return {"": runs} if isinstance(runs, Run) else dict(runs)


def certainty_figure(runs: Runs, title: str = "") -> style.SuiteFigure:
    """Are the scores right, and are certain predictions right more often than others?

    First the reliability diagram: how often predictions are right (y) that are so certain (x), in
    15 bins of equally many. Then the UAR of what is kept when the least certain predictions of each
    seed and draw are left out; of a run alone also where its errors were left out first, and where
    chance chose. Several runs stand side by side, each with the others in grey: no colour means one
    of them.

    Args:
        runs: a finished run, or several by name, up to MOST.
        title: above all.

    Returns:
        The figure; the expected calibration error of each run stands above it.

    Raises:
        ValueError: no run, or more than MOST.
        PredictionError: a run of several methods or rules, or one without scores.

    Example:
        >>> certainty_figure({"logistic": run, "mlp": other})
    """
    shown = _with_scores(_by_name(runs))
    curves = {name: _curves(*result) for name, result in shown.items()}
    predictions = next(iter(shown.values()))[0]
    of_what = captions.subject if len(shown) == 1 else captions.corpora_of
    with style.suite_style():
        figure, panels = _panels(len(shown))
        told, below = [], _below(shown, [curve["luck"] for curve in curves.values()])
        for name, (reliable, kept) in zip(shown, panels, strict=True):
            for other in curves:
                look = _OWN if other == name else _OTHER
                _draw(reliable, kept, curves[other], **look)
            metrics = shown[name][1]
            if len(shown) == 1:
                _errors_and_chance(kept, predictions, metrics)
            below += style.guess_level(kept, metrics["chance"])
            error = f"ECE {captions.per_cent(curves[name]['error'])}"
            head = captions.wrap(captions.run(name), _inches(panels), _HEAD)
            reliable.set_title("\n".join([*head, error]), fontsize=_HEAD)
            start = f"{captions.run(name)}: {error}" if name else error
            told.append(f"{start}, {_of_half(metrics, curves[name])}")
        style.tell(
            figure,
            "certainty",
            title or of_what(predictions),
            sentences=list(dict.fromkeys(below)),
            stamps=captions.stamps_of_all(shown),
            numbers=" ".join(told),
        )
    return figure


def _with_scores(runs: Mapping[str, Run]) -> captions.Results:
    """What is drawn of the runs; raises what `certainty_figure` raises."""
    if not 0 < len(runs) <= MOST:
        raise ValueError(f"{len(runs)} runs: 1 to {MOST} have room side by side; pass so many")
    shown = {name: (run.predictions, run.metrics) for name, run in runs.items()}
    for name, (predictions, _) in shown.items():
        check_one_rule(predictions, name or "the run")
        if not probability_columns(predictions):
            raise PredictionError(
                f"{name or 'the run'} has no scores: columns p_<emotion> say how certain it is"
            )
    return shown


def _curves(predictions: pd.DataFrame, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What is drawn of one run: bins (mean over seeds and draws), UAR by the share kept, errors."""
    bins = calibration.reliability(predictions)
    sure = calibration.certainty(predictions)
    return {
        "bins": 100 * bins.groupby("bin")[["confidence", "accuracy"]].mean(),
        "rates": calibration.uar_by_share(predictions, metrics["labels"], sure),
        "error": calibration.calibration_error(bins),
        "luck": calibration.error_by_luck(bins),
    }


def _panels(number: int) -> tuple[style.SuiteFigure, np.ndarray]:
    """The figure, and two empty panels for each run: beside each other for one, else below."""
    if number == 1:
        figure = style.new_figure(style.WIDE_COLUMN, 2.4)
        panels = figure.subplots(1, 2, squeeze=False)
    else:
        figure = style.new_figure(style.TWO_COLUMNS, 3.2)
        panels = figure.subplots(2, number, sharex=True, sharey="row").T
    for reliable, kept in panels:
        reliable.axline((0, 0), slope=1, color=style.QUIET, lw=0.8, ls=":")
        reliable.set(xlim=(0, 100), ylim=(0, 100))
        reliable.tick_params(labelbottom=True)
        kept.set(xlim=(0, 100))
        for axes, name in ((reliable, "Top probability (%)"), (kept, "Share kept (%)")):
            axes.set_xlabel("\n".join(captions.wrap(name, _inches(panels), 7.5)))
    panels[0, 0].set_ylabel("Right answers (%)")
    panels[0, 1].set_ylabel("UAR of kept (%)")
    return figure, panels


def _inches(panels: np.ndarray) -> float:
    """About how wide each panel is."""
    return (panels[0, 0].figure.get_figwidth() - 0.6) / max(2, len(panels)) - 0.1


def _draw(reliable: Axes, kept: Axes, curve: Mapping[str, Any], **look: Any) -> None:
    """Accuracy over confidence, a point a bin; and UAR over the share that is kept."""
    bins, look = curve["bins"], {"clip_on": False} | look
    reliable.plot(bins["confidence"], bins["accuracy"], marker="o", **look)
    kept.plot(100 * calibration.SHARES, 100 * curve["rates"], **look)


def _errors_and_chance(axes: Axes, predictions: pd.DataFrame, metrics: Mapping[str, Any]) -> None:
    """What leaving out the errors would give, and leaving out at random; with names for all."""
    axes.lines[0].set_label("least certain left out first")
    right = predictions["true"] == predictions["pred"]
    best = calibration.uar_by_share(predictions, metrics["labels"], right)
    look = {"color": style.QUIET, "lw": 0.9}
    errors_first = {"ls": "-.", "label": "errors left out first"}
    axes.plot(100 * calibration.SHARES, 100 * best, **look, **errors_first)
    at_random = {"ls": "--", "label": "left out at random"}
    axes.axhline(100 * metrics["uar"], **look, **at_random)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1))


def _of_half(metrics: Mapping[str, Any], curve: Mapping[str, Any]) -> str:
    """The UAR of all and of the most certain half, in words."""
    half = curve["rates"][len(curve["rates"]) // 2 - 1]
    rate = "not known" if np.isnan(half) else captions.per_cent(half)
    return f"UAR {captions.per_cent(metrics['uar'])}, of the most certain half {rate}."


def _below(shown: captions.Results, luck: list[float]) -> list[str]:
    """What the lines are, and how large the error is where all is right."""
    least, most = 100 * min(luck), 100 * max(luck)
    about = f"{least:.1f}" if round(least, 1) == round(most, 1) else f"{least:.1f} to {most:.1f}"
    first, second = ("Left", "Right") if len(shown) == 1 else ("Above", "Below")
    lines = [
        f"{first}: {calibration.BINS} bins of equally many predictions; on the dotted line they are"
        " right as often as they say, under it they are too sure. ECE: expected calibration error,"
        f" the mean distance from that line; samples as small as these give {about} % by luck even"
        " where all probabilities are right.",
        f"{second}: the least certain are left out; a line ends where an emotion is left out"
        " altogether.",
    ]
    if len(shown) > 1:
        lines.append("Grey: the others.")
    pooled = {captions.repetitions(predictions) for predictions, _ in shown.values()} - {""}
    if pooled:
        lines.append(f"Over {' or '.join(sorted(pooled))}: tasks are pooled, the rest averaged.")
    return lines


def leave_out(runs: Runs) -> Any:
    """A slider: leave out the least certain n % and see the confusion matrix of what is kept.

    All numbers are made anew from the predictions that are kept.

    Args:
        runs: a finished run with scores, or several by name, of which a drop-down chooses.

    Returns:
        The widget to show as a cell's last value; it starts with all predictions.

    Example:
        >>> leave_out(run)
    """
    runs = _by_name(runs)
    name = ipywidgets.Dropdown(description="run", options=[(one, one) for one in runs])
    slider = ipywidgets.IntSlider(
        description="leave out the least certain (%)",
        min=0,
        max=90,
        step=5,
        continuous_update=False,
        style={"description_width": "initial"},
        layout={"width": "36em"},
    )
    # Not an Output: in a panel or a headless run it shows its first state alone.
    shown = ipywidgets.HTML()

    def show(_change: Any = None) -> None:
        shown.value = kept_html(runs[name.value], slider.value, name.value)

    for control in (name, slider):
        control.observe(show, names="value")
    show()
    controls = [name, slider] if len(runs) > 1 else [slider]
    return ipywidgets.VBox([*controls, shown])


def kept_html(run: Run, per_cent: int, name: str = "") -> str:
    """What is left of a run without its least certain predictions, and what was left out.

    Args:
        run: finished, with scores.
        per_cent: of the predictions of each seed and draw that are left out, 0 to below 100.
        name: of the run, above the matrix.

    Returns:
        HTML: numbers in words, and the confusion matrix as a picture.
    """
    predictions, metrics = run.predictions, run.metrics
    is_kept = calibration.surest(predictions, per_cent)
    kept = predictions[is_kept]
    of_kept = summarise_again(kept, metrics, run.split)
    what = "predictions" if captions.repetitions(predictions) else "utterances"
    told = f"{len(kept):,} of {len(predictions):,} {what} are kept: {captions.headline(of_kept)}."
    number = predictions["true"].value_counts()
    without = predictions.loc[~is_kept, "true"].value_counts()
    if len(without):
        parts = [f"{without[one]:,} of {number[one]:,} {one}" for one in without.index]
        told += f" Left out: {', '.join(parts)}."
    parts = captions.corpora_of(predictions), captions.run(name)
    name = ", ".join(dict.fromkeys(parts)) if name else captions.subject(predictions)
    title = f"{name}: the least certain {per_cent} % left out"
    picture = confusion_matrix_figure(kept, of_kept, title if per_cent else name)
    if per_cent:
        picture.name = f"confusion matrix without the least certain, {name}"  # one for all stops
    return f'<p style="line-height:1.4;max-width:50em">{html.escape(told)}</p>{picture.html()}'
