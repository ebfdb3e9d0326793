"""The linear row: frozen convolutions and a logistic regression, against scikit-learn's own."""

import numpy as np
import pytest
import torch
from alexnet_toys import LABELS, SMALL, changed, corpus, learner_of, toy_study, trained
from kept_again import largest_difference
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from colab_utils.methods.alexnet.network import convolved
from colab_utils.methods.alexnet.training import probabilities
from colab_utils.settings import SettingError, with_settings

LINEAR = changed(tune="linear")


def vectors(learner, images):
    """Each segment's map, averaged place by place over the columns centred on speech."""
    found = []
    with torch.no_grad():
        for picture, share in zip(images.values.float(), images.valid.tolist(), strict=True):
            maps = convolved(learner.module.features, picture[None])[0].double().numpy()
            width = maps.shape[2]
            columns = [k for k in range(width) if (k + 0.5) / width < share] or [0]
            found.append(maps[:, :, columns].mean(axis=(1, 2)))
    return np.array(found)


@pytest.mark.parametrize("labels", [LABELS, LABELS[:2], LABELS[::2]])
def test_the_network_is_scikit_learns_logistic_regression(labels):
    """Of three classes, of two, and where a class between two others was never trained."""
    rows = corpus(3, 2)
    rows = rows[rows["emotion"].isin(labels)].reset_index(drop=True)
    learner = learner_of(changed(tune="linear", image_height=130), rows)
    before = [one.clone() for one in learner.module.features.parameters()]
    assert learner.steps == 1
    loss = learner.step(0)["loss"]
    assert all(map(torch.equal, before, learner.module.features.parameters()))
    images, y = learner.pictures.train, learner.fold.y
    assert images.valid.min() < 0.9
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", tol=1e-8)
    )
    x = vectors(learner, images)
    model.fit(x, y, logisticregression__sample_weight=images.valid.numpy())
    expected = np.zeros((len(y), 3))
    expected[:, model[-1].classes_] = model.predict_proba(x)
    found = probabilities(learner.module, images).numpy()
    assert np.allclose(found, expected, atol=1e-4) and expected.max() > 0.6
    assert loss == pytest.approx(-np.log(expected[np.arange(len(y)), y]).mean(), abs=1e-5)


def test_without_balance_classes_count_as_they_come():
    rows = corpus(3, 2)
    rare = (rows["emotion"] == "fear") & (rows["speaker"] != "s0")
    rows = rows[~rare].reset_index(drop=True)
    shares = {}
    for balanced in (True, False):
        learner = learner_of(changed(tune="linear", balanced=balanced), rows)
        learner.step(0)
        found = probabilities(learner.module, learner.pictures.train)
        shares[balanced] = found[:, LABELS.index("fear")].mean().item()
    assert shares[True] > shares[False] + 0.02


def test_the_study_trains_it_once_whatever_the_steps_and_keeps_it(tmp_path):
    study = toy_study(tmp_path, corpus(4, 2), folds=2)
    run = study.run(LINEAR, pictures=False)["alexnet_gap, clean"]
    assert run.metrics["uar"] > 0.5 and run.config["changed"]["tune"] == "linear"
    assert "the last layer alone was learnt, by logistic regression" in run.metrics["notes"]
    other = changed(tune="linear", num_epochs=9, lr=0.5, spec_augment=False, select="wa")
    assert study.run(other, pictures=False)["alexnet_gap, clean"].path == run.path
    again = toy_study(tmp_path, study.rows, folds=2)
    one, other = trained(study, LINEAR), trained(again, LINEAR)
    assert torch.equal(one.module.head.weight, other.module.head.weight)
    assert largest_difference(study, run) < 1e-6


@pytest.mark.parametrize(
    "change",
    [
        {"ser_model": "alexnet"},
        {"mixup": True},
        {"stability": 0.5},
        {"stability_loss": "both"},
        {"oversampling": True, "balanced": False},
    ],
)
def test_what_it_cannot_do_is_refused(change):
    with pytest.raises(SettingError, match="tune = 'linear'"):
        with_settings(SMALL, tune="linear", **change)


def test_a_network_of_ones_own_has_no_linear_row(study):
    with pytest.raises(SettingError, match="network of your own is trained as a whole"):
        study.run(LINEAR, own=lambda n_classes: torch.nn.Flatten())
