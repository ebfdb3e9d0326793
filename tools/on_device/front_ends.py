"""Features of every front end that computes with torch, as steps (`steps.STEPS`)."""

import pathlib
import tempfile
from functools import partial
from typing import Any

import numpy as np
import torch
from tiny_encoders import save, save_whisper

from colab_utils.features import front_end
from colab_utils.features.encoders.embeddings import SpeechEncoder, load_encoder
from colab_utils.features.encoders.module import quiet
from colab_utils.features.front_end import FrontEnd
from colab_utils.settings import with_settings
from on_device.found import Found, Step, vector_of


def waveforms(rate: int) -> list[np.ndarray]:
    """Hums in noise, a very short one among them."""
    rng = np.random.default_rng(0)
    found = []
    for seconds, hertz in ((0.7, 120), (0.3, 240), (0.02, 180)):
        t = np.arange(int(seconds * rate)) / rate
        hum = 0.3 * np.sin(2 * np.pi * hertz * t) + 0.05 * rng.normal(size=len(t))
        found.append(hum.astype(np.float32))
    return found


def of(device: str, name: str, **settings: Any) -> Found:
    """Features of a front end by name."""
    return computed(with_settings(front_end(name), **settings), device)


def computed(spec: FrontEnd, device: str) -> Found:
    """Features of the waveforms."""
    features = [one.ravel() for one in spec.compute(waveforms(spec.sample_rate), device)]
    return Found("", {"features": vector_of(np.concatenate(features))})


def checkpoint(folder: str, kind: str) -> str:
    """Write a tiny speech encoder with random weights; the folder."""
    with quiet():
        if kind == "whisper":
            return save_whisper(folder)
        return save(pathlib.Path(folder), kind)


def encoder(device: str, kind: str, tuned: bool = False, **settings: Any) -> Found:
    """A speech encoder with random weights: its features, or the gradient of its transformer."""
    with tempfile.TemporaryDirectory() as folder:
        spec = SpeechEncoder(checkpoint=checkpoint(folder, kind), **settings)
        if not tuned:
            return computed(spec, device)
        module = load_encoder(spec, device)
        frames, mask = module(waveforms(spec.sample_rate))
        loss = frames.square().sum() / mask.sum()
        loss.backward()
        slopes = [vector_of(one.grad) for one in module.parameters() if one.grad is not None]
        return Found("", {"loss": vector_of(loss), "gradient": torch.cat(slopes)})


FRONT_ENDS: dict[str, Step] = {
    "front end/logmel": partial(of, name="logmel"),
    "front end/acoustic": partial(of, name="acoustic"),
    "front end/paper-logmel": partial(of, name="paper-logmel"),
    "front end/paper-mfcc": partial(of, name="paper-mfcc", normalise=True),
    "front end/da-mldg": partial(of, name="da-mldg"),
    "front end/da-mldg: hamming": partial(of, name="da-mldg", window="hamming"),
    "front end/alexnet: logspec": partial(of, name="alexnet", condition="babble@5"),
    "front end/alexnet: logmeldeltaspec": partial(
        of, name="alexnet", feature_set="logmeldeltaspec", condition="reverb"
    ),
    "front end/alexnet: lognrevspec": partial(of, name="alexnet", feature_set="lognrevspec"),
    "front end/distillmos": partial(of, name="distillmos"),
    "front end/ssl: wav2vec2": partial(encoder, kind="wav2vec2"),
    "front end/ssl: wav2vec2, all layers": partial(encoder, kind="wav2vec2", layer="all"),
    "front end/ssl: wav2vec2, float16": partial(encoder, kind="wav2vec2", half=True),
    "front end/ssl: wav2vec2, tuned": partial(encoder, kind="wav2vec2", tuned=True),
    "front end/ssl: hubert": partial(encoder, kind="hubert", layer="mean"),
    "front end/ssl: wav2vec2-stable, layer 2": partial(encoder, kind="wav2vec2-stable", layer=2),
    "front end/ssl: wavlm": partial(encoder, kind="wavlm"),
    "front end/ssl: whisper, all layers": partial(encoder, kind="whisper", layer="all"),
    "front end/ssl: data2vec": partial(encoder, kind="data2vec", pooling="frames"),
}
