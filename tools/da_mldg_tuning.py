"""How defaults of DomainConfig are chosen: on targets that no table shows.

    python tools/da_mldg_tuning.py --audio <folder with emodb/ emovo/ ravdess/ savee/ banglaser/>

Two scores for each setting: the UAR on BanglaSER, where the four corpora train (of its emotions
anger, happiness and sadness are tested); and the UAR on a domain of the embedded synthetic corpus
left out of training (features `acoustic`, the mean over its four domains). Labels of the four
corpora train and pick the step; no score is read off them. Settings are varied one group at a time,
each from the best so far by the mean of both.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib

import numpy as np
from sklearn.model_selection import ParameterGrid

from colab_utils import corpora
from colab_utils.methods.da_mldg import DomainConfig, DomainStudies
from colab_utils.settings import as_dict

SOURCES, TARGET = ("emodb", "emovo", "ravdess", "savee"), "banglaser"
SEEDS = 2
STAGES = {
    "erm": {
        "learning_rate": (3e-4, 1e-3, 3e-3),
        "weight_decay": (1e-4, 1e-2),
        "width": (64, 256),
    },
    "mldg": {"inner_rate": (0.01, 0.1, 0.5), "order": ("first", "second")},
    "da-mldg": {"gamma_rule": ("gamma", "1+gamma", "normalised")},
    "coral": {"coral_weight": (0.1, 1.0, 10.0, 100.0)},
    "rsc": {"rsc_period": (0, 50, 200, 1000)},
}


def score(studies: DomainStudies, config: DomainConfig) -> float:
    """Mean UAR over the targets and over seeds, a fraction."""
    rates = []
    for name in studies.names:
        study = studies.study(name)
        for seed in range(SEEDS):
            at = dataclasses.replace(config, seed=seed, n_seeds=1)
            run = study.compare(at, [config.algorithm], pictures=False)[config.algorithm]
            rates.append(run.metrics["uar"])
    return float(np.mean(rates))


def main() -> None:
    """Go through the stages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", type=pathlib.Path, required=True)
    parser.add_argument("--features", default="moonshine")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/da-mldg-tuning"))
    wanted = parser.parse_args()
    quiet = {"device": "cpu", "progress": False}
    columns = {"wav": "file", "emotion": "emotion", "speaker": "speaker"}
    own = {TARGET: {"audio": str(wanted.audio / TARGET / "labels.csv"), **columns}}
    manifest = corpora.open_corpora([*SOURCES, TARGET], wanted.audio, wanted.out, own=own)
    real = DomainStudies(manifest, wanted.out, wanted.features, [TARGET], **quiet)
    manifest = corpora.open_corpora(["synthetic"], "", wanted.out)
    embedded = DomainStudies(manifest, wanted.out, "acoustic", **quiet)
    best = DomainConfig(n_seeds=1)
    for algorithm, grid in STAGES.items():
        print(f"\n{algorithm}: {', '.join(grid)}", flush=True)
        start, highest = best, 0.0
        for values in ParameterGrid(grid):
            config = dataclasses.replace(start, algorithm=algorithm, **values)
            rates = score(real, config), score(embedded, config)
            outside, inside = (f"{100 * rate:.2f}" for rate in rates)
            both = float(np.mean(rates))
            print(f"{100 * both:.2f}  {TARGET} {outside}  embedded {inside}  {values}", flush=True)
            if both > highest:
                best, highest = config, both
        print("best:", as_dict(best.only()), flush=True)


if __name__ == "__main__":
    main()
