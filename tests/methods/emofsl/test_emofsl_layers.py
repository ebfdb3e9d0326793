"""EMOFSL whose encoder learns: the same as frozen features where layers stand still, by hand where
they move, resumed, refused.
"""

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_encoders import KINDS, save

from colab_utils.features.encoders.embeddings import SpeechEncoder, load_upper_layers
from colab_utils.features.store.extract import extract
from colab_utils.learning.training import TrainingError, train
from colab_utils.methods.emofsl import emofsl
from colab_utils.methods.emofsl.emofsl import metric_loss
from colab_utils.methods.emofsl.layers.data import FrameData
from colab_utils.methods.emofsl.layers.network import EncoderNet, over_time
from colab_utils.methods.emofsl.layers.tuning import fine_tune_layers
from colab_utils.methods.emofsl.network import EmofslNet
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.source import SourceLearner

LABELS = ["anger", "neutral", "sadness"]
CONFIG = EmofslConfig(
    shots=2,
    n_draws=2,
    epochs=5,
    source_epochs=4,
    source_patience=8,
    width=8,
    learning_rate=0.01,
    source_rate=0.02,
    source_batch=8,
    source_loss_weight=0.0,
    layers_rate=3e-3,
    tune_layers=2,
    normalisation="none",
)
SUPPORT = np.array([0, 1, 4, 5, 8, 9])


def network(speech, kind, pooling="mean-std", n_layers=2):
    """A fresh network, its data (speaker s3 of corpus aa validates), and the frozen features."""
    manifest, folder = speech
    checkpoint = folder / kind
    if not checkpoint.exists():
        save(checkpoint, kind)
    spec = SpeechEncoder(checkpoint=str(checkpoint), pooling=pooling)
    features = folder / "features"
    x = extract(manifest, spec, features, progress=False).matrix(manifest["utt_id"])
    store = extract(manifest, spec.below(n_layers), features, progress=False)
    valid = (manifest["speaker"] == "s3") & (manifest["corpus"] == "aa")
    roles = np.where(manifest["corpus"] == "bb", "test", np.where(valid, "valid", "train"))
    split = pd.DataFrame({"utt_id": manifest["utt_id"], "role": roles, "fold": "0"})
    data = FrameData(manifest, split, store, LABELS, "cpu", encoder=spec, n_layers=n_layers)
    torch.manual_seed(0)
    net = EmofslNet(data.scale(data.members["source"]), 3, width=8)
    module = EncoderNet(load_upper_layers(spec, n_layers), net, pooling)
    return module, data, torch.from_numpy(x)


@pytest.mark.parametrize("pooling", ["mean", "mean-std"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_before_anything_learns_the_network_sees_the_frozen_features(speech, kind, pooling):
    module, data, x = network(speech, kind, pooling)
    found = data.through(module, np.arange(len(x)))
    for one, other in zip(found, module.net(x), strict=True):
        # standardised features are up to 1e3 times larger than those stored
        assert (one - other).abs().max() < 2e-3
    for members in data.members.values():
        assert (data.vectors(members) - x[members]).abs().max() < 1e-4


def test_pooling_is_that_of_the_frames_alone_and_has_a_gradient_for_one_frame():
    torch.manual_seed(0)
    frames = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(5) < torch.tensor([[5], [3], [1]])
    found = over_time(frames, mask, "mean-std").detach().numpy()
    for row, length in enumerate((5, 3, 1)):
        clip = frames[row, :length].detach().numpy()
        assert np.allclose(found[row], [*clip.mean(0), *np.maximum(clip.std(0), 1e-5)])
    assert torch.autograd.gradcheck(lambda values: over_time(values, mask, "mean-std"), frames)


def test_layers_that_hardly_move_give_what_frozen_features_give(speech):
    module, data, x = network(speech, "hubert")
    config = dataclasses.replace(CONFIG, layers_rate=1e-7, centre=0.5, learning_rate=1e-3)
    metric = metric_loss(config, LABELS)
    asked, y = np.arange(20, 40), data.y[SUPPORT]
    support = x[SUPPORT][None]
    parameters = emofsl.fine_tune(module.net, support, y, config, metric)
    expected = emofsl.decide(parameters, x[asked], support, y, config)
    tuned = fine_tune_layers(module, data.inputs(SUPPORT), y, config, metric)
    logits, found = data.through(tuned, asked)
    known = data.through(tuned, SUPPORT)[1]
    scores = emofsl.scores_of(logits[None], found[None], known[None], y, config)
    assert all((scores[rule] - expected[rule]).abs().max() < 2e-3 for rule in expected)


def test_a_draw_is_updates_by_hand_and_leaves_the_source_model_as_it_was(speech):
    module, data, _ = network(speech, "wav2vec2")
    before = copy.deepcopy(module.state_dict())
    y, config = data.y[SUPPORT], dataclasses.replace(CONFIG, decay=0.9, epochs=3)
    metric = metric_loss(config, LABELS)
    tuned = fine_tune_layers(module, data.inputs(SUPPORT), y, config, metric)
    mine = copy.deepcopy(module)
    layers = [one for one in mine.upper.parameters() if one.requires_grad]
    slow = torch.optim.Adam(layers, lr=config.layers_rate)
    fast = torch.optim.Adam(mine.net.parameters(), lr=config.learning_rate)
    for epoch in range(3):
        for optimiser, rate in ((slow, config.layers_rate), (fast, config.learning_rate)):
            optimiser.param_groups[0]["lr"] = rate * 0.9**epoch
            optimiser.zero_grad()
        logits, embedding = mine(*data.inputs(SUPPORT))
        loss = torch.nn.functional.cross_entropy(logits, y)
        loss = loss + config.loss_weight * metric(embedding[None], y)[0]
        loss.backward()
        slow.step()
        fast.step()
    there = mine.state_dict()
    for name, value in tuned.state_dict().items():
        # its gradient is 0 but for rounding, which Adam makes moves of
        assert "k_proj.bias" in name or torch.allclose(value, there[name], atol=1e-5), name
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    after = tuned.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert {name.split(".")[0] for name in moved} == {"upper", "net"}


def test_the_order_of_the_support_does_not_matter(speech):
    module, data, _ = network(speech, "wav2vec2")
    config = dataclasses.replace(CONFIG, epochs=3, layers_rate=1e-3, learning_rate=1e-3)
    found = []
    for support in (SUPPORT, SUPPORT[[5, 2, 1, 4, 0, 3]]):
        metric = metric_loss(config, LABELS)
        tuned = fine_tune_layers(module, data.inputs(support), data.y[support], config, metric)
        found.append(data.through(tuned, np.arange(30))[1])
    # Adam's first steps turn roundings of tiny gradients into moves
    assert (found[0] - found[1]).abs().max() < 1e-2 * found[0].abs().max()


def source_of(speech, kind="wav2vec2", config=CONFIG):
    module, data, _ = network(speech, kind, n_layers=config.tune_layers)
    train_rows, valid_rows = (data.numbers("0", role) for role in ("train", "valid"))
    return SourceLearner(module, data, train_rows, valid_rows, config)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_the_source_training_moves_the_last_layers_and_lowers_the_loss(speech, tmp_path, kind):
    learner = source_of(speech, kind, dataclasses.replace(CONFIG, tune_layers=1, source_epochs=10))
    before = copy.deepcopy(learner.module.state_dict())
    history = train(learner, learner.steps, tmp_path, every=learner.steps_per_epoch, progress=False)
    losses = [record["loss"] for record in history.records]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5]) and history.best_score > 0.6
    for name, value in learner.module.named_parameters():
        assert torch.equal(value, before[name]) == ("rel_attn_embed" in name), name


def test_an_interrupted_training_ends_like_an_uninterrupted_one(speech, tmp_path):
    class Killed(Exception):
        pass

    def stop(records):
        if len(records) == 5:
            raise Killed

    whole, first, again = (source_of(speech) for _ in range(3))
    how = {"every": 1, "progress": False, "save_seconds": 0}
    train(whole, 8, tmp_path / "whole", **how)
    with pytest.raises(Killed):
        train(first, 8, tmp_path / "part", on_record=stop, **how)
    assert train(again, 8, tmp_path / "part", **how).resumed_from == 4
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, again.module.state_dict()[name])


def test_layers_that_diverge_are_told(speech):
    module, data, _ = network(speech, "wav2vec2")
    with torch.no_grad():
        module.net.head.weight[0, 0] = float("inf")
    with pytest.raises(TrainingError, match="lower learning_rate or layers_rate"):
        fine_tune_layers(module, data.inputs(SUPPORT), data.y[SUPPORT], CONFIG, None)


def test_too_little_memory_is_told(speech, monkeypatch):
    module, data, _ = network(speech, "wav2vec2")

    def full(self, values, mask):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(EncoderNet, "forward", full)
    with pytest.raises(TrainingError, match="out of memory with 6 support clips"):
        fine_tune_layers(module, data.inputs(SUPPORT), data.y[SUPPORT], CONFIG, None)
