"""From a finished run to a kept model: which fold, on whom it was trained, how it did."""

from __future__ import annotations

import pathlib
from typing import Any

import pandas as pd

from colab_utils import session
from colab_utils.corpora import cards
from colab_utils.corpora.manifest import speaker_keys
from colab_utils.corpora.tables.reading import ManifestError
from colab_utils.features.front_end import FrontEnd
from colab_utils.features.made_elsewhere import VectorsFile
from colab_utils.features.store.features import Features
from colab_utils.features.store.views import Joined, Normalised, Pooled
from colab_utils.learning.kept.card import card_of
from colab_utils.learning.kept.model import Kept, ModelError, Normalisation, statistics_of
from colab_utils.learning.kept.opening import front_end_of
from colab_utils.protocols.folds import TRAINING_ROLES
from colab_utils.results.runs import Run
from colab_utils.settings import as_dict

METRICS = ("uar", "uar_ci95", "ci_unit", "wa", "macro_f1", "chance", "ece", "n", "n_speakers")


def keep(study: Any, run: Run, name: str = "") -> pathlib.Path:
    """Keep the model of the first seed and fold of a run that a study has tested.

    Args:
        study: a `learning.study.Study`.
        run: of its `evaluate`.
        name: of the folder; default: that of the run.

    Returns:
        The folder, `root`/models/`name`; `kept.open_model` opens it, without the corpus.

    Raises:
        ModelError: a method or features that cannot be kept, or a run of another study.
    """
    tested = study.evaluated(run)
    if tested is None:
        raise ModelError(f"{run.path.name} was not tested by this study: test it here first")
    model = kept_of(study, tested, run)
    folder = model.save(study.root / "models" / (name or run.path.name), card_of(model))
    print(f"kept in {folder}")
    study.memory.keep(folder, finished=True)
    return folder


def kept_of(study: Any, tested: Any, run: Run) -> Kept:
    """The model of the first seed and fold of a finished run.

    Args:
        study: a `learning.study.Study`.
        tested: the method.
        run: of this method.

    Raises:
        ModelError: a method or features that cannot be kept.
    """
    fold = study.folds_of(tested)[0]
    learner = study.trained(tested, fold)[0]
    predictor, view = study.kept(learner, tested, fold)
    others = set(study.sides(tested)["role"]) - set(TRAINING_ROLES)
    training = study.part(tested, fold, *TRAINING_ROLES)
    target = study.part(tested, fold, *others)
    normalisation = Normalisation()
    base = view
    if isinstance(view, Normalised):
        base = view.base
        corpus = target["corpus"].mode()[0]
        unit = tested.config.normalising[0]
        known = statistics_of(view, target)
        normalisation = Normalisation(unit, view.prior_clips, corpus, known)
    about = {
        "name": tested.label,
        "method": study.method,
        "task": study.name,
        "run": run.path.name,
        "seed": int(tested.repeated.seed),
        "fold": fold,
        "first_of": "the first of its seeds, folds, draws and episodes",
        "settings": as_dict(tested.config),
        "merge": study.merge,
        "versions": session.versions(),
        "commit": session.commit(),
        "trained_on": _corpora(training),
        "tested_on": _corpora(target),
        "metrics": {name: run.metrics[name] for name in METRICS},
        "rule": run.metrics["rule"],
        "notes": run.metrics["notes"],
        "seconds": _middle(training),
    }
    return Kept(predictor, front_ends_of(base), base.pooled, normalisation, about, study.device)


def front_ends_of(base: Features) -> list[FrontEnd]:
    """The front ends that made these features, side by side. Raises ModelError."""
    if isinstance(base, Pooled):
        return front_ends_of(base.base)
    if isinstance(base, Joined):
        found = []
        for part in base.parts:
            found += front_ends_of(part)
        return found
    if isinstance(base, VectorsFile):
        raise ModelError(
            f"{base.spec['name']} was made elsewhere: a model on it could label nothing new; "
            "choose FEATURES that are computed here"
        )
    return [base.front_end or front_end_of(base.spec)]


def _corpora(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """What is known of each corpus, plain JSON values."""
    found = []
    for corpus, part in rows.groupby("corpus"):
        speakers = speaker_keys(part)
        one = {
            "corpus": corpus,
            "utterances": len(part),
            "speakers": int(speakers[speakers != ""].nunique()),
            "emotions": part["emotion"].value_counts().sort_index().to_dict(),
            "languages": sorted(set(part["language"]) - {""}),
        }
        try:
            card = cards.load_card(cards.card_name(corpus))
            one |= {"title": card.title, "license": card.license, "citation": card.citation}
        except ManifestError:  # one of the user's own
            one |= {"title": corpus, "license": "not known to the suite", "citation": ""}
        found.append(one)
    return found


def _middle(rows: pd.DataFrame) -> float | None:
    """The median length of clips in seconds, where it is known."""
    if "duration" not in rows or rows["duration"].isna().all():
        return None
    return float(rows["duration"].median())
