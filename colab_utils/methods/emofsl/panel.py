"""The panel of notebook 03: other corpora, front ends, emotions, shots, margins and weights."""

from IPython.display import display

from colab_utils import drive
from colab_utils.methods.emofsl.figures.runs import matrices_figure
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.study import Runs, TransferStudy
from colab_utils.methods.emofsl.transfers import Transfers
from colab_utils.panel.panel import Panel
from colab_utils.settings import setting

_FRONT_ENDS = ("logmel", "acoustic")  # offered besides the notebook's own


def panel(transfers: Transfers, study: TransferStudy, config: EmofslConfig) -> Panel:
    """Sliders and choices of notebook 03.

    Run trains what is not there, tests BTL, FSTL, EMOFSL and the nearest prototype on the same
    draws, and shows their rates and confusion matrices; Download packs the runs.

    Args:
        transfers: the corpora and emotions to choose from.
        study: the pair, front end and emotions to start from.
        config: the settings to start from.

    Returns:
        The panel, to show as a cell's last value.
    """
    there = tuple(transfers.corpora)
    front_ends = tuple(dict.fromkeys([study.features, *_FRONT_ENDS]))
    known = tuple(dict.fromkeys([*transfers.emotions, *study.labels]))
    source, target = study.pair
    choices = {
        "source": setting(source, "corpus that is labelled", options=there),
        "target": setting(target, "corpus with a few labels", options=there),
        "features": setting(study.features, "front end", options=front_ends),
        "emotions": setting(tuple(study.labels), "the ways: which emotions compete", options=known),
    }

    def run_and_draw(
        chosen: EmofslConfig, source: str, target: str, features: str, emotions: tuple[str, ...]
    ) -> Runs:
        one = transfers.study(source, target, features, emotions, chosen.tune_layers)
        runs = one.compare(chosen, decisions=[chosen.decision], baselines=["nearest prototype"])
        display(one.table(runs, chosen))
        display(matrices_figure(one, runs, chosen))
        return runs

    def save(runs: Runs) -> None:
        drive.download([run.path for run in runs.values()], "03_emofsl")

    return Panel(config, run=run_and_draw, choices=choices, download=save, title="A transfer")
