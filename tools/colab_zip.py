"""Pack the suite for Colab: `out/ser_suite.zip`, which a notebook's set-up cell takes.

    python tools/colab_zip.py

Needs nothing but Python. The commit stands in the zip, so that results name it.
"""

from __future__ import annotations

import pathlib
import subprocess
import zipfile

REPO = pathlib.Path(__file__).resolve().parent.parent
TARGET = REPO / "out/ser_suite.zip"
# All but the tests; setup.py marks a checkout.
FOLDERS = ("colab_utils", "data_manifests", "notebooks", "tools", "benchmarks", "docs")
FILES = ("*.md", "*.txt", "*.toml", "LICENSE", "CITATION.cff", "setup.py")
LEFT_OUT = {"__pycache__", ".ipynb_checkpoints"}


def packed() -> list[pathlib.Path]:
    """The files that go into the zip."""
    found = [path for name in FILES for path in REPO.glob(name)]
    for folder in FOLDERS:
        inside = (REPO / folder).rglob("*")
        found += [path for path in inside if path.is_file() and not LEFT_OUT & {*path.parts}]
    return sorted(found)


def commit() -> str:
    """The commit of this checkout, or "unknown"."""
    look = ["git", "-C", str(REPO), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.check_output(look, text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def main() -> None:
    """Write the zip and say what to do with it."""
    TARGET.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(TARGET, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as suite:
        for path in packed():
            suite.write(path, pathlib.Path(TARGET.stem, path.relative_to(REPO)))
        suite.writestr(f"{TARGET.stem}/COMMIT", commit())
    size = TARGET.stat().st_size / 1e6
    print(
        f"{TARGET} ({size:.1f} MB): open a notebook in Colab, run its first cell and upload this"
        " zip when it asks; or put it into MyDrive once and mount Drive before that cell"
    )


if __name__ == "__main__":
    main()
