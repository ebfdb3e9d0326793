"""Few-shot tests of meta-learning and of what it has to beat, in the same episodes.

Training sees the source alone; the target, a corpus or language never heard, is tested once.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from colab_utils import corpora, session
from colab_utils.features import open_store
from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.clips import Clips, Scale
from colab_utils.learning.study import TRAINING_ROLES, Study, Tested, Training
from colab_utils.learning.tasks import Tasks
from colab_utils.learning.training import History
from colab_utils.methods.maml import rivals
from colab_utils.methods.maml.episode_tasks import episode_predictions, query_scores
from colab_utils.methods.maml.figures import episode_rows
from colab_utils.methods.maml.settings import (
    EpisodeConfig,
    MamlConfig,
    both_regimes,
    needs_retraining,
    rule_of,
    used_by,
)
from colab_utils.methods.maml.steps import steps_table
from colab_utils.methods.maml.training_side import TrainingSide, make_side
from colab_utils.protocols.build import build_task
from colab_utils.protocols.episodes import Episode, EpisodePlan, EpisodePool, episodes_table
from colab_utils.protocols.folds import check_disjoint
from colab_utils.protocols.published import ProtocolError, load_protocol
from colab_utils.results.runs import Run
from colab_utils.results.tables import methods_table, readable
from colab_utils.settings import SettingError

_REFERENCE = "nearest prototype"

OwnMethod = Callable[[Tasks], torch.Tensor]
Drawn = tuple[pd.DataFrame, list[Episode]]


class MamlStudy(Study):
    """One task of a protocol on cached features (roles train, valid, test).

    Features of tested utterances are first read when they are tested.

    Args:
        name: the task.
        rows, split: of `protocols.build.build_task`.
        store: features of all rows.
        labels: the emotions in a fixed order.
        root: folder of all that is kept.
        apart: units ("speaker", "film") that support and query of an episode never share.
        film_overlap: a dubbed film may stand in training and test, as some tasks were published.
        **others: of `Study`.

    Raises:
        LeakError.
    """

    method = "maml"

    def __init__(
        self,
        name: str,
        rows: pd.DataFrame,
        split: pd.DataFrame,
        store: FeatureStore,
        labels: Sequence[str],
        root: str | os.PathLike,
        *,
        apart: tuple[str, ...] = ("speaker",),
        film_overlap: bool = False,
        **others: Any,
    ):
        self.apart, self.film_overlap = tuple(apart), film_overlap
        self._episodes: dict[Any, Drawn] = {}
        self._plan: tuple[int, ...] = ()
        super().__init__(name, rows, split, store, labels, root, **others)

    # --- the contract -----------------------------------------------------------------------------

    def learner(self, tested: Tested, fold: str) -> Training:
        """Meta-training, episodic training or pre-training on the training side of a fold."""
        config = tested.config
        side = self.side(tested, fold)
        learner = rivals.make_learner(tested.kind, side, config, len(self.labels), self.device)
        return Training(learner, config.iterations, config.validate_every, config.patience)

    def predict(
        self, learner: Any, tested: Tested, fold: str
    ) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
        """Predictions in the episodes of a fold, and the accuracy of each after each step."""
        rows, chosen = self._drawn(tested, fold)
        config, seed = tested.config, tested.test.seed
        regime = config.regime if tested.kind == "maml" else "fixed"
        outputs = config.ways if regime == "permuted" else None
        scores = query_scores(
            self._answer(learner, tested, fold),
            self._tested_clips(tested, fold),
            chosen,
            regime,
            max_frames=config.max_frames,
            outputs=outputs,
        )
        table = episode_predictions(
            scores[:, -1],
            chosen,
            rows,
            self.labels,
            method=tested.name,
            rule=self.rule_of(tested),
            seed=seed,
            fold=fold,
        )
        true = pd.Index(self.labels).get_indexer(table["true"]).reshape(len(chosen), 1, -1)
        right = (scores.argmax(axis=3) == true).mean(axis=2)
        tasks = [episode.task for episode in chosen]
        return table, {"steps": steps_table(right, tasks, method=tested.name, seed=seed)}

    def check(self, tested: Tested) -> None:
        """Raise SettingError for a network that these features cannot feed, and where a trained
        one would have to be trained again.
        """
        config = tested.config
        if self.store.pooled and not config.pooled:
            raise SettingError(
                f"{config.network} needs frames, and {self.store.spec['name']} gives one vector "
                "an utterance: choose frame features (logmel, paper-logmel, paper-mfcc), or "
                'network = "mlp"'
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
        """Who is kept apart in training episodes."""
        return {"apart": list(self.apart)}

    def facts(self, tested: Tested) -> dict[str, Any]:
        """Which method it is."""
        return {"kind": tested.kind}

    def folds_of(self, tested: Tested) -> list[str]:
        """The folds that have an episode; all of them in training."""
        if tested.test is None:
            return self.folds
        shares = shares_of(tested.test.n_tasks, len(self.folds))
        return [fold for fold, share in zip(self.folds, shares, strict=True) if share]

    def split_table(self, tested: Tested) -> pd.DataFrame:
        """Who trains and validates (task -1), and who supports and queries in each episode."""
        parts = []
        for seed in self.seeds(tested):
            one = tested.at(seed)
            for fold in self.folds_of(tested):
                sides = self._of_fold(one, fold)
                training = sides[sides["role"].isin(TRAINING_ROLES)]
                rows, chosen = self._drawn(one, fold)
                parts.append(training.assign(seed=seed, task=-1))
                parts.append(episodes_table(rows, chosen, seed, fold))
        return pd.concat(parts, ignore_index=True)

    def check_split(self, split: pd.DataFrame) -> None:
        """As of the contract; where films may overlap, speakers alone are compared."""
        if self.film_overlap:
            check_disjoint(split, self.allow_speaker_overlap)
        else:
            super().check_split(split)

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

    def rule_of(self, tested: Tested) -> str:
        """Inductive, or transductive through the batch statistics of a trained network."""
        return rule_of(tested.config.norm) if self.training_of(tested) else self.rule

    def single(self, tested: Tested) -> bool:
        """One thread for a network on vectors."""
        return tested.config.pooled

    def notes(self, tested: Tested) -> list[str]:
        """What an episode is, and how the inner loop at test differs from the trained one."""
        config, test = tested.config, tested.test
        units = " and no ".join(self.apart) or "utterance"
        notes = [
            f"{test.ways}-way {test.shots}-shot episodes, {test.queries} queries a class; "
            f"support and query share no {units}"
        ]
        if self.film_overlap:
            notes.append("films stand in training and in test, as published")
        if tested.kind != "maml":
            return notes
        notes.append(f"class ids {config.regime}")
        if test.inner_rate and config.learn_rates:
            notes.append(
                f"inner rate {test.inner_rate:g} for all layers and steps instead of the "
                "learnt ones"
            )
        elif test.steps > config.steps:
            notes.append(
                f"trained for {config.steps} inner steps, tested with {test.steps}: the "
                "last rates are repeated"
            )
        return notes

    # --- the source -------------------------------------------------------------------------------

    def side(self, tested: Tested, fold: str) -> TrainingSide:
        """The training side of a fold, with episodes as the settings want them."""
        config = tested.config
        key = ("side", config.pooled, config.ways, config.shots, config.queries, config.within)
        return self.held(fold, key, lambda: self._make_side(tested, fold))

    def _make_side(self, tested: Tested, fold: str) -> TrainingSide:
        config, scale = tested.config, self.scale(tested, fold)
        train = self._clips(self.part(tested, fold, "train"), config, scale)
        valid = self._clips(self.part(tested, fold, "valid"), config, scale)
        return make_side(train, valid, config, self.apart)

    def scale(self, tested: Tested, fold: str) -> Scale:
        """Mean and deviation of the features over the training utterances of a fold."""

        def fit() -> Scale:
            return self._clips(self.part(tested, fold, "train"), tested.config).fit_scale()

        return self.held(fold, ("scale", tested.config.pooled), fit)

    def _clips(self, rows: pd.DataFrame, config: MamlConfig, scale: Scale | None = None) -> Clips:
        return Clips(
            self.store, rows, self.labels, device=self.device, scale=scale, pooled=config.pooled
        )

    # --- the target -------------------------------------------------------------------------------

    def _drawn(self, tested: Tested, fold: str) -> Drawn:
        """The tested rows of a fold and its share of the episodes, numbered through all folds."""
        test = tested.test
        plan = (test.ways, test.shots, test.queries, test.n_tasks)
        if plan != self._plan:
            self._episodes.clear()
            self._plan = plan
        key = test.seed, fold
        if key not in self._episodes:
            rows = self.part(tested, fold, "test")
            pool = EpisodePool(
                rows, self.labels, EpisodePlan(test.ways, test.shots, test.queries, self.apart)
            )
            share = shares_of(test.n_tasks, len(self.folds))[self.folds.index(fold)]
            chosen = pool.episodes(test.seed, share.start, len(share), stream="test")
            self._episodes[key] = rows, chosen
        return self._episodes[key]

    def _tested_clips(self, tested: Tested, fold: str) -> Clips:
        """The tested clips of a fold, scaled by its training utterances."""

        def make() -> Clips:
            rows = self.part(tested, fold, "test")
            return self._clips(rows, tested.config, self.scale(tested, fold))

        return self.held(fold, ("tested", tested.config.pooled), make)

    def _answer(self, learner: Any, tested: Tested, fold: str) -> rivals.Answer:
        """How a method answers: one's own function does it itself."""
        if tested.own is not None:
            return tested.own
        side = None if learner is None else self.side(tested, fold)
        return rivals.answer_of(
            tested.kind, learner, side, tested.config, tested.test, len(self.labels)
        )

    # --- what a notebook asks for -----------------------------------------------------------------

    def episodes(self, config: MamlConfig, **values: Any) -> EpisodeConfig:
        """Test episodes like those of the training, but for `values`; empty ones change nothing."""
        trained = self._fitting(config)
        return EpisodeConfig.from_form(
            "default",
            values,
            ways=trained.ways,
            shots=trained.shots,
            queries=trained.queries,
            steps=trained.steps,
            seed=trained.seed,
        )

    def episode(self, episodes: EpisodeConfig, task: int = 0) -> pd.DataFrame:
        """The clips of one test episode, by its number, for `figures.show_episode`."""
        test = dataclasses.replace(episodes, n_tasks=max(task + 1, episodes.n_tasks))
        shares = shares_of(test.n_tasks, len(self.folds))
        number = next(number for number, share in enumerate(shares) if task in share)
        fold = self.folds[number]
        rows, chosen = self._drawn(Tested("", MamlConfig(), test=test), fold)
        split = episodes_table(rows, [chosen[task - shares[number].start]], test.seed, fold)
        return episode_rows(split, self.rows, task)

    def train(
        self,
        config: MamlConfig,
        fold: str = "",
        on_record: Callable[[list[dict]], None] | None = None,
    ) -> History:
        """Meta-train one fold (default: the first) with the first seed, or load it; its history.

        Raises:
            SettingError, EpisodeError, TrainingError, Interrupted.
        """
        config = self._fitting(config)
        return super().train(Tested(config.title, config, kind="maml"), fold, on_record)

    def compare(
        self,
        config: MamlConfig,
        episodes: EpisodeConfig,
        models: Mapping[str, MamlConfig] | None = None,
        baselines: Sequence[str] = rivals.BASELINES,
        own: Mapping[str, OwnMethod] | None = None,
    ) -> dict[str, Run]:
        """Test every method in the same episodes of the target.

        Args:
            config: settings of the network and the training that all share.
            episodes: of the test.
            models: names and settings of meta-trained networks; default: those of `config`, with
                fixed and with permuted class ids.
            baselines: of `rivals.BASELINES`.
            own: methods of one's own by name, (Tasks with fixed class ids) -> probabilities of the
                query, float (tasks, n_query, labels), 0 where a class is not active.

        Returns:
            Finished runs by name.

        Raises:
            SettingError where a network would have to be trained again; EpisodeError where an
            episode cannot be drawn; TrainingError, Interrupted.
        """
        if models is None:
            models = both_regimes(config)
        chosen = [self._tested(name, name, config, episodes) for name in baselines]
        chosen += [self._tested(name, "maml", model, episodes) for name, model in models.items()]
        for name, method in (own or {}).items():
            one = self._tested(name, "own", config, episodes)
            chosen.append(dataclasses.replace(one, own=method))
        return self.evaluate(chosen)

    def _tested(self, name: str, kind: str, config: MamlConfig, episodes: EpisodeConfig) -> Tested:
        """A method in a test, with the settings that it looks at: what it does not use does not
        name its run.

        Args:
            name: what figures and tables call it.
            kind: "maml", one of `rivals.BASELINES`, or "own".
            config: of its training.
            episodes: of the test.
        """
        if kind == "maml":
            return Tested(name, self._fitting(config), kind=kind, test=episodes)
        trained = rivals.TRAINED_AS.get(kind, "")
        test = dataclasses.replace(
            episodes, steps=EpisodeConfig.steps, inner_rate=EpisodeConfig.inner_rate
        )
        return Tested(name, used_by(trained, self._fitting(config)), kind=kind, test=test)

    def table(self, runs: Mapping[str, Run], reference: str = _REFERENCE) -> pd.DataFrame:
        """Runs side by side: rates in per cent, and the difference to one of them on the same
        queries.
        """
        return readable(methods_table(runs, reference))

    def _fitting(self, config: MamlConfig) -> MamlConfig:
        """With no more ways than there are emotions."""
        return dataclasses.replace(config, ways=min(config.ways, len(self.labels)))


def shares_of(n_tasks: int, n_folds: int) -> list[range]:
    """The numbers of the episodes of each fold, consecutive and as equal as can be.

    The first folds take one more where they do not divide, and the last none where there are fewer
    episodes than folds.
    """
    size, more = divmod(n_tasks, n_folds)
    shares, first = [], 0
    for number in range(n_folds):
        end = first + size + (number < more)
        shares.append(range(first, end))
        first = end
    return shares


def open_study(
    protocol: str,
    task: str = "",
    audio: str = "",
    features: str = "acoustic",
    root: str | os.PathLike = "out",
    drive_folder: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    fetch: bool = False,
) -> MamlStudy:
    """The study of a published arrangement, for a notebook.

    Args:
        protocol: its name.
        task: one of its arrangements; empty: the first.
        audio: a folder with one sub-folder for each corpus; empty: embedded, on Drive, or to be
            fetched.
        features: the front end.
        root: the workspace.
        drive_folder: MyDrive, or None.
        seed: chooses who validates.
        fetch: whether corpora may be downloaded.

    Raises:
        ProtocolError, ManifestError, FoldError, LeakError, and what `features.open_store` raises.
    """
    published = load_protocol(protocol)
    name = task or next(iter(published.tasks))
    if name not in published.tasks:
        raise ProtocolError(
            f"{published.name} has no task {name!r}; it has {', '.join(published.tasks)}"
        )
    chosen = published.tasks[name]
    everything = corpora.open_corpora(chosen.corpora, audio, root, drive_folder, fetch=fetch)
    rows, split = build_task(published, name, everything, seed)
    print(f"{protocol}, task {name}: {', '.join(chosen.emotions)}")
    store = open_store(rows, features, root)
    return MamlStudy(
        name,
        rows,
        split,
        store,
        chosen.emotions,
        root,
        apart=(published.group,),
        film_overlap=chosen.allow_group_overlap,
        protocol=protocol,
        merge=chosen.merge,
        device=session.device(),
    )
