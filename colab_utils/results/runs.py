"""Run folders: the same settings resume or load, other settings never overwrite.

A folder's name ends with the hash of its config.json; work inside is done in parts that survive a
kill; DONE is written last.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from colab_utils import files
from colab_utils.results.metrics import summarise
from colab_utils.results.predictions import PredictionError, read_predictions, write_predictions
from colab_utils.settings import as_dict


class RunError(ValueError):
    """A run folder that cannot be used; the message names the file and what to do."""


class Part:
    """One resumable unit of a run (a seed and a fold): its predictions, and tables beside them."""

    def __init__(self, parts: pathlib.Path, name: str):
        whole = _slug(name)
        self.name, self._parts = name, parts
        self._stem = whole if whole == name else f"{whole}-{files.short_hash(name, 6)}"
        self._mark = parts / f"{self._stem}.json"

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
            for name, mark in files.read_json(self._mark)["sha256"].items():
                if files.file_sha256(self._parts / name) != mark:
                    raise ValueError(f"{name} does not match its mark")
            return read_predictions(self._file())
        except (ValueError, KeyError, TypeError, AttributeError, FileNotFoundError) as error:
            print(f"part {self.name} was torn ({error}) and is computed again")
            return None

    def save(
        self, predictions: pd.DataFrame, beside: Mapping[str, pd.DataFrame] | None = None
    ) -> None:
        """Write the predictions and the tables beside them, then the mark that vouches for all."""
        written = [write_predictions(predictions, self._file())]
        for name, table in (beside or {}).items():
            written.append(files.write_csv(self._file(name), table))
        marks = {path.name: files.file_sha256(path) for path in written}
        files.write_json(
            self._mark, {"sha256": marks, "rows": len(predictions), "beside": list(beside or {})}
        )

    def beside(self) -> list[str]:
        """The names of the tables that were saved beside the predictions."""
        return files.read_json(self._mark)["beside"]

    def read(self, name: str) -> pd.DataFrame:
        """One of the tables beside the predictions."""
        return _read_table(self._file(name))

    def _file(self, name: str = "") -> pathlib.Path:
        return self._parts / f"{self._stem}{'.' if name else ''}{name}.csv"


def _read_table(path: pathlib.Path) -> pd.DataFrame:
    """A CSV whose numbers come back bit for bit."""
    return pd.read_csv(
        path, keep_default_na=False, float_precision="round_trip", dtype={"method": str}
    )


class Run:
    """An open run folder: `path` (its folder), `config` (the content of config.json), `split`
    (DataFrame); made by open_run or load_run.
    """

    def __init__(self, path: pathlib.Path, config: dict, split: pd.DataFrame):
        self.path, self.config, self.split = path, config, split
        self._kept: list[str] = []

    @property
    def done(self) -> bool:
        """Whether the run is complete and its results are as they were written; a damaged result is
        said and counts as not done.
        """
        if not (self.path / "DONE").exists():
            return False
        try:
            marks = files.read_json(self.path / "DONE")
            damaged = [
                name for name, mark in marks.items() if files.file_sha256(self.path / name) != mark
            ]
        except (ValueError, OSError, AttributeError) as error:
            damaged = [str(error)]
        if damaged:
            print(
                f"{self.path.name}: {', '.join(damaged)} changed since the run was done: made again"
                " from its parts"
            )
        return not damaged

    def part(self, name: str) -> Part:
        """The resumable unit called `name`."""
        return Part(self.path / "parts", name)

    @property
    def predictions(self) -> pd.DataFrame:
        """The table in predictions.csv. Raises RunError where the run has none yet."""
        if not (self.path / "predictions.csv").exists():
            raise RunError(f"{self.path} has no predictions yet: run the method to the end first")
        return read_predictions(self.path / "predictions.csv")

    @property
    def metrics(self) -> dict:
        """The content of metrics.json. Raises RunError where the run has none yet."""
        if not (self.path / "metrics.json").exists():
            raise RunError(f"{self.path} has no metrics yet: run the method to the end first")
        return files.read_json(self.path / "metrics.json")

    def finish(
        self,
        predictions: pd.DataFrame,
        labels: Sequence[str],
        *,
        n_boot: int = 2000,
        ci_seed: int = 0,
        speaker_independence: str = "not checked",
        notes: Sequence[str] = (),
        chance: float | None = None,
    ) -> dict:
        """Write predictions.csv and metrics.json; returns the metrics (see `summarise`, which the
        arguments go to).
        """
        write_predictions(predictions, self.path / "predictions.csv")
        metrics = summarise(
            predictions,
            labels,
            n_boot,
            ci_seed,
            preset=str(self.config.get("preset", "")),
            speaker_independence=speaker_independence,
            notes=notes,
            chance=chance,
        )
        files.write_json(self.path / "metrics.json", metrics)
        return metrics

    def keep(self, name: str, tables: Sequence[pd.DataFrame]) -> None:
        """Write the tables of all parts as one, `name`.csv: a result that DONE vouches for."""
        files.write_csv(self.path / f"{name}.csv", pd.concat(tables, ignore_index=True))
        self._kept.append(f"{name}.csv")

    def mark_done(self) -> None:
        """Write DONE, with the SHA-256 of the results it vouches for (what `keep` wrote, too).

        Raises RunError where a result is missing.
        """
        names = ["predictions.csv", "metrics.json", *self._kept]
        missing = [name for name in names if not (self.path / name).exists()]
        if missing:
            raise RunError(
                f"{self.path} is not complete: {' and '.join(missing)} missing; call finish()"
                " before mark_done()"
            )
        files.write_json(
            self.path / "DONE", {name: files.file_sha256(self.path / name) for name in names}
        )


def _slug(name: str, also: str = "") -> str:
    """`name` as a file name: letters, digits, dot, plus, equals, dash, and what is in `also`."""
    return re.sub(rf"[^A-Za-z0-9.+={also}-]+", "-", name).strip("-.")[:100] or "unnamed"


def split_hash(split: pd.DataFrame) -> str:
    """12 hex digits that identify a split table, whatever the order of its rows and columns."""
    table = split[sorted(split.columns)].astype(str)
    return files.short_hash(sorted(map(list, table.itertuples(index=False))))


def open_run(
    root: str | os.PathLike,
    method: str,
    name: str,
    config: Any,
    facts: Mapping[str, Any],
    splits: pd.DataFrame,
) -> Run:
    """Open `root`/runs/`method`/`name`-<12 hex>, made if it is not there yet, and say whether it is
    new, resumed or done.

    config: the settings dataclass of the method; facts: what else decides the result as plain JSON
    values (version, preset, labels, merge, feature key, manifest hash); splits: the split table,
    whose hash is added. All of it is in config.json, whose hash names the folder. Versions and
    commit of this machine go to environment.json, which is not hashed. Raises RunError.
    """
    content = {
        "method": method,
        "settings_class": type(config).__name__,
        "settings": as_dict(config),
        **facts,
        "split": split_hash(splits),
    }
    of_method = pathlib.Path(root) / "runs" / _slug(method, also="_")  # as its room is called
    folder = of_method / f"{_slug(name)}-{files.short_hash(content)}"
    if not (folder / "config.json").exists():
        _write_head(folder, content, splits)
    stored = _read_config(folder)
    if stored != content:
        raise RunError(
            f"{folder / 'config.json'} was changed by hand: delete the folder {folder} and run"
            " again"
        )
    run = Run(folder, content, splits)
    finished = len(list((folder / "parts").glob("*.json")))
    if run.done:
        print(f"{folder.name}: done before, loaded; nothing is computed again")
    elif finished:
        print(f"{folder.name}: resumed, {finished} finished part(s) are kept")
    return run


def _write_head(folder: pathlib.Path, content: dict, splits: pd.DataFrame) -> None:
    """Write split.csv and environment.json, then config.json: a folder with a config has the rest."""
    from colab_utils import session

    files.write_csv(folder / "split.csv", splits)
    files.write_json(folder / "environment.json", session.environment())
    files.write_json(folder / "config.json", content)


def _read_config(folder: pathlib.Path) -> dict:
    """The content of config.json. Raises RunError where it is missing or torn."""
    try:
        return files.read_json(folder / "config.json")
    except (ValueError, OSError) as error:
        raise RunError(f"{folder} is no readable run folder: {error}") from error


def load_run(path: str | os.PathLike) -> Run:
    """Open an existing run folder, finished or not. Raises RunError."""
    folder = pathlib.Path(path)
    config = _read_config(folder)
    types = dict.fromkeys(("fold", "utt_id", "speaker", "role"), str)
    try:
        return Run(
            folder, config, pd.read_csv(folder / "split.csv", dtype=types, keep_default_na=False)
        )
    except (ValueError, OSError) as error:
        raise RunError(f"{folder} is no readable run folder: {error}") from error


def runs_table(root: str | os.PathLike) -> pd.DataFrame:
    """One row per run below `root`/runs: method, run, preset, done, uar, low, high, wa, macro_f1,
    chance, n, n_speakers, folder.

    A folder that cannot be read is printed and left out; rates are NaN while a run is not finished.
    """
    rows = []
    for file in sorted(pathlib.Path(root).glob("runs/*/*/config.json")):
        try:
            run = load_run(file.parent)
            metrics = run.metrics if run.done else {}
        except (RunError, PredictionError, ValueError, OSError) as error:
            print(f"left out: {error}")
            continue
        low, high = metrics.get("uar_ci95") or (None, None)
        rates = {
            name: metrics.get(name)
            for name in ("uar", "wa", "macro_f1", "chance", "n", "n_speakers")
        }
        rows.append(
            {
                "method": run.config["method"],
                "run": file.parent.name,
                "preset": run.config.get("preset", ""),
                "done": bool(metrics),
                "low": low,
                "high": high,
                **rates,
                "folder": str(file.parent),
            }
        )
    columns = [
        "method",
        "run",
        "preset",
        "done",
        "uar",
        "low",
        "high",
        "wa",
        "macro_f1",
        "chance",
        "n",
        "n_speakers",
        "folder",
    ]
    return pd.DataFrame(rows, columns=columns)


def metrics_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Finished runs side by side, one row each: UAR, its 95 % interval, WA, macro-F1 and chance in
    per cent, utterances, speakers, and what each number has to say of itself: its rule (inductive
    or transductive) and whether tested speakers are independent of the training.
    """
    rows = {}
    for name, run in runs.items():
        metrics = run.metrics
        interval = (
            "–".join(f"{100 * limit:.1f}" for limit in metrics["uar_ci95"])
            if metrics["uar_ci95"]
            else "none"
        )
        rates = {
            label: f"{100 * metrics[key]:.1f}"
            for label, key in (("UAR %", "uar"), ("WA %", "wa"), ("macro-F1 %", "macro_f1"))
        }
        rows[name] = {
            **rates,
            "95 % interval of UAR": interval,
            "chance %": f"{100 * metrics['chance']:.1f}",
            "utterances": metrics["n"],
            "speakers": metrics["n_speakers"],
            "rule": ", ".join(metrics["rule"]),
            "speaker independence": metrics["speaker_independence"],
        }
    return pd.DataFrame.from_dict(rows, orient="index")
