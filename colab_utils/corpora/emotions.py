"""Emotion names: the suite's own list, and the choice of emotions that a study compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from colab_utils.corpora.manifest import ManifestError
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
# EmoDB, surprise in ShEMO;
# method_facts §5.12), so these are read by each corpus' own card and never here.
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


def chosen_emotions(
    manifest: pd.DataFrame,
    emotions: str | Sequence[str],
    merge: Mapping[str, str | None] | None = None,
) -> list[str]:
    """The list of emotions to compare.

    `emotions` itself (or the names in a text such as "anger, neutral"); for "all", or where nothing
    is named, every emotion that occurs after renaming by `merge`, sorted.
    """
    named = as_list(emotions)
    if named and emotions != "all":
        return named
    renamed = manifest["emotion"].map(lambda emotion: (merge or {}).get(emotion, emotion))
    return sorted(set(renamed.dropna()) - {""})


def select_emotions(
    manifest: pd.DataFrame,
    emotions: Sequence[str],
    merge: Mapping[str, str | None] | None = None,
    *,
    allow_absent: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep the utterances of `emotions`, after renaming by `merge` (`{"excited": "happiness",
    "calm": None}`; None leaves an emotion out).

    Returns `(kept, left_out)`: `kept` has the manifest's columns with `emotion` rewritten
    (`emotion_raw` stays); `left_out` has `utt_id, emotion, reason`, so that nothing goes in
    silence. Renaming is one step: a target is not renamed again. Raises ManifestError for a name
    that neither the suite nor the manifest knows, for a repeated one, and for an emotion without
    any utterance (unless `allow_absent`), naming the emotions present.
    """
    merge = dict(merge or {})
    renamed = manifest["emotion"].map(lambda emotion: merge.get(emotion, emotion))
    present = manifest["emotion"].value_counts().to_dict()
    listing = (
        ", ".join(f"{name or '(no label)'} ({count})" for name, count in present.items()) or "none"
    )
    targets = {target for target in merge.values() if target is not None}
    known = {*CANONICAL, *present} - {""}
    repeated = [name for name in emotions if list(emotions).count(name) > 1]
    unknown = [
        *(name for name in merge if name not in known),
        *(name for name in emotions if name not in known | targets),
        *sorted(targets - known - set(emotions)),
    ]
    absent = [name for name in emotions if name not in set(renamed)]
    if unknown or repeated or not emotions:
        fault = (
            f"unknown emotion {unknown[0]!r}"
            if unknown
            else f"{repeated[0]!r} stands twice"
            if repeated
            else "no emotion chosen"
        )
        raise ManifestError(f"emotions: {fault}; present: {listing}")
    if absent and not allow_absent:
        raise ManifestError(
            f"emotions: no utterance of {', '.join(absent)} (after merging); present: {listing}"
        )
    chosen = renamed.isin(list(emotions))
    kept = manifest[chosen].assign(emotion=renamed[chosen]).reset_index(drop=True)
    return kept, _left_out(manifest[~chosen], renamed[~chosen])


def _left_out(rows: pd.DataFrame, renamed: pd.Series) -> pd.DataFrame:
    """`utt_id, emotion, reason` of utterances that the choice of emotions leaves out."""
    reason = pd.Series("not among the chosen emotions", index=rows.index)
    reason[(renamed != rows["emotion"]) & renamed.notna()] = (
        "merged into an emotion that is not chosen"
    )
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
        emotions: "all", a list, or names in a text such as "anger, neutral".
        merge: what emotions are renamed to, None to leave one out.

    Raises ManifestError as `select_emotions` does.
    """
    chosen = chosen_emotions(everything, emotions, merge)
    kept, left_out = select_emotions(everything, chosen, merge)
    print(f"{len(kept)} utterances of {', '.join(chosen)}")
    print("left out:", left_out["reason"].value_counts().to_dict() or "none")
    return kept, chosen
