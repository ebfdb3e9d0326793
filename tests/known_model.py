"""A model in place of a kept one, whose scores are known: it hears how high a tone is."""

import numpy as np

RATE = 16000
TONES = {"anger": 800.0, "joy": 400.0, "sadness": 200.0}  # Hz


def tone(hertz, seconds, rate=RATE, level=0.3):
    """float32 (samples,)."""
    times = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


class KnownModel:
    """The emotion whose tone is nearest, on a scale of octaves; 0.9 for it."""

    labels = list(TONES)
    unit, known = "none", []

    def __init__(self, rates=(RATE,), **about):
        self.rates, self.about = list(rates), about
        self.heard = []  # samples of each piece, by rate, in the order in which they came

    def features(self, waves):
        assert sorted(waves) == sorted(self.rates)
        self.heard += [
            [len(waves[rate][n]) for rate in self.rates] for n in range(len(waves[self.rates[0]]))
        ]
        found = []
        for wave in waves[self.rates[0]]:
            assert wave.dtype == np.float32 and wave.ndim == 1
            rises = np.count_nonzero((wave[1:] > 0) & (wave[:-1] <= 0))
            found.append(np.array([[rises * self.rates[0] / len(wave)]], np.float32))
        return found

    def scores(self, found, rows):
        hertz = np.array([found[name][0, 0] for name in rows["utt_id"]], dtype=float)
        assert set(rows.columns) == {"utt_id", "corpus", "speaker"}
        away = np.abs(np.log2(hertz[:, None] / list(TONES.values())))
        scores = np.full(away.shape, 0.05)
        scores[np.arange(len(scores)), away.argmin(axis=1)] = 0.9
        return scores

    def how_normalised(self, rows):
        return (
            f"{len(rows)} of {', '.join(sorted(set(rows['speaker'])))}"
            if any(rows["speaker"])
            else ""
        )
