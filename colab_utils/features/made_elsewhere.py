"""Vectors made elsewhere (emotion2vec, TRILLsson, ...), by `utt_id` in one file, as features."""

import os
import pathlib

import numpy as np
import pandas as pd

from colab_utils.features.store.features import Held
from colab_utils.files import file_sha256
from colab_utils.utterance_tables import TableError, finite_numbers, read_utterance_table


class VectorsFile(Held):
    """One vector an utterance from a CSV, npz or Parquet file.

    Args:
        path: of the file: `utt_id`, and a column a number; an npz has arrays utt_id (n,), text,
            and x (n, dim).
        manifest: the utterances that vectors are wanted of; others of the file are left out, and
            those without a vector are `skipped`.

    Raises:
        TableError: the file cannot be used (`read_utterance_table`), has no vector for any
            utterance, or a value that is no finite number.

    Example:
        >>> VectorsFile("emotion2vec.npz", manifest).matrix(manifest["utt_id"])
    """

    def __init__(self, path: str | os.PathLike, manifest: pd.DataFrame):
        path = pathlib.Path(path).expanduser()
        table = read_utterance_table(path)
        columns = list(table.columns[1:])
        if not columns:
            raise TableError(f"{path} has no column beside utt_id: write one for each number")
        vectors = finite_numbers(table, columns, path, np.float32)
        known = set(manifest["utt_id"])
        wanted = table["utt_id"].isin(known).to_numpy()
        if not wanted.any():
            raise TableError(
                f"{path} has no vector for any of the {len(known)} utterances: its utt_id are"
                f" {_some(table['utt_id'])}, those of the manifest {_some(manifest['utt_id'])}:"
                " write them alike"
            )
        sha256 = file_sha256(path)
        settings = {"sha256": sha256, "dim": len(columns)}
        spec = {"name": path.name, "version": 1, "settings": settings, "parts": []}
        ids = table["utt_id"][wanted]
        super().__init__(ids, vectors[wanted], spec, sha256[:12], [str(name) for name in columns])
        self.note = (
            f"features of {path.name} (sha256 {self.key}) were made elsewhere: how, and whether on"
            " these speakers, is not known here"
        )
        missing = manifest.loc[~manifest["utt_id"].isin(self._row), "utt_id"]
        self.skipped = pd.DataFrame({"utt_id": missing, "reason": f"no vector in {path.name}"})
        told = f"{path.name}: {self.dim} numbers each for {len(self)} of {len(known)} utterances"
        if len(table) > len(self):
            told += f"\n  {len(table) - len(self)} others of the file are of no utterance here"
        if len(missing):
            told += f"\n  skipped, for they have no vector: {len(missing)} ({_some(missing)})"
        self.report = told


def _some(ids: pd.Series) -> str:
    """Three of them."""
    return ", ".join(ids[:3])


def names_in(features: str) -> list[str]:
    """The front ends and files that "a+b" names; a "+" in the path of a file does not part it."""
    pieces = features.split("+")
    names = []
    while pieces:
        for size in range(len(pieces), 0, -1):
            name = "+".join(pieces[:size]).strip()
            if size == 1 or os.path.exists(os.path.expanduser(name)):
                break
        names.append(name)
        del pieces[:size]
    return names
