"""Writing files whole: after a kill, a full disk or a lost Drive the old content stands or the new.

Never half of it.
"""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile
import time
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any

import filelock

try:
    import fcntl
except ImportError:  # Windows: nobody can tell there whether a writer lives
    fcntl = None

AnyPath = str | os.PathLike
# The names that `replacing` and `scratch` give.
TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.tmp(\..*)?")
# Seconds in which a temporary that was just made gets its lock.
_YOUNG = 5.0


_FULL = (errno.ENOSPC, errno.EDQUOT)  # or a used-up quota
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)


class NotWritableError(OSError):
    """A file that cannot be written where it shall be, such as on a read-only disk.

    Its text is the sentence alone, without the error number.
    """

    def __str__(self) -> str:
        return str(self.strerror)


class DiskFullError(NotWritableError):
    """The disk has no room left; what was finished before is intact."""


@contextlib.contextmanager
def writing(path: AnyPath) -> Iterator[None]:
    """Turn the system's error of a full, read-only or foreign disk into one sentence.

    Args:
        path: the file or folder that is written meanwhile.

    Raises:
        DiskFullError: the disk has no room.
        NotWritableError: the disk is read-only, or the folder belongs to somebody else.
    """
    path = pathlib.Path(path)
    try:
        yield
    except NotWritableError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(
                error.errno,
                f"no room left on the disk while writing {path}: free some space and run again; "
                "everything finished before is intact",
            ) from error
        # another file may have been read meanwhile, which is not ours to explain
        ours = error.filename is None or pathlib.Path(str(error.filename)).parent in path.parents
        if error.errno not in _CLOSED or not ours:
            raise
        there = next(folder for folder in path.absolute().parents if folder.exists())
        raise NotWritableError(
            error.errno,
            f"{path} cannot be written ({error.strerror}): make {there} writable, or set the "
            "environment variable SER_WORKSPACE to a folder that you may write to; everything "
            "finished before is intact",
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
        DiskFullError, NotWritableError: see `writing`.

    Example:
        >>> with replacing("figure.png") as temporary:
        ...     figure.savefig(temporary)
    """
    path = pathlib.Path(path)
    temporary = _temporary(path)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch()
            with _held(temporary):
                yield temporary
                with open(temporary, "rb") as handle:
                    os.fsync(handle.fileno())
                os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch(path: AnyPath) -> Iterator[pathlib.Path]:
    """An empty temporary folder beside `path`, of this process alone, which is removed in the end.

    Args:
        path: the folder that is to be made; what is made in the temporary one is moved there.

    Yields:
        The temporary folder.

    Raises:
        DiskFullError, NotWritableError: see `writing`.

    Example:
        >>> with scratch("corpora/emodb") as work:
        ...     unpack(archive, work / "new")
        ...     os.replace(work / "new", "corpora/emodb")
    """
    temporary = _temporary(pathlib.Path(path))
    with writing(temporary):
        temporary.mkdir(parents=True)
    try:
        with _held(temporary):
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: pathlib.Path) -> pathlib.Path:
    """A name beside `path` that nobody else gives; `TEMPORARY` tells it."""
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.tmp{path.suffix}")


@contextlib.contextmanager
def _held(temporary: pathlib.Path) -> Iterator[None]:
    """Hold a lock on a temporary, by which `sweep` knows that its writer lives.

    The system frees the locks of a process that ends, however it ends. A process number in the name
    would say less: numbers are given again, and every container counts its own.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(temporary, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def remove_abandoned(temporary: pathlib.Path) -> bool:
    """Remove a temporary file or folder unless its writer lives; whether it was removed.

    Where the disk knows no locks, nobody can tell, and it stays.
    """
    if fcntl is None:
        return False
    try:
        handle = os.open(temporary, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink()
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def sweep(folder: AnyPath, seconds: float = _YOUNG) -> int:
    """Remove what killed writers left below a folder; says so where there was something.

    These are temporaries of `replacing` and `scratch`. Those of a living process of this machine
    stay.

    Args:
        folder: a workspace; it need not exist.
        seconds: what is younger stays, too. For Drive, where the locks of other machines are not
            seen, longer than any copy takes.

    Returns:
        How many files and folders were removed.
    """
    removed = 0
    for place, folders, names in os.walk(folder):
        for name in filter(TEMPORARY.fullmatch, [*folders, *names]):
            path = pathlib.Path(place, name)
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > seconds:
                    removed += remove_abandoned(path)
        folders[:] = [name for name in folders if not TEMPORARY.fullmatch(name)]
    if removed:
        print(f"{removed} unfinished file(s) that killed processes left in {folder} were removed.")
    return removed


def write_bytes(path: AnyPath, data: bytes) -> pathlib.Path:
    """Write `data` to `path` atomically; returns the path. Raises NotWritableError."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return pathlib.Path(path)


def write_text(path: AnyPath, text: str) -> pathlib.Path:
    """Write `text` as UTF-8 with LF line ends, atomically."""
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: AnyPath, value: Any) -> pathlib.Path:
    """Write `value` as readable JSON, atomically. NaN is refused: it is not JSON."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: AnyPath) -> Any:
    """Read a JSON file. Raises ValueError that names the file when it is torn or binary."""
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}): delete it and run again") from error


def append_jsonl(path: AnyPath, records: list[dict]) -> None:
    """Append records to a file, each as a line of JSON.

    On DiskFullError the last line may be torn: `read_jsonl` drops it.
    """
    path = pathlib.Path(path)
    with writing(path):
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

    The lock is a file in the system's folder for temporary files, named after `path`, which may not
    exist yet. Who has to wait says so; after waiting look again at what is there. A killed process
    holds nothing. Not for Drive, whose locks hold nobody. Never inside another `alone` of the same
    path: that would wait for itself.

    Args:
        path: the file or folder that is to be made.
        doing: what the others do, such as "unpacking emodb.zip".

    Example:
        >>> with alone(folder, "unpacking emodb.zip"):
        ...     if not folder.exists():
        ...         unpack(archive, folder)
    """
    path = pathlib.Path(os.path.realpath(path))
    locks = pathlib.Path(tempfile.gettempdir(), f"colab_utils-{getattr(os, 'getuid', int)()}")
    locks.mkdir(exist_ok=True)
    lock = filelock.FileLock(locks / f"{path.name[:60]}-{short_hash(str(path))}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"{path.name}: another process is {doing}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def one_line(error: BaseException) -> str:
    """What an error of another library says, short enough for one sentence."""
    told = " ".join(str(error).split())[:200]
    if told and not isinstance(error, LookupError):
        return told
    return f"{type(error).__name__} {told}".strip()


def unreadable(path: AnyPath, error: BaseException) -> str:
    """Why a file of tensors or arrays cannot be read, in a few words.

    Never what some libraries then advise, to unpickle it: that would run whatever is in it.

    Args:
        path: of the file.
        error: what the library that read it raised.
    """
    if not os.path.isfile(path):
        return "there is no such file"
    with open(path, "rb") as handle:
        head = handle.read(30)
    zipped = zipfile.is_zipfile(path)
    pickled = "pickl" in f"{type(error).__name__} {error}".lower()
    if not head:
        return "it is empty"
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer and not the file itself: run `git lfs pull`"
    if head.startswith(b"PK") and not zipped:
        return "it is cut off"
    if head.startswith(b"\x80") or (zipped and pickled):
        return (
            "it is a pickle of Python objects, which can run anything when it is read: where it "
            "comes from, save the tensors alone (safetensors.torch.save_file(model.state_dict(), "
            "'weights.safetensors'))"
        )
    if pickled or zipped or isinstance(error, LookupError):
        return "it is damaged or holds something else than tensors by name"
    return f"it is damaged or of another kind ({one_line(error)})"


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
