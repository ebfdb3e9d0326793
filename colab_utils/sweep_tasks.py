"""The studies of a sweep: a task in words, opened as the notebook of its methods opens it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from colab_utils import corpora, features
from colab_utils.learning.recipe import StudySettings
from colab_utils.learning.study import Study
from colab_utils.methods import alexnet, baselines, da_mldg, emofsl, maml
from colab_utils.settings import SettingError, as_list

CONFIGS: Mapping[str, type[StudySettings]] = {
    "baselines": baselines.BaselineConfig,
    "maml": maml.MamlConfig,
    "emofsl": emofsl.EmofslConfig,
    "da_mldg": da_mldg.DomainConfig,
    "alexnet": alexnet.AlexnetConfig,
}
_EMOTIONS = ("anger", "happiness", "neutral", "sadness")  # of notebook 03
_FOLDS = 5  # of AlexNet, as notebook 05 has them for real corpora


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the data of all tasks of a sweep are, and where all that is made is kept.

    Attributes:
        root: the workspace.
        drive_folder: MyDrive, or None.
        audio: a folder with one sub-folder for each corpus.
        features: a front end; "auto": that of the methods' notebook.
        emotions: which; none: those of the methods' notebook.
        merge: what emotions are renamed to.
        fetch: whether corpora may be downloaded.
        own: the user's own corpora by name.
    """

    root: pathlib.Path
    drive_folder: pathlib.Path | None = None
    audio: str = ""
    features: str = "auto"
    emotions: Sequence[str] = ()
    merge: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    fetch: bool = False
    own: corpora.Own | None = None

    @property
    def corpora(self) -> dict[str, Any]:
        """What every door takes by these names."""
        return {"fetch": self.fetch, "own": self.own}


def config_of(
    methods_of: str, preset: str = "default", settings: Mapping[str, Any] | None = None, **more: Any
) -> StudySettings:
    """The settings of a room as its parameter cell gives them (`Settings.from_form`).

    Args:
        methods_of: of CONFIGS.
        preset: where they start.
        settings: any by name.
        **more: likewise, such as seed.

    Returns:
        An object of the room's settings.

    Raises:
        SettingError: no such room, preset or setting, or a value that cannot work.
    """
    if methods_of not in CONFIGS:
        raise SettingError(f"no methods {methods_of!r}: choose from {', '.join(CONFIGS)}")
    return CONFIGS[methods_of].from_form(preset, settings, **more)


def open_tasks(
    methods_of: str, tasks: Sequence[str] | str, config: StudySettings, place: Place
) -> dict[str, Study]:
    """A study for each task, its features extracted.

    Args:
        methods_of: whose methods, of CONFIGS.
        tasks: what is learnt from and what is tested, "emodb+savee -> emovo"; of baselines and
            alexnet, which learn from other speakers of the same corpora, "emodb".
        config: of `config_of`.
        place: where all is.

    Returns:
        {task: its study}.

    Raises:
        SettingError: a task that is not written so.
        ManifestError, ProtocolError, LeakError: what the study's own door refuses.

    Example:
        >>> studies = open_tasks("da_mldg", ["emodb+savee -> emovo"], config, Place(workspace))
    """
    found = {}
    for task in as_list(tasks):
        sources, target = sides(task, methods_of)
        found[task] = _DOORS[methods_of](sources, target, config, place)
    return found


def sides(task: str, methods_of: str) -> tuple[list[str], str]:
    """The corpora that are learnt from, and the one that is tested ("": the same).

    Args:
        task: in words.
        methods_of: of CONFIGS.

    Returns:
        Both.

    Raises:
        SettingError: there is a side too many or too few.
    """
    source, arrow, target = (part.strip() for part in task.partition("->"))
    sources = [name.strip() for name in source.split("+") if name.strip()]
    within = methods_of in ("baselines", "alexnet")
    if not sources or within == bool(arrow) or within == bool(target):
        form = '"emodb"' if within else '"emodb+savee -> emovo"'
        raise SettingError(f"task {task!r}: with {methods_of} a task is written like {form}")
    return sources, target


def _baselines(sources: list[str], _: str, config: StudySettings, place: Place) -> Study:
    """As notebook 01."""
    root, drive = place.root, place.drive_folder
    where = place.audio, root, drive
    everything = corpora.open_corpora(sources, *where, alone=True, **place.corpora)
    wanted = place.emotions or "all"
    rows, emotions = corpora.choose_utterances(everything, wanted, place.merge)
    store = features.open_store(rows, place.features, root, drive_folder=drive)
    kept = {"merge": place.merge, "drive_folder": drive}
    return baselines.BaselineStudy(rows, store, emotions, root, **kept)


def _maml(sources: list[str], target: str, config: StudySettings, place: Place) -> Study:
    """As notebook 02, with the emotions that all corpora have."""
    if place.emotions or place.merge:
        raise SettingError("maml takes the emotions that all corpora have: leave them empty")
    named = "" if place.features == "auto" else place.features
    sides_of_task = {"train": sources, "test": [target]}
    return maml.open_study(
        "open_languages",
        "",
        place.audio,
        named,
        place.root,
        place.drive_folder,
        preset=config.preset,
        **sides_of_task,
        **place.corpora,
    )


def _emofsl(sources: list[str], target: str, config: StudySettings, place: Place) -> Study:
    """As notebook 03."""
    transfers = emofsl.open_transfers(
        sources,
        target,
        place.audio,
        place.root,
        place.drive_folder,
        features=place.features,
        merge=place.merge,
        **place.corpora,
    )
    emotions = place.emotions or _EMOTIONS
    return transfers.study(sources, target, emotions=emotions)


def _da_mldg(sources: list[str], target: str, config: StudySettings, place: Place) -> Study:
    """As notebook 04, with one corpus left out."""
    studies = da_mldg.open_studies(
        [*sources, target],
        config,
        place.root,
        tasks=[target],
        features=place.features,
        audio=place.audio,
        drive_folder=place.drive_folder,
        emotions=place.emotions,
        merge=place.merge,
        **place.corpora,
    )
    return studies.first


def _alexnet(sources: list[str], _: str, config: StudySettings, place: Place) -> Study:
    """As notebook 05, in five folds of speakers."""
    (corpus,) = sources
    folder = os.path.join(place.audio, corpus) if place.audio else ""
    how = {"emotions": place.emotions, "n_folds": _FOLDS}
    return alexnet.open_study(
        corpus, folder, place.root, place.drive_folder, **how, **place.corpora
    )


_DOORS: Mapping[str, Callable[[list[str], str, StudySettings, Place], Study]] = {
    "baselines": _baselines,
    "maml": _maml,
    "emofsl": _emofsl,
    "da_mldg": _da_mldg,
    "alexnet": _alexnet,
}
