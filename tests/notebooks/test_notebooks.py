"""Every notebook: clean in git, the same set-up cell, thin, and prose."""

import ast
import json

import nbformat
import pytest
import setup_cell
from repo import REPO

NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


def cells(path, kind="code"):
    return [cell for cell in read(path).cells if cell.cell_type == kind]


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_clean_in_git(path):
    raw = json.loads(path.read_text(encoding="utf-8"))
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in raw["cells"]), (
        "clear the outputs"
    )
    assert "widgets" not in raw["metadata"] and len(raw["cells"]) <= 25
    ids = [cell["id"] for cell in raw["cells"]]
    assert len(set(ids)) == len(ids) and all(one.replace("-", "").isalpha() for one in ids), (
        "cell ids are readable names"
    )
    nbformat.validate(read(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_begins_with_badge_and_the_one_setup_cell(path):
    assert setup_cell.badge(path.name) in cells(path, "markdown")[0].source
    assert cells(path)[0].source == setup_cell.SETUP_CELL


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_thin(path):
    """Prose, parameters and calls: what is longer than ten lines lives in the package.

    The first cell is the same everywhere.
    """
    for cell in cells(path)[1:]:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                assert node.end_lineno - node.lineno < 10, (
                    f"{cell.id}: {node.name} belongs in the package"
                )
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells(path)) == 1


MOST_LINES = 80  # of open code: a notebook is prose
ONE_ROOM = {"01": "baselines", "02": "maml", "03": "emofsl", "04": "da_mldg", "05": "alexnet"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_reads_as_prose(path):
    """Few lines, imports at one place, and one import of the notebook's room."""
    lines, importing, rooms = 0, [], []
    for cell in cells(path)[1:]:
        code = [
            line for line in cell.source.split("\n") if line.strip() and not line.startswith("#")
        ]
        lines += len(code)
        names = [
            node
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.ImportFrom) and node.module.startswith("colab_utils")
        ]
        if names:
            importing.append(cell.id)
        rooms += [
            alias.name
            for node in names
            if node.module == "colab_utils.methods"
            for alias in node.names
        ]
        assert not any(node.module.startswith("colab_utils.methods.") for node in names), (
            "a room exports what its notebook needs"
        )
    own_code = [one for one in importing if "own" in one]
    assert len(importing) - len(own_code) <= 1, f"imports in {importing}: one place is enough"
    assert lines <= MOST_LINES, f"{lines} lines of code"
    if path.stem[:2] in ONE_ROOM:
        assert rooms == [ONE_ROOM[path.stem[:2]]]
