"""Few-Shot_SER as published: settings and features of its scripts, and what had to be repaired.

Source: github.com/lucashueda/Few-Shot_SER at e0a99d0 (2021), the scripts `src/bin/train_*`;
docs/methods/maml.md has a row for each, and every option that is not here.
"""

from collections.abc import Mapping
from typing import Any

from colab_utils.features import front_end
from colab_utils.settings import as_dict, with_settings

# train_maml_enes, _enit, _esit
_PAPER = {
    "normalisation": "none",
    "regime": "permuted",
    "network": "conv4",
    "norm": "paper-batch",
    "standardise": False,
    "max_frames": 200,
    "order": "first",
    "multi_step": "final",
    "steps": 5,
    "test_steps": 20,
    "inner_rate": 0.01,
    "learn_rates": False,
    "ways": 5,
    "shots": 5,
    "queries": 20,
    "meta_batch": 2,
    "meta_rate": 1e-3,
    "schedule": "constant",
    "clip": 0.0,
    "within": "all",
    "iterations": 2000,
    "validate_every": 50,
    "patience": 1000,
}
_EIGHT_STEPS = {"steps": 8, "test_steps": 8, "queries": 25}
_AGNOSTIC = {"inner_rate": 2e-4, "meta_rate": 1e-6, "iterations": 6000}
_MFCC = _PAPER | _EIGHT_STEPS | {"inner_rate": 0.05, "meta_batch": 4}
_RAMP = {"multi_step": "ramp"}
_CONTRASTIVE = {
    "contrastive": "nt-xent",
    "contrastive_weight": 1.0,
    "temperature": 0.07,
    "projection": 0,
}
_MFCC_CONTRASTIVE = _MFCC | _CONTRASTIVE | {"queries": 20, "meta_batch": 2}
_SECOND_ORDER = {
    "order": "second",
    "inner_rate": 1e-3,
    "shots": 25,
    "meta_batch": 2,
    "iterations": 6000,
}
# the LSTM has no normalisation layers; its 128 units are twice the width
_LSTM = {"network": "lstm", "norm": "group", "max_frames": 100, "iterations": 3000}

PRESETS = {
    "paper": _PAPER,
    "paper-contrastive": _PAPER | _CONTRASTIVE,
    "paper-agnostic": _PAPER | _EIGHT_STEPS | _AGNOSTIC,
    "paper-mfcc": _MFCC,
    "paper-msl": _MFCC | _RAMP,
    "paper-mfcc-contrastive": _MFCC_CONTRASTIVE,
    "paper-msl-contrastive": _MFCC_CONTRASTIVE | _RAMP,
    "paper-second-order": _MFCC | _SECOND_ORDER,
    "paper-lstm": _MFCC | _RAMP | _LSTM,
}

# The front end of each preset, and its settings that differ from the front end's defaults.
FEATURES: dict[str, tuple[str, dict[str, Any]]] = {
    "paper": ("paper-logmel", {}),
    "paper-contrastive": ("paper-logmel", {}),
    "paper-agnostic": ("paper-logmel", {}),
    "paper-mfcc": ("paper-mfcc", {}),
    "paper-msl": ("paper-mfcc", {}),
    "paper-mfcc-contrastive": ("paper-mfcc", {}),
    "paper-msl-contrastive": ("paper-mfcc", {}),
    "paper-second-order": (
        "paper-mfcc",
        {"sample_rate": 22050, "window": 1024, "hop": 256, "n_fft": 1024},
    ),
    "paper-lstm": ("paper-mfcc", {"n_mels": 20}),
}
_OWN_FEATURES = "auto", {}  # of the presets that no paper has

REPAIRS = (
    "every clip of a class can be drawn; the original drew only the first `smallest class` clips "
    "of each",
    "speakers (films on EmoFilm) never stand in support and query, nor in training and test; the "
    "original had no grouping",
    "held-out speakers or films of the training languages pick the checkpoint; the original kept "
    "the lowest training loss of one meta-batch",
    "padded frames are masked; the original filled them with -3 or -1, below anything in its "
    "log-mel and an ordinary value in its MFCC: a mark of how long a clip is",
    "of a long clip training hears random crops and the test the middle; the original heard the "
    "first 0.8 to 2.3 s",
    "the log-mel range is [-4, 4] as intended, and reaches the network as it is; a misspelt "
    "argument made it [0, 4]",
    "every weighted step of the multi-step loss has a gradient; the original computed steps 0 and "
    "1 without one, and with the contrastive term added step 1 to the weight of step 0",
    "each task counts once; the second-order script weighted task j (B - j + 1) times",
    "the contrastive term stands in the inner loss of test episodes as well; the original left it "
    "out there",
    "the inner loop of the LSTM leaves the meta-weights alone; the original's steps changed them "
    "in place, so that tasks leaked into each other",
    "hundreds of test episodes with an interval; four of the original's scripts tested in 12 or 24",
    "batch statistics of the query make a result transductive, and every result says so",
)


def features_of(preset: str, features: str = "") -> tuple[str, dict[str, Any]]:
    """The front end to take and its settings: where none is named, that of a published preset.

    Args:
        preset: of `MamlConfig`.
        features: the name of a front end; "" or "auto" for that of a published preset, and
            with any other preset for what is recommended (`features.open_store`).
    """
    name, settings = FEATURES.get(preset, _OWN_FEATURES)
    if features in ("", "auto", name):
        return name, settings
    return features, {}


def other_features(preset: str, spec: Mapping[str, Any]) -> list[str]:
    """That features are not those that a preset was published with: a sentence, or none.

    Args:
        preset: of `MamlConfig`.
        spec: of the features (`features.front_end.identity`).
    """
    if preset not in FEATURES:
        return []
    name, settings = FEATURES[preset]
    published = as_dict(with_settings(front_end(name), **settings))
    if spec["name"] == name and spec["settings"] == published:
        return []
    told = "".join(f", {key} = {value}" for key, value in settings.items())
    return [
        f"features {spec['name']} instead of those that {preset} was published with ({name}{told})"
    ]
