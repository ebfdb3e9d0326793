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
from colab_utils.display.style import COLOURS, DASHES, MARKERS
from colab_utils.results import calibration
from colab_utils.results.metrics import summarise_again
from colab_utils.results.predictions import PredictionError, check_one_rule, probability_columns
from colab_utils.results.runs import Run

MOST = len(COLOURS)  # runs in a figure
_LETTERS = 95  # of a legend, side by side
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
            print(f"{name} is not shown: more than {MOST} runs cannot be told apart")
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

    Left, the reliability diagram: how often predictions are right (y) that are so certain (x), in
    15 bins of equally many. Right: the UAR of what is kept when the least certain predictions of
    each seed and draw are left out; of a run alone also where its errors were left out first, and
    where luck chose.

    Args:
        runs: a finished run, or several by name, up to MOST.
        title: above all.

    Returns:
        The figure; the expected calibration error of each run stands in the legend.

    Raises:
        ValueError: no run, or more than MOST.
        PredictionError: a run of several methods or rules, or one without scores.

    Example:
        >>> certainty_figure({"logistic": run, "mlp": other})
    """
    shown = _with_scores(_by_name(runs))
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 2.3)
        left, right = figure.subplots(1, 2)
        left.axline((0, 0), slope=1, color=style.QUIET, lw=0.8, ls=":")
        luck, told = [], []
        for number, (name, (predictions, metrics)) in enumerate(shown.items()):
            bins = calibration.reliability(predictions)
            luck.append(calibration.error_by_luck(bins))
            look = {"color": COLOURS[number], "lw": 1.2, "ls": (0, DASHES[number])}
            label = _label(name, calibration.calibration_error(bins))
            _reliability(left, bins, label=label, marker=MARKERS[number], ms=3, **look)
            sure = calibration.certainty(predictions)
            half = _kept(right, predictions, metrics, sure, **look)
            of_all = captions.per_cent(metrics["uar"])
            told.append(f"{label}, UAR {of_all}, of the most certain half {half}.")
        if len(shown) == 1:
            _errors_and_luck(right, predictions, metrics)
        of_what = captions.subject if len(shown) == 1 else captions.corpora_of
        below = _below(shown, luck)
        for chance in {metrics["chance"] for _, metrics in shown.values()}:
            below += style.guess_level(right, chance)
        left.set(xlabel="Top probability (%)", ylabel="Right (%)")
        left.set(xlim=(0, 100), ylim=(0, 100))
        right.set(xlabel="Kept, the most certain (%)", ylabel="UAR of what is kept (%)")
        right.set(xlim=(0, 100))
        _legend(figure, left, right)
        style.tell(
            figure,
            "certainty",
            title or of_what(predictions),
            sentences=below,
            stamps=captions.stamps_of_all(shown),
            numbers=" ".join(told),
        )
    return figure


def _with_scores(runs: Mapping[str, Run]) -> captions.Results:
    """What is drawn of the runs; raises what `certainty_figure` raises."""
    if not 0 < len(runs) <= MOST:
        raise ValueError(f"{len(runs)} runs: 1 to {MOST} can be told apart; pass so many")
    shown = {name: (run.predictions, run.metrics) for name, run in runs.items()}
    for name, (predictions, _) in shown.items():
        check_one_rule(predictions, name or "the run")
        if not probability_columns(predictions):
            raise PredictionError(
                f"{name or 'the run'} has no scores: columns p_<emotion> say how certain it is"
            )
    return shown


def _label(name: str, error: float) -> str:
    """A run in the legend: its name, if it has one, and its calibration error."""
    told = f"ECE {captions.per_cent(error)}"
    return style.legend_label(f"{captions.run(name)}: {told}") if name else told


def _legend(figure: style.SuiteFigure, left: Axes, right: Axes) -> None:
    """The names of the lines above, in as many columns as they need."""
    handles, labels = left.get_legend_handles_labels()
    more_handles, more_labels = right.get_legend_handles_labels()
    handles += more_handles
    labels += more_labels
    columns = np.clip(_LETTERS // (9 + captions.longest(labels)), 1, 3)
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)


def _reliability(axes: Axes, bins: pd.DataFrame, **look: Any) -> None:
    """Accuracy over confidence, a point a bin, the mean over seeds and draws."""
    points = 100 * bins.groupby("bin")[["confidence", "accuracy"]].mean()
    axes.plot(points["confidence"], points["accuracy"], clip_on=False, **look)


def _kept(
    axes: Axes, predictions: pd.DataFrame, metrics: Mapping[str, Any], sure: pd.Series, **look: Any
) -> str:
    """UAR over the share that is kept; gives that of half of them in words."""
    rates = calibration.uar_by_share(predictions, metrics["labels"], sure)
    axes.plot(100 * calibration.SHARES, 100 * rates, clip_on=False, **look)
    half = rates[len(rates) // 2 - 1]
    return "not known" if np.isnan(half) else captions.per_cent(half)


def _errors_and_luck(axes: Axes, predictions: pd.DataFrame, metrics: Mapping[str, Any]) -> None:
    """What leaving out the errors would give, and what leaving out without a reason gives."""
    right = predictions["true"] == predictions["pred"]
    look = {"color": style.QUIET, "lw": 0.9}
    best = look | {"ls": "-.", "label": "errors left out first"}
    _kept(axes, predictions, metrics, right, **best)
    luck = look | {"ls": "--", "label": "left out by luck"}
    axes.axhline(100 * metrics["uar"], **luck)


def _below(shown: captions.Results, luck: list[float]) -> list[str]:
    """What the lines are, and how large the error is where all is right."""
    least, most = 100 * min(luck), 100 * max(luck)
    about = f"{least:.1f}" if round(least, 1) == round(most, 1) else f"{least:.1f} to {most:.1f}"
    lines = [
        f"Left: {calibration.BINS} bins of equally many predictions; on the dotted line they are"
        " right as often as they say, below it they are too sure. ECE: expected calibration error,"
        f" the mean distance from that line; samples as small as these give {about} % by luck even"
        " where all probabilities are right.",
        "Right: the least certain are left out; a line ends where an emotion is left out"
        " altogether.",
    ]
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
    name = name or captions.subject(predictions)
    title = f"{name}: the least certain {per_cent} % left out"
    picture = confusion_matrix_figure(kept, of_kept, title if per_cent else name)
    picture.name = f"confusion matrix without the least certain, {name}"  # one for all stops
    return f'<p style="line-height:1.4;max-width:50em">{html.escape(told)}</p>{picture.html()}'
