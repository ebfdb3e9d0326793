"""Few-shot transfer from a source corpus to a target: train on the source, fine-tune on k-shot support of the target, test its other speakers."""
from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from colab_utils import files, settings
from colab_utils.corpora.manifest import manifest_hash
from colab_utils.features.store.store import FeatureStore
from colab_utils.learning import heads
from colab_utils.learning.clips import utterance_vectors
from colab_utils.learning.complete import complete
from colab_utils.learning.tasks import Tasks
from colab_utils.learning.training import single_thread
from colab_utils.learning.trained import train_or_load
from colab_utils.learning.training import History
from colab_utils.methods.emofsl import circumplex, emofsl, rivals
from colab_utils.methods.emofsl.emofsl import Metric, SourceLearner, source_learner
from colab_utils.methods.emofsl.network import EmofslNet, forward
from colab_utils.methods.emofsl.settings import (
    DECISIONS,
    METHODS,
    VERSION,
    EmofslConfig,
    baseline_settings,
    check,
    preset_name,
    relevant,
    source_settings,
)
from colab_utils.progress import bar as progress_bar
from colab_utils.protocols.draws import draws_table, support_draws
from colab_utils.protocols.folds import check_disjoint
from colab_utils.results.predictions import validate
from colab_utils.results.runs import Run, open_run

BASELINES = ("source only", "nearest prototype", "logistic regression", "LDA")


class Embeddings(NamedTuple):
    """Projections of one support draw: `rows` (tested utterances and support, with a column `role`), and float32 (n, width) of each before and
    after the fine-tuning."""
    rows: pd.DataFrame
    before: np.ndarray
    after: np.ndarray


@dataclasses.dataclass(frozen=True)
class Tested:
    """A method in a test: its name, its kind ("tuned" or a baseline's name), its settings, and the metric loss of one's own."""
    name: str
    kind: str
    config: EmofslConfig
    metric: Metric | None = None


class TransferStudy:
    """One source-target task on cached features, one vector an utterance (of frames, the mean and deviation over time are taken).

    rows, split: from `protocols.build.build_task` with roles train, valid, support and test; labels: the emotions in a fixed order. Support is
    drawn from the target's other folds, so that no tested speaker is in it. Everything is kept below `root`: trained/ and runs/.
    Raises LeakError where a speaker stands on both sides.
    """

    def __init__(self, name: str, rows: pd.DataFrame, split: pd.DataFrame, store: FeatureStore, labels: Sequence[str], root: str | os.PathLike, *,
                 merge: Mapping[str, str | None] | None = None, device: str = "cpu", progress: bool = True):
        check_disjoint(split)
        if "support" not in set(split["role"]):
            raise settings.SettingError(f"task {name} has no support side: choose a protocol whose tasks have one (emofsl, or draws.pair_task)")
        self.name, self.rows, self.split, self.store, self.labels = name, rows.reset_index(drop=True), split, store, list(labels)
        self.root, self.merge, self.device, self.progress = root, dict(merge or {}), device, progress
        self.folds = sorted(set(split["fold"]))
        self.y = pd.Index(self.labels).get_indexer(self.rows["emotion"])
        self.layers = len({name.split("_")[1] for name in store.feature_names if name.startswith("layer_")}) or 1
        self.front, self.feature_spec, self.feature_key = store.spec["name"], store.spec, store.key        # they name what is kept
        self.note = ""
        self._learners: dict[Any, tuple[SourceLearner, History]] = {}
        self._scores: dict[Any, dict[str, torch.Tensor]] = {}
        self._values: dict[str, torch.Tensor] = {}

    # --- stage 1: the source alone ------------------------------------------------------------------------------------------------------

    def train(self, config: EmofslConfig, on_record: Callable[[list[dict]], None] | None = None) -> History:
        """Train the source model of the first seed, or load it; returns its history. The target is not read. Raises TrainingError, Interrupted."""
        self._check(config)
        return self._source(config, self.folds[0], on_record, self.progress)[1]

    def _source(self, config: EmofslConfig, fold: str, on_record: Callable | None = None, progress: bool = False) -> tuple[SourceLearner, History]:
        """The source model for a fold, from memory, from disk, or trained now: one for all folds that have the same training side."""
        own = source_settings(config)
        split = self.split[(self.split["fold"] == fold) & self.split["role"].isin(["train", "valid"])]
        key = own, frozenset(zip(split["utt_id"], split["role"], strict=True))
        if key not in self._learners:
            train, valid = (self._numbers(fold, role) for role in ("train", "valid"))
            if not len(valid):
                raise settings.SettingError(f"task {self.name}: no speaker of the source validates (it has one for training): take another source")
            metric = self._metric(own, fold) if own.source_loss_weight else None
            learner = self._learner(train, valid, own, metric)
            facts = {"version": VERSION, "labels": self.labels, "merge": self.merge, "features": self.feature_key,
                     "manifest": manifest_hash(self.rows[self.rows["utt_id"].isin(split["utt_id"])])}
            name = f"{self.name.split('-')[0]}-{self.front}-seed{own.seed}"
            with self._threads():
                history = train_or_load(self.root, "emofsl-source", name, own, facts, split.assign(fold="source", seed=0, task=""), learner,
                                        learner.steps, every=learner.steps_per_epoch, patience=own.source_patience, progress=progress,
                                        on_record=on_record)[1]
            self._learners[key] = learner, history
        return self._learners[key]

    def _learner(self, train: np.ndarray, valid: np.ndarray, config: EmofslConfig, metric: Metric | None) -> SourceLearner:
        """What trains the source model on these rows."""
        return source_learner(self._features("source", train).cpu().numpy(), self.y[train], (self._features("source", valid).cpu().numpy(),
                              self.y[valid]), len(self.labels), config, metric, self.device, self.layers)

    def _check(self, config: EmofslConfig) -> None:
        """Raise SettingError for settings that this study cannot follow."""
        check(config)
        if config.tune_layers:
            raise settings.SettingError(f"tune_layers = {config.tune_layers}: {self.front} as it is cached here has no layers that could learn; make "
                                        "the study by Transfers.study(..., tune_layers=...) with a speech encoder, or set tune_layers = 0")

    def _threads(self) -> contextlib.AbstractContextManager:
        """How many threads torch may use meanwhile."""
        return single_thread()

    def _numbers(self, fold: str, role: str) -> np.ndarray:
        """Row numbers of one role in one fold."""
        mine = self.split.loc[(self.split["fold"] == fold) & (self.split["role"] == role), "utt_id"]
        return np.flatnonzero(self.rows["utt_id"].isin(mine))

    def _features(self, side: str, numbers: np.ndarray) -> torch.Tensor:
        """Features of `rows[numbers]`, float32 (n, dim). The source's are read for its training; those of the target when it is tested."""
        if side not in self._values:
            training = self.split["role"].isin(["train", "valid"])
            mine = self.rows["utt_id"].isin(self.split.loc[training if side == "source" else ~training, "utt_id"]).to_numpy()
            values, self.note = self._vectors(np.flatnonzero(mine))
            table = np.full((len(self.rows), values.shape[1]), np.nan, dtype=np.float32)
            table[mine] = values
            self._values[side] = torch.from_numpy(table).to(self.device)
        return self._values[side][torch.as_tensor(numbers, device=self.device)]

    def _vectors(self, numbers: np.ndarray) -> tuple[np.ndarray, str]:
        """One vector for each of `rows[numbers]`, float32 (n, dim), and a note on how it was made, or ""."""
        return utterance_vectors(self.store, self.rows["utt_id"].iloc[numbers])

    def _metric(self, config: EmofslConfig, fold: str) -> Metric | None:
        """The metric loss; with margins "annotated" the emotions stand where the ratings of the source's training utterances put them."""
        coordinates = None
        if config.margins == "annotated" and config.method == "EMOFSL":
            coordinates = circumplex.coordinates_from_annotations(self.rows.iloc[self._numbers(fold, "train")])
        return emofsl.metric_loss(config, self.labels, coordinates)

    # --- stages 2 and 3: support draws of the target --------------------------------------------------------------------------------------

    def evaluate(self, config: EmofslConfig, shots: Sequence[int] = (), methods: Sequence[str] = METHODS, decisions: Sequence[str] = DECISIONS,
                 baselines: Sequence[str] = BASELINES, own: Mapping[str, Metric] | None = None,
                 pictures: bool = True) -> dict[tuple[str, int], Run]:
        """Every method at every number of shots on the same support draws: finished runs by (name, k).

        shots: default config.shots alone. Names are "<method>, <decision>" and those of the baselines; own: metric losses of one's own by
        name, (embedding (draws, n, width), y (draws, n)) -> (draws,), added to cross-entropy in the fine-tuning with config.loss_weight.
        pictures: draw the confusion matrix of each run, too (0.7 s each). What was finished before is loaded, draws of a fold done before a kill
        are kept. Raises SettingError, FoldError, TrainingError.
        """
        found, ks = {}, sorted({int(k) for k in shots or (config.shots,)})
        todo = len(ks) * (len(baselines) + len(decisions) * (len(methods) + len(own or {})))
        with progress_bar(total=todo, desc=self.name, unit="run", disable=not self.progress, leave=False) as bar:
            for k in ks:
                found |= self._at(dataclasses.replace(config, shots=k), methods, decisions, baselines, own or {}, pictures, bar)
        return found

    def _at(self, config: EmofslConfig, methods: Sequence[str], decisions: Sequence[str], baselines: Sequence[str], own: Mapping[str, Metric],
            pictures: bool, bar: tqdm) -> dict[tuple[str, int], Run]:
        """Every method at one number of shots."""
        tested = self._tested(config, methods, decisions, baselines, own)
        for one in tested:
            self._check(one.config)
        drawn = {(seed, fold): self.draws(config, fold, seed) for seed in _seeds(config) for fold in self.folds}
        split = pd.concat([draws_table(self.rows, self.split[self.split["fold"] == fold], draws, seed) for (seed, fold), draws in drawn.items()],
                          ignore_index=True)
        check_disjoint(split)
        found = {}
        for one in tested:
            found[one.name, config.shots] = self._run(one, drawn, split, pictures)
            bar.update(1)
        self._scores.clear()
        return found

    def _tested(self, config: EmofslConfig, methods: Sequence[str], decisions: Sequence[str], baselines: Sequence[str],
                own: Mapping[str, Metric]) -> list[Tested]:
        """What is tested at one number of shots."""
        tuned = [Tested(f"{method}, {decision}", "tuned", relevant(dataclasses.replace(config, method=method, decision=decision)))
                 for method in methods for decision in decisions]
        mine = [Tested(f"{name}, {decision}", "tuned", dataclasses.replace(config, decision=decision), metric)
                for name, metric in own.items() for decision in decisions]
        return [*(Tested(name, name, baseline_settings(config)) for name in baselines), *tuned, *mine]

    def draws(self, config: EmofslConfig, fold: str, seed: int) -> np.ndarray:
        """The support draws of a fold: row numbers, int64 (draws, classes, shots). Raises FoldError where a class has too few utterances."""
        return support_draws(self.rows, self.split[self.split["fold"] == fold], self.labels, config.shots, config.n_draws, seed)

    def _run(self, tested: Tested, drawn: Mapping[tuple[int, str], np.ndarray], split: pd.DataFrame, pictures: bool) -> Run:
        """One method on all draws: a finished run."""
        config = tested.config
        facts = {"version": VERSION, "preset": preset_name(config) if tested.kind == "tuned" and not tested.metric else "",
                 "labels": self.labels, "merge": self.merge, "features": self.feature_key, "feature_spec": self.feature_spec,
                 "manifest": manifest_hash(self.rows), "task": self.name, "model": tested.name,
                 **({"code": files.short_hash(inspect.getsource(tested.metric))} if tested.metric else {})}
        run = open_run(self.root, "emofsl", f"{self.name}-{self.front}-{tested.name}-{config.shots}shot", config, facts, split)
        parts = {f"seed{seed}-fold{fold}": lambda part, seed=seed, fold=fold, draws=draws: self._predictions(tested, draws, seed, fold)
                 for (seed, fold), draws in drawn.items()}
        return complete(run, parts, self.labels, n_boot=config.n_boot, notes=lambda: self._notes(tested), pictures=pictures)

    def _predictions(self, tested: Tested, draws: np.ndarray, seed: int, fold: str) -> pd.DataFrame:
        """Predictions of all draws of one seed and fold."""
        config = dataclasses.replace(tested.config, seed=seed)
        learner, numbers = self._source(config, fold)[0], self._numbers(fold, "test")
        if tested.kind == "tuned":
            scores = self.scores(config, fold, draws, tested.metric)[config.decision]
        else:
            with self._threads():
                tasks = rivals.as_tasks(self._frozen(learner), *self._support(draws), self._features("target", numbers))
                scores = self._baseline(tested.kind, learner, tasks, numbers, fold)
        return draw_predictions(scores.cpu().double().numpy(), self.rows.iloc[numbers], self.labels, method=tested.name, seed=seed, fold=fold)

    def _support(self, draws: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Support features (draws, n, dim) and class ids (n,) of support draws (draws, classes, shots)."""
        support = self._features("target", draws.reshape(len(draws), -1).ravel())
        y = torch.arange(draws.shape[1], device=self.device).repeat_interleave(draws.shape[2])
        return support.reshape(len(draws), -1, support.shape[-1]), y

    def scores(self, config: EmofslConfig, fold: str, draws: np.ndarray, metric: Metric | None = None) -> dict[str, torch.Tensor]:
        """Stages 2 and 3 on support draws of a fold (of `draws`): {"prototype", "head"}, float (draws, n_tested, classes).

        metric: a loss of one's own instead of config.method's. Both decisions cost what one does; the last ones are at hand.
        """
        key = metric, dataclasses.replace(config, decision=DECISIONS[0]), fold
        if key not in self._scores:
            with self._threads():
                self._scores[key] = self._decided(self._source(config, fold)[0], draws, self._numbers(fold, "test"), config,
                                                  metric or self._metric(config, fold))
        return self._scores[key]

    def _decided(self, learner: SourceLearner, draws: np.ndarray, numbers: np.ndarray, config: EmofslConfig,
                 metric: Metric | None) -> dict[str, torch.Tensor]:
        """Stages 2 and 3: scores of `rows[numbers]` by either decision."""
        support, y = self._support(draws)
        parameters = emofsl.fine_tune(learner.module, support, y, config, metric)
        return emofsl.decide(parameters, self._features("target", numbers), support, y, config)

    def _baseline(self, kind: str, learner: SourceLearner, tasks: Tasks, numbers: np.ndarray, fold: str) -> torch.Tensor:
        """Probabilities (draws, n_query, classes) of a baseline."""
        if kind == "source only":
            logits = self._through(learner.module, numbers)[0]
            return torch.softmax(logits, dim=-1).expand(len(tasks.support.y), *logits.shape)
        if kind == "LDA":        # one shot says nothing of the spread within a class, so that of the source serves all k
            train = self._numbers(fold, "train")
            scaled = self._frozen(learner).scaled(self._features("source", train)).detach().cpu().numpy()
            return rivals.lda(tasks, rivals.within_class_covariance(scaled, self.y[train]))
        return {"nearest prototype": heads.nearest_prototype, "logistic regression": heads.logistic_regression}[kind](tasks)

    def _frozen(self, learner: SourceLearner) -> EmofslNet:
        """The network whose standardisation and layer weights the baselines share."""
        return learner.module

    @torch.no_grad()
    def _through(self, module: torch.nn.Module, numbers: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, classes) and projections (n, width) that the source's network gives `rows[numbers]` of the target."""
        return module(self._features("target", numbers))

    def _notes(self, tested: Tested) -> list[str]:
        """What a reader of the numbers has to know."""
        config = tested.config
        notes = [f"{len(self.labels)}-way {config.shots}-shot, {config.n_draws} support draws a fold from speakers of other folds",
                 f"features: {self.front}", *([self.note] if self.note else [])]
        if tested.kind == "source only":
            notes.append("looks at no support: the source's model as it is")
        if self.layers > 1:
            notes.append(f"{self.layers} layers of the encoder under weights that the source's training learned")
        return notes

    def embeddings(self, config: EmofslConfig, fold: str = "", draw: int = 0) -> Embeddings:
        """Projections of the tested utterances of a fold (default: the first) and of one draw's support, before and after the fine-tuning."""
        fold = fold or self.folds[0]
        chosen = self.draws(config, fold, config.seed)[draw:draw + 1]
        learner, numbers = self._source(config, fold)[0], self._numbers(fold, "test")
        everyone = np.concatenate([numbers, chosen.ravel()])
        with self._threads():
            before, after = self._through(learner.module, everyone)[1], self._projected(learner, chosen, everyone, config, self._metric(config, fold))
        rows = self.rows.iloc[everyone].assign(role=np.repeat(["test", "support"], [len(numbers), chosen.size])).reset_index(drop=True)
        return Embeddings(rows, before.cpu().numpy(), after.cpu().numpy())

    def _projected(self, learner: SourceLearner, draw: np.ndarray, numbers: np.ndarray, config: EmofslConfig, metric: Metric | None) -> torch.Tensor:
        """Projections (n, width) of `rows[numbers]` after the fine-tuning on one draw (1, classes, shots)."""
        parameters = emofsl.fine_tune(learner.module, *self._support(draw), config, metric)
        with torch.no_grad():
            return forward(parameters, self._features("target", numbers), config.activation)[1][0]

    def layer_weights(self, config: EmofslConfig) -> np.ndarray:
        """Weights that the source's training gave the encoder's layers, float (layers,) that sum to 1, the input of the first layer first.

        Raises SettingError where the features hold one layer.
        """
        if self.layers == 1:
            raise settings.SettingError(f"{self.front} holds one layer: take a speech encoder with layer = 'all'")
        return torch.softmax(self._source(config, self.folds[0])[0].module.layer_weights.detach(), dim=0).cpu().numpy()


def _seeds(config: EmofslConfig) -> range:
    return range(config.seed, config.seed + config.n_seeds)


def draw_predictions(scores: np.ndarray, rows: pd.DataFrame, labels: Sequence[str], *, method: str, seed: int, fold: str) -> pd.DataFrame:
    """Predictions of all support draws as a table of results.predictions, `draw` the number of the draw: scores (draws, rows, labels)."""
    draws = len(scores)
    table = pd.concat([rows[["utt_id", "corpus", "speaker", "emotion"]].rename(columns={"emotion": "true"})] * draws, ignore_index=True)
    table = table.assign(method=method, rule="inductive", seed=seed, fold=str(fold), draw=np.repeat(np.arange(draws), len(rows)), task=0,
                         pred=np.array(labels, dtype=object)[scores.argmax(axis=2).ravel()])
    probabilities = pd.DataFrame(scores.reshape(-1, len(labels)), columns=[f"p_{label}" for label in labels])
    return validate(pd.concat([table, probabilities], axis=1), labels)
