"""Tables of clips whose speakers and films are drawn at random."""

import numpy as np
import pandas as pd

EMOTIONS = ["anger", "disgust", "fear", "happiness", "sadness"]
FILMS = {
    "nested": lambda rng, speaker: f"f{speaker // 2}",
    "crossed": lambda rng, speaker: f"f{rng.integers(4)}",
    "mostly one": lambda rng, speaker: f"f{speaker % 3 if rng.random() < 0.9 else rng.integers(3)}",
}


def table(counts, n_speakers, seed=0, films_of=lambda rng, speaker: "", corpus="c"):
    """Utterances of each emotion; `films_of` gives the film of a clip of a speaker (a number)."""
    rng, rows = np.random.default_rng(seed), []
    for emotion, count in zip(EMOTIONS, counts, strict=False):
        for number in range(count):
            speaker = int(rng.integers(n_speakers))
            rows.append(
                {
                    "utt_id": f"{corpus}/{emotion}{number:03}",
                    "corpus": corpus,
                    "speaker": f"s{speaker}",
                    "film": films_of(rng, speaker),
                    "language": "",
                    "emotion": emotion,
                }
            )
    return pd.DataFrame(rows).sample(frac=1, random_state=seed)
