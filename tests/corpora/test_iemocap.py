"""IEMOCAP: labels and ratings beside the audio, and the published selections."""

import collections

import pytest
from naming import joined

from colab_utils.corpora import ManifestError, load_card
from colab_utils.corpora.emotions import select_emotions
from colab_utils.corpora.parsers import iemocap
from colab_utils.corpora.scan import scan

FOUR = ["anger", "happiness", "neutral", "sadness"]


HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"


JUDGEMENTS = "C-E1:\tNeutral;\t()\nA-E1:\tval 3; act 2; dom  3;\t()\n\n"


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
        scene = "impro01" if improvised else "script01_1"
        dialogue = f"Ses0{session}{'FM'[len(turns) % 2]}_{scene}_{speaker}"
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
