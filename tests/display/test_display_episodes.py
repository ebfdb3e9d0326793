"""The picture of an episode: who stands where, in which colour, what can be played; and the figure
of support speakers.
"""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from colab_utils.display import captions, speakers, style
from colab_utils.results.metrics import summarise
from colab_utils.results.support import SUPPORT_COLUMNS

LABELS = ["anger", "fear", "joy & <bliss>"]


def support_table(n=6):
    rng = np.random.default_rng(0)
    rate = rng.uniform(0.4, 0.6, (n, 2))
    table = pd.DataFrame(
        {
            "speaker": [f"x/{i:02d}" for i in range(n)],
            "tasks_with": range(90, 90 + n),
            "tasks_without": 200,
            "accuracy_with": rate[:, 0],
            "with_low": rate[:, 0] - 0.02,
            "with_high": rate[:, 0] + 0.03,
            "accuracy_without": rate[:, 1],
            "without_low": rate[:, 1] - 0.01,
            "without_high": rate[:, 1] + 0.02,
            "difference": rate[:, 0] - rate[:, 1],
        }
    ).sort_values("difference", ascending=False, ignore_index=True)
    return table.assign(low=table["difference"] - 0.03, high=table["difference"] + 0.03)[
        list(SUPPORT_COLUMNS)
    ]


def texts_of(figure):
    return " ".join(t.get_text() for t in figure.findobj(matplotlib.text.Text)).replace("\n", " ")


def test_support_figure_shows_the_numbers_of_its_table():
    table = support_table()
    figure = speakers.support_speakers_figure(
        table, "MAML on EMOVO", marks=["Synthetic corpus: not a result on speech."]
    )
    left, right = figure.axes
    by_label = {line.get_label(): line for line in left.lines}
    for name in ("with", "without"):
        np.testing.assert_allclose(
            by_label[f"{name} the speaker"].get_xdata(), 100 * table[f"accuracy_{name}"]
        )
    assert [segment[0, 0] for segment in left.collections[0].get_segments()] == pytest.approx(
        list(100 * table["with_low"])
    )
    points = next(line for line in right.lines if line.get_marker() == "o")
    np.testing.assert_allclose(
        points.get_xydata(), np.stack([100 * table["difference"], np.arange(6)[::-1]], axis=1)
    )
    for segment, row in zip(right.collections[0].get_segments(), table.itertuples(), strict=True):
        assert list(segment[:, 0]) == pytest.approx([100 * row.low, 100 * row.high])
    assert [t.get_text() for t in left.get_yticklabels()] == [
        f"{row.speaker[2:]} ({row.tasks_with})" for row in table.itertuples()
    ]
    said = texts_of(figure)
    assert (
        "95 % interval over tasks: this corpus, these speakers" in said
        and "own queries are left out" in said
        and "Synthetic corpus" in said
    )
    assert (left.get_xlabel(), right.get_xlabel()) == (
        "Task accuracy (%)",
        "With minus without (points)",
    )
    assert figure.get_figwidth() == style.WIDE_COLUMN and "MAML on EMOVO" in said


def test_support_figure_of_many_speakers_keeps_the_extremes(tmp_path):
    table = support_table(speakers.MANY + 25)
    table.loc[
        table.index[-1],
        ["difference", "low", "high", "accuracy_without", "without_low", "without_high"],
    ] = np.nan
    figure = speakers.support_speakers_figure(table)
    shown = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert (
        len(shown) == speakers.MANY
        and f"Of {speakers.MANY + 25} speakers the 20 with the greatest gain" in texts_of(figure)
    )
    kept = [*table["speaker"].head(20), *table["speaker"].iloc[-21:-1]]
    assert [name.split(" ")[0] for name in shown] == [name[2:] for name in kept]
    assert len(style.save_figure(figure, tmp_path / "support")) == 3
    with pytest.raises(ValueError, match="no support speakers: there is nothing to draw"):
        speakers.support_speakers_figure(table.head(0))


def test_the_figure_over_test_speakers_takes_two_hundred_episodes():
    rng, parts = np.random.default_rng(1), []
    for task in range(200):
        classes = rng.permutation(["anger", "fear", "joy", "sadness", "neutral", "disgust"])[:3]
        true = np.repeat(classes, 5)
        parts.append(
            pd.DataFrame(
                {
                    "method": "maml",
                    "rule": "inductive",
                    "seed": 0,
                    "fold": "0",
                    "draw": 0,
                    "task": task,
                    "utt_id": [f"x/{task}-{i}" for i in range(15)],
                    "corpus": "x",
                    "speaker": rng.choice(["a", "b", "c"], 15),
                    "true": true,
                    "pred": np.where(rng.random(15) < 0.5, true, rng.choice(classes, 15)),
                }
            )
        )
    predictions = pd.concat(parts, ignore_index=True)
    metrics = summarise(
        predictions,
        sorted(set(predictions["true"])),
        n_boot=50,
        chance=1 / 3,
        speaker_independence="independent",
    )
    assert "200 tasks" in texts_of(speakers.per_speaker_figure(predictions, metrics))
    assert "chance: 33.3 %" in texts_of(
        speakers.per_speaker_figure(predictions, metrics)
    ) and "chance 33.3" in captions.rates(metrics)
