"""Notebooks run without a browser, as `make run` does it."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

from repo import REPO


def run(notebook: str, workspace: pathlib.Path, *parameters: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            sys.executable,
            str(REPO / "tools" / "run_notebook.py"),
            str(REPO / "notebooks" / notebook),
            *parameters,
        ],
        cwd=REPO,
        env={**os.environ, "SER_WORKSPACE": str(workspace)},
        capture_output=True,
        text=True,
    )


def loaded(printed: str) -> int:
    """How many runs were finished before, as the lines say that a study prints."""
    found = re.findall(r"(?:(\d+) runs|\S+): done before, loaded; nothing is computed", printed)
    return sum(int(number or 1) for number in found)


def only(folder: pathlib.Path, pattern: str) -> pathlib.Path:
    found = sorted(folder.glob(pattern))
    assert len(found) == 1, found
    return found[0]


def embedded_parts(workspace: pathlib.Path, embedded: tuple, *parts: str) -> None:
    """Copy what is costly, `parts` of the embedded workspace, so that it is not made again."""
    for part in parts:
        shutil.copytree(embedded[0] / part, workspace / part)
