"""Our CSVs: any text comes back as it was, and none is a formula for a spreadsheet."""

import ast
import csv

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from repo import REPO

from colab_utils.csv_files import plain_columns, read_csv, write_csv

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
    write_csv(path, table)
    read = read_csv(path, dtype=str).astype({"x": float})
    pd.testing.assert_frame_equal(read, table.astype(types), check_exact=True)
    assert read["x"].to_numpy().tobytes() == table["x"].to_numpy().tobytes()
    for row in cells(path):
        for place in (0, 1, 3):
            assert not row[place].startswith(("\t", "\r", "\n")), row
            assert not row[place].strip().startswith(("=", "+", "-", "@")), row


@given(TABLES)
@example([("a", "b", 0.5), ("c", "", 1.0)])
def test_plain_columns_are_those_of_a_csv_reader_or_left_to_pandas(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "plain.csv"
    write_csv(path, pd.DataFrame(rows, columns=["one", "other", "x"]))
    found = plain_columns(path.read_bytes())
    if found:
        header, *lines = cells(path)
        assert [list(found), *map(list, zip(*found.values(), strict=True))] == [header, *lines]
    else:
        assert set(path.read_text()) & set("\"'\r")


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"a,b\n1\n", b"a,a\n1,2\n", b"a,b\n\n1,2\n"])
def test_odd_files_are_left_to_pandas(content):
    assert plain_columns(content) == {}


def test_what_needs_no_guard_is_written_as_pandas_writes_it(tmp_path):
    table = pd.DataFrame(
        {
            "utt_id": ["own/-1", "a,b", 'say "x"', "two\nlines", "' quoted"],
            "seed": [-1, 0, 1, 2, 3],
            "p_+": [-0.5, 1e-300, 0.1, np.nan, -np.inf],
            "mixed": pd.Series([-1, None, "x", 2.5, True], dtype=object),
        }
    )
    path = write_csv(tmp_path / "t.csv", table)
    assert path.read_text() == table.to_csv(index=False, lineterminator="\n")


def test_a_name_may_stand_over_two_columns(tmp_path):
    """An emotion called "true" stands beside the column `true` of a confusion matrix."""
    table = pd.DataFrame([["true", 1], ["=x", -2]], columns=["true", "true"])
    assert cells(write_csv(tmp_path / "t.csv", table))[1:] == [["true", "1"], ["'=x", "-2"]]


@pytest.mark.parametrize("text", ["an\0na", "\udcff"])
def test_a_text_that_no_csv_can_hold_is_named_with_its_column(tmp_path, text):
    for table in (pd.DataFrame({"who": ["a", text]}), pd.DataFrame({text: [1]})):
        with pytest.raises(ValueError) as caught:
            write_csv(tmp_path / "t.csv", table)
        told = str(caught.value)
        assert str(tmp_path / "t.csv") in told and repr(text) in told
        assert repr(table.columns[0]) in told
    assert not list(tmp_path.iterdir())


def test_every_csv_goes_through_one_place():
    """What is written there comes back only from there; users' tables are read as they are."""
    elsewhere = {"corpora/manifest.py", "corpora/synthetic/emotions_table.py", "csv_files.py"}
    elsewhere.add("corpora/tables/reading.py")  # of a user
    found = set()
    for path in [*(REPO / "colab_utils").rglob("*.py"), *(REPO / "tools").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("read_csv", "to_csv"):
                found.add(path.relative_to(REPO).as_posix().removeprefix("colab_utils/"))
    assert found == elsewhere
