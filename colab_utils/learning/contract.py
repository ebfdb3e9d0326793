"""What a method says to be trained and tested: the functions that it writes, and its rows.

`study.Study` does the rest. A method is a subclass of `Study` and overrides what is here.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd

from colab_utils import settings
from colab_utils.drive.memory import Memory
from colab_utils.features.store.features import Features
from colab_utils.features.store.views import Normalised, Pooled
from colab_utils.files import AnyPath
from colab_utils.learning.kept import ModelError
from colab_utils.learning.recipe import StudySettings
from colab_utils.protocols.copies import copies_notes, no_copies, without_copies
from colab_utils.protocols.dealing import check_emotions
from colab_utils.protocols.draws import enrolment_clips, without_enrolled
from colab_utils.protocols.folds import check_disjoint, unit_keys
from colab_utils.results.predictions import predictions_table
from colab_utils.settings import Settings


@dataclasses.dataclass(frozen=True)
class Tested:
    """One method in a comparison.

    Args:
        name: what figures and tables call it; the `method` of its predictions.
        config: its settings.
        own: the user's own code, a function or a class, where it takes part. Its results are
            never taken from an earlier call: nobody can see whether a global, a helper or a base
            class has changed meanwhile.
        kind: which of a room's methods it is, where the settings do not say so.
        condition: of the tested recordings, such as "pink@10".
        test: settings of the test where they stand apart from `config` (episodes of MAML).
        mark: of one call, where there is `own`; a study sets it.
    """

    __test__: ClassVar[bool] = False  # it is no test, whatever pytest makes of its name

    name: str
    config: StudySettings
    own: Any = None
    kind: str = ""
    condition: str = ""
    test: Settings | None = None
    mark: str = dataclasses.field(default="", repr=False)

    @property
    def label(self) -> str:
        """Name and condition."""
        return f"{self.name}, {self.condition}" if self.condition else self.name

    @property
    def repeated(self) -> Settings:
        """The settings that say how often it is repeated: `seed`, `n_seeds`."""
        return self.test or self.config

    def at(self, seed: int) -> Tested:
        """The repetition whose seed this is: training and test count up together."""
        more = seed - self.repeated.seed
        config = dataclasses.replace(self.config, seed=self.config.seed + more)
        test = self.test
        if test is not None:
            test = dataclasses.replace(test, seed=test.seed + more)
        return dataclasses.replace(self, config=config, test=test)


class Training(NamedTuple):
    """What a method asks to be trained.

    Attributes:
        learner: as `training.train` wants it, with its network as `.module`.
        steps: how many.
        every: steps from one validation to the next.
        patience: validations without a better one before it stops, None for never.
    """

    learner: Any
    steps: int
    every: int
    patience: int | None = None


@dataclasses.dataclass(eq=False, repr=False)
class Contract:
    """What a method writes, with the rows of its task. Arguments as of `study.Study`.

    Attributes:
        method: the room, the folder of its runs.
        VERSION: raised when the same settings would give other predictions.
        small: whether its networks are too small for several threads.
        film_overlap: a dubbed film may stand in training and test, as some tasks were published.
        scopes: of the settings that a `kind` of method looks at; one that is not here, at all.
    """

    method = ""
    VERSION = 1
    small = False
    film_overlap = False
    scopes: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    name: str
    rows: pd.DataFrame
    split: pd.DataFrame | None
    store: Features | None
    labels: Sequence[str]
    root: AnyPath
    _: dataclasses.KW_ONLY
    protocol: str = ""
    merge: Mapping[str, str | None] | None = None
    drive_folder: AnyPath | None = None
    device: str = "cpu"
    progress: bool = True
    allow_speaker_overlap: bool = False

    def __post_init__(self):
        self.rows = self.rows.reset_index(drop=True)
        self.labels = list(self.labels)
        check_emotions(self.rows["emotion"])
        self.root = pathlib.Path(self.root)
        self.merge = dict(self.merge or {})
        self.memory = Memory(self.root, self.drive_folder)
        self._features: dict[Any, Features] = {}
        self._held: dict[Any, Any] = {}
        self._held_fold = ""
        self._evaluated: dict[pathlib.Path, Tested] = {}
        self._learners: dict[Any, Any] = {}
        self._learners_side = ""
        self._copies = no_copies()
        if self.split is not None:
            self.split, self._copies = self.without_copies(self.split)
            self.check_split(self.split)

    # --- what a method writes ---------------------------------------------------------------------

    def learner(self, tested: Tested, fold: str) -> Training | None:
        """What is to be trained for a fold with the settings in `tested`; None for nothing."""
        return None

    def predict(self, learner: Any, tested: Tested, fold: str) -> Any:
        """Predictions of the fold's tested utterances.

        Args:
            learner: the trained one, or None where nothing is trained.
            tested: the method, with the seed of this repetition.
            fold: which one.

        Returns:
            A table of results.predictions (see `predictions`), or that and {name: table} of what
            is to be kept beside it, such as {"steps": ...} for steps.csv.
        """
        raise TypeError(f"{type(self).__name__} has no predict(learner, tested, fold): write it")

    def kept(self, learner: Any, tested: Tested, fold: str) -> tuple[Any, Features]:
        """What gives the scores of `predict` without the study, for `Study.keep`.

        Args:
            learner: as of `predict`.
            tested: as of `predict`, with the first seed.
            fold: the first one.

        Returns:
            A `kept.predictor.Predictor`, or another class of `kept.model.PREDICTORS`; and the
            features that it reads, as the study has them.

        Raises:
            ModelError: this method cannot be kept.
        """
        raise ModelError(f"{tested.label} cannot be kept: it is made for this test alone")

    def by_name(self, config: Any, name: str, **values: Any) -> Tested:
        """A method by its name in tables, such as "erm", with these settings but for `values`.

        Raises SettingError for a name or a setting that there is not.
        """
        return Tested(name, settings.with_settings(config, **values))

    # --- what a method may say besides ------------------------------------------------------------

    def check(self, tested: Tested) -> None:
        """Raise SettingError for settings that this study cannot follow."""

    def training_of(self, tested: Tested) -> Tested | None:
        """Whose training this method uses, with what decides it alone; None for no training."""
        config = tested.config.only(settings.TRAINING)
        return dataclasses.replace(tested, config=config, test=None, condition="")

    def tested_settings(self, tested: Tested) -> Settings:
        """The settings that decide the result, and so name it."""
        return tested.config.only()

    def looked_at(self, tested: Tested) -> list[dataclasses.Field]:
        """The settings that this method makes use of, which settings.csv of a run lists."""
        return settings.looked_at(tested.config, *self.scopes.get(tested.kind, ()))

    def training_facts(self, tested: Tested, fold: str) -> dict[str, Any]:
        """What else than settings, features and rows decides a training, plain JSON values."""
        return {}

    def facts(self, tested: Tested) -> dict[str, Any]:
        """What else decides a result, plain JSON values."""
        return {}

    def notes(self, tested: Tested) -> list[str]:
        """What a reader of the numbers has to know, a sentence each."""
        return []

    def features_of(self, tested: Tested) -> tuple[str, dict]:
        """Key and specification of the features."""
        return self.store.key, self.store.spec

    def sides_of(self, tested: Tested) -> pd.DataFrame:
        """Who trains and who is tested with this seed: the split, or its rows of the seed."""
        if self.split["seed"].nunique() > 1:
            return self.split[self.split["seed"] == tested.repeated.seed]
        return self.split

    def split_table(self, tested: Tested) -> pd.DataFrame:
        """The split of all seeds, as split.csv keeps it."""
        parts = []
        for seed in self.seeds(tested):
            parts.append(self.sides(tested.at(seed)).assign(seed=seed, task=0))
        return pd.concat(parts, ignore_index=True)

    def check_split(self, split: pd.DataFrame) -> None:
        """Raise LeakError where a speaker or a film stands on both sides."""
        films = None
        if "film" in self.rows and not self.film_overlap:
            films = unit_keys(self.rows, "film").set_axis(self.rows["utt_id"])
        check_disjoint(split, self.allow_speaker_overlap, films)

    def copies(self, tested: Tested) -> pd.DataFrame:
        """Equal recordings on two sides of the split, COPIES_COLUMNS of `protocols.copies`."""
        sides = [self.sides(tested.at(seed)) for seed in self.seeds(tested)]
        there = pd.concat(sides)[["seed", "fold"]].drop_duplicates()
        return self._copies.merge(there)

    def run_name(self, tested: Tested) -> str:
        """What a run's folder is called, without task and features."""
        return tested.label

    def training_name(self, tested: Tested) -> str:
        """What a training's folder is called, without task, features, fold and seed."""
        return tested.kind or self.method

    def training_task(self, tested: Tested) -> str:
        """The task in that name; the training side alone where it serves several tasks."""
        return self.name

    def chance(self, tested: Tested) -> float | None:
        """The rate of guessing, where it is not one in all labels."""
        return None

    def transductive(self, tested: Tested) -> list[str]:
        """By what a prediction depends on other tested utterances, a few words each."""
        config = tested.config
        return [f"normalised by {config.normalisation}"] if config.hears_tested else []

    def single(self, tested: Tested) -> bool:
        """Whether this method computes with one thread."""
        return self.small

    # --- what it writes this with -----------------------------------------------------------------

    def let_go(self) -> None:
        """Forget features and models that are held in memory; what is on disk stays."""
        for held in (self._held, self._learners, self._features):
            held.clear()

    @property
    def folds(self) -> list[str]:
        """The folds of the split."""
        return sorted(set(self.split["fold"]))

    def folds_of(self, tested: Tested) -> list[str]:
        """The folds of one method's split."""
        return sorted(set(self.sides(tested)["fold"]))

    def seeds(self, tested: Tested) -> list[int]:
        """The seeds of all repetitions."""
        first = tested.repeated.seed
        return list(range(first, first + tested.repeated.n_seeds))

    def without_copies(self, split: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """A split without equal recordings on two sides, which is said, and the whole list."""
        split, copies = without_copies(split, self.rows)
        for note in copies_notes(copies):
            print(f"{self.name}: {note}")
        return split, copies

    def rule_of(self, tested: Tested) -> str:
        """How the query was used: inductive, or transductive and by what."""
        by = self.transductive(tested)
        return f"transductive: {', '.join(by)}" if by else "inductive"

    def sides(self, tested: Tested) -> pd.DataFrame:
        """`sides_of`, but clips of an enrolment are not tested: their role is "enrolment".

        All that know a speaker or a corpus, so that all rows of a table have the same test.
        """
        sides, number = self.sides_of(tested), tested.config.enrolment
        if not number:
            return sides
        known = [enrolment_clips(self.rows, unit, number) for unit in ("speaker", "corpus")]
        return without_enrolled(sides, set().union(*known))

    def enrolled(self, tested: Tested) -> set[str] | None:
        """The clips that features are normalised by; None: not by some alone."""
        unit, _, number = tested.config.normalising
        if unit == "none" or not number:
            return None
        return enrolment_clips(self.rows, unit, number)

    def features_for(self, tested: Tested, pooled: bool = False) -> Features:
        """The features, `normalised` as these settings want it; pooled: of frames, vectors."""
        key = pooled, tested.config.normalising
        if key not in self._features:
            found = Pooled(self.store) if pooled else self.store
            self._features[key] = self.normalised(found, tested)
        return self._features[key]

    def normalised(self, features: Features, tested: Tested) -> Features:
        """These features as the settings want them: normalised by corpus, by speaker, or not."""
        unit, prior_clips, _ = tested.config.normalising
        if unit == "none":
            return features
        return Normalised(features, self.rows, unit, prior_clips, self.enrolled(tested))

    def part(self, tested: Tested, fold: str, *roles: str) -> pd.DataFrame:
        """The rows of some roles in one fold, in their order."""
        return self.rows[self.mask(tested, fold, *roles)].reset_index(drop=True)

    def mask(self, tested: Tested, fold: str, *roles: str) -> np.ndarray:
        """Which of `rows` are in these roles of a fold, bool (rows,)."""
        sides = self._of_fold(tested, fold)
        chosen = sides.loc[sides["role"].isin(roles), "utt_id"]
        return self.rows["utt_id"].isin(chosen).to_numpy()

    def _of_fold(self, tested: Tested, fold: str) -> pd.DataFrame:
        """The split's rows of one fold."""
        sides = self.sides(tested)
        return sides[sides["fold"] == fold]

    def classes(self, rows: pd.DataFrame) -> np.ndarray:
        """The class id of each row, int64 (rows,)."""
        return pd.Index(self.labels).get_indexer(rows["emotion"])

    def held(self, fold: str, key: Any, make: Callable[[], Any]) -> Any:
        """`make()`, once for a fold: kept until another fold asks for something.

        Pictures of six folds fill 2 GB; those of one are enough.
        """
        if fold != self._held_fold:
            self._held.clear()
            self._held_fold = fold
        if key not in self._held:
            self._held[key] = make()
        return self._held[key]

    def predictions(
        self,
        tested: Tested,
        fold: str,
        rows: pd.DataFrame,
        scores: np.ndarray,
        draw: int | np.ndarray = 0,
    ) -> pd.DataFrame:
        """What `predict` returns.

        Args:
            tested: the method.
            fold: which one.
            rows: manifest rows of the tested utterances.
            scores: of each row and label, float (rows, labels); they sum to 1.
            draw: of the support set; of each row, where there are several.

        Returns:
            A table of `results.predictions`.
        """
        pred = np.array(self.labels, dtype=object)[scores.argmax(axis=1)]
        return predictions_table(
            rows,
            pred,
            self.labels,
            scores,
            method=tested.name,
            rule=self.rule_of(tested),
            seed=tested.repeated.seed,
            fold=fold,
            draw=draw,
        )
