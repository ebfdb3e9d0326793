"""Few-shot tests of meta-learning and of what it has to beat, in the same episodes.

Training sees the source alone; the target, a corpus or language never heard, is tested once.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from colab_utils.features.store.features import Features
from colab_utils.learning import heads
from colab_utils.learning.clips import Clips, Scale
from colab_utils.learning.kept.predictor import Predictor
from colab_utils.learning.own import named
from colab_utils.learning.study import TRAINING_ROLES, Study, Tested, Training
from colab_utils.learning.tasks import Tasks
from colab_utils.learning.training import History
from colab_utils.methods.maml import rivals
from colab_utils.methods.maml.episode_tasks import (
    TrainingSide,
    accuracy_by_episode,
    drawn,
    episode_predictions,
    nearest_notes,
    pool_notes,
    query_scores,
    shares_of,
)
from colab_utils.methods.maml.figures.episode import episode_rows
from colab_utils.methods.maml.kept import kept_answer
from colab_utils.methods.maml.settings import (
    EpisodeConfig,
    MamlConfig,
    both_regimes,
    needs_retraining,
    used_by,
)
from colab_utils.methods.maml.steps import seen_table
from colab_utils.protocols.episodes import Episode, EpisodePlan, episodes_table
from colab_utils.results.runs import Run
from colab_utils.results.tables import methods_table, readable
from colab_utils.settings import SettingError


class MamlStudy(Study):
    """One arrangement of training and tested utterances; `opening.open_study` makes it.

    Args:
        name: the task.
        rows: manifest rows of all utterances.
        split, store, labels, root, **others: of `Study`.
        apart: units ("speaker", "film") that support and query of an episode never share.
        film_overlap: a dubbed film may stand in training and test, as some tasks were published.

    Raises:
        LeakError: a speaker or film stands in training and test.

    Example:
        study = maml.open_study("open_languages", "de+en-it", audio="corpora")
        config = maml.MamlConfig(shots=1)
        study.table(study.compare(config, study.episodes(config, n_tasks=600)))
    """

    method = "maml"
    VERSION = 3  # features are normalised; enrolled clips are in no episode
    scopes = rivals.SCOPES

    def __init__(
        self,
        name: str,
        rows: pd.DataFrame,
        split: pd.DataFrame,
        store: Features,
        labels: Sequence[str],
        root: str | os.PathLike,
        *,
        apart: tuple[str, ...] = ("speaker",),
        film_overlap: bool = False,
        **others: Any,
    ):
        self.apart = apart
        self.film_overlap = film_overlap
        self._episodes: dict[Any, tuple[EpisodePlan, list[Episode]]] = {}
        self._sources: dict[Any, heads.Source] = {}
        super().__init__(name, rows, split, store, labels, root, **others)

    # --- the contract -----------------------------------------------------------------------------

    def learner(self, tested: Tested, fold: str) -> Training:
        """Meta-training, episodic training or pre-training on the training side of a fold."""
        config = tested.config
        side = self.side(tested, fold)
        learner = rivals.make_learner(tested.kind, side, len(self.labels), self.device)
        return Training(learner, config.iterations, config.validate_every, config.patience)

    def predict(
        self, learner: Any, tested: Tested, fold: str
    ) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
        """Predictions in the episodes of a fold; accuracies after each step, also of seen ones."""
        config = tested.config
        regime, outputs = "fixed", len(self.labels)
        if tested.kind == "maml":
            regime, outputs = config.regime, config.outputs(outputs)

        valid = self._valid(tested, fold)
        answer = rivals.answer_of(tested, learner, valid, len(self.labels))
        if tested.kind in heads.LINEAR:
            answer = functools.partial(self.source(tested, fold).answer, tested.kind)

        def ask(clips: Clips, episodes: Sequence[Episode]) -> np.ndarray:
            return query_scores(answer, clips, episodes, regime, outputs, config.max_frames)

        clips, episodes = self._clips(tested, fold, "test"), self._drawn(tested, fold)[1]
        scores = ask(clips, episodes)
        who = {"method": tested.name, "seed": tested.test.seed}
        columns = who | {"rule": self.rule_of(tested), "fold": fold}
        table = episode_predictions(scores[:, -1], episodes, clips.rows, self.labels, columns)
        beside = {"steps": accuracy_by_episode(scores, clips, episodes, **who)}
        if self.training_of(tested):
            number = self.folds.index(fold)
            beside["seen"] = self.side(tested, fold).seen(ask, len(episodes), number, **who)
        return table, beside

    def kept(self, learner: Any, tested: Tested, fold: str) -> tuple[Predictor, Features]:
        """As of the contract: what answers the first episode."""
        clips = self._clips(tested, fold, "test")
        episodes = self._drawn(tested, fold)[1]
        source = functools.partial(self.source, tested, fold)
        valid = self._valid(tested, fold)
        answer = kept_answer(tested, learner, clips, episodes, source, valid)
        pooled = tested.config.pooled
        return answer, self.features_for(tested, pooled)

    def check(self, tested: Tested) -> None:
        """Refuse, by SettingError, a network that cannot take these features or so many ways."""
        config = tested.config
        if self.store.pooled and not config.pooled:
            raise SettingError(
                f"{config.network} needs frames, and {self.store.spec['name']} gives one vector "
                'an utterance: leave FEATURES at "auto" for those of the preset, choose frame '
                'features (logmel, paper-logmel, paper-mfcc), or network = "mlp"'
            )
        if tested.kind == "maml" and tested.test is not None:
            reason = needs_retraining(config, tested.test)
            if reason:
                raise SettingError(f"{tested.name}: {reason}")

    def training_of(self, tested: Tested) -> Tested | None:
        """Rivals with the same network share their training; MAML has its own settings besides."""
        kind = rivals.TRAINED_AS.get(tested.kind)
        if kind is None:
            return None
        return Tested(kind, used_by(kind, tested.config), kind=kind)

    def training_facts(self, tested: Tested, fold: str) -> dict[str, Any]:
        """Who is kept apart."""
        return {"apart": list(self.apart)}

    def facts(self, tested: Tested) -> dict[str, Any]:
        """Which method it is, and the numbers of linear heads."""
        numbers = heads.linear_facts() if tested.kind in heads.LINEAR else {}
        return {"kind": tested.kind, **numbers}

    def folds_of(self, tested: Tested) -> list[str]:
        """The folds that have an episode; all of them in training."""
        if tested.test is None:
            return self.folds
        return [fold for fold, share in shares_of(tested.test.n_tasks, self.folds).items() if share]

    def split_table(self, tested: Tested) -> pd.DataFrame:
        """Who trains, validates or is enrolled (task -1), who supports and queries in episodes."""
        parts = []
        for seed in self.seeds(tested):
            one = tested.at(seed)
            sides = self.sides(one)
            whole = sides[sides["role"].isin([*TRAINING_ROLES, "enrolment"])]
            for fold in self.folds_of(one):
                parts.append(whole[whole["fold"] == fold].assign(seed=seed, task=-1))
                rows = self.part(one, fold, "test")
                parts.append(episodes_table(rows, self._drawn(one, fold)[1], seed, fold))
        return pd.concat(parts, ignore_index=True)

    def run_name(self, tested: Tested) -> str:
        """Method, ways and shots."""
        return f"{tested.label}-{tested.test.ways}way{tested.test.shots}shot"

    def training_name(self, tested: Tested) -> str:
        """What is trained, on which network, for which ways and shots."""
        config = tested.config
        regime = f"-{config.regime}" if tested.kind == "maml" else ""
        return f"{tested.kind}-{config.network}{regime}-{config.ways}way{config.shots}shot"

    def chance(self, tested: Tested) -> float:
        """One in all ways."""
        return 1 / tested.test.ways

    def transductive(self, tested: Tested) -> list[str]:
        """Besides normalisation: the batch statistics of a trained network."""
        by = super().transductive(tested)
        if self.training_of(tested) and tested.config.norm != "group":
            by.append("batch statistics of the query")
        return by

    def single(self, tested: Tested) -> bool:
        """One thread for a network on vectors."""
        return tested.config.pooled

    def notes(self, tested: Tested) -> list[str]:
        """What an episode is, and how it differs from those of the training."""
        test, folds = tested.test, self.folds_of(tested)
        plans = [self._drawn(tested, fold)[0] for fold in folds]
        notes = [f"{test.ways}-way {test.shots}-shot episodes, {test.queries} queries a class"]
        if test.ways == len(self.labels):
            notes[0] += ", all emotions there are"
        if self.film_overlap:
            notes.append("films stand in training and in test, as published")
        notes += pool_notes([self.part(tested, fold, "test") for fold in folds], plans)
        trained = folds if self.training_of(tested) else []
        sides = [[self.part(tested, fold, role) for role in TRAINING_ROLES] for fold in trained]
        notes += nearest_notes(plans, sides, self.labels, tested, self.apart)
        return notes + rivals.notes_of(tested, self.store.spec, self.rows["corpus"])

    # --- clips and episodes -----------------------------------------------------------------------

    def side(self, tested: Tested, fold: str) -> TrainingSide:
        """The training side of a fold, with episodes as the settings want them."""
        train = self._clips(tested, fold, "train")
        valid = self._clips(tested, fold, "valid")
        return TrainingSide(train, valid, tested.config, self.apart)

    def _valid(self, tested: Tested, fold: str) -> Callable[[], Tasks]:
        """Gives the validation episodes of a fold, with fixed class ids."""
        return lambda: self.side(tested, fold).valid_tasks("fixed", len(self.labels))

    def source(self, tested: Tested, fold: str) -> heads.Source:
        """The utterances that train in a fold as linear heads know them, kept."""
        side = self.part(tested, fold, "train")
        key = tested.config.normalising, tuple(side["utt_id"])
        if key not in self._sources:
            clips = self._clips(tested, fold, "train")
            self._sources[key] = heads.Source(
                clips.values, clips.y, len(self.labels), clips.rows["corpus"]
            )
        return self._sources[key]

    def _clips(self, tested: Tested, fold: str, role: str) -> Clips:
        """The clips of one role in a fold, standardised by its training utterances or not."""
        config = tested.config
        as_read = config.pooled, config.normalising

        def make() -> Clips:
            scale = self._scale(tested, fold) if config.standardise else None
            clips = self._read(tested, fold, role)
            return clips if scale is None else clips.scaled(scale)

        return self.held(fold, (role, as_read, config.standardise), make)

    def _scale(self, tested: Tested, fold: str) -> Scale:
        """The scale of a fold's training utterances, fitted once."""
        key = "scale", tested.config.pooled, tested.config.normalising
        return self.held(fold, key, lambda: self._read(tested, fold, "train").fit_scale())

    def _read(self, tested: Tested, fold: str, role: str) -> Clips:
        """The clips of one role in a fold, not standardised."""
        rows = self.part(tested, fold, role)
        found = self.features_for(tested, pooled=tested.config.pooled)
        return Clips(found, rows, self.labels, device=self.device)

    def _drawn(self, tested: Tested, fold: str) -> tuple[EpisodePlan, list[Episode]]:
        """The fold's share of the test episodes, which are numbered through all folds."""
        test = tested.test
        same = dataclasses.replace(test, steps=1, inner_rate=0.0)
        key = same, fold, tested.config.enrolment
        if key not in self._episodes:
            rows = self.part(tested, fold, "test")
            share = shares_of(test.n_tasks, self.folds)[fold]
            self._episodes[key] = drawn(rows, self.labels, test, self.apart, share)
        return self._episodes[key]

    # --- what a notebook asks for -----------------------------------------------------------------

    def episodes(self, config: MamlConfig, **values: Any) -> EpisodeConfig:
        """Test episodes as in `config`, of the training, but for settings that `values` gives."""
        trained = self._fitting(config, say=True)
        return EpisodeConfig.from_form(
            "default",
            values,
            ways=trained.ways,
            shots=trained.shots,
            queries=trained.queries,
            steps=trained.test_steps or trained.steps,
            seed=trained.seed,
        )

    def episode(self, config: MamlConfig, episodes: EpisodeConfig, task: int = 0) -> pd.DataFrame:
        """The clips of one test episode, a row each, for `show_episode`.

        Args:
            config: of the training, which says who is enrolled.
            episodes: of the test.
            task: its number, from 0.
        """
        test = dataclasses.replace(episodes, n_tasks=max(task + 1, episodes.n_tasks), n_seeds=1)
        split = self.split_table(Tested("", config, test=test))
        return episode_rows(split, self.rows, task)

    def train(
        self,
        config: MamlConfig,
        fold: str = "",
        on_record: Callable[[list[dict]], None] | None = None,
    ) -> History:
        """Meta-train one fold with the first seed, or load what was trained.

        Args:
            config: the settings.
            fold: which one; default: the first.
            on_record: called with all records so far now and then, such as a live curve.

        Returns:
            What happened: `records`, a dict a meta-update, and the chosen step.
        """
        config = self._fitting(config)
        return super().train(Tested(config.title, config, kind="maml"), fold, on_record)

    def compare(
        self,
        config: MamlConfig,
        episodes: EpisodeConfig,
        models: Mapping[str, MamlConfig] | None = None,
        baselines: Sequence[str] = rivals.BASELINES,
        own: Mapping[str, Callable[[Tasks], torch.Tensor]] | None = None,
    ) -> dict[str, Run]:
        """Test every method in the same episodes of the target.

        Args:
            config: settings of the network and the training that all share.
            episodes: of the test.
            models: names and settings of meta-trained networks; default: those of `config`, with
                fixed and with permuted class ids.
            baselines: of `rivals.BASELINES`; "source prior" is left out where it is what is
                recommended.
            own: methods of one's own by name, (Tasks with fixed class ids) -> probabilities of the
                query, float (tasks, n_query, labels), 0 where a class is not active.

        Returns:
            Finished runs by name.
        """
        models = both_regimes(config) if models is None else models
        episodes = self._fitting(episodes, say=True)
        kinds = heads.without_twin(baselines, config)
        chosen = [self._tested(kind, kind, config, episodes) for kind in kinds]
        chosen += [self._tested(name, "maml", model, episodes) for name, model in models.items()]
        for name, method in named(own).items():
            one = self._tested(name, "own", config, episodes)
            chosen.append(dataclasses.replace(one, own=method))
        return self.evaluate(chosen)

    def by_name(self, config: MamlConfig, name: str, **values: Any) -> Tested:
        """As of the contract: a baseline, or "MAML, fixed ids"; `values` are of the test, too."""
        kind, config, test = rivals.by_name(config, name, values)
        return self._tested(name, kind, config, self.episodes(config, **test))

    def _tested(self, name: str, kind: str, config: MamlConfig, episodes: EpisodeConfig) -> Tested:
        """A method ("maml", a baseline, "own") with what it looks at: no more names its run."""
        config = self._fitting(config)
        if kind == "maml":
            if episodes.steps != (config.test_steps or config.steps):
                config = dataclasses.replace(config, test_steps=episodes.steps)
            return Tested(name, config, kind=kind, test=episodes)
        no_steps = {"steps": EpisodeConfig.steps, "inner_rate": EpisodeConfig.inner_rate}
        test = dataclasses.replace(episodes, **no_steps)
        return Tested(name, rivals.settings_of(kind, config), kind=kind, test=test)

    def table(self, runs: Mapping[str, Run]) -> pd.DataFrame:
        """Runs of `compare`, nearest prototype among them, side by side.

        Returns:
            Rates in per cent, and the difference to nearest prototype on the same queries; of
            trained methods also the accuracy in episodes of the training and the validation.
        """
        table = readable(methods_table(runs, "nearest prototype"))
        notes = table.pop("notes")  # the longest: they stay at the end
        table = table.join(seen_table(runs)).fillna("")
        return table.assign(notes=notes)

    def _fitting(self, asked: Any, say: bool = False) -> Any:
        """Settings of a training or of episodes with no more ways than there are emotions."""
        most = len(self.labels)
        if say and asked.ways > most:
            print(f"{asked.ways} ways asked for, {most} emotions there: {most} ways")
        return dataclasses.replace(asked, ways=min(asked.ways, most))
