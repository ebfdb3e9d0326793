"""AlexNet on spectrograms: sizes, masks, weights, the published traps beside the repaired way, training, studies, models to keep."""
import dataclasses
import os
import pathlib
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from colab_utils.corpora.manifest import empty_row
from colab_utils.features.published.alexnet import AlexNetSpectrogram
from colab_utils.learning.training import train
from colab_utils.methods.alexnet import training as cnn
from colab_utils.methods.alexnet.network import AlexNet, AlexNetGap, spectrogram_net, start_from, valid_columns
from colab_utils.methods.alexnet.pictures import Images, Range, fit_range, make_images, utterance_probabilities
from colab_utils.methods.alexnet.study import Labeller, SpectrogramStudy
from colab_utils.methods.alexnet.training import PRESETS, SpectrogramLearner, check, preset_name
from colab_utils.protocols.folds import grouped_folds, make_split
from colab_utils.settings import SettingError

LABELS = ["anger", "fear", "sadness"]
SMALL = dataclasses.replace(PRESETS["small"], num_epochs=2, batch_size=8, n_boot=20, image_height=63, image_width=64)


# --- networks -----------------------------------------------------------------------------------------------------------------------------

def test_parameter_counts_are_the_published_ones():
    counts = [sum(p.numel() for p in spectrogram_net(name, 4).parameters()) for name in ("alexnet", "alexnet_gap")]
    assert counts == [57_020_228, 2_470_724]


def test_one_channel_is_all_three_colours_three_stay_three_and_nine_fail():
    torch.manual_seed(0)
    net = AlexNetGap(4).eval()
    one, valid = torch.randn(2, 1, 64, 96), torch.ones(2)
    grey, colours = net(one, valid), net(one.repeat(1, 3, 1, 1), valid)
    assert torch.allclose(grey, colours, atol=1e-5)
    slopes = [torch.autograd.grad(logits.square().sum(), net.features[0].weight)[0] for logits in (grey, colours)]
    assert torch.allclose(*slopes, rtol=1e-3, atol=1e-4)
    three = torch.randn(2, 3, 64, 96)
    assert net(three, valid).shape == (2, 4)
    with pytest.raises(SettingError, match="9 channels: 1 or 3"):      # what repeating every picture three times makes of three channels
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
    return {name: torch.randn_like(value) for name, value in model.state_dict().items() if name.startswith("features.")}


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
    assert told == f"weights{suffix}: convolutions; the rest is random" and torch.equal(model.head.weight, head)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in weights.items())
    assert start_from(model, "scratch") == "scratch"


def test_real_imagenet_weights_fit():
    file = pathlib.Path(os.environ.get("SER_WEIGHTS", pathlib.Path(__file__).resolve().parents[2] / "shared" / "weights")) / "alexnet_features.npz"
    if not file.is_file():
        pytest.skip(f"no ImageNet weights at {file}: set SER_WEIGHTS to the folder that holds alexnet_features.npz")
    model = AlexNetGap(4)
    start_from(model, str(file))
    assert 0.1 < model.features[0].weight.abs().max() < 3


def test_dense_layers_are_taken_where_they_are_given(tmp_path):
    model = AlexNet(4)
    dense = {name: value * 0 + 0.5 for name, value in model.state_dict().items() if name.startswith(("classifier.1", "classifier.4"))}
    weights = convolutions(model) | dense
    save_file(weights, tmp_path / "all.safetensors")
    assert "two fully connected layers" in start_from(model, str(tmp_path / "all.safetensors"))
    assert (model.classifier[4].weight == 0.5).all() and (model.classifier[6].bias == 0).all()


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize(("name", "content", "told"), [
    ("missing.npz", None, "no such file"), ("weights.bin", b"x", "none of .safetensors"), ("torn.safetensors", b"x" * 50, "cannot be read"),
    ("torn.npz", b"x" * 50, "cannot be read"), ("evil.pth", pickle.dumps(Evil()), "pretrained = "),
])
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
    save_file(convolutions(model) | {"features.0.weight": torch.zeros(64, 1, 11, 11)}, tmp_path / "grey.safetensors")
    with pytest.raises(SettingError, match=r"features.0.weight has shape \(64, 1, 11, 11\)"):
        start_from(model, str(tmp_path / "grey.safetensors"))
    assert torch.equal(model.features[0].weight, before)


# --- losses -------------------------------------------------------------------------------------------------------------------------------

def test_the_divergence_is_a_kl_and_the_circulating_one_is_not():
    torch.manual_seed(0)
    clean, noisy = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    p, q = torch.softmax(clean, 1), torch.softmax(noisy, 1)
    by_hand = sum(p[i, c] * (p[i, c].log() - q[i, c].log()) for i in range(6) for c in range(4)) / 6
    assert cnn.divergence(clean, noisy).item() == pytest.approx(by_hand.item(), abs=1e-12)
    assert cnn.divergence(clean, clean).item() == pytest.approx(0, abs=1e-12) and cnn.divergence(clean, noisy) > 0
    published = functional.kl_div(p, p, reduction="batchmean")               # probabilities where log-probabilities belong
    assert published < -0.1


def test_mixup_mixes_pictures_labels_and_copies_alike():
    rng = np.random.default_rng(0)
    images, other, valid = torch.randn(8, 1, 4, 4), torch.randn(8, 1, 4, 4), torch.linspace(0.1, 0.8, 8)
    targets = functional.one_hot(torch.arange(8) % 3, 3).float()
    both, held, soft, copies = cnn.mixed(images, valid, targets, other, SMALL, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    share = rng.beta(0.4, 0.4, size=8)
    share, partner = np.maximum(share, 1 - share), rng.permutation(8)
    for i in range(8):
        for mine, whole in ((both, images), (soft, targets), (copies, other)):
            assert torch.allclose(mine[i], float(share[i]) * whole[i] + float(1 - share[i]) * whole[partner[i]], atol=1e-6)
        assert held[i] == max(valid[i], valid[partner[i]])
    logits = torch.randn(8, 3)
    pairs = [share[i] * functional.cross_entropy(logits[i], torch.tensor(i % 3)) + (1 - share[i]) *
             functional.cross_entropy(logits[i], torch.tensor(int(partner[i]) % 3)) for i in range(8)]
    assert cnn.cross_entropy(logits, soft).item() == pytest.approx(float(sum(pairs)) / 8, abs=1e-5)


def test_spec_augment_hides_bands_of_at_most_a_tenth_each():
    hidden = cnn.bands((50, 1, 100, 200), np.random.default_rng(0))
    rows, columns = hidden.all(dim=3).sum(dim=2).squeeze(1), hidden.all(dim=2).sum(dim=2).squeeze(1)
    assert rows.max() <= 20 and columns.max() <= 40 and rows.float().mean() > 3 and columns.float().mean() > 6
    assert (hidden == (hidden.all(dim=3, keepdim=True) | hidden.all(dim=2, keepdim=True))).all()


def test_oversampling_makes_all_classes_as_frequent_as_the_commonest():
    y = np.array([0] * 10 + [1] * 3 + [2] * 7)
    pool = cnn.oversampled(y, 0)
    assert np.bincount(y[pool]).tolist() == [10, 10, 10] and set(pool) == set(range(20))


def test_the_rate_rises_and_falls():
    rates = [cnn.rate_at(i, 100, "cosine") for i in range(100)]
    assert rates[9] == pytest.approx(1.0) and rates[0] == pytest.approx(0.1) and rates[-1] < 0.01 and max(rates) <= 1.0
    assert cnn.rate_at(77, 100, "constant") == 1.0


def test_utterances_are_means_weighted_by_frames_and_the_published_mean_is_geometric():
    p = torch.tensor([[0.7, 0.3], [0.1, 0.9], [0.5, 0.5]])
    images = Images(torch.zeros(3, 1, 1, 1), torch.tensor([1.0, 0.25, 0.5]), torch.zeros(3), torch.tensor([0, 0, 1]), 2)
    assert np.allclose(utterance_probabilities(p, images), [[(0.7 + 0.025) / 1.25, (0.3 + 0.225) / 1.25], [0.5, 0.5]])
    product = np.sqrt([0.7 * 0.1, 0.3 * 0.9])
    assert np.allclose(utterance_probabilities(p, images, "geometric")[0], product / product.sum())


# --- pictures -----------------------------------------------------------------------------------------------------------------------------

class Store(dict):
    pooled, key = False, "abc"
    spec = {"name": "alexnet"}

    @property
    def ids(self):
        return list(self)


def corpus(speakers=6, each=3):
    return pd.DataFrame([{**empty_row("aa", f"{who}-{label}-{i}"), "speaker": f"s{who}", "emotion": label, "emotion_raw": label}
                         for who in range(speakers) for label in LABELS for i in range(each)])


def spectrograms(rows, channels=1):
    """Frames in which each emotion is loud in bins of its own."""
    rng, store = np.random.default_rng(0), Store()
    for row in rows.itertuples():
        frames = rng.uniform(-70, -40, size=(int(rng.integers(120, 500)), channels * 200)).astype(np.float32)
        frames[:, 60 * LABELS.index(row.emotion):60 * LABELS.index(row.emotion) + 40] += 35
        store[row.utt_id] = frames
    return store


def test_pictures_are_scaled_by_training_bins_turned_and_padded_with_silence():
    rows, spec = corpus(1), AlexNetSpectrogram()
    store = spectrograms(rows)
    limits = fit_range(store, rows["utt_id"][:5], spec)
    frames = np.concatenate([store[utt] for utt in rows["utt_id"][:5]])
    assert np.allclose(limits.low[0], frames.min(0)) and np.allclose(limits.high[0], frames.max(0))
    images = make_images(store, rows, LABELS, spec, limits, size=(200, 300))
    short = int(np.argmax([len(store[utt]) < 300 for utt in rows["utt_id"]]))
    picture = images.values[images.utterance == short][0, 0]
    mean, std = np.mean([0.485, 0.456, 0.406]), np.mean([0.229, 0.224, 0.225])
    clip = store[rows["utt_id"][short]]
    expected = np.clip((clip - limits.low[0].numpy()) / (limits.high - limits.low)[0].numpy(), 0, 1).T[::-1]
    assert np.allclose(picture[:, :len(clip)], (expected - mean) / std, atol=1e-3)
    assert np.allclose(picture[:, len(clip):], -mean / std, atol=1e-3)               # silence is black
    assert images.valid[images.utterance == short][0].item() == pytest.approx(len(clip) / 300)
    trapped = make_images(store, rows, LABELS, spec, limits, size=(200, 300), padding="zero").values[images.utterance == short][0, 0]
    assert np.allclose(trapped[:, len(clip):], (1 - mean) / std, atol=1e-3)          # the published padding is white
    levels = make_images(store, rows, LABELS, spec, limits, size=(200, 300), eight_bit=True).values.float() * std + mean
    assert torch.allclose(levels * 255, (levels * 255).round(), atol=0.2)
    with pytest.raises(SettingError, match="no features"):
        make_images(store, rows.assign(utt_id=rows["utt_id"] + "x"), LABELS, spec, limits)


def test_the_default_data_path_is_not_quantised_and_three_channels_train():
    rows, spec = corpus(2), AlexNetSpectrogram(feature_set="logdeltaspec")
    store = spectrograms(rows, channels=3)
    limits = fit_range(store, rows["utt_id"], spec)
    images = make_images(store, rows, LABELS, spec, limits, size=(63, 64))
    assert images.values.shape[1:] == (3, 63, 64) and images.values.dtype == torch.float32
    learner = SpectrogramLearner(images, images, images.y[:0].numpy(), 3, dataclasses.replace(SMALL, features="logdeltaspec"))
    assert np.isfinite(learner.step(0)["loss"])


# --- training -----------------------------------------------------------------------------------------------------------------------------

def learner_of(config, rows=None):
    rows = corpus() if rows is None else rows
    store, spec = spectrograms(rows), AlexNetSpectrogram()
    limits = fit_range(store, rows["utt_id"], spec)
    images = make_images(store, rows, LABELS, spec, limits, size=(63, 64))
    noisy = [images._replace(values=images.values + 0.3 * torch.randn(images.values.shape, generator=torch.Generator().manual_seed(1)))]
    true = pd.Index(LABELS).get_indexer(rows["emotion"])
    return SpectrogramLearner(images, images, true, 3, config, noisy)


@pytest.mark.parametrize("change", [{}, {"mixup": True}, {"stability": 0.5}, {"oversampling": True, "balanced": False}, {"noisy_loss": True},
                                    {"stability": 0.5, "mixup": True}])
def test_every_way_of_training_learns(change):
    learner = learner_of(dataclasses.replace(SMALL, num_epochs=10, **change))
    for i in range(learner.steps):
        values = learner.step(i)
    assert learner.validate() > 0.6 and ("divergence" in values) == bool(change.get("stability"))


def test_balanced_batches_hold_every_class_equally_often():
    rows = corpus()
    rare = rows[(rows["emotion"] != "fear") | (rows["speaker"] == "s0")].reset_index(drop=True)
    learner = learner_of(dataclasses.replace(SMALL, batch_size=9), rare)
    counts = np.bincount(learner.train_images.y.numpy()[learner._rows(3, np.random.default_rng(0))])
    assert counts.tolist() == [3, 3, 3]


def test_the_metric_that_selects_is_the_one_named():
    rows = corpus()
    skewed = rows[(rows["emotion"] == "anger") | (rows["speaker"] == "s0")].reset_index(drop=True)
    scores = {}
    for select in ("uar", "wa"):
        learner = learner_of(dataclasses.replace(SMALL, select=select), skewed)
        found = utterance_probabilities(learner.probabilities(learner.valid), learner.valid).argmax(axis=1)
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
    torch.manual_seed(99)                                        # what runs in between must not matter
    history = train(again, 6, tmp_path / "part", every=1, progress=False, save_seconds=0)
    assert history.resumed_from == 3
    assert all(torch.equal(whole.module.state_dict()[name], value) for name, value in again.module.state_dict().items())


def test_bad_settings_are_one_sentence():
    for change, told in (({"oversampling": True}, "both even out"), ({"image_width": 20}, "image_width"), ({"ser_model": "vgg"}, "ser_model"),
                         ({"noisy_loss": True, "mixup": True}, "noisy copies of mixed")):
        with pytest.raises(SettingError, match=told):
            check(dataclasses.replace(SMALL, **change))
    with pytest.raises(SettingError, match="needs noisy copies"):
        rows = corpus(1)
        limits = Range(torch.full((1, 200), -80.0), torch.zeros(1, 200))
        images = make_images(spectrograms(rows), rows, LABELS, AlexNetSpectrogram(), limits, size=(63, 64))
        SpectrogramLearner(images, images, np.zeros(9), 3, dataclasses.replace(SMALL, stability=0.5))
    for name, preset in PRESETS.items():
        check(preset)
        assert preset_name(dataclasses.replace(preset, seed=3, mixup=True)) == name


# --- the study ----------------------------------------------------------------------------------------------------------------------------

@pytest.fixture
def study(tmp_path, monkeypatch):
    rows = corpus()
    split = make_split(rows, grouped_folds(rows, 3, 0), seed=0, n_valid_speakers=1)
    made = SpectrogramStudy("toy", rows, split, LABELS, tmp_path, progress=False, conditions=("white@10",))
    stores = {condition: spectrograms(rows) for condition in ("clean", "white@10", "pink@10")}
    for utt_id, frames in stores["pink@10"].items():
        stores["pink@10"][utt_id] = frames + 15
    monkeypatch.setattr(SpectrogramStudy, "store", lambda self, features, condition="clean": stores[condition])
    return made


def test_validation_speakers_are_never_test_speakers_and_pick_the_epoch(study):
    for fold in study.folds:
        speakers = {role: set(study.part(fold, role)["speaker"]) for role in ("train", "valid", "test")}
        assert not speakers["valid"] & speakers["test"] and not speakers["train"] & (speakers["valid"] | speakers["test"])
        assert speakers["valid"]
    history = study.train(SMALL)
    measured = {record["step"]: record["validation"] for record in history.records if "validation" in record}
    assert history.best_step == min(step for step, value in measured.items() if value == max(measured.values()))
    learner = study.learner(SMALL, study.folds[0])[0]
    assert learner.validate() == pytest.approx(history.best_score)
    assert learner.true.tolist() == pd.Index(LABELS).get_indexer(study.part(study.folds[0], "valid")["emotion"]).tolist()


def test_one_training_is_tested_in_all_conditions_and_a_second_call_loads(study, capsys):
    runs = study.evaluate({"gap": dataclasses.replace(SMALL, num_epochs=6)}, ["clean", "pink@10"], pictures=False)
    assert set(runs) == {("gap", "clean"), ("gap", "pink@10")}
    assert len(list((study.root / "trained" / "spectrograms").iterdir())) == 3
    clean = runs["gap", "clean"]
    assert clean.metrics["uar"] > 0.5 and clean.metrics["n_speakers"] == 6 and "started from: scratch" in clean.metrics["notes"]
    capsys.readouterr()
    study.evaluate({"gap": dataclasses.replace(SMALL, num_epochs=6)}, ["clean", "pink@10"], pictures=False)
    assert capsys.readouterr().out.count("nothing is computed again") == 2


def test_a_condition_heard_in_training_is_no_test(study):
    with pytest.raises(SettingError, match="white@10 was heard in stability training"):
        study.evaluate({"gap": dataclasses.replace(SMALL, stability=0.5)}, ["white@10"])


def test_a_kept_model_labels_new_audio_as_the_study_did(study, tmp_path, monkeypatch):
    import soundfile
    folder = study.save(SMALL, "mine")
    rng = np.random.default_rng(0)
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.wav")
        soundfile.write(paths[-1], rng.normal(0, 0.1, 20000 + 9000 * number).astype(np.float32), 16000)
    table = Labeller(folder).label(paths)
    assert list(table.columns) == ["file", "emotion", "p_anger", "p_fear", "p_sadness"] and np.allclose(table.iloc[:, 2:].sum(axis=1), 1)
    alone = Labeller(folder).label(paths[1:2])
    assert np.allclose(alone.iloc[0, 2:].astype(float), table.iloc[1, 2:].astype(float), atol=1e-5)
    with pytest.raises(SettingError, match="holds no model"):
        Labeller(tmp_path / "nowhere")


def test_parameters_and_time_of_models_are_told(study):
    table = study.measured({"gap": SMALL}, steps=1)
    assert table.loc["gap", "parameters"] == sum(p.numel() for p in AlexNetGap(3).parameters()) and table.loc["gap", "seconds an epoch"] > 0
