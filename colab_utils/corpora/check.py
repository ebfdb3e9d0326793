"""What could make results wrong before anything is trained: repeated recordings, unknown speakers,
counts that differ from the published.
"""

from __future__ import annotations

import os

import pandas as pd

from colab_utils.corpora.cards import CorpusCard
from colab_utils.corpora.emotions import CANONICAL

_SHOWN = 5  # examples named in a detail
_COUNTED = {
    "utterances": "number of utterances",
    "speakers": "number of speakers",
    "per_emotion": "utterances per emotion",
    "per_speaker": "utterances per speaker",
}


def check_manifest(manifest: pd.DataFrame, card: CorpusCard | None = None) -> pd.DataFrame:
    """Check a whole manifest (before emotions are selected): DataFrame(severity "error" | "warning"
    | "ok", check, detail), one row a finding.

    Checks: repeated utterance ids; the same decoded samples twice (error across speakers, who could
    then stand on both sides of a split; otherwise a warning); unknown speakers; emotion names;
    files that are gone; and, with a `card`, the counts of its corpus (rows whose `corpus` is the
    card's name or begins with it and a hyphen): a difference is an error where the card's counts
    are verified ("V"), a warning where they are recalled ("R"); the card's rule for folds is
    repeated, with what such folds cannot do.
    """
    findings = [
        _repeated_ids(manifest),
        *_repeated_audio(manifest, card),
        _speakers(manifest),
        _emotions(manifest),
        _files(manifest),
    ]
    if card is not None:
        findings += _counts(manifest, card)
        if card.folds:
            findings.append(
                (
                    "ok",
                    "folds",
                    " ".join(
                        [f"{card.name}: {card.folds['rule']}.", card.folds.get("note", "")]
                    ).strip(),
                )
            )
    return pd.DataFrame(findings, columns=["severity", "check", "detail"])


def _some(values: list[str]) -> str:
    """The first few values, and how many more there are."""
    values = [str(value) for value in values]
    return ", ".join(values[:_SHOWN]) + (
        f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    )


def _repeated_ids(manifest: pd.DataFrame) -> tuple[str, str, str]:
    ids = manifest["utt_id"]
    repeated = ids[ids.duplicated()].unique().tolist()
    return (
        ("error", "utterance ids", f"repeated: {_some(repeated)}")
        if repeated
        else ("ok", "utterance ids", f"{len(ids)}, all different")
    )


def _repeated_audio(manifest: pd.DataFrame, card: CorpusCard | None) -> list[tuple[str, str, str]]:
    """One finding for each recording that stands under several utterance ids."""
    check = "same recording twice"
    if "audio_sha256" not in manifest.columns:
        return [("warning", check, "not checked: the audio was not decoded; use scan")]
    rows = manifest[
        (manifest["audio_sha256"] != "") & manifest["audio_sha256"].duplicated(keep=False)
    ]
    known = {f"{card.name}/{bad['path']}": bad["reason"] for bad in card.known_bad} if card else {}
    findings = []
    for _, group in rows.groupby("audio_sha256", sort=False):
        labels = sorted(group["emotion"].unique())
        across = (group["corpus"] + "/" + group["speaker"]).nunique() > 1
        detail = f"identical samples: {_some(group['utt_id'].tolist())}"
        detail += f", labelled {' and '.join(labels)}" if len(labels) > 1 else ""
        detail += "".join(
            f" (known: {known[utt_id]})" for utt_id in group["utt_id"] if utt_id in known
        )
        findings.append(
            ("error", check, f"{detail}, under several speakers: leave all but one out")
            if across
            else ("warning", check, detail)
        )
    return findings or [("ok", check, "no two utterances have the same samples")]


def _speakers(manifest: pd.DataFrame) -> tuple[str, str, str]:
    unknown = manifest.loc[manifest["speaker"] == "", "utt_id"].tolist()
    if unknown:
        return (
            "warning",
            "speakers",
            (
                f"unknown for {len(unknown)} of {len(manifest)} utterances ({_some(unknown)}):"
                " speaker independence is unknown"
            ),
        )
    return (
        "ok",
        "speakers",
        f"{manifest.groupby(['corpus', 'speaker']).ngroups}, known for every utterance",
    )


def _emotions(manifest: pd.DataFrame) -> tuple[str, str, str]:
    counts = manifest["emotion"].value_counts()
    strange = sorted(set(counts.index) - set(CANONICAL) - {""})
    faults = [f"{counts['']} utterances without a label"] if "" in counts.index else []
    faults += [f"names the suite does not know: {_some(strange)}"] if strange else []
    detail = "; ".join(faults) or ", ".join(f"{name} {count}" for name, count in counts.items())
    return ("warning" if faults else "ok", "emotions", detail)


def _files(manifest: pd.DataFrame) -> tuple[str, str, str]:
    if "file" not in manifest.columns:
        return "warning", "files", "not checked: the manifest is not tied to audio files; use scan"
    gone = [file for file in manifest["file"] if not os.path.exists(file)]
    return (
        ("error", "files", f"{len(gone)} are gone: {_some(gone)}; scan again")
        if gone
        else ("ok", "files", f"all {len(manifest)} are there")
    )


def _counts(manifest: pd.DataFrame, card: CorpusCard) -> list[tuple[str, str, str]]:
    """Findings for each count on the card."""
    rows = manifest[
        (manifest["corpus"] == card.name) | manifest["corpus"].str.startswith(f"{card.name}-")
    ]
    severity = {"V": "error", "R": "warning"}.get(str(card.counts.get("confidence")), "warning")
    found = {
        "utterances": len(rows),
        "speakers": (rows["corpus"] + "/" + rows["speaker"])[rows["speaker"] != ""].nunique(),
        "per_emotion": rows["emotion"].value_counts().to_dict(),
        "per_speaker": rows["speaker"].value_counts().to_dict(),
    }
    findings = []
    for name, expected in card.counts.items():
        if name == "confidence":
            continue
        difference = _difference(found[name], expected)
        detail = (
            f"{card.name}: {difference}"
            if difference
            else f"{card.name}: as {'verified' if severity == 'error' else 'recalled'}"
        )
        findings.append((severity if difference else "ok", _COUNTED[name], detail))
    return findings


def _difference(found: int | dict, expected: object) -> str:
    """`12 found, 13 expected` for a number, and for a table each entry that differs; "" when equal."""
    if not isinstance(expected, dict) or not isinstance(found, dict):
        return "" if found == expected else f"{found} found, {expected} expected"
    names = [*expected, *(name for name in found if name not in expected)]
    return _some(
        [
            f"{name or '(unknown)'} {found.get(name, 0)} found, {expected.get(name, 0)} expected"
            for name in names
            if found.get(name, 0) != expected.get(name, 0)
        ]
    )
