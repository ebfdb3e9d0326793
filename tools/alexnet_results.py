"""The tables of docs/results/alexnet.md: alexnet_gap on EmoDB, clean and on worse recordings.

    python tools/alexnet_results.py --audio <folder with emodb/> --weights <alexnet_features.npz>
    --out out/alexnet --part own-size

Parts: `small` (64 x 96 pixels: from scratch, from ImageNet, with stability training) and `own-size`
(256 x 384). Five folds of two speakers; of the others, one validates. Whatever was finished before
is loaded, so a stopped run goes on. Prints Markdown, and writes alexnet_<part>.csv, their paired
differences and the figure to --pages. From what --out has, without audio or training:

    python tools/alexnet_results.py --stored --out out/alexnet --part own-size --pages docs/results
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import shutil
import sys
import time

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from run_notebook import read_value  # noqa: E402

from colab_utils import corpora, session  # noqa: E402
from colab_utils.csv_files import write_csv  # noqa: E402
from colab_utils.display.style import save_figure  # noqa: E402
from colab_utils.files import read_json, write_json  # noqa: E402
from colab_utils.methods.alexnet import AlexnetConfig, AlexnetStudy, noise_figure  # noqa: E402
from colab_utils.protocols.published import load_protocol  # noqa: E402
from colab_utils.protocols.speakers import build_within  # noqa: E402
from colab_utils.results.comparison import compare_runs  # noqa: E402
from colab_utils.results.runs import Run, load_run  # noqa: E402

Runs = dict[tuple[str, str], Run]  # by row and condition

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
SHOWN = ("clean", "pink@20", "pink@5", "reverb@0.9")  # on the page; all are in the CSV
PAIRS = (
    ("ImageNet", "scratch"),
    ("ImageNet", "frozen, linear"),
    ("ImageNet + both", "frozen, linear"),
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
    parser.add_argument("--audio", default="")
    parser.add_argument(
        "--weights",
        default="imagenet",
        help="a file of AlexNet's ImageNet weights, or imagenet (fetched)",
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/alexnet"))
    parser.add_argument("--pages", type=pathlib.Path, help="for CSV and figures; default: --out")
    parser.add_argument("--stored", action="store_true", help="of runs that are there; no training")
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
    """Train and test what is missing; then print the tables, and write CSV and figure."""
    arguments = parsed()
    if not arguments.stored:
        made = trained(arguments)
        write_json(index_of(arguments), made)
    runs = {}
    for name, folders in read_json(index_of(arguments)).items():
        for condition, folder in folders.items():
            runs[name, condition] = load_run(arguments.out / folder)
    print_tables(runs)
    pages, part = arguments.pages or arguments.out, f"alexnet_{arguments.part}"
    rates, apart = tables(runs)
    write_csv(pages / f"{part}.csv", rates)
    write_csv(pages / f"{part}_differences.csv", apart)
    shown = {f"{name}, {condition}": run for (name, condition), run in runs.items()}
    saved = save_figure(noise_figure(shown), arguments.out / part)
    shutil.copy(saved[0], pages)


def index_of(arguments: argparse.Namespace) -> pathlib.Path:
    """The file that says which runs a part consists of."""
    return arguments.out / f"{arguments.part}.json"


def trained(arguments: argparse.Namespace) -> dict[str, dict[str, str]]:
    """{row: {condition: folder of the finished run, from --out}}; sizes and times are printed."""
    study = study_of(arguments)
    begin = time.perf_counter()
    configs = {"small": small, "own-size": own_size}[arguments.part](arguments, study)
    sizes = []
    for name, row in study.sizes(configs["ImageNet"], steps=3).iterrows():
        sizes.append([name, f"{row['parameters']:,.0f}", row["seconds an epoch"]])
    table = markdown(["model", "parameters", "seconds an epoch"], sizes)
    print(f"## Sizes and time\n\n{table}\n", flush=True)
    made = {}
    for name, config in configs.items():
        made[name] = {}
        for run in study.run(config, CONDITIONS, name=name, pictures=False).values():
            made[name][run.config["condition"]] = str(run.path.relative_to(arguments.out))
        uar = 100 * run.metrics["uar"]
        seconds = time.perf_counter() - begin
        print(f"{name}: {uar:.1f} in the room; {seconds:.0f} s in all", file=sys.stderr, flush=True)
    return made


def tables(runs: Runs) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rates of every row and condition, and paired differences: fractions, a line each."""
    rates, apart = [], []
    for (name, condition), run in runs.items():
        low, high = run.metrics["uar_ci95"] or (np.nan, np.nan)
        rate = {"model": name, "condition": condition, "uar": run.metrics["uar"]}
        rate |= {"low": low, "high": high}
        rates.append(rate | {key: run.metrics[key] for key in ("wa", "n", "n_speakers")})
    for one, other in PAIRS:
        for condition in CONDITIONS:
            if (one, condition) in runs and (other, condition) in runs:
                found = compare_runs(runs[one, condition], runs[other, condition])
                low, high = found["difference_ci95"] or (np.nan, np.nan)
                pair = {"model": one, "less": other, "condition": condition}
                apart.append(pair | {"uar": found["difference"], "low": low, "high": high})
    return pd.DataFrame(rates), pd.DataFrame(apart)


def print_tables(runs: Runs) -> None:
    """Rates by condition and by fold as Markdown, of runs {(row, condition): run}."""
    names = list(dict.fromkeys(name for name, _ in runs))
    majority = 100 * runs[names[0], "clean"].metrics["majority"]
    print(f"majority {majority:.1f}, chance 14.3\n")
    rates = []
    for name in names:
        cells = [cell(runs[name, condition].metrics) for condition in SHOWN]
        rates.append([name, *cells])
    print(markdown(["UAR (WA)", *SHOWN], rates))
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


def by_fold(run: Run) -> list[str]:
    """Mean UAR of folds, and the WA of each."""
    table = run.predictions
    right = table["true"] == table["pred"]
    of_seeds = right.groupby([table["seed"], table["fold"]]).mean()
    folds = [f"{100 * value:.1f}" for value in of_seeds.groupby("fold").mean()]
    return [f"{100 * run.metrics['fold_mean_uar']:.1f}", ", ".join(folds)]


if __name__ == "__main__":
    main()
