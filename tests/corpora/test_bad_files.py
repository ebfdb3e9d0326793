"""Every kind of bad file is named with its reason while the rest goes on."""

import shutil
import time

import numpy as np
import pytest
import soundfile
from scanned import GOOD, noise, reasons

from colab_utils.corpora.audio import read_audio, samples_sha256
from colab_utils.corpora.cards import shipped_manifest
from colab_utils.corpora.check import check_manifest
from colab_utils.corpora.manifest import (
    COLUMNS,
    LOCAL_COLUMNS,
)
from colab_utils.corpora.scan import scan


def test_each_bad_file_is_named_and_the_rest_goes_on(emodb, tone):
    wav = emodb / "wav"
    (wav / "03a01Wa.wav").write_bytes(b"")
    whole = tone(wav / "03a02Fc.wav").read_bytes()
    (wav / "03a02Fc.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(wav / "03a02Nc.flac", noise(4, 2.0), 16000)
    whole = (wav / "03a02Nc.flac").read_bytes()
    (wav / "03a02Nc.flac").write_bytes(whole[: len(whole) // 2])
    soundfile.write(wav / "03a02Ta.wav", np.full(8000, np.nan), 16000, subtype="FLOAT")
    (wav / "03a02Wb.wav").write_text("these are words\n" * 50)
    soundfile.write(wav / "03a02Wc.wav", np.zeros(0), 16000)
    (wav / "03a04Ad.wav").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    )
    tone(wav / "my_voice.wav")
    tone(wav / "03a04Zz.wav")
    # a legal name that the corpus does not have
    tone(wav / "03a01Fb.wav")
    (wav / "._03a01Fa.wav").write_bytes(b"\0\5\x16\7")
    (wav / "notes.txt").write_text("x")
    result = scan("emodb", emodb)
    assert result.manifest["path"].tolist() == list(GOOD) and result.ignored == {".txt": 1}
    expected = {
        "03a01Wa.wav": "empty file",
        "03a02Fc.wav": "truncated",
        "03a02Nc.flac": "not readable as audio",
        "03a02Ta.wav": "NaN",
        "03a02Wb.wav": "not readable as audio",
        "03a02Wc.wav": "0 samples",
        "03a04Ad.wav": "Git LFS pointer",
        "my_voice.wav": "foreign",
        "03a04Zz.wav": "foreign",
        "03a01Fb.wav": "foreign: a legal name",
        "._03a01Fa.wav": "hidden",
    }
    found = reasons(result)
    assert set(found) == {f"wav/{name}" for name in expected}
    assert all(reason in found[f"wav/{name}"] for name, reason in expected.items())
    unusable = {
        row.utt_id
        for row in result.problems.itertuples()
        if row.utt_id and "a legal name" not in row.reason
    }
    assert unusable == set(shipped_manifest("emodb")["utt_id"]) - set(result.manifest["utt_id"])
    assert "missing" not in " ".join(reason for file, reason in found.items())


def test_missing_utterances_are_listed(emodb):
    result = scan("emodb", emodb)
    assert (
        set(result.problems["reason"]) == {"missing: no audio file of this name"}
        and len(result.problems) == 535 - 3
    )
    assert {"file": "03a01Wa", "utt_id": "emodb/03a01Wa"}.items() <= result.problems.iloc[
        0
    ].to_dict().items()
    text = str(result)
    assert "3 utterances, 2 known speakers" in text and "532 problems" in text


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [(8000, 1, "PCM_16"), (44100, 2, "PCM_16"), (16000, 1, "FLOAT"), (48000, 1, "PCM_24")],
)
def test_odd_but_good_audio_is_used(emodb, rate, channels, subtype):
    wave = noise(9, 0.5, rate, channels) * (30 if subtype == "FLOAT" else 1)
    soundfile.write(emodb / "wav" / "16b10Wb.wav", wave, rate, subtype=subtype)
    row = scan("emodb", emodb).manifest.set_index("path").loc["16b10Wb"]
    assert (row["sample_rate"], row["channels"], row["duration"]) == (rate, channels, 0.5)
    assert row["audio_sha256"] == samples_sha256(*read_audio(emodb / "wav" / "16b10Wb.wav"))


def test_a_ten_minute_file_takes_no_minute(emodb):
    soundfile.write(emodb / "wav" / "16b10Wb.wav", np.arange(10 * 60 * 16000) % 99 / 99, 16000)
    start = time.perf_counter()
    manifest = scan("emodb", emodb).manifest
    assert manifest["duration"].max() == 600 and time.perf_counter() - start < 10


def test_duplicates_say_which_file_is_used_and_a_good_copy_stands_in_for_a_bad_one(emodb):
    copy = emodb / "zz_copy"
    copy.mkdir()
    shutil.copy(emodb / "wav" / "03a01Fa.wav", copy / "03a01Fa.wav")
    soundfile.write(copy / "03a01Nc.flac", noise(99), 16000)
    soundfile.write(copy / "08a01Wa.wav", noise(2), 16000)
    (emodb / "wav" / "08a01Wa.wav").write_bytes(b"")
    result = scan("emodb", emodb)
    found = reasons(result)
    assert (
        found["zz_copy/03a01Fa.wav"]
        == "duplicate: the same samples under the same name as wav/03a01Fa.wav, which is used"
    )
    assert found["zz_copy/03a01Nc.flac"].startswith("duplicate: other samples")
    assert found["wav/08a01Wa.wav"].startswith("empty") and len(found) == 3
    assert result.manifest.set_index("path")["file"].str.contains("zz_copy").to_dict() == dict(
        zip(GOOD, (False, False, True), strict=True)
    )


def test_a_folder_in_which_every_file_is_bad_still_gives_its_reasons(emodb):
    for file in (emodb / "wav").iterdir():
        file.write_bytes(b"")
    result = scan("emodb", emodb)
    assert len(result.manifest) == 0 and list(result.manifest.columns) == [*COLUMNS, *LOCAL_COLUMNS]
    assert set(reasons(result).values()) == {
        "empty file (0 bytes)"
    } and "nothing: 0 utterances" in str(result)
    assert "error" in set(check_manifest(result.manifest, result.card)["severity"])
