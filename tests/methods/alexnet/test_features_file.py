"""Features of a corpus in one file: the same training without audio, and files that are refused."""

import numpy as np
import pandas as pd
import pytest
from alexnet_toys import LABELS, SMALL, changed, corpus, spectrograms, split_of, toy_study

from colab_utils.features.published.alexnet import AlexNetSpectrogram, segments
from colab_utils.methods.alexnet import AlexnetStudy, open_study, panel
from colab_utils.methods.alexnet.features_file import FeaturesFile, save_features
from colab_utils.settings import SettingError

SHORT = changed(num_epochs=1)


def content_of(path):
    with np.load(path, allow_pickle=False) as content:
        return dict(content)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The file of a toy corpus. Read it, don't write to it."""
    rows = corpus()
    folder = tmp_path_factory.mktemp("exported")
    return save_features(folder / "aa.npz", rows, spectrograms(rows), LABELS, SMALL)


def test_a_file_holds_every_segment_as_the_published_one_does(exported):
    rows = corpus()
    store, content = spectrograms(rows), content_of(exported)
    assert content["labels"].tolist() == LABELS and content["features"] == "logspec"
    for speaker, part in rows.groupby("speaker"):
        of_speaker = {name: content[f"{speaker}/{name}"] for name in ("segments", "frames")}
        spoken = content[f"{speaker}/utterance_labels"]
        counts = content[f"{speaker}/segments_per_utterance"]
        assert [LABELS[one] for one in spoken] == part["emotion"].tolist()
        assert of_speaker["segments"].shape == (counts.sum(), 1, 200, 300)
        assert np.array_equal(content[f"{speaker}/segment_labels"], np.repeat(spoken, counts))
        cut = of_speaker["segments"][: counts[0]]
        first = part["utt_id"].iloc[0]
        assert np.array_equal(cut, segments(store[first], AlexNetSpectrogram())[0])
        assert of_speaker["frames"][0] == len(store[first])
    assert all(value.dtype.kind in "fiU" for value in content.values())


def test_the_released_padding_is_written_where_it_is_asked_for(tmp_path, exported):
    rows = corpus()
    store = spectrograms(rows)
    path = save_features(tmp_path / "zero.npz", rows, store, LABELS, changed(padding="zero"))
    content, floor = content_of(path), content_of(exported)
    assert content["padding"] == "zero" and floor["padding"] == "floor"
    short = next(row for row in rows.itertuples() if len(store[row.utt_id]) < 300)
    spoken = content[f"{short.speaker}/utt_id"].tolist().index(short.utt_id)
    at = content[f"{short.speaker}/segments_per_utterance"][:spoken].sum()
    n = len(store[short.utt_id])
    assert (content[f"{short.speaker}/segments"][at, :, :, n:] == 0).all()
    assert (floor[f"{short.speaker}/segments"][at, :, :, n:] == -80).all()
    assert FeaturesFile(path).keys() == FeaturesFile(exported).keys()
    back, other = FeaturesFile(path), FeaturesFile(exported)
    assert all(np.array_equal(back[utt_id], other[utt_id]) for utt_id in other)


def test_frames_come_back_bit_for_bit(exported):
    rows = corpus()
    store, back = spectrograms(rows), FeaturesFile(exported)
    assert set(back) == set(store) and back.labels == LABELS and back.corpus == "aa"
    assert all(np.array_equal(back[utt_id], frames) for utt_id, frames in store.items())
    told = ["utt_id", "corpus", "speaker", "emotion"]
    pd.testing.assert_frame_equal(back.rows[told], rows[told])


def test_three_channels_come_back_and_counts_of_the_published_type(tmp_path):
    rows = corpus(2, 1)
    store = spectrograms(rows, channels=3)
    path = save_features(
        tmp_path / "three.npz", rows, store, LABELS, changed(features="logdeltaspec")
    )
    content = content_of(path)
    for name in list(content):
        if name.endswith("/segments_per_utterance"):
            content[name] = content[name].astype(np.int8)
    np.savez(path, **content)
    back = FeaturesFile(path)
    assert back.features == "logdeltaspec"
    assert all(np.array_equal(back[utt_id], frames) for utt_id, frames in store.items())


def test_many_segments_of_the_published_type_do_not_overflow(tmp_path):
    """130 segments of one speaker: int8 counts add up to a negative number in int8."""
    rows = corpus(2, 22)
    store = {utt_id: np.zeros((301, 200), np.float32) for utt_id in rows["utt_id"]}
    path = save_features(tmp_path / "many.npz", rows, store, LABELS, SMALL)
    content = content_of(path)
    content["s0/segments_per_utterance"] = content["s0/segments_per_utterance"].astype(np.int8)
    assert np.add.accumulate(content["s0/segments_per_utterance"], dtype=np.int8)[-1] < 0
    np.savez(path, **content)
    assert set(map(len, FeaturesFile(path).values())) == {301}


@pytest.mark.slow
def test_a_training_from_the_file_predicts_what_it_predicts_from_audio(tmp_path):
    """In whatever order the utterances of a corpus come: batches are drawn by it."""
    mingled = corpus(4, 2).sample(frac=1, random_state=0, ignore_index=True)
    study = toy_study(tmp_path, mingled, folds=2)
    config = changed(num_epochs=1, test_hop=150, mixup=True, normalisation="speaker")
    from_audio = study.run(config, pictures=False)["alexnet_gap, clean"].predictions
    path = study.export(config)
    assert path == tmp_path / "exports" / "toy-logspec.npz"
    store = FeaturesFile(path)
    rows = store.rows
    again = AlexnetStudy(
        "toy", rows, split_of(rows, 2), store, LABELS, tmp_path / "again", progress=False
    )
    from_file = again.run(config, pictures=False)["alexnet_gap, clean"].predictions
    pd.testing.assert_frame_equal(from_file, from_audio)


def test_an_emotion_that_is_not_among_the_labels_is_not_written(tmp_path):
    rows = corpus(2, 1)
    with pytest.raises(ValueError, match="'sadness' is not among"):
        save_features(tmp_path / "x.npz", rows, spectrograms(rows), LABELS[:2], SMALL)
    assert not (tmp_path / "x.npz").exists()


# --- the notebook without audio -------------------------------------------------------------------


@pytest.fixture
def from_file(exported, tmp_path):
    return open_study("not looked at", root=tmp_path, features_file=str(exported), n_folds=3)


def test_folds_emotions_and_named_speakers_come_from_the_file(exported, tmp_path):
    def opened(**arrangement):
        return open_study("", root=tmp_path, features_file=str(exported), **arrangement)

    assert opened(n_folds=3).name == "aa-3-folds" and opened().labels == LABELS
    two = opened(n_folds=2, emotions="fear,anger")
    assert two.labels == ["fear", "anger"] and len(two.rows) == 36
    assert opened(test_id="s0", val_id="s1").folds == ["s0"]


@pytest.mark.slow
def test_what_needs_audio_is_left_out_in_one_sentence(from_file, exported, capsys):
    runs = from_file.compare(SHORT, 0.5)
    assert list(runs) == ["alexnet_gap, clean", "frozen, linear, clean"]
    assert (
        f"noise, in training and in tests, needs audio, and {exported}" in capsys.readouterr().out
    )
    assert from_file.test_files(SHORT) == []
    assert "labelling files needs audio" in capsys.readouterr().out
    assert list(panel(from_file, SHORT).run_once()) == ["alexnet_gap, clean"]
    assert from_file.keep(runs["alexnet_gap, clean"], "mine").name == "mine"
    from_file.views_figure(SHORT)
    from_file.matrices_figure(runs)


def test_what_only_audio_could_give_is_refused_in_one_sentence(from_file):
    for config, conditions, told in (
        (changed(features="logmelspec"), ["clean"], "holds logspec.*FEATURES = 'logspec'"),
        (SMALL, ["clean", "pink@10"], "condition pink@10.*noise needs the audio"),
        (changed(stability=0.5), ["clean"], "condition white@10.*noise needs the audio"),
    ):
        with pytest.raises(SettingError, match=told) as found:
            from_file.run(config, conditions)
        assert "\n" not in str(found.value)


# --- files that are refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "change", "told"),
    [
        ("labels", None, "labels"),
        ("features", None, "features"),
        ("features", lambda value: np.array("mfcc"), "features.*one of logspec"),
        ("labels", lambda value: value[[0, 0, 1]], "labels"),
        ("labels", lambda value: value[:2], "utterance_labels.*below 2"),
        ("s1/segments", None, "s1/segments"),
        ("s1/frames", None, "s1/frames"),
        ("s1/utt_id", None, "s1/utt_id"),
        ("s1/place", lambda value: value[1:], "s1/place"),
        ("s1/segments", lambda value: value[:-1], r"s1/segments.*shape \(\d+, 1, 200, 300\)"),
        ("s1/segments", lambda value: value[:, :, :128], r"s1/segments.*128, 300"),
        ("s1/segments", lambda value: value.astype(int), "s1/segments.*floating"),
        ("s1/segments", lambda value: value * np.nan, "s1/segments.*finite"),
        ("s1/segment_labels", lambda value: value[::-1], "s1/segment_labels"),
        ("s1/utterance_labels", lambda value: value - 1, "s1/utterance_labels"),
        ("s1/utterance_labels", lambda value: value[:-1], "s1/utterance_labels"),
        ("s1/frames", lambda value: value + 300, "s1/frames"),
        ("s1/frames", lambda value: value * 0, "s1/frames"),
        ("s1/segments_per_utterance", lambda value: value + 1, "s1/frames"),
        ("s1/utt_id", lambda value: value.astype(object), "s1/utt_id"),
        ("s1/utt_id", lambda value: np.array(["aa/x"] * len(value)), "utt_id.*'aa/x'"),
        ("s1/utt_id", lambda value: np.char.replace(value, "aa/", "bb/"), "utt_id.*aa, bb"),
        ("s1/utt_id", lambda value: np.char.replace(value, "aa/", ""), "utt_id"),
    ],
)
def test_a_field_that_is_missing_or_wrong_is_named(exported, tmp_path, field, change, told):
    content, path = content_of(exported), tmp_path / "wrong.npz"
    if change is None:
        del content[field]
    else:
        content[field] = change(content[field])
    np.savez(path, **content)
    with pytest.raises(SettingError, match=told) as found:
        FeaturesFile(path)
    assert "wrong.npz" in str(found.value) and "\n" not in str(found.value)


@pytest.mark.parametrize("content", [None, b"", b"PK no zip", b"x" * 500])
def test_what_is_no_such_file_is_one_sentence(tmp_path, content):
    path = tmp_path / "wrong.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError, match="wrong.npz' is no features file") as found:
        FeaturesFile(path)
    assert "\n" not in str(found.value)


def test_other_arrays_are_no_features_file(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "none.npz", labels=np.array(LABELS), features=np.array("logspec"))
    for name in ("one.npy", "none.npz"):
        with pytest.raises(SettingError, match=name):
            FeaturesFile(tmp_path / name)
