"""The one contract under all notebooks: rows and a split go in, finished runs come out.

A method says how to learn a fold (`learner`) and how to predict it (`predict`). The study does the
rest, once for all methods: settings are checked, training is resumed or loaded, parts survive a
kill, facts name a run, one bar shows how far it is, and what a fold needed is let go.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd

from colab_utils import settings
from colab_utils.corpora.manifest import manifest_hash
from colab_utils.display.figures import save_confusion_matrix
from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.trained import train_or_load
from colab_utils.learning.training import History, single_thread
from colab_utils.progress import bar as progress_bar
from colab_utils.protocols.folds import check_disjoint, film_keys, speaker_independence
from colab_utils.results.predictions import predictions_table
from colab_utils.results.runs import Part, Run, metrics_table, open_run, split_hash
from colab_utils.settings import Settings

CONTRACT = 1  # raised when this file would give other results: part of every hash
TRAINING_ROLES = ("train", "valid")


@dataclasses.dataclass(frozen=True)
class Tested:
    """One method in a comparison.

    Args:
        name: what figures and tables call it; the `method` of its predictions.
        config: its settings.
        own: the user's own code, a function or a class, where it takes part. Its results are
            never taken from an earlier call: nobody can see whether a global, a helper or a base
            class has changed meanwhile.
        kind: which of a room's methods it is, where the settings do not say so.
        condition: of the tested recordings, such as "pink@10".
        test: settings of the test where they stand apart from `config` (episodes of MAML).
    """

    __test__: ClassVar[bool] = False  # it is no test, whatever pytest makes of its name

    name: str
    config: Settings
    own: Any = None
    kind: str = ""
    condition: str = ""
    test: Settings | None = None
    mark: str = dataclasses.field(default="", repr=False)  # of one call, where there is `own`

    @property
    def label(self) -> str:
        """Name and condition."""
        return f"{self.name}, {self.condition}" if self.condition else self.name

    @property
    def repeated(self) -> Settings:
        """The settings that say how often it is repeated (`seed`, `n_seeds`) and `n_boot`."""
        return self.test or self.config

    def at(self, seed: int) -> Tested:
        """The repetition whose seed this is: training and test count up together."""
        more = seed - self.repeated.seed
        config = dataclasses.replace(self.config, seed=self.config.seed + more)
        test = self.test and dataclasses.replace(self.test, seed=self.test.seed + more)
        return dataclasses.replace(self, config=config, test=test)


class Training(NamedTuple):
    """What a method asks to be trained.

    learner: as `training.train` wants it, with its network as `.module`; steps: how many; every:
    steps from one validation to the next; patience: validations without a better one before it
    stops, None for never.
    """

    learner: Any
    steps: int
    every: int
    patience: int | None = None


class Study:
    """What every study does. A method is a subclass with `method`, `VERSION` and two functions.

    Args:
        name: the task; it names the folders.
        rows: manifest rows of all utterances (`protocols.build`).
        split: who is in which role in which fold; None where `sides` says it.
        store: cached features, or None where the method opens its own.
        labels: the emotions, in the order of the class ids.
        root: folder of all that is kept: `trained/` and `runs/`.
        protocol: its name, for the record.
        merge: what emotions were renamed to, for the record.
        device: where to compute.
        progress: whether bars are shown.
        allow_speaker_overlap: a speaker may stand on both sides, and every result says so.

    Raises:
        LeakError: a speaker (or a dubbed film) stands on both sides of the split.

    Example:
        class Mean(Study):
            method = "mean"

            def predict(self, learner, tested, fold):
                rows = self.part(tested, fold, "test")
                ...
                return self.predictions(tested, fold, rows, scores)

        runs = Mean("emodb", rows, split, store, labels, "out").evaluate([Tested("mean", config)])
    """

    method = ""
    VERSION = 1  # raised when the same settings would give other predictions
    rule = "inductive"  # how the query was used, see results.predictions
    small = False  # networks too small for several threads

    def __init__(
        self,
        name: str,
        rows: pd.DataFrame,
        split: pd.DataFrame | None,
        store: FeatureStore | None,
        labels: Sequence[str],
        root: str | pathlib.Path,
        *,
        protocol: str = "",
        merge: Mapping[str, str | None] | None = None,
        device: str = "cpu",
        progress: bool = True,
        allow_speaker_overlap: bool = False,
    ):
        self.name, self.protocol, self.store = name, protocol, store
        self.rows, self.split, self.labels = rows.reset_index(drop=True), split, list(labels)
        self.root, self.merge = pathlib.Path(root), dict(merge or {})
        self.device, self.progress = device, progress
        self.allow_speaker_overlap = allow_speaker_overlap
        self._held: dict[Any, Any] = {}
        self._held_fold = ""
        self._learners: dict[Any, tuple[Any, History | None]] = {}
        self._learners_side = ""
        if split is not None:
            self.check_split(split)

    # --- what a method writes -----------------------------------------------------------------

    def learner(self, tested: Tested, fold: str) -> Training | None:
        """What is to be trained for a fold with the settings in `tested`; None for nothing."""
        return None

    def predict(self, learner: Any, tested: Tested, fold: str) -> Any:
        """Predictions of the fold's tested utterances by the trained learner (None without one).

        Returns a table of results.predictions (see `predictions`), or that and {name: table} of
        what is to be kept beside it, such as {"steps": ...} for steps.csv.
        """
        raise TypeError(f"{type(self).__name__} has no predict(learner, tested, fold): write it")

    # --- what a method may say besides --------------------------------------------------------

    def check(self, tested: Tested) -> None:
        """Raise SettingError for settings that this study cannot follow."""

    def training_of(self, tested: Tested) -> Tested | None:
        """Whose training this method uses, with what decides it alone; None for no training."""
        return dataclasses.replace(
            tested, config=tested.config.only(settings.TRAINING), test=None, condition=""
        )

    def tested_settings(self, tested: Tested) -> Settings:
        """The settings that decide the result, and so name it."""
        return tested.config.only()

    def training_facts(self, tested: Tested, fold: str) -> dict[str, Any]:
        """What else than settings, features and rows decides a training, plain JSON values."""
        return {}

    def facts(self, tested: Tested) -> dict[str, Any]:
        """What else decides a result, plain JSON values."""
        return {}

    def notes(self, tested: Tested) -> list[str]:
        """What a reader of the numbers has to know, a sentence each."""
        return []

    def features_of(self, tested: Tested) -> tuple[str, dict]:
        """Key and specification of the features."""
        return self.store.key, self.store.spec

    def sides(self, tested: Tested) -> pd.DataFrame:
        """Who trains and who is tested with this seed: the split, or its rows of the seed."""
        if self.split["seed"].nunique() > 1:
            return self.split[self.split["seed"] == tested.repeated.seed]
        return self.split

    def split_table(self, tested: Tested) -> pd.DataFrame:
        """The split of all seeds, as split.csv keeps it."""
        parts = []
        for seed in self.seeds(tested):
            parts.append(self.sides(tested.at(seed)).assign(seed=seed, task=0))
        return pd.concat(parts, ignore_index=True)

    def run_name(self, tested: Tested) -> str:
        """What a run's folder is called, without task and features."""
        return tested.label

    def training_name(self, tested: Tested) -> str:
        """What a training's folder is called, without task, features, fold and seed."""
        return tested.kind or self.method

    def training_task(self, tested: Tested) -> str:
        """The task in that name; the training side alone where it serves several tasks."""
        return self.name

    def chance(self, tested: Tested) -> float | None:
        """The rate of guessing, where it is not one in all labels."""
        return None

    # --- rows -----------------------------------------------------------------------------------

    @property
    def folds(self) -> list[str]:
        """The folds of the split."""
        return sorted(set(self.split["fold"]))

    def folds_of(self, tested: Tested) -> list[str]:
        """The folds of one method's split."""
        return sorted(set(self.sides(tested)["fold"]))

    def seeds(self, tested: Tested) -> list[int]:
        """The seeds of all repetitions."""
        first = tested.repeated.seed
        return list(range(first, first + tested.repeated.n_seeds))

    def part(self, tested: Tested, fold: str, *roles: str) -> pd.DataFrame:
        """The rows of some roles in one fold, in their order."""
        return self.rows[self.mask(tested, fold, *roles)].reset_index(drop=True)

    def mask(self, tested: Tested, fold: str, *roles: str) -> np.ndarray:
        """Which of `rows` are in these roles of a fold, bool (rows,)."""
        sides = self._of_fold(tested, fold)
        chosen = sides.loc[sides["role"].isin(roles), "utt_id"]
        return self.rows["utt_id"].isin(chosen).to_numpy()

    def overview(self) -> pd.DataFrame:
        """Who trains and who is tested: utterances and speakers of each role and corpus."""
        there = self.split.merge(self.rows[["utt_id", "corpus"]]).groupby(["role", "corpus"])
        return there.agg(utterances=("utt_id", "nunique"), speakers=("speaker", "nunique"))

    def classes(self, rows: pd.DataFrame) -> np.ndarray:
        """The class id of each row, int64 (rows,)."""
        return pd.Index(self.labels).get_indexer(rows["emotion"])

    def _of_fold(self, tested: Tested, fold: str) -> pd.DataFrame:
        """The split's rows of one fold."""
        sides = self.sides(tested)
        return sides[sides["fold"] == fold]

    def check_split(self, split: pd.DataFrame) -> None:
        """Raise LeakError where a speaker or a film stands on both sides."""
        films = film_keys(self.rows).set_axis(self.rows["utt_id"]) if "film" in self.rows else None
        check_disjoint(split, self.allow_speaker_overlap, films)

    def held(self, fold: str, key: Any, make: Callable[[], Any]) -> Any:
        """`make()`, once for a fold: kept until another fold asks for something.

        Pictures of six folds fill 2 GB; those of one are enough.
        """
        if fold != self._held_fold:
            self._held.clear()
            self._held_fold = fold
        if key not in self._held:
            self._held[key] = make()
        return self._held[key]

    # --- training ---------------------------------------------------------------------------------

    def train(
        self, tested: Tested, fold: str = "", on_record: Callable[[list[dict]], None] | None = None
    ) -> History | None:
        """Train one fold (default: the first) with the first seed, or load what was trained.

        Args:
            tested: the method.
            fold: which one.
            on_record: called with all records so far now and then, such as a live curve.

        Returns:
            What happened; None for a method that trains nothing.

        Raises:
            SettingError, TrainingError, Interrupted.
        """
        self._check(tested)
        tested = self._marked(tested)
        return self.trained(tested, fold or self.folds_of(tested)[0], on_record)[1]

    def trained(
        self, tested: Tested, fold: str, on_record: Callable[[list[dict]], None] | None = None
    ) -> tuple[Any, Any]:
        """The trained learner of a fold and its history: from memory, from disk, or trained now.

        Folds with the same training side share it. (None, None) where nothing is trained.
        """
        one = self.training_of(tested)
        if one is None:
            return None, None
        if not one.mark:
            one = self._marked(one)
        sides = self._of_fold(one, fold)
        sides = sides[sides["role"].isin(TRAINING_ROLES)]
        side = split_hash(sides[["utt_id", "role"]])
        if side != self._learners_side:
            self._learners.clear()
            self._learners_side = side
        key = one.config, one.kind, one.mark
        if key not in self._learners:
            with single_thread(self.single(one)):
                self._learners[key] = self._trained_now(one, fold, sides, on_record)
        return self._learners[key]

    def _trained_now(
        self, one: Tested, fold: str, sides: pd.DataFrame, on_record: Callable | None
    ) -> tuple[Any, History | None]:
        """Train, or load from disk."""
        wanted = self.learner(one, fold)
        if wanted is None:
            return None, None
        rows = self.rows[self.rows["utt_id"].isin(sides["utt_id"])]
        key, spec = self.features_of(one)
        facts = {
            "contract": CONTRACT,
            "version": self.VERSION,
            "labels": self.labels,
            "merge": self.merge,
            "features": key,
            "manifest": manifest_hash(rows),
            "kind": one.kind,
            **self._own_facts(one),
            **self.training_facts(one, fold),
        }
        name = f"{self.training_task(one)}-{spec['name']}-{self.training_name(one)}"
        alike = self._alike(one, fold)
        fold_name = "" if alike == self.folds_of(one) else f"-fold{alike[0]}"
        said = ", ".join([self.training_name(one), *([f"fold {fold}"] if fold_name else [])])
        folder, history = train_or_load(
            self.root,
            self.method,
            f"{name}{fold_name}-seed{one.config.seed}",
            one.config,
            facts,
            sides[["utt_id", "role"]],
            wanted.learner,
            wanted.steps,
            every=wanted.every,
            patience=wanted.patience,
            progress=self.progress,
            on_record=on_record,
            desc=f"training {said}",
        )
        if one.mark:  # what was trained with the user's own code serves nobody later
            shutil.rmtree(folder)
        return wanted.learner, history

    def _alike(self, one: Tested, fold: str) -> list[str]:
        """The folds with the training side of this one: they share one folder."""

        def side(of: str) -> set:
            table = self._of_fold(one, of)
            table = table[table["role"].isin(TRAINING_ROLES)]
            return set(zip(table["utt_id"], table["role"], strict=True))

        wanted = side(fold)
        return [of for of in self.folds_of(one) if side(of) == wanted]

    def single(self, tested: Tested) -> bool:
        """Whether this method computes with one thread."""
        return self.small

    # --- testing ----------------------------------------------------------------------------------

    def evaluate(self, tested: Iterable[Tested], pictures: bool = True) -> dict[str, Run]:
        """Test every method: finished runs by label, in the given order.

        What was finished before is loaded; parts (a seed and a fold) finished before a kill are
        kept. Methods that share a training go fold by fold together, so that it is held once.

        Args:
            tested: the methods; each label once.
            pictures: draw the confusion matrix of each run, too (0.7 s).

        Raises:
            SettingError, LeakError, TrainingError, Interrupted.
        """
        chosen = [self._marked(one) for one in tested]
        for one in chosen:
            self._check(one)
        labels = [one.label for one in chosen]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise settings.SettingError(f"{twice[0]} stands twice: give each method its own name")
        runs = {one.label: self._open(one) for one in chosen}
        waiting = [one for one in chosen if not runs[one.label].done]
        try:
            with self._bar(waiting, runs) as bar:
                for group in self._groups(waiting):
                    self._run_group(group, runs, bar)
        finally:  # nor is what the user's own code made of use to another call
            self._held.clear()
            self._learners = {key: one for key, one in self._learners.items() if not key[-1]}
        if pictures:
            for run in runs.values():
                if not (run.path / "confusion_matrix.csv").exists():
                    save_confusion_matrix(run)
        return runs

    def table(self, runs: Mapping[str, Run]) -> pd.DataFrame:
        """Finished runs side by side: rates in per cent, and what each has to say of itself."""
        return metrics_table(runs)

    def _run_group(self, group: list[Tested], runs: Mapping[str, Run], bar: Any) -> None:
        """All parts of methods that share a training, then what follows from them."""
        for fold in self.folds_of(group[0]):
            for seed in self.seeds(group[0]):
                for one in group:
                    bar.set_description(self._where(one, fold, seed))
                    part = self._part(runs[one.label], seed, fold)
                    if part.load() is None:
                        self._compute(one.at(seed), part, fold)
                        bar.update(1)
        for one in group:
            self._finish(one, runs[one.label])

    def _compute(self, one: Tested, part: Part, fold: str) -> None:
        """Predictions of one part, saved."""
        learner = self.trained(one, fold)[0]
        with single_thread(self.single(one)):
            found = self.predict(learner, one, fold)
        table, beside = found if isinstance(found, tuple) else (found, {})
        part.save(table, beside)

    def _finish(self, one: Tested, run: Run) -> None:
        """Predictions of all parts, the tables beside them, metrics, DONE."""
        parts = [
            self._part(run, seed, fold) for seed in self.seeds(one) for fold in self.folds_of(one)
        ]
        for name in sorted({name for part in parts for name in part.beside()}):
            run.keep(name, [part.read(name) for part in parts])
        predictions = pd.concat([part.load() for part in parts], ignore_index=True)
        run.finish(
            predictions,
            self.labels,
            n_boot=one.repeated.n_boot,
            notes=self.notes(one),
            chance=self.chance(one),
            speaker_independence=speaker_independence(run.split),
        )
        run.mark_done()

    def _open(self, one: Tested) -> Run:
        """The run folder of a method."""
        split = self.split_table(one)
        self.check_split(split)
        key, spec = self.features_of(one)
        roles = self.sides(one).groupby("role")["utt_id"].agg(set)
        corpora = self.rows.set_index("utt_id")["corpus"]
        there = {role: sorted(set(corpora.reindex(list(ids)))) for role, ids in roles.items()}
        facts = {
            "contract": CONTRACT,
            "version": self.VERSION,
            "protocol": self.protocol,
            "task": self.name,
            "corpora": there,
            "model": one.name,
            "condition": one.condition,
            "preset": one.config.preset,
            "changed": settings.plain(one.config.changed()),
            "labels": self.labels,
            "merge": self.merge,
            "features": key,
            "feature_spec": spec,
            "manifest": manifest_hash(self.rows),
            **self._own_facts(one),
            **self.facts(one),
        }
        if one.test is not None:
            facts["test"] = settings.as_dict(one.test)
        name = f"{self.name}-{spec['name']}-{self.run_name(one)}"
        return open_run(self.root, self.method, name, self.tested_settings(one), facts, split)

    def _own_facts(self, one: Tested) -> dict[str, Any]:
        """Which code of the user's own took part, and in which call."""
        if one.own is None:
            return {}
        return {"own": {"code": getattr(one.own, "__qualname__", repr(one.own)), "call": one.mark}}

    def _marked(self, one: Tested) -> Tested:
        """With a mark of this call where there is code of the user's own."""
        return one if one.own is None else dataclasses.replace(one, mark=uuid.uuid4().hex[:12])

    def _check(self, one: Tested) -> None:
        """Raise SettingError for settings that cannot work, here or anywhere."""
        settings.check(one.config)
        if one.test is not None:
            settings.check(one.test)
        self.check(one)

    def _groups(self, tested: Iterable[Tested]) -> list[list[Tested]]:
        """Methods that share training, folds and seeds, in the order of their first."""
        groups: dict[Any, list[Tested]] = {}
        for one in tested:
            whose = self.training_of(one)
            key = None if whose is None else (whose.config, whose.kind, whose.mark)
            cells = tuple(self.folds_of(one)), tuple(self.seeds(one))
            groups.setdefault((key, cells), []).append(one)
        return list(groups.values())

    def _part(self, run: Run, seed: int, fold: str) -> Part:
        """The resumable unit of a run."""
        return run.part(f"seed{seed}-fold{fold}")

    def _where(self, one: Tested, fold: str, seed: int) -> str:
        """Method, condition, fold and seed, for the bar."""
        several = len(self.seeds(one)) > 1
        return f"{one.label}, fold {fold}" + (f", seed {seed}" if several else "")

    @contextlib.contextmanager
    def _bar(self, waiting: Sequence[Tested], runs: Mapping[str, Run]) -> Any:
        """One bar over all parts that are not there yet, with an estimate."""
        total = 0
        for one in waiting:
            for seed in self.seeds(one):
                for fold in self.folds_of(one):
                    total += not self._part(runs[one.label], seed, fold).finished
        hidden = not self.progress or not total
        with progress_bar(total=total, unit="part", disable=hidden, leave=False) as bar:
            yield bar

    def predictions(
        self, tested: Tested, fold: str, rows: pd.DataFrame, scores: np.ndarray
    ) -> pd.DataFrame:
        """Predictions of `rows` (manifest rows) from scores (rows, labels) that sum to 1."""
        pred = np.array(self.labels, dtype=object)[scores.argmax(axis=1)]
        return predictions_table(
            rows,
            pred,
            self.labels,
            scores,
            method=tested.name,
            rule=self.rule_of(tested),
            seed=tested.repeated.seed,
            fold=fold,
        )

    def rule_of(self, tested: Tested) -> str:
        """How the query was used: inductive, or transductive and by what."""
        return self.rule
