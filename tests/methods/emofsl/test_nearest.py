"""The support clips nearest to a tested one, to see and to hear."""

import ipywidgets
import numpy as np
import pandas as pd
import pytest

from colab_utils.methods.emofsl.retrieval import nearest
from colab_utils.methods.emofsl.retrieval.embeddings import Embeddings
from colab_utils.methods.emofsl.retrieval.nearest import hear_support, nearest_clips, nearest_html

EMOTIONS = ["anger", "fear", "joy & <bliss>"]


@pytest.fixture
def found(tmp_path, tone, monkeypatch):
    """Nine clips by three speakers, one emotion each in turn; the first three are tested."""
    rows = []
    for i in range(9):
        file = tone(tmp_path / f"{i}.wav", seconds=0.1, hz=200 + 20 * i)
        rows.append(
            {
                "utt_id": f"x/{i}",
                "corpus": "x",
                "speaker": f"s{i // 3}",
                "emotion": EMOTIONS[i % 3],
                "file": str(file),
                "role": "test" if i < 3 else "support",
            }
        )
    distances = pd.DataFrame(
        [
            [0.5, 0.4, 0.9, 0.4, 0.1, 1.0],
            [1.0, 0.1, 0.9, 0.8, 0.7, 0.6],
            [0.9, 0.8, 0.1, 0.7, 0.6, 0.5],
        ],
        [f"x/{i}" for i in range(3)],
        [f"x/{i}" for i in range(3, 9)],
    )
    monkeypatch.setattr(Embeddings, "distances", lambda self: distances)
    return Embeddings(pd.DataFrame(rows), np.zeros((9, 2)), np.zeros((9, 2)))


def with_rows(found, **columns):
    return found._replace(rows=found.rows.assign(**columns))


def test_nearest_clips_are_sorted_and_judged_by_the_emotion(found):
    rows = nearest_clips(found, "x/0")
    assert list(rows["utt_id"]) == ["x/7", "x/4", "x/6", "x/3"], "of equal ones the first by name"
    assert list(rows["distance"]) == [0.1, 0.4, 0.4, 0.5]
    assert list(rows["right"]) == [False, False, True, True]


def test_cards_say_right_or_wrong_in_words_and_colour_and_can_be_played(found):
    page = nearest_html(found, "x/0")
    told = " ".join(page.split())
    assert page.count("<audio") == 5
    assert (
        "<b>2 of the 4 nearest</b> of 6 support clips have the emotion of the query, anger" in told
    )
    assert page.count("right</span>") == page.count("wrong</span>") == 2
    assert page.count(f"background:{nearest.RIGHT}") == 2
    assert page.count(f"background:{nearest.WRONG}") == 2
    assert "distance 0.4<" in page and 'aria-label="2. wrong: fear, speaker s1"' in page
    assert "Synthetic" not in page and "<bliss>" not in nearest_html(found, "x/2")
    assert "joy &amp; &lt;bliss&gt;" in nearest_html(found, "x/2")
    assert "speaker unknown" in nearest_html(with_rows(found, speaker=""), "x/0")
    synthetic = with_rows(found, corpus="synthetic-studio")
    assert "not human speech" in nearest_html(synthetic, "x/0")
    broken = nearest_html(with_rows(found, file="/nowhere.wav"), "x/0")
    assert broken.count("cannot be played: no such file") == 5


def test_a_query_can_be_chosen_and_the_first_is_one_that_went_wrong(found):
    box, shown = hear_support(found).children
    assert type(shown) is ipywidgets.HTML and box.value == "x/0", "x/2 and x/1 are right at once"
    assert dict(box.options) == {
        "joy & <bliss>: x/2": "x/2",
        "fear: x/1": "x/1",
        "anger: x/0 (nearest clip is wrong)": "x/0",
    }
    assert shown.value == nearest_html(found, "x/0")
    box.value = "x/1"
    assert shown.value == nearest_html(found, "x/1")


def test_few_queries_are_offered_and_the_first_of_all_where_none_is_wrong(found, monkeypatch):
    monkeypatch.setattr(nearest, "MOST_QUERIES", 2)
    box = hear_support(with_rows(found, emotion="fear")).children[0]
    assert len(box.options) == 2 and box.value == "x/0"
