"""A download that goes on where it was stopped: pooch checks hashes but begins again, so this is
the downloader that pooch is given.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import pathlib
import shutil
import time

import requests

from colab_utils import files
from colab_utils.progress import bar as progress_bar

WAITS = (1.0, 2.0, 4.0)  # seconds before the second, third and fourth try
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two pieces
CHUNK = 1 << 15  # bytes at a time: what a broken connection costs at most
# a compressed answer would count other bytes than the file has
PLAIN = {"Accept-Encoding": "identity"}


class DownloadError(OSError):
    """An archive that could not be fetched; the message is one sentence saying why, what was kept
    and what to do.
    """


def announced_size(url: str) -> int | None:
    """The size in bytes that the server announces for `url`; None where it announces none or does
    not answer.
    """
    try:
        answer = requests.head(url, headers=PLAIN, allow_redirects=True, timeout=TIMEOUT[0])
    except requests.RequestException:
        return None
    return _length(answer) if answer.ok else None


@dataclasses.dataclass
class ResumingDownloader:
    """A pooch downloader: `downloader(url, output_file, pooch)` fetches `url` into `part`, then
    moves it to `output_file`.

    Bytes already in `part` are not fetched again: the rest is asked for with an HTTP Range (RFC
    9110, §14), and only a 206 answer that begins at the right byte of an unchanged file (same
    length, same strong ETag) is appended; anything else starts again, and says so. A broken
    connection is tried len(WAITS) more times. Raises DownloadError or files.DiskFullError; `part`
    then stays for the next call when it holds something. `<part>.json` notes what the part is a
    part of.
    """

    part: pathlib.Path
    progress: bool = True

    def __call__(
        self,
        url: str,
        output_file: str | os.PathLike,
        pooch: object = None,
        check_only: bool = False,
    ) -> None:
        self.part.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._with_retries(url)
        except files.DiskFullError:
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise files.DiskFullError(
                    error.errno,
                    f"no room left on the disk while fetching {url}: free some space and run again;"
                    f" {self.kept()}",
                ) from error
            raise
        except KeyboardInterrupt:
            print(f"Download stopped; {self.kept()}. Run the cell again to go on.")
            raise
        os.replace(self.part, output_file)
        self._note.unlink(missing_ok=True)

    @property
    def _note(self) -> pathlib.Path:
        return self.part.with_name(f"{self.part.name}.json")

    @property
    def have(self) -> int:
        """Bytes in the part so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def kept(self) -> str:
        """What an interrupted download left behind, as part of a sentence."""
        return (
            f"{self.have / 1e6:.1f} MB are kept in {self.part} and will not be fetched again"
            if self.have
            else "nothing was kept"
        )

    def _with_retries(self, url: str) -> None:
        """Go on with the part until it is whole; raises DownloadError after the last try, or at
        once when trying again cannot help.
        """
        for wait in (*WAITS, None):
            try:
                self._go_on(url)
                return
            except requests.RequestException as error:
                answer = error.response
                hopeless = (
                    answer is not None
                    and answer.status_code < 500
                    and answer.status_code not in (408, 429)
                )
                if hopeless or wait is None:
                    tries = "" if hopeless else f", tried {len(WAITS) + 1} times"
                    raise DownloadError(
                        f"{url} could not be fetched ({_reason(error)}{tries}): {self.kept()}; run"
                        " the cell again later, or get the archive by hand"
                    ) from error
                time.sleep(wait)

    def _go_on(self, url: str) -> None:
        """One request: the whole file, or the rest of it.

        Raises requests.RequestException when it ends early.
        """
        note = files.read_json(self._note) if self._note.exists() else {}
        have = self.have if note.get("url") == url else 0
        if have and have == note["bytes"]:
            return
        headers = {**PLAIN, "Range": f"bytes={have}-"} if have else dict(PLAIN)
        if have and note["etag"]:
            headers["If-Range"] = note["etag"]
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if have and not _continues(answer, have, note):
                print(
                    f"{url}: the server does not go on at byte {have} of the same file, so the"
                    " download starts again."
                )
                self.part.unlink()
                have = 0
                if answer.status_code in (206, 416):
                    raise requests.ConnectionError(
                        "the server sent another part than it was asked for"
                    )
            answer.raise_for_status()
            left = _length(answer)
            total = None if left is None else have + left
            etag = answer.headers.get("ETag", "")
            files.write_json(
                self._note,
                {"url": url, "bytes": total, "etag": "" if etag.startswith("W/") else etag},
            )
            self._receive(answer, have, total)

    def _receive(self, answer: requests.Response, have: int, total: int | None) -> None:
        """Append the body to the part, with a progress bar.

        Raises DiskFullError before anything is written when it will not fit.
        """
        free = shutil.disk_usage(self.part.parent).free
        if total is not None and free < total - have:
            raise files.DiskFullError(
                errno.ENOSPC,
                f"{(total - have) / 1e6:.0f} MB are to be fetched and {free / 1e6:.0f} MB are free"
                f" on the disk of {self.part.parent}: free some space and run again",
            )
        with (
            open(self.part, "ab" if have else "wb") as out,
            progress_bar(
                total=total,
                initial=have,
                unit="B",
                unit_scale=True,
                desc=self.part.stem,
                disable=not self.progress,
            ) as bar,
        ):
            for piece in answer.iter_content(CHUNK):
                out.write(piece)
                bar.update(len(piece))
        if total is not None and self.have != total:
            raise requests.ConnectionError("the transfer ended early")


def _continues(answer: requests.Response, have: int, note: dict) -> bool:
    """Whether an answer is the rest of the noted file from byte `have` on."""
    if answer.status_code != 416:
        answer.raise_for_status()  # a busy or vanished server says nothing about the part
    place, _, total = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    same = total == str(note["bytes"]) and (
        not note["etag"] or answer.headers.get("ETag", note["etag"]) == note["etag"]
    )
    return answer.status_code == 206 and place.partition("-")[0] == str(have) and same


def _length(answer: requests.Response) -> int | None:
    """Content-Length in bytes, or None."""
    with contextlib.suppress(KeyError, ValueError):
        return int(answer.headers["Content-Length"])
    return None


def _reason(error: requests.RequestException) -> str:
    """A network error in a few words; the library's own text names pools and objects."""
    if error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not accepted"
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    if isinstance(error, requests.exceptions.ChunkedEncodingError) or "ended early" in str(error):
        return "the connection broke in the middle"
    return (
        "no connection to the server"
        if isinstance(error, requests.ConnectionError)
        else type(error).__name__
    )
