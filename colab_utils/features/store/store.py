"""Cached features: a folder of shards and an index that is written last."""

import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import safetensors

from colab_utils.features.store.features import Features
from colab_utils.features.store.shards import StoreError, check_shard, read_shard
from colab_utils.files import read_json, short_hash

INDEX = "index.json"


class _Shard:
    """A shard that is read, and checked, when something is first asked of it."""

    def __init__(self, path: pathlib.Path, crc32: str, pooled: bool):
        self.path, self.crc32, self.pooled = path, crc32, pooled

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which reads it itself."""
        return {"path": self.path, "crc32": self.crc32, "pooled": self.pooled}

    @functools.cached_property
    def values(self) -> Any:
        """What slices are taken of: vectors in memory, frames on the disk (memory-mapped)."""
        if self.pooled:
            head, values = read_shard(self.path)
        else:
            head = check_shard(self.path)
            values = safetensors.safe_open(self.path, framework="numpy").get_slice("values")
        if head.crc32 != self.crc32:
            raise StoreError(
                f"{self.path}: not the shard that the index speaks of; run the extraction again"
            )
        return values


class FeatureStore(Features):
    """Features of many utterances, of one corpus or of several that the same front end was run on.

    Attributes:
        folders: where they are.

    Example:
        >>> store = features.open_store(manifest, "acoustic", workspace)
        >>> x = store.matrix(manifest["utt_id"])
    """

    def __init__(self, folders: Sequence[str | os.PathLike]):
        """Open the stores in `folders` as one.

        Raises:
            StoreError: a folder without index, another front end, or an id in two folders.
        """
        self.folders = [pathlib.Path(folder) for folder in folders]
        if not self.folders:
            raise StoreError("no store: name at least one folder")
        indexes = [_read_index(folder) for folder in self.folders]
        first = indexes[0]
        self.spec: dict[str, Any] = first["spec"]
        self.feature_names: list[str] = first["feature_names"]
        self.pooled: bool = first["pooled"]
        self.key: str = first["key"]
        if len(indexes) > 1:
            self.key = short_hash([index["key"] for index in indexes])
        self.report = None
        self._where: dict[str, tuple[_Shard, int, int]] = {}
        skipped = []
        for folder, index in zip(self.folders, indexes, strict=True):
            if index["spec"] != self.spec:
                raise StoreError(
                    f"{folder} was made by {index['spec']}, {self.folders[0]} by {self.spec}:"
                    " open them apart"
                )
            for entry in index["shards"]:
                self._add(folder / entry["file"], entry)
                skipped += entry["skipped"]
        self.skipped = pd.DataFrame(skipped, columns=["utt_id", "reason"], dtype=str)

    def _add(self, path: pathlib.Path, entry: dict) -> None:
        """Take in one shard of an index."""
        if not path.is_file():
            raise StoreError(f"{path}: missing; run the extraction again")
        shard = _Shard(path, entry["crc32"], self.pooled)
        start = 0
        for utt_id, frames in zip(entry["ids"], entry["frames"], strict=True):
            if utt_id in self._where:
                raise StoreError(
                    f"{utt_id} stands in {self._where[utt_id][0].path.parent} and in {path.parent}:"
                    " open one of them"
                )
            self._where[utt_id] = shard, start, start + frames
            start += frames

    @property
    def ids(self) -> list[str]:
        """The utterances that have features."""
        return list(self._where)

    def __contains__(self, utt_id: object) -> bool:
        return utt_id in self._where

    def __getitem__(self, utt_id: str) -> np.ndarray:
        """The features of one utterance, float32 (frames, dim), a copy.

        Raises:
            KeyError: it has none; with the reason where it was skipped.
            StoreError: the file is damaged, or not the one that the index speaks of, or holds NaN.
        """
        shard, start, stop = self._find(utt_id)
        values = np.array(shard.values[start:stop])
        finite = np.isfinite(values)
        if not finite.all():
            wrong = ~finite.all(axis=0)
            names = ", ".join(np.array(self.feature_names)[wrong][:3])
            raise StoreError(
                f"{shard.path}: {utt_id} has NaN or infinity in {wrong.sum()} column(s) ({names}); "
                "delete this file and run the extraction again"
            )
        return values

    def _find(self, utt_id: str) -> tuple[_Shard, int, int]:
        """Where an utterance stands. Raises KeyError."""
        if utt_id in self._where:
            return self._where[utt_id]
        raise self.why_missing(utt_id)

    def lengths(self, ids: Sequence[str]) -> np.ndarray:
        """Frames of each of `ids`, int64 (n,); nothing is read. Raises KeyError."""
        places = [self._find(utt_id) for utt_id in ids]
        return np.array([stop - start for _, start, stop in places], dtype=np.int64)


def _read_index(folder: pathlib.Path) -> dict:
    """A store's index. Raises StoreError."""
    if not (folder / INDEX).is_file():
        raise StoreError(
            f"{folder}: no {INDEX}, so no finished store; run the extraction (again), it goes on"
            " where it was"
        )
    try:
        return read_json(folder / INDEX)
    except ValueError as error:
        raise StoreError(str(error)) from error
