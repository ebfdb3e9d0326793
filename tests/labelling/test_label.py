"""Recordings of any kind, labelled by a model whose answers are known."""

import os
import pathlib
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
import soundfile
from known_model import RATE, TONES, KnownModel, tone

from colab_utils import label as labelling
from colab_utils import session
from colab_utils.corpora.audio import AudioError
from colab_utils.csv_files import read_csv
from colab_utils.label import label
from colab_utils.learning import hearing, kept
from colab_utils.settings import SettingError


def wrote(path, wave, rate=RATE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, **options)
    return path


def labelled(sources, model=None, **options):
    return label(model or KnownModel(), sources, progress=False, **options)


def emotions(found):
    return dict(zip(found.table["file"], found.table["emotion"], strict=True))


def reasons(found):
    return dict(zip(found.skipped["file"], found.skipped["reason"], strict=True))


@pytest.fixture
def clips(tmp_path):
    """A clip of each emotion in a folder, one deeper."""
    for name, hertz in TONES.items():
        wrote(tmp_path / "clips" / name[0] / f"{name}.wav", tone(hertz, 1.0))
    return tmp_path / "clips"


def test_a_tone_that_changes_is_heard_window_by_window(tmp_path, monkeypatch):
    order = ["joy", "anger", "anger", "sadness", "joy", "sadness"]
    wave = np.concatenate([tone(TONES[name], 2.0, 44100) for name in order])
    file = wrote(tmp_path / "long.flac", np.stack([wave, wave], 1), 44100)
    monkeypatch.setattr("colab_utils.corpora.audio.WHOLE_SECONDS", 1.0)
    monkeypatch.setattr("colab_utils.corpora.codecs.reading._BLOCK", 30000)
    monkeypatch.setattr(hearing, "BATCH_SECONDS", 3.0)
    table = labelled(file, window=2.0).table
    assert table["emotion"].tolist() == order
    assert table["start"].tolist() == [0, 2, 4, 6, 8, 10]
    assert table["end"].tolist() == [2, 4, 6, 8, 10, 12]
    assert table.columns.tolist()[-3:] == ["p_anger", "p_joy", "p_sadness"]
    assert table["p_anger"].tolist() == [0.05, 0.9, 0.9, 0.05, 0.05, 0.05]
    assert not table["uncertain"].any()
    assert labelled(file, window=2.0, threshold=0.91).table["uncertain"].all()


def test_a_model_that_takes_several_rates_gets_the_same_windows_in_each(tmp_path):
    model = KnownModel(rates=(16000, 24000))
    labelled(wrote(tmp_path / "a.wav", tone(400, 7.0, 32000), 32000), model, window=2.0)
    assert model.heard == [[32000, 48000]] * 3 + [[16000, 24000]]


@pytest.mark.parametrize(
    ("about", "window"), [({}, 3.0), ({"seconds": 1.04}, 3.0), ({"seconds": 4.04}, 4.0)]
)
def test_a_window_is_as_long_as_what_was_trained_on(tmp_path, about, window):
    file = wrote(tmp_path / "a.wav", tone(400, 8.0))
    found = labelled(file, KnownModel(**about))
    assert found.table["end"][0] == window
    assert f"pieces of {window:g} s" in " ".join(found.notes)
    assert len(labelled(file, KnownModel(**about), window=6.0).table) == 1
    assert len(labelled(file, KnownModel(**about), window=5.0).table) == 2


@pytest.mark.parametrize("window", [0.1, -3, float("nan"), 1e9])
def test_a_window_that_cannot_be_is_refused(tmp_path, window):
    with pytest.raises(SettingError, match="window = .*give seconds"):
        labelled([], window=window)
    with pytest.raises(SettingError, match="threshold = 50"):
        labelled([], threshold=50)
    with pytest.raises(SettingError, match="7 is no recording"):
        labelled(7)


# --- sources --------------------------------------------------------------------------------------


def test_a_file_a_folder_and_a_list_of_them(clips):
    names = {str(clips / name[0] / f"{name}.wav"): name for name in TONES}
    assert emotions(labelled(clips)) == names
    assert emotions(labelled([str(clips)])) == names
    assert emotions(labelled(list(names))) == names
    assert emotions(labelled(next(iter(names)))) == {next(iter(names)): "anger"}
    twice = labelled([clips, clips])
    assert len(twice.table) == 6 and len(twice.figures()) == 0


def test_an_archive_is_gone_from_the_disk_with_its_labels(clips, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    (clips / "readme.txt").write_text("x")
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", clips)
    found = labelled(archive)
    assert emotions(found) == {f"{archive}/{name[0]}/{name}.wav": name for name in TONES}
    assert "not audio, and left out: 1 .txt" in found.notes
    assert "<audio" in found.html() and os.listdir(tmp_path / "temporary")
    del found
    assert os.listdir(tmp_path / "temporary") == []


def test_a_table_of_files_and_speakers(clips, tmp_path):
    rows = {"file": ["a/anger.wav", "s/sadness", "none.wav", ""], "speaker": ["x", "", "y", "z"]}
    pd.DataFrame(rows).to_csv(clips / "t.csv", index=False)
    found = labelled(clips / "t.csv")
    assert emotions(found) == {"a/anger.wav": "anger", "s/sadness": "sadness"}
    assert reasons(found) == {
        "none.wav": "no such file",
        str(clips / "t.csv"): "a row without a file",
    }
    assert found.notes == ["2 of , x"]
    assert labelled(clips, speaker="me").notes[0] == "3 of me"
    pd.DataFrame({"wav": ["a"]}).to_csv(tmp_path / "u.csv", index=False)
    assert (
        "no column 'file'; found: wav"
        in reasons(labelled(tmp_path / "u.csv"))[str(tmp_path / "u.csv")]
    )


def test_waves_in_memory(tmp_path):
    whole = (tone(800, 1.0, 8000) * 32767).astype(np.int16)
    waves = [
        ("one", tone(200, 1.0), RATE),
        ("two", np.stack([tone(400, 1.0, 48000)] * 2, 1), 48000),
        ("three", whole, 8000),
        ("flat", np.zeros((3, 4, 5)), RATE),
        ("none", np.zeros(0), RATE),
        ("dead", np.zeros(8000), RATE),
    ]
    found = labelled(waves)
    assert emotions(found) == {"one": "sadness", "two": "joy", "three": "anger"}
    assert "shape (3, 4, 5)" in reasons(found)["flat"]
    assert "no signal" in reasons(found)["dead"] and "none" in reasons(found)
    assert emotions(labelled(waves[0])) == {"one": "sadness"}
    assert found.html().count("<audio") == 3


# --- what goes wrong ------------------------------------------------------------------------------


def test_bad_files_are_listed_and_the_rest_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    wrote(tmp_path / "8k.wav", tone(400, 1.0, 8000), 8000)
    wrote(tmp_path / "stereo.wav", np.stack([tone(400, 1.0)] * 2, 1))
    wrote(tmp_path / "clipped.wav", np.clip(tone(400, 1.0, level=3), -1, 1))
    wrote(tmp_path / "silent.wav", np.zeros(RATE))
    wrote(tmp_path / "short.wav", tone(400, 0.01))
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "iphone.m4a").write_bytes(b"\0\0\0\x1cftypM4A \0\0\0\0" + bytes(50))
    (tmp_path / "chrome.webm").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(50))
    with zipfile.ZipFile(tmp_path / "torn.zip", "w") as archive:
        archive.writestr("a.wav", b"x" * 999)
    (tmp_path / "torn.zip").write_bytes((tmp_path / "torn.zip").read_bytes()[:-30])
    found = labelled([tmp_path, tmp_path / "torn.zip", tmp_path / "gone.wav"])
    good = {pathlib.Path(name).name: value for name, value in emotions(found).items()}
    assert good == dict.fromkeys(["8k.wav", "clipped.wav", "stereo.wav"], "joy")
    told = {pathlib.Path(name).name: reason for name, reason in reasons(found).items()}
    assert set(told) == {
        *("silent.wav", "short.wav", "empty.wav", "text.wav", "iphone.m4a", "chrome.webm"),
        *("torn.zip", "gone.wav"),
    }
    assert "silent" in told["silent.wav"] and "0.010 s" in told["short.wav"]
    for name in ("iphone.m4a", "chrome.webm"):
        assert "ffmpeg" in told[name] and f"`ffmpeg -i {name} clip.wav`" in told[name]
    notes = " ".join(found.notes)
    assert "clipped.wav: clipped (" in notes and "8k.wav: recorded at 8000 Hz" in notes
    assert "1 .zip" in notes
    assert all(name in str(found) for name in told)


def test_silence_within_a_recording_has_no_emotion_and_nothing_is_lost(tmp_path):
    wave = np.concatenate([tone(400, 2.0), np.zeros(2 * RATE), tone(200, 2.0)])
    found = labelled(wrote(tmp_path / "a.wav", wave), window=2.0)
    assert found.table["emotion"].tolist() == ["joy", "", "sadness"]
    assert found.table["uncertain"].tolist() == [False, True, False]
    assert found.table.loc[1].filter(like="p_").isna().all()
    assert "1 window(s) without a signal" in " ".join(found.notes)


class Broken(KnownModel):
    """Gives no numbers for anger."""

    def features(self, waves):
        return [np.where(one > 600, np.nan, one) for one in super().features(waves)]


def test_features_that_are_no_numbers_get_no_emotion(clips):
    found = labelled(clips, Broken())
    assert sorted(emotions(found).values()) == ["", "joy", "sadness"]


def test_a_file_that_goes_while_it_is_read_is_skipped_and_the_rest_goes_on(clips, monkeypatch):
    real = hearing.survey

    def survey(file, longest):
        found = real(file, longest)
        if "joy" in file:
            pathlib.Path(file).unlink()
        return found

    monkeypatch.setattr(hearing, "survey", survey)
    found = labelled(clips)
    assert sorted(emotions(found).values()) == ["anger", "sadness"]
    assert [pathlib.Path(name).name for name in reasons(found)] == ["joy.wav"]


def test_a_recording_that_ends_in_an_error_leaves_no_rows(tmp_path, monkeypatch):
    real = hearing.windows

    def windows(found, window, rates):
        yield from list(real(found, window, rates))[:2]
        if "bad" in str(found.file):
            raise AudioError(found.file, "it changed while it was read")

    monkeypatch.setattr(hearing, "windows", windows)
    for name, hertz in (("a bad", 200), ("good", 800)):
        wrote(tmp_path / f"{name}.wav", tone(hertz, 4.0))
    found = labelled(tmp_path, window=2.0)
    assert found.table["emotion"].tolist() == ["anger", "anger"]
    assert list(reasons(found).values()) == ["it changed while it was read"]


def test_an_interruption_ends_it(clips, monkeypatch):
    def stop(self, waves):
        raise KeyboardInterrupt

    monkeypatch.setattr(KnownModel, "features", stop)
    with pytest.raises(KeyboardInterrupt):
        labelled(clips)


# --- what is shown --------------------------------------------------------------------------------


def test_the_page_has_players_and_what_must_be_known(clips, tmp_path):
    wrote(clips / "long <b>.wav", np.concatenate([tone(400, 6.0), tone(200, 6.0)]))
    (clips / "bad.wav").touch()
    about = {"trained_on": [{"corpus": "synthetic-studio"}], "seconds": 4.0}
    found = labelled(clips, KnownModel(**about), threshold=0.95)
    page = found.html()
    assert page.count("<audio") == 6 and page.count("<img") == 1
    assert "uncertain" in page and "empty file" in page and "long <b>" not in page
    assert "Synthetic corpus: not a result on speech." in page
    assert any(name.startswith("timeline") for name in session.shown)
    many = labelled(wrote(tmp_path / "a.wav", tone(400, 40.0)), window=1.0)
    assert many.html().count("<audio") == 20 and "Of 40 windows the 20" in many.html()
    assert "0 recording(s)" in labelled([]).html()


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, capsys):
    """What `python -m colab_utils.label` returns and says, with the known model."""

    def run(*arguments):
        code = labelling.main([*map(str, arguments)])
        return code, "".join(capsys.readouterr())

    monkeypatch.setattr(kept, "open_model", lambda folder, device="cpu": KnownModel())
    return run


def test_the_command_writes_a_table_and_says_what_was_skipped(command, clips, tmp_path):
    (clips / "=bad.wav").touch()
    out = tmp_path / "new" / "labels.csv"
    code, said = command("model", clips, "--out", out, "--threshold", "0.95")
    assert code == 0 and "=bad.wav: empty file" in said and str(out) in said
    table = read_csv(out)
    assert dict(zip(table["emotion"], table["p_anger"], strict=True)) == {
        "anger": 0.9,
        "joy": 0.05,
        "sadness": 0.05,
    }
    assert table["uncertain"].all()
    assert "=bad.wav: empty file" in out.with_suffix(".txt").read_text()
    assert sorted(os.listdir(out.parent)) == ["labels.csv", "labels.txt"]


def test_nothing_labelled_is_1_and_leaves_no_table(command, tmp_path):
    code, said = command("model", tmp_path / "none.wav", "--out", tmp_path / "labels.csv")
    assert code == 1 and "nothing could be labelled" in said and "no such file" in said
    assert os.listdir(tmp_path) == []


def test_what_ends_the_command_is_2_and_a_sentence(command, clips, tmp_path, monkeypatch):
    code, said = command("model", clips, "--out", tmp_path / "l.csv", "--window", "0.01")
    assert code == 2 and said.startswith("window = 0.01")

    def refuse(*_):
        raise kept.ModelError("model/model.json is torn: copy it again")

    monkeypatch.setattr(kept, "open_model", refuse)
    code, said = command("model", clips, "--out", tmp_path / "l.csv")
    assert (code, said) == (2, "model/model.json is torn: copy it again\n")
    (tmp_path / "a file").touch()
    code, said = command("model", clips, "--out", tmp_path / "a file" / "l.csv")
    assert code == 2 and "a file" in said and said.count("\n") == 1


def test_an_interrupted_command_writes_nothing(command, clips, tmp_path, monkeypatch):
    def stop(self, waves):
        raise KeyboardInterrupt

    monkeypatch.setattr(KnownModel, "features", stop)
    code, said = command("model", clips, "--out", tmp_path / "l.csv")
    assert code == 130 and "nothing was written" in said
    assert not (tmp_path / "l.csv").exists()
