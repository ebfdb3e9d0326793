"""A class with one clip, one speaker or alone: a run, or one sentence with what there is."""

import warnings

import numpy as np
import pandas as pd
import pytest
from toy_store import InMemory

from colab_utils.corpora.manifest import COLUMNS, ManifestError
from colab_utils.corpora.opening import open_corpora
from colab_utils.methods import baselines
from colab_utils.protocols.dealing import grouped_values
from colab_utils.protocols.folds import FoldError
from colab_utils.settings import SettingError

CLASSIFIERS = ("majority", "nearest-mean", "logistic", "linear-svm", "mlp")
FOLDS = ("auto", "grouped", "leave-one-speaker-out")


def features(ids):
    """Features drawn by chance."""
    rng = np.random.default_rng(0)
    return InMemory({one: rng.normal(size=(1, 5)).astype(np.float32) for one in ids})


def corpus(**speakers):
    """Rows of each emotion, spoken by these; "" is an unknown speaker."""
    rows = []
    for emotion, who in speakers.items():
        for number, speaker in enumerate(who):
            rows.append(
                dict.fromkeys(COLUMNS, "")
                | {
                    "utt_id": f"c/{emotion}{number}",
                    "corpus": "c",
                    "speaker": speaker,
                    "emotion": emotion,
                    "emotion_raw": emotion,
                }
            )
    return pd.DataFrame(rows)


def run(rows, root, labels=None, **settings):
    study = baselines.BaselineStudy(
        rows, features(rows["utt_id"]), labels or sorted(set(rows["emotion"])), root, progress=False
    )
    return study.run(baselines.BaselineConfig(epochs=2, **settings), pictures=False)


SMALL = {
    "two clips of unknown speakers": corpus(anger=[""] * 8, sadness=[""] * 8, fear=[""] * 2),
    "one clip of an unknown speaker": corpus(anger=[""] * 8, sadness=[""] * 8, fear=[""]),
    "fewer clips than folds": corpus(anger=[""] * 3, sadness=[""] * 3),
    "one clip each": corpus(anger=[""], sadness=[""]),
    "one emotion": corpus(anger=[""] * 8),
    "one emotion of three speakers": corpus(anger="abc"),
    "one emotion of one clip": corpus(anger="a"),
    "an emotion of one speaker": corpus(anger="abcabc", sadness="abcabc", fear="aa"),
    "one speaker": corpus(anger="aaaa", sadness="aaaa"),
    "two speakers": corpus(anger="abab", sadness="abab"),
    "three speakers": corpus(anger="abcabc", sadness="abcabc"),
    "some speakers unknown": corpus(anger=["a", "b", "", "c", ""], fear=["a", "b", ""]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_small_class_is_a_run_or_one_sentence(name, tmp_path):
    rows, refused, ran = SMALL[name], [], 0
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "The least populated class")
        for classifier in CLASSIFIERS:
            for folds in FOLDS:
                try:
                    found = run(rows, tmp_path, classifier=classifier, folds=folds)
                    assert found.metrics["n"] == len(rows)
                    ran += 1
                except (FoldError, baselines.study.BaselineError, SettingError) as error:
                    refused.append(str(error))
    assert all("\n" not in one and ("add" in one or "choose" in one) for one in refused)
    for one in refused:
        assert any(word in one for word in ("anger", "fear", "speaker")), one
    assert ran or refused


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("two clips of unknown speakers", {"classifier": "mlp"}, ["fear 1", "leave fear out"]),
        ("one clip of an unknown speaker", {}, ["fear 1", "leave it out"]),
        ("fewer clips than folds", {}, ["anger 3", "sadness 3", "at most 3"]),
        ("one clip each", {}, ["anger 1", "add more"]),
        ("one emotion", {"classifier": "majority"}, ["one emotion only", "anger 8"]),
        ("an emotion of one speaker", {}, ["fear 2", "c/a"]),
        ("one speaker", {}, ["c/a", "8 utterances", "at least two"]),
        ("three speakers", {"folds": "grouped", "n_folds": 4}, ["3 speaker", "at most 3"]),
        ("one speaker", {"folds": "grouped"}, ["1 speaker", "two or more"]),
        ("two speakers", {"folds": "grouped"}, ["2 speaker", "at most 2"]),
        ("two speakers", {"classifier": "mlp"}, ["2 speaker", "hold out fewer"]),
    ],
)
def test_the_sentence_has_what_there_is_and_what_to_do(name, settings, said, tmp_path):
    with pytest.raises(FoldError) as refused:
        run(SMALL[name], tmp_path, **settings)
    assert all(one in str(refused.value) for one in said), refused.value


def test_one_fold_leaves_nobody_to_train():
    emotions = pd.Series(["anger", "fear"])
    with pytest.raises(FoldError, match="1 folds.*two or more"):
        grouped_values(emotions, pd.Series(["a", "b"]), 1, 0)


def test_no_corpus_is_one_sentence(tmp_path):
    with pytest.raises(ManifestError, match="no corpus is named"):
        open_corpora([], "", tmp_path)


NAMES = ["true", "pred", "method", "score", "fold", "seed", "utt_id", "speaker", "p_true"]


@pytest.mark.slow
def test_an_emotion_may_be_called_like_any_column(tmp_path):
    rows = corpus(**dict.fromkeys(NAMES, "abcabc"))
    for classifier in CLASSIFIERS[:4]:
        found = run(rows, tmp_path, classifier=classifier)
        assert found.done and set(found.predictions["true"]) == set(NAMES)
        figure = baselines.confusion_matrix_figure(found.predictions, found.metrics)
        named = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert sorted(named) == sorted(NAMES)
        baselines.per_speaker_figure(found.predictions, found.metrics)
    baselines.speakers_by_emotion(rows)
