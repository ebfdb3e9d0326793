"""Audio to numbers, cached: `FRONT_ENDS` holds the suite's front ends with their default settings, `extract.extract` runs one."""
from __future__ import annotations

from colab_utils.features.egemaps import EGeMAPS
from colab_utils.features.few_shot_ser import PaperLogMel, PaperMfcc
from colab_utils.features.front_end import FrontEnd
from colab_utils.features.functionals import Functionals
from colab_utils.features.prosody import Prosody
from colab_utils.features.spectrograms import LogMel

FRONT_ENDS: dict[str, FrontEnd] = {spec.NAME: spec for spec in (LogMel(), Prosody(), Functionals(), EGeMAPS(), PaperLogMel(), PaperMfcc())}


def front_end(name: str) -> FrontEnd:
    """The front end of that name with its default settings. Raises ValueError, listing the names there are."""
    if name not in FRONT_ENDS:
        raise ValueError(f"no front end is called {name!r}: choose from {', '.join(FRONT_ENDS)}")
    return FRONT_ENDS[name]
