"""The one contract under all notebooks: rows and a split go in, finished runs come out.

A method says how to learn a fold (`learner`) and how to predict it (`predict`); what it can say
besides is in `contract`. The study does the rest, once for all methods: settings are checked,
training is resumed or loaded, parts survive a kill, facts name a run, one bar shows how far it is,
and what a fold needed is let go.
"""

import contextlib
import dataclasses
import pathlib
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from colab_utils import files, settings
from colab_utils.corpora.manifest import manifest_hash
from colab_utils.display.figures import is_drawn, save_confusion_matrix
from colab_utils.drive.memory import Memory
from colab_utils.learning.contract import Contract, Tested, Training
from colab_utils.learning.kept.keeping import keep
from colab_utils.learning.own import name_of
from colab_utils.learning.trained import train_or_load
from colab_utils.learning.training import History, single_thread
from colab_utils.progress import bar as progress_bar
from colab_utils.protocols.copies import check_copies, copies_notes, persons
from colab_utils.protocols.folds import TRAINING_ROLES, speaker_independence
from colab_utils.results.predictions import with_films
from colab_utils.results.runs import (
    Part,
    Run,
    RunError,
    metrics_table,
    open_run,
    say_loaded,
    split_hash,
)
from colab_utils.results.tables import SETTINGS, settings_table

__all__ = ["CONTRACT", "TRAINING_ROLES", "Study", "Tested", "Training"]
CONTRACT = 2  # raised when this file or contract.py would give other results: part of every hash

OnRecord = Callable[[list[dict]], None]


class Study(Contract):
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
        drive_folder: MyDrive, of `drive.open_workspace`, or None: what is finished is sent there as
            it ends, and what is not in the workspace is looked for there.
        device: where to compute.
        progress: whether bars are shown.
        allow_speaker_overlap: a speaker may stand on both sides, and every result says so.

    Raises:
        LeakError: a speaker (or a dubbed film) stands on both sides of the split, or too little is
            left of it without equal recordings (`protocols.copies`).

    Example:
        class Mean(Study):
            method = "mean"

            def predict(self, learner, tested, fold):
                rows = self.part(tested, fold, "test")
                ...
                return self.predictions(tested, fold, rows, scores)

        runs = Mean("emodb", rows, split, store, labels, "out").evaluate([Tested("mean", config)])
    """

    # --- training ---------------------------------------------------------------------------------

    def train(
        self, tested: Tested, fold: str = "", on_record: OnRecord | None = None
    ) -> History | None:
        """Train one fold with the first seed, or load what was trained.

        Args:
            tested: the method.
            fold: which one; default: the first.
            on_record: called with all records so far now and then, such as a live curve.

        Returns:
            What happened; None for a method that trains nothing.

        Raises:
            SettingError, TrainingError, Interrupted.
        """
        self._check(tested)
        return self.trained(tested, fold or self.folds_of(tested)[0], on_record)[1]

    def trained(
        self, tested: Tested, fold: str, on_record: OnRecord | None = None
    ) -> tuple[Any, History | None]:
        """The trained learner of a fold and its history: in memory, on disk, on Drive, or made now.

        Folds with the same training side share it. (None, None) where nothing is trained.
        """
        one = self.training_of(tested)
        if one is None:
            return None, None
        one = self._marked(one)
        side = self._training_side(one, fold)
        mark = split_hash(side)
        if mark != self._learners_side:
            self._learners.clear()
            self._learners_side = mark
        key = _key(one)
        if key not in self._learners:
            with single_thread(self.single(one)):
                self._learners[key] = self._trained_now(one, fold, side, on_record)
        return self._learners[key]

    def _training_side(self, one: Tested, fold: str) -> pd.DataFrame:
        """Who trains and validates in a fold: utt_id and role."""
        sides = self._of_fold(one, fold)
        return sides.loc[sides["role"].isin(TRAINING_ROLES), ["utt_id", "role"]]

    def _trained_now(
        self, one: Tested, fold: str, side: pd.DataFrame, on_record: OnRecord | None
    ) -> tuple[Any, History | None]:
        """Train, or load from disk. side: who trains and validates."""
        wanted = self.learner(one, fold)
        if wanted is None:
            return None, None
        rows = self.rows[self.rows["utt_id"].isin(side["utt_id"])]
        facts = {"manifest": manifest_hash(rows), "kind": one.kind, **self._common_facts(one)}
        if one.config.normalisation != "none":  # statistics are of more than the training side
            heard = self.rows[self.rows["corpus"].isin(rows["corpus"])]
            facts["heard"] = manifest_hash(heard)
        facts.update(self.training_facts(one, fold))
        spec = self.features_of(one)[1]
        name = f"{self.training_task(one)}-{spec['name']}-{self.training_name(one)}"
        said = f"training {self.training_name(one)}"
        # folds with the same training side share one folder
        mark = split_hash(side)
        folds = self.folds_of(one)
        alike = [of for of in folds if split_hash(self._training_side(one, of)) == mark]
        if alike != folds:
            name += f"-fold{alike[0]}"
            said += f", fold {fold}"
        with self._kept(one) as memory:
            _, history = train_or_load(
                memory,
                self.method,
                f"{name}-seed{one.config.seed}",
                one.config,
                facts,
                side,
                wanted.learner,
                wanted.steps,
                every=wanted.every,
                patience=wanted.patience,
                progress=self.progress,
                on_record=on_record,
                desc=said,
            )
        return wanted.learner, history

    @contextlib.contextmanager
    def _kept(self, one: Tested) -> Iterator[Memory]:
        """Where a training is kept; what the user's own code trained serves nobody later."""
        if one.mark:
            with tempfile.TemporaryDirectory() as folder:
                yield Memory(folder)
        else:
            yield self.memory

    # --- testing ----------------------------------------------------------------------------------

    def evaluate(self, tested: Iterable[Tested], pictures: bool = True) -> dict[str, Run]:
        """Test every method: finished runs by label, in the given order.

        All that is not there yet is made under one bar. What was finished before is loaded; parts
        (a seed and a fold) finished before a kill are kept. Methods that share a training go fold
        by fold together, so that it is held once.

        Args:
            tested: the methods; each label once.
            pictures: draw the confusion matrix of each run, too (0.7 s).

        Returns:
            {label: finished run}.

        Raises:
            SettingError, LeakError, TrainingError, Interrupted.
        """
        chosen = [self._marked(one) for one in tested]
        labels = [one.label for one in chosen]
        for one in chosen:
            self._check(one)
            if labels.count(one.label) > 1:
                raise settings.SettingError(
                    f"{one.label} stands twice: give each method its own name"
                )
        runs = {one.label: self.opened(one) for one in chosen}
        self._evaluated.update((runs[one.label].path, one) for one in chosen)
        say_loaded(runs.values())
        waiting = [one for one in chosen if not runs[one.label].done]
        drawn = [label for label in labels if pictures and not is_drawn(runs[label])]
        total = len(drawn)
        for one in waiting:
            total += sum(not part.finished for part in self._parts(one, runs[one.label]))
        hidden = not self.progress or not total
        with progress_bar(total=total, unit="part", disable=hidden, leave=False) as bar:
            try:
                for group in self._groups(waiting):
                    self._run_group(group, runs, bar)
            finally:  # nor is what the user's own code made of use to another call
                self._held.clear()
                self._learners = {key: one for key, one in self._learners.items() if not key[-1]}
            for label in drawn:
                bar.set_description(f"figure of {label}")
                save_confusion_matrix(runs[label])
                self.memory.keep(runs[label].path, finished=True)
                bar.update()
        return runs

    def table(self, runs: Mapping[str, Run]) -> pd.DataFrame:
        """Finished runs side by side: rates in per cent, and what each has to say of itself."""
        return metrics_table(runs)

    def evaluated(self, run: Run) -> Tested | None:
        """The method of a run that this study has tested; None of another."""
        return self._evaluated.get(run.path)

    def keep(self, run: Run, name: str = "") -> pathlib.Path:
        """The model of a run as a folder, see `kept.keeping.keep`. Raises ModelError."""
        return keep(self, run, name)

    def overview(self) -> pd.DataFrame:
        """Who trains and who is tested: utterances and speakers of each role and corpus."""
        there = self.split.merge(self.rows[["utt_id", "corpus"]]).groupby(["role", "corpus"])
        return there.agg(utterances=("utt_id", "nunique"), speakers=("speaker", "nunique"))

    def _groups(self, tested: Iterable[Tested]) -> list[list[Tested]]:
        """Methods that share training, folds and seeds, in the order of their first."""
        groups: dict[Any, list[Tested]] = {}
        for one in tested:
            training = self.training_of(one)
            key = None if training is None else _key(training)
            cells = tuple(self.folds_of(one)), tuple(self.seeds(one))
            groups.setdefault((key, cells), []).append(one)
        return list(groups.values())

    def _run_group(self, group: list[Tested], runs: Mapping[str, Run], bar: Any) -> None:
        """All parts of methods that share a training, then what follows from them.

        Of two processes with a run in common the second waits, and takes over its parts.
        """
        seeds = self.seeds(group[0])
        with contextlib.ExitStack() as locks:
            for path in sorted({runs[one.label].path for one in group}):
                locks.enter_context(files.alone(path, "making the same run"))
            for fold in self.folds_of(group[0]):
                for seed in seeds:
                    for one in group:
                        seed_told = f", seed {seed}" if len(seeds) > 1 else ""
                        bar.set_description(f"{one.label}, fold {fold}{seed_told}")
                        bar.update(self._compute(one, runs[one.label], seed, fold))
            for one in group:
                self._finish(one, runs[one.label])

    def _compute(self, one: Tested, run: Run, seed: int, fold: str) -> int:
        """Predictions of one part, saved; how many parts were made, 0 where it was there before."""
        part = _part(run, seed, fold)
        if part.load() is not None:
            return 0
        one = one.at(seed)
        learner = self.trained(one, fold)[0]
        # a closed form is the same to the last bit on any machine
        alone = self.single(one) or self.training_of(one) is None
        with single_thread(alone):
            found = self.predict(learner, one, fold)
        table, beside = found if isinstance(found, tuple) else (found, {})
        part.save(table, beside)
        self.memory.keep(run.path, finished=False)
        return 1

    def _finish(self, one: Tested, run: Run) -> None:
        """Predictions of all parts, the tables beside them, metrics, DONE."""
        if run.done:  # by the process that was waited for
            return
        parts = self._parts(one, run)
        for name in sorted({name for part in parts for name in part.beside()}):
            run.keep(name, [part.read(name) for part in parts])
        tables = {part.name: part.load() for part in parts}
        torn = [name for name, table in tables.items() if table is None]
        if torn:
            raise RunError(
                f"{run.path}: {', '.join(torn)} cannot be read back: run again, and if it stays so,"
                " delete the folder"
            )
        predictions = with_films(pd.concat(tables.values(), ignore_index=True), self.rows)
        run.keep(SETTINGS, [settings_table(one.config, self.looked_at(one))])
        copies = self.copies(one)
        if len(copies):
            run.keep("copies", [copies])
        run.finish(
            predictions,
            self.labels,
            notes=[*self._of_features(one), *self.notes(one), *copies_notes(copies)],
            chance=self.chance(one),
            speaker_independence=speaker_independence(run.split, persons(self.rows)),
        )
        run.mark_done()
        self.memory.keep(run.path, finished=True)

    def _of_features(self, one: Tested) -> list[str]:
        """What has to be said of the features, and how they were normalised, where they were."""
        told = [self.store.note] if self.store is not None and self.store.note else []
        how = one.config.normalised_by
        if not how:
            return told
        unknown = (self.rows["speaker"] == "").sum()
        if unknown and one.config.normalisation == "speaker":
            how += f"; {unknown} utterance(s) of unknown speakers by their corpus"
        return [how, *told]

    def _parts(self, one: Tested, run: Run) -> list[Part]:
        """The resumable units of a run, in the order of its predictions."""
        return [_part(run, seed, fold) for seed in self.seeds(one) for fold in self.folds_of(one)]

    # --- facts and names --------------------------------------------------------------------------

    def opened(self, one: Tested) -> Run:
        """The run folder of a method, made where it is not there yet."""
        split = self.split_table(one)
        self.check_split(split)
        check_copies(split, self.rows)
        roles = self.sides(one)[["utt_id", "role"]].merge(self.rows[["utt_id", "corpus"]])
        corpora = {role: sorted(set(part["corpus"])) for role, part in roles.groupby("role")}
        spec = self.features_of(one)[1]
        facts = {
            "protocol": self.protocol,
            "task": self.name,
            "corpora": corpora,
            "model": one.name,
            "condition": one.condition,
            "preset": one.config.preset,
            "changed": settings.plain(one.config.changed()),
            "feature_spec": spec,
            "manifest": manifest_hash(self.rows),
            **self._common_facts(one),
        }
        facts.update(self.facts(one))
        if one.test is not None:
            facts["test"] = settings.as_dict(one.test)
        name = f"{self.name}-{spec['name']}-{self.run_name(one)}"
        settled = self.tested_settings(one)
        return open_run(self.root, self.method, name, settled, facts, split, self.memory)

    def _common_facts(self, one: Tested) -> dict[str, Any]:
        """What decides trainings and results alike."""
        facts = {
            "contract": CONTRACT,
            "version": self.VERSION,
            "labels": self.labels,
            "merge": self.merge,
            "features": self.features_of(one)[0],
        }
        if one.own is not None:  # which code of the user's own took part, and in which call
            facts["own"] = {"code": name_of(one.own), "call": one.mark}
        return facts

    def _marked(self, one: Tested) -> Tested:
        """With a mark of this call where there is code of the user's own."""
        if one.own is None or one.mark:
            return one
        return dataclasses.replace(one, mark=uuid.uuid4().hex[:12])

    def _check(self, one: Tested) -> None:
        """Raise SettingError for settings that cannot work, here or anywhere."""
        settings.check(one.config)
        if one.test is not None:
            settings.check(one.test)
        self.check(one)


def _key(training: Tested) -> tuple[Any, str, str]:
    """What tells one training from another on the same training side; its mark is the last."""
    return training.config, training.kind, training.mark


def _part(run: Run, seed: int, fold: str) -> Part:
    """The resumable unit of a run for one seed and fold."""
    return run.part(f"seed{seed}-fold{fold}")
