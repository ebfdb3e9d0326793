"""The contract: what every method gets from it, shown on one that is a single small file."""

import contextlib
import dataclasses
import json
import pathlib
import weakref

import numpy as np
import one_file_method
import pandas as pd
import pytest
import torch
from one_file_method import SoftmaxConfig, SoftmaxStudy
from sklearn.metrics import balanced_accuracy_score
from toy_store import Features, toy_corpus

from colab_utils.learning.study import CONTRACT, Study, Tested
from colab_utils.panel.panel import Panel
from colab_utils.protocols import folds
from colab_utils.protocols.folds import LeakError
from colab_utils.results.folders import runs_table
from colab_utils.results.metrics import recompute
from colab_utils.results.runs import Part, RunError, load_run
from colab_utils.settings import SettingError

LABELS = ["anger", "fear", "sadness"]
CONFIG = SoftmaxConfig()
NINE = dataclasses.replace(CONFIG, n_seeds=3)


def make_study(root, speakers=6, n_folds=3, seed=0, films=False, **more):
    rows = toy_corpus("aa", LABELS, speakers, 3)
    if films:  # two speakers each
        rows["film"] = "f" + (rows["speaker"].factorize()[0] // 2).astype(str).astype(object)
    table = folds.grouped_folds(rows, n_folds, 0)
    split = folds.make_split(rows, table, 0, 1)
    return SoftmaxStudy(
        "toy",
        rows,
        split,
        Features(rows, LABELS, seed=seed),
        LABELS,
        root,
        protocol="by hand",
        merge={"calm": None},
        progress=False,
        **more,
    )


def small_study(root):
    """From start to end, for a test that kills it."""
    study = make_study(root)
    config = dataclasses.replace(CONFIG, n_seeds=3, steps=60)
    study.evaluate([Tested("fast", config), Tested("slow", dataclasses.replace(config, rate=0.01))])


def content(run):
    names = ("predictions.csv", "metrics.json", "config.json", "split.csv")
    return [(run.path / name).read_bytes() for name in names]


def test_a_method_is_one_file_of_sixty_lines():
    text = pathlib.Path(one_file_method.__file__).read_text()
    assert len(text.splitlines()) <= 60


def test_dubbed_films_are_the_unit_of_the_interval(tmp_path):
    run = make_study(tmp_path, speakers=10, films=True).evaluate([Tested("s", CONFIG)], False)["s"]
    assert run.predictions.groupby("film")["speaker"].nunique().tolist() == [2] * 5
    assert (run.metrics["ci_unit"], run.metrics["ci_df"]) == ("film", 4)
    assert run.metrics["uar_ci95"] and run.metrics == recompute(run.path)


@pytest.mark.slow  # the figures
def test_it_gets_predictions_metrics_an_interval_and_figures(tmp_path):
    study = make_study(tmp_path)
    run = study.evaluate([Tested("softmax", dataclasses.replace(CONFIG, n_seeds=2))])["softmax"]
    table, metrics = run.predictions, run.metrics
    assert len(table) == 2 * len(study.rows) and set(table["method"]) == {"softmax"}
    each = [balanced_accuracy_score(one["true"], one["pred"]) for _, one in table.groupby("seed")]
    assert metrics["uar"] == pytest.approx(sum(each) / 2) and metrics["uar"] > 0.5
    low, high = metrics["uar_ci95"]
    assert low < metrics["uar"] < high and metrics["ci_unit"] == "speaker"
    assert metrics == recompute(run.path) and metrics["speaker_independence"] == "independent"
    for suffix in ("png", "pdf", "svg", "csv"):
        assert (run.path / f"confusion_matrix.{suffix}").stat().st_size > 50
    there = study.overview()
    assert there.loc[("test", "aa"), "utterances"] == len(study.rows)
    assert study.table({"mine": run}).loc["mine", "UAR %"] == f"{100 * metrics['uar']:.1f}"
    assert runs_table(tmp_path)["method"].tolist() == ["softmax"] and load_run(run.path).done


def test_the_facts_say_which_corpus_protocol_task_and_contract(tmp_path):
    slow = SoftmaxConfig.from_preset("slow", steps=7)
    tested = Tested("mine", slow, condition="clean")
    run = make_study(tmp_path).evaluate([tested], pictures=False)["mine, clean"]
    facts = json.loads((run.path / "config.json").read_text())
    assert facts["corpora"] == {"test": ["aa"], "train": ["aa"], "valid": ["aa"]}
    assert (facts["protocol"], facts["task"], facts["contract"]) == ("by hand", "toy", CONTRACT)
    assert (facts["model"], facts["condition"], facts["labels"]) == ("mine", "clean", LABELS)
    assert (facts["preset"], facts["changed"]) == ("slow", {"steps": 7})
    assert facts["merge"] == {"calm": None} and run.metrics["preset"] == "slow"


@pytest.fixture(scope="module")
def nine_parts(tmp_path_factory):
    """A whole run of three seeds and three folds."""
    study = make_study(tmp_path_factory.mktemp("nine"))
    return study.evaluate([Tested("softmax", NINE)], pictures=False)["softmax"]


@pytest.mark.parametrize("stop_at", [0, 1, 4, 8])
def test_stopped_anywhere_it_goes_on_and_ends_the_same(tmp_path, monkeypatch, stop_at, nine_parts):
    made, predict = [], SoftmaxStudy.predict

    def noted(self, learner, tested, fold):
        if len(made) == stop_at and not again:
            raise KeyboardInterrupt
        made.append((tested.config.seed, fold))
        return predict(self, learner, tested, fold)

    monkeypatch.setattr(SoftmaxStudy, "predict", noted)
    again = False
    with pytest.raises(KeyboardInterrupt):
        make_study(tmp_path).evaluate([Tested("softmax", NINE)], pictures=False)
    again = True
    run = make_study(tmp_path).evaluate([Tested("softmax", NINE)], pictures=False)["softmax"]
    assert len(made) == len(set(made)) == 9 and content(run) == content(nine_parts)


def test_the_bar_counts_what_is_left_to_make(tmp_path, monkeypatch):
    counted = []

    class Bar(contextlib.nullcontext):
        def __init__(self, total=0, **_):
            super().__init__(self)
            counted.append([total, 0])

        def set_description(self, text):
            pass

        def update(self, number):
            counted[-1][1] += number

    monkeypatch.setattr("colab_utils.learning.study.progress_bar", Bar)
    first = make_study(tmp_path).evaluate([Tested("softmax", NINE)], pictures=False)["softmax"]
    (first.path / "DONE").unlink()
    for part in sorted(first.path.glob("parts/*.json"))[:2]:
        part.unlink()
    make_study(tmp_path).evaluate([Tested("softmax", NINE)], pictures=False)
    assert counted == [[9, 9], [2, 2]]


def test_a_trained_model_loads_back_in_another_study(tmp_path, capsys):
    study = make_study(tmp_path)
    tested = Tested("softmax", CONFIG)
    weights = study.trained(tested, study.folds[0])[0].module.weight.detach().clone()
    capsys.readouterr()
    other = make_study(tmp_path)
    learner, history = other.trained(tested, other.folds[0])
    assert torch.equal(learner.module.weight, weights) and "loaded" in capsys.readouterr().out
    assert history.best_score is not None


def test_what_does_not_decide_the_weights_does_not_train_again(tmp_path, capsys):
    study = make_study(tmp_path)
    study.evaluate([Tested("softmax", CONFIG)], pictures=False)
    capsys.readouterr()
    study.evaluate([Tested("other name", CONFIG, kind="")], False)
    names = sorted(path.name for path in tmp_path.glob("trained/softmax/*"))
    assert len(names) == 3, "a name does not train anew"


def test_folds_with_the_same_training_side_share_a_training(tmp_path):
    corpora = [toy_corpus("aa", LABELS, 4, 3), toy_corpus("bb", LABELS, 4, 3)]
    rows, parts = pd.concat(corpora, ignore_index=True), []
    source = rows["corpus"] == "aa"
    for fold, speakers in (("0", ("s0", "s1")), ("1", ("s2", "s3"))):
        role = np.where(source, np.where(rows["speaker"] == "s3", "valid", "train"), "test")
        mine = (source | rows["speaker"].isin(speakers)).to_numpy()
        parts.append(folds.split_rows(rows[mine], role[mine], seed=0, fold=fold))

    def study():
        split, store = pd.concat(parts, ignore_index=True), Features(rows, LABELS)
        return SoftmaxStudy("aa-bb", rows, split, store, LABELS, tmp_path, progress=False)

    study().evaluate([Tested("softmax", CONFIG)], pictures=False)
    assert len(list(tmp_path.glob("trained/softmax/*"))) == 1
    history = study().trained(Tested("softmax", CONFIG), "1")[1]
    assert history.resumed_from, "loaded, not trained"


def test_what_a_fold_needed_is_let_go(tmp_path):
    study = make_study(tmp_path)
    tested, seen = Tested("softmax", CONFIG), []
    for fold in study.folds:
        learner = study.trained(tested, fold)[0]
        study.held(fold, "pictures", lambda: torch.zeros(1000))
        seen.append(weakref.ref(learner))
        del learner
        alive = [one for one in seen if one() is not None]
        assert len(alive) == 1 and len(study._held) == 1 and len(study._learners) == 1


# --- the user's own code --------------------------------------------------------------------------

FACTOR = 1.0


def helper(logits, y):
    return torch.nn.functional.cross_entropy(logits, y)


class Base:
    weight = 1.0

    def loss(self, logits, y):
        return self.weight * torch.nn.functional.cross_entropy(logits, y)


class Derived(Base):
    def __call__(self, logits, y):
        return self.loss(logits, y)


def changed_global(monkeypatch):
    monkeypatch.setitem(globals(), "FACTOR", 0.0)


def changed_helper(monkeypatch):
    monkeypatch.setitem(globals(), "helper", lambda logits, y: 0.0 * logits.sum())


def changed_attribute(monkeypatch):
    monkeypatch.setattr(Derived, "weight", 0.0, raising=False)


def changed_base(monkeypatch):
    monkeypatch.setattr(Base, "loss", lambda self, logits, y: 0.0 * logits.sum())


def with_closure():
    box = {"factor": 1.0}

    def loss(logits, y):
        return box["factor"] * torch.nn.functional.cross_entropy(logits, y)

    return loss, lambda monkeypatch: box.update(factor=0.0)


def with_global(logits, y):
    return FACTOR * torch.nn.functional.cross_entropy(logits, y)


def with_helper(logits, y):
    return helper(logits, y)


CLOSURE = with_closure()
CASES = {
    "global": (with_global, changed_global),
    "helper": (with_helper, changed_helper),
    "closure": CLOSURE,
    "class attribute": (Derived(), changed_attribute),
    "base class": (Derived(), changed_base),
}


@pytest.mark.parametrize(
    ("case", "same_study"), [*((case, True) for case in CASES), ("closure", False)]
)
def test_own_code_is_never_loaded_from_an_earlier_call(tmp_path, monkeypatch, case, same_study):
    """With the factor 0 nothing is learnt: the rate of what was changed differs from before."""
    own, change = CASES[case]
    if case == "closure":
        own, change = with_closure()
    config = dataclasses.replace(CONFIG, steps=40)
    study = make_study(tmp_path, n_folds=2)
    before = study.evaluate([Tested("mine", config, own=own)], pictures=False)["mine"]
    change(monkeypatch)
    study = study if same_study else make_study(tmp_path, n_folds=2)
    after = study.evaluate([Tested("mine", config, own=own)], pictures=False)["mine"]
    assert before.metrics["uar"] > 0.6 and after.metrics["uar"] < 0.5 and before.path != after.path
    assert not list(tmp_path.glob("trained/*/*")), "nobody can use them again"
    fresh = dataclasses.replace(config, rate=1e-4)
    history = study.train(Tested("mine", fresh, own=own))
    again = study.train(Tested("mine", fresh, own=own))
    assert history.resumed_from == again.resumed_from == 0


# --- refusals -------------------------------------------------------------------------------------


def test_what_cannot_be_is_one_sentence(tmp_path):
    study = make_study(tmp_path)
    with pytest.raises(SettingError, match="softmax stands twice: give each method its own name"):
        study.evaluate([Tested("softmax", CONFIG), Tested("softmax", CONFIG)])
    with pytest.raises(SettingError, match="rate = 0.0: must be at least 0.0001"):
        study.evaluate([Tested("softmax", dataclasses.replace(CONFIG, rate=0.0))])
    table = study.rows[["utt_id", "speaker", "corpus"]].assign(fold=["0", "1", "2"] * 18)
    split = folds.make_split(study.rows, table, allow_speaker_overlap=True)
    with pytest.raises(LeakError, match="aa/s0"):
        SoftmaxStudy("toy", study.rows, split, study.store, LABELS, tmp_path)
    with pytest.raises(TypeError, match="no predict"):
        Study(
            "toy", study.rows, study.split, study.store, LABELS, tmp_path, progress=False
        ).evaluate([Tested("x", CONFIG)])


def test_one_bar_names_method_condition_and_fold(tmp_path, monkeypatch):
    said, totals = [], []

    class Bar:
        def __init__(self, total=0, **more):
            totals.append((total, more["disable"]))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def set_description(self, text):
            said.append(text)

        def update(self, n):
            said.append(n)

    monkeypatch.setattr("colab_utils.learning.study.progress_bar", Bar)
    study = make_study(tmp_path)
    study.progress = True
    monkeypatch.setattr("colab_utils.learning.training.progress_bar", __import__("tqdm").tqdm)
    two = [
        Tested("one", dataclasses.replace(CONFIG, n_seeds=2), condition="pink@10"),
        Tested("two", CONFIG),
    ]
    study.evaluate(two, pictures=False)
    assert totals == [(9, False)] and said.count(1) == 9
    assert "one, pink@10, fold 0, seed 1" in said and "two, fold 2" in said
    study.evaluate(two, pictures=False)
    assert totals[-1] == (0, True), "nothing left to do"


def test_its_panel_runs_it(tmp_path):
    study = make_study(tmp_path)
    panel = Panel(CONFIG, run=lambda chosen: study.evaluate([Tested("softmax", chosen)], False))
    panel.set(rate=0.5)
    assert panel.run_once()["softmax"].config["changed"] == {"rate": 0.5}


def test_a_part_that_cannot_be_read_back_never_makes_a_smaller_run(tmp_path, monkeypatch):
    study = make_study(tmp_path)
    load, lost = Part.load, "seed0-fold1"
    monkeypatch.setattr(Part, "load", lambda part: None if part.name == lost else load(part))
    with pytest.raises(RunError, match=lost):
        study.evaluate([Tested("softmax", CONFIG)], pictures=False)
    assert not list(tmp_path.glob("runs/*/*/DONE"))
