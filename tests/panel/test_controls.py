"""The panel without a browser: settings in, settings out, and what a run may do."""

import dataclasses
import html

import ipywidgets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colab_utils import session
from colab_utils.panel.panel import Panel, error_html
from colab_utils.settings import SettingError, Settings, setting


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    n_shot: int = setting(5, "Support utterances per emotion.", low=1, high=20)
    patience: int = setting(3, "Checks without a gain before stopping.", low=1)
    learning_rate: float = setting(3e-4, "Step size.", low=1e-5, high=1e-1)
    dropout: float = setting(0.3, "Share of units left out.", low=0.0, high=0.9, step=0.1)
    rule: str = setting("nearest", "How a query is labelled.", options=("nearest", "linear"))
    second_order: bool = setting(True, "Differentiate through the inner loop.")
    emotions: tuple = setting(
        ("sadness", "anger"), "Emotions of a task.", options=("anger", "fear", "sadness")
    )
    name: str = setting("", "Name of the run.")
    hidden: int = setting(7, "Not for a panel.", panel=False)
    rare: int = setting(2, "Seldom changed.", low=1, high=9, more=True)


WIDGETS = {
    "n_shot": ipywidgets.IntSlider,
    "patience": ipywidgets.IntText,
    "learning_rate": ipywidgets.FloatLogSlider,
    "dropout": ipywidgets.FloatSlider,
    "rule": ipywidgets.Dropdown,
    "second_order": ipywidgets.Checkbox,
    "emotions": ipywidgets.Checkbox,
    "name": ipywidgets.Text,
    "rare": ipywidgets.IntSlider,
}


def widget_of(panel, name):
    return panel._fields[name]._parts[0]


def text_of(panel):
    return panel._code.value


def test_each_setting_has_its_widget_with_label_and_help():
    panel = Panel(Config, run=print)
    assert {name: type(widget_of(panel, name)) for name in panel._fields} == WIDGETS
    for field in dataclasses.fields(Config):
        if field.name in WIDGETS:
            row = panel._fields[field.name]
            tooltip = (
                row._parts[0].tooltip
                if row._parts[0].has_trait("tooltip")
                else row._parts[0].description_tooltip
            )
            assert tooltip == field.metadata["help"]
            assert field.metadata["help"] in row.box.children[-1].value
    assert widget_of(panel, "learning_rate").description == "learning rate"
    assert panel._fields["name"].box in panel.box.children
    assert panel._fields["rare"].box not in panel.box.children


def test_seldom_changed_settings_are_folded_behind_a_button():
    panel = Panel(Config, run=print)
    rows = panel.box.children
    (button,) = [one for one in rows if isinstance(one, ipywidgets.Button)]
    section = rows[rows.index(button) + 1]
    assert section.children == (panel._fields["rare"].box,)
    assert section.layout.display == "none" and button.description == "Show 1 more settings"
    button.click()
    assert section.layout.display == "flex" and button.description == "Hide 1 more settings"
    button.click()
    assert section.layout.display == "none"


def test_ranges_reach_the_sliders():
    panel = Panel(Config, run=print)
    shot, rate, dropout = (
        widget_of(panel, name) for name in ("n_shot", "learning_rate", "dropout")
    )
    assert (shot.min, shot.max, shot.step) == (1, 20, 1)
    assert (10**rate.min, 10**rate.max) == pytest.approx((1e-5, 1e-1))
    assert (dropout.min, dropout.max, dropout.step, dropout.readout_format) == (0, 0.9, 0.1, ".1f")
    assert [widget.description for widget in panel._fields["emotions"]._parts] == [
        "anger",
        "fear",
        "sadness",
    ]


@pytest.mark.parametrize("version", [7, 8])
def test_a_tag_in_the_name_of_a_choice_is_text(monkeypatch, version):
    """ipywidgets 7 makes HTML of a description, 8 shows it as it is."""
    tag = "<img src=x onerror=alert(1)>"
    has_trait = ipywidgets.Checkbox.has_trait

    def of_version(widget, name):
        return version == 8 if name == "description_allow_html" else has_trait(widget, name)

    monkeypatch.setattr(ipywidgets.Checkbox, "has_trait", of_version)
    field = setting((tag,), "Emotions.", options=(tag, "fear"))
    panel = Panel(None, run=print, choices={"emotions": field})
    shown = html.escape(tag) if version == 7 else tag
    assert [part.description for part in panel._fields["emotions"]._parts] == [shown, "fear"]
    assert panel.chosen == {"emotions": (tag,)}
    assert "<img" not in text_of(panel)


def test_an_untouched_panel_gives_its_start():
    start = Config(n_shot=7, learning_rate=0.00123456789, emotions=("fear",))
    assert Panel(Config, run=print).config == Config()
    assert Panel(start, run=print).config == start


VALID = st.builds(
    Config,
    n_shot=st.integers(1, 20),
    patience=st.integers(1, 10**6),
    rule=st.sampled_from(["nearest", "linear"]),
    learning_rate=st.floats(1e-5, 1e-1).map(lambda x: min(max(float(f"{x:.3g}"), 1e-5), 1e-1)),
    dropout=st.floats(0, 0.9).map(lambda x: round(x, 6)),
    second_order=st.booleans(),
    emotions=st.sampled_from(
        [("anger",), ("anger", "fear"), ("sadness", "anger"), ("anger", "fear", "sadness")]
    ),
    name=st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=8),
)
SHARED = Panel(Config, run=print, form={"n_shot": "SHOTS", "emotions": "EMOTIONS"})


@settings(deadline=None, max_examples=30)
@given(VALID)
def test_any_valid_settings_pass_through_the_widgets_unchanged(config):
    SHARED.set(**{name: getattr(config, name) for name in WIDGETS})
    assert SHARED.config == config
    lines = html.unescape(text_of(SHARED).partition("<pre")[2].partition(">")[2])
    pasted = {}
    exec(lines.removesuffix("</pre>"), pasted)
    assert (pasted["SHOTS"], pasted["EMOTIONS"]) == (config.n_shot, list(config.emotions))
    assert Config.from_form(pasted["PRESET"], pasted["SETTINGS"]) == config


def test_slider_arithmetic_leaves_no_dust_and_stays_in_range():
    panel = Panel(Config, run=print)
    widget_of(panel, "dropout").value = 0.1 + 0.2 + 0.3
    widget_of(panel, "learning_rate").value = 10**-1.0000000000000002
    assert panel.config.dropout == 0.6
    widget_of(panel, "learning_rate").value = 10 ** widget_of(panel, "learning_rate").max
    assert panel.config.learning_rate == 0.1


@dataclasses.dataclass(frozen=True)
class Odd:
    rate: float = setting(0.01, "a range whose ends have many digits", low=1.2345e-4, high=0.12355)


@pytest.mark.parametrize(("end", "value"), [("min", 1.2345e-4), ("max", 0.12355)])
def test_the_ends_of_a_logarithmic_slider_are_the_range(end, value):
    panel = Panel(Odd, run=print)
    widget_of(panel, "rate").value = 10 ** getattr(widget_of(panel, "rate"), end)
    assert panel.config.rate == value


def test_code_follows_the_widgets_and_errors_stand_in_its_place():
    panel = Panel(Config, run=print, form={})
    widget_of(panel, "n_shot").value = 9
    assert "SETTINGS = {&#x27;n_shot&#x27;: 9}" in text_of(panel)
    widget_of(panel, "patience").value = 0
    assert "patience = 0: must be at least 1" in text_of(panel) and panel.run_button.disabled
    with pytest.raises(SettingError, match="patience = 0"):
        _ = panel.config
    panel.reset()
    assert (
        panel.config == Config()
        and not panel.run_button.disabled
        and "SETTINGS = {}" in text_of(panel)
    )


def test_set_refuses_what_cannot_work_and_changes_nothing():
    panel = Panel(Config, run=print)
    with pytest.raises(SettingError, match="n_shot = 99: must be at most 20"):
        panel.set(n_shot=99, rule="linear")
    assert panel.config == Config()
    with pytest.raises(SettingError, match="has no setting 'n_shots': did you mean 'n_shot'"):
        panel.set(n_shots=3)
    with pytest.raises(SettingError, match="n_shot = 0"):
        Panel(Config(n_shot=0), run=print)


def test_run_gets_the_settings_and_everything_is_greyed_out_meanwhile():
    seen = {}

    def run(config):
        seen.update(
            config=config,
            busy=[button.disabled for button in panel._buttons],
            line=panel._busy.line.value,
            slider=widget_of(panel, "n_shot").disabled,
        )
        return "result"

    panel = Panel(Config, run, download=print)
    panel.set(n_shot=3)
    panel.run_button.click()
    assert "Running" in seen.pop("line")
    assert seen == {"config": Config(n_shot=3), "busy": [True] * 3, "slider": True}
    assert panel.result == "result"
    assert (
        not any(button.disabled for button in panel._buttons)
        and not widget_of(panel, "n_shot").disabled
    )
    assert "Done in" in panel._busy.line.value


@pytest.mark.parametrize("error", [ValueError("emotions = (): choose <one>"), KeyboardInterrupt()])
def test_an_error_is_shown_by_the_button_and_raised_by_run_once(error, capsys):
    def run(_config):
        raise error

    panel = Panel(Config, run)
    panel.run_button.click()
    assert (
        not panel.run_button.disabled
        and "Stopped" in panel._busy.line.value
        and panel.result is None
    )
    assert "HTML object" in capsys.readouterr().out, "the error was displayed"
    with pytest.raises(type(error)):
        panel.run_once()


def test_error_html_is_one_sentence_with_the_details_folded():
    try:
        raise ValueError("a <b> & c")
    except ValueError as error:
        page = error_html(error)
    sentence, details = page.split("<details>")
    assert "ValueError: a &lt;b&gt; &amp; c" in sentence and "Traceback" not in sentence
    assert "Traceback" in details and "<b> &" not in page


def test_download_gets_the_last_result_and_the_figures_that_its_run_showed(capsys, monkeypatch):
    given_out, shown = [], {"of the notebook": 1, "matrix": 2}
    monkeypatch.setattr(session, "shown", shown)

    def run(config):
        shown["matrix"] = config.n_shot
        shown[f"curve {config.n_shot}"] = "curve"
        return config.n_shot

    panel = Panel(Config, run=run, download=lambda *given: given_out.append(given))
    panel._buttons[-1].click()
    assert given_out == [] and "press Run first" in capsys.readouterr().out
    panel.run_once()
    panel.set(n_shot=3)
    panel.run_once()
    panel._buttons[-1].click()
    assert given_out == [(3, {"matrix": 3, "curve 3": "curve"})]
    assert len(Panel(Config, run=print)._buttons) == 2, (
        "no Download button without something to download"
    )


def test_choices_stand_before_the_settings_and_reach_the_run_by_name():
    seen = []
    choices = {
        "target": setting("emodb", "which corpus is tested", options=("emodb", "emovo")),
        "emotions": setting(("anger",), "the ways", options=("anger", "fear")),
    }
    panel = Panel(
        Config(n_shot=3, hidden=9),
        run=lambda config, **chosen: seen.append((config, chosen)),
        choices=choices,
        form={"target": "TARGET"},
    )
    panel.set(target="emovo", n_shot=4)
    panel.run_once()
    chosen = {"target": "emovo", "emotions": ("anger",)}
    assert seen == [(Config(n_shot=4, hidden=9), chosen)], "what no panel shows is kept"
    assert panel.chosen == chosen
    assert list(vars(panel.start))[:3] == ["target", "emotions", "n_shot"]
    assert "hidden" not in vars(panel.start)
    with pytest.raises(SettingError, match="target = 'savee': choose from 'emodb', 'emovo'"):
        panel.set(target="savee")
    with pytest.raises(SettingError, match="n_shot = 2.5: a whole number is needed"):
        panel.set(n_shot=2.5)
    assert "TARGET = &#x27;emovo&#x27;\nPRESET" in text_of(panel)
    assert "{&#x27;n_shot&#x27;: 4, &#x27;hidden&#x27;: 9}" in text_of(panel)


def test_a_choice_of_several_needs_one():
    """Where none is left, Run is off and the panel says which choice."""
    panel = Panel(None, run=print, choices={"methods": setting(("a",), "m", options=("a", "b"))})
    widget_of(panel, "methods").value = False
    assert panel.run_button.disabled and "methods: choose one or more" in text_of(panel)


def test_presets_and_hidden_fields_stay_out_of_the_panel():
    start = Own.from_preset("paper", shots=2)
    panel = Panel(start, run=print)
    assert list(vars(panel.start)) == ["shots", "rate"]
    panel.set(shots=9)
    assert (panel.config.preset, panel.config.shots, panel.config.rate) == ("paper", 9, 0.5)


@dataclasses.dataclass(frozen=True)
class Own(Settings):
    PRESETS = {"default": {}, "paper": {"rate": 0.5}}
    shots: int = setting(5, "labels", low=1, high=20)
    rate: float = setting(0.1, "step size", low=0.0, high=1.0)


def test_a_setting_that_no_widget_can_show_is_refused():
    with pytest.raises(SettingError, match="odd = None.*panel=False"):
        Panel(None, run=print, choices={"odd": setting(None, "odd")})


def test_a_panel_of_choices_alone():
    panel = Panel(None, run=lambda **chosen: chosen, choices={"words": setting("", "words")})
    panel.set(words="5shot")
    assert panel.run_once() == {"words": "5shot"} and panel.config is None


def test_every_widget_is_wide_enough_for_its_label():
    style = widget_of(Panel(Config, run=print), "n_shot").style
    width = float(style.description_width.removesuffix("em"))
    assert width >= 0.55 * max(map(len, WIDGETS)), "an em is about twice the width of a letter"
