"""Answers made elsewhere (a language model's, another toolkit's) as a run beside the others."""

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from colab_utils.drive.memory import Memory
from colab_utils.files import AnyPath, file_sha256, short_hash
from colab_utils.results.folders import condition_of
from colab_utils.results.predictions import probability_columns
from colab_utils.results.runs import Run, open_run, say_loaded
from colab_utils.utterance_tables import TableError, finite_numbers, read_utterance_table

METHOD = RULE = "made elsewhere"
_ASKED = ["seed", "fold", "draw", "task", "utt_id", "corpus", "speaker", "true"]
_MAP = "name what it means in MERGE, such as {'happy': 'happiness'}"


@dataclasses.dataclass(frozen=True)
class Answers:
    """What names such a run.

    Attributes:
        file: its name, without the folder.
        sha256: of the content.
        merge: what its emotions are renamed to.
    """

    file: str
    sha256: str
    merge: Mapping[str, str | None]


def add_answers(
    questions: Mapping[str, Mapping[str, Run]],
    path: AnyPath,
    root: AnyPath,
    *,
    like: str = "",
    merge: Mapping[str, str | None] | None = None,
    drive_folder: AnyPath | None = None,
) -> dict[str, dict[str, Run]]:
    """Answers to a question from a file, beside the runs that answered it; says to which.

    True emotions, speakers, folds and episodes are those of a run that is there. Every utterance of
    the question needs an answer, for differences are paired: none is left out in silence.

    Args:
        questions: of `groups.comparable_runs`.
        path: CSV, npz or Parquet with utt_id and `pred`, an emotion, or a probability p_<emotion>
            for each emotion, or both. Other columns are not read, nor other utterances.
        root: the workspace, where the run is kept.
        like: name of a run that answered the question; "": the largest question that the file
            answers.
        merge: emotions of the file renamed to those of the question; None: a probability that does
            not count (the others then sum to 1).
        drive_folder: MyDrive, where the run is sent to, or None.

    Returns:
        The questions, this one first, with the new run in each that holds the run it was asked as.

    Raises:
        TableError: a file without answers, an utterance without one, another emotion.

    Example:
        >>> questions = add_answers(groups.comparable_runs("out"), "answers.csv", "out")
    """
    path = pathlib.Path(path).expanduser()
    table = read_utterance_table(path).set_index("utt_id", drop=False)
    question, model = _question(questions, like, table, path)
    run = _run_of(table, path, model, dict(merge or {}), Memory(root, drive_folder))
    print(f"{path.name}: answers to {question}, as {model.path.name} was asked; kept as {run.path}")
    short = run.path.name.rpartition("-")[0]
    found = {question: {}}  # the first
    for title, runs in questions.items():
        found[title] = dict(runs)
        if any(one.path == model.path for one in runs.values()):
            others = {name: one for name, one in runs.items() if one.path != run.path}
            name = run.path.name if short in others else short
            found[title] = {name: run, **others}
    return found


def _question(
    questions: Mapping[str, Mapping[str, Run]], like: str, table: pd.DataFrame, path: pathlib.Path
) -> tuple[str, Run]:
    """The question that is answered, and a run that tells what was asked. Raises TableError."""
    most = -1
    for question, runs in questions.items():
        for name, run in runs.items():
            if like in (name, run.path.name):
                return question, run
        run = min(runs.values(), key=lambda run: run.config["method"] == METHOD)
        asked = set(run.predictions["utt_id"])
        answered = len(asked.intersection(table.index))
        # all of a smaller question before most of a larger one
        rank = answered + len(table) * (answered == len(asked))
        if rank > most:
            most, found = rank, (question, run)
    if like or most < 0:
        names = [name for runs in questions.values() for name in runs]
        raise TableError(
            f"{path}: no finished run is called {like!r}: choose from"
            f" {', '.join(names[:8]) or 'none, there are no runs'}"
        )
    return found


def _run_of(table: pd.DataFrame, path: pathlib.Path, like: Run, merge: dict, memory: Memory) -> Run:
    """The finished run. Raises TableError."""
    labels = like.metrics["labels"]
    asked = like.predictions
    missing = asked.loc[~asked["utt_id"].isin(table.index), "utt_id"].unique()
    if len(missing):
        raise TableError(
            f"{path} answers {asked['utt_id'].nunique() - len(missing)} of"
            f" {asked['utt_id'].nunique()} utterances that {like.path.name} tested, and lacks"
            f" {', '.join(missing[:3])}: answer all, for differences are paired (no answer is a"
            " wrong one: write any emotion)"
        )
    table = table.loc[asked["utt_id"].unique()]
    pred, scores, notes = _answers(table, labels, merge, path)
    sha256 = file_sha256(path)
    config = Answers(path.name, sha256, merge)
    task = like.config.get("task", "")
    facts = {"version": 1, "preset": "", "labels": labels, "task": task, "model": path.stem}
    facts["condition"] = condition_of(like.config)
    facts["asked"] = short_hash(asked[_ASKED].to_numpy().tolist())
    # who trained is not known here; an episode is left out with whoever supported it
    split = like.split[like.split["role"].isin(["support", "query", "test"])]
    run = open_run(memory.root, METHOD, f"{task}-{path.stem}", config, facts, split, memory)
    say_loaded([run])
    if run.done:
        return run
    of_each = table.index.get_indexer(asked["utt_id"])
    predictions = asked.drop(columns=probability_columns(asked))
    predictions = predictions.assign(method=path.stem, rule=RULE, pred=pred[of_each])
    if scores is not None:
        for column, label in enumerate(labels):
            predictions[f"p_{label}"] = scores[of_each, column]
    told = (
        f"answers of {path.name} (sha256 {sha256[:12]}) were made elsewhere: what they learnt from,"
        " and whether it held these speakers or utterances, is not known here"
    )
    chance = like.metrics["chance"] if like.metrics.get("chance_given") else None
    independence = {"speaker_independence": "unknown", "chance": chance}
    run.finish(predictions, labels, notes=[told, *notes], **independence)
    run.mark_done()
    memory.keep(run.path, finished=True)
    return run


def _answers(
    table: pd.DataFrame, labels: list[str], merge: Mapping[str, str | None], path: pathlib.Path
) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """The emotion and the probabilities (rows, labels) of each row, and what is to be said of them.

    Raises TableError.
    """
    scores, notes = None, []
    columns = probability_columns(table)
    if columns:
        scores = _probabilities(table, columns, labels, merge, path)
        unheard = np.array(labels)[scores.sum(axis=0) == 0]
        if len(unheard):
            notes.append(f"no probability above 0 for {', '.join(unheard)}")
    if "pred" not in table:
        if scores is None:
            raise TableError(
                f"{path} has {', '.join(map(str, table.columns[:5]))}: neither `pred` nor a column"
                " p_<emotion> is there"
            )
        return np.array(labels, dtype=object)[scores.argmax(axis=1)], scores, notes
    pred = table["pred"].map(lambda said: merge.get(said, said))
    foreign = ~pred.isin(labels)
    if foreign.any():
        row = foreign.idxmax()
        raise TableError(
            f"{path}: {row} has pred = {table.loc[row, 'pred']!r}, one of {foreign.sum()} answers"
            f" that are not among {', '.join(labels)}: {_MAP}"
        )
    return pred.to_numpy(dtype=object), scores, notes


def _probabilities(
    table: pd.DataFrame,
    columns: list[str],
    labels: list[str],
    merge: Mapping[str, str | None],
    path: pathlib.Path,
) -> np.ndarray:
    """Probabilities of the labels, float64 (rows, labels); rows sum to 1. Raises TableError."""
    values = finite_numbers(table, columns, path, np.float64)
    wrong = (values < 0).any(axis=1) | (np.abs(values.sum(axis=1) - 1) > 1e-3)
    if wrong.any():
        row = int(wrong.argmax())
        raise TableError(
            f"{path}: {table['utt_id'].iloc[row]} has {', '.join(columns)} ="
            f" {values[row].round(4).tolist()}: probabilities that sum to 1 are needed, such as a"
            " softmax of scores"
        )
    found = np.zeros((len(table), len(labels)))
    for column, name in enumerate(columns):
        emotion = name.removeprefix("p_")
        label = merge.get(emotion, emotion)
        if label in labels:
            found[:, labels.index(label)] += values[:, column]
        elif label is not None:
            raise TableError(
                f"{path}: {name} is of no emotion among {', '.join(labels)}: {_MAP}, or None where"
                " it is not asked for"
            )
    total = found.sum(axis=1, keepdims=True)
    if not total.all():
        row = int(total.argmin())
        raise TableError(
            f"{path}: {table['utt_id'].iloc[row]} has no probability above 0 for any of"
            f" {', '.join(labels)}: give it one"
        )
    return found / total
