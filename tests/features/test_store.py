"""Shards and stores: what was written comes back, what was damaged is noticed, what is missing is
named.
"""

import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from colab_utils.features.front_end import FrontEnd
from colab_utils.features.store.extract import extract
from colab_utils.features.store.shards import ShardHead, StoreError, read_shard, write_shard
from colab_utils.features.store.store import FeatureStore
from colab_utils.settings import setting


@dataclass(frozen=True)
class Levels(FrontEnd):
    """Two numbers a block of samples, or a waveform: cheap, and easy to check."""

    NAME: ClassVar[str] = "levels"
    VERSION: ClassVar[int] = 1
    sample_rate: ClassVar[int] = 16000
    block: int = setting(1000, "samples a frame", low=1, high=10000, step=1)

    feature_names = ["mean", "peak"]

    def compute(self, waveforms, device="cpu"):
        pieces = [
            [wave[i : i + self.block] for i in range(0, len(wave), self.block)]
            for wave in waveforms
        ]
        return [
            np.array([[p.mean(), np.abs(p).max()] for p in some], dtype=np.float32)
            for some in pieces
        ]


@dataclass(frozen=True)
class PooledLevels(Levels):
    NAME: ClassVar[str] = "pooled-levels"
    pooled: ClassVar[bool] = True

    def compute(self, waveforms, device="cpu"):
        return [
            np.array([[wave.mean(), np.abs(wave).max()]], dtype=np.float32) for wave in waveforms
        ]


def wave_of(utt_id):
    """A waveform that follows from the id."""
    rng = np.random.default_rng(sum(utt_id.encode()))
    return rng.normal(0, 0.1, 1000 + sum(utt_id.encode()) % 7 * 500).astype(np.float32)


@pytest.fixture
def table(monkeypatch):
    """A function that gives a manifest of n utterances over some corpora, whose files are `wave_of`
    their ids.
    """
    monkeypatch.setattr("colab_utils.features.store.extract._load", lambda file, *_: wave_of(file))

    def make(n, corpora=("a",)):
        ids = [f"{corpus}/{number:05d}" for corpus in corpora for number in range(n)]
        return pd.DataFrame(
            {
                "utt_id": ids,
                "corpus": [i.split("/")[0] for i in ids],
                "file": ids,
                "audio_sha256": [f"sha {i}" for i in ids],
            }
        )

    return make


def test_a_shard_comes_back_and_one_flipped_or_missing_byte_is_noticed(tmp_path):
    rng = np.random.default_rng(0)
    features = {f"a/{n}": rng.normal(size=(n, 3)).astype(np.float32) for n in (1, 4, 2)}
    head = write_shard(tmp_path / "s.safetensors", "k", features, [["a/bad", "empty"]], 3)
    again, values = read_shard(tmp_path / "s.safetensors")
    assert (
        again
        == head
        == ShardHead("k", ["a/1", "a/4", "a/2"], [1, 4, 2], [["a/bad", "empty"]], head.crc32)
    )
    assert np.array_equal(values, np.concatenate(list(features.values())))
    data = (tmp_path / "s.safetensors").read_bytes()
    for position in range(0, len(data), 11):
        (tmp_path / "t.safetensors").write_bytes(
            data[:position] + bytes([data[position] ^ 16]) + data[position + 1 :]
        )
        with pytest.raises(StoreError, match="damaged"):
            read_shard(tmp_path / "t.safetensors")
    for length in (0, 5, 60, len(data) - 1):
        (tmp_path / "t.safetensors").write_bytes(data[:length])
        with pytest.raises(StoreError, match=r"t\.safetensors: damaged.*run the extraction again"):
            read_shard(tmp_path / "t.safetensors")
    with pytest.raises(StoreError, match="missing"):
        read_shard(tmp_path / "none.safetensors")


def test_equal_shards_have_equal_bytes_and_all_may_be_skipped(tmp_path):
    for name in ("1", "2"):
        write_shard(tmp_path / name, "k", {}, [["a/x", "empty"], ["a/y", "0 samples"]], 5)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert read_shard(tmp_path / "1")[1].shape == (0, 5)


def test_frames_of_several_corpora_as_one_store(tmp_path, table):
    store = extract(table(150, ("b", "a")), Levels(), tmp_path, progress=False)
    assert len(store) == 300 and store.ids == sorted(store.ids) and len(store.folders) == 2
    for utt_id in store.ids[::37]:
        assert np.array_equal(store[utt_id], Levels().compute([wave_of(utt_id)])[0])
    apart = [FeatureStore([folder]) for folder in store.folders]
    assert {one.key for one in apart} == {
        folder.name.split("-")[-1] for folder in store.folders
    } and store.key not in {one.key for one in apart}
    assert (
        store.spec == apart[0].spec
        and store.spec["settings"] == {"block": 1000}
        and store.feature_names == ["mean", "peak"]
    )
    with pytest.raises(StoreError, match="frames, not one vector"):
        store.matrix(store.ids[:2])


def test_padded_equals_a_naive_loop(tmp_path, table):
    store = extract(table(20), Levels(block=300), tmp_path, progress=False)
    ids = ["a/00003", "a/00001", "a/00019", "a/00003"]
    values, mask = store.padded(ids)
    pieces = [store[utt_id] for utt_id in ids]
    assert values.shape == (4, max(map(len, pieces)), 2)
    assert values.dtype == np.float32
    assert mask.dtype == bool
    for row, valid, piece in zip(values, mask, pieces, strict=True):
        assert np.array_equal(row[valid], piece)
        assert valid[: len(piece)].all()
        assert not row[~valid].any()
    assert store.lengths(ids).tolist() == [len(store[utt_id]) for utt_id in ids]
    assert store.lengths([]).dtype == np.int64
    assert store.padded([])[0].shape == (0, 0, 2)


def test_matrix_in_the_order_asked_for(tmp_path, table):
    store = extract(table(300), PooledLevels(), tmp_path, progress=False)
    ids = ["a/00299", "a/00000", "a/00128", "a/00000"]
    assert np.array_equal(
        store.matrix(ids), np.concatenate([PooledLevels().compute([wave_of(i)])[0] for i in ids])
    )
    assert store.matrix([]).shape == (0, 2)


def test_what_is_returned_is_a_copy(tmp_path, table):
    store = extract(table(3), PooledLevels(), tmp_path, progress=False)
    before = store["a/00000"].copy()
    store["a/00000"][:] = 7
    assert np.array_equal(store["a/00000"], before)


def test_missing_and_skipped_utterances_are_named(tmp_path, table, monkeypatch):
    from colab_utils.corpora.audio import AudioError

    monkeypatch.setattr(
        "colab_utils.features.store.extract._load",
        lambda file, *_: AudioError(file, "0 samples") if file == "a/00001" else wave_of(file),
    )
    store = extract(table(3), PooledLevels(), tmp_path, progress=False)
    assert (
        store.skipped.to_dict("records") == [{"utt_id": "a/00001", "reason": "0 samples"}]
        and "a/00001" not in store
    )
    with pytest.raises(KeyError, match=r"a/00001 has no features: it was skipped \(0 samples\)"):
        store.matrix(["a/00000", "a/00001"])
    with pytest.raises(KeyError, match="z/1 has no features: it was not extracted"):
        store["z/1"]


def test_stores_that_cannot_be_opened_say_why(tmp_path, table):
    frames, pooled = (
        extract(table(3), spec, tmp_path, progress=False) for spec in (Levels(), PooledLevels())
    )
    with pytest.raises(StoreError, match="open them apart"):
        FeatureStore([*frames.folders, *pooled.folders])
    with pytest.raises(StoreError, match=r"a/00000 stands in .* and in"):
        FeatureStore([*frames.folders, *frames.folders])
    with pytest.raises(StoreError, match=r"no index\.json"):
        FeatureStore([tmp_path])
    with pytest.raises(StoreError, match="no store"):
        FeatureStore([])
    shard = frames.folders[0] / "shard-00000.safetensors"
    write_shard(shard, frames.key, {"a/00000": np.zeros((1, 2), np.float32)}, [], 2)
    with pytest.raises(StoreError, match="not the shard that the index speaks of"):
        FeatureStore([frames.folders[0]])["a/00000"]
    shard.unlink()
    with pytest.raises(StoreError, match="missing; run the extraction again"):
        FeatureStore([frames.folders[0]])
    (frames.folders[0] / "index.json").write_text("{")
    with pytest.raises(StoreError, match="not valid JSON"):
        FeatureStore([frames.folders[0]])


@pytest.mark.slow
def test_ten_thousand_utterances_open_within_a_second(tmp_path, table, monkeypatch):
    manifest, wave = table(10_000), wave_of("any")
    monkeypatch.setattr("colab_utils.features.store.extract._load", lambda file, *_: wave)
    made = extract(manifest, Levels(), tmp_path, progress=False)
    assert made.report.made == 10_000
    for again in (
        lambda: FeatureStore(made.folders),
        lambda: extract(manifest, Levels(), tmp_path, progress=False),
    ):
        seconds = []
        # the best of three: a busy machine says nothing about the store
        for _ in range(3):
            start = time.perf_counter()
            store = again()
            seconds.append(time.perf_counter() - start)
            assert len(store) == 10_000 and store["a/09999"].shape[1] == 2
        assert min(seconds) < 1.0, seconds
