"""What stands above and below every result: headline, size of the data, what must not be missed."""

import functools
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from colab_utils.corpora.cards import corpus_names, load_card
from colab_utils.corpora.manifest import speaker_keys

CHARACTER = 0.58  # mean width of a character of DejaVu Sans, in font sizes
Results = Mapping[str, tuple[pd.DataFrame, Mapping[str, Any]]]


@functools.cache
def corpus(name: str) -> str:
    """A corpus as people write it: `emodb` -> `EmoDB`, `synthetic-phone` -> `phone`."""
    if name in corpus_names():
        return re.split(r"[,(]", load_card(name).title)[0].strip()
    return name.removeprefix("synthetic-")


def corpora(names: str) -> str:
    """Several, with + between: `emodb+synthetic-phone` -> `EmoDB + phone`."""
    return " + ".join(map(corpus, names.split("+")))


def transfer(source: str, target: str) -> str:
    """From corpora to others: `EmoDB + SAVEE → EMOVO`."""
    return f"{corpora(source)} → {corpora(target)}"


def task(name: str) -> str:
    """A task named by its two sides, such as `de+en-it`: `de + en → it`; others as they are."""
    source, _, target = name.replace("synthetic-", "").rpartition("-")
    return transfer(source, target) if source and target else corpora(name)


def corpora_of(rows: pd.DataFrame) -> str:
    """The corpora of rows that have a `corpus`: `EmoDB + phone`."""
    return corpora("+".join(sorted(set(rows["corpus"]))))


def run(name: str) -> str:
    """The name of a run in words: `source-+-support-5shot` -> `source + support, 5-shot`."""
    plain = name.replace("synthetic-", "").replace("-+-", " + ")
    plain = re.sub(r"([A-Z])-(head|prototype)\b", r"\1, \2", plain)
    plain = re.sub(r"\balexnet[_-]gap\b", "AlexNet-GAP", plain)
    plain = re.sub(r"\balexnet\b", "AlexNet", plain)
    return re.sub(r"-(\d+)shot", r", \1-shot", plain)


def subject(predictions: pd.DataFrame) -> str:
    """What was tested, and by which method: `EmoDB, logistic`."""
    return f"{corpora_of(predictions)}, {run(predictions['method'].iloc[0])}"


def stamps(predictions: pd.DataFrame, metrics: Mapping[str, Any]) -> list[str]:
    """What a reader of a result must not miss.

    Args:
        predictions: a table of `results.predictions`.
        metrics: its metrics.json.

    Returns:
        A short sentence each; none for a speaker-independent, inductive run on real speech.
    """
    found = stamps_of_rows(predictions)
    independence = metrics.get("speaker_independence", "unknown")
    if independence == "overlap allowed":
        found.append("Speaker overlap allowed: the same speakers may be in training and test.")
    elif independence != "independent":
        found.append(
            f"Speaker independence {independence}: the same speakers may be in training and test."
        )
    if predictions["rule"].eq("made elsewhere").any():
        found.append("Made elsewhere: how is not known here.")
    transductive = [note for note in metrics.get("notes", []) if _is_transductive(note)]
    if transductive:
        found.append(_sentence(transductive[0]))
    elif predictions["rule"].str.contains("transductive").any():
        found.append("Transductive: statistics of unlabelled test utterances are used.")
    return found


def stamps_of_rows(rows: pd.DataFrame) -> list[str]:
    """The stamp of rows that have a `corpus`: whether they are synthetic."""
    synthetic = rows["corpus"].str.startswith("synthetic")
    if not synthetic.any():
        return []
    what = "Synthetic" if synthetic.all() else "Partly synthetic"
    return [f"{what} corpus: not a result on speech."]


def stamps_of_all(shown: Results) -> list[str]:
    """The stamps of several runs.

    Args:
        shown: predictions and metrics.json of each run by its name.

    Returns:
        Stamps that all have as they are, others with the names that they belong to.
    """
    return shared({name: stamps(*result) for name, result in shown.items()})


def shared(sentences: Mapping[str, list[str]]) -> list[str]:
    """Sentences of several runs: those of all as they are, then others with their runs' names.

    Where most have one, the others are named: `All but chance`.
    """
    names_of: dict[str, list[str]] = {}
    for name, told in sentences.items():
        for sentence in told:
            names_of.setdefault(sentence, []).append(name)
    of_all, of_some = [], []
    for sentence, names in names_of.items():
        others = [name for name in sentences if name not in names]
        whose = ", ".join(names)
        if len(others) < len(names) / 2:
            whose = f"All but {', '.join(others)}"
        if others:
            of_some.append(f"{whose}: {sentence}")
        else:
            of_all.append(sentence)
    return of_all + of_some


def interval_unit(metrics: Mapping[str, Any]) -> str:
    """What the 95 % interval is over, in the plural: `speakers` or `films`."""
    return f"{str(metrics.get('ci_unit', 'speaker')).removesuffix('s')}s"


def per_cent(fraction: float) -> str:
    """`0.613` -> `61.3 %`, with a space that does not break."""
    return f"{100 * fraction:.1f}\u00a0%"


def span(metrics: Mapping[str, Any]) -> str:
    """The limits of the 95 % interval, `52.1 to 69.8`, or an empty text where there is none."""
    return " to ".join(f"{100 * limit:.1f}" for limit in metrics.get("uar_ci95") or ())


def counts(metrics: Mapping[str, Any]) -> str:
    """`no interval, 35 of 49 right`: what stands in the place of an interval."""
    right = sum(row[place] for place, row in enumerate(metrics["confusion"]))
    return f"no interval, {right:,} of {metrics['n']:,} right"


def headline(metrics: Mapping[str, Any]) -> str:
    """`UAR 61.3 % (95 % interval over speakers 52.1 to 69.8)`, or `(no interval, 35 of ...)`."""
    told = f"95\u00a0% interval over {interval_unit(metrics)} {span(metrics)}"
    return f"UAR {per_cent(metrics['uar'])} ({told if span(metrics) else counts(metrics)})"


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
    """How the counts of a confusion matrix were pooled; empty where each was predicted once."""
    repeated = repetitions(predictions)
    if not repeated:
        return ""
    told = f"Counts are pooled over {repeated} ({len(predictions):,} predictions)."
    if "seeds" in repeated or "draws" in repeated:
        told += " UAR and WA are means over seeds and draws."
    return told


def notes(metrics: Mapping[str, Any]) -> list[str]:
    """The notes of metrics.json as sentences, less what `stamps` says already."""
    return [_sentence(note) for note in metrics.get("notes", []) if not _is_transductive(note)]


def _is_transductive(note: str) -> bool:
    return note.lower().startswith("transductive")


def _sentence(text: str) -> str:
    plain = re.sub(r"[\w-]+(?![\w/-])", lambda word: corpus(word[0]), text)
    return f"{plain[:1].upper()}{plain[1:].rstrip('.')}."


def characters(text: str) -> int:
    """The width of a text in characters; a sign of Chinese, Japanese or Korean has that of two."""
    wide = [unicodedata.east_asian_width(one) in "WF" for one in text]
    return len(text) + sum(wide)


def longest(names: Iterable[str]) -> int:
    """The width of the longest name in characters."""
    return max(map(characters, names))


def wrap(text: str, width: float, size: float) -> list[str]:
    """Break a text into lines.

    Args:
        text: a sentence.
        width: inches that a line may have.
        size: of the font, in points.

    Returns:
        The lines; none for an empty text.
    """
    share = len(text) / characters(text) if text else 1
    return textwrap.wrap(text, int(share * width * 72 / (CHARACTER * size)))
