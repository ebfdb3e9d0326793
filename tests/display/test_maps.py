"""Maps of embeddings: who stands near whom, the same for the same seed, every point drawn once."""

import numpy as np
import pandas as pd
import pytest
from drawn import assert_nothing_is_cut_off, assert_saved_exactly, words
from matplotlib.colors import to_hex
from sklearn.manifold import trustworthiness

from colab_utils.display import captions, maps, style

EMOTIONS, CORPORA = ["anger", "fear", "joy"], ["emodb", "emovo"]


@pytest.fixture(scope="module")
def embedded():
    """60 vectors in three well separated groups by emotion, their rows, and their map."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "utt_id": [f"x/{i}" for i in range(60)],
            "emotion": rng.choice(EMOTIONS, 60),
            "corpus": rng.choice(CORPORA, 60),
        },
        index=np.arange(60) * 2,
    )
    centres = 6 * rng.normal(size=(3, 55))
    vectors = centres[rows["emotion"].map(EMOTIONS.index)] + rng.normal(size=(60, 55))
    return vectors, rows, maps.embedding_map(vectors, rows)


def test_neighbours_of_the_vectors_are_neighbours_on_the_map(embedded):
    vectors, rows, table = embedded
    assert list(table["utt_id"]) == list(rows["utt_id"])
    assert list(table.columns) == [*rows.columns, "x", "y"]
    places = table[["x", "y"]].to_numpy()
    assert np.isfinite(places).all()
    assert trustworthiness(vectors, places, n_neighbors=5) > 0.9
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(60)
    emotions = rows["emotion"].to_numpy()
    assert (emotions[distances.argmin(axis=1)] == emotions).all()


def test_the_same_seed_gives_the_same_map_and_another_perplexity_is_taken_for_few(embedded):
    vectors, rows, table = embedded
    pd.testing.assert_frame_equal(maps.embedding_map(vectors, rows), table)
    assert table.attrs == {"perplexity": 59 / 3, "n": 60}
    few = maps.embedding_map(vectors[:4], rows[:4])
    assert few.attrs["perplexity"] == 1
    assert np.isfinite(few[["x", "y"]].to_numpy()).all()


def test_of_many_a_sample_is_drawn_which_two_maps_share(embedded, monkeypatch):
    vectors, rows, _ = embedded
    monkeypatch.setattr(maps, "MOST_POINTS", 40)
    before = maps.embedding_map(vectors, rows, seed=3)
    after = maps.embedding_map(vectors[::-1], rows, seed=3)
    assert len(before) == 40 and before.index.is_monotonic_increasing
    assert list(before["utt_id"]) == list(after["utt_id"])
    other = maps.embedding_map(vectors, rows, seed=4)
    assert list(other["utt_id"]) != list(before["utt_id"])
    figure = maps.embedding_maps_figure({"before": before, "after": after})
    assert "40 of 60 utterances, t-SNE (perplexity 13)." in words(figure)


def test_the_place_of_an_utterance_is_its_own_row(embedded):
    vectors, rows, _ = embedded
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
        (vectors[0], rows, r"shape \(55,\)"),
        (broken, rows, "vector 7 is not finite"),
        (vectors[:3], rows[:3], "3 vectors: a map needs 4"),
        (vectors[:0], rows[:0], "0 vectors"),
    ):
        with pytest.raises(ValueError, match=message):
            maps.embedding_map(values, table)


def drawn(axes):
    """{(x, y): (colour in hex, number of corners)} of the points."""
    points = axes.collections[0]
    looks = zip(points.get_facecolors(), points.get_paths(), strict=True)
    found = {}
    for place, (face, path) in zip(points.get_offsets(), looks, strict=True):
        found[tuple(place)] = to_hex(face), len(path.vertices)
    return found


def assert_drawn_once(axes, table, column):
    """Every row is a point, in one look for each value, another for another."""
    points = drawn(axes)
    assert len(points) == len(table)
    looks = {}
    for row in table.itertuples():
        looks.setdefault(getattr(row, column), set()).add(points[row.x, row.y])
    assert all(len(found) == 1 for found in looks.values())
    assert len(set.union(*looks.values())) == len(looks)
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == sorted(map(captions.corpus, looks))
    return looks


def test_every_point_is_drawn_once_in_the_look_of_its_value(embedded):
    _, _, table = embedded
    figure = maps.embedding_maps_figure(
        {"by emotion": table, "by corpus": table},
        ["emotion", "corpus"],
        "EMOFSL",
        ["Synthetic corpus: x."],
    )
    looks = []
    for axes, column in zip(figure.axes, ("emotion", "corpus"), strict=True):
        looks += assert_drawn_once(axes, table, column).values()
    assert len(set.union(*looks)) == len(looks), "no look means an emotion and a corpus"
    said = words(figure)
    assert "by emotion" in said and "EMOFSL" in said and "Synthetic corpus: x." in said
    assert "60 utterances, t-SNE (perplexity 19.7)" in said
    assert "distances between groups, their sizes, and the axes mean nothing" in said
    assert "on its own" not in said, "one map stands there twice"
    assert figure.get_figwidth() == style.TWO_COLUMNS
    assert_nothing_is_cut_off(figure)


def test_a_value_looks_the_same_in_two_maps(embedded):
    _, _, table = embedded
    lacking = table[table["emotion"] != "anger"].copy()
    figure = maps.embedding_maps_figure({"before": table, "after": lacking}, title="One")
    before = assert_drawn_once(figure.axes[0], table, "emotion")
    points = drawn(figure.axes[1])
    for row in lacking.itertuples():
        assert {points[row.x, row.y]} == before[row.emotion]
    assert "Each map was made on its own." in words(figure) and "One" in words(figure)
    assert_nothing_is_cut_off(figure)


def test_the_support_is_ringed_where_there_is_one(embedded):
    _, _, table = embedded
    known = table.assign(role=["support"] * 5 + ["test"] * 55)
    figure = maps.embedding_maps_figure({"before": known})
    (rings,) = [one for one in figure.axes[0].collections if one.get_gid() == "support"]
    np.testing.assert_allclose(rings.get_offsets(), known[["x", "y"]].head(5))
    assert "Ringed: the support" in words(figure)
    assert figure.axes[0].get_legend().get_texts()[0].get_text() == "support"
    assert "Ringed" not in words(maps.embedding_maps_figure({"before": table}))


def test_twelve_values_can_be_told_apart_and_thirteen_are_refused(embedded):
    _, _, table = embedded
    many = table.assign(corpus=[f"c{i % 12:02d}" for i in range(60)])
    figure = maps.embedding_maps_figure({"map": many}, "corpus")
    assert len(assert_drawn_once(figure.axes[0], many, "corpus")) == 12
    assert_nothing_is_cut_off(figure)
    thirteen = table.assign(corpus=[f"c{i % 13}" for i in range(60)])
    with pytest.raises(ValueError, match="13 values of corpus: at most 12"):
        maps.embedding_maps_figure({"map": thirteen}, "corpus")


def test_maps_that_cannot_be_drawn_are_refused(embedded):
    _, _, table = embedded
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
    assert_saved_exactly(lambda: maps.embedding_maps_figure({"map": embedded[2]}), tmp_path)


def test_the_legend_names_every_value(embedded):
    table = embedded[2].replace({"emotion": {"fear": "_fear", "joy": r"$\frac{joy$"}})
    figure = maps.embedding_maps_figure({"map": table})
    figure.png()
    (legend,) = [axes.get_legend() for axes in figure.axes]
    names = [text.get_text().strip() for text in legend.get_texts()]
    assert names == [r"$\frac{joy$", "_fear", "anger"]
