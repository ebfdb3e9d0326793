"""Notebook 07: what a kept model says of one's own voice, and what a few labelled clips change."""

from __future__ import annotations

import functools
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from colab_utils import corpora, drive, progress, session
from colab_utils.corpora.audio import load_audio
from colab_utils.corpora.own.unlabelled import Recording
from colab_utils.csv_files import write_csv
from colab_utils.display import captions, style
from colab_utils.display.hear import clip_html
from colab_utils.display.matrices import confusion_matrices_figure
from colab_utils.display.sound.change import change_figure
from colab_utils.display.sound.utterance import RATE, recording_figure
from colab_utils.features import open_store
from colab_utils.label import Labelled, label
from colab_utils.learning import kept
from colab_utils.learning.hearing import Hearing
from colab_utils.learning.training import single_thread
from colab_utils.methods.baselines import BaselineConfig, BaselineStudy
from colab_utils.panel.record import ENROLMENT, OwnRecordings, judged
from colab_utils.results.metrics import summarise
from colab_utils.results.predictions import predictions_table

EMBEDDED = "synthetic-studio"  # what a model is made of where none is kept
# Whose voice stands in for the reader's: of another domain, which that model has not heard.
_EXAMPLE = "synthetic-phone"
_SENTENCES, _EACH = 5, 3  # neutral sentences, and clips of each emotion, of the example
SHOWN = 12  # pictures at most
ENOUGH = 10  # labelled clips from which on a confusion matrix is drawn
ME = "me"
_WHOLE = math.inf  # seconds of a window: each recording is one
BEFORE, AFTER = "as kept", "adapted to other clips"


def open_model(
    name: str, workspace: pathlib.Path, drive_folder: pathlib.Path | None = None
) -> kept.Kept:
    """A kept model by name or folder; without one a small model of the embedded corpus.

    Prints what it is, and which others there are.

    Args:
        name: of a folder in `workspace`/models or MyDrive/ser_results/models, or its path; "": a
            logistic regression on the embedded corpus, made here.
        workspace: of `drive.open_workspace`.
        drive_folder: MyDrive, or None.

    Returns:
        The model.

    Raises:
        ModelError: there is none of this name (those that there are are named), or it cannot be
            opened.

    Example:
        >>> model = open_model("emodb-acoustic-logistic-speaker-0123456789ab", workspace)
    """
    places = {path.parent.name: path.parent for path in _kept_in(workspace, drive_folder)}
    if places:
        print("kept models (MODEL):", ", ".join(places))
    if name:
        folder = places.get(name, pathlib.Path(name).expanduser())
        if not folder.is_dir():
            raise kept.ModelError(
                f"MODEL = {name!r}: there is no such model; there are "
                f"{', '.join(places) or 'none'}: run notebook 01 to 05 to its end, which keeps one"
            )
    else:
        folder = _small_model(workspace)
    model = kept.open_model(folder, session.device())
    trained_on = pd.DataFrame({"corpus": [one["corpus"] for one in model.about["trained_on"]]})
    if trained_on["corpus"].str.startswith("synthetic").all():
        print(
            "THIS MODEL KNOWS SYNTHETIC VOICES ALONE: what it says of a person means nothing. Run "
            "notebook 01 or 03 on real speech to its end, and give MODEL the name that it kept."
        )
    print(f"{folder.name}: {', '.join(model.labels)}; {_tested(model.about, trained_on)}")
    return model


def _tested(about: Mapping[str, Any], trained_on: pd.DataFrame) -> str:
    """On what a model was trained, and how it did."""
    metrics = about["metrics"]
    told = f"trained on {captions.corpora_of(trained_on)}; UAR {captions.per_cent(metrics['uar'])}"
    between = captions.span(metrics)
    return f"{told} (95 % interval {between})" if between else told


def _kept_in(workspace: pathlib.Path, drive_folder: pathlib.Path | None) -> list[pathlib.Path]:
    """The model.json of each kept model; of one name the workspace's is the last."""
    roots = [workspace]
    if drive_folder is not None:
        roots.insert(0, drive.results_folder(drive_folder=drive_folder))
    found = []
    for root in roots:
        found += sorted(root.glob("models/*/model.json"))
    return found


def _small_model(workspace: pathlib.Path) -> pathlib.Path:
    """Test and keep a logistic regression on the embedded corpus."""
    rows = corpora.open_corpora([EMBEDDED], "", workspace)
    rows = rows[rows["corpus"] == EMBEDDED].reset_index(drop=True)
    store = open_store(rows, "acoustic", workspace)
    emotions = sorted(set(rows["emotion"]))
    study = BaselineStudy(rows, store, emotions, workspace)
    config = BaselineConfig(folds="grouped")
    run = study.run(config, pictures=False)
    return study.keep(run, EMBEDDED)


def example_recordings(workspace: pathlib.Path, emotions: Sequence[str]) -> OwnRecordings:
    """An embedded voice in the place of the reader's.

    Args:
        workspace: its clips are copied to `workspace`/recordings-example.
        emotions: of the model; those that the embedded corpus knows are taken.

    Returns:
        Five neutral sentences, and up to three other clips of each emotion.
    """
    found = OwnRecordings(workspace / "recordings-example", emotions)
    if len(found.table):
        return found
    rows = corpora.open_corpora([_EXAMPLE], "", workspace)
    rows = rows[rows["corpus"] == _EXAMPLE]
    rows = rows[rows["speaker"] == rows["speaker"].iloc[0]]
    sentences = rows[rows["emotion"] == "neutral"].tail(_SENTENCES)
    others = rows.drop(index=sentences.index)
    for kind in [ENROLMENT, *emotions]:
        chosen = sentences if kind == ENROLMENT else others[others["emotion"] == kind].head(_EACH)
        for place, file in enumerate(chosen["file"], 1):
            source = pathlib.Path(file)
            found.take(kind, f"{kind}-{place:02d}{source.suffix}", source.read_bytes())
    return found


class Voice:
    """The recordings of one speaker, and what a kept model says of them.

    Features are computed once. Statistics of the speaker, where the model normalises by them, are
    those of all recordings, neutral sentences included; no label is read for them.

    Args:
        model: of `open_model`.
        recordings: the reader's; where there are none, an embedded voice is taken, which is said.
        workspace: of `drive.open_workspace`.

    Attributes:
        recordings: those that are taken.
        clips: file, kind, name of each.

    Example:
        >>> voice = Voice(model, recordings, workspace)
        >>> voice.show()
    """

    def __init__(self, model: kept.Kept, recordings: OwnRecordings, workspace: pathlib.Path):
        self.model, self.recordings = model, recordings
        self.corpus = "own"
        if recordings.table.empty:
            self.corpus = _EXAMPLE
            self.recordings = example_recordings(workspace, model.labels)
            print("No recordings yet: clips of an embedded, synthetic voice stand in for yours.")
        self.clips = self.recordings.table
        sentences = (self.clips["kind"] == ENROLMENT).sum()
        if model.unit == "speaker" and sentences < _SENTENCES:
            print(
                f"This model takes the mean of your voice off first: {sentences} of {_SENTENCES} "
                "neutral sentences are there. Say some more, or its answers lean on others' voices."
            )
        named = pd.DataFrame({"corpus": [self.corpus]})
        self.stamps = captions.stamps_of_rows(named)

    def show(self) -> Any:
        """Each recording to look at and to listen to, with what stands against judging it.

        Returns:
            An IPython HTML object: the newest SHOWN recordings.
        """
        from IPython.display import HTML

        cards = []
        newest = sorted(self.clips["file"], key=os.path.getmtime)[-SHOWN:]
        shown = list(self.clips[self.clips["file"].isin(newest)].itertuples())
        for clip in progress.bar(shown, desc="pictures"):
            told = judged(clip.file)
            samples = load_audio(clip.file, RATE)
            title = str(pathlib.PurePath(clip.name).with_suffix(""))
            figure = recording_figure(samples, title, told, self.stamps)
            cards.append(
                f'<figure style="margin:0;width:21em">{figure.html()}'
                f"{clip_html(clip.file, clip.name)}</figure>"
            )
        left = len(self.clips) - len(shown)
        more = f"<p>{left} more are not shown.</p>" if left else ""
        page = f'<div style="display:flex;flex-wrap:wrap;gap:1em">{"".join(cards)}</div>'
        return HTML(f"{page}{more}")

    def label(self, threshold: float = 0.5) -> Labelled:
        """What the model says of each recording, neutral sentences included.

        Args:
            threshold: an answer with a probability below it is uncertain.

        Returns:
            Of `label.label`.
        """
        named = self.clips.assign(file=self.clips["name"], speaker=ME).drop(columns="name")
        table = write_csv(self.recordings.folder / "clips.csv", named)
        return label(self.model, table, threshold=threshold)

    @functools.cached_property
    def hearing(self) -> Hearing:
        """Features of all recordings, each as a whole."""
        found = Hearing(self.model, _WHOLE, show=True)
        found.hear([Recording(one.name, one.file, ME) for one in self.clips.itertuples()])
        return found

    @property
    def rows(self) -> pd.DataFrame:
        """The recordings that have features, as of `hearing`, with their kind."""
        rows = self.hearing.rows[self.hearing.heard()].reset_index(drop=True)
        return rows.assign(kind=rows["file"].map(self.clips.set_index("name")["kind"]))

    def scores(self, emotions: Sequence[str] = ()) -> np.ndarray:
        """Probabilities of `rows`.

        Args:
            emotions: of `rows`, "" where none is told; ones that are told adapt the model first.

        Returns:
            float64 (rows, labels).

        Raises:
            ModelError: the model cannot be adapted.
        """
        model, rows = self.model, self.rows
        with single_thread():
            if len(emotions):
                model = model.adapted(self.hearing.features, rows, emotions)
            return model.scores(self.hearing.features, rows)

    def adapt(self) -> dict[str, pd.DataFrame]:
        """The labelled clips before, and after a model was adapted to the others of them.

        One clip of each emotion is left out at a time, so that no clip is judged by a model that
        has heard its label, or that has heard fewer of its emotion than of others. The only clip of
        an emotion adapts the model, and is not judged.

        Returns:
            Predictions by BEFORE and AFTER; without AFTER where the model cannot be adapted or no
            emotion has two clips, which is printed.
        """
        kinds = self.rows["kind"]
        kinds = kinds[kinds.isin(self.model.labels)]
        before = self.scores()
        number = kinds.groupby(kinds).transform("size")
        asked = kinds[number > 1]
        if asked.empty:
            print("Label two clips of an emotion or more to see what they change.")
            return {BEFORE: self._predicted(before, kinds, BEFORE)}
        if len(asked) < len(kinds):
            alone = ", ".join(kinds[number == 1])
            print(f"Not judged, as nothing of its emotion would be left to adapt to: {alone}.")
        turn = asked.groupby(asked).cumcount()
        after = np.zeros_like(before)
        try:
            for now in progress.bar(range(turn.max() + 1), desc="adapted"):
                out = turn.index[turn == now]
                told = kinds.drop(index=out).reindex(self.rows.index, fill_value="")
                after[out] = self.scores(list(told))[out]
        except kept.ModelError as error:
            print(f"Not adapted: {error}.")
            return {BEFORE: self._predicted(before, kinds, BEFORE)}
        return {
            BEFORE: self._predicted(before, asked, BEFORE),
            AFTER: self._predicted(after, asked, AFTER),
        }

    def _predicted(self, scores: np.ndarray, kinds: pd.Series, method: str) -> pd.DataFrame:
        """Predictions of some of `rows`, by their emotions, a table of `results.predictions`."""
        rows = self.rows.loc[kinds.index, ["file", "kind"]]
        rows = rows.rename(columns={"file": "utt_id", "kind": "emotion"})
        rows = rows.assign(corpus=self.corpus, speaker=ME)
        labels = np.array(self.model.labels)
        asked = scores[kinds.index]
        rule = "inductive" if self.model.unit == "none" else "transductive: clips of this voice"
        return predictions_table(
            rows,
            labels[asked.argmax(axis=1)],
            self.model.labels,
            asked,
            method=method,
            rule=rule,
            seed=0,
            fold=ME,
        )

    def change(self, found: Mapping[str, pd.DataFrame]) -> style.SuiteFigure | None:
        """Before and after as a figure; None where there is no after.

        Args:
            found: of `adapt`.
        """
        if AFTER not in found:
            return None
        sentences = [how_little(found[BEFORE], found[AFTER])]
        title = f"{len(found[BEFORE])} clips of one voice"
        return change_figure(found[BEFORE], found[AFTER], title, sentences, self.stamps)

    def measure(self, found: Mapping[str, pd.DataFrame]) -> style.SuiteFigure | None:
        """The metrics of a run, of one's own labelled clips; prints what they prove.

        Args:
            found: of `adapt`.

        Returns:
            Confusion matrices from ENOUGH clips on, else None.
        """
        if found[BEFORE].empty:
            return None
        results = {}
        for name, table in found.items():
            notes = [self.model.how_normalised(self.rows)]
            # who adapts a model has been heard by it
            independence = "overlap allowed" if name == AFTER else "independent"
            told = {"speaker_independence": independence, "notes": [*filter(None, notes)]}
            results[name] = table, summarise(table, self.model.labels, **told)
            right = int((table["pred"] == table["true"]).sum())
            rate = captions.per_cent(results[name][1]["uar"])
            print(f"{name}: UAR {rate}. {proves(right, len(table))}")
        print("All of it is one voice: of other people it says nothing.")
        if len(found[BEFORE]) < ENOUGH:
            print(f"A confusion matrix needs {ENOUGH} labelled clips or more.")
            return None
        return confusion_matrices_figure(results, f"{len(found[BEFORE])} clips of one voice")


def proves(right: int, n: int) -> str:
    """How little a count of right answers proves, in words.

    Args:
        right: of them.
        n: clips.

    Returns:
        A sentence with the exact binomial 95 % interval (Clopper and Pearson 1934, Biometrika
        26(4), 404-413).
    """
    low, high = stats.binomtest(right, n).proportion_ci(method="exact")
    return (
        f"{right} of {n} right: that fits any model that is right with {100 * low:.0f} to "
        f"{100 * high:.0f} % of such clips (exact 95 % interval)"
    )


def how_little(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """Whether a change of right answers could be luck, in words.

    Args:
        before: predictions.
        after: of the same clips in the same order.

    Returns:
        A sentence with the exact sign test of the answers that changed (McNemar).
    """
    was = (before["pred"] == before["true"]).to_numpy()
    now = (after["pred"] == after["true"]).to_numpy()
    won, lost = int((now & ~was).sum()), int((was & ~now).sum())
    told = f"{won} answer(s) became right, {lost} wrong"
    if won + lost == 0:
        return told
    p = stats.binomtest(won, won + lost).pvalue
    return f"{told}; chance alone does as much in {100 * p:.0f} of 100 cases (exact sign test)"
