"""Train on some corpora, test on others."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from colab_utils.protocols.published import Protocol, ProtocolError, Task

_PLAYS = "synthetic-as-"


def leave_one_out(protocol: Protocol, corpora: Sequence[str]) -> dict[str, Task]:
    """A task for each of the corpora: it is tested, all others train.

    15 % of the speakers of each source (at least one) validate.

    Args:
        protocol: whose emotions and merging the tasks have.
        corpora: two or more.

    Returns:
        The tasks by the name of the tested corpus.

    Raises:
        ProtocolError: fewer than two corpora.
    """
    names = sorted(set(corpora))
    if len(names) < 2:
        raise ProtocolError(
            f"{', '.join(corpora) or 'no corpora'}: leaving one out needs two or more"
        )
    tasks = {}
    for target in names:
        sources = [name for name in names if name != target]
        tasks[target] = protocol.similar_task(
            f"{'+'.join(sources)}-{target}",
            sources,
            [target],
            valid={"unit": "speaker", "share": 0.15, "of_each": "corpus"},
        )
    return tasks


def in_domain(protocol: Protocol, corpus: str) -> Task:
    """The reference within one corpus: 80 % of its speakers train, 20 % are tested.

    Table I of the DA-MLDG paper.
    """
    return protocol.similar_task(
        f"in-domain-{corpus}",
        [corpus],
        [corpus],
        holdout={"unit": "speaker", "share": 0.2},
        valid={"unit": "speaker", "share": 0.15},
    )


def with_tasks(protocol: Protocol, tasks: Sequence[Task]) -> Protocol:
    """`protocol` with these tasks alone."""
    return dataclasses.replace(protocol, tasks={task.name: task for task in tasks})


def stand_ins(
    protocol: Protocol, name: str, synthetic: pd.DataFrame
) -> tuple[Protocol, pd.DataFrame]:
    """A task with domains of the embedded corpus in the place of its corpora.

    Each corpus becomes `synthetic-as-<corpus>`, so that everything made of it says that it is
    synthetic; emotions that the real one lacks are left out. It shows that a scenario runs, and
    nothing about speech.

    Args:
        protocol: that has the task.
        name: of the task.
        synthetic: manifest rows of the embedded corpus.

    Returns:
        The protocol with this task alone, and the manifest for it.

    Raises:
        ProtocolError: an unknown task, or one with more corpora than there are domains.
    """
    if name not in protocol.tasks:
        raise ProtocolError(
            f"{protocol.name} has no task {name!r}; it has {', '.join(protocol.tasks)}"
        )
    task, domains = protocol.tasks[name], sorted(set(synthetic["corpus"]))
    if len(task.corpora) > len(domains):
        raise ProtocolError(
            f"task {name} needs {len(task.corpora)} corpora and the embedded one has "
            f"{len(domains)} domains"
        )
    played = dict(zip(domains, task.corpora, strict=False))
    rows = synthetic[synthetic["corpus"].isin(played)]
    plays = rows["corpus"].map(played)
    absent, spoken = {}, np.ones(len(rows), dtype=bool)
    for corpus in task.corpora:
        lacks = protocol.absent.get(corpus, [])
        absent[f"{_PLAYS}{corpus}"] = lacks
        spoken &= ~((plays == corpus) & rows["emotion"].isin(lacks))
    rows = rows.assign(corpus=_PLAYS + plays)[spoken].reset_index(drop=True)

    def renamed(wanted: Mapping[str, list[str]]) -> dict[str, list[str]]:
        return {**wanted, "corpus": [_PLAYS + corpus for corpus in wanted["corpus"]]}

    task = dataclasses.replace(task, train=renamed(task.train), test=renamed(task.test))
    protocol = dataclasses.replace(with_tasks(protocol, [task]), absent=absent, expected={})
    return protocol, rows
