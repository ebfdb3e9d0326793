"""The choice of emotions that a study compares."""

from small_manifest import table

from colab_utils.corpora.emotions import choose_utterances, select_emotions


def test_select_emotions_merges_and_accounts_for_every_utterance():
    df = table(30)
    kept, left = select_emotions(
        df, ["anger", "happiness", "neutral"], {"excited": "happiness", "calm": None}
    )
    expected = [{"excited": "happiness"}.get(emotion, emotion) for emotion in df["emotion"]]
    assert kept["emotion"].tolist() == [
        emotion for emotion in expected if emotion in ("anger", "happiness", "neutral")
    ]
    assert sorted([*kept["utt_id"], *left["utt_id"]]) == sorted(df["utt_id"])
    assert set(kept.loc[kept["emotion"] == "happiness", "emotion_raw"]) == {"EXCITED", "HAPPINESS"}
    assert left.groupby("emotion")["reason"].unique().map(list).to_dict() == {
        "calm": ["left out by merge"],
        "": ["has no emotion label"],
    }
    assert df["emotion"].tolist() == table(30)["emotion"].tolist()


def test_select_emotions_is_one_step_and_says_why_something_is_out():
    df = table(12)
    kept, _ = select_emotions(df, ["anger", "excited"], {"anger": "excited", "excited": "anger"})
    assert (kept["emotion"] == "anger").tolist() == (kept["emotion_raw"] == "EXCITED").tolist()
    _, left = select_emotions(df, ["anger"], {"excited": "happiness"})
    assert set(left.loc[left["emotion"] == "excited", "reason"]) == {
        "merged into an emotion that is not chosen"
    }
    assert set(left.loc[left["emotion"] == "happiness", "reason"]) == {
        "not among the chosen emotions"
    }
    coarse, _ = select_emotions(
        df, ["positive", "anger"], {"excited": "positive", "happiness": "positive"}
    )
    assert coarse["emotion"].value_counts().to_dict() == {"positive": 4, "anger": 2}


def test_all_emotions_are_those_that_occur_after_merging(capsys):
    # anger excited calm happiness neutral and no label
    data = table(12)

    def chosen(*told):
        return choose_utterances(data, *told)[1]

    assert chosen("all") == ["anger", "calm", "excited", "happiness", "neutral"]
    merge = {"excited": "happiness", "calm": None}
    kept, labels = choose_utterances(data, "all", merge)
    assert labels == ["anger", "happiness", "neutral"]
    assert kept["emotion"].value_counts().to_dict() == {"happiness": 4, "anger": 2, "neutral": 2}
    assert "8 utterances of anger, happiness, neutral" in capsys.readouterr().out
    assert chosen(("neutral", "anger"), merge) == ["neutral", "anger"] == chosen("neutral, anger")
    assert chosen("", merge) == chosen([], merge) == labels
    assert chosen("anger") == ["anger"]
