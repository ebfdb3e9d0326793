"""AlexNet on spectrograms: sizes, masks, weights, the published traps beside the repaired way,
training, studies, models to keep.
"""

import dataclasses
import gc
import os
import pathlib
import pickle
import sys
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from repo import REPO
from run_notebook import read_value  # noqa: E402
from safetensors.torch import save_file
from torch.nn import functional

from colab_utils.corpora.manifest import empty_row
from colab_utils.features.published.alexnet import AlexNetSpectrogram
from colab_utils.learning.study import Tested
from colab_utils.learning.training import single_thread, train
from colab_utils.methods.alexnet import figures
from colab_utils.methods.alexnet import study as study_module
from colab_utils.methods.alexnet import training as cnn
from colab_utils.methods.alexnet.labeller import Labeller
from colab_utils.methods.alexnet.network import (
    AlexNet,
    AlexNetGap,
    spectrogram_net,
    start_from,
    valid_columns,
)
from colab_utils.methods.alexnet.panel import panel
from colab_utils.methods.alexnet.pictures import (
    Images,
    fit_range,
    make_images,
    utterance_probabilities,
)
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.methods.alexnet.study import AlexnetStudy, in_conditions
from colab_utils.methods.alexnet.training import AlexnetLearner, Batch, FoldPictures, TrainingFold
from colab_utils.protocols.folds import grouped_folds, make_split
from colab_utils.settings import SettingError, with_settings

LABELS = ["anger", "fear", "sadness"]
SMALL = AlexnetConfig.from_preset(
    "small", num_epochs=2, batch_size=8, n_boot=20, image_height=63, image_width=64
)


@pytest.fixture(autouse=True)
def one_thread():
    """Beside other work a second thread makes small tensors several times slower."""
    with single_thread():
        yield


# --- networks
# -----------------------------------------------------------------------------------------------------------------------------


def test_parameter_counts_are_the_published_ones():
    counts = [
        sum(p.numel() for p in spectrogram_net(name, 4).parameters())
        for name in ("alexnet", "alexnet_gap")
    ]
    assert counts == [57_020_228, 2_470_724]


def test_one_channel_is_all_three_colours_three_stay_three_and_nine_fail():
    torch.manual_seed(0)
    net = AlexNetGap(4).eval()
    one, valid = torch.randn(2, 1, 64, 96), torch.ones(2)
    grey, colours = net(one, valid), net(one.repeat(1, 3, 1, 1), valid)
    assert torch.allclose(grey, colours, atol=1e-5)
    slopes = [
        torch.autograd.grad(logits.square().sum(), net.features[0].weight)[0]
        for logits in (grey, colours)
    ]
    assert torch.allclose(*slopes, rtol=1e-3, atol=1e-4)
    three = torch.randn(2, 3, 64, 96)
    assert net(three, valid).shape == (2, 4)
    # what repeating every picture three times makes of three channels
    with pytest.raises(SettingError, match="9 channels: 1 or 3"):
        net(three.repeat(1, 3, 1, 1), valid)


def test_the_mean_is_over_columns_of_speech_alone():
    torch.manual_seed(0)
    net = AlexNetGap(4).eval()
    images = torch.randn(3, 1, 128, 384)
    maps = net.activation_map(images)
    valid = torch.tensor([1.0, 0.5, 0.0])
    logits = net(images, valid)
    columns = maps.shape[3]
    for row, share in enumerate(valid.tolist()):
        inside = [k for k in range(columns) if (k + 0.5) / columns < share] or [0]
        assert torch.allclose(logits[row], maps[row][:, :, inside].mean(dim=(1, 2)), atol=1e-5)
    assert valid_columns(torch.tensor([0.0]), 5).tolist() == [[True, False, False, False, False]]


def convolutions(model):
    return {
        name: torch.randn_like(value)
        for name, value in model.state_dict().items()
        if name.startswith("features.")
    }


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
def test_weights_from_a_file_fill_the_convolutions_and_leave_the_head(tmp_path, suffix):
    model = AlexNetGap(4)
    weights, file = convolutions(model), tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(weights, file)
    elif suffix == ".npz":
        np.savez(file, **{name: value.numpy() for name, value in weights.items()})
    else:
        torch.save(weights, file)
    head = model.head.weight.clone()
    told = start_from(model, str(file))
    assert told == f"weights{suffix}: convolutions; the rest is random" and torch.equal(
        model.head.weight, head
    )
    assert all(torch.equal(model.state_dict()[name], value) for name, value in weights.items())
    assert start_from(model, "scratch") == "scratch"


def test_real_imagenet_weights_fit():
    file = (
        pathlib.Path(os.environ.get("SER_WEIGHTS", REPO.parent / "shared" / "weights"))
        / "alexnet_features.npz"
    )
    if not file.is_file():
        pytest.skip(
            f"no ImageNet weights at {file}: set SER_WEIGHTS to the folder that holds"
            " alexnet_features.npz"
        )
    model = AlexNetGap(4)
    start_from(model, str(file))
    assert 0.1 < model.features[0].weight.abs().max() < 3


def test_dense_layers_are_taken_where_they_are_given(tmp_path):
    model = AlexNet(4)
    dense = {
        name: value * 0 + 0.5
        for name, value in model.state_dict().items()
        if name.startswith(("classifier.1", "classifier.4"))
    }
    weights = convolutions(model) | dense
    save_file(weights, tmp_path / "all.safetensors")
    assert "two fully connected layers" in start_from(model, str(tmp_path / "all.safetensors"))
    assert (model.classifier[4].weight == 0.5).all() and (model.classifier[6].bias == 0).all()


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.npz", None, "no such file"),
        ("weights.bin", b"x", "none of .safetensors"),
        ("torn.safetensors", b"x" * 50, "cannot be read"),
        ("torn.npz", b"x" * 50, "cannot be read"),
        ("evil.pth", pickle.dumps(Evil()), "pretrained = "),
    ],
)
def test_weights_that_cannot_be_had_are_one_sentence(tmp_path, name, content, told):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingError, match=told) as found:
        start_from(AlexNetGap(4), str(tmp_path / name))
    assert "\n" not in str(found.value)


def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path):
    model = AlexNetGap(4)
    before = model.features[0].weight.clone()
    weights = convolutions(model)
    del weights["features.6.bias"]
    save_file(weights, tmp_path / "part.safetensors")
    with pytest.raises(SettingError, match="features.6.bias is missing"):
        start_from(model, str(tmp_path / "part.safetensors"))
    save_file(
        convolutions(model) | {"features.0.weight": torch.zeros(64, 1, 11, 11)},
        tmp_path / "grey.safetensors",
    )
    with pytest.raises(SettingError, match=r"features.0.weight has shape \(64, 1, 11, 11\)"):
        start_from(model, str(tmp_path / "grey.safetensors"))
    assert torch.equal(model.features[0].weight, before)


# --- losses
# -------------------------------------------------------------------------------------------------------------------------------


def test_the_divergence_is_a_kl_and_the_circulating_one_is_not():
    torch.manual_seed(0)
    clean, noisy = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    p, q = torch.softmax(clean, 1), torch.softmax(noisy, 1)
    by_hand = sum(p[i, c] * (p[i, c].log() - q[i, c].log()) for i in range(6) for c in range(4)) / 6
    assert cnn.divergence(clean, noisy).item() == pytest.approx(by_hand.item(), abs=1e-12)
    assert (
        cnn.divergence(clean, clean).item() == pytest.approx(0, abs=1e-12)
        and cnn.divergence(clean, noisy) > 0
    )
    # probabilities where log-probabilities belong
    published = functional.kl_div(p, p, reduction="batchmean")
    assert published < -0.1


def test_mixup_mixes_pictures_labels_and_copies_alike():
    rng = np.random.default_rng(0)
    images, other, valid = (
        torch.randn(8, 1, 4, 4),
        torch.randn(8, 1, 4, 4),
        torch.linspace(0.1, 0.8, 8),
    )
    targets = functional.one_hot(torch.arange(8) % 3, 3).float()
    batch = Batch(images, valid, targets, other)
    both, held, soft, copies = cnn.mixed(batch, SMALL, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    share = rng.beta(0.4, 0.4, size=8)
    share, partner = np.maximum(share, 1 - share), rng.permutation(8)
    for i in range(8):
        for mine, whole in ((both, images), (soft, targets), (copies, other)):
            assert torch.allclose(
                mine[i],
                float(share[i]) * whole[i] + float(1 - share[i]) * whole[partner[i]],
                atol=1e-6,
            )
        assert held[i] == max(valid[i], valid[partner[i]])
    logits = torch.randn(8, 3)
    pairs = [
        share[i] * functional.cross_entropy(logits[i], torch.tensor(i % 3))
        + (1 - share[i]) * functional.cross_entropy(logits[i], torch.tensor(int(partner[i]) % 3))
        for i in range(8)
    ]
    assert cnn.soft_cross_entropy(logits, soft).item() == pytest.approx(
        float(sum(pairs)) / 8, abs=1e-5
    )


def test_spec_augment_hides_bands_of_at_most_a_tenth_each():
    hidden = cnn.bands((50, 1, 100, 200), np.random.default_rng(0))
    rows, columns = hidden.all(dim=3).sum(dim=2).squeeze(1), hidden.all(dim=2).sum(dim=2).squeeze(1)
    assert (
        rows.max() <= 20
        and columns.max() <= 40
        and rows.float().mean() > 3
        and columns.float().mean() > 6
    )
    assert (hidden == (hidden.all(dim=3, keepdim=True) | hidden.all(dim=2, keepdim=True))).all()


def test_oversampling_makes_all_classes_as_frequent_as_the_commonest():
    y = np.array([0] * 10 + [1] * 3 + [2] * 7)
    pool = cnn.oversampled(y, 0)
    assert np.bincount(y[pool]).tolist() == [10, 10, 10] and set(pool) == set(range(20))


def test_the_rate_rises_and_falls():
    rates = [cnn.rate_at(i, 100, "cosine") for i in range(100)]
    assert (
        rates[9] == pytest.approx(1.0)
        and rates[0] == pytest.approx(0.1)
        and rates[-1] < 0.01
        and max(rates) <= 1.0
    )
    assert cnn.rate_at(77, 100, "constant") == 1.0


def test_utterances_are_means_weighted_by_frames_and_the_published_mean_is_geometric():
    p = torch.tensor([[0.7, 0.3], [0.1, 0.9], [0.5, 0.5]])
    images = Images(
        torch.zeros(3, 1, 1, 1),
        torch.tensor([1.0, 0.25, 0.5]),
        torch.zeros(3),
        torch.tensor([0, 0, 1]),
        2,
    )
    assert np.allclose(
        utterance_probabilities(p, images),
        [[(0.7 + 0.025) / 1.25, (0.3 + 0.225) / 1.25], [0.5, 0.5]],
    )
    product = np.sqrt([0.7 * 0.1, 0.3 * 0.9])
    assert np.allclose(utterance_probabilities(p, images, "geometric")[0], product / product.sum())


# --- pictures
# -----------------------------------------------------------------------------------------------------------------------------


class Store(dict):
    pooled, key = False, "abc"
    spec = {"name": "alexnet"}

    @property
    def ids(self):
        return list(self)

    def lengths(self, ids):
        return np.array([len(self[utt_id]) for utt_id in ids])


def sized(height, width, **changes):
    return dataclasses.replace(SMALL, image_height=height, image_width=width, **changes)


def corpus(speakers=6, each=3):
    return pd.DataFrame(
        [
            {
                **empty_row("aa", f"{who}-{label}-{i}"),
                "speaker": f"s{who}",
                "emotion": label,
                "emotion_raw": label,
            }
            for who in range(speakers)
            for label in LABELS
            for i in range(each)
        ]
    )


def spectrograms(rows, channels=1):
    """Frames in which each emotion is loud in bins of its own."""
    rng, store = np.random.default_rng(0), Store()
    for row in rows.itertuples():
        frames = rng.uniform(-70, -40, size=(int(rng.integers(120, 500)), channels * 200)).astype(
            np.float32
        )
        frames[:, 60 * LABELS.index(row.emotion) : 60 * LABELS.index(row.emotion) + 40] += 35
        store[row.utt_id] = frames
    return store


def test_pictures_are_scaled_by_training_bins_turned_and_padded_with_silence():
    rows, spec = corpus(1), AlexNetSpectrogram()
    store = spectrograms(rows)
    limits = fit_range(store, rows["utt_id"][:5], spec)
    frames = np.concatenate([store[utt] for utt in rows["utt_id"][:5]])
    assert np.allclose(limits.low[0], frames.min(0)) and np.allclose(limits.high[0], frames.max(0))
    images = make_images(store, rows, LABELS, sized(200, 300), limits)
    short = int(np.argmax([len(store[utt]) < 300 for utt in rows["utt_id"]]))
    picture = images.values[images.utterance == short][0, 0]
    mean, std = np.mean([0.485, 0.456, 0.406]), np.mean([0.229, 0.224, 0.225])
    clip = store[rows["utt_id"][short]]
    expected = np.clip(
        (clip - limits.low[0].numpy()) / (limits.high - limits.low)[0].numpy(), 0, 1
    ).T[::-1]
    assert np.allclose(picture[:, : len(clip)], (expected - mean) / std, atol=1e-3)
    # silence is black
    assert np.allclose(picture[:, len(clip) :], -mean / std, atol=1e-3)
    assert images.valid[images.utterance == short][0].item() == pytest.approx(len(clip) / 300)
    white = make_images(store, rows, LABELS, sized(200, 300, padding="zero"), limits)
    trapped = white.values[images.utterance == short][0, 0]
    # the published padding is white
    assert np.allclose(trapped[:, len(clip) :], (1 - mean) / std, atol=1e-3)
    rounded = make_images(store, rows, LABELS, sized(200, 300, eight_bit=True), limits)
    levels = rounded.values.float() * std + mean
    assert torch.allclose(levels * 255, (levels * 255).round(), atol=0.2)
    with pytest.raises(SettingError, match="no features"):
        make_images(store, rows.assign(utt_id=rows["utt_id"] + "x"), LABELS, SMALL, limits)


def test_the_default_data_path_is_not_quantised_and_three_channels_train():
    rows, spec = corpus(2), AlexNetSpectrogram(feature_set="logdeltaspec")
    store = spectrograms(rows, channels=3)
    limits = fit_range(store, rows["utt_id"], spec)
    config = dataclasses.replace(SMALL, features="logdeltaspec")
    images = make_images(store, rows, LABELS, config, limits)
    assert images.values.shape[1:] == (3, 63, 64) and images.values.dtype == torch.float32
    fold = TrainingFold(
        limits, images.y.numpy(), images.y[:0].numpy(), lambda: FoldPictures(images, [], images)
    )
    learner = AlexnetLearner(config, 3, fold)
    assert np.isfinite(learner.step(0)["loss"])


# --- training
# -----------------------------------------------------------------------------------------------------------------------------


def learner_of(config, rows=None):
    rows = corpus() if rows is None else rows
    store, spec = spectrograms(rows), AlexNetSpectrogram()
    limits = fit_range(store, rows["utt_id"], spec)
    images = make_images(store, rows, LABELS, SMALL, limits)
    noise = torch.randn(images.values.shape, generator=torch.Generator().manual_seed(1))
    noisy = [images._replace(values=images.values + 0.3 * noise)]
    true = pd.Index(LABELS).get_indexer(rows["emotion"])
    fold = TrainingFold(limits, images.y.numpy(), true, lambda: FoldPictures(images, noisy, images))
    return AlexnetLearner(config, 3, fold)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"mixup": True},
        {"stability": 0.5},
        {"oversampling": True, "balanced": False},
        {"noisy_loss": True},
        {"stability": 0.5, "mixup": True},
    ],
)
def test_every_way_of_training_learns(change):
    learner = learner_of(dataclasses.replace(SMALL, num_epochs=10, **change))
    for i in range(learner.steps):
        values = learner.step(i)
    assert learner.validate() > 0.6 and ("divergence" in values) == bool(change.get("stability"))


def test_balanced_batches_hold_every_class_equally_often():
    rows = corpus()
    rare = rows[(rows["emotion"] != "fear") | (rows["speaker"] == "s0")].reset_index(drop=True)
    learner = learner_of(dataclasses.replace(SMALL, batch_size=9), rare)
    counts = np.bincount(learner.y[learner.segments_of(3, np.random.default_rng(0))])
    assert counts.tolist() == [3, 3, 3]


def test_the_metric_that_selects_is_the_one_named():
    rows = corpus()
    skewed = rows[(rows["emotion"] == "anger") | (rows["speaker"] == "s0")].reset_index(drop=True)
    scores = {}
    for select in ("uar", "wa"):
        learner = learner_of(dataclasses.replace(SMALL, select=select), skewed)
        valid = learner.pictures.valid
        found = utterance_probabilities(learner.probabilities(valid), valid).argmax(axis=1)
        right = pd.Series(found == learner.true)
        scores[select] = {"uar": right.groupby(learner.true).mean().mean(), "wa": right.mean()}
        assert learner.validate() == pytest.approx(scores[select][select])
    assert abs(scores["uar"]["uar"] - scores["uar"]["wa"]) > 0.05


def test_an_interrupted_training_ends_bit_for_bit_like_an_uninterrupted_one(tmp_path):
    config = dataclasses.replace(SMALL, ser_model="alexnet_gap", mixup=True, stability=0.3)
    whole, first, again = (learner_of(config) for _ in range(3))

    class Killed(Exception):
        pass

    def stop(records):
        if len(records) == 4:
            raise Killed

    train(whole, 6, tmp_path / "whole", every=1, progress=False, save_seconds=0)
    with pytest.raises(Killed):
        train(first, 6, tmp_path / "part", every=1, progress=False, save_seconds=0, on_record=stop)
    # what runs in between must not matter
    torch.manual_seed(99)
    history = train(again, 6, tmp_path / "part", every=1, progress=False, save_seconds=0)
    assert history.resumed_from == 3
    assert all(
        torch.equal(whole.module.state_dict()[name], value)
        for name, value in again.module.state_dict().items()
    )


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"oversampling": True}, "both even out"),
        ({"image_width": 20}, "image_width"),
        ({"ser_model": "vgg"}, "ser_model"),
        ({"noisy_loss": True, "mixup": True}, "noisy copies of"),
    ],
)
def test_bad_settings_are_one_sentence(change, told):
    with pytest.raises(SettingError, match=told) as found:
        with_settings(SMALL, **change)
    assert "\n" not in str(found.value)


def test_every_preset_works_and_is_named_by_a_result():
    for name in AlexnetConfig.PRESETS:
        config = AlexnetConfig.from_preset(name, seed=3, features="logmelspec")
        assert config.preset == name and config.changed() == {}
        assert dataclasses.replace(config, mixup=True).changed() == {"mixup": True}
    assert AlexnetConfig.from_preset("paper-as-released").padding == "zero"
    with pytest.raises(SettingError, match="no preset 'best'"):
        AlexnetConfig.from_preset("best")


EMPTY = {
    "features": "logspec",
    "ser_model": "alexnet_gap",
    "pretrained": "",
    "mixup": None,
    "oversampling": None,
    "num_epochs": 0,
    "batch_size": 0,
    "lr": 0.0,
    "seed": 0,
    "n_seeds": 1,
}


@pytest.mark.parametrize("preset", list(AlexnetConfig.PRESETS))
def test_empty_lines_of_the_form_are_as_the_preset_says(preset):
    assert AlexnetConfig.from_form(preset, {}, **EMPTY) == AlexnetConfig.from_preset(preset)


@pytest.mark.parametrize("text", ["false", "False", "no"])
def test_no_on_the_command_line_is_no(text):
    given = {**EMPTY, "mixup": read_value(text), "oversampling": read_value(text)}
    config = AlexnetConfig.from_form("small", {}, **given)
    assert not config.mixup and not config.oversampling and config.balanced
    given["mixup"] = read_value("true")
    assert AlexnetConfig.from_form("small", {}, **given).mixup


@pytest.mark.parametrize("word", [True, "true", "True"])
def test_oversampling_takes_the_place_of_balanced_batches(word):
    for given, settings in (
        ({"oversampling": word}, {}),
        ({}, {"oversampling": word}),
        ({"oversampling": word}, {"balanced": None}),
    ):
        config = AlexnetConfig.from_form("small", settings, **given)
        assert config.oversampling and not config.balanced
    with pytest.raises(SettingError, match="both even out"):
        AlexnetConfig.from_form("small", {"balanced": True}, oversampling=word)


# --- the study ------------------------------------------------------------------------------------


class ToyStudy(AlexnetStudy):
    """Spectrograms in memory; "pink@10" is 15 dB louder."""

    small = True  # one thread, as in `one_thread`

    def store_of(self, features, condition=""):
        key = features, condition or "clean"
        if key not in self._stores:
            store = spectrograms(self.rows)
            store.key = key[1]
            if condition == "pink@10":
                for utt_id in store:
                    store[utt_id] = store[utt_id] + 15
            self._stores[key] = store
        return self._stores[key]


def toy_study(root, rows=None, folds=3, conditions=("white@10",)):
    rows = corpus() if rows is None else rows
    split = make_split(rows, grouped_folds(rows, folds, 0), seed=0, n_valid_speakers=1)
    return ToyStudy("toy", rows, split, LABELS, root, progress=False, conditions=conditions)


def small_study(root):
    """A network on two folds in two conditions, trained and tested from start to end: 4 parts."""
    study = toy_study(root, corpus(speakers=4, each=2), folds=2)
    config = dataclasses.replace(SMALL, num_epochs=1, stability=0.5)
    study.train(config)
    return study.run(config, ["clean", "pink@10"], pictures=False)


@pytest.fixture
def study(tmp_path):
    return toy_study(tmp_path)


def trained(study, config, fold=""):
    return study.trained(Tested("gap", config), fold or study.folds[0])


def test_validation_speakers_are_never_test_speakers_and_pick_the_epoch(study):
    one = Tested("gap", SMALL)
    for fold in study.folds:
        speakers = {}
        for role in ("train", "valid", "test"):
            speakers[role] = set(study.part(one, fold, role)["speaker"])
        assert not speakers["valid"] & speakers["test"] and speakers["valid"]
        assert not speakers["train"] & (speakers["valid"] | speakers["test"])
    history = study.train(SMALL)
    measured = {
        record["step"]: record["validation"] for record in history.records if "validation" in record
    }
    best = max(measured.values())
    assert history.best_step == min(step for step, value in measured.items() if value == best)
    learner = trained(study, SMALL)[0]
    assert learner.validate() == pytest.approx(history.best_score)
    valid = study.part(one, study.folds[0], "valid")
    assert learner.true.tolist() == pd.Index(LABELS).get_indexer(valid["emotion"]).tolist()


def test_a_split_without_validation_speakers_is_refused(tmp_path):
    rows = corpus()
    split = make_split(rows, grouped_folds(rows, 3, 0), seed=0)
    with pytest.raises(SettingError, match="no validation speakers"):
        AlexnetStudy("toy", rows, split, LABELS, tmp_path)


def test_one_training_is_tested_in_all_conditions_and_a_second_call_loads(study, capsys):
    config = dataclasses.replace(SMALL, num_epochs=6)
    runs = study.run(config, ["clean", "pink@10"], name="gap", pictures=False)
    assert set(runs) == {"gap, clean", "gap, pink@10"}
    assert len(list((study.root / "trained" / "alexnet").iterdir())) == 3
    clean = runs["gap, clean"]
    assert clean.metrics["uar"] > 0.5 and clean.metrics["n_speakers"] == 6
    assert clean.metrics["notes"][0] == "started from: scratch"
    assert clean.config["condition"] == "clean" and clean.config["model"] == "gap"
    assert clean.predictions["pred"].tolist() != runs["gap, pink@10"].predictions["pred"].tolist()
    capsys.readouterr()
    study.run(config, ["clean", "pink@10"], name="gap", pictures=False)
    assert capsys.readouterr().out.count("nothing is computed again") == 2


def test_settings_of_the_test_alone_train_nothing_again(study):
    study.run(SMALL, pictures=False)
    other = dataclasses.replace(SMALL, test_hop=300, n_boot=10, mixup_alpha=0.9)
    study.run(other, name="another", pictures=False)
    assert len(list((study.root / "trained" / "alexnet").iterdir())) == 3
    study.run(dataclasses.replace(SMALL, decision="geometric"), pictures=False)
    assert len(list((study.root / "trained" / "alexnet").iterdir())) == 6


def test_a_run_is_each_network_by_hand(tmp_path):
    """The networks of two folds, trained and asked without the contract."""
    study = toy_study(tmp_path)
    table = study.run(SMALL, pictures=False)["alexnet_gap, clean"].predictions
    one = Tested("gap", SMALL)
    for fold in study.folds[:2]:
        learner = study.learner(one, fold).learner
        train(
            learner,
            learner.steps,
            tmp_path / f"by-hand-{fold}",
            every=learner.steps_per_epoch,
            progress=False,
        )
        rows = study.part(one, fold, "test")
        images = study.images(rows, SMALL, learner.limits, hop=SMALL.test_hop)
        scores = utterance_probabilities(learner.probabilities(images), images)
        found = table[table["fold"] == fold].set_index("utt_id").loc[rows["utt_id"]]
        assert np.allclose(found[[f"p_{label}" for label in LABELS]], scores, atol=1e-6)


def test_one_fold_alone_is_the_fold_of_the_whole_study_and_shares_its_networks(study, capsys):
    whole = study.run(SMALL, pictures=False)["alexnet_gap, clean"]
    alone = study.of_fold("1")
    capsys.readouterr()
    run = alone.run(SMALL, pictures=False)["alexnet_gap, clean"]
    assert capsys.readouterr().out.count("trained before, loaded") == 1
    assert "-fold-1-alexnet-gap-clean-" in run.path.name and alone.folds == ["1"]
    there = whole.predictions[whole.predictions["fold"] == "1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(run.predictions, there)
    assert study.folds == ["0", "1", "2"]


def test_comparing_means_with_and_without_stability_training(study):
    runs = study.compare(SMALL, 0.0, ["clean", "pink@10"])
    assert list(runs) == [
        "alexnet_gap, clean",
        "alexnet_gap, pink@10",
        "alexnet_gap + stability, clean",
        "alexnet_gap + stability, pink@10",
    ]
    weights = [run.config["settings"]["stability"] for run in runs.values()]
    assert weights == [0.0, 0.0, 0.5, 0.5]
    assert runs["alexnet_gap + stability, clean"].config["conditions"] == ["white@10"]
    assert list(figures.clean_runs(runs)) == ["alexnet_gap", "alexnet_gap + stability"]
    table = figures.conditions_table(runs)
    assert table["model"].tolist() == ["alexnet_gap"] * 2 + ["alexnet_gap + stability"] * 2
    assert table["condition"].tolist() == ["clean", "pink@10"] * 2
    assert list(study.table(runs).index) == list(runs)


def test_what_cannot_be_tested_is_said_before_anything_is_computed(study):
    stable = dataclasses.replace(SMALL, stability=0.5)
    with pytest.raises(SettingError, match="white@10 was heard in stability training"):
        study.run(stable, ["clean", "white@10"])
    with pytest.raises(SettingError, match="pretrained = 'weights.npz'.*no such file"):
        study.run(dataclasses.replace(SMALL, pretrained="weights.npz"))
    with pytest.raises(SettingError, match="needs noisy copies"):
        toy_study(study.root, conditions=()).train(stable)
    assert not (study.root / "trained").exists()


def test_other_weights_in_the_same_file_are_another_training(study, tmp_path):
    file = tmp_path / "weights.safetensors"
    config = dataclasses.replace(SMALL, pretrained=str(file))
    alone, paths = study.of_fold("0"), set()
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        save_file(convolutions(AlexNetGap(3)), file)
        paths.add(alone.run(config, pictures=False)["alexnet_gap, clean"].path)
    assert len(paths) == 2 and len(list((study.root / "trained" / "alexnet").iterdir())) == 2


# --- memory ---------------------------------------------------------------------------------------


@pytest.fixture
def made(monkeypatch):
    """Weak references to the values of all pictures that a study makes."""
    references, make = [], study_module.make_images

    def watched(*arguments, **others):
        images = make(*arguments, **others)
        references.append(weakref.ref(images.values))
        return images

    monkeypatch.setattr(study_module, "make_images", watched)
    return references


def alive(references):
    gc.collect()
    return sum(reference() is not None for reference in references)


def test_no_picture_outlives_its_training_or_its_test(study, made, monkeypatch):
    at_start, learner = [], ToyStudy.learner

    def counted(self, tested, fold):
        at_start.append(alive(made))
        return learner(self, tested, fold)

    monkeypatch.setattr(ToyStudy, "learner", counted)
    config = dataclasses.replace(SMALL, stability=0.5, n_seeds=2)
    study.run(config, ["clean", "pink@10"], pictures=False)
    assert len(made) == 6 * (3 + 2)  # 3 folds, 2 seeds: train, noisy, valid; 2 tests
    assert at_start == [0] * 6 and alive(made) == 0
    study.views(config)
    study.measured({"gap": config}, steps=1)
    assert alive(made) == 0
    learner, _ = trained(study, config)
    assert learner.optimiser is None and learner.limits.low.shape == (1, 200)


def test_an_interrupted_training_lets_its_pictures_go(study, made):
    class Stopped(Exception):
        pass

    def stop(_records):
        assert alive(made) == 2
        raise Stopped

    try:
        study.train(SMALL, on_record=stop)
    except Stopped:  # as in a notebook, the traceback is kept
        _, _, kept = sys.exc_info()
        assert kept is not None and alive(made) == 0


def test_a_network_that_is_loaded_needs_no_pictures(study, made):
    study.train(SMALL)
    made.clear()
    again = toy_study(study.root)
    again.train(SMALL)
    again.save(SMALL, "mine")
    assert not made
    one, _ = trained(study, SMALL)
    other, _ = trained(again, SMALL)
    for name, value in one.module.state_dict().items():
        assert torch.equal(value, other.module.state_dict()[name])


# --- a network of one's own -----------------------------------------------------------------------

GLOBAL_CHOICE = 0


def helper_choice():
    return 0


class Base(torch.nn.Module):
    base_choice = 0

    def choose(self):
        return self.base_choice


class Favouring(Base):
    """Always says the class that it was told to, in one of several ways."""

    class_choice = 0

    def __init__(self, n_classes, choose):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.n_classes, self.told = n_classes, choose

    def forward(self, images, valid):
        logits = images.new_zeros(len(images), self.n_classes)
        logits[:, self.told(self)] = 5.0
        return logits * self.weight


def change_class(monkeypatch):
    monkeypatch.setattr(Favouring, "class_choice", 1)


def change_base(monkeypatch):
    monkeypatch.setattr(Base, "choose", lambda self: 1)


def change_global(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "GLOBAL_CHOICE", 1)


def change_helper(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "helper_choice", lambda: 1)


CELL = {"choice": 0}


def from_closure():
    inside = CELL
    return lambda network: inside["choice"]


@pytest.mark.parametrize(
    ("choose", "change"),
    [
        (lambda network: GLOBAL_CHOICE, change_global),
        (lambda network: helper_choice(), change_helper),
        (from_closure(), lambda monkeypatch: monkeypatch.setitem(CELL, "choice", 1)),
        (lambda network: network.class_choice, change_class),
        (lambda network: network.choose(), change_base),
    ],
    ids=["global", "helper", "closure", "class attribute", "base class"],
)
def test_own_code_that_changed_is_computed_anew(study, monkeypatch, choose, change):
    def favouring(n_classes):
        return Favouring(n_classes, choose)

    alone, config = study.of_fold("0"), dataclasses.replace(SMALL, num_epochs=1)
    first = alone.run(config, own=favouring, pictures=False)["favouring, clean"]
    assert set(first.predictions["pred"]) == {"anger"}
    change(monkeypatch)
    again = alone.run(config, own=favouring, pictures=False)["favouring, clean"]
    assert set(again.predictions["pred"]) == {"fear"} and again.path != first.path
    assert again.metrics["notes"][0] == "started from: scratch (a network of one's own)"
    assert not list((study.root / "trained" / "alexnet").iterdir())


def test_lazy_layers_of_ones_own_learn_their_sizes(study):
    class Tiny(torch.nn.Sequential):
        def forward(self, images, valid):
            assert valid.shape == images.shape[:1] and images.shape[1:] == (1, 63, 64)
            return super().forward(images)

    def lazy(n_classes):
        return Tiny(torch.nn.Flatten(), torch.nn.LazyLinear(n_classes))

    (run,) = study.of_fold("0").run(SMALL, own=lazy, name="mine", pictures=False).values()
    assert run.config["model"] == "mine" and set(run.predictions["method"]) == {"mine"}


# --- what is kept, and what is drawn --------------------------------------------------------------


def test_a_kept_model_labels_new_audio_as_the_study_did(study, tmp_path):
    import soundfile

    folder = study.save(SMALL, "mine")
    rng = np.random.default_rng(0)
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.wav")
        wave = rng.normal(0, 0.1, 20000 + 9000 * number).astype(np.float32)
        soundfile.write(paths[-1], wave, 16000)
    table = Labeller(folder).label(paths)
    assert list(table.columns) == ["file", "emotion", "p_anger", "p_fear", "p_sadness"]
    assert np.allclose(table.iloc[:, 2:].sum(axis=1), 1)
    alone = Labeller(folder).label(paths[1:2]).iloc[0, 2:].astype(float)
    assert np.allclose(alone, table.iloc[1, 2:].astype(float), atol=1e-5)
    assert torch.equal(Labeller(folder).limits.low, trained(study, SMALL)[0].limits.low)
    with pytest.raises(SettingError, match="holds no model"):
        Labeller(tmp_path / "nowhere")


def test_parameters_and_time_of_models_are_told(study):
    table = study.measured({"gap": SMALL}, steps=1)
    parameters = sum(p.numel() for p in AlexNetGap(3).parameters())
    assert table.loc["gap", "parameters"] == parameters
    assert table.loc["gap", "seconds an epoch"] > 0
    stable = study.measured({"gap": dataclasses.replace(SMALL, stability=0.5)}, steps=1)
    assert stable.loc["gap", "segments"] == table.loc["gap", "segments"] > 0


def test_who_trains_and_who_is_tested_is_shown(study):
    table = study.overview()
    assert table.index.names == ["fold", "role"] and list(table) == ["utterances", "speakers"]
    assert table["utterances"].groupby("fold").sum().tolist() == [54] * 3
    assert table.xs("valid", level="role")["utterances"].tolist() == [9] * 3


def test_the_figures_of_the_notebook_are_drawn(study):
    runs = study.compare(SMALL, 0.5, ["clean", "pink@10"])
    views = study.views(SMALL)
    assert [view.true for view in views] == LABELS and views[0].picture.shape == (63, 64)
    assert views[0].picture.min() >= 0 and views[0].picture.max() <= 1
    drawn = [
        study.views_figure(SMALL),
        study.noise_figure(runs),
        study.folds_figure(runs),
        study.matrices_figure(figures.clean_runs(runs), "toy, clean"),
    ]
    assert [len(figure.axes) >= 1 for figure in drawn] == [True] * 4
    assert len(drawn[0].axes) == 6 and len(drawn[3].axes) == 2
    labels = [tick.get_text() for tick in drawn[1].axes[0].get_xticklabels()]
    assert labels == ["10", "clean"]
    names = [tick.get_text() for tick in drawn[2].axes[0].get_yticklabels()]
    assert len(names) == 4 and names[-1] == "all, pooled"
    with pytest.raises(ValueError, match="no condition has hum noise"):
        study.noise_figure(runs, "hum")
    with pytest.raises(ValueError, match="no run on clean"):
        study.folds_figure({"noisy": runs["alexnet_gap, pink@10"]})


def test_the_panel_trains_and_tests_the_chosen_fold(study, capsys):
    made_panel = panel(study, dataclasses.replace(SMALL, num_epochs=1))
    made_panel.set(fold="2", mixup=True)
    runs = made_panel.run_once()
    assert list(runs) == ["alexnet_gap, clean", "alexnet_gap, pink@10"]
    for run in runs.values():
        assert set(run.predictions["fold"]) == {"2"} and run.config["changed"]["mixup"] is True


def test_methods_of_one_training_go_together(study):
    tested = in_conditions("gap", SMALL, ["clean", "pink@10"])
    tested += in_conditions("mixed", dataclasses.replace(SMALL, mixup=True), ["clean"])
    assert [len(group) for group in study._groups(tested)] == [2, 1]


def test_a_small_study_ends_the_same_twice(tmp_path):
    one, other = small_study(tmp_path / "one"), small_study(tmp_path / "other")
    assert list(one) == list(other) and len(one) == 2
    for name, run in one.items():
        pd.testing.assert_frame_equal(run.predictions, other[name].predictions)
        assert run.path.name == other[name].path.name
