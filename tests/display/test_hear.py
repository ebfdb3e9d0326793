"""Listening to errors: which clips, in which order, and players that hold the sound."""

import base64
import io
import re

import ipywidgets
import numpy as np
import pandas as pd
import pytest
import soundfile

from colab_utils.display import hear

LABELS = ["anger", "happiness", "sadness"]


@pytest.fixture
def corpus(tmp_path, tone):
    """A manifest of 12 clips by three speakers, and predictions of them in two draws."""
    rng = np.random.default_rng(0)
    manifest = pd.DataFrame(
        [
            {
                "utt_id": f"x/u{i:02d}",
                "corpus": "x",
                "speaker": f"s{i % 3}",
                "emotion": LABELS[i % 2],
                "duration": 0.2,
                "file": str(tone(tmp_path / f"u{i:02d}.wav", seconds=0.2)),
            }
            for i in range(12)
        ]
    )
    tables = []
    for draw in range(2):
        scores = rng.dirichlet(np.ones(3), size=12)
        tables.append(
            pd.DataFrame(
                {
                    "method": "m",
                    "rule": "r",
                    "seed": 0,
                    "fold": "0",
                    "draw": draw,
                    "task": 0,
                    "utt_id": manifest.utt_id,
                    "corpus": "x",
                    "speaker": manifest.speaker,
                    "true": manifest.emotion,
                    "pred": [LABELS[k] for k in scores.argmax(1)],
                    **{f"p_{e}": scores[:, k] for k, e in enumerate(LABELS)},
                }
            )
        )
    return manifest, pd.concat(tables, ignore_index=True)


def test_error_clips_against_a_naive_count(corpus):
    manifest, predictions = corpus
    seen = 0
    for true in LABELS:
        for pred in LABELS:
            naive = {}
            for row in predictions.itertuples():
                if row.true == true and row.pred == pred:
                    naive.setdefault(row.utt_id, []).append(
                        (getattr(row, f"p_{pred}"), getattr(row, f"p_{true}"))
                    )
            clips = hear.error_clips(predictions, manifest, true, pred)
            seen += clips["times"].sum()
            assert set(clips["utt_id"]) == set(naive)
            for clip in clips.itertuples():
                sure, p_true = np.mean(naive[clip.utt_id], axis=0)
                assert (clip.times, clip.of) == (len(naive[clip.utt_id]), 2)
                assert (clip.confidence, clip.p_true) == pytest.approx((sure, p_true))
                assert clip.file == manifest.set_index("utt_id").loc[clip.utt_id, "file"]
            order = list(zip(-clips["times"], -clips["confidence"], strict=True))
            assert order == sorted(order)
    assert seen == len(predictions)


def test_methods_without_probabilities_can_be_heard_too(corpus):
    manifest, predictions = corpus
    plain = predictions.drop(columns=[f"p_{e}" for e in LABELS])
    true, pred = plain.loc[plain.true != plain.pred, ["true", "pred"]].iloc[0]
    clips = hear.error_clips(plain, manifest, true, pred)
    assert len(clips) and clips["confidence"].isna().all()
    assert "not given" in hear.clips_html(clips)


def test_a_foreign_manifest_is_refused(corpus):
    manifest, predictions = corpus
    with pytest.raises(
        ValueError, match=r"x/u\d\d \(and \d+ more\) was predicted but is not in the manifest"
    ):
        hear.error_clips(
            predictions,
            manifest.iloc[:0],
            "anger",
            predictions.loc[predictions.true == "anger", "pred"].iloc[0],
        )


def test_player_holds_the_samples_and_cuts_long_clips():
    samples = np.sin(np.linspace(0, 3000, 20 * 16000)).astype(np.float32) * 1.2
    page = hear.player_html(samples, 16000, 'a "quoted" name')
    data = base64.b64decode(re.search(r"base64,([^\"]+)", page).group(1))
    decoded, rate = soundfile.read(io.BytesIO(data))
    assert (
        rate == 16000
        and len(decoded) == 15 * 16000
        and soundfile.info(io.BytesIO(data)).subtype == "PCM_16"
    )
    assert np.abs(decoded - np.clip(samples[: len(decoded)], -1, 1)).max() < 2 / 32768
    assert "first 15 s of 20 s" in page and "&quot;quoted&quot;" in page
    assert "first" not in hear.player_html(samples[:16000], 16000)


def test_an_unreadable_clip_is_named_and_the_others_play(corpus):
    manifest, predictions = corpus
    manifest.loc[:, "file"] = manifest["file"].where(manifest.index != 0, "/nowhere/u00.wav")
    clips = hear.error_clips(predictions, manifest, "anger", predictions["pred"][0])
    page = hear.clips_html(clips, limit=50)
    assert "cannot be played: no such file" in page
    assert page.count("<audio") == len(clips) - 1
    assert hear.clips_html(clips, limit=1).count("<tr>") == 2


def page_of(widget):
    """The HTML below the two drop-downs."""
    return widget.children[1].value


def test_dropdowns_start_at_the_commonest_confusion_and_follow(corpus):
    manifest, predictions = corpus
    widget = hear.hear_errors(predictions, manifest)
    true_box, pred_box = widget.children[0].children
    wrong = predictions[predictions.true != predictions.pred].groupby(["true", "pred"]).size()
    assert wrong[true_box.value, pred_box.value] == wrong.max()
    assert f"{true_box.value} taken for {pred_box.value}" in page_of(
        widget
    ) and "<audio" in page_of(widget)
    assert isinstance(true_box, ipywidgets.Dropdown)
    assert (f"anger ({(predictions.true == 'anger').sum()})", "anger") in true_box.options
    other = next(label for label in ("anger", "happiness") if label != true_box.value)
    kept, before = pred_box.value, page_of(widget)
    true_box.value = other
    assert pred_box.value == kept and page_of(widget) != before
    counts = {
        label: int(((predictions.true == other) & (predictions.pred == label)).sum())
        for label in LABELS
    }
    assert list(pred_box.options) == [(f"{label} ({counts[label]})", label) for label in LABELS]
    assert f"{other} " in page_of(widget)


def test_an_empty_cell_says_so(corpus):
    manifest, predictions = corpus
    right = predictions.assign(pred=predictions["true"])
    widget = hear.hear_errors(right, manifest)
    true_box, pred_box = widget.children[0].children
    true_box.value, pred_box.value = "anger", "happiness"
    assert page_of(widget) == "<p>No anger was taken for happiness.</p>"
    pred_box.value = "anger"
    assert "anger recognised" in page_of(widget) and page_of(widget).count("<audio") == 6


def test_tags_in_labels_and_names_are_shown_not_run(corpus):
    manifest, predictions = corpus
    tag = "<img src=x onerror=alert(1)>"
    predictions = predictions.replace({"anger": tag, "s0": tag})
    predictions = predictions.rename(columns={"p_anger": f"p_{tag}"})
    box = hear.hear_errors(predictions, manifest)
    (true_box, pred_box), page = box.children[0].children, box.children[1]
    for true in dict(true_box.options).values():
        for pred in dict(pred_box.options).values():
            true_box.value, pred_box.value = true, pred
            assert "<img" not in page.value, "every value of a table is escaped"
            assert (tag in (true, pred)) == ("&lt;img" in page.value.split("</h4>")[0])
