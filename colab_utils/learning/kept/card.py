"""MODEL_CARD.md: what a kept model is, on whom it was tested, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from colab_utils.learning.kept.model import Kept

_TEXT = """# {name}, {task}

A model that names the emotion of a speech clip. Kept by colab_utils {version} from the run
`{run}`: {first_of}, seed {seed} and fold {fold}.

It answers with one of: {labels}.

## How it did

{result}

{known}

{rule}

## Trained on

{trained_on}

{citations}

## Tested on

{tested_on}

## How it works

Features: {front_ends}.{normalised}{notes}

## What it is not for

- **Acted emotion is not felt emotion.** {acted} What an actor plays for a microphone is clearer
  than what people show, and an emotion that was not acted is not among the answers.
- It was tested on the speakers named above. Nothing is known of other languages, rooms, ages, or
  of speech that is sung, shouted through a phone or mixed with other voices.
- A single answer is a guess with a probability. Read it together with the probability, and look at
  several clips.
- Not to judge people: not for hiring, grading, policing, credit, health or any other decision
  about a person. In the European Union inferring emotions at the workplace and in schools is
  prohibited with few exceptions (Regulation (EU) 2024/1689, article 5 (1) f).
"""


def card_of(model: Kept) -> str:
    """The text of a model's card, in Markdown.

    Args:
        model: of `keeping.kept_of`.
    """
    about = model.about
    metrics = about["metrics"]
    return _TEXT.format(
        name=about["name"],
        task=about["task"],
        version=about["versions"]["colab_utils"],
        run=about["run"],
        seed=about["seed"],
        fold=about["fold"],
        first_of=about["first_of"],
        labels=", ".join(model.labels),
        result=_result(metrics),
        known=_calibration(metrics),
        rule=f"Rule: {', '.join(about['rule'])}.",
        trained_on=_table(about["trained_on"]),
        citations=_citations(about["trained_on"]),
        tested_on=_table(about["tested_on"]),
        front_ends=" and ".join(one.NAME for one in model.front_ends),
        normalised=_normalised(model),
        notes="".join(f" {note[:1].upper()}{note[1:]}." for note in about["notes"]),
        acted=_acted(about["trained_on"]),
    )


def _result(metrics: Mapping[str, Any]) -> str:
    """The rate of the whole run, which is what was tested; this model is one of its folds."""
    told = f"The run that this model is a part of: UAR {100 * metrics['uar']:.1f} %"
    if metrics["uar_ci95"]:
        low, high = (100 * limit for limit in metrics["uar_ci95"])
        told += f" (95 % interval over {metrics['ci_unit']}s {low:.1f} to {high:.1f})"
    return (
        f"{told}, WA {100 * metrics['wa']:.1f} %, on {metrics['n']} answers about "
        f"{metrics['n_speakers']} speakers that it had not heard. Guessing gives "
        f"{100 * metrics['chance']:.1f} %."
    )


def _calibration(metrics: Mapping[str, Any]) -> str:
    """How far its probabilities can be trusted."""
    if metrics["ece"] is None:
        return "Its scores are no probabilities."
    return (
        f"Its probabilities are off by {100 * metrics['ece']:.1f} points on average (expected "
        "calibration error)."
    )


def _table(corpora: Sequence[Mapping[str, Any]]) -> str:
    """A row for each corpus, in Markdown."""
    lines = [
        "| corpus | utterances | speakers | language | licence |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in corpora:
        language = ", ".join(one["languages"]) or "not known"
        cells = one["corpus"], one["utterances"], one["speakers"] or "not known", language
        lines.append(f"| {' | '.join(map(str, cells))} | {one['license']} |")
    return "\n".join(lines)


def _citations(corpora: Sequence[Mapping[str, Any]]) -> str:
    """The papers of the corpora, each once; their licences bind what is made of them."""
    papers = dict.fromkeys(one["citation"] for one in corpora if one["citation"])
    return "\n".join(f"- {paper}" for paper in papers)


def _normalised(model: Kept) -> str:
    """What a user has to give besides the clip."""
    if model.unit == "none":
        return ""
    return (
        f" They are normalised by {model.unit}: give several clips of a {model.unit} together, as "
        "different as possible; one alone is compared with the corpus that was tested."
    )


def _acted(corpora: Sequence[Mapping[str, Any]]) -> str:
    """What it has heard."""
    names = dict.fromkeys(one["title"] for one in corpora)
    return f"It has heard {', '.join(names)}."
