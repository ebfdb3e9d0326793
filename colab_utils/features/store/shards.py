"""One shard of a feature store: a file that says what it holds and whether it is whole."""

import json
import os
import pathlib
import shutil
import tempfile
import zlib
from dataclasses import asdict, dataclass, replace
from typing import BinaryIO

import numpy as np
import safetensors

from colab_utils.files import canonical_json, replacing

# one metadata entry only: safetensors writes several in no fixed order, and equal stores are equal
# byte for byte
_HEAD = "store"
_IN_MEMORY = 1 << 25  # bytes of a shard beyond which its values wait on the disk
_PIECE = 1 << 22  # bytes read at a time


class StoreError(ValueError):
    """A feature store that cannot be read; the message names the file and what to do."""


@dataclass(frozen=True)
class ShardHead:
    """What a shard says of itself.

    Attributes:
        key: of its store.
        ids: of its utterances.
        frames: how many each has, in the order of the rows of `values` (frames, dim) float32.
        skipped: pairs (utt_id, reason) of utterances without features.
        crc32: over all this and the values. A checksum against torn and flipped bytes, not against
            forgery: CRC-32 reads 3 GB a second where SHA-256 reads 0.4, and every shard is checked
            whenever a store is used again.
    """

    key: str
    ids: list[str]
    frames: list[int]
    skipped: list[list[str]]
    crc32: str = ""

    def checksum(self, values: BinaryIO) -> str:
        """8 hex digits over the head and the rest of a file."""
        head = canonical_json([self.key, self.ids, self.frames, self.skipped])
        digits = zlib.crc32(head.encode("utf-8"))
        while piece := values.read(_PIECE):
            digits = zlib.crc32(piece, digits)
        return f"{digits:08x}"


class GrowingShard:
    """A shard that is filled utterance by utterance, and takes little memory however long they are.

    Args:
        folder: of its store; values that are many wait there, in a file without a name.
        key: of its store.
        dim: columns, which a shard without features has, too.
    """

    def __init__(self, folder: str | os.PathLike, key: str, dim: int):
        self.key, self.dim = key, dim
        self.ids: list[str] = []
        self.frames: list[int] = []
        self._values = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=folder)  # noqa: SIM115

    def add(self, utt_id: str, values: np.ndarray) -> None:
        """Append the features of an utterance, float32 (frames, dim)."""
        self.ids.append(utt_id)
        self.frames.append(len(values))
        self._values.write(np.ascontiguousarray(values, np.float32).data)

    def write(self, path: str | os.PathLike, skipped: list[list[str]]) -> ShardHead:
        """Write it, atomically, and forget the values.

        Args:
            path: where to.
            skipped: pairs (utt_id, reason).

        Returns:
            Its head.

        Raises:
            DiskFullError: the disk has no room.
        """
        head = ShardHead(self.key, self.ids, self.frames, skipped)
        with self._values as values, replacing(path) as temporary:
            values.seek(0)
            head = replace(head, crc32=head.checksum(values))
            values.seek(0)
            with open(temporary, "wb") as file:
                file.write(_first_bytes(head, self.dim))
                shutil.copyfileobj(values, file, _PIECE)
        return head


def _first_bytes(head: ShardHead, dim: int) -> bytes:
    """What stands before the values in a safetensors file, as the library writes it.

    The library itself needs all values in memory, three times over.
    """
    shape = [sum(head.frames), dim]
    end = 4 * shape[0] * dim
    values = {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}
    metadata = {_HEAD: canonical_json(asdict(head))}
    told = {"__metadata__": metadata, "values": values}
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_shard(
    path: str | os.PathLike,
    key: str,
    features: dict[str, np.ndarray],
    skipped: list[list[str]],
    dim: int,
) -> ShardHead:
    """Write a shard, atomically.

    Args:
        path: where to.
        key: of its store.
        features: float32 (frames, dim) by utterance.
        skipped: pairs (utt_id, reason).
        dim: columns, which a shard without features has, too.

    Returns:
        Its head.

    Raises:
        DiskFullError: the disk has no room.
    """
    shard = GrowingShard(pathlib.Path(path).parent, key, dim)
    for utt_id, values in features.items():
        shard.add(utt_id, values)
    return shard.write(path, skipped)


def check_shard(path: str | os.PathLike) -> ShardHead:
    """A shard's head, its values checked against its checksum piece by piece.

    Raises:
        StoreError: the file is damaged or missing.
    """
    path = pathlib.Path(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as handle:
            head = ShardHead(**json.loads(handle.metadata()[_HEAD]))
            rows, _ = handle.get_slice("values").get_shape()
        with open(path, "rb") as file:
            file.seek(int.from_bytes(file.read(8), "little"), os.SEEK_CUR)
            crc32 = head.checksum(file)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: missing; run the extraction again") from error
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{path}: damaged ({error}); run the extraction again") from error
    if crc32 != head.crc32 or sum(head.frames) != rows:
        raise StoreError(f"{path}: damaged (its checksum does not fit); run the extraction again")
    return head


def read_shard(path: str | os.PathLike) -> tuple[ShardHead, np.ndarray]:
    """A shard's head and its values, float32 (frames, dim), checked as by `check_shard`.

    Raises:
        StoreError: the file is damaged or missing.
    """
    head = check_shard(path)
    with safetensors.safe_open(path, framework="numpy") as handle:
        return head, handle.get_tensor("values")
