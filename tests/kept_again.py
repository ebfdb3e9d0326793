"""A kept model beside the run that it is of: the same scores of the same clips."""

import numpy as np
from safetensors.torch import load, save


def again(predictor):
    """The predictor as it comes out of its folder."""
    tensors = {name: value.contiguous() for name, value in predictor.tensors().items()}
    return type(predictor).made(predictor.labels, predictor.described(), load(save(tensors)))


def first_of(run):
    """The predictions of a run's first seed, fold, draw and episode."""
    table = run.predictions
    for column in ("seed", "fold", "draw", "task"):
        table = table[table[column] == table[column].min()]
    return table.drop_duplicates("utt_id")


def largest_difference(study, run):
    """Of the scores of a kept model and of the run, over the clips of its first fold."""
    tested = study.evaluated(run)
    fold = study.folds_of(tested)[0]
    learner = study.trained(tested, fold)[0]
    predictor, features = study.kept(learner, tested, fold)
    wanted = first_of(run)
    rows = study.rows.set_index("utt_id", drop=False).loc[wanted["utt_id"]]
    columns = [f"p_{label}" for label in predictor.labels]
    others = [f"p_{label}" for label in study.labels if label not in predictor.labels]
    assert not wanted[others].to_numpy().any(), "a label that it does not know"
    found = again(predictor).scores(features, rows.reset_index(drop=True))
    # in the other order, and one alone
    turned = again(predictor).scores(features, rows[::-1].reset_index(drop=True))
    one = predictor.scores(features, rows[:1])
    assert np.allclose(turned[::-1], found, atol=1e-6)
    assert np.allclose(one, found[:1], atol=1e-6)
    return np.abs(found - wanted[columns].to_numpy()).max()
