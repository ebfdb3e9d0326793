"""Telling speakers apart first: the pretraining of DA-MLDG, on any manifest with speakers.

King Gandhi et al. (2023) take VoxCeleb1 (1251 speakers) and have not released their weights.
Whoever has VoxCeleb gives its manifest and features; otherwise the speakers of the source corpora
serve, which are few: the result says which it was.
"""

import dataclasses
import pathlib

import numpy as np
import pandas as pd

from colab_utils import settings
from colab_utils.corpora.manifest import manifest_hash, speaker_keys
from colab_utils.drive.memory import Memory
from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.clips import Clips
from colab_utils.learning.trained import WEIGHTS, train_or_load
from colab_utils.methods.da_mldg.batches import DomainBatches
from colab_utils.methods.da_mldg.learner import DomainLearner, make_algorithm
from colab_utils.methods.da_mldg.settings import DomainConfig
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

    def as_training(self) -> DomainConfig:
        """The same as settings of plain training, where all speakers are one domain."""
        return DomainConfig(
            algorithm="erm",
            network="resnet18",
            optimiser="sgd",
            weight_decay=0.0,
            classes="none",
            per_domain=self.batch,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            crop_frames=self.crop_frames,
            width=self.width,
            norm=self.norm,
            seed=self.seed,
        )


class SpeakerLearner(DomainLearner):
    """A ResNet18 that tells speakers apart.

    Args:
        train: frames whose labels are speakers.
        valid: other utterances of the same speakers.
        config: how it is trained.
    """

    def __init__(self, train: Clips, valid: Clips, config: SpeakerConfig):
        training = config.as_training()
        algorithm = make_algorithm(training, train.dim, len(train.labels), train.device)
        super().__init__(algorithm, DomainBatches(train, training), valid)

    def validate(self) -> float:
        """Share of held-out utterances whose speaker is found, in [0, 1]."""
        true, found = self.found()
        return float((true == found).mean())


def pretrain(
    rows: pd.DataFrame,
    store: FeatureStore,
    config: SpeakerConfig,
    memory: Memory,
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
        memory: of the workspace: the weights lie in its trained/speakers.
        device: where to compute.
        progress: whether a bar is shown.

    Returns:
        The file of weights, for `ResNet18.start_from`, and in words what they were trained on.

    Raises:
        SettingError: for fewer than two speakers with two utterances, and for vectors instead of
            frames.
    """
    settings.check(config)
    name = store.spec["name"]
    if store.pooled:
        raise SettingError(
            f"{name} gives one vector an utterance: pretraining on speakers needs frames "
            "(logmel, da-mldg)"
        )
    table = _speakers_as_labels(rows)
    speakers = sorted(set(table["emotion"]))
    held = _held_out(table, config.seed)
    train = Clips(store, table[~held], speakers, device=device)
    train = train.scaled(train.fit_scale(by_corpus=True))  # all are of one corpus, "speakers"
    valid = Clips(store, table[held], speakers, device=device, scale=train.scale)
    corpora = ", ".join(sorted({key.split("/")[0] for key in speakers}))
    folder, history = train_or_load(
        memory,
        "speakers",
        f"{corpora.replace(', ', '+')}-{name}-seed{config.seed}",
        config,
        {"version": VERSION, "features": store.key, "manifest": manifest_hash(rows)},
        pd.DataFrame({"utt_id": table["utt_id"], "role": np.where(held, "valid", "train")}),
        SpeakerLearner(train, valid, config),
        config.steps,
        every=max(1, config.steps // 10),
        patience=None,
        progress=progress,
        desc="telling speakers apart",
    )
    right = f"{100 * history.best_score:.0f} % of held-out utterances are given to the right one"
    told = f"{len(table)} utterances, {config.steps} updates; {right}"
    return folder / WEIGHTS, f"{len(speakers)} speakers of {corpora} ({told})"


def _speakers_as_labels(rows: pd.DataFrame) -> pd.DataFrame:
    """The utterances of known speakers with two or more of them; `emotion` is the speaker.

    Raises SettingError for fewer than two such speakers.
    """
    table = rows.assign(emotion=speaker_keys(rows), corpus="speakers")
    many = table.groupby("emotion")["utt_id"].transform("size") > 1
    table = table[many & (table["emotion"] != "")].reset_index(drop=True)
    number = table["emotion"].nunique()
    if number < 2:
        raise SettingError(
            f"{number} speaker(s) with two utterances: telling speakers apart needs two of them or "
            "more"
        )
    return table


def _held_out(table: pd.DataFrame, seed: int) -> np.ndarray:
    """A tenth of each speaker's utterances, at least one, bool (rows,)."""
    held = np.zeros(len(table), dtype=bool)
    places = table.groupby("emotion").indices
    for number, speaker in enumerate(sorted(places)):
        shuffled = np.random.default_rng((seed, 67, number)).permutation(places[speaker])
        share = max(1, round(_VALID * len(shuffled)))
        held[shuffled[:share]] = True
    return held
