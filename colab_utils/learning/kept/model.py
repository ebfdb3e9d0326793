"""A kept model: what labels new clips without the corpus, as a folder."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save

from colab_utils import __version__, files
from colab_utils.corpora.manifest import speaker_keys
from colab_utils.features.front_end import FrontEnd, identity
from colab_utils.features.store.features import Features, Frames
from colab_utils.features.store.views import Normalised, Statistics, pooled_vector
from colab_utils.learning.heads import adapted_head
from colab_utils.learning.kept.steps import Linear

WEIGHTS, ABOUT, CARD = "model.safetensors", "model.json", "MODEL_CARD.md"
FORMAT = 1  # of the folder
STATISTICS = ("n", "mean", "variance")
OWN_CORPUS = 10  # new recordings from which on they have statistics of their own
_NEW = "these recordings"


class ModelError(ValueError):
    """A model that cannot be kept, opened or adapted; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """How features are normalised before the scale, and the statistics that are known.

    Attributes:
        unit: "none", "corpus" or "speaker".
        prior_clips: see `features.store.views.Normalised`.
        corpus: the one that was tested, whose statistics a few new recordings take.
        known: statistics by corpus ("emodb") and by speaker ("emodb/03").
    """

    unit: str = "none"
    prior_clips: float = 0.0
    corpus: str = ""
    known: Mapping[str, Statistics] = dataclasses.field(default_factory=dict)


class Kept:
    """A trained model with all that labelling new clips needs.

    Args:
        predictor: what gives scores.
        front_ends: what makes features of audio, side by side.
        pooled: whether frames become one vector an utterance, their mean and deviation.
        normalisation: of features.
        about: what is known of it, plain JSON values.
        device: where to compute.

    Example:
        model = kept.open_model("out/models/mine")
        found = model.features({16000: waves})
    """

    def __init__(
        self,
        predictor: Any,
        front_ends: Sequence[FrontEnd],
        pooled: bool,
        normalisation: Normalisation,
        about: Mapping[str, Any],
        device: str = "cpu",
    ):
        self.predictor, self.about, self.device = predictor, dict(about), device
        self.front_ends, self.pooled = list(front_ends), pooled
        self.normalisation = normalisation

    @property
    def labels(self) -> list[str]:
        """The emotions, in the order of the columns of `scores`."""
        return list(self.predictor.labels)

    @property
    def rates(self) -> list[int]:
        """The sample rates that `features` wants, in Hz."""
        return sorted({one.sample_rate for one in self.front_ends})

    @property
    def unit(self) -> str:
        """By what features are normalised: "none", "corpus" or "speaker"."""
        return self.normalisation.unit

    @property
    def known(self) -> list[str]:
        """Corpora and speakers ("emodb/03") whose statistics it holds."""
        return list(self.normalisation.known)

    def features(self, waves: Mapping[int, Sequence[np.ndarray]]) -> list[np.ndarray]:
        """Features of clips, not yet normalised.

        Args:
            waves: {sample rate in Hz: float32 (samples,) of each clip}, a key for each of `rates`.

        Returns:
            float32 (frames, dim) of each, or (1, dim).
        """
        columns = []
        for front_end in self.front_ends:
            found = front_end.compute(list(waves[front_end.sample_rate]), self.device)
            if self.pooled and not front_end.pooled:
                found = [pooled_vector(one) for one in found]
            columns.append(found)
        return [np.concatenate(parts, axis=1) for parts in zip(*columns, strict=True)]

    def scores(self, found: Mapping[str, np.ndarray], rows: pd.DataFrame) -> np.ndarray:
        """Probabilities of clips.

        Args:
            found: of `features`, by utt_id.
            rows: utt_id, corpus and speaker of each clip. A corpus or speaker of `known` is
                normalised as it was; corpus "": new recordings, which from OWN_CORPUS on have
                statistics of their own and else take those of the corpus that was tested; speaker
                "": not known.

        Returns:
            float64 (n, labels) in the order of `rows`; each sums to 1.
        """
        return self.predictor.scores(self._normalised(found, rows), rows, self.device)

    def how_normalised(self, rows: pd.DataFrame) -> str:
        """By what `scores` normalises these rows, a sentence; "" where it does not."""
        if self.unit == "none":
            return ""
        new = int((rows["corpus"] == "").sum())
        told = []
        if new >= OWN_CORPUS:
            told.append(f"{new} new clips by their own mean and deviation")
        elif new:
            told.append(
                f"{new} new clip(s), fewer than {OWN_CORPUS}, by the statistics of "
                f"{self.normalisation.corpus}"
            )
        if new < len(rows):
            told.append(f"{len(rows) - new} by the corpus that they are of")
        if self.unit == "speaker" and (rows["speaker"] != "").any():
            told.append("those of a named speaker less that speaker's mean")
        return f"features are normalised: {'; '.join(told)}"

    def adapted(
        self, found: Mapping[str, np.ndarray], rows: pd.DataFrame, emotions: Sequence[str]
    ) -> Kept:
        """The same model after a few labelled clips: the recipe, with this model as its source.

        Args:
            found: as of `scores`.
            rows: as of `scores`.
            emotions: of the clips, in the order of `rows`; "": a clip that nobody labelled, which
                counts for the statistics of its speaker or corpus alone.

        Returns:
            Another model.

        Raises:
            ModelError: a model that is not linear, or an emotion that it does not know.
        """
        steps = getattr(self.predictor, "steps", ())
        if len(steps) != 1 or not isinstance(steps[0], Linear):
            raise ModelError(
                "a few clips adapt a linear model: keep `recommended` or a logistic regression"
            )
        labelled = np.array([emotion != "" for emotion in emotions], bool)
        y = pd.Index(self.labels).get_indexer(list(filter(None, emotions)))
        if len(y) == 0 or (y < 0).any():
            unknown = sorted(set(emotions) - {"", *self.labels})
            raise ModelError(
                f"{', '.join(unknown) or 'no clips'}: this model knows {', '.join(self.labels)}"
            )
        view = self._normalised(found, rows)
        x = torch.from_numpy(view.matrix(list(rows.loc[labelled, "utt_id"])))
        x = self.predictor.scale.applied(x).double().numpy()
        head = adapted_head(steps[0].head, self.predictor.temperature, x, y)
        predictor = dataclasses.replace(
            self.predictor, steps=[Linear.of_head(head)], temperature=1.0
        )
        about = self.about | {"adapted": f"to {len(y)} labelled clips"}
        made = self.front_ends, self.pooled, self.normalisation
        return Kept(predictor, *made, about, self.device)

    def save(self, folder: files.AnyPath, card: str) -> pathlib.Path:
        """Write the folder; `opening.open_model` reads it. What was there is replaced.

        Args:
            folder: where to.
            card: the text of MODEL_CARD.md.

        Returns:
            The folder.
        """
        folder = pathlib.Path(folder)
        known = self.normalisation.known
        tensors = self.predictor.tensors()
        if known:
            of = list(known.values())
            tensors["statistics.n"] = torch.tensor([one.n for one in of])
            tensors["statistics.mean"] = torch.from_numpy(np.stack([one.mean for one in of]))
            tensors["statistics.variance"] = torch.from_numpy(
                np.stack([one.variance for one in of])
            )
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with files.alone(folder, "keeping a model"):
            files.write_bytes(folder / WEIGHTS, save(plain))
            files.write_text(folder / CARD, card)
            files.write_json(folder / ABOUT, self._described(files.file_sha256(folder / WEIGHTS)))
        return folder

    def _described(self, sha256: str) -> dict[str, Any]:
        """What model.json holds."""
        how = self.normalisation
        return {
            "format": FORMAT,
            "package": __version__,
            "weights_sha256": sha256,
            "labels": self.labels,
            "front_ends": [identity(one) for one in self.front_ends],
            "checkpoints": [getattr(one, "checkpoint", "") for one in self.front_ends],
            "pooled": self.pooled,
            "normalisation": {
                "unit": how.unit,
                "prior_clips": how.prior_clips,
                "corpus": how.corpus,
                "known": list(how.known),
            },
            "predictor": {"kind": self.predictor.kind, **self.predictor.described()},
            "about": self.about,
        }

    def _normalised(self, found: Mapping[str, np.ndarray], rows: pd.DataFrame) -> Features:
        """Features in memory, normalised as those of the training were."""
        asked = {name: found[name] for name in rows["utt_id"]}
        names = [one.NAME for one in self.front_ends]
        held = Frames(asked, {"name": "+".join(names)}, pooled=self.pooled)
        if self.unit == "none":
            return held
        new = rows["corpus"] == ""
        corpus = _NEW if new.sum() >= OWN_CORPUS else self.normalisation.corpus
        rows = rows.assign(corpus=rows["corpus"].mask(new, corpus))
        how = self.normalisation
        return Normalised(held, rows, how.unit, how.prior_clips, known=how.known)


def statistics_of(view: Features, rows: pd.DataFrame) -> dict[str, Statistics]:
    """What a kept model has to know of the corpora and speakers of these rows.

    Args:
        view: the features that a study reads.
        rows: manifest rows of the clips that were tested.

    Returns:
        By name; {} where nothing is normalised.
    """
    if not isinstance(view, Normalised):
        return {}
    names = {*rows["corpus"], *speaker_keys(rows)}
    found = {}
    for name in sorted(names - {""}):
        statistics = view.statistics_of(name)
        if statistics.n:
            found[name] = statistics
    return found
