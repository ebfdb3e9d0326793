"""Code of the user's own: its name, and one sentence for whatever cannot be used of it."""

import functools

import pytest
import torch

from colab_utils.learning.own import checked, in_one_sentence, name_of, named
from colab_utils.learning.training import TrainingError
from colab_utils.settings import SettingError

WHAT = "the loss 'mine', (x) -> (2,)"


def function(x):
    return x


class Thing:
    def __call__(self, x):
        return x


@pytest.mark.parametrize(
    ("own", "name"),
    [
        (function, "function"),
        (functools.partial(functools.partial(function, 1), 2), "function"),
        (Thing, "Thing"),
        (Thing(), "Thing"),
        (functools.partial(Thing()), "Thing"),
        (torch.nn.Linear(1, 1), "Linear"),
        (lambda x: x, "lambda"),
    ],
)
def test_everything_that_can_be_called_has_a_name_without_an_address(own, name):
    assert name_of(own) == name


def test_methods_come_by_name_and_can_be_called():
    assert named(None) == {} and named({"mine": function}) == {"mine": function}
    with pytest.raises(SettingError, match="own = function: .*'mine': function"):
        named(function)
    with pytest.raises(SettingError, match="'mine' is a str, which cannot be called"):
        named({"mine": "attention"})


def test_what_fails_is_said_with_its_call_and_keeps_its_traceback():
    with pytest.raises(SettingError) as found, in_one_sentence(WHAT):
        raise ValueError("Number of embeddings\nmust equal number of labels")
    told = str(found.value)
    assert told.startswith(WHAT) and "\n" not in told
    assert "ValueError" in told and "Number of embeddings must equal number of labels" in told
    assert isinstance(found.value.__cause__, ValueError)


@pytest.mark.parametrize(
    "error",
    [
        SettingError("known"),
        TrainingError("known"),
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        KeyboardInterrupt(),
    ],
)
def test_errors_that_say_enough_pass(error):
    with pytest.raises(type(error)) as found, in_one_sentence(WHAT):
        raise error
    assert found.value is error


def given(value, **how):
    return checked(WHAT, value, (2,), torch.zeros(3), **how)


def test_what_can_be_used_comes_back_as_it_is():
    value = torch.ones(2, dtype=torch.float64, requires_grad=True)
    assert given(value, learning=True) is value
    assert given(torch.tensor([True, False])).tolist() == [True, False]
    assert given(torch.tensor([1.0, torch.inf]), finite=False)[1] == torch.inf


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "NoneType"),
        (1.0, "float"),
        ({"loss": torch.ones(2)}, "dict"),
        (torch.ones(2).to_sparse(), "no dense tensor"),
        (torch.tensor(1.0), r"shape \(\) where \(2,\)"),
        (torch.ones(1), r"shape \(1,\) where \(2,\)"),
        (torch.ones(2, 1), r"shape \(2, 1\) where \(2,\)"),
        (torch.ones(2, dtype=torch.complex64), "complex"),
        (torch.ones(2, device="meta"), "device meta.* cpu"),
        (torch.tensor([1.0, torch.nan]), "NaN"),
        (torch.tensor([1.0, -torch.inf]), "infinity"),
        (torch.ones(2), "without a gradient"),
    ],
)
def test_what_cannot_be_used_is_named(value, told):
    with pytest.raises(SettingError, match=told) as found:
        given(value, learning=True)
    assert str(found.value).startswith(WHAT) and "\n" not in str(found.value)
