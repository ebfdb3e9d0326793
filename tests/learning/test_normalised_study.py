"""Normalisation under a study: who is tested, what the result says, what is trained again."""

import dataclasses

from one_file_method import SoftmaxConfig, SoftmaxStudy
from test_study import LABELS, make_study

from colab_utils.learning.study import Tested
from colab_utils.protocols.draws import enrolment_clips

CONFIG = SoftmaxConfig()


def test_clips_of_the_enrolment_are_not_tested_and_the_result_says_how_it_was_normalised(tmp_path):
    study = make_study(tmp_path)
    ways = {
        "none": {"normalisation": "none"},
        "corpus": {"normalisation": "corpus"},
        "speaker": {"normalisation": "speaker"},
        "few": {"normalisation": "speaker", "enrolment": 2},
    }
    tested = [Tested(name, dataclasses.replace(CONFIG, **way)) for name, way in ways.items()]
    runs = study.evaluate(tested, False)
    rules = {name: run.metrics["rule"] for name, run in runs.items()}
    assert rules == {
        "none": ["inductive"],
        "corpus": ["transductive: normalised by corpus"],
        "speaker": ["transductive: normalised by speaker"],
        "few": ["inductive"],
    }
    assert not any("normalised" in note for note in runs["none"].metrics["notes"])
    assert runs["speaker"].metrics["notes"][0].startswith("transductive: features are normalised")
    assert "2 clips of each speaker that are not" in runs["few"].metrics["notes"][0]
    enrolled = enrolment_clips(study.rows, "speaker", 2)
    assert set(runs["few"].predictions["utt_id"]) == set(study.rows["utt_id"]) - enrolled
    sides = runs["few"].split
    assert set(sides["utt_id"][sides["role"] == "enrolment"]) == enrolled
    assert set(runs["speaker"].predictions["utt_id"]) == set(study.rows["utt_id"])
    folders = {run.config["settings"]["normalisation"] for run in runs.values()}
    assert (
        folders == {"none", "corpus", "speaker"} and len({run.path for run in runs.values()}) == 4
    )
    assert len(list(tmp_path.glob("trained/softmax/*/DONE"))) == 4 * 3


def test_a_training_is_made_again_where_other_clips_are_in_its_statistics(tmp_path):
    study = make_study(tmp_path)
    gone = study.split[study.split["role"] == "test"].iloc[-1]  # it does not train in this fold
    kept = study.rows[study.rows["utt_id"] != gone["utt_id"]]
    for rows in (study.rows, kept):
        split = study.split[study.split["utt_id"].isin(rows["utt_id"])]
        other = SoftmaxStudy("toy", rows, split, study.store, LABELS, tmp_path, progress=False)
        other.train(Tested("a", dataclasses.replace(CONFIG, normalisation="none")), gone["fold"])
        other.train(Tested("a", CONFIG), gone["fold"])
    made = [path.parent.name for path in tmp_path.glob("trained/softmax/*/DONE")]
    assert len(made) == 3
