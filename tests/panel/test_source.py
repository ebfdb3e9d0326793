"""The source of functions on the page: their text, place and colours."""

import functools
import html
import linecache
import pathlib
import re
import sys
import types

import IPython
import IPython.display
import pytest

from colab_utils.display import curves
from colab_utils.display.hear import player_html
from colab_utils.panel import source


def decorated(function):
    @functools.wraps(function)
    def inside(*arguments):
        return function(*arguments)

    return inside


@decorated
def adapt(weights, rate=0.1):
    """One inner step: "<" is kept."""
    return [w - rate for w in weights if w < 3]


def plain_text(page):
    code = re.search(r"<pre[^>]*>(.*)</pre>", page, re.S).group(1)
    return html.unescape(re.sub(r"<[^>]+>", "", code))


def test_source_is_the_text_of_the_function_with_its_place():
    found = source.source_of(adapt)
    assert found.text.startswith(
        "@decorated\ndef adapt(weights, rate=0.1):"
    ) and found.text.endswith("if w < 3]")
    first = next(
        i
        for i, text in enumerate(pathlib.Path(__file__).read_text().splitlines(), 1)
        if text.startswith("@decorated")
    )
    assert found.place == f"test_source.py, line {first}" and found.name == "adapt"
    for wrapped in (
        functools.partial(adapt, rate=2),
        functools.cache(adapt),
        functools.partial(functools.cache(adapt)),
    ):
        assert (source.source_of(wrapped).text, source.source_of(wrapped).place) == (
            found.text,
            found.place,
        )
    assert plain_text(found._repr_html_()).strip() == found.text and "color:" in found._repr_html_()
    assert repr(found) == f"# {found.place}\n{found.text}"
    method = source.source_of(curves.LiveCurve.finish)
    assert (
        method.name == "LiveCurve.finish"
        and method.text.startswith("def finish(self")
        and "\n    from IPython import" in method.text
    )
    assert re.fullmatch(r"colab_utils/display/curves\.py, line \d+", method.place)
    assert source.source_of(curves.LiveCurve).text.startswith("class LiveCurve:")


def test_show_source_displays_each_function_and_says_what_has_none(monkeypatch):
    shown = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    source.show_source(adapt, player_html)
    assert [one.name for one in shown] == ["adapt", "player_html"]
    for nothing, message in (
        ((len,), "len has no Python source to show"),
        ((3,), "int has no Python source"),
        ((), "was given nothing"),
    ):
        with pytest.raises(ValueError, match=message):
            source.show_source(*nothing)
    assert len(shown) == 2


CELL = '''import torch

class Mine:
    """Of a notebook."""

    def __call__(self, tasks):
        return tasks

end = 1
'''


def test_a_class_of_a_notebook_cell_and_an_object_of_it_show_the_class(monkeypatch):
    """A cell has lines, and its module no file."""
    monkeypatch.setitem(sys.modules, "a_notebook", types.ModuleType("a_notebook"))
    monkeypatch.setitem(linecache.cache, "<cell>", (len(CELL), None, CELL.splitlines(True), ""))
    space = {"__name__": "a_notebook"}
    exec(compile(CELL, "<cell>", "exec"), space)
    for thing in (space["Mine"], space["Mine"](), functools.partial(space["Mine"]())):
        found = source.source_of(thing)
        assert found.place == "defined in this notebook" and found.name == "Mine"
        assert found.text == CELL[CELL.index("class") : CELL.index("\n\nend")]
    monkeypatch.delitem(linecache.cache, "<cell>")
    with pytest.raises(ValueError, match="Mine has no Python source to show"):
        source.source_of(space["Mine"])
