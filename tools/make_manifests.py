"""Write data_manifests/<corpus>.csv from the file names of a corpus.

    python tools/make_manifests.py FOLDER [corpus ...]

FOLDER holds emodb/, ravdess/, ...; no audio is decoded. It stops when the names do not give the
counts on the corpus' card.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

import pandas as pd

from colab_utils.corpora.cards import corpus_names, data_folder, load_card
from colab_utils.corpora.check import check_manifest
from colab_utils.corpora.decode import find_audio, nfc
from colab_utils.corpora.manifest import COLUMNS, validate, write_manifest
from colab_utils.corpora.parsers import PARSERS


def rows_of(name: str, folder: pathlib.Path) -> pd.DataFrame:
    """The validated manifest that the file names below `folder` give, sorted by utt_id.

    Raises ForeignNameError for any other name.
    """
    card = load_card(name)
    parsed = [
        PARSERS[name](pathlib.PurePosixPath(folder.name, nfc(file)))
        for file in find_audio(folder).files
    ]
    table = pd.DataFrame(parsed, columns=list(COLUMNS)).assign(
        emotion=lambda rows: rows["emotion_raw"].map(card.label_map)
    )
    return validate(table.sort_values("utt_id"))


def main(arguments: list[str] | None = None) -> int:
    """Write the manifests of the corpora found; returns 1 when a count is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument(
        "corpora",
        nargs="*",
        help=f"of {', '.join(sorted(PARSERS))}; default: all that are in the folder",
    )
    options = parser.parse_args(arguments)
    names = options.corpora or [
        name for name in corpus_names() if name in PARSERS and (options.folder / name).is_dir()
    ]
    for name in names:
        table = rows_of(name, options.folder / name)
        wrong = check_manifest(table, load_card(name)).query("severity == 'error'")
        if len(wrong):
            print(f"{name}: not written: {'; '.join(wrong['detail'])}")
            return 1
        print(f"{write_manifest(table, data_folder() / f'{name}.csv')}: {len(table)} utterances")
    return 0


if __name__ == "__main__":
    sys.exit(main())
