"""The tables of docs/results/baselines.md: simple classifiers within each open corpus.

    python tools/baselines_results.py --audio <folder with emodb/ emovo/ ravdess/ savee/> \
        --out out/baselines

Leave speakers out (the frozen folds of each corpus), all its emotions. Whatever was finished before
is loaded, so a stopped run goes on. Prints Markdown; writes docs/results/baselines.csv, with every
run, and the figure at the head of the page with its table (baselines-glance.csv and .png).
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

from colab_utils import corpora, features, session  # noqa: E402
from colab_utils.csv_files import write_csv  # noqa: E402
from colab_utils.methods.baselines import BaselineConfig, BaselineStudy  # noqa: E402
from colab_utils.results.comparison import compare_runs  # noqa: E402
from colab_utils.results.runs import Run  # noqa: E402

CORPORA = ("emodb", "ravdess", "savee", "emovo")
FEATURES = ("acoustic", "moonshine", "acoustic+moonshine")
# name: settings of BaselineConfig
ROWS = {
    "majority": {"classifier": "majority", "normalisation": "none"},
    "logistic, none": {"normalisation": "none"},
    "logistic, speaker": {"normalisation": "speaker"},
    "logistic, 10 enrolled": {"normalisation": "speaker", "enrolment": 10},
    "linear SVM, none": {"classifier": "linear-svm", "C": 0.001, "normalisation": "none"},
    "linear SVM, speaker": {"classifier": "linear-svm", "C": 0.001, "normalisation": "speaker"},
}
SHOWN = ("logistic, none", "logistic, 10 enrolled", "logistic, speaker")
NOTE = (
    "Logistic regression, speakers left out in turn. none: nothing is known of the tested "
    "speaker. speaker: the mean of all clips of a speaker is taken off, without labels "
    "(transductive). 10 enrolled: the mean of ten clips that are not tested. Bars: 95 % interval "
    "over the tested speakers; SAVEE has 4, EMOVO 6, EmoDB 10, RAVDESS 24."
)


def runs_of(corpus: str, name: str, arguments: argparse.Namespace) -> dict[str, Run]:
    """All rows of a corpus on one front end."""
    out = arguments.out
    manifest = corpora.open_corpora([corpus], arguments.audio, out)
    store = features.open_store(manifest, name, out)
    emotions = sorted(set(manifest["emotion"]) - {"", "other"})
    rows = manifest[manifest["emotion"].isin(emotions)]
    study = BaselineStudy(rows, store, emotions, out, progress=False)
    found = {}
    for row, settings in ROWS.items():
        config = dataclasses.replace(BaselineConfig(folds="frozen"), **settings)
        found[row] = study.run(config, pictures=False)
    return found


def described(corpus: str, name: str, runs: dict[str, Run]) -> list[dict]:
    """A row of the long table for each run."""
    found = []
    for method, run in runs.items():
        metrics = run.metrics
        low, high = metrics["uar_ci95"] or (np.nan, np.nan)
        row = {"corpus": corpus, "features": name, "method": method, "low": low, "high": high}
        for key in ("uar", "wa", "ece", "chance", "majority", "n", "n_speakers"):
            row[key] = metrics[key]
        row["run"] = run.path.name
        found.append(row)
    return found


def contrast(corpus: str, name: str, runs: dict[str, Run]) -> dict:
    """What normalising by speaker brings logistic regression, paired."""
    found = compare_runs(runs["logistic, speaker"], runs["logistic, none"])
    low, high = found["difference_ci95"] or (np.nan, np.nan)
    return {
        "corpus": corpus,
        "features": name,
        "speaker less none": 100 * found["difference"],
        "low": 100 * low,
        "high": 100 * high,
        "p": found["p"],
    }


def glance(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the figure: logistic regression by features and normalisation."""
    title = (
        "Speakers never heard, all emotions of each corpus: what features and normalisation bring"
    )
    part = table[table["method"].isin(SHOWN)].copy()
    part["colour"] = np.where(part["features"] == "acoustic+moonshine", "recommended", "simple")
    method = part["method"].str.removeprefix("logistic, ")
    return part.assign(
        title=title, panel=part["corpus"], method=part["features"] + ", " + method, note=NOTE
    )


def main() -> None:
    """Make or load all runs; print and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/baselines"))
    parser.add_argument("--docs", type=pathlib.Path, default=pathlib.Path("docs/results"))
    arguments = parser.parse_args()
    started = time.monotonic()
    rows, contrasts = [], []
    for name in FEATURES:
        for corpus in CORPORA:
            runs = runs_of(corpus, name, arguments)
            rows += described(corpus, name, runs)
            contrasts.append(contrast(corpus, name, runs))
    table = pd.DataFrame(rows)
    write_csv(arguments.docs / "baselines.csv", table)
    write_glance(glance(table), arguments.docs / "baselines-glance")
    table["rate"] = [rate(row) for row in table.itertuples()]
    wide = table.pivot_table(
        index=["corpus", "method"], columns="features", values="rate", aggfunc="first", sort=False
    )
    print(markdown(wide.reset_index()))
    print()
    print(markdown(pd.DataFrame(contrasts).round({"p": 3}).round(1)))
    print(f"\ncommit {session.commit()}, {(time.monotonic() - started) / 60:.0f} minutes")


def rate(row) -> str:
    """UAR with its interval, WA and ECE, in per cent."""
    interval = "" if np.isnan(row.low) else f" [{100 * row.low:.1f}, {100 * row.high:.1f}]"
    return f"{100 * row.uar:.1f}{interval} ({100 * row.wa:.1f}; {100 * row.ece:.1f})"


if __name__ == "__main__":
    main()
