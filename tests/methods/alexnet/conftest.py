"""Fixtures of this room."""

import pytest
import torch
from alexnet_toys import corpus, toy_study

from colab_utils.learning.training import single_thread


@pytest.fixture(autouse=True)
def one_thread():
    """Beside other work a second thread makes small tensors several times slower."""
    with single_thread():
        yield


@pytest.fixture(scope="module")
def quick_networks():
    """AlexNet's dense layers without first values: alexnet_gap makes them only to throw them away.

    That is a third of the time of these tests.
    """
    reset = torch.nn.Linear.reset_parameters

    def quick(layer):
        if layer.weight.numel() < 1_000_000:
            reset(layer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Linear, "reset_parameters", quick)
        yield


@pytest.fixture
def study(tmp_path):
    return toy_study(tmp_path, corpus(6, 2))
