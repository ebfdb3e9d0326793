"""Any source, target, front end and choice of emotions on request: what a panel switches between, each pair made once."""
from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from colab_utils import settings
from colab_utils.features import front_end
from colab_utils.features.encoders.embeddings import SpeechEncoder
from colab_utils.features.front_end import FrontEnd
from colab_utils.features.store.extract import extract
from colab_utils.features.store.store import FeatureStore
from colab_utils.methods.emofsl.layers.study import LayersStudy
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.study import TransferStudy
from colab_utils.protocols.build import build_task
from colab_utils.protocols.draws import pair_task
from colab_utils.protocols.published import Protocol, Task

_IN_PANEL = ("shots", "n_draws", "alpha", "beta", "kappa1", "kappa2", "kappa", "loss_weight", "margins", "decision", "learning_rate", "epochs",
             "tune_layers", "seed")


class Transfers:
    """Studies from one corpus (or domain) to another, of the corpora in `manifest`, in the manner of `protocol`.

    A pair that the protocol has as a task is built as published, with its folds and counts; any other one by `draws.pair_task`. root: features,
    trained models and runs go there. merge: what emotions are renamed to besides the protocol's own; front_ends: front ends with settings of
    one's own by name, before those of `features.front_end`. Raises what `build_task` raises.
    """

    def __init__(self, protocol: Protocol, manifest: pd.DataFrame, root: str | pathlib.Path, *, merge: Mapping[str, str | None] | None = None,
                 front_ends: Mapping[str, FrontEnd] | None = None, device: str = "cpu", progress: bool = True, check_counts: bool = True):
        self.front_ends = dict(front_ends or {})
        self.protocol, self.manifest, self.root, self.merge = protocol, manifest, pathlib.Path(root), dict(merge or {})
        self.device, self.progress, self.check_counts = device, progress, check_counts
        self._stores: dict[FrontEnd, FeatureStore] = {}
        self._studies: dict[tuple, TransferStudy] = {}

    @property
    def corpora(self) -> list[str]:
        """Sources and targets that there are, in alphabetical order."""
        return sorted(set(self.manifest["corpus"]))

    def task(self, source: str, target: str, emotions: Sequence[str]) -> Task:
        """The published task of these corpora and emotions, or one made in its manner. Raises ProtocolError."""
        for task in self.protocol.tasks.values():
            same = task.train["corpus"] == [source] and task.test["corpus"] == [target] and set(task.emotions) == set(emotions)
            if same and not self.merge:
                return task
        speakers = self.manifest.loc[self.manifest["corpus"] == target, "speaker"].nunique()
        task = pair_task(self.protocol, source, target, max(2, min(5, speakers)))
        return dataclasses.replace(task, emotions=tuple(emotions), merge={**task.merge, **self.merge})

    def study(self, source: str, target: str, features: str, emotions: Sequence[str], tune_layers: int = 0) -> TransferStudy:
        """The study of one pair; features of all corpora are extracted once for each front end.

        tune_layers: of a speech encoder, to learn in the study (`EmofslConfig.tune_layers`). Raises SettingError for a single emotion, and for
        layers that there are not.
        """
        if len(set(emotions)) < 2:
            raise settings.SettingError(f"emotions = {', '.join(emotions) or 'none'}: choose two or more to tell apart")
        spec, key = self.front_end(features), (source, target, features, tuple(emotions), tune_layers)
        if tune_layers and not isinstance(spec, SpeechEncoder):
            raise settings.SettingError(f"tune_layers = {tune_layers}: {features} has no transformer layers that could learn; choose a speech "
                                        "encoder (owner/name of the Hub, or a folder), or tune_layers = 0")
        if key not in self._studies:
            task = self.task(source, target, emotions)
            protocol = dataclasses.replace(self.protocol, tasks={task.name: task})
            rows, split = build_task(protocol, task.name, self.manifest, check_counts=self.check_counts)
            common = {"merge": task.merge, "device": self.device, "progress": self.progress}
            if tune_layers:
                store = self._extracted(spec.below(tune_layers))
                self._studies[key] = LayersStudy(task.name, rows, split, store, task.emotions, self.root, encoder=spec, n_layers=tune_layers,
                                                 **common)
            else:
                self._studies[key] = TransferStudy(task.name, rows, split, self.store(features), task.emotions, self.root, **common)
        return self._studies[key]

    def front_end(self, features: str) -> FrontEnd:
        """The front end of that name."""
        return self.front_ends.get(features) or front_end(features)

    def store(self, features: str) -> FeatureStore:
        """The features of all corpora."""
        return self._extracted(self.front_end(features))

    def _extracted(self, spec: FrontEnd) -> FeatureStore:
        if spec not in self._stores:
            self._stores[spec] = extract(self.manifest, spec, self.root / "features", device=self.device)
        return self._stores[spec]

    def chosen(self, panel: Any) -> TransferStudy:
        """The study that a panel's settings (of `panel_settings`) ask for."""
        return self.study(panel.source, panel.target, panel.features, panel.emotions, panel.tune_layers)


def panel_settings(config: EmofslConfig, source: str, target: str, features: str, emotions: Sequence[str], *, corpora: Sequence[str],
                   front_ends: Sequence[str], known: Sequence[str]) -> Any:
    """The start of a panel: drop-downs for source, target and front end, a box for each of the `known` emotions, and the settings of `config`
    that a panel varies. An object of a frozen dataclass, as `display.controls.Panel` wants it."""
    own = (("source", source, "corpus that is labelled", tuple(corpora)), ("target", target, "corpus with a few labels", tuple(corpora)),
           ("features", features, "front end", tuple(dict.fromkeys([features, *front_ends]))),
           ("emotions", tuple(emotions), "the ways: which emotions compete", tuple(known)))
    fields = [(name, type(value), settings.setting(value, help_text, options=options)) for name, value, help_text, options in own]
    by_name = {field.name: field for field in dataclasses.fields(EmofslConfig)}
    fields += [(name, by_name[name].type, dataclasses.field(default=getattr(config, name), metadata=by_name[name].metadata)) for name in _IN_PANEL]
    return dataclasses.make_dataclass("Transfer", fields, frozen=True)()


def config_of(panel: Any, config: EmofslConfig) -> EmofslConfig:
    """`config` with what the panel says."""
    return dataclasses.replace(config, **{name: getattr(panel, name) for name in _IN_PANEL})
