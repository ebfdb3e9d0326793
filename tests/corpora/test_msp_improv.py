"""MSP-IMPROV: labels and ratings beside the audio."""

import numpy as np
import pytest
from naming import joined

from colab_utils.corpora import ManifestError, load_card
from colab_utils.corpora.emotions import select_emotions
from colab_utils.corpora.parsers import iemocap, msp_improv

FOUR = ["anger", "happiness", "neutral", "sadness"]


@pytest.mark.parametrize(
    ("module", "message"), [(iemocap, "EmoEvaluation"), (msp_improv, "Evaluation.txt")]
)
def test_missing_annotation_files_are_named(tmp_path, module, message):
    with pytest.raises(ManifestError, match=message):
        module.annotations(tmp_path)


# MSP-IMPROV
MSP_COUNTS = {"A": 792, "H": 2644, "S": 885, "N": 3477, "O": 85, "X": 555}


def msp_turns():
    """8,438 fabricated (turn without prefix, label)."""
    labels = [label for label, count in MSP_COUNTS.items() for _ in range(count)]
    turns = []
    for n, label in enumerate(labels):
        sentence = f"S{n // 24 % 20 + 1:02}{'AHSN'[n // 480 % 4]}"
        speaker = f"{'FM'[n % 2]}{n // 2 % 6 + 1:02}"
        turns.append((f"{sentence}-{speaker}-{'PRST'[n // 12 % 2]}-FM{n // 1920:02}", label))
    return turns


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
