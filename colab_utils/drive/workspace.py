"""How a notebook begins: where it works, and where its results are looked for."""

import pathlib

import pandas as pd

from colab_utils import files, session
from colab_utils.drive.memory import RESULTS, Memory
from colab_utils.drive.mounting import mount_drive

DAY = 86400.0  # seconds; no copy to Drive takes longer


def open_workspace(
    seed: int = 0, use_drive: bool = False
) -> tuple[pathlib.Path, pathlib.Path | None]:
    """Seed all generators, say where to work, and what earlier sessions left on Drive.

    What killed writers left half-written is removed; figures shown before belong to other
    settings, and are in no later zip. From now on tables show long texts whole.

    Args:
        seed: for all of them.
        use_drive: whether to mount Google Drive.

    Returns:
        The local folder in which everything is made, and MyDrive, or None where it is not asked
        for or cannot be had (one printed sentence says why).

    Example:
        >>> workspace, drive_folder = open_workspace(SEED, USE_DRIVE)
    """
    session.seed_everything(seed)
    session.shown.clear()
    pd.set_option("display.max_colwidth", None)  # tables show all of a sentence
    workspace = session.workspace()
    files.sweep(workspace)
    drive_folder = mount_drive() if use_drive else None
    if drive_folder is not None:
        memory = Memory(workspace, drive_folder)
        files.sweep(memory.there / "memory", seconds=DAY)
        print(memory.found())
    return workspace, drive_folder


def results_folder(wanted: str = "", drive_folder: pathlib.Path | None = None) -> pathlib.Path:
    """Where runs are looked for: the folder that is wanted, else Drive's, else this session's.

    Args:
        wanted: a folder, or "".
        drive_folder: MyDrive, of `open_workspace`, or None.

    Returns:
        The folder; it need not exist.

    Example:
        >>> results_folder("out")
    """
    if wanted:
        return pathlib.Path(wanted).expanduser()
    return drive_folder / RESULTS if drive_folder else session.workspace()
