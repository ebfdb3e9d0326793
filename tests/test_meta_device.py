"""Everything that computes with torch runs on another device, and gives the numbers of the CPU.

The device is a pretended GPU (`on_device.pretend`), which refuses a tensor that was left on the CPU
as CUDA does. What can be chosen in the suite and has no step (`on_device.steps`) fails here.
"""

import functools
import importlib
import inspect
import pkgutil
import shutil
import subprocess
import sys
from unittest import mock

import pytest
import torch
from gpu_check import differences, verdict
from on_device import ON_THE_CPU, pretend
from on_device.found import Found
from on_device.steps import STEPS
from repo import REPO
from torch.nn import functional

import colab_utils.learning
import colab_utils.methods
from colab_utils import models
from colab_utils.features import FRONT_ENDS
from colab_utils.methods.alexnet.network import MODELS
from colab_utils.methods.baselines.settings import CLASSIFIERS
from colab_utils.methods.da_mldg.algorithms import ALGORITHMS
from colab_utils.methods.emofsl import study as emofsl
from colab_utils.methods.emofsl.settings import METHODS
from colab_utils.methods.maml import losses, rivals
from colab_utils.methods.maml.settings import ENGINES

QUICK = ("mlp", "logmel", "second order", "BTL", "erm", "rsc", "coral", "ProtoNet")
# What is moved first there is of a part of the encoder that is not used, or all there is.
ALONE = ("emofsl/EMOFSL: layers", "front end/")


def steps(but=("nothing",)):
    """The names of the steps; `make check` makes some that are quick."""
    for name in STEPS:
        if not name.startswith(but):
            quick = name.endswith(QUICK)
            yield pytest.param(name, marks=[] if quick else [pytest.mark.slow])


@functools.cache
def on_both(name):
    """Which learner made a step, how far it is from the CPU's, and which operations were there."""
    computed, there = pretend._computed, set()

    def noted(func, args, kwargs):
        found = computed(func, args, kwargs)
        if isinstance(found, pretend._OnGpu):
            there.add(func.name())
        return found

    expected = STEPS[name]("cpu")
    with pretend.pretended(pretend.DEVICE), mock.patch.object(pretend, "_computed", noted):
        found = STEPS[name](pretend.DEVICE)
    assert set(expected.values) == set(found.values)
    return found.learner, differences(expected, found), there


@pytest.mark.parametrize("name", steps())
def test_a_step_gives_the_same_on_another_device(name):
    _, apart, there = on_both(name)
    assert apart and verdict(name, apart) == "ok"
    assert len(there - {"aten::_to_copy", "aten::detach"}) > 2, "it is computed on the CPU"


@pytest.mark.parametrize("name", steps(but=ALONE))
def test_a_tensor_that_is_not_moved_is_caught(name, monkeypatch):
    computed, stayed = pretend._computed, []

    def forgetful(func, args, kwargs):
        moved = func is torch.ops.aten._to_copy.default and "meta" in str(kwargs.get("device"))
        if moved and not stayed and args[0].is_floating_point() and args[0].dim():
            stayed.append(args[0])
            return args[0]
        return computed(func, args, kwargs)

    monkeypatch.setattr(pretend, "_computed", forgetful)
    # a study may have put the error of torch into a sentence of its own
    with pytest.raises(Exception, match="is on device cpu"), pretend.pretended(pretend.DEVICE):
        STEPS[name](pretend.DEVICE)
    assert stayed


# --- nothing is forgotten -------------------------------------------------------------------------


def names_of_the_suite():
    """What can be chosen in the suite, by the names of the steps."""
    of_rooms = {
        "front end/": (*FRONT_ENDS, "ssl"),
        "maml/": ("maml", *rivals.BASELINES),
        "maml/term ": losses.TERMS,
        "maml/engine ": ENGINES[1:],  # the first is everybody's
        "emofsl/": (*METHODS, *emofsl.BASELINES),
        "da_mldg/": ALGORITHMS,
        "alexnet/": MODELS,
        "baselines/": CLASSIFIERS,
        "network/": [f"{name}: {norm}" for name, norms in models._NORMS.items() for norm in norms],
    }
    return {room + name for room, names in of_rooms.items() for name in names}


def test_all_that_can_be_chosen_has_a_step_or_a_reason_why_not():
    there = {*STEPS, *(name.split(":")[0] for name in STEPS)}
    assert names_of_the_suite() - there == set(ON_THE_CPU)
    rooms = {path.name for path in (REPO / "colab_utils/methods").iterdir() if path.is_dir()}
    assert rooms - {"__pycache__"} <= {name.split("/")[0] for name in {*STEPS, *ON_THE_CPU}}


@pytest.mark.slow
def test_every_learner_makes_its_step():
    learners = set()
    for package in (colab_utils.learning, colab_utils.methods):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for name, one in inspect.getmembers(
                importlib.import_module(found.name), inspect.isclass
            ):
                if hasattr(one, "step") and hasattr(one, "validate"):
                    learners.add(name)
    stepped = {on_both(name)[0] for name in STEPS} - {""}
    # "baselines/mlp" and AlexNet's last layer by scikit-learn: on the CPU
    assert learners - stepped == {"MlpLearner", "LinearLearner"}


# --- the pretended GPU is as strict as a real one, and no stricter --------------------------------

TABLE = torch.arange(6.0).reshape(3, 2)
REFUSED = {
    "sum": lambda gpu: gpu + torch.ones(1),
    "product": lambda gpu: gpu @ torch.ones(2, 2),
    "linear": lambda gpu: functional.linear(gpu, torch.ones(4, 2)),
    "convolution": lambda gpu: functional.conv1d(gpu[None], torch.ones(1, 3, 1)),
    "einsum": lambda gpu: torch.einsum("ab,cb->ac", gpu, TABLE),
    "gather": lambda gpu: gpu.gather(1, torch.zeros(3, 1, dtype=torch.int64)),
    "table on the CPU": lambda gpu: TABLE[gpu[:, 0].long().clamp(max=2)],
    "values on the CPU": lambda gpu: gpu.index_put((torch.tensor([0]),), torch.ones(1, 2)),
    "generator on the CPU": lambda gpu: torch.rand(2, generator=torch.Generator(), device="meta"),
    "numpy": lambda gpu: gpu.numpy(),
}
ALLOWED = {
    "a number without dimensions": lambda gpu: gpu * torch.tensor(2.0),
    "indices on the CPU": lambda gpu: gpu[torch.tensor([0, 2])],
    "a mask": lambda gpu: gpu[gpu > 2],
    "an item": lambda gpu: torch.tensor(gpu.sum().item()),
    "a copy": lambda gpu: torch.empty_like(gpu).copy_(TABLE),
    "the way back": lambda gpu: gpu.cpu() + TABLE,
    "made there": lambda gpu: gpu + torch.tensor([1.0, 2.0], device=gpu.device),
    "many at once": lambda gpu: torch.vmap(lambda row: row @ row)(gpu),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cuda_refuses_is_refused(case):
    with pretend.pretended(pretend.DEVICE), pytest.raises((RuntimeError, TypeError)):
        REFUSED[case](TABLE.to(pretend.DEVICE))


@pytest.mark.parametrize("case", ALLOWED)
def test_what_cuda_allows_gives_the_numbers_of_the_cpu(case):
    expected = ALLOWED[case](TABLE)
    with pretend.pretended(pretend.DEVICE):
        found = ALLOWED[case](TABLE.to(pretend.DEVICE)).cpu()
    assert torch.equal(found, expected)


# --- the command for Colab ------------------------------------------------------------------------


@pytest.mark.parametrize("worse", [1.002, float("nan")])
@pytest.mark.parametrize("name", ["loss", "meta_test_loss", "gradient", "scores"])
def test_what_is_too_far_from_the_cpu_is_named(name, worse):
    values = {"loss": [2.0], "meta_test_loss": [1.0], "gradient": [3.0, 4.0], "scores": [0.5]}
    expected = {one: torch.tensor(numbers) for one, numbers in values.items()}
    rounded = {one: numbers * (1 + 1e-6) for one, numbers in expected.items()}
    assert verdict("some", differences(Found("", expected), Found("", rounded))) == "ok"
    rounded[name] = expected[name] * worse
    told = verdict("some", differences(Found("", expected), Found("", rounded)))
    assert name.removeprefix("meta_test_") in told and told != "ok"


def gpu_check(suite, cwd, *arguments):
    command = [sys.executable, str(suite / "tools/gpu_check.py"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_command_says_so(tmp_path):
    done = gpu_check(REPO, tmp_path)
    assert done.returncode == 2 and "no GPU" in done.stdout and done.stdout.count("\n") == 1


@pytest.mark.slow
def test_the_command_runs_in_a_copy_without_git_and_a_broken_method_is_one_row(tmp_path):
    left = shutil.ignore_patterns(".*", "out", "docs", "notebooks", "__pycache__", "*.egg-info")
    suite = tmp_path / "suite"
    shutil.copytree(REPO, suite, ignore=left)
    done = gpu_check(suite, tmp_path, "--device", "meta", "--only", "network/")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| ok |") == 8

    source = suite / "colab_utils/models/lstm.py"
    text = source.read_text()
    broken = text.replace(
        "embedding = self.embed(final)", "embedding = self.embed(final) + torch.ones(1)"
    )
    assert broken != text
    source.write_text(broken)
    done = gpu_check(suite, tmp_path, "--device", "meta", "--only", "network/")
    assert done.returncode == 1, done.stdout + done.stderr
    (row,) = [line for line in done.stdout.splitlines() if "network/lstm" in line]
    assert "is on device cpu" in row and "lstm.py" in row
    assert done.stdout.count("| ok |") == 7
