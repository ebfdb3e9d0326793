"""Figures: the numbers in the cells against naive counts, what the title and the stamps say, and
that nothing overlaps or is cut off.
"""

import collections
import types
import xml.etree.ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import confusion_matrix, recall_score

from colab_utils import files
from colab_utils.corpora.audio import load_audio
from colab_utils.display import captions, figures, speakers, style
from colab_utils.methods.baselines import gallery
from colab_utils.results.metrics import summarise
from colab_utils.results.predictions import write_predictions

LABELS = ["anger", "happiness", "neutral", "sadness"]
TEN = [
    "anger",
    "happiness",
    "sadness",
    "frustration",
    "disgust",
    "disappointment",
    "surprise",
    "calm",
    "boredom",
    "contempt",
]


def make_predictions(
    labels=LABELS,
    n=120,
    n_speakers=12,
    corpus="emodb",
    rule="inductive",
    draws=1,
    seeds=(0,),
    seed=0,
):
    """A table of predictions right in about half of the cases; utterance i is by speaker i mod
    n_speakers.
    """
    rng, tables = np.random.default_rng(seed), []
    true = [labels[i % len(labels)] for i in range(n)]
    for one_seed in seeds:
        for draw in range(draws):
            pred = np.where(rng.random(n) < 0.5, true, rng.choice(labels, n)).astype(object)
            tables.append(
                pd.DataFrame(
                    {
                        "method": "logistic",
                        "rule": rule,
                        "seed": one_seed,
                        "fold": "0",
                        "draw": draw,
                        "task": 0,
                        "utt_id": [f"{corpus}/u{i}" for i in range(n)],
                        "corpus": corpus,
                        "speaker": [f"{(i // 3) % n_speakers:02d}" for i in range(n)],
                        "true": true,
                        "pred": pred,
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def texts_of(figure):
    """All text of a figure, line breaks and hard spaces as spaces."""
    return (
        " ".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))
        .replace("\n", " ")
        .replace("\xa0", " ")
    )


def test_contrast_has_its_known_values():
    assert style.contrast("white", "black") == pytest.approx(21)
    # the well-known grey just below AA
    assert style.contrast("#777777", "white") == pytest.approx(4.48, abs=0.01)


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_ink_reads_on_every_background(colour):
    assert style.contrast(style.ink_on(colour), colour) >= 4.5


def test_heat_gets_darker_in_grey_print():
    ramp = matplotlib.colormaps[style.HEAT](0.62 * np.linspace(0, 1, 50))[:, :3] @ [
        0.299,
        0.587,
        0.114,
    ]
    assert np.all(np.diff(ramp) < 0)


def test_cells_hold_counts_and_per_cent():
    predictions = make_predictions()
    cells = [
        t.get_text().replace("\xa0", " ")
        for t in figures.confusion_matrix_figure(predictions).axes[0].texts
    ]
    expected = []
    for true in LABELS:
        rows = [
            p for t, p in zip(predictions["true"], predictions["pred"], strict=True) if t == true
        ]
        for pred in LABELS:
            count = sum(p == pred for p in rows)
            expected += [f"{100 * count / len(rows):.0f} %", str(count)]
    assert cells == expected


def test_title_and_axes_say_what_a_reader_needs():
    predictions = make_predictions()
    metrics = summarise(predictions, LABELS, speaker_independence="independent")
    figure = figures.confusion_matrix_figure(predictions, metrics, "EmoDB, logistic")
    title = figure.get_suptitle().replace("\n", " ").replace("\xa0", " ")
    uar = 100 * recall_score(predictions["true"], predictions["pred"], average="macro")
    low, high = (100 * x for x in metrics["uar_ci95"])
    assert (
        title
        == f"EmoDB, logistic UAR {uar:.1f} % (95 % interval over speakers {low:.1f} to {high:.1f})"
        f" WA {100 * (predictions.true == predictions.pred).mean():.1f} %, chance 25.0 %,"
        " majority 25.0 % 120 utterances, 12 speakers"
    )
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted emotion", "True emotion")
    assert (
        [t.get_text() for t in axes.get_xticklabels()]
        == [t.get_text() for t in axes.get_yticklabels()]
        == LABELS
    )


@pytest.mark.parametrize(
    ("change", "independence", "words"),
    [
        ({}, "independent", []),
        ({"corpus": "synthetic-studio"}, "independent", ["Synthetic corpus"]),
        ({}, "overlap allowed", ["Speaker overlap allowed"]),
        ({}, "unknown", ["Speaker independence unknown"]),
        ({"rule": "speaker-normalised (transductive)"}, "independent", ["Transductive"]),
        (
            {"corpus": "synthetic-phone", "rule": "transductive"},
            "unknown",
            ["Synthetic corpus", "Speaker independence unknown", "Transductive"],
        ),
    ],
)
def test_stamps_stand_in_the_figures(change, independence, words):
    predictions = make_predictions(**change)
    metrics = summarise(predictions, LABELS, n_boot=50, speaker_independence=independence)
    assert len(captions.stamps(predictions, metrics)) == len(words)
    for figure in (
        figures.confusion_matrix_figure(predictions, metrics),
        speakers.per_speaker_figure(predictions, metrics),
    ):
        text = texts_of(figure)
        for stamp in ("Synthetic", "Speaker overlap", "Speaker independence", "Transductive"):
            assert (stamp in text) == any(word.startswith(stamp) for word in words), stamp


def test_a_transductive_note_is_said_once_as_a_stamp():
    predictions = make_predictions()
    metrics = summarise(
        predictions,
        LABELS,
        n_boot=20,
        speaker_independence="independent",
        notes=["transductive: each speaker's own mean"],
    )
    assert captions.stamps(predictions, metrics) == ["Transductive: each speaker's own mean."]
    assert texts_of(figures.confusion_matrix_figure(predictions, metrics)).count("ransductive") == 1


def test_partly_synthetic_tables_are_stamped_too():
    mixed = pd.concat([make_predictions(), make_predictions(corpus="synthetic-room")])
    assert captions.stamps(mixed, {"speaker_independence": "independent"})[0].startswith(
        "Partly synthetic"
    )


def test_pooled_counts_are_stated():
    predictions = make_predictions(seeds=(0, 1), draws=3)
    figure = figures.confusion_matrix_figure(predictions, summarise(predictions, LABELS, n_boot=50))
    assert (
        "Counts are pooled over 2 seeds x 3 draws (720 predictions). UAR and WA are means over"
        " seeds and draws." in texts_of(figure)
    )
    assert "120 utterances" in texts_of(figure)
    assert sum(int(t.get_text()) for t in figure.axes[0].texts[1::2]) == 720


def test_an_emotion_without_utterances_is_not_zero_per_cent():
    predictions = make_predictions()
    figure = figures.confusion_matrix_figure(predictions, labels=[*LABELS, "disgust"])
    assert [t.get_text() for t in figure.axes[0].texts[-10::2]] == ["n/a"] * 5
    assert "No true utterance of disgust" in texts_of(figure)


def test_unusable_tables_are_refused():
    predictions = make_predictions()
    with pytest.raises(ValueError, match="nothing to draw"):
        figures.confusion_matrix_figure(predictions.head(0))
    with pytest.raises(ValueError, match="logistic / inductive; logistic / prototypes"):
        figures.confusion_matrix_figure(
            pd.concat([predictions, predictions.assign(rule="prototypes")])
        )


def boxes(figure, texts):
    renderer = figure.canvas.get_renderer()
    return [t.get_window_extent(renderer) for t in texts if t.get_text() and t.get_visible()]


@pytest.mark.parametrize("n_labels", [2, 4, 6, 7, 10])
def test_nothing_overlaps_or_is_cut_off(n_labels):
    predictions = make_predictions(
        TEN[:n_labels], n=40_000, corpus="synthetic-studio", rule="transductive"
    )
    metrics = summarise(predictions, TEN[:n_labels], n_boot=50)
    figure = figures.confusion_matrix_figure(
        predictions,
        metrics,
        "A long title that tells corpus, method, front end and protocol of a run " * 2,
    )
    figure.canvas.draw()
    axes = figure.axes[0]
    for box in boxes(figure, figure.findobj(matplotlib.text.Text)):
        assert (
            box.x0 >= 0
            and box.y0 >= 0
            and box.x1 <= figure.bbox.width + 0.5
            and box.y1 <= figure.bbox.height + 0.5
        )
    cell = axes.get_window_extent().width / n_labels
    assert max(box.width for box in boxes(figure, axes.texts)) < 0.95 * cell
    percents, counts = boxes(figure, axes.texts[::2]), boxes(figure, axes.texts[1::2])
    assert all(upper.y0 >= lower.y1 for upper, lower in zip(percents, counts, strict=True))
    labels = axes.get_xticklabels()
    if labels[0].get_rotation() == 0:
        assert all(
            a.x1 < b.x0
            for a, b in zip(boxes(figure, labels), boxes(figure, labels)[1:], strict=False)
        )
    assert figure.get_figwidth() == (style.ONE_COLUMN if n_labels <= 6 else style.WIDE_COLUMN)
    title, caption = boxes(figure, [figure._suptitle])[0], boxes(figure, [figure._supxlabel])[0]
    assert title.y0 >= axes.get_window_extent().y1 and caption.y1 <= axes.get_tightbbox().y0 + 0.5


def test_save_figure_is_exact_repeatable_and_atomic(tmp_path, monkeypatch):
    figure = figures.confusion_matrix_figure(make_predictions())
    saved = style.save_figure(figure, tmp_path / "a" / "matrix.v2")
    assert [p.name for p in saved] == ["matrix.v2.png", "matrix.v2.pdf", "matrix.v2.svg"]
    with Image.open(saved[0]) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.size == (round(300 * figure.get_figwidth()), int(300 * figure.get_figheight()))
    assert saved[1].read_bytes().startswith(b"%PDF")
    assert xml.etree.ElementTree.parse(saved[2]).getroot().tag.endswith("svg")
    before = [p.read_bytes() for p in saved]
    again = style.save_figure(figures.confusion_matrix_figure(make_predictions()), tmp_path / "b")
    assert [p.read_bytes() for p in again] == before
    monkeypatch.setattr(
        figure,
        "savefig",
        lambda path, **_: (path.write_bytes(b"half"), (_ for _ in ()).throw(OSError("gone"))),
    )
    with pytest.raises(OSError, match="gone"):
        style.save_figure(figure, tmp_path / "a" / "matrix.v2")
    assert [p.read_bytes() for p in saved] == before
    assert len(list((tmp_path / "a").iterdir())) == 3


def test_save_confusion_matrix_writes_raw_counts(tmp_path):
    folder = tmp_path / "runs" / "logistic" / "emodb-egemaps-0123456789ab"
    predictions = make_predictions(draws=2)
    write_predictions(predictions, folder / "predictions.csv")
    files.write_json(folder / "metrics.json", summarise(predictions, LABELS, n_boot=20))
    saved = figures.save_confusion_matrix(types.SimpleNamespace(path=folder))
    assert sorted(p.name for p in saved) == [
        f"confusion_matrix.{kind}" for kind in ("csv", "pdf", "png", "svg")
    ]
    table = pd.read_csv(folder / "confusion_matrix.csv", index_col="true")
    assert list(table.index) == list(table.columns) == LABELS
    assert (
        table.to_numpy()
        == confusion_matrix(predictions["true"], predictions["pred"], labels=LABELS)
    ).all()


def test_figures_leave_no_trace_in_pyplot():
    import matplotlib.pyplot as plt

    settings, opened = dict(matplotlib.rcParams), plt.get_fignums()
    assert figures.confusion_matrix_figure(make_predictions())._repr_png_().startswith(b"\x89PNG")
    assert (dict(matplotlib.rcParams), plt.get_fignums()) == (settings, opened)


def test_speaker_recall_is_the_macro_recall_of_each_speaker():
    predictions = make_predictions(draws=2, n_speakers=5)
    table = speakers.speaker_recall(predictions, LABELS).set_index("speaker")
    for speaker, part in predictions.groupby("speaker"):
        per_draw = [
            recall_score(one["true"], one["pred"], average="macro", labels=sorted(set(one["true"])))
            for _, one in part.groupby("draw")
        ]
        row = table.loc[f"emodb/{speaker}"]
        assert (row.uar, row.low, row.high) == pytest.approx(
            (np.mean(per_draw), min(per_draw), max(per_draw))
        )
        assert row.n == part["utt_id"].nunique()


@pytest.mark.parametrize("n_speakers", [4, 90])
def test_per_speaker_figure_shows_every_speaker(n_speakers):
    predictions = make_predictions(n=360, n_speakers=n_speakers)
    figure = speakers.per_speaker_figure(predictions, title="EmoDB")
    line = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    assert sorted(line.get_xdata()) == pytest.approx(
        sorted(100 * speakers.speaker_recall(predictions, LABELS)["uar"])
    )
    names = {t.get_text() for t in figure.axes[0].get_yticklabels()}
    assert names == ({f"{i:02d} (n = 90)" for i in range(4)} if n_speakers == 4 else set())
    assert "chance: 25.0 %" in texts_of(figure)


def make_manifest(n_speakers, corpora=("emodb",), n=200):
    rng = np.random.default_rng(1)
    corpus, speaker = (
        [corpora[i % len(corpora)] for i in range(n)],
        [i % n_speakers for i in range(n)],
    )
    return pd.DataFrame(
        {
            "utt_id": [f"{name}/u{i}" for i, name in enumerate(corpus)],
            "corpus": corpus,
            "speaker": [f"{s:03d}" for s in speaker],
            "gender": ["male" if s % 2 else "female" for s in speaker],
            "emotion": rng.choice(LABELS, n),
        }
    )


@pytest.mark.parametrize(
    ("n_speakers", "corpora"),
    [(6, ("emodb",)), (100, ("emodb",)), (6, ("emodb", "savee", "emovo"))],
)
def test_speakers_by_emotion_counts_every_utterance_once(n_speakers, corpora):
    manifest = make_manifest(n_speakers, corpora, n=300)
    naive = collections.Counter(
        zip(manifest.corpus + "/" + manifest.speaker, manifest.emotion, strict=True)
    )
    table = speakers.speaker_emotion_table(manifest)
    assert {
        (s, e): table.loc[s, e] for s in table.index for e in table.columns if table.loc[s, e]
    } == dict(naive)
    figure = speakers.speakers_by_emotion(manifest, "My corpora")
    axes = figure.axes[0]
    assert sum(int(t.get_text()) for t in axes.texts) == 300
    names = [t.get_text() for t in axes.get_yticklabels()]
    assert len(names) == min(len(table), speakers.MANY)
    if n_speakers == 100:
        assert names[-1] == "61 others"
    else:
        assert names[0] == ("000 (f)" if len(corpora) == 1 else "emodb/000 (f)")


def test_clips_are_of_one_speaker_and_text_where_possible():
    rows = [
        ("a", "s1", "anger", "t1"),
        ("b", "s1", "neutral", "t1"),
        ("c", "s1", "neutral", "t2"),
        ("d", "s2", "anger", "t1"),
        ("e", "s2", "sadness", "t1"),
        ("f", "s1", "sadness", "t1"),
        ("g", "s1", "anger", "t3"),
    ]
    manifest = pd.DataFrame(rows, columns=["utt_id", "speaker", "emotion", "text_id"]).assign(
        corpus="x"
    )
    for seed in range(5):
        assert list(gallery.choose_clips(manifest, seed=seed)["utt_id"]) == ["a", "b", "f"]
    assert list(gallery.choose_clips(manifest, ["sadness"], per_emotion=5)["emotion"]) == [
        "sadness",
        "sadness",
    ]
    with pytest.raises(
        ValueError, match="no utterance of joy: the manifest has anger, neutral, sadness"
    ):
        gallery.choose_clips(manifest, ["joy"])


def test_pitch_of_a_voice_like_wave_is_its_fundamental():
    time = np.arange(16000) / 16000
    wave = (
        sum(np.sin(2 * np.pi * 180 * k * time) / k for k in range(1, 15)).astype(np.float32) * 0.2
    )
    track = gallery.pitch(wave)
    assert len(track) == 101
    assert np.nanmedian(track) == pytest.approx(180, abs=2)
    assert np.isnan(gallery.pitch(np.zeros(8000, dtype=np.float32))).all()


def test_gallery_shows_and_plays_one_clip_of_each_emotion(tmp_path, tone):
    manifest = pd.DataFrame(
        [
            {
                "utt_id": f"synthetic-studio/{e}",
                "corpus": "synthetic-studio",
                "speaker": "01",
                "gender": "female",
                "text_id": "",
                "emotion": e,
                "file": str(tone(tmp_path / f"{e}.wav", seconds=0.5)),
            }
            for e in LABELS
        ]
    )
    page = gallery.show_gallery(manifest, ["anger", "sadness"]).data
    assert page.count("<audio") == page.count("<img") == 2
    assert (
        "anger, speaker 01 (female)" in page
        and "Synthetic corpus" in page
        and "neutral" not in page
    )


def test_gallery_of_real_speech(real_corpora):
    found = {
        name[5]: name
        for name in sorted(p.name for p in (real_corpora / "emodb").glob("03a0*.flac"))
    }
    manifest = pd.DataFrame(
        [
            {
                "utt_id": f"emodb/{name}",
                "corpus": "emodb",
                "speaker": "03",
                "gender": "male",
                "text_id": name[2:5],
                "emotion": {"F": "happiness", "N": "neutral", "W": "anger"}[letter],
                "file": str(real_corpora / "emodb" / name),
            }
            for letter, name in found.items()
            if letter in "FNW"
        ]
    )
    assert len(manifest) >= 2
    page = gallery.show_gallery(manifest).data
    assert page.count("<audio") == page.count("<img") == len(manifest)
    track = gallery.pitch(load_audio(manifest["file"].iloc[0], gallery.RATE))
    assert 80 < np.nanmedian(track) < 350, "a man's fundamental, in Hz"
