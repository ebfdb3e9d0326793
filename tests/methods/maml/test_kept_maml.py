"""What answers the first episode can be kept: heads, prototypes, networks after their steps."""

import dataclasses

import pytest
from kept_again import largest_difference
from maml_toys import CONFIG, EPISODES, LABELS, make_rows, make_study
from toy_store import Features, cross_corpus_split

from colab_utils.learning.kept import ModelError
from colab_utils.methods.maml.rivals import BASELINES
from colab_utils.methods.maml.study import MamlStudy

FEW = dataclasses.replace(EPISODES, ways=3, n_tasks=4)
SHORT = dataclasses.replace(CONFIG, iterations=3, validate_every=3)
NOT_KEPT = ("chance", "logistic regression")


def kept_and_run(study, runs):
    return {name: largest_difference(study, run) for name, run in runs.items()}


@pytest.mark.parametrize("normalisation", ["none", "speaker"])
def test_kept_answers_are_those_of_the_first_episode(tmp_path, normalisation):
    study = make_study(tmp_path)
    config = dataclasses.replace(SHORT, normalisation=normalisation)
    models = {
        "fixed": dataclasses.replace(config, regime="fixed", inner_rate=0.5),
        "permuted": dataclasses.replace(config, regime="permuted", contrastive="supervised"),
    }
    names = [name for name in BASELINES if name not in NOT_KEPT]
    runs = study.compare(config, FEW, models, names)
    assert {"recommended", "ProtoNet", "pooled, fine-tuned", "fixed"} <= set(runs)
    for name, difference in kept_and_run(study, runs).items():
        assert difference < 1e-6, name


@pytest.mark.slow
@pytest.mark.parametrize("network", ["conv4", "lstm"])
def test_kept_answers_of_networks_on_frames(tmp_path, network):
    rows = make_rows()
    split = cross_corpus_split(rows, "cc", n_valid_speakers=4)
    store = Features(rows, LABELS, frames=True)
    study = MamlStudy("toy", rows, split, store, LABELS, tmp_path, progress=False)
    config = dataclasses.replace(SHORT, network=network, max_frames=16)
    names = ["nearest prototype", "ProtoNet", "pooled, zero-shot"]
    runs = study.compare(config, FEW, {"MAML": config}, names)
    for name, difference in kept_and_run(study, runs).items():
        assert difference < 1e-6, name


def test_what_cannot_be_kept_says_why(tmp_path):
    study = make_study(tmp_path)
    runs = study.compare(SHORT, FEW, {}, NOT_KEPT)
    for run in runs.values():
        with pytest.raises(ModelError, match="there to be compared with"):
            study.keep(run)
    batch = dataclasses.replace(SHORT, norm="batch")
    run = study.compare(batch, FEW, {"MAML": batch}, [])["MAML"]
    with pytest.raises(ModelError, match="depends on what else is asked"):
        study.keep(run)
    with pytest.raises(ModelError, match="not tested by this study"):
        make_study(tmp_path).keep(run)
