"""Pseudo-languages: vowels, consonants and the fixed sentences of each.

Sentences are sequences of consonant-vowel syllables.
"""

from colab_utils.corpora.synthetic.emotions_table import read_numbers

# First three formants in Hz of a man's vowels, after Peterson & Barney 1952, J. Acoust. Soc. Am.
# 24(2), 175-184 ("y": front rounded, estimated).
_VOWELS = """
sound  f1   f2    f3
i      270  2290  3010
e      530  1840  2480
a      730  1090  2440
o      570  840   2410
u      300  870   2240
@      490  1350  2400
y      280  1850  2200
"""
VOWELS = read_numbers(_VOWELS).T.to_dict("list")  # {sound: formants}

# Formant loci in Hz (a man's), closure and sounding durations in s, level of voicing and of noise
# in dB relative to a vowel's voicing (-80 = none), centre and width of the noise band in Hz. Stops
# have a closure before their burst.
_CONSONANTS = """
sound  f1   f2    f3    closure  seconds  voice  noise  centre  width
p      300  800   2200  0.060    0.020    -80    -19    900     900
t      300  1750  2700  0.055    0.024    -80    -14    4200    1500
k      300  1600  2100  0.055    0.030    -80    -15    2000    700
b      250  800   2200  0.045    0.010    -24    -27    900     800
d      250  1750  2700  0.040    0.010    -24    -24    4000    1500
g      250  1500  2100  0.040    0.012    -24    -24    2000    800
s      320  1700  2600  0        0.095    -80    -15    6200    1300
x      320  1800  2500  0        0.095    -80    -14    3300    1100
f      320  1100  2300  0        0.085    -80    -23    5200    3000
z      300  1700  2600  0        0.070    -14    -20    6000    1400
m      250  1000  2200  0        0.065    -8     -80    1000    500
n      250  1500  2500  0        0.060    -8     -80    1000    500
l      350  1100  2700  0        0.055    -5     -80    1000    500
r      400  1250  1700  0        0.050    -6     -80    1000    500
w      300  700   2200  0        0.055    -5     -80    1000    500
j      270  2100  2900  0        0.055    -5     -80    1000    500
"""
CONSONANTS = {sound.Index: sound for sound in read_numbers(_CONSONANTS).itertuples()}

# Words of consonant-vowel syllables; capitals mark the stressed one. The same for every seed and
# emotion, so that text does not tell the emotion.
_SENTENCES = {
    "pseudo-a": (
        "naTA loSI muke, SOla tiMEna pu, kaNI seTO lama, miLUta poSE na, TAku neSAlo mi,"
        " lePI maTO suna"
    ),
    "pseudo-b": (
        "baDO guWI nele, GOru daBI nema, weNA zoDU biga, duGE raZOba ni, ZIma goWEdu ra,"
        " naRO deBAzi gu"
    ),
    "pseudo-c": (
        "xyRA feTO jun@, FOja r@KY texa, juXE kaRY fot@, taFY xoJEra k@, RYko faXUje t@,"
        " keTA jyFOxa ru"
    ),
    "pseudo-d": (
        "paWI keDE soja, KAde woSI puja, jiPO daKE sawu, seWA kuJOda pi, DOwa peSUki ja,"
        " waKI jeDOpa su"
    ),
}
SENTENCES = {language: text.split(", ") for language, text in _SENTENCES.items()}


def syllables(sentence: str) -> list[tuple[str, str, bool, bool]]:
    """The syllables of a sentence: consonant, vowel, whether stressed, whether a word ends here."""
    found = []
    for word in sentence.split():
        for start in range(0, len(word), 2):
            pair = word[start : start + 2]
            consonant, vowel = pair.lower()
            found.append((consonant, vowel, pair.isupper(), start + 2 == len(word)))
    return found
