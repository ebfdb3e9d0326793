"""A local server that resumes, dies, lies or vanishes; no test leaves this machine."""

import functools
import http.server
import io
import re
import threading
import time
import zipfile

import numpy as np
import pytest

from colab_utils.corpora import download


def a_zip(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


# does not compress, so the archive is large enough to be cut
NOISE = np.random.default_rng(0).bytes(3_000_000)


GOOD = a_zip({"wav/03a01Fa.wav": NOISE, "wav/03a01Nc.wav": b"other"})


class Server:
    """Serves `body` at every path; `cut` bytes of each answer's body are sent before the connection
    dies (None: all of it).
    """

    def __init__(self):
        self.body, self.cut, self.ranges, self.status, self.etag, self.pause = (
            GOOD,
            None,
            True,
            None,
            '"v1"',
            0.0,
        )
        self.asked: list[tuple[str, str | None]] = []
        self.sent = 0
        self.sending = set()  # requests whose answers are under way
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                return None

            def do_HEAD(self):
                outer.answer(self, with_body=False)

            def do_GET(self):
                outer.answer(self, with_body=True)

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(
            target=functools.partial(self.http.serve_forever, poll_interval=0.02), daemon=True
        ).start()

    def answer(self, request, with_body):
        wanted = request.headers.get("Range")
        if with_body:
            self.asked.append((request.path, wanted))
        if self.status:
            request.send_error(self.status)
            return
        start = 0
        if wanted and self.ranges and request.headers.get("If-Range", self.etag) == self.etag:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        request.send_response(206 if start else 200)
        if start:
            request.send_header(
                "Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
            )
        if self.etag:
            request.send_header("ETag", self.etag)
        request.send_header("Content-Length", str(len(self.body) - start))
        request.end_headers()
        if with_body:
            self.send(
                request,
                self.body[start:] if self.cut is None else self.body[start : start + self.cut],
            )

    def send(self, request, body):
        self.sending.add(request)
        try:
            for begin in range(0, len(body), 50_000):
                request.wfile.write(body[begin : begin + 50_000])
                self.sent += len(body[begin : begin + 50_000])
                time.sleep(self.pause)
        except ConnectionError:
            pass  # the other side was killed or has given up
        finally:
            self.sending.discard(request)
        request.close_connection = True

    def count_anew(self):
        """Bytes from now on: what an answer to somebody who has gone still sends is not counted."""
        end = time.monotonic() + 20
        while self.sending:
            assert time.monotonic() < end, "an answer never ends"
            time.sleep(0.01)
        self.sent = 0


def fetch(server, folder, name="emodb"):
    return download.fetch_corpus(name, folder, base_url=server.url)


def left(folder):
    """Every file below a folder, relative; locks do not count."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    )


def one_sentence(error):
    """Whether a message is one plain line for a reader of a notebook."""
    return (
        "\n" not in str(error.value)
        and "HTTPConnectionPool" not in str(error.value)
        and "object at 0x" not in str(error.value)
    )


def cut_once(server, tmp_path):
    server.cut = 100_000
    with pytest.raises(download.DownloadError):
        fetch(server, tmp_path)
    server.cut = None
    server.asked.clear()
