"""The tables of docs/results/emofsl.md: what to use with a few labels of a new corpus.

    python tools/emofsl_results.py --audio <folder with emodb/ emovo/ ravdess/ savee/> \
        --out out/emofsl

Parts, all unless --part names some:

    pairs      all ordered pairs, features normalised as we recommend (by speaker)
    inductive  the same, by ten clips of each speaker that are not tested
    plain      the same, as they come; `recommended` stays as it is
    all-in     each corpus with all others as one source
    skewed     the same where a tested speaker has at most eight clips of two emotions

Whatever was finished before is loaded, so a stopped run goes on. Each part writes <part>.csv (all
methods, with intervals) and <part>-differences.csv (paired) to --out; tables of what is there are
printed as Markdown, and the figure at the head of the page is drawn of the part all-in.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from page import markdown, write_glance  # noqa: E402
from run_notebook import read_value  # noqa: E402

from colab_utils import corpora, session  # noqa: E402
from colab_utils.csv_files import read_csv, write_csv  # noqa: E402
from colab_utils.learning.heads import PRIOR  # noqa: E402
from colab_utils.learning.recipe import RECOMMENDED  # noqa: E402
from colab_utils.methods.emofsl.figures.runs import uar_by_draw  # noqa: E402
from colab_utils.methods.emofsl.settings import EmofslConfig  # noqa: E402
from colab_utils.methods.emofsl.study import TransferStudy  # noqa: E402
from colab_utils.methods.emofsl.transfers import Transfers  # noqa: E402
from colab_utils.protocols.published import load_protocol  # noqa: E402
from colab_utils.results.comparison import compare_runs  # noqa: E402
from colab_utils.results.metrics import summarise  # noqa: E402
from colab_utils.results.runs import Run  # noqa: E402
from colab_utils.results.tables import with_holm  # noqa: E402

CORPORA = ("emodb", "emovo", "ravdess", "savee")
PAIRS = {  # part: what of the settings it changes
    "pairs": {},
    "inductive": {"enrolment": 10},
    "plain": {"normalisation": "none"},
}
ALL_IN, SKEWED = "all-in", "skewed"
PARTS = (*PAIRS, ALL_IN, SKEWED)
NORMALISATIONS = ("none", "corpus", "speaker")
SKEWS, MOST, EMOTIONS = 3, 8, 2  # draws of the skew; clips and emotions of a tested speaker
HEAD = "head"  # the decision of differences and figure
_SHOWN = {  # in the figure
    RECOMMENDED: "recommended",
    "source + support": "simple",
    f"EMOFSL, {HEAD}": "published",
    f"FSTL, {HEAD}": "published",
    f"BTL, {HEAD}": "published",
    "logistic regression": "simple",
    "nearest prototype": "simple",
    "source only": "simple",
}

_NUMBERS = ["uar", "low", "high", "wa", "ece", "draws_sd", "difference", "p", "p_holm"]

Runs = Mapping[tuple[str, int], Run]


# --- rows of the tables ---------------------------------------------------------------------------


def described(task: str, runs: Runs) -> list[dict]:
    """One row for each run of a task."""
    rows = []
    for (method, k), run in runs.items():
        metrics = run.metrics
        rates = uar_by_draw({method: run.predictions}, metrics["labels"])[method]
        low, high = metrics["uar_ci95"] or (np.nan, np.nan)
        row = {"task": task, "method": method, "k": k, "rule": ", ".join(metrics["rule"])}
        row |= {"uar": metrics["uar"], "low": low, "high": high, "wa": metrics["wa"]}
        row |= {"ece": metrics["ece"], "draws_sd": rates.groupby("seed").std(ddof=1).mean()}
        row |= {name: metrics[name] for name in ("chance", "majority", "n_speakers", "n")}
        rows.append(row | {"run": run.path.name})
    return rows


def contrasts(runs: Runs) -> Iterator[tuple[str, str, int]]:
    """What is compared on the same draws: (method, other, k)."""
    for k in sorted({k for _, k in runs}):
        names = [name for name, at in runs if at == k]
        heads = [name for name in (RECOMMENDED, PRIOR) if name in names]
        for number, head in enumerate(heads):
            for name in names:
                if name not in heads[: number + 1]:
                    yield head, name, k
        for decision, other in itertools.product(("prototype", HEAD), ("BTL", "FSTL")):
            yield f"EMOFSL, {decision}", f"{other}, {decision}", k


def differences(task: str, runs: Runs) -> list[dict]:
    """`recommended` (and its like on the same normalisation) less the others; EMOFSL less both."""
    rows = []
    for method, other, k in contrasts(runs):
        found = compare_runs(runs[method, k], runs[other, k])
        low, high = found["difference_ci95"] or (np.nan, np.nan)
        row = {"task": task, "k": k, "method": method, "less": other}
        row |= {"difference": found["difference"], "low": low, "high": high, "p": found["p"]}
        rows.append(row)
    return rows


# --- the parts ------------------------------------------------------------------------------------


class Work:
    """Studies of all corpora, and what the command line says."""

    def __init__(self, arguments: argparse.Namespace):
        given = {}
        for one in arguments.settings:
            name, value = one.split("=", 1)
            given[name] = read_value(value)
        self.config = EmofslConfig.from_form(
            "default", given, n_draws=arguments.draws, shots=arguments.shots[0]
        )
        self.shots = arguments.shots
        self.corpora = arguments.corpora
        self.skews = arguments.skews
        found = corpora.open_corpora(self.corpora, arguments.audio, arguments.out)
        self.transfers = Transfers(
            load_protocol("emofsl"),
            found,
            arguments.out,
            arguments.features,
            device=session.device(),
            progress=False,
            check_counts=False,
        )
        self.emotions = next(iter(self.transfers.protocol.tasks.values())).emotions

    def study(self, sources: list[str], target: str) -> TransferStudy:
        """The study of a target with these sources."""
        return self.transfers.study(sources, target, "", self.emotions)

    def left_out(self) -> Iterator[TransferStudy]:
        """Each corpus with all others as one source."""
        for target in self.corpora:
            yield self.study([name for name in self.corpora if name != target], target)

    def compared(self, studies: Iterator[TransferStudy], **changes: object) -> tuple[list, list]:
        """Rows and differences of all methods in some studies."""
        config = dataclasses.replace(self.config, **changes)
        rows, apart = [], []
        for study in studies:
            runs = study.compare(config, shots=self.shots, pictures=False)
            rows += described(study.name, runs)
            apart += differences(study.name, runs)
            self.say(study.name)
        return rows, apart

    def of_part(self, part: str) -> tuple[list, list]:
        """Rows and differences of a part."""
        if part == SKEWED:
            return self.skewed(), []
        if part == ALL_IN:
            return self.compared(self.left_out())
        pairs = itertools.permutations(self.corpora, 2)
        studies = (self.study([source], target) for source, target in pairs)
        return self.compared(studies, **PAIRS[part])

    def skewed(self) -> list[dict]:
        """The recipe's head in each normalisation, as recorded and skewed, by target and skew."""
        rows = []
        for study in self.left_out():
            for skew in range(-1, self.skews):
                found = {}
                for fold in study.folds:
                    one = skewed_fold(study, fold, skew)
                    for name in NORMALISATIONS:
                        config = dataclasses.replace(self.config, normalisation=name)
                        for k, table in self.heads(one, config).items():
                            found.setdefault((name, k), []).append(table)
                for (name, k), tables in found.items():
                    metrics = summarise(pd.concat(tables), study.labels)
                    row = {"task": study.name, "state": "recorded" if skew < 0 else "skewed"}
                    row |= {"skew": skew, "normalisation": name, "k": k}
                    rows.append(row | {name: metrics[name] for name in ("uar", "ece", "n")})
                self.say(f"{study.name}, skew {skew}")
        return rows

    def heads(self, study: TransferStudy, config: EmofslConfig) -> dict[int, pd.DataFrame]:
        """Predictions of the head that the source holds, by number of shots."""
        name = RECOMMENDED if config.recommended() == config else PRIOR
        runs = study.compare(config, shots=self.shots, methods=[], baselines=[name], pictures=False)
        return {k: run.predictions for (_, k), run in runs.items()}

    def say(self, what: str) -> None:
        """That something is done, and what all has cost so far."""
        print(f"{what}, {time.process_time():.0f} s of one core in all", file=sys.stderr)


def skewed_fold(study: TransferStudy, fold: str, skew: int) -> TransferStudy:
    """One fold of a study whose tested speakers keep few clips; the others are as recorded.

    Args:
        study: all folds.
        fold: which one.
        skew: the seed of what is kept, MOST clips of EMOTIONS emotions of each tested speaker;
            -1: all.
    """
    split = study.split[study.split["fold"] == fold]
    rows = study.rows[study.rows["utt_id"].isin(split["utt_id"])]
    tested = rows["utt_id"].isin(split.loc[split["role"] == "test", "utt_id"])
    kept = [rows[~tested]]
    rng = np.random.default_rng((max(skew, 0), *fold.encode()))
    for _, own in rows[tested].groupby("speaker"):
        if skew >= 0:
            chosen = rng.permutation(sorted(set(own["emotion"])))[:EMOTIONS]
            own = own[own["emotion"].isin(chosen)]
            own = own.sample(min(MOST, len(own)), random_state=rng)
        kept.append(own)
    rows = pd.concat(kept)
    split = split[split["utt_id"].isin(rows["utt_id"])]
    return TransferStudy(
        study.name,
        rows,
        split,
        study.store,
        study.labels,
        study.root,
        features=study.features,
        protocol=study.protocol,
        merge=study.merge,
        device=study.device,
        progress=False,
    )


# --- what is printed ------------------------------------------------------------------------------


def mean_table(table: pd.DataFrame) -> pd.DataFrame:
    """Mean UAR over the tasks, a row for each method; in brackets ECE, after it the draws' SD."""
    means = table.groupby(["method", "k"], sort=False)[["uar", "ece", "draws_sd"]].mean() * 100
    told = means["uar"].map("{:.1f}".format) + means["draws_sd"].map(" ± {:.1f}".format)
    told += means["ece"].map(" (ECE {:.0f})".format)
    wide = told.unstack().loc[table["method"].unique()]
    return wide.add_prefix("k = ").reset_index()


def summary(apart: pd.DataFrame) -> pd.DataFrame:
    """Mean difference over the tasks, how often it is above 0, and how many intervals are."""
    rows = []
    for (method, other, k), part in apart.groupby(["method", "less", "k"], sort=False):
        row = {"method": method, "less": other, "k": k}
        row["mean difference"] = f"{100 * part['difference'].mean():+.1f}"
        row["above 0"] = f"{(part['difference'] > 0).sum()} of {len(part)}"
        row["interval above 0, below"] = f"{(part['low'] > 0).sum()}, {(part['high'] < 0).sum()}"
        row["p < 0.05 by Holm"] = (part["p_holm"] < 0.05).sum()
        rows.append(row)
    return pd.DataFrame(rows)


def task_table(table: pd.DataFrame, k: int) -> pd.DataFrame:
    """Every task at one number of shots: UAR with its interval, and ECE of what we recommend."""
    rows = []
    for task, part in table[table["k"] == k].groupby("task", sort=False):
        row = {"task": task, "speakers": part["n_speakers"].iloc[0]}
        for one in part.itertuples():
            if one.method in _SHOWN:
                span = f"[{100 * one.low:.1f}, {100 * one.high:.1f}]"
                row[one.method] = f"{100 * one.uar:.1f} {span}"
        ece = part.loc[part["method"] == RECOMMENDED, "ece"].iloc[0]
        rows.append(row | {f"ECE, {RECOMMENDED}": f"{100 * ece:.1f}"})
    return pd.DataFrame(rows)


def skewed_table(table: pd.DataFrame) -> pd.DataFrame:
    """Mean UAR over targets and skews by normalisation; last, speaker less the better other."""
    means = table.groupby(["state", "k", "normalisation"])["uar"].mean().mul(100).unstack()
    means = means[list(NORMALISATIONS)]
    other = means[["none", "corpus"]].max(axis=1)
    means["speaker less the better other"] = means["speaker"] - other
    return means.round(1).reset_index()


def glance(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the figure: the mean over targets, without an interval."""
    means = table.groupby(["k", "method"], sort=False)[["uar", "chance"]].mean().reset_index()
    means = means[means["method"].isin(_SHOWN)]
    means["place"] = [list(_SHOWN).index(name) for name in means["method"]]
    means = means.sort_values(["k", "place"])
    return means.assign(
        title="A few labels of a new corpus, all other corpora as source",
        panel=[f"k = {k}" for k in means["k"]],
        low=np.nan,
        high=np.nan,
        colour=[_SHOWN[name] for name in means["method"]],
        note=f"Mean UAR over {table['task'].nunique()} corpora, four emotions, "
        f"{table['n_speakers'].groupby(table['task']).first().sum()} speakers in all.",
    )


def read(path: pathlib.Path) -> pd.DataFrame:
    """A table as it was written; where there is no number, NaN."""
    table = read_csv(path)
    for name in table.columns.intersection(_NUMBERS):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    return table


def tell(out: pathlib.Path, shots: list[int], page: pathlib.Path | None) -> None:
    """Print the tables of all parts that are there."""
    for part in PARTS:
        path = out / f"{part}.csv"
        if not path.exists():
            continue
        table = read(path)
        print(f"\n## {part}\n")
        if part == SKEWED:
            print(markdown(skewed_table(table)))
            continue
        print(markdown(mean_table(table)))
        print(f"\n{markdown(summary(read(out / f'{part}-differences.csv')))}")
        for k in shots:
            print(f"\n### {part}, k = {k}\n\n{markdown(task_table(table, k))}")
        if part == ALL_IN and page is not None:
            write_glance(glance(table), page)


def read_arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", default="", help="a folder with one sub-folder a corpus")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/emofsl"))
    parser.add_argument("--part", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA))
    parser.add_argument("--features", default="acoustic+moonshine")
    parser.add_argument(
        "--settings", nargs="*", default=[], metavar="NAME=VALUE", help="of EmofslConfig"
    )
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5, 15])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--skews", type=int, default=SKEWS, help="draws of the skew")
    parser.add_argument("--page", type=pathlib.Path, help="the figure, such as page-glance")
    return parser.parse_args()


def main() -> None:
    """Compute what is not there yet, write the tables and print them."""
    arguments = read_arguments()
    torch.set_num_threads(1)
    work = Work(arguments)
    for part in arguments.part:
        with contextlib.redirect_stdout(sys.stderr):  # which runs were loaded
            rows, apart = work.of_part(part)
        write_csv(arguments.out / f"{part}.csv", pd.DataFrame(rows))
        if apart:
            write_csv(arguments.out / f"{part}-differences.csv", with_holm(pd.DataFrame(apart)))
        work.say(f"part {part}")
    tell(arguments.out, arguments.shots, arguments.page)


if __name__ == "__main__":
    main()
