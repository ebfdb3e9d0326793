"""Run a notebook from top to bottom without a browser, then make `out/index.html`.

    python tools/run_notebook.py notebooks/01_feature_extraction.ipynb CORPUS=emodb AUDIO=folder

Each NAME=VALUE replaces one line of the notebook's parameter cell; a value is read as Python where
it is Python (5, 0.1, True, ["anger", "sadness"]) and as text otherwise. The executed notebook goes
to out/notebooks/.
"""

from __future__ import annotations

import argparse
import ast
import os
import pathlib
import sys

import papermill

REPO = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))  # also without an installed package: a checkout runs as it is

from colab_utils import files, session  # noqa: E402
from colab_utils.display import report  # noqa: E402


def read_value(text: str) -> object:
    """A Python literal where `text` is one, the text itself otherwise."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def parameters_of(notebook: pathlib.Path) -> set[str]:
    """The names that the notebook's parameter cell sets."""
    return set(papermill.inspect_notebook(str(notebook)))


def run_notebook(notebook: pathlib.Path, parameters: dict, out: pathlib.Path) -> pathlib.Path:
    """Execute `notebook` with `parameters`; returns the executed copy.

    Raises SystemExit for a name the notebook does not have.
    """
    unknown = set(parameters) - (known := parameters_of(notebook))
    if unknown:
        raise SystemExit(
            f"{notebook.name} has no parameter {', '.join(sorted(unknown))}; it has"
            f" {', '.join(sorted(known))}"
        )
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
    arguments = parser.parse_args()
    if bad := [one for one in arguments.parameters if "=" not in one]:
        parser.error(f"{bad[0]!r} is not of the form NAME=VALUE")
    parameters = {
        name: read_value(value)
        for name, value in (one.split("=", 1) for one in arguments.parameters)
    }
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
