"""EmoFilm: speakers and films from the legend beside the audio."""

from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import pytest

from colab_utils.corpora import ManifestError
from colab_utils.corpora.parsers import ANNOTATIONS, PARSERS, emofilm
from colab_utils.corpora.scan import scan


def test_only_three_corpora_need_files_beside_the_audio():
    assert sorted(ANNOTATIONS) == ["emofilm", "iemocap", "msp_improv"] and all(
        callable(read) for read in ANNOTATIONS.values()
    )


# EmoFilm
LANGUAGES = (
    [("en", "es", "it")] * 163
    + [("en", "es")] * 80
    + [("en", "it")] * 52
    + [("es", "it")] * 66
    + [("en",)] * 48
    + [("es",)] * 50
    + [("it",)] * 132
)


def emofilm_stems():
    """1,115 fabricated stems whose 591 clip ids are shared by languages as in the corpus."""
    ids = [
        f"{'fm'[n % 2]}_{('ans', 'dis', 'gio', 'rab', 'tri')[n % 5]}{n // 10:03}a"
        for n in range(591)
    ]
    return [
        clip + language
        for clip, languages in zip(ids, LANGUAGES, strict=True)
        for language in languages
    ]


def test_emofilm_scenes_that_languages_share_follow_from_text_id():
    rows = pd.DataFrame(
        [PARSERS["emofilm"](PurePosixPath(f"{stem}.wav")) for stem in emofilm_stems()]
    )
    assert len(rows) == 1115 and rows["language"].value_counts().to_dict() == {
        "it": 413,
        "es": 359,
        "en": 343,
    }
    assert rows.groupby("text_id")["language"].nunique().value_counts().to_dict() == {
        1: 230,
        2: 198,
        3: 163,
    }
    shared = {
        language: (
            rows.loc[rows["language"] == language, "text_id"]
            .isin(rows.loc[rows["language"] != language, "text_id"])
            .sum()
        )
        for language in ("it", "es", "en")
    }
    assert shared == {"it": 281, "es": 309, "en": 295}


def emofilm_folder(tmp_path, legend, name="f_m_corpus_legend.csv", below=True):
    folder = tmp_path / "wav"
    folder.mkdir()
    for stem in ("f_ans001aen", "f_ans001ait_16k", "m_rab002bes"):
        (folder / f"{stem}.wav").write_bytes(b"")
    if legend is not None:
        ((folder if below else tmp_path) / name).write_text(legend, encoding="utf-8")
    return folder


@pytest.mark.parametrize("below", [True, False])
def test_emofilm_legend_gives_films_and_speakers_once_spelt(tmp_path, capsys, below):
    legend = (
        "file;speaker;film\nf_ans001aen.wav;Meryl Streep ;Borkeback"
        " Mountain\nf_ans001ait_16k.wav;??;brokeback\nm_rab002bes;Camilo"
        " Garcia;Crash\nf_tri003aen.wav;not here;hook\n"
    )
    table = emofilm.annotations(emofilm_folder(tmp_path, legend, below=below))
    assert table.to_dict("index") == {
        "emofilm/f_ans001aen": {"speaker": "meryl streep", "film": "brokeback mountain"},
        "emofilm/f_ans001ait": {"speaker": "", "film": "brokeback mountain"},
        "emofilm/m_rab002bes": {"speaker": "camilo garcía", "film": "crash"},
    }
    assert "leaves the speaker of 1 of 3 clips unknown" in capsys.readouterr().out


def test_emofilm_without_legend_says_so_and_keeps_the_clips(tmp_path, capsys, tone):
    folder = emofilm_folder(tmp_path, None)
    for number, file in enumerate(sorted(folder.iterdir())):
        tone(file, hz=200 + 30 * number)
    result = scan("emofilm", folder)
    assert "no legend" in capsys.readouterr().out and result.manifest["speaker"].tolist() == [
        "",
        "",
        "",
    ]
    assert (
        result.manifest["emotion"].tolist() == ["fear", "fear", "anger"]
        and result.manifest["text_id"].nunique() == 2
    )


@pytest.mark.parametrize(
    ("legend", "message"),
    [
        ("file,film\na,b\n", "file, speaker and film are needed"),
        ("file,speaker,film\nnonsense.wav,a,b\n", "'nonsense.wav' is not the name"),
        (
            "file,speaker,film\nf_ans001aen,a,b\nf_ans001aen_16k,a,c\n",
            "two different entries for emofilm/f_ans001aen",
        ),
    ],
)
def test_emofilm_legends_that_cannot_be_used(tmp_path, legend, message):
    with pytest.raises(ManifestError, match=message):
        emofilm.annotations(emofilm_folder(tmp_path, legend))


def test_emofilm_legend_as_workbook(tmp_path, monkeypatch):
    pytest.importorskip("openpyxl")
    folder = emofilm_folder(tmp_path, None)
    sheets = {
        "en": pd.DataFrame({"file": ["f_ans001aen"], "speaker": ["A"], "film": ["Crash"]}),
        "es": pd.DataFrame({"file": ["m_rab002bes"], "speaker": [np.nan], "film": ["Crash"]}),
    }
    with pd.ExcelWriter(folder / "f_m_corpus_it_es_en_legend.xlsx") as book:
        for name, sheet in sheets.items():
            sheet.to_excel(book, sheet_name=name, index=False)
    table = emofilm.annotations(folder)
    assert table["film"].to_dict() == {
        "emofilm/f_ans001aen": "crash",
        "emofilm/f_ans001ait": "",
        "emofilm/m_rab002bes": "crash",
    }
    assert table["speaker"].tolist() == ["a", "", ""]

    def without_openpyxl(file, **options):
        raise ImportError("Missing optional dependency 'openpyxl'")

    monkeypatch.setattr(pd, "read_excel", without_openpyxl)
    with pytest.raises(ManifestError, match="pip install openpyxl.*or save it as CSV"):
        emofilm.annotations(folder)
