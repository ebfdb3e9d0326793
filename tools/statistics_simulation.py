"""The table of docs/statistics.md: how often intervals hold the true rate, and p is wrongly small.

    python tools/statistics_simulation.py --simulations 400 --out out/statistics

Speakers are drawn with rates of their own, two methods of equal skill are tested on them, and what
`summarise` and `compare` ask for their interval and p, `results.intervals`, is asked again and
again. Each design and number of speakers is one file in --out; what is there is not simulated
again. Seeded: the same command gives the same table.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from colab_utils.csv_files import read_csv, write_csv  # noqa: E402
from colab_utils.results.intervals import over_speakers  # noqa: E402

LABELS = ["anger", "fear", "joy", "neutral"]
SPEAKERS = (2, 3, 4, 6, 10, 24)
TASKS = 100


class Tested(NamedTuple):
    """Two methods of equal skill on the same utterances, and who supported which episode."""

    first: pd.DataFrame
    second: pd.DataFrame
    split: pd.DataFrame | None


def utterances(rng: np.random.Generator, n_speakers: int) -> pd.DataFrame:
    """Three to seven utterances of each speaker and emotion."""
    cells = pd.MultiIndex.from_product([range(n_speakers), range(len(LABELS))])
    number = rng.integers(3, 8, len(cells))
    speaker, label = cells.repeat(number).to_frame().to_numpy().T
    rows = pd.DataFrame({"speaker": speaker, "label": label})
    return rows.assign(utt_id=[f"u{number}" for number in rows.index])


def effects(rng: np.random.Generator, deviation: float, *shape: int) -> np.ndarray:
    """Normal effects of two methods on the logit, half of the variance in common."""
    both, own = rng.normal(0, deviation / np.sqrt(2), (2, 2, *shape))
    return both[:1] + own


def predictions(
    rng: np.random.Generator, rows: pd.DataFrame, logits: np.ndarray, **columns: object
) -> list[pd.DataFrame]:
    """The tables of both methods: right with the probability of the logit, else any other emotion.

    logits: float64 (2, rows).
    """
    names = np.array(LABELS, dtype=object)
    found = []
    for logit in logits:
        right = rng.random(len(rows)) < 1 / (1 + np.exp(-logit))
        other = (rows["label"] + rng.integers(1, len(LABELS), len(rows))) % len(LABELS)
        table = pd.DataFrame({"utt_id": rows["utt_id"], "corpus": "simulated"})
        table["speaker"] = "s" + rows["speaker"].astype(str)
        table["true"] = names[rows["label"]]
        table["pred"] = names[np.where(right, rows["label"], other)]
        facts = {"method": "m", "rule": "inductive", "seed": 0, "fold": "0", "draw": 0, "task": 0}
        found.append(table.assign(**facts | columns))
    return found


def plain(rng: np.random.Generator, n_speakers: int) -> Tested:
    """Each utterance is tested once; speakers differ, and do so in each emotion."""
    rows = utterances(rng, n_speakers)
    habit = effects(rng, 0.7, n_speakers, 1) + effects(rng, 0.4, n_speakers, len(LABELS))
    logits = 0.5 + habit[:, rows["speaker"], rows["label"]]
    return Tested(*predictions(rng, rows, logits), None)


def draws(rng: np.random.Generator, n_speakers: int) -> Tested:
    """Three seeds with five draws each, which move all speakers, and utterances that are hard."""
    rows = utterances(rng, n_speakers)
    habit = effects(rng, 0.7, n_speakers)[:, rows["speaker"]]
    fixed = 0.5 + habit + effects(rng, 0.7, len(rows))
    tables = []
    for seed, of_seed in enumerate(effects(rng, 0.2, 3).T):
        for draw, of_draw in enumerate(effects(rng, 0.2, 5).T):
            moved = fixed + (of_seed + of_draw)[:, None]
            tables.append(predictions(rng, rows, moved, seed=seed, draw=draw))
    first, second = (pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True))
    return Tested(first, second, None)


def episodes(rng: np.random.Generator, n_speakers: int, shots: int = 5) -> Tested:
    """Episodes whose support comes from some speakers, the queries from the others.

    A speaker has a rate when asked, and makes a good or a poor support, as strong an effect.
    """
    rows = utterances(rng, n_speakers)
    asked, supporting = effects(rng, 0.7, n_speakers), effects(rng, 0.7, n_speakers)
    of_speaker = rows.groupby(["speaker", "label"]).indices
    queries, logits, support = [], [], []
    for task in range(TASKS):
        order = rng.permutation(n_speakers)
        number = rng.integers(1, n_speakers)
        clips = np.sort(rng.choice(order[:number], (len(LABELS), shots)))
        support += [(task, f"simulated/s{speaker}") for speaker in np.unique(clips)]
        mine = []
        for label in range(len(LABELS)):
            there = np.concatenate([of_speaker[one, label] for one in order[number:]])
            mine.append(rng.permutation(there)[:5])
        mine = np.concatenate(mine)
        queries.append(rows.iloc[mine].assign(task=task))
        help_of = supporting[:, clips].mean(axis=(1, 2)) + effects(rng, 0.2, 1)[:, 0]
        logits.append(0.3 + asked[:, rows["speaker"].to_numpy()[mine]] + help_of[:, None])
    asked_rows = pd.concat(queries, ignore_index=True)
    both = predictions(rng, asked_rows, np.concatenate(logits, axis=1), task=asked_rows["task"])
    split = pd.DataFrame(support, columns=["task", "speaker"])
    return Tested(*both, split.assign(seed=0, fold="0", draw=0, utt_id="", role="support"))


DESIGNS: dict[str, Callable[[np.random.Generator, int], Tested]] = {
    "plain": plain,
    "draws x seeds": draws,
    "episodes": episodes,
}


def simulated(design: str, n_speakers: int, number: int, seed: int = 0) -> pd.DataFrame:
    """The outcome of each simulation.

    Args:
        design: of DESIGNS.
        n_speakers: who are tested.
        number: of simulations.
        seed: the same seed, the same outcomes.

    Returns:
        Float columns uar, low, high, a row for each of the two methods, and p in the row of the
        first; NaN where there is none.
    """
    rows = []
    for one in range(number):
        place = list(DESIGNS).index(design)
        tested = DESIGNS[design](np.random.default_rng((seed, place, n_speakers, one)), n_speakers)
        pair = [over_speakers(table, LABELS, tested.split)[0] for table in tested[:2]]
        if None in pair:
            rows.append({})
            continue
        for leaving in pair:
            low, high = leaving.estimate().limits(0.0, 1.0)
            rows.append({"uar": leaving.value, "low": low, "high": high, "p": np.nan})
        rows[-2]["p"] = pair[0].less(pair[1]).p()
    return pd.DataFrame(rows, columns=["uar", "low", "high", "p"], dtype=float)


def summary(outcomes: pd.DataFrame) -> dict[str, float]:
    """Coverage of the mean UAR of all simulations, false positives, and half the mean width, in %.

    All NaN where each simulation was refused.
    """
    if outcomes["uar"].isna().all():
        return dict.fromkeys(("coverage", "false positives", "half width"), np.nan)
    truth = outcomes["uar"].mean()
    held = (outcomes["low"] <= truth) & (truth <= outcomes["high"])
    found = {
        "coverage": held.mean(),
        "false positives": (outcomes["p"].dropna() < 0.05).mean(),
        "half width": (outcomes["high"] - outcomes["low"]).mean() / 2,
    }
    return {name: round(float(100 * value), 1) for name, value in found.items()}


def main() -> None:
    """Simulate what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/statistics"))
    asked = parser.parse_args()
    print("| design | speakers | coverage % | p < 0.05 % | half width, points |")
    print("|---|---|---|---|---|")
    for design in DESIGNS:
        for n_speakers in SPEAKERS:
            name = f"{design}-{n_speakers}-{asked.simulations}-{asked.seed}.csv"
            path = asked.out / name.replace(" ", "")
            if not path.exists():
                asked.out.mkdir(parents=True, exist_ok=True)
                write_csv(path, simulated(design, n_speakers, asked.simulations, asked.seed))
            found = summary(read_csv(path).replace("", "nan").astype(float))
            told = ["none" if np.isnan(value) else value for value in found.values()]
            print(f"| {' | '.join(map(str, [design, n_speakers, *told]))} |", flush=True)


if __name__ == "__main__":
    main()
