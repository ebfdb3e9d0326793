"""Speech encoders on tiny random checkpoints in the Hub's format: clips alone and together, layers,
pooling, keys, errors, tuning.
"""

import dataclasses
import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_encoders import KINDS, TINY, clips, save
from transformers import (
    BertConfig,
    BertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from colab_utils.features import front_end
from colab_utils.features.encoders.checkpoints import EncoderError, describe
from colab_utils.features.encoders.embeddings import (
    SpeechEncoder,
    buckets,
    load_encoder,
    load_upper_layers,
)
from colab_utils.features.front_end import identity
from colab_utils.settings import SettingError


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_clip_gives_the_same_alone_in_a_batch_and_by_transformers(tmp_path, kind):
    folder = save(tmp_path / kind, kind)
    spec, waves = (
        SpeechEncoder(checkpoint=folder, pooling="frames"),
        clips(1600, 900, 1555, 1600, 300),
    )
    together = spec.compute(waves)
    model = KINDS[kind][1].from_pretrained(folder).eval()
    for wave, frames in zip(waves, together, strict=True):
        assert np.abs(spec.compute([wave])[0] - frames).max() < 1e-4
        values = Wav2Vec2FeatureExtractor(do_normalize=True)(
            wave, sampling_rate=16000, return_tensors="pt"
        ).input_values
        with torch.no_grad():
            assert np.abs(model(values).last_hidden_state[0].numpy() - frames).max() < 1e-4


def test_layers_and_pooling_are_naive_means(tmp_path):
    folder, wave = save(tmp_path / "one"), clips(2000)[0]
    values = Wav2Vec2FeatureExtractor(do_normalize=True)(
        wave, sampling_rate=16000, return_tensors="pt"
    ).input_values
    with torch.no_grad():
        hidden = (
            Wav2Vec2Model.from_pretrained(folder)
            .eval()(values, output_hidden_states=True)
            .hidden_states
        )
    for layer in range(4):
        (frames,) = SpeechEncoder(checkpoint=folder, layer=layer, pooling="frames").compute([wave])
        assert np.abs(frames - hidden[layer][0].numpy()).max() < 1e-4
        (both,) = SpeechEncoder(checkpoint=folder, layer=layer).compute([wave])
        assert np.allclose(both[0], np.concatenate([frames.mean(0), frames.std(0)]), atol=1e-5)
    (mean,) = SpeechEncoder(checkpoint=folder, layer="mean", pooling="frames").compute([wave])
    assert np.allclose(mean, np.mean([one[0].numpy() for one in hidden], axis=0), atol=1e-4)
    (kept,) = SpeechEncoder(checkpoint=folder, layer="all", pooling="mean").compute([wave])
    assert np.allclose(kept.reshape(4, 16), [one[0].numpy().mean(0) for one in hidden], atol=1e-4)
    assert len(SpeechEncoder(checkpoint=folder, layer="all").feature_names) == 4 * 32


def test_clips_are_cropped_to_their_first_seconds_and_short_ones_are_filled(tmp_path):
    folder, wave = save(tmp_path / "one"), clips(20000)[0]
    spec = SpeechEncoder(checkpoint=folder, max_seconds=1.0)
    assert np.array_equal(spec.compute([wave])[0], spec.compute([wave[:16000]])[0])
    assert spec.compute(clips(3))[0].shape == (1, 32)
    with pytest.raises(ValueError, match="waveform 0"):
        spec.compute([np.zeros(0, np.float32)])


def test_the_key_names_the_content_and_not_the_folder(tmp_path):
    first = identity(SpeechEncoder(checkpoint=save(tmp_path / "a")))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert identity(SpeechEncoder(checkpoint=str(tmp_path / "b"))) == first
    assert identity(SpeechEncoder(checkpoint=save(tmp_path / "c", seed=1))) != first
    assert identity(SpeechEncoder(checkpoint=save(tmp_path / "d", normalise=False))) != first
    assert str(tmp_path) not in json.dumps(first)


def test_batches_hold_clips_of_like_length_and_little_padding():
    lengths = np.random.default_rng(0).lognormal(np.log(2.6), 0.4, 300) * 16000
    batches = buckets(list(lengths), 16 * 16000)
    assert sorted(place for batch in batches for place in batch) == list(range(300))
    padded = sum(len(batch) * max(lengths[batch]) for batch in batches)
    assert 1 - lengths.sum() / padded < 0.1
    assert all(
        len(batch) == 1 or len(batch) * max(lengths[batch]) <= 16 * 16000 for batch in batches
    )


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: shutil.rmtree(folder), "no folder here, and no name of a model"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "its config.json cannot be used"),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            "has no model.safetensors and no pytorch_model.bin",
        ),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(
                (folder / "model.safetensors").read_bytes()[:5000]
            ),
            "its model.safetensors cannot be used, for it is damaged",
        ),
        (
            lambda folder: (folder / "preprocessor_config.json").unlink(),
            "has no preprocessor_config.json",
        ),
        (
            lambda folder: BertModel(
                BertConfig(
                    hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
                )
            ).save_pretrained(folder),
            "is a bert model: a speech encoder is needed",
        ),
    ],
)
def test_checkpoints_that_cannot_be_used_are_one_sentence(tmp_path, spoil, told):
    folder = tmp_path / "model"
    save(folder)
    spoil(folder)
    with pytest.raises(EncoderError, match=told) as found:
        SpeechEncoder(checkpoint=str(folder)).compute(clips(1600))
    assert "\n" not in str(found.value)


class Runs:
    """Does something when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch it_ran",)


def in_place_of_weights(name, write):
    def spoil(folder):
        (folder / "model.safetensors").unlink()
        write(folder / name)

    return spoil


def settings_of_the(name, **changes):
    def spoil(folder):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | changes))

    return spoil


PICKLES = {
    "pickle": lambda path: path.write_bytes(pickle.dumps(Runs())),
    "pickled network": lambda path: torch.save(torch.nn.Linear(1, 1), path),
}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (in_place_of_weights("pytorch_model.bin", PICKLES["pickle"]), "bin .*pickle"),
        (in_place_of_weights("pytorch_model.bin", PICKLES["pickled network"]), "bin .*pickle"),
        (in_place_of_weights("model.safetensors", PICKLES["pickle"]), "safetensors .*pickle"),
        (
            in_place_of_weights("pytorch_model.bin", lambda path: path.write_bytes(b"")),
            "bin .*empty",
        ),
        (
            in_place_of_weights(
                "model.safetensors", lambda path: save_file({"a": torch.ones(1)}, path)
            ),
            "safetensors lacks 61",
        ),
        (settings_of_the("config.json", hidden_size=32), "52 have another shape"),
        (
            settings_of_the("config.json", hidden_size="x"),
            "config.json cannot be used .*hidden_size.*'x'",
        ),
        (
            lambda folder: (folder / "preprocessor_config.json").write_text("[1]"),
            "its preprocessor_config.json cannot be used",
        ),
    ],
)
def test_foreign_weights_are_named_and_nobody_is_advised_to_unpickle(
    tmp_path, monkeypatch, spoil, told
):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "model")
    spoil(tmp_path / "model")
    with pytest.raises(EncoderError, match=told) as found:
        SpeechEncoder(checkpoint=str(tmp_path / "model")).compute(clips(1600))
    said = str(found.value)
    assert "\n" not in said and "weights_only" not in said and "trust" not in said
    assert not (tmp_path / "it_ran").exists()


def test_a_hub_that_cannot_be_reached_is_told_and_nothing_is_put_in_its_place(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(
        "huggingface_hub.get_hf_file_metadata",
        lambda *a, **k: (_ for _ in ()).throw(ConnectionError("no route")),
    )
    from colab_utils.features.encoders import checkpoints

    checkpoints._on_hub.cache_clear()
    with pytest.raises(
        EncoderError, match="the Hub cannot be reached and this machine holds no copy"
    ) as found:
        front_end("nobody/never-there").compute(clips(1600))
    assert "choose another front end" in str(found.value)
    assert describe("nobody/never-there").startswith("nobody/never-there: size unknown")
    with pytest.raises(ValueError, match="no front end is called"):
        front_end("never-there")


def test_the_size_is_told_before_anything_is_read(tmp_path):
    parameters = sum(p.numel() for p in Wav2Vec2Model(Wav2Vec2Config(**TINY)).parameters())
    told = describe(save(tmp_path / "one"))
    assert "on this machine" in told
    assert f"{parameters / 1e6:.1f} million parameters" in told


def test_layers_that_are_not_there_are_refused(tmp_path):
    folder = save(tmp_path / "one")
    with pytest.raises(EncoderError, match="layer = 7: the checkpoint has 3 layers"):
        SpeechEncoder(checkpoint=folder, layer=7).compute(clips(1600))
    for change in ({"layer": "first"}, {"layer": -1}, {"layer": "all", "pooling": "frames"}):
        with pytest.raises(SettingError):
            SpeechEncoder(checkpoint=folder, **change)


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_last_layers_on_stored_frames_give_what_the_whole_encoder_gives(tmp_path, kind):
    spec = SpeechEncoder(checkpoint=save(tmp_path / kind, kind), pooling="frames")
    waves = clips(1600, 900)
    below = spec.below(2).compute(waves)
    values = torch.zeros(2, len(below[0]), 16)
    mask = torch.zeros(2, len(below[0]), dtype=torch.bool)
    for row, frames in enumerate(below):
        values[row, : len(frames)], mask[row, : len(frames)] = torch.from_numpy(frames), True
    with torch.no_grad():
        found = load_upper_layers(spec, 2)(values, mask)
    for row, frames in enumerate(spec.compute(waves)):
        assert np.abs(found[row, : len(frames)].numpy() - frames).max() < 1e-4


def test_only_the_last_layers_can_be_tuned(tmp_path):
    spec = SpeechEncoder(checkpoint=save(tmp_path / "model"))
    with pytest.raises(SettingError, match="4 layers below"):
        spec.below(4)
    for layer in ("mean", "all"):
        with pytest.raises(SettingError, match="of one layer"):
            dataclasses.replace(spec, layer=layer).below(1)
    module = load_encoder(spec)
    assert not any(p.requires_grad for p in module.convolutions.parameters()) and all(
        p.requires_grad for p in module.encoder.parameters()
    )
