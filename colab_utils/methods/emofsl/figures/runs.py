"""The figures of notebook 03: rates over shots, luck of the draw, matrices, support, layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn
import torch
from matplotlib.axes import Axes

from colab_utils.display import by_group, captions, certainty, matrices, style
from colab_utils.display.curves import name_ends
from colab_utils.display.speakers import support_speakers_figure
from colab_utils.display.style import COLOURS, DASHES, LEVEL_DASHES, MARKERS
from colab_utils.learning.recipe import RECOMMENDED
from colab_utils.methods.emofsl.rivals import tuned_name
from colab_utils.methods.emofsl.settings import BASELINES, METHODS, EmofslConfig
from colab_utils.methods.emofsl.study import Runs, TransferStudy
from colab_utils.results.predictions import PredictionError, check_one_rule, validate
from colab_utils.results.rates import confusion, uar
from colab_utils.results.runs import Run
from colab_utils.results.support import support_speakers

PUBLISHED = "published (same protocol only)"
GREY_MARKERS = "^vPX<>"  # of the baselines
_NOTHING = pd.DataFrame(columns=["method", "k", "rate"])  # where nothing was published
_STEP = 0.09  # how far bars of two methods at one k stand apart; two k are 1 apart


# --- tables ---------------------------------------------------------------------------------------


def shots_table(runs: Runs, decision: str) -> pd.DataFrame:
    """Baselines, and the methods that `decision` decided, by their name without it.

    Returns:
        Columns method, k, uar, low, high: fractions, NaN where there is no interval.

    Raises:
        PredictionError: without runs.
        RunError: for one that is not finished.
    """
    rows = []
    for (name, k), run in runs.items():
        method, _, rule = name.rpartition(", ")
        if name in BASELINES:
            method = name
        elif rule != decision:
            continue
        low, high = run.metrics["uar_ci95"] or (np.nan, np.nan)
        rows.append((method, k, run.metrics["uar"], low, high))
    if not rows:
        raise PredictionError(
            "no runs: there is nothing to compare; run one method at one number of shots at least"
        )
    return pd.DataFrame(rows, columns=["method", "k", "uar", "low", "high"])


def uar_by_draw(predictions: Mapping[str, pd.DataFrame], labels: Sequence[str]) -> pd.DataFrame:
    """UAR of each draw, pooled over folds as the UAR of a run is; fractions.

    Args:
        predictions: a table of `results.predictions` for each method, one method and rule each, on
            the same draws.
        labels: the emotions.

    Returns:
        A row for each (seed, draw), a column for each method.

    Raises:
        PredictionError: naming the method whose draws differ.
    """
    if not predictions:
        raise PredictionError(
            "no methods: there is nothing to compare; pass the predictions of one method at least"
        )

    def pooled(draw: pd.DataFrame) -> float:
        return float(uar(confusion(draw["true"], draw["pred"], labels)))

    rates = {}
    for name, rows in predictions.items():
        check_one_rule(rows, name)
        draws = validate(rows, labels).groupby(["seed", "draw"])[["true", "pred"]]
        rates[name] = draws.apply(pooled)
        first = next(iter(rates))
        if not rates[name].index.equals(rates[first].index):
            raise PredictionError(
                f"{name} was tested on other draws than {first}: compare runs with the same seeds, "
                "folds and draws"
            )
    return pd.DataFrame(rates)


# --- UAR against the number of shots --------------------------------------------------------------


def shots_figure(study: TransferStudy, runs: Runs, config: EmofslConfig) -> style.SuiteFigure:
    """UAR against the number of shots: a line for each method, each k as far from the next.

    Our methods are coloured, their points of one k stand side by side, each with its interval;
    baselines are grey lines without. What the paper reports of this very task is hollow.

    Args:
        study: the study.
        runs: of `TransferStudy.compare`, at several numbers of shots.
        config: its `decision` says which of the methods' runs are shown.

    Returns:
        The figure.

    Raises:
        PredictionError: without runs.
        ValueError: more methods than can be told apart.

    Example:
        >>> shots_figure(study, study.compare(config, shots=[1, 5, 10]), config)
    """
    table = shots_table(runs, config.decision)
    looks = _looks(table["method"].unique())
    published = _NOTHING if study.published is None else study.published
    shots = sorted({*table["k"], *published["k"]})
    places = dict(zip(shots, range(len(shots)), strict=True))
    bright = [name for name, look in looks.items() if look["color"] != style.QUIET]
    half = _STEP * (len(bright) - 1) / 2
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 2.7)
        axes = figure.subplots()
        ends, told = [], []
        for name, look in reversed(looks.items()):  # coloured ones above grey ones
            part = table[table["method"] == name].sort_values("k")
            rate, place = 100 * part["uar"], part["k"].map(places)
            if name in bright:
                place = place - half + bright.index(name) * _STEP
                limits = part["uar"], part["low"], part["high"]
                style.points(axes, place, *limits, upright=True, **look)
            else:
                axes.plot(place, rate, **look)
            ends.append((place.iloc[-1], rate.iloc[-1], name, look["color"]))
            told.append(f"{name} " + ", ".join(map("{:.1f}".format, rate)))
        _published(axes, published.assign(place=published["k"].map(places)), looks, half + _STEP)
        about = ["Bars: 95 % interval over speakers. Grey: simple methods, their bars left out."]
        about += style.guess_level(axes, study.guessing)
        axes.set(xlabel="Support utterances a class (k)", ylabel="UAR (%)")
        axes.set(xticks=range(len(shots)), xticklabels=shots)
        axes.set_xlim(-half - 2 * _STEP, len(shots) - 1 + half + 2 * _STEP)
        name_ends(axes, ends)
        style.tell(
            figure,
            "UAR by shots",
            f"{study.title}, decided by {config.decision}",
            sentences=about,
            stamps=_stamps(runs),
            numbers=f"UAR in % at k = {', '.join(map(str, shots))}: {'; '.join(told[::-1])}.",
        )
    return figure


def _looks(methods: Sequence[str]) -> dict[str, dict]:
    """Colour, marker and dash of each method; but `recommended` baselines are grey.

    Raises ValueError.
    """
    behind = [name for name in BASELINES if name != RECOMMENDED]
    bright = [name for name in methods if name not in behind]
    if len(bright) > len(COLOURS):
        raise ValueError(
            f"{', '.join(bright)}: at most {len(COLOURS)} methods can be told apart; draw fewer"
        )
    grey = [name for name in methods if name in behind]
    colours = [*COLOURS[: len(bright)], *[style.QUIET] * len(grey)]
    markers = [*MARKERS[: len(bright)], *GREY_MARKERS]
    dashes = [*DASHES[: len(bright)], *LEVEL_DASHES]
    looks = {}
    for name, colour, marker, dash in zip(bright + grey, colours, markers, dashes, strict=False):
        looks[name] = {"label": name, "color": colour, "marker": marker, "dashes": dash}
        looks[name].update(ls="-", ms=3.4, linewidth=1 if name in bright else 0.8)
    return looks


def _published(
    axes: Axes, published: pd.DataFrame, looks: Mapping[str, dict], beside: float
) -> None:
    """The published points, hollow, to the right of the bars of their k; a legend says so."""
    hollow = {"ls": "none", "ms": 4.6, "mfc": "none", "mew": 0.9}
    for name, part in published.groupby("method", sort=False):
        look = looks.get(name, {"color": style.INK, "marker": "o"})
        axes.plot(
            part["place"] + beside,
            100 * part["rate"],
            marker=look["marker"],
            mec=look["color"],
            label=f"{name}, {PUBLISHED}",
            **hollow,
        )
    if len(published):
        (key,) = axes.plot([], [], marker="o", mec=style.INK, **hollow)
        axes.legend([key], [PUBLISHED], loc="lower right", bbox_to_anchor=(1, 1))


# --- UAR of each draw -----------------------------------------------------------------------------


def luck_figure(study: TransferStudy, runs: Runs, config: EmofslConfig) -> style.SuiteFigure:
    """UAR of each support draw as a point, with `recommended`, BTL, FSTL and EMOFSL.

    Thin lines join what the same draw gave. Beside each column a bar, and beneath it in numbers,
    the mean with one standard deviation of draws up and down.

    Args:
        study: the study.
        runs: of `TransferStudy.compare`.
        config: its `shots` and `decision` say which runs.

    Returns:
        The figure.

    Raises:
        PredictionError: as `uar_by_draw`.
    """
    predictions = {name: run.predictions for name, run in _at(runs, config).items()}
    table = 100 * uar_by_draw(predictions, study.labels)
    mean, spread = table.mean(), table.std(ddof=1)
    columns = np.arange(len(mean))
    told = mean.map("{:.1f}".format)
    about = [f"Point: one support draw of {len(table)}, pooled over {len(study.folds)} folds."]
    if len(table) > 1:
        told += spread.map(" ± {:.1f}".format)
        about += ["Lines join the same draw.", "Bars and numbers: mean ± standard deviation."]
    with style.suite_style():
        figure = style.new_figure(style.ONE_COLUMN, 2.1)
        axes = figure.subplots()
        axes.plot(columns, table.T, color=style.QUIET, lw=0.5, alpha=0.35, zorder=1)
        seaborn.stripplot(table, jitter=False, palette=COLOURS[: len(mean)], size=3.4, ax=axes)
        axes.errorbar(columns + 0.14, mean, spread, color=style.INK, fmt="_", ms=7, lw=1.2)
        about += style.guess_level(axes, study.guessing)
        axes.set_xticks(columns, told + "\n" + mean.index)
        axes.set(ylabel="UAR (%)", xlabel="", xlim=(-0.35, columns[-1] + 0.35))
        axes.tick_params(axis="x", length=0)
        style.tell(
            figure,
            "UAR by support draw",
            f"{study.title}, {config.shots}-shot",
            sentences=[" ".join(about)],
            stamps=_stamps(runs),
            numbers="; ".join(told.index + " " + told) + ".",
        )
    return figure


# --- matrices, support, layers --------------------------------------------------------------------


def matrices_figure(study: TransferStudy, runs: Runs, config: EmofslConfig) -> style.SuiteFigure:
    """Confusion matrices of `recommended`, BTL, FSTL and EMOFSL.

    Args:
        study: the study.
        runs: of `TransferStudy.compare`.
        config: its `shots` and `decision` say which runs.

    Returns:
        The figure.
    """
    shown = {name: (run.predictions, run.metrics) for name, run in _at(runs, config).items()}
    title = f"{study.title}, {len(study.labels)}-way {config.shots}-shot"
    return matrices.confusion_matrices_figure(
        shown, f"{title}, decided by {config.decision}", labels=study.labels
    )


def support_figure(study: TransferStudy, runs: Runs, config: EmofslConfig) -> style.SuiteFigure:
    """How much it matters whose clips are labelled, with EMOFSL.

    Args:
        study: the study.
        runs: of `TransferStudy.compare` with EMOFSL.
        config: its `shots` and `decision` say which run.

    Returns:
        The figure.
    """
    run = runs[tuned_name("EMOFSL", config), config.shots]
    table = support_speakers(run.split, run.predictions)
    title = f"{study.title}, EMOFSL, {config.shots}-shot"
    return support_speakers_figure(table, title=title, marks=_stamps(runs))


def layers_figure(study: TransferStudy, config: EmofslConfig) -> style.SuiteFigure | None:
    """Which layers of the encoder the source model listens to, a bar each.

    Args:
        study: the study.
        config: whose source model.

    Returns:
        The figure, with a line where all would weigh the same; None where there is one layer.
    """
    if study.layers == 1:
        return None
    weights = torch.softmax(study.source_of(config).module.layer_weights, dim=0).tolist()
    with style.suite_style():
        figure = style.new_figure(style.ONE_COLUMN, 2.1)
        axes = figure.subplots()
        axes.bar(np.arange(len(weights)), weights, color=COLOURS[0], width=0.72)
        axes.axhline(1 / len(weights), color=style.QUIET, lw=0.8, ls=":", label="all alike")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1))
        axes.set(xlabel="Transformer layer (0: what goes into the first)", ylabel="Weight")
        axes.xaxis.get_major_locator().set_params(integer=True)
        style.tell(
            figure,
            "weights of layers",
            study.title,
            sentences=["Softmax of the learned weights, on standardised layers."],
            numbers=f"From layer 0 on: {', '.join(map('{:.3f}'.format, weights))}.",
        )
    return figure


def show_certainty(study: TransferStudy, runs: Runs, config: EmofslConfig) -> Any:
    """How far `recommended`, BTL, FSTL and EMOFSL can be trusted: a figure and a slider.

    Args:
        study: the study.
        runs: of `TransferStudy.compare`.
        config: its `shots` and `decision` say which runs.

    Returns:
        The widget of `display.certainty.show_certainty`, to show as a cell's last value.
    """
    return certainty.show_certainty(_at(runs, config), f"{study.title}, {config.shots}-shot")


def show_groups(study: TransferStudy, runs: Runs, config: EmofslConfig, by: str) -> None:
    """Rates of `recommended`, or of the first of BTL, FSTL and EMOFSL, by gender, language, ...

    Args:
        study: the study.
        runs: of `TransferStudy.compare`.
        config: its `shots` and `decision` say which run.
        by: a column of the manifest.
    """
    name, run = next(iter(_at(runs, config).items()))
    title = f"{study.title}, {name}, {config.shots}-shot"
    by_group.show_groups(run, by, study.rows, title)


def _at(runs: Runs, config: EmofslConfig) -> dict[str, Run]:
    """`recommended`, BTL, FSTL, EMOFSL, those there are at config.shots with config.decision."""
    names = {RECOMMENDED: RECOMMENDED} | {tuned_name(name, config): name for name in METHODS}
    found = {}
    for name, shown in names.items():
        if (name, config.shots) in runs:
            found[shown] = runs[name, config.shots]
    return found


def _stamps(runs: Runs) -> list[str]:
    """What must not be missed of any of these runs."""
    run = next(iter(runs.values()))
    return captions.stamps(run.predictions, run.metrics)
