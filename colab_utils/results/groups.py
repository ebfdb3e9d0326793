"""Which finished runs can be compared: those that answered the same question, whoever made them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from colab_utils import files
from colab_utils.progress import bar as progress_bar
from colab_utils.results.runs import Run, load_run, runs_table
from colab_utils.results.tables import methods_table
from colab_utils.settings import setting

_HASH = re.compile(r"-[0-9a-f]{12}$")


def comparable_runs(root: str | os.PathLike, progress: bool = True) -> dict[str, dict[str, Run]]:
    """Finished runs below `root`/runs that tested the same utterances with the same emotions:
    {question: {name: run}}.

    A question is named by its corpora, emotions and number of utterances; those with most runs come
    first. A run is named by its folder, with as many digits of its hash as tell it from others of
    the same name. Shots, settings, features and seeds may differ: that is what is compared. Folders
    that cannot be read are printed and left out, as `runs_table` does.
    """
    table = runs_table(root)
    found: dict[str, list[tuple[Run, str]]] = {}
    for folder in progress_bar(
        table.loc[table["done"], "folder"], desc="runs", disable=not progress, leave=False
    ):
        run = load_run(folder)
        tested = (
            pd.read_csv(
                run.path / "predictions.csv",
                usecols=["utt_id", "corpus", "speaker", "true"],
                dtype=str,
                keep_default_na=False,
            )
            .drop_duplicates()
            .sort_values("utt_id")
        )
        labels = run.metrics["labels"]
        key = files.short_hash([labels, tested.to_numpy().tolist()])
        title = (
            f"{_corpora(tested['corpus'])}, {len(labels)} emotions, {tested['utt_id'].nunique()}"
            " utterances"
        )
        found.setdefault(key, []).append((run, title))
    questions = sorted(found.values(), key=lambda runs: (-len(runs), runs[0][1]))
    titles = _apart([runs[0][1] for runs in questions])
    return {
        title: _named([run for run, _ in runs])
        for title, runs in zip(titles, questions, strict=True)
    }


def _corpora(names: Iterable[str]) -> str:
    """Corpora in one word; domains of one corpus (synthetic-phone, ...) go by its name where there
    are several.
    """
    names = sorted(set(names))
    return "+".join(names if len(names) < 3 else sorted({name.split("-")[0] for name in names}))


def _apart(titles: list[str]) -> list[str]:
    """Titles, with a number behind those that occur twice (other emotions, or other clips)."""
    return [
        title if titles.count(title) == 1 else f"{title} ({titles[:place].count(title) + 1})"
        for place, title in enumerate(titles)
    ]


def _named(runs: list[Run]) -> dict[str, Run]:
    """Runs by folder name, without the hash where that is enough to tell them apart."""
    stems = [_HASH.sub("", run.path.name) for run in runs]
    for digits in (0, 4, 12):
        names = [
            stem if stems.count(stem) == 1 else f"{stem} {run.path.name[-12:][:digits]}".strip()
            for run, stem in zip(runs, stems, strict=True)
        ]
        if len(set(names)) == len(names):
            break
    return dict(sorted(zip(names, runs, strict=True)))


def common_words(names: list[str]) -> str:
    """What all names begin with, up to a dash: it need not be said again in a figure. "" for fewer
    than two names.
    """
    if len(names) < 2:
        return ""
    shared = os.path.commonprefix(names)
    return shared[: shared.rfind("-") + 1]


def chosen_runs(runs: Mapping[str, Run], words: str = "", most: int = 8) -> dict[str, Run]:
    """Up to `most` of the runs, the highest UAR first, in whose names every one of the `words`
    begins a part (5shot is in EMOFSL-5shot and not in EMOFSL-15shot); a word with a "-" before it
    begins none. Raises ValueError, which lists names there are, where none is left.
    """

    def holds(name: str, word: str) -> bool:
        return (
            re.search(rf"(^|[-+ ]){re.escape(word.removeprefix('-'))}", name) is not None
        ) != word.startswith("-")

    kept = {
        name: run for name, run in runs.items() if all(holds(name, word) for word in words.split())
    }
    if not kept:
        raise ValueError(
            f"no run's name holds {words!r}: there are"
            f" {', '.join(list(runs)[:8])}{' ...' if len(runs) > 8 else ''}"
        )
    return dict(sorted(kept.items(), key=lambda one: -one[1].metrics["uar"])[:most])


def choices(
    questions: Iterable[str], words: str = "", most: int = 6, against: str = ""
) -> dict[str, Any]:
    """What a panel lets choose: the question, the runs, and against which one of them."""
    titles = tuple(questions)
    told = "words that the names hold, such as head 5shot; with a - before it: do not hold"
    return {
        "question": setting(titles[0], "what was tested", options=titles),
        "words": setting(words, told),
        "most": setting(most, "runs at most, the best first", low=2, high=20, step=1),
        "against": setting(against, "name of the run that differences are to; empty: the best"),
    }


def compared(
    questions: Mapping[str, Mapping[str, Run]],
    question: str,
    words: str = "",
    most: int = 6,
    against: str = "",
) -> tuple[dict[str, Run], pd.DataFrame]:
    """Runs of one question, by the part of their names that differs, and their `methods_table`.

    Args:
        questions: of `comparable_runs`.
        question: which one.
        words, most: see `chosen_runs`.
        against: name of the run that differences are to; "": the best.

    Raises:
        ValueError: where no run is left.
        PredictionError: where `against` is not among them.
    """
    runs = chosen_runs(questions[question], words, most)
    same = common_words(list(runs))
    runs = {name.removeprefix(same): run for name, run in runs.items()}
    return runs, methods_table(runs, against.removeprefix(same) or next(iter(runs)))
