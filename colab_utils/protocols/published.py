"""The published protocols as data: who trains and who is tested in the papers' tasks, and every
deviation that we make.

`data_manifests/protocols/<name>.yaml` holds a protocol; its keys are the fields of Protocol and
Task.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

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
    """A protocol that is not well made, or that cannot be built from the manifest at hand; one
    sentence says why.
    """


@dataclasses.dataclass(frozen=True)
class Task:
    """One train/test arrangement.

    Filters are `{column: values}`; `within` stands for equal train and test filters.

    folds: `by` speaker, session or film (each value a fold, or `number` groups of them) or "frozen"
    (the target corpus' shipped folds); `both_sides`: a fold's units leave training too. holdout:
    one fold that tests a `share` of the units. rest: what the tested corpus' other folds are
    ("support" = where support sets may be drawn, or "unused"). valid: units of the training side
    that validate: a `share` (`at_least` so many) or a `number`, `of_each` corpus, or the
    `partner_by` session of the tested speaker. only_folds: report these alone.
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
    """A paper's tasks: `group` (speaker or film) never stands on both sides; `expected` holds, for
    each corpus, the number of utterances after the choice of emotions with its confidence ("V"
    verified, "R" recalled); `absent` names emotions that a corpus does not have. `published`: the
    paper's figures: `metric`, `note`, and `values`, {task: {method: figure, or {k: figure}}} in per
    cent.
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
        """The whole protocol for a reader: classes, tasks, folds, counts, metric, every deviation
        and every disagreement in the source.
        """
        lines = [
            self.title,
            f"source: {self.source}",
            f"metric: {self.metric}",
            f"never on both sides: {self.group}",
        ]
        lines += (
            [f"settings: {', '.join(f'{key} {value}' for key, value in self.settings.items())}"]
            if self.settings
            else []
        )
        counts = [
            f"{corpus} {one['utterances']}{' (recalled)' if one['confidence'] == 'R' else ''}"
            for corpus, one in self.expected.items()
        ]
        lines += [f"utterances after the choice of emotions: {', '.join(counts)}"] if counts else []
        lines += [f"{corpus} has no {', '.join(names)}" for corpus, names in self.absent.items()]
        lines += ["tasks:", *(f"  {describe_task(task)}" for task in self.tasks.values())]
        for heading, items in (
            ("our deviations:", self.deviations),
            ("where the source disagrees with itself:", self.disagreements),
        ):
            lines += [heading, *(f"  - {item}" for item in items)] if items else []
        return "\n".join(lines)


def describe_task(task: Task) -> str:
    """One line: who trains, who is tested, in which folds, with which emotions."""

    def side(rows: Mapping) -> str:
        extra = [f"{'/'.join(values)}" for column, values in rows.items() if column != "corpus"]
        return " + ".join(rows["corpus"]) + (f" ({', '.join(extra)})" if extra else "")

    who = (
        f"within {side(task.train)}" if task.within else f"{side(task.train)} -> {side(task.test)}"
    )
    by, number = task.folds.get("by"), task.folds.get("number")
    how = (
        [
            (
                f"{number} folds of {by}s"
                if number
                else "the corpus' frozen folds"
                if by == "frozen"
                else f"leave one {by} out"
            )
        ]
        if by
        else []
    )
    how += (
        [f"{task.holdout['share']:.0%} of the {task.holdout['unit']}s tested"]
        if task.holdout
        else []
    )
    how += [f"only {', '.join(task.only_folds)}"] if task.only_folds else []
    merged = [f"{old} as {new}" if new else f"no {old}" for old, new in task.merge.items()]
    text = f"{task.name}: {who}; {'; '.join([*how, ', '.join(task.emotions), *merged])}"
    return text + (f". {task.note}" if task.note else "")


def protocol_names() -> list[str]:
    """The protocols that come with the suite, in alphabetical order."""
    return sorted(path.stem for path in (data_folder() / "protocols").glob("*.yaml"))


def load_protocol(name: str) -> Protocol:
    """Read `data_manifests/protocols/<name>.yaml`.

    Raises ProtocolError for an unknown name (listing the known) and a file that is not well made.
    """
    if name not in protocol_names():
        raise ProtocolError(f"unknown protocol {name!r}; known: {', '.join(protocol_names())}")
    file = data_folder() / "protocols" / f"{name}.yaml"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        shared = {key: content.pop(key) for key in ("emotions", "merge") if key in content}
        tasks = {
            str(one): _read_task(str(one), {**shared, **rules})
            for one, rules in content.pop("tasks").items()
        }
        lists = {key: tuple(content.pop(key, ())) for key in ("deviations", "disagreements")}
        if broken := [
            item for items in lists.values() for item in items if not isinstance(item, str)
        ]:
            raise TypeError(f"{broken[0]} is not text: put it in quotes")
        return Protocol(name=name, tasks=tasks, **lists, **content)
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise ProtocolError(f"{file}: not a protocol ({type(error).__name__}: {error})") from error


def _read_task(name: str, rules: dict) -> Task:
    """A Task from its YAML mapping.

    Raises ProtocolError for a filter, rule, corpus or emotion that does not exist.
    """
    rules = dict(rules)
    if within := rules.pop("within", None):
        rules.update(train=within, test=within)
    task = Task(
        name=name,
        **{
            **rules,
            "emotions": tuple(rules["emotions"]),
            "only_folds": tuple(rules.get("only_folds", ())),
        },
    )
    strange = {*task.train, *task.test} - _FILTERS
    strange |= {
        f"{rule}.{key}" for rule, keys in _RULES.items() for key in set(getattr(task, rule)) - keys
    }
    strange |= {*task.emotions, *task.merge} - set(CANONICAL)
    if strange:
        raise ProtocolError(f"task {name}: unknown {', '.join(sorted(strange))}")
    for corpus in task.corpora:
        load_card(card_name(corpus))
    return task
