"""Speech encoders of a few thousand random weights, saved in the Hub's format, and hums that even
they can be tuned to tell apart.
"""

import numpy as np
import pandas as pd
import soundfile
import torch
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from colab_utils.corpora.audio import read_audio, samples_sha256
from colab_utils.corpora.manifest import empty_row

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8, 8),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
KINDS = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model, {}),
    "hubert": (HubertConfig, HubertModel, {}),
    "wavlm": (WavLMConfig, WavLMModel, {}),
    "data2vec": (
        Data2VecAudioConfig,
        Data2VecAudioModel,
        {"num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 5},
    ),
    "wav2vec2-stable": (
        Wav2Vec2Config,
        Wav2Vec2Model,
        {"do_stable_layer_norm": True, "feat_extract_norm": "layer"},
    ),
}
TWENTY_MS = {
    "conv_dim": (8,) * 7,
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "num_feat_extract_layers": 7,
}


def save(folder, kind="wav2vec2", seed=0, normalise=True, **changes):
    """TINY has a frame every 0.6 ms, for the shortest clips; with TWENTY_MS as changes they stand
    as far apart as in the real encoders.
    """
    config, model, more = KINDS[kind]
    torch.manual_seed(seed)
    model(config(**{**TINY, **more, **changes})).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(folder)
    return str(folder)


def save_whisper(folder, model=WhisperForConditionalGeneration, mels=80, seconds=1):
    """Its windows are of one second, so that it is quick."""
    sizes = {
        f"{side}_{what}": size
        for side in ("encoder", "decoder")
        for what, size in {"layers": 3, "attention_heads": 2, "ffn_dim": 24}.items()
    }
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=16, num_mel_bins=mels, max_source_positions=50, max_target_positions=8,
        vocab_size=20, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        **sizes,
    )  # fmt: skip
    model(config).save_pretrained(folder)
    WhisperFeatureExtractor(chunk_length=seconds).save_pretrained(folder)
    return str(folder)


def clips(*lengths):
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def hums(folder, corpus="aa", speakers=4, each=4, shift=1.0, seed=0):
    """A manifest of WAV files of 75 to 150 ms: anger hums low, neutral in the middle, sadness high;
    `shift` raises a whole corpus.
    """
    rows, rng = [], np.random.default_rng(seed)
    for who in range(speakers):
        for label, hertz in (("anger", 300), ("neutral", 900), ("sadness", 2500)):
            for i in range(each):
                t = np.arange(int(rng.integers(1200, 2400))) / 16000
                wave = 0.3 * np.sin(
                    2 * np.pi * shift * hertz * rng.uniform(0.9, 1.1) * t
                ) + 0.02 * rng.normal(size=len(t))
                path = folder / corpus / f"{who}-{label}-{i}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, wave, 16000, subtype="PCM_16")
                rows.append(
                    {
                        **empty_row(corpus, path.stem),
                        "speaker": f"s{who}",
                        "emotion": label,
                        "emotion_raw": label,
                        "file": str(path),
                        "audio_sha256": samples_sha256(*read_audio(path)),
                    }
                )
    return pd.DataFrame(rows)
