"""EmoFilm: `f_ans001aen` = gender, emotion, scene, segment, language.

Parada-Cabaleiro, Costantini, Batliner, Baird & Schuller 2018, Categorical vs dimensional perception
of Italian emotional speech, Interspeech, 3638-3642. The clips are dubbed films: the same
`f_ans001a` in English, Spanish and Italian is one line of one scene, so it is the text_id. Speaker
and film stand in the owners' legend (`f_m_corpus_it_es_en_legend.xlsx`, or a CSV with the columns
file, speaker, film).
"""

import pathlib
import re

import pandas as pd

from colab_utils.corpora.decode import find_audio, nfc
from colab_utils.corpora.parsers.names import GENDER, ForeignNameError, read_name
from colab_utils.corpora.tables.reading import ManifestError, read_table, workbook

NAME = "emofilm"
_STEM = (
    r"(?P<text_id>(?P<gender>[fm])_(?P<emotion_raw>ans|dis|gio|rab|tri)\d{3}[a-z])"
    r"(?P<language>en|es|it)"
)
_LEGEND = re.compile(r"(?![.~])(?:.*legend|EmoFilm_labels).*\.(?i:csv|xlsx)")
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
    """The manifest row of a clip, with or without `_16k`; its dubbed versions share the text_id.

    Raises:
        ForeignNameError: for other names.
    """
    rule = "EmoFilm: gender, emotion, scene, segment, language, such as f_ans001aen"
    row = read_name(path, NAME, _STEM, rule, "", path.stem.removesuffix("_16k"))
    row["gender"] = GENDER[row["gender"].upper()]
    return row


def annotations(root: pathlib.Path) -> pd.DataFrame:
    """Speaker and film of every clip below `root`, by utt_id, from the owners' legend.

    The legend lies below `root` or beside it. Without one all are unknown, which is printed, as is
    the number of clips that it leaves open.

    Returns:
        speaker, film (str, lower case, known misspellings put right, "" unknown).

    Raises:
        ManifestError: for a legend that cannot be read or contradicts itself.
    """
    clips = {_utt_id(file) for file in find_audio(root).files} - {""}
    clips = pd.Index(sorted(clips))
    beside = {*root.rglob("*"), *root.parent.glob("*")}
    found = [file for file in beside if _LEGEND.fullmatch(file.name)]
    if not found:
        print(
            "EmoFilm: no legend (f_m_corpus_it_es_en_legend.xlsx, or a CSV of it) in or beside"
            f" {root}: speakers and films are unknown"
        )
        return pd.DataFrame("", index=clips, columns=["speaker", "film"])
    # a CSV before a workbook
    legend = min(found, key=lambda file: (file.suffix, str(file)))
    table = _read_legend(legend).reindex(clips, fill_value="")
    for column in table:
        unknown = (table[column] == "").sum()
        if unknown:
            print(
                f"EmoFilm: {legend.name} leaves the {column} of {unknown} of {len(clips)} clips"
                " unknown"
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
    table = read_table(file) if file.suffix.lower() == ".csv" else _read_workbook(file)
    table.columns = [str(column).strip().lower() for column in table.columns]
    if not {"file", "speaker", "film"} <= set(table.columns):
        raise ManifestError(
            f"{file}: columns {', '.join(table.columns)} found; file, speaker and film are needed"
        )
    ids = table["file"].map(_utt_id)
    strange = table.loc[ids == "", "file"]
    if len(strange):
        raise ManifestError(f"{file}: {strange.iloc[0]!r} is not the name of an EmoFilm clip")
    clean = pd.DataFrame({"utt_id": ids})
    for column, spellings in (("speaker", _SPEAKERS), ("film", _FILMS)):
        words = table[column].str.normalize("NFC").str.strip().str.lower()
        clean[column] = words.mask(words.str.fullmatch(_UNKNOWN), "").replace(spellings)
    clean = clean.drop_duplicates().set_index("utt_id")
    if clean.index.has_duplicates:
        first = clean.index[clean.index.duplicated()][0]
        raise ManifestError(f"{file}: two different entries for {first}")
    return clean


def _read_workbook(file: pathlib.Path) -> pd.DataFrame:
    """All sheets of a workbook (one a language) as one table of text. Raises ManifestError."""
    sheets = []
    for sheet in workbook(file).values():
        sheets.append(sheet.iloc[1:].set_axis(sheet.iloc[0], axis=1))
    return pd.concat(sheets, ignore_index=True).fillna("")
