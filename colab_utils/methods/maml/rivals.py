"""How each method of a few-shot study is trained on the source and answers a test episode: meta-learning and all its baselines."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from colab_utils.learning import heads, supervised
from colab_utils.learning.clips import Clips
from colab_utils.learning.tasks import Batch, Tasks, cross_entropy
from colab_utils.methods.maml import fine_tuning
from colab_utils.methods.maml.episode_tasks import make_tasks
from colab_utils.methods.maml.inner_loop import adapted_scores, best_tasks_at_once
from colab_utils.methods.maml.maml import MamlConfig, MamlLearner
from colab_utils.methods.maml.protonet import ProtoNetLearner
from colab_utils.models import network
from colab_utils.protocols.episodes import EpisodePool

BASELINES = ("chance", "nearest prototype", "logistic regression", "ProtoNet", "pooled, zero-shot", "pooled, fine-tuned")
NEEDS = {"ProtoNet": "protonet", "pooled, zero-shot": "pooled", "pooled, fine-tuned": "pooled", "maml": "maml"}   # which trained network
_SHARED = ("network", "norm", "width", "max_frames", "ways", "shots", "queries", "within", "iterations", "meta_batch", "meta_rate", "seed",
           "validate_every", "valid_tasks", "patience")
_POOLED_BATCH = 64           # utterances
_FINE_TUNING_RATES, _FINE_TUNING_STEPS = (0.003, 0.01, 0.03, 0.1, 0.3), 20


@dataclasses.dataclass(frozen=True)
class Source:
    """What training may see of one fold: features and episodes of training and validation utterances. The target is not in it."""
    train: Clips
    train_pool: EpisodePool
    valid: Clips
    valid_pool: EpisodePool
    split: pd.DataFrame

    def sampler(self, config: MamlConfig, regime: str, outputs: int) -> Callable[[int], Tasks]:
        """The training episodes of meta-update i, their crops included: all follows from (config.seed, i)."""
        def sample(i: int) -> Tasks:
            crop = torch.Generator().manual_seed(config.seed * 1_000_003 + i)
            episodes = self.train_pool.episodes(config.seed, i * config.meta_batch, config.meta_batch, stream="train")
            return make_tasks(self.train, episodes, regime, max_frames=config.max_frames, crop=crop,
                              outputs=outputs)
        return sample

    def valid_tasks(self, config: MamlConfig, regime: str, outputs: int) -> Tasks:
        """The validation episodes: the same at every validation, and for every method with these settings."""
        episodes = self.valid_pool.episodes(config.seed, 0, config.valid_tasks, stream="valid")
        return make_tasks(self.valid, episodes, regime, max_frames=config.max_frames,
                          outputs=outputs)

    def batches(self, config: MamlConfig) -> Callable[[int], Batch]:
        """The i-th batch of the endless row of epochs over all training utterances, crops included: all follows from (config.seed, i)."""
        size = min(_POOLED_BATCH, len(self.train))
        each = len(self.train) // size

        def batch(i: int) -> Batch:
            epoch, position = divmod(i, each)
            order = np.random.default_rng((config.seed, 31, epoch)).permutation(len(self.train))
            numbers = order[position * size:(position + 1) * size]
            crop = torch.Generator().manual_seed(config.seed * 1_000_003 + i)
            return _batch(self.train, numbers, config.max_frames, crop)
        return batch

    def valid_batch(self, config: MamlConfig) -> Batch:
        """All validation utterances, the middle of longer ones."""
        return _batch(self.valid, np.arange(len(self.valid)), config.max_frames)


def _batch(clips: Clips, numbers: np.ndarray, max_frames: int,
           crop: torch.Generator | None = None) -> Batch:
    """Some utterances, for which all labels compete."""
    y = clips.y[torch.as_tensor(numbers, device=clips.device)]
    everything = torch.ones(len(clips.labels), dtype=torch.bool, device=clips.device)
    return Batch(clips.crops(numbers, max_frames, crop), y, everything)


def shared_settings(config: MamlConfig) -> MamlConfig:
    """The settings that a trained baseline shares with meta-learning; those it does not have are put to their defaults, so that it is
    trained once for all of them."""
    return MamlConfig(**{name: getattr(config, name) for name in _SHARED})


def _maml(source: Source, config: MamlConfig, labels: list[str], device: str) -> MamlLearner:
    outputs = config.ways if config.regime == "permuted" else len(labels)
    return MamlLearner(config, source.train.dim, len(labels), source.sampler(config, config.regime, outputs),
                       source.valid_tasks(config, config.regime, outputs), device)


def _network(config: MamlConfig, dim: int, n_labels: int, device: str) -> torch.nn.Module:
    torch.manual_seed(config.seed)
    return network(config.network, dim, n_labels, norm=config.norm, width=config.width, frames=config.max_frames).to(device)


def _protonet(source: Source, config: MamlConfig, labels: list[str], device: str) -> ProtoNetLearner:
    return ProtoNetLearner(_network(config, source.train.dim, len(labels), device), source.sampler(config, "permuted", config.ways),
                           source.valid_tasks(config, "permuted", config.ways), rate=config.meta_rate)


def _pooled(source: Source, config: MamlConfig, labels: list[str], device: str) -> supervised.SupervisedLearner:
    weights = supervised.class_weights(source.train.y, len(labels)).to(device)
    net = _network(config, source.train.dim, len(labels), device)
    return supervised.SupervisedLearner(net, source.batches(config), weights,
                                        source.valid_batch(config), rate=config.meta_rate)


MAKERS = {"maml": _maml, "protonet": _protonet, "pooled": _pooled}


def answers(kind: str, learner: Any, source: Source | None, config: MamlConfig, *, steps: int, rate: float, seed: int,
            n_labels: int) -> Callable[[Tasks], torch.Tensor]:
    """The function (Tasks) -> probabilities of the query: float (tasks, n_query, classes), or (tasks, steps + 1, n_query, classes) of a method
    that adapts by inner steps.

    learner: the trained one that NEEDS names, and source, for what is chosen in validation episodes, or None without one; steps, rate: of the
    inner loop at test (rate 0: the trained ones).
    """
    if kind == "maml":
        return lambda tasks: learner.scores(tasks, steps, rate or None)
    if kind == "pooled, fine-tuned":
        return _fine_tuning(learner.module, source.valid_tasks(config, "fixed", n_labels))
    return {"chance": lambda tasks: heads.chance(tasks, seed),
            "nearest prototype": heads.nearest_prototype,
            "logistic regression": heads.logistic_regression,
            "ProtoNet": lambda tasks: learner.scores(tasks),
            "pooled, zero-shot": lambda tasks: _zero_shot(learner.module, tasks)}[kind]


def _zero_shot(net: torch.nn.Module, tasks: Tasks) -> torch.Tensor:
    """The pooled network as it is: no support is looked at."""
    return adapted_scores(net, cross_entropy, {}, tasks, tasks_at_once=len(tasks.query.y))[:, 0]


def _fine_tuning(net: torch.nn.Module, valid: Tasks) -> Callable[[Tasks], torch.Tensor]:
    """Gradient steps on the support from the pooled weights, with the rate, part and number of steps that do best in validation episodes."""
    rate, part, steps, _ = fine_tuning.choose_fine_tuning(net, valid, _FINE_TUNING_RATES, steps=_FINE_TUNING_STEPS)
    idle = torch.zeros(_FINE_TUNING_STEPS - steps, device=valid.query.y.device)     # curves of several seeds are then equally long
    rates = {name: torch.cat([values, idle]) for name, values in fine_tuning.fine_tune_rates(net, rate, steps, part).items()}
    at_once = best_tasks_at_once(net, str(valid.query.y.device), 64)
    return lambda tasks: adapted_scores(net, cross_entropy, rates, tasks, tasks_at_once=at_once)
