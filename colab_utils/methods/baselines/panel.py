"""The panel of notebook 01: another classifier on the same corpus."""

from IPython.display import display

from colab_utils.display.figures import confusion_matrix_figure
from colab_utils.methods.baselines.settings import BaselineConfig
from colab_utils.methods.baselines.study import BaselineStudy
from colab_utils.panel.download import Download
from colab_utils.panel.panel import Panel
from colab_utils.results.runs import Run


def panel(study: BaselineStudy, config: BaselineConfig) -> Panel:
    """Sliders that start at `config`; Run tests a classifier and draws its confusion matrix.

    Args:
        study: the corpus.
        config: the settings to start from.

    Returns:
        A panel, for a notebook to show.

    Example:
        >>> baselines.panel(study, config)
    """

    def run_and_draw(chosen: BaselineConfig) -> Run:
        run = study.run(chosen)
        title = f"{chosen.classifier}, C = {chosen.C:g}, {chosen.normalisation}"
        display(confusion_matrix_figure(run.predictions, run.metrics, title=title))
        return run

    def save(run: Run, figures: dict) -> None:
        Download(f"01_{study.name}", {run.config["model"]: run}, figures=figures).save()

    return Panel(config, run=run_and_draw, download=save, form={}, title="A classifier")
