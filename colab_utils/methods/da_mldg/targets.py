"""Sources and target on request, each study made once.

Any set of corpora with one left out, a published scenario, or its stand-ins.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from colab_utils import corpora, session
from colab_utils.display import captions, maps
from colab_utils.display.curves import live_curve
from colab_utils.display.style import SuiteFigure
from colab_utils.features import open_store
from colab_utils.features.store.features import Features
from colab_utils.learning import recipe
from colab_utils.learning.training import History
from colab_utils.methods.da_mldg.settings import HEADS, NAMES, TRAINED, DomainConfig
from colab_utils.methods.da_mldg.study import DomainStudy, algorithms_of
from colab_utils.protocols.build import build_task
from colab_utils.protocols.domains import in_domain, leave_one_out, stand_ins, with_tasks
from colab_utils.protocols.published import Protocol, ProtocolError, load_protocol
from colab_utils.results.runs import Run
from colab_utils.settings import SettingError, as_list

SCENARIO, WITHIN = "scenario ", "within "  # how names begin that are not the name of a target


class DomainStudies:
    """Studies over the corpora of a manifest, by the name of what is asked for.

    "<corpus>": it is tested, all others train. "scenario <name>": a task of the DA-MLDG paper, of
    which the real corpora or, where the manifest holds the embedded one alone, stand-ins
    (`domains.stand_ins`) are used. "within <corpus>": the in-domain reference.

    Args:
        manifest: the utterances of all corpora.
        root: folder of all that is kept.
        features: a front end's name.
        names: what is asked for; default: each corpus in turn.
        emotions: default the protocol's.
        merge: what emotions are renamed to besides.
        drive_folder: MyDrive, or None.
        device: where to compute; default: the GPU where there is one.
        **others: of `DomainStudy`, such as progress.

    Raises:
        ProtocolError: for a name that there is not, listing those there are; for other emotions in
            a published scenario; what `build_task` raises.
    """

    def __init__(
        self,
        manifest: pd.DataFrame,
        root: str | pathlib.Path,
        features: str,
        names: Sequence[str] = (),
        *,
        emotions: Sequence[str] = (),
        merge: Mapping[str, str | None] | None = None,
        drive_folder: str | pathlib.Path | None = None,
        device: str = "",
        **others: Any,
    ):
        self.protocol = load_protocol("da_mldg")
        self.manifest, self.root, self.features = manifest, pathlib.Path(root), features
        self.emotions, self.merge = tuple(emotions), dict(merge or {})
        self.drive_folder = drive_folder
        self.device, self.others = device or session.device(), others
        self.synthetic = is_synthetic(manifest)
        self.corpora = sorted(set(manifest["corpus"]))
        self._stores: dict[str, Features] = {}
        self._studies: dict[str, DomainStudy] = {}
        self.names = list(names) or self.corpora
        for name in self.names:
            self.study(name)

    @property
    def available(self) -> list[str]:
        """What can be asked for.

        Each corpus left out, and the published scenarios whose corpora (or stand-ins) there are.
        """
        found = list(self.corpora) if len(self.corpora) > 1 else []
        for name, task in self.protocol.tasks.items():
            there = self.synthetic or set(task.corpora) <= set(self.corpora)
            if there and not task.within:
                found.append(SCENARIO + name)
        return found

    @property
    def first(self) -> DomainStudy:
        """The first target's study."""
        return self.study(self.names[0])

    def study(self, name: str) -> DomainStudy:
        """The study of that name.

        Raises:
            ProtocolError: there is none.
        """
        if name not in self._studies:
            protocol, task_name, manifest = self._task(name)
            rows, split = build_task(protocol, task_name, manifest, check_counts=False)
            task = protocol.tasks[task_name]
            self._studies[name] = DomainStudy(
                name if name.startswith(SCENARIO) else task_name,
                rows,
                split,
                self._store(manifest),
                task.emotions,
                self.root,
                protocol=protocol.name,
                merge=task.merge,
                drive_folder=self.drive_folder,
                device=self.device,
                **self.others,
            )
        return self._studies[name]

    # --- sentences of the notebook ----------------------------------------------------------------

    def train(self, config: DomainConfig, algorithm: str) -> History:
        """Train one algorithm for the first target, under a curve that grows meanwhile.

        Args:
            config: the settings.
            algorithm: its name.

        Returns:
            What happened, step by step.

        Raises:
            SettingError: an algorithm or setting that there is not, that cannot work here, or that
                is fitted at once.
            TrainingError: a loss that is not finite.
            Interrupted: stopped by the user; run it again and it goes on.
        """
        if algorithm in HEADS:
            raise SettingError(
                f"{algorithm} is a linear head, fitted at once: there are no steps to watch; train "
                f"one of {', '.join(TRAINED)}"
            )
        (one,) = algorithms_of(config, [algorithm])
        live = live_curve(1 / len(self.first.labels), self.title(algorithm), self.first.rows)
        history = self.first.train(one, on_record=live)
        live.finish(history.records)
        return history

    def compare(
        self, config: DomainConfig, algorithms: str | Sequence[str]
    ) -> dict[str, dict[str, Run]]:
        """Test algorithms on every target, all with the same settings.

        A single target's confusion matrices are drawn, too. What a target needed is let go after
        it, but for the first one, whose embeddings a notebook looks at.

        Args:
            config: the settings.
            algorithms: their names, a list or "recommended, erm, mldg".

        Returns:
            {target: {algorithm: finished run}}.

        Raises:
            SettingError, TrainingError, Interrupted: as `train`.

        Example:
            >>> runs = studies.compare(config, ["erm", "da-mldg"])
        """
        runs = {}
        for name in self.names:
            study = self.study(name)
            runs[name] = study.compare(config, algorithms, pictures=len(self.names) == 1)
            if study is not self.first:
                study.let_go()
        return runs

    def embedding_maps(
        self, config: DomainConfig, algorithm: str, marks: Sequence[str] = ()
    ) -> SuiteFigure:
        """What the network of the first target holds for alike, by emotion and by corpus.

        Of a linear head: the features as it takes them.

        Args:
            config: the settings.
            algorithm: its name.
            marks: stamps of the runs.
        """
        (one,) = algorithms_of(config, [algorithm])
        place = maps.embedding_map(*self.first.embeddings(one), seed=config.seed)
        both = {"by emotion": place, "by corpus": place}
        return maps.embedding_maps_figure(
            both, ["emotion", "corpus"], title=self.title(algorithm), marks=marks
        )

    def title(self, algorithm: str) -> str:
        """Words above a picture of the first target."""
        said = NAMES.get(algorithm, algorithm)
        return (
            f"{said}, {captions.corpus(self.names[0])} left out, {captions.corpora(self.features)}"
        )

    # --- inside -----------------------------------------------------------------------------------

    def _task(self, name: str) -> tuple[Protocol, str, pd.DataFrame]:
        """The protocol with a task, the task's name, and the manifest for it."""
        wanted = name.removeprefix(SCENARIO)
        if name != wanted:
            self._check_published(wanted)
        if name != wanted and self.synthetic:
            protocol, manifest = stand_ins(self.protocol, wanted, self.manifest)
            return protocol, wanted, manifest
        if name != wanted:
            return self.protocol, wanted, self.manifest
        corpus = name.removeprefix(WITHIN)
        if corpus not in self.corpora:
            raise ProtocolError(
                f"no corpus {corpus!r} is here: choose from {', '.join(self.available)}"
            )
        if corpus != name:
            task = in_domain(self.protocol, corpus)
        else:
            task = leave_one_out(self.protocol, self.corpora)[corpus]
        emotions = self.emotions or task.emotions
        task = dataclasses.replace(task, emotions=emotions, merge=dict(task.merge) | self.merge)
        return with_tasks(self.protocol, [task]), task.name, self.manifest

    def _check_published(self, name: str) -> None:
        """Raise ProtocolError where a scenario is wanted with other emotions than its own."""
        task = self.protocol.tasks.get(name)
        if task is None:  # whoever builds it says which there are
            return
        merge, target = dict(task.merge), ", ".join(task.test["corpus"])
        asked = set(self.emotions or task.emotions)
        if asked == set(task.emotions) and merge | self.merge == merge:
            return
        raise ProtocolError(
            f"scenario {name} is published with {', '.join(task.emotions)} and MERGE = {merge}: "
            f"leave EMOTIONS and MERGE empty, or leave out {target} by its own name, with the "
            f"corpora {', '.join(task.corpora)}"
        )

    def _store(self, manifest: pd.DataFrame) -> Features:
        """Features of all utterances; stand-ins have their own, since their names differ."""
        key = "".join(sorted(set(manifest["corpus"])))
        if key not in self._stores:
            self._stores[key] = open_store(
                manifest, self.features, self.root, self.device, self.drive_folder
            )
        return self._stores[key]


def open_studies(
    names: str | Sequence[str],
    config: DomainConfig,
    root: str | pathlib.Path,
    *,
    tasks: str | Sequence[str] = (),
    features: str = "auto",
    audio: str = "",
    drive_folder: pathlib.Path | None = None,
    fetch: bool = False,
    own: corpora.Own | None = None,
    emotions: str | Sequence[str] = (),
    merge: Mapping[str, str | None] | None = None,
) -> DomainStudies:
    """Open corpora, extract features and say which corpora are left out in turn.

    Args:
        names: corpora (or domains of one), a list or "emodb, emovo".
        config: the settings; the network decides what features "auto" are.
        root: the workspace.
        tasks: corpora to leave out in turn (none: every one), or "scenario <name>".
        features: a front end's name, or "auto" (`automatic_features`).
        audio: the folder with one sub-folder per corpus.
        drive_folder: MyDrive, or None.
        fetch: whether corpora may be downloaded.
        own: the user's own corpora by name.
        emotions: default the protocol's; a published scenario has its own.
        merge: what emotions are renamed to, likewise.

    Returns:
        The studies, with a name for each.

    Raises:
        ManifestError: a corpus that there is not.
        ProtocolError: a task that there is not, or other emotions in a published scenario.

    Example:
        >>> corpora = ["emodb", "emovo", "savee"]
        >>> studies = da_mldg.open_studies(corpora, config, "out", audio="path/to/corpora")
    """
    where = as_list(names), audio, root, drive_folder
    manifest = corpora.open_corpora(*where, fetch=fetch, own=own, alone=True)
    if features == "auto":
        features = automatic_features(config, is_synthetic(manifest))
    print(f"front end: {features}")
    studies = DomainStudies(
        manifest,
        root,
        features,
        as_list(tasks),
        emotions=as_list(emotions),
        merge=merge,
        drive_folder=drive_folder,
    )
    print(f"left out of the training, one after the other, and tested: {', '.join(studies.names)}")
    return studies


def automatic_features(config: DomainConfig, synthetic: bool) -> str:
    """What FEATURES = "auto" means: frames for resnet18, else what we recommend."""
    if config.network == "resnet18":
        return "da-mldg"
    return recipe.automatic_features(synthetic)


def is_synthetic(manifest: pd.DataFrame) -> bool:
    """Whether these are domains of the embedded corpus and nothing else."""
    return bool(manifest["corpus"].str.startswith("synthetic").all())
