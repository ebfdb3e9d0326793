"""What labelling costs: the memory of a few minutes, and hardly more time than the features."""

import os
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import soundfile
from known_model import RATE, KnownModel, tone
from repo import REPO
from sounds import speech

from colab_utils.corpora.audio import read_audio, samples_sha256
from colab_utils.features import front_end
from colab_utils.features.store.extract import extract
from colab_utils.label import label

# VmHWM and not getrusage: its ru_maxrss begins with that of the process which started this one.
MEASURE = """
import re
from known_model import KnownModel, tone
from colab_utils.label import label
model = KnownModel()
label(model, [("a", tone(400, 6.0, 8000), 8000)], progress=False)
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
before = peak()
found = label(model, "long.flac", progress=False)
found._sounds([0, 99])
print((peak() - before) // 1024, len(found.table), set(found.table["emotion"]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from Linux' /proc")
def test_five_minutes_take_the_memory_of_a_few_blocks(tmp_path):
    """Measured: 102 MB, and 886 MB where the recording is decoded at once."""
    second = np.stack([tone(400, 1.0, 44100)] * 2, 1)
    with soundfile.SoundFile(tmp_path / "long.flac", "w", 44100, 2) as file:
        for _ in range(300):
            file.write(second)
    places = os.pathsep.join([str(REPO), str(REPO / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    megabytes, windows, emotions = done.stdout.split(maxsplit=2)
    assert int(megabytes) < 200 and int(windows) == 100 and emotions.strip() == "{'joy'}"


class Acoustic(KnownModel):
    """Takes the time of the light front end."""

    def features(self, waves):
        return front_end("acoustic").compute(waves[RATE])

    def scores(self, found, rows):
        return np.tile([0.5, 0.3, 0.2], (len(rows), 1))


@pytest.mark.slow
def test_labelling_takes_hardly_more_than_its_features(tmp_path):
    """100 clips may take 2 s more. Measured is the time of the processor, which others leave."""
    rows = []
    for number in range(20):
        file = tmp_path / "clips" / f"{number}.wav"
        file.parent.mkdir(exist_ok=True)
        soundfile.write(file, speech(3 * RATE, number), RATE)
        rows.append((f"own/{number}", "own", str(file), samples_sha256(*read_audio(file))))
    manifest = pd.DataFrame(rows, columns=["utt_id", "corpus", "file", "audio_sha256"])
    label(Acoustic(), tmp_path / "clips" / "0.wav", progress=False)
    begin = time.process_time()
    extract(manifest, front_end("acoustic"), tmp_path / "features", progress=False)
    between = time.process_time()
    found = label(Acoustic(), tmp_path / "clips", progress=False)
    end = time.process_time()
    assert len(found.table) == 20
    assert end - between < between - begin + 2 * 20 / 100
