"""The forms of the parameter cells: they offer what the settings allow, and say what they mean."""

import ast
import json

import pytest
import stamp_forms
from repo import REPO

from colab_utils.settings import SettingError, is_empty, read_as, with_settings

WITH_SETTINGS = [
    path for path in sorted((REPO / "notebooks").glob("*.ipynb")) if not path.name.startswith("06")
]


def opened(path):
    return json.loads(path.read_text(encoding="utf-8"))


def values_of(source):
    """{name: value} of a parameter cell."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


@pytest.mark.parametrize("path", WITH_SETTINGS, ids=lambda path: path.stem)
def test_a_form_agrees_with_the_settings(path):
    notebook = opened(path)
    source = "".join(stamp_forms.parameter_cell(notebook)["source"])
    known = stamp_forms.forms(notebook)
    assert known, "one call of from_form makes the settings"
    assert stamp_forms.stamped(source, known) == source, "run python tools/stamp_forms.py"
    assert set(known) <= set(values_of(source)), "each setting has its line"


@pytest.mark.parametrize("path", WITH_SETTINGS, ids=lambda path: path.stem)
def test_the_values_of_a_form_are_empty_or_allowed(path):
    notebook = opened(path)
    values = values_of("".join(stamp_forms.parameter_cell(notebook)["source"]))
    for name, (config, field) in stamp_forms.forms(notebook).items():
        if field is None:
            config.from_preset(values[name])
        elif is_empty(values[name], field):
            assert not field.metadata["task"], f"{name} is the task: it needs a value"
        else:
            with_settings(config(), **{field.name: read_as(field, values[name])})


@pytest.mark.parametrize("path", WITH_SETTINGS, ids=lambda path: path.stem)
def test_as_shipped_a_form_changes_nothing_of_any_preset(path):
    notebook = opened(path)
    values = values_of("".join(stamp_forms.parameter_cell(notebook)["source"]))
    known = stamp_forms.forms(notebook)
    given = {field.name: values[name] for name, (_, field) in known.items() if field is not None}
    (config,) = {config for config, _ in known.values()}
    for preset in config.PRESETS:
        assert config.from_form(preset, **given).changed() == {}, preset


@pytest.mark.parametrize("path", WITH_SETTINGS, ids=lambda path: path.stem)
def test_each_line_of_a_setting_has_its_help(path):
    notebook = opened(path)
    lines = "".join(stamp_forms.parameter_cell(notebook)["source"]).split("\n")
    for name, (_, field) in stamp_forms.forms(notebook).items():
        place = next(n for n, line in enumerate(lines) if line.startswith(f"{name} = "))
        told = lines[place - 1]
        assert told.startswith(stamp_forms.HELP) and name in told
        assert field is None or field.metadata["help"] in told


def test_a_slider_that_means_nothing_at_zero_begins_there():
    from colab_utils.methods.baselines import BaselineConfig

    by_name = {field.name: field for field in stamp_forms.settings.fields_of(BaselineConfig)}
    line = stamp_forms.annotation(BaselineConfig, by_name["epochs"])
    assert line == '#@param {type:"integer"}'
    assert (
        stamp_forms.annotation(BaselineConfig, by_name["n_folds"])
        == '#@param {type:"slider", min:2, max:20, step:1}'
    )
    with pytest.raises(SettingError):
        BaselineConfig.from_preset("none")
