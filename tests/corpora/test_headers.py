"""Headers that lie: what is there is read, what is missing is found, and nothing else happens."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colab_utils.corpora import audio
from colab_utils.corpora.codecs import reading
from colab_utils.corpora.own_data import from_folder

RATE = 16000
TIME = np.arange(2 * RATE) / RATE
VOICE = (0.3 * np.sin(2 * np.pi * 220 * TIME) * (1.2 + np.sin(5 * TIME))).astype(np.float32)
CODECS = [
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_24"),
    ("WAV", "PCM_32"),
    ("WAV", "DOUBLE"),
    ("WAV", "ULAW"),
    ("WAV", "ALAW"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("WAV", "GSM610"),
    ("WAV", "G721_32"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AIFF", "ULAW"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("CAF", "ALAC_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]


def encoded(kind="WAV", subtype="PCM_16", wave=VOICE, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, RATE, format=kind, subtype=subtype, **options)
    return buffer.getvalue()


def decoded(folder, data, name="a.wav"):
    (folder / name).write_bytes(data)
    return audio.decode(folder / name)


@pytest.mark.parametrize(("kind", "subtype"), CODECS)
def test_every_codec_is_read_whole_and_half_a_file_is_refused(tmp_path, kind, subtype):
    data = encoded(kind, subtype)
    found = decoded(tmp_path, data)
    # blocks are filled up, by 1100 samples at most
    assert 0 <= len(found.samples) - len(VOICE) < 1100
    assert found.note == ""
    assert np.corrcoef(found.samples[: len(VOICE), 0], VOICE)[0, 1] > 0.95
    with pytest.raises(audio.AudioError, match=r"half\.wav: (truncated|not readable)"):
        decoded(tmp_path, data[: len(data) // 2], "half.wav")


def sized(data, size):
    at = data.index(b"data") + 4
    return data[:at] + struct.pack("<I", size) + data[at + 4 :]


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF])
@pytest.mark.parametrize("whole", [True, False])
def test_a_stream_of_unknown_length_is_read_to_its_end_and_said(tmp_path, size, whole):
    data = sized(encoded(), size)
    if whole:  # ffmpeg and recorders leave the size of the file open, too
        data = data[:4] + struct.pack("<I", size) + data[8:]
    found = decoded(tmp_path, data)
    plain = decoded(tmp_path, encoded(), "plain.wav")
    assert np.array_equal(found.samples, plain.samples)
    assert "header announces" in found.note and plain.note == ""


@pytest.mark.parametrize("missing", [2, 1000, 60000])
def test_a_wav_that_announces_a_little_more_is_truncated(tmp_path, missing):
    with pytest.raises(audio.AudioError, match="truncated"):
        decoded(tmp_path, encoded()[:-missing])


@pytest.mark.parametrize("at", [12, None])
def test_chunks_before_and_behind_the_samples_do_no_harm(tmp_path, at):
    data = encoded()
    chunk = b"JUNK" + struct.pack("<I", 11) + b"data\0\0\0\0abc\0"
    behind = len(data) if at is None else at
    found = decoded(tmp_path, data[:behind] + chunk + data[behind:])
    assert np.array_equal(found.samples, decoded(tmp_path, data).samples)


def with_total(data, total):
    """A FLAC whose header announces so many samples (36 bits)."""
    field = int.from_bytes(data[18:26], "big") >> 36 << 36 | total
    return data[:18] + field.to_bytes(8, "big") + data[26:]


def test_a_flac_of_unknown_length_is_read_and_one_of_256_gb_refused_without_the_memory(tmp_path):
    data = encoded("FLAC")
    assert np.array_equal(
        decoded(tmp_path, with_total(data, 0)).samples, decoded(tmp_path, data).samples
    )
    tracemalloc.start()
    with pytest.raises(audio.AudioError, match="truncated.*68719476735"):
        decoded(tmp_path, with_total(data, 2**36 - 1))
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@pytest.mark.parametrize("total", [2, 20_000_000])
def test_a_flac_that_announces_somewhat_more_is_truncated(tmp_path, total):
    with pytest.raises(audio.AudioError, match="truncated"):
        decoded(tmp_path, with_total(encoded("FLAC"), len(VOICE) + total))


def test_an_ogg_without_its_last_page_is_read_and_one_cut_within_a_page_is_not(tmp_path):
    data = encoded("OGG", "VORBIS", np.tile(VOICE, 4))
    last = data.rindex(b"OggS")
    found = decoded(tmp_path, data[:last])
    assert RATE < len(found.samples) < 8 * RATE
    assert "may have been cut" in found.note
    with pytest.raises(audio.AudioError, match="truncated"):
        decoded(tmp_path, data[: last - 100])


def mp3(mode="VARIABLE"):
    """An MP3 with its Xing frame, and its frames without it; two thirds are nearly silent."""
    wave = np.concatenate([VOICE * 0.001, VOICE * 0.001, VOICE])
    wave += np.random.default_rng(0).normal(0, 1e-4, len(wave)).astype(np.float32)
    data = encoded("MP3", "MPEG_LAYER_III", wave, bitrate_mode=mode, compression_level=0.5)
    second = data.index(data[:2], 4)
    return data, data[second:], len(wave)


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT", "AVERAGE"])
@pytest.mark.parametrize("tag", [b"", b"ID3\x03\0\0\0\0\x27\x08" + bytes(5000)])
def test_an_mp3_without_a_xing_frame_is_whole(tmp_path, mode, tag):
    data, bare, samples = mp3(mode)
    full = decoded(tmp_path, data).samples
    found = decoded(tmp_path, tag + bare).samples
    assert len(full) == samples
    # the encoder's delay at both ends, which only a Xing frame tells
    assert 0 <= len(found) - samples < 4 * 1152
    assert np.abs(found[1105 : 1105 + samples] - full).max() < 1e-3


def test_cut_and_joined_mp3s_are_found(tmp_path):
    data, bare, samples = mp3()
    with pytest.raises(audio.AudioError, match="truncated"):
        decoded(tmp_path, bare[:-40])
    with pytest.raises(audio.AudioError, match="truncated"):
        decoded(tmp_path, data[:-400])
    joined = decoded(tmp_path, data + data)
    assert len(joined.samples) > 2 * samples and "all were read" in joined.note


@pytest.mark.parametrize("rate", [1, 3999, 768001, 10**9])
def test_a_rate_that_nothing_has_is_refused(tmp_path, rate):
    data = encoded()
    with pytest.raises(audio.AudioError, match=f"{rate} Hz"):
        decoded(tmp_path, data[:24] + struct.pack("<I", rate) + data[28:])


@pytest.mark.parametrize("rate", [4000, 768000])
def test_the_outermost_rates_are_read(tmp_path, rate):
    data = encoded(wave=np.tile(VOICE, 20))
    found = decoded(tmp_path, data[:24] + struct.pack("<I", rate) + data[28:])
    assert found.rate == rate


@pytest.mark.parametrize("data", [encoded(), with_total(encoded("FLAC"), 0)])
def test_a_session_is_no_utterance(tmp_path, monkeypatch, data):
    monkeypatch.setattr(reading, "_BLOCK", 4000)
    monkeypatch.setattr(reading, "LONGEST_SECONDS", 1.5)
    with pytest.raises(audio.AudioError, match="cut it into utterances"):
        decoded(tmp_path, data)
    monkeypatch.setattr(reading, "LONGEST_SECONDS", 2.0)
    assert len(decoded(tmp_path, data).samples) == len(VOICE)


@pytest.mark.parametrize("error", [MemoryError(), ValueError("no frames"), ZeroDivisionError()])
def test_whatever_a_decoder_raises_is_that_files_reason(tmp_path, tone, monkeypatch, error):
    for name in ("a", "bad", "c"):
        tone(tmp_path / "anger" / f"{name}.wav", 0.3, hz=200 + ord(name[0]))
    real = reading.Decoder._read

    def read(decoder, handle):
        if decoder.path.stem == "bad":
            raise error
        return real(decoder, handle)

    monkeypatch.setattr(reading.Decoder, "_read", read)
    cache = tmp_path / "cache.csv"
    result = from_folder(tmp_path, cache)
    assert result.manifest["path"].tolist() == ["anger/a", "anger/c"]
    assert result.problems["file"].tolist() == ["anger/bad.wav"]
    assert "not readable" in result.problems["reason"][0]
    # what another moment would read is not remembered
    monkeypatch.setattr(reading.Decoder, "_read", real)
    again = from_folder(tmp_path, cache)
    assert len(again.manifest) == (3 if isinstance(error, MemoryError) else 2)


def read_or_refused(folder, data):
    try:
        found = decoded(folder, data)
    except audio.AudioError as error:
        assert error.reason
    else:
        assert found.samples.dtype == np.float32 and np.isfinite(found.samples).all()


SOUND = [encoded("WAV"), encoded("FLAC"), encoded("OGG", "VORBIS"), encoded("AIFF"), mp3()[1]]
STARTS = [b"", b"RIFF", b"fLaC", b"OggS", b"FORM", b"\xff\xfb\x90\x44", b"ID3\x03\0\0"]
OFTEN = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@OFTEN
@given(st.sampled_from(STARTS), st.binary(min_size=1, max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path, start, data):
    read_or_refused(tmp_path, start + data)


@pytest.mark.slow
@OFTEN
@given(
    st.sampled_from(SOUND),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8),
    st.floats(0.01, 1),
)
def test_any_damage_is_read_or_refused(tmp_path, sound, damage, kept):
    data = bytearray(sound[: max(1, int(len(sound) * kept))])
    for at, byte in damage:
        data[at % len(data)] = byte
    read_or_refused(tmp_path, bytes(data))
