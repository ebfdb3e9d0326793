"""Episodes as tensors: what is drawn for training and test, and scores back as predictions."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from colab_utils.learning.clips import Clips
from colab_utils.learning.contract import Tested
from colab_utils.learning.tasks import Batch, Tasks
from colab_utils.methods.maml.settings import REGIMES, EpisodeConfig, MamlConfig
from colab_utils.methods.maml.steps import steps_table
from colab_utils.protocols.copies import contradicted
from colab_utils.protocols.episodes import Episode, EpisodeError, EpisodePlan, EpisodePool
from colab_utils.protocols.near_episodes import films_shared, pool_that_fits, smaller
from colab_utils.results.predictions import validate

TASKS_AT_ONCE = 50  # test episodes held in memory at a time
MOST_SEEN = 50  # episodes of training and of validation that a trained method is asked in
_PRETRAINING_BATCH = 64  # utterances

Ask = Callable[[Clips, Sequence[Episode]], np.ndarray]  # scores of episodes, see query_scores


def make_tasks(
    clips: Clips,
    episodes: Sequence[Episode],
    regime: str,
    outputs: int,
    max_frames: int,
    crop: torch.Generator | None = None,
) -> Tasks:
    """Episodes of one plan as Tasks with a leading dimension (tasks, ...).

    Utterances stand class by class in the order of `Episode.classes`.

    Args:
        clips: of the rows that the episodes were drawn from.
        episodes: of one plan.
        regime: "permuted": y is the position of the class in the episode, and of the outputs of the
            head the first `ways` are active. "fixed": y is the class id of the label, one output a
            label, the episode's classes active.
        outputs: of the head.
        max_frames: longer clips are cropped.
        crop: where a crop begins is drawn from it; None: crops are the middle of a clip.

    Raises:
        EpisodeError: another regime, more ways than outputs.
        SettingError: max_frames below 1.
    """
    classes = np.stack([episode.classes for episode in episodes])
    ways = classes.shape[1]
    if regime not in REGIMES:
        raise EpisodeError(f"regime {regime!r}: choose from {', '.join(REGIMES)}")
    if regime == "permuted":
        if outputs < ways:
            raise EpisodeError(
                f"{ways} ways, but the head has {outputs} outputs: choose at most "
                f"{outputs} ways, or train again with more"
            )
        class_ids = np.broadcast_to(np.arange(ways), classes.shape)
    else:
        class_ids = classes
    active = np.zeros((len(classes), outputs), dtype=bool)
    np.put_along_axis(active, class_ids, True, axis=1)

    def batch(numbers: np.ndarray) -> Batch:
        """Of numbers (tasks, ways, utterances a class)."""
        inputs = clips.crops(numbers.reshape(len(numbers), -1), max_frames, crop)
        y = torch.as_tensor(np.repeat(class_ids, numbers.shape[2], axis=1), device=clips.device)
        return Batch(inputs, y, torch.as_tensor(active, device=clips.device))

    support = batch(np.stack([episode.support for episode in episodes]))
    query = batch(np.stack([episode.query for episode in episodes]))
    return Tasks(support, query)


def label_scores(
    probabilities: torch.Tensor, episodes: Sequence[Episode], regime: str, n_labels: int
) -> np.ndarray:
    """Query probabilities with a column for each label: class ids of an episode become emotions.

    Args:
        probabilities: (tasks, steps, queries, outputs).
        episodes: the tasks.
        regime: which class ids the outputs stand for, see `make_tasks`.
        n_labels: how many labels there are.

    Returns:
        float64 (tasks, steps, queries, n_labels).
    """
    values = probabilities.detach().cpu().double().numpy()
    if regime == "fixed":
        return values
    classes = np.stack([episode.classes for episode in episodes])
    ways = classes.shape[1]
    scores = np.zeros((*values.shape[:3], n_labels))
    np.put_along_axis(scores, classes[:, None, None, :], values[..., :ways], axis=3)
    return scores


def query_scores(
    answer: Callable[[Tasks], torch.Tensor],
    clips: Clips,
    episodes: Sequence[Episode],
    regime: str,
    outputs: int,
    max_frames: int,
) -> np.ndarray:
    """What a method answers in all episodes, some of which are held in memory at a time.

    Args:
        answer: Tasks -> probabilities of the query (tasks, queries, outputs), or with the steps of
            an inner loop (tasks, steps + 1, queries, outputs).
        clips: of the rows that the episodes were drawn from.
        episodes: to answer.
        regime: see `make_tasks`.
        outputs: of the head.
        max_frames: longer clips are cropped to their middle.

    Returns:
        float64 (episodes, steps + 1, queries, labels).
    """
    found = []
    for first in range(0, len(episodes), TASKS_AT_ONCE):
        part = episodes[first : first + TASKS_AT_ONCE]
        scores = answer(make_tasks(clips, part, regime, outputs, max_frames))
        if scores.dim() == 3:  # a method without inner steps
            scores = scores.unsqueeze(1)
        found.append(label_scores(scores, part, regime, len(clips.labels)))
    return np.concatenate(found)


def accuracy_by_episode(
    scores: np.ndarray, clips: Clips, episodes: Sequence[Episode], **who: Any
) -> pd.DataFrame:
    """The accuracy of every episode after each inner step, as a table of `steps`.

    Args:
        scores: (episodes, steps + 1, queries, labels) from `query_scores`.
        clips: of the rows that the episodes were drawn from.
        episodes: what was asked.
        **who: method and seed.
    """
    numbers = np.stack([episode.query.ravel() for episode in episodes])
    true = clips.y.cpu().numpy()[numbers]
    chosen = scores.argmax(axis=3)
    right = chosen == true[:, None]
    tasks = [episode.task for episode in episodes]
    return steps_table(right.mean(axis=2), tasks, **who)


def episode_predictions(
    scores: np.ndarray,
    episodes: Sequence[Episode],
    rows: pd.DataFrame,
    labels: Sequence[str],
    columns: Mapping[str, object],
) -> pd.DataFrame:
    """The predictions of all queries as a table (results.predictions).

    Args:
        scores: (tasks, queries, labels) from `label_scores`.
        episodes: the tasks; `task` of the table is the number of the episode.
        rows: what the episodes were drawn from.
        labels: the emotions in the order of the columns of `scores`.
        columns: method, rule, seed and fold, the same in all rows.

    Raises:
        PredictionError: scores that are no probabilities.
        EpisodeError: scores of another shape.
    """
    numbers = np.stack([episode.query.ravel() for episode in episodes])
    needed = (*numbers.shape, len(labels))
    if scores.shape != needed:
        raise EpisodeError(
            f"scores have shape {scores.shape}: {needed} is needed, tasks, queries and labels"
        )
    table = rows.iloc[numbers.ravel()][["utt_id", "corpus", "speaker", "emotion"]]
    table = table.rename(columns={"emotion": "true"}).reset_index(drop=True)
    task = np.repeat([episode.task for episode in episodes], numbers.shape[1])
    pred = np.array(labels, dtype=object)[scores.argmax(axis=2).ravel()]
    table = table.assign(**columns, draw=0, task=task, pred=pred)
    names = [f"p_{label}" for label in labels]
    probabilities = pd.DataFrame(scores.reshape(-1, len(labels)), columns=names)
    return validate(pd.concat([table, probabilities], axis=1), labels)


def pool_notes(pools: Sequence[pd.DataFrame], plans: Sequence[EpisodePlan]) -> list[str]:
    """What a reader has to know of the utterances that test episodes are drawn from.

    Args:
        pools: manifest rows, those of each fold.
        plans: what its episodes look like.

    Returns:
        A sentence each.
    """
    apart = min((plan.apart for plan in plans), key=len)
    notes = [f"support and query share no {' and no '.join(apart) or 'utterance'}"]
    if number := sum(contradicted(rows, apart).sum() for rows in pools):
        notes.append(
            f"equal recordings: {number} tested utterances are in no episode, since a copy of "
            "them there has another label"
        )
    corpora = sorted(set(pd.concat(pools)["corpus"]))
    if len(corpora) > 1:
        notes.append(f"an episode draws from all tested corpora: {', '.join(corpora)}")
    return notes


def drawn(
    rows: pd.DataFrame,
    labels: Sequence[str],
    test: EpisodeConfig,
    apart: tuple[str, ...],
    share: range,
) -> tuple[EpisodePlan, list[Episode]]:
    """Test episodes, and their plan, which may be the nearest to the one that was wanted.

    Args:
        rows: that are tested.
        labels: the emotions in a fixed order.
        test: what an episode looks like, and the seed.
        apart: units that support and query never share.
        share: the numbers of the episodes.
    """
    plans = films_shared(EpisodePlan(test.ways, test.shots, test.queries, apart))
    pool = pool_that_fits(rows, labels, plans, test.seed, share, "test")
    return pool.plan, pool.episodes(test.seed, share.start, len(share))


def shares_of(n_tasks: int, folds: Sequence[str]) -> dict[str, range]:
    """The numbers of the episodes of each fold, consecutive and as equal as can be.

    The first folds take one more where they do not divide, and the last none where there are fewer
    episodes than folds.
    """
    size, more = divmod(n_tasks, len(folds))
    shares = {}
    first = 0
    for number, fold in enumerate(folds):
        last = first + size + (number < more)
        shares[fold] = range(first, last)
        first = last
    return shares


def training_pools(
    train: pd.DataFrame,
    valid: pd.DataFrame,
    labels: Sequence[str],
    config: MamlConfig,
    apart: tuple[str, ...],
) -> tuple[EpisodePool, EpisodePool]:
    """The pools of training and of validation episodes; their plans may be nearest to those wanted.

    Args:
        train: rows that train.
        valid: rows that validate.
        labels: the emotions in a fixed order.
        config: what an episode looks like, where it comes from, and the seed.
        apart: units that support and query never share.

    Raises:
        EpisodeError: episodes that cannot be drawn.
    """
    plan = EpisodePlan(config.ways, config.shots, config.queries, apart)
    within = "corpus" if config.within == "corpus" else ""
    plans = films_shared(dataclasses.replace(plan, within=within))
    first = range(config.meta_batch)
    training = pool_that_fits(train, labels, plans, config.seed, first, "train")
    # A held-out corpus often lacks the clips for an episode of its own, so validation episodes mix
    # the corpora.
    tasks = range(config.valid_tasks)
    validation = pool_that_fits(valid, labels, smaller(plan), config.seed, tasks, "valid")
    return training, validation


def nearest_notes(
    plans: Sequence[EpisodePlan],
    sides: Sequence[Sequence[pd.DataFrame]],
    labels: Sequence[str],
    tested: Tested,
    apart: tuple[str, ...],
) -> list[str]:
    """How episodes differ, for want of clips, from those that were asked for: a sentence each."""
    roles = [("test", plan, tested.test) for plan in plans]
    for train, valid in sides:
        pools = training_pools(train, valid, labels, tested.config, apart)
        roles += [("training", pools[0].plan, tested.config)]
        roles += [("validation", pools[1].plan, tested.config)]
    notes = {}
    for role, plan, asked in roles:
        differs = []
        for name in ("ways", "shots", "queries"):
            number = getattr(plan, name)
            if number != getattr(asked, name):
                differs.append(f"{number} {name}")
        if plan.apart != apart:
            differs.append(f"the same {' and '.join(apart)}s in support and query")
        if differs:
            notes[f"{role} episodes have {', '.join(differs)}: too few clips"] = None
    return list(notes)


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
        pools = training_pools(train.rows, valid.rows, train.labels, config, apart)
        self.train_pool, self.valid_pool = pools

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

    def seen(self, ask: Ask, number: int, fold: int, **who: Any) -> pd.DataFrame:
        """How a trained method does in episodes of its own training, and of the validation.

        Args:
            ask: gives the scores of episodes.
            number: of episodes; at most MOST_SEEN are asked.
            fold: its number; each has episodes of its own.
            **who: method and seed.

        Returns:
            A table of `steps`, with a column `role`: "train" or "valid".
        """
        sides = {"train": (self.train, self.train_pool), "valid": (self.valid, self.valid_pool)}
        first = fold * MOST_SEEN
        number = min(number, MOST_SEEN)
        parts = []
        for role, (clips, pool) in sides.items():
            episodes = pool.episodes(self.config.seed, first, number, stream=role)
            scores = ask(clips, episodes)
            table = accuracy_by_episode(scores, clips, episodes, **who)
            parts.append(table.assign(role=role))
        return pd.concat(parts, ignore_index=True)

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
