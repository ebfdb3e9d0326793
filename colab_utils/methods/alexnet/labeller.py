"""A network to keep: its weights, the range of its bins and its settings, and what labels audio
with them.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from colab_utils import files
from colab_utils.corpora.audio import load_audio
from colab_utils.features.published.alexnet import RATE, AlexNetSpectrogram
from colab_utils.methods.alexnet.network import spectrogram_net
from colab_utils.methods.alexnet.pictures import Range, make_images, utterance_probabilities
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.methods.alexnet.training import AlexnetLearner, probabilities
from colab_utils.settings import SettingError, as_dict

WEIGHTS, ABOUT = "model.safetensors", "model.json"
_LOW, _HIGH = "range.low", "range.high"
_UNREADABLE = (OSError, KeyError, ValueError, TypeError, RuntimeError, SafetensorError)


def save_network(
    folder: str | os.PathLike,
    learner: AlexnetLearner,
    config: AlexnetConfig,
    labels: Sequence[str],
    about: Mapping[str, Any],
) -> pathlib.Path:
    """Keep a trained network with all that labelling new audio needs; `Labeller` loads it.

    Args:
        folder: where to; what was there is replaced.
        learner: trained.
        config: its settings, those of the test too.
        labels: the emotions, in the order of the class ids.
        about: what else to write down, plain JSON values.

    Returns:
        The folder.
    """
    folder = pathlib.Path(folder)
    tensors = {_LOW: learner.limits.low.contiguous(), _HIGH: learner.limits.high.contiguous()}
    for name, value in learner.module.state_dict().items():
        tensors[name] = value.detach().cpu().contiguous()
    files.write_bytes(folder / WEIGHTS, save(tensors))
    files.write_json(folder / ABOUT, {"settings": as_dict(config), "labels": list(labels), **about})
    return folder


class Labeller:
    """A kept network: `Labeller(folder).label(files)` gives each file's probabilities.

    Raises SettingError for a folder that `save_network` did not write.
    """

    def __init__(self, folder: str | os.PathLike, device: str = "cpu"):
        folder = pathlib.Path(folder)
        try:
            kept = files.read_json(folder / ABOUT)
            weights = load_file(folder / WEIGHTS)
            self.limits = Range(weights.pop(_LOW), weights.pop(_HIGH))
            self.labels, self.device = list(kept["labels"]), device
            self.config = AlexnetConfig(**kept["settings"])
            self.module = spectrogram_net(self.config.ser_model, len(self.labels))
            self.module.load_state_dict(weights)
        except _UNREADABLE as error:
            reason = (str(error).splitlines() or ["empty"])[0][:200]
            raise SettingError(f"{folder} holds no model that save() wrote ({reason})") from error
        self.module.to(device).eval()

    def label(self, paths: Sequence[str | os.PathLike]) -> pd.DataFrame:
        """A row for each audio file: `file`, `emotion` (the likeliest), and p_<emotion>.

        Raises AudioError for a file that cannot be read.
        """
        spec, frames = AlexNetSpectrogram(feature_set=self.config.features), _Frames()
        for path in paths:
            (frames[str(path)],) = spec.compute([load_audio(path, RATE)], self.device)
        # the emotion of a row is not known and not looked at; pictures want one
        rows = pd.DataFrame({"utt_id": list(map(str, paths)), "emotion": self.labels[0]})
        images = make_images(
            frames,
            rows,
            self.labels,
            self.config,
            self.limits,
            hop=self.config.test_hop,
            device=self.device,
        )
        scores = utterance_probabilities(
            probabilities(self.module, images), images, self.config.decision
        )
        best = np.array(self.labels)[scores.argmax(axis=1)]
        table = pd.DataFrame(scores, columns=[f"p_{label}" for label in self.labels])
        table.insert(0, "file", rows["utt_id"])
        table.insert(1, "emotion", best)
        return table


class _Frames(dict):
    """Frames by name, as a store has them."""

    @property
    def ids(self) -> list[str]:
        """The names."""
        return list(self)
