"""Write ranges, choices and help of settings into the forms of the notebooks' parameter cells.

    python tools/stamp_forms.py            all notebooks
    python tools/stamp_forms.py --check    change nothing; fail where a form does not agree

A line of a parameter cell is a setting where the notebook passes its name to `from_form`, such as
`EmofslConfig.from_form(PRESET, SETTINGS, shots=SHOTS)`. Its `#@param` and the line of help above it
are made from the setting, so that a form never offers what the method refuses.
"""

from __future__ import annotations

import ast
import importlib
import json
import pathlib
import re
import sys
from typing import Any

REPO = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from colab_utils import settings  # noqa: E402

WIDEST_SLIDER = 100  # a wider range of whole numbers is typed in
COLUMN = 26  # where the annotation begins
HELP = "#@markdown "
YES_NO = '#@param ["None", "True", "False"] {type:"raw"}'


def forms(notebook: dict) -> dict[str, tuple[type, Any]]:
    """{name of a line: (config class, field)} of every `from_form` in a notebook.

    The field of the line with the preset's name is None.
    """
    found: dict[str, tuple[type, Any]] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_form":
                found |= _lines(node)
    return found


def _lines(call: ast.Call) -> dict[str, tuple[type, Any]]:
    """The lines that one call of `from_form` reads."""
    room, name = ast.unparse(call.func.value).split(".")
    config = getattr(importlib.import_module(f"colab_utils.methods.{room}"), name)
    by_name = {field.name: field for field in settings.fields_of(config)}
    found = {}
    if call.args:
        found[ast.unparse(call.args[0])] = config, None
    for keyword in call.keywords:
        if isinstance(keyword.value, ast.Name):
            found[keyword.value.id] = config, by_name[keyword.arg]
    return found


def annotation(config: type, field: Any) -> str:
    """The `#@param` of a setting (of the preset where `field` is None)."""
    if field is None:
        return f"#@param {json.dumps(list(config.PRESETS))}"
    meta, kind = field.metadata, type(field.default)
    if kind is bool:
        return YES_NO
    if kind is tuple:
        return '#@param {type:"raw"}'
    if meta["options"]:
        empty = [] if meta["task"] else [""]
        return f"#@param {json.dumps([*empty, *meta['options']])}"
    if kind is str:
        return '#@param {type:"string"}'
    low, high, step = meta["low"], meta["high"], meta["step"]
    begin = low if meta["task"] or low <= 0 else 0
    if step and (high - low) / step <= WIDEST_SLIDER:
        return f'#@param {{type:"slider", min:{begin:g}, max:{high:g}, step:{step:g}}}'
    return f'#@param {{type:"{"integer" if kind is int else "number"}"}}'


def help_line(name: str, config: type, field: Any) -> str:
    """The line above: what the setting is, and what an empty one means."""
    if field is None:
        return f"{HELP}**{name}**: where all settings start; empty lines below are as it says"
    return f"{HELP}**{name}**: {field.metadata['help']}"


def stamped(source: str, known: dict[str, tuple[type, Any]]) -> str:
    """A parameter cell with the annotations of its settings."""
    lines = []
    for line in source.split("\n"):
        name = re.match(r"([A-Z_]+) = ", line)
        if name is None or name.group(1) not in known:
            # a setting's help is written anew, that of other lines stays
            told = line.removeprefix(f"{HELP}**").partition("**")[0]
            if not line.startswith(HELP) or told not in known:
                lines.append(line)
            continue
        config, field = known[name.group(1)]
        value = line.split("#")[0].rstrip()
        lines.append(help_line(name.group(1), config, field))
        lines.append(f"{value:<{COLUMN - 1}} {annotation(config, field)}")
    return "\n".join(lines)


def parameter_cell(notebook: dict) -> dict:
    """The cell tagged `parameters`."""
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            return cell
    raise ValueError("the notebook has no cell tagged 'parameters'")


def main() -> None:
    """Stamp all notebooks, or compare only."""
    stale = []
    for path in sorted((REPO / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cell = parameter_cell(notebook)
        before = "".join(cell["source"])
        after = stamped(before, forms(notebook))
        if after != before:
            stale.append(path.name)
            cell["source"] = after.splitlines(keepends=True)
            if "--check" not in sys.argv:
                text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(
            f"{', '.join(stale)}: the form does not agree with the settings; "
            "run python tools/stamp_forms.py"
        )


if __name__ == "__main__":
    main()
