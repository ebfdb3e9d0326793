"""Who is one person: ids that a spreadsheet or a typist has written in several ways."""

import re
import unicodedata

import pandas as pd

_UNKNOWN = frozenset(("", "nan", "na", "n/a", "<na>", "none", "null", "unknown", "?"))
_SHOWN = 10  # groups named in the warning


def is_unknown(column: pd.Series) -> pd.Series:
    """Which texts say that nothing is known, such as nan, NA or None."""
    return column.str.strip().str.casefold().isin(_UNKNOWN)


def one_spelling(speakers: pd.Series, corpus: str, join: bool) -> pd.Series:
    """Speakers with one id each; without `join` as they are, and what looks doubtful is printed.

    `01`, `1` and `1.0`, or `Spk03` and `spk03`, may be one person; `nan` or `NA` may be unknown.

    Args:
        speakers: ids (str), "" where unknown.
        corpus: its name, for the message.
        join: whether to make one of each group (its shortest spelling), and unknown of nan and NA.

    Returns:
        The ids.
    """
    spellings = pd.Series(speakers.unique(), dtype=object)
    unknown = spellings[is_unknown(spellings)]
    told = [name for name in unknown if name]
    known = spellings[~is_unknown(spellings)]
    groups = [sorted(group, key=_shortest_first) for _, group in known.groupby(known.map(_key))]
    doubtful = [group for group in groups if len(group) > 1]
    if not told and not doubtful:
        return speakers
    facts = [" = ".join(group) for group in doubtful[:_SHOWN]]
    if len(doubtful) > _SHOWN:
        facts.append(f"{len(doubtful) - _SHOWN} more such groups")
    if told:
        facts.append(f"{', '.join(told)} = unknown")
    if not join:
        print(
            f"{corpus}: warning: speakers may be written in several ways ({'; '.join(facts)}) and"
            ' are taken as different people: set "join_speakers": True to join these'
        )
        return speakers
    print(f"{corpus}: speakers joined: {'; '.join(facts)}")
    renamed = dict.fromkeys(told, "")
    for first, *others in doubtful:
        renamed.update(dict.fromkeys(others, first))
    return speakers.map(lambda name: renamed.get(name, name))


def _shortest_first(name: str) -> tuple[int, str]:
    return len(name), name


def _key(name: str) -> str:
    """What the spellings of one id share: no capitals, no zeros before a number or behind it."""
    text = unicodedata.normalize("NFC", name).casefold()
    text = " ".join(text.split())
    text = re.sub(r"^(\d+)\.0+$", r"\1", text)
    return re.sub(r"(?<![\d.])0+(?=\d)", "", text)
