"""Networks as functions of their parameters: batched over tasks, differentiated twice."""

import pytest
import torch
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from toy_networks import VARIANTS, batch_for, small

from colab_utils.models import NETWORKS


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


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
