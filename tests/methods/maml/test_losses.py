"""Contrastive terms against naive double loops."""

import math

import pytest
import torch

from colab_utils.learning.tasks import Batch, masked_cross_entropy
from colab_utils.methods.maml.losses import (
    TERMS,
    WithProjection,
    contrastive_term,
    episode_loss,
)
from colab_utils.methods.maml.settings import CONTRASTIVE
from colab_utils.settings import SettingError


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def naive_nt_xent(x, y, t):
    """Mean over ordered positive pairs, as pytorch-metric-learning defines it."""
    terms = []
    for i in range(len(x)):
        negatives = sum(math.exp(cosine(x[i], x[k]) / t) for k in range(len(x)) if y[k] != y[i])
        for j in range(len(x)):
            if j != i and y[j] == y[i]:
                positive = math.exp(cosine(x[i], x[j]) / t)
                terms.append(-math.log(positive / (positive + negatives)))
    return sum(terms) / len(terms)


def naive_supcon(x, y, t):
    """Mean over anchors with positives of the mean over their positives of -log softmax among all
    others (Khosla et al. 2020, L_out).
    """
    anchors = []
    for i in range(len(x)):
        others = [k for k in range(len(x)) if k != i]
        total = sum(math.exp(cosine(x[i], x[k]) / t) for k in others)
        positives = [k for k in others if y[k] == y[i]]
        if positives:
            shares = [math.exp(cosine(x[i], x[k]) / t) / total for k in positives]
            anchors.append(-sum(map(math.log, shares)) / len(positives))
    return sum(anchors) / len(anchors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 4, 4], [3, 3, 1]])
@pytest.mark.parametrize(
    ("kind", "naive"), [("nt-xent", naive_nt_xent), ("supervised", naive_supcon)]
)
def test_equal_to_the_double_loop_and_to_itself_in_another_order(kind, naive, labels, dtype):
    torch.manual_seed(0)
    x, y = torch.randn(len(labels), 5, dtype=dtype), torch.tensor(labels)
    found = contrastive_term(kind, 0.2)(x, y)
    assert found.item() == pytest.approx(
        naive(x.double(), y, 0.2), rel=1e-5 if dtype == torch.float32 else 1e-10
    )
    order = torch.randperm(len(y))
    assert contrastive_term(kind, 0.2)(x[order], y[order]).item() == pytest.approx(
        found.item(), rel=1e-5
    )


@pytest.mark.parametrize("kind", ["nt-xent", "supervised"])
def test_gradients_are_right_and_finite(kind):
    torch.manual_seed(0)
    x, y = (
        torch.randn(6, 4, dtype=torch.float64, requires_grad=True),
        torch.tensor([0, 0, 1, 1, 2, 2]),
    )
    assert torch.autograd.gradcheck(lambda e: contrastive_term(kind, 0.3)(e, y), x)
    same = torch.ones(4, 3, requires_grad=True)
    contrastive_term(kind, 0.07)(same, torch.tensor([0, 0, 1, 1])).backward()
    assert torch.isfinite(same.grad).all()
    one_shot = torch.randn(3, 4, requires_grad=True)
    term = contrastive_term(kind, 0.07)(one_shot, torch.tensor([2, 0, 1]))
    term.backward()
    assert term.item() == 0 and (one_shot.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2, 3]])
def test_anchors_whose_loss_rounds_to_0_still_count(labels, dtype):
    # four anchors are so well separated that float32 gives them a loss of exactly 0
    places = torch.tensor(
        [[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [0.0, -1.0]],
        dtype=dtype,
    )
    x, y = places[: len(labels)], torch.tensor(labels)
    assert contrastive_term("supervised", 0.05)(x, y).item() == pytest.approx(
        naive_supcon(x.double(), y, 0.05), rel=1e-5
    )


@pytest.mark.parametrize("kind", ["nt-xent", "supervised"])
def test_second_derivatives_are_right_and_torch_func_gives_the_same(kind):
    torch.manual_seed(0)
    x, y = (
        torch.randn(6, 3, dtype=torch.float64, requires_grad=True),
        torch.tensor([0, 0, 1, 1, 2, 2]),
    )
    direction, term = torch.randn(6, 3, dtype=torch.float64), contrastive_term(kind, 0.3)
    assert torch.autograd.gradgradcheck(lambda e: term(e, y), x)
    (slope,) = torch.autograd.grad(term(x, y), x, create_graph=True)
    (bend,) = torch.autograd.grad((slope * direction).sum(), x)
    by_func = torch.func.grad(term)
    assert torch.allclose(by_func(x.detach(), y), slope, rtol=1e-12, atol=1e-12)
    assert torch.allclose(
        torch.func.grad(lambda e: (by_func(e, y) * direction).sum())(x.detach()),
        bend,
        rtol=1e-12,
        atol=1e-12,
    )
    same = torch.func.grad(lambda e: by_func(e, torch.tensor([0, 0, 1, 1])).square().sum())(
        torch.ones(4, 3)
    )
    assert torch.isfinite(same).all()


def test_an_unknown_term_is_refused():
    for kind in ("none", "nt_xent"):
        with pytest.raises(SettingError, match=f"'{kind}': choose from nt-xent, supervised"):
            contrastive_term(kind, 0.1)
    with pytest.raises(SettingError, match="SupCon"):
        episode_loss("SupCon", 0.1, 0.1)
    assert CONTRASTIVE == ("none", "nt-xent", "supervised") == ("none", *TERMS)


class Net(torch.nn.Module):
    embedding_dim = 6

    def __init__(self):
        super().__init__()
        self.body, self.head = torch.nn.Linear(4, 6), torch.nn.Linear(6, 3)

    def forward(self, values):
        embedding = torch.tanh(self.body(values))
        return self.head(embedding), embedding


def test_a_projection_has_length_1_and_leaves_the_logits_alone():
    torch.manual_seed(0)
    net, x = Net(), torch.randn(7, 4)
    logits, projection = WithProjection(net, 5)(x)
    assert torch.equal(logits, net(x)[0]) and projection.shape == (7, 5)
    assert torch.allclose(projection.norm(dim=1), torch.ones(7))


def test_the_episode_loss_is_the_sum():
    torch.manual_seed(0)
    logits, embedding = torch.randn(4, 3), torch.randn(4, 6)
    batch = Batch((embedding,), torch.tensor([0, 0, 1, 1]), torch.tensor([True, True, False]))
    both = episode_loss("supervised", 0.3, 0.2)(logits, embedding, batch)
    term = contrastive_term("supervised", 0.2)(embedding, batch.y)
    expected = masked_cross_entropy(logits, embedding, batch) + 0.3 * term
    assert both.item() == pytest.approx(expected.item())
    assert episode_loss("none", 9.0, 0.2) is masked_cross_entropy
