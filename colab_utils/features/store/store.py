"""Cached features: a folder of shards and an index that is written last."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import safetensors

from colab_utils.features.store.shards import StoreError, read_shard
from colab_utils.files import read_json, short_hash

INDEX = "index.json"


class _Shard:
    """A shard that is read, and checked, when something is first asked of it.

    Frames stay on disk (memory-mapped), vectors in memory.
    """

    def __init__(self, path: pathlib.Path, entry: dict, pooled: bool):
        self.path, self.entry, self.pooled, self._values = path, entry, pooled, None

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` of the shard's values, float32, a copy.

        Raises StoreError where file and index disagree.
        """
        if self._values is None:
            head, values = read_shard(self.path)
            if head.crc32 != self.entry["crc32"]:
                raise StoreError(
                    f"{self.path}: not the shard that the index speaks of; run the extraction again"
                )
            self._values = (
                values
                if self.pooled
                else safetensors.safe_open(self.path, framework="numpy").get_slice("values")
            )
        return np.array(self._values[start:stop])


class FeatureStore:
    """Features of many utterances, of one corpus or of several that the same front end was run on.

    `ids` all utterances in the order of the shards; `store[utt_id]` float32 (frames, dim), one
    frame where `pooled`; `spec` the front end's identity (name, version, settings);
    `feature_names`, `dim`; `key`, 12 hex digits that name spec and audio; `skipped` a table
    (utt_id, reason) of utterances without features; `folders`. `report` is what the extraction that
    returned this store did, else None.
    """

    def __init__(self, folders: Sequence[str | os.PathLike]):
        """Open the stores in `folders` as one.

        Raises StoreError for a folder without index, another front end, or an id in two folders.
        """
        self.folders = [pathlib.Path(folder) for folder in folders]
        if not self.folders:
            raise StoreError("no store: name at least one folder")
        indexes = [_read_index(folder) for folder in self.folders]
        first = indexes[0]
        for folder, index in zip(self.folders, indexes, strict=True):
            if index["spec"] != first["spec"]:
                raise StoreError(
                    f"{folder} was made by {index['spec']}, {self.folders[0]} by {first['spec']}:"
                    " open them apart"
                )
        self.spec: dict[str, Any] = first["spec"]
        self.feature_names: list[str] = first["feature_names"]
        self.pooled: bool = first["pooled"]
        self.key: str = (
            first["key"] if len(indexes) == 1 else short_hash([index["key"] for index in indexes])
        )
        self.report = None
        entries = [
            (folder, entry)
            for folder, index in zip(self.folders, indexes, strict=True)
            for entry in index["shards"]
        ]
        self._where: dict[str, tuple[_Shard, int, int]] = {}
        for folder, entry in entries:
            self._add(folder / entry["file"], entry)
        self.skipped = pd.DataFrame(
            [pair for _, entry in entries for pair in entry["skipped"]],
            columns=["utt_id", "reason"],
            dtype=str,
        )

    @classmethod
    def open(cls, folder: str | os.PathLike) -> FeatureStore:
        """The store in `folder`. Raises StoreError where there is none, or an unfinished one."""
        return cls([folder])

    def _add(self, path: pathlib.Path, entry: dict) -> None:
        """Take in one shard of an index."""
        if not path.is_file():
            raise StoreError(f"{path}: missing; run the extraction again")
        shard = _Shard(path, entry, self.pooled)
        ends = np.cumsum(entry["frames"], dtype=int).tolist()
        for utt_id, start, end in zip(entry["ids"], [0, *ends], ends, strict=False):
            if utt_id in self._where:
                raise StoreError(
                    f"{utt_id} stands in {self._where[utt_id][0].path.parent} and in {path.parent}:"
                    " open one of them"
                )
            self._where[utt_id] = shard, start, end

    @property
    def ids(self) -> list[str]:
        """The utterances that have features."""
        return list(self._where)

    @property
    def dim(self) -> int:
        """Numbers a frame (or an utterance) has."""
        return len(self.feature_names)

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, utt_id: object) -> bool:
        return utt_id in self._where

    def __getitem__(self, utt_id: str) -> np.ndarray:
        """The features of one utterance, float32 (frames, dim), a copy.

        Raises KeyError, with the reason where it was skipped.
        """
        shard, start, stop = self._find(utt_id)
        return shard.rows(start, stop)

    def _find(self, utt_id: str) -> tuple[_Shard, int, int]:
        """Where an utterance stands. Raises KeyError."""
        if utt_id in self._where:
            return self._where[utt_id]
        reasons = self.skipped.loc[self.skipped["utt_id"] == utt_id, "reason"]
        raise KeyError(
            f"{utt_id} has no features: "
            + (f"it was skipped ({reasons.iloc[0]})" if len(reasons) else "it was not extracted")
        )

    def matrix(self, ids: Sequence[str]) -> np.ndarray:
        """Vectors of `ids` in their order, float32 (n, dim).

        Raises KeyError; StoreError where the store holds frames.
        """
        if not self.pooled:
            raise StoreError(
                f"{self.spec['name']} gives frames, not one vector an utterance: use padded(ids),"
                " or a pooled front end"
            )
        return np.concatenate(
            [np.zeros((0, self.dim), np.float32), *(self[utt_id] for utt_id in ids)]
        )

    def lengths(self, ids: Sequence[str]) -> np.ndarray:
        """Frames of each of `ids`, int64 (n,); nothing is read. Raises KeyError."""
        return np.array([stop - start for _, start, stop in map(self._find, ids)], dtype=np.int64)

    def padded(
        self, ids: Sequence[str], max_frames: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Frames of `ids` as values (n, frames, dim) float32 and a mask (n, frames), True where
        there is speech.

        frames is that of the longest, or `max_frames` where that is less: longer utterances then
        keep their first `max_frames` frames. Where the mask is False the values are 0, which is no
        silence and must be masked. Raises KeyError; ValueError for `max_frames` < 1.
        """
        if max_frames is not None and max_frames < 1:
            raise ValueError(f"max_frames = {max_frames}: at least 1 is needed")
        places = [self._find(utt_id) for utt_id in ids]
        lengths = np.minimum(self.lengths(ids), max_frames or np.iinfo(np.int64).max)
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        values = np.zeros((*mask.shape, self.dim), dtype=np.float32)
        for row, length, (shard, start, _) in zip(values, lengths, places, strict=True):
            row[:length] = shard.rows(start, start + length)
        return values, mask


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
