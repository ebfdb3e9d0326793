"""Telling speakers apart first: the pretraining of DA-MLDG, on any manifest with speakers.

method_facts §4.2. The paper takes VoxCeleb1 (1251 speakers) and has not released its weights.
Whoever has VoxCeleb gives its manifest and features; otherwise the speakers of the source corpora
serve, which are few: the result says which it was.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np
import pandas as pd
import torch

from colab_utils import settings
from colab_utils.corpora.manifest import manifest_hash, speaker_keys
from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.clips import Clips
from colab_utils.learning.trained import WEIGHTS, train_or_load
from colab_utils.methods.da_mldg.algorithms import Erm
from colab_utils.methods.da_mldg.batches import DomainBatches, predict_table
from colab_utils.models import network
from colab_utils.settings import SettingError, Settings, setting

VERSION = 1  # raised when the same settings would give other weights
_VALID = 0.1  # of each speaker's utterances


@dataclasses.dataclass(frozen=True)
class SpeakerConfig(Settings):
    """Settings of the pretraining.

    The defaults are the paper's but for `steps` (its 50 epochs of VoxCeleb are 117 000).
    """

    steps: int = setting(600, "updates", low=1, high=1000000, step=1)
    batch: int = setting(64, "utterances in a batch", low=2, high=4096, step=1)
    learning_rate: float = setting(0.01, "learning rate of SGD", low=1e-6, high=1.0)
    momentum: float = setting(0.9, "of SGD", low=0.0, high=0.999)
    crop_frames: int = setting(198, "frames of a crop (198: 2 s)", low=8, high=3000, step=1)
    width: int = setting(64, "first channels of resnet18", low=4, high=1024, step=4)
    norm: str = setting("batch", "normalisation", options=("group", "batch"))
    seed: int = setting(0, "seed of weights, batches and crops", low=0, high=100000, step=1)


class SpeakerLearner:
    """A ResNet18 that tells speakers apart, as a learner for `training.train`.

    The score is the accuracy on utterances held out of each speaker.
    """

    def __init__(self, train: Clips, valid: Clips, config: SpeakerConfig):
        """Args:
        train: frames whose labels are speakers.
        valid: other utterances of the same speakers.
        config: how it is trained.
        """
        torch.manual_seed(config.seed)
        net = network(
            "resnet18", train.dim, len(train.labels), norm=config.norm, width=config.width
        )
        self.module = net.to(train.device)

        def sgd(parameters: list) -> torch.optim.Optimizer:
            return torch.optim.SGD(parameters, lr=config.learning_rate, momentum=config.momentum)

        self.algorithm = Erm(self.module, sgd, seed=config.seed)
        self.batches = DomainBatches(train, config.crop_frames)
        self.valid, self.config = valid, config

    def step(self, i: int) -> dict[str, float]:
        """One update; the loss."""
        batch = self.batches.batch(self.config.seed, i, self.config.batch)
        return self.algorithm.update(batch)

    def validate(self) -> float:
        """Share of held-out utterances whose speaker is found."""
        found = predict_table(self.algorithm.predict, self.valid).argmax(axis=1)
        return float((found == self.valid.y.cpu().numpy()).mean())

    def state(self) -> dict:
        """The algorithm's."""
        return self.algorithm.state()

    def load(self, state: dict) -> None:
        """Put it back."""
        self.algorithm.load(state)


def pretrain(
    rows: pd.DataFrame,
    store: FeatureStore,
    config: SpeakerConfig,
    root: str | os.PathLike,
    *,
    device: str = "cpu",
    progress: bool = True,
) -> tuple[pathlib.Path, str]:
    """Train on the speakers of `rows`, or load what was trained on them before.

    Nobody else's speech is read. A tenth of each speaker's utterances (at least one) picks the
    step.

    Args:
        rows: a manifest; emotions may be empty.
        store: frames of at least these utterances.
        config: how it is trained.
        root: the weights lie in `root`/trained/speakers.
        device: where to compute.
        progress: whether a bar is shown.

    Returns:
        The file of weights, for `ResNet18.start_from`, and in words what they were trained on.

    Raises:
        SettingError: for fewer than two speakers with two utterances, and for vectors instead of
            frames.
    """
    settings.check(config)
    if store.pooled:
        raise SettingError(
            f"{store.spec['name']} gives one vector an utterance: pretraining on "
            "speakers needs frames (logmel, da-mldg)"
        )
    table = _speakers_as_labels(rows)
    speakers = sorted(set(table["emotion"]))
    if len(speakers) < 2:
        raise SettingError(
            f"{len(speakers)} speaker(s) with two utterances: telling speakers "
            "apart needs two of them or more"
        )
    held = _held_out(table, config.seed)
    train = Clips(store, table[~held], speakers, device=device)
    train = train.scaled(train.fit_scale(by_corpus=True))  # all are of one corpus, "speakers"
    valid = Clips(store, table[held], speakers, device=device, scale=train.scale)
    learner = SpeakerLearner(train, valid, config)
    corpora = sorted({key.split("/")[0] for key in speakers})
    name = f"{'+'.join(corpora)}-{store.spec['name']}-seed{config.seed}"
    facts = {"version": VERSION, "features": store.key, "manifest": manifest_hash(rows)}
    split = pd.DataFrame({"utt_id": table["utt_id"], "role": np.where(held, "valid", "train")})
    folder, history = train_or_load(
        root,
        "speakers",
        name,
        config,
        facts,
        split,
        learner,
        config.steps,
        every=max(1, config.steps // 10),
        patience=None,
        progress=progress,
        desc="telling speakers apart",
    )
    right = f"{100 * history.best_score:.0f} % of held-out utterances are given to the right one"
    told = f"{len(table)} utterances, {config.steps} updates; {right}"
    return folder / WEIGHTS, f"{len(speakers)} speakers of {', '.join(corpora)} ({told})"


def _speakers_as_labels(rows: pd.DataFrame) -> pd.DataFrame:
    """The utterances of known speakers with two or more of them; `emotion` is the speaker."""
    table = rows.assign(emotion=speaker_keys(rows), corpus="speakers")
    many = table.groupby("emotion")["utt_id"].transform("size") > 1
    return table[many & (table["emotion"] != "")].reset_index(drop=True)


def _held_out(table: pd.DataFrame, seed: int) -> np.ndarray:
    """A tenth of each speaker's utterances, at least one, bool (rows,)."""
    held = np.zeros(len(table), dtype=bool)
    by_speaker = sorted(table.groupby("emotion").indices.items())
    for number, (_, places) in enumerate(by_speaker):
        chosen = np.random.default_rng((seed, 67, number)).permutation(places)
        held[chosen[: max(1, round(_VALID * len(places)))]] = True
    return held
