"""Telling speakers apart first: the pretraining of DA-MLDG, on any manifest with speakers.

King Gandhi et al. (2023) take VoxCeleb1 (1251 speakers) and have not released their weights.
Whoever has VoxCeleb gives its manifest and features; otherwise the speakers of the source corpora
serve, which are few: the result says which it was.
"""

import pathlib

import numpy as np
import pandas as pd

from colab_utils import settings
from colab_utils.corpora.manifest import manifest_hash, speaker_keys
from colab_utils.drive.memory import Memory
from colab_utils.features.store.features import Features
from colab_utils.learning.clips import Clips
from colab_utils.learning.trained import WEIGHTS, train_or_load
from colab_utils.methods.da_mldg.batches import DomainBatches, digital_silence
from colab_utils.methods.da_mldg.learner import DomainLearner, make_algorithm
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.settings import SettingError

VERSION = 2  # raised when the same settings would give other weights
_VALID = 0.1  # of each speaker's utterances


def speakers_config(config: DomainConfig) -> DomainConfig:
    """How the network of `config` is pretrained: as King Gandhi et al. (2023) do it.

    SGD with 0.01 and momentum 0.9, 64 crops of 2 s in a batch, the frames scaled and padded as
    they are later. Their 50 epochs of VoxCeleb (`speaker_epochs`) are 117 000 updates.

    Args:
        config: settings of the training that starts from it.

    Returns:
        Settings of plain training, where all speakers are one domain.
    """
    return DomainConfig(
        algorithm="erm",
        epochs=config.speaker_epochs,
        batch=64,
        optimiser="sgd",
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=0.0,
        classes="none",
        crop_frames=198,
        network=config.network,
        width=config.width,
        norm=config.norm,
        standardise=config.standardise,
        padding=config.padding,
    )


class SpeakerLearner(DomainLearner):
    """A ResNet18 that tells speakers apart.

    Args:
        train: frames whose labels are speakers.
        valid: other utterances of the same speakers.
        config: how it is trained, of `speakers_config`.
        silence: what digital silence is in every feature as stored.
    """

    def __init__(self, train: Clips, valid: Clips, config: DomainConfig, silence: float = 0.0):
        algorithm = make_algorithm(config, train.dim, len(train.labels), train.device)
        super().__init__(algorithm, DomainBatches(train, config, silence), valid)

    def validate(self) -> float:
        """Share of held-out utterances whose speaker is found, in [0, 1]."""
        true, found = self.found()
        return float((true == found).mean())


def pretrain(
    rows: pd.DataFrame,
    store: Features,
    config: DomainConfig,
    memory: Memory,
    *,
    device: str = "cpu",
    progress: bool = True,
) -> tuple[pathlib.Path, str]:
    """Train on the speakers of `rows`, or load what was trained on them before.

    Nobody else's speech is read; a tenth of each speaker's (one clip or more) picks the step.

    Args:
        rows: a manifest; emotions may be empty.
        store: frames of at least these utterances.
        config: how it is trained, of `speakers_config`.
        memory: of the workspace: the weights lie in its trained/speakers.
        device: where to compute.
        progress: whether a bar is shown.

    Returns:
        The file of weights, for `ResNet18.start_from`, and in words what they were trained on.

    Raises:
        SettingError: for fewer than two speakers with two utterances, and for vectors.
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
    if config.standardise:
        train = train.scaled(train.fit_scale(by_corpus=True))  # all are of one corpus, "speakers"
    valid = Clips(store, table[held], speakers, device=device, scale=train.scale)
    counted = config.in_updates(len(train), sources=1)
    corpora = ", ".join(sorted({key.split("/")[0] for key in speakers}))
    folder, history = train_or_load(
        memory,
        "speakers",
        f"{corpora.replace(', ', '+')}-{name}-seed{config.seed}",
        config,
        {"version": VERSION, "features": store.key, "manifest": manifest_hash(rows)},
        pd.DataFrame({"utt_id": table["utt_id"], "role": np.where(held, "valid", "train")}),
        SpeakerLearner(train, valid, counted, digital_silence(store.spec)),
        counted.steps,
        every=counted.validate_every,
        progress=progress,
        desc="telling speakers apart",
    )
    right = f"{100 * history.best_score:.0f} % of held-out utterances are given to the right one"
    told = f"{len(table)} utterances, {counted.steps} updates; {right}"
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
