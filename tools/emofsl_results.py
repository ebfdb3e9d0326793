"""The tables of docs/results/emofsl.md: all ordered pairs of the four open corpora.

    python tools/emofsl_results.py --audio <folder with emodb/ emovo/ ravdess/ savee/> \
        --out out/emofsl

BTL, FSTL, EMOFSL and the baselines on the four emotions that all share. Whatever was finished
before is loaded, so a stopped run goes on. Prints Markdown, and writes results.csv (all methods,
with intervals) and differences.csv (paired differences) to --out.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
import sys
import time

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from run_notebook import read_value  # noqa: E402

from colab_utils import corpora, session  # noqa: E402
from colab_utils.csv_files import write_csv  # noqa: E402
from colab_utils.methods.emofsl.figures.runs import uar_by_draw  # noqa: E402
from colab_utils.methods.emofsl.settings import DECISIONS, METHODS, EmofslConfig  # noqa: E402
from colab_utils.methods.emofsl.study import BASELINES, Runs  # noqa: E402
from colab_utils.methods.emofsl.transfers import Transfers  # noqa: E402
from colab_utils.protocols.published import load_protocol  # noqa: E402
from colab_utils.results.comparison import compare_runs  # noqa: E402
from colab_utils.results.tables import with_holm  # noqa: E402

CORPORA = ("emodb", "emovo", "ravdess", "savee")


def described(task: str, runs: Runs) -> list[dict]:
    """One row for each run of a task."""
    rows = []
    for (method, k), run in runs.items():
        metrics = run.metrics
        rates = uar_by_draw({method: run.predictions}, metrics["labels"])[method]
        low, high = metrics["uar_ci95"] or (np.nan, np.nan)
        rows.append(
            {
                "task": task,
                "method": method,
                "k": k,
                "uar": metrics["uar"],
                "low": low,
                "high": high,
                "wa": metrics["wa"],
                "draws_sd": rates.groupby("seed").std(ddof=1).mean(),
                "majority": metrics["majority"],
                "speakers": metrics["n_speakers"],
                "n": metrics["n_utterances"],
                "run": run.path.name,
            }
        )
    return rows


def differences(task: str, runs: Runs, decision: str) -> list[dict]:
    """EMOFSL less BTL, FSTL and the baseline with the highest UAR, on the same draws."""
    rows = []
    for k in sorted({k for _, k in runs}):
        mine = runs[f"EMOFSL, {decision}", k]
        uar = {name: runs[name, k].metrics["uar"] for name in BASELINES}
        against = {
            "BTL": f"BTL, {decision}",
            "FSTL": f"FSTL, {decision}",
            "best baseline": max(uar, key=uar.get),
        }
        for name, which in against.items():
            theirs = runs[which, k]
            found = compare_runs(mine, theirs)
            low, high = found["difference_ci95"] or (np.nan, np.nan)
            rows.append(
                {
                    "task": task,
                    "k": k,
                    "decision": decision,
                    "against": name,
                    "which": which,
                    "difference": found["difference"],
                    "low": low,
                    "high": high,
                    "p": found["p"],
                }
            )
    return rows


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, without its index."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def mean_table(table: pd.DataFrame) -> pd.DataFrame:
    """Mean UAR over the tasks, a row for each method; in brackets the deviation of draws."""
    means = table.groupby(["method", "k"], sort=False)[["uar", "draws_sd"]].mean() * 100
    told = means["uar"].map("{:.1f}".format) + means["draws_sd"].map(" (± {:.1f})".format)
    wide = told.unstack().loc[table["method"].unique()]
    return wide.add_prefix("k = ").reset_index()


def pair_table(table: pd.DataFrame, apart: pd.DataFrame, k: int, decision: str) -> pd.DataFrame:
    """Every task at one number of shots: rates with intervals, and paired differences."""
    rates = table[table["k"] == k].set_index(["task", "method"])
    differences = apart[(apart["k"] == k) & (apart["decision"] == decision)]
    differences = differences.set_index(["task", "against"])

    def rate(task: str, method: str) -> str:
        uar, low, high = 100 * rates.loc[(task, method), ["uar", "low", "high"]]
        return f"{uar:.1f} [{low:.1f}, {high:.1f}]"

    def difference(task: str, against: str) -> str:
        value, low, high = 100 * differences.loc[(task, against), ["difference", "low", "high"]]
        return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"

    rows = []
    for task in table["task"].unique():
        best = differences.loc[(task, "best baseline"), "which"]
        row = {"task": task}
        for method in METHODS:
            row[method] = rate(task, f"{method}, {decision}")
        row["best baseline"] = f"{best} {rate(task, best)}"
        row["EMOFSL - BTL"] = difference(task, "BTL")
        row["EMOFSL - FSTL"] = difference(task, "FSTL")
        row["EMOFSL - best"] = difference(task, "best baseline")
        rows.append(row)
    return pd.DataFrame(rows)


def summary(apart: pd.DataFrame) -> pd.DataFrame:
    """Mean difference over the tasks, and how many intervals lie above or below 0."""
    rows = []
    for (decision, against, k), part in apart.groupby(["decision", "against", "k"], sort=False):
        rows.append(
            {
                "decision": decision,
                "EMOFSL less": against,
                "k": k,
                "mean difference": f"{100 * part['difference'].mean():+.2f}",
                "interval above 0": (part["low"] > 0).sum(),
                "below 0": (part["high"] < 0).sum(),
                "p < 0.05 by Holm": (part["p_holm"] < 0.05).sum(),
                "of": len(part),
            }
        )
    return pd.DataFrame(rows)


def read_arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/emofsl"))
    parser.add_argument("--features", default="moonshine")
    parser.add_argument("--preset", default="default")
    parser.add_argument(
        "--settings", nargs="*", default=[], metavar="NAME=VALUE", help="of EmofslConfig"
    )
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5, 10, 15])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--sources", nargs="+", default=list(CORPORA), choices=CORPORA)
    return parser.parse_args()


def main() -> None:
    """Compute what is not there yet, write the tables and print them."""
    arguments = read_arguments()
    torch.set_num_threads(1)
    given = {}
    for one in arguments.settings:
        name, value = one.split("=", 1)
        given[name] = read_value(value)
    config = EmofslConfig.from_form(
        arguments.preset,
        given,
        n_seeds=arguments.seeds,
        n_draws=arguments.draws,
        shots=arguments.shots[0],
    )
    transfers = Transfers(
        load_protocol("emofsl"),
        corpora.open_corpora(CORPORA, arguments.audio, arguments.out),
        arguments.out,
        arguments.features,
        device=session.device(),
        progress=False,
        check_counts=False,
    )
    emotions = next(iter(transfers.protocol.tasks.values())).emotions
    found, apart = [], []
    begin = time.perf_counter()
    for source, target in itertools.product(arguments.sources, CORPORA):
        if source == target:
            continue
        study = transfers.study(source, target, "", emotions, config.tune_layers)
        runs = study.compare(config, shots=arguments.shots)
        found += described(study.name, runs)
        for decision in DECISIONS:
            apart += differences(study.name, runs, decision)
        print(f"{study.name} done, {time.perf_counter() - begin:.0f} s in all", file=sys.stderr)
    table, apart = pd.DataFrame(found), with_holm(pd.DataFrame(apart))
    write_csv(arguments.out / "results.csv", table)
    write_csv(arguments.out / "differences.csv", apart)
    print(f"{arguments.features}, {time.perf_counter() - begin:.0f} s")
    print(f"\n## Mean over the tasks\n\n{markdown(mean_table(table))}")
    print(f"\n## Paired differences over the tasks\n\n{markdown(summary(apart))}")
    for decision, k in itertools.product(DECISIONS, arguments.shots):
        print(f"\n### k = {k}, {decision}\n\n{markdown(pair_table(table, apart, k, decision))}")
    majority = table.groupby("task", sort=False)["majority"].first().mul(100).round(1)
    print(f"\nmajority (WA), per cent: {majority.to_dict()}")


if __name__ == "__main__":
    main()
