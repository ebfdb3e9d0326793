"""Shipped rows, cards and real files agree with the published counts, written a second time."""

import collections
import itertools

import pandas as pd
import pytest
from naming import NINE, SHIPPED, read

from colab_utils.corpora import ManifestError
from colab_utils.corpora.cards import corpus_names, frozen_folds, load_card, shipped_manifest
from colab_utils.corpora.emotions import select_emotions
from colab_utils.corpora.manifest import COLUMNS, NUMBERS, TEXTS, validate
from colab_utils.corpora.parsers import PARSERS, rows_of_names

REAL = ("emodb", "emovo", "ravdess", "savee")


# the five classes of DA-MLDG
FIVE = ["anger", "happiness", "sadness", "disgust", "fear"]


def test_every_corpus_has_parser_card_and_shipped_rows():
    assert set(REAL) <= set(PARSERS) and set(corpus_names()) == {*PARSERS, "synthetic"}
    for corpus in REAL:
        rows, card = shipped_manifest(corpus), load_card(corpus)
        for row in rows.itertuples():
            parsed = read(corpus, f"{row.path}.wav")
            assert list(parsed) == list(COLUMNS)
            assert {name: parsed[name] for name in TEXTS if name != "emotion"} == {
                name: getattr(row, name) for name in TEXTS if name != "emotion"
            }
            assert card.label_map[parsed["emotion_raw"]] == row.emotion and all(
                parsed[name] != parsed[name] for name in NUMBERS
            )
        assert validate(rows).equals(rows)


@pytest.mark.parametrize("corpus", REAL)
def test_names_of_utterances_say_what_the_shipped_rows_say(corpus):
    rows = shipped_manifest(corpus).drop(columns="emotion")
    assert rows_of_names(rows["utt_id"])[rows.columns].equals(rows)


def test_of_own_foreign_and_embedded_names_what_is_known_is_told():
    names = ["mine/a", "emodb/foreign", "synthetic-phone/m1-anger-01"]
    found = rows_of_names(names).set_index("utt_id")[["corpus", "gender", "language"]]
    own = ["mine", "", ""], ["emodb", "", ""]
    assert found.loc[names].to_numpy().tolist() == [*own, ["synthetic-phone", "male", "pseudo-b"]]


# the verified counts, written here a second time
GOLDEN = {
    "emodb": (
        {
            "anger": 127,
            "boredom": 81,
            "disgust": 46,
            "fear": 69,
            "happiness": 71,
            "sadness": 62,
            "neutral": 79,
        },
        {
            "03": 49,
            "08": 58,
            "09": 43,
            "10": 38,
            "11": 55,
            "12": 35,
            "13": 61,
            "14": 69,
            "15": 56,
            "16": 71,
        },
    ),
    "ravdess": (
        {
            "neutral": 96,
            "calm": 192,
            "happiness": 192,
            "sadness": 192,
            "anger": 192,
            "fear": 192,
            "disgust": 192,
            "surprise": 192,
        },
        {f"{actor:02}": 60 for actor in range(1, 25)},
    ),
    "emovo": (
        dict.fromkeys(
            ["disgust", "happiness", "fear", "anger", "surprise", "sadness", "neutral"], 84
        ),
        dict.fromkeys(["f1", "f2", "f3", "m1", "m2", "m3"], 98),
    ),
    "savee": (
        {
            "anger": 60,
            "disgust": 60,
            "fear": 60,
            "happiness": 60,
            "sadness": 60,
            "surprise": 60,
            "neutral": 120,
        },
        dict.fromkeys(["DC", "JE", "JK", "KL"], 120),
    ),
}


@pytest.mark.parametrize("corpus", REAL)
def test_golden_counts_of_real_names_shipped_rows_and_card(corpus, real_corpora):
    emotions, speakers = GOLDEN[corpus]
    shipped, card = shipped_manifest(corpus), load_card(corpus)
    rows = [
        read(corpus, file.relative_to(real_corpora).as_posix())
        for file in sorted((real_corpora / corpus).iterdir())
    ]
    labels = [card.label_map[row["emotion_raw"]] for row in rows]
    assert (
        {name: labels.count(name) for name in labels}
        == emotions
        == shipped["emotion"].value_counts().to_dict()
        == card.counts["per_emotion"]
    )
    ids = [row["speaker"] for row in rows]
    assert (
        {name: ids.count(name) for name in ids}
        == speakers
        == shipped["speaker"].value_counts().to_dict()
        == card.counts["per_speaker"]
    )
    assert sorted(row["utt_id"] for row in rows) == sorted(shipped["utt_id"])
    assert card.counts["utterances"] == len(rows) == sum(emotions.values()) and card.counts[
        "speakers"
    ] == len(speakers)
    assert set(shipped["gender"]) == ({"male"} if corpus == "savee" else {"female", "male"})


@pytest.mark.parametrize(
    ("corpus", "number"), [("emodb", 10), ("ravdess", 6), ("emovo", 6), ("savee", 4)]
)
def test_frozen_folds(corpus, number):
    folds = frozen_folds(corpus)
    assert (
        set(folds["speaker"]) == set(shipped_manifest(corpus)["speaker"])
        and folds["speaker"].is_unique
    )
    assert sorted(folds["fold"].unique()) == list(range(number))
    groups = {frozenset(group) for _, group in folds.groupby("fold")["speaker"]}
    if corpus == "ravdess":
        # the folds of EmoBox (Ma et al. 2024, Interspeech)
        listed = "01,11,20,21 04,10,12,14 08,09,19,23 03,05,07,24 02,15,16,18 06,13,17,22"
        assert groups == {frozenset(group.split(",")) for group in listed.split()}
    else:
        assert all(len(group) == 1 for group in groups)


def test_shipped_utterances_never_collide_over_corpora():
    ids = [set(shipped_manifest(corpus)["utt_id"]) for corpus in REAL]
    assert all(not first & second for first, second in itertools.combinations(ids, 2))


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
    assert card.counts["confidence"] == ("R" if corpus == "msp_improv" else "V")
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


def _fabricated(corpus, stems):
    rows = pd.DataFrame([read(corpus, f"{stem}.wav") for stem in stems])
    return rows.assign(emotion=rows["emotion_raw"].map(load_card(corpus).label_map))


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
