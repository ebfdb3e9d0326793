"""Audio to numbers, cached: `FRONT_ENDS` holds the suite's front ends with their default settings, `extract.extract` runs one."""
from __future__ import annotations

import os

from colab_utils.features.acoustic.egemaps import EGeMAPS
from colab_utils.features.acoustic.functionals import Functionals
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.acoustic.prosody import Prosody
from colab_utils.features.encoders.embeddings import SpeechEncoder
from colab_utils.features.encoders.packaged import DistillMos, Moonshine
from colab_utils.features.front_end import FrontEnd
from colab_utils.features.published.alexnet import AlexNetSpectrogram
from colab_utils.features.published.da_mldg import DaMldgLogMel
from colab_utils.features.published.few_shot_ser import PaperLogMel, PaperMfcc

FRONT_ENDS: dict[str, FrontEnd] = {spec.NAME: spec for spec in (
    LogMel(), Prosody(), Functionals(), EGeMAPS(), PaperLogMel(), PaperMfcc(), DaMldgLogMel(), AlexNetSpectrogram(), Moonshine(), DistillMos())}


def front_end(name: str) -> FrontEnd:
    """The front end of that name with its default settings; for `owner/name` or a folder, a speech encoder with that checkpoint.

    Raises ValueError, listing the names there are. Whether a checkpoint can be had shows when features are asked for.
    """
    if name in FRONT_ENDS:
        return FRONT_ENDS[name]
    if "/" in name or os.path.isdir(name):
        return SpeechEncoder(checkpoint=name)
    raise ValueError(f"no front end is called {name!r}: choose from {', '.join(FRONT_ENDS)}, or name a speech encoder of the Hub (owner/name)")
