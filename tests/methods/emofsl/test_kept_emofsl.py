"""What answers after the first draw can be kept, by either decision."""

import dataclasses

import pandas as pd
import pytest
from kept_again import largest_difference
from test_emofsl_study import CONFIG, corpus, make_study

from colab_utils.learning.kept import ModelError

KEPT = ("recommended", "source prior", "source + support", "nearest prototype", "source only")


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_kept_answers_are_those_of_the_first_draw(tmp_path, similarity, activation):
    rows = pd.concat([corpus("aa", 4, 2), corpus("bb", 6, 3)], ignore_index=True)
    config = dataclasses.replace(
        CONFIG,
        similarity=similarity,
        activation=activation,
        normalisation="none" if activation == "relu" else "speaker",
        nearest="centred" if activation == "relu" else "length 1",
        normalise=similarity == "euclidean",
    )
    study = make_study(tmp_path, rows)
    runs = study.compare(config, methods=["EMOFSL"], baselines=KEPT, pictures=False)
    assert {"EMOFSL, head", "EMOFSL, prototype", *KEPT[:1]} <= {name for name, _ in runs}
    for (name, _), run in runs.items():
        assert largest_difference(study, run) < 1e-6, name


def test_what_is_there_to_be_compared_with_is_not_kept(tmp_path):
    rows = pd.concat([corpus("aa", 4, 2), corpus("bb", 6, 3)], ignore_index=True)
    study = make_study(tmp_path, rows)
    runs = study.compare(CONFIG, methods=[], baselines=["LDA"], pictures=False)
    with pytest.raises(ModelError, match="there to be compared with"):
        study.keep(next(iter(runs.values())))
