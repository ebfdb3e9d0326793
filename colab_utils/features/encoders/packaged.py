"""Small pretrained speech encoders that come inside a package of the Python index: no model hub is
needed, `pip install` is the download.
"""

from __future__ import annotations

import functools
import importlib.util
import pathlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from colab_utils.features.encoders.checkpoints import EncoderError
from colab_utils.features.encoders.embeddings import Encoder
from colab_utils.features.front_end import workers
from colab_utils.files import file_sha256


class MissingPackageError(ImportError):
    """The package that carries the encoder is not installed; the message says what to do."""


@dataclass(frozen=True)
class PackagedEncoder(Encoder):
    """An encoder whose weights a package carries.

    Only the release whose weights have the hash `WEIGHTS_SHA256` is taken: `VERSION` then names the
    numbers. Clips are computed one at a time, so that none depends on another; one shorter than
    `shortest` samples is filled with zeros.

    Raises MissingPackageError on use where the package is not installed; EncoderError where it is
    another release.
    """

    MODULE: ClassVar[str]  # the package, as it is imported
    WEIGHTS: ClassVar[str]  # its file of weights
    WEIGHTS_SHA256: ClassVar[str]
    INSTALL: ClassVar[str]  # what pip is to install
    UNITS: ClassVar[int]
    NEEDS: ClassVar[tuple[str, ...]] = ()  # other packages that must be there
    shortest: ClassVar[int]

    @property
    def width(self) -> int:
        """Numbers a frame has."""
        return self.UNITS

    def weights(self) -> pathlib.Path:
        """The package's file of weights, checked. Raises MissingPackageError, EncoderError."""
        for package in (self.MODULE, *self.NEEDS):
            if importlib.util.find_spec(package) is None:
                raise MissingPackageError(
                    f"{self.NAME} needs {package}: run `pip install {self.INSTALL}`, or choose"
                    " another front end"
                )
        path = (
            pathlib.Path(importlib.util.find_spec(self.MODULE).submodule_search_locations[0])
            / self.WEIGHTS
        )
        if not path.is_file() or file_sha256(path) != self.WEIGHTS_SHA256:
            raise EncoderError(
                f"{path} is missing or not the file that {self.NAME} was made for: run `pip install"
                f" --force-reinstall {self.INSTALL}`"
            )
        return path

    def _filled(self, wave: np.ndarray) -> np.ndarray:
        """The waveform, float32, filled with zeros up to `shortest`."""
        return np.pad(wave.astype(np.float32, copy=False), (0, max(0, self.shortest - len(wave))))


@dataclass(frozen=True)
class Moonshine(PackagedEncoder):
    """The encoder of Moonshine tiny, English speech recognition (Jeffries et al. 2024): 288 numbers
    a frame, 41 frames a second.

    Runs on onnxruntime on the processor's cores, one clip a core; `device` is not used. MIT
    licence.
    """

    NAME: ClassVar[str] = "moonshine"
    VERSION: ClassVar[int] = 1
    MODULE: ClassVar[str] = "moonshine_voice"
    NEEDS: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    WEIGHTS: ClassVar[str] = "assets/tiny-en/encoder_model.ort"
    WEIGHTS_SHA256: ClassVar[str] = (
        "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221"
    )
    INSTALL: ClassVar[str] = "moonshine-voice==0.0.49 onnxruntime"
    UNITS: ClassVar[int] = 288
    shortest: ClassVar[int] = 895

    def frames(self, waveforms: list[np.ndarray], device: str) -> list[torch.Tensor]:
        """Frames of each waveform, float32 (frames, 288)."""
        session = _moonshine(self.weights())
        with ThreadPoolExecutor(workers()) as pool:
            return list(pool.map(lambda wave: self._one(session, self._filled(wave)), waveforms))

    @staticmethod
    def _one(session: Any, wave: np.ndarray) -> torch.Tensor:
        """One waveform's frames."""
        (values,) = session.run(
            None,
            {"input_values": wave[None], "attention_mask": np.ones((1, len(wave)), dtype=np.int64)},
        )
        return torch.from_numpy(values[0])


@functools.lru_cache(maxsize=1)
def _moonshine(path: pathlib.Path) -> Any:
    """The session that all threads share; each run takes one core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class DistillMos(PackagedEncoder):
    """The convolutional part of Distill-MOS, speech quality distilled from XLS-R (Stahl & Gamper
    2025): 1024 numbers a frame, 50 frames a second.

    A clip is brought to peak 1 first, as the model was trained. MIT licence.
    """

    NAME: ClassVar[str] = "distillmos"
    VERSION: ClassVar[int] = 1
    MODULE: ClassVar[str] = "distillmos"
    WEIGHTS: ClassVar[str] = "weights/distill_mos_v7.pt"
    WEIGHTS_SHA256: ClassVar[str] = (
        "b18b3ac60227267cfb91e5d00ce22cc7b73716fd92f269484da1446e27031a40"
    )
    INSTALL: ClassVar[str] = "distillmos==0.9.1"
    UNITS: ClassVar[int] = 1024
    shortest: ClassVar[int] = 320

    def frames(self, waveforms: list[np.ndarray], device: str) -> list[torch.Tensor]:
        """Frames of each waveform, float32 (frames, 1024)."""
        network = _distillmos(self.weights(), device)
        return [
            self._one(network, torch.from_numpy(self._filled(wave)).to(device))
            for wave in waveforms
        ]

    @staticmethod
    def _one(network: torch.nn.Module, wave: torch.Tensor) -> torch.Tensor:
        """One waveform's frames."""
        return network((wave / (wave.abs().max() + 1e-8))[None])[0].T


@functools.lru_cache(maxsize=1)
def _distillmos(path: pathlib.Path, device: str) -> torch.nn.Module:
    """The convolutional network with its weights, read as tensors only."""
    from distillmos import ConvTransformerSQAModel

    model = ConvTransformerSQAModel(load_weights=False)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["model"])
    return model.cnn.eval().to(device)
