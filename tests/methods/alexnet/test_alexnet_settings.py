"""Settings of AlexNet: presets, empty lines of the form, contradictions."""

import dataclasses

import pytest
from alexnet_toys import SMALL
from run_notebook import read_value

from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.settings import SettingError, with_settings

EMPTY = {
    "features": "logspec",
    "ser_model": "alexnet_gap",
    "pretrained": "",
    "mixup": None,
    "oversampling": None,
    "num_epochs": 0,
    "batch_size": 0,
    "lr": 0.0,
    "seed": 0,
    "n_seeds": 1,
}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"oversampling": True}, "both even out"),
        ({"image_height": 20}, "image_height"),
        ({"ser_model": "vgg"}, "ser_model"),
        ({"stability_loss": "fyp"}, "choose from 'clean', 'both'"),
    ],
)
def test_bad_settings_are_one_sentence(change, told):
    with pytest.raises(SettingError, match=told) as found:
        with_settings(SMALL, **change)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("preset", list(AlexnetConfig.PRESETS))
def test_empty_lines_of_the_form_are_as_the_preset_says(preset):
    config = AlexnetConfig.from_form(preset, {}, **EMPTY)
    assert config == AlexnetConfig.from_preset(preset)
    assert config.preset == preset and config.changed() == {}
    assert AlexnetConfig.from_form(preset, {}, mixup=True).changed() == {"mixup": True}


def test_the_published_padding_is_a_preset_of_its_own():
    paper, released = map(AlexnetConfig.from_preset, ("paper", "paper-as-released"))
    assert (paper.padding, released.padding) == ("floor", "zero")


def test_the_presets_have_the_published_sizes_and_the_released_choices():
    for name in ("paper", "paper-stability", "paper-as-released"):
        config = AlexnetConfig.from_preset(name)
        assert (config.num_epochs, config.batch_size, config.lr) == (100, 64, 1e-4)
        assert config.image_size == (256, 384)
        assert dataclasses.replace(config, features="logmelspec").image_size == (256, 600)
        assert (config.mixup_alpha, config.mixup_larger) == (0.4, True)
    released = AlexnetConfig.from_preset("paper-as-released")
    assert (released.pooling, released.oversampling_of) == ("all", "two-smallest")


@pytest.mark.parametrize(
    ("flag", "weights"),
    [
        (True, "imagenet"),
        ("True", "imagenet"),
        (False, "scratch"),
        ("false", "scratch"),
        ("scratch", "scratch"),
        ("a.npz", "a.npz"),
    ],
)
def test_the_published_flag_pretrained_is_taken(flag, weights):
    for config in (
        AlexnetConfig.from_form("small", {}, pretrained=flag),
        AlexnetConfig.from_form("default", {"pretrained": flag}),
        AlexnetConfig.from_preset("small", pretrained=flag),
        with_settings(SMALL, pretrained=flag),
    ):
        assert config.pretrained == weights
    assert AlexnetConfig.from_preset("paper", pretrained=True).changed() == {}


@pytest.mark.parametrize("text", ["false", "False", "no"])
def test_no_on_the_command_line_is_no(text):
    given = {**EMPTY, "mixup": read_value(text), "oversampling": read_value(text)}
    config = AlexnetConfig.from_form("small", {}, **given)
    assert not config.mixup and not config.oversampling and config.balanced


@pytest.mark.parametrize("word", [True, "true", "True"])
def test_oversampling_takes_the_place_of_balanced_batches(word):
    for given, settings in (
        ({"oversampling": word}, {}),
        ({}, {"oversampling": word}),
        ({"oversampling": word}, {"balanced": None}),
    ):
        config = AlexnetConfig.from_form("small", settings, **given)
        assert config.oversampling and not config.balanced
    with pytest.raises(SettingError, match="both even out"):
        AlexnetConfig.from_form("small", {"balanced": True}, oversampling=word)
