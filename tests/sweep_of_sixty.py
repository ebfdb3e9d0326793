"""Sixty small cells, by processes or a scheduler: python sweep_of_sixty.py ROOT [SCHEDULER]."""

import sys

from one_file_method import SoftmaxConfig, SoftmaxStudy
from toy_store import Features, toy_corpus

from colab_utils import sweeps
from colab_utils.protocols import folds

LABELS = ["anger", "fear", "sadness"]
RATES, STEPS, SEEDS = [0.01, 0.03, 0.1, 0.3, 1.0], [500, 1000], range(3)


def make_study(root, seed=0):
    """Softmax regression on six numbers an utterance, three folds."""
    rows = toy_corpus("aa", LABELS, 6, 3)
    split = folds.make_split(rows, folds.grouped_folds(rows, 3, 0), 0, 1)
    features = Features(rows, LABELS, seed=seed, spread=0.5)
    name = f"toy-{seed}"
    return SoftmaxStudy(name, rows, split, features, LABELS, root, progress=False)


def make_grid(root, rates=RATES, steps=STEPS, seeds=SEEDS, sweep="sixty"):
    """Its cells: two tasks, five rates, two numbers of steps, three seeds."""
    studies = {f"task {seed}": make_study(root, seed) for seed in (0, 1)}
    grid = {"rate": rates, "steps": steps}
    return sweeps.grid(studies, SoftmaxConfig(), ["softmax"], grid, seeds, sweep)


if __name__ == "__main__":
    sweeps.compute(make_grid(sys.argv[1]), 2, *sys.argv[2:])
