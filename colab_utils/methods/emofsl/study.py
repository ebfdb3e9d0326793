"""Few-shot transfer from a source corpus to a target, method by method on the same support draws.

Train on the source, fine-tune on k-shot support of the target, test the target's other speakers.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from colab_utils.display import captions
from colab_utils.features.store.features import Features
from colab_utils.learning import heads
from colab_utils.learning.kept.predictor import Predictor
from colab_utils.learning.own import named
from colab_utils.learning.study import TRAINING_ROLES, Study, Tested, Training
from colab_utils.learning.training import History
from colab_utils.methods.emofsl import circumplex, emofsl, rivals
from colab_utils.methods.emofsl.data import TransferData
from colab_utils.methods.emofsl.kept import kept_transfer
from colab_utils.methods.emofsl.network import EmofslNet, forward
from colab_utils.methods.emofsl.settings import (
    BASELINES,
    DECISIONS,
    METHODS,
    EmofslConfig,
)
from colab_utils.methods.emofsl.source import Metric, SourceLearner
from colab_utils.protocols.draws import draws_table
from colab_utils.results.runs import Run
from colab_utils.results.tables import methods_table, readable
from colab_utils.settings import SettingError, as_dict, as_list, with_settings

_SOURCE = "source"  # the `Tested.kind` of the source model

Runs = Mapping[tuple[str, int], Run]  # by (name, number of shots)


class TransferStudy(Study):
    """One source-target task on cached features, one vector an utterance.

    Of frames, the mean and deviation over time are taken. Support is drawn from the target's other
    folds, so that no tested speaker is in it. One source model serves all folds, draws and methods,
    one's own among them: what they differ in is the fine-tuning.

    Args:
        name: the task.
        rows: of `protocols.build.build_task`: manifest rows of all utterances.
        split: of `build_task`, with roles train, valid, support and test.
        store: features of all rows.
        labels: the emotions in a fixed order.
        root: folder of all that is kept.
        features: what figures call the front end; default: the store's name.
        published: rates of this very task in the paper (`results.tables.published_table`).
        **others: of `Study`.

    Raises:
        LeakError: a speaker stands on both sides.
        SettingError: the task has no support side.

    Example:
        >>> study = transfers.study("emodb", "emovo", emotions=["anger", "sadness"])
        >>> study.table(study.compare(config), config)
    """

    method = "emofsl"
    VERSION = 3
    small = True
    scopes = rivals.SCOPES

    def __init__(
        self,
        name: str,
        rows: pd.DataFrame,
        split: pd.DataFrame,
        store: Features,
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
                f"task {name} has no support side: choose a protocol whose tasks have one (emofsl, "
                "or draws.pair_task)"
            )
        self._data: dict[Any, TransferData] = {}
        self.front = store.spec["name"]
        self.features = features or self.front
        self.published = published
        # "layer_3_mean_17" and the like, where a front end keeps the layers apart
        layers = {one.split("_")[1] for one in store.feature_names if one.startswith("layer_")}
        self.layers = len(layers) or 1

    # --- the contract -----------------------------------------------------------------------------

    def learner(self, tested: Tested, fold: str) -> Training:
        """The source model; the target is not read."""
        data = self.data(tested.config)
        train, valid = (data.numbers(fold, role) for role in TRAINING_ROLES)
        if not len(valid):
            raise SettingError(
                f"task {self.name}: no speaker of the source validates (it has one for training): "
                "take another source"
            )
        config = tested.config
        metric = self.metric(config, fold)
        module = self._network(train, config).to(self.device)
        learner = SourceLearner(module, data, train, valid, config, metric)
        return Training(learner, learner.steps, learner.steps_per_epoch, config.source_patience)

    def predict(self, learner: SourceLearner | None, tested: Tested, fold: str) -> pd.DataFrame:
        """Predictions of the fold's tested utterances in all draws."""
        data = self.data(tested.config)
        numbers = data.numbers(fold, "test")
        scores = self.scores(learner, tested, fold).flatten(0, 1)
        draws = tested.config.n_draws
        rows = self.rows.iloc[np.tile(numbers, draws)]
        draw = np.repeat(np.arange(draws), len(numbers))
        values = scores.cpu().double().numpy()
        return self.predictions(tested, fold, rows, values, draw)

    def kept(self, learner: Any, tested: Tested, fold: str) -> tuple[Predictor, Features]:
        """As of the contract: what answers after the first draw."""
        return kept_transfer(self, learner, tested, fold), self.data(tested.config).store

    def check(self, tested: Tested) -> None:
        """Raise SettingError for layers that could not learn here."""
        if tested.config.tune_layers:
            raise SettingError(
                f"tune_layers = {tested.config.tune_layers}: {self.front} as it is cached here has "
                "no layers that could learn; make the study by Transfers.study(..., "
                "tune_layers=...) with a speech encoder, or set tune_layers = 0"
            )

    def training_of(self, tested: Tested) -> Tested | None:
        """The source model, which also gives baselines their standardisation, but linear heads."""
        if tested.kind in heads.LINEAR:
            return None
        return Tested(_SOURCE, tested.config.of_source(), kind=_SOURCE)

    def training_task(self, tested: Tested) -> str:
        """The source alone: its model serves every target."""
        return self.pair[0]

    def tested_settings(self, tested: Tested) -> EmofslConfig:
        """What the method looks at; a loss of one's own looks at all of it."""
        return tested.config if tested.own is not None else tested.config.only()

    def facts(self, tested: Tested) -> dict[str, Any]:
        """Numbers of linear heads; the source model's settings, where it has more than its own."""
        if tested.kind in heads.LINEAR:
            return heads.linear_facts()
        if not tested.config.source_loss_weight:
            return {}
        return {"source": as_dict(tested.config.of_source())}

    def run_name(self, tested: Tested) -> str:
        """Method, decision and number of shots."""
        return f"{tested.name}-{tested.config.shots}shot"

    def split_table(self, tested: Tested) -> pd.DataFrame:
        """Who trains and who is tested in each draw, and the support of each."""
        parts = []
        for seed in self.seeds(tested):
            one = tested.at(seed)
            for fold in self.folds:
                draws = self.data(one.config).draws(one.config, fold)
                parts.append(draws_table(self.rows, self._of_fold(one, fold), draws, seed))
        return pd.concat(parts, ignore_index=True)

    def notes(self, tested: Tested) -> list[str]:
        """Ways, shots and draws, the features, and what a method looks at."""
        config = tested.config
        notes = [
            f"{len(self.labels)}-way {config.shots}-shot, {config.n_draws} support draws a fold "
            "from speakers of other folds",
            f"features: {self.front}",
        ]
        notes += filter(None, [self.data(config).store.note])
        if tested.kind in heads.LINEAR:
            notes.append("the source's validation speakers are learnt from, too")
            return notes + heads.linear_notes(tested.kind, self.features, self.rows["corpus"])
        if tested.kind == "source only":
            notes.append("looks at no support: the source's model as it is")
        if config.source_loss_weight:
            notes.append(
                "the source, the same for all methods, was trained with EMOFSL's loss, too, with "
                f"weight {config.source_loss_weight:g}"
            )
        if self.layers > 1:
            notes.append(
                f"{self.layers} layers of the encoder under weights that the source's training "
                "learned"
            )
        return notes

    def by_name(self, config: EmofslConfig, name: str, **values: Any) -> Tested:
        """As of the contract: a baseline, or a method with its decision, "EMOFSL, head"."""
        return rivals.by_name(with_settings(config, **values), name)

    # --- what a notebook asks for -----------------------------------------------------------------

    @property
    def title(self) -> str:
        """Source, target and features, for figures: `studio → phone, acoustic`."""
        return f"{captions.transfer(*self.pair)}, {captions.corpora(self.features)}"

    @property
    def pair(self) -> tuple[str, str]:
        """The source and the target, names of corpora."""
        corpus_of = self.rows.set_index("utt_id")["corpus"]
        corpus = self.split["utt_id"].map(corpus_of)
        training = self.split["role"].isin(TRAINING_ROLES)
        sides = set(corpus[training]), set(corpus[~training])
        return tuple("+".join(sorted(side)) for side in sides)

    @property
    def guessing(self) -> float:
        """The UAR of guessing, a fraction."""
        return 1 / len(self.labels)

    def overview(self) -> pd.DataFrame:
        """How many utterances have which role in which fold."""
        return self.split.groupby(["fold", "role"])["utt_id"].nunique().unstack()

    def train_source(
        self, config: EmofslConfig, on_record: Callable[[list[dict]], None] | None = None
    ) -> History:
        """Train the source model of the first seed, or load it.

        Args:
            config: the settings.
            on_record: called with all records so far now and then, such as a live curve.

        Returns:
            What happened; its `records` hold loss and validation by step.

        Raises:
            SettingError: for settings that cannot work.
            TrainingError: where it diverges.
            Interrupted: by a click on Stop; the next call goes on.
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
        """Every method on the same support draws.

        What was finished before is loaded, draws of a fold done before a kill are kept.

        Args:
            config: the settings.
            shots: further numbers of shots, besides config.shots.
            methods: of METHODS.
            decisions: of DECISIONS; two cost what one does.
            baselines: of BASELINES; "source prior" is left out where it is what `recommended` is.
            own: metric losses of one's own by name, (embedding (draws, n, width), y (draws, n)) ->
                (draws,), added to cross-entropy in the fine-tuning with config.loss_weight (one
                that is always 0 gives BTL); or losses of pytorch-metric-learning.
            pictures: draw the confusion matrix of each run, too (0.7 s each).

        Returns:
            Finished runs by (name, k); names are those of the baselines, and "<method>,
            <decision>".

        Raises:
            SettingError: for settings that cannot work.
            FoldError: a class has too few utterances for the shots.
            TrainingError: where a training diverges.
            Interrupted: by a click on Stop; the next call goes on.
        """
        chosen = []
        for k in sorted({config.shots, *map(int, as_list(shots))}):
            at_k = dataclasses.replace(config, shots=k)
            chosen += rivals.untuned(at_k, baselines)
            chosen += rivals.tuned(at_k, decisions, dict.fromkeys(methods) | named(own))
        runs = self.evaluate(chosen, pictures)
        return {(one.name, one.config.shots): runs[one.label] for one in chosen}

    def table(self, runs: Runs, config: EmofslConfig) -> pd.DataFrame:
        """Rates of the runs side by side, as text.

        Args:
            runs: of `compare`.
            config: its `shots` says which runs; differences are to BTL with its `decision`, or to
                the first run where there is no BTL.

        Returns:
            A row for each run.
        """
        at_k = {name: run for (name, k), run in runs.items() if k == config.shots}
        to = rivals.tuned_name("BTL", config)
        if to not in at_k:
            to = next(iter(at_k), "")
        return readable(methods_table(at_k, to))

    def scores(self, learner: SourceLearner | None, tested: Tested, fold: str) -> torch.Tensor:
        """Scores of one method, float (draws, n_tested, classes).

        Args:
            learner: of `source_of`; None for a linear head.
            tested: a method or baseline, such as `compare` makes.
            fold: which one.
        """
        config = tested.config
        if tested.kind == rivals.TUNED:
            # both decisions come from one fine-tuning
            key = id(tested.own), dataclasses.replace(config, decision=DECISIONS[0])
            both = self.held(fold, key, lambda: self._decided(learner, config, fold, tested.own))
            return both[config.decision]
        data = self.data(config)
        draws, numbers = data.draws(config, fold), data.numbers(fold, "test")
        if tested.kind == "source only":
            logits = data.through(learner.module, numbers)[0]
            return torch.softmax(logits, dim=-1).expand(len(draws), *logits.shape)
        clips = *data.support(draws), data.vectors(numbers)
        if tested.kind in heads.LINEAR:
            scale, source = data.known_source(fold)
            tasks = rivals.as_tasks(scale.applied, len(self.labels), *clips)
            return source.answer(tested.kind, tasks)
        net = learner.module.net
        tasks = rivals.as_tasks(net.scaled, len(self.labels), *clips)
        train = data.numbers(fold, "train")
        source = data.vectors(train), data.y[train].cpu().numpy()
        return rivals.baseline(tested.kind, config, tasks, net, source)

    def source_of(self, config: EmofslConfig, fold: str = "") -> SourceLearner:
        """The trained source model (of a fold; default: the first)."""
        return self.trained(Tested(_SOURCE, config, kind=_SOURCE), fold or self.folds[0])[0]

    def metric(self, config: EmofslConfig, fold: str, own: Metric | None = None) -> Metric | None:
        """The metric loss of config.method, or one's own.

        With margins "annotated" the emotions stand where the ratings of the source's training
        utterances put them.
        """
        if own is not None:
            return emofsl.own_metric(own)
        coordinates = circumplex.COORDINATES
        if config.margins == "annotated" and config.method == "EMOFSL":
            train = self.rows.iloc[self.data(config).numbers(fold, "train")]
            coordinates = circumplex.coordinates_from_annotations(train)
        return emofsl.metric_loss(config, self.labels, coordinates)

    def data(self, config: EmofslConfig) -> TransferData:
        """The utterances with features as the settings want them; read once."""
        key = config.normalising, config.enrolment
        if key not in self._data:
            self._data[key] = self._data_of(Tested("", config))
        return self._data[key]

    # --- the three stages on these features -------------------------------------------------------

    def _data_of(self, tested: Tested) -> TransferData:
        """The utterances, one vector each."""
        found = self.features_for(tested, pooled=True)
        return TransferData(self.rows, self.sides(tested), found, self.labels, self.device)

    def _network(self, train: np.ndarray, config: EmofslConfig) -> torch.nn.Module:
        """A fresh network; its weights follow from config.seed."""
        scale = self.data(config).scale(train)
        torch.manual_seed(config.seed)
        return EmofslNet(scale, len(self.labels), config.width, config.activation, self.layers)

    def _decided(
        self, learner: SourceLearner, config: EmofslConfig, fold: str, own: Metric | None
    ) -> dict[str, torch.Tensor]:
        """Stages 2 and 3: scores of the fold's tested utterances by either decision."""
        data = self.data(config)
        support, y = data.support(data.draws(config, fold))
        metric = self.metric(config, fold, own)
        parameters = emofsl.fine_tune(learner.module, support, y, config, metric)
        query = data.vectors(data.numbers(fold, "test"))
        return emofsl.decide(parameters, query, support, y, config)

    def projected(
        self, learner: SourceLearner, config: EmofslConfig, fold: str, numbers: np.ndarray
    ) -> torch.Tensor:
        """Projections (n, width) of target rows after the fine-tuning on the first draw."""
        data = self.data(config)
        support, y = data.support(data.draws(config, fold)[:1])
        metric = self.metric(config, fold)
        parameters = emofsl.fine_tune(learner.module, support, y, config, metric)
        return forward(parameters, data.vectors(numbers), config.activation)[1][0]
