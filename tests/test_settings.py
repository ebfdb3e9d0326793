"""Settings: types, ranges, presets, scopes, what `help` says, and the grammar of all cells."""

import dataclasses
import importlib
import pydoc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.settings import (
    RESULT,
    SettingError,
    Settings,
    as_dict,
    as_form,
    as_list,
    setting,
    with_settings,
)


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    PRESETS = {"default": {}, "paper": {"rate": 0.5, "mixup": True, "shots": 3}}
    method: str = setting("plain", "which", options=("plain", "pairs"), task=True)
    shots: int = setting(5, "support utterances", low=1, high=50, step=1)
    rate: float = setting(0.1, "learning rate", low=0.001, high=1.0)
    weight: float = setting(0.0, "of the noise", low=0.0, high=2.0)
    margin: float = setting(1.0, "between pairs", low=0.0, high=2.0, used={"method": ("pairs",)})
    mixup: bool = setting(False, "mix pairs")
    name: str = setting("", "a file")
    parts: tuple = setting(("head",), "what learns", options=("head", "body"))
    hop: int = setting(150, "of the test", low=30, high=300, scope=RESULT)
    ways: int = setting(4, "classes", low=2, high=8, task=True)
    panelless: int = setting(1, "in code only", low=1, high=9, panel=False)

    def rules(self):
        if self.mixup and self.weight:
            raise SettingError("mixup with weight: choose one")


def told(function, *arguments, **named):
    with pytest.raises(SettingError) as found:
        function(*arguments, **named)
    assert "\n" not in str(found.value)
    return str(found.value)


def test_other_values_make_another_object_and_leave_the_first_as_it_was():
    first = Config()
    assert with_settings(first, rate=0.2, shots=3) == dataclasses.replace(first, rate=0.2, shots=3)
    assert first == Config() == with_settings(first)


@pytest.mark.parametrize(
    ("config", "values", "words"),
    [
        (
            Config(),
            {"raet": 1.0},
            "Config has no setting 'raet': did you mean 'rate'? There are method",
        ),
        (Config(), {"colour": 1.0}, "Config has no setting 'colour': There are method, shots"),
        (Config(), {"preset": "paper"}, "Config has no setting 'preset'"),
        (Config(), {"shots": 0}, "shots = 0: must be at least 1"),
        (Config(), {"shots": 2.5}, "shots = 2.5: a whole number is needed"),
        (Config(), {"shots": 3.0}, "shots = 3.0: a whole number is needed"),
        (Config(), {"shots": True}, "shots = True: a whole number is needed"),
        (Config(), {"rate": "fast"}, "rate = 'fast': a number is needed"),
        (Config(), {"rate": float("nan")}, "rate = nan: a finite number is needed"),
        (Config(), {"mixup": "false"}, "mixup = 'false': choose True or False"),
        (Config(), {"mixup": 1}, "mixup = 1: choose True or False"),
        (Config(), {"name": 3}, "name = 3: a text is needed"),
        (Config(), {"parts": "head"}, "parts = 'head': a tuple is needed, such as ('head',)"),
        (Config(), {"parts": ("tail",)}, "parts = 'tail': choose from 'head', 'body'"),
        (Config(), {"mixup": True, "weight": 1.0}, "mixup with weight: choose one"),
        (LogMel(), {"layer": "all"}, "LogMel has no setting 'layer'"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(config, values, words):
    assert told(with_settings, config, **values).startswith(words)


# --- the grammar of a parameter cell
# ----------------------------------------------------------------


@pytest.mark.parametrize("empty", [None, "", [], (), 0, 0.0])
def test_a_line_left_empty_is_as_the_preset_says(empty):
    form = Config.from_form("paper", shots=empty, rate=empty, mixup=None)
    assert form == Config.from_preset("paper") and form.preset == "paper" and form.changed() == {}


def test_a_zero_that_means_something_is_taken():
    assert Config.from_form("default", weight=0).weight == 0.0
    assert Config.from_form("default", {"weight": 0.5}, weight=0).weight == 0.5


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"mixup": "false"}, False),
        ({"mixup": "False"}, False),
        ({"mixup": "no"}, False),
        ({"mixup": "TRUE"}, True),
        ({"mixup": False}, False),
        ({"shots": "7"}, 7),
        ({"shots": 7.0}, 7),
        ({"rate": "0.25"}, 0.25),
        ({"rate": 1}, 1.0),
        ({"parts": "head, body"}, ("head", "body")),
        ({"parts": ["body"]}, ("body",)),
    ],
)
def test_texts_are_read_where_they_can_only_mean_one_thing(given, taken):
    (name,) = given
    found = getattr(Config.from_form("default", **given), name)
    assert found == taken and type(found) is type(taken)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"shots": 2.5}, "shots = 2.5: a whole number is needed"),
        ({"shots": "many"}, "shots = 'many': a whole number is needed"),
        ({"mixup": "maybe"}, "mixup = 'maybe': choose True or False"),
        ({"shots": -1}, "shots = -1: must be at least 1"),
        ({"shtos": 3}, "Config has no setting 'shtos': did you mean 'shots'"),
    ],
)
def test_what_means_nothing_is_refused(given, words):
    assert told(Config.from_form, "default", **given).startswith(words)
    assert told(Config.from_form, "default", given).startswith(words)


def test_an_unknown_preset_lists_those_there_are():
    assert told(Config.from_form, "papers") == "no preset 'papers': choose from default, paper"


def test_what_was_filled_is_what_changed_and_the_task_is_no_change():
    form = Config.from_form("paper", {"hop": 60}, shots=2, ways=3, method="pairs")
    assert form.preset == "paper" and form.changed() == {"shots": 2, "hop": 60}
    assert dataclasses.replace(form, margin=0.5).changed() == {"shots": 2, "hop": 60, "margin": 0.5}
    unused = dataclasses.replace(form, method="plain", margin=0.5)
    assert "margin" not in unused.changed(), "what is not looked at has not changed"


@given(
    st.lists(
        st.text(st.characters(exclude_characters=","), min_size=1).filter(
            lambda text: text == text.strip() != ""
        ),
        max_size=5,
    )
)
def test_a_list_is_a_text_with_commas_or_a_list(names):
    assert as_list(5) == [5] and as_list(None) == as_list("") == []
    assert as_list(", ".join(names)) == as_list(names) == as_list(tuple(names)) == names


# --- scopes
# ------------------------------------------------------------------------------------------


def test_only_keeps_what_a_scope_decides_and_what_is_looked_at():
    config = Config.from_preset("paper", margin=0.3, hop=60)
    training = config.only("training")
    assert (training.shots, training.rate, training.hop) == (3, 0.5, 150)
    assert training.margin == 1.0 and training.preset == "default"
    assert config.only().hop == 60 and config.only().margin == 1.0
    pairs = dataclasses.replace(config, method="pairs")
    assert pairs.only().margin == pairs.only("training").margin == 0.3


def test_the_same_settings_from_two_presets_are_the_same_training():
    by_hand = Config(rate=0.5, mixup=True, shots=3)
    assert by_hand != Config.from_preset("paper")
    assert by_hand.only() == Config.from_preset("paper").only()


def test_settings_as_json_and_as_lines_of_a_form():
    config = Config.from_preset("paper", parts=("body",), shots=1)
    assert as_dict(config)["parts"] == ["body"] and "preset" not in as_dict(config)
    lines = as_form(config)
    assert lines == "PRESET = 'paper'\nSETTINGS = {'shots': 1, 'parts': ['body']}"
    pasted = {}
    exec(lines, pasted)
    assert Config.from_form(pasted["PRESET"], pasted["SETTINGS"]) == config


# --- what `help` says -----------------------------------------------------------------------------

METHODS = {
    "baselines.settings": ["BaselineConfig"],
    "maml.settings": ["MamlConfig", "EpisodeConfig"],
    "emofsl.settings": ["EmofslConfig"],
    "da_mldg.settings": ["DomainConfig"],
    "alexnet.settings": ["AlexnetConfig"],
}
CONFIGS = [(module, name) for module, names in METHODS.items() for name in names]


def told_by_help(config):
    """What `help(config)` prints, without frame and line ends."""
    page = pydoc.render_doc(config, renderer=pydoc.plaintext)
    return " ".join(page.replace(" |  ", "").split())


@pytest.mark.parametrize(("module", "name"), CONFIGS)
def test_help_prints_every_setting_with_text_default_and_range(module, name):
    config = getattr(importlib.import_module(f"colab_utils.methods.{module}"), name)
    page = told_by_help(config)
    for field in dataclasses.fields(config):
        if field.metadata.get("hidden"):
            continue
        text = f"{field.name}: {field.metadata['help']}. Default {field.default!r}"
        low, high, options = (field.metadata[key] for key in ("low", "high", "options"))
        if options:
            text += f"; choices {', '.join(map(repr, options))}"
        if low is not None:
            text += f"; from {low} to {high}"
        assert f"{text}." in page


def test_help_of_a_subclass_has_its_own_words_and_the_settings_of_the_class_above():
    @dataclasses.dataclass(frozen=True)
    class More(Config):
        """One setting more."""

        extra: float = setting(1.5, "what is new", low=1.0)

    page = told_by_help(More)
    assert "One setting more." in page and "which. Default 'plain'; choices 'plain'" in page
    assert "what is new. Default 1.5; from 1.0." in page
