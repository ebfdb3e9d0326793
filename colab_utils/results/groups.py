"""Which finished runs can be compared: those that answered the same question, whoever made them."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from colab_utils import files
from colab_utils.results import made_elsewhere
from colab_utils.results.folders import find_runs
from colab_utils.results.predictions import PredictionError, check_one_rule
from colab_utils.results.runs import Run
from colab_utils.results.tables import methods_table
from colab_utils.settings import setting

_TESTED = ["utt_id", "corpus", "speaker", "true"]  # what makes the question of a run


def comparable_runs(root: str | os.PathLike) -> dict[str, dict[str, Run]]:
    """Finished runs that tested the same utterances with the same emotions.

    Shots, settings, features and seeds may differ: that is what is compared.

    Args:
        root: the workspace, which holds runs/.

    Returns:
        {question: {name: run}}. A question is named by its corpora, emotions and number of
        utterances; those with most runs come first. A run is named by its folder, with as many
        digits of its hash as tell it from others of the same name. What is left out is printed:
        how many hold no finished run (`folders.find_runs`), and runs of several methods in one.

    Example:
        >>> questions = comparable_runs("out")
    """
    found = find_runs(root)
    finished = [one for one in found if not one.problem]
    if len(finished) < len(found):
        print(
            f"{len(found) - len(finished)} of {len(found)} folders below runs/ hold no finished run"
            " and are left out: runs_table says why"
        )
    runs_of: dict[str, list[Run]] = {}
    title_of: dict[str, str] = {}
    for one in finished:
        predictions, labels = one.run.predictions, one.run.metrics["labels"]
        try:
            check_one_rule(predictions, one.folder.name)
        except PredictionError as error:
            print(f"left out: {error}")
            continue
        tested = predictions[_TESTED].drop_duplicates().sort_values("utt_id")
        key = files.short_hash([labels, tested.to_numpy().tolist()])
        title_of[key] = (
            f"{_corpora(tested['corpus'])}, {len(labels)} emotions, {tested['utt_id'].nunique()}"
            " utterances"
        )
        runs_of.setdefault(key, []).append(one.run)
    questions = sorted(runs_of, key=lambda key: (-len(runs_of[key]), title_of[key]))
    titles = [title_of[key] for key in questions]
    by_title = {}
    for place, key in enumerate(questions):
        title = titles[place]
        # Other emotions, or other clips, of the same corpora.
        if titles.count(title) > 1:
            title = f"{title} ({titles[:place].count(title) + 1})"
        by_title[title] = _named(runs_of[key])
    return by_title


def _corpora(names: Iterable[str]) -> str:
    """Corpora in one word, as domains of one (synthetic-phone, ...) where there are several."""
    names = sorted(set(names))
    if len(names) > 2:
        names = sorted({name.split("-")[0] for name in names})
    return "+".join(names)


def _named(runs: list[Run]) -> dict[str, Run]:
    """Runs by folder name, without the hash where that is enough to tell them apart."""
    stems = [re.sub(r"-[0-9a-f]{12}$", "", run.path.name) for run in runs]
    found = {}
    for digits in (4, 12):
        for run, stem in zip(runs, stems, strict=True):
            mark = f" {run.path.name[-12:][:digits]}"
            found[stem if stems.count(stem) == 1 else stem + mark] = run
        if len(found) == len(runs):
            break
        found.clear()
    return dict(sorted(found.items()))


def chosen_runs(runs: Mapping[str, Run], words: str = "", most: int = 8) -> dict[str, Run]:
    """The best of the runs whose names hold some words.

    Args:
        runs: by name.
        words: each begins a part of the name (5shot is in EMOFSL-5shot and not in EMOFSL-15shot);
            a word with a "-" before it begins none.
        most: how many at most; what was made elsewhere comes before the best.

    Returns:
        Runs by name, the highest UAR first.

    Raises:
        ValueError: none is left; lists names that there are.
    """
    kept = {name: run for name, run in runs.items() if _holds(name, words)}
    if not kept:
        more = " ..." if len(runs) > 8 else ""
        raise ValueError(
            f"no run's name holds {words!r}: there are {', '.join(list(runs)[:8])}{more}"
        )
    best = sorted(kept, key=lambda name: -kept[name].metrics["uar"])
    # who brings answers wants to see them, however good they are
    first = sorted(best, key=lambda name: kept[name].config["method"] != made_elsewhere.METHOD)
    return {name: kept[name] for name in best if name in first[:most]}


def _holds(name: str, words: str) -> bool:
    """Whether each word begins a part of `name`, or none where a "-" stands before it."""
    for word in words.split():
        wanted = not word.startswith("-")
        begins = rf"(^|[-+ ]){re.escape(word.removeprefix('-'))}"
        if bool(re.search(begins, name)) != wanted:
            return False
    return True


def choices(
    questions: Iterable[str], words: str = "", most: int = 6, against: str = ""
) -> dict[str, Any]:
    """What a panel lets choose: the question, the runs, and against which one of them.

    Args:
        questions: of `comparable_runs`.
        words: see `chosen_runs`.
        most: see `chosen_runs`.
        against: name of the run that differences are to; "": the best.

    Returns:
        {name: field} for `panel.Panel`.
    """
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
        words: see `chosen_runs`.
        most: see `chosen_runs`.
        against: name of the run that differences are to; "": the best.

    Returns:
        The runs, the best first, and the table.

    Raises:
        ValueError: no run is left.
        PredictionError: `against` is not among them.
    """
    runs = chosen_runs(questions[question], words, most)
    # What all names begin with, up to a dash, need not be said again in a figure.
    shared = os.path.commonprefix(list(runs)) if len(runs) > 1 else ""
    shared = shared[: shared.rfind("-") + 1]
    runs = {name.removeprefix(shared): run for name, run in runs.items()}
    return runs, methods_table(runs, against.removeprefix(shared) or next(iter(runs)))
