"""Few-shot tests of meta-learning and of its baselines in the same episodes: train on the source, test on a target never seen before."""
from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from colab_utils import files, settings
from colab_utils.corpora.manifest import manifest_hash
from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.clips import Clips, Scale
from colab_utils.learning.tasks import Tasks
from colab_utils.learning.trained import train_or_load
from colab_utils.learning.training import History, single_thread
from colab_utils.methods.maml import rivals
from colab_utils.methods.maml.episode_tasks import episode_predictions, label_scores, make_tasks
from colab_utils.methods.maml.maml import VERSION, MamlConfig, preset_name, rule_of
from colab_utils.methods.maml.rivals import BASELINES, NEEDS, Source, shared_settings
from colab_utils.methods.maml.steps import read_steps, steps_table, write_steps
from colab_utils.protocols.episodes import Episode, EpisodePlan, EpisodePool, episodes_table
from colab_utils.protocols.folds import check_disjoint, speaker_independence
from colab_utils.results.runs import Part, Run, open_run

_TASKS_AT_ONCE = 50          # test episodes held in memory at a time


@dataclasses.dataclass(frozen=True)
class EpisodeConfig:
    """What a test episode looks like, and how a trained model adapts to it: nothing here asks for retraining, except where `needs_retraining`."""
    ways: int = settings.setting(5, "classes in an episode", low=2, high=8, step=1)
    shots: int = settings.setting(5, "support utterances of each class", low=1, high=25, step=1)
    queries: int = settings.setting(10, "query utterances of each class", low=1, high=30, step=1)
    steps: int = settings.setting(5, "inner steps at test", low=1, high=50, step=1)
    inner_rate: float = settings.setting(0.0, "inner learning rate at test; 0: the trained rates", low=0.0, high=2.0, step=0.01)
    n_tasks: int = settings.setting(200, "test episodes", low=10, high=2000, step=10)
    seed: int = settings.setting(0, "seed of the test episodes", low=0, high=100000, step=1, more=True)
    n_boot: int = settings.setting(1000, "resamples of the interval", low=0, high=20000, step=100, more=True)


def needs_retraining(trained: MamlConfig, wanted: EpisodeConfig) -> str:
    """Why these episodes ask for another meta-training, in one sentence; "" where the trained model can take them as it is."""
    if trained.regime == "permuted" and wanted.ways > trained.ways:
        return (f"{wanted.ways} ways need a head with {wanted.ways} outputs, and with permuted class ids this model was trained for "
                f"{trained.ways}: set ways in the training settings and train again")
    return ""


@dataclasses.dataclass(frozen=True)
class _Tested:
    """A method in a test: its name, what it is (a baseline's name, "maml" or "own"), its training settings, and one's own function."""
    name: str
    kind: str
    config: MamlConfig
    function: Callable[[Tasks], torch.Tensor] | None = None


class Study:
    """One task of a protocol on cached features.

    rows, split: from `protocols.build.build_task` (roles train, valid, test); store: features of all rows, of which those of tested
    utterances are first read in `evaluate`. labels: the fixed emotions; apart: units ("speaker", "film") that support and query of an
    episode never share. Everything is kept below `root`: trained/ and runs/.
    """

    def __init__(self, name: str, rows: pd.DataFrame, split: pd.DataFrame, store: FeatureStore, labels: Sequence[str], root: str | os.PathLike, *,
                 apart: tuple[str, ...] = ("speaker",), merge: Mapping[str, str | None] | None = None, device: str = "cpu", progress: bool = True):
        check_disjoint(split)
        self.name, self.rows, self.split, self.store, self.labels = name, rows, split, store, list(labels)
        self.root, self.apart, self.merge, self.device, self.progress = root, apart, dict(merge or {}), device, progress
        self.folds = sorted(set(split["fold"]))
        self._scales: dict[Any, Scale] = {}
        self._sources: dict[Any, Source] = {}
        self._learners: dict[Any, Any] = {}

    # --- training: the source alone ---------------------------------------------------------------------------------------------------

    def train(self, config: MamlConfig, on_record: Callable[[list[dict]], None] | None = None) -> History:
        """Meta-train, on every fold; returns the history of the last one. Raises SettingError, EpisodeError, TrainingError, Interrupted."""
        settings.check(config)
        return [self._train("maml", config, fold, on_record)[1] for fold in self.folds][-1]

    def learner(self, method: str, config: MamlConfig, fold: str) -> Any:
        """The trained learner of "maml", "protonet" or "pooled": from memory, from disk, or trained now."""
        return self._train(method, config, fold)[0]

    def _train(self, method: str, config: MamlConfig, fold: str, on_record: Callable | None = None) -> tuple[Any, History]:
        own = config if method == "maml" else shared_settings(config)
        key = (method, own, fold)
        if key not in self._learners:
            source = self.source(config, fold)
            learner = rivals.MAKERS[method](source, own, self.labels, self.device)
            facts = {"version": VERSION, "labels": self.labels, "merge": self.merge, "features": self.store.key, "task": self.name, "fold": fold,
                     "apart": list(self.apart), "manifest": manifest_hash(self.rows)}
            name = f"{self.name}-{self.store.spec['name']}-{own.network}-{own.regime}-{own.ways}way{own.shots}shot-fold{fold}-seed{own.seed}"
            with single_thread(own.network == "mlp"):
                history = train_or_load(self.root, method, name, own, facts, source.split, learner, own.iterations, every=own.validate_every,
                                        patience=own.patience, progress=self.progress, on_record=on_record)[1]
            self._learners[key] = learner, history
        return self._learners[key]

    def source(self, config: MamlConfig, fold: str) -> Source:
        """The training side of a fold, with episodes as `config` wants them; features are scaled by the training utterances."""
        key = (fold, config.network == "mlp", config.ways, config.shots, config.queries,
               config.within)
        if key not in self._sources:
            split = self.split[(self.split["fold"] == fold) & self.split["role"].isin(["train", "valid"])]
            parts = {role: self._rows(split, role) for role in ("train", "valid")}
            scale = self.scale(config, fold)
            plan = EpisodePlan(config.ways, config.shots, config.queries, self.apart, config.within)
            # a held-out corpus often lacks the clips for an episode of its own, so validation episodes mix the corpora
            plans = {"train": plan, "valid": dataclasses.replace(plan, within="")}
            pools = {role: EpisodePool(part, self.labels, plans[role]) for role, part in parts.items()}
            data = {role: self._data(part, config, scale) for role, part in parts.items()}
            self._sources[key] = Source(data["train"], pools["train"], data["valid"], pools["valid"], split)
        return self._sources[key]

    def scale(self, config: MamlConfig, fold: str) -> Scale:
        """Mean and deviation of the features over the training utterances of a fold."""
        key = (fold, config.network == "mlp")
        if key not in self._scales:
            self._scales[key] = self._data(self._rows(self.split[self.split["fold"] == fold], "train"), config).fit_scale()
        return self._scales[key]

    def _rows(self, split: pd.DataFrame, role: str) -> pd.DataFrame:
        return self.rows[self.rows["utt_id"].isin(split.loc[split["role"] == role, "utt_id"])].reset_index(drop=True)

    def _data(self, rows: pd.DataFrame, config: MamlConfig, scale: Scale | None = None) -> Clips:
        if self.store.pooled and config.network != "mlp":
            raise settings.SettingError(f"{config.network} needs frames, and {self.store.spec['name']} gives one vector an utterance: choose frame "
                                        'features (logmel, paper-logmel, paper-mfcc), or network = "mlp"')
        return Clips(self.store, rows, self.labels, device=self.device, scale=scale,
                     pooled=config.network == "mlp")

    # --- testing: the target, once ----------------------------------------------------------------------------------------------------

    def evaluate(self, episodes: EpisodeConfig, models: Mapping[str, MamlConfig], baselines: Sequence[str] = BASELINES, seeds: int = 1,
                 config: MamlConfig | None = None, own: Mapping[str, Callable[[Tasks], torch.Tensor]] | None = None) -> dict[str, Run]:
        """Test every model and baseline in the same episodes of the target; one finished run each, by name.

        models: names and settings of meta-trained models; seeds: how many trainings and sets of episodes, counted up from each seed.
        config: network and training settings of the trained baselines (default: those of the first model). own: methods of one's own by
        name, (Tasks with fixed class ids) -> probabilities of the query, float (tasks, n_query, labels), 0 where a class is not active.
        Raises SettingError where a model would have to be trained again, EpisodeError where an episode cannot be drawn.
        """
        settings.check(episodes)
        for name, model in models.items():
            if reason := needs_retraining(model, episodes):
                raise settings.SettingError(f"{name}: {reason}")
        config = config or next(iter(models.values()), MamlConfig(ways=min(5, len(self.labels))))
        drawn = {(seed, fold): self._episodes(episodes, seed, fold) for seed in range(episodes.seed, episodes.seed + seeds) for fold in self.folds}
        split = self._split(drawn)
        tested = [_Tested(name, name, config) for name in baselines]
        tested += [_Tested(name, "maml", model) for name, model in models.items()]
        tested += [_Tested(name, "own", config, function) for name, function in (own or {}).items()]
        return {one.name: self._run(one, episodes, drawn, split) for one in tested}

    def episode_table(self, episodes: EpisodeConfig, task: int = 0) -> pd.DataFrame:
        """The split rows (roles support and query) of one test episode, by its number."""
        rows, drawn = self._episodes(dataclasses.replace(episodes, n_tasks=max(task + 1, 10)), episodes.seed, self.folds[0])
        return episodes_table(rows, [drawn[task]], episodes.seed, self.folds[0])

    def _episodes(self, episodes: EpisodeConfig, seed: int, fold: str) -> tuple[pd.DataFrame, list[Episode]]:
        """The tested rows of a fold and its share of the episodes, numbered through all folds."""
        rows = self._rows(self.split[self.split["fold"] == fold], "test")
        pool = EpisodePool(rows, self.labels, EpisodePlan(episodes.ways, episodes.shots, episodes.queries, self.apart))
        share, number = -(-episodes.n_tasks // len(self.folds)), self.folds.index(fold)
        first = share * number
        return rows, pool.episodes(seed, first, min(share, episodes.n_tasks - first), stream="test")

    def _split(self, drawn: Mapping[tuple[int, str], tuple[pd.DataFrame, list[Episode]]]) -> pd.DataFrame:
        """Who trains and validates, and who supports and queries in each test episode."""
        parts = []
        for (seed, fold), (rows, episodes) in drawn.items():
            training = self.split[(self.split["fold"] == fold) & self.split["role"].isin(["train", "valid"])].assign(seed=seed, task=-1)
            parts += [training, episodes_table(rows, episodes, seed, fold)]
        split = pd.concat(parts, ignore_index=True)
        check_disjoint(split)
        return split

    def _run(self, tested: _Tested, episodes: EpisodeConfig, drawn: Mapping, split: pd.DataFrame) -> Run:
        """One method in all episodes: a finished run. Episodes done before a kill are kept."""
        if tested.kind != "maml":                 # what it does not use does not name its run
            episodes = dataclasses.replace(episodes, steps=EpisodeConfig.steps, inner_rate=EpisodeConfig.inner_rate)
        run = open_run(self.root, "few-shot", f"{self.name}-{self.store.spec['name']}-{tested.name}-{episodes.ways}way{episodes.shots}shot", episodes,
                       self._facts(tested), split)
        if run.done:
            return run
        tables, steps = [], []
        for (seed, fold), (rows, chosen) in drawn.items():
            part = run.part(f"seed{seed}-fold{fold}")
            table = part.load()
            if table is None or not (part.folder / "steps.csv").exists():
                table = self._part(tested, episodes, part, rows, chosen, seed, fold)
            tables.append(table)
            steps.append(read_steps(part.folder / "steps.csv"))
        write_steps(pd.concat(steps, ignore_index=True), run.path / "steps.csv")
        run.finish(pd.concat(tables, ignore_index=True), self.labels, n_boot=episodes.n_boot, speaker_independence=speaker_independence(split),
                   chance=1 / episodes.ways, notes=self._notes(tested, episodes))
        from colab_utils.display.figures import save_confusion_matrix  # late: matplotlib is needed only here
        save_confusion_matrix(run)
        run.mark_done()
        return run

    def _facts(self, tested: _Tested) -> dict[str, Any]:
        """What else decides the result, for the run's hash."""
        training: Any = settings.as_dict(tested.config if tested.kind == "maml" else shared_settings(tested.config))
        if tested.kind not in NEEDS:
            training = {"network": tested.config.network, "max_frames": tested.config.max_frames}
        return {"version": VERSION, "preset": preset_name(tested.config) if tested.kind == "maml" else "", "labels": self.labels,
                "merge": self.merge, "features": self.store.key, "feature_spec": self.store.spec, "manifest": manifest_hash(self.rows),
                "task": self.name, "model": tested.name, "training": training,
                **({"code": files.short_hash(inspect.getsource(tested.function))} if tested.function else {})}

    def _part(self, tested: _Tested, episodes: EpisodeConfig, part: Part, rows: pd.DataFrame, chosen: list[Episode], seed: int,
              fold: str) -> pd.DataFrame:
        """Predictions of the episodes of one seed and fold, kept with their accuracy by step."""
        config = dataclasses.replace(tested.config, seed=tested.config.seed + seed - episodes.seed)
        with single_thread(config.network == "mlp"):
            scores = self._scores(dataclasses.replace(tested, config=config), episodes, fold, rows, chosen, seed)
        rule = rule_of(config.norm) if tested.kind in NEEDS else "inductive"
        table = episode_predictions(scores[:, -1], chosen, rows, self.labels, method=tested.name, rule=rule, seed=seed, fold=fold)
        true = pd.Index(self.labels).get_indexer(table["true"]).reshape(len(chosen), 1, -1)
        right = (scores.argmax(axis=3) == true).mean(axis=2)
        write_steps(steps_table(right, [episode.task for episode in chosen], method=tested.name, seed=seed), part.folder / "steps.csv")
        part.save(table)
        return table

    def _scores(self, tested: _Tested, episodes: EpisodeConfig, fold: str, rows: pd.DataFrame, chosen: list[Episode], seed: int) -> np.ndarray:
        """Probabilities over the fixed labels after each step, float (episodes, steps + 1, n_query, labels)."""
        config, kind = tested.config, tested.kind
        learner = self.learner(NEEDS[kind], config, fold) if kind in NEEDS else None
        source = self.source(config, fold) if kind in NEEDS else None
        regime = config.regime if kind == "maml" else "fixed"
        data = self._data(rows, config, self.scale(config, fold))
        answer = tested.function or rivals.answers(kind, learner, source, config, steps=episodes.steps, rate=episodes.inner_rate,
                                                            seed=seed, n_labels=len(self.labels))
        found = []
        for first in range(0, len(chosen), _TASKS_AT_ONCE):
            part = chosen[first:first + _TASKS_AT_ONCE]
            tasks = make_tasks(data, part, regime, max_frames=config.max_frames,
                               outputs=config.ways if regime == "permuted" else None)
            scores = answer(tasks)
            scores = scores.unsqueeze(1) if scores.dim() == 3 else scores
            found.append(np.stack([label_scores(scores[:, k], part, regime, len(self.labels)) for k in range(scores.shape[1])], axis=1))
        return np.concatenate(found)

    def _notes(self, tested: _Tested, episodes: EpisodeConfig) -> list[str]:
        """What a reader of the numbers has to know."""
        config = tested.config
        notes = [f"{episodes.ways}-way {episodes.shots}-shot episodes, {episodes.queries} queries a class; support and query share no "
                 f"{' and no '.join(self.apart) or 'utterance'}"]
        if tested.kind == "maml":
            notes.append(f"class ids {config.regime}")
            if episodes.inner_rate and config.learn_rates:
                notes.append(f"inner rate {episodes.inner_rate:g} for all layers and steps instead of the learnt ones")
            elif episodes.steps > config.steps:
                notes.append(f"trained for {config.steps} inner steps, tested with {episodes.steps}: the last rates are repeated")
        return notes
