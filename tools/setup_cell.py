"""The one source of the cells that every notebook begins with: badge and set-up cell.

python tools/setup_cell.py            prints the set-up cell
python tools/setup_cell.py --write    writes it into all notebooks
"""

from __future__ import annotations

import json
import pathlib
import sys

REPO = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from colab_utils import REPOSITORY  # noqa: E402

TEMPLATE = """\
#@title Set-up: finds the package, installs only what is missing (may be run again, no restart)
import importlib, importlib.util, os, pathlib, subprocess, sys
REPOSITORY = "OWNER/NAME"
NEEDED = {"higher": "higher==0.2.1", "pytorch_metric_learning": "pytorch-metric-learning==2.9.0",
          "faiss": "faiss-gpu==1.15.1", "pyworld": "pyworld-prebuilt==0.3.6.post1",
          "papermill": "papermill==2.7.0"}
if not os.path.exists("/dev/nvidia0"):                      # without a GPU: a gigabyte less
    NEEDED["faiss"] = "faiss-cpu==1.15.1"
COLAB, STAMPED = "COLAB_RELEASE_TAG" in os.environ, not REPOSITORY.startswith("OWNER/")
# before torch is imported: repeatable results on a GPU
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

def is_there(module):
    return getattr(importlib.util.find_spec(module), "origin", None) is not None

def install(*packages):
    command = [sys.executable, "-m", "pip", "install", "--quiet", *packages]
    done = subprocess.run(command, capture_output=True, text=True)
    importlib.invalidate_caches()
    failed = f"pip failed ({done.stderr.strip()[-300:]}) for:"
    print(failed if done.returncode else "installed:", *packages)

missing = [package for module, package in NEEDED.items() if not is_there(module)]
if missing and COLAB:
    install(*missing)
elif missing:
    print("Some parts need more packages. Run in a terminal: pip install", *missing)
here, copy = pathlib.Path.cwd(), pathlib.Path("/content/drive/MyDrive", REPOSITORY.split("/")[1])
if not is_there("colab_utils"):
    found = [str(folder) for folder in (here, *here.parents, copy)
             if (folder / "colab_utils/__init__.py").is_file()]
    sys.path[:0] = found[:1]
if not is_there("colab_utils") and COLAB and STAMPED:
    install(f"git+https://github.com/{REPOSITORY}")
if not is_there("colab_utils"):
    way = "tell the notebooks its address: python tools/set_repo.py <owner>/<name>"
    if STAMPED:
        way = f"pip install git+https://github.com/{REPOSITORY}"
    raise ModuleNotFoundError(
        f"colab_utils was not found. On Colab: copy the repository to {copy}, mount Drive (folder "
        "symbol on the left) and run this cell again. Elsewhere: start Jupyter inside the "
        f"repository. For both: {way}")
from colab_utils import session
session.print_versions()
"""


def setup_cell(repository: str = REPOSITORY) -> str:
    """The text of the set-up cell for a repository "owner/name", without a line end at its end."""
    return TEMPLATE.replace("OWNER/NAME", repository, 1).rstrip("\n")


def badge(notebook: str, repository: str = REPOSITORY) -> str:
    """The Markdown badge that opens a notebook (its file name) in Colab."""
    link = f"https://colab.research.google.com/github/{repository}/blob/main/notebooks/{notebook}"
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})"


SETUP_CELL = setup_cell()


def write() -> None:
    """Put the set-up cell first in all notebooks."""
    for path in sorted((REPO / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
        first["source"] = SETUP_CELL.splitlines(keepends=True)
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    else:
        print(SETUP_CELL)
