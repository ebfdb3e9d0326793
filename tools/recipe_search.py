"""How the recipe (`colab_utils/learning/recipe.py`) was chosen: on BanglaSER as target, no other.

    python tools/recipe_search.py --audio <folder with emodb/ emovo/ ravdess/ savee/ banglaser/> \
        --out out/recipe

BanglaSER is a table labels.csv (file, emotion, speaker) beside its audio. EmoDB, EMOVO, RAVDESS
and SAVEE train, together and each alone; of BanglaSER half of the speakers
give k clips a class, the other half are tested. In three states of the target: as recorded; skewed
(each speaker has two emotions and eight clips at most); talk (2 to 30 clips a speaker, shares of
emotions by a Dirichlet distribution of 0.5). Writes docs/methods/recipe_search.csv, mean UAR of all
repetitions, and prints it.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import pathlib
import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from page import markdown  # noqa: E402

from colab_utils import corpora, features  # noqa: E402
from colab_utils.corpora.emotions import select_emotions  # noqa: E402
from colab_utils.corpora.manifest import speaker_keys  # noqa: E402
from colab_utils.csv_files import write_csv  # noqa: E402
from colab_utils.features.store.features import Features  # noqa: E402
from colab_utils.features.store.views import Normalised  # noqa: E402
from colab_utils.learning import heads, recipe  # noqa: E402
from colab_utils.learning.clips import Clips  # noqa: E402
from colab_utils.protocols.draws import enrolment_clips  # noqa: E402
from colab_utils.results.rates import confusion, uar  # noqa: E402

SOURCES, TARGET = ("emodb", "emovo", "ravdess", "savee"), "banglaser"
COLUMNS = {"wav": "file", "emotion": "emotion", "speaker": "speaker"}  # of banglaser/labels.csv
LABELS = ("anger", "happiness", "neutral", "sadness")
STATES = ("recorded", "skewed", "talk")
SHOTS = (0, 1, 5, 15)


@dataclasses.dataclass(frozen=True)
class Trial:
    """One setting of the recipe."""

    part: str
    front_end: str = recipe.FEATURES
    unit: str = "speaker"
    prior_clips: float = recipe.PRIOR_CLIPS
    enrolment: int = 0
    source: float = recipe.SOURCE_STRENGTH
    prior: float = recipe.PRIOR_STRENGTH
    support: float = recipe.SUPPORT_PRECISION
    alone_votes: bool = True


def trials() -> Iterator[Trial]:
    """All that is compared; every part changes one thing of the recipe."""
    for unit in ("none", "corpus"):
        yield Trial("normalisation", unit=unit)
    for prior_clips in (0.0, 5.0, 10.0, 20.0, 40.0):
        yield Trial("normalisation", prior_clips=prior_clips)
    for unit, numbers in (("speaker", (5, 10, 20)), ("corpus", (20, 50))):
        for number in numbers:
            yield Trial("enrolment", unit=unit, enrolment=number)
    for front_end in ("acoustic", "moonshine", recipe.FEATURES):
        yield Trial("features", front_end)
    for strength in (0.01, 0.03, 0.1, 0.3):
        yield Trial("strength of the source alone", source=strength)
    for prior in (0.0003, 0.001, 0.003, 0.01):
        yield Trial("strength of the prior", prior=prior)
    for support in (0.02, 0.04, 0.08, 0.16, 0.32):
        yield Trial("precision of the prior", support=support)
    yield Trial("the source alone votes", alone_votes=False)


def in_state(rows: pd.DataFrame, state: str, rng: np.random.Generator) -> pd.DataFrame:
    """The target's utterances as they are recorded, or fewer of each speaker."""
    if state == "recorded":
        return rows
    kept = []
    for _, own in rows.groupby("speaker"):
        there = sorted(set(own["emotion"]))
        if state == "skewed":
            chosen = own[own["emotion"].isin(rng.choice(there, min(2, len(there)), replace=False))]
            number = 8
            weights = np.ones(len(chosen))
        else:
            chosen = own
            number = rng.integers(2, 31)
            share = dict(zip(there, rng.dirichlet([0.5] * len(there)), strict=True))
            weights = chosen["emotion"].map(share).to_numpy() + 1e-6
        number = min(number, len(chosen))
        seed = int(rng.integers(2**31))
        kept.append(chosen.sample(number, weights=weights, random_state=seed))
    return pd.concat(kept)


def vectors(store: Features, rows: pd.DataFrame, trial: Trial) -> Clips:
    """Normalised clips of some utterances."""
    heard = None
    if trial.enrolment:
        heard = enrolment_clips(rows, trial.unit, trial.enrolment)
    if trial.unit != "none":
        store = Normalised(store, rows, trial.unit, trial.prior_clips, heard)
    return Clips(store, rows, LABELS)


class Source:
    """The source side of a trial: scale and heads, which no draw of the target changes."""

    def __init__(self, store: Features, rows: pd.DataFrame, trial: Trial):
        known = vectors(store, rows, trial)
        self.scale = known.fit_scale()
        x, y = known.scaled(self.scale).values.double().numpy(), known.y.numpy()
        self.alone = heads.linear_head(x, y, len(LABELS), trial.source)
        self.prior = heads.linear_head(x, y, len(LABELS), trial.prior)


def repetition(
    store: Features, source: Source, target: pd.DataFrame, trial: Trial, seed: int
) -> dict[int, float]:
    """UAR by number of shots, for one draw of speakers and support."""
    rng = np.random.default_rng(seed)
    asked = vectors(store, target, trial)
    target_x = asked.scaled(source.scale).values.double().numpy()
    target_y = asked.y.numpy()
    speakers = speaker_keys(asked.rows).to_numpy()
    names = rng.permutation(np.unique(speakers))
    gives = np.isin(speakers, names[: len(names) // 2])
    tested = ~gives
    if trial.enrolment:
        enrolled = enrolment_clips(asked.rows, trial.unit, trial.enrolment)
        tested &= ~asked.rows["utt_id"].isin(enrolled).to_numpy()
    of_source = source.alone.logits(target_x[tested])
    found = {}
    for k in SHOTS:
        logits = of_source
        if k:
            chosen = []
            for label in range(len(LABELS)):
                of_label = np.flatnonzero(gives & (target_y == label))
                chosen += rng.permutation(of_label)[:k].tolist()
            own = target_x[chosen], target_y[chosen]
            strength = trial.support / len(chosen)
            head = heads.linear_head(*own, len(LABELS), strength, source.prior)
            share = 1 / (1 + np.sqrt(k)) if trial.alone_votes else 0.0
            of_support = head.logits(target_x[tested]) / (1 + 1 / k)
            logits = share * of_source / recipe.SOURCE_TEMPERATURE + (1 - share) * of_support
        decided = logits.argmax(axis=1)
        counts = confusion(target_y[tested], decided, range(len(LABELS)))
        found[k] = float(uar(counts))
    return found


def main() -> None:
    """Run all trials and write their table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/recipe"))
    parser.add_argument("--repetitions", type=int, default=10)
    table_file = pathlib.Path("docs/methods/recipe_search.csv")
    parser.add_argument("--table", type=pathlib.Path, default=table_file)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    own = {TARGET: {"audio": str(pathlib.Path(arguments.audio, TARGET, "labels.csv")), **COLUMNS}}
    manifest = corpora.open_corpora([*SOURCES, TARGET], arguments.audio, arguments.out, own=own)
    merge = {"calm": None}
    rows, _ = select_emotions(manifest, LABELS, merge)
    stores = {}
    for name in ("acoustic", "moonshine", recipe.FEATURES):
        stores[name] = features.open_store(manifest, name, arguments.out)
    table = []
    for trial in trials():
        for sources in (SOURCES, *[(name,) for name in SOURCES]):
            store = stores[trial.front_end]
            source = Source(store, rows[rows["corpus"].isin(sources)], trial)
            for state, seed in itertools.product(STATES, range(arguments.repetitions)):
                rng = np.random.default_rng((seed, STATES.index(state)))
                target = in_state(rows[rows["corpus"] == TARGET], state, rng)
                rates = repetition(store, source, target, trial, seed)
                what = {**dataclasses.asdict(trial), "state": state, "seed": seed}
                what["sources"] = "all four" if len(sources) > 1 else "each alone"
                table += [{**what, "k": k, "uar": rate} for k, rate in rates.items()]
        print(trial, flush=True)
    frame = pd.DataFrame(table)
    settings = [field.name for field in dataclasses.fields(Trial)]
    mean = frame.groupby([*settings, "sources", "state", "k"], sort=False)["uar"].mean()
    wide = (100 * mean).round(1).unstack(["state", "k"])
    wide.columns = [f"{state}, k = {k}" for state, k in wide.columns]
    write_csv(arguments.table, wide.reset_index())
    print(markdown(wide.reset_index()))


if __name__ == "__main__":
    main()
