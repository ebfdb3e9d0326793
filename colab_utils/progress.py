"""Progress bars: widgets in a cell's output, plain text in the output of a panel."""

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import tqdm as plain_tqdm
from tqdm.auto import tqdm as fitting_tqdm

_in_panel: ContextVar[bool] = ContextVar("in_panel", default=False)


def bar(*arguments: Any, **settings: Any) -> plain_tqdm.tqdm:
    """A tqdm bar with these arguments; inside `plain()` one of text.

    A bar that is a widget, drawn into an output that is itself a widget and was just cleared, makes
    classic Notebook report errors. One of text goes to stdout there: what is written to stderr
    stands on red.
    """
    if _in_panel.get():
        return plain_tqdm.tqdm(*arguments, **{"file": sys.stdout, **settings})
    # A widget makes HTML of the description that it begins with, and escapes those set later.
    description = settings.pop("desc", None)
    found = fitting_tqdm(*arguments, **settings)
    if description:
        found.set_description(description)
    return found


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Bars made meanwhile are plain text."""
    token = _in_panel.set(True)
    try:
        yield
    finally:
        _in_panel.reset(token)
