"""The code stays readable: short files, short functions, one step a line, documented names."""

import ast
import inspect
import io
import json
import pkgutil
import re
import tokenize

import pytest
from repo import REPO

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60
MOST_TOKENS_A_LINE = 15.0  # on average, in functions of five lines of code or more
# Formulas that read best as they stand in the paper.
FORMULAS: set[str] = set()
FOLDERS = ("colab_utils", "tools", "benchmarks", "tests")
FILES = sorted(path for folder in FOLDERS for path in (REPO / folder).rglob("*.py"))
CODE = [path for path in FILES if REPO / "colab_utils" in path.parents]
LAYOUT = {
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.COMMENT,
    tokenize.ENDMARKER,
}


def relative(path):
    return str(path.relative_to(REPO))


def tokens_by_line(text):
    """{line: tokens}; an f-string is one token on every version of Python."""
    found, inside = {}, 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name = tokenize.tok_name[token.type]
        counted = not inside and token.type not in LAYOUT
        inside += (name == "FSTRING_START") - (name == "FSTRING_END")
        if counted:
            found[token.start[0]] = found.get(token.start[0], 0) + 1
    return found


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def docstring_lines(tree):
    """The lines of all docstrings."""
    found = set()
    for node in ast.walk(tree):
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        if isinstance(node, documented) and ast.get_docstring(node):
            found |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return found


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_file_is_short(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES_OF_A_FILE


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_functions_are_short(path):
    for node in functions(ast.parse(path.read_text())):
        lines = node.end_lineno - node.lineno + 1
        assert lines <= MOST_LINES_OF_A_FUNCTION, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", CODE, ids=relative)
def test_one_step_a_line(path):
    text = path.read_text()
    tree = ast.parse(text)
    counts, documented = tokens_by_line(text), docstring_lines(tree)
    for node in functions(tree):
        inside = range(node.lineno, node.end_lineno + 1)
        lines = [counts[n] for n in inside if n in counts and n not in documented]
        name = f"{path.stem}.{node.name}"
        if len(lines) >= 5 and name not in FORMULAS:
            dense = sum(lines) / len(lines)
            assert dense <= MOST_TOKENS_A_LINE, f"{name}: {dense:.1f} tokens a line"


def names_in_notebook(path):
    """Every `module.name` that a notebook takes from the package: what its user calls."""
    modules, found = {}, set()
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    for cell in cells:
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("colab_utils"):
                modules |= {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                found.add((modules.get(node.value.id), node.attr))
    return {f"{module}.{name}" for module, name in found if module}


def names_in_page(path):
    """Every name that a page imports from the package."""
    found = set()
    for module, names in re.findall(r"^from (colab_utils\S*) import (.+)", path.read_text(), re.M):
        found |= {f"{module}.{name.strip()}" for name in names.split("#")[0].split(",")}
    return found


def names_of_users():
    """What notebooks, README and docs use."""
    pages = [REPO / "README.md", *(REPO / "docs").rglob("*.md")]
    notebooks = (REPO / "notebooks").glob("*.ipynb")
    return sorted(set().union(*map(names_in_page, pages), *map(names_in_notebook, notebooks)))


@pytest.mark.parametrize("name", names_of_users())
def test_what_a_user_calls_is_documented(name):
    thing = pkgutil.resolve_name(name)  # a module, or what is in one
    if not callable(thing):
        return
    text = inspect.getdoc(thing) or ""
    assert text, "no docstring"
    if inspect.isclass(thing):
        return
    signature = inspect.signature(thing)
    for argument in signature.parameters:
        if argument not in ("self", "cls"):
            assert "Args:" in text, "does not say what it takes"
            assert re.search(rf"^\s+\**{argument}\b.*:", text, re.M), f"says nothing of {argument}"
    if signature.return_annotation not in (None, "None", inspect.Signature.empty):
        assert "Returns:" in text, "does not say what it returns"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_sources_are_what_anyone_can_read(path):
    private = "method" + "_facts"
    assert private not in path.read_text(), "cite paper and equation"
