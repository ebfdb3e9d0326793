"""The tables of docs/results/maml.md: meta-learning and its baselines from language to language, on
the open corpora.

    python tools/maml_results.py --audio <folder with emodb/ emovo/ ravdess/ savee/> --out out/maml
    python tools/maml_results.py --audio <...> --features logmel --settings network=conv4 ...

The first is the full table of the perceptron, the second that of Conv4 (see the page). Whatever was
finished before is loaded, so a stopped run goes on. Prints Markdown, and writes results.csv to
--out.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
import time

import pandas as pd
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from run_notebook import read_value  # noqa: E402

from colab_utils.methods.maml import BASELINES, MamlConfig, open_study  # noqa: E402
from colab_utils.results.tables import methods_table, readable  # noqa: E402

TARGETS = {"it": "de+en-it", "de": "en+it-de", "en": "de+it-en"}


def variants(base: MamlConfig, which: str) -> dict[str, MamlConfig]:
    """The meta-trained models of the table."""
    fixed = dataclasses.replace(base, regime="fixed")
    permuted = dataclasses.replace(base, regime="permuted")
    found = {"MAML, fixed ids": fixed, "MAML, permuted ids": permuted}
    if which == "few":
        return found
    plain = dataclasses.replace(permuted, multi_step="final", learn_rates=False)
    found["MAML, fixed ids, first order"] = dataclasses.replace(fixed, order="first")
    found["MAML, permuted ids, plain (no multi-step loss, one rate)"] = plain
    found["MAML, permuted ids, plain, first order"] = dataclasses.replace(plain, order="first")
    found["ANIL, fixed ids"] = dataclasses.replace(fixed, adapted="head")
    # One support utterance a class makes no positive pair, so that the contrastive term is left out
    # of the 1-shot table.
    if base.shots > 1:
        contrastive = dataclasses.replace(fixed, contrastive="supervised")
        found["MAML, fixed ids, supervised contrastive"] = contrastive
    return found


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown, its index as the first column."""
    body = [[name, *values] for name, values in zip(table.index, table.to_numpy(), strict=True)]
    rows = [["method", *table.columns], ["---"] * (table.shape[1] + 1), *body]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/maml"))
    parser.add_argument("--features", default="acoustic")
    parser.add_argument(
        "--settings",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="of MamlConfig, for all models and trained baselines",
    )
    parser.add_argument("--baselines", nargs="+", default=list(BASELINES), choices=BASELINES)
    parser.add_argument("--tasks", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--variants", choices=["all", "few"], default="all")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    given = dict(one.split("=", 1) for one in arguments.settings)
    changed = {name: read_value(value) for name, value in given.items()}
    found = []
    for target in arguments.tasks:
        study = open_study(
            "open_languages", TARGETS[target], arguments.audio, arguments.features, arguments.out
        )
        study.progress = sys.stderr.isatty()
        for shots in arguments.shots:
            base = MamlConfig.from_form("default", changed, shots=shots)
            begin = time.perf_counter()
            episodes = study.episodes(
                base, n_tasks=arguments.episodes, n_seeds=arguments.seeds, n_boot=2000
            )
            runs = study.compare(
                base, episodes, variants(base, arguments.variants), arguments.baselines
            )
            table = methods_table(runs, "nearest prototype")
            other = arguments.baselines[-1]
            against = methods_table(runs, other)
            found.append(
                table.assign(
                    target=target,
                    shots=shots,
                    other=other,
                    against_other=against["difference"],
                    against_low=against["difference_low"],
                    against_high=against["difference_high"],
                )
            )
            spent = time.perf_counter() - begin
            print(
                f"\n### {TARGETS[target]}, {shots}-shot ({spent:.0f} s)\n\n"
                f"{markdown(readable(table))}",
                flush=True,
            )
    name = "-".join([base.network, *arguments.tasks, *map(str, arguments.shots)])
    pd.concat(found).to_csv(arguments.out / f"results-{name}.csv", index=False)


if __name__ == "__main__":
    main()
