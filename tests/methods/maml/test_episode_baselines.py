"""Baselines inside episodes: each against its definition or scikit-learn, task by task."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid

from colab_utils.learning import heads, supervised
from colab_utils.learning.contract import Tested
from colab_utils.learning.tasks import (
    Batch,
    Tasks,
    accuracy,
    masked_cross_entropy,
    probabilities,
)
from colab_utils.learning.training import train
from colab_utils.methods.maml import rivals
from colab_utils.methods.maml.inner_loop import adapted_scores
from colab_utils.methods.maml.rivals import ProtoNetLearner
from colab_utils.methods.maml.settings import EpisodeConfig, MamlConfig
from colab_utils.models import network


def make_tasks(
    number=5, classes=6, chosen=(4, 0, 3), shots=3, queries=7, dim=8, spread=1.0, seed=0, shift=0.0
):
    rng = np.random.default_rng(seed)
    places = np.random.default_rng(9).normal(size=(classes, dim))

    def batch(each):
        y = np.repeat(chosen, each)
        x = places[y] + shift + spread * rng.normal(size=(number, len(y), dim))
        active = np.isin(np.arange(classes), chosen)
        return Batch(
            (torch.tensor(x, dtype=torch.float32),),
            torch.tensor(np.tile(y, (number, 1))),
            torch.tensor(np.tile(active, (number, 1))),
        )

    return Tasks(batch(shots), batch(queries))


def make_framed_tasks(number, frames=18, dim=8):
    """The same tasks with frames around each vector, and clips of different lengths."""
    generator = torch.Generator().manual_seed(3)

    def framed(batch):
        values = batch.inputs[0].unsqueeze(2) + torch.randn(
            *batch.y.shape, frames, dim, generator=generator
        )
        mask = torch.arange(frames) < torch.randint(
            frames // 2, frames + 1, (*batch.y.shape, 1), generator=generator
        )
        return batch._replace(inputs=(values * mask.unsqueeze(-1), mask))

    return Tasks(*(framed(batch) for batch in make_tasks(number, dim=dim)))


def test_nearest_prototype_is_scikit_learns_nearest_centroid():
    tasks = make_tasks()
    scores = heads.nearest_prototype(tasks)
    assert torch.allclose(scores.sum(-1), torch.ones(5, 21)) and (scores[..., [1, 2, 5]] == 0).all()
    for i in range(5):
        model = NearestCentroid().fit(tasks.support.inputs[0][i], tasks.support.y[i])
        assert np.array_equal(scores[i].argmax(-1), model.predict(tasks.query.inputs[0][i]))


def test_prototypes_do_not_care_where_the_features_lie():
    # enough rows for torch's fast distances, which cancel
    tasks = make_tasks(20, queries=15)
    far = Tasks(*(batch._replace(inputs=(batch.inputs[0] + 1000,)) for batch in tasks))
    assert torch.allclose(heads.nearest_prototype(far), heads.nearest_prototype(tasks), atol=5e-3)


@pytest.mark.parametrize(
    ("dim", "shots", "scale", "c"),
    [(8, 3, 1.0, 0.5), (40, 3, 1.0, 0.1), (40, 1, 1.0, 10.0), (8, 6, 20.0, 0.1)],
)
def test_logistic_regression_is_at_scikit_learns_optimum(dim, shots, scale, c):
    tasks = make_tasks(dim=dim, shots=shots)
    tasks = Tasks(*(batch._replace(inputs=(batch.inputs[0] * scale,)) for batch in tasks))
    scores = heads.logistic_regression(tasks, c=c)
    assert scores.dtype == torch.float64 and (scores[..., [1, 2, 5]] == 0).all()
    for i in range(5):
        model = LogisticRegression(C=c, max_iter=500, tol=1e-12, solver="newton-cholesky")
        model.fit(tasks.support.inputs[0][i].double(), tasks.support.y[i])
        assert np.allclose(
            scores[i][:, model.classes_],
            model.predict_proba(tasks.query.inputs[0][i].double()),
            atol=1e-4,
        )


def test_guessing_is_at_chance_and_repeatable():
    tasks = make_tasks(number=300)
    scores = heads.chance(tasks, seed=1)
    assert torch.equal(scores, heads.chance(tasks, seed=1)) and not torch.equal(
        scores, heads.chance(tasks, seed=2)
    )
    assert abs(float(accuracy(scores, tasks.query.y).mean()) - 1 / 3) < 0.03


def test_frames_are_pooled_over_valid_frames_only():
    rng = np.random.default_rng(0)
    values, mask = rng.normal(size=(1, 2, 9, 4)), np.arange(9) < np.array([[[9], [4]]])
    pooled_vectors = heads.vectors(
        Batch((torch.tensor(values), torch.tensor(mask)), torch.zeros(1, 2), torch.ones(1, 1))
    )
    for n, length in enumerate((9, 4)):
        clip = values[0, n, :length]
        assert np.allclose(pooled_vectors[0, n], np.concatenate([clip.mean(0), clip.std(0)]))


def test_baselines_on_frames_are_those_on_their_means_and_deviations():
    framed = make_framed_tasks(3)
    flat = Tasks(*(batch._replace(inputs=(heads.vectors(batch),)) for batch in framed))
    for baseline in (heads.nearest_prototype, heads.logistic_regression):
        assert torch.equal(baseline(framed), baseline(flat))


def test_protonet_scores_follow_the_naive_loop_and_training_helps(tmp_path):
    torch.manual_seed(0)
    net = network("mlp", 8, 6, width=16)
    learner = ProtoNetLearner(
        net,
        lambda i: make_tasks(4, spread=1.5, seed=i, chosen=(0, 1, 2)),
        make_tasks(60, spread=1.5, seed=5000, chosen=(0, 1, 2)),
        rate=1e-3,
    )
    tasks = make_tasks(2)
    scores = learner.scores(tasks)
    for i in range(2):
        support, query = (net(side.inputs[0][i])[1].detach() for side in tasks)
        for n in range(len(query)):
            distance = {
                c: float((query[n] - support[tasks.support.y[i] == c].mean(0)).square().sum())
                for c in (4, 0, 3)
            }
            weights = {c: np.exp(-d) for c, d in distance.items()}
            assert scores[i, n, 4].item() == pytest.approx(
                weights[4] / sum(weights.values()), abs=1e-5
            )
    before = learner.validate()
    history = train(learner, 40, tmp_path, every=20, progress=False)
    assert history.best_score > before + 0.02


@pytest.mark.parametrize("name", ["mlp", "conv4"])
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_protonet_answers_a_task_whatever_other_tasks_are_asked_with_it(name, norm):
    torch.manual_seed(0)
    tasks = make_tasks(70) if name == "mlp" else make_framed_tasks(3)
    net = network(name, 8, 6, norm=norm, width=8)
    learner = ProtoNetLearner(net, lambda i: tasks, tasks, rate=1e-3)
    together = learner.scores(tasks)
    for i in (0, 1, len(together) - 1):
        one = torch.utils._pytree.tree_map(lambda value, i=i: value[i : i + 1], tasks)
        assert torch.allclose(together[i], learner.scores(one)[0], atol=1e-5)


def make_protonet():
    torch.manual_seed(0)
    net, valid = network("mlp", 8, 6, width=16), make_tasks(10, seed=500)
    return ProtoNetLearner(net, lambda i: make_tasks(2, seed=i), valid, rate=1e-3)


@pytest.mark.parametrize("kill", [0, 3, 6])
def test_protonet_resumes_bit_for_bit_wherever_it_is_killed(kill, tmp_path):
    def run(learner, folder):
        return train(learner, 7, folder, every=2, progress=False, save_seconds=0.0)

    whole, killed, again = make_protonet(), make_protonet(), make_protonet()
    expected = run(whole, tmp_path / "whole")
    sample = killed.sample

    def broken(i):
        if i == kill:
            raise KeyError("killed")
        return sample(i)

    killed.sample = broken
    with pytest.raises(KeyError):
        run(killed, tmp_path / "killed")
    history = run(again, tmp_path / "killed")
    assert history.resumed_from == kill // 2 * 2 and history.records == expected.records
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            whole.module.state_dict().values(), again.module.state_dict().values(), strict=True
        )
    )


def make_pretraining():
    torch.manual_seed(0)
    net, data = (
        network("mlp", 8, 6, width=16),
        make_tasks(1, chosen=tuple(range(6)), shots=30, queries=30),
    )
    flat = [Batch((side.inputs[0][0],), side.y[0], side.active[0]) for side in data]
    return supervised.SupervisedLearner(
        net, lambda i: flat[0], supervised.class_weights(flat[0].y, 6), flat[1], rate=0.01
    )


@pytest.mark.parametrize("kill", [9, 10, 39])
def test_pretraining_learns_and_resumes_bit_for_bit(kill, tmp_path):
    whole = make_pretraining()
    train(whole, 40, tmp_path / "whole", every=10, progress=False, save_seconds=0.0)
    assert whole.validate() > 0.5

    def broken(i):
        if i == kill:
            raise KeyError("killed")
        return whole.batches(i)

    first = make_pretraining()
    first.batches = broken
    with pytest.raises(KeyError):
        train(first, 40, tmp_path / "killed", every=10, progress=False, save_seconds=0.0)
    again = make_pretraining()
    history = train(again, 40, tmp_path / "killed", every=10, progress=False, save_seconds=0.0)
    assert history.resumed_from == kill // 10 * 10
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            whole.module.state_dict().values(), again.module.state_dict().values(), strict=True
        )
    )


def test_fine_tuning_starts_at_the_pretrained_answer():
    learner, tasks = make_pretraining(), make_tasks(30, shift=0.7)
    with torch.no_grad():
        flat = learner.module(tasks.query.inputs[0].flatten(0, 1))[0]
    expected = probabilities(flat.unflatten(0, tasks.query.y.shape), tasks.query.active)
    for steps in (0, 5):
        rates = rivals.fine_tune_rates(learner.module, 0.1, steps, "all")
        scores = adapted_scores(learner.module, masked_cross_entropy, rates, tasks)
        assert scores.shape[1] == steps + 1
        assert torch.allclose(scores[:, 0], expected, atol=1e-6)
    head = rivals.fine_tune_rates(learner.module, 0.1, 2, "head")
    assert set(head) == {"head.weight", "head.bias"}


def test_the_choice_of_fine_tuning_is_the_best_of_the_grid(monkeypatch):
    monkeypatch.setattr(rivals, "RATES", (0.0, 0.1, 0.5))
    monkeypatch.setattr(rivals, "STEPS", 5)
    learner, tasks = make_pretraining(), make_tasks(30, shift=0.7)
    best = rivals.choose_fine_tuning(learner.module, tasks)
    grid = {}
    for rate in rivals.RATES:
        for part in rivals.PARTS:
            for steps in range(1, 6):
                rates = rivals.fine_tune_rates(learner.module, rate, steps, part)
                scores = adapted_scores(learner.module, masked_cross_entropy, rates, tasks)
                last = accuracy(scores[:, -1], tasks.query.y)
                grid[rate, part, steps] = float(last.mean())
    assert best.accuracy == pytest.approx(max(grid.values()))
    assert grid[best.rate, best.part, best.steps] == pytest.approx(best.accuracy)
    assert best.rate > 0


def test_fine_tuning_is_chosen_before_any_test_task_is_seen(monkeypatch):
    valid, chosen, choose = make_tasks(20, shift=0.7), [], rivals.choose_fine_tuning

    def watched(module, tasks):
        chosen.append(tasks)
        return choose(module, tasks)

    monkeypatch.setattr(rivals, "choose_fine_tuning", watched)
    learner = make_pretraining()
    tested = Tested("tuned", MamlConfig(), kind="pooled, fine-tuned", test=EpisodeConfig())
    answer = rivals.answer_of(tested, learner, lambda: valid, 3)
    assert chosen == [valid]
    test = make_tasks(6, shift=-0.7, seed=77)
    secret = Tasks(test.support, test.query._replace(y=test.query.y.flip(1)))
    scores = answer(test)
    assert torch.equal(scores, answer(secret)) and chosen == [valid]
    two = torch.utils._pytree.tree_map(lambda value: value[:2], test)
    assert torch.allclose(scores[:2], answer(two), atol=1e-5)
