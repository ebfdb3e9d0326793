"""Audio to numbers, cached: `open_store` gives the features of all utterances.

A front end and what it needs (torch, WORLD, transformers) is imported when it is asked for.
"""

import os
import pathlib
import pkgutil
from collections.abc import Mapping
from typing import Any

import pandas as pd

from colab_utils import session
from colab_utils.drive.memory import Memory
from colab_utils.features.encoders.checkpoints import describe
from colab_utils.features.front_end import FrontEnd
from colab_utils.features.made_elsewhere import VectorsFile, names_in
from colab_utils.features.store.extract import extract
from colab_utils.features.store.features import Features
from colab_utils.features.store.views import Joined
from colab_utils.settings import SettingError, with_settings
from colab_utils.utterance_tables import is_table

# What "auto" means. On banglaser both together were above either (docs/recommended.md); no encoder
# has learnt the voices of the embedded corpus.
RECOMMENDED, OF_SYNTHETIC = "acoustic+moonshine", "acoustic"
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
    if is_table(name):
        raise ValueError(f"{name} is a file of vectors and no front end: nothing in it can be set")
    if "/" in name or os.path.isdir(name):
        from colab_utils.features.encoders.embeddings import SpeechEncoder

        return SpeechEncoder(checkpoint=name)
    raise ValueError(
        f"no front end is called {name!r}: choose from {', '.join(FRONT_ENDS)}, or name a speech"
        " encoder of the Hub (owner/name)"
    )


def automatic(synthetic: bool) -> str:
    """What "auto" means; synthetic: whether all is of the embedded corpus."""
    return OF_SYNTHETIC if synthetic else RECOMMENDED


def open_store(
    manifest: pd.DataFrame,
    features: str,
    root: str | os.PathLike,
    device: str = "",
    drive_folder: str | os.PathLike | None = None,
    **settings: Any,
) -> Features:
    """Features of all utterances, from the cache, from Drive or computed; prints what was done.

    Args:
        manifest: scanned utterances, such as `corpora.load_corpus(...).manifest`.
        features: "auto", the name of a front end, see `front_end`, or a file of vectors that were
            made elsewhere (`made_elsewhere`); or several with "+" between them, whose vectors then
            stand side by side, each with the same weight in all.
        root: the workspace; stores lie in `root`/features.
        device: where to compute; "": the GPU where there is one.
        drive_folder: MyDrive, of `drive.open_workspace`, or None: what is made is sent there.
        **settings: of the front end (a single one), such as layer=9.

    Returns:
        The store: `store.matrix(ids)` are vectors, `store[utt_id]` the frames of an utterance.

    Raises:
        ValueError: no such front end.
        SettingError: no such setting, or a value that cannot work.
        StoreError, DiskFullError, EncoderError: see `store.extract.extract`.
        TableError: see `made_elsewhere.VectorsFile`.

    Example:
        >>> store = features.open_store(scan.manifest, "acoustic", session.workspace())
    """
    if features == "auto":
        features = automatic(bool(manifest["corpus"].str.startswith("synthetic").all()))
        print(f"front end: {features}")
    names = names_in(features)
    file = is_table(names[0])
    if len(names) > 1 or file:
        _check_none(features, settings)
    if len(names) > 1:
        where = root, device, drive_folder
        return Joined([open_store(manifest, name, *where) for name in names])
    if file:
        store = VectorsFile(features, manifest)
    else:
        spec = with_settings(front_end(features), **settings)
        if hasattr(spec, "checkpoint"):
            print(describe(spec.checkpoint))
        store = extract(
            manifest,
            spec,
            pathlib.Path(root) / "features",
            device or session.device(),
            memory=Memory(root, drive_folder),
        )
        store.front_end = spec
    print(store.report)
    return store


def _check_none(features: str, settings: Mapping[str, Any]) -> None:
    """Raise SettingError for settings where there is no single front end."""
    if settings:
        raise SettingError(
            f"{', '.join(settings)}: {features} is no single front end, and takes no settings"
        )
