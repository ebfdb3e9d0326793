"""EmoFilm (Parada-Cabaleiro et al. 2018): `f_ans001aen` = gender, emotion, scene, segment, language
(method_facts §5.1).

The clips are dubbed films: the same `f_ans001a` in English, Spanish and Italian is one line of one
scene, so it is the text_id. Speaker and film stand in the owners' legend
(`f_m_corpus_it_es_en_legend.xlsx`, or a CSV with the columns file, speaker, film).
"""

from __future__ import annotations

import pathlib
import re

import pandas as pd

from colab_utils.corpora.decode import find_audio, nfc
from colab_utils.corpora.manifest import ManifestError, empty_row, read_table
from colab_utils.corpora.parsers.names import ForeignNameError, matched

NAME = "emofilm"
_STEM = re.compile(r"(([fm])_(ans|dis|gio|rab|tri)\d{3}[a-z])(en|es|it)(?:_16k)?", re.ASCII)
_UNKNOWN = r"|\?+|unknown\b.*"
# The legend's spellings of one film or dubber; two spellings would stand on both sides of a grouped
# split.
_FILMS = {
    "a bautiful mind": "a beautiful mind",
    "beautiful mind": "a beautiful mind",
    "american hisotry x": "american history x",
    "million dolar baby": "million dollar baby",
    "joe black": "meet joe black",
    "bicentennian man": "bicentennial man",
    "ther interpreter": "the interpreter",
    "poltergueist": "poltergeist",
    "will hinting": "good will hunting",
    "brokeback": "brokeback mountain",
    "borkeback mountain": "brokeback mountain",
    "borkebackmountain": "brokeback mountain",
    "the live of the others": "the lives of others",
    "the life of the others": "the lives of others",
}
_SPEAKERS = {
    "camilo garcia": "camilo garcía",
    "constantino romero+6": "constantino romero",
    "giuppi izzo": "giuppy izzo",
    "maria moscardo": "maría moscardó",
    "massimo de ambrosio": "massimo de ambrosis",
    "robert duval": "robert duvall",
    "xavier fernandez": "xavier fernández",
}


def parse(path: pathlib.PurePosixPath) -> dict:
    """The manifest row of an EmoFilm clip, with or without `_16k`; text_id is shared by its dubbed
    versions. Raises ForeignNameError.
    """
    match = matched(
        _STEM, path, "EmoFilm: gender, emotion, scene, segment, language, such as f_ans001aen"
    )
    clip, gender, emotion, language = match.groups()
    return empty_row(
        NAME,
        clip + language,
        gender={"f": "female", "m": "male"}[gender],
        language=language,
        text_id=clip,
        style="scripted",
        emotion_raw=emotion,
    )


def annotations(root: pathlib.Path) -> pd.DataFrame:
    """Speaker and film (str, lower case, known misspellings put right, "" unknown) of every clip
    below `root`, by utt_id.

    The legend lies below `root` or beside it. Without one all are unknown, which is printed, as is
    the number of clips that it leaves open. Raises ManifestError for a legend that cannot be read
    or contradicts itself.
    """
    clips = pd.Index(
        sorted({utt_id for file in find_audio(root).files if (utt_id := _utt_id(file))})
    )
    found = sorted(
        {
            file
            for pattern in ("*legend*", "EmoFilm_labels*")
            for file in [*root.rglob(pattern), *root.parent.glob(pattern)]
            if file.suffix.lower() in (".csv", ".xlsx") and not file.name.startswith((".", "~"))
        },
        key=lambda file: (file.suffix, str(file)),
    )
    if not found:
        print(
            "EmoFilm: no legend (f_m_corpus_it_es_en_legend.xlsx, or a CSV of it) in or beside"
            f" {root}: speakers and films are unknown"
        )
        return pd.DataFrame("", index=clips, columns=["speaker", "film"])
    table = _read_legend(found[0]).reindex(clips, fill_value="")
    for column in table.columns[(table == "").any()]:
        print(
            f"EmoFilm: {found[0].name} leaves the {column} of {(table[column] == '').sum()} of"
            f" {len(clips)} clips unknown"
        )
    return table


def _utt_id(name: str) -> str:
    """The utterance id of a file name, or ""."""
    try:
        return parse(pathlib.PurePosixPath(nfc(name.strip())))["utt_id"]
    except ForeignNameError:
        return ""


def _read_legend(file: pathlib.Path) -> pd.DataFrame:
    """Speaker and film by utt_id, cleaned. Raises ManifestError."""
    if file.suffix.lower() == ".csv":
        table = read_table(file)
    else:
        try:
            # one sheet a language
            table = pd.concat(pd.read_excel(file, sheet_name=None, dtype=str)).fillna("")
        except ImportError as error:
            raise ManifestError(
                f"{file}: reading .xlsx needs openpyxl: `pip install openpyxl`, or save the legend"
                " as one CSV beside it"
            ) from error
    table.columns = [str(column).strip().lower() for column in table.columns]
    if not {"file", "speaker", "film"} <= set(table.columns):
        raise ManifestError(
            f"{file}: columns {', '.join(table.columns)} found; file, speaker and film are needed"
        )
    clean = table[["speaker", "film"]].apply(
        lambda column: column.str.normalize("NFC").str.strip().str.lower()
    )
    clean = clean.mask(clean.apply(lambda column: column.str.fullmatch(_UNKNOWN)), "").replace(
        {"speaker": _SPEAKERS, "film": _FILMS}
    )
    clean.index = pd.Index(table["file"].map(_utt_id))
    if "" in clean.index:
        raise ManifestError(
            f"{file}: {table['file'].iloc[clean.index.get_indexer_for([''])[0]]!r} is not the name"
            " of an EmoFilm clip"
        )
    clean = clean.reset_index(names="utt_id").drop_duplicates().set_index("utt_id")
    if clean.index.has_duplicates:
        raise ManifestError(
            f"{file}: two different entries for {clean.index[clean.index.duplicated()][0]}"
        )
    return clean
