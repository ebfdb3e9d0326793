"""Fetching corpora from a local server that resumes, dies, lies or vanishes; no test leaves this
machine.
"""

import contextlib
import functools
import http.server
import io
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import types
import zipfile

import numpy as np
import pandas as pd
import pytest

from colab_utils import files
from colab_utils.corpora import download, web
from colab_utils.corpora.cards import corpus_names, data_folder, load_card
from colab_utils.corpora.manifest import ManifestError
from colab_utils.drive import ArchiveError, archives
from colab_utils.drive.staging import STAMP

KNOWN = {
    "emodb",
    "ravdess",
    "emovo",
    "savee",
    "iemocap",
    "msp_improv",
    "emofilm",
    "crema_d",
    "tess",
    "aesdd",
    "cafe",
    "shemo",
    "esd",
}


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
        with contextlib.suppress(ConnectionError):  # the other side was killed or has given up
            for begin in range(0, len(body), 50_000):
                request.wfile.write(body[begin : begin + 50_000])
                self.sent += len(body[begin : begin + 50_000])
                time.sleep(self.pause)
        request.close_connection = True


@pytest.fixture
def server(monkeypatch):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(web, "WAITS", (0.0, 0.0, 0.0))
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def fetch(server, folder, name="emodb"):
    return download.fetch_corpus(name, folder, base_url=server.url)


def left(folder):
    """Every file below a folder, relative."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def one_sentence(error):
    """Whether a message is one plain line for a reader of a notebook."""
    return (
        "\n" not in str(error.value)
        and "HTTPConnectionPool" not in str(error.value)
        and "object at 0x" not in str(error.value)
    )


def test_a_corpus_arrives_whole_and_is_fetched_once(server, tmp_path, capsys):
    target = fetch(server, tmp_path)
    assert target == tmp_path / "emodb" and (target / "wav/03a01Fa.wav").read_bytes() == NOISE
    assert left(tmp_path) == [
        "emodb.source.json",
        "emodb.zip",
        f"emodb/{STAMP}",
        "emodb/wav/03a01Fa.wav",
        "emodb/wav/03a01Nc.wav",
    ]
    note = json.loads((tmp_path / "emodb.source.json").read_text())
    assert (
        note["sha256"] == files.file_sha256(tmp_path / "emodb.zip")
        and note["bytes"] == len(GOOD)
        and note["url"].startswith(server.url)
    )
    fetch(server, tmp_path)
    assert len(server.asked) == 1
    assert server.asked[0][0] == "/download.zip"  # a mirror keeps the owners' file name


def test_size_licence_and_address_are_shown_before_anything_is_fetched(server, tmp_path, capsys):
    server.status = 404
    with pytest.raises(download.DownloadError):
        fetch(server, tmp_path, "ravdess")
    shown = capsys.readouterr().out
    assert "208 MB" in shown and "CC BY-NC-SA 4.0" in shown and server.url in shown
    server.status = None
    fetch(server, tmp_path)
    # EmoDB's size is not known beforehand: the server announces it
    assert f"{len(GOOD) / 1e6:.0f} MB" in capsys.readouterr().out


def test_a_broken_transfer_goes_on_with_the_missing_bytes_only(server, tmp_path):
    server.cut = 1_000_000
    fetch(server, tmp_path)
    starts = [int(wanted[6:-1]) if wanted else 0 for _, wanted in server.asked]
    assert starts[0] == 0 and starts == sorted(set(starts)) and len(starts) == 4
    assert (
        server.sent <= len(GOOD) + 3 * web.CHUNK and (tmp_path / "emodb.zip").read_bytes() == GOOD
    )


def test_a_server_that_keeps_breaking_ends_in_one_sentence_and_the_next_call_goes_on(
    server, tmp_path
):
    server.cut = 100_000
    with pytest.raises(download.DownloadError, match="broke in the middle.*kept in") as error:
        fetch(server, tmp_path)
    assert one_sentence(error) and len(server.asked) == 1 + len(web.WAITS)
    kept = (tmp_path / ".emodb.zip.download/emodb.zip.part").stat().st_size
    assert server.sent - 4 * web.CHUNK <= kept <= server.sent
    assert left(tmp_path) == [
        ".emodb.zip.download/emodb.zip.part",
        ".emodb.zip.download/emodb.zip.part.json",
    ]
    server.cut, server.sent = None, 0
    fetch(server, tmp_path)
    assert server.sent == len(GOOD) - kept and (tmp_path / "emodb.zip").read_bytes() == GOOD
    assert not (tmp_path / ".emodb.zip.download").exists()


def test_a_killed_download_fetches_only_the_remaining_bytes(server, tmp_path):
    server.pause = 0.02
    call = (
        "import sys; from colab_utils.corpora.download import fetch_corpus; fetch_corpus('emodb',"
        " sys.argv[1], base_url=sys.argv[2])"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", call, str(tmp_path), server.url], stderr=subprocess.DEVNULL
    )
    part = tmp_path / ".emodb.zip.download/emodb.zip.part"
    deadline = time.time() + 60
    while not (part.exists() and part.stat().st_size > 500_000):
        assert time.time() < deadline and child.poll() is None
        time.sleep(0.005)
    child.kill()
    child.wait()
    kept = part.stat().st_size
    assert 500_000 < kept < len(GOOD) and not (tmp_path / "emodb").exists()
    server.pause = 0.0
    # let the server notice that the child is gone
    time.sleep(0.2)
    server.sent = 0
    server.asked.clear()
    fetch(server, tmp_path)
    assert server.asked == [("/download.zip", f"bytes={kept}-")] and server.sent == len(GOOD) - kept
    assert (tmp_path / "emodb.zip").read_bytes() == GOOD and not part.parent.exists()


def cut_once(server, tmp_path):
    server.cut = 100_000
    with pytest.raises(download.DownloadError):
        fetch(server, tmp_path)
    server.cut = None
    server.asked.clear()


def test_a_server_without_ranges_starts_again_and_says_so(server, tmp_path, capsys):
    server.ranges = False
    cut_once(server, tmp_path)
    fetch(server, tmp_path)
    assert "starts again" in capsys.readouterr().out
    assert (tmp_path / "emodb.zip").read_bytes() == GOOD


@pytest.mark.parametrize("etag", ['"v2"', ""], ids=["new etag", "no etag, new length"])
def test_a_file_that_changed_in_between_is_never_stitched_together(server, tmp_path, etag):
    server.etag = '"v1"' if etag else ""
    cut_once(server, tmp_path)
    server.body, server.etag = a_zip({"wav/03a01Fa.wav": NOISE[::-1] + b"longer"}), etag
    fetch(server, tmp_path)
    assert (tmp_path / "emodb.zip").read_bytes() == server.body


@pytest.mark.parametrize("status, tries", [(404, 1), (403, 1), (500, 4), (503, 4), (429, 4)])
def test_a_refusing_server_gives_one_sentence_and_leaves_nothing(server, tmp_path, status, tries):
    server.status = status
    with pytest.raises(
        download.DownloadError, match=f"answers {status}.*nothing was kept"
    ) as error:
        fetch(server, tmp_path)
    assert one_sentence(error) and len(server.asked) == tries and left(tmp_path) == []


def test_a_vanished_file_does_not_cost_the_part(server, tmp_path):
    cut_once(server, tmp_path)
    server.status = 404
    before = left(tmp_path)
    with pytest.raises(download.DownloadError, match="answers 404.*are kept"):
        fetch(server, tmp_path)
    assert left(tmp_path) == before != []


def test_no_server_at_all(server, tmp_path):
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(
        download.DownloadError, match="no connection to the server, tried 4 times"
    ) as error:
        fetch(server, tmp_path)
    assert one_sentence(error) and left(tmp_path) == []


def test_owners_checksum_is_checked(server, tmp_path):
    with pytest.raises(download.DownloadError, match="checksum of its owners") as error:
        fetch(server, tmp_path, "ravdess")
    assert one_sentence(error) and left(tmp_path) == []


def test_a_later_download_must_agree_with_the_first(server, tmp_path):
    fetch(server, tmp_path)
    shutil.rmtree(tmp_path / "emodb")
    (tmp_path / "emodb.zip").unlink()
    server.body = a_zip({"wav/03a01Fa.wav": b"something else"})
    with pytest.raises(
        download.DownloadError, match="first download.*delete emodb.source.json"
    ) as error:
        fetch(server, tmp_path)
    assert one_sentence(error) and left(tmp_path) == ["emodb.source.json"]
    server.body = GOOD
    assert (fetch(server, tmp_path) / "wav/03a01Fa.wav").read_bytes() == NOISE


@pytest.mark.parametrize(
    "body, reason",
    [
        (b"<html>not found</html>", "not a zip"),
        (a_zip({"../escaped.wav": b"x"}), "outside the folder"),
        (GOOD[:-500] + b"\0" * 500, "zip"),
    ],
    ids=["html", "climbs out", "damaged"],
)
def test_what_is_not_a_safe_archive_is_refused_and_removed(server, tmp_path, body, reason):
    server.body = body
    with pytest.raises(download.DownloadError, match=reason) as error:
        fetch(server, tmp_path / "corpora")
    assert one_sentence(error) and left(tmp_path) == []


def test_too_little_room_is_said_before_a_byte_is_written(server, tmp_path, monkeypatch):
    monkeypatch.setattr(
        web.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1_000_000)
    )
    with pytest.raises(files.DiskFullError, match="1 MB are free") as error:
        fetch(server, tmp_path)
    assert one_sentence(error) and left(tmp_path) == []


def test_a_disk_that_fills_up_keeps_the_part_and_says_so(server, tmp_path, monkeypatch):
    class Full(io.FileIO):
        def write(self, data):
            if self.tell() > 1_000_000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(
        web, "open", lambda path, mode: Full(path, mode.replace("b", "")), raising=False
    )
    with pytest.raises(files.DiskFullError, match="no room left.*are kept in") as error:
        fetch(server, tmp_path)
    assert (
        one_sentence(error)
        and not (tmp_path / "emodb").exists()
        and not (tmp_path / "emodb.zip").exists()
    )
    monkeypatch.undo()
    kept, server.sent = (tmp_path / ".emodb.zip.download/emodb.zip.part").stat().st_size, 0
    fetch(server, tmp_path)
    assert kept > 1_000_000 and server.sent == len(GOOD) - kept


def test_a_disk_that_fills_up_while_unpacking_keeps_the_archive_only(server, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives.shutil, "copyfileobj", full)
    with pytest.raises(files.DiskFullError, match="while unpacking"):
        fetch(server, tmp_path)
    assert left(tmp_path) == ["emodb.zip"]
    monkeypatch.undo()
    fetch(server, tmp_path)
    assert len(server.asked) == 1 and (tmp_path / "emodb/wav/03a01Fa.wav").read_bytes() == NOISE


def test_an_interrupt_says_what_was_kept(server, tmp_path, monkeypatch, capsys):
    class Pressed:
        def __init__(self, *args, **kwargs):
            self.pieces = 0

        def __enter__(self):
            return self

        def __exit__(self, *details):
            return None

        def update(self, number):
            self.pieces += 1
            if self.pieces == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(web, "progress_bar", Pressed)
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path)
    part = tmp_path / ".emodb.zip.download/emodb.zip.part"
    assert f"{part.stat().st_size / 1e6:.1f} MB are kept" in capsys.readouterr().out


def test_what_is_in_the_way_is_not_touched(server, tmp_path):
    (tmp_path / "emodb").mkdir()
    (tmp_path / "emodb/mine.wav").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="was not fetched"):
        fetch(server, tmp_path)
    assert left(tmp_path) == ["emodb/mine.wav"] and server.asked == []


def test_corpora_on_request_are_never_fetched(server, tmp_path):
    with pytest.raises(download.DownloadError, match="release form"):
        fetch(server, tmp_path, "iemocap")
    with pytest.raises(ManifestError, match="known:.*ravdess"):
        fetch(server, tmp_path, "nonsense")
    assert server.asked == [] and left(tmp_path) == []


def test_every_address_is_honest():
    sources = download._sources()
    assert set(sources.index) == KNOWN and sources.index.is_unique
    assert set(download.fetchable()) == {"ravdess", "emodb", "cafe"}
    for name, row in sources.iterrows():
        assert bool(row["url"]) == bool(row["tested"]) and row["tested"] in ("", "yes", "no"), name
        assert not row["hash"] or (
            re.fullmatch(r"(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})", row["hash"])
            and row["hash_source"]
        ), name
        if name in corpus_names() and row["url"]:
            assert load_card(name).access == "open", name


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_how_to_get_says_where_from_and_where_to(name):
    text = download.how_to_get(name)
    assert (
        "http" in text
        and f"MyDrive/ser_corpora/{name}.zip" in text
        and "Inside:" in text
        and "Licence:" in text
        and "\n" not in text
    )
    if name in corpus_names():
        assert load_card(name).license in text


def test_the_page_on_corpora_says_the_same():
    page = (data_folder().parent / "docs" / "corpora.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]]
        for line in page.splitlines()
        if line.startswith("| `")
    ]
    assert {row[0].split("`")[0] for row in rows} == KNOWN
    for name, _, _, utterances, emotions, access, _, confidence in rows:
        card = load_card(name.split("`")[0])
        assert confidence == card.counts["confidence"], name
        assert access.startswith(card.access) and ("fetched" in access) == (
            card.name in download.fetchable()
        ), name
        assert re.search(rf"\b{card.counts['utterances']}\b", utterances.replace(",", "")), name
        for emotion, count in card.counts.get("per_emotion", {}).items():
            # their tables name the usual classes, or count the clip without audio
            known = card.name in ("iemocap", "msp_improv", "crema_d")
            assert known or (emotion in emotions and str(count) in emotions), (name, emotion)


def test_overview_and_preparation_from_drive(tmp_path, capsys):
    on_drive, local = tmp_path / "MyDrive", tmp_path / "local"
    on_drive.mkdir()
    (on_drive / "EmoDB.zip").write_bytes(GOOD)
    (on_drive / "MSP-IMPROV.tar").write_bytes(b"no tar at all")
    (on_drive / "savee.zip").write_bytes(b"")
    (on_drive / "iemocap").mkdir()
    (on_drive / "tess.zip").write_bytes(GOOD)
    (on_drive / "tess.tar").write_bytes(GOOD)
    (on_drive / "my_voices.zip").write_bytes(GOOD)
    (on_drive / "letter.pdf").write_bytes(b"x")
    table = download.drive_overview(on_drive).set_index("corpus")
    assert list(table.columns) == ["archive", "size_mb", "state"] and set(table.index) == KNOWN | {
        "my_voices"
    }
    assert table.at["emodb", "state"] == table.at["my_voices", "state"] == "ready"
    assert (
        table.at["emodb", "size_mb"] == round(len(GOOD) / 1e6, 1)
        and table.at["emodb", "archive"] == "EmoDB.zip"
    )
    starts = {
        "msp_improv": "damaged",
        "savee": "empty",
        "iemocap": "a folder",
        "tess": "found more than once",
        "ravdess": "missing",
    }
    assert all(table.at[name, "state"].startswith(start) for name, start in starts.items())
    folder = download.prepare_corpus("emodb", on_drive, local)
    assert (folder / "wav/03a01Fa.wav").read_bytes() == NOISE
    stamp = (folder / "wav/03a01Fa.wav").stat().st_mtime_ns
    assert (
        download.prepare_corpus("emodb", on_drive, local) == folder
        and (folder / "wav/03a01Fa.wav").stat().st_mtime_ns == stamp
    )
    with pytest.raises(ManifestError, match="more than once"):
        download.prepare_corpus("tess", on_drive, local)
    with pytest.raises(FileNotFoundError, match="ravdess.*Zenodo"):
        download.prepare_corpus("ravdess", on_drive, local)
    with pytest.raises(ArchiveError):
        download.prepare_corpus("savee", on_drive, local)
    assert left(local) == sorted(
        [f"EmoDB/{STAMP}", "EmoDB/wav/03a01Fa.wav", "EmoDB/wav/03a01Nc.wav"]
    )


def test_overview_without_drive(tmp_path, capsys):
    table = download.drive_overview(tmp_path / "nowhere")
    assert (
        (table["state"] == "missing").all()
        and len(table) == len(KNOWN)
        and isinstance(table, pd.DataFrame)
    )
    assert "mount Drive" in capsys.readouterr().out
