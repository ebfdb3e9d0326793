"""Pretraining on speakers: against a plain loop of SGD, never on the target's speakers, kept."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from domain_toys import apart_by, values_of
from safetensors.torch import load_file
from torch.nn import functional
from toy_store import InMemory, toy_corpus

from colab_utils.drive.memory import Memory
from colab_utils.learning import training
from colab_utils.learning.clips import Clips
from colab_utils.learning.study import Tested
from colab_utils.learning.training import Interrupted
from colab_utils.methods.da_mldg import starting_weights
from colab_utils.methods.da_mldg.batches import DomainBatches, digital_silence
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.methods.da_mldg.speaker_pretraining import (
    SpeakerLearner,
    pretrain,
    speakers_config,
)
from colab_utils.methods.da_mldg.study import DomainStudy
from colab_utils.models import network
from colab_utils.protocols.build import build_task
from colab_utils.protocols.domains import in_domain, leave_one_out, with_tasks
from colab_utils.protocols.published import load_protocol
from colab_utils.settings import SettingError

PROTOCOL = load_protocol("da_mldg")
EMOTIONS = PROTOCOL.tasks["1"].emotions
FRAMES = DomainConfig("erm", network="resnet18", start="speakers", norm="batch", width=8)
CONFIG = dataclasses.replace(
    speakers_config(FRAMES), epochs=0, steps=6, batch=8, crop_frames=16, validate_every=1
)


class Features(InMemory):
    """Frames in memory, which note whose were read; every speaker has a place of their own."""

    spec = {"name": "toy", "version": 1, "settings": {}, "parts": []}

    def __init__(self, rows):
        rng = np.random.default_rng(0)
        speakers = rows["corpus"] + rows["speaker"]
        places = {key: 2 * rng.normal(size=12) for key in sorted(set(speakers))}
        values = {}
        for utt_id, speaker in zip(rows["utt_id"], speakers, strict=True):
            noise = rng.normal(size=(int(rng.integers(8, 30)), 12))
            values[utt_id] = (places[speaker] + noise).astype(np.float32)
        super().__init__(values, pooled=False)
        self.read = set()

    def __getitem__(self, utt_id):
        self.read.add(utt_id)
        return self.values[utt_id]


def corpus(name, speakers=5, each=1):
    return toy_corpus(name, EMOTIONS, speakers, each)


@pytest.fixture(scope="module")
def rows():
    return pd.concat([corpus("aa"), corpus("bb", 10), corpus("cc", 6)], ignore_index=True)


@pytest.fixture(scope="module")
def made(rows, tmp_path_factory):
    """What the pretraining of CONFIG leaves: its root, the file of weights, and the words."""
    root = tmp_path_factory.mktemp("speakers")
    return root, *pretrain(rows, Features(rows), CONFIG, Memory(root), progress=False)


def test_it_is_sgd_with_momentum_on_cross_entropy_over_speakers(rows):
    """The optimiser of King Gandhi et al. (2023) written out: v = 0.9 v + g, w = w - 0.01 v."""
    table = rows.assign(emotion=rows["corpus"] + "/" + rows["speaker"], corpus="speakers")
    speakers = sorted(set(table["emotion"]))
    data = Clips(Features(rows), table, speakers)
    config = speakers_config(dataclasses.replace(FRAMES, norm="group"))
    config = dataclasses.replace(config, crop_frames=16)
    learner = SpeakerLearner(data, data, config)
    batches = DomainBatches(data, config)
    torch.manual_seed(0)
    net = network("resnet18", 12, len(speakers), norm="group", width=8).double()
    velocity = {name: torch.zeros_like(one) for name, one in net.named_parameters()}
    learner.module.double()
    for step in range(2):
        (values, mask), y = batches.batch(step)["speakers"]
        assert len(y) == 64
        data_of = {"speakers": ((values.double(), mask), y)}
        loss = functional.cross_entropy(net(values.double(), mask)[0], y)
        slopes = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for (name, one), slope in zip(net.named_parameters(), slopes, strict=True):
                velocity[name] = 0.9 * velocity[name] + slope
                one -= 0.01 * velocity[name]
        learner.batches = type("Fixed", (), {"batch": lambda self, _, given=data_of: given})()
        assert learner.step(step)["loss"] == pytest.approx(float(loss.detach()), abs=1e-8)
    assert apart_by(values_of(net), values_of(learner.module)) < 1e-9


@pytest.mark.parametrize("name", ["default", "paper", "code"])
def test_it_is_as_published_but_scaled_and_padded_as_the_network_is_later(name):
    later = dataclasses.replace(DomainConfig.from_preset(name), width=8)
    config = speakers_config(later)
    assert (config.optimiser, config.learning_rate, config.momentum) == ("sgd", 0.01, 0.9)
    assert (config.epochs, config.batch, config.weight_decay) == (50, 64, 0.0)
    assert config.crop_frames == 1 + (2 * 16000 - 400) // 160
    for setting in ("standardise", "padding", "norm", "width"):
        assert getattr(config, setting) == getattr(later, setting)
    assert config.standardise == (name != "code")


@pytest.mark.parametrize("raw", [True, False])
def test_frames_are_raw_or_scaled_as_later_and_an_epoch_is_a_pass_over_those_that_train(
    rows, tmp_path, monkeypatch, raw
):
    seen, steps = {}, []
    real = SpeakerLearner.__init__

    def note(self, train, valid, config, silence):
        seen.update(train=train, silence=silence)
        real(self, train, valid, config, silence)

    monkeypatch.setattr(SpeakerLearner, "__init__", note)
    monkeypatch.setattr(SpeakerLearner, "step", lambda _, i: (steps.append(i), {"loss": 0.0})[1])
    store = Features(rows)
    made_by = {"floor": 1e-3, "normalise": "none"}
    store.spec = store.spec | {"settings": made_by}
    config = dataclasses.replace(CONFIG, standardise=not raw, steps=600, validate_every=25)
    config = dataclasses.replace(config, epochs=3)
    pretrain(rows, store, config, Memory(tmp_path), progress=False)
    train = seen["train"]
    stored = np.concatenate([store.values[utt_id] for utt_id in train.rows["utt_id"]])
    assert np.array_equal(train.values.numpy(), stored) == raw
    assert (train.scale is None) == raw and seen["silence"] == digital_silence(store.spec) < 0
    assert len(steps) == 3 * (len(train) // 8)


@pytest.mark.parametrize("target", ["aa", "bb", "cc", "within bb"])
def test_it_reads_training_speakers_of_the_sources_alone(rows, tmp_path, monkeypatch, target):
    """Pretrain as the study does: what was read, and told, is the training side."""
    if target.startswith("within"):
        task = in_domain(PROTOCOL, "bb")
    else:
        task = leave_one_out(PROTOCOL, ["aa", "bb", "cc"])[target]
    used, split = build_task(with_tasks(PROTOCOL, [task]), task.name, rows)
    store = Features(rows)
    study = DomainStudy("x", used, split, store, EMOTIONS, tmp_path, progress=False)
    monkeypatch.setattr(SpeakerLearner, "step", lambda *_: {"loss": 0.0})
    config = dataclasses.replace(FRAMES, speaker_epochs=1)
    file, told = study._speakers(Tested("erm", config), study.folds[0])
    train, others = split[split["role"] == "train"], split[split["role"] != "train"]
    assert file.exists() and store.read == set(train["utt_id"])
    assert len(others) and not set(others["speaker"]) & set(train["speaker"])
    sources = ", ".join(sorted(task.train["corpus"]))
    assert told.startswith(f"{train['speaker'].nunique()} speakers of {sources} ({len(train)} ")


def test_held_out_utterances_are_a_tenth_of_each_speaker_and_do_not_train(
    rows, tmp_path, monkeypatch
):
    seen = {}
    real = SpeakerLearner.__init__

    def note(self, train, valid, *others):
        seen.update(train=train, valid=valid)
        real(self, train, valid, *others)

    monkeypatch.setattr(SpeakerLearner, "__init__", note)
    # 20 utterances of each of two speakers
    many = pd.concat([rows, corpus("dd", 2, each=4)], ignore_index=True)
    config = dataclasses.replace(CONFIG, steps=1)
    pretrain(many, Features(many), config, Memory(tmp_path), progress=False)
    train, valid = seen["train"].rows, seen["valid"].rows
    assert set(train["utt_id"]) | set(valid["utt_id"]) == set(many["utt_id"])
    assert not set(train["utt_id"]) & set(valid["utt_id"])
    speakers = set(many["corpus"] + "/" + many["speaker"])
    assert set(valid["emotion"]) == set(train["emotion"]) == speakers
    counts = valid.groupby("emotion").size()
    assert all(count == (2 if name.startswith("dd/") else 1) for name, count in counts.items())
    assert seen["train"].scale is seen["valid"].scale


def test_speakers_of_the_same_name_in_two_corpora_are_two_and_the_lonely_and_unknown_are_left_out(
    tmp_path,
):
    lonely, unknown = corpus("cc", 1).iloc[:1], corpus("dd", 1).assign(speaker="")
    some = pd.concat([corpus("aa", 2), corpus("bb", 2), lonely, unknown], ignore_index=True)
    config = dataclasses.replace(CONFIG, steps=1)
    _, told = pretrain(some, Features(some), config, Memory(tmp_path), progress=False)
    assert told.startswith("4 speakers of aa, bb (20 utterances, 1 updates; ")


def test_a_manifest_without_emotions_will_do_as_of_voxceleb(rows, tmp_path):
    ids = [f"voxceleb/{i}" for i in range(len(rows))]
    plain = rows.assign(emotion="", emotion_raw="", corpus="voxceleb", utt_id=ids)
    config = dataclasses.replace(CONFIG, steps=1)
    file, told = pretrain(plain, Features(plain), config, Memory(tmp_path), progress=False)
    assert file.exists() and "speakers of voxceleb" in told


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_the_weights_start_a_network_in_all_layers_but_the_head(rows, tmp_path, made, norm):
    file = made[1]
    if norm == "group":
        config = dataclasses.replace(CONFIG, norm=norm, steps=1)
        file, _ = pretrain(rows, Features(rows), config, Memory(tmp_path), progress=False)
    kept = load_file(file)
    torch.manual_seed(1)
    net = network("resnet18", 12, 5, norm=norm, width=8)
    head = net.head.weight.detach().clone()
    starting_weights.load("speakers", net, file)
    assert starting_weights.identity("speakers", file).startswith("speakers: sha256 ")
    assert torch.equal(net.head.weight, head) and kept["head.weight"].shape[0] == 21
    for name, value in net.state_dict().items():
        assert name.startswith("head.") or torch.equal(value, kept[name]), name
    if norm == "batch":
        assert not torch.equal(kept["bn1.running_mean"], torch.zeros(8))


def test_a_second_call_loads_and_other_settings_or_speech_do_not(rows, made, monkeypatch):
    root, first, told = made
    with monkeypatch.context() as patched:
        patched.setattr(SpeakerLearner, "step", lambda *_: pytest.fail("trained again"))
        assert pretrain(rows, Features(rows), CONFIG, Memory(root), progress=False) == (first, told)
    monkeypatch.setattr(SpeakerLearner, "step", lambda *_: {"loss": 0.0})
    seeded = dataclasses.replace(CONFIG, seed=1)
    fewer = rows[rows["corpus"] != "aa"].reset_index(drop=True)
    files = {first}
    for table, config in ((rows, seeded), (fewer, CONFIG)):
        files.add(pretrain(table, Features(table), config, Memory(root), progress=False)[0])
    assert len(files) == 3


def test_an_interrupted_pretraining_goes_on_bit_for_bit(rows, tmp_path, made, monkeypatch):
    monkeypatch.setitem(training.train.__kwdefaults__, "save_seconds", 0.0)
    real = SpeakerLearner.step

    def stop(self, i):
        if i == 3:
            raise Interrupted("stopped")
        return real(self, i)

    with monkeypatch.context() as patched:
        patched.setattr(SpeakerLearner, "step", stop)
        with pytest.raises(Interrupted):
            pretrain(rows, Features(rows), CONFIG, Memory(tmp_path), progress=False)
    steps = []
    monkeypatch.setattr(SpeakerLearner, "step", lambda self, i: (steps.append(i), real(self, i))[1])
    again, _ = pretrain(rows, Features(rows), CONFIG, Memory(tmp_path), progress=False)
    assert steps == [3, 4, 5] and again.read_bytes() == made[1].read_bytes()


@pytest.mark.slow
def test_it_learns_speakers_it_can_tell_apart(rows, tmp_path):
    """Far above the 1 in 21 of chance on utterances that did not train."""
    config = dataclasses.replace(CONFIG, steps=60, batch=32)
    _, told = pretrain(rows, Features(rows), config, Memory(tmp_path), progress=False)
    assert int(told.split("; ")[1].split(" ")[0]) > 60


def test_what_cannot_be_pretrained_is_refused(rows, tmp_path):
    alone = rows[rows["speaker"].eq("s0") & rows["corpus"].eq("aa")]
    store = Features(rows)
    with pytest.raises(SettingError, match=r"1 speaker\(s\) with two utterances"):
        pretrain(alone, store, CONFIG, Memory(tmp_path))
    with pytest.raises(SettingError, match="learning_rate"):
        pretrain(rows, store, dataclasses.replace(CONFIG, learning_rate=3.0), Memory(tmp_path))
    store.pooled = True
    with pytest.raises(SettingError, match="pretraining on speakers needs frames"):
        pretrain(rows, store, CONFIG, Memory(tmp_path))
