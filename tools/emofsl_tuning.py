"""How the defaults of EmofslConfig were chosen: on sources alone, before any table of a target was
made.

    python tools/emofsl_tuning.py --audio <folder with emodb/ emovo/ ravdess/ savee/> --features
    moonshine --out out/emofsl-tuning

Mock transfers stand in for the targets: each source corpus is cut into two halves of its own
speakers, of which one is the "target" with folds of its own; and the embedded synthetic corpus
gives four pairs of domains (with `--synthetic FEATURES`). The score is the UAR, averaged over k,
draws, folds and mock transfers, real and synthetic apart. Settings are varied one group at a time,
each from the best so far; the first table is the start. Prints one line for each setting, best
last.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import pathlib

import numpy as np
import pandas as pd
from numpy.random import default_rng

from colab_utils import corpora
from colab_utils.features import front_end
from colab_utils.features.store.extract import extract
from colab_utils.learning.training import single_thread
from colab_utils.methods.emofsl.settings import DECISIONS, EmofslConfig
from colab_utils.methods.emofsl.study import TransferStudy
from colab_utils.protocols.build import build_task
from colab_utils.protocols.draws import pair_task
from colab_utils.protocols.published import load_protocol
from colab_utils.results.rates import confusion, uar

REAL = ("emodb", "emovo", "ravdess", "savee")
SHOTS, DRAWS, SEEDS = (1, 5, 10), 10, 1
# (method, {setting: values}): the whole grid of a stage is tried
STAGES = (
    ("BTL", {"learning_rate": (1e-4, 3e-4, 1e-3, 3e-3), "epochs": (10, 30, 100)}),
    ("BTL", {"activation": ("none", "relu"), "centre": (0.0, 0.5, 1.0), "source_epochs": (30, 5)}),
    ("EMOFSL", {"loss_weight": (0.3, 1.0, 3.0, 10.0, 50.0), "source_loss_weight": (0.0, 1.0, 5.0)}),
    ("EMOFSL", {"alpha": (1.0, 1.4, 1.8), "beta": (0.3, 0.6, 0.9), "margins": ("paper", "graded")}),
    ("EMOFSL", {"kappa1": (0.3, 0.6, 1.0, 2.0), "kappa2": (0.1, 0.3, 1.0)}),
)


def halves(rows: pd.DataFrame, name: str, seed: int) -> pd.DataFrame:
    """The utterances of a corpus, half of its speakers called `<name>-mock`."""
    mine = rows[rows["corpus"] == name]
    speakers = sorted(set(mine["speaker"]))
    other = default_rng((seed, 41)).permutation(speakers)[: len(speakers) // 2]
    return mine.assign(corpus=np.where(mine["speaker"].isin(other), f"{name}-mock", name))


def studies(
    manifest: pd.DataFrame, pairs: list[tuple[str, str]], store: object, out: pathlib.Path
) -> dict[str, TransferStudy]:
    """A study for each ordered pair of corpora."""
    protocol, found = load_protocol("emofsl"), {}
    for source, target in pairs:
        speakers = manifest.loc[manifest["corpus"] == target, "speaker"].nunique()
        task = pair_task(protocol, source, target, min(5, speakers))
        rows, split = build_task(
            dataclasses.replace(protocol, tasks={task.name: task}),
            task.name,
            manifest,
            check_counts=False,
        )
        found[task.name] = TransferStudy(
            task.name, rows, split, store, task.emotions, out, progress=False
        )
    return found


def rate(study: TransferStudy, config: EmofslConfig) -> dict[str, float]:
    """Mean UAR by either decision over seeds, k and draws, each draw's predictions pooled over
    folds.
    """
    found = {decision: [] for decision in DECISIONS}
    for seed, k in itertools.product(range(SEEDS), SHOTS):
        at = dataclasses.replace(config, shots=k, n_draws=DRAWS, seed=seed)
        counts = {
            decision: np.zeros((DRAWS, len(study.labels), len(study.labels)), dtype=int)
            for decision in DECISIONS
        }
        for fold in study.folds:
            tested = study.split[(study.split["fold"] == fold) & (study.split["role"] == "test")]
            true = study.rows.loc[study.rows["utt_id"].isin(tested["utt_id"]), "emotion"].to_numpy()
            learner = study.source_of(at, fold)
            with single_thread(study.small):
                found_here = study.scores(learner, at, fold)
            for decision, scores in found_here.items():
                for draw, one in enumerate(scores.argmax(dim=-1).numpy()):
                    counts[decision][draw] += confusion(
                        true, np.array(study.labels, dtype=object)[one], study.labels
                    )
        for decision in DECISIONS:
            found[decision].append(np.mean(uar(counts[decision])))
    return {decision: float(np.mean(rates)) for decision, rates in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", required=True)
    parser.add_argument("--features", default="moonshine")
    parser.add_argument(
        "--synthetic", default="", help="front end for the embedded corpus; empty: leave it out"
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/emofsl-tuning"))
    parser.add_argument("--stages", type=int, nargs="+", default=list(range(len(STAGES))))
    parser.add_argument(
        "--settings", nargs="*", default=[], metavar="NAME=VALUE", help="where to start"
    )
    arguments = parser.parse_args()
    manifest = corpora.open_corpora(REAL, arguments.audio, arguments.out)
    store = extract(manifest, front_end(arguments.features), arguments.out / "features")
    mocked = pd.concat([halves(manifest, name, 0) for name in REAL], ignore_index=True)
    groups = {
        "real": studies(mocked, [(name, f"{name}-mock") for name in REAL], store, arguments.out)
    }
    if arguments.synthetic:
        synthetic = corpora.open_corpora(
            [f"synthetic-{one}" for one in ("phone", "room", "street", "studio")], "", arguments.out
        )
        store = extract(synthetic, front_end(arguments.synthetic), arguments.out / "features")
        domains = sorted(set(synthetic["corpus"]))
        # each domain once on either side
        pairs = list(zip(domains, domains[1:] + domains[:1], strict=True))
        groups["synthetic"] = studies(synthetic, pairs, store, arguments.out)
    given = dict(one.split("=", 1) for one in arguments.settings)
    best = EmofslConfig.from_form("default", given)
    for number in arguments.stages:
        best = stage(number, groups, best)
    print("chosen:", dataclasses.asdict(best))


def stage(
    number: int, groups: dict[str, dict[str, TransferStudy]], best: EmofslConfig
) -> EmofslConfig:
    """Try the grid of a stage; returns the settings with the best mean of both decisions over the
    groups.
    """
    method, grid = STAGES[number]
    print(f"\nstage {number}, {method}: {', '.join(grid)}", flush=True)
    found = []
    for values in itertools.product(*grid.values()):
        config = dataclasses.replace(best, method=method, **dict(zip(grid, values, strict=True)))
        if config.method == "EMOFSL" and not config.alpha > config.beta:
            continue
        rates = {
            name: pd.DataFrame([rate(study, config) for study in members.values()]).mean()
            for name, members in groups.items()
        }
        score = float(np.mean([one.mean() for one in rates.values()]))
        found.append((score, values, config))
        told = "  ".join(
            f"{name} {100 * one['prototype']:.2f} / {100 * one['head']:.2f}"
            for name, one in rates.items()
        )
        print(f"{100 * score:.2f}  {told}  {dict(zip(grid, values, strict=True))}", flush=True)
    winner = max(found, key=lambda one: one[0])
    print(f"best: {winner[1]}", flush=True)
    return winner[2]


if __name__ == "__main__":
    main()
