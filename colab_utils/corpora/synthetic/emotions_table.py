"""What an emotion does to a voice: the table of moves from which the synthetic corpus is made.

A move is what full acting (strength 1) by an average speaker adds to that speaker's neutral voice.
Signs and orders follow the literature; sizes are ours, chosen so that emotions overlap as they do
in acted corpora. Sources by key:

- BS96: Banse & Scherer 1996, Acoustic profiles in vocal emotion expression, J. Pers. Soc. Psychol.
  70(3), 614-636
- JL03: Juslin & Laukka 2003, Communication of emotions in vocal expression and music performance,
  Psychol. Bull. 129(5), 770-814
- S03: Scherer 2003, Vocal communication of emotion: a review of research paradigms, Speech Commun.
  40(1-2), 227-256
- MA93: Murray & Arnott 1993, Toward the simulation of emotion in synthetic speech, J. Acoust. Soc.
  Am. 93(2), 1097-1108
- BuS00: Burkhardt & Sendlmeier 2000, Verification of acoustical correlates of emotional speech
  using formant-synthesis, ISCA Workshop on Speech and Emotion, 151-156
- GC03: Gobl & Ni Chasaide 2003, The role of voice quality in communicating emotion, mood and
  attitude, Speech Commun. 40(1-2), 189-212
- BO95: Bachorowski & Owren 1995, Vocal expression of emotion: acoustic properties of speech ...,
  Psychol. Sci. 6(4), 219-224
- T80: Tartter 1980, Happy talk: perceptual and acoustic effects of smiling on speech, Percept.
  Psychophys. 27(1), 24-27
- RM77: Russell & Mehrabian 1977, Evidence for a three-factor theory of emotions, J. Res. Pers.
  11(3), 273-294
- LJB05: Laukka, Juslin & Bresin 2005, A dimensional approach to vocal expression of emotion, Cogn.
  Emot. 19(5), 633-653
"""

import io

import pandas as pd


def read_numbers(table: str) -> pd.DataFrame:
    """A table of numbers written in the code; its first column names the rows."""
    source = io.StringIO(table)
    numbers = pd.read_csv(source, sep=r"\s+", index_col=0, float_precision="round_trip")
    return numbers.astype(float)


# parameter  unit                                    sources of its moves
# f0_level   semitones                               BS96, S03, MA93
# f0_range   ln factor of the F0 excursions          BS96, S03, JL03
# f0_final   semitones moved over the last syllable  JL03, MA93
# rate       ln factor of syllables per second       JL03, MA93, S03
# loudness   dB                                      BS96, JL03, S03
# accent     dB of stressed over other syllables     JL03
# tilt       dB/octave above 500 Hz                  BS96, JL03, S03
# breath     dB of aspiration noise                  GC03, BuS00, MA93
# jitter     ln factor                               JL03, BO95
# shimmer    ln factor                               JL03, BO95
# tremor     semitones of F0 modulation near 6 Hz    MA93, BuS00
# smile      ln factor of the formant frequencies    T80
# precision  ln factor of the vowel space            MA93, BuS00
#
# spread: natural standard deviation over utterances. activation: what one standard deviation of
# general activation adds (LJB05: F0, loudness, rate and high-frequency energy rise together with
# arousal). habit: standard deviation over speakers of what they add to every utterance.
_TABLE = """
parameter  spread  activation  habit  anger  happiness  fear   sadness  disgust  neutral
f0_level   1.5     0.8         0      +4.5   +4.5       +5.5   -2.2     -2.0     0
f0_range   0.18    0.04        0.12   +0.45  +0.55      -0.20  -0.50    +0.15    0
f0_final   1.2     0           0.5    -1.5   +2.5       +1.5   -2.0     -3.0     0
rate       0.07    0.03        0.05   +0.12  +0.10      +0.20  -0.22    -0.20    0
loudness   1.8     1.0         1.0    +7.0   +4.0       +1.5   -5.0     -1.0     0
accent     0.8     0.2         0.5    +2.5   +1.0       +0.3   -1.5     +0.8     0
tilt       0.6     0.3         0.4    +2.4   +0.9       -0.6   -2.0     +0.7     0
breath     2.0     0           1.0    -5.0   0          +4.0   +5.0     +0.5     0
jitter     0.30    0           0.2    +0.40  -0.40      +0.70  +0.30    +0.80    0
shimmer    0.30    0           0.2    +0.40  -0.40      +0.50  +0.30    +0.70    0
tremor     0.08    0           0      0      0          +0.50  +0.10    0        0
smile      0.012   0           0      0      +0.05      0      0        -0.04    0
precision  0.08    0           0.08   +0.15  +0.05      0      -0.25    0        0
"""
_table = read_numbers(_TABLE)
PARAMETERS = {row.Index: row for row in _table[["spread", "activation", "habit"]].itertuples()}
MOVES = _table.loc[:, "anger":].to_dict()  # {emotion: {parameter: move}}
EMOTIONS = tuple(MOVES)

# (valence, arousal, dominance) in -1..1 at full acting strength, after RM77 and LJB05; 0 is the
# middle of the rating scale.
AFFECT = {
    "anger": (-0.60, 0.75, 0.45),
    "happiness": (0.75, 0.50, 0.35),
    "fear": (-0.60, 0.65, -0.45),
    "sadness": (-0.60, -0.55, -0.40),
    "disgust": (-0.65, -0.05, 0.10),
    "neutral": (0.0, -0.15, 0.0),
}
ACTIVATION_IN_AROUSAL = 0.12  # what one standard deviation of general activation adds to arousal
RATING_SPREAD = 0.08  # what the (absent) raters disagree by
