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


def test_the_features_and_a_front_end_by_another_package_load_nothing_heavy():
    # so they cost less than `import torch`, which their budget is counted from
    code = "from colab_utils.features import front_end; front_end('egemaps')"
    assert loaded(code) == set()


@pytest.mark.slow
def test_front_ends_by_torch_load_torch_and_nothing_that_they_do_not_need_yet():
    code = (
        "from colab_utils.features import front_end;"
        " front_end('facebook/wav2vec2-base'); front_end('logmel')"
    )
    assert loaded(code) <= {"torch", "torchaudio"}
