"""Training of AlexNet: losses, mixup, pictures, batches, the epoch that is kept."""

import numpy as np
import pandas as pd
import pytest
import torch
from alexnet_toys import SMALL, changed, corpus, learner_of, spectrograms
from PIL import Image
from sklearn.preprocessing import MinMaxScaler
from torch.nn import functional
from torchvision.transforms.functional import resize

from colab_utils.features.published.alexnet import AlexNetSpectrogram
from colab_utils.learning.training import train
from colab_utils.methods.alexnet import training as cnn
from colab_utils.methods.alexnet.pictures import (
    Images,
    fit_range,
    make_images,
    utterance_probabilities,
)
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.methods.alexnet.training import Batch
from colab_utils.settings import SettingError

# --- losses ---------------------------------------------------------------------------------------


def test_the_divergence_is_a_kl_and_the_circulating_one_is_not():
    torch.manual_seed(0)
    clean, noisy = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    p, q = torch.softmax(clean, 1), torch.softmax(noisy, 1)
    by_hand = sum(p[i, c] * (p[i, c].log() - q[i, c].log()) for i in range(6) for c in range(4)) / 6
    assert cnn.divergence(clean, noisy).item() == pytest.approx(by_hand.item(), abs=1e-12)
    assert cnn.divergence(clean, clean).item() == pytest.approx(0, abs=1e-12)
    assert cnn.divergence(clean, noisy) > 0
    by_torch = functional.kl_div(q.log(), p.log(), reduction="batchmean", log_target=True)
    assert cnn.divergence(clean, noisy).item() == pytest.approx(by_torch.item(), abs=1e-12)
    # probabilities where log-probabilities belong
    assert functional.kl_div(p, p, reduction="batchmean") < -0.1


def test_the_loss_is_the_equation_of_stability_training():
    learner = learner_of(changed(stability=0.3))
    batch = learner.batch(
        learner.segments_of(0, np.random.default_rng(0)), np.random.default_rng(1)
    )
    learner.module.eval()
    loss, told = learner.loss(batch)
    clean = learner.module(batch.images, batch.valid)
    noisy = learner.module(batch.noisy, batch.valid)
    own = functional.cross_entropy(clean, batch.targets)
    apart = cnn.divergence(clean, noisy)
    assert loss.item() == pytest.approx((own + 0.3 * apart).item(), abs=1e-6)
    assert told == {"divergence": pytest.approx(apart.item(), abs=1e-6)}
    both = (own + functional.cross_entropy(noisy, batch.targets)) / 2
    for alpha in (0.0, 0.5):  # training on noisy copies, and the loss of FYP with a true KL
        learner.config = changed(stability=alpha, stability_loss="both")
        loss, told = learner.loss(batch)
        assert loss.item() == pytest.approx((both + alpha * apart).item(), abs=1e-6)
        assert set(told) == ({"divergence"} if alpha else set())


def test_mixup_mixes_pictures_labels_and_copies_alike():
    torch.manual_seed(0)
    images, other = torch.randn(8, 1, 4, 4), torch.randn(8, 1, 4, 4)
    valid = torch.linspace(0.1, 0.8, 8)
    targets = functional.one_hot(torch.arange(8) % 3, 3).float()
    batch = Batch(images, valid, targets, other)
    both, held, soft, copies = cnn.mixed(batch, SMALL, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    share = rng.beta(0.4, 0.4, size=8)
    share, partner = np.maximum(share, 1 - share), rng.permutation(8)
    logits, pairs = torch.randn(8, 3), []
    for i in range(8):
        mine, its = float(share[i]), float(1 - share[i])
        for found, whole in ((both, images), (soft, targets), (copies, other)):
            assert torch.allclose(found[i], mine * whole[i] + its * whole[partner[i]], atol=1e-6)
        assert held[i] == max(valid[i], valid[partner[i]])
        of_own = functional.cross_entropy(logits[i], torch.tensor(i % 3))
        of_partner = functional.cross_entropy(logits[i], torch.tensor(int(partner[i]) % 3))
        pairs.append(float(mine * of_own + its * of_partner))
    assert cnn.soft_cross_entropy(logits, soft).item() == pytest.approx(np.mean(pairs), abs=1e-5)


def test_spec_augment_hides_bands_of_at_most_a_tenth_each():
    hidden = cnn.bands((50, 1, 100, 200), np.random.default_rng(0))
    rows, columns = hidden.all(dim=3).sum(dim=2).squeeze(1), hidden.all(dim=2).sum(dim=2).squeeze(1)
    assert rows.max() <= 20 and columns.max() <= 40
    assert rows.float().mean() > 3 and columns.float().mean() > 6
    assert (hidden == (hidden.all(dim=3, keepdim=True) | hidden.all(dim=2, keepdim=True))).all()


def test_the_same_bands_are_hidden_in_a_picture_and_in_its_copy():
    learner = learner_of(changed(stability=0.3))
    batch = learner.batch(
        learner.segments_of(0, np.random.default_rng(0)), np.random.default_rng(1)
    )
    assert torch.equal(batch.images == 0, batch.noisy == 0) and (batch.images == 0).any()


def test_oversampling_makes_all_classes_as_frequent_as_the_commonest():
    y = np.array([0] * 10 + [1] * 3 + [2] * 7)
    pool = cnn.oversampled(y, 0)
    assert np.bincount(y[pool]).tolist() == [10, 10, 10] and set(pool) == set(range(20))


def test_as_released_the_smallest_class_is_raised_twice():
    y = np.array([0] * 10 + [1] * 3 + [2] * 7 + [3] * 4 + [4] * 9)
    counts = np.bincount(y)
    for _ in range(2):  # imblearn's sampling_strategy="minority"
        counts[counts.argmin()] = counts.max()
    pool = cnn.oversampled(y, 0, "two-smallest")
    assert np.bincount(y[pool]).tolist() == counts.tolist() == [10, 10, 7, 10, 9]
    assert set(pool) == set(range(len(y)))


def test_the_rate_rises_and_falls():
    rates = [cnn.rate_at(i, 100, "cosine") for i in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0)
    assert rates[-1] < 0.01 and max(rates) <= 1.0
    assert cnn.rate_at(77, 100, "constant") == 1.0


# --- pictures -------------------------------------------------------------------------------------


def test_utterances_are_means_weighted_by_frames_and_the_published_mean_is_geometric():
    p = torch.tensor([[0.7, 0.3], [0.1, 0.9], [0.5, 0.5]])
    share, owner = torch.tensor([1.0, 0.25, 0.5]), torch.tensor([0, 0, 1])
    images = Images(torch.zeros(3, 1, 1, 1), share, owner)
    weighted = [(0.7 + 0.025) / 1.25, (0.3 + 0.225) / 1.25]
    assert np.allclose(utterance_probabilities(p, images), [weighted, [0.5, 0.5]])
    product = np.sqrt([0.7 * 0.1, 0.3 * 0.9])
    assert np.allclose(utterance_probabilities(p, images, "geometric")[0], product / product.sum())


def test_pictures_are_scaled_by_training_bins_turned_and_padded_with_silence():
    rows = corpus(1)
    ids, store = rows["utt_id"], spectrograms(rows)
    limits = fit_range(store, ids[:5], SMALL)
    frames = np.concatenate([store[utt] for utt in ids[:5]])
    assert np.allclose(limits.low[0], frames.min(0)) and np.allclose(limits.high[0], frames.max(0))
    size = {"image_height": 200}
    images = make_images(store, ids, changed(**size), limits)
    short = int(np.argmax([len(store[utt]) < 300 for utt in ids]))
    first = int((images.utterance == short).nonzero()[0])
    picture, clip = images.values[first, 0], store[ids[short]]
    mean, std = np.mean([0.485, 0.456, 0.406]), np.mean([0.229, 0.224, 0.225])
    span = (limits.high - limits.low)[0].numpy()
    expected = np.clip((clip - limits.low[0].numpy()) / span, 0, 1).T[::-1]
    assert np.allclose(picture[:, : len(clip)], (expected - mean) / std, atol=1e-3)
    # silence is black
    assert np.allclose(picture[:, len(clip) :], -mean / std, atol=1e-3)
    assert images.valid[first].item() == pytest.approx(len(clip) / 300)
    # as released the padding takes part in the range: the loudest value of every bin
    released = fit_range(store, ids, changed(padding="zero"))
    assert torch.equal(released.low, fit_range(store, ids, SMALL).low)
    assert (released.high == 0).all()
    trapped = make_images(store, ids, changed(padding="zero", **size), limits).values[first, 0]
    # the published padding is white
    assert np.allclose(trapped[:, len(clip) :], (1 - mean) / std, atol=1e-3)
    rounded = make_images(store, ids, changed(eight_bit=True, **size), limits)
    levels = rounded.values.float() * std + mean
    assert torch.allclose(levels * 255, (levels * 255).round(), atol=0.2)
    with pytest.raises(SettingError, match="no features.* aa/nobody"):
        make_images(store, ["aa/nobody"], SMALL, limits)


@pytest.mark.parametrize(("features", "width"), [("logspec", 384), ("logmelspec", 600)])
def test_pictures_as_released_are_those_of_the_released_data_path(features, width):
    """data_utils.py: min-max of padded segments, whole numbers, Pillow's Resize(256)."""
    config = AlexnetConfig.from_preset("paper-as-released", features=features)
    spec = AlexNetSpectrogram(feature_set=features)
    rng, store, cut = np.random.default_rng(1), {}, []
    for name, n_frames in {"a": 120, "b": 300, "c": 500}.items():
        store[name] = rng.uniform(-80, -5, size=(n_frames, spec.bins)).astype(np.float32)
        padded = np.zeros((-(-n_frames // 300) * 300, spec.bins), dtype=np.float32)
        padded[:n_frames] = store[name]
        cut += np.split(padded, len(padded) // 300)
    images = make_images(store, list(store), config, fit_range(store, list(store), config))
    scaler = MinMaxScaler().fit(np.concatenate(cut))
    mean, std = np.mean([0.485, 0.456, 0.406]), np.mean([0.229, 0.224, 0.225])
    for number, segment in enumerate(cut):
        levels = (np.clip(scaler.transform(segment), 0, 1) * 255).astype(np.uint8)
        picture = Image.fromarray(np.ascontiguousarray(levels.T[::-1]))
        expected = np.asarray(resize(picture, 256), dtype=float)
        ours = 255 * (images.values[number, 0].float().numpy() * std + mean)
        assert ours.shape == expected.shape == (256, width)
        assert np.abs(ours - expected).max() < 1.5


def test_the_default_data_path_is_not_quantised_and_three_channels_train():
    learner = learner_of(changed(features="logdeltaspec"), corpus(2), channels=3)
    values = learner.pictures.train.values
    assert values.shape[1:] == (3, 63, 94) and values.dtype == torch.float32
    assert np.isfinite(learner.step(0)["loss"])


# --- training -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"mixup": True},
        {"oversampling": True, "balanced": False},
        {"stability_loss": "both"},
        {"stability": 0.5, "mixup": True},
    ],
)
def test_every_way_of_training_learns(change):
    learner = learner_of(changed(num_epochs=10, **change), corpus(3, 2))
    for i in range(learner.steps):
        told = learner.step(i)
    assert learner.validate() > 0.6 and ("divergence" in told) == bool(change.get("stability"))


def without_most(emotion):
    """A corpus in which this emotion is spoken by one speaker alone."""
    rows = corpus()
    return rows[(rows["emotion"] != emotion) | (rows["speaker"] == "s0")].reset_index(drop=True)


def test_balanced_batches_hold_every_class_equally_often():
    learner = learner_of(changed(batch_size=9), without_most("fear"))
    drawn = learner.segments_of(3, np.random.default_rng(0))
    assert np.bincount(learner.fold.y[drawn]).tolist() == [3, 3, 3]


def test_the_metric_that_selects_is_the_one_named():
    rows = without_most("fear")
    rows = rows[(rows["emotion"] != "sadness") | (rows["speaker"] == "s0")].reset_index(drop=True)
    learner = learner_of(SMALL, rows)
    valid = learner.pictures.valid
    found = utterance_probabilities(cnn.probabilities(learner.module, valid), valid).argmax(axis=1)
    right = pd.Series(found == learner.fold.true)
    scores = {"uar": right.groupby(learner.fold.true).mean().mean(), "wa": right.mean()}
    for select, score in scores.items():
        learner.config = changed(select=select)
        assert learner.validate() == pytest.approx(score)
    assert abs(scores["uar"] - scores["wa"]) > 0.05


@pytest.mark.slow
def test_an_interrupted_training_ends_bit_for_bit_like_an_uninterrupted_one(tmp_path):
    config = changed(mixup=True, stability=0.3)
    rows = corpus(2, 1)

    class Killed(Exception):
        pass

    def stop(records):
        if len(records) == 3:
            raise Killed

    def run(name, **others):
        learner = learner_of(config, rows)
        history = train(
            learner, 4, tmp_path / name, every=1, progress=False, save_seconds=0, **others
        )
        return learner.module.state_dict(), history

    whole, _ = run("whole")
    with pytest.raises(Killed):
        run("part", on_record=stop)
    # what runs in between must not matter
    torch.manual_seed(99)
    again, history = run("part")
    assert history.resumed_from == 2
    assert all(torch.equal(whole[name], value) for name, value in again.items())
