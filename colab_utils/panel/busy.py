"""What goes on while a button works: for how long already, how far it is, how long it may take."""

import contextlib
import contextvars
import html
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import ipywidgets

from colab_utils import progress

_EVERY = 0.5  # seconds between two looks at the clock


class Busy:
    """A line of text; while something runs, a clock and a bar.

    Attributes:
        line: what is shown.
    """

    def __init__(self):
        self.line = ipywidgets.HTML()
        self._bar: Mapping[str, Any] | None = None

    def say(self, words: str) -> None:
        """Show words, which a screen reader speaks."""
        self.line.value = f'<span role="status" style="padding-left:.6em">{words}</span>'

    @contextlib.contextmanager
    def during(self, words: str) -> Iterator[None]:
        """Show words, seconds and the innermost bar of `progress` for the time of a `with` block.

        A thread of its own looks at the clock: whatever runs need not know of it.
        """
        self.say(words)
        stop = threading.Event()
        begin = time.perf_counter()

        def tick() -> None:
            while not stop.wait(_EVERY):
                self.line.value = _clock(words, time.perf_counter() - begin, self._bar)

        # With the context of this thread: a kernel looks up there which cell a message is of.
        clock = threading.Thread(target=contextvars.copy_context().run, args=(tick,), daemon=True)
        clock.start()
        try:
            with progress.told_to(self._listen):
                yield
        finally:
            stop.set()
            clock.join()
            self._bar = None

    def _listen(self, bar: Mapping[str, Any] | None) -> None:
        self._bar = bar


def _clock(words: str, seconds: float, bar: Mapping[str, Any] | None) -> str:
    """Words, seconds and a bar as HTML; a bar of unknown length where there is none."""
    told, share = f"{words} {_duration(seconds)}", ""
    if bar and bar["total"]:
        prefix = (bar["prefix"] or "").removesuffix(": ")
        told += f" · {prefix} {bar['n']:,.0f} of {bar['total']:,.0f}"
        share = f' max="{bar["total"]}" value="{bar["n"]}"'
        if bar["n"]:
            left = bar["elapsed"] * (bar["total"] - bar["n"]) / bar["n"]
            told += f", about {_duration(left)} left"
    # A timer is not spoken at each change, as a status would be.
    return (
        f'<span role="timer" style="padding-left:.6em">{html.escape(told)}'
        f' <progress{share} style="vertical-align:middle" aria-label="progress"></progress></span>'
    )


def _duration(seconds: float) -> str:
    """`7 s`, `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
