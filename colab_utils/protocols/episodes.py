"""Few-shot episodes: which utterances are the support and the query of a task.

Pure functions of the rows, a plan, a seed and a task number.

The original samples only the first clips of each class and groups by nothing (method_facts §1.6,
items 3 and 11); here every clip of a class can be drawn, and nobody is in the support and in the
query of one task.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from colab_utils.corpora.manifest import speaker_keys
from colab_utils.protocols.build import unit_keys
from colab_utils.protocols.folds import SPLIT_COLUMNS, TRAINING_ROLES

STREAMS = ("train", "valid", "test")
# apart from other generators of the suite, which are seeded by (seed, number)
_STREAM = 7001
# divisions of the units that are tried for one task, some 15 microseconds each
_TRIES = 2000
_SUPPORT, _QUERY, _UNUSED = 0, 1, 2


class EpisodeError(ValueError):
    """Episodes that cannot be drawn or used; one sentence gives the counts and says what to change."""


@dataclasses.dataclass(frozen=True)
class EpisodePlan:
    """What an episode looks like: `ways` classes with `shots` support and `queries` query
    utterances each.

    apart: the columns (speaker, film, ...) of which no value is in the support and in the query of
    one task; () keeps only utterances apart.
    within: a column (corpus, language, ...) of which each episode has one value, all values being
    equally likely; "": any utterances. Raises EpisodeError.
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
                f'apart = "{self.apart}" is a text: write apart=("{self.apart}",), or apart=() for'
                " none"
            )


class Episode(NamedTuple):
    """One task. classes: int (ways,), indices into the labels in a random order; support: int
    (ways, shots) and query: int (ways, queries), positions in the rows, class by class in the order
    of `classes`.
    """

    task: int
    classes: np.ndarray
    support: np.ndarray
    query: np.ndarray


class EpisodePool:
    """The utterances from which episodes are drawn.

    rows: manifest rows (utt_id, corpus, speaker, film, emotion, ...); labels: the emotions that
    `Episode.classes` counts. Emotions without an utterance are never drawn. The order of the rows
    does not matter to which utterances are drawn. Raises EpisodeError for an emotion that is not in
    `labels`, an unknown speaker or film (where `apart` asks for it), more ways than classes, and a
    class with too few clips or speakers.
    """

    def __init__(self, rows: pd.DataFrame, labels: Sequence[str], plan: EpisodePlan):
        self.labels, self.plan = list(labels), plan
        _check_rows(rows, self.labels, plan)
        order = np.argsort(rows["utt_id"].to_numpy(dtype=str), kind="stable")
        label = pd.Index(self.labels).get_indexer(rows["emotion"])
        units = {column: unit_keys(rows, column).to_numpy() for column in plan.apart}
        value = _values(rows, plan.within)
        self._parts = []
        for name in sorted(set(value)):
            inside = order[value[order] == name]
            self._parts.append(
                _Part(
                    f" in {plan.within} {name}" if plan.within else "",
                    inside,
                    label[inside],
                    {column: keys[inside] for column, keys in units.items()},
                    self.labels,
                    plan,
                )
            )

    def episode(self, seed: int, task: int, stream: str = "test") -> Episode:
        """Task number `task` of a seed, the same whatever else is drawn; each stream (STREAMS) has
        tasks of its own. Raises EpisodeError.
        """
        if stream not in STREAMS:
            raise EpisodeError(f"stream {stream!r}: choose from {', '.join(STREAMS)}")
        rng = np.random.default_rng((seed, task, _STREAM + STREAMS.index(stream)))
        return self._parts[rng.integers(len(self._parts))].draw(rng, task)

    def episodes(self, seed: int, first: int, number: int, stream: str = "test") -> list[Episode]:
        """Tasks `first` to `first + number - 1`."""
        return [self.episode(seed, task, stream) for task in range(first, first + number)]


class _Unit(NamedTuple):
    """A column that keeps apart: the unit of each row (rows,), and the rows unit by unit: `order`,
    of which unit u has `count[u]` from `start[u]`.
    """

    code: np.ndarray
    order: np.ndarray
    start: np.ndarray
    count: np.ndarray


class _Part:
    """The utterances of one value of `within`: `rows` positions (n,), `label` (n,), the classes
    that occur, and the units.
    """

    def __init__(
        self,
        where: str,
        rows: np.ndarray,
        label: np.ndarray,
        units: dict[str, np.ndarray],
        labels: list[str],
        plan: EpisodePlan,
    ):
        self.where, self.rows, self.label, self.labels, self.plan, self.keys = (
            where,
            rows,
            label,
            labels,
            plan,
            units,
        )
        self.classes = np.unique(label)
        self._check()
        self.units = []
        # few and large units first: see _divide
        for keys in sorted(units.values(), key=lambda keys: len(set(keys))):
            code = np.unique(keys, return_inverse=True)[1]
            count = np.bincount(code)
            self.units.append(
                _Unit(code, np.argsort(code, kind="stable"), np.cumsum(count) - count, count)
            )

    def _check(self) -> None:
        """Raise EpisodeError where it is plain from the counts that no episode can be drawn."""
        plan, needed = self.plan, self.plan.shots + self.plan.queries
        if plan.ways > len(self.classes):
            raise EpisodeError(
                f"{plan.ways} ways, but there are {len(self.classes)} classes{self.where}"
                f" ({', '.join(self.labels[c] for c in self.classes)}): choose at most"
                f" {len(self.classes)} ways"
            )
        for column, keys in self.keys.items():
            if len(set(keys)) < 2:
                raise EpisodeError(
                    f"one {column} only{self.where} ({keys[0]}), and support and query need"
                    f" different ones: add {column}s, or pass apart=() and say so with the result"
                )
        for c in self.classes:
            mine = self.label == c
            if mine.sum() < needed or any(len(set(keys[mine])) < 2 for keys in self.keys.values()):
                raise EpisodeError(
                    f"{self._told(c)}{self.where}, and {plan.shots} shots with {plan.queries}"
                    f" queries need {needed}"
                    f" clips{''.join(f' of two {column}s or more' for column in self.keys)}: choose"
                    f" fewer shots or queries, leave {self.labels[c]}"
                    f" out{' or pass apart=()' if self.keys else ''}"
                )

    def _told(self, c: int) -> str:
        """What there is of a class: "fear has 12 clips (3 speakers)"."""
        mine = self.label == c
        units = ", ".join(
            f"{len(set(keys[mine]))} {column}(s)" for column, keys in self.keys.items()
        )
        return f"{self.labels[c]} has {mine.sum()} clip(s)" + (f" ({units})" if units else "")

    def _divide(self, rng: np.random.Generator) -> np.ndarray:
        """The side of each row, int (n,): a random number of the first column's units, drawn at
        random, is the support, the others the query.

        A unit of a further column goes to the side of one of its rows, drawn at random, and its
        rows on the other side are not used: nothing is lost where the speakers of a film are nobody
        else's, and crossed columns still work.
        """
        if not self.units:
            return np.zeros(len(self.rows), dtype=int)
        first, *others = self.units
        side_of = np.full(len(first.count), _QUERY)
        side_of[rng.permutation(len(side_of))[: rng.integers(1, len(side_of))]] = _SUPPORT
        side = side_of[first.code]
        for unit in others:
            drawn = unit.order[unit.start + (rng.random(len(unit.count)) * unit.count).astype(int)]
            side = np.where(side[drawn][unit.code] == side, side, _UNUSED)
        return side

    def draw(self, rng: np.random.Generator, task: int) -> Episode:
        """One episode.

        Raises EpisodeError where none of _TRIES divisions leaves enough clips of the drawn classes
        on both sides.
        """
        plan = self.plan
        classes = rng.permutation(self.classes)[: plan.ways]
        for _ in range(_TRIES):
            cell = 3 * self.label + self._divide(rng)
            count = np.bincount(cell, minlength=3 * len(self.labels))
            supported, asked = (
                count[3 * classes + _SUPPORT],
                count[3 * classes + _QUERY] if self.units else count[3 * classes] - plan.shots,
            )
            if supported.min() >= plan.shots and asked.min() >= plan.queries:
                break
        else:
            raise EpisodeError(
                f"no division into {plan.shots} support and {plan.queries} query clips a class with"
                f" other {' and '.join(self.keys)}s found in {_TRIES} tries{self.where}:"
                f" {', '.join(map(self._told, classes))}; choose fewer shots, queries or ways, or"
                " pass apart=()"
            )
        # cell by cell, each in a random order
        order = np.argsort(cell + 0.5 * rng.random(len(cell)))
        start = np.cumsum(count) - count
        asked_from = start[3 * classes + _QUERY] if self.units else start[3 * classes] + plan.shots
        support = order[start[3 * classes][:, None] + np.arange(plan.shots)]
        return Episode(
            task,
            classes,
            self.rows[support],
            self.rows[order[asked_from[:, None] + np.arange(plan.queries)]],
        )


def _check_rows(rows: pd.DataFrame, labels: list[str], plan: EpisodePlan) -> None:
    """Raise EpisodeError for rows that no plan could use, or not this one."""
    if lacking := sorted(
        {*plan.apart, *([plan.within] if plan.within else [])} - set(rows.columns)
    ):
        raise EpisodeError(
            f"the rows have no column {', '.join(lacking)}: choose apart and within from"
            f" {', '.join(map(str, rows.columns))}"
        )
    if not len(rows):
        raise EpisodeError(
            "no utterances to draw episodes from: look at the split and at the chosen emotions"
        )
    if foreign := sorted(set(rows["emotion"]) - set(labels)):
        raise EpisodeError(
            f"the rows hold {', '.join(map(repr, foreign))}, which the labels lack: pass them"
            " through select_emotions first"
        )
    if rows["utt_id"].duplicated().any():
        raise EpisodeError(
            f"{rows.loc[rows['utt_id'].duplicated(), 'utt_id'].iloc[0]} stands twice in the rows:"
            " give each utterance once"
        )
    for column in plan.apart:
        unknown = (rows[column] == "").to_numpy()
        if unknown.any():
            raise EpisodeError(
                f"{unknown.sum()} of {len(rows)} utterances have no {column}, the first is"
                f" {rows['utt_id'][unknown].iloc[0]}: without it {column}s cannot be kept apart, so"
                " pass apart=() and say so with the result"
            )
    if plan.within and (rows[plan.within] == "").any():
        raise EpisodeError(
            f"{(rows[plan.within] == '').sum()} of {len(rows)} utterances have no {plan.within}:"
            ' pass within="" or another column'
        )


def _values(rows: pd.DataFrame, within: str) -> np.ndarray:
    """The value of `within` of each row (a language without its country, so that en-GB and en-US
    are one), "" for no column.
    """
    if not within:
        return np.full(len(rows), "", dtype=object)
    return (rows[within].str.split("-").str[0] if within == "language" else rows[within]).to_numpy()


def episodes_table(
    rows: pd.DataFrame,
    episodes: Sequence[Episode],
    seed: int,
    fold: str,
    training: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The episodes as split rows (folds.SPLIT_COLUMNS): roles support and query, `task` the number
    of the episode, draw 0.

    training: a split whose train and valid rows of this seed and fold stand before them (as task
    -1; they count for every task of the fold), so that `folds.check_disjoint` sees all of it.
    Raises EpisodeError where it has none.
    """
    numbers = [part.ravel() for episode in episodes for part in (episode.support, episode.query)]
    roles = [role for _ in episodes for role in ("support", "query")]
    tasks = [episode.task for episode in episodes for _ in range(2)]
    sizes, at = [len(part) for part in numbers], np.concatenate([np.zeros(0, dtype=int), *numbers])
    table = pd.DataFrame(
        {
            "seed": seed,
            "fold": str(fold),
            "draw": 0,
            "task": np.repeat(np.array(tasks, dtype=int), sizes),
            "utt_id": rows["utt_id"].to_numpy()[at],
            "speaker": speaker_keys(rows).to_numpy()[at],
            "role": np.repeat(np.array(roles, dtype=object), sizes),
        }
    )[list(SPLIT_COLUMNS)]
    if training is None:
        return table
    mine = training[
        training["role"].isin(TRAINING_ROLES)
        & (training["seed"] == seed)
        & (training["fold"] == str(fold))
    ]
    if mine.empty:
        raise EpisodeError(
            f"the split has no training rows of seed {seed}, fold {fold}: give the split that was"
            " made with this seed"
        )
    return pd.concat([mine[list(SPLIT_COLUMNS)].assign(task=-1), table], ignore_index=True)
