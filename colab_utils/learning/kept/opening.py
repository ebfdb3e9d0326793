"""Opening the folder of a kept model: what is missing, torn, foreign or of another version."""

from __future__ import annotations

import os
import pathlib
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from colab_utils import __version__, features, files
from colab_utils.features.encoders.checkpoints import EncoderError
from colab_utils.features.front_end import FrontEnd, identity
from colab_utils.features.store.views import Statistics
from colab_utils.learning.checkpoints import CheckpointError, read_tensors
from colab_utils.learning.kept.model import (
    ABOUT,
    FORMAT,
    STATISTICS,
    WEIGHTS,
    Kept,
    ModelError,
    Normalisation,
)
from colab_utils.settings import SettingError, as_dict, with_settings

# what gives the scores, by its `kind`
PREDICTORS = {
    "steps": "colab_utils.learning.kept.predictor:Predictor",
    "pictures": "colab_utils.methods.alexnet.kept:PicturePredictor",
}
_UNFIT = (KeyError, TypeError, ValueError, RuntimeError, AttributeError)


def open_model(folder: files.AnyPath, device: str = "cpu", checkpoint: str = "") -> Kept:
    """Open the folder of a kept model.

    Args:
        folder: of `Kept.save`.
        device: where to compute.
        checkpoint: the folder of the speech encoder, where the model was made with a local one
            that has been moved since.

    Returns:
        The model.

    Raises:
        ModelError: a file is missing, torn or foreign, or of another version.
        EncoderError: its speech encoder cannot be had.

    Example:
        model = open_model("out/models/emodb-acoustic-logistic-none-0123456789ab")
    """
    folder = pathlib.Path(folder)
    kept = _read_about(folder)
    tensors = _read_weights(folder, kept)
    try:
        front_ends = []
        for spec, place in zip(kept["front_ends"], kept["checkpoints"], strict=True):
            front_ends.append(_front_end(spec, folder, checkpoint or place))
        how = dict(kept["normalisation"])
        known = how.pop("known")
        normalisation = Normalisation(**how, known=_statistics(known, tensors))
        description = dict(kept["predictor"])
        predictor = pkgutil.resolve_name(PREDICTORS[description.pop("kind")])
        made = predictor.made(list(kept["labels"]), description, tensors)
        return Kept(made, front_ends, kept["pooled"], normalisation, kept["about"], device)
    except (ModelError, EncoderError):
        raise
    except _UNFIT as error:
        raise ModelError(
            f"{folder / ABOUT} does not describe a model of this version "
            f"({type(error).__name__}: {files.one_line(error)}): keep it again"
        ) from error


def _statistics(names: Sequence[str], tensors: dict[str, torch.Tensor]) -> dict[str, Statistics]:
    """The statistics of corpora and speakers by name; they are taken out of `tensors`."""
    if not names:
        return {}
    numbers, means, variances = (tensors.pop(f"statistics.{one}").numpy() for one in STATISTICS)
    found = {}
    for name, n, mean, variance in zip(names, numbers, means, variances, strict=True):
        found[name] = Statistics(int(n), mean, variance)
    return found


def _read_about(folder: pathlib.Path) -> dict[str, Any]:
    """The content of model.json. Raises ModelError."""
    path = folder / ABOUT
    try:
        kept = files.read_json(path)
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} holds no {ABOUT}: give the folder that the last section of notebooks 01 to "
            "05 kept"
        ) from error
    except (ValueError, OSError) as error:
        raise ModelError(
            f"{path} cannot be read ({files.one_line(error)}): keep it again"
        ) from error
    number = kept.get("format") if isinstance(kept, dict) else None
    if not isinstance(number, int):
        raise ModelError(f"{path} is of something else than a kept model: it names no format")
    if number != FORMAT:
        what = "a newer" if number > FORMAT else "an older"
        raise ModelError(
            f"{path} was kept by {what} version, colab_utils {kept.get('package')} (format "
            f"{number}; this is {__version__}, format {FORMAT}): install that one, or keep it again"
        )
    return kept


def _read_weights(folder: pathlib.Path, kept: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors. Raises ModelError where they are missing, or others than model.json names."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError(f"{folder} holds no {WEIGHTS}: copy the whole folder, or keep it again")
    if files.file_sha256(path) != kept.get("weights_sha256"):
        raise ModelError(
            f"{path} is torn, or not the one that {ABOUT} speaks of: copy the whole folder again, "
            "or keep it again"
        )
    try:
        return read_tensors(path)
    except CheckpointError as error:
        raise ModelError(str(error)) from error


def _front_end(spec: Mapping[str, Any], folder: pathlib.Path, checkpoint: str) -> FrontEnd:
    """The front end that gave the features. Raises ModelError, EncoderError."""
    settings = spec["settings"]
    local = str(settings.get("checkpoint", "")).startswith("local ")
    if local and not os.path.isdir(checkpoint):
        raise ModelError(
            f"{folder}: its speech encoder lay in {checkpoint}, where nothing is now: name its "
            "folder, open_model(..., checkpoint=...)"
        )
    try:
        made = front_end_of(spec, checkpoint if local else "")
    except SettingError as error:
        raise ModelError(
            f"{folder}: the front end {spec['name']} knows other settings in this version "
            f"({error}): keep the model again"
        ) from error
    if identity(made) != spec:
        raise ModelError(
            f"{folder}: it was trained on {spec['name']} version {spec['version']}, and here is "
            f"another one ({identity(made)['version']}, or other settings): install the "
            "colab_utils that kept it, or keep it again"
        )
    return made


def front_end_of(spec: Mapping[str, Any], checkpoint: str = "") -> FrontEnd:
    """A front end as its `identity` describes it, as far as this version knows it.

    Args:
        spec: of `front_end.identity`.
        checkpoint: a folder in place of the one that `spec` names.

    Raises:
        ValueError, SettingError: no such front end, or other settings.
    """
    settings = dict(spec["settings"])
    name = spec["name"]
    if "checkpoint" in settings:
        name = checkpoint or settings["checkpoint"]
    if checkpoint:
        settings |= {"checkpoint": checkpoint, "revision": ""}
    base = features.front_end(name)
    usual = as_dict(base)
    changed = {key: value for key, value in settings.items() if usual.get(key) != value}
    return with_settings(base, **changed)
