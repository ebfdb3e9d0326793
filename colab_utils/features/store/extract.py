"""Filling feature stores: decode, compute, write; whatever was finished before is used again."""

import contextlib
import itertools
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
from tqdm import tqdm

from colab_utils.corpora.audio import AudioError, load_audio
from colab_utils.drive.memory import Memory
from colab_utils.features.front_end import FrontEnd, identity, in_threads, workers
from colab_utils.features.store.shards import GrowingShard, ShardHead, StoreError, check_shard
from colab_utils.features.store.store import INDEX, FeatureStore
from colab_utils.files import alone, read_json, short_hash, write_json, writing
from colab_utils.progress import bar as progress_bar

# what a kill can cost; shards follow from the sorted ids alone, never from the machine
SHARD_UTTERANCES = 128
BATCH_SECONDS = 240.0  # speech computed at a time, and as much again is decoded ahead
_NOT_FINITE = "the front end gives NaN or infinity"
_COLUMNS = ["utt_id", "corpus", "file", "audio_sha256"]


@dataclass
class ExtractionReport:
    """What one call of `extract` did; as a text it is what a notebook prints.

    Attributes:
        front_end: its name and how many columns it gives.
        made, reused: utterances.
        skipped: table (utt_id, file, reason).
        seconds: in all.
        remarks: anything else worth a line.
    """

    front_end: str
    made: int = 0
    reused: int = 0
    skipped: pd.DataFrame = field(default_factory=pd.DataFrame)
    seconds: float = 0.0
    remarks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        made = "nothing made"
        if self.made:
            made = f"{self.made} utterances made in {self.seconds:.1f} s"
        lines = [f"{self.front_end}: {made}, {self.reused} reused, {len(self.skipped)} skipped"]
        for row in self.skipped.itertuples():
            lines.append(f"  skipped {row.utt_id}: {row.reason} ({row.file})")
        return "\n".join(lines + [f"  {remark}" for remark in self.remarks])


def extract(
    manifest: pd.DataFrame,
    spec: FrontEnd,
    root: str | os.PathLike,
    device: str = "cpu",
    progress: bool = True,
    memory: Memory | None = None,
) -> FeatureStore:
    """Compute features of every utterance of a manifest, or take them from the cache.

    Each corpus has its own store `root/<NAME>-<key>`; the returned one shows them as one, its
    `.report` says what was made, reused and skipped. The key is a hash of the front end's identity
    and of the utterances' ids and audio. Interrupted at any moment, the next call goes on at the
    first shard that is missing, and ends with the same bytes. A file that cannot be decoded, or has
    changed since it was scanned, is listed in `skipped`, and tried again by the next call. Damaged
    shards are kept as `.corrupt` and made again. Of two calls for one store the second waits.

    Args:
        manifest: scanned utterances (columns utt_id, corpus, file, audio_sha256).
        spec: the front end.
        root: the folder of all stores.
        device: where to compute, such as "cuda".
        progress: whether a bar is shown.
        memory: the workspace on Drive: a store that is not here is looked for there.

    Raises:
        StoreError: the manifest was not scanned, is empty, or names an utterance twice.
        DiskFullError, NotWritableError: no room, or a read-only disk; what was finished is intact.
        ValueError, ImportError: what `spec` raises.
    """
    table = _checked(manifest)
    start = time.perf_counter()
    # asks for the columns first: a missing package shows at once
    report = ExtractionReport(f"{spec.NAME} ({spec.dim} columns)")
    parts = [part for _, part in table.groupby("corpus", sort=True)]
    root = pathlib.Path(root).absolute()
    memory = memory or Memory(root.parent)
    extractions = [_Extraction(part, spec, root, device, report, memory) for part in parts]
    with progress_bar(
        total=len(table), desc=spec.NAME, unit="utterance", disable=not progress
    ) as bar:
        for extraction in extractions:
            with writing(extraction.folder / INDEX):
                extraction.run(bar)
        bar.leave = report.made > 0
    store = FeatureStore([extraction.folder for extraction in extractions])
    report.skipped = store.skipped.merge(table[["utt_id", "file"]], on="utt_id")
    report.seconds = time.perf_counter() - start
    store.report = report
    return store


def _checked(manifest: pd.DataFrame) -> pd.DataFrame:
    """The columns that count, sorted by utterance. Raises StoreError."""
    missing = [column for column in _COLUMNS if column not in manifest.columns]
    if missing:
        raise StoreError(
            f"the manifest has no column {', '.join(missing)}: scan the audio first (load_corpus or"
            " scan give such a table)"
        )
    table = manifest[_COLUMNS].astype(str).sort_values("utt_id", ignore_index=True)
    if table.empty:
        raise StoreError("the manifest has no utterances")
    ids = table["utt_id"]
    if not ids.is_unique:
        raise StoreError(f"{ids[ids.duplicated()].iloc[0]} stands in the manifest more than once")
    unknown = table["audio_sha256"].isin(["", "nan", "None"])
    if unknown.any():
        raise StoreError(f"{ids[unknown].iloc[0]} has no audio_sha256: scan the audio again")
    return table


def store_key(table: pd.DataFrame, spec: FrontEnd) -> str:
    """12 hex digits that name the front end and the utterances (ids and audio).

    The front end counts with its version, the utterances in any order.
    """
    audio = table[["utt_id", "audio_sha256"]].sort_values("utt_id").to_numpy().tolist()
    return short_hash([identity(spec), SHARD_UTTERANCES, audio])


class _Extraction:
    """The extraction of one corpus into one folder."""

    def __init__(
        self,
        table: pd.DataFrame,
        spec: FrontEnd,
        root: pathlib.Path,
        device: str,
        report: ExtractionReport,
        memory: Memory,
    ):
        self.spec, self.device, self.report, self.memory = spec, device, report, memory
        self.corpus = table["corpus"].iloc[0]
        self.key = store_key(table, spec)
        self.folder = root / f"{spec.NAME}-{self.key}"
        # file and audio_sha256 of each shard's utterances
        self.plan: dict[pathlib.Path, dict[str, tuple[str, str]]] = {}
        for start in range(0, len(table), SHARD_UTTERANCES):
            rows = table[start : start + SHARD_UTTERANCES]
            path = self.folder / f"shard-{len(self.plan):05d}.safetensors"
            scanned = zip(rows["file"], rows["audio_sha256"], strict=True)
            self.plan[path] = dict(zip(rows["utt_id"], scanned, strict=True))

    def run(self, bar: tqdm) -> None:
        """Make what is missing and write the index."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with alone(self.folder, "filling this store"):
            self.memory.bring(self.folder, INDEX, started=any(path.exists() for path in self.plan))
            # a killed writer's; nobody else writes while the lock is held
            for litter in self.folder.glob(".*.tmp*"):
                litter.unlink()
            heads = dict(zip(self.plan, in_threads(self._finished, self.plan), strict=True))
            missing = [path for path in self.plan if heads[path] is None]
            for head in filter(None, heads.values()):
                self.report.reused += len(head.ids)
                # the estimate is about what is left to make
                bar.total -= len(head.ids) + len(head.skipped)
            if missing:
                (self.folder / INDEX).unlink(missing_ok=True)
                heads.update(self._make(missing, bar))
            self._write_index(heads)
            if missing:
                self.memory.keep(self.folder, finished=True)

    def _finished(self, path: pathlib.Path) -> ShardHead | None:
        """The head of a whole shard; None where it has to be made.

        A damaged shard is set aside; one whose unreadable files can be read by now is made again.
        """
        planned = self.plan[path]
        if not path.exists():
            return None
        try:
            head = check_shard(path)
            skipped = [utt_id for utt_id, _ in head.skipped]
            if head.key != self.key or sorted(head.ids + skipped) != list(planned):
                raise StoreError(f"{path}: holds other utterances than planned")
        except StoreError as error:
            aside = path.with_suffix(".corrupt")
            os.replace(path, aside)
            reason = error.args[0].split("; run")[0]
            self.report.remarks.append(f"{reason}: set aside as {aside.name} and made again")
            return None
        for utt_id, reason in head.skipped:
            if reason != _NOT_FINITE and isinstance(_load(*planned[utt_id], 16000), np.ndarray):
                self.report.remarks.append(f"{path.name} is made again: {utt_id} can be read now")
                return None
        return head

    def _decoded(
        self, paths: list[pathlib.Path]
    ) -> Iterator[tuple[pathlib.Path, Iterator[tuple[str, np.ndarray | AudioError]]]]:
        """Each shard with its waveforms (or why there is none), decoded up to one shard ahead."""

        def load(scanned: tuple[str, str], number: int) -> np.ndarray | AudioError:
            return ahead.made(number, _load, *scanned, self.spec.sample_rate)

        numbers = itertools.count()

        with _Ahead(BATCH_SECONDS * self.spec.sample_rate) as ahead:
            first = self.plan[paths[0]]
            waves = ahead.pool.map(load, first.values(), numbers)
            for path, following in itertools.pairwise([*paths, None]):
                current = map(ahead.taken, waves)
                if following is not None:
                    waves = ahead.pool.map(load, self.plan[following].values(), numbers)
                yield path, zip(self.plan[path], current, strict=True)

    def _make(self, paths: list[pathlib.Path], bar: tqdm) -> dict[pathlib.Path, ShardHead]:
        """Compute shards; each is written while the next one is computed."""
        written: dict[pathlib.Path, Future] = {}
        latest: Future | None = None
        with ThreadPoolExecutor(1) as writer, contextlib.closing(self._decoded(paths)) as decoded:
            for path, waveforms in decoded:
                shard = GrowingShard(self.folder, self.key, self.spec.dim)
                skipped = self._fill(shard, waveforms, bar)
                if latest is not None:
                    latest.result()  # one shard waits at most; a full disk is noticed here
                    self.memory.keep(self.folder, finished=False)
                latest = writer.submit(shard.write, path, skipped)
                written[path] = latest
            heads = {path: one.result() for path, one in written.items()}
        self.report.made += sum(len(head.ids) for head in heads.values())
        return heads

    def _fill(
        self,
        shard: GrowingShard,
        waveforms: Iterator[tuple[str, np.ndarray | AudioError]],
        bar: tqdm,
    ) -> list[list[str]]:
        """Compute the features of a shard's utterances; [utt_id, reason] of those without any."""
        unread: list[list[str]] = []
        broken: list[list[str]] = []

        def good() -> Iterator[tuple[str, np.ndarray]]:
            for utt_id, wave in waveforms:
                if isinstance(wave, AudioError):
                    unread.append([utt_id, wave.reason])
                    bar.update(1)
                else:
                    yield utt_id, wave

        for batch in _batches(good(), BATCH_SECONDS * self.spec.sample_rate):
            computed = self.spec.compute(list(batch.values()), self.device)
            for utt_id, values in zip(batch, computed, strict=True):
                if np.isfinite(values).all():
                    shard.add(utt_id, values)
                else:
                    broken.append([utt_id, _NOT_FINITE])
            bar.update(len(batch))
        return unread + broken

    def _write_index(self, heads: dict[pathlib.Path, ShardHead]) -> None:
        """Write the index, unless it stands there already."""
        shards = []
        for path, head in heads.items():
            entry = {"file": path.name} | asdict(head)
            del entry["key"]
            shards.append(entry)
        index = {
            "key": self.key,
            "corpus": self.corpus,
            "spec": identity(self.spec),
            "pooled": self.spec.pooled,
            "feature_names": self.spec.feature_names,
            "shards": shards,
        }
        path = self.folder / INDEX
        try:
            if path.exists() and read_json(path) == index:
                return
        except ValueError as error:
            self.report.remarks.append(f"{error.args[0].split(':')[0]}: written again")
        write_json(path, index)


def _load(file: str, audio_sha256: str, sample_rate: int) -> np.ndarray | AudioError:
    """A waveform, or the error that says why there is none."""
    try:
        return load_audio(file, sample_rate, audio_sha256)
    except AudioError as error:
        return error


class _Ahead:
    """Threads that decode ahead of who takes the waveforms, at most so many samples.

    What is being decoded meanwhile comes on top, one file a thread: its length is not known before.
    They are taken in the order of their numbers, from 0; what is waited for is never held up.
    """

    def __init__(self, most: float):
        self.pool = ThreadPoolExecutor(workers())
        self._most = most
        self._waiting = 0
        self._next = 0  # the number that is waited for
        self._changed = threading.Condition()

    def __enter__(self) -> "_Ahead":
        return self

    def __exit__(self, *_: object) -> None:
        self._count(-np.inf)
        self.pool.shutdown(cancel_futures=True)

    def made(self, number: int, load: Callable, *arguments: object) -> np.ndarray | AudioError:
        """What `load` gives, as soon as there is room for it, or it is waited for."""
        with self._changed:
            self._changed.wait_for(lambda: number == self._next or self._waiting < self._most)
        wave = load(*arguments)
        self._count(np.size(wave))
        return wave

    def taken(self, wave: np.ndarray | AudioError) -> np.ndarray | AudioError:
        """`wave`, which no longer waits."""
        self._next += 1
        self._count(-np.size(wave))
        return wave

    def _count(self, samples: float) -> None:
        with self._changed:
            self._waiting += samples
            self._changed.notify_all()


def _batches(
    waveforms: Iterable[tuple[str, np.ndarray]], at_most: float
) -> Iterator[dict[str, np.ndarray]]:
    """Utterances in their order, in batches of at most `at_most` samples together.

    A longer one stands alone.
    """
    batch: dict[str, np.ndarray] = {}
    total = 0
    for utt_id, wave in waveforms:
        if batch and total + len(wave) > at_most:
            yield batch
            batch, total = {}, 0
        batch[utt_id] = wave
        total += len(wave)
    if batch:
        yield batch
