"""Progress bars: widgets in a cell's output, told to a panel inside one."""

import contextlib
import contextvars
import io
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tqdm as plain_tqdm
from tqdm.auto import tqdm as fitting_tqdm

# What a bar has to say (tqdm's format_dict: n, total, elapsed, ...); None once it is closed.
Listener = Callable[[Mapping[str, Any] | None], None]
_listener: contextvars.ContextVar[Listener | None] = contextvars.ContextVar(
    "listener", default=None
)
_EVERY = 1.0  # seconds from one look at the clock to the next


class _Told(plain_tqdm.tqdm):
    """A bar that is told to a listener in place of being printed."""

    def __init__(self, *arguments: Any, listener: Listener, **settings: Any):
        self._listener = listener
        super().__init__(*arguments, **{**settings, "file": io.StringIO()})

    def display(self, *_arguments: Any, **_settings: Any) -> None:
        self._listener(self.format_dict)

    def close(self) -> None:
        super().close()
        self._listener(None)


def bar(*arguments: Any, **settings: Any) -> plain_tqdm.tqdm:
    """A tqdm bar with these arguments; inside `told_to` it is told, not drawn.

    A bar that is a widget, drawn into an output that is itself a widget and was just cleared, makes
    classic Notebook report errors. One that is drawn shows the time that runs, also within a step.
    """
    listener = _listener.get()
    if listener is not None:
        return _Told(*arguments, listener=listener, **settings)
    # A widget makes HTML of the description that it begins with, and escapes those set later.
    description = settings.pop("desc", None)
    found = fitting_tqdm(*arguments, **settings)
    if description:
        found.set_description(description)
    _let_tick(found)
    return found


def _let_tick(found: plain_tqdm.tqdm) -> None:
    """Draw a bar anew every second until it is closed or forgotten."""
    if found.disable:
        return
    closed, close, seen = threading.Event(), found.close, weakref.ref(found)

    def stop() -> None:
        closed.set()
        close()

    def tick() -> None:
        while not closed.wait(_EVERY):
            shown = seen()
            if shown is None:
                return
            shown.refresh()
            del shown

    found.close = stop
    # With the context of this thread: a kernel looks up there which cell a message is of.
    threading.Thread(target=contextvars.copy_context().run, args=(tick,), daemon=True).start()


@contextlib.contextmanager
def told_to(listener: Listener) -> Iterator[None]:
    """Bars made meanwhile are told to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
