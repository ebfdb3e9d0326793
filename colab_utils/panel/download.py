"""Download: one zip with all that a notebook has shown, in forms that a paper can use."""

import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping

import ipywidgets
import pandas as pd
from IPython.display import HTML, display

from colab_utils import drive, files, progress, session
from colab_utils.display import style
from colab_utils.display.figures import counts_table
from colab_utils.drive.memory import Memory
from colab_utils.files import AnyPath
from colab_utils.panel import methods, texts
from colab_utils.panel.busy import Busy
from colab_utils.panel.panel import error_html
from colab_utils.results.runs import Run, metrics_table
from colab_utils.results.tables import recalls_table, save_table

# what each part of a run left: with predictions.csv it would stand there twice
_WITHOUT = shutil.ignore_patterns("parts", ".*")


class Download:
    """A button that makes one zip of runs and of every figure that was shown.

    Args:
        name: of the zip, without suffix; letters that no file name may have become "-", and no more
            than 40 are kept, since Windows opens no path of more than 259.
        runs: finished runs by the name to show.
        tables: tables that were shown besides, by name.
        figures: by name; None: all that were shown in this notebook until it is saved.

    Example:
        >>> Download("01_emodb", runs, {"comparison": study.table(runs)})
    """

    def __init__(
        self,
        name: str,
        runs: Mapping[str, Run],
        tables: Mapping[str, pd.DataFrame] | None = None,
        figures: Mapping[str, style.SuiteFigure] | None = None,
    ):
        self.name = _stem(name.replace("synthetic-", ""), 40)
        self.runs = dict(runs)
        self.tables = dict(tables or {})
        self.figures = session.shown if figures is None else figures

    def save(self) -> pathlib.Path:
        """Make the zip and hand it to the browser where there is one (`drive.download`).

        Returns:
            The zip.

        Raises:
            RunError: a run that is not finished.
            DiskFullError: no room on the disk.
        """
        with tempfile.TemporaryDirectory() as place:
            folder = pathlib.Path(place) / self.name
            figures = dict(zip(_stems(self.figures), self.figures.values(), strict=True))
            tables = self._all_tables()
            files.write_text(folder / "methods.txt", methods.methods_text(self.runs))
            files.write_text(folder / "cite.bib", texts.bibliography(self.runs))
            readme = texts.readme_text(self.name, self.runs, figures, tables)
            files.write_text(folder / "README.txt", readme)
            for stem, table in tables.items():
                save_table(table, folder / "tables" / stem)
            for run in self.runs.values():
                room = folder / "runs" / run.path.parent.name
                shutil.copytree(run.path, room / run.path.name, ignore=_WITHOUT)
            for stem, figure in progress.bar(figures.items(), desc="figures for the zip"):
                style.save_figure(figure, folder / "figures" / stem)
            return drive.download(folder, self.name)

    def keep(self, drive_folder: AnyPath | None = None, save: bool = False) -> None:
        """Say where the runs lie, send what Drive lacks where there is one, `save` on request.

        Args:
            drive_folder: MyDrive, of `drive.open_workspace`, or None.
            save: whether to make the zip.
        """
        print("\n".join(str(run.path) for run in self.runs.values()))
        Memory(session.workspace(), drive_folder).keep_all()
        if save:
            self.save()

    def _all_tables(self) -> dict[str, pd.DataFrame]:
        """Tables by file name: those that were shown, rates, recalls, counts."""
        tables = dict(self.tables)
        if self.runs:
            tables["results"] = metrics_table(self.runs)
            tables["recalls"] = recalls_table(self.runs)
        for name, run in self.runs.items():
            tables[f"counts, {name}"] = counts_table(run)
        return dict(zip(_stems(tables), tables.values(), strict=True))

    def _ipython_display_(self) -> None:
        """Show the button, and below it what it says."""
        told = "One zip: all figures shown (PNG, PDF, SVG), tables, predictions, settings"
        button = ipywidgets.Button(description="Download", icon="download", tooltip=told)
        below, busy = ipywidgets.Output(), Busy()
        below.add_class("suite-messages")

        def on_click(_button: ipywidgets.Button) -> None:
            button.disabled = True
            below.clear_output()
            with busy.during("Packing"), below:
                try:
                    self.save()
                except (Exception, KeyboardInterrupt) as error:
                    display(HTML(error_html(error)))
            busy.say("")
            button.disabled = False

        button.on_click(on_click)
        box = ipywidgets.VBox([ipywidgets.HBox([button, busy.line]), below])
        box.add_class("suite-download")
        display(box)


def _stem(name: str, most: int = 100) -> str:
    """`name` as a file name: without what Windows, Linux or macOS refuse."""
    plain = re.sub(r'[<>:"/\\|?*\x00-\x1f]+', "-", name.replace(": ", ", "))
    return plain[:most].strip(" .") or "unnamed"


def _stems(names: Iterable[str]) -> list[str]:
    """File names, numbered where two would be the same (capitals are no difference)."""
    found: list[str] = []
    for name in names:
        stem, taken = _stem(name), [one.lower() for one in found]
        number = 2
        while stem.lower() in taken:
            stem = f"{_stem(name)} ({number})"
            number += 1
        found.append(stem)
    return found
