"""The tables of docs/results/alexnet.md: alexnet_gap on EmoDB, clean and on worse recordings.

    python tools/alexnet_results.py --audio <folder with emodb/> --weights <alexnet_features.npz>
    --part own-size --out out/alexnet --pages docs/results

Parts: `small` (64 x 96 pixels: from scratch, from ImageNet, with stability training) and `own-size`
(256 x 384). Five folds of two speakers; of the others, one validates. Whatever was finished before
is loaded, so a stopped run goes on. Prints Markdown; alexnet.csv, alexnet-differences.csv and
alexnet-glance.{csv,png} are of all parts that --out has. Without --audio nothing is trained, and
they are made of what is there.
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

from page import markdown, write_glance  # noqa: E402
from run_notebook import read_value  # noqa: E402

from colab_utils import corpora, session  # noqa: E402
from colab_utils.csv_files import write_csv  # noqa: E402
from colab_utils.files import read_json, write_json  # noqa: E402
from colab_utils.methods.alexnet import AlexnetConfig, AlexnetStudy  # noqa: E402
from colab_utils.protocols.published import load_protocol  # noqa: E402
from colab_utils.protocols.speakers import build_within  # noqa: E402
from colab_utils.results.comparison import compare_runs  # noqa: E402
from colab_utils.results.runs import Run, load_run  # noqa: E402

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
SHOWN = {  # in the figure; all are in the CSV
    "clean": "clean",
    "pink@20": "pink noise, 20 dB",
    "pink@5": "pink noise, 5 dB",
    "reverb@0.9": "room, 0.9 s",
}
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
    parser.add_argument("--audio", default="", help="empty: nothing is trained")
    parser.add_argument(
        "--weights",
        default="imagenet",
        help="a file of AlexNet's ImageNet weights, or imagenet (fetched)",
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/alexnet"))
    parser.add_argument("--pages", type=pathlib.Path, help="for CSV and figures; default: --out")
    parser.add_argument("--part", choices=list(PARTS), default="small")
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
    """Train and test what is missing; then make the page's tables and figure of all parts."""
    arguments = parsed()
    if arguments.audio:
        made = trained(arguments)
        write_json(arguments.out / f"{arguments.part}.json", made)
    rates, apart, folds = tables(arguments.out)
    pages = arguments.pages or arguments.out
    write_csv(pages / "alexnet.csv", rates)
    write_csv(pages / "alexnet-differences.csv", apart)
    write_glance(glance(rates), pages / "alexnet-glance")
    print(markdown(folds))


def trained(arguments: argparse.Namespace) -> dict[str, dict[str, str]]:
    """{row: {condition: folder of the finished run, from --out}}; sizes and times are printed."""
    study = study_of(arguments)
    begin = time.perf_counter()
    configs = PARTS[arguments.part](arguments, study)
    sizes = study.sizes(configs["ImageNet"], steps=3).reset_index()
    print(f"{markdown(sizes)}\n", flush=True)
    made = {}
    for name, config in configs.items():
        made[name] = {}
        for run in study.run(config, CONDITIONS, name=name, pictures=False).values():
            made[name][run.config["condition"]] = str(run.path.relative_to(arguments.out))
        seconds = time.perf_counter() - begin
        print(f"{name} done, {seconds:.0f} s in all", file=sys.stderr, flush=True)
    return made


def tables(out: pathlib.Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Rates, paired differences and rates by fold of all parts whose runs are in a folder."""
    rates, apart, folds = [], [], []
    for part in PARTS:
        if not (out / f"{part}.json").exists():
            continue
        runs = {}
        for name, folders in read_json(out / f"{part}.json").items():
            for condition, folder in folders.items():
                runs[name, condition] = load_run(out / folder)
        for (name, condition), run in runs.items():
            rates.append({"part": part, "model": name, "condition": condition} | rated(run))
            if condition == "clean":
                folds.append({"part": part, "model": name} | by_fold(run))
        for one, other in PAIRS:
            for condition in CONDITIONS:
                if (one, condition) in runs and (other, condition) in runs:
                    pair = {"part": part, "model": one, "less": other, "condition": condition}
                    found = compare_runs(runs[one, condition], runs[other, condition])
                    low, high = found["difference_ci95"] or (np.nan, np.nan)
                    apart.append(pair | {"uar": found["difference"], "low": low, "high": high})
    return pd.DataFrame(rates), pd.DataFrame(apart), pd.DataFrame(folds)


def rated(run: Run) -> dict:
    """UAR with its interval, WA, chance and the numbers of a run, fractions."""
    low, high = run.metrics["uar_ci95"] or (np.nan, np.nan)
    rates = {"uar": run.metrics["uar"], "low": low, "high": high}
    names = ("wa", "chance", "majority", "n", "n_speakers")
    return rates | {name: run.metrics[name] for name in names}


def glance(rates: pd.DataFrame) -> pd.DataFrame:
    """The table of the figure at the head of the page."""
    table = rates[rates["condition"].isin(SHOWN)].copy()
    size = table["part"].map({"own-size": "256 x 384", "small": "64 x 96"})
    table["method"] = table["model"] + ", " + size
    table["panel"] = table["condition"].map(SHOWN)
    table["colour"] = "published"
    table.loc[table["model"] == "frozen, linear", "colour"] = "simple"
    table["title"] = "AlexNet on EmoDB, speakers never heard"
    speakers = table["n_speakers"].iloc[0]
    table["note"] = f"Bars: 95 % interval over {speakers} speakers. Noises that no training heard."
    return table


def by_fold(run: Run) -> dict[str, str]:
    """UAR and WA of all utterances, mean UAR of folds, and the WA of each: per cent."""
    table = run.predictions
    right = table["true"] == table["pred"]
    of_seeds = right.groupby([table["seed"], table["fold"]]).mean()
    folds = [f"{100 * value:.1f}" for value in of_seeds.groupby("fold").mean()]
    low, high = run.metrics["uar_ci95"]
    return {
        "UAR": f"{100 * run.metrics['uar']:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
        "WA": f"{100 * run.metrics['wa']:.1f}",
        "UAR, mean of folds": f"{100 * run.metrics['fold_mean_uar']:.1f}",
        "WA by fold": ", ".join(folds),
    }


PARTS = {"own-size": own_size, "small": small}

if __name__ == "__main__":
    main()
