"""Speech encoders of transformers as torch modules: each clip as if it were alone."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from colab_utils.features.encoders.checkpoints import (
    PREPROCESSOR,
    WHISPER,
    Checkpoint,
    EncoderError,
)
from colab_utils.features.front_end import check_waveforms
from colab_utils.files import one_line, unreadable

SAMPLE_RATE = 16000
# checkpoints may lack what stands in for masked frames in pre-training, and Whisper's decoder
_UNUSED = ("masked_spec_embed", "decoder.")
# data2vec's positional layers would see the padding
_PADDED = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")


class EncoderModule(nn.Module):
    """Waveforms of any lengths to frames and a mask.

    Frames stand 20 ms apart. With `layer` "all" there are those of each layer: the input of the
    first transformer layer, then the output of each; "mean" averages over them.

    A clip's frames do not depend on the others (1e-4): the convolutions run clip by clip, because
    the group norm of wav2vec 2.0's first layer takes its statistics over all time, padding
    included; only then are clips padded, and the transformer attends under the mask. Encoders whose
    transformer cannot be masked exactly run clip by clip to the end. Short clips gain little from
    batched convolutions anyway.

    The gradient flows into projection and transformer; the convolutions are frozen, as is usual
    with few labels (Baevski et al. 2020). Stays in eval mode unless `train()` is called: no
    dropout, no dropped layers, no masked frames. `half`: float16 on a GPU, where torch deems it
    safe (autocast).
    """

    def __init__(self, model: Any, extractor: Any, layer: int | str, half: bool):
        super().__init__()
        config = model.config
        self.normalise, self.layer, self.half = bool(extractor.do_normalize), layer, half
        self.convolutions = model.feature_extractor.requires_grad_(False)
        self.projection = model.feature_projection
        self.encoder = model.encoder
        batch_norm = getattr(config, "conv_pos_batch_norm", False)
        self.paddable = config.model_type in _PADDED and not batch_norm
        self.shortest = 1  # samples that give one frame
        for kernel, stride in zip(config.conv_kernel[::-1], config.conv_stride[::-1], strict=True):
            self.shortest = (self.shortest - 1) * stride + kernel
        if isinstance(layer, int):
            cut(self.encoder, layer, config)
        self.eval()

    def forward(
        self, waveforms: Sequence[np.ndarray | torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames and mask of some waveforms.

        Args:
            waveforms: float32 (samples,) each, at 16 kHz; a clip under 25 ms is filled with zeros
                to one frame.

        Returns:
            Frames, float32 (n, longest, dim), or (n, longest, layers, dim) with `layer` "all"; 0
            where the mask, bool (n, longest), is False: there is no speech.

        Raises:
            ValueError: an empty waveform.
        """
        check_waveforms(waveforms)
        device = next(self.encoder.parameters()).device
        with precision(device, self.half):
            local = [self._local(wave, device) for wave in waveforms]
            if self.paddable:
                frames = self._context(local)
            else:
                alone = [self._context([clip])[0] for clip in local]
                frames = pad_sequence(alone, batch_first=True)
        mask = mask_of(local)
        return frames.float() * mask.reshape(*mask.shape, *[1] * (frames.ndim - 2)), mask

    @torch.no_grad()
    def _local(self, wave: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
        """What the convolutions make of one clip: (frames, channels)."""
        wave = torch.as_tensor(wave, dtype=torch.float32).to(device)
        if self.normalise:
            variance = wave.var(correction=0)
            wave = (wave - wave.mean()) / (variance + 1e-7).sqrt()
        missing = max(0, self.shortest - len(wave))
        wave = nn.functional.pad(wave, (0, missing))
        (channels,) = self.convolutions(wave[None])
        return channels.T

    def _context(self, local: list[torch.Tensor]) -> torch.Tensor:
        """Projection and transformer over padded clips: (n, longest, ..., dim)."""
        projected = self.projection(pad_sequence(local, batch_first=True))
        projected = projected[0] if isinstance(projected, tuple) else projected
        mask = mask_of(local)
        if mask.all():
            mask = None  # which is faster
        return hidden(self.encoder, projected, mask, self.layer)


@contextlib.contextmanager
def precision(device: torch.device, half: bool) -> Iterator[None]:
    """Float32 throughout, or, with `half` on a GPU, float16 where torch deems it safe."""
    # TF32 rounds at 1e-3, not alike for every shape of batch
    exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    half = half and device.type == "cuda"
    with exact, torch.autocast(device.type, torch.float16, enabled=half):
        yield


def hidden(
    encoder: nn.Module, values: torch.Tensor, mask: torch.Tensor | None, layer: int | str
) -> torch.Tensor:
    """What a transformer makes of `values`, whose layers above a numbered `layer` were cut off.

    Returns (n, frames, dim), or (n, frames, layers, dim) with `layer` "all".
    """
    several = layer in ("all", "mean")
    output = encoder(values, attention_mask=mask, output_hidden_states=several)
    if not several:
        return output.last_hidden_state
    if layer == "mean":
        return sum(output.hidden_states) / len(output.hidden_states)
    return torch.stack(output.hidden_states, dim=2)


def mask_of(clips: list[torch.Tensor]) -> torch.Tensor:
    """Where clips padded to the longest have frames of their own, bool (n, longest)."""
    lengths = torch.tensor([len(clip) for clip in clips], device=clips[0].device)
    return torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]


class UpperLayers(nn.Module):
    """The last layers of an encoder.

    Fed with frames of the layer below them, from a feature store, it gives what the whole encoder
    gives; so fine-tuning computes the frozen layers once and not once a step. In eval mode, as
    EncoderModule.
    """

    def __init__(self, encoder: nn.Module, n_layers: int):
        super().__init__()
        first = encoder.layers[0]
        kept = encoder.layers[len(encoder.layers) - n_layers :]
        if hasattr(getattr(first, "attention", None), "rel_attn_embed"):
            # WavLM: all layers share the first one's positions
            kept[0].attention.rel_attn_embed = first.attention.rel_attn_embed
        encoder.layers = kept
        encoder.pos_conv_embed = _Nothing()
        if "StableLayerNorm" not in type(encoder).__name__:
            # it stands before the first layer, in the other variant behind the last
            encoder.layer_norm = nn.Identity()
        self.encoder = encoder
        self.eval()

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Frames that the last layers make of those below them.

        Args:
            values: float (n, frames, dim); the gradient flows into them, too.
            mask: bool (n, frames), True from the left on, as `FeatureStore.padded` gives it.

        Returns:
            (n, frames, dim), 0 where the mask is False.
        """
        attended = None if mask.all() else mask
        output = self.encoder(values.clone(), attention_mask=attended)
        return output.last_hidden_state * mask[..., None]


class _Nothing(nn.Module):
    """Takes the place of the positions, which the frames already hold."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Zeros."""
        return torch.zeros_like(hidden)


def cut(encoder: nn.Module, layer: int, config: Any) -> None:
    """Leave out the transformer layers above `layer`, which need not be computed.

    Raises EncoderError where there are not so many.
    """
    if layer > config.num_hidden_layers:
        raise EncoderError(
            f"layer = {layer}: the checkpoint has {config.num_hidden_layers} layers; 0 is the input"
            " of the first"
        )
    if layer < config.num_hidden_layers:
        encoder.layers = encoder.layers[:layer]
        if config.model_type == WHISPER or getattr(config, "do_stable_layer_norm", False):
            encoder.layer_norm = nn.Identity()  # it belongs to the last layer alone


def load_model(source: Checkpoint) -> tuple[Any, Any]:
    """The checkpoint's model in float32, and its feature extractor, of transformers.

    No weight is ever made up but of Whisper's decoder, which is not used. Pickled weights are read
    as tensors only.

    Raises:
        EncoderError: damaged, missing or foreign weights, or a feature extractor of another model.
    """
    from transformers import AutoModel

    config = source.config()
    name = source.name
    weights = source.weights()
    extractor = _extractor(source, config)
    try:
        with quiet():
            model, report = AutoModel.from_pretrained(
                source.folder,
                config=config,
                weights_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are told below
            )
    except Exception as error:
        # safetensors, pickle and zip errors, each with its own class
        raise EncoderError(
            f"{name}: its {weights.name} cannot be used, for {unreadable(weights, error)}; delete"
            " it, then fetch or save it again"
        ) from error
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(_UNUSED))
    other = sorted(key for key, *_ in report["mismatched_keys"])
    if missing or other:
        raise EncoderError(
            f"{name}: of the encoder's tensors its {weights.name} lacks {len(missing)}, and"
            f" {len(other)} have another shape ({', '.join((missing + other)[:2])}): they are of"
            " another model than its config.json says"
        )
    return model.float(), extractor


def _extractor(source: Checkpoint, config: Any) -> Any:
    """The checkpoint's feature extractor. Raises EncoderError."""
    from transformers import AutoFeatureExtractor

    name = source.name
    if not (source.folder / PREPROCESSOR).is_file():
        raise EncoderError(
            f"{name} has no {PREPROCESSOR}, which says how waveforms are normalised: save the"
            " feature extractor beside the model"
        )
    try:
        extractor = AutoFeatureExtractor.from_pretrained(source.folder)
    except Exception as error:
        raise EncoderError(
            f"{name}: its {PREPROCESSOR} cannot be used ({one_line(error)}); fetch or save it again"
        ) from error
    if extractor.sampling_rate != SAMPLE_RATE:
        raise EncoderError(
            f"{name} wants {extractor.sampling_rate} Hz: only encoders of {SAMPLE_RATE} Hz are"
            " supported"
        )
    fits = hasattr(extractor, "do_normalize")
    if config.model_type == WHISPER:
        heard = getattr(extractor, "feature_size", 0), getattr(extractor, "nb_max_frames", 0)
        fits = heard == (config.num_mel_bins, 2 * config.max_source_positions)
    if not fits:
        raise EncoderError(
            f"{name}: its {PREPROCESSOR} ({type(extractor).__name__}) is not of this"
            f" {config.model_type} model: fetch or save it again"
        )
    return extractor


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars and its list of unused heads meanwhile.

    What counts, missing weights, is an error here.
    """
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
