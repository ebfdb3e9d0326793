"""Tasks over any set of corpora, and the published scenarios played by the embedded corpus."""

import pandas as pd
import pytest
from toy_store import toy_corpus

from colab_utils import corpora
from colab_utils.display.captions import stamps
from colab_utils.features import front_end
from colab_utils.features.store.extract import extract
from colab_utils.methods.da_mldg.algorithms import ALGORITHMS
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.methods.da_mldg.study import DomainStudy
from colab_utils.protocols.build import build_task
from colab_utils.protocols.domains import in_domain, leave_one_out, stand_ins, with_tasks
from colab_utils.protocols.published import ProtocolError, load_protocol

PROTOCOL = load_protocol("da_mldg")
LABELS = PROTOCOL.tasks["1"].emotions


def corpus(name, speakers=5):
    return toy_corpus(name, LABELS, speakers, each=2)


def test_leave_one_out_tests_each_corpus_once_and_validates_on_speakers_of_every_source():
    manifest = pd.concat([corpus(name) for name in ("aa", "bb", "cc")], ignore_index=True)
    tasks = leave_one_out(PROTOCOL, ["cc", "aa", "bb"])
    assert list(tasks) == ["aa", "bb", "cc"]
    for target, task in tasks.items():
        rows, split = build_task(with_tasks(PROTOCOL, [task]), task.name, manifest)
        speakers = split.groupby("role")["speaker"].agg(set)
        whose = {role: {one.split("/")[0] for one in names} for role, names in speakers.items()}
        assert whose["test"] == {target}
        assert whose["train"] == whose["valid"] == {"aa", "bb", "cc"} - {target}
        assert (split["role"] == "test").sum() == 50 and len(rows) == 150
        assert not speakers["train"] & speakers["valid"]


def test_in_domain_keeps_speakers_apart():
    task = in_domain(PROTOCOL, "aa")
    _, split = build_task(with_tasks(PROTOCOL, [task]), task.name, corpus("aa", speakers=10))
    speakers = split.groupby("role")["speaker"].agg(set)
    assert len(speakers["test"]) == 2
    assert not speakers["test"] & (speakers["train"] | speakers["valid"])


def test_impossible_tasks_are_refused():
    with pytest.raises(ProtocolError, match="two or more"):
        leave_one_out(PROTOCOL, ["aa", "aa"])
    with pytest.raises(ProtocolError, match="has no task 'eight'"):
        stand_ins(PROTOCOL, "eight", corpus("aa"))
    with pytest.raises(ProtocolError, match="needs 4 corpora"):
        stand_ins(PROTOCOL, "1", corpus("aa"))


@pytest.fixture(scope="module")
def synthetic(embedded_workspace):
    folder = embedded_workspace[0]
    manifest = corpora.open_corpora(["synthetic"], "", folder)
    store = extract(manifest, front_end("acoustic"), folder / "features", progress=False)
    return manifest, store


@pytest.mark.slow
@pytest.mark.parametrize("name", ["1", "2", "3", "4", "5", "6", "7"])
def test_the_seven_scenarios_run_end_to_end_on_stand_ins_and_say_so(synthetic, name, tmp_path):
    manifest, store = synthetic
    protocol, rows = stand_ins(PROTOCOL, name, manifest)
    rows, split = build_task(protocol, name, rows)
    task = PROTOCOL.tasks[name]
    assert {one.removeprefix("synthetic-as-") for one in set(rows["corpus"])} == set(task.corpora)
    for one in task.corpora:
        spoken = set(rows.loc[rows["corpus"] == f"synthetic-as-{one}", "emotion"])
        assert spoken == set(task.emotions) - set(PROTOCOL.absent.get(one, ()))
    study = DomainStudy(name, rows, split, store, task.emotions, tmp_path, progress=False)
    config = DomainConfig(steps=6, per_domain=4, validate_every=3, n_seeds=1)
    absent = ["disgust"] if task.test["corpus"] == ["shemo"] else []
    for run in study.compare(config, list(ALGORITHMS), pictures=False).values():
        assert any("Synthetic corpus" in line for line in stamps(run.predictions, run.metrics))
        assert run.metrics["labels_absent"] == absent
        assert run.metrics["n_utterances"] == (split["role"] == "test").sum()
