"""What every network promises: sizes, outputs, starts, and that a clip's length is no cue."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from toy_networks import VARIANTS, batch_for, noise_clips, small

from colab_utils.models import NETWORKS, network
from colab_utils.settings import SettingError

LENGTHS = [1, 2, 3, 8, 15, 16, 17, 31, 33, 50]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("name", "dim", "norm", "parameters", "embedding"),
    [
        ("conv4", 80, "paper-batch", 132_741, 4160),
        ("conv4", 80, "group", 113_541, 320),
        ("conv4", 64, "batch", 113_221, 256),
        ("lstm", 20, "group", 225_029, 128),
        ("mlp", 768, "group", 53_957, 64),
        ("mlp", 88, "batch", 10_437, 64),
    ],
)
def test_published_sizes_and_the_counts_in_the_docstrings(name, dim, norm, parameters, embedding):
    model = network(name, dim, 5, norm=norm)
    assert (
        sum(p.numel() for p in model.parameters()) == parameters
        and model.embedding_dim == embedding
    )
    text = type(model).__doc__.replace(" ", "").replace("\n", "")
    assert (dim, norm) in [(64, "batch"), (88, "batch")] or str(parameters) in text


@pytest.mark.parametrize(("name", "norm"), VARIANTS)
def test_gives_logits_and_embedding_has_a_head_and_no_state(name, norm):
    model = small(name, norm)
    inputs = batch_for(name)
    logits, embedding = model(*inputs)
    assert (
        logits.shape == (6, 3)
        and embedding.shape == (6, model.embedding_dim)
        and torch.isfinite(logits).all()
    )
    assert isinstance(model.head, nn.Linear) and list(dict(model.named_parameters()))[-2:] == [
        "head.weight",
        "head.bias",
    ]
    assert torch.equal(model.head(embedding), logits) and not list(model.buffers())
    before = copy.deepcopy(model.state_dict())
    assert torch.equal(model.eval()(*inputs)[0], logits) and torch.equal(
        model.train()(*inputs)[0], logits
    )
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_head_starts_kaiming_normal_without_bias_and_weights_follow_from_the_seed(name):
    torch.manual_seed(4)
    one = network(name, 200, 500)
    torch.manual_seed(4)
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.parameters(), network(name, 200, 500).parameters(), strict=True)
    )
    assert (one.head.bias == 0).all()
    spread, centre = torch.std_mean(one.head.weight.detach())
    assert (
        float(spread) == pytest.approx((2 / one.embedding_dim) ** 0.5, rel=0.03)
        and abs(centre) < 0.01
    )


@pytest.mark.parametrize(("name", "norm"), VARIANTS)
def test_every_parameter_has_a_gradient(name, norm):
    model = small(name, norm)
    functional.cross_entropy(
        model(*batch_for(name))[0], torch.tensor([0, 1, 2, 0, 1, 2])
    ).backward()
    assert all(
        p.grad is not None and p.grad.abs().max() > 0
        for key, p in model.named_parameters()
        if not _idle(key, name, norm)
    )


def _idle(key, name, norm):
    """A bias that batch statistics take away again."""
    return (
        norm == "batch"
        and name == "conv4"
        and key.startswith("convs")
        and key.endswith("bias")
        or norm == "batch"
        and name == "mlp"
        and key.startswith("layers")
        and key.endswith("bias")
    )


@pytest.mark.parametrize(
    ("name", "norm", "width", "named"),
    [
        ("cnn", "group", 64, "'cnn'.*mlp, conv4, lstm"),
        ("conv4", "layer", 64, "norm = 'layer'"),
        ("conv4", "group", 20, "width = 20.*multiple of 8"),
        ("lstm", "batch", 64, "norm = 'batch': lstm knows 'group'"),
        ("mlp", "paper-batch", 64, "norm = 'paper-batch': mlp knows 'group', 'batch'"),
    ],
)
def test_networks_that_do_not_exist_are_refused_in_one_sentence(name, norm, width, named):
    with pytest.raises(SettingError, match=named):
        network(name, 80, 5, norm=norm, width=width)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("name", ["conv4", "lstm"])
@pytest.mark.parametrize("dim", [1, 19])
def test_a_clip_gives_the_same_alone_padded_and_in_any_batch(name, dim, dtype, tolerance):
    model = network(name, dim, 5, width=16).to(dtype)
    values, mask = noise_clips(LENGTHS, dim, dtype, frames=60)
    together = model(values, mask)
    for row, length in enumerate(LENGTHS):
        alone = model(values[row : row + 1, :length], mask[row : row + 1, :length])
        among_others = model(values[[row, 0]], mask[[row, 0]])
        for whole, single, pair in zip(together, alone, among_others, strict=True):
            assert (whole[row] - single[0]).abs().max() < tolerance and (
                whole[row] - pair[0]
            ).abs().max() < tolerance


@pytest.mark.parametrize(("name", "norm"), [pair for pair in VARIANTS if pair[0] != "mlp"])
def test_what_stands_in_padded_frames_and_how_many_there_are_does_not_matter(name, norm):
    model = small(name, norm, frames=64)
    values, mask = noise_clips([9, 20, 1, 14, 17])
    logits, embedding = model(values, mask)
    more = (
        functional.pad(values, (0, 0, 0, 23)) + 1000.0 * ~functional.pad(mask, (0, 23))[..., None]
    )
    again, same = model(more, functional.pad(mask, (0, 23)))
    assert (logits - again).abs().max() < 1e-10 and (embedding - same).abs().max() < 1e-10


@pytest.mark.parametrize(
    ("name", "norm", "alone"),
    [
        ("conv4", "group", True),
        ("mlp", "group", True),
        ("lstm", "group", True),
        ("conv4", "batch", False),
        ("conv4", "paper-batch", False),
        ("mlp", "batch", False),
    ],
)
def test_group_statistics_leave_a_clip_alone_and_batch_statistics_do_not(name, norm, alone):
    model, inputs = small(name, norm), batch_for(name)
    whole, part = model(*inputs)[0][:3], model(*(x[:3] for x in inputs))[0]
    assert ((whole - part).abs().max() < 1e-10) == alone


def test_no_frames_and_silence_give_finite_numbers_and_second_derivatives():
    for norm in ("group", "batch", "paper-batch"):
        model = small("conv4", norm, dtype=torch.float32)
        values, mask = noise_clips([0, 12, 20], dtype=torch.float32)
        values[1] = 0.0
        loss = model(values, mask)[0].square().sum()
        slopes = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        again = torch.autograd.grad(sum(s.square().sum() for s in slopes), list(model.parameters()))
        assert torch.isfinite(loss) and all(torch.isfinite(g).all() for g in (*slopes, *again))
