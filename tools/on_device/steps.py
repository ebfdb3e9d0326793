"""One update of every method, through the studies that the notebooks use.

`STEPS[name](device)` makes small seeded data, a learner and one update, and asks what was learnt.
The same name gives the same numbers on every device but for rounding. Names are "<room>/<what the
room calls it>", with a variant behind a colon.
"""

import dataclasses
import functools
import tempfile
import types
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from torch import nn
from toy_store import Features, cross_corpus_split, toy_corpus

from colab_utils.learning.clips import Clips
from colab_utils.learning.study import Study, Tested
from colab_utils.learning.supervised import SupervisedLearner, class_weights
from colab_utils.learning.tasks import Batch
from colab_utils.models import network as make_network
from colab_utils.protocols.build import build_task
from colab_utils.protocols.draws import pair_task
from colab_utils.protocols.published import load_protocol
from on_device.found import Found, Step, vector_of
from on_device.front_ends import FRONT_ENDS, checkpoint
from on_device.own import Lazy, WorstDomain, attention, mined_triplets

LABELS = ("anger", "happiness", "sadness")


def updated(learner: Any) -> Found:
    """One update and a validation.

    Dropout is left out: every device draws its own.
    """
    for module in learner.module.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    told = learner.step(0)
    values = {name: vector_of(value) for name, value in told.items()}
    parameters = list(learner.module.parameters())
    slopes = [vector_of(one.grad) for one in parameters if one.grad is not None]
    values["gradient"] = torch.cat(slopes)
    values["weights"] = torch.cat([vector_of(one) for one in parameters])
    values["validation"] = vector_of(learner.validate())
    return Found(type(learner).__name__, values)


def studied(study: Study, tested: Tested) -> Found:
    """One update of what `tested` trains in the first fold of a study, and its predictions."""
    fold = study.folds_of(tested)[0]
    found, learner = Found("", {}), None
    of_training = study.training_of(tested)
    training = of_training and study.learner(of_training, fold)
    if training:
        learner = training.learner
        found = updated(learner)
    table = study.predict(learner, tested, fold)
    table = table[0] if isinstance(table, tuple) else table
    found.values["scores"] = vector_of(table.filter(like="p_").to_numpy())
    return found


# --- data -----------------------------------------------------------------------------------------


@functools.cache
def manifest() -> pd.DataFrame:
    """Three corpora of four speakers, each with three utterances of every emotion."""
    corpora = [toy_corpus(name, LABELS, speakers=4, each=3) for name in ("aa", "bb", "cc")]
    return pd.concat(corpora, ignore_index=True)


def open_study(kind: type[Study], device: str, store: Any, **more: Any) -> Study:
    """A study that learns from aa and bb and is tested on cc."""
    split = cross_corpus_split(manifest(), "cc", n_valid_speakers=4)
    how = {"device": device, "progress": False} | more
    return kind("toy", manifest(), split, store, LABELS, "out", **how)


def open_transfer(kind: type[Study], device: str, store: Any, **more: Any) -> Study:
    """A study of the transfer from aa to bb."""
    protocol = load_protocol("emofsl")
    task = dataclasses.replace(pair_task(protocol, "aa", "bb", 2), emotions=LABELS)
    protocol = dataclasses.replace(protocol, tasks={task.name: task})
    rows, split = build_task(protocol, task.name, manifest())
    how = {"device": device, "progress": False} | more
    return kind("toy", rows, split, store, LABELS, "out", **how)


# --- the rooms ------------------------------------------------------------------------------------


def maml(device: str, kind: str, frames: bool = False, own: Any = None, **changes: Any) -> Found:
    """MAML or one of its rivals."""
    from colab_utils.methods.maml import rivals
    from colab_utils.methods.maml.settings import EpisodeConfig, MamlConfig
    from colab_utils.methods.maml.study import MamlStudy

    episode = {"ways": 3, "shots": 2, "queries": 2}
    small = {"steps": 2, "meta_batch": 2, "valid_tasks": 8, "width": 8, "max_frames": 32}
    config = MamlConfig(iterations=4, **episode | small | changes)
    test = EpisodeConfig(steps=3, n_tasks=3, **episode)
    study = open_study(MamlStudy, device, Features(manifest(), LABELS, frames=frames))
    # one candidate: the best of many equal ones hangs on rounding
    with mock.patch.multiple(rivals, PARTS=("all",), RATES=(0.03,), STEPS=1):
        return studied(study, Tested(kind, config, own, kind, test=test))


def emofsl(
    device: str, kind: str, encoder: str = "", layers: int = 1, own: Any = None, **changes: Any
) -> Found:
    """A fine-tuning or a rival: on vectors (of so many layers), or with layers of an encoder."""
    from colab_utils.features.encoders.embeddings import SpeechEncoder
    from colab_utils.methods.emofsl.layers.study import LayersStudy
    from colab_utils.methods.emofsl.settings import METHODS, EmofslConfig
    from colab_utils.methods.emofsl.study import TransferStudy

    small = {"shots": 2, "n_draws": 2, "epochs": 3, "source_epochs": 1, "width": 8}
    method = kind if kind in METHODS else "EMOFSL"
    tuned = {"method": method, "source_batch": 16}
    if encoder:
        tuned |= {"tune_layers": 2, "normalisation": "none"}
    config = EmofslConfig(**small | tuned | changes)
    tested = Tested(kind, config, own, "tuned" if kind in METHODS else kind)
    if not encoder:
        store = Features(manifest(), LABELS)
        if layers > 1:
            store.feature_names = [f"layer_{number % layers}" for number in range(store.dim)]
        return studied(open_transfer(TransferStudy, device, store), tested)
    with tempfile.TemporaryDirectory() as folder:
        spec = SpeechEncoder(checkpoint=checkpoint(folder, encoder))
        store = Features(manifest(), LABELS, frames=True, dim=spec.width)
        return studied(open_transfer(LayersStudy, device, store, encoder=spec, n_layers=2), tested)


def equation_2(device: str) -> Found:
    """The loss of EMOFSL as the paper writes it."""
    from colab_utils.methods.emofsl.emofsl import levels_and_margins
    from colab_utils.methods.emofsl.pair_losses import equation_2 as loss_of
    from colab_utils.methods.emofsl.settings import EmofslConfig

    levels, _ = levels_and_margins(EmofslConfig(), LABELS)
    far = torch.as_tensor(levels.to_numpy() == "PN")
    embedding = torch.randn(9, 8, generator=torch.Generator().manual_seed(0)).to(device)
    y = torch.arange(3, device=device).repeat(3)
    loss = loss_of(embedding.requires_grad_(), y, far)
    (slope,) = torch.autograd.grad(loss, embedding)
    return Found("", {"loss": vector_of(loss), "gradient": vector_of(slope)})


def da_mldg(
    device: str, algorithm: str, network: str = "mlp", own: Any = None, **changes: Any
) -> Found:
    """An algorithm of domain generalisation."""
    from colab_utils.methods.da_mldg.settings import DomainConfig
    from colab_utils.methods.da_mldg.study import DomainStudy

    small = {"per_domain": 6, "width": 8, "crop_frames": 32}
    config = DomainConfig(algorithm=algorithm, network=network, **small | changes)
    store = Features(manifest(), LABELS, frames=network != "mlp")
    store.spec["name"] = "da-mldg"
    return studied(open_study(DomainStudy, device, store), Tested(algorithm, config, own))


def speakers(device: str) -> Found:
    """The pretraining of DA-MLDG on speakers."""
    from colab_utils.methods.da_mldg.settings import DomainConfig
    from colab_utils.methods.da_mldg.speaker_pretraining import SpeakerLearner, speakers_config

    store = Features(manifest(), LABELS, frames=True)
    rows = manifest().assign(emotion=manifest()["speaker"], corpus="speakers")
    names = sorted(set(rows["emotion"]))
    train = Clips(store, rows[::2], names, device=device)
    train = train.scaled(train.fit_scale(by_corpus=True))
    valid = Clips(store, rows[1::2], names, device=device, scale=train.scale)
    config = speakers_config(DomainConfig(network="resnet18", norm="batch", width=8))
    config = dataclasses.replace(config, batch=8, crop_frames=32)
    return updated(SpeakerLearner(train, valid, config))


def alexnet(device: str, network: str, own: Any = None, **changes: Any) -> Found:
    """A network on spectrogram pictures."""
    from colab_utils.features.published.alexnet import AlexNetSpectrogram
    from colab_utils.methods.alexnet.settings import AlexnetConfig
    from colab_utils.methods.alexnet.study import SpectrogramStudy

    small = {"image_height": 63, "batch_size": 6, "pretrained": "scratch"}
    config = AlexnetConfig(ser_model=network, **small | changes)
    spec = AlexNetSpectrogram(feature_set=config.features)
    dim = spec.channels * spec.bins
    frames = Features(manifest(), LABELS, frames=True, dim=dim)
    noisy = Features(manifest(), LABELS, frames=True, dim=dim, spread=1.0)
    store = types.SimpleNamespace(of=lambda _, condition: frames if condition == "clean" else noisy)
    return studied(open_study(SpectrogramStudy, device, store), Tested(network, config, own))


def network(device: str, name: str, norm: str) -> Found:
    """A network of `models`, trained with labels; clips of frames are padded."""
    clips = Clips(
        Features(manifest(), LABELS, frames=name != "mlp"), manifest(), LABELS, device=device
    )
    numbers = np.arange(0, len(clips), 8)
    active = torch.ones(3, dtype=torch.bool, device=device)
    batch = Batch(clips.inputs(numbers), clips.y[numbers], active)
    torch.manual_seed(0)
    made = make_network(name, clips.dim, 3, norm=norm, width=8, frames=48).to(device)
    weights = class_weights(clips.y, 3)
    return updated(SupervisedLearner(made, lambda i: batch, weights, batch))


_PERMUTED = {"regime": "permuted", "learn_rates": False, "schedule": "constant"}
_NOISY = {"stability": 1.0, "stability_loss": "both"}

STEPS: dict[str, Step] = {
    "maml/maml: second order": partial(maml, kind="maml"),
    "maml/maml: first order": partial(maml, kind="maml", order="first", multi_step="ramp"),
    "maml/maml: permuted ids": partial(maml, kind="maml", **_PERMUTED),
    "maml/maml: head alone": partial(maml, kind="maml", adapted="head", multi_step="final"),
    "maml/maml: conv4": partial(maml, kind="maml", frames=True, network="conv4"),
    "maml/maml: conv4, batch": partial(
        maml, kind="maml", frames=True, network="conv4", norm="paper-batch", order="first"
    ),
    "maml/maml: lstm": partial(
        maml, kind="maml", frames=True, network="lstm", max_frames=16, steps=1
    ),
    "maml/term nt-xent": partial(maml, kind="maml", contrastive="nt-xent"),
    "maml/term supervised": partial(maml, kind="maml", contrastive="supervised", projection=0),
    "maml/engine higher: second order": partial(maml, kind="maml", engine="higher"),
    "maml/engine higher: first order": partial(maml, kind="maml", engine="higher", order="first"),
    "maml/chance": partial(maml, kind="chance"),
    "maml/recommended": partial(maml, kind="recommended"),
    "maml/source prior": partial(maml, kind="source prior"),
    "maml/source + support": partial(maml, kind="source + support"),
    "maml/nearest prototype": partial(maml, kind="nearest prototype"),
    "maml/nearest prototype: frames": partial(
        maml, kind="nearest prototype", frames=True, network="conv4"
    ),
    "maml/logistic regression": partial(
        maml, kind="logistic regression", frames=True, network="conv4"
    ),
    "maml/ProtoNet": partial(maml, kind="ProtoNet"),
    "maml/ProtoNet: conv4": partial(maml, kind="ProtoNet", frames=True, network="conv4"),
    "maml/pooled, zero-shot": partial(maml, kind="pooled, zero-shot"),
    "maml/pooled, fine-tuned": partial(maml, kind="pooled, fine-tuned"),
    "maml/own": partial(maml, kind="own", own=attention),
    "emofsl/BTL": partial(emofsl, kind="BTL", centre=0.5),
    "emofsl/FSTL": partial(emofsl, kind="FSTL", cap=1.5),
    "emofsl/EMOFSL: paper": partial(emofsl, kind="EMOFSL", margins="paper", reduction="sum"),
    "emofsl/EMOFSL: graded": partial(
        emofsl, kind="EMOFSL", margins="graded", source_loss_weight=0.1, similarity="cosine"
    ),
    "emofsl/BTL: weighed layers": partial(emofsl, kind="BTL", layers=2),
    "emofsl/BTL: head alone": partial(emofsl, kind="BTL", tune="head", decision="head"),
    "emofsl/EMOFSL: layers of wav2vec2": partial(emofsl, kind="EMOFSL", encoder="wav2vec2"),
    "emofsl/EMOFSL: layers of wavlm": partial(emofsl, kind="EMOFSL", encoder="wavlm", centre=0.5),
    "emofsl/equation 2": equation_2,
    "emofsl/recommended": partial(emofsl, kind="recommended"),
    "emofsl/source prior": partial(emofsl, kind="source prior", normalisation="none"),
    "emofsl/source + support": partial(emofsl, kind="source + support"),
    "emofsl/source only": partial(emofsl, kind="source only"),
    "emofsl/nearest prototype": partial(emofsl, kind="nearest prototype"),
    "emofsl/logistic regression": partial(emofsl, kind="logistic regression"),
    "emofsl/LDA": partial(emofsl, kind="LDA"),
    "emofsl/own": partial(emofsl, kind="BTL", own=mined_triplets),
    "da_mldg/erm": partial(da_mldg, algorithm="erm"),
    "da_mldg/erm: resnet18, batch": partial(
        da_mldg, algorithm="erm", network="resnet18", norm="batch", augment=True
    ),
    "da_mldg/erm: resnet18, zeros": partial(
        da_mldg, algorithm="erm", network="resnet18", padding="zeros", test="windows"
    ),
    "da_mldg/mldg: first order": partial(da_mldg, algorithm="mldg", order="first"),
    "da_mldg/da-mldg: second order": partial(da_mldg, algorithm="da-mldg"),
    # statistics of few clips would make much of rounding
    "da_mldg/da-mldg: resnet18": partial(
        da_mldg,
        algorithm="da-mldg",
        network="resnet18",
        norm="batch",
        inner_rate=0.01,
        per_domain=16,
    ),
    "da_mldg/rsc": partial(da_mldg, algorithm="rsc"),
    # the seed decides whether channels or positions are hidden
    "da_mldg/rsc: channels": partial(da_mldg, algorithm="rsc", network="resnet18", clip=1.0),
    "da_mldg/rsc: positions": partial(da_mldg, algorithm="rsc", network="resnet18", seed=2),
    "da_mldg/coral": partial(da_mldg, algorithm="coral", batches="proportional"),
    "da_mldg/own": partial(da_mldg, algorithm="erm", own=WorstDomain),
    "da_mldg/speakers": speakers,
    "alexnet/alexnet": partial(alexnet, network="alexnet"),
    "alexnet/alexnet_gap: mixup": partial(alexnet, network="alexnet_gap", mixup=True),
    "alexnet/alexnet_gap: stability": partial(alexnet, network="alexnet_gap", **_NOISY),
    "alexnet/alexnet_gap: three channels": partial(
        alexnet, network="alexnet_gap", features="logmeldeltaspec", mixup=True, **_NOISY
    ),
    "alexnet/alexnet_gap: as published": partial(
        alexnet,
        network="alexnet_gap",
        balanced=False,
        oversampling=True,
        spec_augment=False,
        eight_bit=True,
        decision="geometric",
    ),
    "alexnet/own": partial(alexnet, network="alexnet_gap", own=Lazy),
    "network/mlp: group": partial(network, name="mlp", norm="group"),
    "network/mlp: batch": partial(network, name="mlp", norm="batch"),
    "network/conv4: group": partial(network, name="conv4", norm="group"),
    "network/conv4: batch": partial(network, name="conv4", norm="batch"),
    "network/conv4: paper-batch": partial(network, name="conv4", norm="paper-batch"),
    "network/lstm: group": partial(network, name="lstm", norm="group"),
    "network/resnet18: group": partial(network, name="resnet18", norm="group"),
    "network/resnet18: batch": partial(network, name="resnet18", norm="batch"),
    **FRONT_ENDS,
}
