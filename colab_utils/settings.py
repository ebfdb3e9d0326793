"""Settings of methods and front ends: dataclass fields that carry help, range, choices and scope.

The widget panel, the form of a notebook's parameter cell, what `help` prints of a class, the run's
hash and the results table are all made from these fields. The grammar of a parameter cell is
`Settings.from_form`.
"""

import ast
import dataclasses
import difflib
import inspect
import math
import numbers
import textwrap
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

Config = TypeVar("Config")
TRAINING, RESULT = "training", "result"
INPUT = "input"  # what is learnt from and tested: decides trainings and results alike
COST = "cost"  # time and memory alone: every `only` keeps it, and no name or hash knows it
_YES_NO = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# The types of settings: what a value has to be an instance of, and what a refusal says.
_KINDS = {
    bool: (bool, "choose True or False"),
    int: (numbers.Integral, "a whole number is needed"),
    float: (numbers.Real, "a number is needed"),
    str: (str, "a text is needed"),
    tuple: (tuple, "a tuple is needed"),
}


class SettingError(ValueError):
    """A setting has a value that cannot work; the message says which, and what would."""


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    options: tuple | None = None,
    more: bool = False,
    scope: str = TRAINING,
    used: Mapping[str, tuple] | None = None,
    task: bool = False,
    panel: bool = True,
) -> Any:
    """A dataclass field with all that is known of a setting.

    Args:
        default: its value unless a preset or the user says otherwise.
        help: one line for a person, shown beside the slider, in the form and by `help`.
        low: the smallest value allowed; None for no limit.
        high: the largest value allowed; None for no limit.
        step: of a slider.
        options: the choices. A field whose default is a tuple is a choice of several.
        more: seldom changed: folded away in a panel.
        scope: what it decides: the trained weights (and so the result), the result alone
            (`RESULT`), what both read (`INPUT`), or neither (`COST`). A method may have scopes of
            its own, see `Settings.only`.
        used: {other setting: its values} with which this one is looked at; elsewhere it decides
            nothing and names nothing.
        task: it belongs to the question (ways, seeds, which method), not to a preset.
        panel: whether a panel shows it.

    Returns:
        The field, to be assigned in the body of a dataclass.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config(Settings):
        ...     shots: int = setting(5, "support utterances of each class", low=1, high=25)
    """
    return dataclasses.field(
        default=default,
        compare=scope != COST,
        metadata={
            "help": help,
            "low": low,
            "high": high,
            "step": step,
            "options": options,
            "more": more,
            "scope": scope,
            "used": used,
            "task": task,
            "panel": panel,
        },
    )


@dataclasses.dataclass(frozen=True)
class Settings:
    """What every method's settings have in common. A subclass adds fields made by `setting`.

    Attributes:
        PRESETS: {name: {field: value}}, what a preset changes of the defaults.
        preset: the name of the preset that this object started from; it stands in every result,
            and is no setting itself.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}
    preset: str = dataclasses.field(default="default", kw_only=True, metadata={"hidden": True})

    def __init_subclass__(cls, **more: Any):
        """Write every setting into the docstring of a subclass: `help` shows what can be set."""
        super().__init_subclass__(**more)
        fields = {field.name: field for field in fields_of(cls)}  # those of the class above
        for name, value in vars(cls).items():
            if isinstance(value, dataclasses.Field):
                fields[name] = value
        lines = [inspect.cleandoc(cls.__doc__ or ""), "", "Settings:"]
        for name, field in fields.items():
            if "help" in field.metadata:
                lines.append(_told(name, field.default, field.metadata))
        cls.__doc__ = "\n".join(lines)

    @classmethod
    def from_preset(cls: type[Config], name: str = "default", **values: Any) -> Config:
        """The settings of a preset, with other `values` for some.

        Args:
            name: the name in PRESETS.
            **values: settings that are to be otherwise.

        Raises:
            SettingError: for a preset or a setting that there is not, and for what cannot work.

        Example:
            >>> MamlConfig.from_preset("paper", shots=1).shots
            1
        """
        if name not in cls.PRESETS:
            raise SettingError(f"no preset {name!r}: choose from {', '.join(cls.PRESETS)}")
        config = dataclasses.replace(cls(preset=name), **cls.PRESETS[name])
        return with_settings(config, **values)

    @classmethod
    def from_form(
        cls: type[Config],
        preset: str = "default",
        settings: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> Config:
        """The settings as a notebook's parameter cell gives them: the one grammar of all cells.

        A value left empty (None, "", [], or 0 where a 0 is out of range) is as the preset says.
        Texts are read where they can only mean one thing ("false", "3", "a,b"); a number of the
        wrong kind, such as 2.5 steps, is refused.

        Args:
            preset: the name in PRESETS.
            settings: any further settings by name; they win over `values`.
            **values: settings that have a line of their own in the cell.

        Raises:
            SettingError: for a preset or a setting that there is not, and for what cannot work.

        Example:
            >>> EmofslConfig.from_form("default", {"margins": "paper"}, shots=0, n_draws=3).shots
            5
        """
        start = cls.from_preset(preset)
        by_name = {field.name: field for field in fields_of(start)}
        filled = {}
        for name, value in {**values, **(settings or {})}.items():
            field = by_name.get(name)
            if field is None:
                filled[name] = value  # `with_settings` refuses it
            elif not is_empty(value, field):
                filled[name] = read_as(field, value)
        return with_settings(start, **filled)

    def rules(self) -> None:
        """Raise SettingError for settings that contradict each other."""

    def only(self: Config, *scopes: str) -> Config:
        """The settings of these scopes and of INPUT (none named: all) that the others make use of.

        All the rest is as in the defaults, and so is the preset's name: what is not looked at
        names nothing, and what differs in it alone is the same training, or the same result.
        """
        costs = [field for field in fields_of(self) if not field.compare]
        fields = [*looked_at(self, *scopes), *costs]
        return type(self)(**{field.name: getattr(self, field.name) for field in fields})

    def changed(self) -> dict[str, Any]:
        """{setting: value} in which this differs from its preset, the task's settings left out."""
        task = {}
        for field in fields_of(self):
            if field.metadata.get("task") or not field.compare:
                task[field.name] = getattr(self, field.name)
        preset = dataclasses.replace(type(self).from_preset(self.preset), **task)
        return _differences(self.only(), preset.only())


def _told(name: str, default: Any, about: Mapping[str, Any]) -> str:
    """A setting as the docstring of its class has it: help, default, range or choices."""
    text = f"{name}: {about['help']}. Default {default!r}"
    if about["options"]:
        text += f"; choices {', '.join(map(repr, about['options']))}"
    if about["low"] is not None:
        text += f"; from {about['low']}"
    if about["high"] is not None:
        text += f" to {about['high']}"
    wrapper = textwrap.TextWrapper(96, " " * 4, " " * 8, break_on_hyphens=False)
    return wrapper.fill(f"{text}.")


def fields_of(config: Any) -> list[dataclasses.Field]:
    """The fields of a dataclass (object or class) that are settings."""
    return [field for field in dataclasses.fields(config) if not field.metadata.get("hidden")]


def looked_at(config: Any, *scopes: str) -> list[dataclasses.Field]:
    """The settings of these scopes and of INPUT (none named: all) that the others make use of."""
    found = []
    for field in fields_of(config):
        inside = not scopes or field.metadata.get("scope", TRAINING) in (INPUT, *scopes)
        used = field.metadata.get("used") or {}
        if inside and all(getattr(config, name) in values for name, values in used.items()):
            found.append(field)
    return found


def is_empty(value: Any, field: dataclasses.Field | None = None) -> bool:
    """Whether a line of a parameter cell was left empty: None, "", [], or a 0 out of range."""
    if isinstance(value, (str, list, tuple, dict)):
        return not value
    if value is None or field is None or isinstance(value, bool):
        return value is None
    low = field.metadata.get("low")
    return isinstance(value, numbers.Real) and value == 0 and low is not None and low > 0


def read_as(field: dataclasses.Field, value: Any) -> Any:
    """`value` in the type of a setting, where it can only mean one thing; else as it is.

    "false" is no, "3" and 3.0 are 3 where a whole number is needed, "a,b" and lists are tuples.
    """
    kind = _kind(field)
    if kind is tuple:
        return tuple(as_list(value))
    if kind is bool and isinstance(value, str):
        return _YES_NO.get(value.strip().lower(), value)
    if kind in (int, float) and isinstance(value, str):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    if kind is int and float(value).is_integer():
        return int(value)
    return float(value) if kind is float else value


def as_list(value: Any) -> list:
    """A list of a parameter cell: "a, b,c" and ["a", "b", "c"] are the same.

    None and "" are [], and a single number is a list of one.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, numbers.Number) else list(value)


def _kind(field: dataclasses.Field) -> type | None:
    """The type of a field's values; None where its annotation allows several."""
    several = "|" in str(field.type)
    kind = type(field.default)
    return kind if kind in _KINDS and not several else None


def check(config: Any) -> None:
    """Raise SettingError, in one sentence, for the first setting whose type or value cannot work.

    Checked are types, choices and ranges of every field, then the settings' own `rules`.

    Args:
        config: an object of a dataclass whose fields were made by `setting`.
    """
    for field in fields_of(config):
        value = getattr(config, field.name)
        _check_type(field, value)
        _check_choice(field, value)
        _check_range(field, value)
    if isinstance(config, Settings):
        config.rules()


def _check_type(field: dataclasses.Field, value: Any) -> None:
    """Raise SettingError for a value of another type than the field's."""
    kind = _kind(field)
    if kind is None:
        return
    accepted, needed = _KINDS[kind]
    # to Python, True is a number
    wrong = isinstance(value, bool) and kind is not bool
    if wrong or not isinstance(value, accepted):
        example = f", such as {field.default!r}" if kind is tuple else ""
        raise SettingError(f"{field.name} = {value!r}: {needed}{example}")
    if kind is float and not math.isfinite(value):
        raise SettingError(f"{field.name} = {value}: a finite number is needed")


def _check_choice(field: dataclasses.Field, value: Any) -> None:
    """Raise SettingError for a value that is not among the options."""
    options = field.metadata.get("options")
    if options is None:
        return
    for one in value if isinstance(value, tuple) else (value,):
        if one not in options:
            listed = ", ".join(map(repr, options))
            raise SettingError(f"{field.name} = {one!r}: choose from {listed}")


def _check_range(field: dataclasses.Field, value: Any) -> None:
    """Raise SettingError for a number outside its range."""
    low, high = field.metadata.get("low"), field.metadata.get("high")
    if low is None and high is None:
        return
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise SettingError(f"{field.name} = {value!r}: a number is needed")
    if low is not None and not value >= low:
        raise SettingError(f"{field.name} = {value}: must be at least {low}")
    if high is not None and not value <= high:
        raise SettingError(f"{field.name} = {value}: must be at most {high}")


def with_settings(config: Config, **values: Any) -> Config:
    """`config` with other values.

    Args:
        config: an object of a dataclass whose fields were made by `setting`; it stays as it is.
        **values: settings by name.

    Returns:
        An object of the same class.

    Raises:
        SettingError: for a setting that there is not, and for one that cannot work.
    """
    names = [field.name for field in fields_of(config)]
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise SettingError(
                f"{type(config).__name__} has no setting {name!r}: {hint}"
                f"There are {', '.join(names)}"
            )
    config = dataclasses.replace(config, **values)
    check(config)
    return config


def as_dict(config: Any) -> dict:
    """The settings as plain JSON values; not among them: the preset's name, and what only costs.

    Tuples become lists, nested dataclasses dicts with their class name.
    """
    fields = [field for field in fields_of(config) if field.compare]
    return {field.name: plain(getattr(config, field.name)) for field in fields}


def plain(value: Any) -> Any:
    """One value as JSON has it."""
    if dataclasses.is_dataclass(value):
        return {"type": type(value).__name__, **as_dict(value)}
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    return value


def as_form(config: Any) -> str:
    """The settings as lines of a parameter cell, from which `Settings.from_form` makes them again.

    What is as in the preset (of a plain dataclass: as in the defaults) is left out.
    """
    preset = getattr(config, "preset", "default")
    start = type(config).from_preset(preset) if preset != "default" else type(config)()
    return f"PRESET = {preset!r}\nSETTINGS = {plain(_differences(config, start))!r}"


def _differences(config: Any, other: Any) -> dict[str, Any]:
    """{setting: value} of the settings of `config` in which `other` differs."""
    found = {}
    for field in fields_of(config):
        value = getattr(config, field.name)
        if value != getattr(other, field.name):
            found[field.name] = value
    return found
