"""The tables of docs/results/emofsl.md: BTL, FSTL, EMOFSL and baselines for all ordered pairs of
the open corpora that share the four emotions.

    python tools/emofsl_results.py --audio <folder with emodb/ emovo/ ravdess/ savee/> --out
    out/emofsl

Whatever was finished before is loaded, so a stopped run goes on. Prints Markdown, and writes
results.csv (all methods, with intervals) and differences.csv (paired differences) to --out.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
import sys
import time

import pandas as pd
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from run_notebook import read_value  # noqa: E402

from colab_utils import corpora, session  # noqa: E402
from colab_utils.methods.emofsl.figures import uar_by_draw  # noqa: E402
from colab_utils.methods.emofsl.settings import EmofslConfig  # noqa: E402
from colab_utils.methods.emofsl.study import BASELINES  # noqa: E402
from colab_utils.methods.emofsl.transfers import Transfers  # noqa: E402
from colab_utils.protocols.published import load_protocol  # noqa: E402
from colab_utils.results.comparison import compare  # noqa: E402

CORPORA = ("emodb", "emovo", "ravdess", "savee")


def described(task: str, runs: dict) -> list[dict]:
    """One row for each run of a task."""
    rows = []
    for (method, k), run in runs.items():
        metrics = run.metrics
        low, high = metrics["uar_ci95"]
        spread = (
            uar_by_draw({method: run.predictions}, metrics["labels"])[method]
            .groupby("seed")
            .std(ddof=1)
            .mean()
        )
        rows.append(
            {
                "task": task,
                "method": method,
                "k": k,
                "uar": metrics["uar"],
                "low": low,
                "high": high,
                "wa": metrics["wa"],
                "draws_sd": spread,
                "majority": metrics["majority"],
                "speakers": metrics["n_speakers"],
                "n": metrics["n_utterances"],
                "run": run.path.name,
            }
        )
    return rows


def differences(task: str, runs: dict, decision: str, n_boot: int) -> list[dict]:
    """EMOFSL less BTL, FSTL and the baseline with the highest UAR, on the same draws."""
    rows = []
    for k in sorted({k for _, k in runs}):
        mine = runs[f"EMOFSL, {decision}", k]
        best = max(
            (name for name, at in runs if at == k and name in BASELINES),
            key=lambda name: runs[name, k].metrics["uar"],
        )
        for other, name in (
            (f"BTL, {decision}", "BTL"),
            (f"FSTL, {decision}", "FSTL"),
            (best, "best baseline"),
        ):
            found = compare(
                mine.predictions, runs[other, k].predictions, mine.metrics["labels"], n_boot
            )
            low, high = found["difference_ci95"]
            rows.append(
                {
                    "task": task,
                    "k": k,
                    "decision": decision,
                    "against": name,
                    "which": other,
                    "difference": found["difference"],
                    "low": low,
                    "high": high,
                    "p": found["p_bootstrap"],
                    "p_wilcoxon": found["p_wilcoxon"],
                }
            )
    return rows


def markdown(head: list[str], rows: list[list]) -> str:
    return "\n".join(
        f"| {' | '.join(map(str, row))} |" for row in [head, ["---"] * len(head), *rows]
    )


def mean_table(table: pd.DataFrame) -> str:
    """Mean UAR over the tasks, a row for each method."""
    wide = table.pivot_table(index="method", columns="k", values="uar", sort=False)
    spread = table.pivot_table(index="method", columns="k", values="draws_sd", sort=False)
    rows = [
        [
            name,
            *(f"{100 * wide.loc[name, k]:.1f} (± {100 * spread.loc[name, k]:.1f})" for k in wide),
        ]
        for name in wide.index
    ]
    return markdown(["method", *(f"k = {k}" for k in wide)], rows)


def pair_table(table: pd.DataFrame, apart: pd.DataFrame, k: int, decision: str) -> str:
    """Every task at one number of shots: rates with intervals, and paired differences."""

    def rate(task: str, method: str) -> str:
        row = table[(table["task"] == task) & (table["method"] == method) & (table["k"] == k)].iloc[
            0
        ]
        return f"{100 * row.uar:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]"

    def difference(task: str, against: str) -> tuple[str, str]:
        row = apart[
            (apart["task"] == task)
            & (apart["against"] == against)
            & (apart["k"] == k)
            & (apart["decision"] == decision)
        ].iloc[0]
        return (
            f"{100 * row.difference:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]",
            row.which,
        )

    rows = []
    for task in dict.fromkeys(table["task"]):
        best, which = difference(task, "best baseline")
        rows.append(
            [
                task,
                *(rate(task, f"{method}, {decision}") for method in ("BTL", "FSTL", "EMOFSL")),
                f"{which} {rate(task, which)}",
                difference(task, "BTL")[0],
                difference(task, "FSTL")[0],
                best,
            ]
        )
    return markdown(
        [
            "task",
            "BTL",
            "FSTL",
            "EMOFSL",
            "best baseline",
            "EMOFSL - BTL",
            "EMOFSL - FSTL",
            "EMOFSL - best",
        ],
        rows,
    )


def summary(apart: pd.DataFrame) -> str:
    """Mean difference over the tasks, and on how many of them the interval lies above or below 0."""
    rows = []
    for (decision, against, k), part in apart.groupby(["decision", "against", "k"], sort=False):
        above, below = int((part["low"] > 0).sum()), int((part["high"] < 0).sum())
        rows.append(
            [
                decision,
                against,
                k,
                f"{100 * part['difference'].mean():+.2f}",
                above,
                below,
                len(part),
            ]
        )
    return markdown(
        ["decision", "EMOFSL less", "k", "mean difference", "interval above 0", "below 0", "of"],
        rows,
    )


def main() -> None:
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
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    given = dict(one.split("=", 1) for one in arguments.settings)
    given = {name: read_value(value) for name, value in given.items()}
    config = EmofslConfig.from_form(
        arguments.preset,
        given,
        n_seeds=arguments.seeds,
        n_draws=arguments.draws,
        shots=arguments.shots[0],
    )
    protocol = load_protocol("emofsl")
    manifest = corpora.open_corpora(CORPORA, arguments.audio, arguments.out)
    transfers = Transfers(
        protocol,
        manifest,
        arguments.out,
        device=session.device(),
        progress=False,
        check_counts=False,
    )
    transfers.store(arguments.features)
    emotions, found, apart, begin = (
        next(iter(protocol.tasks.values())).emotions,
        [],
        [],
        time.perf_counter(),
    )
    for source, target in itertools.permutations(CORPORA, 2):
        if source not in arguments.sources:
            continue
        study = transfers.study(source, target, arguments.features, emotions, config.tune_layers)
        runs = study.compare(config, shots=arguments.shots)
        found += described(study.name, runs)
        for decision in ("prototype", "head"):
            apart += differences(study.name, runs, decision, config.n_boot)
        print(
            f"{study.name} done, {time.perf_counter() - begin:.0f} s in all",
            file=sys.stderr,
            flush=True,
        )
    table, apart = pd.DataFrame(found), pd.DataFrame(apart)
    table.to_csv(arguments.out / "results.csv", index=False)
    apart.to_csv(arguments.out / "differences.csv", index=False)
    print(
        f"{arguments.features}, {len(set(table['task']))} tasks,"
        f" {time.perf_counter() - begin:.0f} s"
    )
    print(
        f"\n## Mean over the tasks\n\n{mean_table(table)}\n\n## Paired differences over the"
        f" tasks\n\n{summary(apart)}"
    )
    for decision, k in itertools.product(("prototype", "head"), arguments.shots):
        print(f"\n### k = {k}, {decision}\n\n{pair_table(table, apart, k, decision)}")
    majority = table.groupby("task", sort=False)["majority"].first()
    print(
        "\nmajority (WA): "
        + ", ".join(f"{task} {100 * value:.1f}" for task, value in majority.items())
    )


if __name__ == "__main__":
    main()
