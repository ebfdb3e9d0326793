"""Maps of embeddings: who stands near whom, the same map for the same seed, every point drawn once
where it belongs.
"""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from test_curves import assert_nothing_is_cut_off, words

from colab_utils.display import curves, maps, style

EMOTIONS, CORPORA = ["anger", "fear", "joy"], ["emodb", "emovo"]


@pytest.fixture(scope="module")
def embedded():
    """90 vectors in three well separated groups by emotion, their rows, and their map."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "utt_id": [f"x/{i}" for i in range(90)],
            "emotion": rng.choice(EMOTIONS, 90),
            "corpus": rng.choice(CORPORA, 90),
        },
        index=np.arange(90) * 2,
    )
    vectors = 6 * rng.normal(size=(3, 60))[rows["emotion"].map(EMOTIONS.index)] + rng.normal(
        size=(90, 60)
    )
    return vectors, rows, maps.embedding_map(vectors, rows)


def test_neighbours_of_the_vectors_are_neighbours_on_the_map(embedded):
    from sklearn.manifold import trustworthiness

    vectors, rows, table = embedded
    assert (
        list(table["utt_id"]) == list(rows["utt_id"])
        and list(table.columns) == [*rows.columns, "x", "y"]
        and "x" not in rows
    )
    places = table[["x", "y"]].to_numpy()
    assert np.isfinite(places).all() and trustworthiness(vectors, places, n_neighbors=5) > 0.9
    nearest = np.argsort(
        np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(90), axis=1
    )[:, 0]
    assert (rows["emotion"].to_numpy()[nearest] == rows["emotion"].to_numpy()).all()


def test_the_same_seed_gives_the_same_map_and_another_perplexity_is_taken_for_few(embedded):
    vectors, rows, table = embedded
    pd.testing.assert_frame_equal(maps.embedding_map(vectors, rows), table)
    assert table.attrs == {"perplexity": 89 / 3, "n": 90}
    few = maps.embedding_map(vectors[:4], rows[:4])
    assert few.attrs["perplexity"] == 1 and np.isfinite(few[["x", "y"]].to_numpy()).all()


def test_of_many_a_sample_is_drawn_which_two_maps_share(embedded):
    vectors, rows, _ = embedded
    before, after = (
        maps.embedding_map(values, rows, seed=3, limit=40) for values in (vectors, vectors[::-1])
    )
    assert (
        len(before) == 40
        and list(before["utt_id"]) == list(after["utt_id"])
        and before.index.is_monotonic_increasing
    )
    assert list(maps.embedding_map(vectors, rows, seed=4, limit=40)["utt_id"]) != list(
        before["utt_id"]
    )
    assert "40 of 90 utterances, t-SNE (perplexity 13)." in words(
        maps.embedding_maps_figure({"before": before, "after": after})
    )


def test_the_place_of_an_utterance_is_its_own_row(embedded):
    vectors, rows, table = embedded
    far = vectors.copy()
    far[[10, 50]] += 400
    places = maps.embedding_map(far, rows).set_index("utt_id")[["x", "y"]]
    others = (places - places.loc["x/10"]).pow(2).sum(axis=1).drop("x/10")
    assert others.idxmin() == "x/50", "the two that were moved away together"


def test_vectors_that_make_no_map_are_refused(embedded):
    vectors, rows, _ = embedded
    broken = vectors.copy()
    broken[7, 3] = np.nan
    for values, table, message in (
        (vectors, rows[:5], "there are 5 rows"),
        (vectors[0], rows, r"shape \(60,\)"),
        (broken, rows, "vector 7 is not finite"),
        (vectors[:3], rows[:3], "3 vectors: a map needs 4"),
        (vectors[:0], rows[:0], "0 vectors"),
    ):
        with pytest.raises(ValueError, match=message):
            maps.embedding_map(values, table)


def points(axes, value):
    """All points of `value`, sorted."""
    found = np.concatenate([line.get_xydata() for line in axes.lines if line.get_gid() == value])
    return found[np.lexsort(found.T)]


def test_every_point_is_drawn_once_in_the_look_of_its_value(embedded):
    _, _, table = embedded
    figure = maps.embedding_maps_figure(
        {"by emotion": table, "by corpus": table},
        ["emotion", "corpus"],
        "EMOFSL",
        ["Synthetic corpus: x."],
    )
    for axes, column in zip(figure.axes, ("emotion", "corpus"), strict=True):
        for value, part in table.groupby(column):
            wanted = part[["x", "y"]].to_numpy()
            np.testing.assert_array_equal(points(axes, value), wanted[np.lexsort(wanted.T)])
        looks = {
            line.get_gid(): (line.get_markerfacecolor(), line.get_marker()) for line in axes.lines
        }
        assert len(set(looks.values())) == table[column].nunique()
        assert [text.get_text() for text in axes.get_legend().get_texts()] == sorted(
            table[column].unique()
        )
        for handle, name in zip(
            axes.get_legend().legend_handles, sorted(table[column].unique()), strict=True
        ):
            assert (handle.get_markerfacecolor(), handle.get_marker()) == looks[name]
    said = words(figure)
    assert (
        "by emotion" in said
        and "EMOFSL" in said
        and "Synthetic corpus: x." in said
        and "90 utterances, t-SNE (perplexity 29.7)" in said
    )
    assert (
        "distances between groups, their sizes, and the axes mean nothing" in said
        and "on its own" not in said
    ), "one map stands there twice"
    assert figure.get_figwidth() == style.TWO_COLUMNS
    assert_nothing_is_cut_off(figure)


def test_two_maps_in_one_colour_key_share_one_legend(embedded):
    _, _, table = embedded
    lacking = table[table["emotion"] != "fear"].copy()
    figure = maps.embedding_maps_figure({"before": table, "after": lacking}, title="One")
    assert len(figure.legends) == 1 and [axes.get_legend() for axes in figure.axes] == [None, None]
    assert [
        text.get_text() for text in figure.legends[0].get_texts()
    ] == EMOTIONS and figure.legends[0].get_title().get_text() == "One"
    looks = [
        {line.get_gid(): line.get_marker() for line in axes.lines if len(line.get_xydata())}
        for axes in figure.axes
    ]
    assert looks[0]["joy"] == looks[1]["joy"] and "fear" not in looks[1]
    assert "Each map was made on its own." in words(figure)
    assert_nothing_is_cut_off(figure)


def test_twelve_values_can_be_told_apart_and_thirteen_are_refused(embedded):
    _, _, table = embedded
    many = table.assign(corpus=[f"c{i % 12:02d}" for i in range(90)])
    axes = maps.embedding_maps_figure({"map": many}, "corpus").axes[0]
    looks = {
        line.get_gid(): (line.get_markerfacecolor(), line.get_markeredgecolor(), line.get_marker())
        for line in axes.lines
    }
    assert len(set(looks.values())) == 12
    edges = {edge if face == "none" else face for face, edge, _ in looks.values()}
    assert edges == set(curves.COLOURS) and all(
        style.contrast(colour, "white") >= 4.5 for colour in edges
    )
    with pytest.raises(ValueError, match="13 values of corpus: at most 12"):
        maps.embedding_maps_figure(
            {"map": table.assign(corpus=[f"c{i % 13}" for i in range(90)])}, "corpus"
        )
    for arguments, message in (
        (({},), "0 maps"),
        ((dict.fromkeys("abcd", table),), "4 maps"),
        (({"a": table}, "speaker"), "no column speaker"),
        (({"a": table}, ["emotion", "corpus"]), "2 columns to colour 1 maps"),
        (({"a": table.drop(columns="y")},), "column y"),
    ):
        with pytest.raises(ValueError, match=message):
            maps.embedding_maps_figure(*arguments)


def test_maps_are_saved_exactly_and_leave_no_trace_in_pyplot(embedded, tmp_path):
    import matplotlib.pyplot as plt

    _, _, table = embedded
    before = dict(matplotlib.rcParams)
    saved = [
        style.save_figure(maps.embedding_maps_figure({"map": table}), tmp_path / name)
        for name in "ab"
    ]
    assert [path.read_bytes() for path in saved[0]] == [path.read_bytes() for path in saved[1]]
    assert (dict(matplotlib.rcParams), plt.get_fignums()) == (before, [])
