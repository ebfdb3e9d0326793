"""Audio to numbers, cached: `open_store` gives the features of all utterances.

A front end and what it needs (torch, WORLD, transformers) is imported when it is asked for.
"""

import os
import pathlib
import pkgutil
from typing import Any

import pandas as pd

from colab_utils import session
from colab_utils.drive.memory import Memory
from colab_utils.features.front_end import FrontEnd
from colab_utils.features.store.extract import extract
from colab_utils.features.store.store import FeatureStore
from colab_utils.settings import with_settings

# the module and the class of each front end
FRONT_ENDS = {
    "logmel": "acoustic.log_mel:LogMel",
    "prosody": "acoustic.prosody:Prosody",
    "acoustic": "acoustic.functionals:Functionals",
    "egemaps": "acoustic.egemaps:EGeMAPS",
    "paper-logmel": "published.maml:PaperLogMel",
    "paper-mfcc": "published.maml:PaperMfcc",
    "da-mldg": "published.da_mldg:DaMldgLogMel",
    "alexnet": "published.alexnet:AlexNetSpectrogram",
    "moonshine": "encoders.packaged:Moonshine",
    "distillmos": "encoders.packaged:DistillMos",
}


def front_end(name: str) -> FrontEnd:
    """A front end with its default settings.

    Whether a checkpoint can be had shows when features are asked for.

    Args:
        name: one of FRONT_ENDS; `owner/name` or a folder for a speech encoder of that checkpoint.

    Raises:
        ValueError: there is none of that name; the message lists those there are.

    Example:
        >>> front_end("logmel").dim
        64
        >>> front_end("facebook/wav2vec2-base")
    """
    if name in FRONT_ENDS:
        return pkgutil.resolve_name(f"{__name__}.{FRONT_ENDS[name]}")()
    if "/" in name or os.path.isdir(name):
        from colab_utils.features.encoders.embeddings import SpeechEncoder

        return SpeechEncoder(checkpoint=name)
    raise ValueError(
        f"no front end is called {name!r}: choose from {', '.join(FRONT_ENDS)}, or name a speech"
        " encoder of the Hub (owner/name)"
    )


def open_store(
    manifest: pd.DataFrame,
    features: str,
    root: str | os.PathLike,
    device: str = "",
    drive_folder: str | os.PathLike | None = None,
    **settings: Any,
) -> FeatureStore:
    """Features of all utterances, from the cache, from Drive or computed; prints what was done.

    Args:
        manifest: scanned utterances, such as `corpora.load_corpus(...).manifest`.
        features: the name of a front end, see `front_end`.
        root: the workspace; stores lie in `root`/features.
        device: where to compute; "": the GPU where there is one.
        drive_folder: MyDrive, of `drive.open_workspace`, or None: what is made is sent there.
        **settings: of the front end, such as layer=9.

    Returns:
        The store: `store.matrix(ids)` are vectors, `store[utt_id]` the frames of an utterance.

    Raises:
        ValueError: no such front end.
        SettingError: no such setting, or a value that cannot work.
        StoreError, DiskFullError, EncoderError: see `store.extract.extract`.

    Example:
        >>> store = features.open_store(scan.manifest, "acoustic", session.workspace())
    """
    spec = with_settings(front_end(features), **settings)
    store = extract(
        manifest,
        spec,
        pathlib.Path(root) / "features",
        device or session.device(),
        memory=Memory(root, drive_folder),
    )
    print(store.report)
    return store
