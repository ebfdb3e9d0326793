"""The published protocols as data: who trains and who is tested in the papers' tasks.

With every deviation that we make. `data_manifests/protocols/<name>.yaml` holds a protocol; its keys
are the fields of Protocol and Task.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from colab_utils.corpora.cards import card_name, data_folder, load_card
from colab_utils.corpora.emotions import CANONICAL

_FILTERS = {"corpus", "language", "style"}
_RULES = {
    "folds": {"by", "number", "both_sides"},
    "valid": {"unit", "share", "at_least", "number", "of_each", "partner_by"},
    "holdout": {"unit", "share"},
}


class ProtocolError(ValueError):
    """A protocol that is not well made, or that cannot be built from the manifest at hand."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One train/test arrangement. Filters are `{column: values}`.

    Attributes:
        name: of the task.
        train: a filter, who trains.
        test: a filter, who is tested. In a file `within` stands for equal filters.
        emotions: the classes.
        merge: what emotions are renamed to before; None leaves one out.
        folds: `by` speaker, session or film (each value a fold, or `number` groups of them) or
            "frozen" (the target corpus' shipped folds); `both_sides`: a fold's units leave
            training too.
        holdout: one fold that tests a `share` of the units.
        valid: units of the training side that validate: a `share` (`at_least` so many) or a
            `number`, `of_each` corpus, or the `partner_by` session of the tested speaker.
        rest: what the tested corpus' other folds are: "support" (support sets may be drawn from
            them) or "unused".
        only_folds: report these alone.
        allow_group_overlap: the protocol's group may stand on both sides, as published.
        note: for a reader.
    """

    name: str
    train: Mapping[str, list[str]]
    test: Mapping[str, list[str]]
    emotions: tuple[str, ...]
    merge: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    folds: Mapping = dataclasses.field(default_factory=dict)
    holdout: Mapping = dataclasses.field(default_factory=dict)
    valid: Mapping = dataclasses.field(default_factory=dict)
    rest: str = "unused"
    only_folds: tuple[str, ...] = ()
    allow_group_overlap: bool = False
    note: str = ""

    @property
    def within(self) -> bool:
        """Whether the same utterances train and are tested (in different folds)."""
        return self.train == self.test

    @property
    def corpora(self) -> list[str]:
        """The corpora that the task needs, sorted."""
        return sorted({*self.train["corpus"], *self.test["corpus"]})


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A paper's tasks.

    Attributes:
        name: of the file.
        title: what it is.
        source: the paper or code.
        metric: what the paper reports.
        group: speaker or film: never on both sides.
        tasks: {name: Task}.
        expected: for each corpus, the number of `utterances` after the choice of emotions, with
            its `confidence` ("V" verified, "R" recalled).
        absent: emotions that a corpus does not have.
        settings: of the paper's method.
        published: the paper's figures: `metric`, `note`, and `values`, {task: {method: figure, or
            {k: figure}}} in per cent.
        deviations: what we do otherwise, a sentence each.
        disagreements: where the source disagrees with itself.
    """

    name: str
    title: str
    source: str
    metric: str
    group: str
    tasks: Mapping[str, Task]
    expected: Mapping[str, Mapping] = dataclasses.field(default_factory=dict)
    absent: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    settings: Mapping = dataclasses.field(default_factory=dict)
    published: Mapping = dataclasses.field(default_factory=dict)
    deviations: tuple[str, ...] = ()
    disagreements: tuple[str, ...] = ()

    def describe(self) -> str:
        """The whole protocol for a reader, as YAML: tasks, folds, counts, metric, deviations.

        Example:
            >>> print(load_protocol("emofsl").describe())
        """
        content = _without_empty(dataclasses.asdict(self))
        told = {}
        for name in ("deviations", "disagreements"):
            if name in content:
                told[name] = content.pop(name)
        how = {"sort_keys": False, "allow_unicode": True, "width": 10_000}
        facts = yaml.safe_dump(content, default_flow_style=None, **how)
        return facts + yaml.safe_dump(told, default_flow_style=False, **how)

    def similar_task(
        self, name: str, train: Sequence[str], test: Sequence[str], **rules: Any
    ) -> Task:
        """A task of other corpora with the emotions and merging of this protocol.

        Args:
            name: of the task.
            train: corpora that train.
            test: corpora that are tested.
            **rules: further fields of the task.
        """
        first = next(iter(self.tasks.values()))
        return Task(
            name=name,
            train={"corpus": list(train)},
            test={"corpus": list(test)},
            emotions=first.emotions,
            merge=first.merge,
            **rules,
        )


def _without_empty(content: Any) -> Any:
    """A mapping without what is empty in it, on every level; anything else as it is."""
    if not isinstance(content, Mapping):
        return content
    kept = {}
    for key, value in content.items():
        if value not in ({}, (), "", False):
            kept[key] = _without_empty(value)
    return kept


def protocol_names() -> list[str]:
    """The protocols that come with the suite, in alphabetical order."""
    return sorted(path.stem for path in (data_folder() / "protocols").glob("*.yaml"))


def load_protocol(name: str) -> Protocol:
    """Read `data_manifests/protocols/<name>.yaml`.

    Args:
        name: one of `protocol_names`.

    Returns:
        The protocol.

    Raises:
        ProtocolError: an unknown name (the known are listed), and a file that is not well made.

    Example:
        >>> list(load_protocol("emofsl").tasks)
        ['I-R', 'I-M', 'R-M', 'R-I', 'M-I', 'M-R']
    """
    if name not in protocol_names():
        raise ProtocolError(f"unknown protocol {name!r}; known: {', '.join(protocol_names())}")
    file = data_folder() / "protocols" / f"{name}.yaml"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        shared = {key: content.pop(key) for key in ("emotions", "merge") if key in content}
        tasks = {}
        for one, rules in content.pop("tasks").items():
            tasks[str(one)] = _read_task(str(one), {**shared, **rules})
        for key in ("deviations", "disagreements"):
            content[key] = tuple(content.get(key, ()))
            for item in content[key]:
                if not isinstance(item, str):
                    raise TypeError(f"{item} is not text: put it in quotes")
        return Protocol(name=name, tasks=tasks, **content)
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise ProtocolError(f"{file}: not a protocol ({type(error).__name__}: {error})") from error


def _read_task(name: str, rules: dict[str, Any]) -> Task:
    """A Task from its YAML mapping.

    Raises ProtocolError for a filter, rule, corpus or emotion that does not exist.
    """
    if "within" in rules:
        rules["train"] = rules["test"] = rules.pop("within")
    rules["emotions"] = tuple(rules["emotions"])
    rules["only_folds"] = tuple(rules.get("only_folds", ()))
    task = Task(name=name, **rules)
    strange = {*task.train, *task.test} - _FILTERS
    strange |= {*task.emotions, *task.merge} - set(CANONICAL)
    for rule, keys in _RULES.items():
        strange |= {f"{rule}.{key}" for key in set(getattr(task, rule)) - keys}
    if strange:
        raise ProtocolError(f"task {name}: unknown {', '.join(sorted(strange))}")
    for corpus in task.corpora:
        load_card(card_name(corpus))
    return task
