"""The front end `acoustic` of one checkout, for `benchmarks/features.py --against`.

    python benchmarks/one_checkout.py CHECKOUT AUDIO

For every line on the standard input it fills a new store with all audio below AUDIO, and answers
with a line: wall seconds, processor seconds, and the file that holds the features.
"""

import pathlib
import sys
import tempfile
import time

CHECKOUT, AUDIO = sys.argv[1:]
sys.path.insert(0, CHECKOUT)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from colab_utils.corpora.audio import EXTENSIONS, read_audio, samples_sha256  # noqa: E402

try:
    from colab_utils.features.acoustic.functionals import Functionals
    from colab_utils.features.store.extract import extract
except ImportError:  # as the folders were before
    from colab_utils.features.extract import extract
    from colab_utils.features.functionals import Functionals


def scanned() -> pd.DataFrame:
    """A manifest of all audio files."""
    rows = []
    for file in sorted(pathlib.Path(AUDIO).rglob("*")):
        if file.suffix.lower() in EXTENSIONS:
            digest = samples_sha256(*read_audio(file))
            rows.append((f"bench/{len(rows):05d}", "bench", str(file), digest))
    return pd.DataFrame(rows, columns=["utt_id", "corpus", "file", "audio_sha256"])


def main() -> None:
    """Answer each line."""
    table = scanned()
    with tempfile.TemporaryDirectory() as folder:
        features = f"{folder}/features.npy"
        for number, _ in enumerate(sys.stdin):
            root = f"{folder}/{number}"
            wall, processor = time.perf_counter(), time.process_time()
            store = extract(table, Functionals(), root, progress=False)
            processor = time.process_time() - processor
            wall = time.perf_counter() - wall
            np.save(features, np.stack([store[utt_id][0] for utt_id in store.ids]))
            print(wall, processor, features, flush=True)


main()
