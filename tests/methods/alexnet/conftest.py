"""Fixtures of this room."""

import pytest
from alexnet_toys import corpus, toy_study

from colab_utils.learning.training import single_thread


@pytest.fixture(autouse=True)
def one_thread():
    """Beside other work a second thread makes small tensors several times slower."""
    with single_thread():
        yield


@pytest.fixture
def study(tmp_path):
    return toy_study(tmp_path, corpus(6, 2))
