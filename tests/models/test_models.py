"""The networks: against torch's own layers, against loops over valid frames, padded and not,
batched over tasks, differentiated twice.
"""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from colab_utils.models import NETWORKS, network
from colab_utils.models.normalisation import GROUP_CHANNELS, MaskedNorm, _RowMoments
from colab_utils.settings import SettingError

SMALL = {"mlp": {"width": 8}, "conv4": {"width": 8}, "lstm": {"width": 3}}
VARIANTS = [
    ("mlp", "group"),
    ("mlp", "batch"),
    ("conv4", "group"),
    ("conv4", "batch"),
    ("conv4", "paper-batch"),
    ("lstm", "group"),
]
LENGTHS = [1, 2, 3, 5, 8, 13, 15, 16, 17, 20, 31, 33, 47, 50]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def clips(lengths, dim=19, dtype=torch.float64, frames=None):
    """Noise clips with level and trend, one below the other, padded with 0: (values, mask)."""
    mask = torch.arange(frames or max(lengths)) < torch.tensor(lengths)[:, None]
    rows = torch.randn(*mask.shape, dim, dtype=dtype) + torch.linspace(-2, 3, dim, dtype=dtype)
    return rows * mask[..., None], mask


def small(name, norm="group", dim=19, n_classes=3, dtype=torch.float64, frames=32):
    return network(name, dim, n_classes, norm=norm, frames=frames, **SMALL[name]).to(dtype)


def batch_for(name, n=6, dim=19, frames=21, dtype=torch.float64):
    if name == "mlp":
        return (torch.randn(n, dim, dtype=dtype),)
    return clips([frames - 3 * i for i in range(n)], dim, dtype)


# --- what every network promises
# -------------------------------------------------------------------------------------------------------


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
        ("lstm", "batch", 64, "norm = 'batch'.*set norm = 'group'"),
        ("mlp", "paper-batch", 64, "norm = 'paper-batch'.*'group' and 'batch'"),
    ],
)
def test_networks_that_do_not_exist_are_refused_in_one_sentence(name, norm, width, named):
    with pytest.raises(SettingError, match=named):
        network(name, 80, 5, norm=norm, width=width)


# --- length is no cue
# ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("name", ["conv4", "lstm"])
@pytest.mark.parametrize("dim", [1, 19, 80])
def test_a_clip_gives_the_same_alone_padded_and_in_any_batch(name, dim, dtype, tolerance):
    model = network(name, dim, 5, width=16).to(dtype)
    values, mask = clips(LENGTHS, dim, dtype, frames=77)
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
    values, mask = clips([9, 20, 1, 14, 17])
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


def test_a_clip_without_frames_and_one_of_silence_give_finite_numbers_with_finite_second_derivatives():
    for norm in ("group", "batch", "paper-batch"):
        model = small("conv4", norm, dtype=torch.float32)
        values, mask = clips([0, 12, 20], dtype=torch.float32)
        values[1] = 0.0
        loss = model(values, mask)[0].square().sum()
        slopes = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        again = torch.autograd.grad(sum(s.square().sum() for s in slopes), list(model.parameters()))
        assert torch.isfinite(loss) and all(torch.isfinite(g).all() for g in (*slopes, *again))


# --- against torch's own layers
# --------------------------------------------------------------------------------------------------------


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
    values, mask = clips([50] * 4, 80)
    x = plain_conv4(model, layer, norm == "paper-batch")(values[:, None])
    expected = x.flatten(1) if norm == "paper-batch" else x.mean(2).flatten(1)
    logits, embedding = model(values, mask)
    assert (embedding - expected).abs().max() < 1e-10 and (
        logits - model.head(expected)
    ).abs().max() < 1e-10


def test_the_published_conv4_pads_shorter_clips_and_refuses_longer_ones():
    model = small("conv4", "paper-batch", frames=48)
    values, mask = clips([30, 22, 9])
    expected = model(functional.pad(values, (0, 0, 0, 18)), functional.pad(mask, (0, 18)))[0]
    assert torch.equal(model(values, mask)[0], expected)
    with pytest.raises(
        ValueError, match="49 frames: the published conv4 was made for 48; set max_frames = 48"
    ):
        model(*clips([49, 3]))


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
    values, mask = clips([1, 4, 17, 30])
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


# --- masked normalisation
# --------------------------------------------------------------------------------------------------------------


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
    mask = (torch.arange(3) < torch.tensor([[3], [1]])).double()
    x = torch.randn(2, 8, 3, 2, dtype=torch.float64, requires_grad=True)

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


# --- as functions of their parameters
# --------------------------------------------------------------------------------------------------


def task_loss(model, parameters, inputs, y):
    return functional.cross_entropy(functional_call(model, parameters, inputs)[0], y)


def adapted_query_loss(model, parameters, support, query, y, rate=0.1):
    """One inner step on the support, then the loss on the query."""
    slopes = grad(lambda p: task_loss(model, p, support, y))(parameters)
    return task_loss(
        model, {key: value - rate * slopes[key] for key, value in parameters.items()}, query, y
    )


@pytest.mark.parametrize(("name", "norm"), VARIANTS)
def test_tasks_with_their_own_parameters_in_one_vmap_equal_a_loop_with_second_derivatives(
    name, norm
):
    models = [small(name, norm) for _ in range(3)]
    assert models[0].vmappable
    tasks = [(batch_for(name), batch_for(name)) for _ in models]
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    parameters = [
        {key: value.detach() for key, value in model.named_parameters()} for model in models
    ]
    slope = grad(lambda p, support, query: adapted_query_loss(models[0], p, support, query, y))
    loop = [slope(p, *task) for p, task in zip(parameters, tasks, strict=True)]
    stacked = {key: torch.stack([p[key] for p in parameters]) for key in parameters[0]}
    support, query = (
        tuple(torch.stack(parts) for parts in zip(*(task[side] for task in tasks), strict=True))
        for side in (0, 1)
    )
    together = vmap(slope)(stacked, support, query)
    for task, alone in enumerate(loop):
        for key, value in alone.items():
            assert (together[key][task] - value).abs().max() < 1e-9 * (1 + value.abs().max())


@pytest.mark.parametrize(("name", "norm"), VARIANTS)
def test_the_gradient_through_an_inner_step_is_that_of_finite_differences(name, norm):
    model, y = small(name, norm), torch.tensor([0, 1, 2, 0, 1, 2])
    support, query = batch_for(name), batch_for(name)
    parameters = {key: value.detach() for key, value in model.named_parameters()}
    slopes = grad(lambda p: adapted_query_loss(model, p, support, query, y))(parameters)
    for _ in range(3):
        towards = {key: torch.randn_like(value) for key, value in parameters.items()}

        def at(size, towards=towards):
            return adapted_query_loss(
                model,
                {key: value + size * towards[key] for key, value in parameters.items()},
                support,
                query,
                y,
            )

        expected = (at(1e-6) - at(-1e-6)) / 2e-6
        got = sum((slopes[key] * towards[key]).sum() for key in parameters)
        assert float(got) == pytest.approx(float(expected), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name", NETWORKS)
def test_autograd_with_create_graph_gives_what_torch_func_gives(name):
    model, y = small(name), torch.tensor([0, 1, 2, 0, 1, 2])
    support, query = batch_for(name), batch_for(name)
    parameters = {key: value.detach().requires_grad_() for key, value in model.named_parameters()}
    slopes = torch.autograd.grad(
        task_loss(model, parameters, support, y), list(parameters.values()), create_graph=True
    )
    moved = {
        key: value - 0.1 * slope
        for (key, value), slope in zip(parameters.items(), slopes, strict=True)
    }
    expected = torch.autograd.grad(task_loss(model, moved, query, y), list(parameters.values()))
    got = grad(lambda p: adapted_query_loss(model, p, support, query, y))(
        {key: value.detach() for key, value in parameters.items()}
    )
    assert all(
        (got[key] - value).abs().max() < 1e-10
        for key, value in zip(parameters, expected, strict=True)
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize(("name", "norm"), VARIANTS)
def test_the_gpu_gives_the_same_meta_gradient(name, norm):
    model, y = small(name, norm), torch.tensor([0, 1, 2, 0, 1, 2])
    support, query = batch_for(name), batch_for(name)
    parameters = {key: value.detach() for key, value in model.named_parameters()}
    here, there = (
        grad(lambda p, s, q, d=device: adapted_query_loss(model, p, s, q, y.to(d)))(
            {key: value.to(device) for key, value in parameters.items()},
            *(tuple(x.to(device) for x in part) for part in (support, query)),
        )
        for device in ("cpu", "cuda")
    )
    assert all((here[key] - there[key].cpu()).abs().max() < 1e-8 for key in here)
