"""Normalisation and layers against torch's own, and against loops over valid frames."""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from toy_networks import batch_for, noise_clips, small

from colab_utils.models import network
from colab_utils.models.normalisation import GROUP_CHANNELS, MaskedNorm, _RowMoments


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def plain_conv4(model, norm_layer, relu_first):
    """The network as torch's layers, for clips without padding."""
    layers = []
    for conv, norm in zip(model.convs, model.norms, strict=True):
        own = norm_layer(len(norm.weight)).double()
        own.weight.data, own.bias.data = norm.weight.data, norm.bias.data
        layers += [conv, nn.ReLU(), own] if relu_first else [conv, own, nn.ReLU()]
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("norm", "layer"),
    [
        ("group", lambda c: nn.GroupNorm(c // GROUP_CHANNELS, c)),
        ("batch", lambda c: nn.BatchNorm2d(c, track_running_stats=False)),
        ("paper-batch", lambda c: nn.BatchNorm2d(c, track_running_stats=False)),
    ],
)
def test_conv4_without_padding_is_the_plain_network(norm, layer):
    model = network("conv4", 80, 5, norm=norm, width=16, frames=50).double()
    with torch.no_grad():
        for own in model.norms:
            own.weight.normal_(), own.bias.normal_()
    values, mask = noise_clips([50] * 4, 80)
    x = plain_conv4(model, layer, norm == "paper-batch")(values[:, None])
    expected = x.flatten(1) if norm == "paper-batch" else x.mean(2).flatten(1)
    logits, embedding = model(values, mask)
    assert (embedding - expected).abs().max() < 1e-10 and (
        logits - model.head(expected)
    ).abs().max() < 1e-10


def test_the_published_conv4_pads_shorter_clips_and_refuses_longer_ones():
    model = small("conv4", "paper-batch", frames=48)
    values, mask = noise_clips([30, 22, 9])
    expected = model(functional.pad(values, (0, 0, 0, 18)), functional.pad(mask, (0, 18)))[0]
    assert torch.equal(model(values, mask)[0], expected)
    with pytest.raises(
        ValueError, match="49 frames: the published conv4 was made for 48; set max_frames = 48"
    ):
        model(*noise_clips([49, 3]))


def test_the_lstm_is_torchs_own_on_each_clip():
    model = small("lstm").double()
    own = nn.LSTM(19, 6, 2, batch_first=True).double()
    # torch: input, forget, candidate, output
    order = torch.cat([torch.arange(0, 12), torch.arange(18, 24), torch.arange(12, 18)])
    with torch.no_grad():
        for number, layer in enumerate(model.layers):
            for name, ours in (
                ("weight_ih", layer.input.weight),
                ("weight_hh", layer.recurrent.weight),
                ("bias_ih", layer.input.bias),
            ):
                getattr(own, f"{name}_l{number}").copy_(ours[order])
            getattr(own, f"bias_hh_l{number}").zero_()
            assert (layer.input.bias[6:12] == 1).all() and layer.input.bias.sum() == 6
    values, mask = noise_clips([1, 4, 17, 30])
    for row, length in enumerate((1, 4, 17, 30)):
        expected = model.embed(own(values[row : row + 1, :length])[0][:, -1])
        assert (model(values, mask)[1][row] - expected[0]).abs().max() < 1e-12


def test_the_mlp_is_two_layers_of_linear_norm_relu():
    for norm in ("group", "batch"):
        model, (x,) = small("mlp", norm), batch_for("mlp")
        expected = x
        for layer in model.layers:
            z = expected @ layer.weight.T + layer.bias
            dims = 1 if norm == "group" else 0
            expected = (
                (z - z.mean(dims, keepdim=True))
                / (z.var(dims, keepdim=True, correction=0) + 1e-5).sqrt()
            ).clamp(min=0)
        assert (model(x)[1] - expected).abs().max() < 1e-10


@pytest.mark.parametrize("over", ["group", "batch"])
def test_masked_statistics_are_those_of_a_loop_over_valid_frames(over):
    norm = MaskedNorm(16, over).double()
    with torch.no_grad():
        norm.weight.normal_(), norm.bias.normal_()
    x, lengths = torch.randn(5, 16, 9, 4, dtype=torch.float64) * 3 + 2, [9, 1, 4, 7, 2]
    got = norm(x, (torch.arange(9) < torch.tensor(lengths)[:, None]).double())
    for clip, length in enumerate(lengths):
        assert (got[clip, :, length:] == 0).all()
        for channel in range(16):
            if over == "group":
                first = channel // 8 * 8
                seen = x[clip, first : first + 8, :length].flatten()
            else:
                seen = torch.cat(
                    [x[other, channel, :n].flatten() for other, n in enumerate(lengths)]
                )
            expected = (x[clip, channel, :length] - seen.mean()) / (
                seen.var(correction=0) + 1e-5
            ).sqrt() * norm.weight[channel] + norm.bias[channel]
            assert (got[clip, channel, :length] - expected).abs().max() < 1e-12


@pytest.mark.parametrize("over", ["group", "batch"])
def test_masked_normalisation_has_exact_first_and_second_derivatives(over):
    norm = MaskedNorm(8, over).double()
    mask = (torch.arange(2) < torch.tensor([[2], [1]])).double()
    x = torch.randn(2, 8, 2, 2, dtype=torch.float64, requires_grad=True)

    def run(x, weight, bias):
        return functional_call(norm, {"weight": weight, "bias": bias}, (x, mask))

    inputs = (
        x,
        torch.rand(8, dtype=torch.float64).requires_grad_(),
        torch.randn(8, dtype=torch.float64).requires_grad_(),
    )
    assert torch.autograd.gradcheck(run, inputs) and torch.autograd.gradgradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(_RowMoments.apply, (x,))


def test_constants_far_from_zero_do_not_make_a_negative_variance():
    for over in ("group", "batch"):
        for level in range(1000, 1100):
            got = MaskedNorm(8, over)(torch.full((1, 8, 4, 5), level / 0.7), torch.ones(1, 4))
            assert torch.isfinite(got).all() and got.abs().max() < 1
