"""What was decoded once is not decoded again, and what is no audio is not touched."""

import pandas as pd
import pytest
import soundfile
from scanned import noise, reasons

from colab_utils.corpora.decode import audio, find_audio, without_extension
from colab_utils.corpora.scan import scan


def test_a_second_scan_decodes_nothing_and_a_changed_file_again(emodb, tmp_path, decoded):
    (emodb / "wav" / "03a01Wa.wav").write_bytes(b"not audio" * 20)
    cache = tmp_path / "cache.csv"
    first = scan("emodb", emodb, cache)
    assert sorted(decoded) == ["03a01Fa.wav", "03a01Nc.wav", "03a01Wa.wav", "08a01Wa.wav"]
    decoded.clear()
    second = scan("emodb", emodb, cache)
    assert decoded == []
    pd.testing.assert_frame_equal(first.manifest, second.manifest)
    pd.testing.assert_frame_equal(first.problems, second.problems)
    soundfile.write(emodb / "wav" / "03a01Nc.wav", noise(77), 16000)
    third = scan("emodb", emodb, cache).manifest
    assert decoded == ["03a01Nc.wav"]
    changed = third["audio_sha256"] != first.manifest["audio_sha256"]
    assert third.loc[changed, "path"].tolist() == ["03a01Nc"]


def test_a_torn_cache_costs_time_only(emodb, tmp_path, decoded, capsys):
    cache = tmp_path / "cache.csv"
    whole = scan("emodb", emodb, cache).manifest
    for content in (
        b"\xff\xfe junk",
        b"path,size\na,1\n",
        cache.read_bytes().replace(b"16000", b"fast"),
        b"",
    ):
        cache.write_bytes(content)
        decoded.clear()
        pd.testing.assert_frame_equal(scan("emodb", emodb, cache).manifest, whole)
        assert len(decoded) == 3 and "not a scan cache" in capsys.readouterr().out
    (tmp_path / "blocked").write_text("a file where a folder is needed")
    assert len(scan("emodb", emodb, tmp_path / "blocked" / "cache.csv").manifest) == 3
    assert "could not be written" in capsys.readouterr().out


def test_an_interrupted_scan_keeps_what_it_decoded(emodb, tmp_path, monkeypatch, decoded):
    counting = audio.decode

    def interrupted(file):
        if "08a01Wa" in str(file):
            raise KeyboardInterrupt
        return counting(file)

    monkeypatch.setattr(audio, "decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scan("emodb", emodb, tmp_path / "cache.csv")
    monkeypatch.setattr(audio, "decode", counting)
    decoded.clear()
    assert len(scan("emodb", emodb, tmp_path / "cache.csv").manifest) == 3 and decoded == [
        "08a01Wa.wav"
    ]


def test_what_the_disk_refused_is_tried_again(emodb, tmp_path, monkeypatch):
    original = audio.decode

    def lost(file):
        if "08a01Wa" in str(file):
            raise audio.AudioError(file, "cannot be read from the disk") from OSError(
                5, "Input/output error"
            )
        return original(file)

    monkeypatch.setattr(audio, "decode", lost)
    first = scan("emodb", emodb, tmp_path / "cache.csv")
    monkeypatch.setattr(audio, "decode", original)
    second = scan("emodb", emodb, tmp_path / "cache.csv")
    assert (len(first.manifest), len(second.manifest)) == (2, 3)
    assert "from the disk" in reasons(first)["wav/08a01Wa.wav"]


def test_hidden_folders_links_and_loops(tmp_path, tone):
    root = tmp_path / "root"
    for file in (
        "a/one.wav",
        ".ipynb_checkpoints/two.wav",
        "__MACOSX/a/one.wav",
        "a/back\\slash.wav",
        "a/three.OGGx",
    ):
        tone(root / file)
    tone(tmp_path / "other" / "linked.Wav")
    (root / "link").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "loop").symlink_to(tmp_path / "other")
    found = find_audio(root)
    assert found.files == ["a/one.wav", "link/linked.Wav"] and found.ignored == {".oggx": 1}
    assert {file for file, _, _ in found.refused} == {
        ".ipynb_checkpoints/two.wav",
        "__MACOSX/a/one.wav",
        "a/back\\slash.wav",
    }
    assert [
        without_extension(name) for name in ("a.wav", "a.b.WAV", "a.wav.wav", "x/.wav", "é.flac")
    ] == ["a", "a.b", "a", "x/.wav", "é"]
