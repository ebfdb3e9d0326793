"""Nine more corpora: every legal name gives its fields, no corpus reads another's names, and counts
are the published ones (method_facts §5).
"""

import collections
import itertools
import pathlib
import string

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from colab_utils.corpora import ManifestError, frozen_folds, load_card, scan, select_emotions
from colab_utils.corpora.cards import shipped_manifest
from colab_utils.corpora.manifest import COLUMNS, NUMBERS, TEXTS, validate
from colab_utils.corpora.parsers import PARSERS, ForeignNameError, belongs_to

NINE = ("aesdd", "cafe", "crema_d", "emofilm", "esd", "iemocap", "msp_improv", "shemo", "tess")
FOUR = ("emodb", "emovo", "ravdess", "savee")
SHIPPED = ("cafe", "crema_d", "tess")
# the classes of method_facts §4.1
FIVE = ["anger", "happiness", "sadness", "disgust", "fear"]


def read(corpus, name):
    return PARSERS[corpus](pathlib.PurePosixPath(name))


def words(text):
    return st.sampled_from(text.split())


def two(low, high):
    return st.integers(low, high).map("{:02}".format)


# Naming written down a second time, from method_facts §5, as what each place of a name may hold.
IEMOCAP = st.tuples(
    st.integers(1, 5).map(str),
    st.sampled_from("FM"),
    words("impro01 impro05b impro08a script01_1b script03_2"),
    st.sampled_from("FM"),
    st.integers(0, 999).map("{:03}".format),
)
MSP = st.tuples(
    two(1, 20),
    st.sampled_from("AHSN"),
    st.sampled_from("FM"),
    two(1, 6),
    st.sampled_from("PRST"),
    st.sampled_from("FM"),
    two(1, 30),
)
EMOFILM = st.tuples(
    st.sampled_from("fm"),
    words("ans dis gio rab tri"),
    st.integers(0, 999).map("{:03}".format),
    st.sampled_from("abcdefgs"),
    words("en es it"),
)
CREMA = st.tuples(
    st.integers(1001, 1091).map(str),
    st.one_of(
        st.tuples(
            words("DFA ITH ITS IOM IWL IWW MTI TAI TIE TSI WSI"),
            words("ANG DIS FEA HAP NEU SAD"),
            st.just("XX"),
        ),
        st.tuples(st.just("IEO"), words("ANG DIS FEA HAP SAD"), words("LO MD HI")),
        st.just(("IEO", "NEU", "XX")),
    ),
)
TESS = st.tuples(
    st.sampled_from(["OAF", "YAF"]),
    st.text(string.ascii_lowercase, min_size=2, max_size=7),
    words("angry disgust fear happy neutral ps sad"),
)
AESDD = st.tuples(
    st.sampled_from("adfhs"),
    two(1, 20),
    st.sampled_from(["", "0"]),
    st.integers(1, 6).map(str),
    st.sampled_from(["", "a", "b"]),
)
CAFE = st.tuples(
    two(1, 12), st.sampled_from("CDJNPST"), st.sampled_from("12"), st.sampled_from("123456")
).filter(lambda p: p[1:3] != ("N", "2"))
SHEMO = st.tuples(
    st.one_of(two(1, 31).map("F".__add__), two(1, 56).map("M".__add__)),
    st.sampled_from("AHNSWF"),
    two(1, 99),
)
ESD = st.tuples(st.integers(1, 20), st.integers(1, 1750))
NAMES = {
    "iemocap": IEMOCAP.map(lambda p: f"Ses0{p[0]}{p[1]}_{p[2]}_{p[3]}{p[4]}"),
    "msp_improv": MSP.map(lambda p: f"MSP-IMPROV-S{p[0]}{p[1]}-{p[2]}{p[3]}-{p[4]}-{p[5]}M{p[6]}"),
    "emofilm": EMOFILM.map(lambda p: f"{p[0]}_{''.join(p[1:])}"),
    "crema_d": CREMA.map(lambda p: "_".join([p[0], *p[1]])),
    "tess": TESS.map("_".join),
    "aesdd": AESDD.map(lambda p: f"{p[0]}{p[1]} ({p[2]}{p[3]}){p[4]}"),
    "cafe": CAFE.map("-".join),
    "shemo": SHEMO.map("".join),
    "esd": ESD.map(lambda p: f"{p[0]:04}_{p[1]:06}"),
    **{corpus: st.sampled_from(shipped_manifest(corpus)["path"].tolist()) for corpus in FOUR},
}
ANY_NAME = st.one_of(
    *(names.map(lambda name, corpus=corpus: (corpus, name)) for corpus, names in NAMES.items())
)
FOLDERS = st.sampled_from(["", "wav/", "Actor_05/", "some/where/", "female/"])


@given(IEMOCAP, FOLDERS)
def test_iemocap_names(place, folder):
    session, first, dialogue, speaker, turn = place
    row = read("iemocap", f"{folder}Ses0{session}{first}_{dialogue}_{speaker}{turn}.wav")
    assert (row["speaker"], row["session"], row["text_id"]) == (
        session + speaker,
        session,
        dialogue,
    )
    assert row["gender"] == ("female" if speaker == "F" else "male") and row["style"] == (
        "improvised" if "impro" in dialogue else "scripted"
    )
    assert (row["emotion_raw"], row["language"]) == ("", "en-US")


@given(MSP, FOLDERS)
def test_msp_improv_names(place, folder):
    sentence, intended, gender, number, kind, _, turn = place
    row = read(
        "msp_improv",
        f"{folder}MSP-IMPROV-S{sentence}{intended}-{gender}{number}-{kind}-MF{turn}.wav",
    )
    assert (row["speaker"], row["session"], row["text_id"], row["emotion_raw"]) == (
        gender + number,
        number[1],
        sentence,
        "",
    )
    assert (
        row["style"]
        == {"P": "natural", "R": "scripted", "S": "improvised", "T": "target-improvised"}[kind]
    )
    assert row["gender"] == {"F": "female", "M": "male"}[gender]


@given(EMOFILM, FOLDERS)
def test_emofilm_names_with_and_without_their_rate(place, folder):
    gender, emotion, scene, segment, language = place
    stem = f"{gender}_{emotion}{scene}{segment}{language}"
    plain, resampled = (
        read("emofilm", f"{folder}{stem}.wav"),
        read("emofilm", f"{folder}{stem}_16k.wav"),
    )
    assert [plain[name] for name in TEXTS] == [resampled[name] for name in TEXTS]
    assert (plain["utt_id"], plain["emotion_raw"], plain["language"]) == (
        f"emofilm/{stem}",
        emotion,
        language,
    )
    assert plain["text_id"] == stem[:-2] and (plain["speaker"], plain["film"]) == ("", "")
    assert plain["gender"] == {"f": "female", "m": "male"}[gender]


@given(CREMA, FOLDERS)
def test_crema_d_names(place, folder):
    actor, (sentence, emotion, level) = place
    row = read("crema_d", f"{folder}{actor}_{sentence}_{emotion}_{level}.mp3")
    assert (row["speaker"], row["text_id"], row["emotion_raw"]) == (actor, sentence, emotion)
    assert row["intensity"] == {"LO": "low", "MD": "medium", "HI": "high", "XX": ""}[level] and row[
        "gender"
    ] in ("female", "male")


@given(TESS, FOLDERS)
def test_tess_names(place, folder):
    row = read("tess", f"{folder}{'_'.join(place)}.wav")
    assert (row["speaker"], row["text_id"], row["emotion_raw"], row["gender"]) == (*place, "female")


@given(AESDD, FOLDERS)
def test_aesdd_names(place, folder):
    emotion, utterance, zero, speaker, take = place
    stem = f"{emotion}{utterance} ({zero}{speaker}){take}"
    row = read("aesdd", f"{folder}{stem}.wav")
    assert (row["utt_id"], row["emotion_raw"], row["text_id"], row["speaker"], row["gender"]) == (
        f"aesdd/{stem}",
        emotion,
        utterance,
        speaker,
        "",
    )


@given(CAFE, FOLDERS)
def test_cafe_names(place, folder):
    actor, emotion, intensity, sentence = place
    row = read("cafe", f"{folder}Colère/Fort/{'-'.join(place)}.aiff")
    assert (row["speaker"], row["emotion_raw"], row["text_id"]) == (actor, emotion, sentence)
    assert row["intensity"] == ("" if emotion == "N" else {"1": "mild", "2": "strong"}[intensity])
    assert row["gender"] == ("female" if int(actor) % 2 == 0 else "male")


@given(SHEMO, FOLDERS)
def test_shemo_names(place, folder):
    row = read("shemo", f"{folder}{''.join(place)}.wav")
    assert (row["speaker"], row["emotion_raw"], row["language"]) == (place[0], place[1], "fa")
    assert row["gender"] == {"F": "female", "M": "male"}[place[0][0]]


@given(ESD)
def test_esd_names_in_folders_and_flat(place):
    speaker, number = place
    last = {"Neutral": 350, "Angry": 700, "Happy": 1050, "Sad": 1400, "Surprise": 1750}
    emotion = next(name for name in last if number <= last[name])
    flat = read("esd", f"{speaker:04}_{number:06}.wav")
    for folder in (
        f"{speaker:04}/{emotion}/",
        f"ESD/{speaker:04}/{emotion}/evaluation/",
        f"{emotion.lower()}/",
    ):
        assert [read("esd", f"{folder}{speaker:04}_{number:06}.wav")[name] for name in TEXTS] == [
            flat[name] for name in TEXTS
        ]
    assert (flat["speaker"], flat["emotion_raw"], flat["language"]) == (
        f"{speaker:04}",
        emotion,
        "zh" if speaker <= 10 else "en",
    )
    assert flat["text_id"] == f"{flat['language']}-{number - 350 * ((number - 1) // 350):03}"
    assert flat["gender"] == (
        "male" if speaker in (4, 5, 6, 8, 10, 11, 12, 13, 14, 20) else "female"
    )
    wrong = "Angry" if emotion != "Angry" else "Sad"
    with pytest.raises(
        ForeignNameError, match=f"is {emotion}, but the file stands in a folder {wrong}"
    ):
        read("esd", f"{speaker:04}/{wrong}/train/{speaker:04}_{number:06}.wav")


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


@pytest.mark.parametrize(
    ("corpus", "name", "reason"),
    [
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


@pytest.mark.parametrize("corpus", NINE)
def test_cards_say_what_users_need(corpus):
    card = load_card(corpus)
    assert all(
        [card.title, card.citation, card.license, card.language, card.naming, card.note]
    ) and card.url.startswith("http")
    assert {"rule", "unit", "note"} <= set(card.folds) and card.counts["utterances"] == sum(
        card.counts["per_emotion"].values()
    )
    assert set(card.counts["per_emotion"]) == set(card.label_map.values())
    assert card.counts["confidence"] == ("R" if corpus in ("msp_improv", "shemo") else "V")
    assert (
        (shipped_manifest(corpus) is not None)
        == (corpus in SHIPPED)
        == ("rows are the" in card.note)
        != ("No rows are shipped" in card.note)
    )


@pytest.mark.parametrize("corpus", SHIPPED)
def test_shipped_rows_are_what_the_parser_reads(corpus):
    rows, card = shipped_manifest(corpus), load_card(corpus)
    parsed = [read(corpus, f"{path}.wav") for path in rows["path"]]
    texts = [name for name in TEXTS if name != "emotion"]
    assert (
        list(parsed[0]) == list(COLUMNS)
        and [[row[name] for name in texts] for row in parsed] == rows[texts].to_numpy().tolist()
    )
    assert rows["emotion"].tolist() == [card.label_map[row["emotion_raw"]] for row in parsed]
    assert validate(rows).equals(rows) and rows[list(NUMBERS)].isna().all(axis=None)


def test_golden_counts_of_cafe_and_tess():
    cafe, tess = shipped_manifest("cafe"), shipped_manifest("tess")
    grid = [
        f"{a:02}-{e}-{i}-{s}"
        for a, e, i, s in itertools.product(range(1, 13), "CDJNPST", "12", range(1, 7))
        if e + i != "N2"
    ]
    assert sorted(cafe["path"]) == sorted(grid) and len(grid) == 936
    assert cafe["emotion"].value_counts().to_dict() == {
        **dict.fromkeys([*FIVE, "surprise"], 144),
        "neutral": 72,
    }
    assert cafe["intensity"].value_counts().to_dict() == {"mild": 432, "strong": 432, "": 72}
    assert set(cafe["speaker"].value_counts()) == {78} and cafe.groupby("gender")[
        "speaker"
    ].nunique().to_dict() == {"female": 6, "male": 6}
    assert (
        len(tess) == 2800
        and tess["text_id"].nunique() == 200
        and set(tess.groupby("text_id").size()) == {14}
    )
    assert tess["emotion"].value_counts().to_dict() == dict.fromkeys(
        [*FIVE, "surprise", "neutral"], 400
    )
    assert tess["speaker"].value_counts().to_dict() == {"OAF": 1400, "YAF": 1400}
    # 5-class counts of §5
    assert (len(select_emotions(cafe, FIVE)[0]), len(select_emotions(tess, FIVE)[0])) == (720, 2000)


def test_golden_counts_of_crema_d_less_the_silent_clip():
    rows = shipped_manifest("crema_d")
    silent = [read("crema_d", f"{bad['path']}.wav") for bad in load_card("crema_d").known_bad]
    assert len(rows) + len(silent) == 7442 and silent[0]["utt_id"] not in set(rows["utt_id"])
    raw = collections.Counter([*rows["emotion_raw"], *(row["emotion_raw"] for row in silent)])
    assert raw == {"ANG": 1271, "DIS": 1271, "FEA": 1271, "HAP": 1271, "SAD": 1271, "NEU": 1087}
    levels = collections.Counter([*rows["intensity"], *(row["intensity"] for row in silent)])
    assert levels == {"low": 455, "medium": 455, "high": 455, "": 6077}
    assert rows["speaker"].nunique() == 91 and rows["text_id"].nunique() == 12
    assert rows.groupby("gender")["speaker"].nunique().to_dict() == {"female": 43, "male": 48}
    assert len(select_emotions(rows, FIVE)[0]) == 6355 - 1


def test_golden_counts_of_esd():
    rows = [
        read("esd", f"{speaker:04}_{number:06}.wav")
        for speaker in range(1, 21)
        for number in range(1, 1751)
    ]
    card = load_card("esd")
    assert len(rows) == 35000 and len({row["utt_id"] for row in rows}) == 35000
    assert (
        collections.Counter(card.label_map[row["emotion_raw"]] for row in rows)
        == card.counts["per_emotion"]
        == dict.fromkeys(["neutral", "anger", "happiness", "sadness", "surprise"], 7000)
    )
    assert collections.Counter(row["speaker"] for row in rows) == card.counts["per_speaker"]
    assert collections.Counter(row["text_id"] for row in rows) == {
        f"{language}-{n:03}": 50 for language in ("zh", "en") for n in range(1, 351)
    }


def test_calm_is_kept_apart_and_absent_emotions_are_named():
    ravdess = shipped_manifest("ravdess")
    four = ["anger", "happiness", "neutral", "sadness"]
    kept, left_out = select_emotions(ravdess, four)
    assert len(kept) == 672 and (left_out["emotion"] == "calm").sum() == 192
    assert len(select_emotions(ravdess, four, {"calm": "neutral"})[0]) == 672 + 192
    shemo = validate(
        _fabricated("shemo", [f"F01{emotion}{n:02}" for emotion in "AHNSWF" for n in (1, 2)])
    )
    with pytest.raises(ManifestError, match="disgust"):
        select_emotions(shemo, FIVE)
    assert select_emotions(shemo, FIVE, allow_absent=True)[0][
        "emotion"
    ].value_counts().to_dict() == dict.fromkeys(["anger", "happiness", "sadness", "fear"], 2)


def _fabricated(corpus, stems):
    rows = pd.DataFrame([read(corpus, f"{stem}.wav") for stem in stems])
    return rows.assign(emotion=rows["emotion_raw"].map(load_card(corpus).label_map))


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


def test_scan_names_the_silent_clip_and_reads_the_short_name(tmp_path, tone):
    for name in ("1001_DFA_ANG_XX", "1040_ITH_SAD_X"):
        tone(tmp_path / "AudioWAV" / f"{name}.wav", hz=200 + len(name))
    soundfile.write(tmp_path / "AudioWAV" / "1076_MTI_SAD_XX.wav", np.zeros(16000), 16000)
    result = scan("crema_d", tmp_path)
    assert sorted(result.manifest["utt_id"]) == [
        "crema_d/1001_DFA_ANG_XX",
        "crema_d/1040_ITH_SAD_XX",
    ]
    reasons = result.problems.set_index("utt_id")["reason"]
    assert (
        "it holds no sound" in reasons["crema_d/1076_MTI_SAD_XX"]
        and reasons.str.startswith("missing").sum() == 7441 - 2
    )


def test_scan_reads_both_layouts_of_tess_and_its_misspelt_name(tmp_path, tone):
    tone(tmp_path / "OAF_Pleasant_surprise" / "OAF_back_ps.wav", hz=210)
    tone(tmp_path / "YAF_pleasant_surprised" / "YAF_back_ps.wav", hz=230)
    tone(tmp_path / "OAF_neutral" / "OA_bite_neutral.wav", hz=250, rate=24414)
    tone(tmp_path / "OAF_neutral" / "OAF_nonsense_neutral.wav", hz=270)
    result = scan("tess", tmp_path)
    assert dict(zip(result.manifest["utt_id"], result.manifest["emotion"], strict=True)) == {
        "tess/OAF_back_ps": "surprise",
        "tess/YAF_back_ps": "surprise",
        "tess/OAF_bite_neutral": "neutral",
    }
    assert (
        "not among the utterances"
        in result.problems.set_index("utt_id").loc["tess/OAF_nonsense_neutral", "reason"]
    )


def test_scan_reads_corpora_without_shipped_rows(tmp_path, tone):
    tone(tmp_path / "aesdd" / "sadness" / "s01 (5)b.wav", hz=200)
    (tmp_path / "aesdd" / "sadness" / "s05 (3).wav").write_bytes(b"RIFF damaged")
    tone(tmp_path / "shemo" / "female" / "F21W37.wav", rate=22050)
    tone(tmp_path / "shemo" / "female" / "03a01Fa.wav", hz=300)
    aesdd, shemo = (
        scan("aesdd", tmp_path / "aesdd"),
        scan("shemo", tmp_path / "shemo"),
    )
    assert aesdd.manifest[["utt_id", "speaker", "emotion"]].to_numpy().tolist() == [
        ["aesdd/s01 (5)b", "5", "sadness"]
    ]
    assert (
        "known: a damaged file" in aesdd.problems.set_index("utt_id").loc["aesdd/s05 (3)", "reason"]
    )
    assert shemo.manifest[["utt_id", "emotion", "sample_rate"]].to_numpy().tolist() == [
        ["shemo/F21W37", "surprise", 22050]
    ]
    assert (
        shemo.problems[["file"]].to_numpy().tolist() == [["female/03a01Fa.wav"]]
        and len(frozen_folds("shemo")) == 87
    )
