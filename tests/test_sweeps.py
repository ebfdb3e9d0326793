"""Sweeps: cells are runs, the ledger is what lies in their folders, a failure stops no other."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import one_file_method
import pytest
from small_studies import results
from sweep_of_sixty import make_grid, make_study

from colab_utils import ledger, sweep_tables, sweep_tasks, sweeps
from colab_utils.display.page.report import build_page
from colab_utils.results.comparison import holm
from colab_utils.settings import SettingError

ONE = one_file_method.SoftmaxConfig(steps=10)
FEW = {"rates": [0.03, 0.3], "steps": [10], "seeds": range(2)}


def states(cells):
    return list(sweeps.progress(cells)["state"])


def test_a_grid_is_all_combinations_and_each_cell_is_a_run_that_is_left(tmp_path):
    cells = make_grid(tmp_path)
    assert len(cells) == 60 == len({cell.run.path for cell in cells})
    assert all((cell.run.path / "config.json").exists() for cell in cells)
    assert {cell.tested.config.n_seeds for cell in cells} == {1}
    assert sorted({cell.tested.config.seed for cell in cells}) == [0, 1, 2]
    assert states(cells) == ["left"] * 60
    table = ledger.ledger(tmp_path, "sixty")
    assert list(table.columns) == list(ledger.COLUMNS) and len(table) == 60
    assert set(table["settings"]) >= {"rate=0.01, steps=500", "rate=1.0, steps=1000"}


def test_a_cell_is_computed_once_and_like_a_run_of_the_study(tmp_path, capsys):
    cells = make_grid(tmp_path / "sweep", **FEW)
    table = sweeps.compute(cells, workers=1)
    assert states(cells) == ["done"] * 8 and table["seconds"].gt(0).all()
    assert "8 cells: 8 done" in capsys.readouterr().out
    times = [(cell.run.path / "DONE").stat().st_mtime_ns for cell in cells]
    sweeps.compute(make_grid(tmp_path / "sweep", **FEW), workers=1)
    assert times == [(cell.run.path / "DONE").stat().st_mtime_ns for cell in cells]

    study = make_study(tmp_path / "alone")
    config = dataclasses.replace(ONE, rate=0.3, seed=1)
    alone = study.evaluate([sweeps.Tested("softmax", config)], pictures=False)["softmax"]
    (same,) = [one for one in cells if one.run.path.name == alone.path.name]
    for name in ("predictions.csv", "metrics.json", "split.csv"):
        assert (same.run.path / name).read_bytes() == (alone.path / name).read_bytes()


@pytest.mark.slow  # processes that import torch
def test_processes_give_the_same_bits_as_one(tmp_path):
    for name, workers in (("one", 1), ("two", 2)):
        sweeps.compute(make_grid(tmp_path / name, **FEW), workers)
    assert results(tmp_path / "one") == results(tmp_path / "two")


def test_what_a_study_refuses_is_said_and_left_out(tmp_path, capsys):
    cells = make_grid(tmp_path, rates=[0.1, 99.0], steps=[10], seeds=[0])
    assert len(cells) == 2
    told = capsys.readouterr().out
    assert "left out: task 0, softmax: rate = 99.0: must be at most 10.0 (rate=99.0" in told
    with pytest.raises(SettingError, match="no cell is left"):
        make_grid(tmp_path, rates=[99.0], steps=[10])


def test_settings_that_a_method_does_not_look_at_make_no_cell(tmp_path, capsys):
    study = make_study(tmp_path)
    values = {"prior_clips": [5.0, 10.0]}  # looked at by speaker alone
    plain = dataclasses.replace(ONE, normalisation="none")
    (alone,) = sweeps.grid({"a": study}, plain, ["softmax"], values)
    assert alone.row == "softmax", "no value that did nothing is named"
    assert "1 combinations differ in settings alone" in capsys.readouterr().out
    assert len(sweeps.grid({"a": study}, ONE, ["softmax"], values)) == 2


class Fails(one_file_method.SoftmaxStudy):
    def predict(self, learner, tested, fold):
        if tested.config.rate > 0.2:
            raise ValueError("a loss that is\nnot finite")
        return super().predict(learner, tested, fold)


def test_a_failure_has_its_reason_the_rest_goes_on_and_it_is_tried_again(tmp_path, capsys):
    cells = make_grid(tmp_path, **FEW)
    for cell in cells:
        cell.study.__class__ = Fails
    sweeps.compute(cells, workers=1)
    assert states(cells).count("failed") == 4 and states(cells).count("done") == 4
    told = capsys.readouterr().out
    assert "8 cells: 4 done, 4 failed" in told
    assert "failed: task 0, softmax, rate=0.3, steps=10, seed 0: a loss that is not finite" in told
    status = ledger.ledger(tmp_path)
    assert set(status.loc[status["state"] == "failed", "reason"]) == {"a loss that is not finite"}
    for cell in cells:
        cell.study.__class__ = one_file_method.SoftmaxStudy
    sweeps.compute(cells, workers=1)
    assert states(cells) == ["done"] * 8


def test_what_cannot_be_written_down_is_raised_and_not_tried_for_ever(tmp_path, monkeypatch):
    cells = make_grid(tmp_path, **FEW)

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(ledger, "at_work", full)
    with pytest.raises(OSError, match="no space left"):
        sweeps.compute(cells, workers=1)
    assert states(cells) == ["left"] * 8


def test_another_grid_of_the_name_forgets_cells_and_keeps_results(tmp_path):
    sweeps.compute(make_grid(tmp_path, **FEW), workers=1)
    smaller = make_grid(tmp_path, rates=[0.3], steps=[10], seeds=range(3))
    table = ledger.ledger(tmp_path, "sixty")
    assert sorted(table["folder"]) == sorted(str(cell.run.path) for cell in smaller)
    assert list(table["state"].value_counts()) == [4, 2]
    make_grid(tmp_path, sweep="another", **FEW)
    assert len(ledger.ledger(tmp_path)) == 6 + 8  # two sweeps may want one run


# --- the ledger ---------------------------------------------------------------------------------


def write_outcome(folder, age=0.0, **content):
    path = folder / ledger.OUTCOME
    path.write_text(json.dumps(content))
    at = time.time() - age
    os.utime(path, (at, at))


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "runs" / "room" / "name-0123456789ab"
    found.mkdir(parents=True)
    ledger.want(found, "mine", {"task": "t", "method": "m", "settings": "", "seed": 0})
    return found


def state(folder):
    (row,) = ledger.ledger(folder.parents[2]).itertuples()
    return row.state


def test_who_is_at_work_is_running_and_an_end_is_done_or_failed(folder):
    assert state(folder) == "left"
    with ledger.at_work(folder) as told:
        assert state(folder) == "running"
        with pytest.raises(ledger.Busy, match=f"process {os.getpid()}"), ledger.at_work(folder):
            pass
        (folder / "DONE").touch()
        told["validation"] = 0.5
    found = ledger.outcome(folder, ledger.now(folder))
    assert found["state"] == "done" and found["validation"] == 0.5 and found["seconds"] < 1
    (folder / "DONE").unlink()  # somebody wants it made again
    assert state(folder) == "left"
    with pytest.raises(KeyError), ledger.at_work(folder):
        raise KeyError("label")
    assert state(folder) == "failed"
    with pytest.raises(KeyboardInterrupt), ledger.at_work(folder):
        raise KeyboardInterrupt
    assert state(folder) == "left"


@pytest.mark.parametrize(
    "where, age, expected",
    [
        ({"host": socket.gethostname(), "pid": os.getpid()}, 0, "running"),
        ({"host": socket.gethostname(), "pid": 2**22 + 1}, 0, "left"),
        ({"host": "another", "pid": 1}, 0, "running"),
        ({"host": "another", "pid": 1}, ledger.SILENT + 5, "left"),
        ({"host": socket.gethostname(), "pid": os.getpid()}, ledger.SILENT + 5, "left"),
        ({"pid": "x"}, 0, "running"),
    ],
)
def test_a_process_that_gives_no_sign_of_life_runs_nothing(folder, where, age, expected):
    write_outcome(folder, age, state="running", **where)
    assert state(folder) == expected


def test_a_killed_process_is_known_at_once(folder):
    code = (
        "import pathlib, sys, time; from colab_utils import ledger\n"
        "with ledger.at_work(pathlib.Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE)
    worker.stdout.readline()
    assert state(folder) == "running"
    worker.kill()
    time.sleep(0.2)
    assert state(folder) == "left"  # before anybody has asked for it
    worker.wait()
    assert state(folder) == "left"
    with ledger.at_work(folder):
        (folder / "DONE").touch()
    assert state(folder) == "done"


def test_signs_of_life_are_given_while_it_works(folder, monkeypatch):
    monkeypatch.setattr(ledger, "BEAT", 0.02)
    with ledger.at_work(folder):
        os.utime(folder / ledger.OUTCOME, (0, 0))
        time.sleep(0.2)
        assert (folder / ledger.OUTCOME).stat().st_mtime > 1e9


@pytest.mark.parametrize("torn", ["", "[1]", "{", "\x00"])
def test_torn_and_foreign_files_stop_nobody(folder, torn):
    (folder / ledger.OUTCOME).write_text(torn)
    assert state(folder) == "left"
    (folder / ledger.CELL).write_text(torn)
    assert ledger.ledger(folder.parents[2]).empty
    assert ledger.ledger(folder / "nothing").empty


def test_the_estimate_is_of_the_same_method(tmp_path):
    rows = [
        ("a", "done", 10.0),
        ("a", "left", np.nan),
        ("b", "done", 100.0),
        ("b", "running", np.nan),
    ]
    table = ledger.pd.DataFrame(rows, columns=["method", "state", "seconds"])
    assert ledger.seconds_left(table) == 10 + 50
    assert ledger.seconds_left(table, workers=2) == 30
    assert ledger.summary(table, 2) == "4 cells: 2 done, 1 running, 1 left; about 30 s to go"
    assert ledger.seconds_left(table[table["state"] != "done"]) is None
    assert ledger.seconds_left(table[table["state"] == "done"]) is None


def test_status_from_a_terminal(tmp_path, capsys):
    cells = make_grid(tmp_path, **FEW)
    ledger.give_up(cells[0].run.path, "too big")
    sweeps.main(["status", "--root", str(tmp_path)])
    told = capsys.readouterr().out
    assert "sixty: 8 cells: 0 done, 1 failed, 7 left" in told
    assert "failed: task 0, softmax, rate=0.03, steps=10, seed 0: too big" in told
    sweeps.main(["status", "--root", str(tmp_path), "--sweep", "none"])
    assert "no cells of a sweep" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        sweeps.main(["status", "--root", str(tmp_path / "none")])


# --- what a sweep says --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    cells = make_grid(tmp_path_factory.mktemp("sweep"), [0.01, 0.3], [20], range(2))
    sweeps.compute(cells, workers=1)
    return cells


def test_seeds_are_pooled_as_a_run_of_several_seeds_is(computed, tmp_path):
    study = make_study(tmp_path)
    config = dataclasses.replace(ONE, rate=0.3, steps=20, n_seeds=2)
    whole = study.evaluate([sweeps.Tested("softmax", config)], pictures=False)["softmax"]
    found = sweep_tables.pooled(computed)["task 0"]["softmax, rate=0.3, steps=20"]
    expected = whole.metrics
    assert found.metrics["confusion"] == expected["confusion"]
    for name in ("uar", "uar_ci95", "wa", "chance", "n_speakers"):
        assert found.metrics[name] == pytest.approx(expected[name]), name


def test_holm_is_over_the_whole_table(computed):
    rows = sweep_tables.pooled(computed)
    shown = sweep_tables.table(rows, "softmax, rate=0.01, steps=20")
    assert shown.index.names == ["task", "row"] and len(shown) == 4
    p = [float(value) for value in shown["p"] if value and "<" not in value]
    (column,) = [name for name in shown if name.startswith("p (Holm")]
    corrected = [float(value) for value in shown[column] if value and "<" not in value]
    if len(p) == len(corrected) == 2:
        assert corrected == pytest.approx(holm(p), abs=2e-3)
    assert "2 contrasts" in column


def test_settings_are_chosen_by_validation_and_never_by_test(computed):
    known = sweeps.progress(computed)
    for task in ("task 0", "task 1"):
        part = known[known["task"] == task].groupby("settings")["validation"].mean()
        best = {cell.settings for cell in sweep_tables.chosen(computed) if cell.task == task}
        assert len(best) == 1 and part[best.pop()] == part.max()


def test_a_task_may_validate_and_then_is_not_reported(computed):
    found = sweep_tables.chosen(computed, ["task 0"])
    assert {cell.task for cell in found} == {"task 1"}
    rates = {}
    for cell in computed:
        if cell.task == "task 0":
            rates.setdefault(cell.settings, []).append(cell.run.metrics["uar"])
    means = {name: np.mean(values) for name, values in rates.items()}
    assert {cell.settings for cell in found} == {max(means, key=means.get)}
    with pytest.raises(SettingError, match="no task nowhere"):
        sweep_tables.chosen(computed, "nowhere")


def test_missing_seeds_are_said(computed, tmp_path, capsys):
    more = make_grid(tmp_path, [0.3], [20], range(2))
    sweeps.compute(more[:1], workers=1)
    capsys.readouterr()
    assert sweep_tables.pooled(more) == {}
    assert "task 0, softmax, rate=0.3, steps=20: seeds 1 are not there: left out" in (
        capsys.readouterr().out
    )


def test_the_page_says_how_far_sweeps_are_and_why_cells_failed(tmp_path):
    cells = make_grid(tmp_path, **FEW)
    sweeps.compute(cells[:2], workers=1)
    ledger.give_up(cells[2].run.path, "too <big>")
    page = build_page(tmp_path).read_text()
    assert "<b>Sweep sixty</b>: 8 cells: 2 done, 1 failed, 5 left" in page
    assert "failed: too &lt;big&gt;" in page and page.count("not finished: run its notebook") == 5


# --- tasks in words -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "methods_of, task, expected",
    [
        ("da_mldg", "emodb+savee -> emovo", (["emodb", "savee"], "emovo")),
        ("emofsl", " emodb->emovo ", (["emodb"], "emovo")),
        ("baselines", "emodb + savee", (["emodb", "savee"], "")),
        ("da_mldg", "emodb", None),
        ("maml", "emodb ->", None),
        ("emofsl", "-> emovo", None),
        ("alexnet", "emodb -> emovo", None),
        ("baselines", "", None),
    ],
)
def test_a_task_has_the_sides_that_its_methods_need(methods_of, task, expected):
    if expected is None:
        with pytest.raises(SettingError, match="a task is written like"):
            sweep_tasks.sides(task, methods_of)
    else:
        assert sweep_tasks.sides(task, methods_of) == expected


def test_each_room_has_its_settings_and_its_door():
    for room, kind in sweep_tasks.CONFIGS.items():
        assert isinstance(sweep_tasks.config_of(room, seed=3), kind)
    assert set(sweep_tasks.CONFIGS) == set(sweep_tasks._DOORS)
    with pytest.raises(SettingError, match="no methods 'magic': choose from baselines"):
        sweep_tasks.config_of("magic")
