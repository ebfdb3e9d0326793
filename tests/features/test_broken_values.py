"""Stores with NaN, made by others or damaged, and disks that cannot be written."""

import errno
import os
import pathlib

import numpy as np
import pandas as pd
import pytest

from colab_utils import files
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.store.extract import extract
from colab_utils.features.store.shards import StoreError, write_shard
from colab_utils.features.store.store import INDEX, FeatureStore
from colab_utils.features.store.views import Pooled
from colab_utils.learning.clips import Clips

IDS = ["a/0", "a/1", "a/2"]
NAMES = ["level", "pitch"]


def store_with(root, wrong, pooled, value=np.nan):
    """A store whose second utterance holds `value` in the columns `wrong`; its checksums fit."""
    sizes = [1, 1, 1] if pooled else [3, 4, 2]
    frames = {}
    for utt_id, size in zip(IDS, sizes, strict=True):
        frames[utt_id] = np.ones((size, 2), np.float32)
    frames["a/1"][-1, wrong] = value
    root.mkdir()
    head = write_shard(root / "shard-00000.safetensors", "abc", frames, [], 2)
    entry = {"file": "shard-00000.safetensors", "ids": head.ids, "frames": head.frames}
    index = {
        "key": "abc",
        "corpus": "a",
        "spec": {"name": "toy"},
        "pooled": pooled,
        "feature_names": NAMES,
        "shards": [{**entry, "skipped": [], "crc32": head.crc32}],
    }
    files.write_json(root / INDEX, index)
    return FeatureStore([root])


def uses(pooled):
    """What methods ask a store for."""
    rows = pd.DataFrame({"utt_id": IDS, "corpus": "a", "emotion": "anger"})
    asked = [lambda store: store["a/1"], lambda store: Clips(store, rows, ["anger"])]
    asked.append(lambda store: Pooled(store).matrix(IDS))
    asked.append(lambda store: store.matrix(IDS) if pooled else store.padded(IDS))
    return asked


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_is_named_by_utterance_column_and_file(tmp_path, pooled, value):
    store = store_with(tmp_path / "store", [1], pooled, value)
    for use in uses(pooled):
        with pytest.raises(StoreError, match="a/1 has NaN or infinity in 1 column.*pitch") as found:
            use(store)
        assert "shard-00000.safetensors" in str(found.value) and "\n" not in str(found.value)
        assert "delete" in str(found.value) and "run the extraction again" in str(found.value)
    assert store["a/0"].all() and store["a/2"].all(), "the others are fine"


def test_a_store_of_numbers_is_read_as_before(tmp_path):
    store = store_with(tmp_path / "store", [], True)
    assert store.matrix(IDS).tolist() == [[1, 1]] * 3


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_an_extraction_on_a_disk_that_cannot_be_written_is_one_sentence(
    tmp_path, monkeypatch, number
):
    def refused(path, *arguments, **options):
        raise OSError(number, os.strerror(number), str(path))

    table = pd.DataFrame(
        {"utt_id": ["a/0"], "corpus": "a", "file": ["0.wav"], "audio_sha256": ["x"]}
    )
    monkeypatch.setattr(pathlib.Path, "mkdir", refused)
    with pytest.raises(files.NotWritableError) as found:
        extract(table, LogMel(), tmp_path, progress=False)
    told = str(found.value)
    assert f"make {tmp_path} writable" in told and "SER_WORKSPACE" in told and "\n" not in told
