"""From parts to a finished run: what the studies share."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from colab_utils.protocols.folds import speaker_independence
from colab_utils.results.runs import Part, Run


def complete(run: Run, parts: Mapping[str, Callable[[Part], pd.DataFrame]], labels: Sequence[str], *, n_boot: int,
             notes: Callable[[], Sequence[str]], pictures: bool) -> Run:
    """`run`, finished: predictions of each part are computed where they are not there from before a kill, metrics follow from all of them.

    parts: a function for each part's name, of a table of results.predictions; notes: asked for where something is computed; pictures: draw the
    confusion matrix, too, where it is not drawn (0.7 s). Raises what the functions raise.
    """
    if not run.done:
        tables = []
        for name, compute in parts.items():
            part = run.part(name)
            table = part.load()
            if table is None:
                table = compute(part)
                part.save(table)
            tables.append(table)
        run.finish(pd.concat(tables, ignore_index=True), list(labels), n_boot=n_boot, notes=list(notes()),
                   speaker_independence=speaker_independence(run.split))
        run.mark_done()
    if pictures and not (run.path / "confusion_matrix.csv").exists():
        from colab_utils.display.figures import save_confusion_matrix  # late: matplotlib is needed only here
        save_confusion_matrix(run)
    return run
