"""How corpora name their files, written down a second time as what each place may hold."""

import pathlib
import string

import pandas as pd
from hypothesis import strategies as st

from colab_utils.corpora.cards import load_card
from colab_utils.corpora.manifest import validate
from colab_utils.corpora.parsers import ANNOTATIONS, PARSERS

NINE = ("aesdd", "cafe", "crema_d", "emofilm", "esd", "iemocap", "msp_improv", "shemo", "tess")
FOUR = ("emodb", "emovo", "ravdess", "savee")
SHIPPED = ("cafe", "crema_d", "tess")


def read(corpus, name):
    return PARSERS[corpus](pathlib.PurePosixPath(name))


def words(text):
    return st.sampled_from(text.split())


def two(low, high):
    return st.integers(low, high).map("{:02}".format)


EMODB = st.tuples(
    words("03 08 09 10 11 12 13 14 15 16"),
    words("a01 a02 a04 a05 a07 b01 b02 b03 b09 b10"),
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
    words("dis gio pau rab sor tri neu"),
    words("f1 f2 f3 m1 m2 m3"),
    words("b1 b2 b3 l1 l2 l3 l4 n1 n2 n3 n4 n5 d1 d2"),
)
SAVEE = st.tuples(
    words("DC JE JK KL"),
    st.one_of(
        st.tuples(words("a d f h sa su"), st.integers(1, 15)),
        st.tuples(st.just("n"), st.integers(1, 30)),
    ),
)
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


def ravdess_name(place, modality="03", channel="01"):
    emotion, intensity, statement, repetition, actor = place
    return f"{modality}-{channel}-{emotion}-{intensity}-{statement}-{repetition}-{actor:02}"


def savee_name(place):
    return f"{place[0]}_{place[1][0]}{place[1][1]:02}"


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
    "emodb": EMODB.map("".join),
    "ravdess": RAVDESS.map(ravdess_name),
    "emovo": EMOVO.map("-".join),
    "savee": SAVEE.map(savee_name),
}
ANY_NAME = st.one_of(
    *(names.map(lambda name, corpus=corpus: (corpus, name)) for corpus, names in NAMES.items())
)
FOLDERS = st.sampled_from(["", "wav/", "Actor_05/", "DC/", "some/where/", "female/"])


def joined(corpus, root, stems):
    """What scan makes of names and annotations, without any audio.

    A manifest, emotion "" where the card maps no label.
    """
    rows = pd.DataFrame([PARSERS[corpus](pathlib.PurePosixPath(f"{stem}.wav")) for stem in stems])
    table, labels = ANNOTATIONS[corpus](root), load_card(corpus).label_map
    rows = rows.assign(**{column: rows["utt_id"].map(table[column]) for column in table})
    return validate(rows.assign(emotion=rows["emotion_raw"].map(lambda raw: labels.get(raw, ""))))
