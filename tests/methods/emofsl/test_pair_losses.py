"""Losses on all pairs equal double loops, stop at their margins, survive coinciding embeddings, and
take many support draws at once.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import ContrastiveLoss
from pytorch_metric_learning.reducers import MeanReducer
from scipy.spatial.distance import cdist

from colab_utils.methods.emofsl.circumplex import (
    COORDINATES,
    emotion_distances,
    graded_margins,
    pair_levels,
)
from colab_utils.methods.emofsl.pair_losses import (
    EPS,
    emotion_distance,
    equation_2,
    graded_distance,
    pair_distances,
    pair_masks,
    siamese,
)

FOUR = ["anger", "happiness", "neutral", "sadness"]
SETS = [FOUR, ["anger", "sadness"], list(COORDINATES), ["fear", "calm", "disgust"]]


def levels_of(emotions):
    return pair_levels(emotion_distances(emotions)).to_numpy()


def far_of(emotions):
    return torch.as_tensor(levels_of(emotions) == "PN")


def margins_of(emotions, alpha=1.0, beta=0.6):
    return torch.as_tensor(graded_margins(emotion_distances(emotions), alpha, beta).to_numpy())


def shots(ways, k):
    return torch.arange(ways).repeat_interleave(k)


def drawn(seed, n=23, dim=6, ways=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=generator, dtype=torch.float64).to(dtype), torch.randint(
        ways, (n,), generator=generator
    )


def naive(embedding, y, term, normalise=True, reduction="mean"):
    """The loss as two loops over pairs; term(class, class, d) -> (group, value)."""
    points = [row.tolist() for row in embedding.double()]
    if normalise:
        points = [[x / math.sqrt(sum(v * v for v in row)) for x in row] for row in points]
    groups = {}
    for i in range(len(points)):
        for j in range(i + 1, len(points)):
            d = math.sqrt(
                sum((a - b) ** 2 for a, b in zip(points[i], points[j], strict=True)) + EPS
            )
            group, value = term(int(y[i]), int(y[j]), d)
            groups.setdefault(group, []).append(value)
    return sum(
        math.fsum(values) / (len(values) if reduction == "mean" else 1)
        for values in groups.values()
    )


def eq1(kappa, cap):
    def term(a, b, d):
        return ("same", d) if a == b else ("other", -kappa * (min(d, cap) if cap else d))

    return term


def eq2(emotions, alpha, beta, kappa1, kappa2):
    levels = levels_of(emotions)

    def term(a, b, d):
        level = levels[a, b]
        return (
            level,
            {
                "PP": d,
                "PN": kappa1 * max(alpha - d, 0.0),
                "MN": kappa2 * max(beta - d, 0.0),
            }[str(level)],
        )

    return term


CASES = list(itertools.product([torch.float32, torch.float64], [True, False], ["mean", "sum"], [0]))


def close(value, expected, dtype):
    assert value.dtype == dtype and value.shape == ()
    assert float(value) == pytest.approx(
        expected,
        rel=1e-10 if dtype == torch.float64 else 2e-5,
        abs=1e-10 if dtype == torch.float64 else 2e-5,
    )


@pytest.mark.parametrize(("dtype", "normalise", "reduction", "seed"), CASES)
def test_the_siamese_loss_equals_a_double_loop(dtype, normalise, reduction, seed):
    embedding, y = drawn(seed, dtype=dtype, ways=2 + seed)
    for cap in (0.0, 1.1):
        value = siamese(embedding, y, kappa=0.7, cap=cap, normalise=normalise, reduction=reduction)
        close(value, naive(embedding, y, eq1(0.7, cap), normalise, reduction), dtype)


@pytest.mark.parametrize("emotions", SETS, ids=len)
@pytest.mark.parametrize(("dtype", "normalise", "reduction", "seed"), CASES)
def test_the_emotion_distance_loss_equals_a_double_loop(
    emotions, dtype, normalise, reduction, seed
):
    embedding, y = drawn(seed, dtype=dtype, ways=len(emotions))
    options = {"alpha": 1.3, "beta": 0.9, "kappa1": 0.6, "kappa2": 0.3}
    value = emotion_distance(
        embedding, y, far_of(emotions), normalise=normalise, reduction=reduction, **options
    )
    close(value, naive(embedding, y, eq2(emotions, **options), normalise, reduction), dtype)


@pytest.mark.parametrize("emotions", SETS, ids=len)
@pytest.mark.parametrize("k", [1, 5])
def test_the_equation_of_the_paper_is_the_summed_loss_of_one_support_set(emotions, k):
    embedding, _ = drawn(2, n=len(emotions) * k, dim=6)
    y, far = shots(len(emotions), k), far_of(emotions)
    options = {"alpha": 1.6, "beta": 1.1, "kappa1": 0.6, "kappa2": 0.3}
    value = equation_2(embedding, y, far, **options)
    close(value, naive(embedding, y, eq2(emotions, **options), reduction="sum"), torch.float64)
    many = emotion_distance(embedding[None], y, far, reduction="sum", **options)
    assert torch.allclose(value, many[0], rtol=1e-10)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_graded_loss_equals_a_double_loop(reduction):
    embedding, y = drawn(3, ways=len(COORDINATES), n=30)
    margins = margins_of(list(COORDINATES), alpha=1.4, beta=0.8)
    weights = np.random.default_rng(0).uniform(0.2, 0.8, margins.shape)
    weights = (weights + weights.T) / 2
    value = graded_distance(embedding, y, margins, torch.as_tensor(weights), reduction=reduction)
    expected = naive(
        embedding,
        y,
        lambda a, b, d: (
            ("same", d) if a == b else ("other", weights[a, b] * max(float(margins[a, b]) - d, 0.0))
        ),
        reduction=reduction,
    )
    close(value, expected, torch.float64)


def test_the_summed_graded_loss_with_two_margins_is_the_papers():
    embedding, y = drawn(4)
    far = far_of(FOUR)
    margins, weights = torch.where(far, 1.0, 0.6), torch.where(far, 0.6, 0.3)
    assert torch.allclose(
        graded_distance(embedding, y, margins, weights, reduction="sum"),
        emotion_distance(embedding, y, far, reduction="sum"),
    )


@pytest.mark.parametrize(
    ("k", "counts"),
    [(1, (0, 2, 4)), (5, (40, 50, 100)), (10, (180, 200, 400)), (15, (420, 450, 900))],
)
def test_the_four_emotions_at_k_shots_have_the_papers_numbers_of_pairs(k, counts):
    masks = pair_masks(shots(4, k), far_of(FOUR))
    assert tuple(int(mask.sum()) for mask in masks) == counts
    assert not any(mask.diagonal().any() for mask in masks)
    assert int(sum(mask.sum() for mask in masks)) == 4 * k * (4 * k - 1) // 2


def test_pytorch_metric_learning_says_the_same_of_distances_and_of_one_margin():
    embedding, y = drawn(5, n=40)
    # EPS stands under the root of ours
    assert torch.allclose(pair_distances(embedding), LpDistance()(embedding), atol=2e-3)
    off = ~torch.eye(40, dtype=torch.bool)
    assert torch.allclose(pair_distances(embedding)[off], LpDistance()(embedding)[off], atol=1e-5)
    everywhere_far = torch.ones(4, 4, dtype=torch.bool)
    theirs = ContrastiveLoss(
        pos_margin=0.0, neg_margin=1.2, reducer=MeanReducer(), distance=LpDistance()
    )(embedding, y)
    assert torch.allclose(
        emotion_distance(embedding, y, everywhere_far, alpha=1.2, kappa1=1.0), theirs, atol=1e-5
    )


def test_distances_far_from_the_origin_keep_their_digits():
    points = drawn(8, n=30, dim=12)[0].float() + 1000
    theirs = np.sqrt(cdist(points.double(), points.double()) ** 2 + EPS)
    ours = pair_distances(points, normalise=False)
    # by |a|^2 - 2ab + |b|^2 they are off by half their size
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_gradients_equal_finite_differences():
    embedding, y = drawn(6, n=7, dim=3, ways=3)
    embedding.requires_grad_()
    far = far_of(["anger", "neutral", "sadness"])
    margins = margins_of(["anger", "neutral", "sadness"])
    for loss in (
        lambda e: siamese(e, y, cap=1.5),
        lambda e: siamese(e, y, normalise=False),
        lambda e: emotion_distance(e, y, far, alpha=1.7),
        lambda e: graded_distance(e, y, margins, margins),
    ):
        assert torch.autograd.gradcheck(loss, embedding)


def gradient(loss, embedding):
    embedding = embedding.clone().requires_grad_()
    return torch.autograd.grad(loss(embedding), embedding)[0]


def test_a_pair_beyond_its_margin_has_no_gradient_and_one_within_has():
    def at(degrees):
        angle = math.radians(degrees)
        return torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)]], dtype=torch.float64)

    y, chord = torch.tensor([0, 1]), lambda d: math.degrees(2 * math.asin(d / 2))
    for far, margin in (
        (torch.ones(2, 2, dtype=torch.bool), 1.0),
        (torch.zeros(2, 2, dtype=torch.bool), 0.6),
    ):

        def loss(embedding, far=far):
            return emotion_distance(embedding, y, far)

        assert (
            gradient(loss, at(chord(margin + 0.01))).abs().max() == 0
            and loss(at(chord(margin + 0.01))) == 0
        )
        assert gradient(loss, at(chord(margin - 0.01))).abs().max() > 0.01
    assert gradient(lambda e: siamese(e, y, cap=1.0), at(chord(1.01))).abs().max() == 0
    assert gradient(lambda e: siamese(e, y), at(chord(1.01))).abs().max() > 0.01


def test_a_step_down_the_gradient_pulls_a_class_together_and_pushes_far_emotions_apart():
    embedding, y = drawn(7, n=20)
    y, far = shots(4, 5), far_of(FOUR)
    same, distant, _ = pair_masks(y, far)
    moved = embedding - 0.5 * gradient(lambda e: emotion_distance(e, y, far, alpha=2.0), embedding)
    before, after = pair_distances(embedding), pair_distances(moved)
    assert (
        after[same].mean() < before[same].mean() and after[distant].mean() > before[distant].mean()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("place", [0.0, 1.0], ids=["zero", "one point"])
def test_coinciding_embeddings_give_finite_losses_and_gradients(dtype, place):
    embedding, y, far = torch.full((8, 5), place, dtype=dtype), shots(4, 2), far_of(FOUR)
    for loss in (
        lambda e: siamese(e, y),
        lambda e: siamese(e, y, normalise=False),
        lambda e: emotion_distance(e, y, far),
        lambda e: emotion_distance(e, y, far, normalise=False, reduction="sum"),
    ):
        assert torch.isfinite(loss(embedding)) and torch.isfinite(gradient(loss, embedding)).all()


def test_one_shot_has_no_positive_pairs_and_works():
    embedding, y, far = drawn(8, n=4)[0], shots(4, 1), far_of(FOUR)
    d = pair_distances(embedding)
    value = emotion_distance(embedding, y, far, alpha=2.0, beta=1.9)
    assert value == pytest.approx(naive(embedding, y, eq2(FOUR, 2.0, 1.9, 0.6, 0.3)))
    assert siamese(embedding, y) == pytest.approx(
        -float(d[torch.triu_indices(4, 4, 1).unbind()].mean())
    )
    assert torch.isfinite(
        gradient(lambda e: emotion_distance(e, y, far, alpha=2.0), embedding)
    ).all()
    assert emotion_distance(embedding[:1], y[:1], far) == siamese(embedding[:1], y[:1]) == 0


def test_losses_do_not_depend_on_the_order_of_the_support_or_on_the_scale_of_the_embedding():
    embedding, y = drawn(9)
    far, order = far_of(FOUR), torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    for loss in (siamese, lambda e, y, **o: emotion_distance(e, y, far, **o)):
        for reduction in ("mean", "sum"):
            assert torch.allclose(
                loss(embedding[order], y[order], reduction=reduction),
                loss(embedding, y, reduction=reduction),
            )
        assert torch.allclose(loss(3.7 * embedding, y), loss(embedding, y))


def test_losses_do_not_depend_on_how_classes_are_numbered():
    embedding, y = drawn(10)
    order = ["sadness", "neutral", "anger", "happiness"]
    renumbered = torch.tensor([order.index(name) for name in FOUR])[y]
    assert torch.allclose(
        emotion_distance(embedding, renumbered, far_of(order)),
        emotion_distance(embedding, y, far_of(FOUR)),
    )


@pytest.mark.parametrize("own_labels", [True, False])
def test_many_draws_at_once_equal_one_after_the_other_with_and_without_vmap(own_labels):
    embedding = torch.stack([drawn(seed, n=12)[0] for seed in range(3)])
    y = torch.stack([drawn(seed, n=12)[1] for seed in range(3)]) if own_labels else shots(4, 3)
    far, margins = far_of(FOUR), margins_of(FOUR)
    for loss in (
        lambda e, y: siamese(e, y, cap=1.2),
        lambda e, y: emotion_distance(e, y, far),
        lambda e, y: graded_distance(e, y, margins, margins),
    ):
        alone = torch.stack(
            [loss(one, y[i] if own_labels else y) for i, one in enumerate(embedding)]
        )
        assert torch.allclose(loss(embedding, y), alone)
        dims = (0, 0 if own_labels else None)
        assert torch.allclose(torch.func.vmap(loss, in_dims=dims)(embedding, y), alone)
        slopes = torch.func.vmap(torch.func.grad(loss), in_dims=dims)(embedding, y)
        assert torch.allclose(slopes, gradient(lambda e, loss=loss: loss(e, y).sum(), embedding))


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="median.*mean, sum"):
        siamese(*drawn(0), reduction="median")
