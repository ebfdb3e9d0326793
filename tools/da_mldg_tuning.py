"""How the defaults of DomainConfig were chosen: without any target corpus, before its table was
made.

    python tools/da_mldg_tuning.py --audio <folder with emodb/ emovo/ ravdess/ savee/> --features
    moonshine --out out/da-mldg-tuning

Two scores for each setting: "sources", the UAR of held-out speakers of the source corpora (what
picks the step, the mean over the four leave-one-out sets of sources); and "embedded", the UAR on a
domain of the embedded synthetic corpus left out of training (features `acoustic`, the mean over its
four domains). Settings are varied one group at a time, each from the best so far by the mean of
both.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import pathlib

import numpy as np

from colab_utils import corpora
from colab_utils.learning.study import Tested
from colab_utils.methods.da_mldg import DomainConfig, DomainStudies, DomainStudy
from colab_utils.protocols.published import load_protocol
from colab_utils.settings import as_dict

REAL = ("emodb", "emovo", "ravdess", "savee")
SEEDS = 2
STAGES = (
    (
        "erm",
        {"learning_rate": (3e-4, 1e-3, 3e-3), "weight_decay": (1e-4, 1e-2), "width": (64, 256)},
    ),
    ("mldg", {"inner_rate": (0.01, 0.1, 0.5), "order": ("first", "second")}),
    ("da-mldg", {"gamma_rule": ("gamma", "1+gamma", "normalised")}),
    ("coral", {"coral_weight": (0.1, 1.0, 10.0, 100.0)}),
    ("rsc", {"rsc_period": (50, 200, 1000)}),
)


def studies(manifest: object, features: str, out: pathlib.Path) -> list[DomainStudy]:
    """A study for each corpus left out."""
    opened = DomainStudies(
        load_protocol("da_mldg"),
        manifest,
        out,
        features,
        device="cpu",
        progress=False,
        check_counts=False,
    )
    return [opened.study(name) for name in opened.names]


def score(study: DomainStudy, config: DomainConfig, target: bool) -> float:
    """Mean over seeds of the validation score, or of the UAR on the target (embedded ones only)."""
    rates = []
    for seed in range(SEEDS):
        at = dataclasses.replace(config, seed=seed, n_seeds=1, n_boot=0)
        if target:
            run = study.compare(at, [config.algorithm], pictures=False)[config.algorithm]
            rates.append(run.metrics["uar"])
        else:
            rates.append(study.train(Tested(config.algorithm, at)).best_score)
    return float(np.mean(rates))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", required=True)
    parser.add_argument("--features", default="moonshine")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/da-mldg-tuning"))
    arguments = parser.parse_args()
    manifest = corpora.open_corpora(REAL, arguments.audio, arguments.out)
    real = studies(manifest, arguments.features, arguments.out)
    embedded = corpora.open_corpora(["synthetic"], "", arguments.out)
    synthetic = studies(embedded, "acoustic", arguments.out)
    best = DomainConfig(n_seeds=1)
    for algorithm, grid in STAGES:
        print(f"\n{algorithm}: {', '.join(grid)}", flush=True)
        found = []
        for values in itertools.product(*grid.values()):
            config = dataclasses.replace(
                best, algorithm=algorithm, **dict(zip(grid, values, strict=True))
            )
            rates = [
                np.mean([score(study, config, target) for study in group])
                for group, target in ((real, False), (synthetic, True))
            ]
            found.append((np.mean(rates), values, config))
            print(
                f"{100 * np.mean(rates):.2f}  sources {100 * rates[0]:.2f}  embedded"
                f" {100 * rates[1]:.2f}  {dict(zip(grid, values, strict=True))}",
                flush=True,
            )
        best = max(found, key=lambda one: one[0])[2]
        print("best:", as_dict(best.only()), flush=True)


if __name__ == "__main__":
    main()
