"""The pictures of notebooks 03 and 04: what is drawn equals what was given, what a reader must know
stands there, and nothing is cut off.
"""

import itertools
import types

import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score
from test_curves import assert_nothing_is_cut_off, line, records, words

from colab_utils.display import matrices, style
from colab_utils.methods.da_mldg import figures as domain_figures
from colab_utils.methods.emofsl import circumplex_figure, figures
from colab_utils.methods.emofsl.layers import figure as layers_figure
from colab_utils.results.metrics import summarise
from colab_utils.results.predictions import PREDICTION_COLUMNS, PredictionError
from colab_utils.results.rates import confusion

LABELS = ["anger", "happiness", "neutral", "sadness"]


def predictions(
    method="EMOFSL",
    right=0.5,
    n_draws=4,
    folds=("0", "1"),
    corpora=("x",),
    labels=LABELS,
    seeds=(0,),
    seed=0,
):
    """Every (seed, draw) tests each clip of 6 speakers once, in the fold of its speaker."""
    rng = np.random.default_rng((seed, sum(map(ord, method))))
    cells = itertools.product(seeds, range(n_draws), corpora, range(6), labels, range(3))
    rows = [
        (
            method,
            "prototype",
            s,
            folds[who % len(folds)],
            draw,
            0,
            f"{corpus}/{who}{label}{i}",
            corpus,
            f"{who:02d}",
            label,
            label if rng.random() < right else rng.choice(labels),
        )
        for s, draw, corpus, who, label, i in cells
    ]
    return pd.DataFrame(rows, columns=list(PREDICTION_COLUMNS))


def test_the_rate_of_a_draw_is_its_pooled_recall():
    tables = {"BTL": predictions("BTL", 0.3, seeds=(0, 7)), "EMOFSL": predictions(seeds=(0, 7))}
    found, alone = (
        figures.uar_by_draw(tables, LABELS, by)
        for by in (("seed", "draw"), ("seed", "fold", "draw"))
    )
    assert (
        list(found.columns) == ["BTL", "EMOFSL"]
        and found.index.names == ["seed", "draw"]
        and len(found) == 8
        and len(alone) == 16
    )
    for name, table in tables.items():
        for (seed, draw), rows in table.groupby(["seed", "draw"]):
            assert found.loc[(seed, draw), name] == pytest.approx(
                balanced_accuracy_score(rows["true"], rows["pred"])
            )
        assert found[name].mean() == pytest.approx(summarise(table, LABELS, 0)["uar"]), (
            "the UAR of a run is the mean of its draws"
        )
        rows = table[(table["seed"] == 7) & (table["fold"] == "1") & (table["draw"] == 2)]
        assert alone.loc[(7, "1", 2), name] == pytest.approx(
            balanced_accuracy_score(rows["true"], rows["pred"])
        )


def test_draws_that_cannot_be_compared_are_refused():
    for tables, message in (
        ({}, "no methods"),
        ({"BTL": predictions().head(0)}, "BTL has no predictions"),
        (
            {"BTL": predictions(), "FSTL": predictions(n_draws=3)},
            "FSTL was tested on other draws than BTL",
        ),
        (
            {"both": pd.concat([predictions(), predictions().assign(rule="head")])},
            r"both holds several .*EMOFSL / prototype",
        ),
    ):
        with pytest.raises(PredictionError, match=message):
            figures.uar_by_draw(tables, LABELS)


def test_points_of_the_draws_are_their_rates_and_lines_join_the_same_draw():
    tables = {
        name: predictions(name, right)
        for name, right in (("BTL", 0.3), ("nearest prototype", 0.4), ("EMOFSL", 0.5))
    }
    figure = figures.draws_figure(
        tables, LABELS, 0.25, "EmoDB to RAVDESS", marks=["Synthetic corpus: x."]
    )
    axes, table = figure.axes[0], 100 * figures.uar_by_draw(tables, LABELS)
    told = [text.get_text().replace("\n", " ") for text in axes.get_xticklabels()]
    for column, name in enumerate(tables):
        np.testing.assert_allclose(
            line(axes, name).get_xydata(), np.stack([np.full(4, column), table[name]], axis=1)
        )
        assert (
            told[column] == f"{table[name].mean():.1f} ± {np.std(table[name], ddof=1):.1f} {name}"
        )
        stem = axes.collections[column].get_segments()[0][:, 1]
        assert list(stem) == pytest.approx(
            [table[name].mean() - table[name].std(), table[name].mean() + table[name].std()]
        )
    joined = [one.get_ydata() for one in axes.lines if list(one.get_xdata()) == [0, 1, 2]]
    np.testing.assert_allclose(joined, table.to_numpy())
    said = words(figure)
    assert (
        "Point: one support draw of 4, pooled over 2 folds. Lines join the same draw." in said
        and "standard deviation of the draws" in said
    )
    assert (
        "chance 25.0" in said
        and axes.get_ylabel() == "UAR (%)"
        and "Synthetic corpus: x." in said
        and "EmoDB to RAVDESS" in said
    )
    assert_nothing_is_cut_off(figure)


def test_one_draw_or_one_method_has_no_spread_and_no_lines():
    one = figures.draws_figure({"EMOFSL": predictions(n_draws=1, folds=("0",))}, LABELS, 0.25)
    assert (
        "±" not in words(one)
        and "Point: one support draw of 1." in words(one)
        and "Lines" not in words(one)
    )
    alone = figures.draws_figure(
        {"EMOFSL": predictions()}, LABELS, 0.25, by=("seed", "fold", "draw")
    )
    assert "one support draw of 8." in words(alone) and "pooled" not in words(alone)
    assert_nothing_is_cut_off(alone)


SHOTS = pd.DataFrame(
    [
        (method, k, 0.3 + 0.02 * k + 0.01 * i, 0.25 + 0.02 * k, 0.37 + 0.02 * k)
        for i, method in enumerate(("BTL", "EMOFSL", "LDA"))
        for k in (1, 5, 10)
        if (method, k) != ("LDA", 1)
    ],
    columns=["method", "k", "uar", "low", "high"],
)
PUBLISHED = pd.DataFrame(
    [("BTL", 5, 0.4917), ("EMOFSL", 5, 0.5143), ("other", 15, 0.4)], columns=["method", "k", "uar"]
)


def test_curves_over_shots_show_rates_intervals_and_the_published_points():
    figure = figures.uar_by_shots_figure(
        SHOTS,
        0.25,
        "IEMOCAP to RAVDESS",
        PUBLISHED,
        grey=["LDA"],
        unit="films",
        marks=["Transductive: x."],
    )
    axes = figure.axes[0]
    for name, part in SHOTS.groupby("method"):
        curve = line(axes, name)
        np.testing.assert_allclose(curve.get_ydata(), 100 * part["uar"])
        assert (abs(curve.get_xdata() - part["k"]) < 0.5).all() and (
            curve.get_color() == style.QUIET
        ) is (name == "LDA")
        bars = next(
            found
            for found in axes.collections
            if np.allclose([bar[0, 0] for bar in found.get_segments()][:1], curve.get_xdata()[:1])
        )
        np.testing.assert_allclose(
            [bar[:, 1] for bar in bars.get_segments()], 100 * part[["low", "high"]]
        )
    at_five = sorted(line(axes, name).get_xdata()[-2] for name in ("BTL", "EMOFSL", "LDA"))
    assert (
        np.diff(at_five) == pytest.approx([at_five[1] - at_five[0]] * 2)
        and at_five[1] - at_five[0] > 0.1
    ), "side by side"
    for row in PUBLISHED.itertuples():
        point = line(axes, f"{row.method}, {figures.PUBLISHED}")
        assert (
            list(point.get_ydata()) == [pytest.approx(100 * row.uar)]
            and point.get_markerfacecolor() == "none"
        )
        assert (
            abs(point.get_xdata()[0] - row.k) < 0.8
            and point.get_xdata()[0] > max(at_five) - 5 + row.k
        ), "beside the bars"
        assert point.get_markeredgecolor() == (
            style.INK if row.method == "other" else line(axes, row.method).get_color()
        )
    assert set(line(axes, "chance").get_ydata()) == {25} and [
        text.get_text() for text in axes.get_xticklabels()
    ] == ["1", "5", "10", "15"]
    said = words(figure)
    assert (
        "published (same protocol only)" in said
        and "95 % interval over films" in said
        and "EMOFSL 51.0" in said
        and "chance 25.0" in said
    )
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "Support utterances a class (k)",
        "UAR (%)",
    ) and "Transductive: x." in said
    assert figure.get_figwidth() == style.WIDE_COLUMN
    assert_nothing_is_cut_off(figure)


def test_finished_runs_become_the_table_of_shots():
    def run(rate, interval):
        return types.SimpleNamespace(metrics={"uar": rate, "uar_ci95": interval})

    runs = {
        ("BTL", 5): run(0.4, [0.3, 0.5]),
        ("BTL", 1): run(0.3, None),
        ("EMOFSL", 5): run(0.45, [0.4, 0.52]),
    }
    table = figures.shots_table(runs)
    assert tuple(table.columns) == figures.SHOTS_COLUMNS and table.iloc[0].to_list() == [
        "BTL",
        5,
        0.4,
        0.3,
        0.5,
    ]
    assert table.loc[1, ["low", "high"]].isna().all()
    axes = figures.uar_by_shots_figure(runs, 0.25).axes[0]
    assert line(axes, "BTL").get_ydata() == pytest.approx([30, 40]), (
        "in the order of k, whatever the order of runs"
    )
    with pytest.raises(PredictionError, match="no runs"):
        figures.uar_by_shots_figure({}, 0.25)


def test_tables_of_shots_that_cannot_be_drawn_are_refused():
    for table, more, message in (
        (SHOTS.head(0), {}, "no methods"),
        (pd.concat([SHOTS, SHOTS.head(1)]), {}, "BTL stands twice at k = 1"),
        (
            SHOTS,
            {"grey": ["ANIL"]},
            "no method 'ANIL' to draw in grey: the table has BTL, EMOFSL, LDA",
        ),
        (
            pd.concat([SHOTS.assign(method=f"{i}", k=i) for i in range(7)]).drop_duplicates(
                ["method", "k"]
            ),
            {},
            "7 methods in colour and 0 in grey",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            figures.uar_by_shots_figure(table, 0.25, **more)
    twelve = pd.concat(
        [SHOTS[SHOTS["method"] == "BTL"].assign(method=f"method {i:02d}") for i in range(12)]
    )
    figure = figures.uar_by_shots_figure(
        twelve, 0.25, grey=[f"method {i:02d}" for i in range(6, 12)]
    )
    looks = {
        (one.get_color(), one.get_marker())
        for one in figure.axes[0].lines
        if one.get_label().startswith("method")
    }
    assert len(looks) == 12
    assert_nothing_is_cut_off(figure)


def cells(axes):
    """(upper, lower) texts of a matrix, in reading order."""
    texts = [text.get_text() for text in axes.texts]
    return texts[0::2], [int(text.replace(",", "")) for text in texts[1::2]]


def test_matrices_side_by_side_hold_their_counts_and_one_scale_of_shades():
    tables = {
        name: predictions(name, right)
        for name, right in (("BTL", 0.2), ("FSTL", 0.5), ("EMOFSL", 0.9))
    }
    given = {
        name: (table, summarise(table, LABELS, 200, speaker_independence="independent"))
        for name, table in tables.items()
    }
    figure = matrices.confusion_matrices_figure(given, "EmoDB to RAVDESS, 5-shot")
    for axes, (name, (table, metrics)) in zip(figure.axes, given.items(), strict=True):
        counts = confusion(table["true"], table["pred"], LABELS)
        upper, lower = cells(axes)
        assert lower == counts.ravel().tolist()
        assert upper == [
            f"{100 * share:.0f}" for share in (counts / counts.sum(axis=1, keepdims=True)).ravel()
        ]
        shade = matplotlib.colormaps[style.HEAT](0.62 * counts / counts.sum(axis=1, keepdims=True))
        np.testing.assert_allclose(axes.images[0].get_array(), shade)
        low, high = metrics["uar_ci95"]
        above = axes.get_title().replace("\n", " ").replace("\xa0", " ")
        assert (
            above
            == f"{name} UAR {100 * metrics['uar']:.1f} % ({100 * low:.1f} to {100 * high:.1f}) n ="
            " 72 utterances, 6 speakers"
        )
        assert axes.get_xlabel() == "Predicted emotion"
    assert [axes.get_ylabel() for axes in figure.axes] == ["True emotion", "", ""]
    assert [[text.get_text() for text in axes.get_yticklabels()] for axes in figure.axes][
        0
    ] == LABELS
    said = words(figure)
    assert (
        "Counts are pooled over 4 draws; UAR is the mean over seeds and draws." in said
        and "95 % interval over speakers" in said
    )
    assert (
        said.count("6 test speakers: the interval is indicative") == 1
        and figure.get_figwidth() == style.TWO_COLUMNS
    )
    assert_nothing_is_cut_off(figure)


def test_matrices_of_many_emotions_fit_and_stamps_stand_below():
    labels = ["anger", "boredom", "contempt", "disgust", "fear", "frustration", "happiness"]
    tables = {
        f"method {i}": (predictions(f"m{i}", labels=labels, corpora=("synthetic-a",)), None)
        for i in range(4)
    }
    figure = matrices.confusion_matrices_figure(tables)
    figure.canvas.draw()
    for axes in figure.axes:
        texts = [text.get_window_extent() for text in axes.texts]
        room = axes.get_window_extent().width / len(labels)
        assert all(box.width < room for box in texts)
    assert "Synthetic corpus: not a result on speech." in words(figure)
    assert_nothing_is_cut_off(figure)


def test_matrices_without_predictions_are_refused():
    for results, message in (
        ({}, "0 confusion matrices: pass 1 to 12"),
        (dict.fromkeys(range(13), (predictions(), None)), "13 confusion matrices"),
        ({"BTL": (predictions().head(0), None)}, "BTL has no predictions"),
        (
            {"x": (pd.concat([predictions(), predictions("BTL")]), None)},
            "x holds several methods or rules",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            matrices.confusion_matrices_figure(results)


PLACES = {
    "anger": (-0.5, 0.6, 0.2),
    "happiness": (0.8, 0.5, 0.4),
    "neutral": (0.0, 0.0, 0.0),
    "sadness": (-0.6, -0.3, -0.3),
    "fear": (-0.6, 0.6, 0.1),
}


def levels(emotions=LABELS):
    """The paper's levels: sadness is far from anger and happiness."""
    table = pd.DataFrame("MN", emotions, emotions)
    for other in {"anger", "happiness"} & set(emotions) if "sadness" in emotions else ():
        table.loc["sadness", other] = table.loc[other, "sadness"] = "PN"
    for emotion in emotions:
        table.loc[emotion, emotion] = "PP"
    return table


def test_lines_of_the_circumplex_join_the_pairs_of_their_level():
    figure = circumplex_figure.circumplex_figure(
        PLACES,
        levels(),
        {"PN": 1.0, "MN": 0.6},
        "EMOFSL",
        weights=(0.25, 1.0, 0.0),
        marks=["Mark."],
    )
    axes = figure.axes[0]
    pairs = {one.get_gid(): one for one in axes.lines if one.get_gid()}
    np.testing.assert_allclose(
        pairs.pop("emotions").get_xydata(), [PLACES[emotion][:2] for emotion in LABELS]
    )
    assert len(pairs) == 6
    for name, one in pairs.items():
        ends = name.split("-")
        np.testing.assert_allclose(one.get_xydata(), [PLACES[end][:2] for end in ends])
        look = circumplex_figure.LEVELS[levels().loc[ends[0], ends[1]]]
        assert (one.get_color(), one.get_linewidth()) == (look["color"], look["lw"])
    assert {name for name, one in pairs.items() if one.get_linewidth() > 1.5} == {
        "anger-sadness",
        "happiness-sadness",
    }
    assert {text.get_text() for text in axes.texts} == set(LABELS), (
        "fear has no level and is not drawn"
    )
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "PN: far, at least 1 apart (2 pairs)",
        "MN: nearer, at least 0.6 apart (4 pairs)",
    ]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "Valence (unpleasant to pleasant)",
        "Arousal (calm to excited)",
    )
    said = words(figure)
    assert (
        "(PP) are pulled together" in said
        and "count valence 0.25, arousal 1, not from the length of a line" in said
        and "Mark." in said
    )
    assert "dominance" not in said and "EMOFSL" in said
    assert_nothing_is_cut_off(figure)


def test_graded_margins_stand_on_the_lines_and_tables_and_arrays_are_the_same():
    graded = pd.DataFrame(
        [[0, 0.62, 0.81, 1], [0.62, 0, 0.77, 1], [0.81, 0.77, 0, 0.6], [1, 1, 0.6, 0]],
        LABELS,
        LABELS,
    )
    table = pd.DataFrame.from_dict(
        PLACES, orient="index", columns=["valence", "arousal", "dominance"]
    )
    figure = circumplex_figure.circumplex_figure(table.loc[LABELS], levels().to_numpy(), graded)
    axes = figure.axes[0]
    for one, other in itertools.combinations(LABELS, 2):
        middle = [
            text
            for text in axes.texts
            if text.get_position()
            == pytest.approx(tuple(table.loc[[one, other], ["valence", "arousal"]].mean()))
            and text.get_text()[0].isdigit()
        ]
        assert [text.get_text() for text in middle] == [f"{graded.loc[one, other]:.2f}"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "PN: far, at least 1.00 apart (2 pairs)",
        "MN: nearer, at least 0.60 to 0.81 apart (4 pairs)",
    ]
    plain = circumplex_figure.circumplex_figure(PLACES, levels(["anger", "fear"])).axes[0]
    assert [text.get_text() for text in plain.get_legend().get_texts()] == ["MN: nearer (1 pair)"]


def test_names_of_near_emotions_do_not_touch_each_other():
    at = {f"emotion {i}": (-0.6 + 0.02 * i, 0.5 + 0.01 * i) for i in range(4)} | {
        f"other {i}": (0.5 - 0.1 * i, 0.3 + 0.02 * i) for i in range(4)
    }
    table = pd.DataFrame("MN", list(at), list(at))
    figure = circumplex_figure.circumplex_figure(at, table)
    figure.canvas.draw()
    boxes = [matplotlib.text.Text.get_window_extent(text) for text in figure.axes[0].texts]
    assert len(boxes) == 8 and not any(
        one.shrunk(0.98, 0.9).overlaps(other.shrunk(0.98, 0.9))
        for one, other in itertools.combinations(boxes, 2)
    )
    assert_nothing_is_cut_off(figure)


def test_a_circumplex_that_cannot_be_drawn_is_refused():
    uneven = levels()
    uneven.loc["anger", "neutral"] = "PN"
    for places, table, message in (
        (PLACES, levels(["anger"]), "levels of anger: two emotions or more"),
        (PLACES, levels([]), "levels of no emotion"),
        (PLACES, levels([*LABELS, "awe"]), "awe has no valence and arousal"),
        (PLACES, levels().to_numpy(), r"\(4, 4\) and there are 5"),
        ({**PLACES, "anger": (np.nan, 0.5)}, levels(), "anger has no valence"),
        (PLACES, uneven, "above the diagonal"),
        (PLACES, levels().replace("MN", "XN"), r"levels hold \['XN'\]: each pair is one of PN, MN"),
    ):
        with pytest.raises(ValueError, match=message):
            circumplex_figure.circumplex_figure(places, table)


DOMAINS = pd.DataFrame(
    [
        (algorithm, target, u + d, u + d - 0.05, u + d + 0.06, 0.2, u + d + 0.03, m)
        for target, u, m in (("EmoDB", 0.5, 0.34), ("SAVEE", 0.3, 0.2), ("ShEMO", 0.4, 0.61))
        for algorithm, d in (("ERM", 0), ("DA-MLDG", 0.02))
    ],
    columns=["algorithm", "target", "uar", "low", "high", "chance", "wa", "majority"],
)


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
        for record, g in zip(records(), rng.uniform(0, 0.4, 60), strict=True)
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
        (records(), "no gamma among step, query_loss"),
    ):
        with pytest.raises(ValueError, match=message):
            domain_figures.gamma_figure(nothing)


def test_bars_of_the_layers_are_their_weights():
    weights = np.array([0.1, 0.6, 0.3])
    figure = layers_figure.layer_weights_figure(weights, title="a-b", marks=["Mark."])
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == weights.tolist() and axes.lines[
        0
    ].get_ydata()[0] == pytest.approx(1 / 3)
    assert "Mark." in words(figure) and "all alike" in words(figure)
    assert_nothing_is_cut_off(figure)
    for wrong in ([1.0], [0.5, 0.6], [1.5, -0.5], [[0.5, 0.5]]):
        with pytest.raises(ValueError, match="weights of two layers"):
            layers_figure.layer_weights_figure(wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: figures.uar_by_shots_figure(SHOTS, 0.25),
        lambda: circumplex_figure.circumplex_figure(PLACES, levels()),
        lambda: domain_figures.domains_figure(DOMAINS),
        lambda: figures.draws_figure({"EMOFSL": predictions()}, LABELS, 0.25),
    ],
)
def test_figures_are_saved_exactly_and_leave_no_trace_in_pyplot(make, tmp_path):
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    saved = [style.save_figure(make(), tmp_path / name) for name in "ab"]
    assert [path.read_bytes() for path in saved[0]] == [path.read_bytes() for path in saved[1]]
    assert (dict(matplotlib.rcParams), plt.get_fignums()) == (before, [])
