"""Listening to what was confused with what: the clips behind a cell of the confusion matrix, with
players.
"""

from __future__ import annotations

import base64
import html
import io
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from colab_utils.corpora.audio import AudioError, load_audio
from colab_utils.results.rates import confusion

LONGEST_SECONDS = 15.0  # of a clip in a player: each second costs 43 kB of the notebook
_CELL = "padding:.3em .7em;text-align:left;border-bottom:1px solid rgba(128,128,128,.3)"


def player_html(samples: np.ndarray, rate: int, label: str = "") -> str:
    """An HTML audio player of mono float samples in [-1, 1] (beyond: clipped) as 16-bit WAV, cut at
    LONGEST_SECONDS, and says so if it is.
    """
    longest = int(LONGEST_SECONDS * rate)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples[:longest], -1, 1), rate, format="WAV", subtype="PCM_16")
    cut = (
        f"<br><small>first {LONGEST_SECONDS:.0f} s of {len(samples) / rate:.0f} s</small>"
        if len(samples) > longest
        else ""
    )
    return (
        '<audio controls preload="metadata" style="height:2.2em;max-width:100%"'
        f' aria-label="{html.escape(label)}"'
        f' src="data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}"></audio>{cut}'
    )


def error_clips(
    predictions: pd.DataFrame, manifest: pd.DataFrame, true: str, pred: str
) -> pd.DataFrame:
    """The utterances of `true` that were taken for `pred` (the same label: those that were right),
    the surest first.

    Columns: utt_id, corpus, speaker, times (predictions that say so), of (predictions of this
    utterance), confidence (mean probability of `pred` over `times`; NaN where the method gives
    none), p_true (of `true`), duration (s) and file (from the manifest's local columns). Raises
    ValueError for predicted utterances that the manifest lacks, naming the first.
    """
    tested = predictions[predictions["true"] == true]
    chosen = tested[tested["pred"] == pred]
    scores = {"confidence": f"p_{pred}", "p_true": f"p_{true}"}
    table = chosen.assign(**{name: chosen.get(column, np.nan) for name, column in scores.items()})
    clips = (
        table.groupby("utt_id")
        .agg(
            corpus=("corpus", "first"),
            speaker=("speaker", "first"),
            times=("pred", "size"),
            confidence=("confidence", "mean"),
            p_true=("p_true", "mean"),
        )
        .reset_index()
    )
    clips.insert(4, "of", clips["utt_id"].map(tested["utt_id"].value_counts()).astype("int64"))
    known = manifest.set_index("utt_id")
    lacking = clips.loc[~clips["utt_id"].isin(known.index), "utt_id"]
    if len(lacking):
        raise ValueError(
            f"{lacking.iloc[0]} (and {len(lacking) - 1} more) was predicted but is not in the"
            " manifest: pass the run's own manifest"
        )
    for column in ("duration", "file"):
        clips[column] = clips["utt_id"].map(known[column])
    return clips.sort_values(
        ["times", "confidence", "utt_id"], ascending=[False, False, True], ignore_index=True
    )


def clips_html(clips: pd.DataFrame, limit: int = 6) -> str:
    """The first `limit` rows of `error_clips` as an HTML table with players; an unreadable file is
    named with its reason instead.
    """
    rows = []
    for clip in clips.head(limit).itertuples():
        try:
            sound = player_html(load_audio(clip.file), 16000, clip.utt_id)
        except AudioError as error:
            sound = f"cannot be played: {html.escape(error.reason)}"
        sure = (
            "not given"
            if np.isnan(clip.confidence)
            else f"{100 * clip.confidence:.0f}&nbsp;% (true: {100 * clip.p_true:.0f}&nbsp;%)"
        )
        cells = [
            html.escape(clip.utt_id),
            html.escape(clip.speaker or "unknown"),
            sure,
            f"{clip.times} of {clip.of}",
            f"{clip.duration:.1f}&nbsp;s",
            sound,
        ]
        rows.append(
            "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells) + "</tr>"
        )
    heads = ("utterance", "speaker", "confidence", "predictions", "length", "listen")
    shown = (
        f"<p>{len(clips):,}"
        f" utterances{f'; the {limit} most often and most surely so' if len(clips) > limit else ''}.</p>"
    )
    head = "".join(f'<th scope="col" style="{_CELL}">{name}</th>' for name in heads)
    return (
        f"{shown}<table"
        f' style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def hear_errors(predictions: pd.DataFrame, manifest: pd.DataFrame, limit: int = 6) -> Any:
    """Two drop-downs, true and predicted emotion with their counts, and the clips of that cell;
    starts at the commonest confusion.

    `predictions`: a results table; `manifest`: the one it was made from, with local columns.
    Returns the widget to show as a cell's last value. Without ipywidgets: an HTML object with the
    commonest confusion; for others `clips_html(error_clips(...))`.
    """
    from IPython.display import HTML

    labels = sorted({*predictions["true"], *predictions["pred"]})
    counts = confusion(predictions["true"], predictions["pred"], labels)
    first_true, first_pred = commonest_confusion(counts, labels)

    def cell(true: str, pred: str) -> str:
        clips = error_clips(predictions, manifest, true, pred)
        taken = "recognised" if true == pred else f"taken for {pred}"
        return (
            f"<h4>{true} {taken}</h4>{clips_html(clips, limit)}"
            if len(clips)
            else f"<p>No {true} was {taken}.</p>"
        )

    try:
        import ipywidgets
    except ImportError:
        more = (
            "<p>Other cells: <code>HTML(clips_html(error_clips(predictions, manifest, true,"
            " pred)))</code></p>"
        )
        return HTML(cell(first_true, first_pred) + more)
    true_box = ipywidgets.Dropdown(
        description="true", options=_counted(labels, counts.sum(axis=1)), value=first_true
    )
    pred_box = ipywidgets.Dropdown(
        description="predicted",
        options=_counted(labels, counts[labels.index(first_true)]),
        value=first_pred,
    )
    # not an Output: a headless run waits for ever on one that holds a megabyte of audio
    shown = ipywidgets.HTML()

    def show(change: Any = None) -> None:
        if change is not None and change["owner"] is true_box:
            kept = pred_box.value
            # new options reset the choice for a moment
            pred_box.unobserve(show, names="value")
            pred_box.options = _counted(labels, counts[labels.index(true_box.value)])
            pred_box.value = kept
            pred_box.observe(show, names="value")
        shown.value = cell(true_box.value, pred_box.value)

    true_box.observe(show, names="value")
    pred_box.observe(show, names="value")
    show()
    return ipywidgets.VBox([ipywidgets.HBox([true_box, pred_box]), shown])


def commonest_confusion(counts: np.ndarray, labels: list[str]) -> tuple[str, str]:
    """The labels (true, predicted) of the largest count off the diagonal; the first cell where
    there is no error at all.
    """
    wrong = counts - np.diag(np.diag(counts))
    true, pred = np.unravel_index(int(wrong.argmax()), wrong.shape)
    return labels[true], labels[pred]


def _counted(labels: list[str], counts: np.ndarray) -> list[tuple[str, str]]:
    return [(f"{label} ({count:,})", label) for label, count in zip(labels, counts, strict=True)]
