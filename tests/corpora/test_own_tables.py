"""Tables in the shapes in which spreadsheets and people leave them: read right, or refused with
the line, and never a shifted, swallowed or garbled row.
"""

import csv
import io
import re

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colab_utils.corpora.tables import reading
from colab_utils.corpora.tables.reading import ManifestError, read_cells, read_table

SIGNS = st.sampled_from("ab1 .,;|\t\"'\n\r=#üßéж悲")
TEXTS = st.text(SIGNS | st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
WIDE = st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(TEXTS, min_size=n, max_size=n)))
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "gb18030", "cp1251")


def written(rows, encoding="utf-8", **dialect):
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows(rows)
    return text.getvalue().encode(encoding)


def read(path, data, **options):
    path.write_bytes(data)
    return read_cells(path, **options)


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=WIDE,
    separator=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(ENCODINGS),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    told=st.booleans(),
)
def test_a_table_is_read_as_it_was_written_or_refused_with_its_line(
    tmp_path, capsys, rows, separator, quoting, encoding, end, told
):
    if quoting == csv.QUOTE_MINIMAL:
        # the writer leaves a carriage return bare, so that it may be the end of a row
        rows = [[text.replace("\r", "") for text in row] for row in rows]
    header = ["file", "emotion", "text, or; more", "who"][: len(rows[0]) if rows else 2]
    body = written([header, *rows], delimiter=separator, quoting=quoting, lineterminator=end)
    first = f"sep={separator}{end}".encode() if told else b""
    try:
        data = (first + body).decode().encode(encoding)
    except UnicodeEncodeError:
        return
    capsys.readouterr()
    try:
        table = read(tmp_path / "t.csv", data)
    except ManifestError as error:
        assert re.search(r"t\.csv, line \d+", str(error)), error
        return
    assert table.columns.tolist() == header
    # blanks at the end of a cell do not count
    found = [[cell.strip(" ") for cell in row] for row in table.to_numpy()]
    same = found == [[cell.strip(" ") for cell in row] for row in rows]
    # what is left open is refused where such a cell is used
    unread = re.search("[\udc80-\udcff]", "".join(map("".join, found)))
    assert same or unread or "not UTF-8; read as" in capsys.readouterr().out


SEPARATORS = [",", ";", "\t", "|"]


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_separators_and_certain_encodings(tmp_path, separator, encoding):
    rows = [["file, name", "Gefühl", "who"], ["a.wav", "悲伤", 'a"b'], ["b.wav", "x,y;z", ""]]
    table = read(tmp_path / "t.csv", written(rows, encoding, delimiter=separator))
    assert [table.columns.tolist(), *table.to_numpy().tolist()] == rows


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('f,t,e\na,"one,x\nb,two,y\nc,"three",z\n', 2),  # the mark of c ends the cell of a
        ('f,t,e\na,1,x\nb,"two,y\nc,three,z\n', 3),  # none ends it
        ('f,t,e\na,"one,x\nb,two",y\nc,3,z\n', 2),  # ends well, but has two rows in it
        ('f,t,e\na,"one"two,x\n', 2),
        ('f,e\na,"x\nb,y\n"', 2),  # the last line is the mark alone
        ('f,t,e\n\n\na,"say \\"hi\\", you",x\n', 4),
        ("f,t,e\na,1,x\nb,two, or more,y\n", 3),
        ("f,t,e\na,1,x\nb,y\n", 3),
        ("sep=;\nf;t;e\na;1;x;y\n", 3),
        ("f,e\r\na,x\r\nb,y,z\r\n", 3),
        ("f,e\ra,x\rb,y,z\r", 3),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(tmp_path, text, line):
    with pytest.raises(ManifestError, match=rf"t\.csv, line {line}\b"):
        read(tmp_path / "t.csv", text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "f,e\na,x\nb,y\n",
        "f,e\na,x,\nb,y,\n",
        "f,e,,\na,x,,\nb,y\n",
        "sep=;\nf;e\na;x\nb;y\n",
        '"sep=|"\r\nf|e\r\na|x\r\nb|y',
        "f, e\na, x\nb, y\n",
        '"f", "e"\n"a", "x"\n"b", "y"\n',
        "\n\nf\te\na\tx\n\nb\ty\n   \n",
        "f,e\ra,x\rb,y\r",
    ],
)
def test_one_table_in_many_shapes(tmp_path, text):
    table = read(tmp_path / "t.csv", text.encode())
    assert [[cell.strip() for cell in row] for row in table.to_numpy()] == [["a", "x"], ["b", "y"]]
    assert table.columns.tolist() == ["f", "e"]


def test_lines_within_a_cell_and_rows_as_a_spreadsheet_counts(tmp_path):
    text = 'f,t,e\na,"one\nmore",x\n\nb,"two, and\r\n\r\nmore",y\n'
    table = read(tmp_path / "t.csv", text.encode())
    assert table["t"].tolist() == ["one\nmore", "two, and\r\n\r\nmore"]
    assert (table.index + 2).tolist() == [2, 4]


@pytest.mark.parametrize(
    ("words", "encoding"),
    [
        ("Ärger Überraschung", "cp1252"),
        ("Ärger Überraschung", "mac_roman"),
        ("Ärger Überraschung", "cp850"),
        ("悲伤 生气", "gb18030"),
        ("悲傷 生氣", "big5"),
        ("怒り 悲しみ", "cp932"),
        ("怒り 悲しみ", "euc_jp"),
        ("분노 슬픔", "cp949"),
        ("гнев радость", "cp1251"),
        ("гнев радость", "koi8_r"),
        ("złość wstręt", "cp1250"),
        ("öfke şaşkınlık", "cp1254"),
        ("غضب حزن", "cp1256"),
        ("θυμός χαρά", "cp1253"),
    ],
)
def test_older_encodings_are_told_by_the_words_in_them(tmp_path, capsys, words, encoding):
    from colab_utils.corpora.tables.words import EMOTION_WORDS

    rows = [["file", "label"], *(["a.wav", word] for word in words.split())]
    data = written(rows, encoding)
    table = read(tmp_path / "t.csv", data, words=EMOTION_WORDS)
    assert table["label"].tolist() == words.split()
    assert "not UTF-8; read as" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "encoding"),
    [
        ("xéèx", "cp1252"),
        ("張三", "gb18030"),
        ("öç", "cp1254"),
        ("Ğ", "cp1254"),
        ("öç", "mac_roman"),
    ],
)
def test_an_encoding_that_cannot_be_told_is_refused_with_the_row(tmp_path, word, encoding):
    data = written([["f", "e"], ["a", "x"], ["b", word]], encoding)
    table = read(tmp_path / "t.csv", data)
    assert table["f"].tolist() == ["a", "b"]  # what is plain can be used all the same
    with pytest.raises(ManifestError, match="row 3: .* is not UTF-8"):
        read_table(tmp_path / "t.csv")


def test_a_workbook_is_a_table(tmp_path):
    pytest.importorskip("openpyxl")
    rows = pd.DataFrame({"file": ["a.wav", "b.wav"], "who": [1, 2], "x": [0.5, None]})
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        rows.to_excel(book, sheet_name="one", index=False)
        pd.DataFrame().to_excel(book, sheet_name="empty", index=False)
    expected = {"file": ["a.wav", "b.wav"], "who": ["1", "2"], "x": ["0.5", ""]}
    assert read_cells(tmp_path / "t.xlsx").to_dict("list") == expected
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        rows.to_excel(book, sheet_name="one", index=False)
        rows.to_excel(book, sheet_name="two", index=False)
    with pytest.raises(ManifestError, match="2 sheets .one, two."):
        read_cells(tmp_path / "t.xlsx")
    for data, message in ((b"PK\3\4xyz", "no workbook"), (b"\xd0\xcf\x11\xe0\xa1\xb1", ".xlsx")):
        with pytest.raises(ManifestError, match=message):
            read(tmp_path / "t.xlsx", data)


def test_columns_of_one_name_are_told_apart(tmp_path):
    table = read(tmp_path / "t.csv", b",f,e,e,\n0,a,x,y,\n")
    assert table.columns.tolist() == ["", "f", "e (column 3)", "e (column 4)"]


def test_a_stray_quotation_mark_never_swallows_a_row(tmp_path):
    """Two marks at any place in a good table: refused with the line, or every row is there."""
    rows = [["f", "t", "e"], ["a", "one, two", "x"], ["b", 'say "hi"', "y"], ["c", "3", "z"]]
    good, refused = written(rows, lineterminator="\n").decode(), 0
    places = range(len("f,t,e\n"), len(good) + 1)
    for first in places:
        for second in places[first - places[0] :: 3]:
            text = f'{good[:first]}"{good[first:second]}"{good[second:]}'
            try:
                table = read(tmp_path / "t.csv", text.encode())
            except ManifestError as error:
                assert re.search(r"t\.csv, line [2-5]", str(error)), error
                refused += 1
            else:
                assert [cell.strip('"') for cell in table["f"]] == ["a", "b", "c"], text
    assert 0 < refused < len(places) ** 2 / 6


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.lists(
        st.lists(st.text(" \t,;#'NAnan0.1\u2028\x0bé", max_size=5), min_size=3, max_size=3)
    ),
    separator=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_the_short_way_through_a_plain_table_gives_what_the_long_one_gives(
    tmp_path, rows, separator, end
):
    lines = [separator.join(cells) for cells in [["file", " emotion", "who "], *rows]]
    data = end.join(lines).encode()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reading, "_plain", lambda text: None)
        try:
            long = read(tmp_path / "a.csv", data)
        except ManifestError:
            long = None
    if long is None:
        with pytest.raises(ManifestError):
            read(tmp_path / "a.csv", data)
        return
    short = read(tmp_path / "a.csv", data)
    pd.testing.assert_frame_equal(short, long, check_index_type=False)
    assert all(isinstance(cell, str) for cell in short.to_numpy().ravel())
