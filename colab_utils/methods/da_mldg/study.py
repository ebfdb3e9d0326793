"""Domain generalisation as a study: algorithms learn the source corpora, one target is tested.

Held-out source speakers pick the step; no label of the target has a part in it.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from colab_utils import settings
from colab_utils.features.store.features import Features
from colab_utils.features.store.views import Normalised
from colab_utils.learning.clips import Clips, predict_table
from colab_utils.learning.kept import ModelError
from colab_utils.learning.kept.predictor import Predictor
from colab_utils.learning.kept.steps import Linear, Network
from colab_utils.learning.own import name_of, named
from colab_utils.learning.recipe import RECOMMENDED, SHIFT, features_note
from colab_utils.learning.study import TRAINING_ROLES, Study, Tested, Training
from colab_utils.methods.da_mldg import starting_weights
from colab_utils.methods.da_mldg.algorithms import Algorithm
from colab_utils.methods.da_mldg.batches import DomainBatches, digital_silence
from colab_utils.methods.da_mldg.learner import DomainLearner, make_algorithm
from colab_utils.methods.da_mldg.settings import HEADS, LINEAR, DomainConfig
from colab_utils.methods.da_mldg.source_head import SourceHead, fitted, held_out_temperature
from colab_utils.methods.da_mldg.speaker_pretraining import pretrain, speakers_config
from colab_utils.results.calibration import with_temperature
from colab_utils.results.runs import Run
from colab_utils.settings import SettingError

_KNOWS_SILENCE = ("da-mldg", "logmel")  # front ends whose floor is what digital silence gives


class DomainStudy(Study):
    """One target: train on the source corpora of a task, test on one that nothing has seen before.

    Args:
        *arguments: name, rows, split, store, labels and root of `Study`. Rows and split are those
            of `protocols.build.build_task`, with the roles train, valid, test (in a task within one
            corpus, an in-domain reference); the store holds vectors (network "mlp") or frames
            ("resnet18"); a label that the target lacks (ShEMO has no disgust) is left out of its
            means.
        **others: of `Study`.

    Raises:
        LeakError: a speaker stands on both sides.
    """

    method = "da_mldg"
    VERSION = 2

    def __init__(self, *arguments: Any, **others: Any):
        super().__init__(*arguments, **others)
        self._pretrained: dict[Any, tuple[pathlib.Path, str]] = {}

    # --- the contract -----------------------------------------------------------------------------

    def learner(self, tested: Tested, fold: str) -> Training:
        """The algorithm with its batches; the target's features are not read."""
        config = self._in_updates(tested, fold)
        train = self.clips(tested, fold, "train")
        valid = self.clips(tested, fold, "valid")
        file, _ = self._speakers(tested, fold)
        algorithm = make_algorithm(config, train.dim, len(self.labels), self.device, tested.own)
        starting_weights.load(config.start, algorithm.network, file)
        batches = DomainBatches(train, config, self._silence(tested, train))
        learner = DomainLearner(algorithm, batches, valid)
        return Training(learner, config.steps, config.validate_every, config.patience or None)

    def training_of(self, tested: Tested) -> Tested | None:
        """None for a linear head, which has a closed optimum."""
        return None if tested.config.algorithm in HEADS else super().training_of(tested)

    def predict(
        self, learner: DomainLearner | None, tested: Tested, fold: str
    ) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
        """Predictions of the target, and the temperature of their scores."""
        config = tested.config
        clips = self.clips(tested, fold, "test")
        if learner is None:
            head = self._head(tested, fold)
            t = head.temperature
            scores = head.predict(clips)
        else:
            window = config.crop_frames if config.test == "windows" else 0
            raw = predict_table(learner.algorithm.predict, clips, window)
            t = held_out_temperature(learner, window)
            scores = with_temperature(raw, t)
        cell = tested.repeated.seed, fold, t
        told = pd.DataFrame([cell], columns=["seed", "fold", "temperature"])
        table = self.predictions(tested, fold, clips.rows, scores)
        return table, {"temperature": told}

    def kept(
        self, learner: DomainLearner | None, tested: Tested, fold: str
    ) -> tuple[Predictor, Features]:
        """As of the contract: a linear head, or the network of an algorithm."""
        config = tested.config
        train = self.clips(tested, fold, "train")
        if learner is None:
            head = self._head(tested, fold)
            steps = [Linear.of_head(head.head)]
            predictor = Predictor(self.labels, steps, train.scale, head.temperature)
            return predictor, self.features_for(tested, pooled=not self.store.pooled)
        if tested.own is not None:
            raise ModelError(f"{tested.label} is your own code, which no folder can hold")
        window = config.crop_frames if config.test == "windows" else 0
        made = {"name": config.network, "dim": train.dim, "n_classes": len(self.labels)}
        made |= {"norm": config.norm, "width": config.width}
        step = Network.of(learner.module.state_dict(), "logits", **made)
        t = held_out_temperature(learner, window)
        predictor = Predictor(self.labels, [step], train.scale, t, window, bool(window))
        return predictor, self.features_for(tested)

    def check(self, tested: Tested) -> None:
        """Raise SettingError where other features or weights are asked for than there are."""
        config, name = tested.config, self.store.spec["name"]
        if config.algorithm in HEADS:
            return
        if self.store.pooled != (config.network == "mlp"):
            raise SettingError(
                f"network = {config.network!r} and {name}: the mlp takes one vector an utterance "
                "(acoustic, an encoder's embedding), resnet18 frames (logmel, da-mldg)"
            )
        if config.padding == "zeros" and not self.store.pooled and name not in _KNOWS_SILENCE:
            raise SettingError(
                f"padding = 'zeros' with {name}: what silence is in it is not known; choose "
                "'masked'"
            )

    def looked_at(self, tested: Tested) -> list[dataclasses.Field]:
        """As of the contract; by a linear head how features are normalised, no more."""
        if tested.config.algorithm in HEADS:
            return settings.looked_at(tested.config, settings.RESULT)
        return super().looked_at(tested)

    def training_facts(self, tested: Tested, fold: str) -> dict[str, Any]:
        """Which weights the network started from."""
        file, _ = self._speakers(tested, fold)
        return {"start": starting_weights.identity(tested.config.start, file)}

    def facts(self, tested: Tested) -> dict[str, Any]:
        """Which weights the network starts from; of a pretraining, how it is made."""
        config = tested.config
        if config.start == "speakers":
            return {"start": settings.plain(speakers_config(config).only())}
        return {"start": starting_weights.identity(config.start)}

    def training_name(self, tested: Tested) -> str:
        """Algorithm and network."""
        algorithm = tested.config.algorithm if tested.own is None else name_of(tested.own)
        return f"{algorithm}-{tested.config.network}"

    def single(self, tested: Tested) -> bool:
        """A perceptron is too small for several threads."""
        return tested.config.network == "mlp"

    def notes(self, tested: Tested) -> list[str]:
        """What a reader of the numbers has to know."""
        sources = self.overview().loc["train"].index
        if tested.config.algorithm in HEADS:
            return self._notes_of_head(tested, list(sources))
        _, start = self._speakers(tested, self.folds[0])
        told = [
            f"trained on {', '.join(sources)}; the step was picked on their held-out speakers",
            f"features: {self.store.spec['name']}",
            f"start: {start}",
            f"scores have one temperature, {SHIFT:g} times that of the held-out source speakers "
            "(temperature.csv)",
        ]
        if tested.config.start == "speakers" and tested.config.normalisation != "none":
            told.append("speakers were told apart on features that are not normalised")
        if tested.config.epochs:
            steps = self._in_updates(tested, self.folds[0]).steps
            told.append(f"{tested.config.epochs} epochs of the sources are {steps} updates")
        return told

    def by_name(self, config: DomainConfig, name: str, **values: Any) -> Tested:
        """As of the contract: an algorithm."""
        return algorithms_of(settings.with_settings(config, **values), [name])[0]

    # --- what a notebook asks for -----------------------------------------------------------------

    def compare(
        self,
        config: DomainConfig,
        algorithms: str | Sequence[str],
        own: Mapping[str, type[Algorithm]] | None = None,
        pictures: bool = True,
    ) -> dict[str, Run]:
        """Test algorithms on the target, all with the same settings.

        Args:
            config: the settings.
            algorithms: their names, a list or "recommended, erm, mldg".
            own: {name: class} of algorithms of one's own.
            pictures: draw the confusion matrix of each run, too.

        Returns:
            Finished runs by name.

        Raises:
            SettingError: an algorithm or setting that there is not, or that cannot work here.
            TrainingError: a loss that is not finite.
            Interrupted: stopped by the user; everything so far is saved.

        Example:
            >>> runs = study.compare(config, ["erm"], own={"worst domain": WorstDomain})
        """
        return self.evaluate(algorithms_of(config, algorithms, own), pictures)

    def embeddings(self, tested: Tested) -> tuple[np.ndarray, pd.DataFrame]:
        """What the network of the first seed and fold makes of utterances.

        A linear head takes features as they are, normalised and scaled.

        Returns:
            Embeddings, float32 (n, width), of the source's validation speakers and of the target;
            and their rows, with a column `role` ("valid" or "test").
        """
        fold = self.folds[0]
        learner, _ = self.trained(tested, fold)
        network = learner.module.eval() if learner else lambda x: (None, x)
        rows, vectors = [], []
        for role in ("valid", "test"):
            clips = self.clips(tested, fold, role)
            rows.append(clips.rows.assign(role=role))
            with torch.no_grad():
                vectors.append(predict_table(lambda inputs: network(*inputs)[1], clips))
        return np.concatenate(vectors).astype(np.float32), pd.concat(rows, ignore_index=True)

    def _in_updates(self, tested: Tested, fold: str) -> DomainConfig:
        """The settings with their epochs counted in updates, by the training side of a fold."""
        rows = self.part(tested, fold, "train")
        return tested.config.in_updates(len(rows), rows["corpus"].nunique())

    # --- features ---------------------------------------------------------------------------------

    def clips(self, tested: Tested, fold: str, role: str) -> Clips:
        """Features of one role of a fold, read once for all algorithms.

        They are scaled by its training utterances, every source domain counting the same. A linear
        head takes vectors, and all utterances of the sources are training.
        """
        config = tested.config
        head = config.algorithm in HEADS
        seed = self.sides(tested)["seed"].iloc[0]
        key = role, seed, head, config.standardise, config.normalising
        return self.held(fold, key, lambda: self._read(tested, fold, role))

    def _read(self, tested: Tested, fold: str, role: str) -> Clips:
        """Read and scale them. Raises SettingError where the role cannot be filled."""
        head = tested.config.algorithm in HEADS
        roles = TRAINING_ROLES if head and role == "train" else (role,)
        rows = self.part(tested, fold, *roles)
        if not len(rows):
            raise SettingError(
                f"task {self.name}: no utterance is in the role {role!r}; every source needs two "
                "speakers or more"
            )
        scale = None
        if role != "train":
            scale = self.clips(tested, fold, "train").scale
        elif silent := sorted(set(self.labels) - set(rows["emotion"])):
            raise SettingError(
                f"task {self.name}: no training corpus has {', '.join(silent)}: leave it out of "
                "the emotions"
            )
        found = self.features_for(tested, pooled=head and not self.store.pooled)
        clips = Clips(found, rows, self.labels, device=self.device, scale=scale)
        if role == "train" and tested.config.standardise:
            return clips.scaled(clips.fit_scale(by_corpus=True))
        return clips

    def _silence(self, tested: Tested, train: Clips) -> np.ndarray | float:
        """What digital silence is in each training clip, normalised as the clip is."""
        silence = digital_silence(self.store.spec)
        found = self.features_for(tested)
        if self.store.pooled or not isinstance(found, Normalised):
            return silence
        frame = np.full((1, train.dim), silence)
        frames = [found.applied(utt_id, frame) for utt_id in train.rows["utt_id"]]
        return np.concatenate(frames)

    # --- linear heads -----------------------------------------------------------------------------

    def _head(self, tested: Tested, fold: str) -> SourceHead:
        """The head of the sources, fitted once for all seeds."""
        key = "head", self.sides(tested)["seed"].iloc[0], tested.config.normalising
        return self.held(fold, key, lambda: fitted(self.clips(tested, fold, "train")))

    def _notes_of_head(self, tested: Tested, sources: list[str]) -> list[str]:
        """What a reader of a linear head's numbers has to know."""
        times = "" if len(sources) > 1 else f", {SHIFT:g} times"
        name = self.store.spec["name"]
        told = [
            f"one linear head on all utterances of {', '.join(sources)}, every emotion counting "
            "the same; no label of the target is read",
            f"features: {name}",
            f"scores have one temperature, from source speakers left out in turn{times} "
            "(temperature.csv)",
        ]
        if made := self.features_for(tested, pooled=not self.store.pooled).note:
            told.append(made)
        if tested.config.algorithm == RECOMMENDED:
            told += features_note(name, set(self.rows["corpus"]))
        return told

    # --- what the network starts from -------------------------------------------------------------

    def _speakers(self, tested: Tested, fold: str) -> tuple[pathlib.Path | None, str]:
        """Weights of a network that tells the training speakers of the sources apart.

        Returns:
            The file, made now where it is not there, and in words what they were trained on. None,
            and the start's name, for other starts.
        """
        config = tested.config
        if config.start != "speakers":
            return None, os.path.basename(config.start)
        pretraining = speakers_config(config)
        key = fold, self.sides(tested)["seed"].iloc[0], pretraining
        if key not in self._pretrained:
            rows = self.part(tested, fold, "train")
            self._pretrained[key] = pretrain(
                rows,
                self.store,
                pretraining,
                self.memory,
                device=self.device,
                progress=self.progress,
            )
        return self._pretrained[key]


def algorithms_of(
    config: DomainConfig,
    names: str | Sequence[str],
    own: Mapping[str, type[Algorithm]] | None = None,
) -> list[Tested]:
    """Algorithms to be tested, all with the same settings.

    `linear` beside `recommended` is left out where the two are one: where features are normalised
    as we recommend anyway.

    Args:
        config: the settings.
        names: names of algorithms, a list or "recommended, erm, mldg".
        own: {name: class} of algorithms of one's own; settings of single algorithms are not theirs.

    Raises:
        SettingError: for an algorithm that there is not, and for none at all.
    """
    found, names = [], settings.as_list(names)
    if RECOMMENDED in names and config.normalising == config.recommended().normalising:
        names = [name for name in names if name != LINEAR]
    for name in names:
        chosen = config.for_head(name) if name in HEADS else config
        found.append(Tested(name, settings.with_settings(chosen, algorithm=name)))
    for name, algorithm in named(own).items():
        plain = settings.with_settings(config, algorithm="erm")
        found.append(Tested(name, plain, own=algorithm))
    if not found:
        raise SettingError(
            "no algorithm is chosen: name one or more, such as recommended, erm, da-mldg"
        )
    return found


def main_algorithm(names: str | Sequence[str]) -> str:
    """The one whose embedding is shown: da-mldg where it is among them, else the last.

    Args:
        names: names of algorithms, a list or "erm, mldg".

    Returns:
        One of the names.
    """
    names = settings.as_list(names)
    return "da-mldg" if "da-mldg" in names else names[-1]
