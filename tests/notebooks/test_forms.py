"""The forms of the parameter cells: they offer what the settings allow, and say what they mean."""

import ast
import json
import re

import pytest
import setup_cell
import stamp_forms
from repo import REPO

from colab_utils.corpora import cards
from colab_utils.corpora.synthetic.channels import DOMAINS
from colab_utils.methods.da_mldg.algorithms import ALGORITHMS
from colab_utils.protocols.published import load_protocol
from colab_utils.settings import SettingError, is_empty, read_as, with_settings

NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))
# 08 has the settings of whichever methods it is told
WITH_SETTINGS = [path for path in NOTEBOOKS if path.name[:2] not in ("06", "07", "08")]
PARAM = re.compile(
    r"(?P<name>[A-Z_]+) = (?P<value>.*?) +#@param (?P<options>\[.*\])? ?(?P<kind>.*)"
)


def opened(path):
    return json.loads(path.read_text(encoding="utf-8"))


def form(path):
    """The lines of a parameter cell's form: {name: match of PARAM}, and the cell."""
    cell = stamp_forms.parameter_cell(opened(path))
    lines = "".join(cell["source"]).split("\n")
    found = [PARAM.fullmatch(line) for line in lines if not line.startswith("#")]
    assert all(found), "each line of the form is NAME = value  #@param ..."
    return {match["name"]: match for match in found}, cell


def options(path, name):
    """What a drop-down offers."""
    return json.loads(form(path)[0][name]["options"])


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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_set_up_and_parameters_are_forms(path):
    """A title, help above each field, no source on the page."""
    setup = next(cell for cell in opened(path)["cells"] if cell["cell_type"] == "code")
    fields, parameters = form(path)
    for cell in (setup, parameters):
        assert cell["source"][0].startswith("#@title ")
        assert setup_cell.FORM.items() <= cell["metadata"].items()
    lines = "".join(parameters["source"]).split("\n")
    for name in fields:
        place = next(n for n, line in enumerate(lines) if line.startswith(f"{name} = "))
        assert re.match(rf"#@markdown \*\*{name}\*\*: \S", lines[place - 1]), name
    assert "SAVE" in fields and "USE_DRIVE" in fields


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_field_fits_its_value(path):
    """Colab writes texts in quotes, raw ones as they are, and falls over other lists."""
    kinds = {str: "string", bool: "boolean", int: "integer|slider", float: "number|slider"}
    for name, field in form(path)[0].items():
        value = ast.literal_eval(field["value"])
        raw = "raw" in field["kind"]
        if isinstance(value, list | dict | tuple) or value is None:
            assert raw, name
        elif field["options"]:
            assert raw or value in json.loads(field["options"]), name
        else:
            assert raw or re.search(rf'type:"({kinds[type(value)]})"', field["kind"]), name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_decides_a_result_stands_in_the_form(path):
    """No other cell sets a name in capitals, and each that is read there is a field."""
    fields, parameters = form(path)
    cells = [cell for cell in opened(path)["cells"] if cell["cell_type"] == "code"]
    read = set()
    for cell in cells[1:]:
        if cell["source"] == parameters["source"]:
            continue
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            if isinstance(node, ast.Name) and node.id.isupper():
                assert isinstance(node.ctx, ast.Load), f"{node.id} belongs into the form"
                read.add(node.id)
    assert set(fields) - {"FETCH"} <= read <= set(fields)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_open_code_fits_the_page(path):
    for cell in opened(path)["cells"]:
        if cell["cell_type"] == "code" and "cellView" not in cell["metadata"]:
            for line in "".join(cell["source"]).split("\n"):
                assert len(line) <= 88, f"{cell['id']}: {line}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_headings_and_title(path):
    """One title, which says how long it takes and on what; headings make the contents."""
    notebook = opened(path)
    texts = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"]
    headings = re.findall(r"^#+ .*", "\n".join(texts), re.M)
    assert sum(heading.startswith("# ") for heading in headings) == 1
    assert headings[0].startswith(f"# {path.name[1]} · ")
    assert headings[1] == "## Set-up and settings", "above the two forms"
    assert len(headings) >= 5
    (minutes,) = re.findall(r"^\*\*(\d to \d minutes).*; a CPU is enough\.\*\*$", texts[0], re.M)
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| `{path.stem}` \|.*\| {minutes} \|", readme, re.M)
    assert notebook["metadata"]["colab"]["toc_visible"]


def test_drop_downs_offer_what_there_is():
    by_number = {path.name[:2]: path for path in NOTEBOOKS}
    corpora = set(cards.corpus_names()) - {"synthetic"}
    domains = {domain.corpus for domain in DOMAINS}
    assert set(options(by_number["01"], "CORPUS")) == corpora | {"synthetic", "own"}
    for number, name in (("03", "SOURCE"), ("03", "TARGET"), ("05", "CORPUS")):
        offered = {one for one in options(by_number[number], name) if "+" not in one}
        assert offered == corpora | domains, name
    protocols = options(by_number["02"], "PROTOCOL")
    tasks = [task for name in protocols for task in load_protocol(name).tasks]
    assert options(by_number["02"], "TASK") == ["", *tasks]
    assert set(options(by_number["05"], "TASK")) == {"", *load_protocol("alexnet").tasks}
    shown = ast.literal_eval(form(by_number["04"])[0]["ALGORITHMS"]["value"])
    assert set(shown) <= {"recommended", "linear", *ALGORITHMS}


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
