"""Pretraining on speakers: against a plain loop of torch's SGD, never on the target's speakers,
kept and told for what it is.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from colab_utils.corpora.manifest import empty_row
from colab_utils.learning import training
from colab_utils.learning.clips import Clips
from colab_utils.learning.study import Tested
from colab_utils.learning.training import Interrupted
from colab_utils.methods.da_mldg import starting_weights
from colab_utils.methods.da_mldg.batches import DomainBatches
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.methods.da_mldg.speaker_pretraining import SpeakerConfig, SpeakerLearner, pretrain
from colab_utils.methods.da_mldg.study import DomainStudy
from colab_utils.models import network
from colab_utils.protocols.build import build_task
from colab_utils.protocols.domains import in_domain, leave_one_out, with_tasks
from colab_utils.protocols.published import load_protocol
from colab_utils.settings import SettingError

PROTOCOL = load_protocol("da_mldg")
EMOTIONS = PROTOCOL.tasks["1"].emotions
CONFIG = SpeakerConfig(steps=6, batch=8, crop_frames=16, width=8)


class Features:
    """Frames in memory, which note whose were read; every speaker has a place of their own."""

    key, spec, pooled = "abc", {"name": "toy", "version": 1, "settings": {}, "parts": []}, False

    def __init__(self, rows):
        rng = np.random.default_rng(0)
        places = {
            key: 2 * rng.normal(size=12) for key in sorted(set(rows["corpus"] + rows["speaker"]))
        }
        self.values = {
            row.utt_id: (
                (
                    places[row.corpus + row.speaker]
                    + rng.normal(size=(int(rng.integers(8, 30)), 12))
                ).astype(np.float32)
            )
            for row in rows.itertuples()
        }
        self.ids, self.read = list(self.values), set()

    def __getitem__(self, utt_id):
        self.read.add(utt_id)
        return self.values[utt_id]


def corpus(name, speakers=5, each=1):
    return pd.DataFrame(
        [
            {
                **empty_row(name, f"{who}-{label}-{i}"),
                "speaker": f"s{who}",
                "emotion": label,
                "emotion_raw": label,
            }
            for who in range(speakers)
            for label in EMOTIONS
            for i in range(each)
        ]
    )


@pytest.fixture
def rows():
    return pd.concat([corpus("aa"), corpus("bb", 10), corpus("cc", 6)], ignore_index=True)


def test_it_is_sgd_with_momentum_on_cross_entropy_over_speakers(rows):
    """The published optimiser written out: v = 0.9 v + g, w = w - 0.01 v (method_facts §4.2)."""
    table = rows.assign(emotion=rows["corpus"] + "/" + rows["speaker"], corpus="speakers")
    speakers = sorted(set(table["emotion"]))
    data = Clips(Features(rows), table, speakers)
    batches = DomainBatches(data, crop_frames=16)
    learner = SpeakerLearner(data, data, SpeakerConfig(crop_frames=16, width=8, norm="group"))
    torch.manual_seed(0)
    net = network("resnet18", 12, len(speakers), norm="group", width=8).double()
    velocity = {name: torch.zeros_like(one) for name, one in net.named_parameters()}
    learner.module.double()
    for step in range(3):
        (values, mask), y = batches.batch(0, step, 64)["speakers"]
        data_of = {"speakers": ((values.double(), mask), y)}
        loss = functional.cross_entropy(net(values.double(), mask)[0], y)
        slopes = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for (name, one), slope in zip(net.named_parameters(), slopes, strict=True):
                velocity[name] = 0.9 * velocity[name] + slope
                one -= 0.01 * velocity[name]
        learner.batches = type("Fixed", (), {"batch": lambda self, *_, given=data_of: given})()
        assert learner.step(step)["loss"] == pytest.approx(float(loss.detach()), abs=1e-8)
    for one, other in zip(net.parameters(), learner.module.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-9)


def test_defaults_are_the_published_settings_and_two_seconds():
    config = SpeakerConfig()
    assert (config.batch, config.learning_rate, config.momentum, config.crop_frames) == (
        64,
        0.01,
        0.9,
        1 + (2 * 16000 - 400) // 160,
    )


@pytest.mark.parametrize("target", ["aa", "bb", "cc"])
def test_it_reads_training_speakers_of_the_sources_alone(rows, tmp_path, target):
    task = leave_one_out(PROTOCOL, ["aa", "bb", "cc"])[target]
    check_reads(rows, task, tmp_path)


def test_within_one_corpus_it_reads_neither_tested_nor_validating_speakers(rows, tmp_path):
    check_reads(rows, in_domain(PROTOCOL, "bb"), tmp_path)


def check_reads(rows, task, root):
    """Pretrain as the study does: what was read, and told, is the training side."""
    used, split = build_task(with_tasks(PROTOCOL, [task]), task.name, rows)
    study = DomainStudy(
        task.name, used, split, Features(rows), EMOTIONS, root, progress=False, pretraining=CONFIG
    )
    config = DomainConfig(
        network="resnet18", start="speakers", width=8, crop_frames=16, norm="batch"
    )
    file, told = study._speakers(Tested("erm", config), study.folds[0])
    training_side = split.loc[split["role"] == "train"]
    assert file.exists() and study.store.read == set(training_side["utt_id"])
    others = set(split.loc[split["role"] != "train", "speaker"])
    assert others and not others & set(training_side["speaker"])
    assert told.startswith(
        f"{training_side['speaker'].nunique()} speakers of"
        f" {', '.join(sorted(task.train['corpus']))} ({len(training_side)} "
    )


def test_held_out_utterances_are_a_tenth_of_each_speaker_and_do_not_train(
    rows, tmp_path, monkeypatch
):
    seen = {}
    real = SpeakerLearner.__init__

    def note(self, train, valid, config):
        seen.update(train=train.rows, valid=valid.rows, scale=train.scale, valid_scale=valid.scale)
        real(self, train, valid, config)

    monkeypatch.setattr(SpeakerLearner, "__init__", note)
    # 20 utterances of each of two speakers
    many = pd.concat([rows, corpus("dd", 2, each=4)], ignore_index=True)
    pretrain(many, Features(many), CONFIG, tmp_path, progress=False)
    assert set(seen["train"]["utt_id"]) | set(seen["valid"]["utt_id"]) == set(many["utt_id"])
    assert not set(seen["train"]["utt_id"]) & set(seen["valid"]["utt_id"])
    assert (
        set(seen["valid"]["emotion"])
        == set(seen["train"]["emotion"])
        == set(many["corpus"] + "/" + many["speaker"])
    )
    counts = seen["valid"].groupby("emotion").size()
    assert (counts[counts.index.str.startswith("dd/")] == 2).all() and (
        counts[~counts.index.str.startswith("dd/")] == 1
    ).all()
    assert seen["scale"] is seen["valid_scale"]


def test_speakers_of_the_same_name_in_two_corpora_are_two_and_the_lonely_and_unknown_are_left_out(
    rows, tmp_path
):
    some = pd.concat(
        [corpus("aa", 2), corpus("bb", 2), corpus("cc", 1).iloc[:1]], ignore_index=True
    )
    some = pd.concat([some, corpus("dd", 1).assign(speaker="")], ignore_index=True)
    _, told = pretrain(some, Features(some), CONFIG, tmp_path, progress=False)
    assert told.startswith("4 speakers of aa, bb (20 utterances, 6 updates; ")


def test_a_manifest_without_emotions_will_do_as_of_voxceleb(rows, tmp_path):
    plain = rows.assign(
        emotion="",
        emotion_raw="",
        corpus="voxceleb",
        utt_id=[f"voxceleb/{i}" for i in range(len(rows))],
    )
    file, told = pretrain(plain, Features(plain), CONFIG, tmp_path, progress=False)
    assert file.exists() and "speakers of voxceleb" in told


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_the_weights_start_a_network_in_all_layers_but_the_head(rows, tmp_path, norm):
    file, _ = pretrain(
        rows, Features(rows), dataclasses.replace(CONFIG, norm=norm), tmp_path, progress=False
    )
    kept = load_file(file)
    torch.manual_seed(1)
    net = network("resnet18", 12, 5, norm=norm, width=8)
    head = net.head.weight.detach().clone()
    told = starting_weights.load("speakers", net, file)
    assert (
        told.startswith("speakers: sha256 ")
        and torch.equal(net.head.weight, head)
        and kept["head.weight"].shape[0] == 21
    )
    for name, value in net.state_dict().items():
        assert name.startswith("head.") or torch.equal(value, kept[name]), name
    if norm == "batch":
        assert not torch.equal(kept["bn1.running_mean"], torch.zeros(8))


def test_a_second_call_loads_and_other_settings_or_speech_do_not(rows, tmp_path, monkeypatch):
    first, told = pretrain(rows, Features(rows), CONFIG, tmp_path, progress=False)
    with monkeypatch.context() as patched:
        patched.setattr(SpeakerLearner, "step", lambda *_: pytest.fail("trained again"))
        assert pretrain(rows, Features(rows), CONFIG, tmp_path, progress=False) == (first, told)
    files = {
        first,
        pretrain(
            rows, Features(rows), dataclasses.replace(CONFIG, seed=1), tmp_path, progress=False
        )[0],
        pretrain(
            rows[rows["corpus"] != "aa"].reset_index(drop=True),
            Features(rows),
            CONFIG,
            tmp_path,
            progress=False,
        )[0],
    }
    assert len(files) == 3


def test_an_interrupted_pretraining_goes_on_bit_for_bit(rows, tmp_path, monkeypatch):
    whole, _ = pretrain(rows, Features(rows), CONFIG, tmp_path / "whole", progress=False)
    monkeypatch.setitem(training.train.__kwdefaults__, "save_seconds", 0.0)
    real = SpeakerLearner.step

    def stop(self, i):
        if i == 3:
            raise Interrupted("stopped")
        return real(self, i)

    with monkeypatch.context() as patched:
        patched.setattr(SpeakerLearner, "step", stop)
        with pytest.raises(Interrupted):
            pretrain(rows, Features(rows), CONFIG, tmp_path / "stopped", progress=False)
    steps = []
    monkeypatch.setattr(SpeakerLearner, "step", lambda self, i: (steps.append(i), real(self, i))[1])
    again, _ = pretrain(rows, Features(rows), CONFIG, tmp_path / "stopped", progress=False)
    assert steps == [3, 4, 5] and again.read_bytes() == whole.read_bytes()


def test_it_learns_speakers_it_can_tell_apart(rows, tmp_path):
    """Far above the 1 in 21 of chance on utterances that did not train."""
    _, told = pretrain(
        rows,
        Features(rows),
        dataclasses.replace(CONFIG, steps=60, batch=32),
        tmp_path,
        progress=False,
    )
    assert int(told.split("; ")[1].split(" ")[0]) > 60


def test_what_cannot_be_is_one_sentence(rows, tmp_path):
    with pytest.raises(SettingError, match=r"1 speaker\(s\) with two utterances"):
        pretrain(
            rows[rows["speaker"].eq("s0") & rows["corpus"].eq("aa")],
            Features(rows),
            CONFIG,
            tmp_path,
        )
    with pytest.raises(SettingError, match="learning_rate"):
        pretrain(rows, Features(rows), dataclasses.replace(CONFIG, learning_rate=3.0), tmp_path)
    vectors = Features(rows)
    vectors.pooled = True
    with pytest.raises(SettingError, match="pretraining on speakers needs frames"):
        pretrain(rows, vectors, CONFIG, tmp_path)
