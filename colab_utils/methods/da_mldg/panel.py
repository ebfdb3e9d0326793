"""The panel of notebook 04: other targets, scenarios and algorithms, with other settings."""

from collections.abc import Mapping

from IPython.display import display

from colab_utils.display import captions
from colab_utils.display.matrices import confusion_matrices_figure
from colab_utils.learning.recipe import RECOMMENDED
from colab_utils.methods.da_mldg.settings import ALGORITHM_NAMES, NAMES, DomainConfig
from colab_utils.methods.da_mldg.tables import readable_targets, targets_table
from colab_utils.methods.da_mldg.targets import DomainStudies
from colab_utils.panel.download import Download
from colab_utils.panel.panel import Panel
from colab_utils.results.runs import Run
from colab_utils.settings import setting


def panel(studies: DomainStudies, config: DomainConfig) -> Panel:
    """Choices and sliders that start at `config`.

    Run tests the chosen algorithms on the chosen target and draws their confusion matrices.

    Args:
        studies: the targets there are.
        config: the settings to start from.

    Returns:
        A panel, for a notebook to show.

    Example:
        >>> da_mldg.panel(studies, config)
    """

    def run_and_draw(
        chosen: DomainConfig, task: str, algorithms: tuple[str, ...]
    ) -> Mapping[str, Run]:
        study = studies.study(task)
        runs = study.compare(chosen, algorithms)
        display(readable_targets(targets_table({task: runs})))
        shown = {
            NAMES.get(name, name): (run.predictions, run.metrics) for name, run in runs.items()
        }
        title = f"{captions.corpus(study.name)} left out, {captions.corpora(studies.features)}"
        display(confusion_matrices_figure(shown, title, study.labels))
        return runs

    def save(runs: Mapping[str, Run], figures: dict) -> None:
        Download("04_da_mldg", runs, figures=figures).save()

    tasks = dict.fromkeys([*studies.available, *studies.names])
    choices = {
        "task": setting(
            studies.names[0],
            "which corpus is left out, or a published scenario",
            options=tuple(tasks),
        ),
        "algorithms": setting(
            (RECOMMENDED, "erm", "da-mldg"), "which are tested", options=ALGORITHM_NAMES
        ),
    }
    form = {"task": "TASKS", "algorithms": "ALGORITHMS"}
    shown = {"choices": choices, "form": form, "title": "A target"}
    return Panel(config, run=run_and_draw, download=save, **shown)
