"""Run folders: same settings load, others never overwrite, parts survive a kill, DONE is last."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from colab_utils import files, session
from colab_utils.results import metrics, runs
from colab_utils.results.predictions import PREDICTION_COLUMNS
from colab_utils.settings import setting

LABELS = ["anger", "neutral"]


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = setting(0.1, "a rate", low=0.0, high=1.0)
    sizes: tuple = (1, 2)


SPLIT = pd.DataFrame(
    {
        "seed": 0,
        "fold": "0",
        "draw": 0,
        "task": 0,
        "utt_id": ["c/1", "c/2"],
        "speaker": ["c/01", "c/02"],
        "role": ["train", "test"],
    }
)
FACTS = {
    "version": 1,
    "preset": "default",
    "labels": LABELS,
    "merge": {"calm": None},
    "features": "abc",
    "manifest": "def",
}


def predictions(n=20, fold="0"):
    rng = np.random.default_rng(0)
    true, pred = rng.choice(LABELS, (2, n))
    table = pd.DataFrame(
        {
            "method": "m",
            "rule": "r",
            "seed": 0,
            "fold": fold,
            "draw": 0,
            "task": 0,
            "utt_id": [f"c/{fold}-{i}" for i in range(n)],
            "corpus": "c",
            "speaker": [f"0{i % 4}" for i in range(n)],
            "true": true,
            "pred": pred,
        }
    )
    return table[list(PREDICTION_COLUMNS)].astype({"true": object, "pred": object})


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What a run is made with, without asking the machine (tests/test_session.py does)."""
    monkeypatch.setattr(session, "environment", lambda: {"torch": "2.6"})


def opened(root, config=None, facts=FACTS, split=SPLIT):
    return runs.open_run(
        root, "some method", "Corpus / features, logistic", config or Config(), facts, split
    )


def finished(root):
    run = opened(root)
    run.finish(predictions(), LABELS, speaker_independence="independent", notes=["a note"])
    run.mark_done()
    return run


def test_the_folder_is_named_by_the_content_of_its_config(tmp_path):
    run = opened(tmp_path)
    stored = json.loads((run.path / "config.json").read_text())
    assert (
        run.path
        == tmp_path
        / "runs"
        / "some-method"
        / f"Corpus-features-logistic-{files.short_hash(stored)}"
    )
    assert (
        stored["settings"] == {"rate": 0.1, "sizes": [1, 2]}
        and stored["labels"] == LABELS
        and stored["split"] == runs.split_hash(SPLIT)
    )
    assert files.read_json(run.path / "environment.json") == {"torch": "2.6"}
    assert not run.done


@pytest.mark.parametrize(
    "change",
    [
        {"config": Config(rate=0.2)},
        {"facts": FACTS | {"version": 2}},
        {"facts": FACTS | {"labels": LABELS[::-1]}},
        {"facts": FACTS | {"merge": {}}},
        {"facts": FACTS | {"features": "abd"}},
        {"split": SPLIT.assign(seed=1)},
        {"split": SPLIT.assign(role=["valid", "test"])},
    ],
)
def test_other_settings_never_share_a_folder(tmp_path, change):
    assert opened(tmp_path).path != opened(tmp_path, **change).path
    assert len(list(tmp_path.glob("runs/some-method/*/config.json"))) == 2


def test_same_settings_find_the_same_folder_whatever_the_machine_or_row_order(
    tmp_path, monkeypatch
):
    first = opened(tmp_path)
    monkeypatch.setattr(session, "environment", lambda: {"torch": "9.9"})
    assert (
        opened(tmp_path, split=SPLIT.iloc[::-1]).path
        == first.path
        == runs.load_run(first.path).path
    )
    assert "9.9" not in (first.path / "environment.json").read_text()


def test_a_finished_run_is_loaded_and_said(tmp_path, capsys):
    run = finished(tmp_path)
    capsys.readouterr()
    again = opened(tmp_path)
    assert again.done and capsys.readouterr().out == ""
    unfinished = opened(tmp_path, facts={**FACTS, "task": "other"})
    runs.say_loaded([unfinished])
    assert capsys.readouterr().out == "", "nothing is said of a run that is not finished"
    runs.say_loaded([again, unfinished])
    said = ": done before, loaded; nothing is computed again\n"
    assert capsys.readouterr().out == f"{again.path.name}{said}"
    runs.say_loaded([again] * 20)
    assert capsys.readouterr().out == f"20 runs{said}"
    pd.testing.assert_frame_equal(again.predictions, predictions())
    assert (
        again.metrics == run.metrics
        and again.metrics["preset"] == "default"
        and "a note" in again.metrics["notes"]
    )
    loaded = runs.load_run(run.path)
    assert loaded.config == run.config and runs.split_hash(loaded.split) == run.config["split"]
    assert metrics.recompute(run.path) == run.metrics


@pytest.mark.parametrize("name", ["predictions.csv", "metrics.json", "DONE"])
def test_damage_after_the_end_is_noticed(tmp_path, capsys, name):
    run = finished(tmp_path)
    data = bytearray((run.path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (run.path / name).write_bytes(data)
    assert not opened(tmp_path).done
    told = capsys.readouterr().out
    assert name in told and "made again" in told
    (run.path / name).unlink()
    assert not runs.load_run(run.path).done


def test_done_needs_results(tmp_path):
    run = opened(tmp_path)
    with pytest.raises(runs.RunError, match="predictions.csv and metrics.json missing"):
        run.mark_done()
    for wanted in ("predictions", "metrics"):
        with pytest.raises(runs.RunError, match=f"no {wanted} yet"):
            getattr(run, wanted)


def test_parts_come_back_and_torn_ones_do_not(tmp_path, capsys):
    part = opened(tmp_path).part("seed 0, fold c/03")
    assert part.load() is None and capsys.readouterr().out == ""
    part.save(predictions(), {})
    again = opened(tmp_path).part("seed 0, fold c/03")
    assert "resumed, 1 finished part" in capsys.readouterr().out
    pd.testing.assert_frame_equal(again.load(), predictions(), check_exact=True)
    table, mark = (next(tmp_path.rglob(f"parts/*{suffix}")) for suffix in (".csv", ".json"))
    whole = table.read_bytes(), mark.read_bytes()
    for torn in ((whole[0][:-5], whole[1]), (whole[0], b"{"), (whole[0], b"[]"), (b"", whole[1])):
        table.write_bytes(torn[0])
        mark.write_bytes(torn[1])
        assert again.load() is None and "was torn" in capsys.readouterr().out
    table.unlink()
    mark.write_bytes(whole[1])
    assert again.load() is None and "was torn" in capsys.readouterr().out
    again.save(predictions(), {})
    assert again.load() is not None


def test_tables_beside_the_predictions_come_back_and_count(tmp_path, capsys):
    run = opened(tmp_path)
    part = run.part("seed0-fold1")
    steps = pd.DataFrame({"method": ["007"], "step": [3], "accuracy": [1 / 3]})
    part.save(predictions(), {"steps": steps})
    assert part.beside() == ["steps"]
    pd.testing.assert_frame_equal(part.read("steps"), steps, check_exact=True)
    run.keep("steps", [steps, steps])
    run.finish(predictions(), LABELS)
    run.mark_done()
    assert run.done and len(pd.read_csv(run.path / "steps.csv")) == 2
    (run.path / "steps.csv").write_text("method,step,accuracy\n")
    assert not run.done and "steps.csv changed since" in capsys.readouterr().out
    next(tmp_path.rglob("parts/*.steps.csv")).unlink()
    assert part.load() is None and "was torn" in capsys.readouterr().out


def test_a_part_without_its_mark_does_not_count(tmp_path):
    part = opened(tmp_path).part("x")
    part.save(predictions(), {})
    next(tmp_path.rglob("parts/x.json")).unlink()
    assert part.load() is None


def test_parts_whose_names_differ_in_punctuation_stay_apart(tmp_path):
    run = opened(tmp_path)
    run.part("fold-a/1").save(predictions(5), {})
    assert run.part("fold-a-1").load() is None


def test_a_config_changed_by_hand_or_torn_is_refused(tmp_path):
    run = opened(tmp_path)
    config = run.path / "config.json"
    config.write_text(config.read_text().replace("0.1", "0.3"))
    with pytest.raises(runs.RunError, match="changed by hand"):
        opened(tmp_path)
    for content in (b"{", b"[1]", b"7", bytes(range(256)), b'{"settings": {}}'):
        config.write_bytes(content)
        for call in (lambda: opened(tmp_path), lambda: runs.load_run(run.path)):
            with pytest.raises(runs.RunError, match=r"config\.json"):
                call()
    with pytest.raises(runs.RunError, match=r"none has no config\.json"):
        runs.load_run(tmp_path / "none")


def test_a_run_folder_without_its_split_is_said(tmp_path):
    run = opened(tmp_path)
    (run.path / "split.csv").unlink()
    with pytest.raises(runs.RunError, match=r"split.csv.*delete the folder"):
        runs.load_run(run.path)


def test_metrics_side_by_side_say_what_each_number_is(tmp_path):
    run, other = finished(tmp_path), opened(tmp_path, Config(rate=0.5))
    other.finish(
        predictions().assign(rule="transductive: r", speaker="01"),
        LABELS,
        speaker_independence="overlap allowed",
    )
    table = runs.metrics_table({"mine": run, "theirs": other})
    known = run.metrics
    assert (
        list(table.index) == ["mine", "theirs"]
        and table.at["mine", "UAR %"] == f"{100 * known['uar']:.1f}"
    )
    assert table.at["mine", "95 % interval of UAR"] == "–".join(
        f"{100 * limit:.1f}" for limit in known["uar_ci95"]
    )
    # one speaker: no interval over speakers exists
    assert table.at["theirs", "95 % interval of UAR"] == "none"
    assert table["rule"].tolist() == ["r", "transductive: r"] and table[
        "speaker independence"
    ].tolist() == ["independent", "overlap allowed"]
    assert (
        table["utterances"].tolist() == [20, 20]
        and table["speakers"].tolist() == [4, 1]
        and set(table["chance %"]) == {"50.0"}
    )
    with pytest.raises(runs.RunError, match="no metrics yet"):
        runs.metrics_table({"unfinished": opened(tmp_path, Config(rate=0.6))})


def test_the_interval_of_an_earlier_version_is_made_anew(tmp_path):
    run = finished(tmp_path)
    now = run.metrics
    lacking = ("ci_df", "ece", "aurc")
    old = {name: value for name, value in now.items() if name not in lacking}
    old |= {"uar_ci95": [0.4, 0.41], "n_boot": 2000, "ci_seed": 0}
    old["notes"] = ["a note", "4 test speakers: the interval is indicative"]
    files.write_json(run.path / "metrics.json", old)
    assert run.metrics == old | {
        name: now[name] for name in ("uar_ci95", "notes", "ci_unit", *lacking)
    }
    assert run.metrics["notes"] == ["a note"]


def test_names_that_upset_a_csv_come_back_from_parts_and_runs(tmp_path):
    """A part that is written and read back differently could never be finished."""
    names = {"speaker": "an\rna", "true": "=1+1", "pred": "-rf", "fold": "'@x", "method": "a\r\nb"}
    table = predictions().assign(**names)
    split = SPLIT.assign(speaker=["c/an\rna", "c/b"], fold="=x")
    run = opened(tmp_path, split=split)
    steps = pd.DataFrame({"method": ["=cmd", "+"], "seed": 0, "accuracy": [0.1, 0.2]})
    run.part("p").save(table, {"steps": steps})
    pd.testing.assert_frame_equal(run.part("p").load(), table)
    pd.testing.assert_frame_equal(run.part("p").read("steps"), steps)
    loaded = runs.load_run(run.path)
    assert loaded.split[["fold", "speaker"]].equals(split[["fold", "speaker"]])
    assert runs.split_hash(loaded.split) == run.config["split"]
