"""AlexNet on spectrograms as notebook 05 asks for it: networks for folds and seeds, figures, files.

They are tested on clean and on worse recordings of speakers never heard.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from colab_utils import corpora, session
from colab_utils.display import captions, style
from colab_utils.display.matrices import confusion_matrices_figure
from colab_utils.learning.own import name_of
from colab_utils.learning.study import Tested
from colab_utils.learning.training import History
from colab_utils.methods.alexnet.features_file import FeaturesFile, save_features
from colab_utils.methods.alexnet.figures import MOST, views_figure
from colab_utils.methods.alexnet.network import MODELS
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.methods.alexnet.study import SpectrogramStudy
from colab_utils.methods.alexnet.training import OwnNetwork
from colab_utils.protocols.published import load_protocol
from colab_utils.protocols.speakers import build_within
from colab_utils.results.runs import Run
from colab_utils.settings import as_list

NOTEBOOK_CONDITIONS = ("clean", "pink@20", "pink@10", "pink@0", "reverb@0.9")
LINEAR = "frozen, linear"  # its name in tables
_STABILITY = 0.5  # its weight where nobody gives one


class AlexnetStudy(SpectrogramStudy):
    """The networks of a task, trained, tested, shown and kept; see `SpectrogramStudy`.

    Example:
        study = AlexnetStudy("emodb", rows, split, None, labels, "out")
        runs = study.run(AlexnetConfig.from_preset("small"), ["clean", "pink@10"])
    """

    def overview(self) -> pd.DataFrame:
        """Who trains, validates and is tested.

        Returns:
            `utterances` (how many) and `speakers` (who) of every fold and role.
        """
        sides = self.split.groupby(["fold", "role"])
        names = sides["speaker"].agg(lambda speakers: ", ".join(sorted(set(speakers))))
        return pd.DataFrame({"utterances": sides["utt_id"].nunique(), "speakers": names})

    def of_fold(self, fold: str) -> AlexnetStudy:
        """The study of one fold alone: it is trained and tested as in the whole study.

        Its runs have names of their own; networks and features are shared.

        Args:
            fold: one of `folds`.

        Returns:
            A study whose split has this fold only.
        """
        one = copy.copy(self)
        one.split = self.split[self.split["fold"] == fold]
        one._alone = fold
        one._held, one._learners = {}, {}
        return one

    def train(
        self, config: AlexnetConfig, on_record: Callable[[list[dict]], None] | None = None
    ) -> History:
        """Train the first fold with the first seed, or load it.

        Args:
            config: the settings.
            on_record: called with all records so far now and then, such as a live curve.

        Returns:
            What happened.

        Raises:
            SettingError: for settings that cannot work.
            TrainingError: for a loss that is not finite, or too little memory.
            Interrupted: by the user; all is saved.

        Example:
            history = study.train(config, on_record=live)
        """
        return super().train(Tested(config.ser_model, config), on_record=on_record)

    def run(
        self,
        config: AlexnetConfig,
        conditions: Sequence[str] = ("clean",),
        *,
        own: OwnNetwork | None = None,
        name: str = "",
        pictures: bool = True,
    ) -> dict[str, Run]:
        """One network in every condition.

        Args:
            config: its settings.
            conditions: of the tested recordings.
            own: makes a network of one's own from the number of classes.
            name: what figures and tables call it; default: that of the network.
            pictures: draw the confusion matrix of each run, too.

        Returns:
            Finished runs by "<name>, <condition>".

        Raises:
            SettingError: for settings that cannot work.
            TrainingError: for a loss that is not finite, or too little memory.
            Interrupted: by the user; all is saved.

        Example:
            runs = study.run(config, ["clean", "pink@10"])
        """
        if not name:
            name = name_of(own) if own else config.ser_model
        return self.evaluate(_in_conditions(name, config, conditions, own), pictures)

    def compare(
        self,
        config: AlexnetConfig,
        stability: float = 0.0,
        conditions: Sequence[str] = NOTEBOOK_CONDITIONS,
    ) -> dict[str, Run]:
        """The same network without and with stability training, and the dullest: a linear one.

        That leaves the convolutions as they are (`tune`). All in every condition; from a features
        file without stability training and on clean features alone, which is said.

        Args:
            config: the settings of all.
            stability: weight of the divergence; 0: that of `config`, or 0.5 where it has none.
            conditions: of the tested recordings.

        Returns:
            Finished runs by "<name>, <condition>".

        Example:
            runs = study.compare(config, 0.5)
        """
        name = config.ser_model
        trained = dataclasses.replace(config, tune="all")
        without = dataclasses.replace(trained, stability=0.0, stability_loss="clean")
        linear = dataclasses.replace(
            without, tune="linear", ser_model="alexnet_gap", mixup=False, oversampling=False
        )
        weight = stability or config.stability or _STABILITY
        with_it = dataclasses.replace(trained, stability=weight)
        methods = {name: without, f"{name} + stability": with_it, LINEAR: linear}
        if not self.has_audio:
            self._say_no_audio("noise, in training and in tests,")
            del methods[f"{name} + stability"]
            conditions = conditions[:1]
        chosen = []
        for method, settings in methods.items():
            chosen += _in_conditions(method, settings, conditions)
        return self.evaluate(chosen, pictures=False)

    def sizes(self, config: AlexnetConfig, steps: int = 1) -> pd.DataFrame:
        """What both networks cost, from a few steps of fresh ones on the first fold.

        Args:
            config: the settings of both.
            steps: how many are timed.

        Returns:
            `parameters`, `segments` and `seconds an epoch` of each network.
        """
        rows = {}
        for name in reversed(MODELS):
            fresh = dataclasses.replace(config, ser_model=name, pretrained="scratch")
            learner = self.learner(Tested(name, fresh), self.folds[0]).learner
            learner.step(0)
            begin = time.perf_counter()
            for step in range(1, steps + 1):
                learner.step(step)
            seconds = (time.perf_counter() - begin) / steps * learner.steps_per_epoch
            rows[name] = {
                "parameters": sum(one.numel() for one in learner.module.parameters()),
                "segments": len(learner.fold.y),
                "seconds an epoch": round(seconds, 2),
            }
            self._let_go()
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")

    def views_figure(self, config: AlexnetConfig) -> style.SuiteFigure:
        """What the network of the first fold sees, and where it looks.

        Args:
            config: its settings.

        Returns:
            The first segments of test clips, of different emotions as far as there are.
        """
        tested = Tested(config.ser_model, config)
        fold = self.folds[0]
        learner = self.trained(tested, fold)[0]
        rows = self.part(tested, fold, "test")
        rows = rows.drop_duplicates("emotion").head(MOST)
        images = self.images(rows, config, learner.limits)
        return views_figure(learner, images, rows, self.labels)

    def matrices_figure(self, runs: Mapping[str, Run], more: str = "") -> style.SuiteFigure:
        """The confusion matrices of these runs, side by side.

        Args:
            runs: finished ones by name.
            more: what stands behind the corpus, above them.

        Returns:
            The figure.
        """
        shown = {captions.run(one): (run.predictions, run.metrics) for one, run in runs.items()}
        title = ", ".join(filter(None, (captions.corpora_of(self.rows), more)))
        return confusion_matrices_figure(shown, title, self.labels)

    # --- what is kept -----------------------------------------------------------------------------

    def test_files(self, config: AlexnetConfig) -> list[str]:
        """The audio files of the speakers that the first fold tests.

        Args:
            config: any settings of the study.

        Returns:
            Their paths; none, and a sentence is printed, where there is no audio.
        """
        if not self.has_audio:
            self._say_no_audio("labelling files")
            return []
        return list(self.part(Tested("", config), self.folds[0], "test")["file"])

    def export(self, config: AlexnetConfig) -> pathlib.Path:
        """Write the features of each speaker into one file, which `open_study` takes for audio.

        Args:
            config: says which feature set, and what segments are padded with.

        Returns:
            The file, below `root`/exports; `features_file` says what it holds.
        """
        path = self.root / "exports" / f"{self.name}-{config.features}.npz"
        store = self.store_of(config.features)
        return save_features(path, self.rows, store, self.labels, config)

    def _say_no_audio(self, what: str) -> None:
        """One sentence on what is left out."""
        print(f"left out: {what} needs audio, and {self.store.path} holds features alone")


def _in_conditions(
    name: str, config: AlexnetConfig, conditions: Sequence[str], own: OwnNetwork | None = None
) -> list[Tested]:
    """One network, to be tested in each of several conditions."""
    return [Tested(name, config, own, condition=condition) for condition in conditions]


def open_study(
    corpus: str,
    audio: str = "",
    root: str | os.PathLike = "out",
    drive_folder: str | os.PathLike | None = None,
    *,
    features_file: str = "",
    emotions: str | Sequence[str] = (),
    fetch: bool = False,
    own: corpora.Own | None = None,
    **arrangement: Any,
) -> AlexnetStudy:
    """The study of speakers within a corpus, for a notebook.

    Args:
        corpus: its name, or that of one of its recording domains.
        audio: its folder; empty: embedded, on Drive, or to be fetched.
        root: the workspace.
        drive_folder: MyDrive, or None.
        features_file: what `AlexnetStudy.export` wrote: takes the place of corpus and audio.
        emotions: a list, or "a,b"; empty: all that the corpus has.
        fetch: whether the corpus may be downloaded.
        own: the user's own corpora by name.
        **arrangement: of `protocols.speakers.build_within`: `task`, a published one; else `n_folds`
            of speakers by `seed`, or the speakers `test_id` and `val_id` (commas between), tested
            and validating instead of folds; `merge`, what emotions are renamed to.

    Returns:
        The study, nothing trained yet.

    Raises:
        ManifestError, ProtocolError, FoldError, LeakError: for a corpus or an arrangement that
            cannot be had.
        SettingError: for a features file that cannot be used.

    Example:
        study = alexnet.open_study("emodb", "path/to/emodb", n_folds=5)
    """
    emotions, store = as_list(emotions), None
    if features_file:
        store = FeaturesFile(features_file)
        manifest, corpus = store.rows, store.corpus
        emotions = emotions or store.labels
    else:
        folders = {corpus: audio} if audio else ""
        manifest = corpora.open_corpora([corpus], folders, root, drive_folder, fetch=fetch, own=own)
    arrangement["emotions"] = emotions
    task, rows, split = build_within(load_protocol("alexnet"), manifest, corpus, **arrangement)
    return AlexnetStudy(
        task.name,
        rows,
        split,
        store,
        task.emotions,
        root,
        protocol="alexnet",
        merge=task.merge,
        drive_folder=drive_folder,
        device=session.device(),
    )
