"""The panel of a notebook: sliders and choices made from a config dataclass, with Run, Reset and
Download.
"""

from __future__ import annotations

import dataclasses
import html
import importlib.util
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from colab_utils import progress
from colab_utils.settings import as_code, check, for_panel, from_panel, with_settings

_RED = (
    "background:#fdecea;color:#7a1410;border-left:4px solid #b3261e;padding:.4em .8em;margin:.3em 0"
)
_CODE = (
    "margin:0;padding:.4em .6em;border:1px solid"
    " rgba(128,128,128,.4);white-space:pre-wrap;user-select:all;line-height:1.3"
)


def error_html(error: BaseException) -> str:
    """An error for a person: its name and message in one red sentence, the traceback folded away
    beneath.
    """
    sentence = (
        "Interrupted: press Run to start again."
        if isinstance(error, KeyboardInterrupt)
        else f"{type(error).__name__}: {error}"
    )
    trace = "".join(traceback.format_exception(error))
    return (
        f'<div role="alert" style="{_RED}"><b>{html.escape(sentence)}</b><details>'
        '<summary style="display:list-item;cursor:pointer">Details for a bug report</summary>'
        "<pre"
        f' style="font-size:80%;overflow-x:auto;color:#333;background:#fff">{html.escape(trace)}</pre></details></div>'
    )


class Panel:
    """Settings as widgets, and buttons that act on them.

    Works on ipywidgets 7.7 and 8. Where ipywidgets is missing it prints the settings and how to
    change them in code; `.config`, `.chosen`, `.set(...)` and `.run_once()` work all the same.

    Args:
        config: settings made with `settings.setting`: a dataclass, an object of one whose values
            are the start, or None for choices alone.
        run: does the work. It is called with the settings and the choices by name (without
            `config` with the choices alone); all that it prints and displays goes below the
            buttons, after clearing what was there. What it returns is kept in `.result`.
        choices: {name: field of `settings.setting`} shown before the settings, such as a
            drop-down of corpora.
        download: called by the Download button with the last `.result`; without it there is no
            such button.
        title: words above the panel.

    Example:
        Panel(BaselineConfig(), run=lambda config: study.run(config), title="A classifier")
    """

    def __init__(
        self,
        config: Any,
        run: Callable[..., Any],
        *,
        choices: Mapping[str, Any] | None = None,
        download: Callable[[Any], Any] | None = None,
        title: str = "",
    ):
        self._config = config() if isinstance(config, type) else config
        self._choices = dict(choices or {})
        self.start = for_panel(self._config, self._choices)
        check(self.start)
        self.title, self.result, self._run, self._download = title, None, run, download
        self._plain, self._fields, self._changing = self.start, {}, False
        self.output = self.box = None
        if importlib.util.find_spec("ipywidgets") is not None:
            self._build()

    @property
    def values(self) -> Any:
        """All that the panel shows, checked: an object with an attribute for each field."""
        shown = dataclasses.replace(
            self._plain, **{name: field.value for name, field in self._fields.items()}
        )
        from_panel(shown, self._config, self._choices)
        return shown

    @property
    def config(self) -> Any:
        """The current settings, checked. Raises SettingError when they cannot work."""
        return from_panel(self.values, self._config, self._choices)[0]

    @property
    def chosen(self) -> dict[str, Any]:
        """The current choices by name."""
        return from_panel(self.values, self._config, self._choices)[1]

    def set(self, **values: Any) -> None:
        """Change settings or choices from code, as if by hand: `panel.set(n_shot=5)`.

        Raises SettingError and changes nothing where they cannot work.
        """
        wanted = with_settings(self.values, **values)
        from_panel(wanted, self._config, self._choices)
        self._show_config(wanted)

    def reset(self) -> None:
        """Put every setting back to where the panel started."""
        self._show_config(self.start)

    def run_once(self) -> Any:
        """Run with the current settings, output below the buttons (or straight to the page without
        widgets); returns the run's result.

        An error is shown in the panel and raised, so that a notebook without a reader does not pass
        over it.
        """
        if self.output is None:
            self._run_now()
            return self.result
        error = self._on_run()
        if error is not None:
            raise error
        return self.result

    def _build(self) -> None:
        import ipywidgets

        from colab_utils.panel import fields

        self._fields = {field.name: field for field in fields.make_fields(self.start)}
        self.output, self._messages = ipywidgets.Output(), ipywidgets.Output()
        self.output.add_class("suite-output")
        self._messages.add_class("suite-messages")
        self._status, self._code = (
            ipywidgets.HTML(),
            ipywidgets.HTML(layout=ipywidgets.Layout(width="99%")),
        )
        self.run_button = self._button(
            "Run", "play", "primary", "Run with these settings", self._on_run
        )
        self.reset_button = self._button(
            "Reset", "undo", "", "Put every setting back to its start", self._on_reset
        )
        self.download_button = self._button(
            "Download", "download", "", "One zip of the last result", self._on_download
        )
        self._buttons = [
            self.run_button,
            self.reset_button,
            *([self.download_button] if self._download else []),
        ]
        heading = [ipywidgets.HTML(f"<b>{html.escape(self.title)}</b>")] if self.title else []
        kept = {f.name for f in dataclasses.fields(self.start)} - set(self._fields)
        fixed = (
            [
                ipywidgets.HTML(
                    f'<span style="{fields.QUIET_TEXT}">Set in code only:'
                    f" {', '.join(sorted(kept))}</span>"
                )
            ]
            if kept
            else []
        )
        actions = ipywidgets.HBox(
            [*self._buttons, self._status],
            layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"),
        )
        rows = self._rows()
        self.box = ipywidgets.VBox(
            [*heading, *rows, *fixed, self._code, actions, self._messages, self.output]
        )
        self.box.add_class("suite-panel")
        for field in self._fields.values():
            field.observe(self._on_change)
        self._on_change()

    def _rows(self) -> list:
        """The rows of settings; those marked `more` in one folded section at the end."""
        import ipywidgets

        seldom = {
            field.name for field in dataclasses.fields(self.start) if field.metadata.get("more")
        }
        rows = [field.box for name, field in self._fields.items() if name not in seldom]
        folded = [field.box for name, field in self._fields.items() if name in seldom]
        if folded:
            section = ipywidgets.Accordion(children=[ipywidgets.VBox(folded)], selected_index=None)
            section.set_title(0, "More settings")
            rows.append(section)
        return rows

    def _button(self, text: str, icon: str, style: str, tooltip: str, action: Callable) -> Any:
        import ipywidgets

        button = ipywidgets.Button(description=text, icon=icon, button_style=style, tooltip=tooltip)
        button.on_click(action)
        return button

    def _show_config(self, config: Any) -> None:
        self._plain, self._changing = config, True
        try:
            for name, field in self._fields.items():
                field.value = getattr(config, name)
        finally:
            self._changing = False
        if self._fields:
            self._on_change()

    def _on_change(self, _change: Any = None) -> None:
        """Show the settings as code to paste, or what is wrong with them (Run is then off)."""
        if self._changing:
            return
        try:
            self._code.value = f'<pre style="{_CODE}">{html.escape(self._as_code())}</pre>'
            self.run_button.disabled = False
        except (ValueError, TypeError) as error:
            self._code.value = f'<div role="alert" style="{_RED}">{html.escape(str(error))}</div>'
            self.run_button.disabled = True

    def _as_code(self) -> str:
        """The choices and the settings as lines of Python to paste."""
        lines = [f"{name} = {value!r}" for name, value in self.chosen.items()]
        if self._config is not None:
            lines.append(f"CONFIG = {as_code(self.config)}")
        return "\n".join(lines)

    def _on_run(self, _button: Any = None) -> BaseException | None:
        self._messages.clear_output()
        return self._act(self._run_now, self.output, "Running")

    def _on_reset(self, _button: Any) -> None:
        self._messages.clear_output()
        self.reset()

    def _on_download(self, _button: Any) -> None:
        self._act(self._download_now, self._messages, "Packing")

    def _run_now(self) -> None:
        config = () if self._config is None else (self.config,)
        self.result = self._run(*config, **self.chosen)

    def _download_now(self) -> None:
        if self.result is None:
            print("Nothing to download yet: press Run first.")
        else:
            self._download(self.result)

    def _act(self, action: Callable[[], None], output: Any, doing: str) -> BaseException | None:
        """Do `action` with everything greyed out and its output in `output`, cleared first; shows
        and returns the error, if any.
        """
        from IPython.display import HTML, display

        error, begin = None, time.perf_counter()
        self._busy(True, f"{doing}…")
        output.clear_output()
        try:
            # errors are caught inside: Output would print a bare traceback and swallow them
            with output, progress.plain():
                try:
                    action()
                except (Exception, KeyboardInterrupt) as caught:
                    error = caught
                    display(HTML(error_html(caught)))
        finally:
            seconds = time.perf_counter() - begin
            self._busy(
                False, "Stopped by an error." if error is not None else f"Done in {seconds:.1f} s."
            )
        return error

    def _busy(self, busy: bool, words: str) -> None:
        for widget in self._buttons:
            widget.disabled = busy
        for field in self._fields.values():
            field.disable(busy)
        self.run_button.icon, self.run_button.description = (
            ("hourglass", "Running…") if busy else ("play", "Run")
        )
        self._status.value = f'<span role="status" style="padding-left:.6em">{words}</span>'
        if not busy:
            self._on_change()

    def _ipython_display_(self) -> None:
        """Show the panel as a cell's last value."""
        from IPython.display import display

        if self.box is not None:
            display(self.box)
        else:
            print(self.how_to())

    def how_to(self) -> str:
        """The settings with their help and how to change them in code: what is shown where
        ipywidgets is missing.
        """
        lines = [
            self.title or "Settings",
            (
                "ipywidgets is not installed here, so there are no sliders; change a setting and"
                " run so:"
            ),
            "    panel.set(name=value); panel.run_once()",
            f"now: {self._as_code()}",
        ]
        for field in dataclasses.fields(self.start):
            meta = field.metadata
            span = (
                f" [{meta['low']} to {meta['high']}]"
                if meta.get("low") is not None and meta.get("high") is not None
                else ""
            )
            span = f" {{{', '.join(map(str, meta['options']))}}}" if meta.get("options") else span
            lines.append(
                f"    {field.name} = {getattr(self.values, field.name)!r}{span} "
                f" {meta.get('help') or ''}"
            )
        return "\n".join(lines)
