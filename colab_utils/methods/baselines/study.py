"""Simple baselines on one vector per utterance: who does not beat them is shown not to."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from colab_utils import corpora
from colab_utils.corpora import cards
from colab_utils.corpora.manifest import ManifestError
from colab_utils.features import open_store
from colab_utils.features.store.features import Features
from colab_utils.learning.clips import Clips, Scale
from colab_utils.learning.kept.predictor import Predictor
from colab_utils.learning.study import Study, Tested, Training
from colab_utils.methods.baselines import classifiers
from colab_utils.methods.baselines.classifiers import MlpLearner
from colab_utils.methods.baselines.settings import BaselineConfig
from colab_utils.protocols import folds
from colab_utils.results.runs import Run


class BaselineError(ValueError):
    """Baselines that cannot be run on this manifest, store or split; what to do is said."""


class Fold(NamedTuple):
    """What a classifier sees of a fold.

    Attributes:
        rows: the utterances of all roles, in their order.
        x: their features, normalised and scaled by the training utterances (rows, dim).
        y: their label indices (rows,).
        training: bool (rows,), with validation where nothing is selected.
        valid: bool (rows,).
        test: bool (rows,).
        scale: what the features were scaled by.
    """

    rows: pd.DataFrame
    x: np.ndarray
    y: np.ndarray
    training: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    scale: Scale


class BaselineStudy(Study):
    """Classifiers on every fold of a corpus, or of a given split.

    Args:
        rows: utterances already selected by `select_emotions`; those without features are left
            out, which is said.
        store: features; frames are pooled to mean and deviation over time, which is said.
        labels: the emotions in a fixed order.
        root: folder of all that is kept.
        split: a split table; default: made by `config.folds` for each seed.
        **others: of `Study`.

    Raises:
        BaselineError: no row has features.
        ManifestError: an emotion is not among the labels.

    Example:
        >>> study = baselines.BaselineStudy(manifest, store, emotions, "out")
        >>> study.table(study.compare(baselines.BaselineConfig()))
    """

    method = "baselines"
    VERSION = 3  # features are scaled as in all other studies
    small = True

    def __init__(
        self,
        rows: pd.DataFrame,
        store: Features,
        labels: Sequence[str],
        root: str | pathlib.Path,
        *,
        split: pd.DataFrame | None = None,
        **others: Any,
    ):
        rows = _with_features(rows, store)
        super().__init__(corpora_name(rows), rows, split, store, labels, root, **others)
        self._made: dict[Any, tuple[pd.DataFrame, pd.DataFrame]] = {}

    # --- the contract -----------------------------------------------------------------------------

    def learner(self, tested: Tested, fold: str) -> Training | None:
        """The perceptron of "mlp"; the other classifiers are fitted when they are asked."""
        config = tested.config
        if config.classifier != "mlp":
            return None
        data = self._fold(tested, fold)
        if not data.valid.any():
            raise BaselineError(
                "the mlp selects its epoch on validation speakers, and the split has none: make it "
                "with n_valid_speakers=2"
            )
        x, y = data.x[data.training], data.y[data.training]
        valid = data.x[data.valid], data.y[data.valid]
        learner = MlpLearner(x, y, valid, len(self.labels), config)
        every = learner.steps_per_epoch
        return Training(learner, config.epochs * every, every, config.patience)

    def predict(self, learner: MlpLearner | None, tested: Tested, fold: str) -> pd.DataFrame:
        """Predictions of the tested utterances of one fold."""
        data = self._fold(tested, fold)
        x = data.x[data.test]
        if learner is not None:
            scores = learner.scores(x)
        else:
            known_x, known_y = data.x[data.training], data.y[data.training]
            scores = classifiers.scores_of(tested.config, known_x, known_y, x, len(self.labels))
        return self.predictions(tested, fold, data.rows[data.test], scores)

    def kept(
        self, learner: MlpLearner | None, tested: Tested, fold: str
    ) -> tuple[Predictor, Features]:
        """As of the contract: any of the classifiers."""
        data = self._fold(tested, fold)
        if learner is not None:
            labels, steps = self.labels, classifiers.steps_of_mlp(learner)
        else:
            x, y = data.x[data.training], data.y[data.training]
            known, steps = classifiers.steps_of(tested.config, x, y)
            labels = [self.labels[number] for number in known]
        return Predictor(labels, steps, data.scale), self.features_for(tested, pooled=True)

    def by_name(self, config: BaselineConfig, name: str, **values: Any) -> Tested:
        """As of the contract: a classifier."""
        return super().by_name(config, name, classifier=name, **values)

    def sides_of(self, tested: Tested) -> pd.DataFrame:
        """The given split, or the one that the settings ask for."""
        if self.split is not None:
            return super().sides_of(tested)
        return self._made_for(tested)[0]

    def copies(self, tested: Tested) -> pd.DataFrame:
        """As of the contract."""
        if self.split is not None:
            return super().copies(tested)
        made = [self._made_for(tested.at(seed))[1] for seed in self.seeds(tested)]
        return pd.concat(made, ignore_index=True)

    def facts(self, tested: Tested) -> dict[str, str]:
        """The protocol by name: whose folds these are."""
        given = self.split is not None
        return {"protocol": "a given split" if given else f"{self._kind(tested.config)} folds"}

    def looked_at(self, tested: Tested) -> list[dataclasses.Field]:
        """As of the contract; the number of folds only where the settings decide it."""
        found = super().looked_at(tested)
        if self.split is None and self._kind(tested.config) == "grouped":
            return found
        return [field for field in found if field.name != "n_folds"]

    def run_name(self, tested: Tested) -> str:
        """Classifier and normalisation."""
        return f"{tested.config.classifier}-{tested.config.normalisation}"

    def notes(self, tested: Tested) -> list[str]:
        """How frames were pooled, which scores are no probabilities."""
        note = self.features_for(tested, pooled=True).note
        notes = [note] if note else []
        how = classifiers.NOT_CALIBRATED.get(tested.config.classifier)
        if how:
            notes.append(f"p_ columns are scores, not calibrated: {how}")
        return notes

    # --- what a notebook asks for ---------------------------------------------------------------

    def compare(self, config: BaselineConfig) -> dict[str, Run]:
        """The majority class, and `config.classifier` with and without speakers' means.

        Args:
            config: the settings.

        Returns:
            Finished runs by name: "majority class", then "speaker" where all speakers are known,
            and "none".

        Raises:
            SettingError: a setting that cannot work.
            BaselineError: what cannot be run on this corpus.
        """
        least = dataclasses.replace(config, classifier="majority", normalisation="none")
        runs = {"majority class": self.run(least)}
        for how in ("speaker", "none"):
            if how == "none" or (self.rows["speaker"] != "").all():
                runs[how] = self.run(dataclasses.replace(config, normalisation=how))
        return runs

    def run(self, config: BaselineConfig, pictures: bool = True) -> Run:
        """One classifier with these settings.

        Args:
            config: the settings.
            pictures: draw the confusion matrix, too.

        Returns:
            A finished run.
        """
        tested = Tested(config.classifier, config)
        return self.evaluate([tested], pictures)[tested.label]

    # --- inside -----------------------------------------------------------------------------------

    def _decides_split(self, tested: Tested) -> tuple:
        """The settings on which a split depends."""
        config = tested.config
        return config.folds, config.n_folds, config.seed, _n_valid(config)

    def _made_for(self, tested: Tested) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The split that the settings ask for, and its equal recordings."""
        key = self._decides_split(tested)
        if key not in self._made:
            self._made[key] = self.without_copies(self._split(tested.config))
        return self._made[key]

    def _fold(self, tested: Tested, fold: str) -> Fold:
        """The fold's rows with normalised features, made once for all classifiers."""
        key = tested.config.normalising, self._decides_split(tested)
        return self.held(fold, key, lambda: self._make_fold(tested, fold))

    def _make_fold(self, tested: Tested, fold: str) -> Fold:
        """Look up who is who, and normalise."""
        training = self.mask(tested, fold, "train")
        valid = self.mask(tested, fold, "valid")
        test = self.mask(tested, fold, "test")
        if not _n_valid(tested.config):  # who selects nothing learns from all of them
            training = training | valid
        if not training.any() or not test.any():
            nobody = "nobody to test" if training.any() else "nobody to train"
            raise BaselineError(f"fold {fold}: {nobody}; look at the split table")
        used = training | valid | test
        rows = self.rows[used].reset_index(drop=True)
        clips = Clips(self.features_for(tested, pooled=True), rows, self.labels)
        scale = clips.fit_scale(np.flatnonzero(training[used]))
        x = clips.scaled(scale).values.numpy().astype(np.float64)
        return Fold(rows, x, self.classes(rows), training[used], valid[used], test[used], scale)

    def _split(self, config: BaselineConfig) -> pd.DataFrame:
        """The split of one seed; validation speakers only where the classifier selects on them."""
        kind = self._kind(config)
        if kind == "grouped":
            table = folds.grouped_folds(self.rows, config.n_folds, config.seed)
        elif kind == "frozen":
            table = frozen_folds(self.rows)
        else:
            table = folds.leave_one_speaker_out(self.rows)
        overlap = self.allow_speaker_overlap
        return folds.make_split(
            self.rows, table, config.seed, _n_valid(config), allow_speaker_overlap=overlap
        )

    def _kind(self, config: BaselineConfig) -> str:
        """Which folds these settings mean."""
        return default_folds(self.rows) if config.folds == "auto" else config.folds


def _n_valid(config: BaselineConfig) -> int:
    """How many speakers validate; none where nothing is selected."""
    return config.n_valid_speakers if config.classifier == "mlp" else 0


def default_folds(rows: pd.DataFrame) -> str:
    """What "auto" in `BaselineConfig.folds` means for these rows.

    "frozen" where every corpus has frozen folds for all its speakers, else "grouped" where films
    are known (dubbed scenes: the speakers of a film belong on one side), else
    "leave-one-speaker-out".
    """
    try:
        frozen_folds(rows)
    except (BaselineError, folds.FoldError):
        return "grouped" if (rows["film"] != "").any() else "leave-one-speaker-out"
    return "frozen"


def frozen_folds(rows: pd.DataFrame) -> pd.DataFrame:
    """The frozen folds of every corpus in the rows, as one fold table.

    Raises:
        BaselineError: a corpus has none; what to choose instead is said.
        FoldError: a speaker is in none of its folds.
    """
    tables = []
    for corpus, part in rows.groupby("corpus"):
        try:
            frozen = cards.frozen_folds(corpus)
        except ManifestError as error:
            instead = "folds='leave-one-speaker-out' or folds='grouped'"
            raise BaselineError(f"{error} ({instead})") from error
        tables.append(folds.folds_from_table(part, frozen))
    return pd.concat(tables, ignore_index=True)


def corpora_name(rows: pd.DataFrame) -> str:
    """The corpora in one word; several domains of one corpus go by its name."""
    names = sorted(set(rows["corpus"]))
    wholes = sorted({cards.card_name(name) for name in names})
    if len(wholes) < len(names):
        names = wholes
    return "+".join(names) if len(names) <= 4 else f"{len(names)}-corpora"


def make_example_runs(root: str | pathlib.Path) -> None:
    """Four simple classifiers on a domain of the embedded corpus: something to compare.

    Args:
        root: the runs lie in `root`/runs.
    """
    rows = corpora.open_corpora(["synthetic-studio"], "", root)
    store = open_store(rows, "logmel", root)
    emotions = sorted(set(rows["emotion"]))
    study = BaselineStudy(rows, store, emotions, root)
    names = ("majority", "nearest-mean", "logistic", "linear-svm")
    configs = [BaselineConfig(classifier=name, folds="grouped") for name in names]
    study.evaluate(Tested(config.classifier, config) for config in configs)


def _with_features(rows: pd.DataFrame, store: Features) -> pd.DataFrame:
    """The utterances that have features; those left out are printed."""
    there = rows["utt_id"].isin(list(store.ids))
    if not there.any():
        raise BaselineError(
            "no utterance of the manifest has features in this store: extract the features of this "
            "manifest first"
        )
    if not there.all():
        lost = rows.loc[~there, "utt_id"]
        print(
            f"{len(lost)} utterance(s) have no features and are left out (store.skipped says why), "
            f"such as {lost.iloc[0]}"
        )
    return rows[there].reset_index(drop=True)
