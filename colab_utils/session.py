"""Where am I: Colab or not, working folder, device, seed, and the versions that a result was made
with.

Importing this module sets CUBLAS_WORKSPACE_CONFIG, without which CUDA matrix products are not
repeatable; torch itself is imported only inside the functions that need it, so import this module
first.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import platform
import random
import subprocess
import sys

import numpy as np

from colab_utils import __version__

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

COLAB_WORKSPACE = pathlib.Path("/content/ser_work")
NOT_INSTALLED = "not installed"
# Each package with the names under which it may be installed; the first one found counts.
PACKAGES = {
    "torch": ("torch",),
    "torchaudio": ("torchaudio",),
    "torchvision": ("torchvision",),
    "numpy": ("numpy",),
    "pandas": ("pandas",),
    "scipy": ("scipy",),
    "scikit-learn": ("scikit-learn",),
    "librosa": ("librosa",),
    "soundfile": ("soundfile",),
    "higher": ("higher",),
    "pytorch-metric-learning": ("pytorch-metric-learning",),
    "faiss": ("faiss-gpu", "faiss-cpu"),
    "pyworld": ("pyworld-prebuilt", "pyworld"),
    "ipywidgets": ("ipywidgets",),
}


def in_colab() -> bool:
    """Whether this process belongs to a Colab runtime.

    The shell's class or Colab's own variable decides; that `google.colab` can be imported proves
    nothing, as it can be elsewhere too.
    """
    if "COLAB_RELEASE_TAG" in os.environ:
        return True
    ipython = sys.modules.get("IPython")
    return ipython is not None and "google.colab" in str(type(ipython.get_ipython()))


def checkout_root(start: str | os.PathLike) -> pathlib.Path | None:
    """The folder at or above `start` that holds a checkout of this repository (setup.py and
    colab_utils/), or None.
    """
    start = pathlib.Path(start).resolve()
    return next(
        (
            folder
            for folder in (start, *start.parents)
            if (folder / "setup.py").is_file()
            and (folder / "colab_utils" / "__init__.py").is_file()
        ),
        None,
    )


def workspace() -> pathlib.Path:
    """The local folder for everything that is made, as an absolute path; made when it is missing.

    The variable SER_WORKSPACE decides; else /content/ser_work on Colab, `out` in the checkout
    around the current folder, or `out` in the current folder. Raises OSError, in one sentence, when
    the folder cannot be made.
    """
    if os.environ.get("SER_WORKSPACE"):
        folder = pathlib.Path(os.environ["SER_WORKSPACE"]).expanduser().absolute()
    elif in_colab():
        folder = COLAB_WORKSPACE
    else:
        folder = (checkout_root(pathlib.Path.cwd()) or pathlib.Path.cwd()) / "out"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno,
            f"the working folder {folder} cannot be made ({error.strerror}): set the environment"
            " variable SER_WORKSPACE to a folder that you may write to",
        ) from error
    return folder


def device() -> str:
    """`"cuda"` where torch sees a GPU, `"cpu"` elsewhere."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices) with `seed` (0 to 2**32 - 1) and ask torch for
    deterministic algorithms.

    An operation that has no deterministic form on the GPU warns and runs, since some networks
    (adaptive pooling) cannot do without. Raises ValueError for a seed outside the range.
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
    """Version of the package, of Python and of each library that results depend on; "not installed"
    where one is missing.
    """
    found = {"colab_utils": __version__, "python": platform.python_version()}
    for name, distributions in PACKAGES.items():
        found[name] = next(filter(None, map(_installed_version, distributions)), NOT_INSTALLED)
    return found


def _installed_version(distribution: str) -> str | None:
    """The installed version of a distribution, read without importing it; None where it is missing."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def print_versions() -> None:
    """Print one line: version of the package, of Python and of torch, and the device."""
    found = versions()
    where = _device_name() if found["torch"] != NOT_INSTALLED else "no device"
    print(
        f"colab_utils {found['colab_utils']} | Python {found['python']} | torch {found['torch']} |"
        f" {where}"
    )


def _device_name() -> str:
    """The device with the name of the GPU, such as "cuda (Tesla T4)"."""
    if device() == "cpu":
        return "cpu"
    import torch

    return f"cuda ({torch.cuda.get_device_name()})"


def environment() -> dict:
    """What a result was made with, as plain JSON values: versions, platform, device, Colab release
    and commit.

    It is recorded beside each run and is not part of the run's hash.
    """
    return {
        "versions": versions(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "device": _device_name(),
        "colab": os.environ.get("COLAB_RELEASE_TAG", ""),
        "commit": commit(),
    }


def commit() -> str:
    """The commit that the package comes from: of its checkout ("-dirty" when tracked files were
    changed), or the one pip recorded.

    "unknown" where neither can be read, such as in a copied folder.
    """
    package = pathlib.Path(__file__).resolve().parent
    if (package.parent / ".git").exists():
        return _git_commit(package.parent)
    try:
        record = importlib.metadata.distribution("colab_utils").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        record = None
    return json.loads(record or "{}").get("vcs_info", {}).get("commit_id", "unknown")


def _git_commit(root: pathlib.Path) -> str:
    """HEAD of the checkout at `root`, or "unknown" where git is missing or refuses."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (
            "-dirty" if git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
