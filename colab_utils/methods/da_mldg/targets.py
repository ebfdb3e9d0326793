"""Sources and target on request: any set of corpora with one left out, a published scenario, or its stand-ins; each study made once."""
from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from colab_utils import settings
from colab_utils.features import front_end
from colab_utils.features.store.extract import extract
from colab_utils.features.store.store import FeatureStore
from colab_utils.methods.da_mldg.algorithms import ALGORITHMS
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.methods.da_mldg.speaker_pretraining import SpeakerConfig
from colab_utils.methods.da_mldg.study import DomainStudy
from colab_utils.protocols.build import build_task
from colab_utils.protocols.domains import in_domain, leave_one_out, stand_ins, with_tasks
from colab_utils.protocols.published import Protocol, ProtocolError

SCENARIO, WITHIN = "scenario ", "within "         # how the names of tasks begin that are not the name of a target
_IN_PANEL = ("order", "gamma_rule", "inner_rate", "coral_weight", "steps", "learning_rate", "seed", "n_seeds")


class DomainSets:
    """Studies over the corpora of `manifest`, in the manner of `protocol`, by the name of what is asked for:

    "<corpus>": it is tested, all others train; "scenario <name>": a task of the protocol, of which the real corpora or, where the manifest holds
    the embedded one alone, stand-ins (`domains.stand_ins`) are used; "within <corpus>": the in-domain reference. emotions: default the protocol's.
    Everything is kept below root. Raises what `build_task` raises.
    """

    def __init__(self, protocol: Protocol, manifest: pd.DataFrame, root: str | pathlib.Path, *, emotions: Sequence[str] = (),
                 merge: Mapping[str, str | None] | None = None, device: str = "cpu", progress: bool = True, check_counts: bool = True,
                 pretraining: SpeakerConfig = SpeakerConfig()):
        self.protocol, self.manifest, self.root = protocol, manifest, pathlib.Path(root)
        self.emotions, self.merge = tuple(emotions), dict(merge or {})
        self.device, self.progress, self.check_counts, self.pretraining = device, progress, check_counts, pretraining
        self.synthetic = bool(manifest["corpus"].str.startswith("synthetic").all())
        self._stores: dict[tuple[str, str], FeatureStore] = {}
        self._studies: dict[tuple[str, str], DomainStudy] = {}

    @property
    def corpora(self) -> list[str]:
        """The corpora there are, in alphabetical order."""
        return sorted(set(self.manifest["corpus"]))

    @property
    def tasks(self) -> list[str]:
        """What can be asked for: each corpus left out, and the published scenarios whose corpora (or stand-ins) there are."""
        there = set(self.corpora)
        known = [name for name, task in self.protocol.tasks.items() if not task.within and (self.synthetic or set(task.corpora) <= there)]
        return [*(self.corpora if len(there) > 1 else []), *(SCENARIO + name for name in known)]

    def study(self, name: str, features: str) -> DomainStudy:
        """The study of that name. Raises ProtocolError for a name that there is not, listing those there are."""
        if (name, features) not in self._studies:
            protocol, manifest = self._task(name)
            task, = protocol.tasks.values()
            rows, split = build_task(protocol, task.name, manifest, check_counts=self.check_counts)
            title = name if name.startswith(SCENARIO) else task.name
            self._studies[name, features] = DomainStudy(title, rows, split, self._store(features, manifest), task.emotions, self.root,
                                                        merge=task.merge, device=self.device, progress=self.progress, pretraining=self.pretraining)
        return self._studies[name, features]

    def _task(self, name: str) -> tuple[Protocol, pd.DataFrame]:
        """The protocol with one task, and the manifest for it."""
        if name.startswith(SCENARIO):
            wanted = name.removeprefix(SCENARIO)
            if self.synthetic:
                return stand_ins(self.protocol, wanted, self.manifest)
            if wanted not in self.protocol.tasks:
                raise ProtocolError(f"{self.protocol.name} has no task {wanted!r}; it has {', '.join(self.protocol.tasks)}")
            return with_tasks(self.protocol, [self.protocol.tasks[wanted]]), self.manifest
        corpus = name.removeprefix(WITHIN)
        if corpus not in self.corpora:
            raise ProtocolError(f"no corpus {corpus!r} is here: choose from {', '.join(self.tasks)}")
        task = in_domain(self.protocol, corpus) if name.startswith(WITHIN) else leave_one_out(self.protocol, self.corpora)[corpus]
        task = dataclasses.replace(task, emotions=self.emotions or task.emotions, merge={**task.merge, **self.merge})
        return with_tasks(self.protocol, [task]), self.manifest

    def _store(self, features: str, manifest: pd.DataFrame) -> FeatureStore:
        """Features of all utterances; stand-ins have their own, since their names differ."""
        key = features, "".join(sorted(set(manifest["corpus"])))
        if key not in self._stores:
            self._stores[key] = extract(manifest, front_end(features), self.root / "features", device=self.device)
        return self._stores[key]


def configs_of(config: DomainConfig, algorithms: Sequence[str]) -> dict[str, DomainConfig]:
    """The settings of each algorithm, by its name."""
    return {name: dataclasses.replace(config, algorithm=name) for name in algorithms}


def panel_settings(config: DomainConfig, task: str, algorithms: Sequence[str], tasks: Sequence[str]) -> Any:
    """The start of a panel: a drop-down of tasks, a box for each algorithm, and the settings of `config` that a panel varies."""
    fields = [("task", str, settings.setting(task, "which corpus is left out, or a published scenario", options=tuple(tasks))),
              ("algorithms", tuple, settings.setting(tuple(algorithms), "which are trained and tested", options=tuple(ALGORITHMS)))]
    by_name = {field.name: field for field in dataclasses.fields(DomainConfig)}
    fields += [(name, by_name[name].type, dataclasses.field(default=getattr(config, name), metadata=by_name[name].metadata)) for name in _IN_PANEL]
    return dataclasses.make_dataclass("Generalisation", fields, frozen=True)()


def config_of(panel: Any, config: DomainConfig) -> DomainConfig:
    """`config` with what the panel says."""
    return dataclasses.replace(config, **{name: getattr(panel, name) for name in _IN_PANEL})
