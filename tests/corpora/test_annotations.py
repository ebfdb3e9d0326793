"""Labels, ratings, speakers and films that stand beside the audio: IEMOCAP, MSP-IMPROV and EmoFilm
(method_facts §5).
"""

import collections
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import pytest

from colab_utils.corpora import ManifestError, load_card, scan, select_emotions
from colab_utils.corpora.manifest import validate
from colab_utils.corpora.parsers import ANNOTATIONS, PARSERS, emofilm, iemocap, msp_improv

FOUR = ["anger", "happiness", "neutral", "sadness"]
HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
JUDGEMENTS = "C-E1:\tNeutral;\t()\nA-E1:\tval 3; act 2; dom  3;\t()\n\n"


def test_only_three_corpora_need_files_beside_the_audio():
    assert sorted(ANNOTATIONS) == ["emofilm", "iemocap", "msp_improv"] and all(
        callable(read) for read in ANNOTATIONS.values()
    )


def joined(corpus, root, stems):
    """What scan makes of names and annotations, without any audio: a manifest, emotion "" where the
    card maps no label.
    """
    rows = pd.DataFrame([PARSERS[corpus](PurePosixPath(f"{stem}.wav")) for stem in stems])
    table, labels = ANNOTATIONS[corpus](root), load_card(corpus).label_map
    rows = rows.assign(**{column: rows["utt_id"].map(table[column]) for column in table})
    return validate(rows.assign(emotion=rows["emotion_raw"].map(lambda raw: labels.get(raw, ""))))


# ------------------------------------------------------------------------------------------------------------------------------
# IEMOCAP
SESSIONS = {
    "1": (229, 278, 384, 194),
    "2": (137, 327, 362, 197),
    "3": (240, 286, 320, 305),
    "4": (327, 303, 258, 143),
    "5": (170, 442, 384, 245),
}
SPEAKERS = {
    "1F": 528,
    "1M": 557,
    "2F": 481,
    "2M": 542,
    "3F": 522,
    "3M": 629,
    "4F": 528,
    "4M": 503,
    "5F": 590,
    "5M": 651,
}
WHOLE = {"hap": 595, "exc": 1041}
IMPROVISED = {"ang": 289, "hap": 284, "exc": 663, "neu": 1099, "sad": 608}
OTHERS = {"xxx": 2507, "fru": 1849, "sur": 107, "fea": 40, "dis": 2, "oth": 3}


def iemocap_turns():
    """10,039 fabricated (turn name, label) with the published margins: sessions x four classes,
    speakers, improvised turns, labels in all.
    """
    left, style, turns = dict(WHOLE), dict(IMPROVISED), []
    speakers, numbers = dict(SPEAKERS), collections.Counter()

    def add(session, label, speaker):
        improvised = style.get(label, 10**6) > 0
        style[label] = style.get(label, 10**6) - 1
        dialogue = f"Ses0{session}{'FM'[len(turns) % 2]}_{'impro01' if improvised else 'script01_1'}_{speaker}"
        turns.append((f"{dialogue}{numbers[dialogue]:03}", label))
        numbers[dialogue] += 1

    for session, counts in SESSIONS.items():
        for label, count in zip(("ang", "hap", "neu", "sad"), counts, strict=True):
            for _ in range(count):
                speaker = next(letter for letter in "FM" if speakers[session + letter])
                speakers[session + speaker] -= 1
                chosen = label if label != "hap" or left["hap"] else "exc"
                if label == "hap":
                    left[chosen] -= 1
                add(session, chosen, speaker)
    for number, label in enumerate(label for label, count in OTHERS.items() for _ in range(count)):
        add(str(number % 5 + 1), label, "FM"[number % 2])
    return turns


@pytest.fixture(scope="module")
def iemocap_tree(tmp_path_factory):
    root, files = tmp_path_factory.mktemp("iemocap"), collections.defaultdict(list)
    for number, (turn, label) in enumerate(iemocap_turns()):
        files[turn[:5], turn.rsplit("_", 1)[0]].append(
            f"[{number}.2901 - {number + 1}.5000]\t{turn}\t{label}\t[{number % 9 / 2 + 1:.4f},"
            f" 2.5000, 5.0000]\n{JUDGEMENTS}"
        )
    for (session, dialogue), lines in files.items():
        folder = root / f"Session{session[4]}" / "dialog" / "EmoEvaluation"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{dialogue}.txt").write_text(
            HEADER + "".join(lines), newline="\r\n" if session[4] == "3" else "\n"
        )
        # macOS leaves these in the release
        (folder / f"._{dialogue}.txt").write_bytes(b"\x00\x05\x16\x07\n[not a line]")
        (folder / "Categorical").mkdir(exist_ok=True)
        (folder / "Categorical" / f"{dialogue}_e1_cat.txt").write_text(
            "Ses01F_impro01_F000 :Happiness; ()\n"
        )
    return root


def test_iemocap_selections_have_the_published_sizes(iemocap_tree):
    turns = iemocap_turns()
    manifest = joined("iemocap", iemocap_tree, [turn for turn, _ in turns])
    assert len(manifest) == 10039 and manifest["emotion_raw"].tolist() == [
        label for _, label in turns
    ]
    merged, left_out = select_emotions(manifest, FOUR, {"excited": "happiness"})
    assert len(merged) == 5531 and merged["emotion"].value_counts().to_dict() == {
        "anger": 1103,
        "happiness": 1636,
        "neutral": 1708,
        "sadness": 1084,
    }
    assert merged["session"].value_counts().to_dict() == {
        "1": 1085,
        "2": 1023,
        "3": 1151,
        "4": 1031,
        "5": 1241,
    }
    assert merged["speaker"].value_counts().to_dict() == SPEAKERS
    assert left_out["reason"].value_counts().to_dict() == {
        "has no emotion label": 2507,
        "not among the chosen emotions": 1849 + 107 + 40 + 2 + 3,
    }
    assert len(select_emotions(manifest, FOUR)[0]) == 4490
    improvised = manifest[manifest["style"] == "improvised"]
    plain = select_emotions(improvised, FOUR)[0]
    assert len(plain) == 2280 and plain["emotion"].value_counts().to_dict() == {
        "anger": 289,
        "happiness": 284,
        "neutral": 1099,
        "sadness": 608,
    }
    assert len(select_emotions(improvised, FOUR, {"excited": "happiness"})[0]) == 2943


def test_iemocap_card_counts_are_those_of_the_labelled_turns(iemocap_tree):
    table, card = iemocap.annotations(iemocap_tree), load_card("iemocap")
    labels = table["emotion_raw"].map(card.label_map).dropna().value_counts().to_dict()
    assert (
        len(table) == 10039
        and labels == card.counts["per_emotion"]
        and sum(labels.values()) == card.counts["utterances"] == 10039
    )
    assert labels[""] == 2507
    assert set(table["emotion_raw"]) <= set(card.label_map)
    assert table["valence"].between(1, 5).all() and set(table["dominance"]) == {5.0}


def test_iemocap_scan_counts_every_turn_once(tmp_path, tone):
    folder = tmp_path / "Session1" / "dialog" / "EmoEvaluation"
    folder.mkdir(parents=True)
    lines = [
        ("Ses01F_impro01_M003", "exc"),
        ("Ses01F_impro01_F000", "xxx"),
        ("Ses01F_script01_1_F002", "fru"),
    ]
    text = "".join(
        f"[6.2901 - 8.2357]\t{turn}\t{label}\t[2.5000, 3.0000, 3.5000]\n" for turn, label in lines
    )
    (folder / "Ses01F_impro01.txt").write_text(HEADER + text)
    for number, turn in enumerate([*(turn for turn, _ in lines), "Ses01F_impro01_F999"]):
        tone(
            tmp_path / "Session1" / "sentences" / "wav" / turn[:14] / f"{turn}.wav",
            hz=200 + 20 * number,
        )
    tone(tmp_path / "Session1" / "dialog" / "wav" / "Ses01F_impro01.wav", hz=400)
    result = scan("iemocap", tmp_path)
    labelled = result.manifest[result.manifest["emotion"] != ""].set_index("utt_id")
    assert labelled["emotion"].to_dict() == {
        "iemocap/Ses01F_impro01_M003": "excited",
        "iemocap/Ses01F_script01_1_F002": "frustration",
    }
    assert labelled.loc[
        "iemocap/Ses01F_impro01_M003", ["speaker", "valence", "arousal", "dominance"]
    ].tolist() == ["1M", 2.5, 3.0, 3.5]
    reasons = {
        file.rsplit("/", 1)[-1].removesuffix(".wav"): reason
        for file, _, reason in result.problems.itertuples(index=False)
    }
    reasons |= {
        row.utt_id.split("/")[1]: row.reason
        for row in select_emotions(result.manifest, ["excited", "frustration"])[1].itertuples()
    }
    assert set(reasons) == {"Ses01F_impro01", "Ses01F_impro01_F999", "Ses01F_impro01_F000"}
    assert (
        "whole dialogue" in reasons["Ses01F_impro01"]
        and "no entry" in reasons["Ses01F_impro01_F999"]
    )
    assert "label" in reasons["Ses01F_impro01_F000"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000]\n", "line 3: not `"),
        ("[6.2901 - 8.2357] Ses01F_impro01_F000 neu [2.5, 2.5, 2.5]\n", "line 3: not `"),
        (
            (
                "[6.2 - 8.2]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]\n[9.0 -"
                " 9.5]\tSes01F_impro01_F000\tang\t[2.5, 2.5, 2.5]\n"
            ),
            "line 4: .*has another",
        ),
    ],
)
def test_iemocap_lines_that_cannot_be_read(tmp_path, text, message):
    folder = tmp_path / "Session1" / "dialog" / "EmoEvaluation"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text(HEADER + text)
    with pytest.raises(ManifestError, match=f"a.txt, {message}"):
        iemocap.annotations(tmp_path)


@pytest.mark.parametrize(
    ("module", "message"), [(iemocap, "EmoEvaluation"), (msp_improv, "Evaluation.txt")]
)
def test_missing_annotation_files_are_named(tmp_path, module, message):
    with pytest.raises(ManifestError, match=message):
        module.annotations(tmp_path)


# ---------------------------------------------------------------------------------------------------------------------------
# MSP-IMPROV
MSP_COUNTS = {"A": 792, "H": 2644, "S": 885, "N": 3477, "O": 85, "X": 555}


def msp_turns():
    """8,438 fabricated (turn without prefix, label)."""
    labels = [label for label, count in MSP_COUNTS.items() for _ in range(count)]
    return [
        (
            (
                f"S{n // 24 % 20 + 1:02}{'AHSN'[n // 480 % 4]}-{'FM'[n % 2]}{n // 2 % 6 + 1:02}-{'PRST'[n // 12 % 2]}-FM{n // 1920:02}"
            ),
            label,
        )
        for n, label in enumerate(labels)
    ]


@pytest.mark.parametrize("name", ["Evaluation.txt", "Evalution.txt"])
def test_msp_improv_four_classes(tmp_path, name):
    turns = msp_turns()
    assert len({turn for turn, _ in turns}) == 8438
    judgement = "Worker12; Neutral; A:2.0; V:3.0; D:3 ; N:4;\n\n"
    (tmp_path / name).write_text(
        "".join(
            f"UTD-IMPROV-{turn}.avi; {label}; A:2.800000; V:{'NaN' if n == 0 else '3.600000'};"
            f" D:1.400000 ; N:4.100000;\n{judgement}"
            for n, (turn, label) in enumerate(turns)
        )
    )
    manifest = joined("msp_improv", tmp_path, [f"MSP-IMPROV-{turn}" for turn, _ in turns])
    assert manifest["emotion_raw"].value_counts().to_dict() == MSP_COUNTS
    kept, left_out = select_emotions(manifest, FOUR)
    assert len(kept) == 7798 and left_out["reason"].value_counts().to_dict() == {
        "has no emotion label": 555,
        "not among the chosen emotions": 85,
    }
    assert {**kept["emotion"].value_counts(), "other": 85, "": 555} == load_card(
        "msp_improv"
    ).counts["per_emotion"]
    row = manifest.iloc[1]
    assert (row["arousal"], row["valence"], row["dominance"]) == (2.8, 3.6, 1.4) and np.isnan(
        manifest["valence"].iloc[0]
    )
    assert kept.groupby("session")["speaker"].unique().map(sorted).to_dict() == {
        str(n): [f"F0{n}", f"M0{n}"] for n in range(1, 7)
    }


@pytest.mark.parametrize(
    "line",
    [
        "UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:2.8; V:3.6",
        "UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:x; V:3.6; D:1.4 ; N:4.1;",
    ],
)
def test_msp_improv_lines_that_cannot_be_read(tmp_path, line):
    (tmp_path / "Evaluation.txt").write_text(f"\n{line}\n")
    with pytest.raises(ManifestError, match="Evaluation.txt, line 2: not `UTD-IMPROV"):
        msp_improv.annotations(tmp_path)


def test_msp_improv_contradictions(tmp_path):
    line = "UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:NaN; V:3.6; D:1.4 ; N:4.1;\n"
    (tmp_path / "Evaluation.txt").write_text(line + line)
    assert len(msp_improv.annotations(tmp_path)) == 1
    (tmp_path / "Evaluation.txt").write_text(line + line.replace("; A;", "; H;"))
    with pytest.raises(ManifestError, match="line 2: S01A-F01-P-FM01 has another label"):
        msp_improv.annotations(tmp_path)


# ------------------------------------------------------------------------------------------------------------------------------
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
    """1,115 fabricated stems whose 591 clip ids are shared by languages as §5.1 counts them."""
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
    folder = emofilm_folder(tmp_path, "a workbook", "f_m_corpus_it_es_en_legend.xlsx")
    sheets = {
        "en": pd.DataFrame({"file": ["f_ans001aen"], "speaker": ["A"], "film": ["Crash"]}),
        "es": pd.DataFrame({"file": ["m_rab002bes"], "speaker": [np.nan], "film": ["Crash"]}),
    }
    monkeypatch.setattr(pd, "read_excel", lambda file, **options: sheets)
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
    with pytest.raises(ManifestError, match="pip install openpyxl.*or save the legend as one CSV"):
        emofilm.annotations(folder)
