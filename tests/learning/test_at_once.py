"""Several processes make one study, or one training, at once: one result, nothing twice."""

import importlib
import multiprocessing
import os

import pytest
import torch
from one_file_method import SoftmaxLearner
from small_studies import STUDIES, module_of, results
from test_study import CONFIG, make_study

from colab_utils import files
from colab_utils.learning.study import Tested

TRIES = int(os.environ.get("TRIES", "20"))
FORK = multiprocessing.get_context("fork")


def study_of(module, root):
    """What one process does: the small study of a test module, from start to end."""
    torch.set_num_threads(1)
    importlib.import_module(module).small_study(root)


def training_of(made, root):
    """What one process does: one training, noting its steps in `made`."""
    torch.set_num_threads(1)
    step = SoftmaxLearner.step

    def noted(self, i):
        made.put(i)
        return step(self, i)

    SoftmaxLearner.step = noted
    study = make_study(root)
    study.trained(Tested("softmax", CONFIG), study.folds[0])


def at_once(number, work, what, root):
    """`work(what, root)` in so many processes, all of which must end well."""
    children = [FORK.Process(target=work, args=(what, root)) for _ in range(number)]
    for child in children:
        child.start()
    for child in children:
        child.join(300)
    assert [child.exitcode for child in children] == [0] * number


def histories(root):
    """The steps in each history, which are each there once and in order."""
    found = []
    for path in root.glob("trained/*/*/history.jsonl"):
        steps = [record["step"] for record in files.read_jsonl(path)]
        assert steps == list(range(1, len(steps) + 1)), path
        found.append(steps)
    return found


def check_training(number, root):
    made = FORK.Queue()
    at_once(number, training_of, made, root)
    steps = [made.get(timeout=10) for _ in range(CONFIG.steps)]
    assert steps == list(range(CONFIG.steps)) and made.empty(), (
        "one process trains, the others load"
    )
    assert len(histories(root)) == 1


def check_study(study, number, whole, root):
    at_once(number, study_of, module_of(study), root)
    assert results(root) == whole
    histories(root)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The results of each small study that one process made alone."""
    made = {}

    def of(study):
        if study not in made:
            root = tmp_path_factory.mktemp(study)
            at_once(1, study_of, module_of(study), root)
            made[study] = results(root)
            assert made[study]
        return made[study]

    return of


@pytest.mark.slow
def test_two_at_once(whole, tmp_path):
    check_training(2, tmp_path / "training")
    check_study("contract", 2, whole("contract"), tmp_path / "study")


@pytest.mark.long
@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("attempt", range(TRIES))
def test_one_training(attempt, number, tmp_path):
    check_training(number, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("attempt", range(TRIES))
def test_one_study(attempt, number, whole, tmp_path):
    check_study("contract", number, whole("contract"), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("study", [study for study in STUDIES if study != "contract"])
def test_the_study_of_each_room(study, number, whole, tmp_path):
    for attempt in range(3):
        check_study(study, number, whole(study), tmp_path / str(attempt))
