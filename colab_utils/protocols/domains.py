"""Train on some corpora, test on others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from colab_utils.protocols.folds import FoldError, check_disjoint, split_once
from colab_utils.protocols.published import Protocol, ProtocolError, Task


def cross_corpus_split(
    manifest: pd.DataFrame,
    train_corpora: Sequence[str],
    test_corpora: Sequence[str],
    seed: int = 0,
    n_valid_speakers: int = 0,
) -> pd.DataFrame:
    """The split that trains on all of `train_corpora` and tests on all of `test_corpora`: one fold,
    named after the tested corpora.

    Utterances of other corpora are left out. Validation speakers come from the training corpora.
    Raises FoldError where a corpus is not in the manifest, stands on both sides, or where a tested
    emotion is not spoken in training.
    """
    train, test = list(train_corpora), list(test_corpora)
    missing = sorted({*train, *test} - set(manifest["corpus"]))
    if missing or not train or not test:
        raise FoldError(
            f"no utterances of {', '.join(missing) or 'the training or the test side'}: the"
            f" manifest holds {', '.join(sorted(set(manifest['corpus'])))}"
        )
    both = sorted(set(train) & set(test))
    if both:
        raise FoldError(f"{', '.join(both)} on both sides: a corpus either trains or is tested")
    rows = manifest[manifest["corpus"].isin(train + test)]
    split = split_once(
        rows,
        rows["corpus"].isin(test).to_numpy(),
        "+".join(test),
        (seed, 0),
        seed,
        n_valid_speakers,
    )
    check_disjoint(split)
    return split


def to_target(protocol: Protocol, sources: Sequence[str], target: str) -> Task:
    """The task that trains on `sources` and tests all of `target`, in the manner of `protocol`: its
    emotions and merging, and 15 % of the speakers of each source (at least one) for validation.
    Raises ProtocolError where there is no source, or the target is among them.
    """
    if not sources or target in sources:
        raise ProtocolError(
            f"sources {', '.join(sources) or 'none'}, target {target}: at least one source is"
            " needed, and none may be the target"
        )
    first = next(iter(protocol.tasks.values()))
    return Task(
        name=f"{'+'.join(sorted(sources))}-{target}",
        train={"corpus": sorted(sources)},
        test={"corpus": [target]},
        emotions=first.emotions,
        merge=first.merge,
        valid={"unit": "speaker", "share": 0.15, "of_each": "corpus"},
    )


def leave_one_out(protocol: Protocol, corpora: Sequence[str]) -> dict[str, Task]:
    """A task for each of the corpora, by its name: it is tested, all others train.

    Raises ProtocolError for fewer than two.
    """
    if len(set(corpora)) < 2:
        raise ProtocolError(
            f"{', '.join(corpora) or 'no corpora'}: leaving one out needs two or more"
        )
    return {
        target: to_target(protocol, sorted(set(corpora) - {target}), target)
        for target in sorted(set(corpora))
    }


def in_domain(protocol: Protocol, corpus: str) -> Task:
    """The reference within one corpus: 80 % of its speakers train, 20 % are tested (Table I of the
    DA-MLDG paper).
    """
    first = next(iter(protocol.tasks.values()))
    return Task(
        name=f"in-domain-{corpus}",
        train={"corpus": [corpus]},
        test={"corpus": [corpus]},
        emotions=first.emotions,
        merge=first.merge,
        holdout={"unit": "speaker", "share": 0.2},
        valid={"unit": "speaker", "share": 0.15},
    )


def with_tasks(protocol: Protocol, tasks: Sequence[Task]) -> Protocol:
    """`protocol` with these tasks alone."""
    return dataclasses.replace(protocol, tasks={task.name: task for task in tasks})


def stand_ins(
    protocol: Protocol, name: str, synthetic: pd.DataFrame
) -> tuple[Protocol, pd.DataFrame]:
    """A task of `protocol` with domains of the embedded corpus in the place of its corpora: the
    protocol with this task, and the manifest for it.

    Each corpus becomes `synthetic-as-<corpus>`, so that everything made of it says that it is
    synthetic; emotions that the real one lacks are left out. It shows that a scenario runs, and
    nothing about speech. Raises ProtocolError for an unknown task, or one with more corpora than
    domains.
    """
    if name not in protocol.tasks:
        raise ProtocolError(
            f"{protocol.name} has no task {name!r}; it has {', '.join(protocol.tasks)}"
        )
    task, domains = protocol.tasks[name], sorted(set(synthetic["corpus"]))
    if len(task.corpora) > len(domains):
        raise ProtocolError(
            f"task {name} needs {len(task.corpora)} corpora and the embedded one has {len(domains)}"
            " domains"
        )
    new = {corpus: f"synthetic-as-{corpus}" for corpus in task.corpora}
    played = dict(zip(domains, task.corpora, strict=False))
    rows = synthetic[synthetic["corpus"].isin(played)]
    lacking = [
        emotion in protocol.absent.get(played[corpus], ())
        for corpus, emotion in zip(rows["corpus"], rows["emotion"], strict=True)
    ]
    rows = rows[~np.array(lacking)]
    rows = rows.assign(corpus=rows["corpus"].map(played).map(new)).reset_index(drop=True)

    def renamed(wanted: Mapping[str, list[str]]) -> dict[str, list[str]]:
        return {**wanted, "corpus": [new[corpus] for corpus in wanted["corpus"]]}

    task = dataclasses.replace(task, train=renamed(task.train), test=renamed(task.test))
    absent = {
        new[corpus]: emotions for corpus, emotions in protocol.absent.items() if corpus in new
    }
    return dataclasses.replace(protocol, tasks={name: task}, absent=absent, expected={}), rows
