"""A front end loads what it needs when it is asked for."""

import json
import subprocess
import sys

import pytest
from repo import REPO

HEAVY = {
    "IPython",
    "huggingface_hub",
    "librosa",
    "matplotlib",
    "numba",
    "onnxruntime",
    "opensmile",
    "pyworld",
    "scipy.signal",
    "sklearn",
    "torch",
    "torchaudio",
    "torchvision",
    "transformers",
}


def loaded(code):
    """The heavy packages that a fresh Python has imported after `code`."""
    code = f"import sys, json\n{code}\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True
    )
    return HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_features_loads_nothing_heavy():
    # so it costs less than `import torch`, which its budget is counted from
    assert loaded("import colab_utils.features") == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "unneeded"),
    [
        ("logmel", {"transformers", "pyworld", "librosa", "sklearn"}),
        ("egemaps", {"torch", "pyworld", "librosa", "transformers", "opensmile"}),
        ("facebook/wav2vec2-base", {"transformers", "huggingface_hub", "pyworld", "librosa"}),
    ],
)
def test_a_front_end_loads_what_it_needs_alone(name, unneeded):
    code = f"from colab_utils.features import front_end; front_end({name!r})"
    assert not loaded(code) & unneeded
