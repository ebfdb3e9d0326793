"""Domain generalisation as a study: algorithms train on the source corpora, held-out source speakers pick the step, one target is tested."""
from __future__ import annotations

import copy
import dataclasses
import inspect
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from colab_utils import files, settings
from colab_utils.corpora.manifest import manifest_hash
from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.clips import Clips
from colab_utils.learning.complete import complete
from colab_utils.learning.trained import train_or_load
from colab_utils.learning.training import History, single_thread
from colab_utils.methods.da_mldg import starting_weights
from colab_utils.methods.da_mldg.algorithms import Algorithm
from colab_utils.methods.da_mldg.batches import DomainBatches, digital_silence, predict_table
from colab_utils.methods.da_mldg.settings import VERSION, DomainConfig, check, make_algorithm, preset_name, relevant, training_settings
from colab_utils.methods.da_mldg.speaker_pretraining import SpeakerConfig, pretrain
from colab_utils.protocols.folds import check_disjoint
from colab_utils.results.predictions import predictions_table
from colab_utils.results.rates import confusion, uar
from colab_utils.results.runs import Run, open_run

_KNOWS_SILENCE = ("da-mldg", "logmel")            # front ends whose floor is what digital silence gives


class DomainLearner:
    """An algorithm as a learner for `training.train`.

    Step i takes one batch of every source domain that follows from (config.seed, i) alone. The
    score is the UAR of each source domain's validation speakers, the mean over domains: the target
    has no part in it.
    """

    def __init__(self, algorithm: Algorithm, batches: DomainBatches, valid: Clips,
                 config: DomainConfig):
        """
        Args:
            algorithm: what is trained.
            batches: of the training speakers of the source.
            valid: the validation speakers of the source.
            config: how it is trained.
        """
        self.algorithm, self.module = algorithm, algorithm.network
        self.batches, self.valid, self.config = batches, valid, config

    def step(self, i: int) -> dict[str, float]:
        """One update; what the algorithm measured."""
        for group in self.algorithm.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * self.config.decay ** (i / 10_000)
        batch = self.batches.batch(self.config.seed, i, self.config.per_domain,
                                   **self.config.sampling())
        return self.algorithm.update(batch)

    def validate(self) -> float:
        """Mean UAR of the source domains' validation speakers, whole clips."""
        found = predict_table(self.algorithm.predict, self.valid).argmax(axis=1)
        domains = self.valid.corpora
        return float(np.mean([self._uar(found, self.valid.corpus == name) for name in domains]))

    def _uar(self, found: np.ndarray, chosen: np.ndarray) -> float:
        labels = np.array(self.valid.labels, dtype=object)
        true = labels[self.valid.y.cpu().numpy()[chosen]]
        return float(uar(confusion(true, labels[found[chosen]], list(labels))))

    def state(self) -> dict[str, Any]:
        """The algorithm's."""
        return self.algorithm.state()

    def load(self, state: dict[str, Any]) -> None:
        """Put it back."""
        self.algorithm.load(state)


class DomainEmbeddings(NamedTuple):
    """Embeddings of utterances: `rows` with a column `role` ("valid" of the source, "test"), and float32 (n, width)."""
    rows: pd.DataFrame
    vectors: np.ndarray


class DomainStudy:
    """One target: train on the source corpora of a task, test on the target, which nothing has seen before.

    rows, split: from `protocols.build.build_task` (roles train, valid, test; in a task within one corpus, an in-domain reference); store: vectors
    (network "mlp") or frames ("resnet18"). labels: the emotions in a fixed order; one that the target lacks (ShEMO has no disgust) is left out of
    its means. pretraining: of start = "speakers". Everything is kept below `root`: trained/ and runs/. Raises LeakError.
    """

    def __init__(self, name: str, rows: pd.DataFrame, split: pd.DataFrame, store: FeatureStore, labels: Sequence[str], root: str | os.PathLike, *,
                 merge: Mapping[str, str | None] | None = None, device: str = "cpu", progress: bool = True,
                 pretraining: SpeakerConfig = SpeakerConfig()):
        check_disjoint(split)
        self.name, self.rows, self.split, self.store, self.labels = name, rows, split, store, list(labels)
        self.root, self.merge, self.device, self.progress = root, dict(merge or {}), device, progress
        self.folds = sorted(set(split["fold"]))
        self.pretraining = pretraining
        self._pretrained: dict[Any, tuple[pathlib.Path, str]] = {}
        self._data: dict[Any, Clips] = {}
        self._learners: dict[Any, tuple[DomainLearner, History]] = {}

    # --- training: the sources alone -----------------------------------------------------------------------------------------------------

    def train(self, config: DomainConfig, on_record: Callable[[list[dict]], None] | None = None, own: type[Algorithm] | None = None) -> History:
        """Train config.algorithm (or one's own class of that contract) with the first seed, or load it; returns its history.

        The target's features are not read. Raises SettingError, TrainingError, Interrupted.
        """
        check(config)
        return self._learner(config, self.folds[0], own, on_record, self.progress)[1]

    def _learner(self, config: DomainConfig, fold: str, own: type[Algorithm] | None = None, on_record: Callable | None = None,
                 progress: bool = False) -> tuple[DomainLearner, History]:
        """The trained learner of one seed and fold: from memory, from disk, or trained now."""
        config = training_settings(config)
        key = config, fold, own
        if key not in self._learners:
            train, valid = self._part(config, fold, "train"), self._part(config, fold, "valid")
            algorithm = make_algorithm(config, train.dim, len(self.labels), self.device, own)
            start = starting_weights.load(config.start, algorithm.network, self._speakers(config, fold)[0] if config.start == "speakers" else None)
            split = self.split[(self.split["fold"] == fold) & self.split["role"].isin(["train", "valid"])]
            facts = {"version": VERSION, "labels": self.labels, "merge": self.merge, "features": self.store.key, "start": start, "task": self.name,
                     "fold": fold, "manifest": manifest_hash(self.rows[self.rows["utt_id"].isin(split["utt_id"])]), **_code(own)}
            name = f"{self.name}-{self.store.spec['name']}-{config.algorithm if own is None else own.__name__}-{config.network}-seed{config.seed}"
            batches = DomainBatches(train, config.crop_frames, digital_silence(self.store.spec))
            learner = DomainLearner(algorithm, batches, valid, config)
            with single_thread(config.network == "mlp"):
                history = train_or_load(self.root, "domains", name, config, facts, split, learner, config.steps, every=config.validate_every,
                                        patience=config.patience or None, progress=progress, on_record=on_record)[1]
            self._learners[key] = learner, history
        return self._learners[key]

    def _speakers(self, config: DomainConfig, fold: str) -> tuple[pathlib.Path, str]:
        """Weights of a network that tells the training speakers of the sources apart, and what they were trained on."""
        key = fold, config.crop_frames, config.width, config.norm, self.pretraining
        if key not in self._pretrained:
            of_source = self.split[(self.split["fold"] == fold) & (self.split["role"] == "train")]
            rows = self.rows[self.rows["utt_id"].isin(of_source["utt_id"])].reset_index(drop=True)
            speakers = dataclasses.replace(self.pretraining, crop_frames=config.crop_frames, width=config.width, norm=config.norm)
            self._pretrained[key] = pretrain(rows, self.store, speakers, self.root, device=self.device, progress=self.progress)
        return self._pretrained[key]

    def _part(self, config: DomainConfig, fold: str, role: str) -> Clips:
        """Features of one role of a fold, scaled by its training utterances (every source domain counting the same)."""
        self._check_features(config)
        key = fold, role, config.standardise
        if key not in self._data:
            mine = self.split[(self.split["fold"] == fold) & (self.split["role"] == role)]
            rows = self.rows[self.rows["utt_id"].isin(mine["utt_id"])].reset_index(drop=True)
            if not len(rows):
                raise settings.SettingError(f"task {self.name}: no utterance is in the role {role!r}; every source needs two speakers or more")
            if role == "train" and (silent := [label for label in self.labels if label not in set(rows["emotion"])]):
                raise settings.SettingError(f"task {self.name}: no training corpus has {', '.join(silent)}: leave it out of the emotions")
            scale = None if role == "train" else self._part(config, fold, "train").scale
            clips = Clips(self.store, rows, self.labels, device=self.device, scale=scale)
            if role == "train" and config.standardise:
                clips = clips.scaled(clips.fit_scale(by_corpus=True))
            self._data[key] = clips
        return self._data[key]

    def _check_features(self, config: DomainConfig) -> None:
        """Raise SettingError where the settings ask for other features than the store has."""
        name = self.store.spec["name"]
        if self.store.pooled != (config.network == "mlp"):
            raise settings.SettingError(
                f"network = {config.network!r} and {name}: the mlp takes one vector an utterance "
                "(acoustic, an encoder's embedding), resnet18 frames (logmel, da-mldg)")
        if config.padding == "zeros" and not self.store.pooled and name not in _KNOWS_SILENCE:
            raise settings.SettingError(f"padding = 'zeros' with {name}: what silence is in it is "
                                        "not known; choose 'masked'")

    # --- testing: the target, once -------------------------------------------------------------------------------------------------------

    def evaluate(self, configs: Mapping[str, DomainConfig], own: Mapping[str, type[Algorithm]] | None = None,
                 pictures: bool = True) -> dict[str, Run]:
        """Test every named algorithm on the target; finished runs by name. own: classes of one's own for some of the names.

        pictures: draw the confusion matrix of each run, too. What was finished before is loaded. Raises SettingError, TrainingError, Interrupted.
        """
        for config in configs.values():
            check(config)
        return {name: self._run(name, relevant(config), (own or {}).get(name), pictures) for name, config in configs.items()}

    def _run(self, name: str, config: DomainConfig, own: type[Algorithm] | None, pictures: bool) -> Run:
        """One algorithm, all seeds and folds: a finished run."""
        facts = {"version": VERSION, "preset": "" if own else preset_name(config), "labels": self.labels, "merge": self.merge,
                 "features": self.store.key, "feature_spec": self.store.spec, "manifest": manifest_hash(self.rows), "task": self.name,
                 "model": name, **_code(own)}
        seeds = range(config.seed, config.seed + config.n_seeds)
        split = pd.concat([self.split.assign(seed=seed, task=0) for seed in seeds], ignore_index=True)
        run = open_run(self.root, "domains", f"{self.name}-{self.store.spec['name']}-{name}", config, facts, split)
        parts = {f"seed{seed}-fold{fold}": lambda part, seed=seed, fold=fold: self._predictions(name, dataclasses.replace(config, seed=seed), fold,
                                                                                               own)
                 for seed in seeds for fold in self.folds}
        return complete(run, parts, self.labels, n_boot=config.n_boot, notes=lambda: self._notes(config), pictures=pictures)

    def _predictions(self, name: str, config: DomainConfig, fold: str, own: type[Algorithm] | None) -> pd.DataFrame:
        """Predictions of the target by one trained model."""
        learner = self._learner(config, fold, own)[0]
        data = self._part(config, fold, "test")
        with single_thread(config.network == "mlp"):
            scores = predict_table(learner.algorithm.predict, data, config.crop_frames if config.test == "windows" else 0)
        pred = np.array(self.labels, dtype=object)[scores.argmax(axis=1)]
        return predictions_table(data.rows, pred, self.labels, scores, method=name, rule="inductive", seed=config.seed, fold=fold)

    def _notes(self, config: DomainConfig) -> list[str]:
        """What a reader of the numbers has to know."""
        sources = sorted(set(self.rows.loc[self.rows["utt_id"].isin(self.split.loc[self.split["role"] == "train", "utt_id"]), "corpus"]))
        return [f"trained on {', '.join(sources)}; the step was picked on their held-out speakers", f"features: {self.store.spec['name']}",
                f"start: {self._speakers(config, self.folds[0])[1] if config.start == 'speakers' else os.path.basename(config.start)}"]

    def embeddings(self, config: DomainConfig, own: type[Algorithm] | None = None) -> DomainEmbeddings:
        """Embeddings of the source's validation speakers and of the target, by the model of the first seed and fold."""
        check(config)
        fold = self.folds[0]
        learner = self._learner(relevant(config), fold, own)[0]
        parts = {role: self._part(config, fold, role) for role in ("valid", "test")}
        network = copy.deepcopy(learner.module).eval()

        @torch.no_grad()
        def embed(inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
            return network(*inputs)[1]
        vectors = [predict_table(embed, data) for data in parts.values()]
        rows = pd.concat([data.rows.assign(role=role) for role, data in parts.items()], ignore_index=True)
        return DomainEmbeddings(rows, np.concatenate(vectors).astype(np.float32))


def _code(own: type[Algorithm] | None) -> dict[str, str]:
    """What identifies an algorithm of one's own: its methods' source (that of a class cannot be had in a notebook) and what it is made from."""
    if own is None:
        return {}
    methods = {name: inspect.getsource(method) for name, method in vars(own).items() if inspect.isfunction(method)}
    return {"code": files.short_hash({"bases": [base.__qualname__ for base in own.__bases__], **methods})}
