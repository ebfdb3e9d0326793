"""Corpus parsers: every other name is refused with a reason, none reads another corpus."""

import pathlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from naming import (
    ANY_NAME,
    FOLDERS,
    FOUR,
    NINE,
    read,
)

from colab_utils.corpora.cards import load_card
from colab_utils.corpora.parsers import PARSERS, ForeignNameError, belongs_to


@given(ANY_NAME, FOLDERS)
def test_a_name_belongs_to_one_of_all_thirteen_corpora(corpus_and_name, folder):
    corpus, name = corpus_and_name
    path = pathlib.PurePosixPath(f"{folder}{name}.wav")
    assert set(PARSERS) >= {*NINE, *FOUR} and belongs_to(path) == [corpus]
    for other in set(PARSERS) - {corpus}:
        with pytest.raises(ForeignNameError) as caught:
            PARSERS[other](path)
        assert len(caught.value.reason) > 10


@given(ANY_NAME, st.data())
def test_a_name_with_one_more_letter_is_refused(corpus_and_name, data):
    corpus, name = corpus_and_name
    at = data.draw(st.sampled_from([0, len(name)]))
    letter = data.draw(st.sampled_from(string.ascii_letters + string.digits + " _-٣é"))
    if (corpus, at, letter) in {
        ("aesdd", len(name), "a"),
        ("aesdd", len(name), "b"),
    } and name.endswith(")"):
        # a repeated take
        assert (
            read(corpus, f"{name}{letter}.wav")["speaker"] == read(corpus, f"{name}.wav")["speaker"]
        )
        return
    with pytest.raises(ForeignNameError):
        read(corpus, f"x/{name[:at]}{letter}{name[at:]}.wav")


@given(st.text(max_size=12))
def test_no_text_breaks_a_parser(text):
    path = pathlib.PurePosixPath(f"{text}.wav")
    for corpus, parse in PARSERS.items():
        try:
            row = parse(path)
        except ForeignNameError as error:
            assert error.reason
        else:
            assert row["corpus"] == corpus and row["utt_id"] == f"{corpus}/{row['path']}"


@pytest.mark.parametrize(
    ("corpus", "name", "reason"),
    [
        ("emodb", "01a01Fa", "EmoDB"),
        ("emodb", "03a03Fa", "EmoDB"),
        ("emodb", "03a01Xa", "EmoDB"),
        ("emodb", "03A01Fa", "EmoDB"),
        ("ravdess", "03-02-05-01-01-01-01", "song"),
        ("ravdess", "02-01-05-01-01-01-01", "video without sound"),
        ("ravdess", "01-01-05-01-01-01-01", "audio-visual"),
        ("ravdess", "03-01-01-02-01-01-01", "no strong intensity"),
        ("ravdess", "03-01-09-01-01-01-01", "RAVDESS"),
        ("ravdess", "03-01-05-01-01-01-25", "RAVDESS"),
        ("ravdess", "03-01-05-01-01-01", "RAVDESS"),
        ("emovo", "dis-f4-b1", "EMOVO"),
        ("emovo", "dis-f1-d3", "EMOVO"),
        ("emovo", "ang-f1-b1", "EMOVO"),
        ("savee", "DC_a16", "SAVEE"),
        ("savee", "DC_n31", "SAVEE"),
        ("savee", "DC_a00", "SAVEE"),
        ("savee", "XX_a01", "SAVEE"),
        ("savee", "a01", "SAVEE"),
        ("savee", "XX/a01", "SAVEE"),
        ("savee", "DC_s01", "SAVEE"),
        ("iemocap", "Ses01F_impro01", "a whole dialogue"),
        ("iemocap", "Ses06F_impro01_M003", "IEMOCAP"),
        ("iemocap", "Ses01F_impro01_MXX0", "IEMOCAP"),
        ("iemocap", "Ses01F_impro09_M003", "IEMOCAP"),
        ("iemocap", "Ses01F_impro01_X003", "IEMOCAP"),
        ("msp_improv", "UTD-IMPROV-S01A-F01-P-FM01", "MSP-IMPROV"),
        ("msp_improv", "MSP-IMPROV-S21A-F01-P-FM01", "MSP-IMPROV"),
        ("msp_improv", "MSP-IMPROV-S01X-F01-P-FM01", "MSP-IMPROV"),
        ("msp_improv", "MSP-IMPROV-S01A-F07-P-FM01", "MSP-IMPROV"),
        ("emofilm", "f_ans001afr", "EmoFilm"),
        ("emofilm", "x_ans001aen", "EmoFilm"),
        ("emofilm", "f_ang001aen", "EmoFilm"),
        ("emofilm", "f_ans001en", "EmoFilm"),
        ("crema_d", "1000_DFA_ANG_XX", "CREMA-D"),
        ("crema_d", "1092_DFA_ANG_XX", "CREMA-D"),
        ("crema_d", "1001_DFA_ANG_LO", "CREMA-D"),
        ("crema_d", "1001_IEO_ANG_XX", "CREMA-D"),
        ("crema_d", "1001_IEO_NEU_LO", "CREMA-D"),
        ("crema_d", "1041_ITH_SAD_X", "CREMA-D"),
        ("tess", "OA_back_angry", "TESS"),
        ("tess", "OAF_back_pleasant", "TESS"),
        ("tess", "OAF_angry", "TESS"),
        ("tess", "XAF_back_angry", "TESS"),
        ("aesdd", "n03 (3)", "AESDD"),
        ("aesdd", "a21 (3)", "AESDD"),
        ("aesdd", "a03 (7)", "AESDD"),
        ("aesdd", "a03", "AESDD"),
        ("cafe", "01-N-2-1", "no strong intensity"),
        ("cafe", "13-C-1-1", "CaFE"),
        ("cafe", "01-A-1-1", "CaFE"),
        ("cafe", "01-C-3-1", "CaFE"),
        ("shemo", "F32N01", "ShEMO"),
        ("shemo", "M57N01", "ShEMO"),
        ("shemo", "F00N01", "ShEMO"),
        ("shemo", "F21D37", "ShEMO"),
        ("esd", "0021_000001", "ESD"),
        ("esd", "0000_000001", "ESD"),
        ("esd", "0001_001751", "number 1751"),
        ("esd", "0001_000000", "number 0"),
    ],
)
def test_illegal_names_are_refused_with_the_reason(corpus, name, reason):
    with pytest.raises(ForeignNameError, match=reason):
        read(corpus, f"{name}.wav")


def test_letters_mean_what_their_own_corpus_says():
    means = {corpus: load_card(corpus).label_map for corpus in (*NINE, *FOUR)}
    assert (means["emodb"]["W"], means["shemo"]["W"]) == ("anger", "surprise")
    assert (
        means["emodb"]["A"],
        means["shemo"]["A"],
        means["msp_improv"]["A"],
        means["aesdd"]["a"],
    ) == ("fear", "anger", "anger", "anger")
    assert (means["emodb"]["F"], means["shemo"]["F"], means["aesdd"]["f"]) == (
        "happiness",
        "fear",
        "fear",
    )
    assert (means["cafe"]["T"], means["cafe"]["S"], means["shemo"]["S"], means["tess"]["ps"]) == (
        "sadness",
        "surprise",
        "sadness",
        "surprise",
    )
    assert (means["emofilm"]["dis"], means["emovo"]["dis"], means["iemocap"]["dis"]) == (
        "contempt",
        "disgust",
        "disgust",
    )
