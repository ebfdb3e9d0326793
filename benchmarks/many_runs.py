"""Notebook 06 on thousands of finished runs: how long it takes to read, judge and compare them.

    python benchmarks/many_runs.py [--runs 2000] [--repetitions 5] [--against FOLDER ...]
                                   [--at FOLDER] [--every 1] [--own-splits]

Runs are made once (a few minutes): the utterances of EmoDB, EMOVO and SAVEE as the manifests have
them, 1 to 3 seeds, drawn scores, the folds of `protocols.folds`; each is written by `Run.finish`
and has settings and predictions of its own, and none has a split of its own unless asked for
(--own-splits), as in a sweep. Then the cells of notebook 06 run in a fresh process each time, this
checkout and the others (FOLDER of another version) in turn. Printed are medians by cell and in
all, without imports, which stand apart; peak memory; and ratios, above 1 where this checkout is
faster. Both have to give the same table of runs and the same questions.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd

HERE = pathlib.Path(__file__).resolve().parent.parent
CORPORA = ("emodb", "emovo", "savee")
MOST_SEEDS = 3
SETTING = "RUNS ="  # stands in the cell of settings alone
TABLE = ("method", "run", "done", "uar", "low", "high", "wa", "macro_f1", "chance", "n")


# --- runs -----------------------------------------------------------------------------------------


def tested_rows(corpus: str, every: int) -> pd.DataFrame:
    """The labelled utterances of a corpus by its manifest, or every n-th of them."""
    from colab_utils.corpora.manifest import read_manifest

    rows = read_manifest(HERE / "data_manifests" / f"{corpus}.csv")
    return rows[rows["emotion"] != ""].iloc[::every].reset_index(drop=True)


def split_of(rows: pd.DataFrame, first: int, seeds: int) -> pd.DataFrame:
    """Four folds of speakers for each seed."""
    from colab_utils.protocols import folds

    parts = []
    for seed in range(first, first + seeds):
        parts.append(folds.make_split(rows, folds.grouped_folds(rows, 4, seed), seed, 1))
    return pd.concat(parts, ignore_index=True)


def predictions_of(rows: pd.DataFrame, split: pd.DataFrame, number: int) -> pd.DataFrame:
    """Drawn predictions of all that a split tests, with scores; about half are right."""
    labels = sorted(set(rows["emotion"]))
    rng = np.random.default_rng(number)
    tested = split.loc[split["role"] == "test", ["seed", "fold", "draw", "task", "utt_id"]]
    table = tested.merge(rows[["utt_id", "corpus", "speaker", "emotion"]], on="utt_id")
    logits = rng.normal(size=(len(table), len(labels)))
    places = pd.Index(labels).get_indexer(table["emotion"])
    logits[np.arange(len(table)), places] += rng.uniform(0.5, 2.5)
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = table.rename(columns={"emotion": "true"})
    table["pred"] = np.array(labels)[scores.argmax(axis=1)]
    table = table.assign(method="logistic", rule="inductive")
    return table.assign(**{f"p_{label}": scores[:, n] for n, label in enumerate(labels)})


def make_run(root: str, number: int, every: int, own_splits: bool) -> None:
    """The finished run of this number: its corpus, seeds, shots and settings follow from it."""
    from colab_utils.methods.baselines.settings import BaselineConfig
    from colab_utils.results.runs import open_run
    from colab_utils.results.tables import SETTINGS, settings_table

    corpus = CORPORA[number % len(CORPORA)]
    seeds = 1 + number // len(CORPORA) % MOST_SEEDS
    rows = tested_rows(corpus, every)
    split = split_of(rows, number if own_splits else 0, seeds)
    labels = sorted(set(rows["emotion"]))
    config = BaselineConfig(C=0.1 + number / 1e4, n_seeds=seeds)
    facts = {
        "version": 1,
        "preset": "default",
        "task": corpus,
        "labels": labels,
        "features": f"{number:012x}",
        "condition": "5-shot" if number % 5 == 0 else "",
    }
    with contextlib.redirect_stdout(None):
        run = open_run(root, "baselines", f"{corpus}-logistic", config, facts, split)
        run.finish(predictions_of(rows, split, number), labels, speaker_independence="independent")
        run.keep(SETTINGS, [settings_table(config, {})])
        run.mark_done()


def make_runs(root: pathlib.Path, count: int, *how: int) -> None:
    """All runs, unless the folder has them from an earlier call."""
    there = len(list(root.glob("runs/*/*/DONE")))
    if there == count:
        return
    if there:
        raise SystemExit(f"{root} holds {there} runs, not {count}: name an empty folder")
    print(f"making {count} runs in {root}", flush=True)
    with concurrent.futures.ProcessPoolExecutor() as pool:
        jobs = [pool.submit(make_run, str(root), number, *how) for number in range(count)]
        for job in jobs:
            job.result()


# --- one process ----------------------------------------------------------------------------------


def cells_of(checkout: pathlib.Path) -> list[str]:
    """The cells of code of notebook 06, from the one with the settings on."""
    notebook = json.loads((checkout / "notebooks/06_compare_methods.ipynb").read_text())
    code = ["".join(one["source"]) for one in notebook["cells"] if one["cell_type"] == "code"]
    begin = next(n for n, text in enumerate(code) if SETTING in text)
    return code[begin:]


def once(checkout: pathlib.Path, root: str) -> None:
    """Run the cells here; write seconds, memory and what was found as one line of JSON."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    shell = InteractiveShell.instance()
    cells = cells_of(checkout)
    # The imports of a cell are timed apart, or the first one would hold all of them.
    imports = [line for cell in cells for line in imports_of(cell)]
    begin = time.perf_counter()
    shell.run_cell("\n".join(imports)).raise_error()
    spent = {"imports": time.perf_counter() - begin}
    for number, cell in enumerate(cells):
        begin = time.perf_counter()
        with capture_output():
            shell.run_cell(cell).raise_error()
        spent[f"cell {number}"] = time.perf_counter() - begin
        if SETTING in cell:
            shell.user_ns["RUNS"] = root
    table, questions = shell.user_ns["table"], shell.user_ns["questions"]
    names = {title: sorted(runs) for title, runs in questions.items()}
    columns = table.sort_values("run")[list(TABLE)]
    found = {
        "seconds": spent,
        "memory": peak_rss(),
        "table": columns.to_json(orient="values", double_precision=15),
        "questions": json.dumps(names, sort_keys=True),
        "package": sys.modules["colab_utils"].__file__,
    }
    print(json.dumps(found))


def imports_of(cell: str) -> list[str]:
    """The statements of a cell that import something."""
    import ast

    tree = ast.parse(cell)
    kinds = (ast.Import, ast.ImportFrom)
    return [ast.unparse(node) for node in tree.body if isinstance(node, kinds)]


def peak_rss() -> float:
    """The largest resident size of this process so far, in MB.

    Linux; getrusage would also count the process that started it.
    """
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


# --- in turn --------------------------------------------------------------------------------------


def measured(checkout: pathlib.Path, root: pathlib.Path, workspace: str) -> dict:
    """What `once` says in a fresh process that has the package of `checkout`."""
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "MPLBACKEND": "Agg",
        "SER_WORKSPACE": workspace,
    }
    command = [sys.executable, __file__, "--once", str(checkout), "--at", str(root)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=workspace, check=False
    )
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    if not found["package"].startswith(str(checkout)):
        raise SystemExit(f"{checkout} was not measured: {found['package']} was imported")
    return found


def same(first: dict, other: dict) -> str:
    """Whether two versions found the same, in words."""
    words = []
    for name in ("table", "questions"):
        words.append(f"{name} {'the same' if first[name] == other[name] else 'DIFFERS'}")
    return ", ".join(words)


def report(found: dict[str, list[dict]]) -> None:
    """Medians of each checkout, what is the same, and the ratios to the first."""
    totals = {}
    first = next(iter(found.values()))[0]
    for name, turns in found.items():
        cells = {}
        for cell in turns[0]["seconds"]:
            cells[cell] = statistics.median(turn["seconds"][cell] for turn in turns)
        all_cells = []
        for turn in turns:
            all_cells.append(sum(turn["seconds"].values()) - turn["seconds"]["imports"])
        totals[name] = statistics.median(all_cells)
        memory = statistics.median(turn["memory"] for turn in turns)
        print(f"\n{name}: all cells {totals[name]:.2f} s, peak memory {memory:.0f} MB")
        print("  " + ", ".join(f"{cell} {seconds:.2f}" for cell, seconds in cells.items()))
        print(f"  {same(first, turns[0])}")
    own, *others = totals
    for name in others:
        print(f"RATIO many-runs/{name} {totals[name] / totals[own]:.2f}")


def main() -> None:
    """Make the runs and time all checkouts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--repetitions", type=int, default=5, help="1 or more")
    parser.add_argument("--against", nargs="*", default=[], help="folders of other versions")
    parser.add_argument("--at", help="where the runs are, or are to be; default: a temporary one")
    parser.add_argument("--every", type=int, default=1, help="test every n-th utterance alone")
    parser.add_argument("--own-splits", action="store_true", help="no two runs have one split")
    parser.add_argument("--once", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        once(pathlib.Path(arguments.once), arguments.at)
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(arguments.at or f"{temporary}/many").resolve()
        make_runs(root, arguments.runs, arguments.every, arguments.own_splits)
        checkouts = [HERE, *(pathlib.Path(one).resolve() for one in arguments.against)]
        found: dict[str, list[dict]] = {str(checkout): [] for checkout in checkouts}
        for _ in range(arguments.repetitions):
            for checkout in checkouts:
                found[str(checkout)].append(measured(checkout, root, temporary))
    report(found)


if __name__ == "__main__":
    main()
