"""Checkpoints of speech encoders: where they are, which version they are, how large. Nothing large is fetched before it is asked for."""
from __future__ import annotations

import functools
import pathlib
from dataclasses import dataclass
from typing import Any

from colab_utils.files import file_sha256, short_hash

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")           # the first that a checkpoint has; safetensors holds tensors and nothing else
KINDS = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio")
_INSTEAD = "or give a local folder in the Hub's format, or choose another front end (logmel needs no checkpoint)"


class EncoderError(ValueError):
    """A speech encoder that cannot be had or used; the message says in one sentence why, and what to do. None is ever put in its place."""


@dataclass(frozen=True)
class Source:
    """A checkpoint that was found. `name` as it was asked for; `folder` where its files lie, on the Hub's cache or a user's own; `commit` of
    the Hub ("" for a folder of one's own); `online`: whether the Hub answered."""

    name: str
    folder: pathlib.Path
    commit: str = ""
    online: bool = False

    def identity(self) -> dict[str, str]:
        """The settings `checkpoint` and `revision` by what they stand for: the Hub's commit, or a hash of a local folder's weights and configs.

        A local folder may move, and keeps its identity. Raises EncoderError where weights or config are missing.
        """
        if self.commit:
            return {"checkpoint": self.name, "revision": self.commit}
        files = [self.weights(), *(file for name in (CONFIG, PREPROCESSOR) if (file := self.folder / name).is_file())]
        hashes = {file.name: _hash_of(file, file.stat().st_size, file.stat().st_mtime_ns) for file in files}
        return {"checkpoint": f"local {self.config().model_type}", "revision": f"sha256:{short_hash(hashes)}"}

    def config(self) -> Any:
        """The checkpoint's configuration, a transformers `PretrainedConfig`. Raises EncoderError where it is damaged or of another kind of model."""
        from transformers import AutoConfig                     # here, not above: it takes seconds, and most runs need no encoder
        try:
            config = AutoConfig.from_pretrained(self.folder)
        except Exception as error:
            raise EncoderError(f"{self.name}: its {CONFIG} cannot be used ({first_line(error)}): fetch it again") from error
        if config.model_type not in KINDS:
            raise EncoderError(f"{self.name} is a {config.model_type or 'nameless'} model: a speech encoder is needed, one of {', '.join(KINDS)}")
        return config

    def weights(self) -> pathlib.Path:
        """The file of weights; those of the Hub are fetched now, if need be. Raises EncoderError."""
        for name in WEIGHTS:
            file = self._fetched(name) if self.commit else self.folder / name
            if file is not None and file.is_file():
                return file
        if self.commit and not self.online:
            raise _unreachable(self.name)
        raise EncoderError(f"{self.name} has no {' and no '.join(WEIGHTS)}: save the model there with save_pretrained, or give another checkpoint")

    def _fetched(self, name: str) -> pathlib.Path | None:
        """A file of the Hub's model, from the cache or fetched; None where there is none. Raises EncoderError where the network breaks off."""
        import huggingface_hub as hub
        try:
            return pathlib.Path(hub.hf_hub_download(self.name, name, revision=self.commit, local_files_only=not self.online))
        except hub.errors.EntryNotFoundError as error:
            if self.online and isinstance(error, hub.errors.LocalEntryNotFoundError):
                raise _unreachable(self.name) from error
            return None
        except Exception as error:
            raise EncoderError(f"{self.name}: {name} could not be fetched ({first_line(error)}): run again, it goes on where it was") from error


def find(checkpoint: str, revision: str = "main") -> Source:
    """Where `checkpoint` is: a folder in the Hub's format, or `owner/name` of the Hub, of which only the two small configs are fetched.

    Without a network the Hub's cache on this machine serves. Raises EncoderError for what is neither, or cannot be reached.
    """
    path = pathlib.Path(checkpoint).expanduser()
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise EncoderError(f"{checkpoint} has no {CONFIG}: give a folder that save_pretrained wrote, or a model of the Hub such as facebook/wav2vec2-base")
        return Source(checkpoint, path)
    if path.is_absolute() or checkpoint[:1] in (".", "~") or checkpoint.count("/") != 1:
        raise EncoderError(f"{checkpoint!r} is no folder here, and no name of a model of the Hub (owner/name): check the spelling")
    commit = _commit(checkpoint, revision)
    source = Source(checkpoint, pathlib.Path(), commit or revision, online=commit is not None)
    config = source._fetched(CONFIG)
    if config is None:
        raise EncoderError(f"{checkpoint} has no {CONFIG}: it is no model of transformers") if source.online else _unreachable(checkpoint)
    source._fetched(PREPROCESSOR)
    return Source(checkpoint, config.parent, config.parent.name, source.online)        # the cache names its folders by commit


def _commit(checkpoint: str, revision: str, file: str = CONFIG) -> str | None:
    """The commit that the Hub's `revision` stands for now; None where the Hub cannot be reached. Raises EncoderError where there is no such model."""
    metadata = _head(checkpoint, revision, file)
    return metadata and metadata.commit_hash


def _head(checkpoint: str, revision: str, file: str) -> Any:
    """What the Hub says of a file (commit_hash, size), asked once and without retries; None where it cannot be reached. Raises EncoderError."""
    import huggingface_hub as hub
    try:
        return hub.get_hf_file_metadata(hub.hf_hub_url(checkpoint, file, revision=revision), timeout=10)
    except hub.errors.RevisionNotFoundError as error:
        raise EncoderError(f"{checkpoint} has no revision {revision!r}: take main, or a commit that the Hub lists") from error
    except hub.errors.EntryNotFoundError as error:
        raise EncoderError(f"{checkpoint} has no {file}: it is no model of transformers") from error
    except hub.errors.RepositoryNotFoundError as error:         # a gated one, too
        raise EncoderError(f"{checkpoint}: the Hub has no such model, or not for you: check the name, log in with `hf auth login`, {_INSTEAD}") from error
    except Exception:           # whatever the HTTP library of the day raises: no network, proxy, offline mode, a server in trouble
        return None


def _unreachable(checkpoint: str) -> EncoderError:
    """The error of a checkpoint that is only on the Hub, which cannot be reached."""
    return EncoderError(f"{checkpoint} could not be fetched: the Hub cannot be reached and this machine holds no copy; "
                        f"run `hf download {checkpoint}` where there is a network, {_INSTEAD}")


@functools.lru_cache(maxsize=32)
def _hash_of(file: pathlib.Path, size: int, changed: int) -> str:
    """SHA-256 of a file, computed once for each state of it (weights are hundreds of MB)."""
    return file_sha256(file)


def first_line(error: BaseException) -> str:
    """What an error of another library says, short enough for one sentence."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


@dataclass(frozen=True)
class Size:
    """How large a checkpoint is, to be shown before it is fetched. `megabytes` (10^6 bytes) of weights, `parameters` of the encoder: None where
    unknown; `here`: nothing is left to download."""

    checkpoint: str
    megabytes: float | None
    parameters: int | None
    here: bool

    def __str__(self) -> str:
        if self.megabytes is None:
            return f"{self.checkpoint}: size unknown (the Hub cannot be reached, and this machine holds no copy)"
        parameters = "" if self.parameters is None else f", {self.parameters / 1e6:.1f} million parameters"
        return f"{self.checkpoint}: {self.megabytes:.0f} MB {'on this machine' if self.here else 'to download'}{parameters}"


def describe(checkpoint: str, revision: str = "main") -> Size:
    """How large a checkpoint is; fetches its config (some KB), never its weights. Raises EncoderError for one that does not exist or is no encoder.

    The parameters are those of the encoder alone, counted on a model without storage; heads that a checkpoint also holds do not count.
    """
    import torch
    from transformers import AutoModel
    try:
        source = find(checkpoint, revision)
    except EncoderError as error:
        if str(error) != str(_unreachable(checkpoint)):
            raise
        return Size(checkpoint, None, None, here=False)
    with torch.device("meta"):
        parameters = sum(p.numel() for p in AutoModel.from_config(source.config()).parameters())
    for name in WEIGHTS:
        if (source.folder / name).is_file():
            return Size(checkpoint, (source.folder / name).stat().st_size / 1e6, parameters, here=True)
    for name in WEIGHTS if source.online else ():
        try:
            metadata = _head(checkpoint, source.commit, name)
        except EncoderError:
            continue
        if metadata is not None and metadata.size:
            return Size(checkpoint, metadata.size / 1e6, parameters, here=False)
    return Size(checkpoint, None, parameters, here=False)
