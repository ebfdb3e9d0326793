"""Tasks over any set of corpora, and the published scenarios played by domains of the embedded
corpus.
"""

import pandas as pd
import pytest

from colab_utils import corpora
from colab_utils.corpora.manifest import empty_row
from colab_utils.display.captions import stamps
from colab_utils.features import front_end
from colab_utils.features.store.extract import extract
from colab_utils.methods.da_mldg.algorithms import ALGORITHMS
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.methods.da_mldg.study import DomainStudy
from colab_utils.protocols.build import build_task
from colab_utils.protocols.domains import in_domain, leave_one_out, stand_ins, to_target, with_tasks
from colab_utils.protocols.published import ProtocolError, load_protocol

PROTOCOL = load_protocol("da_mldg")
SCENARIOS = ["1", "2", "3", "4", "5", "6", "7"]


def corpus(name, speakers=5, each=2):
    return pd.DataFrame(
        [
            {
                **empty_row(name, f"{who}-{label}-{i}"),
                "speaker": f"s{who}",
                "emotion": label,
                "emotion_raw": label,
            }
            for who in range(speakers)
            for label in PROTOCOL.tasks["1"].emotions
            for i in range(each)
        ]
    )


def test_leave_one_out_tests_each_corpus_once_and_validates_on_speakers_of_every_source():
    manifest = pd.concat([corpus(name) for name in ("aa", "bb", "cc")], ignore_index=True)
    tasks = leave_one_out(PROTOCOL, ["cc", "aa", "bb"])
    assert list(tasks) == ["aa", "bb", "cc"]
    for target, task in tasks.items():
        rows, split = build_task(with_tasks(PROTOCOL, [task]), task.name, manifest)
        corpus_of = split.set_index("utt_id")["speaker"].str.split("/").str[0]
        by_role = corpus_of.groupby(split["role"].to_numpy()).agg(set)
        assert by_role["test"] == {target} and by_role["train"] == by_role["valid"] == {
            "aa",
            "bb",
            "cc",
        } - {target}
        assert (split["role"] == "test").sum() == 50 and len(rows) == 150
        speakers = split.groupby("role")["speaker"].agg(set)
        assert not speakers["train"] & speakers["valid"]


def test_in_domain_keeps_speakers_apart():
    task = in_domain(PROTOCOL, "aa")
    _, split = build_task(with_tasks(PROTOCOL, [task]), task.name, corpus("aa", speakers=10))
    speakers = split.groupby("role")["speaker"].agg(set)
    assert len(speakers["test"]) == 2 and not speakers["test"] & (
        speakers["train"] | speakers["valid"]
    )


def test_impossible_tasks_are_refused():
    with pytest.raises(ProtocolError, match="at least one source"):
        to_target(PROTOCOL, [], "aa")
    with pytest.raises(ProtocolError, match="none may be the target"):
        to_target(PROTOCOL, ["aa", "bb"], "aa")
    with pytest.raises(ProtocolError, match="two or more"):
        leave_one_out(PROTOCOL, ["aa", "aa"])
    with pytest.raises(ProtocolError, match="has no task 'eight'"):
        stand_ins(PROTOCOL, "eight", corpus("aa"))
    with pytest.raises(ProtocolError, match="needs 4 corpora"):
        stand_ins(PROTOCOL, "1", corpus("aa"))


@pytest.fixture(scope="module")
def synthetic(embedded_workspace):
    manifest = corpora.open_corpora(["synthetic"], "", embedded_workspace[0])
    return manifest, extract(
        manifest, front_end("acoustic"), embedded_workspace[0] / "features", progress=False
    )


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_seven_scenarios_run_end_to_end_on_stand_ins_and_say_so(synthetic, name, tmp_path):
    manifest, store = synthetic
    protocol, rows = stand_ins(PROTOCOL, name, manifest)
    rows, split = build_task(protocol, name, rows)
    task = PROTOCOL.tasks[name]
    assert {one.removeprefix("synthetic-as-") for one in set(rows["corpus"])} == set(task.corpora)
    lacks = [emotion for corpus in task.corpora for emotion in PROTOCOL.absent.get(corpus, ())]
    for corpus_name in (f"synthetic-as-{one}" for one in task.corpora):
        spoken = set(rows.loc[rows["corpus"] == corpus_name, "emotion"])
        assert spoken == set(task.emotions) - set(lacks if "shemo" in corpus_name else ())
    study = DomainStudy(name, rows, split, store, task.emotions, tmp_path, progress=False)
    config = DomainConfig(steps=20, per_domain=8, validate_every=10, n_seeds=1, n_boot=20)
    runs = study.compare(config, list(ALGORITHMS), pictures=False)
    for run in runs.values():
        assert any("Synthetic corpus" in line for line in stamps(run.predictions, run.metrics))
        assert run.metrics["labels_absent"] == (
            ["disgust"] if task.test["corpus"] == ["shemo"] else []
        )
        assert run.metrics["n_utterances"] == (split["role"] == "test").sum()
