"""One notebook file and nothing else, on what looks like Colab: upload the zip, run all, no pause.

The suite is neither installed nor around the notebook; Colab's file dialogue hands over what
`make colab` packs. Read from the messages of the kernel: no cell is silent for more than 5 seconds.
"""

import json
import os
import shutil
import sys
import zipfile

import colab_zip
import nbformat
import pytest
from browser import make_notebook
from message_times import listen
from notebook_runs import embedded_parts
from repo import REPO

from colab_utils import session

LONGEST = 5.0  # seconds
# As in Colab's package: `upload` saves what was chosen in the current folder, `download` says what.
FILES = """
import os, pathlib, shutil
def upload():
    print("[file dialogue]")
    chosen = pathlib.Path(os.environ["UPLOADS"])
    shutil.copy(chosen, ".")
    return {chosen.name: chosen.read_bytes()}
def download(filename):
    print("[download]", filename)
"""
NUMBERS = ["01", "02", "03", "04", "05", "07", "08"]
# what takes long and has been made by notebook 01
PARTS = ("corpora", "features")


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """An empty folder; kernels in it see the libraries, but not the suite."""
    stubs, cwd = tmp_path / "stubs", tmp_path / "content"
    (stubs / "google" / "colab").mkdir(parents=True)
    (stubs / "google" / "colab" / "__init__.py").touch()
    (stubs / "google" / "colab" / "files.py").write_text(FILES)
    cwd.mkdir()
    site = [path for path in sys.path if path.endswith("site-packages")]
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    # -S: the links in site-packages to this checkout are not followed
    command = [sys.executable, "-S", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    about = {"argv": command, "display_name": "bare", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(about))
    monkeypatch.setattr(colab_zip, "TARGET", tmp_path / "ser_suite.zip")
    colab_zip.main()
    for name, value in {
        "JUPYTER_PATH": tmp_path / "jupyter",
        "PYTHONPATH": os.pathsep.join([str(stubs), *site]),
        "COLAB_RELEASE_TAG": "release-colab_20260819",
        "SER_WORKSPACE": tmp_path / "work",
        "UPLOADS": colab_zip.TARGET,
    }.items():
        monkeypatch.setenv(name, str(value))
    return cwd


def text_of(cell) -> str:
    """What a cell printed."""
    return "".join(out.text for out in cell.outputs if out.output_type == "stream")


def through(notebook, cwd, **changed):
    """Run all of one notebook, alone in `cwd`; checks the way in and the silences."""
    path = shutil.copy(REPO / "notebooks" / notebook, cwd)
    silent, cells = listen(path, cwd, **changed)
    codes = [cell for cell in cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in codes), "run to its end"
    assert "Choose ser_suite.zip" in text_of(codes[0])
    assert "[file dialogue]\nunpacking ser_suite.zip\n" in text_of(codes[0])
    assert {cell_id: long for cell_id, long in silent.items() if long > LONGEST} == {}
    assert list(silent) == [cell.id for cell in codes]
    return codes


@pytest.mark.slow
def test_a_silence_is_heard(tmp_path):
    """A cell that works without a word, one that speaks, one that waits for others."""
    work = "import time\nbegin = time.process_time()\nwhile time.process_time() < begin + 0.6: {}"
    cells = work.format("pass"), work.format("print()"), "time.sleep(0.6)"
    notebook = make_notebook(*cells)
    nbformat.write(notebook, tmp_path / "three.ipynb")
    silent, cells = listen(tmp_path / "three.ipynb", tmp_path)
    working, speaking, waiting = (silent[cell.id] for cell in notebook.cells)
    assert working >= 0.55 and speaking < 0.4 and waiting < 0.4


@pytest.mark.slow
def test_upload_and_run_all(bare, embedded_workspace, tmp_path):
    """Notebook 06, which makes its runs itself, to the download at its end."""
    embedded_parts(tmp_path / "work", embedded_workspace, *PARTS)
    codes = through("06_compare_methods.ipynb", bare, SAVE=True)
    printed = "".join(map(text_of, codes))
    assert "no finished runs in" in printed and "  4 runs: synthetic, 6 emotions" in printed
    assert "[download]" in text_of(codes[-1])
    made = sorted((tmp_path / "work" / "runs").glob("*/*/environment.json"))
    assert made
    with zipfile.ZipFile(bare / "ser_suite.zip") as suite:
        commit = suite.read("ser_suite/COMMIT").decode()
    assert {json.loads(one.read_text())["commit"] for one in made} == {commit}
    assert commit == session.commit()


@pytest.mark.long
@pytest.mark.parametrize("number", NUMBERS)
def test_upload_and_run_all_of_each(bare, number):
    (path,) = (REPO / "notebooks").glob(f"{number}*.ipynb")
    codes = through(path.name, bare, SAVE=True)
    assert "[download]" in "".join(map(text_of, codes))
