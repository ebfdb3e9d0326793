"""Where am I: Colab or not, working folder, device, seed, and versions for the record.

Importing this module sets CUBLAS_WORKSPACE_CONFIG, without which CUDA matrix products are not
repeatable; torch itself is imported only inside the functions that need it, so import this module
first.
"""

import contextlib
import functools
import importlib.metadata
import json
import os
import pathlib
import platform
import random
import subprocess
import sys
from typing import Any

import numpy as np

from colab_utils import __version__

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

COLAB_WORKSPACE = pathlib.Path("/content/ser_work")
NOT_INSTALLED = "not installed"
# Libraries that results depend on.
PACKAGES = (
    "torch",
    "torchaudio",
    "torchvision",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "librosa",
    "soundfile",
    "higher",
    "pytorch-metric-learning",
    "faiss",
    "pyworld",
    "ipywidgets",
)
# The figures that were shown, by name, each as it was shown last: `display.style` fills it.
shown: dict[str, Any] = {}
# Other names under which one may be installed; the first one found counts.
INSTALLED_AS = {"faiss": ("faiss-gpu", "faiss-cpu"), "pyworld": ("pyworld-prebuilt", "pyworld")}


def in_colab() -> bool:
    """Whether this process belongs to a Colab runtime.

    The shell's class or Colab's own variable decides; that `google.colab` can be imported proves
    nothing, as it can be elsewhere too.
    """
    if "COLAB_RELEASE_TAG" in os.environ:
        return True
    ipython = sys.modules.get("IPython")
    return ipython is not None and "google.colab" in str(type(ipython.get_ipython()))


def _checkout_root(start: pathlib.Path) -> pathlib.Path | None:
    """The checkout of this repository at or above `start`, or None."""
    for folder in (start, *start.parents):
        if (folder / "setup.py").is_file() and (folder / "colab_utils/__init__.py").is_file():
            return folder
    return None


def workspace() -> pathlib.Path:
    """The local folder for everything that is made; made when it is missing.

    The variable SER_WORKSPACE decides; else /content/ser_work on Colab, `out` in the checkout
    around the current folder, or `out` in the current folder.

    Returns:
        An absolute path.

    Raises:
        OSError: the folder cannot be made.
    """
    here = pathlib.Path.cwd()
    if os.environ.get("SER_WORKSPACE"):
        folder = pathlib.Path(os.environ["SER_WORKSPACE"]).expanduser().absolute()
    elif in_colab():
        folder = COLAB_WORKSPACE
    else:
        folder = (_checkout_root(here) or here) / "out"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno,
            f"the working folder {folder} cannot be made ({error.strerror}): set the environment "
            "variable SER_WORKSPACE to a folder that you may write to",
        ) from error
    return folder


def device() -> str:
    """`"cuda"` where torch sees a GPU, `"cpu"` elsewhere."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices) and ask torch for deterministic algorithms.

    An operation that has no deterministic form on the GPU warns and runs, since some networks
    (adaptive pooling) cannot do without.

    Args:
        seed: a whole number from 0 to 2**32 - 1.

    Raises:
        ValueError: for another seed.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"seed = {seed!r}: choose a whole number from 0 to {2**32 - 1}")
    import torch

    random.seed(int(seed))
    np.random.seed(int(seed))
    torch.manual_seed(int(seed))
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def versions() -> dict[str, str]:
    """Versions of the package, of Python and of each library that results depend on.

    Returns:
        {name: version}, "not installed" for a library that is missing.
    """
    found = {"colab_utils": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        found[name] = NOT_INSTALLED
        for distribution in reversed(INSTALLED_AS.get(name, (name,))):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found[name] = _version(distribution)
    return found


@functools.cache
def _version(distribution: str) -> str:
    """The version of what is installed, looked up once; what is missing may come later."""
    return importlib.metadata.version(distribution)


def print_versions() -> None:
    """Print one line: version of the package, of Python and of torch, and the device."""
    found = versions()
    shown = f"colab_utils {found['colab_utils']} | Python {found['python']}"
    print(shown, f"torch {found['torch']}", sep=" | ", end=" | ", flush=True)
    # torch is imported for the device: seconds, after what is known without it
    print(_device_name() if found["torch"] != NOT_INSTALLED else "no device")


def _device_name() -> str:
    """The device with the name of the GPU, such as "cuda (Tesla T4)"."""
    if device() == "cpu":
        return "cpu"
    import torch

    return f"cuda ({torch.cuda.get_device_name()})"


def environment() -> dict:
    """What a result was made with, recorded beside each run and no part of the run's hash.

    Returns:
        Plain JSON values: versions, platform, device, Colab's release, commit of the package.
    """
    return {
        "versions": versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "device": _device_name(),
        "colab": os.environ.get("COLAB_RELEASE_TAG", ""),
        "commit": commit(),
    }


def commit() -> str:
    """The commit that the package comes from: of its checkout, its zip, or as pip recorded it.

    "-dirty" is added where tracked files were changed. "unknown" where none can be read, such
    as in a copied folder.
    """
    root = pathlib.Path(__file__).resolve().parent.parent
    if (root / ".git").exists():
        return _git_commit(root)
    if (root / "COMMIT").is_file():  # of `make colab`
        return (root / "COMMIT").read_text(encoding="utf-8")
    try:
        record = importlib.metadata.distribution("colab_utils").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        record = None
    return json.loads(record or "{}").get("vcs_info", {}).get("commit_id", "unknown")


def _git_commit(root: pathlib.Path) -> str:
    """HEAD of the checkout at `root`, or "unknown" where git is missing or refuses."""
    look = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.check_output(
            look, text=True, stderr=subprocess.DEVNULL, timeout=20
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
