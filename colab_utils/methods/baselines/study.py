"""Simple baselines on one vector per utterance: a method that does not beat them is shown not to."""
from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from colab_utils import settings
from colab_utils.corpora import cards
from colab_utils.corpora.manifest import ManifestError, manifest_hash, speaker_keys
from colab_utils.features.store.store import FeatureStore
from colab_utils.learning import checkpoints
from colab_utils.learning.clips import pooled_features
from colab_utils.learning.training import train
from colab_utils.methods.baselines import classifiers
from colab_utils.methods.baselines.mlp import MlpLearner
from colab_utils.progress import bar as progress_bar
from colab_utils.protocols import folds
from colab_utils.results.predictions import predictions_table
from colab_utils.results.runs import Part, Run, open_run

VERSION = 1                  # raised when the same settings would give other predictions
CLASSIFIERS = ("majority", "nearest-mean", "logistic", "linear-svm", "mlp")
NORMALISATIONS = ("inductive", "speaker-normalised")
RULES = {"inductive": "inductive", "speaker-normalised": "transductive: speaker-normalised"}


class BaselineError(ValueError):
    """Baselines that cannot be run on this manifest, store or split; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class BaselineConfig:
    """Settings of one baseline."""
    classifier: str = settings.setting("logistic", "which classifier", options=CLASSIFIERS)
    C: float = settings.setting(0.1, "inverse strength of the L2 penalty (logistic, linear-svm)", low=1e-5, high=100.0)
    normalisation: str = settings.setting("inductive", "features scaled by the training speakers, or by each speaker's own clips without "
                                          "labels (transductive)", options=NORMALISATIONS)
    folds: str = settings.setting("frozen", "the corpus' frozen folds, one fold per speaker, or groups of speakers",
                                  options=("frozen", "leave-one-speaker-out", "grouped"))
    n_folds: int = settings.setting(5, "number of folds (grouped)", low=2, high=20, step=1)
    seed: int = settings.setting(0, "first seed", low=0, high=100000, step=1)
    n_seeds: int = settings.setting(1, "how many seeds, counted up from the first (grouped folds and mlp depend on it)", low=1, high=20, step=1)
    hidden: int = settings.setting(64, "units of the hidden layer (mlp)", low=4, high=1024, step=4, more=True)
    dropout: float = settings.setting(0.3, "dropout of the hidden layer (mlp)", low=0.0, high=0.9, step=0.1, more=True)
    epochs: int = settings.setting(40, "passes over the training utterances at most (mlp)", low=1, high=500, step=1, more=True)
    patience: int = settings.setting(10, "epochs without a better validation UAR before it stops (mlp)", low=1, high=500, step=1, more=True)
    learning_rate: float = settings.setting(1e-3, "learning rate of AdamW (mlp)", low=1e-6, high=1.0, more=True)
    weight_decay: float = settings.setting(1e-2, "weight decay of AdamW (mlp)", low=0.0, high=1.0, more=True)
    batch: int = settings.setting(32, "utterances per batch (mlp)", low=1, high=4096, step=1, more=True)
    n_valid_speakers: int = settings.setting(2, "training speakers that select the epoch (mlp)", low=1, high=50, step=1, more=True)
    n_boot: int = settings.setting(2000, "resamples of the interval", low=0, high=20000, step=100, more=True)

    @classmethod
    def preset(cls, name: str) -> BaselineConfig:
        """The settings called `name` in PRESETS. Raises SettingError."""
        if name not in PRESETS:
            raise settings.SettingError(f"no preset {name!r}: choose from {', '.join(PRESETS)}")
        return PRESETS[name]


PRESETS = {
    "default": BaselineConfig(),
    "majority": BaselineConfig(classifier="majority"),
    "nearest-mean": BaselineConfig(classifier="nearest-mean"),
    "linear-svm": BaselineConfig(classifier="linear-svm", C=0.001),
    "linear-svm-speaker-normalised": BaselineConfig(classifier="linear-svm", C=0.001, normalisation="speaker-normalised"),
    "mlp": BaselineConfig(classifier="mlp"),
}


def preset_name(config: BaselineConfig) -> str:
    """The preset these settings are, or "changed"."""
    return next((name for name, preset in PRESETS.items() if preset == config), "changed")


def run_baseline(manifest: pd.DataFrame, store: FeatureStore, config: BaselineConfig, root: str | os.PathLike, *,
                 emotions: Sequence[str] | None = None, merge: Mapping[str, str | None] | None = None, progress: bool = True,
                 split: pd.DataFrame | None = None, allow_speaker_overlap: bool = False) -> Run:
    """Train and test a baseline on every fold of the split; returns the run, finished. Folds done before a kill are kept.

    manifest: utterances already selected by `select_emotions`; store: a FeatureStore (frames are pooled to mean and deviation over
    time, which is said); emotions: the fixed label list (default: those that occur, sorted); merge: recorded only; split: a split
    table (default: made by config.folds). Utterances without features are left out, which is said.
    Raises BaselineError, FoldError, LeakError, SettingError.
    """
    settings.check(config)
    manifest = _with_features(manifest, store)
    labels = list(emotions) if emotions is not None else sorted(set(manifest["emotion"]))
    foreign = sorted(set(manifest["emotion"]) - set(labels))
    if foreign:
        raise BaselineError(f"the manifest holds {', '.join(foreign)}, which EMOTIONS lacks: pass it through select_emotions first")
    if config.normalisation == "speaker-normalised" and (manifest["speaker"] == "").any():
        raise BaselineError("speakers are unknown, so features cannot be normalised by speaker: choose normalisation='inductive'")
    split = split if split is not None else baseline_split(manifest, config, allow_speaker_overlap)
    folds.check_disjoint(split, allow_speaker_overlap, folds.film_keys(manifest).set_axis(manifest["utt_id"]))
    features, pooling = pooled_features(store, manifest["utt_id"])
    facts = {"version": VERSION, "preset": preset_name(config), "labels": labels, "merge": dict(merge or {}), "features": store.key,
             "feature_spec": store.spec, "manifest": manifest_hash(manifest)}
    run = open_run(root, "baselines", _readable(manifest, store, config), config, facts, split)
    if run.done:
        return run
    tables = []
    for (seed, fold, draw), rows in progress_bar(list(split.groupby(["seed", "fold", "draw"], sort=True)), desc=config.classifier,
                                                 disable=not progress):
        part = run.part(f"seed{seed}-fold{fold}-draw{draw}")
        table = part.load()
        if table is None:
            table = _fold(manifest, features, rows, labels, config, part, {"seed": seed, "fold": fold, "draw": draw})
            part.save(table)
            checkpoints.discard(part.folder)
        tables.append(table)
    run.finish(pd.concat(tables, ignore_index=True), labels, n_boot=config.n_boot, ci_seed=config.seed,
               speaker_independence=folds.speaker_independence(split), notes=_notes(config, pooling))
    from colab_utils.display.figures import save_confusion_matrix  # late: matplotlib is needed only here
    save_confusion_matrix(run)
    run.mark_done()
    return run


def baseline_split(manifest: pd.DataFrame, config: BaselineConfig, allow_speaker_overlap: bool = False) -> pd.DataFrame:
    """The split table that `config` asks for, all seeds; validation speakers only where the classifier selects on them."""
    n_valid = config.n_valid_speakers if config.classifier == "mlp" else 0
    parts = []
    for seed in range(config.seed, config.seed + config.n_seeds):
        if config.folds == "grouped":
            table = folds.grouped_folds(manifest, config.n_folds, seed)
        else:
            table = _frozen(manifest) if config.folds == "frozen" else folds.leave_one_speaker_out(manifest)
        parts.append(folds.make_split(manifest, table, seed, n_valid, allow_speaker_overlap=allow_speaker_overlap))
    return pd.concat(parts, ignore_index=True)


def default_folds(manifest: pd.DataFrame) -> str:
    """A value for `BaselineConfig.folds`: "frozen" where every corpus of the manifest has frozen folds for all its speakers, else "grouped"
    where films are known (dubbed scenes: the speakers of a film belong on one side), else "leave-one-speaker-out"."""
    try:
        _frozen(manifest)
    except (BaselineError, folds.FoldError):
        return "grouped" if (manifest["film"] != "").any() else "leave-one-speaker-out"
    return "frozen"


def _frozen(manifest: pd.DataFrame) -> pd.DataFrame:
    """The frozen folds of every corpus in the manifest, as one fold table. Raises BaselineError where a corpus has none."""
    tables = []
    for corpus, rows in manifest.groupby("corpus", sort=True):
        try:
            frozen = cards.frozen_folds(str(corpus))
        except ManifestError as error:
            raise BaselineError(f"{error} (folds='leave-one-speaker-out' or folds='grouped')") from error
        tables.append(folds.folds_from_table(rows, frozen))
    return pd.concat(tables, ignore_index=True)


def _with_features(manifest: pd.DataFrame, store: FeatureStore) -> pd.DataFrame:
    """The utterances that have features; those left out are printed. Raises BaselineError where none has."""
    there = manifest["utt_id"].isin(list(store.ids))
    if not there.any():
        raise BaselineError("no utterance of the manifest has features in this store: extract the features of this manifest first")
    if not there.all():
        print(f"{(~there).sum()} utterance(s) have no features and are left out (store.skipped says why), "
              f"such as {manifest.loc[~there, 'utt_id'].iloc[0]}")
    return manifest[there].reset_index(drop=True)


def _fold(manifest: pd.DataFrame, features: np.ndarray, rows: pd.DataFrame, labels: list[str], config: BaselineConfig, part: Part,
          cell: dict[str, Any]) -> pd.DataFrame:
    """Predictions of the tested utterances of one fold. Classifiers that select nothing train on validation speakers, too."""
    role = manifest["utt_id"].map(rows.set_index("utt_id")["role"])
    test, valid = (role == "test").to_numpy(), (role == "valid").to_numpy()
    training = (role == "train").to_numpy() | (valid if config.classifier != "mlp" else False)
    if not training.any() or not test.any():
        raise BaselineError(f"fold {cell['fold']}: {'nobody to train' if test.any() else 'nobody to test'}; look at the split table")
    used = training | test | valid
    manifest, features = manifest[used].reset_index(drop=True), features[used]
    training, test, valid = training[used], test[used], valid[used]
    x = classifiers.normalise(features, training, speaker_keys(manifest).to_numpy(), config.normalisation)
    y = pd.Index(labels).get_indexer(manifest["emotion"])
    if config.classifier == "mlp":
        scores = _mlp_scores(x, y, training, valid, test, len(labels), config, part, cell["seed"])
    else:
        scores = classifiers.scores_of(config.classifier, config.C, cell["seed"])(x[training], y[training], x[test], len(labels))
    return predictions_table(manifest[test], np.array(labels, dtype=object)[scores.argmax(axis=1)], labels, scores,
                             method=config.classifier, rule=RULES[config.normalisation], **cell)


def _mlp_scores(x: np.ndarray, y: np.ndarray, training: np.ndarray, valid: np.ndarray, test: np.ndarray, n_labels: int,
                config: BaselineConfig, part: Part, seed: int) -> np.ndarray:
    """Probabilities (tested, labels) of the perceptron at its best epoch on the validation speakers; training resumes in `part.folder`."""
    if not valid.any():
        raise BaselineError("the mlp selects its epoch on validation speakers, and the split has none: make it with n_valid_speakers=2")
    learner = MlpLearner(x[training], y[training], (x[valid], y[valid]), n_labels, hidden=config.hidden, dropout=config.dropout,
                         learning_rate=config.learning_rate, weight_decay=config.weight_decay, batch=config.batch, seed=seed)
    train(learner, config.epochs * learner.steps_per_epoch, part.folder, every=learner.steps_per_epoch, patience=config.patience, progress=False)
    return learner.scores(x[test])


def _notes(config: BaselineConfig, pooling: str) -> list[str]:
    """What a reader of the numbers has to know."""
    notes = [pooling] if pooling else []
    if config.normalisation == "speaker-normalised":
        notes.append("transductive: features are normalised by each speaker's own unlabelled clips, tested speakers included")
    if config.classifier in classifiers.NOT_CALIBRATED:
        notes.append(f"p_ columns are scores, not calibrated: {classifiers.NOT_CALIBRATED[config.classifier]}")
    return notes


def _readable(manifest: pd.DataFrame, store: FeatureStore, config: BaselineConfig) -> str:
    """A name of the run for people: corpora, features, classifier, normalisation."""
    corpora = sorted(set(manifest["corpus"]))
    wholes = sorted({cards.card_name(corpus) for corpus in corpora})
    corpora = wholes if len(wholes) < len(corpora) else corpora          # several domains of one corpus go by its name
    name = "+".join(corpora) if len(corpora) <= 4 else f"{len(corpora)}-corpora"
    return f"{name}-{store.spec['name']}-{config.classifier}-{config.normalisation}"
