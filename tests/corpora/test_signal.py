"""Silence, channels that cancel out and floats beyond full scale: listed, or set right and said."""

import numpy as np
import pytest
import soundfile
from scanned import noise

from colab_utils.corpora import audio
from colab_utils.corpora.own_data import from_folder

RATE = 16000
WAVE = noise(seconds=0.5)[:, 0]
DITHER = np.random.default_rng(1).integers(-1, 2, 8000) / 2**15


def file_of(folder, wave, name="anger/a.wav", subtype="FLOAT"):
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    soundfile.write(folder / name, wave, RATE, subtype=subtype)
    return folder / name


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(8000),
        np.full(8000, 0.25),
        DITHER,
        0.1 + DITHER,
        1e-4 * WAVE / np.abs(WAVE).max() / 4,
        np.stack([np.full(8000, 0.5), np.full(8000, -0.5)], axis=1),
        np.zeros((8000, 3)),
    ],
)
def test_a_clip_without_signal_is_listed_and_the_others_go_on(tmp_path, wave):
    file_of(tmp_path, wave, "anger/silent.wav")
    file_of(tmp_path, WAVE, "anger/good.wav")
    result = from_folder(tmp_path)
    assert result.manifest["path"].tolist() == ["anger/good"]
    assert "no signal" in result.problems["reason"].item()


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_quiet_and_half_silent_clips_are_used(tmp_path, subtype):
    quiet = WAVE / np.abs(WAVE).max() * 2**-13
    half = np.concatenate([np.zeros(8000), WAVE])
    for name, wave in (("quiet", quiet), ("half", half), ("left", np.stack([WAVE, 0 * WAVE], 1))):
        found = audio.decode(file_of(tmp_path, wave, f"{name}.wav", subtype))
        assert found.note == "" and found.channel is None


@pytest.mark.parametrize(
    ("others", "loudest"),
    [([-1], 0), ([-0.95], 0), ([-1.05], 1), ([-1, 1, -1.01], 3)],
)
@pytest.mark.parametrize("offset", [0, 0.2])
def test_channels_that_cancel_out_leave_the_loudest_and_it_is_said(
    tmp_path, others, loudest, offset
):
    gains = np.array([1, *others], dtype=np.float32)
    wave = WAVE[:, None] * gains + np.float32(offset)
    file = file_of(tmp_path, wave)
    assert np.array_equal(audio.load_audio(file), wave[:, loudest])
    result = from_folder(tmp_path, tmp_path / "cache.csv")
    assert len(result.manifest) == 1
    for scanned in (result, from_folder(tmp_path, tmp_path / "cache.csv")):
        assert scanned.notes["file"].tolist() == ["anger/a.wav"]
        assert f"channel {loudest + 1} is used alone" in scanned.notes["note"][0]
        assert "anger/a.wav" in str(scanned)


@pytest.mark.parametrize("gains", [(1, 1), (1, 0), (1, -0.5), (0.3, 0.9), (1, 1, -1)])
def test_other_channels_are_averaged_as_ever(tmp_path, gains):
    wave = WAVE[:, None] * np.array(gains, dtype=np.float32)
    found = audio.load_audio(file_of(tmp_path, wave))
    assert np.array_equal(found, wave.mean(axis=1))


def test_two_microphones_are_averaged(tmp_path):
    wave = np.stack([noise(1)[:, 0], noise(2)[:, 0]], axis=1)
    assert audio.decode(file_of(tmp_path, wave)).channel is None


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_whole_numbers_as_floats_are_brought_to_full_scale_and_said(tmp_path, bits):
    # 24 bits of precision are what float32 has
    whole = np.rint(WAVE.astype(np.float64) * 2 ** (min(bits, 24) - 1)) * 2 ** max(0, bits - 24)
    meant = (whole / 2 ** (bits - 1)).astype(np.float32)
    found = audio.decode(file_of(tmp_path, whole))
    assert np.array_equal(found.samples[:, 0], meant)
    assert f"{bits}-bit" in found.note
    plain = audio.decode(file_of(tmp_path, meant, "plain.wav"))
    assert plain.note == ""
    assert audio.samples_sha256(found.samples, RATE) == audio.samples_sha256(plain.samples, RATE)


def test_a_quiet_clip_of_whole_numbers_and_a_resampled_one_are_brought_down_too(tmp_path):
    quiet = np.rint(WAVE * 60)
    assert 2 < np.abs(quiet).max() < 100
    found = audio.decode(file_of(tmp_path, quiet))
    assert np.array_equal(found.samples[:, 0], (quiet / 2**15).astype(np.float32))
    found = audio.decode(file_of(tmp_path, WAVE * 20000))
    assert "16-bit" in found.note and np.abs(found.samples).max() < 1


@pytest.mark.parametrize("peak", [1.02, 1.9, 12.0, 99.0])
def test_floats_somewhat_beyond_full_scale_stay_as_they_are(tmp_path, peak):
    wave = WAVE / np.abs(WAVE).max() * np.float32(peak)
    found = audio.decode(file_of(tmp_path, wave))
    assert np.array_equal(found.samples[:, 0], wave) and found.note == ""


def test_floats_of_no_scale_are_listed(tmp_path):
    with pytest.raises(audio.AudioError, match=r"1e\+12.*full scale"):
        audio.decode(file_of(tmp_path, WAVE / np.abs(WAVE).max() * np.float32(1e12)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_one_broken_sample_is_enough(tmp_path, value, channels):
    wave = np.repeat(WAVE[:, None], channels, axis=1)
    wave[4000, -1] = value
    with pytest.raises(audio.AudioError, match="NaN"):
        audio.decode(file_of(tmp_path, wave))
