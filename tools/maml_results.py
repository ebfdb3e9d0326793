"""The tables of docs/results/maml.md: MAML, its rivals and what we recommend, in open languages.

    python tools/maml_results.py --audio <folder with emodb/ emovo/ ravdess/ savee/> --out out/maml
    python tools/maml_results.py --audio <...> --features logmel --settings network=conv4 ...

The first makes the page: all on the features and the normalisation that we recommend, then the
main methods without any. The second is the table of Conv4 (see the page). Whatever was finished
before is loaded, so a stopped run goes on, and --tasks, --shots and --normalisation make it in
pieces: a call that has all languages and shots normalised as we recommend reads what is there and
writes the long table and the figure to --page. --dry-run tries all this on BanglaSER as the target,
whose results no page shows.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Iterator

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from page import COLUMNS, markdown, write_glance  # noqa: E402
from run_notebook import read_value  # noqa: E402

from colab_utils.csv_files import write_csv  # noqa: E402
from colab_utils.features.store.views import NORMALISATIONS  # noqa: E402
from colab_utils.learning.recipe import FEATURES, NORMALISATION, RECOMMENDED  # noqa: E402
from colab_utils.methods.maml import BASELINES, MamlConfig, MamlStudy, open_study  # noqa: E402
from colab_utils.results.tables import methods_table  # noqa: E402

TARGETS = {"it": "de+en-it", "de": "en+it-de", "en": "de+it-en"}
LANGUAGES = {"it": "Italian", "de": "German", "en": "English"}
CORPORA = ("emodb", "emovo", "ravdess", "savee")
DRY = "banglaser"
EPISODES = 600
PROTOTYPE = "nearest prototype"
# Of the figure; all others are published methods.
SIMPLE = ("chance", PROTOTYPE, "logistic regression", "source prior", "source + support")


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
    """All methods on one target, against what we recommend and against nearest prototype."""
    episodes = study.episodes(base, n_tasks=arguments.episodes, n_seeds=arguments.seeds)
    which = arguments.variants if base.normalisation == NORMALISATION else "few"
    runs = study.compare(base, episodes, variants(base, which), arguments.baselines)
    table = methods_table(runs, RECOMMENDED)
    simple = methods_table(runs, PROTOTYPE)
    return table.assign(
        target=study.name,
        shots=base.shots,
        normalisation=base.normalisation,
        to_prototype=simple["difference"],
        to_prototype_low=simple["difference_low"],
        to_prototype_high=simple["difference_high"],
    )


def spans(table: pd.DataFrame, value: str, low: str, high: str, form: str) -> list[str]:
    """A column with its interval, in per cent: "41.2 [38.0, 44.1]"; "" where there is none."""
    told = []
    for row in (100 * table[[value, low, high]]).itertuples(index=False):
        text = "" if pd.isna(row[0]) else format(row[0], form)
        if not pd.isna(row[1]):
            text += f" [{row[1]:{form}}, {row[2]:{form}}]"
        told.append(text)
    return told


def short(table: pd.DataFrame) -> str:
    """One target, number of shots and normalisation as Markdown."""
    found = pd.DataFrame({"method": table["method"]})
    found["UAR"] = spans(table, "uar", "low", "high", ".1f")
    bounds = "difference_low", "difference_high"
    found["to recommended"] = spans(table, "difference", *bounds, "+.1f")
    bounds = "to_prototype_low", "to_prototype_high"
    found["to prototype"] = spans(table, "to_prototype", *bounds, "+.1f")
    found["ECE"] = (100 * table["ece"]).map("{:.1f}".format)
    return markdown(found)


def glance(long: pd.DataFrame, features: str) -> pd.DataFrame:
    """The figure at the head of the page: the recommended normalisation, the main methods."""
    shown = long[long["normalisation"] == NORMALISATION]
    shown = shown[shown["method"].isin([*BASELINES, "MAML, fixed ids", "MAML, permuted ids"])]
    language = shown["target"].str.rpartition("-")[2].map(lambda name: LANGUAGES.get(name, name))
    colour = shown["method"].map(dict.fromkeys(SIMPLE, "simple")).fillna("published")
    return shown.assign(
        title=f"A new language, {features}, normalised by speaker: UAR in few-shot episodes",
        panel=language + ", " + shown["shots"].astype(str) + "-shot",
        colour=colour.mask(shown["method"] == RECOMMENDED, "recommended"),
        note="Bars: 95 % interval over the speakers of the language. Dotted: guessing.",
    )[list(COLUMNS)]


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/maml"))
    parser.add_argument("--page", type=pathlib.Path, default=pathlib.Path("docs/results"))
    parser.add_argument("--features", default=FEATURES)
    parser.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--baselines", nargs="+", default=list(BASELINES), choices=BASELINES)
    parser.add_argument("--tasks", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    by = [NORMALISATION, "none"]
    parser.add_argument("--normalisation", nargs="+", default=by, choices=NORMALISATIONS)
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", choices=["all", "few"], default="all")
    parser.add_argument("--dry-run", action="store_true")
    return parser.parse_args()


def opened(arguments: argparse.Namespace) -> Iterator[MamlStudy]:
    """The study of each target."""
    where = {"audio": arguments.audio, "features": arguments.features, "root": arguments.out}
    if arguments.dry_run:
        columns = {"wav": "file", "emotion": "emotion", "speaker": "speaker"}
        audio = str(pathlib.Path(arguments.audio) / DRY / "labels.csv")
        own = {DRY: {"audio": audio, **columns}}
        yield open_study("open_languages", train=CORPORA, test=[DRY], own=own, **where)
        return
    for target in arguments.tasks:
        yield open_study("open_languages", TARGETS[target], **where)


def main() -> None:
    """Print all tables, and keep them."""
    arguments = read_arguments()
    changed = {}
    for one in arguments.settings:
        name, value = one.split("=", 1)
        changed[name] = read_value(value)
    found = []
    for study in opened(arguments):
        study.progress = sys.stderr.isatty()
        for shots in arguments.shots:
            for how in arguments.normalisation:
                base = MamlConfig.from_form("default", changed, shots=shots, normalisation=how)
                table = one_table(study, base, arguments)
                found.append(table)
                print(f"\n### {study.name}, {shots}-shot, normalised by {how}\n\n{short(table)}")
    long = pd.concat(found, ignore_index=True)
    write_csv(arguments.out / "maml.csv", long)
    page = arguments.out if arguments.dry_run else arguments.page
    main_half = long[long["normalisation"] == NORMALISATION]
    asked = len(main_half[["target", "shots"]].drop_duplicates())
    whole = asked == len(TARGETS) * 2 and arguments.features == FEATURES
    if whole or arguments.dry_run:
        write_csv(page / "maml.csv", long)
        write_glance(glance(long, arguments.features), page / "maml-glance")


if __name__ == "__main__":
    main()
