"""From recordings of any length to what a kept model says of them, window by window."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from colab_utils.corpora.audio import NO_SIGNAL, AudioError, Survey, stream, survey
from colab_utils.corpora.own.unlabelled import Recording
from colab_utils.features.store.extract import BATCH_SECONDS
from colab_utils.progress import bar as progress_bar

LONGEST = 6 * 3600.0  # seconds of a recording


class Window(NamedTuple):
    """A piece of a recording, with its sound.

    Attributes:
        start: seconds from the beginning of the recording.
        end: likewise; the start of the next one.
        waves: float32 (samples,) by sample rate in Hz.
    """

    start: float
    end: float
    waves: dict[int, np.ndarray]


def window_ends(seconds: float, window: float) -> list[float]:
    """Where the windows of a recording end, in seconds.

    They stand side by side, so that every moment counts once: shares of windows are shares of time.
    Each is `window` long but the last, which takes the rest, 0.5 to 1.5 windows: a recording below
    1.5 windows is one.

    Args:
        seconds: the length of the recording.
        window: in seconds.
    """
    number = max(1, math.floor(seconds / window + 0.5))
    return [window * place for place in range(1, number)] + [seconds]


def windows(found: Survey, window: float, rates: Sequence[int]) -> Iterator[Window]:
    """The windows of a recording one after another; together they hold every sample of it.

    Args:
        found: the recording.
        window: in seconds.
        rates: in Hz, of the waves.

    Raises:
        AudioError: see `corpora.audio.stream`.
    """
    ends = window_ends(found.length / found.rate, window)
    starts = [0.0, *ends[:-1]]
    pieces = []
    for rate in rates:
        places = [round(start * rate) for start in starts[1:]]
        sound = stream(found, rate)
        pieces.append(_cut(sound, places))
    for start, end, *waves in zip(starts, ends, *pieces, strict=True):
        by_rate = dict(zip(rates, waves, strict=True))
        yield Window(start, end, by_rate)


def _cut(blocks: Iterable[np.ndarray], places: Sequence[int]) -> Iterator[np.ndarray]:
    """A sound that comes in blocks, cut at these samples."""
    blocks, rest, begin = iter(blocks), np.zeros(0, np.float32), 0
    for place in places:
        parts, number = [rest], len(rest)
        while number < place - begin:
            parts.append(next(blocks))
            number += len(parts[-1])
        joined = np.concatenate(parts)
        yield joined[: place - begin]
        rest, begin = joined[place - begin :], place
    yield np.concatenate([rest, *blocks])


class Hearing:
    """What a model hears in recordings.

    Args:
        model: of `learning.kept.open_model`.
        window: in seconds, see `window_ends`.
        show: whether there are progress bars.

    Attributes:
        surveys: of the recordings that could be read; their numbers stand in `rows`.
        rows: a row for each window: utt_id, corpus ("": new), speaker, recording (a number), file
            (its name), start and end (s).
        features: by utt_id; windows without a signal, or with features that are no numbers, have
            none.
        skipped: (name, reason) of what could not be read.
    """

    def __init__(self, model: Any, window: float, show: bool):
        self.model, self.window, self.show = model, window, show
        self.surveys: list[Survey] = []
        self.rows = pd.DataFrame()
        self.features: dict[str, np.ndarray] = {}
        self.skipped: list[tuple[str, str]] = []
        self._made: list[dict[str, Any]] = []

    def hear(self, recordings: Sequence[Recording]) -> None:
        """Read everything once, to know what there is, and again to compute the features."""
        good = self._surveyed(recordings)
        total = 0
        for found in self.surveys:
            total += len(window_ends(found.length / found.rate, self.window))
        look = {"desc": "labelling", "unit": "window", "disable": not self.show}
        with progress_bar(total=total, **look) as bar:
            batch: dict[str, Window] = {}
            seconds = 0.0
            for utt_id, piece in self._sounding(good):
                batch[utt_id] = piece
                seconds += piece.end - piece.start
                if seconds >= BATCH_SECONDS:
                    self._compute(batch)
                    batch, seconds = {}, 0.0
                    bar.update(len(self._made) - bar.n)
            self._compute(batch)
            bar.update(len(self._made) - bar.n)
        columns = ["utt_id", "corpus", "speaker", "recording", "file", "start", "end"]
        self.rows = pd.DataFrame(self._made, columns=columns)

    def heard(self) -> pd.Series:
        """Whether each of `rows` has features."""
        return self.rows["utt_id"].isin(list(self.features))

    def scores(self) -> np.ndarray:
        """Probabilities, float64 (rows, labels); NaN where there are no features."""
        found = np.full((len(self.rows), len(self.model.labels)), np.nan)
        heard = self.heard()
        if heard.any():
            rows = self.rows.loc[heard, ["utt_id", "corpus", "speaker"]]
            found[heard] = self.model.scores(self.features, rows.reset_index(drop=True))
        return found

    def _surveyed(self, recordings: Sequence[Recording]) -> list[Recording]:
        """Those that can be read."""
        good = []
        look = {"desc": "reading", "unit": "file", "leave": False, "disable": not self.show}
        with progress_bar(recordings, **look) as bar:
            for one in bar:
                try:
                    self.surveys.append(survey(one.file, LONGEST))
                    good.append(one)
                except AudioError as error:
                    self.skipped.append((one.name, error.reason))
        return good

    def _sounding(self, good: Sequence[Recording]) -> Iterator[tuple[str, Window]]:
        """The windows that hold a signal, by utt_id; every window is noted as made."""
        rates = list(self.model.rates)
        for number, one in enumerate(good):
            before = len(self._made)
            row = {"corpus": "", "speaker": one.speaker, "recording": number, "file": one.name}
            try:
                for piece in windows(self.surveys[number], self.window, rates):
                    utt_id = f"{number}/{len(self._made)}"
                    place = {"utt_id": utt_id, "start": piece.start, "end": piece.end}
                    self._made.append(row | place)
                    if np.ptp(piece.waves[rates[0]]) > NO_SIGNAL:
                        yield utt_id, piece
            except AudioError as error:
                # it changed, or went, since it was read first
                self.skipped.append((one.name, error.reason))
                del self._made[before:]

    def _compute(self, batch: dict[str, Window]) -> None:
        """Keep the features of some windows that are finite numbers."""
        if not batch:
            return
        waves = {}
        for rate in self.model.rates:
            waves[rate] = [piece.waves[rate] for piece in batch.values()]
        for utt_id, values in zip(batch, self.model.features(waves), strict=True):
            if np.isfinite(values).all():
                self.features[utt_id] = values
