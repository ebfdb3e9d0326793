"""Emotion names: the suite's own list, and the choice of emotions that a study compares."""

from collections.abc import Mapping, Sequence

import pandas as pd

from colab_utils.corpora.manifest import ManifestError
from colab_utils.corpora.tables.words import folded
from colab_utils.settings import as_list

CANONICAL = (
    "anger",
    "happiness",
    "sadness",
    "fear",
    "disgust",
    "neutral",
    "surprise",
    "calm",
    "boredom",
    "contempt",
    "excited",
    "frustration",
    "other",
)

# Whole English words only, for users' own tables. Letter codes collide over corpora (W is anger in
# EmoDB and surprise in ShEMO), so these are read by each corpus' own card and never here.
WORDS = {
    "angry": "anger",
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "fearful": "fear",
    "disgusted": "disgust",
    "surprised": "surprise",
    "bored": "boredom",
    "excitement": "excited",
    "frustrated": "frustration",
}


def as_known(manifest: pd.DataFrame, names: Sequence[str]) -> dict[str, str]:
    """What emotions are called in a manifest, as the user may have written them in a table.

    Args:
        manifest: a manifest; its `emotion_raw` holds what was written.
        names: such as "Wut" or "Angry".

    Returns:
        For each name the one emotion that it means, by its own name, as written in the table or as
        an English word, whatever its capitals; where that is none, or not one alone, the name.
    """
    known = {*CANONICAL, *manifest["emotion"]} - {""}
    pairs = [(name, name) for name in known]
    pairs += WORDS.items()
    pairs += manifest[["emotion_raw", "emotion"]].drop_duplicates().itertuples(index=False)
    means = {}
    for written, emotion in pairs:
        means.setdefault(folded(written), set()).add(emotion)
    found = {}
    for name in names:
        meant = means.get(folded(name), set())
        found[name] = min(meant) if name not in known and len(meant) == 1 else name
    return found


def merged(manifest: pd.DataFrame, merge: Mapping[str, str | None] | None = None) -> pd.Series:
    """The emotions after renaming, in one step: a target is not renamed again.

    Args:
        manifest: a manifest.
        merge: what emotions, named as in `as_known`, are renamed to; None to leave one out.

    Returns:
        The new names, None for what is left out.

    Raises:
        ManifestError: two names of one emotion that are renamed differently.
    """
    renaming = _in_known(manifest, merge or {})
    return manifest["emotion"].map(lambda emotion: renaming.get(emotion, emotion))


def _in_known(manifest: pd.DataFrame, merge: Mapping[str, str | None]) -> dict[str, str | None]:
    """`merge` by the names that emotions have in a manifest. Raises ManifestError."""
    known = as_known(manifest, list(merge))
    found = {}
    for name, target in merge.items():
        if found.setdefault(known[name], target) != target:
            raise ManifestError(
                f"emotions: {name!r} and another name of {known[name]!r} are renamed differently"
            )
    return found


def select_emotions(
    manifest: pd.DataFrame,
    emotions: Sequence[str],
    merge: Mapping[str, str | None] | None = None,
    *,
    allow_absent: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep the utterances of some emotions.

    Args:
        manifest: a manifest.
        emotions: those to keep.
        merge: what emotions are renamed to before, such as `{"excited": "happiness", "calm":
            None}`; None leaves an emotion out. Renaming is one step; names as in `as_known`.
        allow_absent: whether an emotion may be without any utterance.

    Returns:
        `(kept, left_out)`: `kept` has the manifest's columns with `emotion` rewritten
        (`emotion_raw` stays); `left_out` has `utt_id, emotion, reason`, so that nothing goes in
        silence.

    Raises:
        ManifestError: for a name that neither the suite nor the manifest knows, for a repeated one,
            and for an emotion without any utterance, naming the emotions present.

    Example:
        >>> kept, left_out = select_emotions(scan.manifest, ["anger", "neutral"])
    """
    renamed = merged(manifest, merge)
    merge = _in_known(manifest, merge or {})
    emotions = list(emotions)
    fault = _fault(manifest, emotions, merge)
    absent = [name for name in emotions if name not in set(renamed)]
    if not fault and absent and not allow_absent:
        fault = f"no utterance of {', '.join(absent)} (after merging)"
    if fault:
        counts = manifest["emotion"].value_counts()
        present = [f"{name or '(no label)'} ({count})" for name, count in counts.items()]
        raise ManifestError(f"emotions: {fault}; present: {', '.join(present) or 'none'}")
    chosen = renamed.isin(emotions)
    kept = manifest[chosen].assign(emotion=renamed[chosen]).reset_index(drop=True)
    return kept, _left_out(manifest[~chosen], renamed[~chosen])


def _fault(manifest: pd.DataFrame, emotions: list[str], merge: Mapping[str, str | None]) -> str:
    """What is wrong with the names of emotions, or ""."""
    known = {*CANONICAL, *manifest["emotion"]} - {""}
    targets = {target for target in merge.values() if target is not None}
    unknown = [name for name in merge if name not in known]
    unknown += [name for name in emotions if name not in known | targets]
    unknown += sorted(targets - known - set(emotions))
    if unknown:
        return f"unknown emotion {unknown[0]!r}"
    for name in emotions:
        if emotions.count(name) > 1:
            return f"{name!r} stands twice"
    return "" if emotions else "no emotion chosen"


def _left_out(rows: pd.DataFrame, renamed: pd.Series) -> pd.DataFrame:
    """`utt_id, emotion, reason` of utterances that the choice of emotions leaves out."""
    reason = pd.Series("not among the chosen emotions", index=rows.index)
    reason[renamed != rows["emotion"]] = "merged into an emotion that is not chosen"
    reason[renamed.isna()] = "left out by merge"
    reason[rows["emotion"] == ""] = "has no emotion label"
    return rows[["utt_id", "emotion"]].assign(reason=reason).reset_index(drop=True)


def choose_utterances(
    everything: pd.DataFrame,
    emotions: str | Sequence[str] = "all",
    merge: Mapping[str, str | None] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """The utterances to work on, and the list of their emotions; what is left out is printed.

    Args:
        everything: a manifest.
        emotions: a list, or names in a text such as "anger, neutral"; with "all", or where nothing
            is named, every emotion that occurs after renaming. Names as in `as_known`.
        merge: what emotions are renamed to, None to leave one out.

    Returns:
        The manifest of the utterances kept, and the list of emotions (of all: sorted).

    Raises:
        ManifestError: as `select_emotions`.

    Example:
        >>> manifest, labels = choose_utterances(scan.manifest, "anger, neutral", {"calm": None})
    """
    chosen = as_list(emotions)
    if not chosen or emotions == "all":
        chosen = sorted(set(merged(everything, merge).dropna()) - {""})
    known = as_known(everything, chosen)
    targets = list((merge or {}).values())
    chosen = [name if name in targets else known[name] for name in chosen]
    kept, left_out = select_emotions(everything, chosen, merge)
    print(f"{len(kept)} utterances of {', '.join(chosen)}")
    print("left out:", left_out["reason"].value_counts().to_dict() or "none")
    return kept, chosen
