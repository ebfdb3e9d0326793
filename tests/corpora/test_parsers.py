"""Corpus parsers: every legal name gives its fields, every other name is refused with a reason, no
corpus reads another's names.
"""

import itertools
import pathlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colab_utils.corpora.cards import corpus_names, frozen_folds, load_card, shipped_manifest
from colab_utils.corpora.manifest import COLUMNS, NUMBERS, TEXTS, validate
from colab_utils.corpora.parsers import PARSERS, ForeignNameError, belongs_to

REAL = ("emodb", "emovo", "ravdess", "savee")


def read(corpus, name):
    return PARSERS[corpus](pathlib.PurePosixPath(name))


def one_of(words):
    return st.sampled_from(words.split())


# Naming written down a second time, from method_facts §5, as what each place of a name may hold.
EMODB = st.tuples(
    one_of("03 08 09 10 11 12 13 14 15 16"),
    one_of("a01 a02 a04 a05 a07 b01 b02 b03 b09 b10"),
    st.sampled_from("WLEAFTN"),
    st.sampled_from(string.ascii_lowercase),
)
RAVDESS = st.tuples(
    st.sampled_from([f"{n:02}" for n in range(1, 9)]),
    st.sampled_from(["01", "02"]),
    st.sampled_from(["01", "02"]),
    st.sampled_from(["01", "02"]),
    st.integers(1, 24),
).filter(lambda place: place[:2] != ("01", "02"))
EMOVO = st.tuples(
    one_of("dis gio pau rab sor tri neu"),
    one_of("f1 f2 f3 m1 m2 m3"),
    one_of("b1 b2 b3 l1 l2 l3 l4 n1 n2 n3 n4 n5 d1 d2"),
)
SAVEE = st.tuples(
    one_of("DC JE JK KL"),
    st.one_of(
        st.tuples(one_of("a d f h sa su"), st.integers(1, 15)),
        st.tuples(st.just("n"), st.integers(1, 30)),
    ),
)
FOLDERS = st.sampled_from(["", "wav/", "Actor_05/", "DC/", "some/where/"])


def ravdess_name(place, modality="03", channel="01"):
    emotion, intensity, statement, repetition, actor = place
    return f"{modality}-{channel}-{emotion}-{intensity}-{statement}-{repetition}-{actor:02}"


def savee_name(place):
    return f"{place[0]}_{place[1][0]}{place[1][1]:02}"


NAMES = {
    "emodb": EMODB.map("".join),
    "ravdess": RAVDESS.map(ravdess_name),
    "emovo": EMOVO.map("-".join),
    "savee": SAVEE.map(savee_name),
}
ANY_NAME = st.one_of(
    *(names.map(lambda name, corpus=corpus: (corpus, name)) for corpus, names in NAMES.items())
)


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


@given(ANY_NAME, FOLDERS)
def test_a_name_belongs_to_one_corpus_only(corpus_and_name, folder):
    corpus, name = corpus_and_name
    path = pathlib.PurePosixPath(f"{folder}{name}.wav")
    assert belongs_to(path) == [corpus]
    for other in set(PARSERS) - {corpus}:
        with pytest.raises(ForeignNameError) as caught:
            PARSERS[other](path)
        assert caught.value.reason and str(path) in str(caught.value)


@given(ANY_NAME, st.data())
def test_a_name_with_one_more_letter_is_refused(corpus_and_name, data):
    corpus, name = corpus_and_name
    at = data.draw(st.sampled_from([0, len(name)]))
    letter = data.draw(st.sampled_from(string.ascii_letters + string.digits + " _-٣é"))
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
    ],
)
def test_illegal_names_are_refused_with_the_reason(corpus, name, reason):
    with pytest.raises(ForeignNameError, match=reason) as caught:
        read(corpus, f"{name}.wav")
    assert caught.value.path == f"{name}.wav"


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


# method_facts §5: [V] counts, written here a second time
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
        # method_facts §5.4
        listed = "01,11,20,21 04,10,12,14 08,09,19,23 03,05,07,24 02,15,16,18 06,13,17,22"
        assert groups == {frozenset(group.split(",")) for group in listed.split()}
    else:
        assert all(len(group) == 1 for group in groups)


def test_shipped_utterances_never_collide_over_corpora():
    ids = [set(shipped_manifest(corpus)["utt_id"]) for corpus in REAL]
    assert all(not first & second for first, second in itertools.combinations(ids, 2))
