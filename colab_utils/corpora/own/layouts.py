"""What the folders of a user's recordings mean: emotions, speakers, a wrapper, a ready split."""

import pathlib
import re

import pandas as pd

from colab_utils.corpora.decode import nfc
from colab_utils.corpora.tables.reading import ManifestError
from colab_utils.corpora.tables.words import EMOTION_WORDS, folded

_TRAIN = frozenset(("train", "training", "trainset", "train set"))
_TEST = frozenset(("test", "testing", "testset", "test set", "val", "valid", "validation", "dev"))
_NUMBER = r"\d+[a-z]?"
_SPEAKER = re.compile(
    "(speaker|spkr?|spk ?id|actor|actress|subject|subj?|participant|person|talker|voice|sprecher"
    rf"|locuteur|hablante|sp|s|p|f|m|male|female|id) ?{_NUMBER}"
)
_SHOWN = 6  # names of folders in a message


def read_layout(
    root: pathlib.Path, files: list[str], corpus: str, pattern: str = "", level: int = 0
) -> pd.DataFrame:
    """Emotion and speaker of files by the folders that they lie in.

    The emotions are the one level of folders with emotion words (of any language), else the only
    level with more than one folder. Speakers are those of `pattern`, else of `level`, else the one
    other level whose names are like speaker1, spk03 or, above the emotions, 01. What is taken for
    what is printed where there is more than one level.

    Args:
        root: the folder, for messages.
        files: relative POSIX paths.
        corpus: its name, for messages.
        pattern: a regular expression with one group, the speaker, that is looked for in the path.
        level: that of the speakers' folders, 1 for those in `root`; 0: not told.

    Returns:
        file, emotion, speaker ("" unknown) and fault ("" where there is none).

    Raises:
        ManifestError: a ready split, levels that may mean several things, or a pattern or level
            that does not fit.
    """
    folders = [tuple(map(nfc, file.split("/")[:-1])) for file in files]
    levels = _levels(folders)
    if not isinstance(level, int) or not 0 <= level <= len(levels):
        raise ManifestError(
            f"speaker_level = {level!r}: {root} has folders of level 1 to {len(levels)}"
        )
    emotion_level = _emotion_level(root, levels, 0 if pattern else level)
    table = pd.DataFrame({"file": files, "emotion": _names_at(folders, emotion_level)})
    table["fault"] = ""
    guessed = 0
    if pattern:
        table["speaker"] = _matches(pattern, files)
        why = f"speaker_pattern {pattern!r} is not in its path"
    else:
        guessed = level or _speaker_level(levels, emotion_level)
        table["speaker"] = _names_at(folders, guessed)
        why = f"lies in no folder of level {level}, that of the speakers"
    if pattern or level:
        table.loc[table["speaker"] == "", "fault"] = why
        if (table["speaker"] == "").all():
            raise ManifestError(f"{root}: of none of {len(files)} files: {why}; {files[0]}, say")
    table.loc[table["emotion"] == "", "fault"] = "lies in no emotion folder"
    if len(levels) > 1:
        print(f"{corpus}: {_told(levels, emotion_level, guessed, bool(pattern))}")
    return table


def _levels(folders: list[tuple[str, ...]]) -> list[list[str]]:
    """The different names of folders at each level, the outermost first."""
    deepest = max(map(len, folders), default=0)
    found = []
    for level in range(deepest):
        names = {parts[level] for parts in folders if len(parts) > level}
        found.append(sorted(names))
    return found


def _names_at(folders: list[tuple[str, ...]], level: int) -> list[str]:
    """The folder of each file at a level, "" where it has none, or for level 0."""
    return [parts[level - 1] if 0 < level <= len(parts) else "" for parts in folders]


def _emotion_level(root: pathlib.Path, levels: list[list[str]], taken: int) -> int:
    """The level of the emotions. Raises ManifestError."""
    for names in levels:
        words = set(map(folded, names))
        if words & _TRAIN and words & _TEST:
            raise ManifestError(
                f"{root}: {_some(names)} are the sides of a ready split, no emotions: give one of"
                " them alone, put the files of both into one folder for each emotion, or name them"
                " in two tables (TRAIN_CSV and TEST_CSV of notebook 02)"
            )
    free = {number: names for number, names in enumerate(levels, 1) if number != taken}
    spoken = [number for number, names in free.items() if _are_emotions(names)]
    several = [number for number, names in free.items() if len(names) > 1]
    chosen = spoken or several or list(free)[-1:]
    if len(chosen) != 1:
        what = "hold emotions" if spoken else "may be emotions, and no word in them is known as one"
        told = [f"level {number}: {_some(levels[number - 1])}" for number in chosen]
        raise ManifestError(
            f"{root}: its folders are of several levels that {what} ({'; '.join(told)}): name them"
            ' in English, say by "speaker_level" which are the speakers, or bring a table'
            if told
            else f"{root}: no level of folders is left for the emotions"
        )
    return chosen[0]


def _are_emotions(names: list[str]) -> bool:
    """Whether most names are emotion words."""
    known = [name for name in names if folded(name) in EMOTION_WORDS]
    return 2 * len(known) > len(names)


def _speaker_level(levels: list[list[str]], emotion_level: int) -> int:
    """The one other level whose names are like those of speakers, or 0."""
    found = []
    for number, names in enumerate(levels, 1):
        words = [folded(name) for name in names]
        alike = all(_SPEAKER.fullmatch(word) for word in words)
        if number < emotion_level:
            alike = alike or all(re.fullmatch(_NUMBER, word) for word in words)
        if alike and len(names) > 1 and number != emotion_level:
            found.append(number)
    return found[0] if len(found) == 1 else 0


def _matches(pattern: str, files: list[str]) -> list[str]:
    """What the group of a pattern finds in each path, "" for nothing. Raises ManifestError."""
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ManifestError(f"speaker_pattern {pattern!r} is no pattern: {error}") from error
    if compiled.groups != 1:
        raise ManifestError(
            f"speaker_pattern {pattern!r} has {compiled.groups} groups: put brackets around what"
            r" names the speaker, such as (spk\d+)_"
        )
    found = [compiled.search(nfc(file)) for file in files]
    return [(match[1] or "").strip() if match else "" for match in found]


def _told(levels: list[list[str]], emotion_level: int, guessed: int, by_pattern: bool) -> str:
    """What each level was taken for."""
    text = f"emotions are the folders of level {emotion_level} ({_some(levels[emotion_level - 1])})"
    if guessed:
        return f"{text}, speakers those of level {guessed} ({_some(levels[guessed - 1])})"
    for number, names in enumerate(levels, 1):
        if number != emotion_level and len(names) > 1 and not by_pattern:
            text += f'; level {number} ({_some(names)}): "speaker_level": {number} if speakers'
    return text


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
