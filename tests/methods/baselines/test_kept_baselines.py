"""Every classifier can be kept, with two labels and with more."""

import dataclasses
from itertools import cycle

import pytest
from kept_again import largest_difference
from test_baselines import EMOTIONS, LOSO, corpus

from colab_utils.features.store.views import NORMALISATIONS
from colab_utils.methods.baselines import BaselineStudy
from colab_utils.methods.baselines.settings import CLASSIFIERS


@pytest.mark.parametrize("labels", [2, len(EMOTIONS)])
@pytest.mark.parametrize(("classifier", "normalisation"), zip(CLASSIFIERS, cycle(NORMALISATIONS)))
def test_a_kept_classifier_gives_the_scores_of_its_run(tmp_path, classifier, normalisation, labels):
    manifest, store = corpus()
    few = EMOTIONS[:labels]
    rows = manifest[manifest["emotion"].isin(few)]
    study = BaselineStudy(rows, store, few, tmp_path, progress=False)
    config = dataclasses.replace(LOSO, classifier=classifier, normalisation=normalisation, epochs=2)
    assert largest_difference(study, study.run(config, pictures=False)) < 1e-9
