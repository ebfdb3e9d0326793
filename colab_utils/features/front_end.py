"""What every front end has in common.

A front end is a frozen dataclass: its fields are its settings, and they name its results.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from colab_utils.settings import as_dict, check


@dataclasses.dataclass(frozen=True)
class FrontEnd:
    """Audio to numbers. A subclass adds fields made by `setting()`, `feature_names` and `compute`.

    `NAME` names its stores; `VERSION` is raised whenever the same settings give other numbers than
    before (a golden test watches that). `sample_rate` (Hz) is what `compute` wants to be fed,
    `pooled` says whether it gives one vector an utterance instead of frames.
    """

    NAME: ClassVar[str]
    VERSION: ClassVar[int]
    pooled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check(self)

    @property
    def feature_names(self) -> list[str]:
        """One name for each column that `compute` gives."""
        raise TypeError(f"{type(self).__name__} has no feature_names: write them")

    @property
    def dim(self) -> int:
        """Columns that `compute` gives."""
        return len(self.feature_names)

    def compute(self, waveforms: list[np.ndarray], device: str = "cpu") -> list[np.ndarray]:
        """Features of each waveform (float32 (samples,), at `sample_rate`): a list of float32
        (frames, dim), or (1, dim) where `pooled`.

        A waveform's features do not depend on its neighbours in the list. Raises ValueError for a
        waveform without samples.
        """
        raise TypeError(f"{type(self).__name__} has no compute: write it")

    def resolved(self) -> dict:
        """Settings that name something outside, such as a checkpoint, by what it is now: they
        replace the settings of the same name in `identity`.
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
    """Plain JSON values that name the numbers `spec` gives: name, version and settings, those of
    the front ends inside it included.
    """
    parts = [getattr(spec, field.name) for field in dataclasses.fields(spec)]
    parts = [
        part
        for value in parts
        for part in (value if isinstance(value, tuple) else (value,))
        if isinstance(part, FrontEnd)
    ]
    return {
        "name": spec.NAME,
        "version": spec.VERSION,
        "settings": {**as_dict(spec), **spec.resolved()},
        "parts": [
            {"name": part.NAME, "version": part.VERSION, **part.resolved()} for part in parts
        ],
    }


def workers() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
