"""Hums of two corpora for the tests of layers that learn."""

import pandas as pd
import pytest
from tiny_encoders import hums


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Two corpora of hums, and a folder for checkpoints and features."""
    folder = tmp_path_factory.mktemp("hums")
    there = [hums(folder), hums(folder, "bb", shift=1.3, seed=1)]
    return pd.concat(there, ignore_index=True), folder
