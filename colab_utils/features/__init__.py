"""Audio to numbers, cached: `FRONT_ENDS` holds the suite's front ends with their default settings,
`extract.extract` runs one.
"""

from __future__ import annotations

import os
import pathlib
from typing import Any

import pandas as pd

from colab_utils import session
from colab_utils.features.acoustic.egemaps import EGeMAPS
from colab_utils.features.acoustic.functionals import Functionals
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.acoustic.prosody import Prosody
from colab_utils.features.encoders.embeddings import SpeechEncoder
from colab_utils.features.encoders.packaged import DistillMos, Moonshine
from colab_utils.features.front_end import FrontEnd
from colab_utils.features.published.alexnet import AlexNetSpectrogram
from colab_utils.features.published.da_mldg import DaMldgLogMel
from colab_utils.features.published.maml import PaperLogMel, PaperMfcc
from colab_utils.features.store.extract import extract
from colab_utils.features.store.store import FeatureStore
from colab_utils.settings import with_settings

FRONT_ENDS: dict[str, FrontEnd] = {
    spec.NAME: spec
    for spec in (
        LogMel(),
        Prosody(),
        Functionals(),
        EGeMAPS(),
        PaperLogMel(),
        PaperMfcc(),
        DaMldgLogMel(),
        AlexNetSpectrogram(),
        Moonshine(),
        DistillMos(),
    )
}


def front_end(name: str) -> FrontEnd:
    """The front end of that name with its default settings; for `owner/name` or a folder, a speech
    encoder with that checkpoint.

    Raises ValueError, listing the names there are. Whether a checkpoint can be had shows when
    features are asked for.
    """
    if name in FRONT_ENDS:
        return FRONT_ENDS[name]
    if "/" in name or os.path.isdir(name):
        return SpeechEncoder(checkpoint=name)
    raise ValueError(
        f"no front end is called {name!r}: choose from {', '.join(FRONT_ENDS)}, or name a speech"
        " encoder of the Hub (owner/name)"
    )


def open_store(
    manifest: pd.DataFrame,
    features: str | FrontEnd,
    root: str | os.PathLike,
    device: str = "",
    **settings: Any,
) -> FeatureStore:
    """Features of all utterances, from the cache or computed now; prints what was done.

    Args:
        manifest: a scanned manifest.
        features: a front end, or its name (see `front_end`).
        root: the workspace; stores lie in `root`/features.
        device: where to compute; default: the GPU where there is one.
        **settings: of the front end, such as layer=9.

    Raises what `front_end` and `extract` raise, SettingError for a setting that there is not.
    """
    spec = front_end(features) if isinstance(features, str) else features
    spec = with_settings(spec, **settings)
    store = extract(manifest, spec, pathlib.Path(root) / "features", device or session.device())
    print(store.report)
    return store
