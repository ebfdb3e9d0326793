"""The one source of the cells that every notebook begins with: the badge that opens it in Colab,
and the set-up cell.

    python tools/setup_cell.py          prints the set-up cell
"""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from colab_utils import REPOSITORY  # noqa: E402

TEMPLATE = """\
#@title Set-up: finds the package, installs only what is missing (may be run again, needs no restart)
import importlib, importlib.util, os, pathlib, subprocess, sys
REPOSITORY = "OWNER/NAME"
NEEDED = {"higher": "higher==0.2.1", "pytorch_metric_learning": "pytorch-metric-learning==2.9.0", "faiss": "faiss-gpu==1.15.1",
          "pyworld": "pyworld-prebuilt==0.3.6.post1", "papermill": "papermill==2.7.0"}
if not os.path.exists("/dev/nvidia0"): NEEDED["faiss"] = "faiss-cpu==1.15.1"     # without a GPU: a gigabyte less
COLAB, STAMPED = "COLAB_RELEASE_TAG" in os.environ, not REPOSITORY.startswith("OWNER/")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")     # before torch is imported: repeatable results on a GPU
def is_there(module):
    return getattr(importlib.util.find_spec(module), "origin", None) is not None
def install(*packages):
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *packages], capture_output=True, text=True)
    importlib.invalidate_caches()
    print("installed:" if done.returncode == 0 else f"pip failed ({done.stderr.strip()[-300:]}) for:", *packages)
missing = [package for module, package in NEEDED.items() if not is_there(module)]
if missing and COLAB: install(*missing)
elif missing: print("Some parts need more packages. Run in a terminal: pip install", *missing)
here, drive_copy = pathlib.Path.cwd(), pathlib.Path("/content/drive/MyDrive", REPOSITORY.split("/")[1])
found = [str(folder) for folder in (here, *here.parents, drive_copy) if (folder / "colab_utils/__init__.py").is_file()]
if not is_there("colab_utils"): sys.path[:0] = found[:1]
if not is_there("colab_utils") and COLAB and STAMPED: install(f"git+https://github.com/{REPOSITORY}")
if not is_there("colab_utils"):
    way = f"pip install git+https://github.com/{REPOSITORY}" if STAMPED else "tell the notebooks its address: python tools/set_repo.py <owner>/<name>"
    raise ModuleNotFoundError(f"colab_utils was not found. On Colab: copy the repository to {drive_copy}, mount Drive (folder symbol on the "
                              f"left) and run this cell again. Elsewhere: start Jupyter inside the repository. For both: {way}")
from colab_utils import session
session.print_versions()
"""


def setup_cell(repository: str = REPOSITORY) -> str:
    """The text of the set-up cell for the repository `repository` ("owner/name"), without a line
    end at its end.
    """
    return TEMPLATE.replace('REPOSITORY = "OWNER/NAME"', f'REPOSITORY = "{repository}"').rstrip(
        "\n"
    )


def badge(notebook: str, repository: str = REPOSITORY) -> str:
    """The Markdown badge that opens notebooks/`notebook` (a file name such as
    "02_maml_training.ipynb") in Colab.
    """
    link = f"https://colab.research.google.com/github/{repository}/blob/main/notebooks/{notebook}"
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})"


SETUP_CELL = setup_cell()

if __name__ == "__main__":
    print(SETUP_CELL)
