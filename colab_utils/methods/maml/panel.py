"""The panel of notebook 02: other ways, shots, steps and rates for the trained network."""

from IPython.display import display

from colab_utils.learning.recipe import RECOMMENDED
from colab_utils.methods.maml.figures.runs import matrix_figure
from colab_utils.methods.maml.settings import EpisodeConfig, MamlConfig
from colab_utils.methods.maml.study import MamlStudy
from colab_utils.panel.download import Download
from colab_utils.panel.panel import Panel
from colab_utils.results.runs import Run

BESIDE = ("nearest prototype", "logistic regression")


def panel(study: MamlStudy, config: MamlConfig, episodes: EpisodeConfig) -> Panel:
    """Sliders of a test episode: Run tests what we recommend, the trained network, the simplest.

    Args:
        study: whose target is tested.
        config: of the training, which is loaded.
        episodes: where the sliders start.

    Returns:
        A panel that a notebook shows; *Download* makes a zip of its runs.

    Example:
        panel(study, config, study.episodes(config))
    """
    name = config.title

    def run_and_draw(chosen: EpisodeConfig) -> dict[str, Run]:
        runs = study.compare(config, chosen, {}, [RECOMMENDED])  # the quickest answers first
        display(matrix_figure(runs[RECOMMENDED]))
        runs |= study.compare(config, chosen, models={name: config}, baselines=BESIDE)
        display(study.table(runs))
        display(matrix_figure(runs[name], more=f", {chosen.steps} steps"))
        return runs

    def save(runs: dict[str, Run], figures: dict) -> None:
        Download(f"02_{study.name}", runs, figures=figures).save()

    return Panel(episodes, run=run_and_draw, download=save, title="A test episode")
