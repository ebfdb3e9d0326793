"""What fine-tuning does to an embedding: maps, retrieval measures, and the clips that lie nearest.

The measures are those of pytorch-metric-learning, searched by faiss.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from colab_utils.corpora.audio import AudioError, load_audio
from colab_utils.corpora.manifest import speaker_keys
from colab_utils.display import captions, maps, style
from colab_utils.display.curves import COLOURS
from colab_utils.display.hear import player_html
from colab_utils.learning.training import single_thread
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.study import TransferStudy
from colab_utils.protocols.folds import speaker_independence

MEASURES = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
HEADS = dict(zip(MEASURES, ("precision at 1 %", "R-precision %", "MAP@R %"), strict=True))
FAISS, EXACT = "faiss", "pytorch-metric-learning (without faiss)"
NEAREST_COLUMNS = ("rank", "utt_id", "emotion", "corpus", "speaker", "distance", "right", "file")
MOST_CLIPS = 10  # with players: each second costs 43 kB of the notebook
RIGHT, WRONG, QUERY = COLOURS[2], "#b3261e", COLOURS[0]
_LINE = "1px solid rgba(128,128,128,.35)"


# --- one support draw before and after ------------------------------------------------------------


class Embeddings(NamedTuple):
    """Projections of one support draw.

    rows: tested utterances and support, with a column `role`; before, after: the projection of
    each before and after the fine-tuning, float32 (n, width).
    """

    rows: pd.DataFrame
    before: np.ndarray
    after: np.ndarray

    @property
    def queries(self) -> np.ndarray:
        """Which rows are tested, bool (n,)."""
        return self.rows["role"].eq("test").to_numpy()

    @property
    def references(self) -> np.ndarray:
        """Which rows are support, bool (n,)."""
        return self.rows["role"].eq("support").to_numpy()


def embeddings(
    study: TransferStudy, config: EmofslConfig, fold: str = "", draw: int = 0, method: str = ""
) -> Embeddings:
    """Projections of a fold's tested utterances and of one draw's support.

    Args:
        study: the study.
        config: the settings.
        fold: default: the first.
        draw: its number.
        method: whose fine-tuning; default: config.method.
    """
    config = dataclasses.replace(config, method=method or config.method)
    fold = fold or study.folds[0]
    support = study.draws(config, fold)[draw : draw + 1]
    tested = study.numbers(fold, "test")
    numbers = np.concatenate([tested, support.ravel()])
    learner, metric = study.source_of(config, fold), study.metric(config, fold)
    with single_thread(study.small):
        before = study.through(learner.module, numbers)[1]
        after = study.projected(learner, support, numbers, config, metric)
    role = np.repeat(["test", "support"], [len(tested), support.size])
    rows = study.rows.iloc[numbers].assign(role=role).reset_index(drop=True)
    return Embeddings(rows, before.cpu().numpy(), after.cpu().numpy())


def maps_figure(study: TransferStudy, found: Embeddings, seed: int = 0) -> style.SuiteFigure:
    """A map of the embedding before and one after the fine-tuning (t-SNE, see `display.maps`)."""
    places = {
        "before": maps.embedding_map(found.before, found.rows, seed=seed),
        "after": maps.embedding_map(found.after, found.rows, seed=seed),
    }
    marks = captions.stamps(
        found.rows.assign(rule=study.rule),
        {"speaker_independence": speaker_independence(study.split)},
    )
    return maps.embedding_maps_figure(
        places, title=f"{study.name}: tested utterances and support", marks=marks
    )


def nearest_table(found: Embeddings) -> pd.DataFrame:
    """Whether the support clip nearest to a tested one has its emotion, before and after."""
    qualities = {}
    for name, vectors in (("before", found.before), ("after", found.after)):
        qualities[name] = retrieval_quality(
            vectors, found.rows["emotion"], found.queries, found.references, normalise=True
        )
    return quality_table(qualities)


def hear_support(study: TransferStudy, found: Embeddings) -> Any:
    """The support clips nearest to a tested one after the fine-tuning, to hear."""
    apart = distance_table(found.after, found.rows["utt_id"], found.queries, found.references)
    return hear_nearest(apart, study.rows)


# --- measures -------------------------------------------------------------------------------------


def retrieval_quality(
    vectors: np.ndarray | torch.Tensor,
    labels: Sequence,
    queries: np.ndarray | None = None,
    references: np.ndarray | None = None,
    normalise: bool = False,
) -> dict:
    """How well a search by Euclidean distance finds utterances of the same label.

    With R the references of a query's label (Musgrave et al. 2020, A Metric Learning Reality
    Check, section 3.2): r_precision is the share of that label among the R nearest, and MAP@R also
    counts how early they come. The query itself is never found. Keep a speaker's own clips out of
    the references of this speaker's queries: they are found by the voice.

    Args:
        vectors: the embedding, float (n, dim).
        labels: (n,) of any kind.
        queries, references: bool (n,), who asks and who may be found; default: all.
        normalise: bring vectors to length 1 first, which makes the search one by cosine.

    Returns:
        MEASURES in [0, 1], chance (expected precision_at_1 and r_precision of a random order),
        n_queries, n_references, left_out (queries whose label no reference has: in none of the
        means) and search (FAISS, or EXACT where faiss is missing: the same numbers, slower).

    Raises:
        ValueError: other shapes, numbers that are not finite, masks that overlap in part, and
            where nothing can be found.
    """
    # Here, not above: Colab's set-up may have failed to install it, and only this needs it.
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN, FaissKNN

    values = torch.as_tensor(vectors).detach().to("cpu", torch.float32)
    asked, kept = _chosen(values, labels, queries, references)
    if normalise:
        values = torch.nn.functional.normalize(values, dim=1)
    inside = bool(np.isin(asked, kept).any())
    if inside and not np.isin(asked, kept).all():
        raise ValueError(
            "some queries are among the references and some are not: pass masks that "
            "share nothing, or references that hold all queries"
        )
    if inside:  # the calculator expects a query at its own number
        kept = np.concatenate([asked, np.setdiff1d(kept, asked)])
    y = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
    others = np.bincount(y[kept], minlength=y.max() + 1)[y[asked]] - inside
    if not (others > 0).any():
        raise ValueError(
            f"none of the {len(asked)} queries has its label among the other "
            "references: nothing can be found"
        )
    with_faiss = _faiss_is_there()
    exact = CustomKNN(LpDistance(normalize_embeddings=False), batch_size=256)
    calculator = AccuracyCalculator(
        include=MEASURES,
        k="max_bin_count",
        device=torch.device("cpu"),
        knn_func=FaissKNN() if with_faiss else exact,
    )
    classes = torch.as_tensor(y)
    found = calculator.get_accuracy(
        values[asked], classes[asked], values[kept], classes[kept], ref_includes_query=inside
    )
    quality = {name: float(found[name]) for name in MEASURES}
    quality["chance"] = float((others[others > 0] / (len(kept) - inside)).mean())
    quality["n_queries"], quality["n_references"] = len(asked), len(kept)
    quality["left_out"] = int((others <= 0).sum())
    quality["search"] = FAISS if with_faiss else EXACT
    return quality


def _chosen(
    values: torch.Tensor,
    labels: Sequence,
    queries: np.ndarray | None,
    references: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of queries and references. Raises ValueError."""
    if values.ndim != 2 or len(values) != len(labels):
        raise ValueError(
            f"embeddings have shape {tuple(values.shape)} and there are {len(labels)} "
            "labels: one vector a label is needed"
        )
    finite = torch.isfinite(values).all(dim=1)
    if not finite.all():
        raise ValueError(
            f"embedding {int((~finite).nonzero()[0])} is not finite: look for the "
            "utterance it comes from"
        )
    rows = []
    for name, mask in (("queries", queries), ("references", references)):
        chosen = np.ones(len(values), dtype=bool) if mask is None else np.asarray(mask)
        if chosen.dtype != bool or chosen.shape != (len(values),) or not chosen.any():
            raise ValueError(
                f"{name} is no mask of {len(values)} rows with a True among them "
                f"(got {chosen.dtype}, shape {chosen.shape})"
            )
        rows.append(np.flatnonzero(chosen))
    return rows[0], rows[1]


def _faiss_is_there() -> bool:
    try:
        import faiss  # noqa: F401
    except ImportError:
        return False
    return True


def quality_table(qualities: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """What `retrieval_quality` gave for each named embedding, one row each, as text: per cent.

    chance is what precision at 1 and R-precision are for a random order; MAP@R is then lower.
    Raises ValueError without any.
    """
    if not qualities:
        raise ValueError(
            "no embeddings: there is nothing to compare; pass the result of "
            "retrieval_quality for one at least"
        )
    rows = {}
    for name, quality in qualities.items():
        left = quality["left_out"]
        row = {head: f"{100 * quality[key]:.1f}" for key, head in HEADS.items()}
        row["chance %"] = f"{100 * quality['chance']:.1f}"
        row["queries"] = f"{quality['n_queries']:,}"
        if left:
            row["queries"] += f" ({left:,} left out: nobody to find)"
        row["references"] = f"{quality['n_references']:,}"
        row["search"] = quality["search"]
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def distance_table(
    vectors: np.ndarray, utterances: Sequence[str], queries: np.ndarray, references: np.ndarray
) -> pd.DataFrame:
    """Euclidean distances of vectors brought to length 1, in [0, 2], by utt_id.

    Args:
        vectors: float (n, dim).
        utterances: their ids (n,).
        queries, references: bool (n,): the rows and the columns of the table.

    Raises:
        ValueError: either has none.
    """
    if not queries.any() or not references.any():
        raise ValueError("no queries or no references: pass masks with a True among them")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    values = vectors / np.maximum(lengths, 1e-12)
    apart = values[queries][:, None] - values[references][None]
    names = np.asarray(utterances)
    return pd.DataFrame(np.sqrt(np.square(apart).sum(axis=2)), names[queries], names[references])


# --- the nearest clips ----------------------------------------------------------------------------


def nearest_rows(
    query: str, distances: pd.Series, manifest: pd.DataFrame, k: int = 4
) -> pd.DataFrame:
    """The k support clips nearest to an utterance, NEAREST_COLUMNS, the nearest first.

    Of equal ones the first by name. right: whether the clip has the query's emotion; speaker:
    "<corpus>/<speaker>", "" where unknown.

    Args:
        query: its utt_id.
        distances: of the support clips to the query, indexed by their utt_id.
        manifest: holds all of them, with local columns.
        k: how many.

    Raises:
        ValueError: a query or clip that the manifest lacks, no distances, or ones that are no
            numbers.
    """
    wrong = ""
    if distances.empty:
        wrong = "are empty"
    elif distances.isna().any():
        wrong = f"of {distances.index[distances.isna()][0]} is no number"
    elif distances.index.has_duplicates:
        wrong = f"hold {distances.index[distances.index.duplicated()][0]} twice"
    if wrong:
        raise ValueError(
            f"the distances to {query} {wrong}: pass one number for each support "
            "clip, indexed by utt_id"
        )
    known = manifest.set_index("utt_id")
    lacking = [name for name in (query, *distances.index) if name not in known.index]
    if lacking:
        raise ValueError(
            f"{lacking[0]} (and {len(lacking) - 1} more) is not in the manifest: "
            "pass the run's own manifest"
        )
    table = distances.rename("distance").rename_axis("utt_id").reset_index()
    table = table.sort_values(["distance", "utt_id"], ignore_index=True).head(k)
    clips = known.loc[table["utt_id"]].reset_index()
    table = table.assign(
        rank=np.arange(1, len(table) + 1),
        emotion=clips["emotion"],
        corpus=clips["corpus"],
        speaker=speaker_keys(clips),
        right=clips["emotion"] == known.loc[query, "emotion"],
        file=clips["file"],
    )
    return table[list(NEAREST_COLUMNS)]


def nearest_clips(query: str, distances: pd.Series, manifest: pd.DataFrame, k: int = 4) -> Any:
    """A query and its k nearest support clips as cards with players.

    They show emotion, speaker, distance, and whether the emotion is the query's. Arguments as
    `nearest_rows`; k up to MOST_CLIPS. Returns a widget (an HTML object without ipywidgets).
    Raises ValueError.
    """
    page = nearest_html(query, distances, manifest, k)
    try:
        import ipywidgets
    except ImportError:
        from IPython.display import HTML

        return HTML(page)
    # Not an Output: a headless run waits for ever on one that holds a megabyte of audio.
    return ipywidgets.HTML(page)


def nearest_html(query: str, distances: pd.Series, manifest: pd.DataFrame, k: int = 4) -> str:
    """The page of `nearest_clips`."""
    if not 1 <= k <= MOST_CLIPS:
        raise ValueError(f"k = {k}: 1 to {MOST_CLIPS} clips can be shown")
    rows = nearest_rows(query, distances, manifest, k)
    asked = manifest[manifest["utt_id"] == query]
    who = speaker_keys(asked).iloc[0]
    asked = asked.iloc[0]
    one = rows["corpus"].nunique() == 1 and rows["corpus"].iloc[0] == asked["corpus"]
    cards = [_card(asked["emotion"], _name(who, one), query, asked["file"], QUERY, "query", "")]
    for row in rows.itertuples():
        colour, told = (RIGHT, "right") if row.right else (WRONG, "wrong")
        cards.append(
            _card(
                row.emotion,
                _name(row.speaker, one),
                row.utt_id,
                row.file,
                colour,
                f"{row.rank}. {told}",
                f"distance {row.distance:.3g}",
            )
        )
    same = ""
    if who and (rows["speaker"] == who).any():
        same = (
            f'<span style="color:{style.WARN};background:#fff4ec;padding:0 .3em">The query\'s '
            "own speaker is among them.</span>"
        )
    synthetic = any(corpus.startswith("synthetic") for corpus in (asked["corpus"], *rows["corpus"]))
    stamp = " <b>Synthetic corpus: not human speech.</b>" if synthetic else ""
    return (
        f'<div style="line-height:1.35"><p style="margin:.3em 0"><b>{int(rows["right"].sum())} '
        f"of the {len(rows)} nearest</b> of {len(distances):,} support clips have the emotion "
        f"of the query, {html.escape(asked['emotion'])}. {same}{stamp}</p>"
        '<div style="display:flex;flex-wrap:wrap;gap:.45em;align-items:flex-start">'
        f"{''.join(cards)}</div></div>"
    )


def hear_nearest(
    distances: pd.DataFrame, manifest: pd.DataFrame, k: int = 4, most: int = 50
) -> Any:
    """A drop-down of queries and the clips nearest to the chosen one.

    It starts with the first query whose nearest clip has another emotion.

    Args:
        distances: (queries, support clips), utt_ids as index and columns.
        manifest: as `nearest_rows`.
        k: how many clips.
        most: so many queries are offered, the first ones.

    Returns:
        A widget to show as a cell's last value; without ipywidgets the page of the first.

    Raises:
        ValueError: no distances.
    """
    if distances.empty:
        raise ValueError(
            "no distances: pass a table with queries as rows and support clips as columns"
        )
    offered = distances.head(most)
    wrong = [
        query
        for query, row in offered.iterrows()
        if not nearest_rows(query, row, manifest, 1)["right"].iloc[0]
    ]
    first = wrong[0] if wrong else offered.index[0]
    try:
        import ipywidgets
    except ImportError:
        return nearest_clips(first, distances.loc[first], manifest, k)
    emotions = manifest.set_index("utt_id")["emotion"]
    options = []
    for query in offered.index:
        beside = " (nearest clip is wrong)" if query in wrong else ""
        options.append((f"{emotions[query]}: {query}{beside}", query))
    box = ipywidgets.Dropdown(
        description="query", options=options, value=first, layout=ipywidgets.Layout(width="32em")
    )
    shown = ipywidgets.HTML(nearest_html(first, distances.loc[first], manifest, k))

    def show(change: Any) -> None:
        shown.value = nearest_html(change["new"], distances.loc[change["new"]], manifest, k)

    box.observe(show, names="value")
    return ipywidgets.VBox([box, shown])


def _name(speaker: str, one: bool) -> str:
    """A speaker as shown: without the corpus where all are of one."""
    return (speaker.rpartition("/")[2] if one else speaker) or "unknown"


def _card(
    emotion: str, speaker: str, utt_id: str, file: str, colour: str, told: str, beside: str
) -> str:
    """One clip: what it is in a coloured chip, `beside` it in small print, and a player."""
    try:
        sound = player_html(load_audio(file), 16000, f"{told}: {emotion}, speaker {speaker}")
    except AudioError as error:
        sound = f"cannot be played: {html.escape(error.reason)}"
    short = html.escape(utt_id.partition("/")[2] or utt_id)
    chip = (
        f"background:{colour};color:{style.ink_on(colour)};border-radius:.8em;"
        "padding:.05em .6em;font-weight:600;white-space:nowrap"
    )
    return (
        f'<div style="border:{_LINE};border-left:.3em solid {colour};border-radius:.3em;'
        f'padding:.25em .45em;width:13.5em" title="{html.escape(utt_id)}">'
        f'<span style="{chip}">{html.escape(told)}</span> '
        f"<small>{html.escape(beside)}</small><br>"
        f"<b>{html.escape(emotion)}</b>, speaker {html.escape(speaker)}<br>"
        f'<small style="opacity:.75">{short}</small>'
        f'<div style="margin-top:.25em">{sound}</div></div>'
    )
