"""Whisper's encoder on tiny random checkpoints in the Hub's format, its windows of one second:
against transformers' own, alone and together, clips of several windows, layers, refusals.
"""

import numpy as np
import pytest
import torch
from tiny_encoders import clips, hums, save, save_whisper
from transformers import (
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
    WhisperModel,
)

from colab_utils.features import front_end, open_store
from colab_utils.features.encoders.checkpoints import EncoderError
from colab_utils.features.encoders.embeddings import SpeechEncoder
from colab_utils.settings import SettingError, with_settings

SECOND = 16000


def by_transformers(folder, wave):
    """The hidden states of one clip of a second at most, with the frames of its padding."""
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    values = extractor(wave, sampling_rate=SECOND, return_tensors="pt").input_features
    with torch.no_grad():
        encoder = WhisperModel.from_pretrained(folder).eval().encoder
        return [one[0].numpy() for one in encoder(values, output_hidden_states=True).hidden_states]


@pytest.mark.parametrize("samples", [1, 321, SECOND])
def test_frames_of_any_layer_are_those_of_transformers_without_the_padding(tmp_path, samples):
    folder, wave = save_whisper(tmp_path), clips(samples)[0]
    layers = by_transformers(folder, wave)
    assert len(layers) == 4 and all(len(one) == 50 for one in layers)
    own = int(np.ceil(samples / 320))
    for layer, expected in [*enumerate(layers), ("last", layers[-1]), ("mean", np.mean(layers, 0))]:
        spec = SpeechEncoder(checkpoint=folder, layer=layer, pooling="frames")
        (frames,) = spec.compute([wave])
        assert frames.shape == (own, 16) and np.abs(frames - expected[:own]).max() < 1e-5
    (kept,) = SpeechEncoder(checkpoint=folder, layer="all", pooling="mean").compute([wave])
    expected = [one[:own].mean(0) for one in layers]
    assert np.allclose(kept.reshape(4, 16), expected, atol=1e-5)


def test_a_clip_gives_the_same_alone_and_in_a_batch_and_long_ones_lose_nothing(tmp_path):
    folder = save_whisper(tmp_path)
    spec = with_settings(front_end(folder), pooling="frames", max_seconds=0.0)
    waves = clips(900, SECOND, 2 * SECOND + 700, 300, SECOND + 1, 9 * SECOND)
    together = spec.compute(waves)
    for wave, frames in zip(waves, together, strict=True):
        assert np.abs(spec.compute([wave])[0] - frames).max() < 1e-5
        windows = [
            by_transformers(folder, part)
            for part in np.split(wave, range(SECOND, len(wave), SECOND))
        ]
        whole = np.concatenate([layers[-1] for layers in windows])
        assert len(frames) == int(np.ceil(len(wave) / 320))
        assert np.abs(frames - whole[: len(frames)]).max() < 1e-5


def test_a_fine_tuned_classifier_without_decoder_is_one_too(tmp_path):
    folder = save_whisper(tmp_path, WhisperForAudioClassification)
    (frames,) = SpeechEncoder(checkpoint=folder, pooling="frames").compute(clips(4000))
    encoder = WhisperForAudioClassification.from_pretrained(folder).eval().encoder
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    values = extractor(clips(4000)[0], sampling_rate=SECOND, return_tensors="pt").input_features
    with torch.no_grad():
        assert np.abs(encoder(values).last_hidden_state[0, :13].numpy() - frames).max() < 1e-5


def test_what_it_takes_is_told_where_it_is_chosen_and_only_its_encoder_is_counted(tmp_path, capsys):
    folder = save_whisper(tmp_path / "model")
    rows = hums(tmp_path, speakers=1, each=1)
    store = open_store(rows, folder, tmp_path, max_seconds=0.05)
    parameters = WhisperModel.from_pretrained(folder).encoder.num_parameters()
    told = f"{parameters / 1e6:.1f} million parameters; every clip is computed as 30 s"
    assert told in capsys.readouterr().out
    assert len(store) == 3 and store.dim == 32


def test_layers_of_whisper_do_not_learn_and_foreign_extractors_are_refused(tmp_path):
    spec = SpeechEncoder(checkpoint=save_whisper(tmp_path / "a"))
    with pytest.raises(SettingError, match="2 layers of .*those of Whisper do not learn here"):
        spec.below(2)
    save_whisper(tmp_path / "b", mels=128)
    save_whisper(tmp_path / "c", seconds=2)
    save(tmp_path / "d")
    for_wav2vec = (tmp_path / "d" / "preprocessor_config.json").read_bytes()
    for_whisper = (tmp_path / "a" / "preprocessor_config.json").read_bytes()
    (tmp_path / "a" / "preprocessor_config.json").write_bytes(for_wav2vec)
    (tmp_path / "d" / "preprocessor_config.json").write_bytes(for_whisper)
    for name, kind in (("a", "whisper"), ("b", "whisper"), ("c", "whisper"), ("d", "wav2vec2")):
        with pytest.raises(EncoderError, match=f"is not of this {kind} model"):
            SpeechEncoder(checkpoint=str(tmp_path / name)).compute(clips(500))
