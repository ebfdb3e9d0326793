"""Any source, target, front end and choice of emotions on request, each pair made once.

What a panel switches between, and the door of notebook 03.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from colab_utils import corpora, session
from colab_utils.corpora.emotions import merged
from colab_utils.drive.memory import Memory
from colab_utils.features import front_end, open_store
from colab_utils.features.encoders.checkpoints import describe
from colab_utils.features.encoders.embeddings import SpeechEncoder
from colab_utils.features.store.extract import extract
from colab_utils.features.store.features import Features
from colab_utils.learning.recipe import automatic_features
from colab_utils.methods.emofsl.circumplex import COORDINATES
from colab_utils.methods.emofsl.layers.study import LayersStudy
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.study import Runs, TransferStudy
from colab_utils.protocols.build import build_task
from colab_utils.protocols.draws import pair_task
from colab_utils.protocols.published import Protocol, Task, load_protocol
from colab_utils.results.runs import Run
from colab_utils.results.tables import published_table
from colab_utils.settings import SettingError, as_list, with_settings

PROTOCOL = "emofsl"


@dataclasses.dataclass(eq=False)
class Transfers:
    """Studies from one corpus (or domain) to another, in the manner of a protocol.

    A pair that the protocol has as a task is built as published, with its folds and counts; any
    other one by `draws.pair_task`.

    Args:
        protocol: of `load_protocol`.
        manifest: the corpora that there are.
        root: features, trained models and runs go there.
        features: the front end of studies that name none.
        feature_settings: settings of that front end by name.
        merge: what emotions are renamed to besides the protocol's own.
        device: where to compute.
        progress: whether bars are shown.
        check_counts: whether a count that differs from the published one is an error.

    Example:
        >>> transfers = Transfers(load_protocol("emofsl"), manifest, "out", features="acoustic")
        >>> study = transfers.study("emodb", "emovo", emotions=["anger", "sadness"])
    """

    protocol: Protocol
    manifest: pd.DataFrame
    root: str | os.PathLike
    features: str = "logmel"
    merge: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    feature_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    drive_folder: str | os.PathLike | None = None
    device: str = "cpu"
    progress: bool = True
    check_counts: bool = True

    def __post_init__(self):
        self._stores: dict[tuple[str, int], Features] = {}
        self._studies: dict[tuple, TransferStudy] = {}

    @property
    def corpora(self) -> list[str]:
        """Sources and targets that there are, in alphabetical order."""
        return sorted(set(self.manifest["corpus"]))

    @property
    def emotions(self) -> list[str]:
        """Emotions of the corpora that have a place on the circumplex, in alphabetical order."""
        found = {*self.manifest["emotion"], *merged(self.manifest, self.merge)}
        return sorted(found & set(COORDINATES))

    def task(self, source: str, target: str, emotions: Sequence[str]) -> Task:
        """The published task of these corpora and emotions, or one made in its manner.

        With a merging of one's own it is another task, on the published folds.

        Raises ProtocolError.
        """
        speakers = self.manifest.loc[self.manifest["corpus"] == target, "speaker"].nunique()
        made = pair_task(self.protocol, sources_of(source), target, max(2, min(5, speakers)))
        folds = made.folds
        for task in self.protocol.tasks.values():
            pair = task.train["corpus"] + task.test["corpus"]
            if pair == [source, target] and set(task.emotions) == set(emotions):
                if not self.merge:
                    return task
                folds = task.folds
        merge = {**made.merge, **self.merge}
        return dataclasses.replace(made, emotions=tuple(emotions), merge=merge, folds=folds)

    def study(
        self,
        source: str | Sequence[str],
        target: str,
        features: str = "",
        emotions: Sequence[str] = (),
        tune_layers: int = 0,
    ) -> TransferStudy:
        """The study of one pair; features of all corpora are extracted once for each front end.

        Args:
            source: name of the corpus (or domain) that is labelled; of several a list, or
                "emodb+savee", in any order.
            target: name of the corpus (or domain) with a few labels.
            features: name of a front end; default: `self.features`.
            emotions: the ways, two or more; a list, or "anger, sadness".
            tune_layers: of a speech encoder, to learn in the study (`EmofslConfig.tune_layers`).

        Returns:
            The study; the same one for the same arguments.

        Raises:
            SettingError: a single emotion, or layers that there are not.
            ProtocolError: what `build_task` refuses.

        Example:
            >>> transfers.study("emodb", "emovo", emotions="anger, sadness").overview()
        """
        source = "+".join(sorted(set(sources_of(source))))
        features = features or self.features
        key = source, target, features, tuple(as_list(emotions)), tune_layers
        if key not in self._studies:
            self._studies[key] = self._made(*key)
        return self._studies[key]

    def _made(
        self, source: str, target: str, features: str, emotions: tuple[str, ...], tune_layers: int
    ) -> TransferStudy:
        """A new study."""
        if len(set(emotions)) < 2:
            raise SettingError(
                f"emotions = {', '.join(emotions) or 'none'}: choose two or more to tell apart"
            )
        task = self.task(source, target, emotions)
        protocol = dataclasses.replace(self.protocol, tasks={task.name: task})
        # of several sources one may lack an emotion
        strict = self.check_counts and "+" not in source
        rows, split = build_task(protocol, task.name, self.manifest, check_counts=strict)
        kind, layers = TransferStudy, {}
        if tune_layers:
            encoder = self._encoder(features, tune_layers)
            kind, layers = LayersStudy, {"encoder": encoder, "n_layers": tune_layers}
        return kind(
            task.name,
            rows,
            split,
            self._store(features, tune_layers),
            task.emotions,
            self.root,
            features=features,
            published=published_table(self.protocol.published, task.name),
            protocol=self.protocol.name,
            merge=task.merge,
            drive_folder=self.drive_folder,
            device=self.device,
            progress=self.progress,
            **layers,
        )

    def _store(self, features: str, tune_layers: int) -> Features:
        """The features of all corpora, read or computed once; frames below layers that learn."""
        key = features, tune_layers
        if key not in self._stores:
            self._stores[key] = self._opened(*key)
        return self._stores[key]

    def _opened(self, features: str, tune_layers: int) -> Features:
        """The features of all corpora."""
        if tune_layers:
            encoder = self._encoder(features, tune_layers)
            print(describe(encoder.checkpoint))
            memory = Memory(self.root, self.drive_folder)
            folder = pathlib.Path(self.root, "features")
            below = encoder.below(tune_layers)
            store = extract(self.manifest, below, folder, device=self.device, memory=memory)
            print(store.report)
            return store
        settings = self._settings_of(features)
        where = self.root, self.device, self.drive_folder
        return open_store(self.manifest, features, *where, **settings)

    def _settings_of(self, features: str) -> Mapping[str, Any]:
        """The settings of a front end: of the notebook's own those that were given."""
        return self.feature_settings if features == self.features else {}

    def _encoder(self, features: str, tune_layers: int) -> SpeechEncoder:
        """The speech encoder of that name. Raises SettingError for another front end."""
        if "+" not in features or os.path.isdir(features):
            spec = with_settings(front_end(features), **self._settings_of(features))
            if isinstance(spec, SpeechEncoder):
                return spec
        raise SettingError(
            f"tune_layers = {tune_layers}: {features} has no transformer layers that could "
            "learn; choose a speech encoder (owner/name of the Hub, or a folder), or "
            "tune_layers = 0"
        )


def sources_of(source: str | Sequence[str]) -> list[str]:
    """The corpora of one source or of several: "emodb", "emodb+savee", "emodb, savee" or a list."""
    found = []
    for name in as_list(source):
        found += [part.strip() for part in name.split("+")]
    return found


def open_transfers(
    source: str | Sequence[str],
    target: str,
    audio: str | os.PathLike,
    workspace: pathlib.Path,
    drive_folder: pathlib.Path | None = None,
    *,
    features: str = "auto",
    feature_settings: Mapping[str, Any] | None = None,
    merge: Mapping[str, str | None] | None = None,
    fetch: bool = False,
    own: corpora.Own | None = None,
) -> Transfers:
    """The corpora of a notebook, ready for studies of any pair of them; says which front end.

    Args:
        source: name of a corpus or of its domain, such as "emodb" or "synthetic-studio"; of
            several a list, "emodb, savee" or "emodb+savee".
        target: likewise.
        audio: a folder with one sub-folder a corpus.
        workspace: of `drive.open_workspace`.
        drive_folder: of `drive.open_workspace`, where the corpora's archives are on Drive, and
            where features, trainings and runs are kept, too.
        features: a front end's name; "auto": that of the recipe (`recipe.automatic_features`).
        feature_settings: settings of the front end by name.
        merge: what emotions are renamed to.
        fetch: download a corpus whose owners allow that.
        own: the user's own corpora by name.

    Returns:
        The corpora, with `features` as front end of studies that name none.

    Raises:
        ManifestError: a corpus that cannot be read.
        SettingError: a front end or a setting of it that there is not.
        EncoderError: a speech encoder that cannot be had.

    Example:
        >>> transfers = open_transfers("emodb", "emovo", "corpora", workspace, features="acoustic")
    """
    manifest = corpora.open_corpora(
        [*sources_of(source), target], audio, workspace, drive_folder, fetch=fetch, own=own
    )
    if features in ("auto", ""):
        synthetic = manifest["corpus"].str.startswith("synthetic").all()
        features = automatic_features(bool(synthetic))
    return Transfers(
        load_protocol(PROTOCOL),
        manifest,
        workspace,
        features=features,
        feature_settings=feature_settings or {},
        merge=merge or {},
        drive_folder=drive_folder,
        device=session.device(),
        check_counts=not merge,
    )


def keep_encoder(study: TransferStudy, config: EmofslConfig, workspace: pathlib.Path) -> None:
    """Write the encoder as the source left it, where its layers learned, and say where.

    Args:
        study: a study; of one without such layers nothing is written.
        config: whose source model.
        workspace: the folder `encoders/<study>` in it is written.
    """
    if isinstance(study, LayersStudy):
        folder = study.save_encoder(config, workspace / "encoders" / study.name)
        print(f"the encoder as the source left it, in the Hub's format: {folder}")


def runs_by_name(runs: Runs) -> dict[str, Run]:
    """The runs by one text, for a download.

    Args:
        runs: of `TransferStudy.compare`.

    Returns:
        Runs by name and shots, such as "EMOFSL, 5-shot".
    """
    return {f"{name}, {shots}-shot": run for (name, shots), run in runs.items()}
