"""AlexNet on spectrograms as a study: a network for each fold and seed, tested on clean and on worse recordings of speakers never heard."""
from __future__ import annotations

import dataclasses
import inspect
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from colab_utils import files, settings
from colab_utils.corpora.audio import load_audio
from colab_utils.corpora.manifest import manifest_hash
from colab_utils.features.published.alexnet import RATE, AlexNetSpectrogram
from colab_utils.features.published.degrade import TRAINING_NOISES
from colab_utils.features.store.extract import extract
from colab_utils.features.store.store import FeatureStore
from colab_utils.learning.complete import complete
from colab_utils.learning.trained import train_or_load
from colab_utils.learning.training import History
from colab_utils.methods.alexnet.network import spectrogram_net, valid_columns
from colab_utils.methods.alexnet.pictures import Images, Range, fit_range, make_images, utterance_probabilities
from colab_utils.methods.alexnet.training import VERSION, SpectrogramConfig, SpectrogramLearner, check, preset_name
from colab_utils.protocols.folds import check_disjoint
from colab_utils.results.predictions import predictions_table
from colab_utils.results.runs import Run, open_run

STABILITY_CONDITIONS = (*(f"{kind}@10" for kind in TRAINING_NOISES), "reverb")
TEST_CONDITIONS = ("clean", "pink@20", "pink@10", "pink@5", "pink@0", "machine@10", "hum@10", "reverb@0.9", "8khz")
Own = Callable[[int], torch.nn.Module]
_ONLY_TEST = ("decision", "test_hop", "n_boot", "n_seeds")


class SpectrogramStudy:
    """One task of a protocol (roles train, valid, test in folds of speakers) on spectrogram pictures.

    rows, split: from `protocols.build.build_task`; labels: the emotions in a fixed order. Features are extracted into `root`/features, a store for
    each feature set and condition, when they are first needed. conditions: how the copies of stability training are made worse; no test
    condition may be among them, but "reverb" with another decay. Everything is kept below `root`. Raises LeakError.
    """

    def __init__(self, name: str, rows: pd.DataFrame, split: pd.DataFrame, labels: Sequence[str], root: str | os.PathLike, *,
                 merge: Mapping[str, str | None] | None = None, device: str = "cpu", progress: bool = True,
                 conditions: Sequence[str] = STABILITY_CONDITIONS):
        check_disjoint(split)
        if "valid" not in set(split["role"]):
            raise settings.SettingError(f"task {name} has no validation speakers: choose a protocol whose folds have some")
        self.name, self.rows, self.split, self.labels, self.root = name, rows.reset_index(drop=True), split, list(labels), pathlib.Path(root)
        self.merge, self.device, self.progress, self.conditions = dict(merge or {}), device, progress, tuple(conditions)
        self.folds = sorted(set(split["fold"]))
        self._stores: dict[tuple[str, str], FeatureStore] = {}
        self._learners: dict[Any, tuple[SpectrogramLearner, History, Range, pathlib.Path]] = {}

    def store(self, features: str, condition: str = "clean") -> FeatureStore:
        """Cached features of all utterances in one condition."""
        if (features, condition) not in self._stores:
            spec = AlexNetSpectrogram(feature_set=features, condition=condition)
            self._stores[features, condition] = extract(self.rows, spec, self.root / "features", device=self.device, progress=self.progress)
        return self._stores[features, condition]

    def part(self, fold: str, role: str) -> pd.DataFrame:
        """The rows of one role in one fold."""
        mine = self.split.loc[(self.split["fold"] == fold) & (self.split["role"] == role), "utt_id"]
        return self.rows[self.rows["utt_id"].isin(mine)].reset_index(drop=True)

    def images(self, rows: pd.DataFrame, config: SpectrogramConfig, limits: Range, condition: str = "clean", hop: int = 300) -> Images:
        """Pictures of `rows` as the network sees them."""
        spec = AlexNetSpectrogram(feature_set=config.features)
        return make_images(self.store(config.features, condition), rows, self.labels, spec, limits, hop=hop, padding=config.padding,
                           size=(config.image_height, config.image_width), eight_bit=config.eight_bit, device=self.device)

    # --- training ------------------------------------------------------------------------------------------------------------------------

    def train(self, config: SpectrogramConfig, fold: str = "", on_record: Callable[[list[dict]], None] | None = None) -> History:
        """Train one fold (default: the first) with the first seed, or load it; returns its history.

        Raises SettingError, TrainingError, Interrupted.
        """
        check(config)
        return self.learner(config, fold or self.folds[0], on_record, self.progress)[1]

    def learner(self, config: SpectrogramConfig, fold: str, on_record: Callable | None = None, progress: bool = False,
                own: Own | None = None) -> tuple[SpectrogramLearner, History, Range, pathlib.Path]:
        """The trained learner of a fold and seed, its history, the range of its bins, and its folder: from memory, from disk, or trained now."""
        config = dataclasses.replace(config, **{name: getattr(SpectrogramConfig(), name) for name in _ONLY_TEST[1:]})
        key = config, fold, own
        if key not in self._learners:
            train, valid = (self.part(fold, role) for role in ("train", "valid"))
            store = self.store(config.features)
            limits = fit_range(store, train["utt_id"], AlexNetSpectrogram(feature_set=config.features))
            worse = self.conditions if config.stability or config.noisy_loss else ()
            true = pd.Index(self.labels).get_indexer(valid["emotion"])
            learner = SpectrogramLearner(self.images(train, config, limits), self.images(valid, config, limits), true, len(self.labels), config,
                                         [self.images(train, config, limits, condition) for condition in worse], own)
            split = self.split[(self.split["fold"] == fold) & self.split["role"].isin(["train", "valid"])]
            facts = {"version": VERSION, "labels": self.labels, "merge": self.merge, "features": store.key, "started": learner.started,
                     "conditions": list(worse), "manifest": manifest_hash(pd.concat([train, valid])), **_code(own)}
            name = f"{self.name}-{config.ser_model}-{config.features}-fold{fold}-seed{config.seed}"
            folder, history = train_or_load(self.root, "spectrograms", name, config, facts, split, learner, learner.steps,
                                            every=learner.steps_per_epoch, patience=config.patience or None, progress=progress,
                                            on_record=on_record)
            self._learners[key] = learner, history, limits, folder
        return self._learners[key]

    # --- testing -------------------------------------------------------------------------------------------------------------------------

    def evaluate(self, configs: Mapping[str, SpectrogramConfig], conditions: Sequence[str] = ("clean",), pictures: bool = True,
                 own: Mapping[str, Own] | None = None) -> dict[tuple[str, str], Run]:
        """Test every named setting in every condition on the folds' test speakers: finished runs by (name, condition).

        A network is trained once and tested in all conditions. own: functions from the number of classes to a network of one's own, for some of the
        names. pictures: draw the confusion matrix of each run, too. What was finished before is
        loaded. Raises SettingError (also for a test condition that stability training has heard), TrainingError, Interrupted.
        """
        for config in configs.values():
            check(config)
            heard = set(conditions) & set(self.conditions) if config.stability or config.noisy_loss else set()
            if heard:
                raise settings.SettingError(f"condition {sorted(heard)[0]} was heard in stability training: test on another, such as pink@10")
        return {(name, condition): self._run(name, config, condition, pictures, (own or {}).get(name))
                for name, config in configs.items() for condition in conditions}

    def _run(self, name: str, config: SpectrogramConfig, condition: str, pictures: bool, own: Own | None) -> Run:
        """One setting in one condition, all folds and seeds: a finished run."""
        facts = {"version": VERSION, "preset": preset_name(config), "labels": self.labels, "merge": self.merge, "condition": condition,
                 "features": self.store(config.features).key, "manifest": manifest_hash(self.rows), "task": self.name, "model": name,
                 "conditions": list(self.conditions if config.stability or config.noisy_loss else ()), **_code(own)}
        seeds = range(config.seed, config.seed + config.n_seeds)
        split = pd.concat([self.split.assign(seed=seed, task=0) for seed in seeds], ignore_index=True)
        run = open_run(self.root, "alexnet", f"{self.name}-{name}-{condition}", config, facts, split)
        parts = {f"seed{seed}-fold{fold}": lambda part, seed=seed, fold=fold: self._predictions(name, dataclasses.replace(config, seed=seed), fold,
                                                                                               condition, own)
                 for seed in seeds for fold in self.folds}
        return complete(run, parts, self.labels, n_boot=config.n_boot, pictures=pictures, notes=lambda: [
            f"started from: {self.learner(config, self.folds[0], own=own)[0].started}", f"condition: {condition}",
            f"the epoch was picked by the {config.select.upper()} of validation speakers"])

    def _predictions(self, name: str, config: SpectrogramConfig, fold: str, condition: str, own: Own | None) -> pd.DataFrame:
        """Predictions of the test speakers of one fold."""
        learner, _, limits, _ = self.learner(config, fold, own=own)
        rows = self.part(fold, "test")
        images = self.images(rows, config, limits, condition, config.test_hop)
        scores = utterance_probabilities(learner.probabilities(images), images, config.decision)
        pred = np.array(self.labels, dtype=object)[scores.argmax(axis=1)]
        return predictions_table(rows, pred, self.labels, scores, method=name, rule="inductive", seed=config.seed, fold=fold)

    def measured(self, configs: Mapping[str, SpectrogramConfig], steps: int = 3) -> pd.DataFrame:
        """Parameters and seconds an epoch of each setting, from a few steps of a fresh network on the first fold."""
        rows = []
        for name, config in configs.items():
            train = self.part(self.folds[0], "train")
            limits = fit_range(self.store(config.features), train["utt_id"], AlexNetSpectrogram(feature_set=config.features))
            images = self.images(train, config, limits)
            noisy = [images] if config.stability or config.noisy_loss else []
            learner = SpectrogramLearner(images, images, np.zeros(images.n, dtype=int), len(self.labels), config, noisy)
            learner.step(0)
            begin = time.perf_counter()
            for step in range(1, steps + 1):
                learner.step(step)
            seconds = (time.perf_counter() - begin) / steps * learner.steps_per_epoch
            rows.append({"model": name, "parameters": sum(p.numel() for p in learner.module.parameters()), "segments": len(images.y),
                         "seconds an epoch": round(seconds, 2), "started from": learner.started})
        return pd.DataFrame(rows).set_index("model")

    def views(self, config: SpectrogramConfig, number: int = 4, fold: str = "") -> list[dict[str, Any]]:
        """What the network of a fold sees and looks at, for `display.spectrograms.views_figure`: the first segment of up to `number` test
        utterances, of different emotions as far as there are."""
        fold = fold or self.folds[0]
        learner, _, limits, _ = self.learner(config, fold)
        rows = self.part(fold, "test")
        rows = rows.loc[sorted(rows.groupby("emotion").head(1).index[:number])].reset_index(drop=True)
        images = self.images(rows, config, limits)
        probabilities = learner.probabilities(images).cpu().numpy()
        spec, found = AlexNetSpectrogram(feature_set=config.features), []
        low, high = float(images.values[:, 0].min()), float(images.values[:, 0].max())
        for row in rows.itertuples():
            at = int((images.utterance == row.Index).nonzero()[0])
            best = int(probabilities[at].argmax())
            activation = None
            if hasattr(learner.module, "activation_map"):
                with torch.no_grad():
                    activation = learner.module.activation_map(images.values[at:at + 1].float())[0, best].cpu().numpy()
                activation[:, ~valid_columns(images.valid[at:at + 1], activation.shape[1])[0].cpu().numpy()] = np.nan       # padding has no say
            picture = (images.values[at, 0].float().cpu().numpy() - low) / max(high - low, 1e-9)
            found.append({"picture": picture, "activation": activation, "seconds": 3.0, "valid": float(images.valid[at]),
                          "hertz": (0.0, 8000.0 if spec.bins == 128 else 20.0 * spec.bins), "scale": "mel" if spec.bins == 128 else "Hz",
                          "true": row.emotion, "predicted": self.labels[best], "name": row.utt_id})
        return found

    # --- a model to keep -----------------------------------------------------------------------------------------------------------------

    def save(self, config: SpectrogramConfig, save_label: str, fold: str = "") -> pathlib.Path:
        """Keep the best network of a fold below `root`/models/`save_label`, with all that labelling new audio needs; `Labeller` loads it."""
        learner, history, limits, _ = self.learner(config, fold or self.folds[0])
        folder = self.root / "models" / save_label
        weights = {name: value.detach().cpu().contiguous() for name, value in learner.module.state_dict().items()}
        ends = {"range.low": limits.low.contiguous(), "range.high": limits.high.contiguous()}
        files.write_bytes(folder / "model.safetensors", save(weights | ends))
        files.write_json(folder / "model.json", {"settings": settings.as_dict(config), "labels": self.labels, "task": self.name, "version": VERSION,
                                                 "fold": fold or self.folds[0], "best_score": history.best_score, "started": learner.started})
        return folder


def panel_settings(config: SpectrogramConfig, folds: Sequence[str]) -> SpectrogramConfig:
    """The start of a panel: the settings, and a drop-down of the fold to train and test."""
    fold = settings.setting(folds[0], "which fold's speakers are tested", options=tuple(folds))
    kind = dataclasses.make_dataclass("Network", [("fold", str, fold)], bases=(SpectrogramConfig,), frozen=True)
    return kind(**{field.name: getattr(config, field.name) for field in dataclasses.fields(SpectrogramConfig)})


def config_of(panel: Any) -> SpectrogramConfig:
    """The settings of a panel without the fold."""
    return SpectrogramConfig(**{field.name: getattr(panel, field.name) for field in dataclasses.fields(SpectrogramConfig)})


class Labeller:
    """A kept network: `Labeller(folder).label(files)` gives each file's probabilities. Raises SettingError for a folder that `save` did not write."""

    def __init__(self, folder: str | os.PathLike, device: str = "cpu"):
        folder = pathlib.Path(folder)
        try:
            kept = files.read_json(folder / "model.json")
            weights = load_file(folder / "model.safetensors")
            self.limits = Range(weights.pop("range.low"), weights.pop("range.high"))
            self.labels, self.device = list(kept["labels"]), device
            self.config = SpectrogramConfig(**kept["settings"])
            self.module = spectrogram_net(self.config.ser_model, len(self.labels))
            self.module.load_state_dict(weights)
        except (OSError, KeyError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
            raise settings.SettingError(f"{folder} holds no model that save() wrote ({str(error).splitlines()[0][:200]})") from error
        self.module.to(device).eval()

    @torch.no_grad()
    def label(self, paths: Sequence[str | os.PathLike]) -> pd.DataFrame:
        """A row for each audio file: `file`, `emotion` (the likeliest), and p_<emotion>. Raises AudioError for a file that cannot be read."""
        spec, frames = AlexNetSpectrogram(feature_set=self.config.features), _Frames()
        for path in paths:
            frames[str(path)], = spec.compute([load_audio(path, RATE)], self.device)
        rows = pd.DataFrame({"utt_id": [str(path) for path in paths], "emotion": self.labels[0]})
        images = make_images(frames, rows, self.labels, spec, self.limits, size=(self.config.image_height, self.config.image_width),
                             hop=self.config.test_hop, padding=self.config.padding, eight_bit=self.config.eight_bit, device=self.device)
        scores = utterance_probabilities(torch.softmax(self.module(images.values.float(), images.valid), dim=1), images, self.config.decision)
        table = pd.DataFrame({"file": rows["utt_id"], "emotion": np.array(self.labels)[scores.argmax(axis=1)]})
        return pd.concat([table, pd.DataFrame(scores, columns=[f"p_{label}" for label in self.labels])], axis=1)


def _code(own: Own | None) -> dict[str, str]:
    """What identifies a network of one's own: the source of the function that makes it."""
    return {} if own is None else {"code": files.short_hash(inspect.getsource(own))}


class _Frames(dict):
    """Frames by name, as a store has them."""

    @property
    def ids(self) -> list[str]:
        """The names."""
        return list(self)
