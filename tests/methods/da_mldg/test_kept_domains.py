"""Linear heads and trained algorithms can be kept, on vectors and on frames."""

import dataclasses

import pytest
from domain_toys import CONFIG, make_study, three_corpora
from kept_again import largest_difference

from colab_utils.learning.kept import ModelError
from colab_utils.methods.da_mldg.algorithms import ALGORITHMS


@pytest.mark.parametrize("normalisation", ["none", "speaker"])
def test_kept_algorithms_give_the_scores_of_their_runs(tmp_path, normalisation):
    study = make_study(three_corpora(), tmp_path)
    config = dataclasses.replace(CONFIG, normalisation=normalisation)
    names = ["recommended", "linear", "erm", "da-mldg"]
    runs = study.compare(config, names, pictures=False)
    for name, run in runs.items():
        assert largest_difference(study, run) < 1e-6, name


@pytest.mark.slow
@pytest.mark.parametrize("test", ["whole", "windows"])
def test_kept_algorithms_on_frames(tmp_path, test):
    study = make_study(three_corpora(), tmp_path, frames=True)
    config = dataclasses.replace(CONFIG, network="resnet18", steps=2, crop_frames=16, test=test)
    runs = study.compare(config, ["recommended", "erm"], pictures=False)
    for name, run in runs.items():
        assert largest_difference(study, run) < 1e-6, name


class Mine(ALGORITHMS["erm"]):
    """As published, under a name of its own."""


def test_an_algorithm_of_ones_own_is_not_kept(tmp_path):
    study = make_study(three_corpora(), tmp_path)
    run = study.compare(CONFIG, ["linear"], own={"mine": Mine}, pictures=False)["mine"]
    with pytest.raises(ModelError, match="your own code"):
        study.keep(run)
