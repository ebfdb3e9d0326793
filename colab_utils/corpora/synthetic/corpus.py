"""Making the synthetic corpus: what is said by whom with which emotion, and the manifest last.

Each utterance comes from its own random generator.
"""

import io
import math
import os
import pathlib
import re

import joblib
import numpy as np
import pandas as pd
import soundfile
from numpy.random import Generator, default_rng

from colab_utils import files, progress
from colab_utils.corpora.audio import read_audio, samples_sha256
from colab_utils.corpora.manifest import NUMBERS, empty_row
from colab_utils.corpora.synthetic.channels import DOMAINS, Domain, transmit
from colab_utils.corpora.synthetic.emotions_table import (
    ACTIVATION_IN_AROUSAL,
    AFFECT,
    EMOTIONS,
    MOVES,
    PARAMETERS,
    RATING_SPREAD,
)
from colab_utils.corpora.synthetic.phones import SENTENCES
from colab_utils.corpora.synthetic.speech import SAMPLE_RATE, speak
from colab_utils.corpora.synthetic.voices import Voice, draw_voice
from colab_utils.corpora.tables.reading import read_table
from colab_utils.csv_files import write_csv
from colab_utils.files import AnyPath

VERSION = 1  # raise it with every change that changes a sample or a row
_NAME = re.compile(r"[fm]\d+-[a-z]+-\d+\.flac")
# generators of what a speaker's clips share, beside those of the utterances 0, 1, ...
_VOICE, _PLACE = 10**6, 10**6 + 1


def make_synthetic_corpus(
    folder: AnyPath,
    seed: int = 0,
    n_speakers: int = 8,
    n_repetitions: int = 5,
    n_jobs: int = 2,
) -> pd.DataFrame:
    """Make the synthetic corpus below a folder, or find it made, and return its manifest.

    Four domains (`channels.DOMAINS`) are four `corpus` values. Files are
    `<folder>/<domain>/<speaker>-<emotion>-<number>.flac`, 16 kHz mono, 16 bit, 1 to 2.5 s. The same
    arguments give the same samples, whatever `n_jobs` is. A complete corpus is only read; one made
    with other arguments or by another VERSION is replaced. Of two calls for one folder the second
    waits.

    Args:
        folder: where it goes.
        seed: 0 or more.
        n_speakers: of each domain, half of them women.
        n_repetitions: how often a speaker says every emotion (exactly so in the balanced studio).
        n_jobs: processes.

    Returns:
        COLUMNS and LOCAL_COLUMNS. valence, arousal, dominance are ratings on the 1..5 scale of
        IEMOCAP; intensity is weak, normal or strong acting.

    Raises:
        ValueError: for arguments that cannot work.
        DiskFullError: without room.

    Example:
        >>> manifest = make_synthetic_corpus("out/corpora/synthetic", seed=0)
    """
    if n_speakers < 2 or n_repetitions < 1 or seed < 0 or n_jobs < 1:
        raise ValueError(
            f"seed={seed}, n_speakers={n_speakers}, n_repetitions={n_repetitions}, n_jobs={n_jobs}:"
            " at least 0, 2, 1 and 1 are needed"
        )
    folder = pathlib.Path(os.path.abspath(os.path.expanduser(folder)))
    key = files.short_hash(
        {"version": VERSION, "seed": seed, "n_speakers": n_speakers, "n_repetitions": n_repetitions}
    )
    table = _listed(folder, key)
    if table is not None and not _missing(table):
        return table
    with files.alone(folder, "making the embedded corpus"):
        table = _listed(folder, key)
        missing = [] if table is None else _missing(table)
        if missing:
            print(
                f"synthetic corpus: {len(missing)} of {len(table)} files are gone (the first:"
                f" {missing[0]}); it is made again"
            )
        if table is None or missing:
            _make(folder, key, plan(seed, n_speakers, n_repetitions), n_jobs)
        return _listed(folder, key)


def _make(folder: pathlib.Path, key: str, jobs: list[dict], n_jobs: int) -> None:
    """Make the utterances of a plan, then the manifest and the marker."""
    _clear(folder)
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator", batch_size=8)
    rows = parallel(joblib.delayed(make_utterance)(folder, job) for job in jobs)
    rows = list(progress.bar(rows, "synthetic corpus", len(jobs), unit="clip"))
    write_csv(folder / "manifest.csv", pd.DataFrame(rows))
    marker = {
        "key": key,
        "utterances": len(rows),
        "note": "synthetic: never report as corpus performance",
    }
    files.write_json(folder / "complete.json", marker)


def plan(seed: int, n_speakers: int, n_repetitions: int) -> list[dict]:
    """Every utterance of the corpus, as `make_utterance` takes it."""
    jobs = []
    for domain in range(len(DOMAINS)):
        for speaker in range(n_speakers):
            jobs += _speakers_plan(seed, domain, speaker, n_repetitions)
    return jobs


def _speakers_plan(seed: int, domain: int, speaker: int, n_repetitions: int) -> list[dict]:
    """The utterances of one speaker; domain and speaker are numbers."""
    name = f"{'fm'[speaker % 2]}{speaker // 2 + 1}"
    n_texts = len(SENTENCES[DOMAINS[domain].language])
    rng = default_rng([seed, domain, speaker, _VOICE])
    first = rng.integers(0, n_texts, len(EMOTIONS))
    jobs = []
    for emotion, start in zip(EMOTIONS, first, strict=True):
        share = DOMAINS[domain].balance.get(emotion, 1.0)
        for number in range(max(1, math.floor(n_repetitions * share + 0.5))):
            job = {
                "seed": seed,
                "domain": domain,
                "speaker": speaker,
                "name": name,
                "utterance": len(jobs),
                "emotion": emotion,
                "number": number,
                "text": (int(start) + number) % n_texts,
            }
            jobs.append(job)
    return jobs


def make_utterance(folder: pathlib.Path, job: dict) -> dict:
    """Synthesise one utterance of the plan and write its FLAC file.

    Returns:
        Its manifest row with LOCAL_COLUMNS, without `file`.
    """
    domain, emotion = DOMAINS[job["domain"]], job["emotion"]
    source = [job["seed"], job["domain"], job["speaker"]]
    voice = draw_voice(job["name"], default_rng([*source, _VOICE]))
    place = default_rng([*source, _PLACE])
    rng = default_rng([*source, job["utterance"]])
    strength = float(domain.strength * np.exp(0.2 * rng.standard_normal()))
    activation = float(rng.standard_normal())
    moves = draw_moves(voice, domain, emotion, strength, activation, rng)
    wave = speak(voice, SENTENCES[domain.language][job["text"]], moves, rng)
    wave = transmit(wave, domain, place, rng)
    stem = f"{job['name']}-{emotion}-{job['number'] + 1:02d}"
    samples, rate = _write(folder / domain.name / f"{stem}.flac", wave)
    intensity = "normal"
    if strength < 0.8:
        intensity = "weak"
    elif strength > 1.2:
        intensity = "strong"
    row = empty_row(
        domain.corpus,
        stem,
        speaker=job["name"],
        gender=voice.gender,
        language=domain.language,
        text_id=f"{domain.language[-1]}{job['text'] + 1:02d}",
        style="synthetic",
        emotion_raw=emotion,
        emotion=emotion,
        intensity=intensity,
    )
    row["path"] = f"{domain.name}/{stem}"
    row.update(rate_affect(emotion, strength, activation, rng))
    row["sample_rate"] = rate
    row["channels"] = samples.shape[1]
    row["duration"] = len(samples) / rate
    row["audio_sha256"] = samples_sha256(samples, rate)
    return row


def draw_moves(
    voice: Voice,
    domain: Domain,
    emotion: str,
    strength: float,
    activation: float,
    rng: Generator,
) -> dict[str, float]:
    """The parameters of one utterance, in their units.

    Habits of speaker and domain + strength x expressiveness x the domain's manner x the move of the
    emotion + the domain's spread x (activation + natural spread).
    """
    moves = {}
    for name, parameter in PARAMETERS.items():
        manner = domain.manner.get(name, 1.0)
        acted = strength * voice.expressiveness[name] * manner * MOVES[emotion][name]
        varied = parameter.spread * rng.standard_normal()
        natural = domain.spread * (activation * parameter.activation + varied)
        moves[name] = float(voice.habits[name] + domain.custom.get(name, 0.0) + acted + natural)
    return moves


def rate_affect(
    emotion: str, strength: float, activation: float, rng: Generator
) -> dict[str, float]:
    """Ratings of one utterance that follow its emotion, strength and activation.

    Returns:
        valence, arousal and dominance on a scale of 1 to 5 (3 is the middle).
    """
    centres = np.array(AFFECT[emotion]) * min(strength, 1.3)
    centres[1] += ACTIVATION_IN_AROUSAL * activation
    noise = RATING_SPREAD * rng.standard_normal(3)
    values = np.clip(3 + 2 * (centres + noise), 1.0, 5.0)
    return {name: round(float(value), 2) for name, value in zip(NUMBERS, values, strict=True)}


def _write(file: pathlib.Path, wave: np.ndarray) -> tuple[np.ndarray, int]:
    """Write `wave` as 16-bit FLAC, atomically, and return what `read_audio` makes of the file."""
    encoded = io.BytesIO()
    soundfile.write(encoded, wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    files.write_bytes(file, encoded.getvalue())
    return read_audio(file)


def _listed(folder: pathlib.Path, key: str) -> pd.DataFrame | None:
    """The manifest of a corpus that was finished with this key; None where there is none."""
    listing = folder / "manifest.csv"
    try:
        marker = files.read_json(folder / "complete.json")
    except FileNotFoundError:  # another process may just have removed it
        return None
    if marker.get("key") != key or not listing.is_file():
        return None
    types = dict.fromkeys((*NUMBERS, "duration"), float)
    types.update(sample_rate=int, channels=int)
    table = read_table(listing).astype(types)
    place = table.columns.get_loc("sample_rate")
    table.insert(place, "file", [str(folder / f"{path}.flac") for path in table["path"]])
    return table


def _missing(table: pd.DataFrame) -> list[str]:
    """The files of a corpus that are gone or empty."""
    return [
        file for file in table["file"] if not os.path.isfile(file) or os.path.getsize(file) == 0
    ]


def _clear(folder: pathlib.Path) -> None:
    """Take away what an earlier or unfinished corpus left (its marker first); other files stay."""
    (folder / "complete.json").unlink(missing_ok=True)
    for domain in DOMAINS:
        for file in (folder / domain.name).glob("*.flac"):
            if _NAME.fullmatch(file.name):
                file.unlink()
