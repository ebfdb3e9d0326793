"""The tables of docs/results/maml.md: MAML and its rivals from language to language, open corpora.

    python tools/maml_results.py --audio <folder with emodb/ emovo/ ravdess/ savee/> --out out/maml
    python tools/maml_results.py --audio <...> --features logmel --settings network=conv4 ...

The first is the full table of the perceptron, the second that of Conv4 (see the page). Whatever was
finished before is loaded, so a stopped run goes on. Prints Markdown, and writes results-*.csv to
--out.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from run_notebook import read_value  # noqa: E402

from colab_utils.csv_files import write_csv  # noqa: E402
from colab_utils.methods.maml import BASELINES, MamlConfig, MamlStudy, open_study  # noqa: E402
from colab_utils.results.tables import methods_table, readable  # noqa: E402

TARGETS = {"it": "de+en-it", "de": "en+it-de", "en": "de+it-en"}
EPISODES = 600


def variants(base: MamlConfig, which: str) -> dict[str, MamlConfig]:
    """The meta-trained models of the table, by name; "few": the two regimes alone."""
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


def one_table(study: MamlStudy, base: MamlConfig, arguments: argparse.Namespace) -> pd.DataFrame:
    """All methods on one target, against nearest prototype and against the last baseline."""
    episodes = study.episodes(base, n_tasks=EPISODES, n_seeds=arguments.seeds)
    models = variants(base, arguments.variants)
    runs = study.compare(base, episodes, models, arguments.baselines)
    table = methods_table(runs, "nearest prototype")
    other = arguments.baselines[-1]
    against = methods_table(runs, other)
    return table.assign(
        target=study.name,
        shots=base.shots,
        other=other,
        against_other=against["difference"],
        against_low=against["difference_low"],
        against_high=against["difference_high"],
    )


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown, its index as the first column."""
    table = table.rename_axis("method").reset_index().astype(str)
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/maml"))
    parser.add_argument("--features", default="acoustic")
    parser.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--baselines", nargs="+", default=list(BASELINES), choices=BASELINES)
    parser.add_argument("--tasks", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", choices=["all", "few"], default="all")
    return parser.parse_args()


def main() -> None:
    """Print all tables, and keep them."""
    arguments = read_arguments()
    changed = {}
    for one in arguments.settings:
        name, value = one.split("=", 1)
        changed[name] = read_value(value)
    found = []
    for target in arguments.tasks:
        study = open_study(
            "open_languages", TARGETS[target], arguments.audio, arguments.features, arguments.out
        )
        study.progress = sys.stderr.isatty()
        for shots in arguments.shots:
            base = MamlConfig.from_form("default", changed, shots=shots)
            found.append(one_table(study, base, arguments))
            print(f"\n### {TARGETS[target]}, {shots}-shot\n\n{markdown(readable(found[-1]))}")
    name = "-".join([base.network, *arguments.tasks, *map(str, arguments.shots)])
    write_csv(arguments.out / f"results-{name}.csv", pd.concat(found))


if __name__ == "__main__":
    main()
