"""Corpus parsers: every legal name gives its fields."""

import pytest
from hypothesis import given
from naming import (
    AESDD,
    CAFE,
    CREMA,
    EMODB,
    EMOFILM,
    EMOVO,
    ESD,
    FOLDERS,
    IEMOCAP,
    MSP,
    RAVDESS,
    SAVEE,
    SHEMO,
    TESS,
    ravdess_name,
    read,
    savee_name,
)

from colab_utils.corpora.manifest import TEXTS
from colab_utils.corpora.parsers import ForeignNameError


@given(place=EMODB, folder=FOLDERS)
def test_emodb_names(place, folder):
    row = read("emodb", f"{folder}{''.join(place)}.wav")
    assert (row["utt_id"], row["speaker"], row["text_id"], row["emotion_raw"]) == (
        f"emodb/{''.join(place)}",
        *place[:3],
    )
    assert row["gender"] == ("male" if place[0] in "03 10 11 12 15" else "female")
    assert (row["corpus"], row["language"], row["intensity"], row["session"]) == (
        "emodb",
        "de",
        "",
        "",
    )


@given(place=RAVDESS, folder=FOLDERS)
def test_ravdess_names(place, folder):
    row = read("ravdess", f"{folder}{ravdess_name(place)}.WAV")
    emotion, intensity, statement, _, actor = place
    assert (row["utt_id"], row["emotion_raw"], row["text_id"]) == (
        f"ravdess/{ravdess_name(place)}",
        emotion,
        statement,
    )
    assert row["speaker"] == f"{actor:02}" and row["gender"] == (
        "female" if actor % 2 == 0 else "male"
    )
    assert (
        row["intensity"] == {"01": "normal", "02": "strong"}[intensity]
        and row["language"] == "en-US"
    )


@given(place=EMOVO, folder=FOLDERS)
def test_emovo_names(place, folder):
    row = read("emovo", f"{folder}{'-'.join(place)}.flac")
    assert (row["emotion_raw"], row["speaker"], row["text_id"]) == place
    assert row["gender"] == {"f": "female", "m": "male"}[place[1][0]] and row["language"] == "it"


@given(place=SAVEE, folder=FOLDERS)
def test_savee_names_in_both_layouts(place, folder):
    speaker, (emotion, number) = place
    flat, nested = (
        read("savee", f"{folder}{savee_name(place)}.wav"),
        read("savee", f"AudioData/{speaker}/{emotion}{number:02}.wav"),
    )
    text = {key: value for key, value in flat.items() if isinstance(value, str)}
    assert text == {key: value for key, value in nested.items() if isinstance(value, str)}
    assert (flat["utt_id"], flat["speaker"], flat["emotion_raw"]) == (
        f"savee/{savee_name(place)}",
        speaker,
        emotion,
    )
    assert (flat["gender"], flat["language"], flat["text_id"]) == (
        "male",
        "en-GB",
        f"{emotion}{number:02}",
    )


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
