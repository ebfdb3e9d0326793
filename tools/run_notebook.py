"""Run a notebook from top to bottom without a browser, then make `out/index.html`.

    python tools/run_notebook.py notebooks/01_feature_extraction.ipynb CORPUS=emodb AUDIO=folder

Each NAME=VALUE replaces one line of the notebook's parameter cell; a value is read as Python where
it is Python (5, 0.1, True, ["anger", "sadness"]) and as text otherwise. `--settings` takes several
in one text, such as "CORPORA=['emodb', 'emovo'] FEATURES=acoustic": a list, dict or quoted text is
whole, any other value goes on to the next NAME=. The executed notebook goes to out/notebooks/.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import pathlib
import re
import sys

import papermill

REPO = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))  # also without an installed package: a checkout runs as it is

from colab_utils import files, session  # noqa: E402
from colab_utils.display.page import report  # noqa: E402

# where NAME=VALUE begins in a text of several
_BEGIN = re.compile(r"(?<!\S)(?=[A-Z][A-Z0-9_]*=)")


def read_value(text: str) -> object:
    """A Python literal where `text` is one, the text itself otherwise."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two: deep brackets
        return text


def split_settings(text: str) -> list[str]:
    """The NAME=VALUE of several parameters in one text; SystemExit for words before the first."""
    first, *pieces = _BEGIN.split(text)
    if first.strip():
        raise SystemExit(f"{first.strip()!r} is not of the form NAME=VALUE")
    parts: list[str] = []
    for piece in pieces:
        if parts and _is_open(parts[-1].partition("=")[2].strip()):
            parts[-1] += piece
        else:
            parts.append(piece)
    return [part.strip() for part in parts]


def _is_open(value: str) -> bool:
    """Whether a list, dict or quoted text begins that does not end."""
    closed = value[:1] in ("'", '"') and len(value) > 1 and value[-1] == value[0]
    return value.startswith(("[", "{", "'", '"')) and read_value(value) is value and not closed


def parameters_of(notebook: pathlib.Path) -> dict[str, object]:
    """What the notebook's parameter cell sets, by name; SystemExit where there is no notebook."""
    if not notebook.is_file():
        there = sorted(path.stem for path in (REPO / "notebooks").glob("*.ipynb"))
        raise SystemExit(f"{notebook}: no such notebook; there are {', '.join(there)}")
    found = papermill.inspect_notebook(str(notebook))
    return {name: read_value(about["default"]) for name, about in found.items()}


def read_parameters(notebook: pathlib.Path, given: list[str]) -> dict[str, object]:
    """The values for a notebook from NAME=VALUE.

    Where the notebook has a text, a number stays the text that it was (speaker 03), `~` is the home
    folder, and AUDIO is looked for where the command was given.

    Raises SystemExit, in one sentence, for a name that the notebook does not have, and for a list
    or dict that cannot be read.
    """
    defaults = parameters_of(notebook)
    parameters = {}
    for one in given:
        name, _, text = one.partition("=")
        if name not in defaults:
            near = difflib.get_close_matches(name, defaults, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise SystemExit(
                f"{notebook.name} has no parameter {name}{hint}; it has"
                f" {', '.join(sorted(defaults))}"
            )
        value = _fitting(name, text, defaults[name])
        if name == "AUDIO" and isinstance(value, str) and value:
            value = os.path.abspath(value)
        parameters[name] = value
    return parameters


def _fitting(name: str, text: str, default: object) -> object:
    """The value of one parameter whose line in the notebook says `default`."""
    value = read_value(text)
    is_text = isinstance(default, str)
    if is_text and isinstance(value, int | float | complex):
        value = text
    if value is text and text[:1] in ("'", '"') and text[-1] == text[0]:
        value = text[1:-1]  # C:\Users in quotes is no Python
    unread = value is text and default != "" and text.startswith(("[", "{"))
    if unread or (isinstance(default, dict) and value and not isinstance(value, dict)):
        raise SystemExit(
            f"{name}={text}: this is no Python value; write texts in quotes and close all brackets,"
            """ such as ['a', 'b'] or {'a': 1}"""
        )
    return os.path.expanduser(value) if isinstance(value, str) else value


def run_notebook(notebook: pathlib.Path, parameters: dict, out: pathlib.Path) -> pathlib.Path:
    """Execute `notebook` with `parameters`; returns the executed copy."""
    executed = out / "notebooks" / notebook.name
    executed.parent.mkdir(parents=True, exist_ok=True)
    os.environ["SER_WORKSPACE"] = str(out)
    with files.alone(executed, "running this notebook"):
        papermill.execute_notebook(
            str(notebook),
            str(executed),
            parameters,
            kernel_name="python3",
            cwd=str(REPO),
            progress_bar=sys.stderr.isatty(),
            log_output=True,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
        )
    return executed


def main() -> None:
    """Run the notebook of the command line and make the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebook", type=pathlib.Path)
    parser.add_argument("parameters", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--settings", default="", metavar="TEXT", help="several NAME=VALUE in one")
    arguments = parser.parse_args()
    if bad := [one for one in arguments.parameters if "=" not in one]:
        parser.error(f"{bad[0]!r} is not of the form NAME=VALUE")
    given = arguments.parameters + split_settings(arguments.settings)
    parameters = read_parameters(arguments.notebook, given)
    out = session.workspace()
    try:
        executed = run_notebook(arguments.notebook, parameters, out)
    except papermill.PapermillExecutionError as error:
        raise SystemExit(
            f"{arguments.notebook.name} stopped in cell {error.exec_count}: {error.ename}:"
            f" {error.evalue}"
        ) from error
    print(f"executed notebook: {executed}\nopen this page:    {report.build_page(out)}")


if __name__ == "__main__":
    main()
