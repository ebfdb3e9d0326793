"""Features by corpus, by speaker, by enrolled clips; and linear heads that know the source."""

import dataclasses

import numpy as np
import pytest
from maml_toys import CONFIG, EPISODES, LABELS, make_rows, make_study, meta_trained, study_of
from scipy.special import softmax
from toy_store import Features, cross_corpus_split

from colab_utils.learning import recipe
from colab_utils.learning.heads import JOINT, LINEAR, PRIOR, linear_head
from colab_utils.methods.maml import RECOMMENDED
from colab_utils.methods.maml.study import MamlStudy
from colab_utils.protocols.draws import enrolment_clips

FEW = dataclasses.replace(EPISODES, n_tasks=4)


def with_how(**how):
    return dataclasses.replace(CONFIG, **how)


def frames_of(store, ids):
    """All frames of some utterances, one after the other."""
    return np.concatenate([store.values[utt_id].astype(float) for utt_id in ids])


def naive(study, config, utt_id):
    """An utterance less the mean, over the deviation, by loops over the table of utterances."""
    rows, store = study.rows, study.store
    row = rows[rows["utt_id"] == utt_id].iloc[0]
    heard = set(rows["utt_id"])
    if config.enrolment:
        heard = enrolment_clips(rows, config.normalisation, config.enrolment)
    of_corpus, of_speaker = [], []
    for other in rows.itertuples():
        if other.utt_id in heard and other.corpus == row["corpus"]:
            of_corpus.append(other.utt_id)
            if other.speaker == row["speaker"]:
                of_speaker.append(other.utt_id)
    corpus = frames_of(store, of_corpus)
    mean = corpus.mean(axis=0)
    if config.normalisation == "speaker":
        n = len(of_speaker)
        own = frames_of(store, of_speaker).mean(axis=0)
        mean = (n * own + config.prior_clips * mean) / (n + config.prior_clips)
    return (store.values[utt_id] - mean) / corpus.std(axis=0)


@pytest.mark.parametrize(
    "how",
    [
        {"normalisation": "corpus"},
        {"normalisation": "speaker"},
        {"normalisation": "speaker", "prior_clips": 0.0},
        {"normalisation": "corpus", "enrolment": 10},
        {"normalisation": "speaker", "enrolment": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("frames", [False, True])
def test_a_network_gets_what_loops_over_speakers_give(tmp_path, how, frames):
    study = make_study(tmp_path)
    config = with_how(standardise=False, **how)
    if frames:
        study.store = Features(study.rows, LABELS, frames=True)
        config = dataclasses.replace(config, network="conv4")
    tested = study._tested("MAML", "maml", config, EPISODES)
    for role in ("train", "valid", "test"):
        clips = study._clips(tested, "cc", role)
        for number in (0, len(clips) - 1):
            expected = naive(study, config, clips.rows["utt_id"][number])
            assert np.allclose(clips.clip(number), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["none", "speaker"])
def test_who_is_enrolled_is_asked_by_no_method_and_nobody_else_is_heard(tmp_path, how):
    config = with_how(normalisation=how, enrolment=5, iterations=2)
    study = make_study(tmp_path)
    before = study._drawn(study._tested("", "chance", CONFIG, FEW), "cc")
    kinds = ["chance", "nearest prototype", *LINEAR]
    runs = study.compare(config, FEW, {"MAML": config}, kinds)
    assert (PRIOR in runs) == (how != "speaker")
    assert study._drawn(study._tested("", "chance", config, FEW), "cc") is not before
    rows = study.rows
    enrolled = enrolment_clips(rows, "speaker", 5) | enrolment_clips(rows, "corpus", 5)
    asked = [run.predictions[["task", "utt_id", "true"]] for run in runs.values()]
    for run, one in zip(runs.values(), asked, strict=True):
        assert one.equals(asked[0])
        episodes = run.split[run.split["role"].isin(["support", "query"])]
        assert not set(episodes["utt_id"]) & enrolled
        assert set(run.split.loc[run.split["role"] == "enrolment", "utt_id"]) <= enrolled
        assert run.metrics["rule"] == ["inductive"]
    study.rows = rows.assign(file="")
    shown = study.episode(config, FEW, task=2)
    split = runs["MAML"].split
    assert set(shown["utt_id"]) == set(split.loc[split["task"] == 2, "utt_id"])
    told = " ".join(runs[RECOMMENDED].metrics["notes"])
    assert "normalised by 5 clips of each speaker that are not tested" in told
    # nothing else of the tested speakers is heard
    before = study.features_for(study._tested("", RECOMMENDED, config, FEW))
    changed = MamlStudy("toy", rows, study.split, study.store, LABELS, tmp_path / "changed")
    own = set(rows.loc[rows["corpus"] == "cc", "utt_id"]) - enrolled
    kept, *others = sorted(own)
    for utt_id in others:
        study.store.values[utt_id] = study.store.values[utt_id] + 7
    after = changed.features_for(changed._tested("", RECOMMENDED, config, FEW))
    assert np.array_equal(before[kept], after[kept])


def test_rules_and_notes_say_how_features_are_normalised(tmp_path):
    study = make_study(tmp_path)
    config = with_how(normalisation="corpus", iterations=2)
    runs = study.compare(config, FEW, {"MAML": config}, ["nearest prototype", *LINEAR])
    for name in ("MAML", "nearest prototype", PRIOR, JOINT):
        assert set(runs[name].predictions["rule"]) == {"transductive: normalised by corpus"}
        assert "clips of each corpus, tested ones included" in runs[name].metrics["notes"][0]
    notes = " ".join(runs[RECOMMENDED].metrics["notes"])
    assert set(runs[RECOMMENDED].predictions["rule"]) == {"transductive: normalised by speaker"}
    assert (
        "one fitted on the support with a head of the source as its prior" in notes
        and "each speaker" in notes
    )
    assert "recommended is on acoustic+moonshine; these are toy" in notes
    plain = meta_trained(study, with_how(normalisation="none", iterations=2), FEW)
    assert set(plain.predictions["rule"]) == {"inductive"}


def test_recommended_is_one_run_whatever_the_form_normalises_by_and_on_frames_it_pools(tmp_path):
    study = make_study(tmp_path)
    paths = set()
    for how in ("none", "corpus", "speaker"):
        config = with_how(normalisation=how, network="conv4", max_frames=50)
        tested = study._tested(RECOMMENDED, RECOMMENDED, config, FEW)
        assert tested.config.pooled and tested.config.normalising == ("speaker", 10.0, 0)
        paths.add(study.opened(tested).path)
    assert len(paths) == 1


# --- the rows themselves --------------------------------------------------------------------------


def episode_of(study, config, episodes=FEW, task=0):
    """Support, its class ids and query of an episode, normalised and standardised by hand."""
    tested = study._tested(RECOMMENDED, RECOMMENDED, config, episodes)
    rows = study.part(tested, "cc", "test")
    train = study.part(tested, "cc", "train")
    ids = {"train": train["utt_id"], "y": study.classes(train)}
    episode = study._drawn(tested, "cc")[1][task]
    ids["support"] = rows["utt_id"].to_numpy()[episode.support.ravel()]
    ids["query"] = rows["utt_id"].to_numpy()[episode.query.ravel()]
    x = {}
    for name in ("train", "support", "query"):
        vectors = [naive(study, tested.config, utt_id)[0] for utt_id in ids[name]]
        x[name] = np.stack(vectors)
    mean, deviation = x["train"].mean(axis=0), x["train"].std(axis=0)
    scaled = {name: (one - mean) / deviation for name, one in x.items()}
    support_y = np.repeat(episode.classes, episodes.shots)
    return scaled, ids["y"], support_y


def test_recommended_is_the_source_s_head_moved_by_the_support(tmp_path):
    study = make_study(tmp_path)
    config = with_how(normalisation="none")
    runs = study.compare(config, FEW, {}, LINEAR)
    x, y, support_y = episode_of(study, config)
    alone = linear_head(x["train"], y, 4, recipe.SOURCE_STRENGTH)
    prior = linear_head(x["train"], y, 4, recipe.PRIOR_STRENGTH)
    strength = recipe.SUPPORT_PRECISION / len(support_y)
    moved = linear_head(x["support"], support_y, 4, strength, prior)
    table = runs[RECOMMENDED].predictions
    found = table.loc[table["task"] == 0, [f"p_{label}" for label in LABELS]]
    share = 1 / (1 + np.sqrt(EPISODES.shots))
    votes = share * alone.logits(x["query"]) / recipe.SOURCE_TEMPERATURE
    votes += (1 - share) * moved.logits(x["query"]) / (1 + 1 / EPISODES.shots)
    votes *= 2**recipe.SURER  # the source has two corpora
    assert np.allclose(softmax(votes, axis=1), found, atol=1e-4)
    assert runs[RECOMMENDED].predictions["pred"].ne(runs[PRIOR].predictions["pred"]).any()


def test_no_label_of_a_tested_speaker_but_those_of_the_support_reaches_the_recommended_row(
    tmp_path,
):
    rows = make_rows()
    split = cross_corpus_split(rows, "cc", n_valid_speakers=4)
    study = study_of(rows, split, tmp_path / "true")
    one = dataclasses.replace(EPISODES, n_tasks=1)
    tested = study._tested(RECOMMENDED, RECOMMENDED, CONFIG, one)
    plan, episodes = study._drawn(tested, "cc")
    scores = study.predict(None, tested, "cc")[0]
    support = study.part(tested, "cc", "test")["utt_id"].iloc[episodes[0].support.ravel()]
    asked = rows["corpus"].eq("cc") & ~rows["utt_id"].isin(support)
    lied = rows.assign(emotion=rows["emotion"].mask(asked, "sadness"))
    other = study_of(lied, split, tmp_path / "lied")
    other.store = study.store
    (key,) = study._episodes
    other._episodes[key] = plan, episodes  # a draw asks for labels: the same episode again
    again = other.predict(None, tested, "cc")[0]
    p = [f"p_{label}" for label in LABELS]
    assert set(again["true"]) == {"sadness"} and np.array_equal(scores[p], again[p])


def test_a_slider_moves_without_the_source_being_learnt_again(tmp_path, monkeypatch):
    study = make_study(tmp_path)
    study.compare(CONFIG, FEW, {}, [RECOMMENDED])
    monkeypatch.setattr("colab_utils.learning.heads.SourceHeads.of", None)
    moved = dataclasses.replace(FEW, shots=3)
    study.compare(CONFIG, moved, {}, [RECOMMENDED, JOINT])
    (source,) = study._sources.values()
    assert len(source.x) == len(study.part(study._tested("", JOINT, CONFIG, FEW), "cc", "train"))
