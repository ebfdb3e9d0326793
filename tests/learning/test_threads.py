"""Results do not depend on how many threads a machine has, where a study computes with one."""

import numpy as np
import pytest
import torch
from one_file_method import SoftmaxStudy
from test_study import CONFIG, make_study
from threadpoolctl import threadpool_info

from colab_utils.learning.study import Tested
from colab_utils.learning.training import single_thread


def blas_threads():
    np.ones((2, 2)) @ np.ones((2, 2))
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


@pytest.mark.parametrize("wanted", [True, False])
def test_one_thread_for_torch_and_for_linear_algebra_and_then_as_before(wanted):
    before = torch.get_num_threads(), blas_threads()
    with single_thread(wanted):
        inside = torch.get_num_threads(), blas_threads()
    assert inside == ((1, {1}) if wanted else before)
    assert (torch.get_num_threads(), blas_threads()) == before


class Untrained(SoftmaxStudy):
    """A closed form: all are guessed alike."""

    small = False

    def learner(self, tested, fold):
        return None

    def training_of(self, tested):
        return None

    def predict(self, learner, tested, fold):
        rows = self.part(tested, fold, "test")
        scores = np.full((len(rows), len(self.labels)), 1 / len(self.labels))
        return self.predictions(tested, fold, rows, scores)


def test_a_closed_form_is_computed_with_one_thread_whatever_the_study(monkeypatch, tmp_path):
    seen = []
    predict = Untrained.predict

    def watched(*arguments):
        seen.append((torch.get_num_threads(), blas_threads()))
        return predict(*arguments)

    monkeypatch.setattr(Untrained, "predict", watched)
    study = make_study(tmp_path, n_folds=2)
    study.__class__ = Untrained
    study.evaluate([Tested("guess", CONFIG)], pictures=False)
    assert seen == [(1, {1})] * 2


def test_a_small_study_computes_with_one_thread(monkeypatch, tmp_path):
    seen = []
    predict = SoftmaxStudy.predict

    def watched(*arguments):
        seen.append((torch.get_num_threads(), blas_threads()))
        return predict(*arguments)

    monkeypatch.setattr(SoftmaxStudy, "predict", watched)
    make_study(tmp_path, n_folds=2).evaluate([Tested("softmax", CONFIG)], pictures=False)
    assert seen == [(1, {1})] * 2
