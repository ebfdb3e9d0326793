"""One door to every corpus: made here, in a folder, on Drive, fetched, or the user's own; and one
sentence where none of these works.
"""

import functools
import http.server
import sys
import threading
import types
import zipfile

import pandas as pd
import pytest

from colab_utils.corpora import ManifestError, open_corpus, opening
from colab_utils.corpora.download import DownloadError
from colab_utils.corpora.manifest import empty_row

STEMS = ("03a01Fa", "08b01Na", "10a02Wa")


@pytest.fixture
def emodb(tmp_path, tone):
    """A folder with three tones that are called like utterances of EmoDB."""
    for number, stem in enumerate(STEMS, 1):
        tone(tmp_path / "audio" / f"{stem}.wav", seconds=0.3, hz=100 * number)
    return tmp_path / "audio"


def zipped(folder, archive):
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as out:
        for file in sorted(folder.iterdir()):
            out.write(file, f"wav/{file.name}")
    return archive


def ids(scan):
    return scan.manifest["utt_id"].tolist()


def test_the_embedded_corpus_is_made_below_the_workspace(tmp_path, monkeypatch, tone):
    made = []

    def make_synthetic_corpus(folder):
        made.append(folder)
        return pd.DataFrame(
            [
                {
                    **empty_row("synthetic-room", "a"),
                    "file": str(tone(folder / "a.wav")),
                    "sample_rate": 16000,
                    "channels": 1,
                    "duration": 1.0,
                    "audio_sha256": "0",
                }
            ]
        )

    monkeypatch.setitem(
        sys.modules,
        "colab_utils.corpora.synthetic",
        types.SimpleNamespace(make_synthetic_corpus=make_synthetic_corpus),
    )
    assert ids(open_corpus("synthetic", workspace=tmp_path / "w")) == ["synthetic-room/a"]
    assert len(made) == 1 and made[0].is_relative_to(tmp_path / "w")
    with pytest.raises(ManifestError, match="leave AUDIO empty, or set CORPUS"):
        open_corpus("synthetic", tmp_path, tmp_path / "w")
    assert len(made) == 1


@pytest.mark.parametrize("as_what", [str, lambda folder: folder])
def test_a_known_corpus_in_a_folder_is_decoded_once(tmp_path, emodb, as_what, capsys, decoded):
    scan = open_corpus("emodb", as_what(emodb), tmp_path / "w")
    assert ids(scan) == [f"emodb/{stem}" for stem in STEMS] and scan.card.name == "emodb"
    assert "3 found, 535 expected" in capsys.readouterr().out
    assert len(decoded) == 3
    open_corpus("emodb", as_what(emodb), tmp_path / "w")
    assert len(decoded) == 3


def test_from_its_archive_on_drive(tmp_path, emodb):
    zipped(emodb, tmp_path / "MyDrive/ser_corpora/EmoDB.zip")
    scan = open_corpus("emodb", "", tmp_path / "w", tmp_path / "MyDrive")
    assert ids(scan) == [f"emodb/{stem}" for stem in STEMS]
    assert all(file.startswith(str(tmp_path / "w/corpora")) for file in scan.manifest["file"])
    (tmp_path / "MyDrive/ser_corpora/EmoDB.zip").write_bytes(b"damaged")
    # a named folder comes first
    assert len(open_corpus("emodb", emodb, tmp_path / "w", tmp_path / "MyDrive").manifest) == 3


@pytest.fixture
def mirror(tmp_path, emodb, monkeypatch):
    """A local server in the place of the owners' address of EmoDB."""
    from colab_utils.corpora import download

    zipped(emodb, tmp_path / "mirror" / "emodb.zip")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "mirror")
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *args: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sources = download._sources()
    sources.loc["emodb", ["url", "bytes", "hash"]] = [
        f"http://127.0.0.1:{server.server_port}/emodb.zip",
        "",
        "",
    ]
    monkeypatch.setattr(download, "_sources", lambda: sources)
    yield tmp_path / "mirror"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("drive", [None, "MyDrive"])
def test_fetched_where_it_is_nowhere_else(tmp_path, mirror, drive):
    """A Drive without this corpus is no reason to refuse the download that was asked for."""
    drive = drive and tmp_path / drive
    scan = open_corpus("emodb", workspace=tmp_path / "w", drive_folder=drive, fetch=True)
    assert (
        ids(scan) == [f"emodb/{stem}" for stem in STEMS]
        and (tmp_path / "w/corpora/emodb.zip").is_file()
    )


def test_what_may_not_be_fetched_says_how_to_ask(tmp_path):
    with pytest.raises(
        DownloadError, match="iemocap cannot be fetched from here.*ser_corpora/iemocap.zip"
    ):
        open_corpus("iemocap", workspace=tmp_path, fetch=True)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    ("name", "drive", "message"),
    [
        ("savee", None, r"where is savee\? Set AUDIO to its folder. .*ser_corpora/savee.zip"),
        ("savee", "MyDrive", "no archive of savee in .*ser_corpora.*savee.zip"),
        ("emodbb", None, "unknown corpus 'emodbb'; known: .*emodb"),
        ("emodbb", "MyDrive", "unknown corpus 'emodbb'"),
    ],
)
def test_a_corpus_that_is_nowhere(tmp_path, name, drive, message):
    with pytest.raises(ManifestError, match=message):
        open_corpus(name, workspace=tmp_path, drive_folder=drive and tmp_path / drive)


def test_own_folder_and_own_table_are_decoded_once(tmp_path, tone, capsys, monkeypatch, decoded):
    monkeypatch.setenv("HOME", str(tmp_path))
    tone(tmp_path / "voices/angry/1.wav", hz=100)
    tone(tmp_path / "voices/sad/2.wav", hz=200)
    by_folder = open_corpus("own", tmp_path / "voices", tmp_path / "w")
    assert ids(by_folder) == ["own/angry/1", "own/sad/2"] and by_folder.manifest[
        "emotion"
    ].tolist() == ["anger", "sadness"]
    assert "own: 2 utterances, 0 known speakers" in capsys.readouterr().out
    (tmp_path / "voices/list.csv").write_text(
        "datei;wer;was\nangry\\1.wav;A;Wut\nsad\\2.wav;B;sad\n"
    )
    columns = {"wav": "datei", "emotion": "was", "speaker": "wer"}
    by_table = open_corpus("own", "~/voices/list.csv", tmp_path / "w", csv_columns=columns)
    assert by_table.manifest[["utt_id", "speaker", "emotion"]].to_numpy().tolist() == [
        ["own/angry/1", "A", "wut"],
        ["own/sad/2", "B", "sadness"],
    ]
    assert sorted(decoded) == ["1.wav", "1.wav", "2.wav", "2.wav"]
    open_corpus("own", tmp_path / "voices", tmp_path / "w")
    open_corpus("own", "~/voices/list.csv", tmp_path / "w", csv_columns=columns)
    assert len(decoded) == 4


@pytest.mark.parametrize(
    ("audio", "columns", "message"),
    [
        ("", {}, 'CORPUS = "own" needs AUDIO'),
        (None, {}, 'CORPUS = "own" needs AUDIO'),
        ("nowhere", {}, "nowhere: no such file or folder"),
        ("list.csv", {}, r"list.csv is a table: say which columns.*\{\"wav\".*OWN_CSV"),
        ("list.csv", {"wav": "file"}, "say which columns"),
        (
            "list.csv",
            {"wav": "file", "emotion": "feeling"},
            r"no column 'feeling' \(for emotion\); found: file, label",
        ),
        (
            "list.csv",
            {"wav": "file", "emotion": "label", "who": "label"},
            "'who' is not a column of a manifest",
        ),
        ("bare", {}, "no audio in sub-folders"),
    ],
)
def test_own_data_that_cannot_be_opened(tmp_path, monkeypatch, audio, columns, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.csv").write_text("file,label\na.wav,angry\n")
    (tmp_path / "bare").mkdir()
    with pytest.raises(ManifestError, match=message):
        open_corpus("own", audio, tmp_path / "w", csv_columns=columns)


def test_domains_that_are_named_alone_come_without_the_others(tmp_path, monkeypatch):
    rows = [empty_row(f"synthetic-{name}", name) for name in ("room", "street", "phone")]
    scan = types.SimpleNamespace(manifest=pd.DataFrame(rows))
    monkeypatch.setattr(opening, "open_corpus", lambda *_, **__: scan)
    names = ["synthetic-room", "synthetic-phone"]
    everything = opening.open_corpora(names, workspace=tmp_path)
    assert list(everything["corpus"]) == ["synthetic-room", "synthetic-street", "synthetic-phone"]
    some = opening.open_corpora(names, workspace=tmp_path, alone=True)
    assert list(some["corpus"]) == ["synthetic-room", "synthetic-phone"]
    whole = opening.open_corpora(["synthetic"], workspace=tmp_path, alone=True)
    assert len(whole) == 3
