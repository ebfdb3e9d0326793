"""The panel of notebook 03: other corpora, front ends, emotions, shots, margins and weights."""

from IPython.display import display

from colab_utils.learning.recipe import FEATURES, RECOMMENDED
from colab_utils.methods.emofsl.figures.runs import matrices_figure
from colab_utils.methods.emofsl.settings import METHODS, EmofslConfig
from colab_utils.methods.emofsl.study import Runs, TransferStudy
from colab_utils.methods.emofsl.transfers import Transfers, runs_by_name
from colab_utils.panel.download import Download
from colab_utils.panel.panel import Panel
from colab_utils.settings import setting

_FRONT_ENDS = (FEATURES, "acoustic", "logmel")  # offered besides the notebook's own
_METHODS = (RECOMMENDED, *METHODS)


def panel(transfers: Transfers, study: TransferStudy, config: EmofslConfig) -> Panel:
    """Sliders and choices of notebook 03.

    Run trains what is not there, tests the chosen methods on the same draws, `recommended` first,
    and shows their rates and confusion matrices; Download packs the runs.

    Args:
        transfers: the corpora and emotions to choose from.
        study: the pair, front end and emotions to start from.
        config: the settings to start from.

    Returns:
        The panel, to show as a cell's last value.
    """
    source, target = study.pair
    sources = tuple(dict.fromkeys([source, *transfers.corpora]))
    front_ends = tuple(dict.fromkeys([study.features, *_FRONT_ENDS]))
    known = tuple(dict.fromkeys([*transfers.emotions, *study.labels]))
    choices = {
        "source": setting(source, "corpus that is labelled, or all of them", options=sources),
        "target": setting(target, "corpus with a few labels", options=tuple(transfers.corpora)),
        "features": setting(study.features, "front end", options=front_ends),
        "emotions": setting(tuple(study.labels), "the ways: which emotions compete", options=known),
        "methods": setting((RECOMMENDED, "EMOFSL"), "what is compared", options=_METHODS),
    }

    def run_and_draw(
        chosen: EmofslConfig,
        source: str,
        target: str,
        features: str,
        emotions: tuple[str, ...],
        methods: tuple[str, ...],
    ) -> Runs:
        one = transfers.study(source, target, features, emotions, chosen.tune_layers)
        runs = one.compare(
            chosen,
            methods=[name for name in METHODS if name in methods],
            decisions=[chosen.decision],
            baselines=[name for name in methods if name == RECOMMENDED],
        )
        display(one.table(runs, chosen))
        display(matrices_figure(one, runs, chosen))
        return runs

    def save(runs: Runs, figures: dict) -> None:
        Download("03_emofsl", runs_by_name(runs), figures=figures).save()

    shared = "source", "target", "features", "emotions", "tune_layers"
    form = {name: name.upper() for name in shared}
    shown = {"choices": choices, "form": form, "title": "A transfer"}
    return Panel(config, run=run_and_draw, download=save, **shown)
