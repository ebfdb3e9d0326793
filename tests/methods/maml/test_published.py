"""The presets of Few-Shot_SER: each is its script, with its features; what differs is said."""

import dataclasses
import json

import pytest
from maml_toys import CONFIG, EPISODES, make_rows, make_study, meta_trained
from toy_store import Features

from colab_utils.features import front_end
from colab_utils.features.front_end import identity
from colab_utils.learning.recipe import NORMALISATION
from colab_utils.methods.maml.published import FEATURES, PRESETS, features_of, other_features
from colab_utils.methods.maml.settings import EpisodeConfig, MamlConfig, other_episodes
from colab_utils.settings import with_settings

# the constants at the head of src/bin/train_<script>_Nshot.py: UPDATE_LR, META_LR, UPDATE_STEP,
# UPDATE_STEP_TEST, K_SPT, K_QRY, batch_size, EPOCH, PAD_TO; sample_rate, fft_size, hop_length,
# num_mels of its AudioProcessor; and its loader and learner
SCRIPTS = """
paper                   0.01   0.001    5 20  5 20 2 2000 200  22050 1024 256 80  mel  first  final
paper-contrastive       0.01   0.001    5 20  5 20 2 2000 200  22050 1024 256 80  mel  first  final
paper-agnostic          0.0002 0.000001 8  8  5 25 2 6000 200  22050 1024 256 80  mel  first  final
paper-mfcc              0.05   0.001    8  8  5 25 4 2000 200  16000  512 128 80  mfcc first  final
paper-msl               0.05   0.001    8  8  5 25 4 2000 200  16000  512 128 80  mfcc first  ramp
paper-mfcc-contrastive  0.05   0.001    8  8  5 20 2 2000 200  16000  512 128 80  mfcc first  final
paper-msl-contrastive   0.05   0.001    8  8  5 20 2 2000 200  16000  512 128 80  mfcc first  ramp
paper-second-order      0.001  0.001    8  8 25 25 2 6000 200  22050 1024 256 80  mfcc second final
paper-lstm              0.05   0.001    8  8  5 25 4 3000 100  16000  512 128 20  mfcc first  ramp
"""
ROWS = {line.split()[0]: line.split()[1:] for line in SCRIPTS.strip().splitlines()}


def test_every_script_has_its_preset():
    assert set(ROWS) == set(PRESETS) == set(FEATURES) and set(PRESETS) < set(MamlConfig.PRESETS)


@pytest.mark.parametrize("name", ROWS)
def test_a_preset_has_the_constants_of_its_script(name):
    config = MamlConfig.from_preset(name)
    numbers = [float(one) for one in ROWS[name][:13]]
    loader, order, multi_step = ROWS[name][13:]
    found = [config.inner_rate, config.meta_rate, config.steps, config.test_steps, config.shots]
    found += [config.queries, config.meta_batch, config.iterations, config.max_frames]
    front, settings = features_of(name)
    spec = with_settings(front_end(front), **settings)
    assert found + [spec.sample_rate, spec.n_fft, spec.hop, spec.n_mels] == numbers
    assert front == {"mel": "paper-logmel", "mfcc": "paper-mfcc"}[loader]
    assert (config.order, config.multi_step) == (order, multi_step)
    assert (spec.window, spec.low_hz, spec.high_hz) == (spec.n_fft, 80, 7600)
    assert (config.contrastive == "nt-xent") == ("contrastive" in name)
    assert (config.network == "lstm") == (name == "paper-lstm")
    assert config.ways == 5 and config.regime == "permuted" and not config.learn_rates
    assert config.normalisation == "none" and MamlConfig().normalisation == NORMALISATION
    assert not config.standardise and config.clip == 0 and config.schedule == "constant"


def test_episodes_of_a_preset_are_the_published_ones(tmp_path):
    study = make_study(tmp_path)
    episodes = study.episodes(MamlConfig.from_form("paper", shots=0, queries=0, iterations=0))
    assert (episodes.shots, episodes.queries, episodes.steps) == (5, 20, 20)
    episodes = study.episodes(MamlConfig.from_preset("paper-second-order"))
    assert (episodes.shots, episodes.queries, episodes.steps) == (25, 25, 8)
    assert study.episodes(MamlConfig(steps=3)).steps == 3
    assert study.episodes(MamlConfig.from_preset("paper"), steps=5).steps == 5


def test_the_run_keeps_its_preset_and_says_what_was_changed(tmp_path):
    small = {"network": "mlp", "norm": "group", "width": 16, "iterations": 2, "valid_tasks": 8}
    config = MamlConfig.from_form("paper", small, shots=2, queries=3)
    study = make_study(tmp_path)
    run = meta_trained(study, config, study.episodes(config, n_tasks=4))
    assert run.config["preset"] == "paper" and run.config["test"]["steps"] == 20
    assert run.config["changed"] == {**small, "shots": 2, "queries": 3}
    assert run.config["settings"]["test_steps"] == 20
    other = meta_trained(study, config, study.episodes(config, n_tasks=4, steps=3))
    assert other.config["changed"] == run.config["changed"] | {"test_steps": 3}
    assert len(list(tmp_path.glob("trained/maml/*"))) == 1, "the test alone differs"
    assert json.loads((run.path / "config.json").read_text()) == run.config


# --- features -------------------------------------------------------------------------------------


def test_empty_features_are_those_of_the_preset():
    assert features_of("default") == features_of("default-permuted", "") == ("auto", {})
    assert features_of("default", "auto") == ("auto", {})
    assert features_of("paper-lstm", "") == ("paper-mfcc", {"n_mels": 20})
    assert features_of("paper-lstm", "auto") == ("paper-mfcc", {"n_mels": 20})
    assert features_of("paper-lstm", "paper-mfcc") == ("paper-mfcc", {"n_mels": 20})
    assert features_of("paper-lstm", "logmel") == ("logmel", {})


def test_features_that_a_preset_was_not_published_with_are_noted(tmp_path):
    for preset, (name, settings) in FEATURES.items():
        assert other_features(preset, identity(with_settings(front_end(name), **settings))) == []
    (note,) = other_features("paper-lstm", identity(front_end("paper-mfcc")))
    assert "instead of those that paper-lstm was published with (paper-mfcc, n_mels = 20)" in note
    assert other_features("default", identity(front_end("logmel"))) == []
    study = make_study(tmp_path)
    config = dataclasses.replace(CONFIG, iterations=2, preset="paper")
    notes = meta_trained(study, config, EPISODES).metrics["notes"]
    assert "features toy instead of those that paper was published with (paper-logmel)" in notes


@pytest.mark.parametrize("standardise", [True, False])
def test_a_network_gets_standardised_features_or_those_that_are_stored(tmp_path, standardise):
    study = make_study(tmp_path)
    config = dataclasses.replace(CONFIG, standardise=standardise, normalisation="none")
    tested = study._tested("MAML", "maml", config, EPISODES)
    for role in ("train", "valid", "test"):
        clips = study._clips(tested, "cc", role)
        stored = study.store.matrix(clips.rows["utt_id"])
        if standardise:
            train = study.store.matrix(study.part(tested, "cc", "train")["utt_id"]).astype(float)
            stored = (stored - train.mean(axis=0)) / train.std(axis=0)
        assert clips.values.numpy() == pytest.approx(stored, abs=1e-4)
    simple = study._tested("nearest prototype", "nearest prototype", config, EPISODES)
    assert simple.config.standardise, "a method without a network has no use for raw scales"


# --- what the test does otherwise -----------------------------------------------------------------


def told(test, **trained):
    config = MamlConfig(**{"steps": 5, "shots": 5, "ways": 5, **trained})
    return other_episodes(config, EpisodeConfig(**test))


def test_other_episodes_than_trained_are_told():
    assert told({}) == []
    assert told({"steps": 3}) == ["trained with 5 inner steps, tested with 3"]
    (more,) = told({"steps": 8})
    assert more == "trained with 5 inner steps, tested with 8: the last rates are repeated"
    assert told({"steps": 8}, learn_rates=False) == ["trained with 5 inner steps, tested with 8"]
    assert told({"shots": 1, "ways": 3}) == [
        "trained with 5 ways, tested with 3",
        "trained with 5 shots, tested with 1",
    ]
    learnt, fixed = told({"inner_rate": 0.5}), told({"inner_rate": 0.5}, learn_rates=False)
    assert learnt == ["inner rate 0.5 for all layers and steps instead of the learnt ones"]
    assert fixed == ["inner rate 0.5 instead of 0.05"]
    assert told({"inner_rate": 0.05}, learn_rates=False) == []


def test_episodes_that_mix_corpora_are_told(tmp_path):
    study = make_study(tmp_path)
    notes = study.notes(study._tested("chance", "chance", CONFIG, EPISODES))
    assert not any("all tested corpora" in note for note in notes)
    rows = make_rows()
    of_bb = study.split["utt_id"].str.startswith("bb")
    split = study.split.assign(role=study.split["role"].mask(of_bb, "test"))
    mixed = type(study)("toy", rows, split, Features(rows, study.labels), study.labels, tmp_path)
    notes = mixed.notes(mixed._tested("chance", "chance", CONFIG, EPISODES))
    assert "an episode draws from all tested corpora: bb, cc" in notes
