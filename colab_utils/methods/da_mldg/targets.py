"""Sources and target on request, each study made once.

Any set of corpora with one left out, a published scenario, or its stand-ins.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import pandas as pd

from colab_utils import corpora, session
from colab_utils.display import maps
from colab_utils.display.curves import live_curve
from colab_utils.display.style import SuiteFigure
from colab_utils.features import open_store
from colab_utils.features.encoders.checkpoints import describe
from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.training import History
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.methods.da_mldg.speaker_pretraining import SpeakerConfig
from colab_utils.methods.da_mldg.study import DomainStudy, algorithms_of
from colab_utils.methods.da_mldg.tables import targets_table
from colab_utils.protocols.build import build_task
from colab_utils.protocols.domains import in_domain, leave_one_out, stand_ins, with_tasks
from colab_utils.protocols.published import Protocol, ProtocolError, Task, load_protocol
from colab_utils.results.runs import Run
from colab_utils.settings import as_list

SCENARIO, WITHIN = "scenario ", "within "  # how names begin that are not the name of a target


class DomainStudies:
    """Studies over the corpora of a manifest, by the name of what is asked for.

    "<corpus>": it is tested, all others train. "scenario <name>": a task of the protocol, of which
    the real corpora or, where the manifest holds the embedded one alone, stand-ins
    (`domains.stand_ins`) are used. "within <corpus>": the in-domain reference.

    Args:
        protocol: in whose manner it is done.
        manifest: the utterances of all corpora.
        root: folder of all that is kept.
        features: a front end's name.
        names: what is asked for; default: each corpus in turn.
        emotions: default the protocol's; those of a scenario are its own.
        merge: what emotions are renamed to besides, not in a scenario.
        device: where to compute.
        progress: whether bars are shown.
        check_counts: refuse corpora that do not have as many utterances as is known.
        pretraining: of start = "speakers".

    Raises:
        ProtocolError: for a name that there is not, listing those there are; what `build_task`
            raises.
    """

    def __init__(
        self,
        protocol: Protocol,
        manifest: pd.DataFrame,
        root: str | pathlib.Path,
        features: str,
        names: Sequence[str] = (),
        *,
        emotions: Sequence[str] = (),
        merge: Mapping[str, str | None] | None = None,
        device: str = "",
        progress: bool = True,
        check_counts: bool = True,
        pretraining: SpeakerConfig | None = None,
    ):
        self.protocol, self.manifest, self.root = protocol, manifest, pathlib.Path(root)
        self.features, self.names = features, list(names)
        self.emotions, self.merge = tuple(emotions), dict(merge or {})
        self.device, self.progress = device or session.device(), progress
        self.check_counts, self.pretraining = check_counts, pretraining
        self.synthetic = is_synthetic(manifest)
        self._stores: dict[str, FeatureStore] = {}
        self._studies: dict[str, DomainStudy] = {}
        self.names = self.names or self.corpora
        for name in self.names:
            self.study(name)

    @property
    def corpora(self) -> list[str]:
        """The corpora there are, in alphabetical order."""
        return sorted(set(self.manifest["corpus"]))

    @property
    def available(self) -> list[str]:
        """What can be asked for.

        Each corpus left out, and the published scenarios whose corpora (or stand-ins) there are.
        """
        there = set(self.corpora)
        found = self.corpora if len(there) > 1 else []
        for name, task in self.protocol.tasks.items():
            if not task.within and (self.synthetic or set(task.corpora) <= there):
                found = [*found, SCENARIO + name]
        return found

    @property
    def first(self) -> DomainStudy:
        """The first target's study."""
        return self.study(self.names[0])

    def study(self, name: str) -> DomainStudy:
        """The study of that name. Raises ProtocolError."""
        if name not in self._studies:
            protocol, manifest = self._task(name)
            (task,) = protocol.tasks.values()
            rows, split = build_task(protocol, task.name, manifest, check_counts=self.check_counts)
            title = name if name.startswith(SCENARIO) else task.name
            self._studies[name] = DomainStudy(
                title,
                rows,
                split,
                self._store(manifest),
                task.emotions,
                self.root,
                target=name,
                pretraining=self.pretraining,
                protocol=protocol.name,
                merge=task.merge,
                device=self.device,
                progress=self.progress,
            )
        return self._studies[name]

    # --- sentences of the notebook ----------------------------------------------------------------

    def overview(self) -> pd.DataFrame:
        """Who trains, validates and is tested in the first study."""
        return self.first.overview()

    def train(self, config: DomainConfig, algorithm: str = "da-mldg") -> History:
        """Train one algorithm for the first target, under a curve that grows meanwhile."""
        (one,) = algorithms_of(config, [algorithm])
        live = live_curve(chance=1 / len(self.first.labels), title=self.title(algorithm))
        history = self.first.train(one, on_record=live)
        live.finish(history.records)
        return history

    def compare(
        self, config: DomainConfig, algorithms: str | Sequence[str], pictures: bool | None = None
    ) -> dict[str, dict[str, Run]]:
        """Test algorithms on every target, all with the same settings.

        Args:
            config: the settings.
            algorithms: names in ALGORITHMS, a list or "erm, mldg".
            pictures: draw the confusion matrix of each run, too; default: for a single target.

        Returns:
            {target: {algorithm: finished run}}. What a target needed is let go after it, but for
            the first one, whose embeddings a notebook looks at.
        """
        pictures = len(self.names) == 1 if pictures is None else pictures
        runs = {}
        for name in self.names:
            study = self.study(name)
            runs[name] = study.compare(config, algorithms, pictures=pictures)
            if study is not self.first:
                study.let_go()
        return runs

    def table(self, runs: Mapping[str, Mapping[str, Run]], baseline: str = "") -> pd.DataFrame:
        """`tables.targets_table`: rates, and differences to `baseline` (default: the first)."""
        return targets_table(runs, baseline)

    def embedding_maps(
        self, config: DomainConfig, algorithm: str = "da-mldg", marks: Sequence[str] = ()
    ) -> SuiteFigure:
        """What the network of the first target holds for alike, by emotion and by corpus."""
        (one,) = algorithms_of(config, [algorithm])
        found = self.first.embeddings(one)
        place = maps.embedding_map(found.vectors, found.rows, seed=config.seed)
        both = {"by emotion": place, "by corpus": place}
        return maps.embedding_maps_figure(
            both, ["emotion", "corpus"], title=self.title(algorithm), marks=marks
        )

    def title(self, algorithm: str = "da-mldg") -> str:
        """Words above a picture of the first target."""
        said = "DA-MLDG" if algorithm == "da-mldg" else algorithm
        return f"{said}, {self.first.target} left out"

    # --- inside -----------------------------------------------------------------------------------

    def _task(self, name: str) -> tuple[Protocol, pd.DataFrame]:
        """The protocol with one task, and the manifest for it."""
        if name.startswith(SCENARIO):
            return self._scenario(name.removeprefix(SCENARIO))
        corpus = name.removeprefix(WITHIN)
        if corpus not in self.corpora:
            raise ProtocolError(
                f"no corpus {corpus!r} is here: choose from {', '.join(self.available)}"
            )
        if name.startswith(WITHIN):
            return self._alone(in_domain(self.protocol, corpus))
        return self._alone(leave_one_out(self.protocol, self.corpora)[corpus])

    def _alone(self, task: Task) -> tuple[Protocol, pd.DataFrame]:
        """The protocol with this task, in the emotions that are wanted, and all corpora."""
        merge = dict(task.merge) | self.merge
        task = dataclasses.replace(task, emotions=self.emotions or task.emotions, merge=merge)
        return with_tasks(self.protocol, [task]), self.manifest

    def _scenario(self, wanted: str) -> tuple[Protocol, pd.DataFrame]:
        """A task of the protocol, and the manifest for it."""
        if self.synthetic:
            return stand_ins(self.protocol, wanted, self.manifest)
        if wanted not in self.protocol.tasks:
            raise ProtocolError(
                f"{self.protocol.name} has no task {wanted!r}; it has "
                f"{', '.join(self.protocol.tasks)}"
            )
        return with_tasks(self.protocol, [self.protocol.tasks[wanted]]), self.manifest

    def _store(self, manifest: pd.DataFrame) -> FeatureStore:
        """Features of all utterances; stand-ins have their own, since their names differ."""
        key = "".join(sorted(set(manifest["corpus"])))
        if key not in self._stores:
            self._stores[key] = open_store(manifest, self.features, self.root, self.device)
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
    emotions: str | Sequence[str] = (),
    merge: Mapping[str, str | None] | None = None,
) -> DomainStudies:
    """Open corpora, extract features and say which corpora are left out in turn.

    Args:
        names: corpora (or domains of one), a list or "emodb, emovo".
        config: the settings; the network decides what features "auto" are.
        root: the workspace.
        tasks: corpora to leave out in turn (none: every one), or "scenario <name>".
        features: a front end's name, or "auto".
        audio: the folder with one sub-folder per corpus.
        drive_folder: MyDrive, or None.
        fetch: whether corpora may be downloaded.
        emotions: default the protocol's.
        merge: what emotions are renamed to.

    Raises:
        ManifestError, ProtocolError: corpora and tasks that there are not.
    """
    manifest = corpora.open_corpora(as_list(names), audio, root, drive_folder, fetch=fetch)
    if features == "auto":
        features = automatic_features(config, is_synthetic(manifest))
    print(describe(features) if "/" in features else f"front end: {features}")
    studies = DomainStudies(
        load_protocol("da_mldg"),
        manifest,
        root,
        features,
        as_list(tasks),
        emotions=as_list(emotions),
        merge=merge,
        check_counts=False,
    )
    print(f"left out of the training, one after the other, and tested: {', '.join(studies.names)}")
    return studies


def automatic_features(config: DomainConfig, synthetic: bool) -> str:
    """What FEATURES = "auto" means: frames for resnet18, else one vector an utterance."""
    if config.network == "resnet18":
        return "da-mldg"
    return "acoustic" if synthetic else "facebook/wav2vec2-base"


def is_synthetic(manifest: pd.DataFrame) -> bool:
    """Whether these are domains of the embedded corpus and nothing else."""
    return bool(manifest["corpus"].str.startswith("synthetic").all())
