"""What gives scores of clips in a kept model: a scale, steps, and a temperature."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from colab_utils.features.store.features import Features
from colab_utils.learning.clips import Clips, Inputs, Scale, predict_table
from colab_utils.learning.kept import steps as kinds
from colab_utils.learning.kept.steps import Step
from colab_utils.results.calibration import with_temperature

_AT_ONCE = 32  # clips of frames that are computed together


@dataclasses.dataclass
class Predictor:
    """Scores of clips, the same whatever else is asked with them.

    Args:
        labels: the emotions that it knows, in the order of its columns.
        steps: what is computed; the first is called with the inputs of a batch (`Clips.inputs`).
        scale: of features, or None: as they come.
        temperature: logits are divided by it.
        frames: of a longer clip only so many in the middle are looked at; 0: all.
        windows: a longer clip is looked at in half-overlapping windows of `frames` instead.
    """

    kind: ClassVar[str] = "steps"

    labels: list[str]
    steps: Sequence[Step]
    scale: Scale | None = None
    temperature: float = 1.0
    frames: int = 0
    windows: bool = False

    @torch.no_grad()
    def scores(self, features: Features, rows: pd.DataFrame, device: str = "cpu") -> np.ndarray:
        """Probabilities of clips.

        Args:
            features: of at least these clips, normalised as those of the training were.
            rows: their utt_id and corpus.
            device: where to compute.

        Returns:
            float64 (n, labels); each row sums to 1.
        """
        any_label = rows.assign(emotion=self.labels[0])
        clips = Clips(features, any_label, self.labels, device=device, scale=self.scale)
        for step in self.steps:
            step.to(device)
        if self.windows:
            found = predict_table(self._probabilities, clips, self.frames)
            return with_temperature(found, self.temperature)
        logits = []
        size = _AT_ONCE if clips.frames else len(clips)
        for first in range(0, len(clips), size):
            numbers = np.arange(first, min(first + size, len(clips)))
            frames = self.frames or int(clips.lengths[numbers].max())
            logits.append(self._logits(clips.crops(numbers, frames)).cpu())
        return torch.softmax(torch.cat(logits) / self.temperature, dim=1).numpy()

    def _logits(self, inputs: Inputs) -> torch.Tensor:
        """All steps, float64 (n, labels)."""
        first, *others = self.steps
        x = first(*inputs)
        for step in others:
            x = step(x)
        return x.double()

    def _probabilities(self, inputs: Inputs) -> torch.Tensor:
        return torch.softmax(self._logits(inputs), dim=1)

    # --- as a folder ------------------------------------------------------------------------------

    def described(self) -> dict[str, Any]:
        """All but weights and labels, plain JSON values."""
        return {
            "steps": [kinds.described(step) for step in self.steps],
            "temperature": self.temperature,
            "frames": self.frames,
            "windows": self.windows,
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """The weights by name."""
        found = {}
        if self.scale is not None:
            found |= {"scale.mean": self.scale.mean, "scale.factor": self.scale.factor}
        for number, step in enumerate(self.steps):
            for name, value in step.state_dict().items():
                found[f"step {number}.{name}"] = value
        return found

    @classmethod
    def made(
        cls,
        labels: list[str],
        description: Mapping[str, Any],
        tensors: Mapping[str, torch.Tensor],
    ) -> Predictor:
        """The same again from `described` and `tensors`. Raises KeyError, TypeError, ..."""
        values = dict(description)
        steps = [kinds.made(one) for one in values.pop("steps")]
        for number, step in enumerate(steps):
            own = f"step {number}."
            weights = {
                name.removeprefix(own): value
                for name, value in tensors.items()
                if name.startswith(own)
            }
            step.load_state_dict(weights)
        scale = None
        if "scale.mean" in tensors:
            scale = Scale(tensors["scale.mean"], tensors["scale.factor"])
        return cls(labels, steps, scale, **values)
