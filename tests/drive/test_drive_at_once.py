"""Two and three processes that stage or publish the same, and one that is killed while it does."""

import errno
import hashlib
import shutil

import numpy as np
import pytest
from at_once import at_once, killed
from fake_colab import FlakyDrive
from packed import contents, pack

from colab_utils import drive, files

STAGE = "from colab_utils import drive; drive.stage(source, to)"
PUBLISH = "from colab_utils import drive; assert drive.publish(runs, there).ok"
SIZES = np.random.default_rng(0).integers(1, 3000, 400).tolist()
CORPUS = {f"wav/{number:04d}.wav": bytes([number % 256]) * n for number, n in enumerate(SIZES)}

EXPECTED = {name: hashlib.sha256(data).hexdigest() for name, data in CORPUS.items()}


def many_runs(root, number, text=""):
    """Finished runs below `root`/runs."""
    for one in range(number):
        folder = root / "runs" / "maml" / f"run-{one}"
        for name in ("predictions.csv", "metrics.json", "parts/0.csv", "parts/1.csv"):
            files.write_text(folder / name, f"{one} {name} {text}" * 500)
        files.write_json(folder / "DONE", {"predictions.csv": text})
    return root / "runs"


def whole_runs(there, *versions):
    """The runs on Drive that have their marker; each must be a whole one of the versions."""
    found = [mark.parent for mark in there.rglob("DONE")]
    for folder in found:
        inside = folder.relative_to(there)
        expected = [contents(version / inside) for version in versions]
        assert contents(folder) in expected, folder
    return found


def stage_zip(source, to):
    archive = pack(source / "emodb.zip", CORPUS)
    return archive, to / "emodb"


def stage_folder(source, to):
    for name, data in CORPUS.items():
        (source / "emodb" / name).parent.mkdir(parents=True, exist_ok=True)
        (source / "emodb" / name).write_bytes(data)
    return source / "emodb", to / "emodb"


@pytest.mark.parametrize("made", [stage_zip, stage_folder])
@pytest.mark.slow
def test_two_that_stage_one_corpus_give_one_whole_corpus(mydrive, tmp_path, made):
    staged_at_once(mydrive, tmp_path, made, tries=1, processes=(2,))


@pytest.mark.long
@pytest.mark.parametrize("made", [stage_zip, stage_folder])
def test_two_and_three_that_stage_one_corpus_20_times(mydrive, tmp_path, made):
    staged_at_once(mydrive, tmp_path, made, tries=20, processes=(2, 3))


def staged_at_once(mydrive, tmp_path, made, tries, processes):
    source, final = made(mydrive, tmp_path / "audio")
    for number in (number for number in processes for _ in range(tries)):
        told = at_once(STAGE, number, tmp_path / "logs", source=source, to=final.parent)
        there = contents(final)
        there.pop(".staged.json", None)
        assert there == EXPECTED
        assert sum("Copying " in text for text in told) <= 1
        assert [path.name for path in final.parent.iterdir() if path.is_dir()] == ["emodb"]
        shutil.rmtree(final.parent)


@pytest.mark.long
def test_a_staging_killed_20_times_leaves_nothing_half_and_no_litter(mydrive, tmp_path):
    source, final = stage_zip(mydrive, tmp_path / "audio")
    rng, early, litter = np.random.default_rng(0), 0, 0
    for _ in range(20):
        seconds = rng.uniform(0, 0.15)
        early += killed(STAGE, seconds, tmp_path / "logs", source=source, to=final.parent)
        assert not final.exists() or len(contents(final)) == 1 + len(CORPUS)
        drive.stage(source, final.parent)
        assert len(contents(final)) == 1 + len(CORPUS)
        left = [path for path in final.parent.iterdir() if files.TEMPORARY.fullmatch(path.name)]
        litter += len(left)
        assert files.sweep(final.parent, seconds=0) == len(left)
        assert sorted(path.name for path in final.parent.iterdir()) == ["emodb"]
        shutil.rmtree(final.parent)
    assert early > 5 and litter > 2, "the kills came too early or too late to show anything"


@pytest.mark.slow
def test_two_that_publish_at_once_send_all_once(tmp_path, mydrive):
    published_at_once(tmp_path, mydrive, tries=1, processes=(2,))


@pytest.mark.long
def test_two_and_three_that_publish_at_once_20_times(tmp_path, mydrive):
    published_at_once(tmp_path, mydrive, tries=20, processes=(2, 3))


def published_at_once(tmp_path, mydrive, tries, processes):
    runs = many_runs(tmp_path, 4)
    for number in (number for number in processes for _ in range(tries)):
        told = at_once(PUBLISH, number, tmp_path / "logs", runs=runs, there=mydrive)
        assert contents(mydrive / "runs") == contents(runs)
        sent = sorted(int(text.split("checked ")[1].split(",")[0]) for text in told)
        assert sent == [0] * (number - 1) + [20]
        shutil.rmtree(mydrive / "runs")


@pytest.mark.long
def test_publishing_killed_20_times(tmp_path, mydrive):
    """Whatever has its marker on Drive is a whole run, old or new; the next call sends the rest and
    leaves no torn copy."""
    runs = many_runs(tmp_path, 8)
    old = shutil.copytree(runs, tmp_path / "old" / "runs")
    rng, halves = np.random.default_rng(1), 0
    for number in range(20):
        many_runs(tmp_path, 8, text=str(number))
        names = {"runs": runs, "there": mydrive}
        killed(PUBLISH, rng.uniform(0, 0.3), tmp_path / "logs", **names)
        if (mydrive / "runs").exists():
            torn = any(".tmp" in name for name in contents(mydrive / "runs"))
            halves += torn or 0 < len(whole_runs(mydrive / "runs", old, runs)) < 8
        assert drive.publish(runs, mydrive).ok
        assert contents(mydrive / "runs") == contents(runs)
        shutil.rmtree(old)
        shutil.copytree(runs, old)
    assert halves > 3, "the kills came too early or too late to show anything"


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.ENOTCONN])
def test_a_drive_that_fails_at_ten_points_keeps_every_whole_run(
    monkeypatch, tmp_path, mydrive, number, capsys
):
    """Full, read-only or gone: on an empty Drive, and on one that has an older version of all."""
    runs = many_runs(tmp_path, 3)
    old = shutil.copytree(runs, tmp_path / "old" / "runs")
    for steps in range(0, 60, 6):
        for before in (0, 3):
            shutil.rmtree(mydrive / "runs", ignore_errors=True)
            if before:
                drive.publish(old, mydrive)
            many_runs(tmp_path, 3, text=f"{steps}")
            with monkeypatch.context() as patch:
                FlakyDrive(patch, mydrive, [0] * steps + [number], forever=True)
                report = drive.publish(runs, mydrive)
            assert not report.ok
            assert "WARNING" in capsys.readouterr().out
            kept = whole_runs(mydrive / "runs", old, runs)
            # four steps a file, five files a run: what was sent, and what was not touched yet
            assert len(kept) >= (before - 1 if before else steps // 20)
            assert drive.publish(runs, mydrive).ok
            assert contents(mydrive / "runs") == contents(runs)


def test_a_publisher_leaves_the_copy_that_another_one_is_writing(tmp_path, mydrive):
    target = mydrive / "metrics.json"
    files.write_text(tmp_path / "metrics.json", "{}")
    torn = mydrive / ".metrics.0a1b2c3d.tmp.json"
    torn.write_text("torn")
    with files.replacing(target) as writing:
        writing.write_text("written by another process")
        assert drive.publish(tmp_path / "metrics.json", mydrive).ok
        assert writing.exists() and not torn.exists()


def test_a_full_local_disk_that_takes_no_lock_can_still_be_published(
    monkeypatch, tmp_path, mydrive
):
    def full(path, doing):
        raise OSError(errno.ENOSPC, "No space left on device")

    runs = many_runs(tmp_path, 1)
    monkeypatch.setattr(files, "alone", full)
    assert drive.publish(runs, mydrive).ok
    assert contents(mydrive / "runs") == contents(runs)
