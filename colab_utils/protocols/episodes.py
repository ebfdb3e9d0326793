"""Few-shot episodes: which utterances are the support and the query of a task.

Pure functions of the rows, a plan, a seed and a task number.

The published code (Few-Shot_SER) draws only from the first clips of each class and groups by
nothing; here every clip of a class can be drawn, and nobody is in the support and in the query of
one task.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from colab_utils.protocols.copies import contradicted
from colab_utils.protocols.folds import split_rows, unit_keys
from colab_utils.protocols.recordings import recordings

STREAMS = ("train", "valid", "test")
# apart from other generators of the suite, which are seeded by (seed, number)
_STREAM = 7001
# divisions of the units that are tried for one task, some 15 microseconds each
_TRIES = 2000
_SUPPORT, _QUERY, _UNUSED = 0, 1, 2


class EpisodeError(ValueError):
    """Episodes that cannot be drawn or used; it gives the counts and says what to change."""


@dataclasses.dataclass(frozen=True)
class EpisodePlan:
    """What an episode looks like.

    Attributes:
        ways: classes, 2 or more.
        shots: support utterances of each class, 1 or more.
        queries: query utterances of each class, 1 or more.
        apart: the columns (speaker, film, ...) of which no value is in the support and in the query
            of one task; () keeps only utterances apart.
        within: a column (corpus, ...) of which each episode has one value, all values being equally
            likely; "": any utterances.

    Raises:
        EpisodeError: for a number that is too small.
    """

    ways: int = 5
    shots: int = 5
    queries: int = 15
    apart: tuple[str, ...] = ("speaker",)
    within: str = ""

    def __post_init__(self):
        for name, low in (("ways", 2), ("shots", 1), ("queries", 1)):
            if getattr(self, name) < low:
                raise EpisodeError(f"{name} = {getattr(self, name)}: at least {low} is needed")
        if isinstance(self.apart, str):
            raise EpisodeError(
                f'apart = "{self.apart}" is a text: write apart=("{self.apart}",), or apart=() for '
                "none"
            )


class Episode(NamedTuple):
    """One task.

    Attributes:
        task: its number.
        classes: indices into the labels in a random order, int (ways,).
        support: positions in the rows, int (ways, shots), class by class as in `classes`.
        query: likewise, int (ways, queries).
    """

    task: int
    classes: np.ndarray
    support: np.ndarray
    query: np.ndarray


class EpisodePool:
    """The utterances from which episodes are drawn.

    Emotions without an utterance are never drawn. The order of the rows does not matter to which
    utterances are drawn. Of equal recordings the one that is asked stays, and its copies are not in
    the support of that task; those with different labels are in none (`protocols.copies`).

    Args:
        rows: manifest rows (utt_id, corpus, speaker, film, emotion, ...).
        labels: the emotions that `Episode.classes` counts.
        plan: what an episode looks like.

    Attributes:
        plan: so, too.

    Raises:
        EpisodeError: an emotion that is not in `labels`, an unknown speaker or film (where `apart`
            asks for it), more ways than classes, a class with too few clips or speakers.

    Example:
        >>> pool = EpisodePool(rows, labels, EpisodePlan(ways=5, shots=1))
        >>> support = rows.iloc[pool.episode(seed=0, task=7).support.ravel()]
    """

    def __init__(self, rows: pd.DataFrame, labels: Sequence[str], plan: EpisodePlan):
        self.plan = plan
        labels = list(labels)
        _check_rows(rows, labels, plan)
        order = np.argsort(rows["utt_id"].to_numpy(dtype=str), kind="stable")
        if not plan.within:
            self._parts = [_Part(rows, order, labels, plan, "")]
            return
        self._parts = []
        value = rows[plan.within].to_numpy()[order]
        for name in np.unique(value):
            places = order[value == name]
            self._parts.append(_Part(rows, places, labels, plan, f" in {plan.within} {name}"))

    def episode(self, seed: int, task: int, stream: str = "test") -> Episode:
        """Task number `task` of a seed, the same whatever else is drawn.

        Args:
            seed: of the draw.
            task: its number, from 0.
            stream: of STREAMS; each has tasks of its own.

        Raises:
            EpisodeError: for another stream, and where no episode can be drawn.
        """
        if stream not in STREAMS:
            raise EpisodeError(f"stream {stream!r}: choose from {', '.join(STREAMS)}")
        number = _STREAM + STREAMS.index(stream)
        rng = np.random.default_rng((seed, task, number))
        part = self._parts[rng.integers(len(self._parts))]
        return part.draw(rng, task)

    def episodes(self, seed: int, first: int, number: int, stream: str = "test") -> list[Episode]:
        """Tasks `first` to `first + number - 1`."""
        return [self.episode(seed, task, stream) for task in range(first, first + number)]


class _Unit:
    """A column that keeps apart, such as the speaker.

    Attributes:
        code: the unit of each row, int (rows,).
        count: rows of each unit.
        order, start: the rows unit by unit, and the place where each begins.
    """

    def __init__(self, keys: np.ndarray):
        self.code = np.unique(keys, return_inverse=True)[1]
        self.count = np.bincount(self.code)
        self.order = np.argsort(self.code, kind="stable")
        self.start = np.cumsum(self.count) - self.count

    def one_row_each(self, rng: np.random.Generator) -> np.ndarray:
        """A random row of each unit."""
        drawn = (rng.random(len(self.count)) * self.count).astype(int)
        return self.order[self.start + drawn]


class _Part:
    """The utterances of one value of `within`.

    Args:
        rows: of the pool.
        places: which of them, positions (n,).
        labels: of the pool.
        plan: what an episode looks like.
        where: the value of `within`, for a message.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        places: np.ndarray,
        labels: list[str],
        plan: EpisodePlan,
        where: str,
    ):
        places = places[~contradicted(rows.iloc[places], plan.apart)]
        mine = rows.iloc[places]
        self.places, self.labels, self.plan, self.where = places, labels, plan, where
        self.label = pd.Index(labels).get_indexer(mine["emotion"])
        self.classes = np.unique(self.label)
        self.keys = {column: unit_keys(mine, column).to_numpy() for column in plan.apart}
        copied = recordings(mine)
        # a number for each recording, the same for its copies
        self.recording = copied.where(copied != "", copied.index).factorize()[0]
        self.apart = list(self.keys)
        if (copied != "").any():
            self.apart.append("recording")
        self._check()
        # few and large units first: see _divide
        units = [_Unit(keys) for keys in self.keys.values()]
        self.units = sorted(units, key=lambda unit: len(unit.count))

    def _check(self) -> None:
        """Raise EpisodeError where it is plain from the counts that no episode can be drawn."""
        plan = self.plan
        if plan.ways > len(self.classes):
            raise EpisodeError(
                f"{plan.ways} ways, but there are {len(self.classes)} classes{self.where} "
                f"({', '.join(self.labels[c] for c in self.classes)}): choose at most "
                f"{len(self.classes)} ways"
            )
        for column, keys in self.keys.items():
            if len(set(keys)) < 2:
                raise EpisodeError(
                    f"one {column} only{self.where} ({keys[0]}), and support and query need "
                    f"different ones: choose corpora with more {column}s"
                )
        needed = plan.shots + plan.queries
        of_two = "".join(f" of two {column}s or more" for column in self.keys)
        for c in self.classes:
            mine = self.label == c
            alone = any(len(set(keys[mine])) < 2 for keys in self.keys.values())
            if mine.sum() < needed or alone:
                raise EpisodeError(
                    f"{self._told(c)}{self.where}, and {plan.shots} shots with {plan.queries} "
                    f"queries need {needed} clips{of_two}: choose fewer shots or queries, or leave "
                    f"{self.labels[c]} out"
                )

    def _told(self, c: int) -> str:
        """What there is of a class: "fear has 12 clip(s) (3 speaker(s))"."""
        mine = self.label == c
        told = f"{self.labels[c]} has {mine.sum()} clip(s)"
        units = [f"{len(set(keys[mine]))} {column}(s)" for column, keys in self.keys.items()]
        return f"{told} ({', '.join(units)})" if units else told

    def _divide(self, rng: np.random.Generator) -> np.ndarray:
        """The side of each row, int (n,).

        A random number of the first column's units, drawn at random, is the support, the others
        are the query. A unit of a further column goes to the side of one of its rows, drawn at
        random, and its rows on the other side are not used: nothing is lost where the speakers of a
        film are nobody else's, and crossed columns still work.
        """
        if not self.units:
            return np.full(len(self.places), _SUPPORT)
        first, *others = self.units
        number = len(first.count)
        side_of = np.full(number, _QUERY)
        side_of[rng.permutation(number)[: rng.integers(1, number)]] = _SUPPORT
        side = side_of[first.code]
        for unit in others:
            side_of = side[unit.one_row_each(rng)]
            side = np.where(side_of[unit.code] == side, side, _UNUSED)
        return side

    def draw(self, rng: np.random.Generator, task: int) -> Episode:
        """One episode.

        Raises EpisodeError where none of _TRIES divisions leaves enough clips of the drawn classes
        on both sides.
        """
        plan = self.plan
        classes = rng.permutation(self.classes)[: plan.ways]
        # a cell is a class on a side; without units all clips lie in the cell of the support
        supported = asked = 3 * classes + _SUPPORT
        skipped = plan.shots
        if self.units:
            asked, skipped = 3 * classes + _QUERY, 0
        for _ in range(_TRIES):
            cell = 3 * self.label + self._divide(rng)
            count = np.bincount(cell, minlength=3 * len(self.labels))
            enough = count[supported].min() >= plan.shots
            if not enough or count[asked].min() - skipped < plan.queries:
                continue
            # cell by cell, each in a random order
            order = np.argsort(cell + 0.5 * rng.random(len(cell)))
            first = (np.cumsum(count) - count)[asked] + skipped
            query = order[first[:, None] + np.arange(plan.queries)]
            # what is asked is in no support, under no name
            known = np.zeros(len(order), dtype=bool)
            known[self.recording[query]] = True
            order = order[~known[self.recording[order]]]
            count = np.bincount(cell[order], minlength=len(count))
            if count[supported].min() >= plan.shots:
                first = (np.cumsum(count) - count)[supported]
                support = order[first[:, None] + np.arange(plan.shots)]
                return Episode(task, classes, self.places[support], self.places[query])
        raise EpisodeError(
            f"no division into {plan.shots} support and {plan.queries} query clips a class "
            f"with other {' and '.join(self.apart)}s found in {_TRIES} tries{self.where}: "
            f"{', '.join(map(self._told, classes))}; choose fewer shots, queries or ways"
        )


def _check_rows(rows: pd.DataFrame, labels: list[str], plan: EpisodePlan) -> None:
    """Raise EpisodeError for rows that no plan could use, or not this one."""
    columns = [*plan.apart, plan.within] if plan.within else list(plan.apart)
    if lacking := sorted(set(columns) - set(rows.columns)):
        raise EpisodeError(
            f"the rows have no column {', '.join(lacking)}: choose apart and within from "
            f"{', '.join(map(str, rows.columns))}"
        )
    if not len(rows):
        raise EpisodeError(
            "no utterances to draw episodes from: look at the split and at the chosen emotions"
        )
    if foreign := sorted(set(rows["emotion"]) - set(labels)):
        raise EpisodeError(
            f"the rows hold {', '.join(map(repr, foreign))}, which the labels lack: pass them "
            "through select_emotions first"
        )
    twice = rows.loc[rows["utt_id"].duplicated(), "utt_id"]
    if len(twice):
        raise EpisodeError(f"{twice.iloc[0]} stands twice in the rows: give each utterance once")
    for column in columns:
        unknown = rows.loc[rows[column] == "", "utt_id"]
        if len(unknown):
            raise EpisodeError(
                f"{len(unknown)} of {len(rows)} utterances have no {column}, the first is "
                f"{unknown.iloc[0]}: name the {column} of each, or leave these utterances out"
            )


def episodes_table(
    rows: pd.DataFrame, episodes: Sequence[Episode], seed: int, fold: str
) -> pd.DataFrame:
    """The episodes as rows of a split.

    Args:
        rows: those that the episodes number.
        episodes: of `EpisodePool`.
        seed: they were drawn with.
        fold: its name.

    Returns:
        A table of `folds.SPLIT_COLUMNS`: roles support and query, `task` the number of the
        episode, draw 0.
    """
    places = [np.zeros(0, dtype=int)]
    roles, tasks = [], []
    for episode in episodes:
        for role, part in (("support", episode.support), ("query", episode.query)):
            places.append(part.ravel())
            roles += [role] * part.size
            tasks += [episode.task] * part.size
    chosen = rows.iloc[np.concatenate(places)]
    return split_rows(chosen, roles, seed=seed, fold=fold, task=tasks)
