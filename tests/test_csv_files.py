"""Our CSVs: any text comes back as it was, and none is a formula for a spreadsheet."""

import csv
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from repo import REPO

from colab_utils import files

# All that UTF-8 can write but NUL; what starts like a formula is drawn often.
LETTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
TEXTS = st.text(st.one_of(st.sampled_from("=+-@'\"\t\r\n ,;a"), LETTERS), max_size=8)
TABLES = st.lists(st.tuples(TEXTS, TEXTS, st.floats(allow_nan=False)), min_size=1, max_size=4)


def cells(path):
    """Each cell as a spreadsheet reads it: by Python's reader, which shares no code with ours."""
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.reader(handle))


@given(TABLES)
@example([("=1+1", "an\rna", -0.5), ("'=1+1", "a\r\nb", 1e-300)])
@example([("", "\n", 0.1 + 0.2), (" -rf", "'", -np.inf)])
def test_any_text_comes_back_and_no_cell_is_a_formula(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "texts.csv"
    first = rows[0][0]
    table = pd.DataFrame(rows, columns=["n", f"p_{first}", "x"]).assign(**{f"{first}!": "a"})
    types = {name: str for name in table if name != "x"}
    files.write_csv(path, table)
    read = files.read_csv(path, dtype=str).astype({"x": float})
    pd.testing.assert_frame_equal(read, table.astype(types), check_exact=True)
    assert read["x"].to_numpy().tobytes() == table["x"].to_numpy().tobytes()
    for row in cells(path):
        for place in (0, 1, 3):
            assert not row[place].startswith(("\t", "\r", "\n")), row
            assert not row[place].strip().startswith(("=", "+", "-", "@")), row


