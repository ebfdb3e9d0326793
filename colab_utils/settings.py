"""Settings of methods and front ends: dataclass fields that carry range, step, choices and help text.

The widget panel, the papermill parameters, the run hash and the results table are all made from these fields.
"""
from __future__ import annotations

import dataclasses
import difflib
from typing import Any, TypeVar

Config = TypeVar("Config")


class SettingError(ValueError):
    """A setting has a value that cannot work; the message says which, and what would."""


def setting(default: Any, help: str, *, low: float | None = None, high: float | None = None, step: float | None = None,
            options: tuple | None = None, more: bool = False) -> Any:
    """A dataclass field with its help text and its range (`low` and `high` included) or its choices (`options`).

    A field whose default is a tuple and that has `options` is a choice of several. `more`: seldom changed, folded away in a panel.
    """
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high, "step": step, "options": options, "more": more})


def check(config: Any) -> None:
    """Raise SettingError, in one sentence, for the first field of `config` outside its range or choices."""
    for field in dataclasses.fields(config):
        value, meta = getattr(config, field.name), field.metadata
        if meta.get("options") is not None:
            for one in value if isinstance(value, tuple) else (value,):
                if one not in meta["options"]:
                    raise SettingError(f"{field.name} = {one!r}: choose from {', '.join(map(repr, meta['options']))}")
        low, high = meta.get("low"), meta.get("high")
        if (low is not None or high is not None) and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise SettingError(f"{field.name} = {value!r}: a number is needed")
        if low is not None and not value >= low:
            raise SettingError(f"{field.name} = {value}: must be at least {low}")
        if high is not None and not value <= high:
            raise SettingError(f"{field.name} = {value}: must be at most {high}")


def with_settings(config: Config, **values: Any) -> Config:
    """`config` with other values. Raises SettingError for a setting that there is not, and for one outside its range."""
    names = [field.name for field in dataclasses.fields(config)]
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise SettingError(f"{type(config).__name__} has no setting {name!r}: " + (f"did you mean {near[0]!r}? " if near else "") +
                               f"There are {', '.join(names)}")
    config = dataclasses.replace(config, **values)
    check(config)
    return config


def as_dict(config: Any) -> dict:
    """The settings as plain JSON values (tuples become lists, nested dataclasses become dicts with their class name)."""
    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            return {"type": type(value).__name__, **{f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}}
        if isinstance(value, dict):
            return {str(k): plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, (tuple, list)) else value
    return {field.name: plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def as_code(config: Any) -> str:
    """The settings as one line of Python that makes an equal object; fields at their default are left out."""
    changed = [f"{f.name}={getattr(config, f.name)!r}" for f in dataclasses.fields(config) if getattr(config, f.name) != f.default]
    return f"{type(config).__name__}({', '.join(changed)})"
