"""ResNet18 for spectrograms: torchvision's own where nothing is padded, blind to whatever is."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional
from toy_networks import noise_clips

from colab_utils.models import network
from colab_utils.models.resnet import ResNet18, _Batch, _Group
from colab_utils.settings import SettingError

LENGTHS = [97, 65, 64, 63, 33, 32, 17, 4, 1]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def clips(lengths, dim=40, dtype=torch.float64, frames=None):
    return noise_clips(lengths, dim, dtype, frames)


def small(norm="group", dtype=torch.float64, n_classes=3):
    """Width 8, with the affine parameters of every norm away from 1 and 0."""
    model = ResNet18(n_classes, norm=norm, width=8).to(dtype)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, (_Batch, _Group)):
                layer.weight.uniform_(0.5, 1.5), layer.bias.normal_(std=0.3)
    return model


def plain(model, norm):
    """torchvision's ResNet18 with one channel, the layers of `model`, and its head as `fc`."""
    layer = (
        nn.BatchNorm2d
        if norm == "batch"
        else lambda channels: nn.GroupNorm(channels // 8, channels)
    )
    own = torchvision.models.resnet18(norm_layer=layer, num_classes=model.head.out_features)
    own.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    own.load_state_dict(
        {name.replace("head", "fc"): value for name, value in model.state_dict().items()}
    )
    return own


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_without_padding_it_is_torchvisions_network_in_training_and_in_eval_mode(norm):
    model = network("resnet18", 64, 5, norm=norm)
    assert (
        sum(p.numel() for p in model.parameters()) == 11_172_805
        and "11 172 805" in ResNet18.__doc__
        and model.embedding_dim == 512
    )
    own, (values, mask) = plain(model, norm), clips([70] * 3, 64, torch.float32)
    for mode in (True, False):
        assert torch.allclose(
            model.train(mode)(values, mask)[0], own.train(mode)(values[:, None]), atol=1e-5
        )
    assert all(
        torch.allclose(value, own.state_dict()[name.replace("head", "fc")], atol=1e-6)
        for name, value in model.state_dict().items()
    )


@pytest.mark.parametrize(
    ("frames", "columns", "shape"),
    [(348, 64, (11, 2)), (198, 64, (7, 2)), (351, 80, (11, 3)), (33, 20, (2, 1)), (1, 1, (1, 1))],
)
def test_last_feature_map_of_published_clips(frames, columns, shape):
    model = small(dtype=torch.float32)
    z, valid = model.feature_map(
        torch.randn(2, frames, columns), torch.ones(2, frames, dtype=torch.bool)
    )
    assert z.shape == (2, 64, *shape) and valid.shape == (2, shape[0]) and valid.all()
    logits, embedding = model(
        torch.randn(2, frames, columns), torch.ones(2, frames, dtype=torch.bool)
    )
    assert logits.shape == (2, 3) and embedding.shape == (2, model.embedding_dim) == (2, 64)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_a_clip_gives_the_same_alone_padded_and_in_any_batch(norm, dtype, tolerance):
    model = small(norm, dtype)
    values, mask = clips(LENGTHS, dtype=dtype, frames=110)
    model(values, mask)  # running statistics away from 0 and 1
    model.train(norm == "group")
    z, valid = model.feature_map(values, mask)
    assert (
        valid.sum(1).tolist() == [-(-length // 32) for length in LENGTHS]
        and (z * (1 - valid)[:, None, :, None] == 0).all()
    )
    together = model(values, mask)
    for row, length in enumerate(LENGTHS):
        alone = model(values[row : row + 1, :length], mask[row : row + 1, :length])
        pair = model(values[[row, 0]], mask[[row, 0]])
        for whole, single, two in zip(together, alone, pair, strict=True):
            assert (whole[row] - single[0]).abs().max() < tolerance and (
                whole[row] - two[0]
            ).abs().max() < tolerance


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_padded_frames_reach_neither_output_nor_gradient_nor_running_statistics(norm):
    model, (values, mask) = small(norm), clips([40, 64, 9, 20])
    found = []
    for padding, level in ((0, 0.0), (45, 1000.0)):
        model.zero_grad()
        longer = functional.pad(mask, (0, padding))
        logits, _ = model(
            functional.pad(values, (0, 0, 0, padding)) + level * ~longer[..., None], longer
        )
        functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
        found.append([logits.detach(), *(p.grad.clone() for p in model.parameters())])
    assert all((one - other).abs().max() < 1e-11 for one, other in zip(*found, strict=True))
    assert all(p.abs().max() > 0 for p in found[0])


def test_batch_normalisation_is_that_of_the_valid_frames_alone_in_training_and_in_eval_mode():
    norm, plain_norm = _Batch(6).double(), nn.BatchNorm1d(6).double()
    x, lengths = torch.randn(4, 6, 9, 5, dtype=torch.float64) * 3 + 2, [9, 1, 4, 7]
    valid = (torch.arange(9) < torch.tensor(lengths)[:, None]).double()
    for mode in (True, False):
        norm.train(mode), plain_norm.train(mode)
        expected = plain_norm(
            torch.cat([x[clip, :, :length].flatten(1).T for clip, length in enumerate(lengths)])
        )
        got = norm(x, valid)
        seen = torch.cat(
            [got[clip, :, :length].flatten(1).T for clip, length in enumerate(lengths)]
        )
        assert (seen - expected).abs().max() < 1e-12 and (
            got * (1 - valid)[:, None, :, None] == 0
        ).all()
    assert torch.allclose(norm.running_mean, plain_norm.running_mean) and torch.allclose(
        norm.running_var, plain_norm.running_var
    )
    assert norm.num_batches_tracked == plain_norm.num_batches_tracked == 1
    z = torch.randn(2, 6, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda z: _Batch(6).double()(z, torch.tensor([[1.0, 1, 1], [1, 0, 0]])), (z,)
    )


def test_head_of_pooled_feature_map_is_the_output_and_every_parameter_has_a_gradient():
    model, inputs = small(), clips([50, 31])
    logits, embedding = model(*inputs)
    z, valid = model.feature_map(*inputs)
    pooled = torch.stack([z[clip, :, : int(valid[clip].sum())].mean((1, 2)) for clip in (0, 1)])
    assert torch.allclose(pooled, embedding) and torch.equal(model.head(embedding), logits)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
    assert list(dict(model.named_parameters()))[-2:] == ["head.weight", "head.bias"]


def test_imagenet_weights_give_what_torchvision_gives_for_a_grey_picture():
    weights = torchvision.models.resnet18().state_dict()
    model = ResNet18(5, norm="batch").eval()
    head = model.head.weight.clone()
    model.start_from(weights)
    colour = torchvision.models.resnet18()
    colour.load_state_dict(weights)
    colour.fc = nn.Identity()
    values, mask = clips([70] * 2, 64, torch.float32)
    assert torch.allclose(
        model(values, mask)[1], colour.eval()(values[:, None].expand(-1, 3, -1, -1)), atol=1e-4
    )
    assert torch.equal(model.head.weight, head)
    # has no running statistics, and needs none
    ResNet18(5, norm="group").start_from(weights)
    # one trained on speakers
    ResNet18(2, width=8).start_from(ResNet18(1251, width=8).state_dict())


def test_weights_of_another_network_are_refused_and_change_nothing():
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    other = ResNet18(3, width=16).state_dict()
    with pytest.raises(
        ValueError,
        match=r"conv1.weight has shape \(16, 1, 7, 7\) in these weights, \(8, 1, 7, 7\) is needed",
    ):
        model.start_from(other)
    with pytest.raises(ValueError, match=r"layer4.1.bn2.bias is missing"):
        model.start_from(
            {
                name: value
                for name, value in small().state_dict().items()
                if name != "layer4.1.bn2.bias"
            }
        )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_settings_that_do_not_exist_are_refused():
    with pytest.raises(SettingError, match="norm = 'layer': resnet18 knows 'group', 'batch'"):
        network("resnet18", 64, 5, norm="layer")
    with pytest.raises(SettingError, match="multiple of 8"):
        network("resnet18", 64, 5, width=12)
    with pytest.raises(SettingError, match="conv4, lstm, resnet18"):
        network("resnet50", 64, 5)
