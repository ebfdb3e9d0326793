"""The panel of notebook 05: other features, networks and ways of training, on one fold."""

from IPython.display import display

from colab_utils.methods.alexnet.notebook import AlexnetStudy
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.panel.download import Download
from colab_utils.panel.panel import Panel
from colab_utils.results.runs import Run
from colab_utils.settings import setting

CONDITIONS = ("clean", "pink@10")


def panel(study: AlexnetStudy, config: AlexnetConfig) -> Panel:
    """Sliders that start at `config`, and a fold; Run trains one network and tests it.

    Args:
        study: the speakers; where it has audio, the test is in noise, too.
        config: where the sliders start.

    Returns:
        The panel, to be shown as a cell's last value.

    Example:
        alexnet.panel(study, config)
    """

    def run_and_draw(chosen: AlexnetConfig, fold: str) -> dict[str, Run]:
        conditions = CONDITIONS if study.has_audio else CONDITIONS[:1]
        runs = study.of_fold(fold).run(chosen, conditions)
        display(study.table(runs))
        title = f"{chosen.ser_model}, {chosen.features}, fold {fold}"
        display(study.matrices_figure(runs, title))
        return runs

    def save(runs: dict[str, Run], figures: dict) -> None:
        Download("05_alexnet", runs, figures=figures).save()

    folds = tuple(study.folds)
    fold = setting(folds[0], "which fold's speakers are tested", options=folds)
    shown = {"choices": {"fold": fold}, "form": {}, "title": "A network"}
    return Panel(config, run=run_and_draw, download=save, **shown)
