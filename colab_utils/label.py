"""New recordings and a kept model: what each says, window by window.

In a notebook `label.label(model, "recordings.zip").show()`; in a shell
`python -m colab_utils.label MODEL FILES... --out labels.csv`.
"""

import argparse
import dataclasses
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from colab_utils import files, session
from colab_utils.corpora.own.unlabelled import Recordings
from colab_utils.csv_files import write_csv
from colab_utils.display import captions
from colab_utils.display.hear import RATE
from colab_utils.display.sound.labels import labels_html, shown_rows
from colab_utils.display.sound.timeline import timeline_figure
from colab_utils.display.style import SuiteFigure
from colab_utils.features.acoustic.quality import CLIPPED
from colab_utils.features.encoders.checkpoints import EncoderError
from colab_utils.learning import kept
from colab_utils.learning.hearing import LONGEST, Hearing, windows
from colab_utils.settings import SettingError

# seconds of a window; more where a model has learnt from longer clips: less would cut sentences
WINDOW = 3.0
SHORTEST_WINDOW = 0.5  # seconds: in less there is hardly a word
WIDE_BAND = 16000  # Hz: what was recorded at less lacks the upper part of speech
MOST_FIGURES = 6  # on a page


@dataclasses.dataclass
class Labelled:
    """What a model says of recordings.

    Attributes:
        table: a row for each window: file, start and end (s), emotion (the likeliest; "" where
            there is no signal), uncertain (its probability is below the threshold), and calibrated
            probabilities p_<label>.
        skipped: file and reason of what could not be labelled.
        notes: sentences, what is to be known of the labels.
        threshold: below which a label is uncertain.
        marks: stamps of the figures.
        hearing: of the model.
        scratch: a folder that is there as long as this is, with what was unpacked.
    """

    table: pd.DataFrame
    skipped: pd.DataFrame
    notes: list[str]
    threshold: float
    marks: list[str]
    hearing: Hearing
    scratch: Any

    def figures(self) -> list[SuiteFigure]:
        """A timeline of each recording that was cut into windows, of the first MOST_FIGURES."""
        drawn = []
        for _, rows in self.table.groupby(self.hearing.rows["recording"]):
            if len(rows) > 1:
                drawn.append(timeline_figure(rows, self.threshold, self.marks))
        return drawn[:MOST_FIGURES]

    def html(self) -> str:
        """The page: timelines, rows with players, what was skipped, notes."""
        rows = shown_rows(self.table)
        sounds = self._sounds(rows.index)
        figures = [figure.html() for figure in self.figures()]
        return labels_html(self._told(), figures, rows, len(self.table), sounds)

    def show(self) -> Any:
        """The page, to be the last value of a notebook's cell."""
        from IPython.display import HTML

        return HTML(self.html())

    def save(self, path: files.AnyPath) -> pathlib.Path:
        """Write the table as CSV, and beside it what was skipped and the notes, `<name>.txt`.

        Args:
            path: of the CSV.

        Returns:
            The path.

        Raises:
            NotWritableError: it cannot be written.
        """
        path = pathlib.Path(path)
        files.write_text(path.with_suffix(".txt"), f"{self}\n")
        return write_csv(path, self.table.round(6))

    def __str__(self) -> str:
        return "\n  ".join(self._told())

    def _told(self) -> list[str]:
        """What was labelled, what was skipped, notes."""
        number = self.hearing.rows["recording"].nunique()
        told = f"{number} recording(s), {len(self.table)} window(s), {len(self.skipped)} skipped"
        bad = [f"skipped {row.file}: {row.reason}" for row in self.skipped.itertuples()]
        return [told, *bad, *self.notes]

    def _sounds(self, rows: Iterable[int]) -> dict[int, np.ndarray]:
        """What is heard in some rows of the table, float32 (samples,) at RATE."""
        wanted, found = set(rows), {}
        numbers = self.hearing.rows["recording"]
        for number in numbers[sorted(wanted)].unique():
            places = numbers.index[numbers == number]
            pieces = windows(self.hearing.surveys[number], self.hearing.window, [RATE])
            for place, piece in zip(places, pieces, strict=True):
                if place in wanted:
                    found[place] = piece.waves[RATE].copy()
        return found


def label(
    model: Any,
    sources: Any,
    *,
    window: float = 0.0,
    threshold: float = 0.5,
    speaker: str = "",
    progress: bool = True,
) -> Labelled:
    """What a kept model says of recordings; what cannot be read is listed, the rest goes on.

    Long recordings are read in blocks: memory is taken by what the features need.

    Args:
        model: of `learning.kept.open_model`, or its folder.
        sources: see `Recordings.add`: a file, a folder, an archive, a table with a column `file`
            (and `speaker`), a wave (name, samples, rate), or a list of such.
        window: seconds; what is at least 1.5 times as long is cut into windows side by side. 0:
            the median length of the clips that the model was trained on, WINDOW at least.
        threshold: a label with a probability below it is uncertain.
        speaker: who speaks, where no table tells it.
        progress: whether bars are shown.

    Returns:
        The labels.

    Raises:
        SettingError: a window or threshold that cannot be, or sources that are none.
        ModelError: a folder that holds no model.

    Example:
        >>> found = label("out/models/mine", "recordings.zip")
        >>> found.table, found.skipped, found.notes
    """
    if isinstance(model, (str, os.PathLike)):
        model = kept.open_model(model, session.device())
    window = _window(model, window)
    if not 0 <= threshold <= 1:
        raise SettingError(f"threshold = {threshold}: a probability is from 0 to 1")
    scratch = tempfile.TemporaryDirectory(prefix="recordings-")
    given = Recordings(pathlib.Path(scratch.name), speaker)
    given.add(sources)
    hearing = Hearing(model, window, progress)
    hearing.hear(given.found)
    table = _table(hearing, threshold)
    skipped = pd.DataFrame([*given.refused, *hearing.skipped], columns=["file", "reason"])
    trained_on = [one["corpus"] for one in model.about.get("trained_on", [])]
    marks = captions.stamps_of_rows(pd.DataFrame({"corpus": trained_on}, dtype=str))
    notes = [*marks, *_notes(hearing, table, threshold, given.ignored)]
    return Labelled(table, skipped, notes, threshold, marks, hearing, scratch)


def _window(model: Any, window: float) -> float:
    """Seconds of a window, the usual ones for 0. Raises SettingError."""
    if not window:
        return max(WINDOW, round(model.about.get("seconds") or WINDOW, 1))
    if not SHORTEST_WINDOW <= window <= LONGEST:
        raise SettingError(
            f"window = {window}: give seconds, {SHORTEST_WINDOW} or more, or 0 for the usual ones"
        )
    return float(window)


def _table(hearing: Hearing, threshold: float) -> pd.DataFrame:
    """The table of `Labelled`."""
    labels = hearing.model.labels
    probabilities = pd.DataFrame(hearing.scores(), columns=labels)
    heard = hearing.heard()
    table = hearing.rows[["file", "start", "end"]].copy()
    table["emotion"] = ""
    table.loc[heard, "emotion"] = probabilities[heard].idxmax(axis=1)
    highest = probabilities.max(axis=1)
    # NaN, of a row without a signal, is below any threshold
    table["uncertain"] = ~(highest >= threshold)
    return table.join(probabilities.add_prefix("p_"))


def _notes(
    hearing: Hearing, table: pd.DataFrame, threshold: float, ignored: dict[str, int]
) -> list[str]:
    """What a reader of the labels has to know, a sentence each."""
    told = []
    heard = hearing.heard()
    if heard.any():
        told.append(hearing.model.how_normalised(hearing.rows[heard]))
    if hearing.rows["recording"].duplicated().any():
        told.append(
            f"recordings of 1.5 windows or more are cut into pieces of {hearing.window:g} s"
        )
    doubt, silent = int(table.loc[heard, "uncertain"].sum()), int((~heard).sum())
    if doubt:
        told.append(
            f"{doubt} of {heard.sum()} windows are uncertain: no emotion has a probability of"
            f" {threshold:g} or more"
        )
    if silent:
        told.append(f"{silent} window(s) without a signal, or without features, have no emotion")
    for number, name in hearing.rows.groupby("recording")["file"].first().items():
        found = hearing.surveys[number]
        if found.note:
            told.append(f"{name}: {found.note}")
        if found.clipped > CLIPPED:
            told.append(
                f"{name}: clipped ({100 * found.clipped:.1f} % of its samples are at full scale),"
                " so its labels may be wrong"
            )
        if found.rate < WIDE_BAND:
            told.append(
                f"{name}: recorded at {found.rate} Hz, without the upper part of speech that the"
                " model has learnt from"
            )
    if ignored:
        kinds = [f"{number} {suffix}" for suffix, number in sorted(ignored.items())]
        told.append(f"not audio, and left out: {', '.join(kinds)}")
    return [one for one in told if one]


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m colab_utils.label`.

    Args:
        arguments: of the command line.

    Returns:
        0; 1 where nothing could be labelled, 2 where the model cannot be opened or the table not
        be written, 130 after an interruption.
    """
    options = _parser().parse_args(arguments)
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with files.writing(options.out), tempfile.TemporaryFile(dir=options.out.parent):
            pass  # told now, and not after an hour
        model = kept.open_model(options.model, session.device())
        found = label(
            model,
            options.files,
            window=options.window,
            threshold=options.threshold,
            speaker=options.speaker,
        )
        print(found)
        if found.table.empty:
            print("nothing could be labelled, and nothing was written", file=sys.stderr)
            return 1
        print(f"labels: {found.save(options.out)}")
    except (kept.ModelError, EncoderError, SettingError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    """What the command line may hold."""
    parser = argparse.ArgumentParser(
        prog="python -m colab_utils.label", description="Label recordings with a kept model."
    )
    parser.add_argument("model", help="folder of the model, such as out/models/<name>")
    parser.add_argument("files", nargs="+", help="recordings, folders, archives, tables")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the CSV to write")
    told = "seconds of the windows of long recordings (default: of a clip it was trained on)"
    parser.add_argument("--window", type=float, default=0.0, help=told)
    told = "a label with a probability below it is marked uncertain"
    parser.add_argument("--threshold", type=float, default=0.5, help=told)
    told = "who speaks in all of them, where no table tells it"
    parser.add_argument("--speaker", default="", help=told)
    return parser


if __name__ == "__main__":
    sys.exit(main())
