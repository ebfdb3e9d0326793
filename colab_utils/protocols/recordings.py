"""Which utterances are one recording: the same decoded samples, whatever they are called."""

import numpy as np
import pandas as pd


def recordings(rows: pd.DataFrame) -> pd.Series:
    """Which recording each utterance is that has a copy.

    Args:
        rows: manifest rows; `audio_sha256` may be empty or missing.

    Returns:
        By utt_id, the first utt_id with the same samples; "" for an utterance without a copy.
    """
    if "audio_sha256" not in rows:
        return pd.Series("", index=rows["utt_id"])
    samples = rows.set_index("utt_id")["audio_sha256"].fillna("")
    repeated = samples[(samples != "") & samples.duplicated(keep=False)]
    first = repeated.index.to_series().groupby(repeated).transform("min")
    return first.reindex(samples.index, fill_value="")


def never_tested(rows: pd.DataFrame, training: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The training rows that stay when copies of the tested leave (`copies.without_copies`).

    Who validates is drawn among them, so that the copies do not take all that validates with them.

    Args:
        rows: manifest rows.
        training: which of them are on the training side, bool (rows,).
        test: which are tested, bool (rows,).

    Returns:
        bool (rows,); all of `training` where none would stay.
    """
    recording = recordings(rows).to_numpy()
    stays = training & ~(np.isin(recording, recording[test]) & (recording != ""))
    return stays if stays.any() else training
