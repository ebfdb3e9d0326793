"""Filling feature stores: decode, compute, write; whatever was finished before is used again."""

from __future__ import annotations

import os
import pathlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field

import filelock
import numpy as np
import pandas as pd
from tqdm import tqdm

from colab_utils.corpora.audio import AudioError, load_audio
from colab_utils.features.front_end import FrontEnd, identity, workers
from colab_utils.features.store.shards import ShardHead, StoreError, read_shard, write_shard
from colab_utils.features.store.store import INDEX, FeatureStore
from colab_utils.files import read_json, short_hash, write_json
from colab_utils.progress import bar as progress_bar

# what a kill can cost; shards follow from the sorted ids alone, never from the machine
SHARD_UTTERANCES = 128
BATCH_SECONDS = 240.0  # speech computed at a time
_AHEAD = 128  # files decoded before they are asked for
_NOT_FINITE = "the front end gives NaN or infinity"


@dataclass
class ExtractionReport:
    """What one call of `extract` did.

    `made`, `reused`: utterances; `skipped`: table (utt_id, file, reason); `seconds` in all;
    `shares`: fractions of the time the stages were busy (decode, compute, write); `remarks`:
    anything else worth a line.
    """

    front_end: str
    made: int = 0
    reused: int = 0
    skipped: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=["utt_id", "file", "reason"])
    )
    seconds: float = 0.0
    shares: dict[str, float] = field(
        default_factory=lambda: {"decode": 0.0, "compute": 0.0, "write": 0.0}
    )
    remarks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        shares = ", ".join(f"{stage} {share:.0%}" for stage, share in self.shares.items())
        head = f"{self.front_end}: " + (
            f"{self.made} utterances made in {self.seconds:.1f} s ({shares})"
            if self.made
            else "nothing made"
        )
        bad = [
            f"  skipped {row.utt_id}: {row.reason} ({row.file})"
            for row in self.skipped.itertuples()
        ]
        return "\n".join(
            [
                f"{head}, {self.reused} reused, {len(bad)} skipped",
                *bad,
                *(f"  {remark}" for remark in self.remarks),
            ]
        )


def extract(
    manifest: pd.DataFrame,
    spec: FrontEnd,
    root: str | os.PathLike,
    device: str = "cpu",
    progress: bool = True,
) -> FeatureStore:
    """Compute `spec` for every utterance of a scanned manifest (columns utt_id, corpus, file,
    audio_sha256), or take it from the cache.

    Each corpus has its own store `root/<NAME>-<key>`; the returned one shows them as one, its
    `.report` says what was made, reused and skipped. The key is a hash of the front end's identity
    and of the utterances' ids and audio. Interrupted at any moment, the next call goes on at the
    first shard that is missing, and ends with the same bytes. A file that cannot be decoded is
    listed in `skipped`, and tried again by the next call. Damaged shards are kept as `.corrupt` and
    made again. Of two calls for one store the second waits. Raises StoreError for a manifest that
    was not scanned, DiskFullError, and what `spec` raises.
    """
    table, start = _checked(manifest), time.perf_counter()
    # asks for the columns first: a missing package shows at once
    report = ExtractionReport(f"{spec.NAME} ({spec.dim} columns)")
    busy = dict.fromkeys(report.shares, 0.0)
    jobs = [
        _Job(part, spec, pathlib.Path(root), device, report, busy)
        for _, part in table.groupby("corpus", sort=True)
    ]
    with progress_bar(
        total=len(table), desc=spec.NAME, unit="utterance", disable=not progress
    ) as bar:
        folders = [job.run(bar) for job in jobs]
        bar.leave = report.made > 0
    store = FeatureStore(folders)
    report.skipped = store.skipped.merge(table[["utt_id", "file"]], on="utt_id")[
        ["utt_id", "file", "reason"]
    ]
    report.seconds = time.perf_counter() - start
    report.shares = {stage: spent / max(sum(busy.values()), 1e-9) for stage, spent in busy.items()}
    store.report = report
    return store


def _checked(manifest: pd.DataFrame) -> pd.DataFrame:
    """The columns that count, sorted by utterance. Raises StoreError."""
    missing = [
        column
        for column in ("utt_id", "corpus", "file", "audio_sha256")
        if column not in manifest.columns
    ]
    if missing:
        raise StoreError(
            f"the manifest has no column {', '.join(missing)}: scan the audio first (load_corpus or"
            " scan give such a table)"
        )
    table = (
        manifest[["utt_id", "corpus", "file", "audio_sha256"]]
        .astype(str)
        .sort_values("utt_id", ignore_index=True)
    )
    if table.empty:
        raise StoreError("the manifest has no utterances")
    if table["utt_id"].duplicated().any():
        raise StoreError(
            f"{table['utt_id'][table['utt_id'].duplicated()].iloc[0]} stands in the manifest more"
            " than once"
        )
    unknown = table["audio_sha256"].isin(["", "nan", "None"])
    if unknown.any():
        raise StoreError(
            f"{table['utt_id'][unknown].iloc[0]} has no audio_sha256: scan the audio again"
        )
    return table


def store_key(table: pd.DataFrame, spec: FrontEnd) -> str:
    """12 hex digits that name the front end (identity with version) and the utterances (ids and
    audio), whatever their order.
    """
    audio = table[["utt_id", "audio_sha256"]].sort_values("utt_id").to_numpy().tolist()
    return short_hash([identity(spec), SHARD_UTTERANCES, audio])


class _Job:
    """The extraction of one corpus into one folder."""

    def __init__(
        self,
        table: pd.DataFrame,
        spec: FrontEnd,
        root: pathlib.Path,
        device: str,
        report: ExtractionReport,
        busy: dict,
    ):
        self.spec, self.device, self.report, self.busy = spec, device, report, busy
        self.corpus, self.key = table["corpus"].iloc[0], store_key(table, spec)
        self.folder = root / f"{spec.NAME}-{self.key}"
        rows = list(table[["utt_id", "file"]].itertuples(index=False, name=None))
        self.plan = [
            dict(rows[start : start + SHARD_UTTERANCES])
            for start in range(0, len(rows), SHARD_UTTERANCES)
        ]

    def run(self, bar: tqdm) -> pathlib.Path:
        """Make what is missing, write the index, return the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            # a killed writer's; nobody else writes while the lock is held
            for litter in self.folder.glob(".*.tmp*"):
                litter.unlink()
            heads = self._finished()
            for head in heads.values():
                self.report.reused += len(head.ids)
                # the estimate is about what is left to make
                bar.total -= len(head.ids) + len(head.skipped)
            if len(heads) < len(self.plan):
                (self.folder / INDEX).unlink(missing_ok=True)
                self._make(
                    [number for number in range(len(self.plan)) if number not in heads],
                    heads,
                    bar.update,
                )
            self._write_index(heads)
        return self.folder

    def _alone(self) -> AbstractContextManager:
        """Hold the lock of this store; the system lets go of it when a process dies."""
        lock = filelock.FileLock(self.folder.with_name(f".{self.folder.name}.lock"))
        try:
            return lock.acquire(timeout=0)
        except filelock.Timeout:
            tqdm.write(f"{self.folder.name}: another process is filling this store; waiting for it")
            return lock

    def _path(self, number: int) -> pathlib.Path:
        """Where a shard stands."""
        return self.folder / f"shard-{number:05d}.safetensors"

    def _finished(self) -> dict[int, ShardHead]:
        """The whole shards, by number.

        A damaged one is set aside; one whose unreadable files can be read by now is left out.
        """
        with ThreadPoolExecutor(workers()) as pool:
            heads = dict(enumerate(pool.map(self._head, range(len(self.plan)))))
        return {number: head for number, head in heads.items() if head is not None}

    def _head(self, number: int) -> ShardHead | None:
        """The head of a whole shard; None where it has to be made."""
        path, planned = self._path(number), self.plan[number]
        if not path.exists():
            return None
        try:
            head = read_shard(path)[0]
            if head.key != self.key or sorted(
                [*head.ids, *(utt_id for utt_id, _ in head.skipped)]
            ) != list(planned):
                raise StoreError(f"{path}: holds other utterances than planned")
        except StoreError as error:
            aside = path.with_suffix(".corrupt")
            os.replace(path, aside)
            self.report.remarks.append(
                f"{error.args[0].split('; run')[0]}: set aside as {aside.name} and made again"
            )
            return None
        back = [
            utt_id
            for utt_id, reason in head.skipped
            if reason != _NOT_FINITE and _readable(planned[utt_id])
        ]
        if back:
            self.report.remarks.append(
                f"{path.name} is made again: {', '.join(back)} can be read now"
            )
        return None if back else head

    def _make(
        self, numbers: list[int], heads: dict[int, ShardHead], advance: Callable[[int], object]
    ) -> None:
        """Make the shards: files are decoded ahead and shards written behind while others are
        computed.
        """
        files = [file for number in numbers for file in self.plan[number].values()]
        pools = ThreadPoolExecutor(workers(), "decode"), ThreadPoolExecutor(1, "write")
        try:
            waveforms = self._decoded(files, pools[0])
            written: list[tuple[int, Future]] = []
            for number in numbers:
                features, skipped = self._compute(
                    {utt_id: next(waveforms) for utt_id in self.plan[number]}, advance
                )
                if written:
                    # at most one shard waits; a full disk is noticed here
                    heads.update({written[-1][0]: written[-1][1].result()})
                written.append(
                    (
                        number,
                        pools[1].submit(
                            self._timed,
                            "write",
                            write_shard,
                            self._path(number),
                            self.key,
                            features,
                            skipped,
                            self.spec.dim,
                        ),
                    )
                )
            heads.update({number: future.result() for number, future in written})
        finally:
            for pool in pools:
                pool.shutdown(wait=True, cancel_futures=True)
        self.report.made += sum(len(heads[number].ids) for number in numbers)

    def _decoded(
        self, files: list[str], pool: ThreadPoolExecutor
    ) -> Iterator[np.ndarray | AudioError]:
        """Waveforms (or why there is none) in the order of `files`, decoded ahead by the pool."""
        coming: deque[Future] = deque()
        for position in range(len(files)):
            for file in files[position + len(coming) : position + _AHEAD]:
                coming.append(
                    pool.submit(self._timed, "decode", _load, file, self.spec.sample_rate)
                )
            yield coming.popleft().result()

    def _compute(
        self, waveforms: dict[str, np.ndarray | AudioError], advance: Callable[[int], object]
    ) -> tuple[dict, list[list[str]]]:
        """Features of one shard's utterances, and [utt_id, reason] of those that have none."""
        skipped = [
            [utt_id, wave.reason]
            for utt_id, wave in waveforms.items()
            if isinstance(wave, AudioError)
        ]
        advance(len(skipped))
        features = {}
        for ids in _batches(
            {
                utt_id: len(wave)
                for utt_id, wave in waveforms.items()
                if not isinstance(wave, AudioError)
            },
            BATCH_SECONDS * self.spec.sample_rate,
        ):
            values = self._timed(
                "compute", self.spec.compute, [waveforms[utt_id] for utt_id in ids], self.device
            )
            for utt_id, value in zip(ids, values, strict=True):
                if np.isfinite(value).all():
                    features[utt_id] = value
                else:
                    skipped.append([utt_id, _NOT_FINITE])
            advance(len(ids))
        return features, skipped

    def _timed(self, stage: str, function: Callable, *arguments: object) -> object:
        """Call the function and book its time to the stage.

        (Threads may lose a little of each other's time: it is a share for a report.)
        """
        start = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            self.busy[stage] += time.perf_counter() - start

    def _write_index(self, heads: dict[int, ShardHead]) -> None:
        """Write the index, unless it stands there already."""
        shards = [
            {
                "file": self._path(number).name,
                **{k: v for k, v in asdict(heads[number]).items() if k != "key"},
            }
            for number in sorted(heads)
        ]
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
            same = path.exists() and read_json(path) == index
        except ValueError as error:
            same = self.report.remarks.append(f"{error.args[0].split(':')[0]}: written again")
        if not same:
            write_json(path, index)


def _load(file: str, sample_rate: int) -> np.ndarray | AudioError:
    """A waveform, or the error that says why there is none."""
    try:
        return load_audio(file, sample_rate)
    except AudioError as error:
        return error


def _readable(file: str) -> bool:
    """Whether a file that was skipped before can be decoded now."""
    return not isinstance(_load(file, 16000), AudioError)


def _batches(lengths: dict[str, int], at_most: float) -> Iterator[list[str]]:
    """Utterances in their order, in lists of at most `at_most` samples together (a longer one
    alone).
    """
    batch: list[str] = []
    total = 0
    for utt_id, length in lengths.items():
        if batch and total + length > at_most:
            yield batch
            batch, total = [], 0
        batch.append(utt_id)
        total += length
    if batch:
        yield batch
