"""A download that goes on where it was stopped: `pooch` checks hashes, but begins again."""

import errno
import pathlib
import shutil
import time

import requests

from colab_utils import files, progress

WAITS = (1.0, 2.0, 4.0)  # seconds before the second, third and fourth try
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two pieces
CHUNK = 1 << 15  # bytes at a time: what a broken connection costs at most
# a compressed answer would count other bytes than the file has
PLAIN = {"Accept-Encoding": "identity"}


class DownloadError(OSError):
    """An archive that could not be fetched: one sentence says why, what was kept, what to do."""


def announced_size(url: str) -> int | None:
    """The size in bytes that the server announces for `url`; None where there is no answer."""
    try:
        answer = requests.head(url, headers=PLAIN, allow_redirects=True, timeout=TIMEOUT[0])
    except requests.RequestException:
        return None
    return _length(answer) if answer.ok else None


class ResumingDownload:
    """A file that grows over several calls, and sessions, until it is whole.

    Bytes already in `part` are not fetched again: the rest is asked for with an HTTP Range (RFC
    9110, section 14), and only a 206 answer that begins at the right byte of an unchanged file
    (same length, same strong ETag) is appended; anything else starts again, and says so.
    `<part>.json` notes what the part is a part of.

    Args:
        part: where the bytes are kept.
    """

    def __init__(self, part: pathlib.Path):
        self.part = part
        self._note = part.with_name(f"{part.name}.json")

    @property
    def have(self) -> int:
        """Bytes in the part so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def kept(self) -> str:
        """What an interrupted download left behind, as part of a sentence."""
        if not self.have:
            return "nothing was kept"
        return f"{self.have / 1e6:.1f} MB are kept in {self.part} and will not be fetched again"

    def fetch(self, url: str) -> None:
        """Fetch `url` into `part`; a broken connection is tried len(WAITS) more times.

        Raises:
            DownloadError: after the last try, or at once when trying again cannot help.
            DiskFullError: there is no room. Either way the part stays for the next call.
        """
        self.part.parent.mkdir(parents=True, exist_ok=True)
        for wait in (*WAITS, None):
            try:
                self._go_on(url)
                return
            except requests.RequestException as error:
                final = _is_final(error.response)
                if final or wait is None:
                    tries = "" if final else f", tried {len(WAITS) + 1} times"
                    raise DownloadError(
                        f"{url} could not be fetched ({_reason(error)}{tries}): {self.kept()}; run"
                        " the cell again later, or get the archive by hand"
                    ) from error
            except files.DiskFullError:
                raise
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise files.DiskFullError(
                    error.errno,
                    f"no room left on the disk while fetching {url}: free some space and run again;"
                    f" {self.kept()}",
                ) from error
            except KeyboardInterrupt:
                print(f"Download stopped; {self.kept()}. Run the cell again to go on.")
                raise
            time.sleep(wait)

    def _go_on(self, url: str) -> None:
        """One request: the whole file, or the rest of it.

        Raises requests.RequestException when it ends early.
        """
        note = files.read_json(self._note) if self._note.exists() else {}
        have = self.have if note.get("url") == url else 0
        if have and have == note["bytes"]:
            return
        headers = dict(PLAIN)
        if have:
            headers["Range"] = f"bytes={have}-"
            if note["etag"]:
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
            if etag.startswith("W/"):
                etag = ""  # a weak ETag does not promise the same bytes
            files.write_json(self._note, {"url": url, "bytes": total, "etag": etag})
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
        bar = progress.bar(
            total=total, initial=have, unit="B", unit_scale=True, desc=self.part.stem
        )
        with open(self.part, "ab" if have else "wb") as out, bar:
            for piece in answer.iter_content(CHUNK):
                out.write(piece)
                bar.update(len(piece))
        if total is not None and self.have != total:
            raise requests.ConnectionError("the transfer ended early")


def _is_final(answer: requests.Response | None) -> bool:
    """Whether asking again cannot help; a time-out (408) and "too many requests" (429) pass."""
    if answer is None or answer.status_code in (408, 429):
        return False
    return answer.status_code < 500


def _continues(answer: requests.Response, have: int, note: dict) -> bool:
    """Whether an answer is the rest of the noted file from byte `have` on."""
    if answer.status_code != 416:
        answer.raise_for_status()  # a busy or vanished server says nothing about the part
    if answer.status_code != 206:
        return False
    # such as `bytes 100-199/200`
    place, _, total = answer.headers.get("Content-Range", "").partition("/")
    same_etag = answer.headers.get("ETag", note["etag"]) == note["etag"] or not note["etag"]
    return place.startswith(f"bytes {have}-") and total == str(note["bytes"]) and same_etag


def _length(answer: requests.Response) -> int | None:
    """Content-Length in bytes, or None."""
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


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
    if isinstance(error, requests.ConnectionError):
        return "no connection to the server"
    return type(error).__name__
