"""What we recommend, in numbers, and the settings of it that every study has.

Chosen on BanglaSER as target alone (docs/recommended.md, tools/recipe_search.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

from colab_utils import features
from colab_utils.features.store.views import NORMALISATIONS
from colab_utils.settings import INPUT, Settings, setting

FEATURES, automatic_features = features.RECOMMENDED, features.automatic
NORMALISATION = "speaker"
PRIOR_CLIPS = 10.0
# of the penalty of linear heads
SOURCE_STRENGTH = 0.05  # of the source alone
PRIOR_STRENGTH = 0.001  # of the source, as prior of the support's
SUPPORT_PRECISION = 0.08  # of the support, over the number of its utterances
SOURCE_TEMPERATURE = 0.2  # of the source alone beside a support's head
SHIFT = 1.5  # of a temperature of left-out speakers: another corpus is further than they are
SURER = 0.15  # logits by n ** SURER with n corpora in the source: several carry over better
SUPPORT_MASS = 0.5  # of the support beside the source in one regression
RECOMMENDED = "recommended"  # what tables call the whole
Config = TypeVar("Config", bound="StudySettings")


def normalisation(default: str) -> Any:
    """The setting that says by what features are normalised, with the default of a method."""
    return setting(
        default,
        "features less the mean of their corpus or speaker, over the deviation of the corpus; no "
        "label is read, the source goes the same way as the target; none: as they come",
        options=NORMALISATIONS,
        scope=INPUT,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudySettings(Settings):
    """Settings of every study: how features are normalised before anything is learnt."""

    normalisation: str = normalisation(NORMALISATION)
    prior_clips: float = setting(
        PRIOR_CLIPS,
        "clips of a speaker that the mean of the corpus is worth: who has few is taken for the "
        "most part as all are (by speaker)",
        low=0.0,
        high=1000.0,
        step=5.0,
        more=True,
        scope=INPUT,
        used={"normalisation": ("speaker",)},
    )
    enrolment: int = setting(
        0,
        "clips of each speaker or corpus that statistics are made of, and that are not tested "
        "then; 0: all, tested ones too (transductive)",
        low=0,
        high=200,
        step=5,
        more=True,
        scope=INPUT,
    )

    def recommended(self: Config) -> Config:
        """The same with features normalised as we recommend."""
        how = {"normalisation": NORMALISATION, "prior_clips": PRIOR_CLIPS}
        return dataclasses.replace(self, **how)

    @property
    def normalising(self) -> tuple[str, float, int]:
        """What decides how features are normalised, where they are."""
        if self.normalisation == "none":
            return "none", 0.0, self.enrolment
        prior = self.prior_clips if self.normalisation == "speaker" else 0.0
        return self.normalisation, prior, self.enrolment

    @property
    def hears_tested(self) -> bool:
        """Whether tested clips are in the statistics: transductive."""
        return self.normalisation != "none" and not self.enrolment

    @property
    def normalised_by(self) -> str:
        """How features are normalised, a sentence for a reader; "" where they are not."""
        if self.normalisation == "none":
            return ""
        unit = self.normalisation
        shrunk = ""
        if unit == "speaker" and self.prior_clips:
            shrunk = f", the corpus counting as {self.prior_clips:g} more"
        if self.hears_tested:
            return (
                f"transductive: features are normalised by the unlabelled clips of each {unit}, "
                f"tested ones included{shrunk}"
            )
        return (
            f"features are normalised by {self.enrolment} clips of each {unit} that are not "
            f"tested, at most half of them{shrunk}"
        )


def features_note(name: str, corpora: Iterable[str]) -> list[str]:
    """What has to be said of the row `recommended` on other features than we recommend.

    Args:
        name: of the front end.
        corpora: of all utterances.

    Returns:
        A sentence, or none.
    """
    meant = automatic_features(all(one.startswith("synthetic") for one in corpora))
    if name == meant:
        return []
    return [f"{RECOMMENDED} is on {meant}; these are {name}"]
