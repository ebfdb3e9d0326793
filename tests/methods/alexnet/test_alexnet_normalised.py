"""Normalised pictures: by corpus or speaker, by enrolment clips that nobody tests, in noise too."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from alexnet_toys import changed, corpus, toy_study
from kept_again import largest_difference

from colab_utils.features.published.alexnet import RATE
from colab_utils.learning import kept
from colab_utils.learning.study import Tested
from colab_utils.methods.alexnet import AlexnetConfig

PIXELS = {"image_height": 200}  # one a bin and a frame: nothing is resized


def picture_of(study, config, row, condition, fold):
    """The first picture of an utterance, bin by bin from all clips of its speaker and corpus."""
    store = study.store_of("logspec", condition)
    tested = Tested("", config)
    heard = study.enrolled(tested) or set(study.rows["utt_id"])

    def frames(rows, store):
        ids = [utt_id for utt_id in rows["utt_id"] if utt_id in heard]
        return np.concatenate([store[utt_id].astype(float) for utt_id in ids]), len(ids)

    def normal(utt_id, speaker, values, store):
        of_corpus, _ = frames(study.rows, store)
        mean = of_corpus.mean(axis=0)
        if config.normalisation == "speaker":
            own, n = frames(study.rows[study.rows["speaker"] == speaker], store)
            share = n / (n + config.prior_clips)
            mean = share * own.mean(axis=0) + (1 - share) * mean
        return (values - mean) / of_corpus.std(axis=0)

    clean, seen = study.store_of("logspec"), []
    for one in study.part(tested, fold, "train").itertuples():
        seen.append(normal(one.utt_id, one.speaker, clean[one.utt_id], clean))
    low, high = np.concatenate(seen).min(axis=0), np.concatenate(seen).max(axis=0)
    clip = np.full((300, 200), -80.0)
    clip[: len(store[row.utt_id])] = store[row.utt_id][:300]
    level = normal(row.utt_id, row.speaker, clip, store)
    level = np.clip((level - low) / (high - low), 0, 1).T[::-1]
    return (level - np.mean([0.485, 0.456, 0.406])) / np.mean([0.229, 0.224, 0.225])


@pytest.mark.parametrize("unit", ["corpus", "speaker"])
@pytest.mark.parametrize("enrolment", [0, 2])
def test_pictures_are_those_of_a_naive_computation(tmp_path, unit, enrolment):
    study = toy_study(tmp_path, corpus(4, 2), folds=2)
    config = changed(normalisation=unit, prior_clips=3.0, enrolment=enrolment, **PIXELS)
    fold, tested = study.folds[0], Tested("", config)
    limits = study.learner(tested, fold).learner.limits
    rows = study.part(tested, fold, "test")
    short = [len(study.store_of("logspec")[utt_id]) < 250 for utt_id in rows["utt_id"]]
    rows = rows[short].reset_index(drop=True)  # padded with silence
    for condition in ("", "pink@10"):
        images = study.images(rows, config, limits, condition)
        for number, row in enumerate(rows.head(2).itertuples()):
            first = int((images.utterance == number).nonzero()[0])
            expected = picture_of(study, config, row, condition, fold)
            found = images.values[first, 0].float().numpy()
            assert np.allclose(found, expected, atol=3e-3)
    plain = study.images(rows, changed(**PIXELS), limits)
    assert not np.allclose(plain.values[first, 0].float(), expected, atol=0.1)


def test_clips_of_the_enrolment_are_not_tested_and_the_result_says_how(tmp_path):
    study = toy_study(tmp_path, corpus(4, 2), folds=2)
    config = changed(normalisation="speaker", enrolment=2, tune="linear")
    run = study.run(config, ["clean", "pink@10"], pictures=False)["alexnet_gap, pink@10"]
    enrolled = study.enrolled(Tested("", config))
    assert len(enrolled) == 8 and not enrolled & set(run.predictions["utt_id"])
    assert len(run.predictions) == len(study.rows) - 8
    assert set(run.predictions["rule"]) == {"inductive"}
    everything = dataclasses.replace(config, enrolment=0)
    run = study.run(everything, pictures=False)["alexnet_gap, clean"]
    assert set(run.predictions["rule"]) == {"transductive: normalised by speaker"}
    assert len(run.predictions) == len(study.rows)


def test_as_published_and_by_default_nothing_is_normalised():
    for preset in AlexnetConfig.PRESETS:
        assert AlexnetConfig.from_preset(preset).normalisation == "none"


def test_a_kept_network_normalises_new_files_by_what_it_knows(tmp_path):
    study = toy_study(tmp_path, corpus(4, 1), folds=2)
    config = changed(normalisation="speaker", tune="linear")
    run = study.run(config, pictures=False)["alexnet_gap, clean"]
    assert largest_difference(study, run) < 1e-6
    model = kept.open_model(study.keep(run))
    assert model.unit == "speaker" and model.known[0] == "aa"
    rng = np.random.default_rng(0)
    waves = [rng.normal(0, 0.1, 20000).astype(np.float32) for _ in range(3)]
    found = dict(zip("abc", model.features({RATE: waves}), strict=True))
    rows = pd.DataFrame({"utt_id": list("abc"), "corpus": "", "speaker": ""})
    by_corpus = model.scores(found, rows)
    assert np.allclose(by_corpus.sum(axis=1), 1)
    assert not np.allclose(model.scores(found, rows.assign(speaker="me")), by_corpus, atol=1e-3)
