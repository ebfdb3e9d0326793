"""A download that is cut, killed or interrupted goes on with the missing bytes only."""

import io
import subprocess
import sys
import time

import pytest
from fetching import GOOD, NOISE, a_zip, cut_once, fetch, left, one_sentence

from colab_utils import files
from colab_utils.corpora import download, web


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
    server.count_anew()
    server.cut = None
    fetch(server, tmp_path)
    assert server.sent == len(GOOD) - kept and (tmp_path / "emodb.zip").read_bytes() == GOOD
    assert not (tmp_path / ".emodb.zip.download").exists()


@pytest.mark.slow
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
    server.count_anew()
    server.asked.clear()
    fetch(server, tmp_path)
    assert server.asked == [("/download.zip", f"bytes={kept}-")] and server.sent == len(GOOD) - kept
    assert (tmp_path / "emodb.zip").read_bytes() == GOOD and not part.parent.exists()


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


def test_a_vanished_file_does_not_cost_the_part(server, tmp_path):
    cut_once(server, tmp_path)
    server.status = 404
    before = left(tmp_path)
    with pytest.raises(download.DownloadError, match="answers 404.*are kept"):
        fetch(server, tmp_path)
    assert left(tmp_path) == before != []


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
    kept = (tmp_path / ".emodb.zip.download/emodb.zip.part").stat().st_size
    server.count_anew()
    fetch(server, tmp_path)
    assert kept > 1_000_000 and server.sent == len(GOOD) - kept


def test_an_interrupt_says_what_was_kept(server, tmp_path, monkeypatch, capsys):
    class Pressed:
        """A bar at whose third step somebody presses stop."""

        def __init__(self, **settings):
            self.pieces = 0

        def __enter__(self):
            return self

        def __exit__(self, *details):
            return None

        def update(self, number):
            self.pieces += 1
            if self.pieces == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(web.progress, "bar", Pressed)
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path)
    part = tmp_path / ".emodb.zip.download/emodb.zip.part"
    assert f"{part.stat().st_size / 1e6:.1f} MB are kept" in capsys.readouterr().out
