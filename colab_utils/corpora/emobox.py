"""EmoBox lists: https://github.com/emo-box/EmoBox has one JSON record a line and a `label_map.json`, without speakers (field_notes D.2)."""
from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping

import pandas as pd

from colab_utils import files
from colab_utils.corpora.cards import load_card
from colab_utils.corpora.decode import nfc, without_extension
from colab_utils.corpora.emotions import WORDS
from colab_utils.corpora.manifest import COLUMNS, ManifestError, empty_row, speaker_keys, validate
from colab_utils.corpora.parsers import PARSERS, ForeignNameError

ROLES = ("train", "valid", "test")


def plain_emotion(label: str, label_map: Mapping[str, str] | None) -> str:
    """The suite's name of an emotion: by `label_map`, else the lower-cased label, with plain English words made ours."""
    label = (label_map or {}).get(label, label)
    plain = nfc(label).strip().lower()
    return WORDS.get(plain, plain)


def from_emobox(jsonl_path: str | os.PathLike, corpus: str, label_map: Mapping[str, str] | None = None) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The manifest of an EmoBox list, and the split when it is a training list: (manifest, split or None).

    `corpus` is this suite's name (`crema_d`, not cremad). For a `..._train_...jsonl` the `test` (and `valid`) list of the same name is
    read too, and the split has `seed, fold, draw, task, utt_id, speaker` (key) and `role`. `label_map` (EmoBox label -> name) defaults to
    the label_map.json beside the list or one folder up. EmoBox has no speakers: for corpora whose file names this suite reads, they come
    from there (with utt_ids equal to the suite's own); otherwise they are unknown. Both are printed, and so are speakers who stand on
    both sides of a split, and labels that differ from the file names'.
    Raises ManifestError for a missing list, a record without `wav` or `emo`, a label that the map lacks, and a file in two lists.
    """
    path = pathlib.Path(jsonl_path)
    lists = {"": path}
    if "_train" in path.name:
        lists = {role: path.with_name(path.name.replace("_train", f"_{role}")) for role in ROLES}
        lists = {role: file for role, file in lists.items() if role != "valid" or file.is_file()}
    names = label_map if label_map is not None else _label_map_near(path)
    plain = None if names is None else {label.lower(): plain_emotion(name, None) for label, name in names.items()}
    own = load_card(corpus).label_map if corpus in PARSERS else None
    rows = [_emobox_row(file, line, record, corpus, plain, own) | {"role": role}
            for role, file in lists.items() for line, record in enumerate(_records(file), 1)]
    table = pd.DataFrame(rows)
    again = table[table["utt_id"].duplicated()]
    if len(again):
        raise ManifestError(f"{path.parent}: {again['utt_id'].iloc[0]} stands in the lists twice (and {len(again) - 1} more do): leave each file in "
                            "one of them")
    manifest = validate(table, str(path))[list(COLUMNS)]
    _report(table, corpus)
    if len(lists) == 1:
        return manifest, None
    fold = re.search(r"fold_?(\d+)", path.name)
    split = pd.DataFrame({"seed": 0, "fold": int(fold[1]) if fold else 0, "draw": 0, "task": 0, "utt_id": manifest["utt_id"],
                          "speaker": speaker_keys(manifest), "role": table["role"]})
    both = set(split["speaker"][split["role"] == "train"]) & set(split["speaker"][split["role"] == "test"]) - {""}
    if both:
        print(f"{corpus}: {len(both)} speakers stand in both the training and the test list of {path.name}, so it is not speaker-independent: "
              f"{', '.join(sorted(both)[:6])}{' ...' if len(both) > 6 else ''}")
    return manifest, split


def _records(file: pathlib.Path) -> list[dict]:
    """The records of one list. Raises ManifestError when it is missing, empty or torn."""
    if not file.is_file():
        raise ManifestError(f"{file}: no such list; give the path of an EmoBox .jsonl (for a split, of its training list beside the test list)")
    try:
        records = files.read_jsonl(file)
    except ValueError as error:
        raise ManifestError(str(error)) from error
    if not records:
        raise ManifestError(f"{file}: no record in it")
    return records


def _label_map_near(path: pathlib.Path) -> dict[str, str] | None:
    """EmoBox's label map beside the list or one folder up; None (printed) where there is none."""
    for folder in (path.parent, path.parent.parent):
        for name in ("label_map.json", "label_dict.json"):          # EMOVO's is called label_dict.json
            if (folder / name).is_file():
                return files.read_json(folder / name)
    print(f"{path}: no label_map.json beside it or one folder up, so labels are taken as they are written")
    return None


def _emobox_row(file: pathlib.Path, line: int, record: dict, corpus: str, names: Mapping[str, str] | None, own: Mapping[str, str] | None) -> dict:
    """One manifest row; `by_name` is the emotion that the file name says ("" where it says none). Older lists say audio and label.

    `names` maps EmoBox's labels in lower case to emotions (EmoDB's map has Neutral where its lists have neutral); `own` is the label map
    of the corpus' card, or None for a corpus without a file-name rule.
    """
    wav, label = record.get("wav", record.get("audio")), record.get("emo", record.get("label"))
    if not isinstance(wav, str) or not isinstance(label, str):
        raise ManifestError(f"{file}, line {line}: a record needs wav and emo (or audio and label); found: {', '.join(record)}")
    parts = pathlib.PurePosixPath(wav).parts
    parts = parts[2:] if parts[:1] == ("downloads",) else parts
    row, by_name = empty_row(corpus, without_extension("/".join(parts)), emotion_raw=label), ""
    if own is not None:
        try:
            row = PARSERS[corpus](pathlib.PurePosixPath(nfc(wav)))
        except ForeignNameError as error:
            raise ManifestError(f"{file}, line {line}: {error.reason}; is corpus={corpus!r} right?") from error
        by_name = own.get(row["emotion_raw"], "")
        row["emotion_raw"] = row["emotion_raw"] or label
    if names is not None and label.lower() not in names:
        raise ManifestError(f"{file}, line {line}: label {label!r} is not in the label map; it has {', '.join(names)}; pass label_map=")
    emotion = names[label.lower()] if names is not None else by_name or plain_emotion(label, None)
    return {**row, "emotion": emotion, "by_name": by_name}


def _report(table: pd.DataFrame, corpus: str) -> None:
    """Print where speakers come from, and where EmoBox's label is another than the file name's."""
    unknown = int((table["speaker"] == "").sum())
    if unknown:
        print(f"{corpus}: EmoBox lists have no speakers, and this suite cannot read {unknown} of {len(table)} from the file names: whether a tested "
              "speaker was also trained on cannot be known")
    else:
        print(f"{corpus}: EmoBox lists have no speakers; the {table['speaker'].nunique()} speakers were read from the file names")
    other = table[(table["by_name"] != "") & (table["by_name"] != table["emotion"])]
    if len(other):
        first = other.iloc[0]
        print(f"{corpus}: {len(other)} labels differ from those in the file names, and EmoBox's are kept (the first: {first['utt_id']} is "
              f"{first['emotion']} in EmoBox, {first['by_name']} by its name)")
