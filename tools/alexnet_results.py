"""The tables of docs/results/alexnet.md: alexnet_gap on EmoDB from scratch, from ImageNet, and with
stability training, clean and worse recordings.

    python tools/alexnet_results.py --audio <folder with emodb/> --weights <alexnet_features.npz>
    --out out/alexnet

Five folds of two speakers; of the others, one validates. Whatever was finished before is loaded, so
a stopped run goes on. Prints Markdown, and writes results.csv to --out.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
import time

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from run_notebook import read_value  # noqa: E402

from colab_utils import corpora, session  # noqa: E402
from colab_utils.methods.alexnet import TEST_CONDITIONS, AlexnetConfig, AlexnetStudy, in_conditions
from colab_utils.protocols.build import build_task  # noqa: E402
from colab_utils.protocols.published import load_protocol  # noqa: E402
from colab_utils.results.comparison import compare  # noqa: E402

PAIRS = (
    ("ImageNet", "scratch"),
    ("ImageNet + stability", "ImageNet"),
    ("ImageNet + noisy copies", "ImageNet"),
    ("ImageNet + stability", "ImageNet + noisy copies"),
)


def markdown(head: list[str], rows: list[list]) -> str:
    return "\n".join(
        f"| {' | '.join(map(str, row))} |" for row in [head, ["---"] * len(head), *rows]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", required=True)
    parser.add_argument(
        "--weights",
        default="imagenet",
        help="a file of AlexNet's ImageNet weights, or imagenet (fetched)",
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/alexnet"))
    parser.add_argument("--preset", default="small")
    parser.add_argument(
        "--settings", nargs="*", default=[], metavar="NAME=VALUE", help="of AlexnetConfig, for all"
    )
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    changes = {
        name: read_value(value) for name, value in (one.split("=", 1) for one in arguments.settings)
    }
    base = AlexnetConfig.from_form(arguments.preset, changes, n_seeds=arguments.seeds)
    # rates: by validation speakers, see the page
    imagenet = dataclasses.replace(base, pretrained=arguments.weights, lr=1e-3)
    configs = {
        "scratch": dataclasses.replace(base, pretrained="scratch"),
        "ImageNet": imagenet,
        "ImageNet + stability": dataclasses.replace(imagenet, stability=0.5),
        "ImageNet + noisy copies": dataclasses.replace(imagenet, noisy_loss=True),
    }
    protocol = load_protocol("alexnet")
    folds = {"by": "speaker", "number": arguments.folds}
    task = dataclasses.replace(
        protocol.tasks["emodb-speakers"], name=f"emodb-{arguments.folds}-folds", folds=folds
    )
    manifest = corpora.open_corpora(["emodb"], arguments.audio, arguments.out)
    rows, split = build_task(
        dataclasses.replace(protocol, tasks={task.name: task}), task.name, manifest
    )
    study = AlexnetStudy(
        task.name,
        rows,
        split,
        task.emotions,
        arguments.out,
        protocol="alexnet",
        device=session.device(),
        progress=sys.stderr.isatty(),
    )
    begin, runs = time.perf_counter(), {}
    sizes = markdown(["model", "parameters", "seconds an epoch"], size_rows(study, base))
    print(f"## Sizes and time\n\n{sizes}", flush=True)
    for name, config in configs.items():
        tested = in_conditions(name, config, TEST_CONDITIONS)
        done = study.evaluate(tested, pictures=False)
        for one in tested:
            runs[name, one.condition] = done[one.label]
        print(
            f"{name} done, {time.perf_counter() - begin:.0f} s in all", file=sys.stderr, flush=True
        )
    print_tables(runs, list(configs), time.perf_counter() - begin)
    rows = []
    for (name, condition), run in runs.items():
        rates = {key: run.metrics[key] for key in ("uar", "uar_ci95", "wa", "n", "n_speakers")}
        rows.append({"model": name, "condition": condition, **rates})
    pd.DataFrame(rows).to_csv(arguments.out / "results.csv", index=False)


def print_tables(runs: dict, names: list[str], seconds: float) -> None:
    """Rates, paired differences and folds of runs {(model, condition): run}."""
    majority = 100 * runs["scratch", "clean"].metrics["majority"]
    print(f"\n{seconds:.0f} s; majority {majority:.1f}, chance 14.3\n")
    rates = []
    for name in names:
        rates.append([name, *(cell(runs[name, one].metrics) for one in TEST_CONDITIONS)])
    print(markdown(["UAR (WA)", *TEST_CONDITIONS], rates))
    apart = []
    for one, other in PAIRS:
        differences = [
            difference(runs[one, condition], runs[other, condition])
            for condition in TEST_CONDITIONS
        ]
        apart.append([f"{one} less {other}", *differences])
    print("\n" + markdown(["paired difference of UAR", *TEST_CONDITIONS], apart))
    by_folds = [[name, *by_fold(runs[name, "clean"])] for name in names]
    print("\n" + markdown(["fold mean of UAR, WA of each fold", "UAR", "WA by fold"], by_folds))


def size_rows(study: AlexnetStudy, base: AlexnetConfig) -> list[list]:
    """Parameters and time of both models at this size."""
    table = study.sizes(base, steps=3)
    return [
        [name, f"{row['parameters']:,}", row["seconds an epoch"]] for name, row in table.iterrows()
    ]


def cell(metrics: dict) -> str:
    low, high = metrics["uar_ci95"]
    return (
        f"{100 * metrics['uar']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        f" ({100 * metrics['wa']:.1f})"
    )


def difference(one: object, other: object) -> str:
    found = compare(one.predictions, other.predictions, one.metrics["labels"])
    low, high = found["difference_ci95"]
    return f"{100 * found['difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def by_fold(run: object) -> list[str]:
    """Mean UAR of folds, and the WA of each."""
    table = run.predictions
    right = (
        (table["true"] == table["pred"])
        .groupby([table["seed"], table["fold"]])
        .mean()
        .groupby("fold")
        .mean()
    )
    return [
        f"{100 * run.metrics['fold_mean_uar']:.1f}",
        ", ".join(f"{100 * value:.1f}" for value in right),
    ]


if __name__ == "__main__":
    main()
