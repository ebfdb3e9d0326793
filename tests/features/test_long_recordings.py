"""Extraction takes memory by seconds of audio and not by files, and gives the same bytes."""

import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import soundfile

from colab_utils.corpora.audio import load_audio, read_audio, samples_sha256
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.front_end import workers
from colab_utils.features.store import extract as extracting
from colab_utils.features.store.extract import extract
from colab_utils.features.store.shards import GrowingShard, StoreError, check_shard, read_shard

SPEC = LogMel(n_mels=20)


def manifest_of(folder, count, seconds):
    """So many recordings of noise, all different."""
    rows = []
    for number in range(count):
        wave = np.random.default_rng(number).normal(0, 0.1, int(seconds * 16000))
        file = folder / f"{number:03d}.wav"
        soundfile.write(file, wave, 16000, subtype="PCM_16")
        digest = samples_sha256(*read_audio(file))
        rows.append((f"own/{number:03d}", "own", str(file), digest))
    return pd.DataFrame(rows, columns=["utt_id", "corpus", "file", "audio_sha256"])


def whole_shard(path):
    """A shard's bytes as the safetensors library writes all of them at once."""
    _, values = read_shard(path)
    with safetensors.safe_open(path, framework="numpy") as handle:
        return safetensors.numpy.save({"values": values}, handle.metadata())


@pytest.mark.parametrize("in_memory", [1 << 25, 1])
@pytest.mark.parametrize(
    "ids",
    [["a"], ['a "quoted" \\ name', "怒り/ü\u0308", "tab\t\x7f"], [], ["x" * n for n in range(9)]],
)
def test_shards_are_byte_for_byte_those_of_the_library(tmp_path, monkeypatch, in_memory, ids):
    monkeypatch.setattr("colab_utils.features.store.shards._IN_MEMORY", in_memory)
    shard = GrowingShard(tmp_path, "key", 3)
    parts = [np.full((number, 3), number, np.float32) for number in range(len(ids))]
    for utt_id, part in zip(ids, parts, strict=True):
        shard.add(utt_id, part)
    path = tmp_path / "s.safetensors"
    head = shard.write(path, [["b", "0 samples"]])
    assert path.read_bytes() == whole_shard(path)
    again, values = read_shard(path)
    assert again == head == check_shard(path)
    assert np.array_equal(values, np.concatenate([np.zeros((0, 3), np.float32), *parts]))
    assert [file.name for file in tmp_path.iterdir()] == ["s.safetensors"]


def test_a_shard_is_checked_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("colab_utils.features.store.shards._PIECE", 100)
    shard = GrowingShard(tmp_path, "key", 2)
    shard.add("a", np.arange(600, dtype=np.float32).reshape(300, 2))
    path = tmp_path / "s.safetensors"
    head = shard.write(path, [])
    assert check_shard(path) == head
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="checksum"):
        check_shard(path)


def test_no_more_than_so_many_seconds_are_decoded_ahead(tmp_path, monkeypatch):
    table = manifest_of(tmp_path, 40, 0.5)
    monkeypatch.setattr(extracting, "BATCH_SECONDS", 2.0)
    lock, ahead, most = threading.Lock(), 0, 0
    real = extracting._load

    def load(*arguments):
        nonlocal ahead, most
        wave = real(*arguments)
        with lock:
            ahead += 1
            most = max(most, ahead)
        return wave

    def compute(self, waves, device="cpu"):
        nonlocal ahead
        # long enough for the threads to decode all there is
        time.sleep(0.05)
        with lock:
            ahead -= len(waves)
        return [np.zeros((1, 20), np.float32) for _ in waves]

    monkeypatch.setattr(extracting, "_load", load)
    monkeypatch.setattr(LogMel, "compute", compute)
    store = extract(table, SPEC, tmp_path / "out", progress=False)
    assert len(store) == 40
    # 4 ahead, a batch of 4, one in the hand, and one a thread
    assert 4 < most <= 4 + 4 + 1 + workers()


def test_a_long_file_that_is_decoded_first_does_not_hold_up_the_one_before_it():
    with extracting._Ahead(100) as ahead:
        assert len(ahead.made(1, np.zeros, 200)) == 200
        awaited = threading.Thread(target=ahead.made, args=(0, np.zeros, 50), daemon=True)
        awaited.start()
        awaited.join(5)
        assert not awaited.is_alive()
        held_up = threading.Thread(target=ahead.made, args=(2, np.zeros, 50), daemon=True)
        held_up.start()
        held_up.join(0.1)
        assert held_up.is_alive()
    held_up.join(5)
    assert not held_up.is_alive()


@pytest.mark.parametrize("seconds", [0.001, 0.3, 1e9])
def test_files_of_any_length_come_in_order(tmp_path, monkeypatch, seconds):
    table = manifest_of(tmp_path, 30, 0.2)
    whole = extract(table, SPEC, tmp_path / "whole", progress=False)
    monkeypatch.setattr(extracting, "BATCH_SECONDS", seconds)
    cut = extract(table, SPEC, tmp_path / "cut", progress=False)
    assert cut.ids == whole.ids == table["utt_id"].tolist()
    shards = [store.folders[0] / "shard-00000.safetensors" for store in (whole, cut)]
    assert shards[0].read_bytes() == shards[1].read_bytes()


def test_an_error_while_others_wait_ends_the_call(tmp_path, monkeypatch):
    table = manifest_of(tmp_path, 20, 0.5)
    monkeypatch.setattr(extracting, "BATCH_SECONDS", 0.1)

    def compute(self, waves, device="cpu"):
        time.sleep(0.05)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(LogMel, "compute", compute)
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="out of memory"):
        extract(table, SPEC, tmp_path / "out", progress=False)
    assert threading.active_count() == before


# VmHWM and not getrusage: its ru_maxrss begins with that of the process which started this one.
MEASURE = """
import re
import numpy as np, pandas as pd
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.store.extract import extract
spec = LogMel()
spec.compute([np.ones(16000 * 240, np.float32)])
table = pd.read_csv("manifest.csv", dtype=str)
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
before = peak()
extract(table, spec, "out", progress=False)
extract(table, spec, "out", progress=False)
print((peak() - before) // 1024, peak() // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from Linux' /proc")
def test_an_hour_in_twenty_files_takes_the_memory_of_a_few(tmp_path):
    """Before: 230 MB of audio and three times 92 MB of features."""
    manifest_of(tmp_path, 20, 180).to_csv(tmp_path / "manifest.csv", index=False)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    more, all_of_it = map(int, done.stdout.split()[-2:])
    assert more < 200 and all_of_it < 1500, "megabytes"


@pytest.mark.parametrize("gain", [1.0, 1.2, 5.0, 60.0])
def test_egemaps_of_floats_beyond_full_scale_are_those_of_the_clip_at_full_scale(tmp_path, gain):
    """OpenSMILE is given 16 bits, in which 1.0 is -1.0: F0, jitter and HNR were lost."""
    pytest.importorskip("opensmile")
    from colab_utils.features.acoustic.egemaps import EGeMAPS

    time = np.arange(16000) / 16000
    wave = np.sin(2 * np.pi * 150 * time) + 0.5 * np.sin(2 * np.pi * 300 * time)
    wave *= 0.6 + 0.4 * np.sin(2 * np.pi * 3 * time)
    wave += np.random.default_rng(0).normal(0, 0.02, len(wave))
    wave = (wave / np.abs(wave).max()).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", gain * wave, 16000, subtype="FLOAT")
    spec = EGeMAPS()
    loud, half = spec.compute([load_audio(tmp_path / "a.wav"), wave / 2])
    columns = [
        "shimmerLocaldB_sma3nz_amean",
        "F1frequency_sma3nz_amean",
        "F0semitoneFrom27.5Hz_sma3nz_amean",
        "jitterLocal_sma3nz_amean",
        "HNRdBACF_sma3nz_amean",
    ]
    for column in columns:
        at = spec.feature_names.index(column)
        assert loud[0, at] == pytest.approx(half[0, at], rel=0.02, abs=0.02)
        assert half[0, at] != 0
