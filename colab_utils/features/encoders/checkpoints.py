"""Checkpoints of speech encoders: where they are, which version they are, how large.

Nothing large is fetched before it is asked for.
"""

import functools
import pathlib
from dataclasses import dataclass
from typing import Any

from colab_utils.files import file_sha256, one_line, short_hash

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
# the first that a checkpoint has; safetensors holds tensors and nothing else
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
WHISPER = "whisper"
KINDS = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio", WHISPER)
_INSTEAD = (
    "or give a local folder in the Hub's format, or choose another front end (logmel needs no"
    " checkpoint)"
)


class EncoderError(ValueError):
    """A speech encoder that cannot be had or used.

    The message says in one sentence why, and what to do. None is ever put in its place.
    """


class UnreachableError(EncoderError):
    """The checkpoint may exist, but the Hub cannot be reached and this machine holds no copy."""

    def __init__(self, checkpoint: str):
        super().__init__(
            f"{checkpoint} could not be fetched: the Hub cannot be reached and this machine holds"
            f" no copy; run `hf download {checkpoint}` where there is a network, {_INSTEAD}"
        )


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found.

    Attributes:
        name: as it was asked for.
        folder: where its files lie, in the Hub's cache or a user's own.
        commit: of the Hub; "" for a folder of one's own.
        online: whether the Hub answered.
    """

    name: str
    folder: pathlib.Path
    commit: str = ""
    online: bool = False

    def identity(self) -> dict[str, str]:
        """The settings `checkpoint` and `revision` by what they stand for.

        That is the Hub's commit, or a hash of a local folder's weights and configs: such a folder
        may move, and keeps its identity.

        Raises:
            EncoderError: weights or config are missing.
        """
        if self.commit:
            return {"checkpoint": self.name, "revision": self.commit}
        hashes = {}
        for file in (self.weights(), self.folder / CONFIG, self.folder / PREPROCESSOR):
            if file.is_file():
                state = file.stat()
                hashes[file.name] = _hash_of(file, state.st_size, state.st_mtime_ns)
        return {
            "checkpoint": f"local {self.config().model_type}",
            "revision": f"sha256:{short_hash(hashes)}",
        }

    def config(self) -> Any:
        """The checkpoint's configuration, of transformers.

        Raises:
            EncoderError: it is damaged or another kind of model's.
        """
        # here, not above: it takes seconds, and most runs need no encoder
        from transformers import AutoConfig

        try:
            config = AutoConfig.from_pretrained(self.folder)
        except Exception as error:
            raise EncoderError(
                f"{self.name}: its {CONFIG} cannot be used ({one_line(error)}); fetch or save it"
                " again"
            ) from error
        if config.model_type not in KINDS:
            raise EncoderError(
                f"{self.name} is a {config.model_type or 'nameless'} model: a speech encoder is"
                f" needed, one of {', '.join(KINDS)}"
            )
        return config

    def weights(self) -> pathlib.Path:
        """The file of weights; the Hub's is fetched now, if need be. Raises EncoderError."""
        for name in WEIGHTS:
            if self.commit:
                _hub_file(self.name, self.commit, name, self.online)
            if (self.folder / name).is_file():
                return self.folder / name
        if self.commit and not self.online:
            _on_hub.cache_clear()  # the next call shall ask again
            raise UnreachableError(self.name)
        raise EncoderError(
            f"{self.name} has no {' and no '.join(WEIGHTS)}: save the model there with"
            " save_pretrained, or give another checkpoint"
        )


def find(checkpoint: str, revision: str = "main") -> Checkpoint:
    """Where a checkpoint is. Of the Hub's, only the two small configs are fetched.

    Without a network the Hub's cache on this machine serves.

    Args:
        checkpoint: a folder in the Hub's format, or `owner/name` of the Hub.
        revision: branch, tag or commit of the Hub's.

    Raises:
        EncoderError: it is neither.
        UnreachableError: the Hub's, without a network or a copy.
    """
    path = pathlib.Path(checkpoint).expanduser()
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise EncoderError(
                f"{checkpoint} has no {CONFIG}: give a folder that save_pretrained wrote, or a"
                " model of the Hub such as facebook/wav2vec2-base"
            )
        return Checkpoint(checkpoint, path)
    if path.is_absolute() or checkpoint[:1] in (".", "~") or checkpoint.count("/") != 1:
        raise EncoderError(
            f"{checkpoint!r} is no folder here, and no name of a model of the Hub (owner/name):"
            " check the spelling"
        )
    return _on_hub(checkpoint, revision)


@functools.lru_cache(maxsize=32)
def _on_hub(checkpoint: str, revision: str) -> Checkpoint:
    """A model of the Hub, looked up once.

    Should `main` move meanwhile, this process keeps to one version.
    """
    head = _head(checkpoint, revision, CONFIG)
    commit = revision if head is None else head.commit_hash
    config = _hub_file(checkpoint, commit, CONFIG, online=head is not None)
    if config is None:
        raise UnreachableError(checkpoint)
    _hub_file(checkpoint, commit, PREPROCESSOR, online=head is not None)
    # the cache names its folders by commit
    return Checkpoint(checkpoint, config.parent, config.parent.name, head is not None)


def _head(checkpoint: str, revision: str, file: str) -> Any:
    """What the Hub says of a file (commit_hash, size), asked once and without retries.

    None where it cannot be reached. Raises EncoderError.
    """
    import huggingface_hub as hub
    from huggingface_hub import errors

    try:
        return hub.get_hf_file_metadata(
            hub.hf_hub_url(checkpoint, file, revision=revision), timeout=10
        )
    except errors.RevisionNotFoundError as error:
        raise EncoderError(
            f"{checkpoint} has no revision {revision!r}: take main, or a commit that the Hub lists"
        ) from error
    except errors.EntryNotFoundError as error:
        raise EncoderError(
            f"{checkpoint} has no {file} on the Hub: it is no model of transformers"
        ) from error
    except errors.RepositoryNotFoundError as error:  # a gated one, too
        raise EncoderError(
            f"{checkpoint}: the Hub has no such model, or not for you: check its name, log in by"
            f" `hf auth login`, {_INSTEAD}"
        ) from error
    except errors.HFValidationError as error:
        raise EncoderError(
            f"{checkpoint!r} is no name of a model of the Hub: {one_line(error)}"
        ) from error
    except Exception:
        # whatever the HTTP library of the day raises: no network, a proxy, offline mode, a server
        # in trouble
        return None


def _hub_file(checkpoint: str, commit: str, file: str, online: bool) -> pathlib.Path | None:
    """A file of a model, from the Hub's cache or fetched; None where there is none.

    Raises EncoderError where the network breaks off.
    """
    import huggingface_hub as hub
    from huggingface_hub import errors

    try:
        return pathlib.Path(
            hub.hf_hub_download(checkpoint, file, revision=commit, local_files_only=not online)
        )
    except errors.EntryNotFoundError as error:
        if online and isinstance(error, errors.LocalEntryNotFoundError):
            raise UnreachableError(checkpoint) from error
        return None
    except Exception as error:
        raise EncoderError(
            f"{checkpoint}: {file} could not be fetched ({one_line(error)}); run again, it goes"
            " on where it was"
        ) from error


@functools.lru_cache(maxsize=32)
def _hash_of(file: pathlib.Path, size: int, changed: int) -> str:
    """SHA-256 of a file, computed once for each state of it (weights are hundreds of MB)."""
    return file_sha256(file)


def describe(checkpoint: str) -> str:
    """How large a checkpoint is, to be shown before it is fetched.

    Its config (some KB) is fetched, never its weights. The parameters are the encoder's, counted on
    a model without storage; heads that the weights also hold do not count.

    Raises:
        EncoderError: it does not exist or is no encoder.

    Example:
        >>> describe("facebook/wav2vec2-base")
        'facebook/wav2vec2-base: 380 MB to download, 94.4 million parameters'
    """
    import torch
    from transformers import AutoModel

    try:
        source = find(checkpoint)
    except UnreachableError:
        return f"{checkpoint}: size unknown (the Hub cannot be reached)"
    config = source.config()
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    told = ""
    if config.model_type == WHISPER:
        model = model.encoder
        told = "; every clip is computed as 30 s, which is slow without a GPU"
    parameters = model.num_parameters() / 1e6
    return f"{checkpoint}: {_size(source)}, {parameters:.1f} million parameters{told}"


def _size(source: Checkpoint) -> str:
    """How large the weights are, in MB of 10^6 bytes, and whether they are here."""
    for name in WEIGHTS:
        if (source.folder / name).is_file():
            return f"{(source.folder / name).stat().st_size / 1e6:.0f} MB on this machine"
    for name in WEIGHTS if source.online else ():
        try:
            head = _head(source.name, source.commit, name)
        except EncoderError:  # no such file: the next name
            continue
        if head is not None and head.size:
            return f"{head.size / 1e6:.0f} MB to download"
    return "size unknown (the Hub cannot be reached)"
