"""A small manifest, made by hand."""

import pandas as pd

from colab_utils.corpora.manifest import empty_row, validate


def table(number=6, corpus="toy"):
    """A manifest whose emotions and speakers go round."""
    emotions = ("anger", "excited", "calm", "happiness", "neutral", "")
    rows = [
        empty_row(
            corpus,
            f"{i:03}",
            speaker=f"{i % 4:02}",
            emotion=emotions[i % 6],
            emotion_raw=emotions[i % 6].upper(),
            valence=i / 7,
        )
        for i in range(number)
    ]
    return validate(pd.DataFrame(rows))
