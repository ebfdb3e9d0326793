"""Imports inside the package point one way: a module may import its own floor and those below, never one above."""
import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "colab_utils"
FLOORS = {"files": 0, "settings": 0, "session": 0, "progress": 0, "drive": 0, "corpora": 1, "features": 2, "protocols": 2, "results": 2, "models": 2,
          "display": 3, "methods": 4, "sweeps": 5}
SIBLINGS_APART = {"protocols": {"features", "results", "models"}, "results": {"corpora", "features", "protocols", "models"},
                  "models": {"corpora", "features", "protocols", "results"}}
WITHOUT_TORCH = {"corpora", "protocols", "results", "display"}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


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


def part_of(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    own = part_of(path)
    assert own in FLOORS, f"{own} has no floor yet: give it one in FLOORS"
    used = {name.split(".")[1] for name in imported(path) if name.startswith("colab_utils.")} - {"__version__", "REPOSITORY"}
    upwards = {name for name in used if FLOORS[name] > FLOORS[own]} | (used & SIBLINGS_APART.get(own, set()))
    assert not upwards, f"{path.name} on floor {own} imports {sorted(upwards)}"


@pytest.mark.parametrize("path", [p for p in MODULES if part_of(p) in WITHOUT_TORCH], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_floors_that_know_nothing_of_torch(path):
    assert not {name for name in imported(path) if name.split(".")[0] in {"torch", "torchaudio", "torchvision"}}
