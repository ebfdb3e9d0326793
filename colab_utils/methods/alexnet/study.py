"""The contract of AlexNet on spectrograms: how a fold is learnt and predicted, from which data."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from colab_utils.features.acoustic.degrade import TRAINING_NOISES
from colab_utils.features.published.alexnet import (
    SEGMENT,
    AlexNetSpectrogram,
    segment_count,
)
from colab_utils.features.store.extract import extract
from colab_utils.features.store.features import Features
from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.kept import ModelError
from colab_utils.learning.study import Study, Tested, Training
from colab_utils.methods.alexnet.features_file import FeaturesFile
from colab_utils.methods.alexnet.kept import PicturePredictor
from colab_utils.methods.alexnet.linear import LinearLearner
from colab_utils.methods.alexnet.network import weights_mark
from colab_utils.methods.alexnet.pictures import (
    Images,
    Range,
    fit_range,
    make_images,
    utterance_probabilities,
)
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.methods.alexnet.training import (
    AlexnetLearner,
    FoldPictures,
    TrainingFold,
    probabilities,
)
from colab_utils.settings import SettingError, with_settings


class SpectrogramStudy(Study):
    """Networks on every fold of speakers (roles train, valid, test).

    Features are extracted into `root`/features, a store for each feature set and condition, when
    they are first needed. Pictures fill hundreds of megabytes a fold: a network in training has
    them, and nobody once it is trained.

    Args:
        *of_study: as of `Study`; its store is None (features are extracted from audio), or a
            FeaturesFile in place of audio: clean features of one set.
        **others: as of `Study`.

    Raises:
        LeakError: a speaker stands on both sides.
        SettingError: the split has no validation speakers.
    """

    method = "alexnet"
    # 2: Xavier in all layers from scratch; features, pictures and their colours as published
    VERSION = 2
    # How the copies of stability training are made worse; tests are in other noise, and in a room
    # with another decay.
    conditions = (*(f"{kind}@10" for kind in TRAINING_NOISES), "reverb")

    def __init__(self, *of_study: Any, **others: Any):
        super().__init__(*of_study, **others)
        if "valid" not in set(self.split["role"]):
            raise SettingError(
                f"task {self.name} has no validation speakers: choose a protocol whose folds have "
                "some"
            )
        self._stores = {}  # by feature set and condition
        self._in_training = None  # the learner that holds pictures
        self._alone = ""  # the fold, where this is a study of one of several
        self._several = len(self.folds) > 1

    # --- the contract -----------------------------------------------------------------------------

    def learner(self, tested: Tested, fold: str) -> Training:
        """A network with its pictures still to be made."""
        config = tested.config
        train = self.part(tested, fold, "train")
        valid = self.part(tested, fold, "valid")
        limits = fit_range(self.frames_of(config), train["utt_id"], config)
        lengths = self.store_of(config.features).lengths(train["utt_id"])
        counts = [segment_count(length) for length in lengths]

        def make_pictures() -> FoldPictures:
            noisy = []
            for condition in self._heard(config):
                noisy.append(self.images(train, config, limits, condition))
            clean = self.images(train, config, limits)
            return FoldPictures(clean, noisy, self.images(valid, config, limits))

        y = np.repeat(self.classes(train), counts)
        data = TrainingFold(limits, y, self.classes(valid), make_pictures)
        kind = LinearLearner if config.tune == "linear" else AlexnetLearner
        learner = kind(config, len(self.labels), data, self.device, tested.own)
        self._in_training = learner
        return Training(learner, learner.steps, learner.steps_per_epoch, config.patience or None)

    def predict(self, learner: AlexnetLearner, tested: Tested, fold: str) -> pd.DataFrame:
        """Predictions of the test speakers of one fold, in one condition."""
        config = tested.config
        rows = self.part(tested, fold, "test")
        images = self.images(rows, config, learner.limits, tested.condition, config.test_hop)
        segments = probabilities(learner.module, images)
        scores = utterance_probabilities(segments, images, config.decision)
        return self.predictions(tested, fold, rows, scores)

    def kept(
        self, learner: AlexnetLearner, tested: Tested, fold: str
    ) -> tuple[PicturePredictor, Features]:
        """As of the contract. Raises ModelError for a network of the user's own."""
        if tested.own is not None:
            raise ModelError(f"{tested.label} is your own code, which no folder can hold")
        config = tested.config
        predictor = PicturePredictor(self.labels, config, learner.limits, learner.module)
        return predictor, self.frames_of(config)

    def by_name(self, config: AlexnetConfig, name: str, **values: Any) -> Tested:
        """As of the contract: "alexnet_gap", or "alexnet_gap, pink@10" in noise."""
        network, _, condition = name.partition(", ")
        chosen = with_settings(config, ser_model=network, **values)
        return Tested(network, chosen, condition=condition or "clean")

    def trained(self, tested: Tested, fold: str, on_record: Callable | None = None) -> tuple:
        """As of the contract; what only the training needed is let go, whatever happens."""
        try:
            return super().trained(tested, fold, on_record)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Forget the pictures of the network in training."""
        if self._in_training is not None:
            self._in_training.let_go()
            self._in_training = None

    def check(self, tested: Tested) -> None:
        """Raise SettingError for weights that are not there, and for noise that does not fit."""
        _weights(tested)
        if tested.own is not None and tested.config.tune == "linear":
            raise SettingError(
                "tune = 'linear' is for alexnet_gap: a network of your own is trained as a whole, "
                "with tune = 'all'"
            )
        heard = self._heard(tested.config)
        if tested.condition in heard:
            raise SettingError(
                f"condition {tested.condition} was heard in stability training: test on another, "
                "such as pink@10"
            )
        if not self.has_audio:
            for condition in heard:
                self.store_of(tested.config.features, condition)

    def training_of(self, tested: Tested) -> Tested:
        """The settings of the training, and the weights that it starts from.

        A file's content decides, not its name.
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
        config = tested.config
        learner = self.trained(tested, self.folds_of(tested)[-1])[0]  # the one at hand
        learnt = f"the epoch was picked by the {config.select.upper()} of validation speakers"
        if config.tune == "linear":
            learnt = "the last layer alone was learnt, by logistic regression"
        return [f"started from: {learner.started}", f"condition: {tested.condition}", learnt]

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

    @property
    def has_audio(self) -> bool:
        """Whether there is audio, and not a features file in its place."""
        return self.store is None

    def store_of(self, features: str, condition: str = "") -> FeatureStore | FeaturesFile:
        """Cached features of all utterances in one condition ("": clean)."""
        key = features, condition or "clean"
        if not self.has_audio:
            return self.store.of(*key)
        if key not in self._stores:
            spec = AlexNetSpectrogram(feature_set=features, condition=key[1])
            folder = self.root / "features"
            self._stores[key] = extract(
                self.rows, spec, folder, self.device, self.progress, self.memory
            )
        return self._stores[key]

    def frames_of(self, config: AlexnetConfig, condition: str = "") -> Features:
        """`store_of`, normalised as the settings say, by the recordings in that condition."""
        key = config.features, condition, config.normalising
        if key not in self._features:
            store = self.store_of(config.features, condition)
            self._features[key] = self.normalised(store, Tested("", config))
        return self._features[key]

    def images(
        self,
        rows: pd.DataFrame,
        config: AlexnetConfig,
        limits: Range,
        condition: str = "",
        hop: int = SEGMENT,
    ) -> Images:
        """Pictures of `rows` as the network sees them."""
        store = self.frames_of(config, condition)
        return make_images(store, rows["utt_id"], config, limits, hop=hop, device=self.device)

    def _heard(self, config: AlexnetConfig) -> tuple[str, ...]:
        """The conditions of the noisy copies that training hears."""
        return self.conditions if config.hears_noise else ()


def _weights(tested: Tested) -> str:
    """What identifies the weights that a network starts from. Raises SettingError."""
    return "own" if tested.own else weights_mark(tested.config.pretrained)
