"""Extraction survives kills, damage, full disks and company."""

import errno
import os
import pathlib
import shutil
import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest
import soundfile
from at_once import CONTEXT

from colab_utils.corpora import audio
from colab_utils.corpora.audio import AudioError, read_audio, samples_sha256
from colab_utils.corpora.own_data import from_folder
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.acoustic.prosody import Prosody
from colab_utils.features.store.extract import extract
from colab_utils.features.store.store import FeatureStore, StoreError
from colab_utils.files import DiskFullError

SPEC = LogMel(n_mels=20)
# a forked process must not call torch, whose threads do not come along
FORKED = Prosody()
SMALL_SHARDS = "colab_utils.features.store.extract.SHARD_UTTERANCES"
RUN = """
import sys
from colab_utils.features.store.extract import extract
sys.modules["colab_utils.features.store.extract"].SHARD_UTTERANCES = 4
extract(manifest, spec, root, progress=False)
"""


def hash_of(file):
    """What a scan notes of a file; of one that it refuses, anything."""
    try:
        return samples_sha256(*read_audio(file))
    except AudioError:
        return f"hash of {file.stem}"


def manifest_of(files, corpus="own"):
    return pd.DataFrame(
        {
            "utt_id": [f"{corpus}/{file.stem}" for file in files],
            "corpus": corpus,
            "file": [str(file) for file in files],
            "audio_sha256": [hash_of(file) for file in files],
        }
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A manifest of 40 short tones."""
    folder = tmp_path_factory.mktemp("audio")
    files = []
    for n in range(40):
        seconds = np.arange(int(16000 * (0.06 + 0.003 * (n * 7 % 11)))) / 16000
        wave = 0.3 * np.sin(2 * np.pi * (150 + 5 * n) * seconds)
        files.append(folder / f"{n:03d}.wav")
        soundfile.write(files[-1], wave, 16000, subtype="PCM_16")
    return manifest_of(files)


def run(manifest, root):
    return extract(manifest, SPEC, root, progress=False)


@pytest.fixture(scope="module")
def server():
    """Starts processes that have imported the package already.

    A kill can hit them anywhere within a second.
    """
    return lambda **names: CONTEXT.Process(target=exec, args=(RUN, names), daemon=True)


def content(root):
    """Every file of the stores below `root` with its bytes; the locks beside them do not count."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in pathlib.Path(root).glob("*/*")
        if path.is_file()
    }


@pytest.mark.slow
def test_killed_at_many_moments_and_run_again_gives_the_same_bytes(
    tmp_path, corpus, server, monkeypatch
):
    monkeypatch.setattr(SMALL_SHARDS, 4)
    extract(corpus, FORKED, tmp_path / "whole", progress=False)
    whole, rng, halves = content(tmp_path / "whole"), np.random.default_rng(0), 0
    assert len(whole) == 11
    for number in range(12):
        root = tmp_path / f"killed-{number}"
        process = server(manifest=corpus, spec=FORKED, root=root)
        process.start()
        shards = int(rng.integers(0, 11))
        while process.is_alive() and len(list(root.glob("*/shard-*.safetensors"))) < shards:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.01))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        halves += 0 < len(content(root)) < len(whole)
        assert set(whole) >= {name for name in content(root) if ".tmp" not in name}
        store = extract(corpus, FORKED, root, progress=False)
        assert content(root) == whole
        assert store.report.made + store.report.reused == 40
        shutil.rmtree(root)
    assert halves >= 3, "the kills came too early or too late to show anything"


def test_two_writers_at_once_do_no_harm(tmp_path, corpus, server, monkeypatch):
    monkeypatch.setattr(SMALL_SHARDS, 4)
    processes = [server(manifest=corpus, spec=FORKED, root=tmp_path / "both") for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    extract(corpus, FORKED, tmp_path / "alone", progress=False)
    assert content(tmp_path / "both") == content(tmp_path / "alone")


def test_the_second_of_two_threads_waits_says_so_and_finds_all_done(
    tmp_path, corpus, capsys, monkeypatch
):
    real, stores = LogMel.compute, []
    computing, waiting = threading.Event(), threading.Event()

    def compute(self, waves, device="cpu"):
        computing.set()
        waiting.wait(60)
        return real(self, waves, device)

    def write(text):
        print(text)
        waiting.set()

    monkeypatch.setattr(LogMel, "compute", compute)
    monkeypatch.setattr("colab_utils.files.print", write, raising=False)
    threads = [
        threading.Thread(target=lambda: stores.append(run(corpus, tmp_path))) for _ in range(2)
    ]
    threads[0].start()
    computing.wait(60)
    threads[1].start()
    for thread in threads:
        thread.join(60)
    assert sorted(store.report.made for store in stores) == [0, 40]
    assert "waiting for it" in capsys.readouterr().out


def test_a_second_extraction_makes_nothing_and_writes_nothing(tmp_path, corpus):
    first = run(corpus, tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    times = {path: path.stat().st_mtime_ns for path in files}
    second = run(corpus.sample(frac=1, random_state=1), tmp_path)
    assert (first.report.made, first.report.reused) == (40, 0)
    assert (second.report.made, second.report.reused) == (0, 40)
    assert first.key == second.key
    assert "nothing made, 40 reused" in str(second.report)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert all(np.array_equal(first[utt_id], second[utt_id]) for utt_id in first.ids)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-5],
        lambda data: b"",
        lambda data: data[:500] + b"\xff" + data[501:],
        lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    ],
)
def test_a_damaged_shard_is_set_aside_made_again_and_said(tmp_path, corpus, monkeypatch, damage):
    monkeypatch.setattr(SMALL_SHARDS, 10)
    store = run(corpus, tmp_path)
    whole, shard = content(tmp_path), store.folders[0] / "shard-00002.safetensors"
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(StoreError, match=r"shard-00002\.safetensors: damaged.*run the extraction"):
        FeatureStore(store.folders)["own/025"]
    again = run(corpus, tmp_path)
    assert (again.report.made, again.report.reused) == (10, 30)
    assert "shard-00002.safetensors: damaged" in str(again.report)
    assert "shard-00002.corrupt" in str(again.report)
    left = content(tmp_path)
    spoilt = damage(whole[f"{store.folders[0].name}/shard-00002.safetensors"])
    assert left.pop(f"{store.folders[0].name}/shard-00002.corrupt") == spoilt
    assert left == whole


@pytest.mark.parametrize("damage", [lambda text: text[:40], lambda text: "{}", lambda text: ""])
def test_a_torn_index_is_written_again(tmp_path, corpus, damage):
    store = run(corpus, tmp_path)
    whole, index = content(tmp_path), store.folders[0] / "index.json"
    index.write_text(damage(index.read_text()))
    assert run(corpus, tmp_path).report.made == 0
    assert content(tmp_path) == whole


def test_a_full_disk_gives_one_line_and_keeps_what_was_finished(tmp_path, corpus, monkeypatch):
    monkeypatch.setattr(SMALL_SHARDS, 10)
    run(corpus, tmp_path / "whole")
    real = os.fsync

    def fsync(handle):
        if len(list(tmp_path.glob("out/*/shard-*"))) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DiskFullError, match=r"no room left .*shard-00002.* before is intact"):
        run(corpus, tmp_path / "out")
    assert sorted(pathlib.Path(name).name for name in content(tmp_path / "out")) == [
        "shard-00000.safetensors",
        "shard-00001.safetensors",
    ]
    monkeypatch.setattr(os, "fsync", real)
    assert run(corpus, tmp_path / "out").report.reused == 20
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def bad_files(folder, tone):
    """One file of each kind that cannot be used, by the reason that is expected."""
    good = tone(folder / "good.wav").read_bytes()
    made = {
        "empty file": b"",
        "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\n",
        "not readable": b"plain text",
        "truncated": good[:9000],
    }
    for number, data in enumerate(made.values()):
        (folder / f"bad{number}.wav").write_bytes(data)
    soundfile.write(folder / "bad4.wav", np.zeros(0), 16000)
    soundfile.write(folder / "bad5.wav", np.full(9000, np.nan, np.float32), 16000, subtype="FLOAT")
    return [*made, "0 samples", "NaN", "no such file"]


def test_unreadable_files_are_listed_with_their_reason_and_the_rest_goes_on(tmp_path, tone):
    reasons = bad_files(tmp_path, tone)
    noise = np.random.default_rng(0).normal(0, 0.1, (11025, 2))
    soundfile.write(tmp_path / "stereo.wav", noise, 44100)
    bad = [tmp_path / f"bad{number}.wav" for number in range(7)]
    table = manifest_of([*bad, tmp_path / "good.wav", tmp_path / "stereo.wav"])
    for made in (2, 0):
        store = run(table, tmp_path / "out")
        skipped = store.report.skipped
        assert store.ids == ["own/good", "own/stereo"]
        assert store.report.made == made
        assert skipped["utt_id"].tolist() == [f"own/bad{number}" for number in range(7)]
        assert skipped["file"].tolist() == table["file"][:7].tolist()
        for reason, expected in zip(skipped["reason"], reasons, strict=True):
            assert expected in reason
        assert str(store.report).count("skipped own/bad") == 7
    # resampled to 16 kHz, channels averaged
    assert store["own/stereo"].shape == (1 + 4000 // 160, 20)


def test_a_file_that_can_be_read_again_is_taken_in(tmp_path, corpus):
    table = corpus.copy()
    table.loc[3, "file"] = str(tmp_path / "away.wav")
    assert run(table, tmp_path / "out").skipped["utt_id"].tolist() == ["own/003"]
    shutil.copy(corpus["file"][3], tmp_path / "away.wav")
    store = run(table, tmp_path / "out")
    assert "own/003" in store
    assert store.skipped.empty
    assert "own/003 can be read now" in str(store.report)
    run(table, tmp_path / "never away")
    assert content(tmp_path / "out") == content(tmp_path / "never away")


@pytest.mark.parametrize("hours", [0, -1])
def test_a_file_that_changed_since_the_scan_is_listed_and_never_stored(tmp_path, tone, hours):
    """Same size, other sound, also with an older time of change; put back, it is taken in."""
    for hz in (200, 300):
        tone(tmp_path / "own" / "anger" / f"{hz}.wav", 0.3, hz=hz)
    table = from_folder(tmp_path / "own").manifest
    file = tmp_path / "own" / "anger" / "300.wav"
    before = os.stat(file)
    tone(file, 0.3, hz=400)
    os.utime(file, ns=(0, before.st_mtime_ns + hours * 3600 * 10**9 + 1))
    assert os.stat(file).st_size == before.st_size
    store = run(table, tmp_path / "out")
    assert store.ids == ["own/anger/200"]
    assert store.skipped["utt_id"].tolist() == ["own/anger/300"]
    assert "scan the audio again" in store.skipped["reason"][0]
    tone(file, 0.3, hz=300)
    assert run(table, tmp_path / "out").ids == ["own/anger/200", "own/anger/300"]


def test_what_was_scanned_in_this_session_is_not_hashed_again(tmp_path, tone, monkeypatch):
    for hz in (200, 300):
        tone(tmp_path / "own" / "anger" / f"{hz}.wav", 0.3, hz=hz)
    table = from_folder(tmp_path / "own").manifest
    monkeypatch.setattr(audio, "samples_sha256", None)
    assert len(run(table, tmp_path / "out")) == 2


def test_a_front_end_that_gives_nan_is_listed_once_and_for_all(tmp_path, corpus, monkeypatch):
    real = LogMel.compute

    def compute(self, waves, device="cpu"):
        first, *others = real(self, waves)
        return [np.nan * first, *others]

    monkeypatch.setattr(LogMel, "compute", compute)
    for made in (39, 0):
        store = run(corpus, tmp_path)
        assert store.report.made == made
        assert store.skipped["utt_id"].tolist() == ["own/000"]
        assert "NaN" in store.skipped["reason"][0]


def test_batches_do_not_change_the_numbers(tmp_path, corpus, monkeypatch):
    whole = run(corpus, tmp_path / "whole")
    monkeypatch.setattr("colab_utils.features.store.extract.BATCH_SECONDS", 0.1)
    run(corpus, tmp_path / "cut")
    assert whole.ids == corpus["utt_id"].tolist()
    assert content(tmp_path / "whole") == content(tmp_path / "cut")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t.drop(columns="file"), "no column file"),
        (lambda t: t[:0], "no utterances"),
        (lambda t: pd.concat([t, t[:1]]), "own/000 stands in the manifest more than once"),
        (lambda t: t.assign(audio_sha256=""), "own/000 has no audio_sha256"),
    ],
)
def test_manifests_that_cannot_work_are_refused(tmp_path, corpus, change, named):
    with pytest.raises(StoreError, match=named):
        run(change(corpus), tmp_path / "out")
    assert not (tmp_path / "out").exists()
