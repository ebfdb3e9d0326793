"""The panel of a notebook: sliders and choices made from settings, with Run, Reset and Download."""

import dataclasses
import html
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets
from IPython.display import HTML, display

from colab_utils import session
from colab_utils.panel.busy import Busy
from colab_utils.panel.fields import QUIET, WRAPPED, FieldWidget
from colab_utils.settings import SettingError, as_form, check, fields_of, plain, with_settings

_RED = (
    "background:#fdecea;color:#7a1410;border-left:4px solid #b3261e;padding:.4em .8em;margin:.3em 0"
)
_CODE = (
    "margin:0;padding:.4em .6em;border:1px solid rgba(128,128,128,.4);white-space:pre-wrap;"
    "user-select:all;line-height:1.3"
)


def error_html(error: BaseException) -> str:
    """An error for a person: one red sentence, and the traceback folded away beneath.

    Args:
        error: any.

    Returns:
        HTML.
    """
    sentence = f"{type(error).__name__}: {error}"
    if isinstance(error, KeyboardInterrupt):
        sentence = "Interrupted: press the button to start again."
    trace = "".join(traceback.format_exception(error))
    return (
        f'<div role="alert" style="{_RED}"><b>{html.escape(sentence)}</b><details>'
        '<summary style="display:list-item;cursor:pointer">Details for a bug report</summary>'
        '<pre style="font-size:80%;overflow-x:auto;color:#333;background:#fff">'
        f"{html.escape(trace)}</pre></details></div>"
    )


class Panel:
    """Settings as widgets, and buttons that act on them.

    Works on ipywidgets 7.7 and 8.

    Args:
        config: settings made with `settings.setting`: a dataclass, an object of one whose values
            are the start, or None for choices alone.
        run: does the work. It is called with the settings and the choices by name (without
            `config` with the choices alone); all that it prints and displays goes below the
            buttons, after clearing what was there. What it returns is kept in `.result`.
        choices: {name: field of `settings.setting`} shown before the settings, such as a
            drop-down of corpora.
        download: called by the Download button with the last `.result` and the figures that its
            run showed, by name; without it there is no such button.
        form: {name of a choice or setting: parameter of the notebook that reads it}; these stand
            in the panel to be pasted, with PRESET and SETTINGS. None: the notebook reads none.
        title: words above the panel.

    Raises:
        SettingError: settings that cannot work, or that no widget can show.

    Example:
        >>> Panel(BaselineConfig(), run=lambda config: study.run(config), title="A classifier")
    """

    def __init__(
        self,
        config: Any,
        run: Callable[..., Any],
        *,
        choices: Mapping[str, Any] | None = None,
        download: Callable[[Any, dict], Any] | None = None,
        form: Mapping[str, str] | None = None,
        title: str = "",
    ):
        self._config = config() if isinstance(config, type) else config
        self._choices = dict(choices or {})
        self._run = run
        self._download = download
        self._form = form
        self.result = None
        self.figures: dict[str, Any] = {}
        self.start = self._all_in_one()
        check(self.start)
        self._build(title)

    def _all_in_one(self) -> Any:
        """All that the panel shows as one object: its choices first, then the settings."""
        shown = []
        for name, field in self._choices.items():
            shown.append((name, type(field.default), field))
        settings = [] if self._config is None else fields_of(self._config)
        for field in settings:
            if field.metadata.get("panel", True) and field.name not in self._choices:
                now = getattr(self._config, field.name)
                start = dataclasses.field(default=now, metadata=field.metadata)
                shown.append((field.name, field.type, start))
        # Its name stands in messages about settings.
        name = "Choices" if self._config is None else type(self._config).__name__
        return dataclasses.make_dataclass(name, shown, frozen=True)()

    def _taken_apart(self, values: Any) -> tuple[Any, dict[str, Any]]:
        """Settings (None without `config`) and choices. Raises SettingError."""
        check(values)
        settings = dict(vars(values))
        chosen = {name: settings.pop(name) for name in self._choices}
        for name, value in chosen.items():
            if value == ():
                raise SettingError(f"{name}: choose one or more")
        config = None if self._config is None else with_settings(self._config, **settings)
        return config, chosen

    @property
    def values(self) -> Any:
        """All that the panel shows: an object with an attribute for each setting and choice."""
        now = {name: field.value for name, field in self._fields.items()}
        return dataclasses.replace(self.start, **now)

    @property
    def config(self) -> Any:
        """The current settings, checked. Raises SettingError when they cannot work."""
        return self._taken_apart(self.values)[0]

    @property
    def chosen(self) -> dict[str, Any]:
        """The current choices by name. Raises SettingError when they cannot work."""
        return self._taken_apart(self.values)[1]

    def set(self, **values: Any) -> None:
        """Change settings or choices from code, as if by hand.

        Args:
            **values: by name.

        Raises:
            SettingError: they cannot work; nothing is changed.

        Example:
            >>> panel.set(n_shot=5)
        """
        wanted = with_settings(self.values, **values)
        self._taken_apart(wanted)
        self._show(wanted)

    def reset(self) -> None:
        """Put every setting back to where the panel started."""
        self._show(self.start)

    def run_once(self) -> Any:
        """Run with the current settings, output below the buttons.

        Returns:
            What the run returned.

        Raises:
            Exception: the error that is shown in the panel, so that a notebook without a reader
                does not pass over it.

        Example:
            >>> panel.run_once()
        """
        error = self._on_run()
        if error is not None:
            raise error
        return self.result

    def _build(self, title: str) -> None:
        """Make the widgets."""
        fields = dataclasses.fields(self.start)
        width = f"{0.62 * max((len(field.name) for field in fields), default=0) + 1:.1f}em"
        self._fields = {}
        for field in fields:
            now = getattr(self.start, field.name)
            self._fields[field.name] = FieldWidget(field.name, now, field.metadata, width)
        self.output = ipywidgets.Output()
        self.output.add_class("suite-output")
        self._messages = ipywidgets.Output()
        self._messages.add_class("suite-messages")
        self._busy = Busy()
        self._code = ipywidgets.HTML(layout={"width": "99%"})
        self.run_button = _button("Run", "play", "Run with these settings", self._on_run)
        self.run_button.button_style = "primary"
        told = "Put every setting back to its start"
        self._buttons = [self.run_button, _button("Reset", "undo", told, self._on_reset)]
        if self._download:
            told = "One zip of the last result"
            self._buttons.append(_button("Download", "download", told, self._on_download))
        actions = ipywidgets.HBox([*self._buttons, self._busy.line], layout=WRAPPED)
        parts = [*self._rows(), self._code, actions, self._messages, self.output]
        if title:
            parts.insert(0, ipywidgets.HTML(f"<b>{html.escape(title)}</b>"))
        self.box = ipywidgets.VBox(parts)
        self.box.add_class("suite-panel")
        for field in self._fields.values():
            field.observe(self._on_change)
        self._on_change()

    def _rows(self) -> list:
        """The rows of settings; those marked `more` in one folded section at the end."""
        rows, folded = [], []
        for field in dataclasses.fields(self.start):
            group = folded if field.metadata.get("more") else rows
            group.append(self._fields[field.name].box)
        if folded:
            rows += self._folded(folded)
        return rows

    def _folded(self, rows: list) -> list:
        """A button that shows and hides rows: the keyboard reaches it, as no Accordion's head."""
        section = ipywidgets.VBox(rows)
        button = ipywidgets.Button(layout={"width": "auto", "align_self": "flex-start"})

        def show(unfolded: bool) -> None:
            section.layout.display = "flex" if unfolded else "none"
            button.description = f"{'Hide' if unfolded else 'Show'} {len(rows)} more settings"
            button.icon = "caret-down" if unfolded else "caret-right"

        button.on_click(lambda _button: show(section.layout.display == "none"))
        show(False)
        return [button, section]

    def _show(self, values: Any) -> None:
        for name, field in self._fields.items():
            field.value = getattr(values, name)

    def _on_change(self, _change: Any = None) -> None:
        """Show the settings as code to paste, or what is wrong with them (Run is then off)."""
        try:
            config, _ = self._taken_apart(self.values)
        except (ValueError, TypeError) as error:
            self._code.value = f'<div role="alert" style="{_RED}">{html.escape(str(error))}</div>'
            self.run_button.disabled = True
            return
        self._code.value = self._pasted(config)
        self.run_button.disabled = False

    def _pasted(self, config: Any) -> str:
        """The lines of the parameter cell that begin with these settings, as HTML."""
        if self._form is None:
            return ""
        values = self.values
        lines = []
        for name, parameter in self._form.items():
            lines.append(f"{parameter} = {plain(getattr(values, name))!r}")
        if config is not None:
            lines.append(as_form(config))
        code = html.escape("\n".join(lines))
        return (
            f'<div style="{QUIET}">To begin with these, paste into the settings at the top:</div>'
            f'<pre style="{_CODE}">{code}</pre>'
        )

    def _on_run(self, _button: Any = None) -> BaseException | None:
        self._messages.clear_output()
        return self._act(self._run_now, self.output, "Running")

    def _on_reset(self, _button: Any) -> None:
        self._messages.clear_output()
        self.reset()

    def _on_download(self, _button: Any) -> None:
        self._act(self._download_now, self._messages, "Packing")

    def _run_now(self) -> None:
        config, chosen = self._taken_apart(self.values)
        before = dict(session.shown)
        self.result = self._run(**chosen) if config is None else self._run(config, **chosen)
        now = session.shown.items()
        self.figures = {name: figure for name, figure in now if figure is not before.get(name)}

    def _download_now(self) -> None:
        if self.result is None:
            print("Nothing to download yet: press Run first.")
        else:
            self._download(self.result, self.figures)

    def _act(self, action: Callable[[], None], output: Any, doing: str) -> BaseException | None:
        """Do `action` with its output in `output`, cleared first; shows and returns the error."""
        found = None
        begin = time.perf_counter()
        self._disable(True)
        output.clear_output()
        try:
            # Errors are caught inside: Output would print a bare traceback and swallow them.
            with self._busy.during(doing), output:
                try:
                    action()
                except (Exception, KeyboardInterrupt) as error:
                    found = error
                    display(HTML(error_html(error)))
        finally:
            self._disable(False)
            self._on_change()
        done = f"Done in {time.perf_counter() - begin:.1f} s."
        self._busy.say("Stopped by an error." if found else done)
        return found

    def _disable(self, disabled: bool) -> None:
        for button in self._buttons:
            button.disabled = disabled
        for field in self._fields.values():
            field.disable(disabled)

    def _ipython_display_(self) -> None:
        """Show the panel as a cell's last value."""
        display(self.box)


def _button(text: str, icon: str, tooltip: str, action: Callable) -> ipywidgets.Button:
    button = ipywidgets.Button(description=text, icon=icon, tooltip=tooltip)
    button.on_click(action)
    return button
