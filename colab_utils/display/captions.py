"""What stands above and below every result: the headline with its interval, how much data is behind
it, and what must not be missed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd

from colab_utils.corpora.manifest import speaker_keys

CHARACTER = 0.58  # mean width of a character of DejaVu Sans, in font sizes


def stamps(predictions: pd.DataFrame, metrics: Mapping[str, Any]) -> list[str]:
    """What a reader of a result must not miss, a short sentence each; empty for a
    speaker-independent, inductive run on real speech.

    `predictions`: a table of `results.predictions`; `metrics`: its metrics.json.
    """
    found = []
    synthetic = predictions["corpus"].str.startswith("synthetic")
    if synthetic.any():
        found.append(
            f"{'' if synthetic.all() else 'Partly '}synthetic corpus: not a result on speech.".capitalize()
        )
    independence = metrics.get("speaker_independence", "unknown")
    if independence == "overlap allowed":
        found.append("Speaker overlap allowed: the same speakers may be in training and test.")
    elif independence != "independent":
        found.append(
            f"Speaker independence {independence}: the same speakers may be in training and test."
        )
    transductive = [
        note for note in metrics.get("notes", []) if note.lower().startswith("transductive")
    ]
    if transductive or any("transductive" in rule for rule in predictions["rule"].unique()):
        found.append(
            _sentence(transductive[0])
            if transductive
            else "Transductive: statistics of unlabelled test utterances are used."
        )
    return found


def stamps_of_all(shown: Mapping[str, tuple[pd.DataFrame, Mapping[str, Any]]]) -> list[str]:
    """The stamps of several runs (predictions and metrics by name): those of all as they are,
    others with the names that they belong to.
    """
    found: dict[str, list[str]] = {}
    for name, (predictions, metrics) in shown.items():
        for stamp in stamps(predictions, metrics):
            found.setdefault(stamp, []).append(name)
    return [
        stamp if len(names) == len(shown) else f"{', '.join(names)}: {stamp}"
        for stamp, names in found.items()
    ]


def interval_unit(metrics: Mapping[str, Any]) -> str:
    """What the 95 % interval resamples, in the plural: `speakers`, `films`, `utterances`."""
    return f"{str(metrics.get('ci_unit', 'speaker')).removesuffix('s')}s"


def per_cent(fraction: float) -> str:
    """`0.613` -> `61.3 %`, with a space that does not break."""
    return f"{100 * fraction:.1f}\u00a0%"


def headline(metrics: Mapping[str, Any]) -> str:
    """`UAR 61.3 % (95 % interval over speakers 52.1 to 69.8)`; where there is no interval it says
    so.
    """
    interval = metrics.get("uar_ci95")
    inside = (
        f"95\u00a0% interval over {interval_unit(metrics)} {100 * interval[0]:.1f} to"
        f" {100 * interval[1]:.1f}"
        if interval
        else "no interval"
    )
    return f"UAR {per_cent(metrics['uar'])} ({inside})"


def rates(metrics: Mapping[str, Any]) -> str:
    """`WA 63.0 %, chance 14.3 %, majority 23.7 %`."""
    return (
        f"WA {per_cent(metrics['wa'])}, chance {per_cent(metrics['chance'])}, majority"
        f" {per_cent(metrics['majority'])}"
    )


def sample(predictions: pd.DataFrame) -> str:
    """`535 utterances, 10 speakers`."""
    speakers = speaker_keys(predictions)
    number = speakers[speakers != ""].nunique()
    who = f"{number:,} speaker{'s' * (number != 1)}" if number else "speakers unknown"
    return f"{predictions['utt_id'].nunique():,} utterances, {who}"


def repetitions(predictions: pd.DataFrame) -> str:
    """How often each utterance was tested: `3 seeds x 5 draws`; empty for once."""
    numbers = {
        "seeds": predictions["seed"].nunique(),
        "draws": predictions.groupby("seed")["draw"].nunique().max(),
        "tasks": predictions.groupby(["seed", "draw"])["task"].nunique().max(),
    }
    return " x ".join(f"{number:,} {name}" for name, number in numbers.items() if number > 1)


def pooling(predictions: pd.DataFrame) -> str:
    """How the counts of a confusion matrix were pooled; empty when each utterance was predicted
    once.
    """
    repeated = repetitions(predictions)
    means = (
        " UAR and WA are means over seeds and draws."
        if "seeds" in repeated or "draws" in repeated
        else ""
    )
    return (
        f"Counts are pooled over {repeated} ({len(predictions):,} predictions).{means}"
        if repeated
        else ""
    )


def notes(metrics: Mapping[str, Any]) -> list[str]:
    """The notes of metrics.json as sentences, less what `stamps` says already."""
    return [
        _sentence(note)
        for note in metrics.get("notes", [])
        if not note.lower().startswith("transductive")
    ]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def wrap(text: str, width: float, size: float) -> list[str]:
    """`text` broken into lines that fit `width` inches at a font size of `size` points; no line for
    an empty text.
    """
    return textwrap.wrap(text, int(width * 72 / (CHARACTER * size)))
