"""The tables of docs/results/alexnet.md: alexnet_gap on EmoDB from scratch, from ImageNet, and with stability training, clean and worse recordings.

    python tools/alexnet_results.py --audio <folder with emodb/> --weights <alexnet_features.npz> --out out/alexnet

Five folds of two speakers; of the others, one validates. Whatever was finished before is loaded, so a stopped run goes on. Prints Markdown, and
writes results.csv to --out.
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
from colab_utils.methods.alexnet.study import TEST_CONDITIONS, SpectrogramStudy  # noqa: E402
from colab_utils.methods.alexnet.training import SpectrogramConfig  # noqa: E402
from colab_utils.protocols.build import build_task  # noqa: E402
from colab_utils.protocols.published import load_protocol  # noqa: E402
from colab_utils.results.comparison import compare  # noqa: E402

PAIRS = (("ImageNet", "scratch"), ("ImageNet + stability", "ImageNet"), ("ImageNet + noisy copies", "ImageNet"),
         ("ImageNet + stability", "ImageNet + noisy copies"))


def markdown(head: list[str], rows: list[list]) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in [head, ["---"] * len(head), *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", required=True)
    parser.add_argument("--weights", default="imagenet", help="a file of AlexNet's ImageNet weights, or imagenet (fetched)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/alexnet"))
    parser.add_argument("--preset", default="small")
    parser.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE", help="of SpectrogramConfig, for all")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    changes = {name: read_value(value) for name, value in (one.split("=", 1) for one in arguments.settings)}
    base = dataclasses.replace(SpectrogramConfig.preset(arguments.preset), n_seeds=arguments.seeds, **changes)
    imagenet = dataclasses.replace(base, pretrained=arguments.weights, lr=1e-3)       # rates: by validation speakers, see the page
    configs = {"scratch": dataclasses.replace(base, pretrained="scratch"), "ImageNet": imagenet,
               "ImageNet + stability": dataclasses.replace(imagenet, stability=0.5),
               "ImageNet + noisy copies": dataclasses.replace(imagenet, noisy_loss=True)}
    protocol = load_protocol("alexnet")
    folds = {"by": "speaker", "number": arguments.folds}
    task = dataclasses.replace(protocol.tasks["emodb-speakers"], name=f"emodb-{arguments.folds}-folds", folds=folds)
    manifest = corpora.open_corpora(["emodb"], arguments.audio, arguments.out)
    rows, split = build_task(dataclasses.replace(protocol, tasks={task.name: task}), task.name, manifest)
    study = SpectrogramStudy(task.name, rows, split, task.emotions, arguments.out, device=session.device(), progress=sys.stderr.isatty())
    begin, runs = time.perf_counter(), {}
    print(f"## Sizes and time\n\n{markdown(['model', 'parameters', 'seconds an epoch'], size_rows(study, base))}", flush=True)
    for name, config in configs.items():
        runs |= study.evaluate({name: config}, TEST_CONDITIONS, pictures=False)
        print(f"{name} done, {time.perf_counter() - begin:.0f} s in all", file=sys.stderr, flush=True)
    print(f"\n{time.perf_counter() - begin:.0f} s; majority {100 * runs['scratch', 'clean'].metrics['majority']:.1f}, chance 14.3\n")
    print(markdown(["UAR (WA)", *TEST_CONDITIONS], [[name, *(cell(runs[name, one].metrics) for one in TEST_CONDITIONS)] for name in configs]))
    apart = [[f"{a} less {b}", *(difference(runs[a, one], runs[b, one]) for one in TEST_CONDITIONS)] for a, b in PAIRS]
    print("\n" + markdown(["paired difference of UAR", *TEST_CONDITIONS], apart))
    print("\n" + markdown(["fold mean of UAR, WA of each fold", "UAR", "WA by fold"], [[name, *by_fold(runs[name, "clean"])] for name in configs]))
    pd.DataFrame([{"model": name, "condition": condition, **{key: run.metrics[key] for key in ("uar", "uar_ci95", "wa", "n", "n_speakers")}}
                  for (name, condition), run in runs.items()]).to_csv(arguments.out / "results.csv", index=False)


def size_rows(study: SpectrogramStudy, base: SpectrogramConfig) -> list[list]:
    """Parameters and time of both models at this size."""
    plain = dataclasses.replace(base, pretrained="scratch")
    table = study.measured({name: dataclasses.replace(plain, ser_model=name) for name in ("alexnet_gap", "alexnet")})
    return [[name, f"{row['parameters']:,}", row["seconds an epoch"]] for name, row in table.iterrows()]


def cell(metrics: dict) -> str:
    low, high = metrics["uar_ci95"]
    return f"{100 * metrics['uar']:.1f} [{100 * low:.1f}, {100 * high:.1f}] ({100 * metrics['wa']:.1f})"


def difference(one: object, other: object) -> str:
    found = compare(one.predictions, other.predictions, one.metrics["labels"])
    low, high = found["difference_ci95"]
    return f"{100 * found['difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def by_fold(run: object) -> list[str]:
    """Mean UAR of folds, and the WA of each."""
    table = run.predictions
    right = (table["true"] == table["pred"]).groupby([table["seed"], table["fold"]]).mean().groupby("fold").mean()
    return [f"{100 * run.metrics['fold_mean_uar']:.1f}", ", ".join(f"{100 * value:.1f}" for value in right)]


if __name__ == "__main__":
    main()
