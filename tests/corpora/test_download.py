"""Fetching corpora: whole, once, checked, and refused in one sentence."""

import json
import shutil
import types

import pytest
from fetching import GOOD, NOISE, a_zip, fetch, left, one_sentence

from colab_utils import files
from colab_utils.corpora import download, web
from colab_utils.corpora.manifest import ManifestError
from colab_utils.drive import archives
from colab_utils.drive.staging import STAMP


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


@pytest.mark.parametrize("status, tries", [(404, 1), (403, 1), (500, 4), (503, 4), (429, 4)])
def test_a_refusing_server_gives_one_sentence_and_leaves_nothing(server, tmp_path, status, tries):
    server.status = status
    with pytest.raises(
        download.DownloadError, match=f"answers {status}.*nothing was kept"
    ) as error:
        fetch(server, tmp_path)
    assert one_sentence(error) and len(server.asked) == tries and left(tmp_path) == []


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
        (b"<html>not found</html>", "web page"),
        (b"not found", "not a zip"),
        (a_zip({"../escaped.wav": b"x"}), "outside the folder"),
        (GOOD[:-500] + b"\0" * 500, "zip"),
    ],
    ids=["html", "text", "climbs out", "damaged"],
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


def test_a_disk_that_fills_up_while_unpacking_keeps_the_archive_and_its_note(
    server, tmp_path, monkeypatch
):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives.shutil, "copyfileobj", full)
    with pytest.raises(files.DiskFullError, match="while unpacking"):
        fetch(server, tmp_path)
    assert {"emodb.zip", ".emodb.zip.download/emodb.source.json"} <= set(left(tmp_path))
    assert not (tmp_path / "emodb").exists()
    monkeypatch.undo()
    fetch(server, tmp_path)
    assert len(server.asked) == 1 and (tmp_path / "emodb/wav/03a01Fa.wav").read_bytes() == NOISE
    assert "emodb.source.json" in left(tmp_path)
    assert not (tmp_path / ".emodb.zip.download").exists()


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
