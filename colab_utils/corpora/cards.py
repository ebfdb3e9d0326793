"""Corpus cards and shipped tables: what is known of a corpus before any of its audio is at hand."""

import dataclasses
import pathlib
from collections.abc import Mapping

import pandas as pd
import yaml

from colab_utils.corpora.emotions import CANONICAL
from colab_utils.corpora.manifest import read_manifest
from colab_utils.corpora.tables.reading import ManifestError, read_table

COUNT_KEYS = ("utterances", "speakers", "per_emotion", "per_speaker", "confidence")


@dataclasses.dataclass(frozen=True)
class CorpusCard:
    """What is known of a corpus.

    Attributes:
        name: as in `load_card`.
        title: in full.
        citation: of the paper.
        license: as its owners state it.
        access: "open" or "request".
        url: of its owners.
        language: BCP 47.
        label_map: raw -> canonical emotion, "" for a raw label that says that the raters did not
            agree.
        counts: any of COUNT_KEYS; `confidence` is "V" (verified: a wrong count is an error) or "R"
            (recalled: it warns).
        folds: rule, unit (speaker, session or film), file and note.
        known_bad: `{path, reason}`; with `skip: true` a file is left out even where it decodes.
        naming: explains the file names.
        note: what else a user should know.
        archives: the names, without suffix, under which its archives are published.
    """

    name: str
    title: str
    citation: str
    license: str
    access: str
    url: str
    language: str
    label_map: Mapping[str, str]
    counts: Mapping[str, object] = dataclasses.field(default_factory=dict)
    folds: Mapping[str, str] = dataclasses.field(default_factory=dict)
    known_bad: tuple[Mapping[str, str], ...] = ()
    naming: str = ""
    note: str = ""
    archives: tuple[str, ...] = ()

    def bad_files(self) -> dict[str, str]:
        """The reason of each known bad file, by utt_id."""
        return {f"{self.name}/{bad['path']}": bad["reason"] for bad in self.known_bad}


def data_folder() -> pathlib.Path:
    """The folder `data_manifests`: beside the package in a checkout, inside it once installed."""
    package = pathlib.Path(__file__).resolve().parent.parent
    checkout = package.parent
    if (checkout / "setup.py").is_file() and (checkout / "data_manifests").is_dir():
        return checkout / "data_manifests"
    return package / "data_manifests"


def corpus_names() -> list[str]:
    """The corpora that have a card, in alphabetical order."""
    return sorted(path.stem for path in data_folder().glob("*.yaml"))


def card_name(corpus: str) -> str:
    """The card of a manifest's `corpus` value.

    Its own, or that of the corpus of which it is a domain (synthetic-room: synthetic).
    """
    whole, known = corpus.partition("-")[0], corpus_names()
    return whole if corpus not in known and whole in known else corpus


def load_card(name: str) -> CorpusCard:
    """Read `data_manifests/<name>.yaml`.

    Raises:
        ManifestError: for an unknown corpus, listing the known; for a card that is not well made.

    Example:
        >>> load_card("savee").counts["utterances"]
        480
    """
    file = data_folder() / f"{name}.yaml"
    if name not in corpus_names():
        raise ManifestError(
            f"unknown corpus {name!r}; known: {', '.join(corpus_names())}; your own data comes in"
            " by from_csv or from_folder"
        )
    try:
        card = CorpusCard(name=name, **yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, TypeError) as error:
        raise ManifestError(f"{file}: not a corpus card ({error})") from error
    fault = _fault(card)
    if fault:
        raise ManifestError(f"{file}: {fault}")
    return card


def _fault(card: CorpusCard) -> str:
    """What is wrong with a card, or ""."""
    if card.access not in ("open", "request"):
        return f"access is {card.access!r}, not open or request"
    if not all(isinstance(raw, str) for raw in card.label_map):
        return "label_map has keys that YAML does not read as text: put them in quotes"
    strange = sorted(set(card.label_map.values()) - {*CANONICAL, ""})
    if strange:
        return (
            f"label_map leads to {', '.join(strange)}, which the suite does not know: use"
            f" {', '.join(CANONICAL)}"
        )
    unknown = sorted(set(card.counts) - set(COUNT_KEYS))
    if unknown:
        return f"counts has unknown keys {', '.join(unknown)}; known: {', '.join(COUNT_KEYS)}"
    if not all(isinstance(known, str) for known in card.archives):
        return "archives has names that YAML does not read as text: put them in quotes"
    if card.counts and card.counts.get("confidence") not in ("V", "R"):
        return "counts needs confidence: V (verified) or R (recalled)"
    return ""


def shipped_manifest(name: str) -> pd.DataFrame | None:
    """The manifest that comes with the suite.

    None for a corpus whose rows do not follow from its published file names.
    """
    file = data_folder() / f"{load_card(name).name}.csv"
    return read_manifest(file) if file.is_file() else None


def frozen_folds(name: str) -> pd.DataFrame:
    """The frozen folds of a corpus.

    Returns:
        Columns `<unit>` (speaker, session or film; corpus-local id, str) and fold (int, from 0).

    Raises:
        ManifestError: when the corpus has none or the file is not well made.

    Example:
        >>> frozen_folds("savee")["fold"].nunique()
        4
    """
    name = card_name(name)
    unit = load_card(name).folds.get("unit", "speaker")
    file = data_folder() / "folds" / f"{name}.csv"
    if not file.is_file():
        instead = "grouped folds or leave one speaker out"
        if unit == "film":
            instead = "grouped folds (they keep the speakers of a film together)"
        raise ManifestError(f"{name} has no frozen folds: use {instead}")
    table = read_table(file)
    if list(table.columns) != [unit, "fold"]:
        raise ManifestError(
            f"{file}: columns {', '.join(table.columns)} found, {unit}, fold expected"
        )
    if table[unit].duplicated().any() or not table["fold"].str.fullmatch(r"\d+").all():
        raise ManifestError(f"{file}: each {unit} stands once, with a whole fold number")
    return table.astype({"fold": int})
