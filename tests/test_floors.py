"""The rooms of the package: imports point down, rooms know nothing of each other, no circle."""

import ast
import pathlib

import pytest
from repo import REPO

PACKAGE = REPO / "colab_utils"
FLOORS = {
    "files": 0,
    "csv_files": 0,
    "utterance_tables": 0,
    "settings": 0,
    "session": 0,
    "progress": 0,
    "drive": 1,
    "corpora": 2,
    "features": 3,
    "protocols": 4,
    "results": 4,
    "models": 4,
    "display": 5,
    "panel": 6,
    "learning": 7,
    "methods": 8,
    "label": 9,
    "voice": 9,
    "ledger": 4,
    "sweeps": 9,
    "sweep_tables": 9,
    "sweep_tasks": 9,
}
SIBLINGS_APART = {
    "protocols": {"features", "results", "models"},
    "results": {"corpora", "features", "protocols", "models"},
    "models": {"corpora", "features", "protocols", "results"},
}
WITHOUT_TORCH = {"corpora", "protocols", "results", "display", "panel"}
ROOMS = {"baselines", "maml", "emofsl", "da_mldg", "alexnet"}
MOST_FILES = 12  # a folder of more than a dozen files gets rooms
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def relative(path):
    return str(path.relative_to(PACKAGE))


def imported(path: pathlib.Path) -> set[str]:
    """Every dotted module that the file imports, wherever in the file the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write colab_utils... in full"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def module_of(path: pathlib.Path) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_point_downwards(path):
    own = part_of(path)
    assert own in FLOORS, f"{own} has no floor yet: give it one in FLOORS"
    named = {name for name in imported(path) if name.startswith("colab_utils.")}
    used = {name.split(".")[1] for name in named} - {"__version__", "REPOSITORY"}
    upwards = {name for name in used if FLOORS[name] > FLOORS[own]}
    upwards |= used & SIBLINGS_APART.get(own, set())
    assert not upwards, f"{path.name} on floor {own} imports {sorted(upwards)}"


@pytest.mark.parametrize("path", [p for p in MODULES if part_of(p) == "methods"], ids=relative)
def test_rooms_of_methods_do_not_know_each_other(path):
    own = path.relative_to(PACKAGE).parts[1].removesuffix(".py")
    if own == "__init__":
        return
    assert own in ROOMS, f"methods/{own} is no room: each notebook has one, {sorted(ROOMS)}"
    others = {
        name
        for name in imported(path)
        for room in ROOMS - {own}
        if name.startswith(f"colab_utils.methods.{room}")
    }
    assert not others, f"{relative(path)} imports {sorted(others)}: what two rooms share lies below"


def test_there_is_no_circle():
    files = {module_of(path): path for path in MODULES}
    uses = {}
    for name, path in files.items():
        targets = set()
        for one in imported(path):
            inside = one if one in files else one.rpartition(".")[0]
            if inside in files and inside != name:
                targets.add(inside)
        uses[name] = targets
    # a package's __init__ gathers its own files: what they import from it by its name is their own
    waiting = dict(uses)
    for name, path in files.items():
        if path.name == "__init__.py":
            waiting[name] = {one for one in uses[name] if not one.startswith(f"{name}.")}
    done = set()
    while True:
        ready = {name for name, targets in waiting.items() if targets <= done} - done
        if not ready:
            break
        done |= ready
    assert set(waiting) == done, f"a circle among {sorted(set(waiting) - done)}"


@pytest.mark.parametrize("folder", sorted({p.parent for p in MODULES}), ids=relative)
def test_a_folder_holds_a_dozen_files_at_most(folder):
    names = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    allowed = 14 if folder.name == "parsers" else MOST_FILES  # one file a corpus
    assert len(names) <= allowed, f"{len(names)} files in {folder.name}: give them rooms"


@pytest.mark.parametrize("path", [p for p in MODULES if part_of(p) in WITHOUT_TORCH], ids=relative)
def test_floors_that_know_nothing_of_torch(path):
    torches = {"torch", "torchaudio", "torchvision"}
    assert not {name for name in imported(path) if name.split(".")[0] in torches}
