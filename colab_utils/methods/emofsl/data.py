"""Who is on which side of a transfer, and what a network is called with for each utterance."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch

from colab_utils.features.store.features import Features
from colab_utils.learning.clips import Clips, Scale
from colab_utils.learning.heads import Source
from colab_utils.learning.study import TRAINING_ROLES
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.protocols.draws import support_draws

Output = tuple[torch.Tensor, ...]


class TransferData:
    """The utterances of one source-target task by row number, one vector each.

    Features of a side are read when the first of them is asked for.

    Args:
        rows: manifest rows of all utterances; row numbers count them from 0.
        split: who is in which role (train, valid, support, test) in which fold.
        store: features of all rows, vectors.
        labels: the emotions, in the order of the class ids.
        device: where to compute.

    Attributes:
        y: class ids of all rows, int64 (rows,).
        members: row numbers of the "source" and of the "target".
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        split: pd.DataFrame,
        store: Features,
        labels: Sequence[str],
        device: str = "cpu",
    ):
        self.rows = rows
        self.split = split
        self.store = store
        self.labels = labels
        self.device = device
        self.y = torch.as_tensor(pd.Index(labels).get_indexer(rows["emotion"]), device=device)
        training = split["role"].isin(TRAINING_ROLES)
        self.members = {"source": self._rows_of(training), "target": self._rows_of(~training)}
        self._side = np.full(len(rows), "", dtype=object)
        self._place = np.zeros(len(rows), dtype=np.int64)  # among the clips of its side
        for side, members in self.members.items():
            self._side[members] = side
            self._place[members] = np.arange(len(members))
        self._clips: dict[str, Clips] = {}
        self._sources: dict[bytes, tuple[Scale, Source]] = {}

    def numbers(self, fold: str, *roles: str) -> np.ndarray:
        """Row numbers of some roles in one fold, int64 (n,)."""
        return self._rows_of((self.split["fold"] == fold) & self.split["role"].isin(roles))

    def draws(self, config: EmofslConfig, fold: str) -> np.ndarray:
        """The support draws of a fold: row numbers, int64 (draws, classes, shots).

        Raises FoldError where a class has too few utterances.
        """
        sides = self.split[self.split["fold"] == fold]
        return support_draws(
            self.rows, sides, self.labels, config.shots, config.n_draws, config.seed
        )

    def clips(self, side: str) -> Clips:
        """The clips of one side, "source" or "target", one vector each."""
        if side not in self._clips:
            self._clips[side] = self.read(self.members[side])
        return self._clips[side]

    def vectors(self, numbers: np.ndarray) -> torch.Tensor:
        """Features of rows of one side, float32 (n, dim)."""
        side = self._side[numbers[0]]
        if (self._side[numbers] != side).any():
            raise KeyError("rows of both sides: the source is read without the target")
        return self.clips(side).inputs(self._place[numbers])[0]

    def support(self, draws: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (draws, n, dim) and class ids (n,) of support draws (draws, classes, shots)."""
        support = self.vectors(draws.ravel())
        return support.unflatten(0, (len(draws), -1)), self.y[draws[0].ravel()]

    def scale(self, numbers: np.ndarray) -> Scale:
        """Mean and 1 / deviation of rows of the source."""
        return self.clips("source").fit_scale(self._place[numbers])

    def known_source(self, fold: str) -> tuple[Scale, Source]:
        """Scale and utterances of the source for linear heads, those that validate among them."""
        numbers = self.numbers(fold, *TRAINING_ROLES)
        key = numbers.tobytes()
        if key not in self._sources:
            scale = self.scale(numbers)
            x, y = scale.applied(self.vectors(numbers)), self.y[numbers]
            corpora = self.rows["corpus"].iloc[numbers]
            self._sources[key] = scale, Source(x, y, len(self.labels), corpora)
        return self._sources[key]

    def inputs(self, numbers: np.ndarray) -> Output:
        """What a network is called with for rows of one side."""
        return (self.vectors(numbers),)

    @torch.no_grad()
    def through(self, function: Callable[..., Output], numbers: np.ndarray) -> Output:
        """What `function(*inputs)` makes of each row, in the order of `numbers`."""
        return function(*self.inputs(numbers))

    def read(self, numbers: np.ndarray) -> Clips:
        """The clips of row numbers of any side, read now."""
        rows = self.rows.iloc[numbers]
        return Clips(self.store, rows, self.labels, device=self.device)

    def _rows_of(self, chosen: pd.Series) -> np.ndarray:
        """The row numbers of rows of the split."""
        return np.flatnonzero(self.rows["utt_id"].isin(self.split.loc[chosen, "utt_id"]))
