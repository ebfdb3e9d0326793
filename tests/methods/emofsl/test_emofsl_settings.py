"""Settings of EMOFSL: the paper's preset, what a method looks at, what is refused."""

import dataclasses

import pytest
from emofsl_toys import FOUR, config_with, draws, net, source_learner

from colab_utils.learning.heads import LINEAR
from colab_utils.learning.recipe import RECOMMENDED
from colab_utils.methods.emofsl.emofsl import fine_tune, metric_loss
from colab_utils.methods.emofsl.settings import BASELINES, METHODS, TUNING, EmofslConfig
from colab_utils.settings import INPUT, RESULT, TRAINING, SettingError, check, fields_of


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
    values = {"method": method, "tune_layers": 2, "tune": "head" if method == "BTL" else "all"}
    start = EmofslConfig()
    for field in fields_of(start):
        default, options = field.default, field.metadata["options"]
        if field.name in values:
            continue
        if options:
            values[field.name] = next(one for one in options if one != default)
        elif isinstance(default, bool):
            values[field.name] = not default
        else:
            values[field.name] = type(default)(default * 1.25 + 1)
    values["margins"] = "paper"
    return dataclasses.replace(start, **values)


SOURCE = {
    "seed",
    "source_epochs",
    "source_rate",
    "source_batch",
    "source_patience",
    "source_loss_weight",
    "decay",
    "width",
    "activation",
    "tune_layers",
    "layers_rate",
}
SHARED = {"shots", "n_draws", "n_seeds"}
PLAIN = {"normalisation", "enrolment"}  # none, with which prior_clips decides nothing
TUNED = {"learning_rate", "epochs", "tune", "centre", "normalise", "similarity", "decision"}
METRIC = {
    "BTL": set(),
    "FSTL": {"kappa", "cap", "reduction"},
    "EMOFSL": {"alpha", "beta", "kappa1", "kappa2", "margins", "valence", "far", "reduction"},
}
OF_BASELINES = {
    "source only": set(),
    "nearest prototype": {"nearest"},
    "logistic regression": {"C"},
    "LDA": {"shrinkage"},
}


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_does_not_look_at_decides_nothing(method):
    start, config = EmofslConfig(), changed_everywhere(method)
    metric = METRIC[method] | ({"loss_weight"} if METRIC[method] else set())
    expected = SOURCE | SHARED | PLAIN | TUNED | metric | {"method"}
    if start.margins == "paper":
        expected -= {"margins"}
    expected -= {"method"} if method == "EMOFSL" else set()  # as in the defaults
    expected -= set() if method == "BTL" else {"tune"}
    assert different(config.of_method(method).only(), start) == expected


@pytest.mark.parametrize("baseline", OF_BASELINES)
def test_a_baseline_looks_at_its_own_settings_and_at_the_source(baseline):
    start, config = EmofslConfig(method="BTL"), changed_everywhere("EMOFSL")
    expected = SOURCE | SHARED | PLAIN | OF_BASELINES[baseline] | {"normalise"}
    assert different(config.of_baseline(baseline).only(), start) == expected


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_head_looks_at_no_training_and_recommended_is_normalised_as_it_is(name):
    start, config = EmofslConfig(method="BTL"), changed_everywhere("EMOFSL")
    expected = SHARED | {"seed"} | PLAIN
    if name == RECOMMENDED:
        expected -= {"normalisation"}
    assert different(config.of_baseline(name).only(), start) == expected
    with_clips = EmofslConfig(normalisation="corpus", enrolment=4).of_baseline(name)
    assert with_clips.enrolment == 4
    assert with_clips.normalisation == ("speaker" if name == RECOMMENDED else "corpus")


def test_layers_that_learn_take_features_as_they_come_unless_it_is_said_otherwise(capsys):
    for layers in (2, "2"):
        config = EmofslConfig.from_form("default", {"tune_layers": layers}, normalisation="")
        assert config.normalisation == "none" and config.tune_layers == 2
        assert capsys.readouterr().out.startswith("normalisation: none")
    assert EmofslConfig.from_form("default", tune_layers="0").normalisation == "speaker"
    assert capsys.readouterr().out == ""
    with pytest.raises(SettingError, match="layers that learn take features as they come"):
        EmofslConfig.from_form("default", tune_layers=2, normalisation="corpus")


def test_all_methods_and_baselines_ask_for_one_source_model():
    config = dataclasses.replace(changed_everywhere("EMOFSL"), source_loss_weight=0.0)
    start = EmofslConfig(method="BTL")
    assert different(config.of_source(), start) == (SOURCE | PLAIN) - {"source_loss_weight"}
    metric = dataclasses.replace(config, source_loss_weight=5.0)
    expected = SOURCE | PLAIN | METRIC["EMOFSL"] | {"normalise"}
    expected -= {"margins"} if EmofslConfig().margins == "paper" else set()
    assert different(metric.of_source(), EmofslConfig()) == expected
    for one in (config, metric):
        asked = {one.of_method(method).of_source() for method in METHODS}
        asked |= {one.of_baseline(name).of_source() for name in OF_BASELINES}
        assert asked == {one.of_source()}


@pytest.mark.parametrize("preset", EmofslConfig.PRESETS)
def test_a_preset_stays_in_every_row_and_only_what_the_row_looks_at_counts_as_changed(preset):
    config = EmofslConfig.from_preset(preset, shots=2, alpha=1.9, C=3.0)
    rows = {name: config.of_method(name) for name in METHODS}
    rows |= {name: config.of_baseline(name) for name in OF_BASELINES}
    changed = {name: {"shots": 2} for name in rows}
    changed["EMOFSL"]["alpha"] = 1.9
    changed["logistic regression"]["C"] = 3.0
    assert {name: row.changed() for name, row in rows.items()} == changed
    assert {row.preset for row in rows.values()} == {preset}


def test_each_setting_has_one_of_the_scopes():
    scopes = {field.metadata["scope"] for field in fields_of(EmofslConfig)}
    of_baselines = [name for name in OF_BASELINES if OF_BASELINES[name]]
    assert scopes == {INPUT, TRAINING, TUNING, RESULT, *of_baselines}
    assert set(BASELINES) == {*LINEAR, *OF_BASELINES}


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
