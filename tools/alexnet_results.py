"""The tables of docs/results/alexnet.md: alexnet_gap on EmoDB, clean and on worse recordings.

    python tools/alexnet_results.py --audio <folder with emodb/> --weights <alexnet_features.npz>
    --out out/alexnet --part own-size

Parts: `small` (64 x 96 pixels: from scratch, from ImageNet, with stability training) and `own-size`
(256 x 384). Five folds of two speakers; of the others, one validates. Whatever was finished before
is loaded, so a stopped run goes on. Prints Markdown, and writes <part>.csv to --out.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
import time

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from run_notebook import read_value  # noqa: E402

from colab_utils import corpora, session  # noqa: E402
from colab_utils.csv_files import write_csv  # noqa: E402
from colab_utils.methods.alexnet import AlexnetConfig, AlexnetStudy  # noqa: E402
from colab_utils.protocols.published import load_protocol  # noqa: E402
from colab_utils.protocols.speakers import build_within  # noqa: E402
from colab_utils.results.comparison import compare_runs  # noqa: E402
from colab_utils.results.runs import Run  # noqa: E402

CONDITIONS = (
    "clean",
    "pink@20",
    "pink@10",
    "pink@5",
    "pink@0",
    "machine@10",
    "hum@10",
    "reverb@0.9",
)
RATES = (1e-4, 1e-3)  # the published one, and that of its README's example
PAIRS = (
    ("ImageNet", "scratch"),
    ("ImageNet", "frozen, linear"),
    ("ImageNet + both", "ImageNet"),
    ("ImageNet + stability", "ImageNet"),
    ("ImageNet + noisy copies", "ImageNet"),
    ("ImageNet + stability", "ImageNet + noisy copies"),
    ("ImageNet + both", "ImageNet + noisy copies"),
)


def parsed() -> argparse.Namespace:
    """The command line."""
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
    parser.add_argument("--part", choices=("small", "own-size"), default="small")
    parser.add_argument(
        "--settings", nargs="*", default=[], metavar="NAME=VALUE", help="of AlexnetConfig, for all"
    )
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=None, help="2, and 1 at the own size")
    return parser.parse_args()


def small(arguments: argparse.Namespace, study: AlexnetStudy) -> dict[str, AlexnetConfig]:
    """The ways of training that are compared at 64 x 96 pixels. Rates: by validation speakers."""
    base = base_of(arguments, "small", n_seeds=2)
    imagenet = dataclasses.replace(base, pretrained=arguments.weights, lr=1e-3)
    return {
        "scratch": base,
        "frozen, linear": dataclasses.replace(imagenet, tune="linear"),
        "ImageNet": imagenet,
        "ImageNet + stability": dataclasses.replace(imagenet, stability=0.5),
        "ImageNet + noisy copies": dataclasses.replace(imagenet, stability_loss="both"),
        "ImageNet + both": dataclasses.replace(imagenet, stability=0.5, stability_loss="both"),
    }


def own_size(arguments: argparse.Namespace, study: AlexnetStudy) -> dict[str, AlexnetConfig]:
    """Those at 256 x 384 pixels, as long as a CPU lasts."""
    base = base_of(arguments, "default", num_epochs=8, batch_size=32)
    base = dataclasses.replace(base, pretrained=arguments.weights)
    base = dataclasses.replace(base, lr=best_rate(base, study))
    return {
        "frozen, linear": dataclasses.replace(base, tune="linear"),
        "ImageNet": base,
        "ImageNet + both": dataclasses.replace(base, stability=0.5, stability_loss="both"),
    }


def base_of(arguments: argparse.Namespace, preset: str, **values: object) -> AlexnetConfig:
    """The settings that all rows of a part share."""
    changes = {}
    for one in arguments.settings:
        name, _, value = one.partition("=")
        changes[name] = read_value(value)
    if arguments.seeds:
        changes["n_seeds"] = arguments.seeds
    return AlexnetConfig.from_form(preset, changes, **values)


def best_rate(config: AlexnetConfig, study: AlexnetStudy) -> float:
    """The learning rate with the better UAR of the validation speakers of two folds, first seed."""
    scores = []
    for rate in RATES:
        tried = dataclasses.replace(config, lr=rate)
        found = []
        for fold in study.folds[:2]:
            found.append(study.of_fold(fold).train(tried).best_score)
        scores.append(np.mean(found))
        print(f"{config.pretrained}, rate {rate:g}: validation UAR {100 * scores[-1]:.1f}")
    return RATES[int(np.argmax(scores))]


def study_of(arguments: argparse.Namespace) -> AlexnetStudy:
    """EmoDB in folds of speakers."""
    protocol = load_protocol("alexnet")
    emotions = protocol.tasks["emodb-speakers"].emotions
    manifest = corpora.open_corpora(["emodb"], arguments.audio, arguments.out)
    task, rows, split = build_within(
        protocol, manifest, "emodb", n_folds=arguments.folds, emotions=emotions
    )
    wanted = protocol.expected["emodb"]["utterances"]
    if len(rows) != wanted:
        sys.exit(f"emodb has {len(rows)} utterances where {wanted} are known")
    return AlexnetStudy(
        task.name,
        rows,
        split,
        None,
        task.emotions,
        arguments.out,
        protocol="alexnet",
        device=session.device(),
        progress=sys.stderr.isatty(),
    )


def main() -> None:
    """Train and test what is missing, and print the tables."""
    arguments = parsed()
    study = study_of(arguments)
    begin = time.perf_counter()
    configs = {"small": small, "own-size": own_size}[arguments.part](arguments, study)
    sizes = []
    for name, row in study.sizes(configs["ImageNet"], steps=3).iterrows():
        sizes.append([name, f"{row['parameters']:,.0f}", row["seconds an epoch"]])
    table = markdown(["model", "parameters", "seconds an epoch"], sizes)
    print(f"## Sizes and time\n\n{table}", flush=True)
    runs, rates = {}, []
    for name, config in configs.items():
        for run in study.run(config, CONDITIONS, name=name, pictures=False).values():
            condition = run.config["condition"]
            runs[name, condition] = run
            kept = {key: run.metrics[key] for key in ("uar", "uar_ci95", "wa", "n", "n_speakers")}
            rates.append({"model": name, "condition": condition, **kept})
        uar, seconds = 100 * runs[name, "clean"].metrics["uar"], time.perf_counter() - begin
        print(f"{name}: clean {uar:.1f}; {seconds:.0f} s in all", file=sys.stderr, flush=True)
    print_tables(runs, list(configs), time.perf_counter() - begin)
    write_csv(arguments.out / f"{arguments.part}.csv", pd.DataFrame(rates))


def print_tables(runs: dict[tuple, Run], names: list[str], seconds: float) -> None:
    """Rates, paired differences and folds of runs {(model, condition): run}."""
    majority = 100 * runs["ImageNet", "clean"].metrics["majority"]
    print(f"\n{seconds:.0f} s; majority {majority:.1f}, chance 14.3\n")
    rates = []
    for name in names:
        cells = [cell(runs[name, condition].metrics) for condition in CONDITIONS]
        rates.append([name, *cells])
    print(markdown(["UAR (WA)", *CONDITIONS], rates))
    apart = []
    for one, other in PAIRS:
        if one not in names or other not in names:
            continue
        cells = [difference(runs[one, where], runs[other, where]) for where in CONDITIONS]
        apart.append([f"{one} less {other}", *cells])
    print("\n" + markdown(["paired difference of UAR", *CONDITIONS], apart))
    by_folds = [[name, *by_fold(runs[name, "clean"])] for name in names]
    print("\n" + markdown(["fold mean of UAR, WA of each fold", "UAR", "WA by fold"], by_folds))


def markdown(head: list[str], rows: list[list]) -> str:
    """A table."""
    lines = []
    for row in (head, ["---"] * len(head), *rows):
        lines.append(f"| {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def cell(metrics: dict) -> str:
    """UAR with its interval, and WA."""
    low, high = metrics["uar_ci95"] or (np.nan, np.nan)
    uar, wa = 100 * metrics["uar"], 100 * metrics["wa"]
    return f"{uar:.1f} [{100 * low:.1f}, {100 * high:.1f}] ({wa:.1f})"


def difference(one: Run, other: Run) -> str:
    """Paired difference of the UAR with its interval."""
    found = compare_runs(one, other)
    low, high = found["difference_ci95"] or (np.nan, np.nan)
    return f"{100 * found['difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def by_fold(run: Run) -> list[str]:
    """Mean UAR of folds, and the WA of each."""
    table = run.predictions
    right = table["true"] == table["pred"]
    of_seeds = right.groupby([table["seed"], table["fold"]]).mean()
    folds = [f"{100 * value:.1f}" for value in of_seeds.groupby("fold").mean()]
    return [f"{100 * run.metrics['fold_mean_uar']:.1f}", ", ".join(folds)]


if __name__ == "__main__":
    main()
