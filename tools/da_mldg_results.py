"""The tables of docs/results/da_mldg.md: the open corpora, each left out once.

    python tools/da_mldg_results.py --audio <folder with emodb/ emovo/ ravdess/ savee/>
    python tools/da_mldg_results.py --audio <...> --part speaker none

Parts: all algorithms with features normalised by speaker, by corpus or not at all; statistics of a
few clips that are not tested (enrolment); variants of MLDG and DA-MLDG; the reference within one
corpus. Whatever was finished before is loaded, so a stopped run goes on, parts may be made one by
one, and all of them together then make the page: short tables are printed as Markdown, the long one
is written to --page (da_mldg.csv), with the figure at its head. --dry-run tries all this on
BanglaSER as the only target, whose results no page shows.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from page import COLUMNS, markdown, write_glance  # noqa: E402
from run_notebook import read_value  # noqa: E402

from colab_utils import corpora  # noqa: E402
from colab_utils.csv_files import write_csv  # noqa: E402
from colab_utils.learning.recipe import FEATURES, NORMALISATION, RECOMMENDED  # noqa: E402
from colab_utils.learning.study import Tested  # noqa: E402
from colab_utils.methods.da_mldg import DomainConfig, DomainStudies, targets_table  # noqa: E402
from colab_utils.methods.da_mldg.settings import HEADS, LINEAR  # noqa: E402
from colab_utils.results.comparison import compare  # noqa: E402
from colab_utils.results.runs import Run  # noqa: E402
from colab_utils.results.tables import with_holm  # noqa: E402

CORPORA = ("emodb", "emovo", "ravdess", "savee")
DRY, DRY_EMOTIONS = "banglaser", ("anger", "happiness", "neutral", "sadness")
UNITS = ("speaker", "none", "corpus")
PARTS = (*UNITS, "variants", "enrolment", "within")
ERM = "ERM (Deep-All)"
MAIN = {
    ERM: {"algorithm": "erm"},
    "MLDG": {"algorithm": "mldg"},
    "DA-MLDG": {"algorithm": "da-mldg"},
    "RSC": {"algorithm": "rsc"},
    "CORAL": {"algorithm": "coral"},
}
VARIANTS = {
    "MLDG, first order": {"algorithm": "mldg", "order": "first"},
    "DA-MLDG, 1 + gamma": {"algorithm": "da-mldg", "gamma_rule": "1+gamma"},
    "DA-MLDG, gamma over its mean": {"algorithm": "da-mldg", "gamma_rule": "normalised"},
    "DA-MLDG, first order": {"algorithm": "da-mldg", "order": "first"},
}
ENROLLED = (5, 10, 20)  # clips of each speaker
Runs = dict[str, dict[str, Run]]  # {target: {method: run}}


# --- what is run ----------------------------------------------------------------------------------


def named(name: str, unit: str) -> str:
    """What a method on features normalised in a way is called."""
    return RECOMMENDED if name == RECOMMENDED else f"{name}; {unit}"


def tested(base: DomainConfig, name: str, unit: str, changes: Mapping = {}) -> Tested:
    """One method of the tables, on features normalised in a way."""
    config = dataclasses.replace(base, normalisation=unit)
    if name in HEADS:
        return Tested(named(name, unit), config.for_head(name))
    return Tested(named(name, unit), dataclasses.replace(config, **changes))


def methods(part: str, base: DomainConfig) -> list[Tested]:
    """The methods of a part in which each corpus is left out."""
    if part == "variants":
        return [tested(base, name, NORMALISATION, how) for name, how in VARIANTS.items()]
    head = RECOMMENDED if part == NORMALISATION else LINEAR
    found = [tested(base, head, part)]
    return found + [tested(base, name, part, how) for name, how in MAIN.items()]


def run_part(studies: DomainStudies, base: DomainConfig, part: str) -> Runs:
    """Finished runs of a part."""
    runs: Runs = {}
    for target in studies.names:
        study = studies.study(f"within {target}" if part == "within" else target)
        chosen = [
            tested(base, RECOMMENDED, NORMALISATION),
            tested(base, ERM, NORMALISATION, MAIN[ERM]),
        ]
        if part == "enrolment":
            runs[target] = {}
            for number in ENROLLED:
                few = [one_of_few(one, number) for one in chosen]
                runs[target] |= study.evaluate(few, pictures=False)
        else:
            if part != "within":
                chosen = methods(part, base)
            runs[target] = study.evaluate(chosen, pictures=False)
        study.let_go()
    return runs


def one_of_few(one: Tested, number: int) -> Tested:
    """A method whose statistics are of `number` clips of each speaker."""
    config = dataclasses.replace(one.config, enrolment=number)
    return Tested(f"{one.name}; {number} clips", config)


# --- tables ---------------------------------------------------------------------------------------


def joined(parts: Sequence[Runs]) -> Runs:
    """The runs of several parts by target."""
    found: Runs = {}
    for runs in parts:
        for target, of_target in runs.items():
            found.setdefault(target, {}).update(of_target)
    return found


def differences(runs: Runs) -> pd.DataFrame:
    """All that left a corpus out: differences to `recommended`, and to ERM on the same features."""
    table = targets_table(runs, RECOMMENDED)
    of_units = []
    for unit in UNITS:
        same = {}
        for target, of_target in runs.items():
            same[target] = {name: run for name, run in of_target.items() if name.endswith(unit)}
        if named(ERM, unit) in next(iter(same.values())):
            of_units.append(targets_table(same, named(ERM, unit)))
    to_erm = with_holm(pd.concat(of_units)).set_index(["target", "algorithm"])
    for column in ("difference", "difference_low", "difference_high", "p", "p_holm"):
        values = to_erm[column]
        table[f"{column}_erm"] = values.reindex([table["target"], table["algorithm"]]).to_numpy()
    return table


def of_enrolment(few: Runs, whole: Runs) -> pd.DataFrame:
    """What it costs to know few clips of a speaker, on the clips that are tested then."""
    rows = []
    for target, of_target in few.items():
        for name, run in of_target.items():
            same = whole[target][name.rpartition(";")[0]]
            predictions = same.predictions
            predictions = predictions[predictions["utt_id"].isin(run.predictions["utt_id"])]
            found = compare(run.predictions, predictions, run.metrics["labels"])
            low, high = found["difference_ci95"] or (float("nan"),) * 2
            rows.append(
                {
                    "target": target,
                    "method": name,
                    "uar": found["uar_a"],
                    "all clips": found["uar_b"],
                    "difference": found["difference"],
                    "low": low,
                    "high": high,
                    "tested": run.metrics["n_utterances"],
                }
            )
    return pd.DataFrame(rows)


def of_normalising(runs: Runs) -> pd.DataFrame:
    """What normalising brings ERM, in points on the same clips."""
    rows = []
    for target, of_target in runs.items():
        for unit, other in ((NORMALISATION, "none"), (NORMALISATION, "corpus"), ("corpus", "none")):
            more, less = (of_target[named(ERM, how)] for how in (unit, other))
            found = compare(more.predictions, less.predictions, more.metrics["labels"])
            low, high = found["difference_ci95"] or (float("nan"),) * 2
            row = {"target": target, "contrast": f"{unit} less {other}"}
            for name, value in (("points", found["difference"]), ("low", low), ("high", high)):
                row[name] = f"{100 * value:+.1f}"
            rows.append(row)
    return pd.DataFrame(rows)


def by_target(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """A rate in per cent, a row for each method and a column for each target, and their mean."""
    wide = table.pivot(index="algorithm", columns="target", values=column)
    wide = wide.reindex(table["algorithm"].unique())
    wide["mean"] = wide.mean(axis=1)
    return (100 * wide).round(1).rename_axis(columns=None).reset_index()


def spans(table: pd.DataFrame, ending: str) -> pd.DataFrame:
    """Differences in points with their intervals as text, a column for each target."""
    text = []
    for row in table.to_dict("records"):
        parts = [row[f"difference{limit}{ending}"] for limit in ("", "_low", "_high")]
        value, low, high = (f"{100 * part:+.1f}" for part in parts)
        star = " *" if row[f"p_holm{ending}"] < 0.05 else ""
        text.append("" if value == "+nan" else f"{value} [{low}, {high}]{star}")
    wide = table.assign(text=text).pivot(index="algorithm", columns="target", values="text")
    wide = wide.reindex(table["algorithm"].unique())
    return wide[(wide != "").any(axis=1)].rename_axis(columns=None).reset_index()


def glance(table: pd.DataFrame) -> pd.DataFrame:
    """The table of the figure at the head of the page."""
    colours = {RECOMMENDED: "recommended", named(LINEAR, "none"): "simple"}
    for unit in ("none", NORMALISATION):
        colours |= {named(name, unit): "published" for name in MAIN}
        colours[named(ERM, unit)] = "simple"
    shown = table[table["algorithm"].isin(list(colours))]
    about = {
        "title": "Each corpus left out, five emotions, no label of the target",
        "note": "Bars: 95 % interval of the UAR over the target's speakers.",
    }
    names = {"target": "panel", "algorithm": "method"}
    shown = shown.rename(columns=names).assign(**about, colour=shown["algorithm"].map(colours))
    return shown[list(COLUMNS)]


def show(title: str, table: pd.DataFrame) -> None:
    """Print a table under its title."""
    print(f"\n## {title}\n\n{markdown(table)}")


def write_page(runs: Mapping[str, Runs], folder: pathlib.Path) -> None:
    """Print what the parts say and write the long table and the figure."""
    left_out = joined([runs[part] for part in (*UNITS, "variants") if part in runs])
    if RECOMMENDED in next(iter(left_out.values()), {}):
        table = differences(left_out)
        write_csv(folder / "da_mldg.csv", table)
        show("UAR", by_target(table, "uar"))
        show("Less `recommended` (* Holm < 0.05)", spans(table, ""))
        show("Less ERM on the same features", spans(table, "_erm"))
        if {"none", "corpus"} <= set(runs):
            show("What normalising brings ERM", of_normalising(left_out))
        show("Expected calibration error", by_target(table, "ece"))
        show("WA", by_target(table, "wa"))
        write_glance(glance(table), folder / "da_mldg-glance")
    if "enrolment" in runs and NORMALISATION in runs:
        table = of_enrolment(runs["enrolment"], runs[NORMALISATION])
        write_csv(folder / "da_mldg-enrolment.csv", table)
        rates = ["uar", "all clips", "difference", "low", "high"]
        table[rates] = (100 * table[rates]).round(1)
        show("Statistics of a few clips that are not tested", table)
    if "within" in runs:
        table = targets_table(runs["within"], RECOMMENDED)
        write_csv(folder / "da_mldg-within.csv", table)
        show("Within one corpus, other speakers (80/20)", by_target(table, "uar"))


# --- the command ----------------------------------------------------------------------------------


def values(given: list[str]) -> dict:
    """{name: value} of NAME=VALUE."""
    pairs = [one.split("=", 1) for one in given]
    return {name: read_value(value) for name, value in pairs}


def read_arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/da-mldg"))
    parser.add_argument("--page", type=pathlib.Path, default=pathlib.Path("docs/results"))
    parser.add_argument("--part", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--features", default=FEATURES)
    parser.add_argument("--preset", default="default")
    parser.add_argument(
        "--settings", nargs="*", default=[], metavar="NAME=VALUE", help="of DomainConfig"
    )
    parser.add_argument("--targets", nargs="+", default=list(CORPORA), choices=CORPORA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--dry-run", action="store_true", help="BanglaSER is the only target")
    return parser.parse_args()


def open_studies(wanted: argparse.Namespace) -> DomainStudies:
    """The targets that are asked for."""
    names, targets, own = list(CORPORA), wanted.targets, {}
    others = {"progress": sys.stderr.isatty()}
    if wanted.dry_run:
        columns = {"wav": "file", "emotion": "emotion", "speaker": "speaker"}
        own[DRY] = {"audio": str(wanted.audio / DRY / "labels.csv"), **columns}
        names, targets = [*CORPORA, DRY], [DRY]
        others["emotions"] = DRY_EMOTIONS
    manifest = corpora.open_corpora(names, wanted.audio, wanted.out, own=own)
    return DomainStudies(manifest, wanted.out, wanted.features, targets, **others)


def main() -> None:
    """Train, test, print and write."""
    wanted = read_arguments()
    changes = values(wanted.settings)
    base = DomainConfig.from_preset(wanted.preset, n_seeds=wanted.seeds, **changes)
    studies = open_studies(wanted)
    runs = {}
    for part in wanted.part:
        begin = time.perf_counter()
        runs[part] = run_part(studies, base, part)
        spent = time.perf_counter() - begin
        print(f"{part}: {spent:.0f} s", file=sys.stderr, flush=True)
    folder = wanted.out if wanted.dry_run else wanted.page
    write_page(runs, folder)


if __name__ == "__main__":
    main()
