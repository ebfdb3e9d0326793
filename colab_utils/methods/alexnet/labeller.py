"""A network to keep: weights, range of the bins and settings, and what labels audio with them."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from safetensors.torch import save

from colab_utils import files
from colab_utils.corpora.audio import load_audio
from colab_utils.features.published.alexnet import RATE, AlexNetSpectrogram
from colab_utils.features.store.views import Normalised
from colab_utils.learning.checkpoints import read_tensors
from colab_utils.methods.alexnet.network import network
from colab_utils.methods.alexnet.pictures import (
    Frames,
    Range,
    make_images,
    utterance_probabilities,
)
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.methods.alexnet.study import SpectrogramStudy
from colab_utils.methods.alexnet.training import AlexnetLearner, probabilities
from colab_utils.settings import SettingError, as_dict

WEIGHTS, ABOUT = "model.safetensors", "model.json"
_LOW, _HIGH = "range.low", "range.high"
_UNREADABLE = (OSError, KeyError, ValueError, TypeError, RuntimeError)


def save_network(
    folder: pathlib.Path, learner: AlexnetLearner, config: AlexnetConfig, about: Mapping[str, Any]
) -> pathlib.Path:
    """Keep a trained network with all that labelling new audio needs; `Labeller` loads it.

    Args:
        folder: where to; what was there is replaced.
        learner: trained.
        config: its settings, those of the test too.
        about: what else to write down, plain JSON values; needed are `labels`, the emotions in the
            order of the class ids, and `version`, that of the study.

    Returns:
        The folder.
    """
    tensors = learner.module.state_dict()
    tensors[_LOW] = learner.limits.low
    tensors[_HIGH] = learner.limits.high
    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with files.alone(folder, "saving a network"):
        files.write_bytes(folder / WEIGHTS, save(kept))
        files.write_json(folder / ABOUT, {"settings": as_dict(config), **about})
    return folder


class Labeller:
    """A network that `AlexnetStudy.save` kept; it labels audio files.

    Args:
        folder: where it was kept.
        device: where to compute.

    Raises:
        SettingError: for a folder that holds no such network.

    Example:
        table = Labeller("out/models/mine").label(["one.wav", "two.flac"])
    """

    def __init__(self, folder: str | os.PathLike, device: str = "cpu"):
        folder = pathlib.Path(folder)
        self.device = device
        try:
            kept = files.read_json(folder / ABOUT)
            weights = read_tensors(folder / WEIGHTS)
            self.limits = Range(weights.pop(_LOW), weights.pop(_HIGH))
            if kept["version"] != SpectrogramStudy.VERSION:
                raise ValueError(f"version {kept['version']}: train and save it again")
            self.labels = list(kept["labels"])
            self.config = AlexnetConfig(**kept["settings"])
            n_labels, pooling = len(self.labels), self.config.pooling
            self.module = network(self.config.ser_model, n_labels, pooling)
            self.module.load_state_dict(weights)
        except _UNREADABLE as error:
            raise SettingError(
                f"{folder} holds no model that save() of this version wrote "
                f"({files.one_line(error)})"
            ) from error
        self.module.to(device)

    def label(self, paths: Sequence[str | os.PathLike]) -> pd.DataFrame:
        """The emotions of audio files.

        A network that learnt from normalised pictures normalises the files of one call by each
        other: give those of one speaker or corpus together, ten or more.

        Args:
            paths: one file or more, of any format and rate that `corpora.audio.load_audio` reads.

        Returns:
            A row for each file: `file`, `emotion` (the likeliest), and p_<emotion>, which add up
            to 1.

        Raises:
            AudioError: for a file that cannot be read.
            SettingError: for a single file where pictures are normalised.
        """
        spec = AlexNetSpectrogram(feature_set=self.config.features)
        names = [str(path) for path in paths]
        frames = Frames(spec, {})
        for name in names:
            wave = load_audio(name, RATE)
            frames[name] = spec.compute([wave], self.device)[0]
        store = frames
        if self.config.normalisation != "none":
            if len(frames) < 2:
                raise SettingError(
                    f"{names[0]}: this network learnt from normalised pictures; label two files or "
                    "more of a speaker together"
                )
            rows = pd.DataFrame({"utt_id": list(frames), "corpus": "these files"})
            store = Normalised(frames, rows, "corpus")
        images = make_images(
            store, names, self.config, self.limits, hop=self.config.test_hop, device=self.device
        )
        segments = probabilities(self.module, images)
        scores = utterance_probabilities(segments, images, self.config.decision)
        found = pd.DataFrame(scores, columns=self.labels)
        table = pd.DataFrame({"file": names, "emotion": found.idxmax(axis=1)})
        return table.join(found.add_prefix("p_"))
