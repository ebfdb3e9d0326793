"""Settings of EMOFSL: the paper's preset, what a method looks at, what is refused."""

import dataclasses

import pytest
from emofsl_toys import FOUR, config_with, draws, net, source_learner

from colab_utils.methods.emofsl.emofsl import fine_tune, metric_loss
from colab_utils.methods.emofsl.settings import METHODS, TUNING, EmofslConfig
from colab_utils.settings import RESULT, TRAINING, SettingError, check


def test_the_paper_preset_has_table_1():
    paper = EmofslConfig.from_preset("paper")
    values = (
        paper.learning_rate,
        paper.decay,
        paper.epochs,
        paper.alpha,
        paper.beta,
        paper.kappa,
        paper.kappa1,
        paper.kappa2,
        paper.loss_weight,
    )
    assert values == (1e-4, 0.98, 10, 1.0, 0.6, 1.0, 0.6, 0.3, 1.0)
    assert paper.changed() == dataclasses.replace(paper, method="FSTL", seed=3).changed() == {}
    assert dataclasses.replace(paper, shots=15).changed() == {"shots": 15}
    assert dataclasses.replace(paper, alpha=1.1).changed() == {"alpha": 1.1}
    for name in EmofslConfig.PRESETS:
        check(EmofslConfig.from_preset(name))
    with pytest.raises(SettingError, match="choose from default, paper"):
        EmofslConfig.from_preset("best")


def different(one, other):
    """The settings in which two configs differ."""
    return {name for name in dataclasses.asdict(one) if getattr(one, name) != getattr(other, name)}


def changed_everywhere(method):
    """Settings of a method with every number and choice other than in the defaults."""
    values = {
        "method": method,
        "tune_layers": 2,
        "margins": "paper",
        "decision": "prototype",
        "activation": "relu",
        "normalise": False,
        "similarity": "cosine",
        "reduction": "sum",
        "tune": "head" if method == "BTL" else "all",
    }
    for field in dataclasses.fields(EmofslConfig):
        if field.name not in values and field.name != "preset":
            values[field.name] = type(field.default)(field.default * 1.25 + 1)
    return dataclasses.replace(EmofslConfig(), **values)


SHARED = {
    "seed",
    "source_epochs",
    "source_rate",
    "source_batch",
    "source_patience",
    "decay",
    "width",
    "activation",
    "tune_layers",
    "layers_rate",
}
EVERY = {"shots", "n_draws", "seed", "n_seeds", "n_boot"}
TUNED = {"learning_rate", "epochs", "tune", "centre", "normalise", "similarity", "decision"}
METRIC = {
    "BTL": set(),
    "FSTL": {"source_loss_weight", "kappa", "cap", "reduction"},
    "EMOFSL": {
        "source_loss_weight",
        "alpha",
        "beta",
        "kappa1",
        "kappa2",
        "margins",
        "valence",
        "far",
        "reduction",
    },
}


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_does_not_look_at_decides_nothing(method):
    start, config = EmofslConfig(), changed_everywhere(method)
    metric = METRIC[method] | ({"loss_weight"} if METRIC[method] else set())
    expected = SHARED | EVERY | TUNED | metric | {"method"}
    if method == "EMOFSL":
        expected -= {"method", "tune"}  # as in the defaults
    expected -= {"tune"} if method == "FSTL" else set()
    assert different(config.only(), start) == expected
    assert (
        different(config.of_baselines(), dataclasses.replace(start, method="BTL")) == SHARED | EVERY
    )
    same_source = METRIC[method] | ({"normalise"} if METRIC[method] else set())
    assert (
        different(config.of_source(), dataclasses.replace(start, method=method))
        == SHARED | same_source
    )
    plain = dataclasses.replace(config, source_loss_weight=0.0)
    assert plain.of_source() == dataclasses.replace(changed_everywhere("BTL")).of_source()


def test_each_setting_has_one_of_the_scopes():
    scopes = {
        field.metadata["scope"]
        for field in dataclasses.fields(EmofslConfig)
        if field.name != "preset"
    }
    assert scopes == {TRAINING, TUNING, RESULT}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 0.6}, "far emotions need the larger margin"),
        ({"tune": "head"}, "would not move"),
        ({"method": "SVM"}, "choose from 'BTL'"),
        ({"shots": 0}, "at least 1"),
        ({"centre": 1.5}, "at most 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    config = config_with(**changes)
    support, y = draws(1, 2)
    for act in (
        lambda: metric_loss(config, FOUR),
        lambda: fine_tune(net(), support, y, config, None),
        lambda: source_learner(config, n=5),
    ):
        with pytest.raises(SettingError, match=message):
            act()


def test_an_emotion_without_coordinates_is_refused_only_where_it_matters():
    with pytest.raises(SettingError, match="other has no coordinates"):
        metric_loss(config_with(), ["anger", "other"])
    assert metric_loss(config_with(method="FSTL"), ["anger", "other"]) is not None


def test_a_network_of_another_activation_is_refused():
    support, y = draws(1, 2)
    with pytest.raises(SettingError, match="trained with 'relu'"):
        fine_tune(net(activation="relu"), support, y, config_with(), None)
