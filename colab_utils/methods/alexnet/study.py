"""AlexNet on spectrograms as a study: a network for each fold and seed, tested on clean and on
worse recordings of speakers never heard.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from colab_utils import corpora, session
from colab_utils.display import captions, style
from colab_utils.display.matrices import confusion_matrices_figure
from colab_utils.features.acoustic.degrade import TRAINING_NOISES
from colab_utils.features.published.alexnet import AlexNetSpectrogram, segment_count
from colab_utils.features.store.extract import extract
from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.study import Study, Tested, Training
from colab_utils.learning.training import History
from colab_utils.methods.alexnet import export, figures
from colab_utils.methods.alexnet.labeller import save_network
from colab_utils.methods.alexnet.network import MODELS, valid_columns, weights_mark
from colab_utils.methods.alexnet.pictures import (
    SEGMENT,
    Images,
    Range,
    check_features,
    fit_range,
    make_images,
    utterance_probabilities,
)
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.methods.alexnet.training import (
    AlexnetLearner,
    FoldPictures,
    OwnNetwork,
    TrainingFold,
)
from colab_utils.protocols.published import load_protocol
from colab_utils.protocols.speakers import build_within
from colab_utils.results.runs import Run
from colab_utils.settings import SettingError, as_list

STABILITY_CONDITIONS = (*(f"{kind}@10" for kind in TRAINING_NOISES), "reverb")
NOTEBOOK_CONDITIONS = ("clean", "pink@20", "pink@10", "pink@0", "reverb@0.9", "8khz")
TEST_CONDITIONS = (
    "clean",
    "pink@20",
    "pink@10",
    "pink@5",
    "pink@0",
    "machine@10",
    "hum@10",
    "reverb@0.9",
    "8khz",
)
_STABILITY = 0.5  # its weight where nobody gives one


class AlexnetStudy(Study):
    """Networks on every fold of speakers (roles train, valid, test).

    Features are extracted into `root`/features, a store for each feature set and condition, when
    they are first needed. Pictures fill hundreds of megabytes a fold: a network in training has
    them, and nobody once it is trained.

    Args:
        name: the task.
        rows, split: of `protocols.build`.
        labels: the emotions in a fixed order.
        root: folder of all that is kept.
        conditions: how the copies of stability training are made worse; no test condition may be
            among them, but "reverb" with another decay.
        **others: of `Study`.

    Raises:
        LeakError; SettingError for a split without validation speakers.
    """

    method = "alexnet"

    def __init__(
        self,
        name: str,
        rows: pd.DataFrame,
        split: pd.DataFrame,
        labels: Sequence[str],
        root: str | os.PathLike,
        *,
        conditions: Sequence[str] = STABILITY_CONDITIONS,
        **others: Any,
    ):
        super().__init__(name, rows, split, None, labels, root, **others)
        if "valid" not in set(split["role"]):
            raise SettingError(
                f"task {name} has no validation speakers: choose a protocol whose folds have some"
            )
        self.conditions = tuple(conditions)
        self._stores: dict[tuple[str, str], FeatureStore] = {}
        self._in_training: AlexnetLearner | None = None
        self._alone = ""  # the fold, where this is a study of one of several
        self._several = len(self.folds) > 1

    # --- the contract -----------------------------------------------------------------------------

    def learner(self, tested: Tested, fold: str) -> Training:
        """A network with its pictures still to be made."""
        config = tested.config
        store = self.store_of(config.features)
        train, valid = self.part(tested, fold, "train"), self.part(tested, fold, "valid")
        check_features(store, train)
        spec = AlexNetSpectrogram(feature_set=config.features)
        limits = fit_range(store, train["utt_id"], spec)
        counts = [segment_count(frames) for frames in store.lengths(train["utt_id"])]

        def pictures() -> FoldPictures:
            noisy = []
            for condition in self._heard(config):
                noisy.append(self.images(train, config, limits, condition))
            return FoldPictures(
                self.images(train, config, limits), noisy, self.images(valid, config, limits)
            )

        data = TrainingFold(
            limits, np.repeat(self.classes(train), counts), self.classes(valid), pictures
        )
        learner = AlexnetLearner(config, len(self.labels), data, self.device, tested.own)
        self._in_training = learner
        return Training(learner, learner.steps, learner.steps_per_epoch, config.patience or None)

    def predict(self, learner: AlexnetLearner, tested: Tested, fold: str) -> pd.DataFrame:
        """Predictions of the test speakers of one fold, in one condition."""
        config, rows = tested.config, self.part(tested, fold, "test")
        images = self.images(rows, config, learner.limits, tested.condition, config.test_hop)
        scores = utterance_probabilities(learner.probabilities(images), images, config.decision)
        return self.predictions(tested, fold, rows, scores)

    def trained(self, tested: Tested, fold: str, on_record: Callable | None = None) -> tuple:
        """As of the contract; what only the training needed is let go, whatever happens."""
        try:
            return super().trained(tested, fold, on_record)
        finally:
            if self._in_training is not None:
                self._in_training.let_go()
                self._in_training = None

    def check(self, tested: Tested) -> None:
        """Raise SettingError for weights that are not there, and for noise that does not fit."""
        _weights(tested)
        if not tested.config.hears_noise:
            return
        if not self.conditions:
            raise SettingError(
                "stability training needs noisy copies of the training clips: give "
                "conditions such as babble@10"
            )
        if tested.condition in self.conditions:
            raise SettingError(
                f"condition {tested.condition} was heard in stability training: "
                "test on another, such as pink@10"
            )

    def training_of(self, tested: Tested) -> Tested:
        """The settings of the training, and the weights that it starts from: a file's content
        decides, not its name.
        """
        return dataclasses.replace(super().training_of(tested), kind=_weights(tested))

    def training_facts(self, tested: Tested, fold: str) -> dict[str, Any]:
        """What is heard in training besides the clips."""
        return {"conditions": list(self._heard(tested.config))}

    def facts(self, tested: Tested) -> dict[str, Any]:
        """What was heard in training, and the weights it started from."""
        return {"conditions": list(self._heard(tested.config)), "weights": _weights(tested)}

    def notes(self, tested: Tested) -> list[str]:
        """What the network started from, how the recordings were, what picked the epoch."""
        learner = self.trained(tested, self.folds_of(tested)[-1])[0]  # the one at hand
        return [
            f"started from: {learner.started}",
            f"condition: {tested.condition}",
            f"the epoch was picked by the {tested.config.select.upper()} of validation speakers",
        ]

    def features_of(self, tested: Tested) -> tuple[str, dict]:
        """Key and specification of the features in the tested condition."""
        store = self.store_of(tested.config.features, tested.condition)
        return store.key, store.spec

    def run_name(self, tested: Tested) -> str:
        """Network and condition; where one fold of several is tested alone, the fold too."""
        return f"fold-{self._alone}-{tested.label}" if self._alone else tested.label

    def training_name(self, tested: Tested) -> str:
        """Network and features. One fold alone shares the networks of the whole study."""
        config = tested.config
        name = tested.name if tested.own else config.ser_model
        fold = f"-fold{self._alone}" if self._alone and self._several else ""
        return f"{name}-{config.features}{fold}"

    # --- data -------------------------------------------------------------------------------------

    def store_of(self, features: str, condition: str = "") -> FeatureStore:
        """Cached features of all utterances in one condition ("": clean)."""
        condition = condition or "clean"
        if (features, condition) not in self._stores:
            spec = AlexNetSpectrogram(feature_set=features, condition=condition)
            self._stores[features, condition] = extract(
                self.rows, spec, self.root / "features", self.device, self.progress
            )
        return self._stores[features, condition]

    def images(
        self,
        rows: pd.DataFrame,
        config: AlexnetConfig,
        limits: Range,
        condition: str = "",
        hop: int = SEGMENT,
    ) -> Images:
        """Pictures of `rows` as the network sees them."""
        store = self.store_of(config.features, condition)
        return make_images(store, rows, self.labels, config, limits, hop=hop, device=self.device)

    def _heard(self, config: AlexnetConfig) -> tuple[str, ...]:
        """The conditions of the noisy copies that training hears."""
        return self.conditions if config.hears_noise else ()

    # --- what a notebook asks for -----------------------------------------------------------------

    def overview(self) -> pd.DataFrame:
        """Utterances and speakers of every fold and role."""
        there = self.split.merge(self.rows[["utt_id"]]).groupby(["fold", "role"])
        names = there["speaker"].agg(lambda speakers: ", ".join(sorted(set(speakers))))
        return pd.DataFrame({"utterances": there["utt_id"].nunique(), "speakers": names})

    def of_fold(self, fold: str) -> AlexnetStudy:
        """The study of this fold alone: it is trained and tested as in the whole study.

        Its runs have names of their own; networks and features are shared.
        """
        one = copy.copy(self)
        one.split = self.split[self.split["fold"] == fold]
        one._alone, one._held, one._learners = fold, {}, {}
        return one

    def train(
        self,
        config: AlexnetConfig,
        fold: str = "",
        on_record: Callable[[list[dict]], None] | None = None,
    ) -> History:
        """Train one fold (default: the first) with the first seed, or load it; its history.

        Raises SettingError, TrainingError, Interrupted.
        """
        return super().train(Tested(config.ser_model, config), fold, on_record)

    def run(
        self,
        config: AlexnetConfig,
        conditions: Sequence[str] = ("clean",),
        *,
        own: OwnNetwork | None = None,
        name: str = "",
        pictures: bool = True,
    ) -> dict[str, Run]:
        """One network in every condition: finished runs by "<name>, <condition>".

        Args:
            config: its settings.
            conditions: of the tested recordings.
            own: makes a network of one's own from the number of classes.
            name: what figures and tables call it; default: that of the network.
            pictures: draw the confusion matrix of each run, too.

        Raises:
            SettingError, TrainingError, Interrupted.
        """
        if not name:
            name = getattr(own, "__name__", "own network") if own else config.ser_model
        return self.evaluate(in_conditions(name, config, conditions, own), pictures)

    def compare(
        self,
        config: AlexnetConfig,
        stability: float = 0.0,
        conditions: Sequence[str] = NOTEBOOK_CONDITIONS,
    ) -> dict[str, Run]:
        """The same network without and with stability training, in every condition.

        Args:
            config: the settings of both.
            stability: weight of the divergence; 0: that of `config`, or 0.5 where it has none.
            conditions: of the tested recordings.

        Returns:
            Finished runs by "<network>, <condition>".
        """
        weight = stability or config.stability or _STABILITY
        without = dataclasses.replace(config, stability=0.0)
        with_it = dataclasses.replace(config, stability=weight)
        name = config.ser_model
        chosen = in_conditions(name, without, conditions)
        chosen += in_conditions(f"{name} + stability", with_it, conditions)
        return self.evaluate(chosen, pictures=False)

    def sizes(self, config: AlexnetConfig, steps: int = 1) -> pd.DataFrame:
        """`measured` for both networks, from random weights."""
        configs = {}
        for name in reversed(MODELS):
            configs[name] = dataclasses.replace(config, ser_model=name, pretrained="scratch")
        return self.measured(configs, steps)

    def measured(self, configs: Mapping[str, AlexnetConfig], steps: int = 3) -> pd.DataFrame:
        """Parameters and seconds an epoch of each setting, from a few steps of a fresh network on
        the first fold.
        """
        rows = []
        for name, config in configs.items():
            learner = self.learner(Tested(name, config), self.folds[0]).learner
            learner.step(0)
            begin = time.perf_counter()
            for step in range(1, steps + 1):
                learner.step(step)
            seconds = (time.perf_counter() - begin) / steps * learner.steps_per_epoch
            numbers = [parameter.numel() for parameter in learner.module.parameters()]
            rows.append(
                {
                    "model": name,
                    "parameters": sum(numbers),
                    "segments": len(learner.y),
                    "seconds an epoch": round(seconds, 2),
                    "started from": learner.started,
                }
            )
            learner.let_go()
        self._in_training = None
        return pd.DataFrame(rows).set_index("model")

    # --- figures ----------------------------------------------------------------------------------

    def views_figure(self, config: AlexnetConfig, fold: str = "") -> style.SuiteFigure:
        """What the network of a fold (default: the first) sees, and where it looks."""
        synthetic = self.rows["corpus"].str.startswith("synthetic").any()
        marks = ["Synthetic corpus: not a result on speech."] if synthetic else []
        title = f"What {config.ser_model} sees, and where it looks"
        return figures.views_figure(self.views(config, fold=fold), title, marks)

    def views(self, config: AlexnetConfig, number: int = 4, fold: str = "") -> list[figures.View]:
        """The first segment of up to `number` test utterances of a fold, of different emotions as
        far as there are.
        """
        tested, fold = Tested(config.ser_model, config), fold or self.folds[0]
        learner = self.trained(tested, fold)[0]
        rows = self.part(tested, fold, "test")
        rows = rows.loc[sorted(rows.groupby("emotion").head(1).index[:number])]
        images = self.images(rows, config, learner.limits)
        probabilities = learner.probabilities(images).cpu().numpy()
        pictures = images.values[:, 0].float().cpu().numpy()
        pictures = (pictures - pictures.min()) / max(pictures.max() - pictures.min(), 1e-9)
        spec = AlexNetSpectrogram(feature_set=config.features)
        of_mel = spec.bins == 128
        found = []
        for place, row in enumerate(rows.itertuples()):
            at = int((images.utterance == place).nonzero()[0])
            best = int(probabilities[at].argmax())
            found.append(
                figures.View(
                    picture=pictures[at],
                    activation=_activation(learner, images, at, best),
                    seconds=3.0,
                    valid=float(images.valid[at]),
                    hertz=(0.0, 8000.0 if of_mel else 20.0 * spec.bins),
                    scale="mel" if of_mel else "Hz",
                    true=row.emotion,
                    predicted=self.labels[best],
                    name=row.utt_id,
                )
            )
        return found

    def noise_figure(self, runs: Mapping[str, Run], noise: str = "pink") -> style.SuiteFigure:
        """UAR of every network against the signal-to-noise ratio."""
        main = _first(figures.clean_runs(runs))
        table, metrics = figures.conditions_table(runs), main.metrics
        title = f"{self.name}, {main.config['settings']['features']}"
        marks = captions.stamps(main.predictions, metrics)
        return figures.noise_figure(table, metrics["chance"], noise, title, marks)

    def folds_figure(self, runs: Mapping[str, Run]) -> style.SuiteFigure:
        """UAR and WA of every fold, of the first network on clean recordings."""
        main = _first(figures.clean_runs(runs))
        predictions, metrics = main.predictions, main.metrics
        table = figures.folds_table(predictions, self.labels)
        title = f"{self.name}, {main.config['model']}"
        return figures.folds_figure(table, metrics, title, captions.stamps(predictions, metrics))

    def matrices_figure(self, runs: Mapping[str, Run], title: str = "") -> style.SuiteFigure:
        """The confusion matrices of these runs."""
        shown = {name: (run.predictions, run.metrics) for name, run in runs.items()}
        return confusion_matrices_figure(shown, title=title or self.name, labels=self.labels)

    # --- what is kept -----------------------------------------------------------------------------

    def save(self, config: AlexnetConfig, save_label: str, fold: str = "") -> pathlib.Path:
        """Keep the best network of a fold (default: the first) below `root`/models/`save_label`,
        with all that labelling new audio needs; `Labeller` loads it.
        """
        fold = fold or self.folds[0]
        learner, history = self.trained(Tested(config.ser_model, config), fold)
        about = {
            "task": self.name,
            "version": self.VERSION,
            "fold": fold,
            "best_score": history.best_score,
            "started": learner.started,
        }
        folder = self.root / "models" / save_label
        return save_network(folder, learner, config, self.labels, about)

    def test_files(self, config: AlexnetConfig, fold: str = "") -> list[str]:
        """The audio files of the speakers that a fold (default: the first) tests."""
        tested = Tested(config.ser_model, config)
        return list(self.part(tested, fold or self.folds[0], "test")["file"])

    def export(self, config: AlexnetConfig) -> pathlib.Path:
        """Write the segments of each speaker as the released system keeps them; the file."""
        spec = AlexNetSpectrogram(feature_set=config.features)
        arrays = export.speaker_export(self.rows, self.store_of(config.features), spec, self.labels)
        path = self.root / "exports" / f"{self.name}-{config.features}.npz"
        return export.save_export(arrays, path)


def in_conditions(
    name: str,
    config: AlexnetConfig,
    conditions: Sequence[str] = ("clean",),
    own: OwnNetwork | None = None,
) -> list[Tested]:
    """One network, to be tested in each of several conditions."""
    return [Tested(name, config, own, condition=condition) for condition in conditions]


def open_study(
    corpus: str,
    audio: str = "",
    root: str | os.PathLike = "out",
    drive_folder: str | os.PathLike | None = None,
    *,
    task: str = "",
    n_folds: int = 5,
    emotions: str | Sequence[str] = (),
    merge: Mapping[str, str | None] | None = None,
    test_id: str = "",
    val_id: str = "",
    seed: int = 0,
    fetch: bool = False,
) -> AlexnetStudy:
    """The study of speakers within a corpus, for a notebook.

    Args:
        corpus: its name, or that of one of its recording domains.
        audio: its folder; empty: embedded, on Drive, or to be fetched.
        root: the workspace.
        drive_folder: MyDrive, or None.
        task: a published arrangement of the protocol; empty: folds of speakers.
        n_folds: how many.
        emotions: a list, or "a,b"; empty: all that the corpus has.
        merge: what emotions are renamed to.
        test_id, val_id: speakers, commas between, that are tested and validate instead of folds.
        seed: of the folds.
        fetch: whether the corpus may be downloaded.

    Raises:
        ManifestError, ProtocolError, FoldError, LeakError.
    """
    folders = {corpus: audio} if audio else ""
    everything = corpora.open_corpora([corpus], folders, root, drive_folder, fetch=fetch)
    protocol = load_protocol("alexnet")
    found, rows, split = build_within(
        protocol,
        everything,
        corpus,
        task=task,
        n_folds=n_folds,
        emotions=as_list(emotions),
        merge=merge,
        test_id=test_id,
        val_id=val_id,
        seed=seed,
    )
    return AlexnetStudy(
        found.name,
        rows,
        split,
        found.emotions,
        root,
        protocol="alexnet",
        merge=found.merge,
        device=session.device(),
    )


def _weights(tested: Tested) -> str:
    """What identifies the weights that a network starts from. Raises SettingError."""
    return "own" if tested.own else weights_mark(tested.config.pretrained)


def _first(runs: Mapping[str, Run]) -> Run:
    """The first of these runs. Raises ValueError where there is none."""
    if not runs:
        raise ValueError('no run on clean recordings: test in the condition "clean", too')
    return next(iter(runs.values()))


@torch.no_grad()
def _activation(learner: AlexnetLearner, images: Images, at: int, label: int) -> np.ndarray | None:
    """What speaks for a label in one segment, float (rows, columns); NaN where padding has no say;
    None where the network cannot tell.
    """
    if not hasattr(learner.module, "activation_map"):
        return None
    maps = learner.module.activation_map(images.values[at : at + 1].float())
    activation = maps[0, label].cpu().numpy()
    speech = valid_columns(images.valid[at : at + 1], activation.shape[1])[0].cpu().numpy()
    activation[:, ~speech] = np.nan
    return activation
