"""The figures of notebook 04: what is drawn equals what was given, what a reader must know stands
there, and nothing is cut off.
"""

import numpy as np
import pandas as pd
import pytest
from drawn import assert_nothing_is_cut_off, assert_saved_exactly, line, words

from colab_utils.display import style
from colab_utils.methods.da_mldg import figures as domain_figures

DOMAINS = pd.DataFrame(
    [
        (algorithm, target, u + d, u + d - 0.05, u + d + 0.06, 0.2, u + d + 0.03, m)
        for target, u, m in (("EmoDB", 0.5, 0.34), ("SAVEE", 0.3, 0.2), ("ShEMO", 0.4, 0.61))
        for algorithm, d in (("ERM", 0), ("DA-MLDG", 0.02))
    ],
    columns=["algorithm", "target", "uar", "low", "high", "chance", "wa", "majority"],
)


RECORDS = [{"step": i, "query_loss": 2 - i / 60, "query_accuracy": 0.2} for i in range(1, 61)]


def test_points_of_the_domains_are_the_rates_of_their_target():
    figure = domain_figures.domains_figure(
        DOMAINS, "Leave one corpus out", unit="speakers", marks=["Synthetic corpus: x."]
    )
    left, right = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["EmoDB", "SAVEE", "ShEMO"]
    centres = left.get_yticks()
    for number, name in enumerate(("ERM", "DA-MLDG")):
        part = DOMAINS[DOMAINS["algorithm"] == name]
        np.testing.assert_allclose(line(left, name).get_xdata(), 100 * part["uar"])
        np.testing.assert_allclose(line(right, name).get_xdata(), 100 * part["wa"])
        np.testing.assert_allclose(line(left, name).get_ydata(), centres + 0.5 - number)
        np.testing.assert_allclose(
            [bar[:, 0] for bar in left.collections[number].get_segments()],
            100 * part[["low", "high"]],
        )
    for axes, style_of, column in ((left, ":", "chance"), (right, "--", "majority")):
        drawn = [one for one in axes.lines if one.get_linestyle() == style_of]
        assert [one.get_xdata()[0] for one in drawn] == pytest.approx(
            list(100 * DOMAINS.groupby("target")[column].first())
        )
        assert all(
            min(one.get_ydata()) < centre < max(one.get_ydata())
            for one, centre in zip(drawn, centres, strict=True)
        )
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "ERM",
        "DA-MLDG",
        "chance",
        "always the commonest class",
    ]
    said = words(figure)
    assert (
        "95 % interval of the UAR over speakers" in said
        and "Leave one corpus out" in said
        and "Synthetic corpus: x." in said
    )
    assert (left.get_xlabel(), right.get_xlabel(), left.get_ylabel()) == (
        "UAR (%)",
        "WA (%)",
        "Target corpus",
    )
    assert_nothing_is_cut_off(figure)


def test_domains_without_accuracy_have_one_panel_and_gaps_stay_gaps():
    plain = DOMAINS.drop(columns=["wa", "majority", "chance"]).drop(index=1)
    plain.loc[0, ["low", "high"]] = np.nan
    figure = domain_figures.domains_figure(plain)
    assert (
        len(figure.axes) == 1
        and len(line(figure.axes[0], "DA-MLDG").get_xdata()) == 2
        and figure.get_figwidth() == style.WIDE_COLUMN
    )
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ERM", "DA-MLDG"]
    assert_nothing_is_cut_off(figure)
    twice, apart = pd.concat([DOMAINS, DOMAINS.head(1)]), DOMAINS.copy()
    apart.loc[0, "majority"] = 0.9
    many = pd.concat([DOMAINS.head(1).assign(algorithm=f"{i}") for i in range(7)])
    for table, message in (
        (DOMAINS.head(0), "no results"),
        (twice, "ERM stands twice for EmoDB"),
        (many, "7 algorithms: at most 6"),
        (apart, "EmoDB has several values of majority"),
    ):
        with pytest.raises(ValueError, match=message):
            domain_figures.domains_figure(table)


def test_gamma_is_drawn_as_it_was_recorded():
    rng = np.random.default_rng(0)
    made = [
        {**record, "gamma": float(g)}
        for record, g in zip(RECORDS, rng.uniform(0, 0.4, 60), strict=True)
    ]
    figure = domain_figures.gamma_figure(made, "DA-MLDG", ["Mark."])
    axes, raw = figure.axes[0], np.array([record["gamma"] for record in made])
    np.testing.assert_allclose(
        axes.lines[0].get_xydata(), np.stack([np.arange(1, 61), raw], axis=1)
    )
    np.testing.assert_allclose(
        axes.lines[1].get_ydata()[2:], np.convolve(raw, np.ones(3) / 3, "valid")
    )
    assert (axes.get_xlabel(), axes.get_ylabel(), len(axes.lines)) == (
        "Training step",
        "Gamma",
        2,
    ) and axes.get_ylim()[0] == 0
    assert (
        f"mean {raw.mean():.3g}, largest {raw.max():.3g}" in words(figure)
        and "DA-MLDG" in words(figure)
        and "Mark." in words(figure)
    )
    assert_nothing_is_cut_off(figure)
    same = domain_figures.gamma_figure([{**record, "weight": record["gamma"]} for record in made])
    assert len(same.axes[0].lines) == 2, "a weight that is gamma is not drawn twice"
    other = domain_figures.gamma_figure(
        [{**record, "weight": 1 + record["gamma"]} for record in made]
    ).axes[0]
    np.testing.assert_allclose(other.lines[2].get_ydata(), 1 + raw)
    assert [text.get_text() for text in other.get_legend().get_texts()] == [
        "gamma",
        "weight of the meta-test loss",
    ]
    for nothing, message in (
        ([], "no records: nothing to draw"),
        (RECORDS, "no gamma among step, query_loss"),
    ):
        with pytest.raises(ValueError, match=message):
            domain_figures.gamma_figure(nothing)


def test_domains_are_saved_exactly_and_leave_no_trace_in_pyplot(tmp_path):
    assert_saved_exactly(lambda: domain_figures.domains_figure(DOMAINS), tmp_path)
