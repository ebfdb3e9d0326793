"""The rows without training: one linear head on all sources, and what is known of the target."""

import dataclasses
import zlib

import numpy as np
import pandas as pd
import pytest
from domain_toys import CONFIG, LABELS, make_study, three_corpora
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from toy_store import Features, cross_corpus_split

from colab_utils.learning import recipe
from colab_utils.learning.heads import source_temperature
from colab_utils.learning.study import Tested
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.methods.da_mldg.study import DomainStudy, algorithms_of

HEAD = "recommended"


@pytest.fixture
def rows():
    return three_corpora()


def run_of(study, config=CONFIG, name=HEAD):
    return study.compare(config, [name], pictures=False)[name]


def scores_of(run):
    table = run.predictions.set_index("utt_id").sort_index()
    return table[[f"p_{label}" for label in LABELS]]


# --- normalisation --------------------------------------------------------------------------------


def enrolled_naively(rows, unit, number):
    """The utterances with the lowest checksums, at most half of a speaker's or corpus'."""
    chosen = set()
    columns = ["corpus", "speaker"] if unit == "speaker" else ["corpus"]
    for _, part in rows.groupby(columns):
        ids = sorted(part["utt_id"], key=lambda utt_id: zlib.crc32(utt_id.encode()))
        chosen.update(ids[: min(number, len(ids) // 2)])
    return chosen


def normalised_naively(store, rows, unit, heard):
    """{utt_id: its features}, speaker by speaker."""
    found = {}
    for corpus in sorted(set(rows["corpus"])):
        of_corpus = rows[rows["corpus"] == corpus]
        clips = [store.values[utt] for utt in of_corpus["utt_id"] if utt in heard]
        everything = np.concatenate(clips).astype(float)
        mean, deviation = everything.mean(axis=0), everything.std(axis=0)
        for speaker in sorted(set(of_corpus["speaker"])):
            own = of_corpus.loc[of_corpus["speaker"] == speaker, "utt_id"]
            centre = mean
            if unit == "speaker":
                clips = [store.values[utt] for utt in own if utt in heard]
                share = len(clips) / (len(clips) + recipe.PRIOR_CLIPS)
                centre = share * np.concatenate(clips).mean(axis=0) + (1 - share) * mean
            for utt_id in own:
                found[utt_id] = (store.values[utt_id] - centre) / deviation
    return found


@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize(
    ("unit", "enrolment"),
    [("none", 0), ("corpus", 0), ("speaker", 0), ("corpus", 9), ("speaker", 3)],
)
def test_a_network_sees_features_normalised_speaker_by_speaker(
    rows, tmp_path, unit, enrolment, frames
):
    study = make_study(rows, tmp_path, frames=frames)
    config = DomainConfig(normalisation=unit, enrolment=enrolment, standardise=False)
    heard = set(rows["utt_id"])
    if enrolment:
        heard = enrolled_naively(rows, unit, enrolment)
    expected = {utt_id: study.store.values[utt_id] for utt_id in rows["utt_id"]}
    if unit != "none":
        expected = normalised_naively(study.store, rows, unit, heard)
    for role in ("train", "valid", "test"):
        clips = study.clips(Tested("erm", config), "cc", role)
        assert len(clips)
        for number, utt_id in enumerate(clips.rows["utt_id"]):
            assert np.allclose(clips.clip(number), expected[utt_id], atol=1e-4)


def test_no_clip_of_the_enrolment_is_tested_and_no_other_is_heard(rows, tmp_path):
    config = dataclasses.replace(CONFIG, enrolment=3)
    study = make_study(rows, tmp_path)
    target = rows[rows["corpus"] == "cc"]
    run = run_of(study, config)
    tested = set(run.predictions["utt_id"])
    heard = set(target["utt_id"]) - tested
    assert heard >= enrolled_naively(target, "speaker", 3) and tested
    assert set(run.split.loc[run.split["role"] == "enrolment", "utt_id"]) == heard
    assert set(run.predictions["rule"]) == {"inductive"}
    assert any("3 clips of each speaker that are not tested" in one for one in run.metrics["notes"])
    spoilt = next(iter(tested))
    other = make_study(rows, tmp_path / "other")
    other.store.values[spoilt] = other.store.values[spoilt] + 1000
    before, after = scores_of(run), scores_of(run_of(other, config))
    same = before.index != spoilt
    assert after[same].equals(before[same]) and not after.equals(before)


@pytest.mark.parametrize("unit", ["none", "corpus"])
def test_under_an_enrolment_all_rows_have_the_same_test(rows, tmp_path, unit):
    config = dataclasses.replace(CONFIG, normalisation=unit, enrolment=5, steps=2)
    runs = make_study(rows, tmp_path).compare(config, "recommended, linear, erm", pictures=False)
    tested = {tuple(run.predictions["utt_id"]) for run in runs.values()}
    assert len(tested) == 1
    by_speaker = {one.name: one for one in algorithms_of(config, "recommended, linear")}
    assert by_speaker["recommended"].config.normalising == ("speaker", recipe.PRIOR_CLIPS, 5)


def test_predictions_and_notes_say_that_tested_clips_are_heard(rows, tmp_path):
    study = make_study(rows, tmp_path)
    said = {}
    for unit in ("none", "corpus", "speaker"):
        config = dataclasses.replace(CONFIG, normalisation=unit, steps=2)
        (rule,) = set(run_of(study, config, "erm").predictions["rule"])
        said[unit] = rule
        notes = run_of(study, config, "erm").metrics["notes"]
        assert any(f"clips of each {unit}, tested" in one for one in notes) == (unit != "none")
    assert said == {
        "none": "inductive",
        "corpus": "transductive: normalised by corpus",
        "speaker": "transductive: normalised by speaker",
    }


def test_digital_silence_is_normalised_as_the_clip_is(rows, tmp_path):
    """What comes in where a crop is padded with zeros."""
    study = make_study(rows, tmp_path, frames=True)
    study.store.spec["name"] = "logmel"
    config = dataclasses.replace(
        CONFIG, network="resnet18", padding="zeros", crop_frames=60, standardise=False
    )
    batches = study.learner(Tested("erm", config), "cc").learner.batches
    values, _ = batches.crops(np.arange(len(batches.clips)), np.random.default_rng(0))
    silent = np.full((1, 6), np.log(1e-6))
    for number, row in enumerate(batches.clips.rows.itertuples()):
        store = Features(rows, LABELS, frames=True)
        part = rows[rows["corpus"] == row.corpus]
        heard = set(part["utt_id"])
        own = store.values[row.utt_id]
        store.values[row.utt_id] = np.concatenate([own, silent])  # to be normalised beside it
        if number % 7:
            continue
        plain = Features(rows, LABELS, frames=True)
        of_clip = normalised_naively(plain, part, "speaker", heard)[row.utt_id]
        # the same map takes silence where it takes the clip
        scale = (of_clip[1] - of_clip[0]) / (own[1] - own[0])
        assert np.allclose(values[number, 0], of_clip[0] + scale * (silent[0] - own[0]), atol=1e-2)


# --- the head -------------------------------------------------------------------------------------


def regression(x, y, strength):
    """The same head by scikit-learn; every class has the same mass."""
    counts = np.bincount(y, minlength=len(LABELS))
    mass = 1 / (counts[y] * len(LABELS))
    model = LogisticRegression(C=1 / strength, tol=1e-9, max_iter=20_000)
    return model.fit(x / np.sqrt(x.shape[1]), y, sample_weight=mass)


def logits_of(model, x):
    return x / np.sqrt(x.shape[1]) @ model.coef_.T + model.intercept_


def test_the_head_is_the_regression_of_all_source_utterances_at_one_temperature(rows, tmp_path):
    """Features, scale, head and temperature, each made again from the table of the corpora."""
    study = make_study(rows, tmp_path)
    found = normalised_naively(study.store, rows, "speaker", set(rows["utt_id"]))
    source, target = (rows[(rows["corpus"] == "cc") == tested] for tested in (False, True))
    x, x_target = (np.stack([found[utt][0] for utt in part["utt_id"]]) for part in (source, target))
    y = np.array([LABELS.index(label) for label in source["emotion"]])
    parts = [x[(source["corpus"] == name).to_numpy()] for name in ("aa", "bb")]
    mean = np.mean([part.mean(axis=0) for part in parts], axis=0)
    deviation = np.sqrt(np.mean([((part - mean) ** 2).mean(axis=0) for part in parts], axis=0))
    x, x_target = (x - mean) / deviation, (x_target - mean) / deviation
    held_out = np.zeros((len(y), len(LABELS)))
    speakers = (source["corpus"] + "/" + source["speaker"]).to_numpy()
    for _, out in GroupKFold(5).split(x, y, speakers):
        out = np.isin(np.arange(len(y)), out)
        held_out[out] = logits_of(regression(x[~out], y[~out], recipe.SOURCE_STRENGTH), x[out])
    losses = {}
    weight = 1 / np.bincount(y)[y]
    for t in np.geomspace(0.05, 20, 4000):
        p = softmax(held_out / t)[np.arange(len(y)), y]
        losses[t] = -np.average(np.log(p), weights=weight)
    t = min(losses, key=losses.get)
    expected = softmax(logits_of(regression(x, y, recipe.SOURCE_STRENGTH), x_target) / t)
    run = run_of(study)
    got = scores_of(run).loc[target["utt_id"]]
    assert np.allclose(got, expected, atol=5e-3)
    assert pd.read_csv(run.path / "temperature.csv")["temperature"].iloc[0] == pytest.approx(
        t, 5e-3
    )


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("enrolment", [0, 3])
@pytest.mark.parametrize("how", ["permuted", "one"])
def test_no_label_of_a_tested_speaker_reaches_the_recipe(rows, tmp_path, enrolment, how):
    config = dataclasses.replace(CONFIG, enrolment=enrolment)
    before = scores_of(run_of(make_study(rows, tmp_path), config))
    other, tested = rows.copy(), rows["corpus"] == "cc"
    labels = np.random.default_rng(0).permutation(rows.loc[tested, "emotion"])
    other.loc[tested, "emotion"] = labels if how == "permuted" else "fear"
    store = Features(rows, LABELS)  # the audio stays
    split = cross_corpus_split(other, "cc", 4)
    study = DomainStudy("to-cc", other, split, store, LABELS, tmp_path / "other", progress=False)
    run = run_of(study, config)
    assert scores_of(run).equals(before)
    assert (run.predictions["true"] != run.predictions["pred"]).mean() > 0.3, "labels are others"


def test_linear_is_a_row_of_its_own_where_features_are_otherwise(rows, tmp_path):
    names = "recommended, linear, erm"
    for config, expected in (
        (CONFIG, ["recommended", "erm"]),
        (dataclasses.replace(CONFIG, normalisation="corpus"), ["recommended", "linear", "erm"]),
        (dataclasses.replace(CONFIG, prior_clips=3.0), ["recommended", "linear", "erm"]),
    ):
        assert [one.name for one in algorithms_of(config, names)] == expected
    assert [one.name for one in algorithms_of(CONFIG, "linear")] == ["linear"]
    study = make_study(rows, tmp_path)
    plain = dataclasses.replace(CONFIG, normalisation="none")
    runs = study.compare(plain, ["recommended", "linear"], pictures=False)
    assert set(runs["recommended"].predictions["rule"]) == {"transductive: normalised by speaker"}
    assert set(runs["linear"].predictions["rule"]) == {"inductive"}
    assert runs["recommended"].metrics["uar"] > runs["linear"].metrics["uar"]
    same = run_of(make_study(rows, tmp_path / "same"))
    assert scores_of(same).equals(scores_of(runs["recommended"])), "whatever the form says"


def test_a_head_trains_nothing_and_settings_of_trainings_are_nothing_to_it(rows, tmp_path, capsys):
    run = run_of(make_study(rows, tmp_path))
    assert not list(tmp_path.glob("trained/*/*"))
    notes = run.metrics["notes"]
    assert "recommended is on acoustic+moonshine; these are toy" in notes
    assert "scores have one temperature, from source speakers left out in turn (" in " ".join(notes)
    capsys.readouterr()
    published = DomainConfig.from_preset("paper", n_seeds=1)
    run_of(make_study(rows, tmp_path), published)
    assert "nothing is computed again" in capsys.readouterr().out


def test_one_source_is_less_sure_than_its_left_out_speakers_say(rows, tmp_path):
    two = rows[rows["corpus"] != "bb"].reset_index(drop=True)
    study = make_study(two, tmp_path)
    run = run_of(study)
    assert "source speakers left out in turn, 1.5 times (" in " ".join(run.metrics["notes"])
    assert run.metrics["uar"] > 0.6
    (one,) = algorithms_of(CONFIG, HEAD)
    source = study.clips(one, "cc", "train")
    x, y = source.values.double().numpy(), source.y.numpy()
    speakers = source.rows["speaker"].to_numpy()
    t = source_temperature(x, y, speakers, len(LABELS))
    found = pd.read_csv(run.path / "temperature.csv")["temperature"].iloc[0]
    assert found == pytest.approx(1.5 * t)


def test_frames_are_pooled_for_a_head_and_its_embedding_is_what_it_takes(rows, tmp_path):
    config = DomainConfig.from_preset("paper", n_seeds=1)
    study = make_study(rows, tmp_path, frames=True)
    run = run_of(study, config)
    assert run.metrics["uar"] > 0.5
    assert "frames pooled to mean and standard deviation over time" in run.metrics["notes"]
    (one,) = algorithms_of(config, HEAD)
    vectors, found = study.embeddings(one)
    assert vectors.shape == (len(found), 12) and set(found["role"]) == {"valid", "test"}


# --- temperatures of trained algorithms -----------------------------------------------------------


def test_scores_of_a_trained_algorithm_have_the_temperature_of_held_out_source_speakers(
    rows, tmp_path
):
    study = make_study(rows, tmp_path)
    one = Tested("erm", dataclasses.replace(CONFIG, algorithm="erm", steps=20))
    run = study.evaluate([one], pictures=False)["erm"]
    learner, _ = study.trained(one, "cc")
    valid, test = learner.valid, study.clips(one, "cc", "test")
    raw = {}
    for name, clips in (("valid", valid), ("test", test)):
        raw[name] = learner.algorithm.predict((clips.values,)).numpy()
    y = valid.y.numpy()
    losses = {}
    for t in np.geomspace(0.05, 20, 4000):
        p = softmax(np.log(raw["valid"]) / t)[np.arange(len(y)), y]
        losses[t] = -np.average(np.log(p), weights=1 / np.bincount(y)[y])
    t = 1.5 * min(losses, key=losses.get)  # recipe.SHIFT
    assert not 0.9 < t < 1.1, "it would show nothing"
    got = scores_of(run).loc[test.rows["utt_id"]].to_numpy()
    assert np.allclose(got, softmax(np.log(raw["test"]) / t), atol=2e-3)
    assert (got.argmax(axis=1) == raw["test"].argmax(axis=1)).all()
