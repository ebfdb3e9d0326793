"""Drive as the second memory: a lost workspace costs only what was not yet sent, and a Drive that
fails costs nothing.
"""

import errno
import os
import shutil
import zipfile

import numpy as np
import pytest
import torch
from fake_colab import FlakyDrive
from one_file_method import SoftmaxLearner, SoftmaxStudy
from test_study import CONFIG, NINE, content, make_study

from colab_utils import files
from colab_utils.corpora.audio import read_audio, samples_sha256
from colab_utils.drive import memory as memory_file
from colab_utils.drive.memory import Memory
from colab_utils.features import open_store
from colab_utils.learning.study import Tested
from colab_utils.results.runs import load_run


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """MyDrive; unfinished work is sent at every chance."""
    monkeypatch.setattr(memory_file, "EVERY", 0.0)
    monkeypatch.setattr(memory_file, "SHARE", 0)
    monkeypatch.setattr(memory_file, "WORTH", 0.0)
    folder = tmp_path / "MyDrive"
    folder.mkdir()
    return folder


@pytest.fixture
def whole(tmp_path):
    """The run of three seeds and three folds, never disturbed."""
    study = make_study(tmp_path / "undisturbed")
    return study.evaluate([Tested("softmax", NINE)], pictures=False)["softmax"]


@pytest.fixture
def made(monkeypatch):
    """What is computed: ("step", i) of trainings and ("part", seed, fold) of tests."""
    done = []
    step, predict = SoftmaxLearner.step, SoftmaxStudy.predict

    def noted_step(self, i):
        done.append(("step", i))
        return step(self, i)

    def noted_predict(self, learner, tested, fold):
        done.append(("part", tested.config.seed, fold))
        return predict(self, learner, tested, fold)

    monkeypatch.setattr(SoftmaxLearner, "step", noted_step)
    monkeypatch.setattr(SoftmaxStudy, "predict", noted_predict)
    return done


class Lost(BaseException):
    """The runtime is gone."""


@pytest.mark.parametrize("moment", ["in a training", "after a part", "after the run"])
def test_a_lost_workspace_is_taken_from_drive(moment, tmp_path, drive, made, whole, monkeypatch):
    made.clear()
    root = tmp_path / "work"
    study = make_study(root, drive_folder=drive)
    limit = {"in a training": 13, "after a part": 25, "after the run": 10**6}[moment]
    predict, step = SoftmaxStudy.predict, SoftmaxLearner.step

    def dying(original):
        def call(self, *arguments):
            if len(made) >= limit:
                raise Lost
            return original(self, *arguments)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(SoftmaxStudy, "predict", dying(predict))
        patch.setattr(SoftmaxLearner, "step", dying(step))
        patch.setattr("colab_utils.learning.training._Session.due", lambda self, seconds: True)
        if moment == "after the run":
            study.evaluate([Tested("softmax", NINE)], pictures=False)
        else:
            with pytest.raises(Lost):
                study.evaluate([Tested("softmax", NINE)], pictures=False)
    before = list(made)
    shutil.rmtree(root)
    made.clear()
    again = make_study(root, drive_folder=drive).evaluate([Tested("softmax", NINE)], False)
    assert content(again["softmax"]) == content(whole)
    twice = [one for one in made if one in before and one[0] == "part"]
    assert not twice, "no part is computed again"
    if moment == "in a training":  # 13 steps were made, the checkpoint is of step 10
        assert made[0] == ("step", 10)
    if moment == "after a part":  # the first training and its first part were finished
        assert before[20][0] == "part" and made[0] == ("step", 0)
        assert len([one for one in made if one[0] == "step"]) == 8 * 20
    if moment == "after the run":
        assert not made
    assert load_run(drive / "ser_results" / again["softmax"].path.relative_to(root)).done
    assert not list(drive.rglob("*.begun.zip")), "what is finished has replaced what was begun"


def test_what_is_on_drive_is_told(tmp_path, drive):
    root = tmp_path / "work"
    make_study(root, drive_folder=drive).evaluate([Tested("softmax", CONFIG)], pictures=False)
    (drive / "ser_results" / "memory" / "mine.zip").write_bytes(b"")
    told = Memory(root, drive).found()
    assert "finished runs 1" in told and "trainings 3" in told and "begun 0" in told


def test_a_finished_run_goes_without_its_parts(tmp_path, drive):
    study = make_study(tmp_path / "work", drive_folder=drive)
    run = study.evaluate([Tested("softmax", CONFIG)], pictures=False)["softmax"]
    sent = drive / "ser_results" / run.path.relative_to(tmp_path / "work")
    here = {path.name for path in run.path.iterdir()}
    assert {path.name for path in sent.iterdir()} == here - {"parts"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.ENOTCONN])
def test_a_drive_that_fails_costs_a_warning_and_is_tried_again(
    number, tmp_path, drive, whole, monkeypatch, capsys
):
    monkeypatch.setattr("colab_utils.drive.copying.time.sleep", lambda seconds: None)
    root = tmp_path / "work"
    failing = FlakyDrive(monkeypatch, drive, [number], forever=True)
    run = make_study(root, drive_folder=drive).evaluate([Tested("softmax", NINE)], False)["softmax"]
    assert content(run) == content(whole) and failing.raised
    told = capsys.readouterr().out
    assert told.count("WARNING") == 1 and str(root) in told
    failing.errors.clear()  # Drive is back
    Memory(root, drive).keep_all()
    shutil.rmtree(root)
    again = make_study(root, drive_folder=drive).evaluate([Tested("softmax", NINE)], False)
    assert content(again["softmax"]) == content(whole)
    assert "taken from Drive" in capsys.readouterr().out


def test_a_drive_that_fails_is_tried_once_a_call_however_much_waits(tmp_path, drive, monkeypatch):
    tried = []

    def failing(self, folder, finished):
        tried.append(folder.name)
        if broken:
            raise OSError(errno.EIO, "Drive")

    monkeypatch.setattr(Memory, "_send", failing)
    memory, broken = Memory(tmp_path, drive), True
    for name in "abc":
        memory.keep(tmp_path / "features" / name, finished=True)
    assert tried == ["a", "b", "c"]
    broken = False
    memory.keep(tmp_path / "features" / "d", finished=True)
    assert tried[3:] == ["d", "c", "b", "a"]


def test_a_drive_that_is_gone_is_not_made_anew(tmp_path, drive, capsys):
    drive.rmdir()
    make_study(tmp_path / "work", drive_folder=drive).evaluate([Tested("softmax", CONFIG)], False)
    assert not drive.exists() and "WARNING" in capsys.readouterr().out


def test_a_damaged_archive_costs_a_warning(tmp_path, drive, capsys):
    root = tmp_path / "work"
    tested = Tested("softmax", CONFIG)
    study = make_study(root, drive_folder=drive)
    weights = study.trained(tested, study.folds[0])[0].module.weight.detach().clone()
    (archive,) = drive.rglob("*.zip")
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as packed:
        largest = max(packed.infolist(), key=lambda one: one.compress_size)
    inside = largest.header_offset + 30 + len(largest.filename) + largest.compress_size // 2
    data[inside] ^= 255
    archive.write_bytes(data)
    shutil.rmtree(root)
    capsys.readouterr()
    study = make_study(root, drive_folder=drive)
    assert torch.equal(study.trained(tested, study.folds[0])[0].module.weight, weights)
    told = capsys.readouterr().out
    assert "WARNING" in told and "made again" in told
    Memory(root, drive).keep_all()
    with zipfile.ZipFile(archive) as packed:
        assert packed.testzip() is None, "the damaged one is replaced"


def test_a_short_training_is_not_sent(tmp_path, drive, monkeypatch):
    monkeypatch.setattr(memory_file, "WORTH", 15.0)
    monkeypatch.setattr(memory_file, "EVERY", 60.0)
    root = tmp_path / "work"
    study = make_study(root, drive_folder=drive)
    study.trained(Tested("softmax", CONFIG), study.folds[0])
    study.memory.keep_all()
    assert not list(drive.rglob("trained/*/*.zip"))
    (folder,) = root.glob("trained/*/*")
    begin = (folder / "DONE").stat().st_mtime - 16
    os.utime(folder / "config.json", (begin, begin))
    study.memory.keep_all()
    assert len(list(drive.rglob("trained/*/*.zip"))) == 1


def test_work_in_the_workspace_is_not_replaced_by_older_work(tmp_path, drive):
    root = tmp_path / "work"
    memory, folder = Memory(root, drive), root / "trained" / "toy" / "one"
    files.write_text(folder / "checkpoint.pt", "old")
    memory.keep(folder, finished=False, now=True)
    files.write_text(folder / "checkpoint.pt", "new")
    memory.bring(folder, "DONE", started=True)
    assert (folder / "checkpoint.pt").read_text() == "new"
    shutil.rmtree(folder)
    memory.bring(folder, "DONE", started=False)
    assert (folder / "checkpoint.pt").read_text() == "old"


def test_unfinished_work_is_sent_now_and_then(tmp_path, drive, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(memory_file.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(memory_file, "EVERY", 60.0)
    root = tmp_path / "work"
    memory, folder = Memory(root, drive), root / "trained" / "toy" / "one"
    archive = drive / "ser_results" / "memory" / "trained" / "toy" / "one.begun.zip"
    files.write_text(folder / "checkpoint.pt", "first")
    for seconds, there in ((0, False), (30, False), (61, True)):
        now[0] = seconds
        memory.keep(folder, finished=False)
        assert archive.exists() == there, seconds
    archive.unlink()
    for seconds, there in ((100, False), (122, True)):
        now[0] = seconds
        memory.keep(folder, finished=False)
        assert archive.exists() == there, seconds


def test_features_are_taken_from_drive(tmp_path, drive, tone, capsys):
    rows = make_study(tmp_path / "x").rows.head(3)
    paths = [tone(tmp_path / f"{i}.wav", 0.3, hz=200 + 50 * i) for i in range(3)]
    marks = [samples_sha256(*read_audio(path)) for path in paths]
    rows = rows.assign(file=[str(path) for path in paths], audio_sha256=marks)
    store = open_store(rows, "logmel", tmp_path / "work", drive_folder=drive)
    values = store.padded(rows["utt_id"])[0]
    shutil.rmtree(tmp_path / "work")
    for path in paths:
        path.unlink()  # nothing can be computed any more
    capsys.readouterr()
    again = open_store(rows, "logmel", tmp_path / "work", drive_folder=drive)
    assert np.array_equal(again.padded(rows["utt_id"])[0], values)
    assert "taken from Drive" in capsys.readouterr().out and again.report.made == 0
