"""MERGE in the words of a table: what is renamed is trained and tested under its new name."""

import pandas as pd

from colab_utils.corpora.manifest import empty_row, validate
from colab_utils.protocols.published import load_protocol
from colab_utils.protocols.speakers import build_within


def own_corpus():
    """Six speakers who say each of three emotions four times, labelled in German."""
    rows = []
    for number in range(72):
        written = ("Wut", "Freude", "neutral")[number % 3]
        told = {"emotion_raw": written, "emotion": written.lower(), "speaker": f"s{number // 12}"}
        rows.append(empty_row("mine", f"{number:02}", **told))
    return validate(pd.DataFrame(rows))


def test_labels_renamed_as_written_are_chosen_by_their_new_names():
    merge = {"Wut": "anger", "FREUDE": "happiness"}
    task, rows, split = build_within(load_protocol("alexnet"), own_corpus(), "mine", merge=merge)
    assert set(task.emotions) == {"anger", "happiness", "neutral"}
    assert rows["emotion"].value_counts().to_dict() == dict.fromkeys(task.emotions, 24)
    tested = split.loc[split["role"] == "test", "utt_id"]
    assert sorted(tested) == sorted(rows["utt_id"])


def test_what_is_left_out_by_merge_is_no_class():
    manifest = own_corpus()
    task, rows, _ = build_within(load_protocol("alexnet"), manifest, "mine", merge={"Wut": None})
    assert list(task.emotions) == ["freude", "neutral"] and len(rows) == 48
