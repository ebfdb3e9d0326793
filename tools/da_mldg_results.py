"""The tables of docs/results/da_mldg.md: the open corpora, each left out once.

    python tools/da_mldg_results.py --audio <folder with emodb/ emovo/ ravdess/ savee/>
    python tools/da_mldg_results.py --audio <...> --features da-mldg --settings network=resnet18 ...

The first takes embeddings as input, the second log-mel, see the page. Whatever was finished before
is loaded, so a stopped run goes on. Prints Markdown, and writes results-<features>.csv to --out.
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

from colab_utils import corpora  # noqa: E402
from colab_utils.csv_files import write_csv  # noqa: E402
from colab_utils.learning.study import Tested  # noqa: E402
from colab_utils.methods.da_mldg import (  # noqa: E402
    DomainConfig,
    DomainStudies,
    readable_means,
    readable_targets,
    targets_table,
)

CORPORA = ("emodb", "emovo", "ravdess", "savee")
MAIN = {
    "ERM (Deep-All)": {"algorithm": "erm"},
    "MLDG": {"algorithm": "mldg"},
    "DA-MLDG": {"algorithm": "da-mldg", "gamma_rule": "gamma"},
    "RSC": {"algorithm": "rsc"},
    "CORAL": {"algorithm": "coral"},
}
MORE = {
    "MLDG, first order": {"algorithm": "mldg", "order": "first"},
    "DA-MLDG, 1 + gamma": {"algorithm": "da-mldg", "gamma_rule": "1+gamma"},
    "DA-MLDG, gamma over its mean": {"algorithm": "da-mldg", "gamma_rule": "normalised"},
    "DA-MLDG, first order": {"algorithm": "da-mldg", "gamma_rule": "gamma", "order": "first"},
}


def variants(base: DomainConfig, which: str) -> list[Tested]:
    """The algorithms of the table."""
    chosen = MAIN if which == "main" else MAIN | MORE
    found = []
    for name, changes in chosen.items():
        found.append(Tested(name, dataclasses.replace(base, **changes)))
    return found


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown, its index first."""
    table = table.reset_index()
    rows = [table.columns, ["---"] * table.shape[1], *table.to_numpy()]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def values(given: list[str]) -> dict:
    """{name: value} of NAME=VALUE."""
    pairs = [one.split("=", 1) for one in given]
    return {name: read_value(value) for name, value in pairs}


def read_arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/da-mldg"))
    parser.add_argument("--features", default="moonshine")
    parser.add_argument("--preset", default="default")
    parser.add_argument(
        "--settings", nargs="*", default=[], metavar="NAME=VALUE", help="of DomainConfig"
    )
    parser.add_argument("--targets", nargs="+", default=list(CORPORA), choices=CORPORA)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--variants", choices=["all", "main"], default="all")
    return parser.parse_args()


def main() -> None:
    """Train, test and print."""
    begin = time.perf_counter()
    wanted = read_arguments()
    changes = values(wanted.settings)
    base = DomainConfig.from_preset(wanted.preset, n_seeds=wanted.seeds, **changes)
    studies = DomainStudies(
        corpora.open_corpora(CORPORA, wanted.audio, wanted.out),
        wanted.out,
        wanted.features,
        wanted.targets,
        progress=sys.stderr.isatty(),
    )
    runs, within = {}, {}
    alone = Tested("ERM", dataclasses.replace(base, algorithm="erm", start="scratch"))
    for target in wanted.targets:
        study, reference = studies.study(target), studies.study(f"within {target}")
        runs[target] = study.evaluate(variants(base, wanted.variants))
        within[target] = reference.evaluate([alone])
        study.let_go()
        reference.let_go()
        spent = f"{time.perf_counter() - begin:.0f} s"
        print(f"{target} done, {spent} in all", file=sys.stderr, flush=True)
    table = targets_table(runs)
    name = wanted.features.replace("/", "-")
    write_csv(wanted.out / f"results-{name}.csv", table)
    print(f"{wanted.features}, {wanted.seeds} seeds, {spent}\n\n## Each corpus left out\n")
    print(markdown(readable_targets(table)))
    if len(runs) > 1:
        print("\n## Means over targets\n")
        print(markdown(readable_means(table)))
    print("\n## Within one corpus, other speakers (80/20, ERM)\n")
    inside = targets_table(within)
    rates = ["UAR %", "95 % interval", "WA %", "majority %", "chance %", "speakers"]
    text = readable_targets(inside)[rates]
    text["utterances"] = inside["n"].to_numpy()
    print(markdown(text))


if __name__ == "__main__":
    main()
