"""Listening to what was confused with what: the clips behind a cell of the confusion matrix."""

import base64
import html
import io
from typing import Any

import ipywidgets
import jinja2
import numpy as np
import pandas as pd
import soundfile

from colab_utils.corpora.audio import AudioError, load_audio
from colab_utils.results.rates import confusion

LONGEST_SECONDS = 15.0  # of a clip in a player: each second costs 43 kB of the notebook
RATE = 16000  # Hz, of what is played
_CLIPS = jinja2.Template(
    """
{% set cell = "padding:.3em .7em;text-align:left;border-bottom:1px solid rgba(128,128,128,.3)" %}
<p>{{ "{:,}".format(number) }} utterances
{%- if number > clips|length %}; the {{ clips|length }} most often and most surely so
{%- endif %}.</p>
<table style="border-collapse:collapse"><thead><tr>
{% for head in ["utterance", "speaker", "confidence", "predictions", "length", "listen"] %}
<th scope="col" style="{{ cell }}">{{ head }}</th>
{% endfor %}</tr></thead><tbody>
{% for clip in clips %}<tr>
<td style="{{ cell }}">{{ clip.utt_id }}</td>
<td style="{{ cell }}">{{ clip.speaker or "unknown" }}</td>
<td style="{{ cell }}">{% if clip.confidence == clip.confidence %}
{{ "%.0f"|format(100 * clip.confidence) }}&nbsp;%
(true: {{ "%.0f"|format(100 * clip.p_true) }}&nbsp;%){% else %}not given{% endif %}</td>
<td style="{{ cell }}">{{ clip.times }} of {{ clip.of }}</td>
<td style="{{ cell }}">{{ "%.1f"|format(clip.duration) }}&nbsp;s</td>
<td style="{{ cell }}">{{ clip_html(clip.file, clip.utt_id)|safe }}</td>
</tr>{% endfor %}</tbody></table>
""",
    autoescape=True,
)


def player_html(samples: np.ndarray, rate: int, label: str = "") -> str:
    """An HTML audio player of 16-bit WAV, cut at LONGEST_SECONDS, which says so if it is.

    Args:
        samples: mono, float in [-1, 1]; beyond: clipped.
        rate: Hz.
        label: for screen readers.

    Returns:
        HTML with the sound inside.
    """
    longest = int(LONGEST_SECONDS * rate)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples[:longest], -1, 1), rate, format="WAV", subtype="PCM_16")
    cut = ""
    if len(samples) > longest:
        cut = f"<br><small>first {LONGEST_SECONDS:.0f} s of {len(samples) / rate:.0f} s</small>"
    return (
        '<audio controls preload="metadata" style="height:2.2em;max-width:100%"'
        f' aria-label="{html.escape(label)}"'
        f' src="data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}"></audio>{cut}'
    )


def clip_html(file: str, label: str) -> str:
    """A player of an audio file, or the reason why there is none.

    Args:
        file: its path.
        label: for screen readers.

    Returns:
        HTML.
    """
    try:
        return player_html(load_audio(file), RATE, label)
    except AudioError as error:
        return f"cannot be played: {html.escape(error.reason)}"


def error_clips(
    predictions: pd.DataFrame, manifest: pd.DataFrame, true: str, pred: str
) -> pd.DataFrame:
    """The utterances of `true` that were taken for `pred`, the surest first.

    Args:
        predictions: a table of `results.predictions`.
        manifest: the one it was made from, with local columns.
        true: the true emotion.
        pred: the predicted one; the same: those that were right.

    Returns:
        Columns utt_id, speaker, times (predictions that say so), of (predictions of this
        utterance), confidence (mean probability of `pred` over `times`; NaN where the method gives
        none), p_true (of `true`), duration (s) and file.

    Raises:
        ValueError: predicted utterances that the manifest lacks; names the first.
    """
    tested = predictions[predictions["true"] == true]
    chosen = tested[tested["pred"] == pred]
    # Methods without probabilities have no p_ columns.
    chosen = chosen.reindex(columns=["utt_id", "speaker", f"p_{pred}", f"p_{true}"])
    chosen.columns = ["utt_id", "speaker", "confidence", "p_true"]
    groups = chosen.groupby("utt_id")
    clips = groups[["speaker"]].first()
    clips["times"] = groups.size()
    clips["of"] = tested["utt_id"].value_counts().reindex(clips.index)
    clips[["confidence", "p_true"]] = groups[["confidence", "p_true"]].mean()
    lacking = clips.index.difference(manifest["utt_id"])
    if len(lacking):
        raise ValueError(
            f"{lacking[0]} (and {len(lacking) - 1} more) was predicted but is not in the"
            " manifest: pass the run's own manifest"
        )
    clips = clips.join(manifest.set_index("utt_id")[["duration", "file"]]).reset_index()
    order = ["times", "confidence", "utt_id"]
    return clips.sort_values(order, ascending=[False, False, True], ignore_index=True)


def clips_html(clips: pd.DataFrame, limit: int = 6) -> str:
    """Clips as an HTML table with players.

    Args:
        clips: of `error_clips`.
        limit: the first so many are shown.

    Returns:
        The page; an unreadable file is named with its reason instead of a player.
    """
    shown = list(clips.head(limit).itertuples())
    return _CLIPS.render(number=len(clips), clips=shown, clip_html=clip_html)


def hear_errors(predictions: pd.DataFrame, manifest: pd.DataFrame, limit: int = 6) -> Any:
    """Two drop-downs, true and predicted emotion with their counts, and the clips of that cell.

    Args:
        predictions: a table of `results.predictions`.
        manifest: the one it was made from, with local columns.
        limit: clips of a cell that are shown.

    Returns:
        The widget to show as a cell's last value; it starts at the commonest confusion.

    Example:
        >>> hear_errors(run.predictions, manifest)
    """
    labels = sorted({*predictions["true"], *predictions["pred"]})
    counts = confusion(predictions["true"], predictions["pred"], labels)
    wrong = counts - np.diag(np.diag(counts))
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    true, pred = labels[row], labels[column]
    counts = pd.DataFrame(counts, labels, labels)

    def cell(true: str, pred: str) -> str:
        clips = error_clips(predictions, manifest, true, pred)
        taken = "recognised" if true == pred else f"taken for {html.escape(pred)}"
        if clips.empty:
            return f"<p>No {html.escape(true)} was {taken}.</p>"
        return f"<h4>{html.escape(true)} {taken}</h4>{clips_html(clips, limit)}"

    true_box = ipywidgets.Dropdown(description="true", options=_counted(counts.sum(axis=1)))
    pred_box = ipywidgets.Dropdown(description="predicted", options=_counted(counts.loc[true]))
    true_box.value, pred_box.value = true, pred
    # Not an Output: a headless run waits for ever on one that holds a megabyte of audio.
    shown = ipywidgets.HTML()

    def show(_change: Any = None) -> None:
        shown.value = cell(true_box.value, pred_box.value)

    def recount(_change: Any) -> None:
        kept = pred_box.value
        # New options reset the choice for a moment.
        pred_box.unobserve(show, names="value")
        pred_box.options = _counted(counts.loc[true_box.value])
        pred_box.value = kept
        pred_box.observe(show, names="value")
        show()

    true_box.observe(recount, names="value")
    pred_box.observe(show, names="value")
    show()
    return ipywidgets.VBox([ipywidgets.HBox([true_box, pred_box]), shown])


def _counted(counts: pd.Series) -> list[tuple[str, str]]:
    """Options of a drop-down: each label with its count."""
    return [(f"{label} ({count:,})", label) for label, count in counts.items()]
