"""Notebook 02: which utterances a study has, and the panel of its test episodes."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import display

from colab_utils import corpora, session
from colab_utils.corpora.scan import cache_file
from colab_utils.features import open_store
from colab_utils.features.store.features import Features
from colab_utils.learning.recipe import RECOMMENDED
from colab_utils.methods.maml.figures.runs import matrix_figure
from colab_utils.methods.maml.published import features_of, other_features
from colab_utils.methods.maml.settings import EpisodeConfig, MamlConfig
from colab_utils.methods.maml.study import MamlStudy
from colab_utils.panel.download import Download
from colab_utils.panel.panel import Panel
from colab_utils.protocols.build import build_task
from colab_utils.protocols.domains import with_tasks
from colab_utils.protocols.folds import check_disjoint, split_once
from colab_utils.protocols.published import Protocol, ProtocolError, Task, load_protocol
from colab_utils.results.runs import Run
from colab_utils.settings import as_list

_VALID_SHARE = 0.2  # of the training speakers of one's own tables
BESIDE = ("nearest prototype", "logistic regression")  # what the panel shows, too


def open_study(
    protocol: str,
    task: str = "",
    audio: str = "",
    features: str = "",
    root: str | os.PathLike = "out",
    drive_folder: str | os.PathLike | None = None,
    *,
    preset: str = "default",
    seed: int = 0,
    fetch: bool = False,
    train_csv: str = "",
    test_csv: str = "",
    csv_columns: Mapping[str, str] | None = None,
    train: str | Sequence[str] = (),
    test: str | Sequence[str] = (),
    own: corpora.Own | None = None,
) -> MamlStudy:
    """The study of a published arrangement, of any corpora, or of two tables of one's own.

    Args:
        protocol: its name.
        task: one of its arrangements; empty: the first.
        audio: a folder with one sub-folder for each corpus, or, of two tables, that of their files.
        features: the front end; empty: that of the preset.
        root: the workspace.
        drive_folder: MyDrive, or None.
        preset: of `MamlConfig`, for the features.
        seed: chooses who validates.
        fetch: whether corpora may be downloaded.
        train_csv: a table of training utterances; with `test_csv` in place of protocol and task.
        test_csv: a table of the utterances of which test episodes are made.
        csv_columns: which columns of both hold what: wav, emotion and, where it is known, speaker.
        train: corpora to learn from; with `test` in place of `task`. The emotions are those that
            all of them have.
        test: corpora of which test episodes are made.
        own: the user's own corpora by name.

    Returns:
        A study to train, test and compare with.

    Raises:
        ProtocolError, ManifestError: a task, corpus, table, column or file that there is not.
        FoldError, LeakError: nobody is left to train, or a speaker stands in training and test.

    Example:
        study = open_study("open_languages", "de+en-it", audio="corpora", preset="paper")
    """
    if train_csv or test_csv:
        tables = _checked(train_csv, test_csv, csv_columns or {})
        arrangement = _of_tables(*tables, csv_columns, audio, root, seed)
    else:
        published = load_protocol(protocol)
        sides = as_list(train), as_list(test)
        used = _used(published, task, *sides)
        manifest = corpora.open_corpora(used, audio, root, drive_folder, fetch=fetch, own=own)
        arrangement = _of_names(published, task, sides, manifest, seed)
    store = _features(arrangement["rows"], preset, features, root, drive_folder)
    where = {"store": store, "root": root, "drive_folder": drive_folder}
    return MamlStudy(**where, device=session.device(), **arrangement)


def _features(
    rows: pd.DataFrame, preset: str, features: str, root: Any, drive_folder: Any
) -> Features:
    """The features that were named, or those of the preset; says where these are not the same."""
    name, settings = features_of(preset, features)
    store = open_store(rows, name, root, drive_folder=drive_folder, **settings)
    for note in other_features(preset, store.spec):
        print(note)
    return store


def _of_names(
    published: Protocol,
    task: str,
    sides: tuple[list[str], list[str]],
    manifest: pd.DataFrame,
    seed: int,
) -> dict[str, Any]:
    """What `MamlStudy` has to know of a published task, or of the corpora of both sides."""
    if any(sides):
        published, task = _of_corpora(published, *sides, manifest)
    return _of_protocol(published, task, manifest, seed)


def _used(published: Protocol, task: str, train: list[str], test: list[str]) -> list[str]:
    """The corpora that are needed. Raises ProtocolError for what does not fit together."""
    if not train and not test:
        return _task_of(published, task).corpora
    if not (train and test):
        raise ProtocolError("TRAIN and TEST go together: name the corpora of both sides")
    if task:
        raise ProtocolError(f"TASK = {task!r} has corpora of its own: leave it, or TRAIN and TEST")
    both = sorted(set(train) & set(test))
    if both:
        raise ProtocolError(f"{', '.join(both)} in TRAIN and in TEST: choose different corpora")
    return [*train, *test]


def _task_of(published: Protocol, name: str) -> Task:
    """A task by its name; "" for the first. Raises ProtocolError."""
    name = name or next(iter(published.tasks))
    if name not in published.tasks:
        raise ProtocolError(
            f"{published.name} has no task {name!r}; it has {', '.join(published.tasks)}"
        )
    return published.tasks[name]


def _of_corpora(
    published: Protocol, train: list[str], test: list[str], manifest: pd.DataFrame
) -> tuple[Protocol, str]:
    """A task of these corpora in the manner of a protocol, and its name.

    Its emotions are those that all corpora have. Raises ProtocolError for fewer than two.
    """
    name = f"{'+'.join(train)}-{'+'.join(test)}"
    first = _task_of(published, "")
    task = published.similar_task(name, train, test, valid=first.valid)
    there = {}
    for corpus, rows in manifest.groupby("corpus"):
        merged = rows["emotion"].map(lambda emotion: task.merge.get(emotion, emotion))
        there[corpus] = set(merged.dropna()) - {"", "other"}
    common = sorted(set.intersection(*there.values()))
    if len(common) < 2:
        told = "; ".join(f"{corpus}: {', '.join(sorted(there[corpus]))}" for corpus in there)
        raise ProtocolError(f"{name}: fewer than two emotions that all corpora have ({told})")
    task = dataclasses.replace(task, emotions=tuple(common))
    return with_tasks(dataclasses.replace(published, expected={}), [task]), name


def _of_protocol(
    published: Protocol, name: str, manifest: pd.DataFrame, seed: int
) -> dict[str, Any]:
    """What `MamlStudy` has to know of a published arrangement."""
    chosen = _task_of(published, name)
    rows, split = build_task(published, chosen.name, manifest, seed)
    print(f"{published.name}, task {chosen.name}: {', '.join(chosen.emotions)}")
    return {
        "name": chosen.name,
        "rows": rows,
        "split": split,
        "labels": chosen.emotions,
        "apart": (published.group,),
        "film_overlap": chosen.allow_group_overlap,
        "protocol": published.name,
        "merge": chosen.merge,
    }


def _of_tables(
    train: pathlib.Path,
    test: pathlib.Path,
    columns: Mapping[str, str],
    audio: str,
    root: str | os.PathLike,
    seed: int,
) -> dict[str, Any]:
    """What `MamlStudy` has to know of a training and a test table."""
    cache = cache_file(root, "own", f"{train} {test}")
    folder = os.path.expanduser(audio) or None
    scan, sides = corpora.from_split_csvs(train, test, root=folder, cache=cache, **columns)
    print(scan)
    rows = scan.manifest
    speakers_known = (rows["speaker"] != "").all()
    return {
        "name": f"{train.stem}-{test.stem}",
        "rows": rows,
        "split": _with_validation(rows, sides, seed),
        "labels": sorted(set(rows["emotion"])),
        "apart": ("speaker",) if speakers_known else (),
        "protocol": "own tables",
    }


def _checked(
    train_csv: str, test_csv: str, columns: Mapping[str, str]
) -> tuple[pathlib.Path, pathlib.Path]:
    """The absolute paths of both tables. Raises ManifestError for what is missing."""
    paths = []
    for name, path in (("TRAIN_CSV", train_csv), ("TEST_CSV", test_csv)):
        if not path:
            raise corpora.ManifestError(
                f"{name} is missing: give a training table and a test table, or neither for a "
                "published protocol"
            )
        absolute = pathlib.Path(path).expanduser().absolute()
        if not absolute.is_file():
            raise corpora.ManifestError(f"{name} = {path}: no such file")
        paths.append(absolute)
    missing = [name for name in ("wav", "emotion") if name not in columns]
    if missing:
        raise corpora.ManifestError(
            f"CSV_COLUMNS lacks {' and '.join(missing)}: say which columns of both tables hold "
            'what, such as {"wav": "file", "emotion": "label", "speaker": "who"}'
        )
    return paths[0], paths[1]


def _with_validation(rows: pd.DataFrame, sides: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The split of two tables: a fifth of the training speakers, two at least, validate.

    Two, because support and query of a validation episode have different speakers. Raises
    LeakError before any feature is computed.
    """
    tested = (sides["role"] == "test").to_numpy()
    n_speakers = rows["speaker"][~tested].nunique()
    n_valid = max(2, round(_VALID_SHARE * n_speakers))
    split = split_once(rows, tested, "test", (seed, 0), seed, n_valid)
    check_disjoint(split)
    return split


def panel(study: MamlStudy, config: MamlConfig, episodes: EpisodeConfig) -> Panel:
    """Sliders of a test episode: Run tests what we recommend, the trained network, the simplest.

    Args:
        study: whose target is tested.
        config: of the training, which is loaded.
        episodes: where the sliders start.

    Returns:
        A panel that a notebook shows; *Download* makes a zip of its runs.

    Example:
        panel(study, config, study.episodes(config))
    """
    name = config.title

    def run_and_draw(chosen: EpisodeConfig) -> dict[str, Run]:
        runs = study.compare(config, chosen, {}, [RECOMMENDED])  # the quickest answers first
        display(matrix_figure(runs[RECOMMENDED]))
        runs |= study.compare(config, chosen, models={name: config}, baselines=BESIDE)
        display(study.table(runs))
        display(matrix_figure(runs[name], more=f", {chosen.steps} steps"))
        return runs

    def save(runs: dict[str, Run], figures: dict) -> None:
        Download(f"02_{study.name}", runs, figures=figures).save()

    return Panel(episodes, run=run_and_draw, download=save, title="A test episode")
