"""Run folders: same settings resume or load, others never overwrite, DONE is written last."""

import functools
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from colab_utils import files, session
from colab_utils.csv_files import read_csv, write_csv
from colab_utils.drive.memory import Memory
from colab_utils.drive.publishing import MARKER
from colab_utils.results.metrics import read_metrics, read_split, recompute, summarise
from colab_utils.results.predictions import read_predictions, write_predictions
from colab_utils.settings import as_dict

_MADE_ANEW = ("uar_ci95", "ci_unit", "ci_df", "notes", "ece", "aurc")
RESULTS = ("predictions.csv", "metrics.json")  # what DONE vouches for at least
UNFINISHED = "not finished: run its notebook again, it goes on where it stopped"


class RunError(ValueError):
    """A run folder that cannot be used; the message names the file and what to do."""


class Part:
    """One resumable unit of a run (a seed and a fold): its predictions, and tables beside them.

    Args:
        folder: of all parts.
        name: of this one.
    """

    def __init__(self, folder: pathlib.Path, name: str):
        stem = _slug(name)
        if stem != name:
            stem = f"{stem}-{files.short_hash(name, 6)}"
        self.name = name
        self._stem = folder / stem
        self._mark = self._file(".json")

    @property
    def finished(self) -> bool:
        """Whether it was saved; `load` looks closer."""
        return self._mark.exists()

    def load(self) -> pd.DataFrame | None:
        """The finished predictions, or None where the part is not finished.

        A torn part is said to be torn and counts as not finished.
        """
        if not self.finished:
            return None
        try:
            changed = _changed(self._mark.parent, files.read_json(self._mark)["sha256"])
            if changed:
                raise ValueError(f"{', '.join(changed)} changed since")
            return read_predictions(self._file(".csv"))
        except (ValueError, KeyError, TypeError, AttributeError, FileNotFoundError) as error:
            print(f"part {self.name} was torn ({error}) and is computed again")
            return None

    def save(self, predictions: pd.DataFrame, beside: Mapping[str, pd.DataFrame]) -> None:
        """Write the predictions and the tables beside them, then the mark that vouches for all."""
        written = [write_predictions(predictions, self._file(".csv"))]
        for name, table in beside.items():
            path = self._file(f".{name}.csv")
            written.append(write_csv(path, table))
        facts = {
            "sha256": {path.name: files.file_sha256(path) for path in written},
            "rows": len(predictions),
            "beside": list(beside),
        }
        files.write_json(self._mark, facts)

    def beside(self) -> list[str]:
        """The names of the tables that were saved beside the predictions."""
        return files.read_json(self._mark)["beside"]

    def read(self, name: str) -> pd.DataFrame:
        """One of the tables beside the predictions; its numbers come back bit for bit."""
        return read_csv(self._file(f".{name}.csv"), dtype={"method": str})

    def _file(self, ending: str) -> pathlib.Path:
        return self._stem.with_name(self._stem.name + ending)


class Run:
    """An open run folder, made by `open_run` or `load_run`.

    Attributes:
        path: its folder.
        config: the content of config.json.
        split: the split table; where none is given, read when it is asked for first.
    """

    def __init__(self, path: pathlib.Path, config: dict, split: pd.DataFrame | None = None):
        self.path = path
        self.config = config
        if split is not None:
            self.split = split
        self._results = list(RESULTS)

    @functools.cached_property
    def split(self) -> pd.DataFrame:
        """The table in split.csv. Raises RunError where it cannot be read."""
        path = self.path / "split.csv"
        try:
            return read_split(path)
        except (ValueError, OSError) as error:
            told = f"{path} cannot be read ({error}): delete the folder and run again"
            raise RunError(told) from error

    @property
    def done(self) -> bool:
        """Whether the run is complete and its results are as they were written.

        A damaged result is said and counts as not done.
        """
        problem = unvouched(self.path)
        if problem and problem != UNFINISHED:
            print(f"{self.path.name}: {problem}: made again from its parts")
        return not problem

    def part(self, name: str) -> Part:
        """The resumable unit called `name`."""
        return Part(self.path / "parts", name)

    @property
    def predictions(self) -> pd.DataFrame:
        """The table in predictions.csv. Raises RunError where the run has none yet."""
        return read_predictions(self._result("predictions.csv"))

    @property
    def metrics(self) -> dict:
        """The content of metrics.json. Raises RunError where the run has none yet.

        What a run of an earlier version lacks, or has too narrow, is made anew.
        """
        metrics = read_metrics(self._result("metrics.json"))
        if "ece" not in metrics:
            anew = recompute(self.path)
            metrics |= {name: anew[name] for name in _MADE_ANEW}
        return metrics

    def _result(self, name: str) -> pathlib.Path:
        """The file of a result. Raises RunError where it is missing."""
        path = self.path / name
        if not path.exists():
            raise RunError(f"{self.path} has no {path.stem} yet: run the method to the end first")
        return path

    def finish(self, predictions: pd.DataFrame, labels: Sequence[str], **about: Any) -> dict:
        """Write predictions.csv and metrics.json.

        Args:
            predictions: of all parts.
            labels: the emotions in a fixed order.
            **about: speaker_independence, notes, chance: see `summarise`.

        Returns:
            The metrics.
        """
        write_predictions(predictions, self.path / "predictions.csv")
        preset = str(self.config.get("preset", ""))
        metrics = summarise(predictions, labels, split=self.split, preset=preset, **about)
        files.write_json(self.path / "metrics.json", metrics)
        return metrics

    def keep(self, name: str, tables: Sequence[pd.DataFrame]) -> None:
        """Write the tables of all parts as one, `name`.csv: a result that DONE vouches for."""
        write_csv(self.path / f"{name}.csv", pd.concat(tables, ignore_index=True))
        self._results.append(f"{name}.csv")

    def mark_done(self) -> None:
        """Write DONE, with the SHA-256 of the results it vouches for (what `keep` wrote, too).

        Raises:
            RunError: a result is missing.
        """
        missing = [name for name in self._results if not (self.path / name).exists()]
        if missing:
            raise RunError(
                f"{self.path} is not complete: {' and '.join(missing)} missing; call finish()"
                " before mark_done()"
            )
        marks = {name: files.file_sha256(self.path / name) for name in self._results}
        files.write_json(self.path / "DONE", marks)


def _changed(folder: pathlib.Path, marks: Mapping[str, str]) -> list[str]:
    """The files that are missing, lie outside, or no longer have the SHA-256 of their marks."""
    changed = []
    for name, mark in marks.items():
        path = folder / name
        inside = path.parent == folder and path.is_file()
        if not inside or files.file_sha256(path) != mark:
            changed.append(name)
    return changed


def unvouched(folder: pathlib.Path) -> str:
    """Why nothing vouches for the results of a run folder, in words.

    Args:
        folder: of a run.

    Returns:
        "" where all files that DONE names are as they were written, predictions.csv and
        metrics.json among them; UNFINISHED where there is no DONE.
    """
    try:
        if not (folder / "DONE").exists():
            return UNFINISHED
        marks = files.read_json(folder / "DONE")
        if not isinstance(marks, dict) or not marks.keys() >= set(RESULTS):
            return f"DONE does not vouch for {' and '.join(RESULTS)}"
        changed = _changed(folder, marks)
    except (ValueError, OSError) as error:
        return f"DONE cannot be checked ({error})"
    if changed:
        return f"{', '.join(changed)} changed since the run was done, or missing"
    return ""


def _slug(name: str, also: str = "") -> str:
    """`name` as a file name: letters, digits, dot, plus, equals, dash, and what is in `also`."""
    return re.sub(rf"[^A-Za-z0-9.+={also}-]+", "-", name).strip("-.")[:100] or "unnamed"


def split_hash(split: pd.DataFrame) -> str:
    """12 hex digits that identify a split table, whatever the order of its rows and columns."""
    table = split[sorted(split.columns)].astype(str)
    return files.short_hash(sorted(table.to_numpy().tolist()))


def is_named_by(folder: pathlib.Path, config: Mapping[str, Any]) -> bool:
    """Whether a folder lies and is called as `open_run` does it for this content of config.json."""
    room = _slug(config["method"], also="_")
    return folder.parent.name == room and folder.name.endswith(f"-{files.short_hash(config)}")


def open_run(
    root: str | os.PathLike,
    method: str,
    name: str,
    config: Any,
    facts: Mapping[str, Any],
    splits: pd.DataFrame,
    memory: Memory | None = None,
) -> Run:
    """Open a run folder, made if it is not there yet, and say whether it is new, resumed or done.

    The folder is `root`/runs/`method`/`name`-<12 hex>: the hash of config.json. Versions and commit
    of this machine go to environment.json, which is not hashed.

    Args:
        root: the workspace.
        method: the room of the method.
        name: what the run is, for a reader.
        config: the settings dataclass of the method.
        facts: what else decides the result, as plain JSON values (version, preset, labels, merge,
            feature key, manifest hash).
        splits: the split table, whose hash is added.
        memory: the workspace on Drive, where the run is looked for, too.

    Returns:
        The run.

    Raises:
        RunError: config.json was changed by hand, or is torn.
    """
    content = {
        "method": method,
        "settings_class": type(config).__name__,
        "settings": as_dict(config),
        **facts,
        "split": split_hash(splits),
    }
    room = _slug(method, also="_")  # which may have an underscore in its name
    folder = pathlib.Path(root, "runs", room, f"{_slug(name)}-{files.short_hash(content)}")
    _begin(folder, content, splits, memory)
    if _read_config(folder) != content:
        raise RunError(
            f"{folder / 'config.json'} was changed by hand: delete the folder {folder} and run"
            " again"
        )
    run = Run(folder, content, splits)
    finished = len(list(folder.glob("parts/*.json")))
    if finished and not run.done:
        print(f"{folder.name}: resumed, {finished} finished part(s) are kept")
    return run


def say_loaded(runs: Iterable[Run]) -> None:
    """Print one line that says which were finished before, if any were."""
    done = [run.path.name for run in runs if run.done]
    if done:
        which = done[0] if len(done) == 1 else f"{len(done)} runs"
        print(f"{which}: done before, loaded; nothing is computed again")


def _begin(
    folder: pathlib.Path, content: dict, splits: pd.DataFrame, memory: Memory | None
) -> None:
    """Take the folder from Drive, or make it. Raises RunError where something is in its place."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise RunError(f"{folder} is no folder, where a run belongs: delete it and run again")
    with files.alone(folder, "making the same run"):
        if memory is not None:
            memory.bring(folder, MARKER, started=any(folder.glob("parts/*.json")))
        if not (folder / "split.csv").exists():
            write_csv(folder / "split.csv", splits)
        if not (folder / "config.json").exists():
            files.write_json(folder / "environment.json", session.environment())
            # The last: a folder with a config has the rest.
            files.write_json(folder / "config.json", content)


def _read_config(folder: pathlib.Path) -> dict:
    """The content of config.json. Raises RunError where it is missing or torn."""
    try:
        return files.read_json(folder / "config.json")
    except NotADirectoryError as error:
        raise RunError(f"{folder} is a file, no run folder: move it out of runs/") from error
    except FileNotFoundError as error:
        raise RunError(
            f"{folder} has no config.json: it is no run, or was stopped before it began; delete it,"
            " or run again"
        ) from error
    except (ValueError, OSError) as error:
        raise RunError(f"{folder} is no readable run folder: {error}") from error


def load_run(path: str | os.PathLike) -> Run:
    """Open an existing run folder, finished or not.

    Args:
        path: the folder.

    Returns:
        The run.

    Raises:
        RunError: config.json or split.csv cannot be read, or is foreign.

    Example:
        >>> load_run("out/runs/baselines/emodb-logmel-logistic-0123456789ab").metrics["uar"]
    """
    run = without_split(pathlib.Path(path))
    return Run(run.path, run.config, run.split)


def without_split(folder: pathlib.Path) -> Run:
    """`load_run`, but split.csv waits until it is asked for. Raises RunError for config.json."""
    config = _read_config(folder)
    if not isinstance(config, dict) or not isinstance(config.get("method"), str):
        raise RunError(
            f"{folder / 'config.json'} is no config of a run: it names no method; delete"
            " the folder, or move it out of runs/"
        )
    return Run(folder, config)


def metrics_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Finished runs side by side, as text for a page.

    Args:
        runs: by the name to show.

    Returns:
        One row a run: UAR, its 95 % interval, WA, macro-F1, chance and expected calibration error
        (ECE) in per cent, utterances, speakers, and what each number has to say of itself: its rule
        (inductive or transductive) and whether tested speakers are independent of the training.

    Raises:
        RunError: a run that is not finished.
    """
    rows = {}
    for name, run in runs.items():
        metrics = run.metrics
        limits = [f"{100 * limit:.1f}" for limit in metrics["uar_ci95"] or ()]
        ece = metrics["ece"]
        rows[name] = {
            "UAR %": f"{100 * metrics['uar']:.1f}",
            "WA %": f"{100 * metrics['wa']:.1f}",
            "macro-F1 %": f"{100 * metrics['macro_f1']:.1f}",
            "95 % interval of UAR": "–".join(limits) or "none",
            "chance %": f"{100 * metrics['chance']:.1f}",
            "ECE %": "" if ece is None else f"{100 * ece:.1f}",
            "utterances": metrics.get("n_utterances", metrics["n"]),
            "speakers": metrics["n_speakers"],
            "rule": ", ".join(metrics["rule"]),
            "speaker independence": metrics["speaker_independence"],
        }
    return pd.DataFrame.from_dict(rows, orient="index")
