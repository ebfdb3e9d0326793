"""Retrieval measures against naive loops, with and without faiss; the nearest clips of a query, to
see and to hear.
"""

import builtins
import math

import ipywidgets
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from colab_utils.methods.emofsl import retrieval
from colab_utils.methods.emofsl.retrieval import MEASURES, quality_table


def naive(x, y, queries, references):
    """(precision at 1, R-precision, MAP@R, chance, left out) by sorting every list of distances."""
    values, left = [], 0
    for i in np.flatnonzero(queries):
        others = [j for j in np.flatnonzero(references) if j != i]
        order = sorted(
            others, key=lambda j: sum((a - b) ** 2 for a, b in zip(x[i], x[j], strict=True))
        )
        r = sum(y[j] == y[i] for j in others)
        if r == 0:
            left += 1
            continue
        hits = [y[j] == y[i] for j in order[:r]]
        precision = [sum(hits[: n + 1]) / (n + 1) * hits[n] for n in range(r)]
        values.append(
            (float(y[order[0]] == y[i]), sum(hits) / r, sum(precision) / r, r / len(others))
        )
    return (*np.mean(values, axis=0), left)


@pytest.fixture(params=["faiss", "without faiss"])
def engine(request, monkeypatch):
    """With faiss, and on a machine that has none."""
    if request.param == "faiss":
        pytest.importorskip("faiss")
        return retrieval.FAISS
    real = builtins.__import__

    def refuse(name, *arguments, **more):
        if name == "faiss":
            raise ImportError("no faiss here")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    return retrieval.EXACT


def sample(n=80, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    return (
        rng.normal(size=(n, 6)) + 1.2 * rng.normal(size=(classes, 6))[y],
        np.array(["anger", "fear", "joy", "sadness"])[y],
    )


def check(found, wanted):
    assert [found[name] for name in (*MEASURES, "chance", "left_out")] == pytest.approx(
        list(wanted)
    )


def test_measures_of_all_utterances_among_themselves_equal_naive_loops(engine):
    x, y = sample()
    found = retrieval.retrieval_quality(x, y)
    check(found, naive(x, y, *np.ones((2, 80), dtype=bool)))
    assert (found["search"], found["n_queries"], found["n_references"]) == (engine, 80, 80)
    assert found["precision_at_1"] > found["chance"] + 0.1, "the sample has something to find"


def test_measures_of_queries_in_a_support_set_equal_naive_loops(engine):
    x, y = sample(seed=1)
    queries = np.arange(80) % 3 == 0
    for references in (~queries, np.ones(80, dtype=bool)):
        check(
            retrieval.retrieval_quality(x, y, queries, references), naive(x, y, queries, references)
        )
    support = np.zeros(80, dtype=bool)
    support[[np.flatnonzero(~queries & (y == label))[0] for label in np.unique(y)]] = True
    check(retrieval.retrieval_quality(x, y, queries, support), naive(x, y, queries, support))


def test_queries_with_nobody_to_find_are_counted_and_left_out(engine):
    x, y = sample(seed=2)
    y = y.astype(object)
    y[5] = "boredom"
    check(retrieval.retrieval_quality(x, y), naive(x, y, *np.ones((2, 80), dtype=bool)))
    assert retrieval.retrieval_quality(x, y)["left_out"] == 1
    queries = y == "fear"
    with pytest.raises(
        ValueError, match=f"none of the {queries.sum()} queries has its label among"
    ):
        retrieval.retrieval_quality(x, y, queries, ~queries)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(6, 30), st.integers(2, 4))
def test_any_random_sample_agrees_with_naive_loops(seed, n, classes):
    rng = np.random.default_rng(seed)
    x, y, queries = rng.normal(size=(n, 3)), np.arange(n) % classes, rng.random(n) < 0.4
    queries[:1] = True
    queries[-classes:] = False  # every class has a reference
    check(retrieval.retrieval_quality(x, y, queries, ~queries), naive(x, y, queries, ~queries))


def test_perfect_embeddings_are_perfect_and_their_order_does_not_matter():
    x, y = sample()
    places = 100.0 * np.unique(y, return_inverse=True)[1][:, None] + np.random.default_rng(
        0
    ).normal(size=(80, 6))
    assert [retrieval.retrieval_quality(places, y)[name] for name in MEASURES] == [1.0] * 3
    order = np.random.default_rng(0).permutation(80)
    for name in MEASURES:
        assert retrieval.retrieval_quality(x[order], y[order])[name] == pytest.approx(
            retrieval.retrieval_quality(x, y)[name]
        )


def test_duplicates_of_a_query_are_found_but_never_itself():
    found = retrieval.retrieval_quality(
        np.repeat(np.eye(3), 2, axis=0), ["a", "a", "b", "b", "c", "c"]
    )
    assert [found[name] for name in MEASURES] == [1.0] * 3
    alone = retrieval.retrieval_quality(
        np.repeat(np.eye(3), 2, axis=0), ["a", "b", "b", "a", "a", "b"]
    )
    assert alone["precision_at_1"] == 0.0, (
        "the twin of each has another label; its own copy would have been right"
    )


def test_length_one_makes_it_a_search_by_cosine():
    x, y = sample()
    longer = x * np.random.default_rng(0).uniform(0.1, 10, (80, 1))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    found = retrieval.retrieval_quality(torch.tensor(longer, requires_grad=True), y, normalise=True)
    check(found, naive(unit, y, *np.ones((2, 80), dtype=bool)))
    assert not math.isclose(
        found["r_precision"], retrieval.retrieval_quality(longer, y)["r_precision"], abs_tol=1e-3
    )


def test_input_that_cannot_be_searched_is_refused():
    x, y = sample()
    half = np.arange(80) < 40
    for arguments, message in (
        ((x[:5], y), r"shape \(5, 6\) and there are 80 labels"),
        ((x[:, 0], y), r"shape \(80,\)"),
        ((np.where(np.arange(80)[:, None] == 7, np.nan, x), y), "embedding 7 is not finite"),
        ((x, y, np.arange(80)), r"queries is no mask of 80 rows .*got int64"),
        ((x, y, half, ~half & half), "references is no"),
        (
            (x, y, half, np.arange(80) < 20),
            "some queries are among the references and some are not",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            retrieval.retrieval_quality(*arguments)


def test_the_table_of_embeddings_says_what_each_number_is_of():
    x, y = sample()
    y = np.where(np.arange(80) == 3, "boredom", y)
    before, after = (
        retrieval.retrieval_quality(0 * x + np.random.default_rng(1).normal(size=x.shape), y),
        retrieval.retrieval_quality(x, y),
    )
    table = quality_table({"before": before, "after": after})
    assert (
        list(table.index) == ["before", "after"]
        and table.loc["after", "MAP@R %"] == f"{100 * after['mean_average_precision_at_r']:.1f}"
    )
    assert table.loc["before", "precision at 1 %"] == f"{100 * before['precision_at_1']:.1f}"
    assert (
        table.loc["after", "queries"] == "80 (1 left out: nobody to find)"
        and table.loc["after", "search"] == after["search"]
    )
    assert float(table.loc["before", "chance %"]) == pytest.approx(100 * before["chance"], abs=0.05)
    with pytest.raises(ValueError, match="no embeddings"):
        quality_table({})


@pytest.fixture
def clips(tmp_path, tone):
    """Nine clips by three speakers, one emotion each in turn, and the distances of the last six to
    the first three.
    """
    emotions = ["anger", "fear", "joy & <bliss>"]
    manifest = pd.DataFrame(
        [
            {
                "utt_id": f"x/{i}",
                "corpus": "x",
                "speaker": f"s{i // 3}",
                "emotion": emotions[i % 3],
                "file": str(tone(tmp_path / f"{i}.wav", seconds=0.1, hz=200 + 20 * i)),
            }
            for i in range(9)
        ]
    )
    distances = pd.DataFrame(
        np.random.default_rng(0).uniform(0.2, 1.5, (3, 6)),
        manifest["utt_id"][:3],
        manifest["utt_id"][3:],
    )
    distances.loc["x/0"] = [0.5, 0.4, 0.9, 0.4, 0.1, 1.0]
    distances.loc["x/1"] = [1.0, 0.1, 0.9, 0.8, 0.7, 0.6]
    return manifest, distances


def test_nearest_clips_are_sorted_and_judged_by_the_emotion(clips):
    manifest, distances = clips
    rows = retrieval.nearest_rows(
        "x/0", distances.loc["x/0"], manifest.sample(frac=1, random_state=0), 4
    )
    assert tuple(rows.columns) == retrieval.NEAREST_COLUMNS and list(rows["rank"]) == [1, 2, 3, 4]
    assert list(rows["utt_id"]) == [
        "x/7",
        "x/4",
        "x/6",
        "x/3",
    ], "of equal distances the first by name"
    assert list(rows["distance"]) == [0.1, 0.4, 0.4, 0.5] and list(rows["right"]) == [
        False,
        False,
        True,
        True,
    ]
    assert (
        list(rows["speaker"]) == ["x/s2", "x/s1", "x/s2", "x/s1"]
        and len(retrieval.nearest_rows("x/0", distances.loc["x/0"], manifest, 50)) == 6
    )
    one = distances.loc["x/0"]
    for wrong, message in (
        (one.head(0), "x/0 are empty"),
        (one.where(one != 0.9), "of x/5 is no number"),
        (pd.concat([one, one]), "hold x/3 twice"),
        (one.rename({"x/8": "y/8"}), r"y/8 \(and 0 more\) is not in the manifest"),
    ):
        with pytest.raises(ValueError, match=message):
            retrieval.nearest_rows("x/0", wrong, manifest)


def test_cards_say_right_or_wrong_in_words_and_colour_and_can_be_played(clips):
    manifest, distances = clips
    page = retrieval.nearest_html("x/0", distances.loc["x/0"], manifest, 4)
    assert (
        page.count("<audio") == 5
        and "2 of the 4 nearest</b> of 6 support clips have the emotion of the query, anger."
        in page
    )
    assert (
        page.count("right</span>") == page.count("wrong</span>") == 2
        and page.count(f"background:{retrieval.RIGHT}") == 2
    )
    assert (
        page.count(f"background:{retrieval.WRONG}") == 2
        and "distance 0.4<" in page
        and 'aria-label="2. wrong: fear, speaker s1"' in page
    )
    assert "own speaker" not in page and "Synthetic" not in page
    assert (
        "joy &amp; &lt;bliss&gt;" in retrieval.nearest_html("x/2", distances.loc["x/2"], manifest)
        and "<bliss>" not in page
    )
    same = retrieval.nearest_html("x/0", distances.loc["x/0"], manifest.assign(speaker="one"), 1)
    assert "The query's own speaker is among them." in same
    assert "own speaker" not in retrieval.nearest_html(
        "x/0", distances.loc["x/0"], manifest.assign(speaker=""), 1
    ), "nobody knows"
    assert "not human speech" in retrieval.nearest_html(
        "x/0", distances.loc["x/0"], manifest.assign(corpus="synthetic-studio"), 1
    )
    broken = retrieval.nearest_html(
        "x/0", distances.loc["x/0"], manifest.assign(file="/nowhere.wav"), 1
    )
    assert broken.count("cannot be played: no such file") == 2
    with pytest.raises(ValueError, match="k = 11: 1 to 10 clips"):
        retrieval.nearest_html("x/0", distances.loc["x/0"], manifest, 11)


def test_a_query_can_be_chosen_and_the_first_is_one_that_went_wrong(clips, monkeypatch):
    manifest, distances = clips
    distances.loc["x/2"] = [0.9, 0.8, 0.1, 0.7, 0.6, 0.5]
    box, shown = retrieval.hear_nearest(distances[::-1], manifest, k=3).children
    assert type(shown) is ipywidgets.HTML and box.value == "x/0", "x/2 and x/1 are right at once"
    assert dict(box.options) == {
        "joy & <bliss>: x/2": "x/2",
        "fear: x/1": "x/1",
        "anger: x/0 (nearest clip is wrong)": "x/0",
    }
    assert shown.value == retrieval.nearest_html("x/0", distances.loc["x/0"], manifest, 3)
    box.value = "x/1"
    assert (
        shown.value
        == retrieval.nearest_html("x/1", distances.loc["x/1"], manifest, 3)
        == retrieval.nearest_clips("x/1", distances.loc["x/1"], manifest, 3).value
    )
    assert len(retrieval.hear_nearest(distances, manifest, most=2).children[0].options) == 2
    with pytest.raises(ValueError, match="no distances"):
        retrieval.hear_nearest(distances.head(0), manifest)
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    assert retrieval.hear_nearest(distances, manifest, k=3).data == retrieval.nearest_html(
        "x/0", distances.loc["x/0"], manifest, 3
    )
