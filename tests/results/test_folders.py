"""A broken, copied or foreign run folder is named, told from a finished run, and stops nothing."""

import os
import shutil

import pytest
from tampered import KINDS, make_runs, tamper

from colab_utils.results import folders, groups
from colab_utils.results.folders import RUN_COLUMNS, find_runs, runs_table
from colab_utils.results.runs import UNFINISHED, RunError, load_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace with tampered folders, what each is told by, and the runs that are whole."""
    root = tmp_path_factory.mktemp("tampered")
    return root, *tamper(root)


def test_each_tampered_folder_is_named_with_its_reason(workspace):
    root, told, whole = workspace
    table = runs_table(root).set_index("folder")
    assert len(told) == 2 * len(KINDS) and set(table.index) == {*map(str, told), *map(str, whole)}
    for folder, word in told.items():
        row = table.loc[str(folder)]
        assert not row["done"] and word in row["problem"], (folder, row["problem"])
        assert str(root) not in row["problem"] and len(row["problem"]) <= 300
        assert row[["uar", "low", "high", "wa", "macro_f1", "chance", "n"]].isna().all()
    for folder in whole:
        run = load_run(folder)
        row = table.loc[str(folder)]
        assert row["done"] and row["problem"] == "" and row["uar"] == run.metrics["uar"]
    unfinished = [found.folder for found in find_runs(root) if found.problem == UNFINISHED]
    assert [path.parent.name for path in unfinished] == ["baselines", "softmax"]


def test_only_whole_runs_are_compared(workspace, capsys):
    root, told, whole = workspace
    (runs,) = groups.comparable_runs(root).values()
    assert {run.path for run in runs.values()} == set(whole)
    assert f"{len(told)} of {len(told) + len(whole)} folders" in capsys.readouterr().out


def test_a_damaged_run_is_not_taken_for_done_by_its_study(workspace, tmp_path, capsys):
    folder = workspace[2][0]
    for content in ("{}", "[]", '{"predictions.csv": 3}', '{"../x": "0"}'):
        copy = shutil.copytree(folder, tmp_path / folder.name, dirs_exist_ok=True)
        (copy / "DONE").write_text(content)
        assert not load_run(copy).done and "made again" in capsys.readouterr().out


def test_a_run_without_its_parts_is_whole(tmp_path):
    """As one that comes back from Drive."""
    for folder in make_runs(tmp_path):
        shutil.rmtree(folder / "parts")
    assert runs_table(tmp_path)["done"].tolist() == [True, True]


def test_hidden_things_are_no_runs_and_foreign_ones_in_the_way_are_named(tmp_path):
    for name in (".baselines.lock", "baselines/.partial-x/config.json"):
        (tmp_path / "runs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs" / name).write_text("{}")
    assert runs_table(tmp_path).empty and list(runs_table(tmp_path).columns) == list(RUN_COLUMNS)
    (tmp_path / "runs" / "notes.txt").write_text("x")
    assert runs_table(tmp_path)["run"].tolist() == ["notes.txt"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "runs").write_text("x")
    assert runs_table(tmp_path / "other")["run"].tolist() == ["runs"]
    assert runs_table(tmp_path / "nowhere").empty


@pytest.mark.skipif(os.getuid() == 0, reason="root may read every folder")
def test_a_folder_that_nobody_may_read_is_named(tmp_path):
    one, other = make_runs(tmp_path)
    closed = [one, other.parent]
    for folder in closed:
        folder.chmod(0)
    try:
        table = runs_table(tmp_path)
    finally:
        for folder in closed:
            folder.chmod(0o755)
    assert len(table) == 2 and not table["done"].any()
    assert table["problem"].str.contains("Permission denied").all()


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """Two finished runs, old enough to be remembered, and the folders that were judged anew."""
    made = make_runs(tmp_path)
    again, judge = [], folders._judged
    monkeypatch.setattr(folders, "_judged", lambda one: again.append(one) or judge(one))
    monkeypatch.setattr(folders, "_YOUNG", -(10**18))
    return tmp_path, made, again


def test_a_finished_run_is_judged_once(judged):
    root, made, again = judged
    first = runs_table(root)
    assert set(again) == set(made)
    assert runs_table(root).equals(first) and groups.comparable_runs(root)
    assert len(again) == len(made)


@pytest.mark.parametrize("name", ["predictions.csv", "metrics.json", "config.json", "split.csv"])
def test_a_change_of_a_run_that_was_judged_is_noticed(judged, name):
    """Also one that leaves size and time of modification as they were."""
    root, (one, other), again = judged
    assert runs_table(root)["done"].all()
    path = one / name
    before, data = path.stat(), bytearray(path.read_bytes())
    place = data.rindex(b"0")
    data[place] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again.clear()
    table = runs_table(root).set_index("folder")
    assert again == [one] and not table.at[str(one), "done"] and table.at[str(other), "done"]


def test_a_file_that_was_just_written_is_not_relied_on(judged, monkeypatch):
    """A second change within one tick of the clock would leave size and times as they are."""
    root, made, again = judged
    monkeypatch.setattr(folders, "_YOUNG", 3600 * 10**9)
    runs_table(root)
    runs_table(root)
    assert len(again) == 2 * len(made)


def test_load_run_says_what_is_no_config(workspace):
    for folder, word in workspace[1].items():
        if word == "config.json" and folder.is_dir():
            with pytest.raises(RunError, match=r"config\.json"):
                load_run(folder)
