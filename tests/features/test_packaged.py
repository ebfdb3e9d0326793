"""Encoders inside packages: on Colab they are installed when asked for, with their size said
first; elsewhere the command is. pip is a stand-in that only writes down what it is asked.
"""

import hashlib
import json
import sys

import numpy as np
import pytest
import torch
from repo import REPO

from colab_utils.features.encoders.checkpoints import EncoderError
from colab_utils.features.encoders.packaged import (
    DistillMos,
    MissingPackageError,
    Moonshine,
    Package,
    PackagedEncoder,
)

PIP = """
import json, os, pathlib, sys
site = pathlib.Path(__file__).parent.parent
(site / "pip.log").write_text(json.dumps(sys.argv[1:]))
if (site / "fails").exists():
    sys.exit("ERROR: No matching distribution\\nfound for it")
for requirement in sys.argv[4:]:
    folder = site / requirement.split("==")[0].replace("-", "_")
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "weights.bin").write_bytes(b"7")
"""


class Toy(PackagedEncoder):
    NAME = "toy"
    VERSION = 1
    PACKAGES = (
        Package("toy_weights", "toy-weights==1.2", 13),
        Package("numpy", "numpy==0.1", 9),
        Package("toy_runtime", "toy-runtime==3", 4),
    )
    WEIGHTS = "weights.bin"
    WEIGHTS_SHA256 = hashlib.sha256(b"7").hexdigest()
    width, shortest = 2, 1

    def frames(self, waveforms, device):
        number = float(self.weights().read_text())
        return [torch.full((3, 2), number) for _ in waveforms]


@pytest.fixture
def site(tmp_path, monkeypatch):
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__init__.py").touch()
    (tmp_path / "pip" / "__main__.py").write_text(PIP)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    yield tmp_path
    for module in ("toy_weights", "toy_runtime"):
        sys.modules.pop(module, None)


def test_on_colab_what_is_missing_is_installed_once_after_its_size_and_nothing_else_is_touched(
    site, monkeypatch, capsys
):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
    wave = np.ones(5, np.float32)
    (vector,) = Toy().compute([wave])
    assert vector.tolist() == [[7, 7, 0, 0]]
    said = capsys.readouterr().out
    assert said == "toy needs toy-weights==1.2 (13 MB) and toy-runtime==3 (4 MB): installing\n"
    asked = json.loads((site / "pip.log").read_text())
    assert asked == ["install", "--quiet", "--no-deps", "toy-weights==1.2", "toy-runtime==3"]
    (site / "pip.log").unlink()
    Toy().compute([wave])
    assert not (site / "pip.log").exists() and capsys.readouterr().out == ""


@pytest.mark.parametrize("colab", [False, True])
def test_without_the_package_the_command_is_said(site, monkeypatch, colab):
    (site / "fails").touch()
    if colab:
        monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
    with pytest.raises(MissingPackageError) as found:
        Toy().compute([np.ones(5, np.float32)])
    said = str(found.value)
    assert "run `pip install toy-weights==1.2 toy-runtime==3`, or choose" in said
    assert ("pip failed (ERROR: No matching distribution found for it)" in said) == colab
    assert (site / "pip.log").exists() == colab and "\n" not in said


def test_another_release_is_refused_with_a_command_that_changes_nothing_else(site, monkeypatch):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
    Toy().weights()
    (site / "toy_weights" / "weights.bin").write_bytes(b"8")
    with pytest.raises(EncoderError, match="--force-reinstall --no-deps toy-weights==1.2`"):
        Toy().weights()


def test_colab_has_all_that_the_packages_need_but_themselves():
    """--no-deps leaves out nothing that the encoders import: what they are said to need is there
    (sounddevice, moonshine's microphone, is not used).
    """
    from importlib.metadata import requires

    lines = (REPO / "constraints-colab.txt").read_text().lower().splitlines()
    on_colab = {line.split("==")[0].strip() for line in lines}
    for encoder in (Moonshine, DistillMos):
        own = {package.requirement.split("==")[0] for package in encoder.PACKAGES}
        for name in own:
            needed = [line for line in requires(name) or [] if "extra ==" not in line]
            names = {
                line.split(";")[0].split(">")[0].split("=")[0].split("<")[0].strip().lower()
                for line in needed
            }
            assert names - own - on_colab <= {"sounddevice"}, (name, names - own - on_colab)
