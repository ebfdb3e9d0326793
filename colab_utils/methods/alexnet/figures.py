"""How the AlexNet system fares, by fold and in noise; what a network sees, and where it looks."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from colab_utils.display import captions, style
from colab_utils.display.curves import methods_figure, name_ends
from colab_utils.display.style import COLOURS, DASHES, MARKERS
from colab_utils.features.published.alexnet import HOP, MELS, RATE, SEGMENT, AlexNetSpectrogram
from colab_utils.methods.alexnet.network import valid_columns
from colab_utils.methods.alexnet.pictures import Images
from colab_utils.methods.alexnet.training import AlexnetLearner, probabilities
from colab_utils.protocols.published import load_protocol
from colab_utils.results.metrics import cell_counts, mean_rate, summarise
from colab_utils.results.rates import uar, wa
from colab_utils.results.runs import Run
from colab_utils.results.tables import published_table

MOST = 4  # pictures side by side
SECONDS = SEGMENT * HOP / RATE
_SMALL = 6.5  # points
LEVEL, EVIDENCE = "Scaled level", "Evidence (logit)"
# dark is much; of what lies over the levels no shade is so dark that they are lost in it
_SHADES = {
    LEVEL: "Greys",
    EVIDENCE: ListedColormap(matplotlib.colormaps["YlOrRd"](np.linspace(0, 0.6, 256))),
}
_SEEN = (
    "Upper row: the picture the network gets, each band scaled by the training utterances; white: "
    "no speech any more, the network gets padding."
)
_LOOKED_AT = (
    "Lower row: how much a place speaks for the predicted emotion (class activation map: {} x {} "
    "places in a picture of {:.3g} s), over the picture; over its places the logit is their mean."
)
_ONE_PLACE = (
    "Each of these clips lies within one place: the map tells clips apart, not moments in them."
)


def clean_runs(runs: Mapping[str, Run]) -> dict[str, Run]:
    """The runs tested on clean recordings.

    Args:
        runs: finished ones, such as of `AlexnetStudy.compare`.

    Returns:
        Those in the condition "clean", by the name of their model.
    """
    return {run.config["model"]: run for run in runs.values() if run.config["condition"] == "clean"}


def conditions_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Finished runs as rows: model, condition, uar, low, high (of its 95 % interval); fractions."""
    rows = []
    for run in runs.values():
        row = {"model": run.config["model"], "condition": run.config["condition"]}
        rows.append(row | _rates(run.metrics))
    return pd.DataFrame(rows)


def folds_table(run: Run) -> pd.DataFrame:
    """One row a fold of a finished run, then one of all folds pooled.

    Columns: method (speakers, utterances and WA), uar, low, high (95 % over its speakers; NaN for
    under four: `counts`); fractions, means over seeds.
    """
    told = {}
    for _, part in run.predictions.groupby("fold"):
        speakers = ", ".join(sorted(set(part["speaker"])))
        told[speakers] = summarise(part, run.metrics["labels"])
    told["all, pooled"] = run.metrics
    rows = []
    for speakers, metrics in told.items():
        name = f"{speakers} (n = {metrics['n_utterances']}, WA {100 * metrics['wa']:.1f})"
        rows.append({"method": name} | _rates(metrics))
    return pd.DataFrame(rows)


def beside_published(runs: Mapping[str, Run]) -> pd.DataFrame:
    """WA and UA (UAR) of runs on clean recordings, and below them the published ones.

    The published system averages the rates of folds (get_crossval_result.py); rates of all folds
    pooled are not the same, since folds are of different sizes.

    Args:
        runs: finished ones, by any name.

    Returns:
        One row a model, by task and model: WA and UA as means of folds, and pooled, in per cent;
        NaN where nothing was published.

    Example:
        alexnet.beside_published(runs)
    """
    rates = {}
    for model, run in clean_runs(runs).items():
        metrics = run.metrics
        by_fold = cell_counts(run.predictions, metrics["labels"], ("seed", "draw", "fold"))
        rates[run.config["task"], model] = {
            "WA, mean of folds": mean_rate(wa, by_fold),
            "UA, mean of folds": mean_rate(uar, by_fold),
            "WA, pooled": metrics["wa"],
            "UA, pooled": metrics["uar"],
        }
    for row in published_table(load_protocol("alexnet").published).itertuples():
        place = f"published: {row.task}", row.method
        rates.setdefault(place, {})[f"{row.k}, mean of folds"] = row.rate
    table = pd.DataFrame(rates).T.rename_axis(["task", "model"])
    return (100 * table).round(1)


def _rates(metrics: Mapping[str, Any]) -> dict[str, float]:
    """UAR and the ends of its interval (NaN: none; `counts` instead), of a metrics.json."""
    low, high = metrics["uar_ci95"] or (np.nan, np.nan)
    return {"uar": metrics["uar"], "low": low, "high": high, "counts": captions.counts(metrics)}


def _clean(runs: Mapping[str, Run]) -> Run:
    """The first run on clean recordings. Raises ValueError where there is none."""
    for run in clean_runs(runs).values():
        return run
    raise ValueError('no run on clean recordings: test in the condition "clean", too')


def folds_figure(runs: Mapping[str, Run]) -> style.SuiteFigure:
    """UAR and WA of every fold, and of all folds pooled, of the first model on clean recordings.

    Args:
        runs: finished ones, by any name.

    Returns:
        The figure.

    Raises:
        ValueError: where no run is on clean recordings.
    """
    run = _clean(runs)
    table = folds_table(run)
    title = f"{_title_of(run)}: speakers of each fold"
    return methods_figure(
        table,
        run.metrics["chance"],
        title,
        highlight=[table["method"].iloc[-1]],
        marks=captions.stamps(run.predictions, run.metrics),
    )


def noise_figure(runs: Mapping[str, Run], noise: str = "pink") -> style.SuiteFigure | None:
    """UAR of every model against the signal-to-noise ratio, clean recordings at the right end.

    Args:
        runs: finished ones; other conditions than "clean" and "<noise>@<dB>" are left out.
        noise: which.

    Returns:
        The figure; None, and a sentence is printed, where all runs are on clean recordings.

    Raises:
        ValueError: where no run has that noise, or none is on clean recordings.
    """
    run = _clean(runs)
    table = conditions_table(runs)
    if set(table["condition"]) == {"clean"}:
        print("left out: UAR against noise, since all runs are on clean recordings")
        return None
    table["place"] = table["condition"].str.extract(f"^{noise}@(.+)", expand=False).astype(float)
    levels = sorted(set(table["place"].dropna()))
    if not levels:
        there = ", ".join(sorted(set(table["condition"])))
        raise ValueError(f"no condition has {noise} noise: the runs have {there}")
    clean_at = levels[-1] + 8
    table.loc[table["condition"] == "clean", "place"] = clean_at
    with style.suite_style():
        figure = style.new_figure(style.WIDE_COLUMN, 2.8)
        axes = figure.subplots()
        ends = []
        shown = table.dropna(subset="place")
        models = shown.sort_values("place", kind="stable").groupby("model", sort=False)
        for number, (model, part) in enumerate(models):
            place, colour = part["place"] + 0.25 * number, COLOURS[number]
            style.points(
                axes,
                place,
                part["uar"],
                part["low"],
                part["high"],
                upright=True,
                color=colour,
                marker=MARKERS[number],
                ls="-",
                dashes=DASHES[number],
            )
            ends.append((place.iloc[-1], 100 * part["uar"].iloc[-1], captions.run(model), colour))
        below = ["Bars: 95 % interval over speakers. This noise was not heard in training."]
        below += style.guess_level(axes, run.metrics["chance"])
        axes.set_xticks([*levels, clean_at], [*map("{:g}".format, levels), "clean"])
        axes.set(xlabel=f"Signal-to-noise ratio, {noise} noise (dB)", ylabel="UAR (%)")
        name_ends(axes, ends)
        style.tell(
            figure,
            f"UAR in {noise} noise",
            f"{captions.corpora_of(run.predictions)}, {run.config['settings']['features']}",
            sentences=below,
            stamps=captions.stamps(run.predictions, run.metrics),
            numbers=_in_words(shown),
        )
    return figure


def _in_words(shown: pd.DataFrame) -> str:
    """A table of `conditions_table` in words."""
    told = []
    for model, part in shown.sort_values("place").groupby("model", sort=False):
        rates = []
        for one in part.itertuples():
            level = one.condition.partition("@")[2]
            rates.append(f"{f'at {level} dB' if level else 'clean'} {100 * one.uar:.1f}")
        told.append(f"{captions.run(model)}: {', '.join(rates)}")
    return f"UAR in %. {'; '.join(told)}."


def _title_of(run: Run) -> str:
    """Corpus, model and features."""
    model = captions.run(run.config["model"])
    return f"{captions.corpora_of(run.predictions)}, {model}, {run.config['settings']['features']}"


@torch.no_grad()
def views_figure(
    learner: AlexnetLearner, images: Images, rows: pd.DataFrame, labels: Sequence[str]
) -> style.SuiteFigure:
    """The first segment of each utterance, and below it what speaks for the predicted emotion.

    Padding is left white, and cut off beyond the longest of them; a row has one scale. (Of a
    network that pools over all, padding counts, but is not shown either.)

    Args:
        learner: trained.
        images: the pictures of up to `MOST` utterances.
        rows: their manifest rows.
        labels: the emotions, in the order of the class ids.
    """
    module, config = learner.module, learner.config
    firsts = np.unique(images.utterance.cpu(), return_index=True)[1]
    values, valid = images.values[firsts].float(), images.valid[firsts]
    predicted = probabilities(module, images)[firsts].argmax(dim=1).tolist()
    shown, below = {LEVEL: _without_padding(values[:, 0], valid)}, [_SEEN]
    if hasattr(module, "activation_map"):
        maps = module.activation_map(values)[range(len(values)), predicted]
        shown[EVIDENCE] = _without_padding(maps, valid)
        below.append(_LOOKED_AT.format(*maps.shape[1:], SECONDS))
        if int(valid_columns(valid, maps.shape[2]).sum(dim=1).max()) * maps.shape[1] == 1:
            below.append(_ONE_PLACE)
    spec = AlexNetSpectrogram(feature_set=config.features)
    of_mel = spec.bins == MELS
    highest = 8 if of_mel else 4  # kHz
    with style.suite_style():
        width = style.TWO_COLUMNS if len(rows) > 2 else style.WIDE_COLUMN
        figure = style.new_figure(width, 0.9 + 1.25 * len(shown))
        panels = figure.subplots(len(shown), len(rows), squeeze=False, sharex=True, sharey=True)
        for line, name in zip(panels, shown, strict=True):
            _pictures(line, name, shown, highest)
            line[0].set_ylabel("Mel band (kHz at the edges)" if of_mel else "Frequency (kHz)")
        panels[0, 0].set(xlim=(0, SECONDS * float(valid.max())), ylim=(0, highest))
        if of_mel:
            panels[0, 0].set_yticks([0, highest])
        told = []
        for number, row in enumerate(rows.itertuples()):
            taken = labels[predicted[number]]
            right = "" if taken == row.emotion else " (wrong)"
            told.append(f"{row.emotion}, taken for {taken}{right}")
            name = captions.wrap(row.utt_id.partition("/")[2], width / len(rows) - 0.3, _SMALL)
            above = [*name, row.emotion, f"taken for {taken}{right}"]
            panels[0, number].set_title("\n".join(above), fontsize=_SMALL)
            panels[-1, number].set_xlabel("Time (s)")
        style.tell(
            figure,
            "what the network sees",
            f"{captions.corpora_of(rows)}, {captions.run(config.ser_model)}, {config.features}",
            sentences=below,
            stamps=captions.stamps_of_rows(rows),
            numbers=f"First segments of {len(rows)} utterances: {'; '.join(told)}.",
        )
    return figure


def _without_padding(pictures: torch.Tensor, valid: torch.Tensor) -> np.ndarray:
    """Pictures (n, bands, frames) with NaN from where the speech, a share `valid`, has ended."""
    speech = valid_columns(valid, pictures.shape[2])
    return pictures.masked_fill(~speech[:, None], torch.nan).cpu().numpy()


def _pictures(
    line: Sequence[Axes], name: str, shown: Mapping[str, np.ndarray], highest: float
) -> None:
    """A row of pictures, and the scale that they share; what lies on the levels is transparent."""
    first = next(iter(shown))
    for layer in dict.fromkeys((first, name)):
        low, high = np.nanpercentile(shown[layer], [2, 99.8])
        look = {"vmin": low, "vmax": high, "aspect": "auto", "cmap": _SHADES[layer]}
        look["extent"] = (0, SECONDS, 0, highest)
        look["alpha"] = 0.6 if name != first else 1
        for axes, picture in zip(line, shown[layer], strict=True):
            drawn = axes.imshow(picture, **look)
    figure = line[0].figure
    scale = figure.colorbar(drawn, ax=list(line), label=name, pad=0.01, aspect=12)
    scale.outline.set_visible(False)
