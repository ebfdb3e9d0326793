"""One shard of a feature store: a file that says what it holds and whether it is whole."""

import json
import os
import pathlib
import zlib
from dataclasses import asdict, dataclass, replace

import numpy as np
import safetensors
import safetensors.numpy

from colab_utils.files import canonical_json, write_bytes

# one metadata entry only: safetensors writes several in no fixed order, and equal stores are equal
# byte for byte
_HEAD = "store"


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

    def checksum(self, values: np.ndarray) -> str:
        """8 hex digits over head and values."""
        head = canonical_json([self.key, self.ids, self.frames, self.skipped]).encode("utf-8")
        return f"{zlib.crc32(np.ascontiguousarray(values).data, zlib.crc32(head)):08x}"


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
    values = np.concatenate([np.zeros((0, dim), np.float32), *features.values()])
    head = ShardHead(key, list(features), [len(value) for value in features.values()], skipped)
    head = replace(head, crc32=head.checksum(values))
    metadata = {_HEAD: canonical_json(asdict(head))}
    write_bytes(path, safetensors.numpy.save({"values": values}, metadata))
    return head


def read_shard(path: str | os.PathLike) -> tuple[ShardHead, np.ndarray]:
    """A shard's head and its values, float32 (frames, dim), checked against its checksum.

    Raises:
        StoreError: the file is damaged or missing.
    """
    path = pathlib.Path(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as handle:
            head = ShardHead(**json.loads(handle.metadata()[_HEAD]))
            values = handle.get_tensor("values")
    except FileNotFoundError as error:
        raise StoreError(f"{path}: missing; run the extraction again") from error
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{path}: damaged ({error}); run the extraction again") from error
    if head.checksum(values) != head.crc32 or sum(head.frames) != len(values):
        raise StoreError(f"{path}: damaged (its checksum does not fit); run the extraction again")
    return head, values
