"""What every front end has in common.

A front end is a frozen dataclass: its fields are its settings, and they name its results.
"""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np

from colab_utils.settings import as_dict, check


@dataclasses.dataclass(frozen=True)
class FrontEnd(abc.ABC):
    """Audio to numbers.

    A subclass adds fields made by `colab_utils.settings.setting`, `feature_names` and `compute`.

    Attributes:
        NAME: names its stores.
        VERSION: is raised whenever the same settings give other numbers than before (a golden test
            watches that).
        sample_rate: of the waveforms that `compute` is fed, in Hz.
        pooled: whether it gives one vector an utterance instead of frames.
        parts: front ends that it is made of.
    """

    NAME: ClassVar[str]
    VERSION: ClassVar[int]
    pooled: ClassVar[bool] = False
    parts: ClassVar[tuple[FrontEnd, ...]] = ()

    def __post_init__(self) -> None:
        check(self)

    @property
    @abc.abstractmethod
    def feature_names(self) -> list[str]:
        """One name for each column that `compute` gives."""

    @property
    def dim(self) -> int:
        """Columns that `compute` gives."""
        return len(self.feature_names)

    @abc.abstractmethod
    def compute(self, waveforms: list[np.ndarray], device: str = "cpu") -> list[np.ndarray]:
        """Features of each waveform, which do not depend on its neighbours in the list.

        Args:
            waveforms: float32 (samples,) each, at `sample_rate`.
            device: where torch computes, such as "cuda"; some front ends use the CPU alone.

        Returns:
            float32 (frames, dim) each, or (1, dim) where `pooled`.

        Raises:
            ValueError: a waveform without samples.
        """

    def resolved(self) -> dict:
        """Settings that name something outside, such as a checkpoint, by what it is now.

        They replace the settings of the same name in `identity`.
        """
        return {}


def check_waveforms(waveforms: Sequence[np.ndarray]) -> None:
    """Raise ValueError unless each waveform has one channel and a sample at least."""
    for number, wave in enumerate(waveforms):
        if wave.ndim != 1 or len(wave) == 0:
            raise ValueError(
                f"waveform {number} has shape {tuple(wave.shape)}: one channel with at least one"
                " sample is needed"
            )


def identity(spec: FrontEnd) -> dict:
    """What names the numbers that `spec` gives, as plain JSON values.

    Returns:
        name, version and settings, and name and version of the front ends that it is made of.
    """
    return {
        "name": spec.NAME,
        "version": spec.VERSION,
        "settings": as_dict(spec) | spec.resolved(),
        "parts": [{"name": part.NAME, "version": part.VERSION} for part in spec.parts],
    }


def standardised(values: np.ndarray, least: float) -> np.ndarray:
    """Each column of (frames, n) at mean 0 and deviation 1 over the frames.

    A column whose deviation is below `least` is constant but for rounding, and becomes 0.
    """
    deviation = values.std(axis=0)
    scale = np.where(deviation > least, deviation, np.inf)
    return (values - values.mean(axis=0)) / scale.astype(values.dtype)


def workers() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_threads(function: Callable, *arguments: Iterable) -> list[Any]:
    """`map(function, *arguments)` by as many threads as there are cores.

    It pays where the function lets go of Python's lock, as numpy, WORLD and openSMILE do.
    """
    with ThreadPoolExecutor(workers()) as pool:
        return list(pool.map(function, *arguments))
