"""How the defaults of EmofslConfig were chosen: on sources alone, before any table of a target.

    python tools/emofsl_tuning.py --audio <folder with emodb/ emovo/ ravdess/ savee/> \
        --features moonshine --out out/emofsl-tuning

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

from colab_utils import corpora
from colab_utils.learning.training import single_thread
from colab_utils.methods.emofsl.settings import DECISIONS, EmofslConfig
from colab_utils.methods.emofsl.study import TransferStudy
from colab_utils.methods.emofsl.transfers import Transfers
from colab_utils.protocols.published import load_protocol
from colab_utils.results.rates import confusion, uar

REAL = ("emodb", "emovo", "ravdess", "savee")
DOMAINS = ("synthetic-phone", "synthetic-room", "synthetic-street", "synthetic-studio")
SHOTS, DRAWS = (1, 5, 10), 10
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
    order = np.random.default_rng((seed, 41)).permutation(speakers)
    other = order[: len(speakers) // 2]
    return mine.assign(corpus=np.where(mine["speaker"].isin(other), f"{name}-mock", name))


def studies(
    manifest: pd.DataFrame, pairs: list[tuple[str, str]], features: str, out: pathlib.Path
) -> list[TransferStudy]:
    """A study for each (source, target)."""
    protocol = load_protocol("emofsl")
    emotions = next(iter(protocol.tasks.values())).emotions
    transfers = Transfers(protocol, manifest, out, features, progress=False, check_counts=False)
    return [transfers.study(source, target, "", emotions) for source, target in pairs]


def rate(study: TransferStudy, config: EmofslConfig) -> dict[str, float]:
    """Mean UAR by either decision over k and draws, predictions of a draw pooled over folds."""
    size = len(study.labels)
    rates = []
    for k in SHOTS:
        at_k = dataclasses.replace(config, shots=k, n_draws=DRAWS, seed=0)
        counts = {decision: np.zeros((DRAWS, size, size), dtype=int) for decision in DECISIONS}
        for fold in study.folds:
            true = study.data.y[study.data.numbers(fold, "test")].numpy()
            learner = study.source_of(at_k, fold)
            with single_thread(study.small):
                found = study.scores(learner, at_k, fold)
            for decision, scores in found.items():
                for draw, one in enumerate(scores.argmax(dim=-1).numpy()):
                    counts[decision][draw] += confusion(true, one, range(size))
        rates.append({decision: np.mean(uar(counts[decision])) for decision in DECISIONS})
    return pd.DataFrame(rates).mean().to_dict()


def stage(number: int, groups: dict[str, list[TransferStudy]], best: EmofslConfig) -> EmofslConfig:
    """Try the grid of a stage; the settings with the best mean of decisions and groups."""
    method, grid = STAGES[number]
    print(f"\nstage {number}, {method}: {', '.join(grid)}", flush=True)
    found = []
    for values in itertools.product(*grid.values()):
        changes = dict(zip(grid, values, strict=True))
        config = dataclasses.replace(best, method=method, **changes)
        if config.method == "EMOFSL" and not config.alpha > config.beta:
            continue
        rates = {}
        for name, members in groups.items():
            rates[name] = pd.DataFrame([rate(study, config) for study in members]).mean()
        score = float(np.mean([one.mean() for one in rates.values()]))
        found.append((score, config))
        print(f"{100 * score:.2f}", end="")
        for name, one in rates.items():
            print(f"  {name} {100 * one['prototype']:.2f} / {100 * one['head']:.2f}", end="")
        print(f"  {changes}", flush=True)
    score, winner = max(found, key=lambda one: one[0])
    print(f"best: {[getattr(winner, name) for name in grid]}", flush=True)
    return winner


def main() -> None:
    """Go through the stages and print what was tried and chosen."""
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
    mocked = pd.concat([halves(manifest, name, 0) for name in REAL], ignore_index=True)
    pairs = [(name, f"{name}-mock") for name in REAL]
    groups = {"real": studies(mocked, pairs, arguments.features, arguments.out)}
    if arguments.synthetic:
        synthetic = corpora.open_corpora(DOMAINS, "", arguments.out)
        # each domain once on either side
        pairs = list(zip(DOMAINS, DOMAINS[1:] + DOMAINS[:1], strict=True))
        groups["synthetic"] = studies(synthetic, pairs, arguments.synthetic, arguments.out)
    best = EmofslConfig.from_form("default", dict(one.split("=", 1) for one in arguments.settings))
    for number in arguments.stages:
        best = stage(number, groups, best)
    print("chosen:", dataclasses.asdict(best))


if __name__ == "__main__":
    main()
