"""Making the synthetic corpus: what is said by whom with which emotion, each utterance from its own
random generator, and the manifest last.
"""

from __future__ import annotations

import io
import math
import os
import pathlib
import re

import joblib
import numpy as np
import pandas as pd
import soundfile

from colab_utils import files
from colab_utils.corpora.audio import read_audio, samples_sha256
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
from colab_utils.progress import bar as progress_bar

VERSION = 1  # raise it with every change that changes a sample or a row
_NAME = re.compile(r"[fm]\d+-[a-z]+-\d+\.flac")
# generators of what a speaker's clips share, beside those of the utterances 0, 1, ...
_VOICE, _PLACE = 10**6, 10**6 + 1


def make_synthetic_corpus(
    folder: str | os.PathLike,
    seed: int = 0,
    n_speakers: int = 8,
    n_repetitions: int = 5,
    progress: bool = True,
    n_jobs: int = 2,
) -> pd.DataFrame:
    """Make (or find made) the synthetic corpus below `folder` and return its manifest with local
    columns, valid for `manifest.validate`.

    Four domains (`channels.DOMAINS`) are four `corpus` values; each has `n_speakers` speakers, half
    of them women, who say every emotion about `n_repetitions` times (exactly so in the balanced
    studio). Files are `<folder>/<domain>/<speaker>-<emotion>-<number>.flac`, 16 kHz mono, 16 bit, 1
    to 2.5 s. `valence`, `arousal`, `dominance` are ratings on the 1..5 scale of IEMOCAP;
    `intensity` is weak, normal or strong acting. The same arguments give the same samples, whatever
    `n_jobs` (processes) is. A complete corpus is only read; one made with other arguments or by
    another VERSION is replaced. Raises ValueError for arguments that cannot work,
    files.DiskFullError without room.
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
    table = _complete(folder, key)
    if table is None:
        _clear(folder)
        jobs = plan(seed, n_speakers, n_repetitions)
        parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator", batch_size=8)
        rows = parallel(joblib.delayed(make_utterance)(folder, job) for job in jobs)
        table = pd.DataFrame(
            list(
                progress_bar(
                    rows,
                    total=len(jobs),
                    desc="synthetic corpus",
                    unit="clip",
                    disable=not progress,
                )
            )
        )
        files.write_csv(folder / "manifest.csv", table)
        files.write_json(
            folder / "complete.json",
            {
                "key": key,
                "utterances": len(table),
                "note": "synthetic: never report as corpus performance",
            },
        )
        table = _complete(folder, key)
    return table


def plan(seed: int, n_speakers: int, n_repetitions: int) -> list[dict]:
    """Every utterance of the corpus as {seed, domain, speaker (both as numbers), name, utterance,
    emotion, number, text}.
    """
    jobs = []
    for domain, settings in enumerate(DOMAINS):
        for speaker in range(n_speakers):
            name = f"{'fm'[speaker % 2]}{speaker // 2 + 1}"
            first = np.random.default_rng([seed, domain, speaker, _VOICE]).integers(
                0, len(SENTENCES[settings.language]), len(EMOTIONS)
            )
            utterance = 0
            for emotion, start in zip(EMOTIONS, first, strict=True):
                for number in range(
                    max(1, math.floor(n_repetitions * settings.balance.get(emotion, 1.0) + 0.5))
                ):
                    text = (int(start) + number) % len(SENTENCES[settings.language])
                    jobs.append(
                        {
                            "seed": seed,
                            "domain": domain,
                            "speaker": speaker,
                            "name": name,
                            "utterance": utterance,
                            "emotion": emotion,
                            "number": number,
                            "text": text,
                        }
                    )
                    utterance += 1
    return jobs


def make_utterance(folder: pathlib.Path, job: dict) -> dict:
    """Synthesise one utterance of the plan, write its FLAC file and return its manifest row
    (without `file`).
    """
    domain = DOMAINS[job["domain"]]
    source = [job["seed"], job["domain"], job["speaker"]]
    voice = draw_voice(job["name"], np.random.default_rng([*source, _VOICE]))
    rng = np.random.default_rng([*source, job["utterance"]])
    strength = float(domain.strength * np.exp(0.2 * rng.standard_normal()))
    activation = float(rng.standard_normal())
    moves = draw_moves(voice, domain, job["emotion"], strength, activation, rng)
    wave = speak(voice, SENTENCES[domain.language][job["text"]], moves, rng)
    wave = transmit(wave, domain, np.random.default_rng([*source, _PLACE]), rng)
    path = f"{domain.name}/{job['name']}-{job['emotion']}-{job['number'] + 1:02d}"
    samples, rate = _write(folder / f"{path}.flac", wave)
    ratings = rate_affect(job["emotion"], strength, activation, rng)
    return {
        "utt_id": f"{domain.corpus}/{pathlib.PurePosixPath(path).name}",
        "corpus": domain.corpus,
        "path": path,
        "speaker": job["name"],
        "gender": voice.gender,
        "language": domain.language,
        "session": "",
        "film": "",
        "text_id": f"{domain.language[-1]}{job['text'] + 1:02d}",
        "style": "synthetic",
        "emotion_raw": job["emotion"],
        "emotion": job["emotion"],
        "intensity": "weak" if strength < 0.8 else "strong" if strength > 1.2 else "normal",
        **ratings,
        "sample_rate": rate,
        "channels": samples.shape[1],
        "duration": len(samples) / rate,
        "audio_sha256": samples_sha256(samples, rate),
    }


def draw_moves(
    voice: Voice,
    domain: Domain,
    emotion: str,
    strength: float,
    activation: float,
    rng: np.random.Generator,
) -> dict[str, float]:
    """The parameters of one utterance, in their units: habits of speaker and domain + strength x
    expressiveness x the domain's manner x the move of the emotion + activation + natural spread.
    """
    moves = {}
    for name, parameter in PARAMETERS.items():
        acted = (
            strength
            * voice.expressiveness[name]
            * domain.manner.get(name, 1.0)
            * MOVES[emotion][name]
        )
        natural = domain.spread * (
            activation * parameter.activation + parameter.spread * float(rng.standard_normal())
        )
        moves[name] = voice.habits[name] + domain.custom.get(name, 0.0) + acted + natural
    return moves


def rate_affect(
    emotion: str, strength: float, activation: float, rng: np.random.Generator
) -> dict[str, float]:
    """Valence, arousal and dominance of one utterance on a scale of 1 to 5 (3 is the middle), as
    ratings of its emotion, strength and activation.
    """
    centres = np.array(AFFECT[emotion]) * min(strength, 1.3) + [
        0.0,
        ACTIVATION_IN_AROUSAL * activation,
        0.0,
    ]
    values = np.clip(3 + 2 * (centres + RATING_SPREAD * rng.standard_normal(3)), 1.0, 5.0)
    return {
        name: round(float(value), 2)
        for name, value in zip(("valence", "arousal", "dominance"), values, strict=True)
    }


def _write(file: pathlib.Path, wave: np.ndarray) -> tuple[np.ndarray, int]:
    """Write `wave` as 16-bit FLAC, atomically, and return what `read_audio` makes of the file."""
    encoded = io.BytesIO()
    soundfile.write(encoded, wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    files.write_bytes(file, encoded.getvalue())
    return read_audio(file)


def _complete(folder: pathlib.Path, key: str) -> pd.DataFrame | None:
    """The manifest of a corpus that was finished with this key and whose files are all there;
    otherwise None.
    """
    marker, listing = folder / "complete.json", folder / "manifest.csv"
    if not marker.is_file() or not listing.is_file() or files.read_json(marker).get("key") != key:
        return None
    numbers = {
        "valence": float,
        "arousal": float,
        "dominance": float,
        "sample_rate": int,
        "channels": int,
        "duration": float,
    }
    text = pd.read_csv(listing, dtype=str, keep_default_na=False)
    table = text.astype(numbers)
    table.insert(
        table.columns.get_loc("sample_rate"),
        "file",
        [str(folder / f"{path}.flac") for path in table["path"]],
    )
    missing = [
        file for file in table["file"] if not os.path.isfile(file) or os.path.getsize(file) == 0
    ]
    if missing:
        print(
            f"synthetic corpus: {len(missing)} of {len(table)} files are gone (the first:"
            f" {missing[0]}); it is made again"
        )
        return None
    return table


def _clear(folder: pathlib.Path) -> None:
    """Take away what an earlier or unfinished corpus left (its marker first); other files stay."""
    (folder / "complete.json").unlink(missing_ok=True)
    for domain in DOMAINS:
        for file in sorted((folder / domain.name).glob("*.flac")):
            if _NAME.fullmatch(file.name):
                file.unlink()
