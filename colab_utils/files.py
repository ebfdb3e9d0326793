"""Writing files whole: after a kill, a full disk or a lost Drive the old content stands or the new.

Never half of it.
"""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

import filelock
import pandas as pd

AnyPath = str | os.PathLike


class DiskFullError(OSError):
    """The disk has no room left; what was finished before is intact.

    Its text is the sentence alone, without the error number.
    """

    def __str__(self) -> str:
        return str(self.strerror)


@contextlib.contextmanager
def _room_for(path: pathlib.Path) -> Iterator[None]:
    """Turn the system's error of a full disk, or of a used-up quota, into a DiskFullError."""
    try:
        yield
    except DiskFullError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(
            error.errno,
            f"no room left on the disk while writing {path}: free some space and run again; "
            "everything finished before is intact",
        ) from error


@contextlib.contextmanager
def replacing(path: AnyPath) -> Iterator[pathlib.Path]:
    """A temporary path that is flushed to disk and takes the place of `path` in the end.

    It lies beside `path` and carries its suffix (writers such as matplotlib look at it). On any
    error it is removed, and `path` stays as it was.

    Args:
        path: the file to be written; its folder is made when it is missing.

    Yields:
        The path to write to.

    Raises:
        DiskFullError: the disk has no room.

    Example:
        >>> with replacing("figure.png") as temporary:
        ...     figure.savefig(temporary)
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")
    try:
        with _room_for(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with open(temporary, "rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: AnyPath, data: bytes) -> pathlib.Path:
    """Write `data` to `path` atomically; returns the path. Raises DiskFullError."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return pathlib.Path(path)


def write_text(path: AnyPath, text: str) -> pathlib.Path:
    """Write `text` as UTF-8 with LF line ends, atomically."""
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: AnyPath, value: Any) -> pathlib.Path:
    """Write `value` as readable JSON, atomically. NaN is refused: it is not JSON."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: AnyPath, table: pd.DataFrame) -> pathlib.Path:
    """Write `table` as CSV (no index, LF, floats round-trip exactly), atomically."""
    return write_text(path, table.to_csv(index=False, lineterminator="\n"))


def read_json(path: AnyPath) -> Any:
    """Read a JSON file. Raises ValueError that names the file when it is torn."""
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}): delete it and run again") from error


def append_jsonl(path: AnyPath, records: list[dict]) -> None:
    """Append records to a file, each as a line of JSON.

    On DiskFullError the last line may be torn: `read_jsonl` drops it.
    """
    path = pathlib.Path(path)
    with _room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as handle:
            for record in records:
                handle.write(json.dumps(record, allow_nan=False) + "\n")


def read_jsonl(path: AnyPath) -> list[dict]:
    """The records of a JSONL file; none where there is no file.

    A torn last line (a kill during the append) is dropped and said so. Raises ValueError for
    another line that is torn.
    """
    path = pathlib.Path(path)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(
                    f"{path}, line {number} is not valid JSON ({error}): delete the file and run "
                    "again"
                ) from error
            print(f"{path.name}: the last line was torn by an interruption and is dropped")
    return records


@contextlib.contextmanager
def alone(path: AnyPath, doing: str) -> Iterator[None]:
    """Hold the lock of `path`, so that of several processes one at a time works on it.

    The lock is a hidden file beside `path`, which may not exist yet. Who has to wait says so; after
    waiting look again at what is there. A killed process holds nothing. Not for Drive, whose locks
    hold nobody. Never inside another `alone` of the same path: that would wait for itself.

    Args:
        path: the file or folder that is to be made.
        doing: what the others do, such as "unpacking emodb.zip".

    Raises:
        OSError: the folder cannot be written.

    Example:
        >>> with alone(folder, "unpacking emodb.zip"):
        ...     if not folder.exists():
        ...         unpack(archive, folder)
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"{path.name}: another process is {doing}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def file_sha256(path: AnyPath) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. NaN is refused."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def short_hash(value: Any, digits: int = 12) -> str:
    """The first `digits` hex digits of the SHA-256 of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value).encode("utf-8")).hexdigest()[:digits]
