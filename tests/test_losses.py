"""Contrastive terms against naive double loops."""
import math

import pytest
import torch

from colab_utils.methods.losses import contrastive, episode_loss
from colab_utils.methods.tasks import Batch, cross_entropy


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def naive_nt_xent(x, y, t):
    """Mean over ordered positive pairs (method_facts §1.4)."""
    terms = []
    for i in range(len(x)):
        negatives = sum(math.exp(cosine(x[i], x[k]) / t) for k in range(len(x)) if y[k] != y[i])
        for j in range(len(x)):
            if j != i and y[j] == y[i]:
                positive = math.exp(cosine(x[i], x[j]) / t)
                terms.append(-math.log(positive / (positive + negatives)))
    return sum(terms) / len(terms)


def naive_supcon(x, y, t):
    """Mean over anchors with positives of the mean over their positives of -log softmax among all others (Khosla et al. 2020, L_out)."""
    anchors = []
    for i in range(len(x)):
        others = [k for k in range(len(x)) if k != i]
        total = sum(math.exp(cosine(x[i], x[k]) / t) for k in others)
        positives = [k for k in others if y[k] == y[i]]
        if positives:
            anchors.append(-sum(math.log(math.exp(cosine(x[i], x[k]) / t) / total) for k in positives) / len(positives))
    return sum(anchors) / len(anchors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 4, 4], [3, 3, 1]])
@pytest.mark.parametrize(("kind", "naive"), [("nt-xent", naive_nt_xent), ("supervised", naive_supcon)])
def test_equal_to_the_double_loop_and_to_itself_in_another_order(kind, naive, labels, dtype):
    torch.manual_seed(0)
    x, y = torch.randn(len(labels), 5, dtype=dtype), torch.tensor(labels)
    found = contrastive(kind, 0.2)(x, y)
    assert found.item() == pytest.approx(naive(x.double(), y, 0.2), rel=1e-5 if dtype == torch.float32 else 1e-10)
    order = torch.randperm(len(y))
    assert contrastive(kind, 0.2)(x[order], y[order]).item() == pytest.approx(found.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["nt-xent", "supervised"])
def test_gradients_are_right_and_finite(kind):
    torch.manual_seed(0)
    x, y = torch.randn(6, 4, dtype=torch.float64, requires_grad=True), torch.tensor([0, 0, 1, 1, 2, 2])
    assert torch.autograd.gradcheck(lambda e: contrastive(kind, 0.3)(e, y), x)
    same = torch.ones(4, 3, requires_grad=True)
    contrastive(kind, 0.07)(same, torch.tensor([0, 0, 1, 1])).backward()
    assert torch.isfinite(same.grad).all()
    one_shot = torch.randn(3, 4, requires_grad=True)
    term = contrastive(kind, 0.07)(one_shot, torch.tensor([2, 0, 1]))
    term.backward()
    assert term.item() == 0 and (one_shot.grad == 0).all()


def test_the_episode_loss_is_the_sum():
    torch.manual_seed(0)
    logits, embedding = torch.randn(4, 3), torch.randn(4, 6)
    batch = Batch((embedding,), torch.tensor([0, 0, 1, 1]), torch.tensor([True, True, False]))
    both = episode_loss("supervised", 0.3, 0.2)(logits, embedding, batch)
    assert both.item() == pytest.approx((cross_entropy(logits, embedding, batch) + 0.3 * contrastive("supervised", 0.2)(embedding, batch.y)).item())
    assert episode_loss("none", 9.0, 0.2) is cross_entropy
