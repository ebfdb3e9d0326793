"""Retrieval measures against naive loops, with and without faiss."""

import builtins

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colab_utils.methods.emofsl.retrieval import embeddings as retrieval
from colab_utils.methods.emofsl.retrieval.embeddings import (
    MEASURES,
    Embeddings,
    nearest_table,
    retrieval_quality,
)

EMOTIONS = np.array(["anger", "fear", "joy", "sadness"])


def naive(x, y, queries):
    """(precision at 1, R-precision, MAP@R, chance) by sorting every list of distances."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    references = np.flatnonzero(~queries)
    values = []
    for i in np.flatnonzero(queries):
        order = sorted(references, key=lambda j: np.square(x[i] - x[j]).sum())
        r = sum(y[j] == y[i] for j in references)
        hits = [y[j] == y[i] for j in order[:r]]
        precision = [sum(hits[: n + 1]) / (n + 1) * hits[n] for n in range(r)]
        first = float(y[order[0]] == y[i])
        values.append((first, sum(hits) / r, sum(precision) / r, r / len(references)))
    return np.mean(values, axis=0)


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


def sample(n=80, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 4
    x = rng.normal(size=(n, 6)) + 1.2 * rng.normal(size=(4, 6))[y]
    return x, EMOTIONS[y], rng.random(n) < 0.3


def check(found, wanted):
    assert [found[name] for name in (*MEASURES, "chance")] == pytest.approx(list(wanted))


def test_measures_of_queries_in_a_support_set_equal_naive_loops(engine):
    x, y, queries = sample()
    found = retrieval_quality(x, y, queries)
    check(found, naive(x, y, queries))
    assert found["search"] == engine
    assert found["precision_at_1"] > found["chance"] + 0.1, "the sample has something to find"
    one_shot = np.arange(80) >= 4
    check(retrieval_quality(x, y, one_shot), naive(x, y, one_shot))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(6, 30), st.integers(2, 4))
def test_any_random_sample_agrees_with_naive_loops(seed, n, classes):
    rng = np.random.default_rng(seed)
    x, y, queries = rng.normal(size=(n, 3)), np.arange(n) % classes, rng.random(n) < 0.4
    queries[:1] = True
    queries[-classes:] = False  # every class has a reference
    check(retrieval_quality(x, y, queries), naive(x, y, queries))


def test_perfect_embeddings_are_perfect_and_neither_order_nor_length_matters():
    x, y, queries = sample()
    places = np.eye(4)[np.arange(80) % 4] + np.random.default_rng(0).normal(0, 0.01, (80, 4))
    perfect = retrieval_quality(places, y, queries)
    assert [perfect[name] for name in MEASURES] == [1.0] * 3
    order = np.random.default_rng(0).permutation(80)
    longer = x * np.random.default_rng(0).uniform(0.1, 10, (80, 1))
    for found in (
        retrieval_quality(x[order], y[order], queries[order]),
        retrieval_quality(longer, y, queries),
    ):
        check(found, naive(x, y, queries))


def test_an_embedding_that_is_not_finite_is_named():
    x, y, queries = sample()
    x[7] = np.nan
    with pytest.raises(ValueError, match="embedding 7 is not finite"):
        retrieval_quality(x, y, queries)


def found_of(x, y, queries):
    rows = pd.DataFrame({"utt_id": [f"x/{i}" for i in range(len(x))], "emotion": y})
    return Embeddings(rows.assign(role=np.where(queries, "test", "support")), 0 * x + 1, x)


def test_the_table_says_what_each_number_is_of():
    x, y, queries = sample()
    table = nearest_table(found_of(x, y, queries))
    quality = retrieval_quality(x, y, queries)
    assert list(table.index) == ["before", "after"]
    row = table.loc["after"]
    assert row["MAP@R %"] == f"{100 * quality['mean_average_precision_at_r']:.1f}"
    assert row["precision at 1 %"] == f"{100 * quality['precision_at_1']:.1f}"
    assert float(row["chance %"]) == pytest.approx(100 * quality["chance"], abs=0.05)
    assert (row["queries"], row["references"]) == (str(queries.sum()), str((~queries).sum()))
    assert row["search"] == quality["search"]


def test_distances_are_those_of_vectors_of_length_one():
    x, y, queries = sample()
    table = found_of(x, y, queries).distances()
    assert list(table.index) == [f"x/{i}" for i in np.flatnonzero(queries)]
    assert list(table.columns) == [f"x/{i}" for i in np.flatnonzero(~queries)]
    i, j = np.flatnonzero(queries)[1], np.flatnonzero(~queries)[2]
    one, other = (x[k] / np.linalg.norm(x[k]) for k in (i, j))
    assert table.loc[f"x/{i}", f"x/{j}"] == pytest.approx(np.linalg.norm(one - other))
