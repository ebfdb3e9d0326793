"""One's own recordings and a model: each judged without its own label, and what that proves."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from known_model import RATE, TONES, KnownModel, tone
from scipy import stats

from colab_utils import voice
from colab_utils.learning import kept
from colab_utils.panel.record import ENROLMENT, UNLABELLED, OwnRecordings
from colab_utils.voice import AFTER, BEFORE, Voice


class Adaptable(KnownModel):
    """Its scores after a few clips: the emotion of the labelled clip with the nearest tone."""

    unit = "speaker"
    support = None

    def scores(self, found, rows):
        rows = rows[["utt_id", "corpus", "speaker"]]
        if self.support is None:
            return super().scores(found, rows)
        scores = np.full((len(rows), len(self.labels)), 0.05)
        for place, name in enumerate(rows["utt_id"]):
            away = [abs(np.log2(found[name][0, 0] / hertz)) for hertz, _ in self.support]
            scores[place, self.labels.index(self.support[np.argmin(away)][1])] = 0.9
        return scores

    def adapted(self, found, rows, emotions):
        other = Adaptable()
        pairs = zip(rows["utt_id"], emotions, strict=True)
        other.support = [(found[name][0, 0], emotion) for name, emotion in pairs if emotion]
        return other


class Fixed(Adaptable):
    """One that cannot be adapted."""

    unit = "none"

    def adapted(self, found, rows, emotions):
        raise kept.ModelError("a few clips adapt a linear model")


def recorded(folder, **tones):
    """Recordings by kind, one of each tone (Hz), a quarter of a second of silence around it."""
    mine = OwnRecordings(folder / "recordings", list(TONES))
    still = np.zeros(RATE // 4, np.float32)
    for kind, each in tones.items():
        for number, hertz in enumerate(each):
            path = mine.folder / kind / f"{kind}-{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.concatenate([still, tone(hertz, 1.0), still]), RATE)
    return mine


# this reader says anger an octave lower than the model knows it: as its joy
READER = {"anger": [270, 280, 290], "joy": [600, 610, 620], ENROLMENT: [400] * 5, UNLABELLED: [500]}


def test_each_clip_is_judged_by_a_model_that_has_not_heard_its_label(tmp_path, capsys):
    found = Voice(Adaptable(), recorded(tmp_path, **READER), tmp_path).adapt()
    assert list(found[BEFORE]["true"]) == ["anger"] * 3 + ["joy"] * 3
    assert set(found[BEFORE]["pred"]) == {"sadness", "joy"}
    assert (found[AFTER]["pred"] == found[AFTER]["true"]).all()
    # whose own label alone would be right
    noise = {"anger": [250, 510], "joy": [500, 260]}
    found = Voice(Adaptable(), recorded(tmp_path / "noise", **noise), tmp_path).adapt()
    assert not (found[AFTER]["pred"] == found[AFTER]["true"]).any()
    assert "0 of 5 neutral sentences" in capsys.readouterr().out
    # the only clip of an emotion: adapts, and is not judged
    found = Voice(Adaptable(), recorded(tmp_path / "one", anger=[270, 280], joy=[275]), tmp_path)
    found = found.adapt()
    assert [list(table["true"]) for table in found.values()] == [["anger"] * 2] * 2
    assert set(found[AFTER]["pred"]) == {"joy"}


def test_what_cannot_be_adapted_is_said(tmp_path, capsys):
    mine = recorded(tmp_path, anger=[800, 810], joy=[400])
    assert list(Voice(Fixed(), mine, tmp_path).adapt()) == [BEFORE]
    told = capsys.readouterr().out
    assert "nothing of its emotion would be left to adapt to: joy." in told
    assert "Not adapted: a few clips adapt a linear model." in told and "neutral" not in told
    one = recorded(tmp_path / "one", anger=[800], joy=[400])
    reader = Voice(Adaptable(), one, tmp_path)
    found = reader.adapt()
    assert list(found) == [BEFORE] and reader.change(found) is None
    assert "Label two clips of an emotion" in capsys.readouterr().out
    none = Voice(Adaptable(), recorded(tmp_path / "none", unlabelled=[500]), tmp_path)
    assert none.measure(none.adapt()) is None


def test_the_figure_and_the_metrics_are_those_of_the_predictions(tmp_path, capsys):
    many = READER | {"sadness": [200, 210, 220, 230]}
    reader = Voice(Adaptable(), recorded(tmp_path, **many), tmp_path)
    found = reader.adapt()
    axes = reader.change(found).axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == [f"{row.true}-{row.utt_id[-5]}" for row in found[BEFORE].itertuples()]
    drawn = [offset for one in axes.collections[1:] for offset in one.get_offsets().tolist()]
    expected = []
    for table in found.values():
        for place, (_, row) in enumerate(table.iterrows()):
            expected.append([100 * row[f"p_{row['true']}"], 9 - place])
    np.testing.assert_allclose(sorted(drawn), sorted(expected))
    figure = reader.measure(found)
    assert "confusion matrices" in figure.name and len(figure.axes) == 2
    told = capsys.readouterr().out
    right = int((found[BEFORE]["pred"] == found[BEFORE]["true"]).sum())
    assert f"{BEFORE}: UAR " in told and f"{right} of 10 right: that fits" in told
    assert "overlap allowed" in figure.alt and "Synthetic" not in figure.alt


def test_four_of_five_is_28_to_99():
    assert "4 of 5 right" in voice.proves(4, 5) and "28 to 99 %" in voice.proves(4, 5)
    for right, n in ((0, 5), (5, 5), (9, 12)):
        low = stats.beta.ppf(0.025, right, n - right + 1) if right else 0
        high = stats.beta.ppf(0.975, right + 1, n - right) if right < n else 1
        assert f"{100 * low:.0f} to {100 * high:.0f} %" in voice.proves(right, n)


def test_a_change_is_held_against_a_fair_coin():
    def table(pred):
        return pd.DataFrame({"true": list("aaaaaa"), "pred": list(pred)})

    told = voice.how_little(table("bbbbba"), table("aaaaab"))
    assert told.startswith("5 answer(s) became right, 1 wrong") and "22 of 100" in told
    assert voice.how_little(table("aaabbb"), table("aaabbb")).endswith("0 wrong")


def test_labels_name_the_files_shortly_and_one_speaker(tmp_path):
    mine = recorded(tmp_path, **READER)
    answers = Voice(Plain(), mine, tmp_path).label()
    assert list(answers.table["file"]) == list(mine.table["name"]) and answers.skipped.empty
    assert answers.notes[0] == "12 of me"
    assert answers.table["emotion"].iloc[-1] == "joy"


class Plain(Adaptable):
    """As long a window as its clips."""

    def __init__(self):
        super().__init__(seconds=1.5)


@pytest.mark.slow
def test_the_newest_are_shown_with_what_stands_against_them(tmp_path, monkeypatch):
    monkeypatch.setattr(voice, "SHOWN", 2)
    mine = recorded(tmp_path, anger=[800], joy=[400, 410])
    still = np.zeros(RATE // 2)
    quiet = np.concatenate([still, tone(300, 1.0, level=0.002), still])
    soundfile.write(mine.folder / "anger" / "quiet.wav", quiet, RATE, subtype="FLOAT")
    page = Voice(Fixed(), mine, tmp_path).show().data
    assert page.count("<audio") == page.count("<img") == voice.SHOWN
    assert "2 more are not shown" in page and "anger/quiet" in page


def test_a_model_is_found_by_name_or_the_others_are_named(tmp_path, capsys):
    with pytest.raises(kept.ModelError, match="there are none: run notebook 01 to 05"):
        voice.open_model("mine", tmp_path)
    for root in (tmp_path, tmp_path / "drive" / "ser_results"):
        (root / "models" / root.name).mkdir(parents=True)
        (root / "models" / root.name / "model.json").write_text("{}")
    with pytest.raises(kept.ModelError, match=f"there are ser_results, {tmp_path.name}"):
        voice.open_model("mine", tmp_path, tmp_path / "drive")
    with pytest.raises(kept.ModelError, match=r"ser_results.model\.json"):
        voice.open_model("ser_results", tmp_path, tmp_path / "drive")
