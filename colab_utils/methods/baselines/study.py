"""Simple baselines on one vector per utterance: who does not beat them is shown not to."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from colab_utils import corpora
from colab_utils.corpora import cards
from colab_utils.corpora.manifest import ManifestError, speaker_keys
from colab_utils.features import open_store
from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.clips import utterance_vectors
from colab_utils.learning.study import Study, Tested, Training
from colab_utils.methods.baselines import classifiers
from colab_utils.methods.baselines.classifiers import MlpLearner
from colab_utils.methods.baselines.settings import RULES, BaselineConfig
from colab_utils.protocols import folds
from colab_utils.results.runs import Run


class BaselineError(ValueError):
    """Baselines that cannot be run on this manifest, store or split; what to do is said."""


class Fold(NamedTuple):
    """What a classifier sees of a fold: rows in their order, features (rows, dim), label indices
    and bool masks (rows,) of training (with validation where nothing is selected), valid, test.
    """

    rows: pd.DataFrame
    x: np.ndarray
    y: np.ndarray
    training: np.ndarray
    valid: np.ndarray
    test: np.ndarray


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
        BaselineError: for rows without any features, and with emotions outside the labels.
    """

    method = "baselines"
    small = True

    def __init__(
        self,
        rows: pd.DataFrame,
        store: FeatureStore,
        labels: Sequence[str],
        root: str | pathlib.Path,
        *,
        split: pd.DataFrame | None = None,
        **others: Any,
    ):
        rows = _with_features(rows, store)
        foreign = sorted(set(rows["emotion"]) - set(labels))
        if foreign:
            raise BaselineError(
                f"the manifest holds {', '.join(foreign)}, which EMOTIONS lacks: "
                "pass it through select_emotions first"
            )
        super().__init__(corpora_name(rows), rows, split, store, labels, root, **others)
        self._made: dict[Any, pd.DataFrame] = {}
        self._vectors, self._pooling = utterance_vectors(store, self.rows["utt_id"])

    # --- the contract -----------------------------------------------------------------------------

    def learner(self, tested: Tested, fold: str) -> Training | None:
        """The perceptron of "mlp"; the other classifiers are fitted when they are asked."""
        config = tested.config
        if config.classifier != "mlp":
            return None
        data = self._fold(tested, fold)
        if not data.valid.any():
            raise BaselineError(
                "the mlp selects its epoch on validation speakers, and the split "
                "has none: make it with n_valid_speakers=2"
            )
        valid = data.x[data.valid], data.y[data.valid]
        learner = MlpLearner(
            data.x[data.training],
            data.y[data.training],
            valid,
            len(self.labels),
            hidden=config.hidden,
            dropout=config.dropout,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            batch=config.batch,
            seed=config.seed,
        )
        every = learner.steps_per_epoch
        return Training(learner, config.epochs * every, every, config.patience)

    def predict(self, learner: MlpLearner | None, tested: Tested, fold: str) -> pd.DataFrame:
        """Predictions of the tested utterances of one fold."""
        config, data = tested.config, self._fold(tested, fold)
        tested_x = data.x[data.test]
        if learner is not None:
            scores = learner.scores(tested_x)
        else:
            classify = classifiers.scores_of(config.classifier, config.C, config.seed)
            known_x, known_y = data.x[data.training], data.y[data.training]
            scores = classify(known_x, known_y, tested_x, len(self.labels))
        return self.predictions(tested, fold, data.rows[data.test], scores)

    def check(self, tested: Tested) -> None:
        """Raise BaselineError where speakers have to be known and are not."""
        by_speaker = tested.config.normalisation == "speaker-normalised"
        if by_speaker and (self.rows["speaker"] == "").any():
            raise BaselineError(
                "speakers are unknown, so features cannot be normalised by "
                "speaker: choose normalisation='inductive'"
            )

    def sides(self, tested: Tested) -> pd.DataFrame:
        """The given split, or the one that the settings ask for."""
        if self.split is not None:
            return super().sides(tested)
        config = tested.config
        key = config.folds, config.n_folds, config.seed, self._selects(config)
        if key not in self._made:
            self._made[key] = self._split(config)
        return self._made[key]

    def facts(self, tested: Tested) -> dict[str, str]:
        """The protocol by name: whose folds these are."""
        given = self.split is not None
        return {"protocol": "a given split" if given else f"{self._kind(tested.config)} folds"}

    def run_name(self, tested: Tested) -> str:
        """Classifier and normalisation."""
        return f"{tested.config.classifier}-{tested.config.normalisation}"

    def rule_of(self, tested: Tested) -> str:
        """Inductive, or transductive by the speakers' own statistics."""
        return RULES[tested.config.normalisation]

    def notes(self, tested: Tested) -> list[str]:
        """How frames were pooled, what makes it transductive, which scores are no probabilities."""
        config, notes = tested.config, [self._pooling] if self._pooling else []
        if config.normalisation == "speaker-normalised":
            notes.append(
                "transductive: features are normalised by each speaker's own unlabelled "
                "clips, tested speakers included"
            )
        if config.classifier in classifiers.NOT_CALIBRATED:
            how = classifiers.NOT_CALIBRATED[config.classifier]
            notes.append(f"p_ columns are scores, not calibrated: {how}")
        return notes

    # --- what a notebook asks for ---------------------------------------------------------------

    def compare(self, config: BaselineConfig) -> dict[str, Run]:
        """The majority class, and `config.classifier` scaled in every way that can be.

        Returns finished runs by name: "majority class", "speaker-normalised" where all speakers
        are known, "inductive".
        """
        by_name = {"majority class": dataclasses.replace(config, classifier="majority")}
        if (self.rows["speaker"] != "").all():
            by_name["speaker-normalised"] = dataclasses.replace(
                config, normalisation="speaker-normalised"
            )
        by_name["inductive"] = dataclasses.replace(config, normalisation="inductive")
        found = {}
        for name, one in by_name.items():
            found[name] = self.run(one)
        return found

    def run(self, config: BaselineConfig, pictures: bool = True) -> Run:
        """One classifier with these settings: a finished run."""
        tested = Tested(config.classifier, config)
        return self.evaluate([tested], pictures)[tested.label]

    # --- inside -----------------------------------------------------------------------------------

    def _fold(self, tested: Tested, fold: str) -> Fold:
        """The fold's rows with normalised features, made once for all classifiers."""
        config = tested.config
        key = config.normalisation, config.folds, config.n_folds, config.seed, self._selects(config)
        return self.held(fold, key, lambda: self._make_fold(tested, fold))

    def _make_fold(self, tested: Tested, fold: str) -> Fold:
        roles = {role: self.mask(tested, fold, role) for role in ("train", "valid", "test")}
        training = roles["train"]
        if not self._selects(tested.config):  # who selects nothing learns from all of them
            training = training | roles["valid"]
        if not training.any() or not roles["test"].any():
            nobody = "nobody to test" if training.any() else "nobody to train"
            raise BaselineError(f"fold {fold}: {nobody}; look at the split table")
        used = training | roles["valid"] | roles["test"]
        rows = self.rows[used].reset_index(drop=True)
        x = classifiers.normalise(
            self._vectors[used],
            training[used],
            speaker_keys(rows).to_numpy(),
            tested.config.normalisation,
        )
        return Fold(
            rows, x, self.classes(rows), training[used], roles["valid"][used], roles["test"][used]
        )

    def _split(self, config: BaselineConfig) -> pd.DataFrame:
        """The split of one seed; validation speakers only where the classifier selects on them."""
        kind = self._kind(config)
        if kind == "grouped":
            table = folds.grouped_folds(self.rows, config.n_folds, config.seed)
        elif kind == "frozen":
            table = frozen_folds(self.rows)
        else:
            table = folds.leave_one_speaker_out(self.rows)
        n_valid = config.n_valid_speakers if self._selects(config) else 0
        return folds.make_split(
            self.rows, table, config.seed, n_valid, allow_speaker_overlap=self.allow_speaker_overlap
        )

    def _kind(self, config: BaselineConfig) -> str:
        """Which folds these settings mean."""
        return default_folds(self.rows) if config.folds == "auto" else config.folds

    @staticmethod
    def _selects(config: BaselineConfig) -> bool:
        """Whether validation speakers pick something."""
        return config.classifier == "mlp"


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

    Raises BaselineError where a corpus has none.
    """
    tables = []
    for corpus, part in rows.groupby("corpus", sort=True):
        try:
            frozen = cards.frozen_folds(str(corpus))
        except ManifestError as error:
            raise BaselineError(
                f"{error} (folds='leave-one-speaker-out' or folds='grouped')"
            ) from error
        tables.append(folds.folds_from_table(part, frozen))
    return pd.concat(tables, ignore_index=True)


def corpora_name(rows: pd.DataFrame) -> str:
    """The corpora in one word; several domains of one corpus go by its name."""
    corpora = sorted(set(rows["corpus"]))
    wholes = sorted({cards.card_name(corpus) for corpus in corpora})
    if len(wholes) < len(corpora):
        corpora = wholes
    return "+".join(corpora) if len(corpora) <= 4 else f"{len(corpora)}-corpora"


def open_study(
    rows: pd.DataFrame,
    store: FeatureStore,
    emotions: Sequence[str],
    root: str | pathlib.Path,
    merge: Mapping[str, str | None] | None = None,
    **others: Any,
) -> BaselineStudy:
    """The study of a corpus for a notebook; arguments as of `BaselineStudy`."""
    return BaselineStudy(rows, store, emotions, root, merge=merge, **others)


def make_example_runs(root: str | pathlib.Path) -> None:
    """Four simple classifiers on a domain of the embedded corpus: something to compare."""
    rows = corpora.open_corpora(["synthetic-studio"], "", root)
    store = open_store(rows, "logmel", root)
    study = BaselineStudy(rows, store, sorted(set(rows["emotion"])), root, progress=False)
    for name in ("majority", "nearest-mean", "logistic", "linear-svm"):
        study.run(BaselineConfig(classifier=name, folds="grouped"))


def _with_features(rows: pd.DataFrame, store: FeatureStore) -> pd.DataFrame:
    """The utterances that have features; those left out are printed."""
    there = rows["utt_id"].isin(list(store.ids))
    if not there.any():
        raise BaselineError(
            "no utterance of the manifest has features in this store: extract the "
            "features of this manifest first"
        )
    if not there.all():
        first = rows.loc[~there, "utt_id"].iloc[0]
        print(
            f"{(~there).sum()} utterance(s) have no features and are left out (store.skipped "
            f"says why), such as {first}"
        )
    return rows[there].reset_index(drop=True)
