"""Decoding: what is good comes back sample for sample, what is bad says why."""

import hashlib
import os
import struct

import librosa
import numpy as np
import pytest
import soundfile

from colab_utils.corpora import audio

RATE = 16000


def noise(seconds=1.0, rate=RATE, channels=1, seed=0):
    return (
        0.2 * np.random.default_rng(seed).standard_normal((int(seconds * rate), channels))
    ).astype(np.float32)


@pytest.mark.parametrize(
    ("suffix", "subtype", "step"),
    [
        ("wav", "PCM_16", 2**-15),
        ("flac", "PCM_16", 2**-15),
        ("aiff", "PCM_24", 2**-23),
        ("wav", "FLOAT", 0),
    ],
)
def test_lossless_files_come_back(tmp_path, suffix, subtype, step):
    wave = noise(channels=2)
    soundfile.write(tmp_path / f"a.{suffix}", wave, 22050, subtype=subtype)
    samples, rate = audio.read_audio(tmp_path / f"a.{suffix}")
    assert rate == 22050 and samples.dtype == np.float32 and samples.shape == wave.shape
    assert np.abs(samples - wave).max() <= step


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff"])
def test_sixteen_bits_are_the_floats_that_libsndfile_makes_of_them(tmp_path, suffix):
    steps = np.arange(-(2**15), 2**15, dtype=np.int16)
    soundfile.write(tmp_path / f"a.{suffix}", steps, RATE, subtype="PCM_16")
    theirs, _ = soundfile.read(tmp_path / f"a.{suffix}", dtype="float32", always_2d=True)
    samples, _ = audio.read_audio(tmp_path / f"a.{suffix}")
    assert samples.dtype == np.float32
    assert np.array_equal(samples, theirs)


def test_float_files_beyond_full_scale_are_kept(tmp_path):
    wave = 3 * noise()
    soundfile.write(tmp_path / "loud.wav", wave, RATE, subtype="FLOAT")
    assert (
        np.array_equal(audio.read_audio(tmp_path / "loud.wav")[0], wave)
        and np.abs(wave).max() > 1.5
    )


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "ogg", "opus", "mp3"])
@pytest.mark.parametrize("cut", [0.5, -3])
def test_truncated_files_are_refused_and_whole_ones_are_not(tmp_path, suffix, cut):
    whole, torn = tmp_path / f"whole.{suffix}", tmp_path / f"torn.{suffix}"
    soundfile.write(
        whole,
        noise(3.0),
        RATE,
        **({"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}),
    )
    data = whole.read_bytes()
    torn.write_bytes(data[: int(len(data) * cut) if isinstance(cut, float) else cut])
    assert audio.read_audio(whole)[0].shape == (3 * RATE, 1)
    with pytest.raises(audio.AudioError, match="truncated|lost sync") as caught:
        audio.read_audio(torn)
    assert str(torn) in str(caught.value)


def test_sizes_written_by_a_stream_are_accepted(tmp_path, tone):
    file = tone(tmp_path / "a.wav")
    data = bytearray(file.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    file.write_bytes(bytes(data))
    assert len(audio.read_audio(file)[0]) == RATE


def test_a_chunk_behind_the_samples_is_no_truncation(tmp_path, tone):
    file = tone(tmp_path / "a.wav")
    file.write_bytes(file.read_bytes() + b"LIST" + struct.pack("<I", 400) + b"x" * 10)
    assert len(audio.read_audio(file)[0]) == RATE


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        (b"not audio at all\n" * 20, "not readable"),
        (b"RIFF", "not readable"),
    ],
)
def test_what_is_not_audio(tmp_path, content, reason):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(audio.AudioError, match=reason):
        audio.read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("wave", "reason"),
    [
        (np.zeros((0, 1)), "0 samples"),
        (np.full((RATE, 1), np.nan), "NaN"),
        (np.full((RATE, 1), np.inf), "NaN"),
        (np.zeros((700, 1)), "too short"),
    ],
)
def test_unusable_samples(tmp_path, wave, reason):
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    with pytest.raises(audio.AudioError, match=reason):
        audio.read_audio(tmp_path / "a.wav")


def test_missing_folder_and_broken_disk(tmp_path, tone, monkeypatch):
    with pytest.raises(audio.AudioError, match="no such file"):
        audio.read_audio(tmp_path / "gone.wav")
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(audio.AudioError, match="cannot be read"):
        audio.read_audio(tmp_path / "folder.wav")
    file = tone(tmp_path / "a.wav")

    def lost(*_args, **_kwargs):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(audio, "open", lost, raising=False)
    with pytest.raises(audio.AudioError, match="Input/output error") as caught:
        audio.read_audio(file)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling_is_librosas_on_the_mean_of_the_channels(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", noise(0.7, rate, 2), rate, subtype="FLOAT")
    ours = audio.load_audio(tmp_path / "a.wav")
    theirs, _ = librosa.load(tmp_path / "a.wav", sr=16000, mono=True, res_type="soxr_hq")
    assert ours.dtype == np.float32 and ours.ndim == 1 and ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-6


def test_a_tone_keeps_its_frequency_and_level(tmp_path, tone):
    wave = audio.load_audio(tone(tmp_path / "a.wav", rate=44100, hz=1000, channels=2))
    spectrum = np.abs(np.fft.rfft(wave[:16000] * np.hanning(16000)))
    assert len(wave) == 16000 and spectrum.argmax() == 1000
    assert np.sqrt((wave[2000:-2000] ** 2).mean()) == pytest.approx(0.3 / np.sqrt(2), rel=1e-3)


def test_identity_of_samples(tmp_path):
    whole = np.random.default_rng(0).integers(-(2**15), 2**15, (RATE // 2, 1)).astype(np.int16)
    wave = (whole / 2**15).astype(np.float32)
    for suffix in ("wav", "flac"):
        soundfile.write(tmp_path / f"a.{suffix}", whole, RATE, subtype="PCM_16")
    one, two = (
        audio.samples_sha256(*audio.read_audio(tmp_path / f"a.{suffix}"))
        for suffix in ("wav", "flac")
    )
    assert one == two == audio.samples_sha256(wave, RATE)
    changed = wave.copy()
    changed[100] = -changed[100] or 0.5
    assert (
        len(
            {
                one,
                audio.samples_sha256(changed, RATE),
                audio.samples_sha256(wave, 8000),
                audio.samples_sha256(wave[:-1], RATE),
                audio.samples_sha256(wave.reshape(-1, 2), RATE),
            }
        )
        == 5
    )


def test_identity_is_one_hash_over_all_samples_however_long_or_loud():
    wave = noise(80.0, channels=1)  # longer than one hashed block
    whole = np.rint(wave.astype(np.float64) * 32768).astype("<i4")
    assert (
        audio.samples_sha256(wave, RATE)
        == hashlib.sha256(f"{RATE},{wave.shape}".encode() + whole.tobytes()).hexdigest()
    )
    with np.errstate(all="raise"):
        assert audio.samples_sha256(np.array([[1e9]], np.float32), RATE) != audio.samples_sha256(
            np.array([[-1e9]], np.float32), RATE
        )


def test_a_name_in_either_unicode_form_is_opened(tmp_path, tone):
    for name in ("Wu\u0308tend.wav", "怒り.wav"):
        assert len(audio.load_audio(tone(tmp_path / name))) == 16000
    assert any("\u0308" in name for name in os.listdir(tmp_path))
