"""Few-shot transfer from a source corpus to a target, method by method on the same support draws.

Train on the source, fine-tune on k-shot support of the target, test the target's other speakers.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.clips import Clips
from colab_utils.learning.study import TRAINING_ROLES, Study, Tested, Training
from colab_utils.learning.training import History
from colab_utils.methods.emofsl import circumplex, emofsl, rivals
from colab_utils.methods.emofsl.emofsl import Metric, SourceLearner, source_learner
from colab_utils.methods.emofsl.network import EmofslNet, forward
from colab_utils.methods.emofsl.settings import DECISIONS, METHODS, EmofslConfig
from colab_utils.protocols.draws import draws_table, support_draws
from colab_utils.results.predictions import predictions_table
from colab_utils.results.runs import Run
from colab_utils.results.tables import methods_table, readable
from colab_utils.settings import SettingError, as_list

BASELINES = ("source only", "nearest prototype", "logistic regression", "LDA")
_TUNED, _SOURCE = "tuned", "source"  # `Tested.kind`, besides the baselines' names

Runs = Mapping[tuple[str, int], Run]


class TransferStudy(Study):
    """One source-target task on cached features, one vector an utterance.

    Of frames, the mean and deviation over time are taken. Support is drawn from the target's other
    folds, so that no tested speaker is in it. One source model serves all folds and draws, and all
    methods that ask for the same one.

    Args:
        name: the task.
        rows, split: of `protocols.build.build_task`, with roles train, valid, support and test.
        store: features of all rows.
        labels: the emotions in a fixed order.
        root: folder of all that is kept.
        features: what figures call the front end; default: the store's name.
        published: rates of this very task in the paper (`results.tables.published_table`).
        **others: of `Study`.

    Raises:
        LeakError: a speaker stands on both sides.
        SettingError: the task has no support side.
    """

    method = "emofsl"
    small = True

    def __init__(
        self,
        name: str,
        rows: pd.DataFrame,
        split: pd.DataFrame,
        store: FeatureStore,
        labels: Sequence[str],
        root: str | pathlib.Path,
        *,
        features: str = "",
        published: pd.DataFrame | None = None,
        **others: Any,
    ):
        super().__init__(name, rows, split, store, labels, root, **others)
        if "support" not in set(split["role"]):
            raise SettingError(
                f"task {name} has no support side: choose a protocol whose tasks "
                "have one (emofsl, or draws.pair_task)"
            )
        self.y = self.classes(self.rows)
        self.front = store.spec["name"]
        self.features, self.published = features or self.front, published
        stored = (one.split("_")[1] for one in store.feature_names if one.startswith("layer_"))
        self.layers = len(set(stored)) or 1
        self._sides: dict[str, tuple[Clips, np.ndarray]] = {}
        self._drawn: dict[Any, np.ndarray] = {}

    # --- the contract -----------------------------------------------------------------------------

    def learner(self, tested: Tested, fold: str) -> Training:
        """The source model; the target is not read."""
        train, valid = self.numbers(fold, "train"), self.numbers(fold, "valid")
        if not len(valid):
            raise SettingError(
                f"task {self.name}: no speaker of the source validates (it has one "
                "for training): take another source"
            )
        config = tested.config
        metric = self.metric(config, fold) if config.source_loss_weight else None
        learner = self._source_learner(train, valid, config, metric)
        return Training(learner, learner.steps, learner.steps_per_epoch, config.source_patience)

    def predict(self, learner: SourceLearner, tested: Tested, fold: str) -> pd.DataFrame:
        """Predictions of the fold's tested utterances in all draws."""
        scores = self._scores_of(learner, tested, fold).cpu().double().numpy()
        rows, names = self.rows.iloc[self.numbers(fold, "test")], np.array(self.labels, object)
        tables = []
        for draw, each in enumerate(scores):
            tables.append(
                predictions_table(
                    rows,
                    names[each.argmax(axis=1)],
                    self.labels,
                    each,
                    method=tested.name,
                    rule=self.rule,
                    seed=tested.config.seed,
                    fold=fold,
                    draw=draw,
                )
            )
        return pd.concat(tables, ignore_index=True)

    def check(self, tested: Tested) -> None:
        """Raise SettingError for layers that could not learn here."""
        config = tested.config
        if config.tune_layers:
            raise SettingError(
                f"tune_layers = {config.tune_layers}: {self.front} as it is cached here has no "
                "layers that could learn; make the study by Transfers.study(..., tune_layers=...) "
                "with a speech encoder, or set tune_layers = 0"
            )

    def training_of(self, tested: Tested) -> Tested:
        """The source model, which also gives the baselines their standardisation."""
        return Tested(_SOURCE, tested.config.of_source(), kind=_SOURCE)

    def training_task(self, tested: Tested) -> str:
        """The source alone: its model serves every target."""
        return self.pair[0]

    def tested_settings(self, tested: Tested) -> EmofslConfig:
        """What the method looks at; a loss of one's own looks at all of it."""
        return tested.config if tested.own is not None else tested.config.only()

    def run_name(self, tested: Tested) -> str:
        """Method, decision and number of shots."""
        return f"{tested.name}-{tested.config.shots}shot"

    def split_table(self, tested: Tested) -> pd.DataFrame:
        """Who trains and who is tested in each draw, and the support of each."""
        parts = []
        for seed in self.seeds(tested):
            config = tested.at(seed).config
            for fold in self.folds:
                sides = self.split[self.split["fold"] == fold]
                parts.append(draws_table(self.rows, sides, self.draws(config, fold), seed))
        return pd.concat(parts, ignore_index=True)

    def notes(self, tested: Tested) -> list[str]:
        """Ways, shots and draws, the features, and what a method looks at."""
        config = tested.config
        notes = [
            (
                f"{len(self.labels)}-way {config.shots}-shot, {config.n_draws} support draws a "
                "fold from speakers of other folds"
            ),
            f"features: {self.front}",
        ]
        if made := self.clips("target").note:
            notes.append(made)
        if tested.kind == "source only":
            notes.append("looks at no support: the source's model as it is")
        if self.layers > 1:
            notes.append(
                f"{self.layers} layers of the encoder under weights that the source's "
                "training learned"
            )
        return notes

    # --- what a notebook asks for -----------------------------------------------------------------

    @property
    def title(self) -> str:
        """Task and features, for figures."""
        return f"{self.name}, {self.features}"

    @property
    def pair(self) -> tuple[str, str]:
        """The source and the target, names of corpora."""
        training = self.split["role"].isin(TRAINING_ROLES)
        names = []
        for roles in (training, ~training):
            mine = self.rows["utt_id"].isin(self.split.loc[roles, "utt_id"])
            names.append("+".join(sorted(set(self.rows.loc[mine, "corpus"]))))
        return names[0], names[1]

    @property
    def guessing(self) -> float:
        """The UAR of guessing, a fraction."""
        return 1 / len(self.labels)

    def overview(self) -> pd.DataFrame:
        """How many utterances have which role in which fold; prints what the store holds."""
        print(self.store.report)
        counts = self.split.groupby(["fold", "role"])["utt_id"].nunique()
        return counts.unstack()

    def train_source(
        self, config: EmofslConfig, on_record: Callable[[list[dict]], None] | None = None
    ) -> History:
        """Train the source model of the first seed, or load it; returns what happened.

        Args:
            config: the settings.
            on_record: called with all records so far now and then, such as a live curve.

        Raises:
            SettingError, TrainingError, Interrupted.
        """
        return self.train(Tested(_SOURCE, config, kind=_SOURCE), on_record=on_record)

    def compare(
        self,
        config: EmofslConfig,
        shots: Sequence[int] | str = (),
        methods: Sequence[str] = METHODS,
        decisions: Sequence[str] = DECISIONS,
        baselines: Sequence[str] = BASELINES,
        own: Mapping[str, Metric] | None = None,
        pictures: bool = True,
    ) -> dict[tuple[str, int], Run]:
        """Every method on the same support draws: finished runs by (name, k).

        Names are those of the baselines and "<method>, <decision>". What was finished before is
        loaded, draws of a fold done before a kill are kept.

        Args:
            config: the settings.
            shots: further numbers of shots, besides config.shots.
            methods: of METHODS.
            decisions: of DECISIONS; two cost what one does.
            baselines: of BASELINES.
            own: metric losses of one's own by name, (embedding (draws, n, width), y (draws, n)) ->
                (draws,), added to cross-entropy in the fine-tuning with config.loss_weight.
            pictures: draw the confusion matrix of each run, too (0.7 s each).

        Raises:
            SettingError, FoldError, TrainingError, Interrupted.
        """
        chosen = []
        for k in sorted({config.shots, *map(int, as_list(shots))}):
            at_k = dataclasses.replace(config, shots=k)
            chosen += _tested(at_k, methods, decisions, baselines, own or {})
        runs = self.evaluate(chosen, pictures)
        return {(one.name, one.config.shots): runs[one.label] for one in chosen}

    def table(self, runs: Runs, config: EmofslConfig) -> pd.DataFrame:
        """Rates of the runs at config.shots; differences are to BTL with config.decision."""
        at_k = {name: run for (name, k), run in runs.items() if k == config.shots}
        return readable(methods_table(at_k, tuned_name("BTL", config)))

    def layer_weights(self, config: EmofslConfig) -> np.ndarray:
        """Weights that the source's training gave the encoder's layers, float (layers,).

        They sum to 1; the input of the first layer is the first. Raises SettingError where the
        features hold one layer.
        """
        if self.layers == 1:
            raise SettingError(
                f"{self.front} holds one layer: take a speech encoder with layer = 'all'"
            )
        weights = self.source_of(config).module.layer_weights.detach()
        return torch.softmax(weights, dim=0).cpu().numpy()

    def scores(
        self, learner: SourceLearner, config: EmofslConfig, fold: str, own: Metric | None = None
    ) -> dict[str, torch.Tensor]:
        """Stages 2 and 3 on all draws of a fold: both decisions come from one fine-tuning.

        Args:
            learner: of `source_of`.
            config: the settings.
            fold: which one.
            own: a metric loss of one's own instead of config.method's.

        Returns:
            {"prototype", "head"}: float (draws, n_tested, classes).
        """

        def make() -> dict[str, torch.Tensor]:
            metric = self.metric(config, fold) if own is None else own
            draws, numbers = self.draws(config, fold), self.numbers(fold, "test")
            return self._decided(learner, draws, numbers, config, metric)

        key = id(own), dataclasses.replace(config, decision=DECISIONS[0])
        return self.held(fold, key, make)

    def source_of(self, config: EmofslConfig, fold: str = "") -> SourceLearner:
        """The trained source model (of a fold; default: the first)."""
        return self.trained(Tested(_SOURCE, config, kind=_SOURCE), fold or self.folds[0])[0]

    def draws(self, config: EmofslConfig, fold: str) -> np.ndarray:
        """The support draws of a fold: row numbers, int64 (draws, classes, shots).

        Raises FoldError where a class has too few utterances.
        """
        key = fold, config.shots, config.n_draws, config.seed
        if key not in self._drawn:
            sides = self.split[self.split["fold"] == fold]
            self._drawn[key] = support_draws(
                self.rows, sides, self.labels, config.shots, config.n_draws, config.seed
            )
        return self._drawn[key]

    def numbers(self, fold: str, role: str) -> np.ndarray:
        """Row numbers of one role in one fold, int64 (n,)."""
        mine = (self.split["fold"] == fold) & (self.split["role"] == role)
        return np.flatnonzero(self.rows["utt_id"].isin(self.split.loc[mine, "utt_id"]))

    def metric(self, config: EmofslConfig, fold: str) -> Metric | None:
        """The metric loss of config.method.

        With margins "annotated" the emotions stand where the ratings of the source's training
        utterances put them.
        """
        coordinates = None
        if config.margins == "annotated" and config.method == "EMOFSL":
            train = self.rows.iloc[self.numbers(fold, "train")]
            coordinates = circumplex.coordinates_from_annotations(train)
        return emofsl.metric_loss(config, self.labels, coordinates)

    # --- the three stages on these features -------------------------------------------------------

    def _source_learner(
        self, train: np.ndarray, valid: np.ndarray, config: EmofslConfig, metric: Metric | None
    ) -> SourceLearner:
        """What trains the source model on these rows."""
        x = self._features("source", train).cpu().numpy()
        valid_x = self._features("source", valid).cpu().numpy()
        return source_learner(
            x,
            self.y[train],
            (valid_x, self.y[valid]),
            len(self.labels),
            config,
            metric,
            self.device,
            self.layers,
        )

    def _scores_of(self, learner: SourceLearner, tested: Tested, fold: str) -> torch.Tensor:
        """Scores of one method, float (draws, n_tested, classes)."""
        config = tested.config
        if tested.kind == _TUNED:
            return self.scores(learner, config, fold, tested.own)[config.decision]
        draws, numbers = self.draws(config, fold), self.numbers(fold, "test")
        if tested.kind == "source only":
            logits = self.through(learner.module, numbers)[0]
            return torch.softmax(logits, dim=-1).expand(len(draws), *logits.shape)
        support, y = self._support(draws)
        train, net = self.numbers(fold, "train"), self._frozen(learner)
        tasks = rivals.as_tasks(net, support, y, self._features("target", numbers))
        return rivals.baseline(
            tested.kind, tasks, net, self._features("source", train), self.y[train]
        )

    def _decided(
        self,
        learner: SourceLearner,
        draws: np.ndarray,
        numbers: np.ndarray,
        config: EmofslConfig,
        metric: Metric | None,
    ) -> dict[str, torch.Tensor]:
        """Stages 2 and 3: scores of `rows[numbers]` by either decision."""
        support, y = self._support(draws)
        parameters = emofsl.fine_tune(learner.module, support, y, config, metric)
        query = self._features("target", numbers)
        return emofsl.decide(parameters, query, support, y, config)

    def projected(
        self,
        learner: SourceLearner,
        draw: np.ndarray,
        numbers: np.ndarray,
        config: EmofslConfig,
        metric: Metric | None,
    ) -> torch.Tensor:
        """Projections (n, width) of `rows[numbers]` after one draw (1, classes, shots)."""
        support, y = self._support(draw)
        parameters = emofsl.fine_tune(learner.module, support, y, config, metric)
        with torch.no_grad():
            values = self._features("target", numbers)
            return forward(parameters, values, config.activation)[1][0]

    def _frozen(self, learner: SourceLearner) -> EmofslNet:
        """The network whose standardisation and layer weights the baselines share."""
        return learner.module

    @torch.no_grad()
    def through(
        self, module: torch.nn.Module, numbers: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, classes) and projections (n, width) of `rows[numbers]` of the target."""
        return module(self._features("target", numbers))

    def _support(self, draws: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (draws, n, dim) and class ids (n,) of support draws (draws, classes, shots)."""
        support = self._features("target", draws.ravel())
        support = support.reshape(len(draws), -1, support.shape[-1])
        return support, self._support_classes(draws)

    def _support_classes(self, draws: np.ndarray) -> torch.Tensor:
        """Class ids (n,) of the support of each draw."""
        _, classes, shots = draws.shape
        return torch.arange(classes, device=self.device).repeat_interleave(shots)

    def clips(self, side: str) -> Clips:
        """The clips of one side, "source" or "target", one vector each.

        The source's are read for its training; those of the target when it is tested.
        """
        return self._of_side(side)[0]

    def _of_side(self, side: str) -> tuple[Clips, np.ndarray]:
        """The clips of a side, and the place among them of each of `rows`.

        The place of a row of the other side is one that there is not.
        """
        if side not in self._sides:
            training = self.split["role"].isin(TRAINING_ROLES)
            roles = training if side == "source" else ~training
            mine = self.rows["utt_id"].isin(self.split.loc[roles, "utt_id"]).to_numpy()
            places = np.full(len(self.rows), mine.sum())
            places[mine] = np.arange(mine.sum())
            self._sides[side] = self._read(np.flatnonzero(mine)), places
        return self._sides[side]

    def _features(self, side: str, numbers: np.ndarray) -> torch.Tensor:
        """Features of `rows[numbers]`, float32 (n, dim)."""
        clips, places = self._of_side(side)
        return clips.inputs(places[numbers])[0]

    def _read(self, numbers: np.ndarray) -> Clips:
        """The clips `rows[numbers]`; of frames, the mean and deviation over time."""
        rows = self.rows.iloc[numbers]
        return Clips(self.store, rows, self.labels, device=self.device, pooled=True)


def tuned_name(method: str, config: EmofslConfig) -> str:
    """What the runs of a fine-tuned method are called: "EMOFSL, head"."""
    return f"{method}, {config.decision}"


def _tested(
    config: EmofslConfig,
    methods: Sequence[str],
    decisions: Sequence[str],
    baselines: Sequence[str],
    own: Mapping[str, Metric],
) -> list[Tested]:
    """What is tested at one number of shots."""
    condition, chosen = f"{config.shots}-shot", []
    for name in baselines:
        chosen.append(Tested(name, config.of_baselines(), kind=name, condition=condition))
    for method in methods:
        for decision in decisions:
            one = dataclasses.replace(config, method=method, decision=decision)
            chosen.append(Tested(tuned_name(method, one), one, kind=_TUNED, condition=condition))
    for name, metric in own.items():
        for decision in decisions:
            one = dataclasses.replace(config, decision=decision)
            chosen.append(Tested(tuned_name(name, one), one, metric, _TUNED, condition))
    return chosen
