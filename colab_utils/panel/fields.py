"""One widget for each setting of a config dataclass: made from the field's range, choices and help,
read back with the field's type.
"""

from __future__ import annotations

import ast
import dataclasses
import html
import math
from typing import Any

import ipywidgets

from colab_utils.settings import SettingError

# a positive float range this many times wide gets a logarithmic slider
LOG_FROM = 100
QUIET_TEXT = "font-size:85%;opacity:.75;line-height:1.25"


def label_of(name: str) -> str:
    """A field's name as a label: `learning_rate` -> `learning rate`."""
    return name.replace("_", " ")


class FieldWidget:
    """The widget of one setting.

    `.box` is what is shown, `.value` what it holds now, in the setting's own type.

    `name`, `start`: the field and its value in the start config; `meta`: the metadata of
    `settings.setting`. A number with both ends is a slider (logarithmic where high/low >=
    LOG_FROM), `options` a drop-down, a tuple with `options` one checkbox each, bool a checkbox, str
    a text box; anything else a text box with a Python literal such as (0, 1, 2).
    """

    def __init__(self, name: str, start: Any, meta: Any, label_width: str):
        self.name, self.start, self._meta, self._literal = name, start, meta, False
        help_text = meta.get("help") or ""
        style, layout = (
            {"description_width": label_width},
            ipywidgets.Layout(width=f"calc({label_width} + 21em)"),
        )
        common = {"description": label_of(name), "style": style, "layout": layout}
        self._parts = (
            self._checkboxes()
            if isinstance(start, tuple) and meta.get("options")
            else [self._one(common)]
        )
        for part in self._parts:
            part.set_trait(
                "tooltip" if part.has_trait("tooltip") else "description_tooltip", help_text
            )
        self.box = self._boxed(help_text, label_width)

    @property
    def value(self) -> Any:
        """The setting's value. Raises SettingError when the text in a box is no Python value."""
        if isinstance(self.start, tuple) and self._meta.get("options"):
            chosen = tuple(
                option
                for option, box in zip(self._meta["options"], self._parts, strict=True)
                if box.value
            )
            return self.start if set(chosen) == set(self.start) else chosen
        raw = self._parts[0].value
        if self._literal:
            return self._parse(raw)
        # a slider's arithmetic leaves 0.30000000000000004
        if isinstance(raw, float) and raw != self.start:
            raw = float(
                f"{raw:.3g}"
                if isinstance(self._parts[0], ipywidgets.FloatLogSlider)
                else f"{raw:.10g}"
            )
            low, high = self._meta.get("low"), self._meta.get("high")
            raw = max(raw, float(low)) if low is not None else raw
            raw = min(raw, float(high)) if high is not None else raw
        return raw

    @value.setter
    def value(self, new: Any) -> None:
        if isinstance(self.start, tuple) and self._meta.get("options"):
            for option, box in zip(self._meta["options"], self._parts, strict=True):
                box.value = option in new
        else:
            self._parts[0].value = repr(new) if self._literal else new

    def observe(self, callback: Any) -> None:
        """Call `callback(change)` whenever the user changes the value."""
        for part in self._parts:
            part.observe(callback, names="value")

    def disable(self, disabled: bool) -> None:
        """Grey the widget out, or enable it again."""
        for part in self._parts:
            part.disabled = disabled

    def _one(self, common: dict) -> Any:
        low, high, step = (self._meta.get(key) for key in ("low", "high", "step"))
        if self._meta.get("options"):
            return ipywidgets.Dropdown(
                options=[(str(option), option) for option in self._meta["options"]],
                value=self.start,
                **common,
            )
        if isinstance(self.start, bool):
            return ipywidgets.Checkbox(value=self.start, indent=True, **common)
        if isinstance(self.start, (int, float)):
            return self._number(low, high, step, common)
        if isinstance(self.start, str):
            return ipywidgets.Text(value=self.start, continuous_update=False, **common)
        self._literal = True
        return ipywidgets.Text(value=repr(self.start), continuous_update=False, **common)

    def _number(
        self, low: float | None, high: float | None, step: float | None, common: dict
    ) -> Any:
        whole = isinstance(self.start, int)
        if low is None or high is None:
            # an open range: settings.check says when it is left
            kind = ipywidgets.IntText if whole else ipywidgets.FloatText
            return kind(value=self.start, **common)
        if whole:
            return ipywidgets.IntSlider(
                value=self.start,
                min=int(low),
                max=int(high),
                step=int(step or 1),
                continuous_update=False,
                **common,
            )
        if low > 0 and high / low >= LOG_FROM:
            return ipywidgets.FloatLogSlider(
                value=self.start,
                base=10,
                min=math.log10(low),
                max=math.log10(high),
                step=0.05,
                readout_format=".3g",
                continuous_update=False,
                **common,
            )
        step = step or (high - low) / 100
        return ipywidgets.FloatSlider(
            value=self.start,
            min=low,
            max=high,
            step=step,
            continuous_update=False,
            readout_format=f".{max(0, math.ceil(-math.log10(step) - 1e-9))}f",
            **common,
        )

    def _checkboxes(self) -> list:
        return [
            ipywidgets.Checkbox(
                value=option in self.start,
                description=str(option),
                indent=False,
                layout=ipywidgets.Layout(width="auto", margin="2px 1em 2px 0"),
            )
            for option in self._meta["options"]
        ]

    def _boxed(self, help_text: str, label_width: str) -> Any:
        """The widget (checkboxes: with their label before them) and its help on the right, wrapped
        below where the page is narrow.
        """
        note = ipywidgets.HTML(
            f'<div style="{QUIET_TEXT}">{html.escape(help_text)}</div>',
            layout=ipywidgets.Layout(flex="1 1 14em"),
        )
        parts = self._parts
        if isinstance(self.start, tuple) and self._meta.get("options"):
            label = ipywidgets.Label(
                label_of(self.name),
                layout=ipywidgets.Layout(
                    width=label_width,
                    display="flex",
                    justify_content="flex-end",
                    margin="2px 8px 2px 2px",
                ),
            )
            parts = [
                ipywidgets.HBox(
                    [label, ipywidgets.HBox(parts, layout=ipywidgets.Layout(flex_flow="row wrap"))]
                )
            ]
        return ipywidgets.HBox(
            [*parts, note], layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        )

    def _parse(self, text: str) -> Any:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            raise SettingError(
                f"{self.name} = {text!r}: write a Python value such as {self.start!r}"
            ) from error


def make_fields(start: Any) -> list[FieldWidget]:
    """One FieldWidget for each field of the dataclass object `start` that can be typed in; nested
    dataclasses keep their value.
    """

    def typed(value: Any) -> bool:
        return not dataclasses.is_dataclass(value) and not (
            isinstance(value, tuple) and any(map(dataclasses.is_dataclass, value))
        )

    shown = [
        field
        for field in dataclasses.fields(start)
        if field.init and typed(getattr(start, field.name))
    ]
    width = f"{0.62 * max((len(field.name) for field in shown), default=0) + 1:.1f}em"
    return [
        FieldWidget(field.name, getattr(start, field.name), field.metadata, width)
        for field in shown
    ]
