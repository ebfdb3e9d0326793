"""The figures of notebook 04: what is drawn equals what was given, and nothing is cut off."""

import numpy as np
import pandas as pd
import pytest
from drawn import assert_nothing_is_cut_off, assert_saved_exactly, line, words

from colab_utils.methods.da_mldg import domains_figure, gamma_figure

NAMES = ["ERM", "DA-MLDG"]


@pytest.fixture
def domains():
    """Two algorithms on three targets, as `targets_table` gives them."""
    rows = []
    for target, uar, majority in (("EmoDB", 0.5, 0.34), ("SAVEE", 0.3, 0.2), ("ShEMO", 0.4, 0.61)):
        for name, more in (("ERM", 0), ("DA-MLDG", 0.02)):
            rate = uar + more
            rates = rate, rate - 0.05, rate + 0.06, 0.2, rate + 0.03, majority
            rows.append((name, target, *rates, "speaker"))
    columns = ["uar", "low", "high", "chance", "wa", "majority", "ci_unit"]
    return pd.DataFrame(rows, columns=["algorithm", "target", *columns])


def records(weight=0.0):
    """Sixty steps of a training, whose weight is gamma and so much more."""
    made = []
    for step, gamma in enumerate(np.random.default_rng(0).uniform(0, 0.4, 60)):
        made.append({"step": step + 1, "loss": 1.0, "gamma": gamma, "weight": gamma + weight})
    return made


def test_points_of_the_domains_are_the_rates_of_their_target(domains):
    figure = domains_figure(domains, "Leave one corpus out", ["Synthetic corpus: x."])
    left, right = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["EmoDB", "SAVEE", "ShEMO"]
    centres = left.get_yticks()
    for number, name in enumerate(NAMES):
        part = domains[domains["algorithm"] == name]
        points = line(left, name)
        np.testing.assert_allclose(points.get_xdata(), 100 * part["uar"])
        np.testing.assert_allclose(points.get_ydata(), centres + 0.5 - number)
        np.testing.assert_allclose(right.lines[number].get_xdata(), 100 * part["wa"])
        np.testing.assert_allclose(right.lines[number].get_ydata(), points.get_ydata())
        bars = [bar[:, 0] for bar in left.collections[number].get_segments()]
        np.testing.assert_allclose(bars, 100 * part[["low", "high"]])
    for axes, column in ((left, "chance"), (right, "majority")):
        marks = axes.collections[-1].get_segments()
        expected = 100 * domains.groupby("target")[column].first()
        np.testing.assert_allclose([mark[0, 0] for mark in marks], expected)
        for mark, centre in zip(marks, centres, strict=True):
            assert mark[:, 1].min() < centre < mark[:, 1].max()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [*NAMES, "chance", "always the commonest class"]
    for said in ("95 % interval of the UAR over speakers", "Leave one corpus out", "corpus: x."):
        assert said in words(figure)
    labels = left.get_xlabel(), right.get_xlabel(), left.get_ylabel()
    assert labels == ("UAR (%)", "WA (%)", "Target corpus")
    assert_nothing_is_cut_off(figure)


def test_the_rows_without_training_have_a_look_of_their_own(domains):
    heads = []
    for name in ("recommended", "linear"):
        heads.append(domains[domains["algorithm"] == "ERM"].assign(algorithm=name))
    figure = domains_figure(pd.concat([*heads, domains]))
    left = figure.axes[0]
    looks = {}
    for name in ("recommended", "linear", *NAMES):
        points = line(left, name)
        looks[name] = points.get_marker(), points.get_color()
    alone = domains_figure(domains).axes[0]
    for name in NAMES:
        points = line(alone, name)
        assert looks[name] == (points.get_marker(), points.get_color()), "as without them"
    assert len(set(looks.values())) == 4 and looks["recommended"][0] == "*"
    assert_nothing_is_cut_off(figure)


def test_a_legend_of_all_algorithms_fits(domains):
    names = ["recommended", "linear", "erm", "mldg", "da-mldg", "rsc", "coral", "worst domain"]
    one = domains[domains["algorithm"] == "ERM"]
    figure = domains_figure(pd.concat([one.assign(algorithm=name) for name in names]))
    assert_nothing_is_cut_off(figure)


def test_gaps_stay_gaps_and_what_cannot_be_told_apart_is_refused(domains):
    domains.loc[0, ["low", "high"]] = np.nan
    figure = domains_figure(domains.drop(index=1))
    assert len(line(figure.axes[0], "DA-MLDG").get_xdata()) == 2
    assert_nothing_is_cut_off(figure)
    twice = pd.concat([domains, domains.head(1)])
    many = pd.concat([domains.head(1).assign(algorithm=f"{i}") for i in range(7)])
    for table, told in (
        (domains.head(0), "no results"),
        (twice, "ERM stands twice for EmoDB"),
        (many, "7 algorithms: at most 6"),
    ):
        with pytest.raises(ValueError, match=told):
            domains_figure(table)


def test_gamma_is_drawn_as_it_was_recorded():
    figure = gamma_figure(records(), "DA-MLDG", pd.DataFrame({"corpus": ["synthetic-phone"]}))
    (axes,) = figure.axes
    raw = np.array([record["gamma"] for record in records()])
    each, mean = axes.lines  # a weight that is gamma is not drawn twice
    np.testing.assert_allclose(each.get_xydata(), np.stack([np.arange(1, 61), raw], axis=1))
    np.testing.assert_allclose(mean.get_ydata()[2:], np.convolve(raw, np.ones(3) / 3, "valid"))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Training step", "Gamma (domain shift)")
    assert axes.get_ylim()[0] == 0
    for said in (f"mean {raw.mean():.3g}, largest {raw.max():.3g}", "DA-MLDG", "Synthetic corpus"):
        assert said in words(figure)
    assert_nothing_is_cut_off(figure)


def test_a_weight_that_is_not_gamma_is_drawn_beside_it():
    (axes,) = gamma_figure(records(weight=1.0)).axes
    expected = [record["weight"] for record in records(weight=1.0)]
    np.testing.assert_allclose(axes.lines[2].get_ydata(), expected)
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["gamma", "weight of the meta-test loss"]


@pytest.mark.parametrize("nothing", [[], [{"step": 1, "loss": 0.5}]])
def test_a_training_without_gamma_is_not_drawn(nothing):
    with pytest.raises(ValueError, match="no gamma"):
        gamma_figure(nothing)


def test_domains_are_saved_exactly_and_leave_no_trace_in_pyplot(domains, tmp_path):
    assert_saved_exactly(lambda: domains_figure(domains), tmp_path)


def test_the_legend_names_an_algorithm_with_an_underscore(domains):
    figure = domains_figure(domains.replace({"ERM": "_mine"}))
    names = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert names == ["_mine", "DA-MLDG", "chance", "always the commonest class"]
