"""One widget for each setting: made from its range, choices and help, read back in its type."""

import html
import math
from collections.abc import Callable
from typing import Any

import ipywidgets

from colab_utils.settings import SettingError

# A positive float range this many times wide gets a logarithmic slider.
LOG_FROM = 100
WRAPPED = {"flex_flow": "row wrap", "align_items": "center"}
QUIET = "font-size:85%;opacity:.75;line-height:1.25"


class FieldWidget:
    """The widget of one setting.

    A choice of several is one checkbox each, `options` a drop-down, bool a checkbox, str a text
    box, a number a slider (logarithmic where high/low >= LOG_FROM), or a box without both ends.

    Args:
        name: of the setting.
        start: its value at the start.
        meta: the metadata of `settings.setting`.
        label_width: CSS, of the column of names.

    Attributes:
        box: what is shown.
        value: what it holds now, in the setting's own type.

    Raises:
        SettingError: a setting of another kind.
    """

    def __init__(self, name: str, start: Any, meta: Any, label_width: str):
        self.name = name
        self._start = start
        self._meta = meta
        self._several = isinstance(start, tuple)
        label = name.replace("_", " ")
        if self._several:
            self._parts = self._checkboxes()
            side = {"width": label_width, "display": "flex", "margin": "2px 8px 2px 2px"}
            side["justify_content"] = "flex-end"
            boxes = ipywidgets.HBox(self._parts, layout=WRAPPED)
            shown = ipywidgets.HBox([ipywidgets.Label(label, layout=side), boxes])
        else:
            style = {"description_width": label_width}
            wide = {"width": f"calc({label_width} + 21em)"}
            shown = self._one(value=start, description=label, style=style, layout=wide)
            self._parts = [shown]
        for part in self._parts:
            # ipywidgets 7 has the one, 8 the other.
            trait = "tooltip" if part.has_trait("tooltip") else "description_tooltip"
            part.set_trait(trait, meta["help"])
        note = ipywidgets.HTML(
            f'<div style="{QUIET}">{html.escape(meta["help"])}</div>',
            layout={"flex": "1 1 14em"},
        )
        self.box = ipywidgets.HBox([shown, note], layout=WRAPPED)

    @property
    def value(self) -> Any:
        """The setting's value."""
        if self._several:
            boxes = zip(self._meta["options"], self._parts, strict=True)
            chosen = tuple(option for option, box in boxes if box.value)
            return self._start if set(chosen) == set(self._start) else chosen
        raw = self._parts[0].value
        if isinstance(raw, float) and raw != self._start:
            return self._without_dust(raw)
        return raw

    @value.setter
    def value(self, new: Any) -> None:
        if self._several:
            for option, box in zip(self._meta["options"], self._parts, strict=True):
                box.value = option in new
        else:
            self._parts[0].value = new

    def observe(self, callback: Callable[[Any], None]) -> None:
        """Call `callback(change)` whenever the user changes the value."""
        for part in self._parts:
            part.observe(callback, names="value")

    def disable(self, disabled: bool) -> None:
        """Grey the widget out, or enable it again."""
        for part in self._parts:
            part.disabled = disabled

    def _checkboxes(self) -> list:
        close = {"width": "auto", "margin": "2px 1em 2px 0"}
        boxes = []
        for option in self._meta["options"]:
            box = ipywidgets.Checkbox(value=option in self._start, indent=False, layout=close)
            # Of a description ipywidgets 7 makes HTML; 8 does so only where it is told to.
            plain = box.has_trait("description_allow_html")
            box.description = str(option) if plain else html.escape(str(option))
            boxes.append(box)
        return boxes

    def _one(self, **common: Any) -> Any:
        """The widget of a setting that is not a choice of several. Raises SettingError."""
        start, meta = self._start, self._meta
        if meta["options"]:
            options = [(str(option), option) for option in meta["options"]]
            return ipywidgets.Dropdown(options=options, **common)
        if isinstance(start, bool):
            return ipywidgets.Checkbox(indent=True, **common)
        if isinstance(start, str):
            return ipywidgets.Text(continuous_update=False, **common)
        if not isinstance(start, (int, float)):
            raise SettingError(
                f"{self.name} = {start!r}: a panel shows numbers, texts, yes or no, and choices; "
                "give the setting `options`, or panel=False"
            )
        if meta["low"] is None or meta["high"] is None:
            # An open range: settings.check says when it is left.
            kind = ipywidgets.IntText if isinstance(start, int) else ipywidgets.FloatText
            return kind(**common)
        return self._slider(meta["low"], meta["high"], continuous_update=False, **common)

    def _slider(self, low: float, high: float, **common: Any) -> Any:
        step = self._meta["step"]
        if isinstance(self._start, int):
            return ipywidgets.IntSlider(min=int(low), max=int(high), step=int(step or 1), **common)
        if low > 0 and high / low >= LOG_FROM:
            return ipywidgets.FloatLogSlider(
                min=math.log10(low),
                max=math.log10(high),
                step=0.05,
                readout_format=".3g",
                **common,
            )
        step = step or (high - low) / 100
        digits = max(0, math.ceil(-math.log10(step) - 1e-9))
        return ipywidgets.FloatSlider(
            min=low, max=high, step=step, readout_format=f".{digits}f", **common
        )

    def _without_dust(self, raw: float) -> float:
        """A slider's arithmetic leaves 0.30000000000000004, or a value just outside the range."""
        logarithmic = isinstance(self._parts[0], ipywidgets.FloatLogSlider)
        value = float(f"{raw:.3g}" if logarithmic else f"{raw:.10g}")
        low, high = self._meta["low"], self._meta["high"]
        if low is not None:
            value = max(value, float(low))
        if high is not None:
            value = min(value, float(high))
        return value
