"""Networks of the AlexNet system: sizes, channels, the mean over speech, pretrained weights."""

import os
import pathlib
import pickle

import numpy as np
import pytest
import torch
from repo import REPO
from safetensors.torch import save_file
from torchvision.transforms.functional import normalize

from colab_utils.methods.alexnet.network import (
    MODELS,
    AlexNet,
    AlexNetGap,
    network,
    start_from,
    valid_columns,
)
from colab_utils.settings import SettingError


@pytest.fixture(scope="module")
def gap():
    """One network for tests that do not change it."""
    torch.manual_seed(0)
    return AlexNetGap(4).eval()


def convolutions(model):
    """Other weights for the convolutions of a network."""
    weights = model.state_dict()
    return {
        name: torch.randn_like(weights[name]) for name in weights if name.startswith("features.")
    }


def test_parameter_counts_are_the_published_ones():
    counts = {}
    for name in MODELS:
        counts[name] = sum(p.numel() for p in network(name, 4, "speech").parameters())
    assert counts == {"alexnet": 57_020_228, "alexnet_gap": 2_470_724}


def test_one_channel_is_a_grey_picture_three_stay_three_and_nine_fail(gap):
    level, valid = torch.rand(2, 1, 64, 96), torch.ones(2)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    one = normalize(level, [np.mean(mean)], [np.mean(std)])
    released = normalize(level.repeat(1, 3, 1, 1), mean, std)  # each colour by its own
    grey, colours = gap(one, valid), gap(released, valid)
    assert torch.allclose(grey, colours, atol=1e-5)
    first = gap.features[0].weight
    slopes = [torch.autograd.grad(out.square().sum(), first)[0] for out in (grey, colours)]
    assert torch.allclose(*slopes, rtol=1e-3, atol=1e-4)
    three = torch.randn(2, 3, 64, 96)
    assert gap(three, valid).shape == (2, 4)
    # what repeating every picture three times makes of three channels
    with pytest.raises(SettingError, match="9 channels: 1 or 3"):
        gap(three.repeat(1, 3, 1, 1), valid)


def test_the_mean_is_over_columns_of_speech_alone(gap):
    images = torch.randn(3, 1, 128, 384)
    maps = gap.activation_map(images)
    valid = torch.tensor([1.0, 0.5, 0.0])
    logits = gap(images, valid)
    columns = maps.shape[3]
    for row, share in enumerate(valid.tolist()):
        inside = [k for k in range(columns) if (k + 0.5) / columns < share] or [0]
        assert torch.allclose(logits[row], maps[row][:, :, inside].mean(dim=(1, 2)), atol=1e-5)
    assert valid_columns(torch.tensor([0.0]), 5).tolist() == [[True, False, False, False, False]]


@pytest.mark.parametrize(("kind", "n_layers"), [(AlexNetGap, 6), (AlexNet, 8)])
def test_from_scratch_all_layers_are_xavier_without_bias(kind, n_layers):
    layers = [one for one in kind(4).modules() if hasattr(one, "weight")]
    assert len(layers) == n_layers
    for layer in layers:
        out, into, *kernel = layer.weight.shape
        bound = np.sqrt(6 / (np.prod(kernel) * (into + out)))  # of a uniform distribution
        assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
        assert layer.weight.std().item() == pytest.approx(bound / np.sqrt(3), rel=0.05)
        assert not layer.bias.any()


def test_gap_has_alexnets_convolutions_and_makes_no_dense_layer(monkeypatch):
    theirs = AlexNet(4).features
    monkeypatch.setattr(torch.nn.Linear, "__init__", None)
    ours = AlexNetGap(4).features
    assert str(ours) == str(theirs)


def test_gap_over_all_columns_is_that_of_the_released_network():
    """model.py: AdaptiveAvgPool2d(6), a 1 x 1 convolution, AvgPool2d(6)."""
    torch.manual_seed(0)
    model = AlexNetGap(4, pooling="all")
    released = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(6), model.head, torch.nn.AvgPool2d(6))
    images = torch.randn(2, 3, 256, 384)
    maps = model.features(images)
    assert maps.shape[2:] == (7, 11)
    expected = released(maps).flatten(1)
    for valid in (torch.ones(2), torch.tensor([0.1, 0.6])):
        assert torch.allclose(model(images, valid), expected, atol=1e-5)
    other = AlexNetGap(4)
    other.load_state_dict(model.state_dict())
    assert not torch.allclose(other(images, torch.tensor([0.1, 0.6])), expected, atol=1e-3)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth", ".pt"])
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
    assert told == f"weights{suffix}: convolutions; the rest is random"
    assert torch.equal(model.head.weight, head)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in weights.items())
    assert start_from(model, "scratch") == "scratch"


def test_real_imagenet_weights_fit():
    folder = pathlib.Path(os.environ.get("SER_WEIGHTS", REPO.parent / "shared" / "weights"))
    file = folder / "alexnet_features.npz"
    if not file.is_file():
        pytest.skip(f"no ImageNet weights at {file}: set SER_WEIGHTS to the folder that holds it")
    model = AlexNetGap(4)
    start_from(model, str(file))
    assert 0.1 < model.features[0].weight.abs().max() < 3


def test_dense_layers_are_taken_where_they_are_given(tmp_path):
    model = AlexNet(4)
    weights = convolutions(model)
    for name, value in model.state_dict().items():
        if name.startswith(("classifier.1", "classifier.4")):
            weights[name] = torch.full_like(value, 0.5)
    save_file(weights, tmp_path / "all.safetensors")
    assert "two fully connected layers" in start_from(model, str(tmp_path / "all.safetensors"))
    assert (model.classifier[4].weight == 0.5).all() and (model.classifier[6].bias == 0).all()


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil_was_here",)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.npz", None, "no such file"),
        ("weights.bin", b"x", "none of .safetensors"),
        ("torn.safetensors", b"x" * 50, "cannot be used, for it is damaged"),
        ("torn.npz", b"x" * 50, "cannot be used, for it is damaged"),
        ("evil.pth", pickle.dumps(Evil()), "pickle"),
        ("evil.pt", pickle.dumps(Evil()), "pickle"),
        ("evil.safetensors", pickle.dumps(Evil()), "pickle"),
    ],
)
def test_weights_that_cannot_be_had_are_one_sentence(
    tmp_path, gap, name, content, told, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingError, match=told) as found:
        start_from(gap, str(tmp_path / name))
    assert "\n" not in str(found.value) and name in str(found.value)
    assert "weights_only" not in str(found.value) and "scratch" in str(found.value)
    assert not (tmp_path / "evil_was_here").exists()


def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path, gap):
    before = gap.features[0].weight.clone()
    weights = convolutions(gap)
    grey = weights | {"features.0.weight": torch.zeros(64, 1, 11, 11)}
    save_file(grey, tmp_path / "grey.safetensors")
    del weights["features.6.bias"]
    save_file(weights, tmp_path / "part.safetensors")
    with pytest.raises(SettingError, match="features.6.bias is missing"):
        start_from(gap, str(tmp_path / "part.safetensors"))
    with pytest.raises(SettingError, match=r"features.0.weight has shape \(64, 1, 11, 11\)"):
        start_from(gap, str(tmp_path / "grey.safetensors"))
    assert torch.equal(gap.features[0].weight, before)
