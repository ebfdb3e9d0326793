"""What training may see of a fold: its clips, and the episodes and batches drawn from them."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from colab_utils.learning.clips import Clips
from colab_utils.learning.tasks import Batch, Tasks
from colab_utils.methods.maml.episode_tasks import make_tasks
from colab_utils.methods.maml.settings import MamlConfig
from colab_utils.protocols.episodes import EpisodePlan, EpisodePool

_PRETRAINING_BATCH = 64  # utterances


class TrainingSide:
    """Features and episodes of the training and validation utterances. The target is not in it.

    All that is drawn, crops included, follows from the seed of the settings and the number of the
    step.

    Args:
        train: the scaled clips that train.
        valid: those of held-out speakers.
        config: what an episode looks like, where it comes from, and the seed.
        apart: units ("speaker", "film") that support and query never share.

    Raises:
        EpisodeError: episodes that cannot be drawn.
    """

    def __init__(self, train: Clips, valid: Clips, config: MamlConfig, apart: tuple[str, ...]):
        self.train = train
        self.valid = valid
        self.config = config
        plan = EpisodePlan(config.ways, config.shots, config.queries, apart)
        # A held-out corpus often lacks the clips for an episode of its own, so validation episodes
        # mix the corpora.
        self.valid_pool = EpisodePool(valid.rows, valid.labels, plan)
        if config.within == "corpus":
            plan = dataclasses.replace(plan, within="corpus")
        self.train_pool = EpisodePool(train.rows, train.labels, plan)

    def tasks(self, i: int, regime: str, outputs: int) -> Tasks:
        """The training episodes of meta-update i."""
        size = self.config.meta_batch
        first = i * size
        episodes = self.train_pool.episodes(self.config.seed, first, size, stream="train")
        crops = self._crops(i)
        return make_tasks(self.train, episodes, regime, outputs, self.config.max_frames, crops)

    def valid_tasks(self, regime: str, outputs: int) -> Tasks:
        """The validation episodes: the same each time, and for every method with these settings."""
        number = self.config.valid_tasks
        episodes = self.valid_pool.episodes(self.config.seed, 0, number, stream="valid")
        return make_tasks(self.valid, episodes, regime, outputs, self.config.max_frames)

    def batch(self, i: int) -> Batch:
        """The i-th batch of the endless row of epochs over all training utterances."""
        number = len(self.train)
        size = min(_PRETRAINING_BATCH, number)
        epoch, position = divmod(i, number // size)
        order = np.random.default_rng((self.config.seed, 31, epoch)).permutation(number)
        first = position * size
        return self._batch(self.train, order[first : first + size], self._crops(i))

    def valid_batch(self) -> Batch:
        """All validation utterances, the middle of longer ones."""
        return self._batch(self.valid, np.arange(len(self.valid)))

    def _crops(self, i: int) -> torch.Generator:
        """Where the crops of step i begin is drawn from it."""
        return torch.Generator().manual_seed(self.config.seed * 1_000_003 + i)

    def _batch(
        self, clips: Clips, numbers: np.ndarray, crop: torch.Generator | None = None
    ) -> Batch:
        """Some utterances, for which all labels compete."""
        inputs = clips.crops(numbers, self.config.max_frames, crop)
        y = clips.y[torch.as_tensor(numbers, device=clips.device)]
        active = torch.ones(len(clips.labels), dtype=torch.bool, device=clips.device)
        return Batch(inputs, y, active)
