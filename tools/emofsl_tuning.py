"""How the defaults of EmofslConfig were chosen, those of its rivals by a search of the same size.

    python tools/emofsl_tuning.py --out out/emofsl-tuning \
        --audio <folder with emodb/ emovo/ ravdess/ savee/ banglaser/>

Scores are read off the labels of two kinds of target that no table shows: BanglaSER, few-shot from
each of the four corpora, whose labels train the source model and do nothing else; and the domains
of the embedded synthetic corpus, each from another one. The score is the mean of both kinds, each
the UAR over k, draws, pairs and, where it is fine-tuned, both decisions.

What all fine-tuned methods share is chosen by BTL's score, in two stages; every other group of
settings alone, from there and from the published values, what the metric losses share by the mean
of theirs. BTL, logistic regression and LDA get TRIALS settings each, FSTL and EMOFSL seven of their
own; nearest prototype has three. A trial that stands in scores.csv is not computed again, so a
stopped search goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib

import numpy as np
import pandas as pd
from sklearn.model_selection import ParameterGrid

from colab_utils import corpora
from colab_utils.csv_files import read_csv, write_csv
from colab_utils.features.store.views import NORMALISATIONS
from colab_utils.files import short_hash
from colab_utils.learning.study import Tested
from colab_utils.learning.training import single_thread
from colab_utils.methods.emofsl.rivals import tuned
from colab_utils.methods.emofsl.settings import BASELINES, DECISIONS, NEAREST, EmofslConfig
from colab_utils.methods.emofsl.study import TransferStudy
from colab_utils.methods.emofsl.transfers import Transfers
from colab_utils.protocols.published import load_protocol
from colab_utils.results.rates import confusion, uar
from colab_utils.settings import as_dict

SOURCES, TARGET = ("emodb", "emovo", "ravdess", "savee"), "banglaser"
DOMAINS = ("synthetic-phone", "synthetic-room", "synthetic-street", "synthetic-studio")
SHOTS, DRAWS, TRIALS = (1, 5, 10), 2, 15
# (whose score, {setting: values}, or several of these): the whole grid of a stage is tried
STAGES = (
    (["BTL"], {"learning_rate": (1e-4, 3e-4, 1e-3, 3e-3), "epochs": (10, 100)}),
    (["BTL"], {"source_rate": (3e-4, 1e-3), "source_epochs": (10, 30), "centre": (0.0, 0.5)}),
    (["FSTL", "EMOFSL"], {"loss_weight": (0.3, 1.0, 3.0)}),
    (["FSTL"], [{"cap": (0.0,), "kappa": (0.3, 0.6, 1.0, 2.0)}, {"cap": (1.0,), "kappa": (0.3,)}]),
    (
        ["EMOFSL"],
        [
            {"alpha": (1.0, 1.4), "margins": ("paper",)},
            {"alpha": (1.4,), "margins": ("graded",)},
        ],
    ),
    (
        ["EMOFSL"],
        [{"beta": (0.6,), "kappa1": (0.6,)}, {"beta": (0.9,), "kappa1": (0.3, 0.6)}],
    ),
    (["logistic regression"], {"C": tuple(np.logspace(-5, 2, TRIALS).round(6).tolist())}),
    (["LDA"], {"shrinkage": tuple(np.linspace(0, 1, TRIALS).round(3).tolist())}),
    (["nearest prototype"], {"nearest": NEAREST}),
)
# the published settings, but that many shots weigh no more than few, and a source that is learnt
START = {"reduction": "mean", "source_rate": 1e-3, "source_epochs": 30}


def studies(
    manifest: pd.DataFrame, pairs: list[tuple[str, str]], features: str, out: pathlib.Path
) -> list[TransferStudy]:
    """A study for each (source, target)."""
    protocol = load_protocol("emofsl")
    emotions = next(iter(protocol.tasks.values())).emotions
    transfers = Transfers(protocol, manifest, out, features, progress=False, check_counts=False)
    return [transfers.study(source, target, "", emotions) for source, target in pairs]


def rows_of(config: EmofslConfig, method: str) -> list[Tested]:
    """A method with both decisions, or a baseline."""
    if method in BASELINES:
        return [Tested(method, config.of_baseline(method), None, method)]
    return list(tuned(config, DECISIONS, {method: None}))


def rate(study: TransferStudy, config: EmofslConfig, method: str) -> dict[str, float]:
    """Mean UAR by each decision over k and draws, predictions of a draw pooled over folds."""
    size = len(study.labels)
    rates = []
    for k in SHOTS:
        at_k = dataclasses.replace(config, shots=k, n_draws=DRAWS, seed=0)
        rows = rows_of(at_k, method)
        counts = {row.config.decision: np.zeros((DRAWS, size, size), dtype=int) for row in rows}
        for fold in study.folds:
            data = study.data(at_k)
            true = data.y[data.numbers(fold, "test")].numpy()
            learner = study.source_of(at_k, fold)
            with single_thread(study.small):
                found = [study.scores(learner, row, fold).argmax(dim=-1).numpy() for row in rows]
            for row, draws in zip(rows, found, strict=True):
                for draw, one in enumerate(draws):
                    counts[row.config.decision][draw] += confusion(true, one, range(size))
        rates.append({decision: np.mean(uar(one)) for decision, one in counts.items()})
    return pd.DataFrame(rates).mean().to_dict()


class Scores:
    """The table of all trials, in scores.csv after each."""

    def __init__(self, path: pathlib.Path, groups: dict[str, list[TransferStudy]]):
        self.path = path
        self.groups = groups
        self.rows = read_csv(path).to_dict("records") if path.exists() else []

    def of(self, method: str, config: EmofslConfig, values: dict) -> float:
        """The score of a trial, read or computed: a fraction."""
        settings = [as_dict(row.config.only()) for row in rows_of(config, method)]
        stores = [study.store.key for members in self.groups.values() for study in members]
        key = short_hash([method, settings, stores])
        for row in self.rows:
            if row["key"] == key:
                return float(row["score"])
        row = {"method": method, "settings": json.dumps(values), "score": 0.0}
        means = []
        for name, members in self.groups.items():
            rates = pd.DataFrame([rate(study, config, method) for study in members]).mean()
            row.update({f"{name} {decision}": round(one, 5) for decision, one in rates.items()})
            means.append(rates.mean())
        row.update(score=round(float(np.mean(means)), 5), key=key)
        print(row, flush=True)
        self.rows.append(row)
        write_csv(self.path, pd.DataFrame(self.rows))
        return row["score"]


def main() -> None:
    """Go through the stages, and print what was chosen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", type=pathlib.Path, required=True)
    parser.add_argument("--features", default="moonshine")
    parser.add_argument("--normalisation", default="none", choices=NORMALISATIONS)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/emofsl-tuning"))
    wanted = parser.parse_args()
    columns = {"wav": "file", "emotion": "emotion", "speaker": "speaker"}
    own = {TARGET: {"audio": str(wanted.audio / TARGET / "labels.csv"), **columns}}
    real = corpora.open_corpora([*SOURCES, TARGET], wanted.audio, wanted.out, own=own)
    embedded = corpora.open_corpora(DOMAINS, "", wanted.out)
    # each domain once on either side
    circle = list(zip(DOMAINS, DOMAINS[1:] + DOMAINS[:1], strict=True))
    to_target = [(source, TARGET) for source in SOURCES]
    groups = {
        TARGET: studies(real, to_target, wanted.features, wanted.out),
        "embedded": studies(embedded, circle, "logmel", wanted.out),
    }
    scores = Scores(wanted.out / "scores.csv", groups)
    base = EmofslConfig.from_preset("paper", **START, normalisation=wanted.normalisation)
    chosen = {}
    for methods, grid in STAGES:
        found = []
        for values in ParameterGrid(grid):
            config = dataclasses.replace(base, **values)
            score = np.mean([scores.of(method, config, values) for method in methods])
            found.append((score, values))
        score, best = max(found, key=lambda one: one[0])
        print(f"{' and '.join(methods)}: {100 * score:.2f} with {best}", flush=True)
        chosen.update(best)
        if methods == ["BTL"]:
            base = dataclasses.replace(base, **best)
    print("chosen:", chosen)


if __name__ == "__main__":
    main()
