"""What training may see of a fold: its clips, and the episodes and batches drawn from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from colab_utils.learning.clips import Clips
from colab_utils.learning.tasks import Batch, Tasks
from colab_utils.methods.maml.episode_tasks import make_tasks
from colab_utils.methods.maml.settings import MamlConfig
from colab_utils.protocols.episodes import EpisodePlan, EpisodePool

_PRETRAINING_BATCH = 64  # utterances


@dataclasses.dataclass(frozen=True)
class TrainingSide:
    """Features and episodes of the training and validation utterances. The target is not in it."""

    train: Clips
    train_pool: EpisodePool
    valid: Clips
    valid_pool: EpisodePool

    def sampler(self, config: MamlConfig, regime: str, outputs: int) -> Callable[[int], Tasks]:
        """The training episodes of meta-update i, their crops included.

        All follows from (config.seed, i).
        """

        def sample(i: int) -> Tasks:
            episodes = self.train_pool.episodes(
                config.seed, i * config.meta_batch, config.meta_batch, stream="train"
            )
            return make_tasks(
                self.train,
                episodes,
                regime,
                max_frames=config.max_frames,
                crop=_crops(config, i),
                outputs=outputs,
            )

        return sample

    def valid_tasks(self, config: MamlConfig, regime: str, outputs: int) -> Tasks:
        """The validation episodes: the same at every validation, and for every method with these
        settings.
        """
        episodes = self.valid_pool.episodes(config.seed, 0, config.valid_tasks, stream="valid")
        return make_tasks(
            self.valid, episodes, regime, max_frames=config.max_frames, outputs=outputs
        )

    def batches(self, config: MamlConfig) -> Callable[[int], Batch]:
        """The i-th batch of the endless row of epochs over all training utterances.

        All, the crops included, follows from (config.seed, i).
        """
        number = len(self.train)
        size = min(_PRETRAINING_BATCH, number)
        each = number // size

        def batch(i: int) -> Batch:
            epoch, position = divmod(i, each)
            order = np.random.default_rng((config.seed, 31, epoch)).permutation(number)
            chosen = order[position * size : (position + 1) * size]
            return _batch(self.train, chosen, config.max_frames, _crops(config, i))

        return batch

    def valid_batch(self, config: MamlConfig) -> Batch:
        """All validation utterances, the middle of longer ones."""
        return _batch(self.valid, np.arange(len(self.valid)), config.max_frames)


def make_side(
    train: Clips, valid: Clips, config: MamlConfig, apart: tuple[str, ...]
) -> TrainingSide:
    """The training side of clips, with episodes as the settings want them.

    Args:
        train, valid: the scaled clips of a fold.
        config: ways, shots, queries, and where a training episode comes from.
        apart: units that support and query never share.

    Raises:
        EpisodeError.
    """
    plan = EpisodePlan(config.ways, config.shots, config.queries, apart)
    # A held-out corpus often lacks the clips for an episode of its own, so validation episodes mix
    # the corpora.
    train_plan = plan
    if config.within == "corpus":
        train_plan = dataclasses.replace(plan, within="corpus")
    return TrainingSide(
        train,
        EpisodePool(train.rows, train.labels, train_plan),
        valid,
        EpisodePool(valid.rows, valid.labels, plan),
    )


def _crops(config: MamlConfig, i: int) -> torch.Generator:
    """Where the crops of step i begin is drawn from it."""
    return torch.Generator().manual_seed(config.seed * 1_000_003 + i)


def _batch(
    clips: Clips, numbers: np.ndarray, max_frames: int, crop: torch.Generator | None = None
) -> Batch:
    """Some utterances, for which all labels compete."""
    y = clips.y[torch.as_tensor(numbers, device=clips.device)]
    everything = torch.ones(len(clips.labels), dtype=torch.bool, device=clips.device)
    return Batch(clips.crops(numbers, max_frames, crop), y, everything)
