"""What browsers and telephones record: decoded by ffmpeg where it is there, else refused."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from colab_utils.corpora import audio
from colab_utils.corpora.own_data import from_folder

RATE = 16000
MP4, WEBM = b"\0\0\0\x1cftypM4A \0\0\0\0", b"\x1a\x45\xdf\xa3" + bytes(16)
NOISE = np.random.default_rng(0).normal(0, 0.1, (RATE, 2)).astype(np.float32)
# writes the sound that lies beside the file it is given, or complains
STUB = """#!{python}
import sys, pathlib
file = pathlib.Path(sys.argv[sys.argv.index("-i") + 1].removeprefix("file:"))
assert file.is_absolute() and sys.argv[sys.argv.index("-f") + 1] in ("mp4", "matroska")
sound = file.with_suffix(".au")
if sound.exists():
    sys.stdout.buffer.write(sound.read_bytes())
if "cut" in file.stem or not sound.exists():
    sys.stderr.write("[aac @ 0x55f8] [x] partial file\\nmore\\n")
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """A program in the place of ffmpeg."""
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(STUB.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def recorded(folder, name, start, sound=True):
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_bytes(start + bytes(100))
    if sound:
        soundfile.write(file.with_suffix(".au"), NOISE, RATE, subtype="FLOAT", endian="BIG")
    return file


@pytest.mark.parametrize(("name", "start"), [("a.m4a", MP4), ("b.webm", WEBM), ("-c.wav", MP4)])
def test_what_ffmpeg_gives_is_read_by_the_content_and_not_the_name(stub, tmp_path, name, start):
    file = recorded(tmp_path / "in", name, start)
    samples, rate = audio.read_audio(file)
    assert rate == RATE and np.array_equal(samples, NOISE)
    assert np.array_equal(
        np.concatenate(list(audio.stream(audio.survey(file, 9e9)))), audio.load_audio(file)
    )


@pytest.mark.parametrize("sound", [True, False])
def test_what_ffmpeg_complains_of_is_refused_with_its_words(stub, tmp_path, sound):
    file = recorded(tmp_path / "in", "cut.webm", WEBM, sound)
    with pytest.raises(
        audio.AudioError, match=r"WebM.*damaged or holds no sound \(partial file\)$"
    ):
        audio.decode(file)


def test_half_a_recording_that_is_not_read_to_its_end_leaves_no_process(
    stub, tmp_path, monkeypatch
):
    file = recorded(tmp_path / "in", "a.m4a", MP4)
    started, popen = [], subprocess.Popen

    def noted(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    with pytest.raises(audio.AudioError, match="longer than"):
        audio.survey(file, 0.5)
    assert len(started) == 1 and started[0].returncode is not None, "it has ended"


def test_without_ffmpeg_it_is_said_and_the_next_scan_tries_again(stub, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    file = recorded(tmp_path / "in" / "anger", "a.m4a", MP4)
    cache = tmp_path / "cache.csv"
    with_it = os.environ["PATH"]
    monkeypatch.setenv("PATH", "")
    with pytest.raises(audio.AudioError, match="needs the program ffmpeg.*ffmpeg -i a.m4a clip"):
        audio.decode(file)
    found = from_folder(tmp_path / "in", cache)
    assert (
        "needs the program ffmpeg"
        in dict(found.problems[["file", "reason"]].to_numpy())["anger/a.m4a"]
    )
    monkeypatch.setenv("PATH", with_it)
    found = from_folder(tmp_path / "in", cache)
    assert found.manifest["utt_id"].tolist() == ["own/anger/a"]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg here")
@pytest.mark.parametrize("name", ["a.m4a", "a.webm"])
def test_ffmpeg_itself(tmp_path, name):
    times = np.arange(3 * RATE) / RATE
    wave = 0.3 * np.sin(2 * np.pi * 220 * times) * (1.2 + np.sin(5 * times))
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", tmp_path / name]
    subprocess.run(command, check=True)
    found = audio.load_audio(tmp_path / name)
    assert abs(len(found) - len(wave)) < 2000
    assert np.corrcoef(found[: len(wave)], wave[: len(found)])[0, 1] > 0.95
    whole = (tmp_path / name).read_bytes()
    for share in (2, 5):
        (tmp_path / f"cut-{name}").write_bytes(whole[: len(whole) * share // 6])
        with pytest.raises(audio.AudioError, match="damaged or holds no sound"):
            audio.decode(tmp_path / f"cut-{name}")
