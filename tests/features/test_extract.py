"""Extraction survives kills, damage, full disks and company; keys follow every setting; numbers
follow VERSION.
"""

import dataclasses
import errno
import multiprocessing
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

from colab_utils.features import FRONT_ENDS, EGeMAPS, Functionals, LogMel, Prosody
from colab_utils.features.store.extract import extract, store_key
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


def manifest_of(files, corpus="own"):
    return pd.DataFrame(
        {
            "utt_id": [f"{corpus}/{file.stem}" for file in files],
            "corpus": corpus,
            "file": [str(file) for file in files],
            "audio_sha256": [f"hash of {file.stem}" for file in files],
        }
    )


@pytest.fixture
def corpus(tmp_path, tone):
    """A manifest of 80 short tones."""
    return manifest_of(
        [
            tone(
                tmp_path / "audio" / f"{n:03d}.wav",
                seconds=0.06 + 0.003 * (n * 7 % 11),
                hz=150 + 5 * n,
            )
            for n in range(80)
        ]
    )


@pytest.fixture(scope="module")
def server():
    """Starts processes that have imported the package already, so that a kill can hit them anywhere
    within a second.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["colab_utils.features.store.extract", "colab_utils.features"])
    return lambda **names: context.Process(target=exec, args=(RUN, names), daemon=True)


def content(root):
    """Every file of the stores below `root` with its bytes; the locks beside the stores do not
    count.
    """
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in pathlib.Path(root).glob("*/*")
        if path.is_file()
    }


def test_killed_at_twenty_moments_and_run_again_gives_the_same_bytes(
    tmp_path, corpus, server, monkeypatch
):
    monkeypatch.setattr(SMALL_SHARDS, 4)
    extract(corpus, FORKED, tmp_path / "whole", progress=False)
    whole, rng, halves = content(tmp_path / "whole"), np.random.default_rng(0), 0
    assert len(whole) == 21
    for number in range(20):
        root = tmp_path / f"killed-{number}"
        process = server(manifest=corpus, spec=FORKED, root=root)
        process.start()
        shards = int(rng.integers(0, 21))
        while process.is_alive() and len(list(root.glob("*/shard-*.safetensors"))) < shards:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.01))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        halves += 0 < len(content(root)) < len(whole)
        assert set(whole) >= {name for name in content(root) if ".tmp" not in name}
        store = extract(corpus, FORKED, root, progress=False)
        assert content(root) == whole and store.report.made + store.report.reused == 80
        shutil.rmtree(root)
    assert halves >= 5, "the kills came too early or too late to show anything"


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
    slow, stores = LogMel.compute, []
    monkeypatch.setattr(
        LogMel,
        "compute",
        lambda self, waves, device="cpu": (time.sleep(0.5), slow(self, waves, device))[1],
    )
    threads = [
        threading.Thread(
            target=lambda: stores.append(extract(corpus, SPEC, tmp_path / "out", progress=False))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.2)
    for thread in threads:
        thread.join(60)
    assert (
        sorted(store.report.made for store in stores) == [0, 80]
        and "waiting for it" in capsys.readouterr().out
    )


def test_a_second_extraction_makes_nothing_and_writes_nothing(tmp_path, corpus):
    first = extract(corpus, SPEC, tmp_path / "out", progress=False)
    times = {
        path: path.stat().st_mtime_ns
        for path in (tmp_path / "out").rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }
    second = extract(corpus.sample(frac=1, random_state=1), SPEC, tmp_path / "out", progress=False)
    assert (first.report.made, first.report.reused) == (80, 0) and (
        second.report.made,
        second.report.reused,
    ) == (0, 80)
    assert first.key == second.key and "nothing made, 80 reused" in str(second.report)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert all(np.array_equal(first[utt_id], second[utt_id]) for utt_id in first.ids)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-5],
        lambda data: data[:20],
        lambda data: b"",
        lambda data: data[:500] + b"\xff" + data[501:],
        lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    ],
)
def test_a_damaged_shard_is_set_aside_made_again_and_said(tmp_path, corpus, monkeypatch, damage):
    monkeypatch.setattr(SMALL_SHARDS, 20)
    store = extract(corpus, SPEC, tmp_path / "out", progress=False)
    whole, shard = content(tmp_path / "out"), store.folders[0] / "shard-00002.safetensors"
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(
        StoreError, match=r"shard-00002\.safetensors: damaged.*run the extraction again"
    ):
        FeatureStore.open(store.folders[0])["own/045"]
    again = extract(corpus, SPEC, tmp_path / "out", progress=False)
    assert (again.report.made, again.report.reused) == (20, 60)
    assert "shard-00002.safetensors: damaged" in str(
        again.report
    ) and "set aside as shard-00002.corrupt" in str(again.report)
    left = content(tmp_path / "out")
    assert left.pop(f"{store.folders[0].name}/shard-00002.corrupt") == damage(
        whole[f"{store.folders[0].name}/shard-00002.safetensors"]
    )
    assert left == whole


@pytest.mark.parametrize("damage", [lambda text: text[:40], lambda text: "{}", lambda text: ""])
def test_a_torn_index_is_written_again(tmp_path, corpus, damage):
    store = extract(corpus, SPEC, tmp_path / "out", progress=False)
    whole, index = content(tmp_path / "out"), store.folders[0] / "index.json"
    index.write_text(damage(index.read_text()))
    assert extract(corpus, SPEC, tmp_path / "out", progress=False).report.made == 0
    assert content(tmp_path / "out") == whole


def test_a_full_disk_gives_one_line_and_keeps_what_was_finished(tmp_path, corpus, monkeypatch):
    monkeypatch.setattr(SMALL_SHARDS, 20)
    extract(corpus, SPEC, tmp_path / "whole", progress=False)
    real, calls = os.fsync, []

    def fsync(handle):
        calls.append(handle)
        # two calls a file: the third shard finds no room
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(
        DiskFullError,
        match=(
            r"no room left on the disk while writing .*shard-00002.*everything finished before is"
            r" intact"
        ),
    ):
        extract(corpus, SPEC, tmp_path / "out", progress=False)
    assert sorted(pathlib.Path(name).name for name in content(tmp_path / "out")) == [
        "shard-00000.safetensors",
        "shard-00001.safetensors",
    ]
    monkeypatch.setattr(os, "fsync", real)
    assert extract(corpus, SPEC, tmp_path / "out", progress=False).report.reused == 40
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
    soundfile.write(
        tmp_path / "stereo.wav", np.random.default_rng(0).normal(0, 0.1, (11025, 2)), 44100
    )
    table = manifest_of(
        [tmp_path / f"bad{number}.wav" for number in range(7)]
        + [tmp_path / "good.wav", tmp_path / "stereo.wav"]
    )
    for made in (2, 0):
        store = extract(table, SPEC, tmp_path / "out", progress=False)
        assert store.ids == ["own/good", "own/stereo"] and store.report.made == made
        assert store.report.skipped["utt_id"].tolist() == [
            f"own/bad{number}" for number in range(7)
        ]
        assert store.report.skipped["file"].tolist() == table["file"][:7].tolist()
        for reason, expected in zip(store.report.skipped["reason"], reasons, strict=True):
            assert expected in reason
        assert str(store.report).count("skipped own/bad") == 7
    assert store["own/stereo"].shape == (
        1 + 4000 // 160,
        20,
    ), "resampled to 16 kHz, channels averaged"


def test_a_file_that_can_be_read_again_is_taken_in(tmp_path, corpus):
    away = pathlib.Path(corpus["file"][3])
    away.rename(tmp_path / "away.wav")
    assert extract(corpus, SPEC, tmp_path / "out", progress=False).skipped["utt_id"].tolist() == [
        "own/003"
    ]
    (tmp_path / "away.wav").rename(away)
    store = extract(corpus, SPEC, tmp_path / "out", progress=False)
    assert (
        "own/003" in store
        and store.skipped.empty
        and "own/003 can be read now" in str(store.report)
    )
    extract(corpus, SPEC, tmp_path / "never away", progress=False)
    assert content(tmp_path / "out") == content(tmp_path / "never away")


def test_a_front_end_that_gives_nan_is_listed_once_and_for_all(tmp_path, corpus, monkeypatch):
    real = LogMel.compute
    monkeypatch.setattr(
        LogMel,
        "compute",
        lambda self, waves, device="cpu": [np.nan * real(self, waves)[0], *real(self, waves)[1:]],
    )
    for made in (79, 0):
        store = extract(corpus, SPEC, tmp_path / "out", progress=False)
        assert (
            store.report.made == made
            and store.skipped["utt_id"].tolist() == ["own/000"]
            and "NaN" in store.skipped["reason"][0]
        )


def test_batches_do_not_change_the_numbers(tmp_path, corpus, monkeypatch):
    whole = extract(corpus, SPEC, tmp_path / "whole", progress=False)
    monkeypatch.setattr("colab_utils.features.store.extract.BATCH_SECONDS", 0.1)
    cut = extract(corpus, SPEC, tmp_path / "cut", progress=False)
    assert cut.ids == whole.ids and all(np.abs(cut[i] - whole[i]).max() < 1e-5 for i in whole.ids)


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
        extract(change(corpus), SPEC, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def fields_of(spec):
    return [(spec, field) for field in dataclasses.fields(spec)]


@pytest.mark.parametrize(
    ("spec", "field"),
    [pair for spec in (LogMel(), Prosody(), Functionals()) for pair in fields_of(spec)],
    ids=lambda value: getattr(value, "NAME", None) or value.name,
)
def test_any_other_setting_is_another_key(spec, field):
    table = manifest_of([pathlib.Path("x.wav")])
    value = getattr(spec, field.name)
    if field.name == "parts":
        others = [(LogMel(floor=2e-6), Prosody()), (LogMel(), Prosody(low_hz=65.0))]
    else:
        step = field.metadata["step"]
        others = [
            other
            for other in (value + step, value - step, value * 0.9)
            if field.metadata["low"] <= other <= field.metadata["high"]
        ]
        others = [
            type(value)(other) - (field.name == "n_fft" and int(other) % 2) for other in others
        ]
    keys = set()
    for other in others:
        try:
            keys.add(store_key(table, dataclasses.replace(spec, **{field.name: other})))
        except ValueError:
            # not every neighbour is a setting that works
            continue
    assert keys and store_key(table, spec) not in keys


@pytest.mark.parametrize("changed", [LogMel, Prosody, Functionals, EGeMAPS])
def test_another_version_is_another_key_also_of_a_part(changed, monkeypatch):
    table = manifest_of([pathlib.Path("x.wav")])
    before = {name: store_key(table, spec) for name, spec in FRONT_ENDS.items()}
    monkeypatch.setattr(changed, "VERSION", 99)
    after = {name: store_key(table, spec) for name, spec in FRONT_ENDS.items()}
    expected = {changed.NAME} | ({"acoustic"} if changed in (LogMel, Prosody) else set())
    assert {name for name in before if before[name] != after[name]} == expected and len(
        set(before.values())
    ) == len(FRONT_ENDS)


def test_the_key_follows_audio_and_ids_but_not_order_or_place():
    table = manifest_of([pathlib.Path("x.wav"), pathlib.Path("y.wav")])
    key = store_key(table, SPEC)
    assert key == store_key(table[::-1], SPEC) == store_key(table.assign(file="elsewhere"), SPEC)
    assert (
        len(
            {
                key,
                store_key(table.assign(audio_sha256=["1", "2"]), SPEC),
                store_key(table[:1], SPEC),
            }
        )
        == 3
    )


def golden_signal():
    """Two seconds without any random number: a gliding buzz with a pause, and hiss from a
    congruential generator.
    """
    n = np.arange(32000)
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(n / 5000)) / 16000
    buzz = sum(np.cos(k * phase) / k for k in range(1, 30)) * 0.05 * (np.sin(n / 3000) > -0.6)
    hiss = [12345]
    for _ in n[1:]:
        hiss.append((1103515245 * hiss[-1] + 12345) % 2**31)
    return (buzz + (np.array(hiss) / 2**30 - 1) * 0.003).astype(np.float32)


def summary(values):
    """Nine numbers to which every column and every frame contributes."""
    columns = np.arange(values.shape[1])
    return [
        values.mean(),
        values.std(),
        *values[len(values) // 3, :2],
        *(values.mean(0) @ np.cos(k * columns) for k in range(1, 6)),
    ]


GOLDEN = {
    "logmel": (
        1,
        (201, 64),
        [-7.656, 3.168, -3.292, -0.752, -8.836, -9.237, -8.042, -4.117, 0.553],
    ),
    "prosody": (
        1,
        (201, 4),
        [-10.117, 16.389, 5.156, 1.0, 29.701, 13.843, -18.132, -1.848, 40.836],
    ),
    "acoustic": (
        1,
        (1, 75),
        [0.378, 13.794, 27.456, 3.893, -132.605, 122.052, -67.648, 13.04, -92.51],
    ),
    "egemaps": (
        1,
        (1, 88),
        [101.056, 398.219, 27.455, 0.142, -4169.145, -4440.398, 6161.935, -1139.974, -2756.576],
    ),
    "paper-logmel": (
        1,
        (126, 80),
        [-1.038, 1.046, -1.941, -1.844, -0.801, -2.832, -0.069, -0.134, -0.04],
    ),
    "paper-mfcc": (
        1,
        (251, 80),
        [-0.565, 8.181, -57.403, 16.129, -62.491, -68.196, -88.886, -76.049, -65.678],
    ),
    "da-mldg": (1, (198, 64), [-0.439, 1.32, -1.229, 0.993, -1.677, -0.619, -0.749, -0.97, -1.629]),
    "alexnet": (
        1,
        (201, 200),
        [-22.412, 13.415, -62.68, -44.598, -3.359, -23.92, -40.675, -26.428, -37.035],
    ),
    "moonshine": (1, (1, 576), [0.075, 0.349, 0.052, -0.192, -2.066, -0.957, 4.993, -9.14, -0.751]),
    "distillmos": (1, (1, 2048), [0.006, 0.01, 0.012, 0.015, -0.326, -0.348, 0.026, 0.201, 0.302]),
}


@pytest.mark.parametrize("name", list(FRONT_ENDS))
def test_other_numbers_need_another_version(name):
    if name == "egemaps":
        pytest.importorskip("opensmile", reason="openSMILE is not installed")
    if name in ("moonshine", "distillmos"):
        pytest.importorskip(
            {"moonshine": "moonshine_voice"}.get(name, name),
            reason=f"the package of {name} is not installed",
        )
    (values,) = FRONT_ENDS[name].compute([golden_signal()])
    version, shape, numbers = GOLDEN[name]
    got = summary(values)
    assert version == FRONT_ENDS[name].VERSION and values.shape == shape
    assert np.allclose(got, numbers, rtol=2e-3, atol=2e-3), (
        f"{name} gives other numbers than VERSION {version} did: {np.round(got, 3).tolist()}; raise"
        " VERSION and store these"
    )
