"""Where corpora come from, and their archives on Drive."""

import re

import pandas as pd
import pytest
from fetching import GOOD, NOISE, left

from colab_utils.corpora import download
from colab_utils.corpora.cards import corpus_names, data_folder, load_card
from colab_utils.corpora.manifest import ManifestError
from colab_utils.drive import ArchiveError
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


def fetched():
    """The corpora that have an address."""
    sources = download._sources()
    return set(sources.index[sources["url"] != ""])


def test_every_address_is_honest():
    sources = download._sources()
    assert set(sources.index) == KNOWN and sources.index.is_unique
    assert fetched() == {"ravdess", "emodb", "cafe"}
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
            card.name in fetched()
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
