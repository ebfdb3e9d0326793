"""Which finished runs can be compared: those that answered the same question, whoever made them."""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from colab_utils.results import made_elsewhere
from colab_utils.results.folders import Found, Question, find_runs
from colab_utils.results.runs import Run
from colab_utils.results.tables import methods_table
from colab_utils.settings import setting

ANY = "whatever the shots, ways and noise"


def by_question(found: Iterable[Found]) -> dict[str, list[Found]]:
    """Finished runs that were asked the same: the same utterances, emotions, shots and noise.

    Args:
        found: finished runs of `folders.find_runs`.

    Returns:
        {question in words: runs}, those with most runs first. A number tells questions of other
        utterances, or other emotions, apart where their words are the same.
    """
    of_question: dict[Question, list[Found]] = {}
    for one in found:
        of_question.setdefault(one.question, []).append(one)

    def place(question: Question) -> tuple:
        return question.condition == ANY, -len(of_question[question]), question[1:]

    ordered = sorted(of_question, key=place)
    keys: dict[str, list[str]] = {}  # of the same words
    for question in ordered:
        same = keys.setdefault(question.tested, [])
        if question.key not in same:
            same.append(question.key)
    titled = {}
    for question in ordered:
        same = keys[question.tested]
        number = f" ({same.index(question.key) + 1})" if len(same) > 1 else ""
        condition = f", {question.condition}" if question.condition else ""
        titled[f"{question.tested}{number}{condition}"] = of_question[question]
    return titled


def comparable_runs(root: str | os.PathLike) -> dict[str, dict[str, Run]]:
    """Finished runs that answered the same question.

    Methods, settings, features, sources and seeds may differ: that is what is compared.

    Args:
        root: the workspace, which holds runs/.

    Returns:
        {question: {name: run}}: like with like (`by_question`); then, where the same utterances
        were tested with several numbers of shots or in several noises, all of these together, for
        who asks what shots or noise do. A run is named by its folder, with as many digits of its
        hash as tell it from others of the same name. What is left out is printed: how many hold no
        finished run (`folders.find_runs`), and runs of several methods in one.

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
    usable = [one for one in finished if _has_one_rule(one)]
    conditions: dict[str, set[str]] = {}
    for one in usable:
        conditions.setdefault(one.question.key, set()).add(one.question.condition)
    together = []
    for one in usable:
        if len(conditions[one.question.key]) > 1:
            question = one.question._replace(condition=ANY)
            together.append(dataclasses.replace(one, question=question))
    questions = by_question([*usable, *together])
    return {title: _named([one.run for one in same]) for title, same in questions.items()}


def _has_one_rule(found: Found) -> bool:
    """Whether a finished run is of one method and rule; says so where it is not."""
    kinds = found.metrics["method"], found.metrics["rule"]
    several = [name for names in kinds if len(names) > 1 for name in names]
    if several:
        print(
            f"left out: {found.folder.name} holds several methods or rules ({', '.join(several)})"
        )
    return not several


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


def first_question(
    questions: Mapping[str, Mapping[str, Run]], words: str = "", against: str = ""
) -> str:
    """The question to begin with: the first that has a run of these words, and the run `against`.

    Args:
        questions: of `comparable_runs`.
        words: see `chosen_runs`.
        against: name of a run; "": any.

    Raises:
        ValueError: there is none.
    """
    if not questions:
        raise ValueError("no finished run could be compared: run a method to its end first")
    for question, runs in questions.items():
        has_words = any(_holds(name, words) for name in runs)
        if has_words and (not against or against in runs):
            return question
    return next(iter(questions))  # `chosen_runs` says what is wrong


def choices(
    questions: Mapping[str, Mapping[str, Run]], words: str = "", most: int = 6, against: str = ""
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
    first = first_question(questions, words, against)
    told = "words that the names hold, such as head 5shot; with a - before it: do not hold"
    return {
        "question": setting(first, "what was tested", options=tuple(questions)),
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
