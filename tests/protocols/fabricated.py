"""Corpora of the published shape without audio: as many utterances, emotions and speakers."""

import numpy as np
import pandas as pd

from colab_utils.corpora.manifest import empty_row, validate
from colab_utils.corpora.synthetic import DOMAINS, EMOTIONS

SIX = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")


def each(number, emotions=SIX, **others):
    """So many utterances of each emotion, and of the others as given."""
    return {**dict.fromkeys(emotions, number), **others}


# Utterances per emotion before any choice, and how many speakers share them: as the corpora's
# papers and label files have it (docs/corpora.md).
SHAPES = {
    "iemocap": (
        {
            "anger": 1103,
            "happiness": 595,
            "excited": 1041,
            "neutral": 1708,
            "sadness": 1084,
            "fear": 40,
            "disgust": 2,
            "frustration": 1849,
        },
        10,
    ),
    "msp_improv": (
        {"anger": 792, "happiness": 2644, "sadness": 885, "neutral": 3477, "other": 85, "": 555},
        12,
    ),
    "ravdess": (each(192, calm=192, neutral=96), 24),
    "emodb": (
        {
            "anger": 127,
            "boredom": 81,
            "disgust": 46,
            "fear": 69,
            "happiness": 71,
            "sadness": 62,
            "neutral": 79,
        },
        10,
    ),
    "crema_d": (each(1271, SIX[:4], sadness=1270, neutral=1087), 91),
    "savee": (each(60, neutral=120), 4),
    "tess": (each(400, neutral=400), 2),
    "emovo": (each(84, neutral=84), 6),
    "aesdd": ({"anger": 121, "disgust": 122, "fear": 120, "happiness": 119, "sadness": 122}, 6),
    "cafe": (each(144, neutral=72), 12),
    "shemo": (
        {
            "anger": 1042,
            "neutral": 1160,
            "sadness": 362,
            "surprise": 201,
            "happiness": 203,
            "fear": 32,
        },
        87,
    ),
}
for domain in DOMAINS:
    balance = {name: round(40 * domain.balance.get(name, 1)) for name in EMOTIONS}
    SHAPES[domain.corpus] = balance, 8
SPEAKERS = {
    "iemocap": [f"{n}{g}" for n in range(1, 6) for g in "FM"],
    "ravdess": [f"{n:02}" for n in range(1, 25)],
}
IMPROVISED = {"anger": 289, "sadness": 608, "happiness": 284, "neutral": 1099, "excited": 663}
FILM_COUNTS = {"en": (77, 50, 72, 70, 74), "es": (82, 50, 64, 76, 87), "it": (73, 68, 85, 94, 93)}
FILM_EMOTIONS = ("anger", "contempt", "fear", "happiness", "sadness")


def session_of(corpus, speaker):
    """Two speakers a session in IEMOCAP and MSP-IMPROV; none elsewhere."""
    if corpus == "iemocap":
        return speaker[0]
    return str(int(speaker[1:]) // 2 + 1) if corpus == "msp_improv" else ""


def fabricated(corpus):
    """A corpus of the published size: utterances of each emotion dealt over speakers in turn."""
    counts, n_speakers = SHAPES[corpus]
    names = SPEAKERS.get(corpus, [f"s{n:02}" for n in range(n_speakers)])
    rows = []
    for emotion, count in counts.items():
        for number in range(count):
            speaker = names[number % n_speakers]
            session = session_of(corpus, speaker)
            improvised = session and number < IMPROVISED.get(emotion, 0)
            rows.append(
                empty_row(
                    corpus,
                    f"{emotion or 'none'}{number:04}",
                    speaker=speaker,
                    session=session,
                    emotion=emotion,
                    emotion_raw=emotion,
                    style="improvised" if improvised else "scripted",
                )
            )
    return validate(pd.DataFrame(rows))


def emofilm():
    """1115 clips of 42 films in three languages, as unequal as those of the corpus.

    An emotion is in 17 of the films, films have 1 to 100 clips, some dubbers speak in two films,
    and one in two languages.
    """
    rng = np.random.default_rng(3)
    size = np.arange(1, 43) ** 1.5
    spoken = {emotion: rng.permutation(42)[:17] for emotion in FILM_EMOTIONS}
    rows = []
    for language, counts in FILM_COUNTS.items():
        for emotion, count in zip(FILM_EMOTIONS, counts, strict=True):
            films = spoken[emotion]
            share = size[films] / size[films].sum()
            for n, film in enumerate(rng.choice(films, count, p=share)):
                speaker = f"{language}{film // 2 if film % 10 < 2 else film + 100}"
                if language != "en" and n == 0 and emotion == "fear":
                    speaker = "stray"
                rows.append(
                    empty_row(
                        "emofilm",
                        f"{emotion}{n:03}{language}",
                        language=language,
                        film=f"film{film:02}",
                        speaker=speaker,
                        emotion=emotion,
                        emotion_raw=emotion,
                    )
                )
    return validate(pd.DataFrame(rows))


def needed(corpora, task):
    """The manifest of a task's corpora."""
    return pd.concat([corpora[name] for name in task.corpora], ignore_index=True)
