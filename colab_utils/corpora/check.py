"""What could make results wrong, looked for before anything is trained.

Repeated recordings, unknown speakers, lost files, counts that differ from the published.
"""

import os
from collections.abc import Collection

import pandas as pd

from colab_utils.corpora.cards import CorpusCard
from colab_utils.corpora.emotions import CANONICAL
from colab_utils.corpora.manifest import speaker_keys

Finding = tuple[str, str, str]  # severity, check, detail
_SHOWN = 5  # examples named in a detail
_COUNTED = {
    "utterances": "number of utterances",
    "speakers": "number of speakers",
    "per_emotion": "utterances per emotion",
    "per_speaker": "utterances per speaker",
}


def check_manifest(manifest: pd.DataFrame, card: CorpusCard | None = None) -> pd.DataFrame:
    """Check a whole manifest, before emotions are selected.

    Looked for are repeated utterance ids; the same decoded samples twice (an error across speakers,
    who could then stand on both sides of a split; otherwise a warning); unknown speakers; emotion
    names; files that are gone. With a card also the counts of its corpus: a difference is an error
    where they are verified ("V"), a warning where they are recalled ("R"). The card's rule for
    folds is repeated, with what such folds cannot do.

    Args:
        manifest: a manifest; without LOCAL_COLUMNS the audio is not checked.
        card: of a corpus in it: rows whose `corpus` is the card's name, or begins with it and a
            hyphen, are counted.

    Returns:
        DataFrame(severity "error" | "warning" | "ok", check, detail), one row a finding.

    Example:
        >>> check_manifest(scan.manifest, scan.card)
    """
    ids, keys = manifest["utt_id"], speaker_keys(manifest)
    repeated = ids[ids.duplicated()].unique()
    fine = f"{len(ids)}, all different"
    findings = [_finding("utterance ids", "error", "repeated", repeated, fine)]
    findings += _repeated_audio(manifest, card.bad_files() if card else {})
    unknown = ids[keys == ""]
    fault = f"unknown for {len(unknown)} of {len(ids)}, so speaker independence is unknown"
    fine = f"{keys.nunique()}, known for every utterance"
    findings.append(_finding("speakers", "warning", fault, unknown, fine))
    findings += [_emotions(manifest), _files(manifest)]
    if card:
        findings += _counts(manifest, card)
        if card.folds:
            rule = f"{card.name}: {card.folds['rule']}. {card.folds.get('note', '')}"
            findings.append(("ok", "folds", rule.strip()))
    return pd.DataFrame(findings, columns=["severity", "check", "detail"])


def _some(values: Collection) -> str:
    """The first few values, and how many more there are."""
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(list(values)[:_SHOWN]) + more


def _finding(check: str, severity: str, fault: str, where: Collection, fine: str) -> Finding:
    """The fault and the first of those that have it, or "ok" and what is fine."""
    if len(where):
        return severity, check, f"{fault}: {_some(where)}"
    return "ok", check, fine


def _repeated_audio(manifest: pd.DataFrame, known: dict[str, str]) -> list[Finding]:
    """One finding for each recording that stands under several utterance ids."""
    check = "same recording twice"
    if "audio_sha256" not in manifest.columns:
        return [("warning", check, "not checked: the audio was not decoded; use scan")]
    rows = manifest[manifest["audio_sha256"] != ""]
    rows = rows[rows["audio_sha256"].duplicated(keep=False)]
    findings = []
    for _, group in rows.groupby("audio_sha256", sort=False):
        severity = "warning"
        detail = f"identical samples: {_some(group['utt_id'])}"
        labels = sorted(group["emotion"].unique())
        if len(labels) > 1:
            detail += f", labelled {' and '.join(labels)}"
        for utt_id in group["utt_id"]:
            if utt_id in known:
                detail += f" (known: {known[utt_id]})"
        if (group["corpus"] + "/" + group["speaker"]).nunique() > 1:
            severity = "error"
            detail += ", under several speakers: where one is tested, the others do not train"
        findings.append((severity, check, detail))
    return findings or [("ok", check, "no two utterances have the same samples")]


def _emotions(manifest: pd.DataFrame) -> Finding:
    counts = manifest["emotion"].value_counts().to_dict()
    faults = []
    if "" in counts:
        faults.append(f"{counts['']} utterances without a label")
    strange = sorted(set(counts) - {*CANONICAL, ""})
    if strange:
        faults.append(f"names the suite does not know: {_some(strange)}")
    if faults:
        return "warning", "emotions", "; ".join(faults)
    return "ok", "emotions", ", ".join(f"{name} {count}" for name, count in counts.items())


def _files(manifest: pd.DataFrame) -> Finding:
    if "file" not in manifest.columns:
        return "warning", "files", "not checked: the manifest is not tied to audio files; use scan"
    gone = [file for file in manifest["file"] if not os.path.exists(file)]
    fault = f"{len(gone)} are gone, scan again"
    return _finding("files", "error", fault, gone, f"all {len(manifest)} are there")


def _counts(manifest: pd.DataFrame, card: CorpusCard) -> list[Finding]:
    """A finding for each count on the card."""
    rows = manifest[manifest["corpus"].str.fullmatch(f"{card.name}(-.*)?")]
    speakers = speaker_keys(rows)
    found = {
        "utterances": len(rows),
        "speakers": speakers[speakers != ""].nunique(),
        "per_emotion": rows["emotion"].value_counts().to_dict(),
        "per_speaker": rows["speaker"].value_counts().to_dict(),
    }
    severity, known = "warning", "recalled"
    if card.counts.get("confidence") == "V":
        severity, known = "error", "verified"
    findings = []
    for name, check in _COUNTED.items():
        if name in card.counts:
            difference = _difference(found[name], card.counts[name])
            detail = f"{card.name}: {difference or f'as {known}'}"
            findings.append((severity if difference else "ok", check, detail))
    return findings


def _difference(found: int | dict, expected: int | dict) -> str:
    """`12 found, 13 expected`, in a table for each entry that differs; "" when equal."""
    if found == expected:
        return ""
    if not isinstance(expected, dict):
        return f"{found} found, {expected} expected"
    different = []
    for name in dict.fromkeys([*expected, *found]):
        here, there = found.get(name, 0), expected.get(name, 0)
        if here != there:
            different.append(f"{name or '(unknown)'} {here} found, {there} expected")
    return _some(different)
