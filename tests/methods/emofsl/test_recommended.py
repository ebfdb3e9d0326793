"""The row `recommended` and features normalised by corpus or speaker: what naive loops give, and
nothing of a tested speaker's labels.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from test_emofsl_study import CONFIG, LABELS, MANIFEST, make_study, support_of, task_of
from toy_store import Features

from colab_utils.learning import recipe
from colab_utils.learning.heads import JOINT, LINEAR, PRIOR
from colab_utils.learning.study import Tested
from colab_utils.methods.emofsl.study import TransferStudy

RECOMMENDED = recipe.RECOMMENDED
COLUMNS = [f"p_{label}" for label in LABELS]
THREE = dataclasses.replace(CONFIG, shots=3)
SPEAKER = dataclasses.replace(THREE, normalisation="speaker")
FEW = {"methods": [], "pictures": False}


def by_hand(rows, values, unit, prior_clips=0.0, heard=None):
    """Normalised features of all rows, a loop over the clips: float64 (n, dim)."""
    heard = set(rows["utt_id"]) if heard is None else heard
    used = rows["utt_id"].isin(heard).to_numpy()
    found = []
    for number, row in enumerate(rows.itertuples()):
        of_corpus = used & (rows["corpus"] == row.corpus).to_numpy()
        mean = values[of_corpus].mean(axis=0)
        if unit == "speaker":
            own = of_corpus & (rows["speaker"] == row.speaker).to_numpy()
            share = own.sum() / (own.sum() + prior_clips)
            mean = share * values[own].mean(axis=0) + (1 - share) * mean
        found.append((values[number] - mean) / values[of_corpus].std(axis=0))
    return np.array(found)


def stored(study):
    """Features of all rows as they are stored, float64."""
    return np.stack([study.store.values[utt_id][0] for utt_id in study.rows["utt_id"]]).astype(
        float
    )


@pytest.mark.parametrize("unit", ["none", "corpus", "speaker"])
@pytest.mark.parametrize("enrolment", [0, 3])
def test_the_network_sees_what_a_loop_over_speakers_gives(tmp_path, unit, enrolment):
    study = make_study(tmp_path)
    config = dataclasses.replace(CONFIG, normalisation=unit, enrolment=enrolment, prior_clips=4.0)
    heard = study.enrolled(Tested("", config)) if unit != "none" else None
    expected = stored(study)
    if unit != "none":
        expected = by_hand(study.rows, expected, unit, config.prior_clips, heard)
    learner = study.source_of(config)
    data = study.data(config)
    for side in ("source", "target"):
        numbers = data.members[side]
        assert np.allclose(data.vectors(numbers), expected[numbers], atol=1e-5)
    train = data.numbers(study.folds[0], "train")
    assert np.allclose(learner.module.mean, expected[train].mean(axis=0), atol=1e-5)
    assert np.allclose(learner.module.factor, 1 / expected[train].std(axis=0), rtol=1e-4)


def test_the_target_is_not_heard_while_the_source_is_trained(tmp_path):
    for unit in ("corpus", "speaker"):
        study = make_study(tmp_path / unit)
        study.train_source(dataclasses.replace(CONFIG, normalisation=unit))
        assert study.store.read
        assert not any(utt_id.startswith("bb/") for utt_id in study.store.read)


def test_enrolled_clips_are_not_tested_and_no_others_are_heard(tmp_path):
    config = dataclasses.replace(SPEAKER, enrolment=3, shots=1)
    study = make_study(tmp_path)
    runs = study.compare(config, **FEW, baselines=[RECOMMENDED, "LDA"])
    enrolled = study.enrolled(Tested("", config))
    target = study.rows[study.rows["corpus"] == "bb"]
    assert target["utt_id"].isin(enrolled).groupby(target["speaker"]).sum().eq(3).all()
    for run in runs.values():
        assert set(run.predictions["utt_id"]) == set(target["utt_id"]) - enrolled
        assert set(run.predictions["rule"]) == {"inductive"}
        assert any("3 clips of each speaker" in note for note in run.metrics["notes"])
    # other clips of the target may be anything: what is tested stays where it was
    other = make_study(tmp_path / "other")
    moved, asked = [], set(runs[RECOMMENDED, 1].split.query("role == 'support'")["utt_id"])
    for utt_id in set(target["utt_id"]) - enrolled - asked:
        other.store.values[utt_id] = other.store.values[utt_id] + 50
        moved.append(utt_id)
    again = other.compare(config, **FEW, baselines=[RECOMMENDED])
    kept = []
    for one in (runs, again):
        table = one[RECOMMENDED, 1].predictions
        kept.append(table.loc[~table["utt_id"].isin(moved), COLUMNS])
    assert len(kept[0]) and np.array_equal(*kept)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A study without normalisation in the form, and its linear heads at three shots."""
    study = make_study(tmp_path_factory.mktemp("linear"))
    return study, study.compare(THREE, baselines=LINEAR, **FEW)


def heads_by_scikit_learn(study, run, x, fold, draw):
    """Source head and the one held by it, each a loop of scikit-learn on shifted logits."""
    roles = study.split[study.split["fold"] == fold].set_index("utt_id")["role"]
    roles = roles.reindex(study.rows["utt_id"]).to_numpy()
    source = np.isin(roles, ["train", "valid"])
    x = (x - x[source].mean(axis=0)) / x[source].std(axis=0) / np.sqrt(x.shape[1])
    y = np.array([LABELS.index(emotion) for emotion in study.rows["emotion"]])
    known = support_of(run).query("fold == @fold and draw == @draw")["utt_id"]
    support = pd.Index(study.rows["utt_id"]).get_indexer(known)
    return x, y, source, support, roles == "test"


def test_the_joint_head_is_that_of_scikit_learn(runs):
    study, found = runs
    run, fold = found[JOINT, 3], study.folds[1]
    x, y, source, support, tested = heads_by_scikit_learn(study, run, stored(study), fold, 1)
    both = np.concatenate([np.flatnonzero(source), support])
    mass = np.repeat([1 / source.sum(), 1 / len(support)], [source.sum(), len(support)]) / 2
    # mean loss + strength / 2 |w|^2 is scikit-learn's C * loss + |w|^2 / 2
    model = LogisticRegression(C=1 / recipe.PRIOR_STRENGTH, tol=1e-9, max_iter=10_000)
    model.fit(x[both], y[both], sample_weight=mass)
    mine = run.predictions.query("fold == @fold and draw == 1")[COLUMNS]
    assert np.allclose(mine, model.predict_proba(x[tested]), atol=2e-3)


def test_the_source_votes_and_holds_the_support(runs):
    """The source by scikit-learn, the support by gradient descent on the penalised loss."""
    study, found = runs
    run, fold = found[PRIOR, 3], study.folds[1]
    x, y, source, support, tested = heads_by_scikit_learn(study, run, stored(study), fold, 1)
    heads = []
    for strength in (recipe.SOURCE_STRENGTH, recipe.PRIOR_STRENGTH):
        model = LogisticRegression(C=1 / strength, tol=1e-9, max_iter=10_000)
        mass = np.full(source.sum(), 1 / source.sum())
        heads.append(model.fit(x[source], y[source], sample_weight=mass))
    alone, start = heads
    prior = torch.as_tensor(start.coef_.T).contiguous()
    weight = prior.clone().requires_grad_()
    bias = torch.as_tensor(start.intercept_).requires_grad_()
    known, truth = torch.as_tensor(x[support]), torch.as_tensor(y[support])
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=500, tolerance_grad=1e-10)

    def loss():
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(known @ weight + bias, truth)
        strength = recipe.SUPPORT_PRECISION / len(truth)
        value = value + strength / 2 * (weight - prior).square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    of_support = x[tested] @ weight.detach().numpy() + bias.detach().numpy()
    of_source = alone.decision_function(x[tested])
    share = 1 / (1 + np.sqrt(3))
    logits = share * of_source / recipe.SOURCE_TEMPERATURE
    logits = logits + (1 - share) * of_support / (1 + 1 / 3)
    mine = run.predictions.query("fold == @fold and draw == 1")[COLUMNS]
    assert np.allclose(mine, softmax(logits, axis=1), atol=2e-3)


def test_recommended_is_normalised_whatever_the_form_says_and_says_what_it_is(runs):
    study, found = runs
    speaker = study.compare(SPEAKER, baselines=LINEAR, **FEW)
    assert (PRIOR, 3) in found and (PRIOR, 3) not in speaker, "it would be what recommended is"
    assert speaker[RECOMMENDED, 3].path == found[RECOMMENDED, 3].path
    metrics = found[RECOMMENDED, 3].metrics
    assert metrics["rule"] == ["transductive: normalised by speaker"]
    notes = " ".join(metrics["notes"])
    assert "the recommended recipe" in notes and f"counting as {recipe.PRIOR_CLIPS:g} more" in notes
    assert f"recommended is on {recipe.FEATURES}; these are toy" in notes
    plain = found[PRIOR, 3].metrics
    assert plain["rule"] == ["inductive"] and "recommend" not in " ".join(plain["notes"])
    assert not list((study.root / "trained").glob("*/*")), "no network is trained"
    assert list(study.table(found, THREE).index) == list(LINEAR)


@pytest.mark.slow
def test_labels_of_tested_speakers_do_not_reach_it(runs, tmp_path):
    """In one fold after the other its tested speakers' labels are dealt anew."""
    study, found = runs
    before = found[RECOMMENDED, 3].predictions
    for fold in study.folds:
        tested = study.split.query("fold == @fold and role == 'test'")["utt_id"]
        rows = MANIFEST.copy()
        chosen = rows["utt_id"].isin(tested)
        dealt = np.random.default_rng(0).permutation(rows.loc[chosen, "emotion"])
        assert (dealt != rows.loc[chosen, "emotion"]).any()
        rows.loc[chosen, ["emotion", "emotion_raw"]] = np.stack([dealt, dealt], axis=1)
        used = task_of(rows)[0]
        there, split = task_of(MANIFEST)  # folds are dealt by counts of emotions
        store = Features(there, LABELS, spread=1.5)
        other = TransferStudy("aa-bb", used, split, store, LABELS, tmp_path / fold, progress=False)
        after = other.compare(THREE, **FEW, baselines=[RECOMMENDED])[RECOMMENDED, 3].predictions
        mine = before.query("fold == @fold").reset_index(drop=True)
        theirs = after.query("fold == @fold").reset_index(drop=True)
        asked = ["draw", "utt_id", "pred", *COLUMNS]
        assert mine[asked].equals(theirs[asked]), fold
        assert not mine["true"].equals(theirs["true"])
