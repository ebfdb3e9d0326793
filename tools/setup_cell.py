"""The one source of what every notebook begins with: badge and set-up cell.

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
#@title Set-up: finds the package, installs what is missing (may be run again)
import glob, importlib.util, os, pathlib, subprocess, sys, tempfile, time, zipfile
REPOSITORY = "OWNER/NAME"
NEEDED = {"higher": "higher==0.2.1", "faiss": "faiss-gpu==1.15.1",
          "pytorch_metric_learning": "pytorch-metric-learning==2.9.0",
          "pyworld": "pyworld-prebuilt==0.3.6.post1", "papermill": "papermill==2.7.0"}
if not os.path.exists("/dev/nvidia0"):                  # without a GPU: a gigabyte less
    NEEDED["faiss"] = "faiss-cpu==1.15.1"
COLAB, STAMPED = "COLAB_RELEASE_TAG" in os.environ, not REPOSITORY.startswith("OWNER/")
INIT, ZIP = "colab_utils/__init__.py", "ser_suite*.zip"
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # repeatable on a GPU

def is_there(module):
    importlib.invalidate_caches()
    return getattr(importlib.util.find_spec(module), "origin", None) is not None

def install(*packages):
    print("installing, about a minute:", *packages, end=" ", flush=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", *packages]
    with tempfile.TemporaryFile("w+") as said:     # a full pipe would hold pip up
        pip = subprocess.Popen(command, stderr=said)
        while pip.poll() is None:
            time.sleep(1)
            print(".", end="", flush=True)
        said.seek(0)
        failed = f" pip failed ({said.read().strip()[-300:]})"
        print(failed if pip.returncode else " done")

def unpack(zips):                                       # the newest, into this folder
    for path in sorted(filter(zipfile.is_zipfile, zips), key=os.path.getmtime)[-1:]:
        print("unpacking", path)
        with zipfile.ZipFile(path) as suite:
            suite.extractall()
            roots = [one[:-len(INIT)] for one in suite.namelist() if one.endswith(INIT)]
        sys.path[:0] = map(os.path.abspath, roots[:1])

if not is_there("colab_utils"):
    here = pathlib.Path.cwd()
    around = [str(up) for up in (here, *here.parents) if (up / INIT).is_file()]
    sys.path[:0] = around[:1]
if not is_there("colab_utils"):
    unpack(glob.glob(ZIP) + glob.glob(f"/content/drive/MyDrive/{ZIP}"))
if not is_there("colab_utils") and COLAB and STAMPED:
    install(f"git+https://github.com/{REPOSITORY}")
if not is_there("colab_utils") and COLAB:
    print("Choose ser_suite.zip (`make colab` in the repository makes it). Or put it",
          "into MyDrive and mount Drive before this cell: then nothing is asked.")
    from google.colab import files
    unpack(files.upload())
if not is_there("colab_utils"):
    raise ModuleNotFoundError(
        "colab_utils was not found: on Colab upload ser_suite.zip (`make colab`) in "
        "this cell; elsewhere put it here, or start Jupyter inside the repository")
missing = [package for module, package in NEEDED.items() if not is_there(module)]
if missing and COLAB:
    install(*missing)
elif missing:
    print("Some parts need more packages. In a terminal: pip install", *missing)
from colab_utils import session
session.print_versions()
"""

UPLOAD = "https://colab.research.google.com/#upload=true"
BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"


def setup_cell(repository: str = REPOSITORY) -> str:
    """The text of the set-up cell for a repository "owner/name", without a line end at its end."""
    return TEMPLATE.replace("OWNER/NAME", repository, 1).rstrip("\n")


def badge(notebook: str, repository: str = REPOSITORY) -> str:
    """The Markdown badge that opens a notebook (its file name) in Colab.

    While the repository has no address it opens Colab's dialogue for uploading a notebook.
    """
    if repository == "OWNER/NAME":
        return f"{BADGE}({UPLOAD})"
    link = f"https://colab.research.google.com/github/{repository}/blob/main/notebooks/{notebook}"
    return f"{BADGE}({link})"


SETUP_CELL = setup_cell()
# Colab shows the form instead of the source, JupyterLab three dots.
FORM = {"cellView": "form", "jupyter": {"source_hidden": True}}


def write() -> None:
    """Put the set-up cell first in all notebooks."""
    for path in sorted((REPO / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
        first["source"] = SETUP_CELL.splitlines(keepends=True)
        first["metadata"] = FORM
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    else:
        print(SETUP_CELL)
