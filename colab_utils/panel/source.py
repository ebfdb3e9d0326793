"""The source of a method's core as highlighted Python: a reader of a notebook sees what runs."""

import ast
import functools
import html
import inspect
import pathlib
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

PACKAGE = pathlib.Path(__file__).resolve().parent.parent
_BOX = "border:1px solid rgba(128,128,128,.4);margin:.5em 0"
_HEAD = "padding:.25em .7em;background:#e7edf3;color:#1a1a1a;font-size:85%"
_CODE = (
    "margin:0;padding:.5em .7em;background:#fafafa;color:#1a1a1a;overflow-x:auto;line-height:1.35;"
    "white-space:pre;font-size:90%"
)


class SourceCode(NamedTuple):
    """The source of one function or class, shown highlighted by a notebook.

    Colours stand in the elements themselves, on a light ground of their own: it looks the same in
    Colab, Jupyter, dark themes and reports.
    """

    name: str
    place: str  # such as "colab_utils/methods/maml/maml.py, line 12"
    text: str

    def __repr__(self) -> str:
        return f"# {self.place}\n{self.text}"

    def _repr_html_(self) -> str:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PythonLexer

        formatter = HtmlFormatter(noclasses=True, nowrap=True, style="default")
        code = highlight(self.text, PythonLexer(), formatter)
        return (
            f'<div style="{_BOX}"><div style="{_HEAD}"><b>{html.escape(self.name)}</b> ·'
            f' {html.escape(self.place)}</div><pre style="{_CODE}">{code}</pre></div>'
        )


def source_of(function: Callable[..., Any]) -> SourceCode:
    """The source of a function, method or class.

    Args:
        function: of a decorated or partial one, the function inside is taken, of an object its
            class.

    Returns:
        Its source.

    Raises:
        ValueError: it has no Python source.
    """
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    inner = inspect.unwrap(inner)
    if not hasattr(inner, "__qualname__"):
        inner = type(inner)
    name = inner.__qualname__
    try:
        lines, first, file = _found(inner)
    except (TypeError, OSError) as error:
        raise ValueError(
            f"{name} has no Python source to show ({error}): pass a function, method or class"
            " written in Python"
        ) from error
    if PACKAGE in file.parents:
        place = f"{file.relative_to(PACKAGE.parent).as_posix()}, line {first}"
    else:
        place = f"{file.name}, line {first}" if file.is_file() else "defined in this notebook"
    return SourceCode(name, place, textwrap.dedent("".join(lines)).rstrip())


def _found(thing: Any) -> tuple[list[str], int, pathlib.Path]:
    """Lines, number of the first one, and file. Raises TypeError or OSError where there are none.

    Of a class in a notebook's cell Python knows no file: one of its methods leads there.
    """
    try:
        lines, first = inspect.getsourcelines(thing)
        return lines, first, pathlib.Path(inspect.getsourcefile(thing) or "")
    except (TypeError, OSError):
        inside = vars(thing).values() if inspect.isclass(thing) else ()
        methods = [one for one in inside if inspect.isfunction(one)]
        if not methods:
            raise
    lines, _ = inspect.findsource(methods[0])
    for node in ast.walk(ast.parse("".join(lines))):
        if isinstance(node, ast.ClassDef) and node.name == thing.__name__:
            file = pathlib.Path(inspect.getsourcefile(methods[0]) or "")
            return lines[node.lineno - 1 : node.end_lineno], node.lineno, file
    raise OSError("its class statement was not found")


def show_source(*functions: Callable[..., Any]) -> None:
    """Display the source of each function, method or class with its file and line.

    Args:
        *functions: one or more.

    Raises:
        ValueError: none, or one without source; nothing is displayed.

    Example:
        >>> show_source(inner_loop.adapt)
    """
    from IPython.display import display

    if not functions:
        raise ValueError("show_source() was given nothing: pass one function or more")
    for source in [source_of(function) for function in functions]:
        display(source)
