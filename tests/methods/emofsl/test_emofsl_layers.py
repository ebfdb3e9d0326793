"""EMOFSL whose encoder learns: the same as frozen features where layers stand still, by hand where
they move, resumed, refused, written back.
"""

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_encoders import KINDS, hums, save

from colab_utils.features.encoders.embeddings import SpeechEncoder, load_upper_layers
from colab_utils.features.store.extract import extract
from colab_utils.learning.training import TrainingError, train
from colab_utils.methods.emofsl import emofsl
from colab_utils.methods.emofsl.emofsl import metric_loss, scale_of
from colab_utils.methods.emofsl.layers.network import EncoderNet, over_time
from colab_utils.methods.emofsl.layers.tuning import Frames, LayersLearner, fine_tune_layers
from colab_utils.methods.emofsl.network import EmofslNet
from colab_utils.methods.emofsl.retrieval import embeddings
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.transfers import Transfers
from colab_utils.protocols.published import load_protocol
from colab_utils.results.metrics import recompute
from colab_utils.settings import SettingError

LABELS = ["anger", "neutral", "sadness"]
CONFIG = EmofslConfig(
    shots=2,
    n_draws=2,
    epochs=5,
    source_epochs=4,
    source_patience=8,
    width=8,
    n_boot=20,
    learning_rate=0.01,
    source_rate=0.02,
    source_batch=8,
    source_loss_weight=0.0,
    layers_rate=3e-3,
    tune_layers=2,
)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Two corpora of hums, and a folder for checkpoints."""
    folder = tmp_path_factory.mktemp("hums")
    return (
        pd.concat([hums(folder), hums(folder, "bb", shift=1.3, seed=1)], ignore_index=True),
        folder,
    )


def network(speech, kind, pooling="mean-std", n_layers=2):
    manifest, folder = speech
    spec = SpeechEncoder(checkpoint=save(folder / kind, kind), pooling=pooling)
    frozen = extract(manifest, spec, folder / "features", progress=False)
    frames = Frames(
        extract(manifest, spec.below(n_layers), folder / "features", progress=False),
        manifest["utt_id"],
    )
    x = frozen.matrix(manifest["utt_id"])
    torch.manual_seed(0)
    net = EmofslNet(*scale_of(x), 3, width=8)
    return (
        EncoderNet(load_upper_layers(spec, n_layers), net, pooling),
        frames,
        torch.from_numpy(x),
        pd.Index(LABELS).get_indexer(manifest["emotion"]),
    )


@pytest.mark.parametrize("pooling", ["mean", "mean-std"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_before_anything_learns_the_network_sees_the_frozen_features(speech, kind, pooling):
    module, frames, x, _ = network(speech, kind, pooling)
    found = frames.through(module, np.arange(len(x)))
    for one, other in zip(found, module.net(x), strict=True):
        # standardised features are up to 1e3 times larger than those stored
        assert (one - other).abs().max() < 2e-3
    (seen,) = frames.through(
        lambda values, mask: (over_time(module.upper(values, mask), mask, pooling),),
        np.arange(len(x)),
    )
    assert (seen - x).abs().max() < 1e-4


def test_pooling_is_that_of_the_frames_alone_and_has_a_gradient_for_one_frame():
    torch.manual_seed(0)
    frames, mask = (
        torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True),
        torch.arange(5) < torch.tensor([[5], [3], [1]]),
    )
    found = over_time(frames, mask, "mean-std").detach().numpy()
    for row, length in enumerate((5, 3, 1)):
        clip = frames[row, :length].detach().numpy()
        assert np.allclose(found[row], [*clip.mean(0), *np.maximum(clip.std(0), 1e-5)])
    assert torch.autograd.gradcheck(lambda values: over_time(values, mask, "mean-std"), frames)


def test_layers_that_hardly_move_give_what_frozen_features_give(speech):
    module, frames, x, y = network(speech, "hubert")
    config = dataclasses.replace(CONFIG, layers_rate=1e-7, centre=0.5, learning_rate=1e-3)
    metric = metric_loss(config, LABELS)
    support, asked = np.array([0, 1, 4, 5, 8, 9]), np.arange(20, 40)
    classes = torch.as_tensor(y[support])
    parameters = emofsl.fine_tune(module.net, x[support][None], classes, config, metric)
    expected = emofsl.decide(parameters, x[asked], x[support][None], classes, config)
    tuned = fine_tune_layers(module, frames.inputs(support), classes, config, metric)
    logits, found = frames.through(tuned, asked)
    scores = emofsl.scores_of(
        logits[None], found[None], frames.through(tuned, support)[1][None], classes, config
    )
    assert all((scores[rule] - expected[rule]).abs().max() < 2e-3 for rule in expected)


def test_a_draw_is_updates_by_hand_and_leaves_the_source_model_as_it_was(speech):
    module, frames, _, y = network(speech, "wav2vec2")
    before = copy.deepcopy(module.state_dict())
    support = np.array([0, 1, 4, 5, 8, 9])
    classes, config = torch.as_tensor(y[support]), dataclasses.replace(CONFIG, decay=0.9, epochs=3)
    tuned = fine_tune_layers(
        module, frames.inputs(support), classes, config, metric_loss(config, LABELS)
    )
    mine = copy.deepcopy(module)
    slow = torch.optim.Adam(
        [one for one in mine.upper.parameters() if one.requires_grad], lr=config.layers_rate
    )
    fast = torch.optim.Adam(mine.net.parameters(), lr=config.learning_rate)
    for epoch in range(3):
        for optimiser, rate in ((slow, config.layers_rate), (fast, config.learning_rate)):
            optimiser.param_groups[0]["lr"] = rate * 0.9**epoch
            optimiser.zero_grad()
        logits, embedding = mine(*frames.inputs(support))
        loss = (
            torch.nn.functional.cross_entropy(logits, classes)
            + metric_loss(config, LABELS)(embedding[None], classes)[0]
        )
        loss.backward()
        slow.step()
        fast.step()
    there = mine.state_dict()
    assert all(
        torch.allclose(value, there[name], atol=1e-5)
        for name, value in tuned.state_dict().items()
        # its gradient is 0 but for rounding, which Adam makes moves of
        if "k_proj.bias" not in name
    )
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    moved = {
        name.split(".")[0]
        for name, value in tuned.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert moved == {"upper", "net"}


def test_the_order_of_the_support_does_not_matter(speech):
    module, frames, _, y = network(speech, "wav2vec2")
    config = dataclasses.replace(CONFIG, epochs=3, layers_rate=1e-3, learning_rate=1e-3)
    found = []
    for support in (np.array([0, 1, 4, 5, 8, 9]), np.array([9, 4, 1, 8, 0, 5])):
        tuned = fine_tune_layers(
            module,
            frames.inputs(support),
            torch.as_tensor(y[support]),
            config,
            metric_loss(config, LABELS),
        )
        found.append(frames.through(tuned, np.arange(30))[1])
    # Adam's first steps turn roundings of tiny gradients into moves
    assert (found[0] - found[1]).abs().max() < 1e-2 * found[0].abs().max()


def source_of(speech, kind="wav2vec2", config=CONFIG):
    module, frames, _, y = network(speech, kind, n_layers=config.tune_layers)
    speakers = speech[0]["speaker"].to_numpy()
    mine = (speech[0]["corpus"] == "aa").to_numpy()
    return LayersLearner(
        module,
        frames,
        y,
        np.flatnonzero(mine & (speakers != "s3")),
        np.flatnonzero(mine & (speakers == "s3")),
        config,
    )


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_source_training_moves_the_last_layers_and_lowers_the_loss(speech, tmp_path, kind):
    config = dataclasses.replace(CONFIG, tune_layers=1, source_epochs=15)
    learner = source_of(speech, kind, config)
    before = copy.deepcopy(learner.module.state_dict())
    history = train(learner, learner.steps, tmp_path, every=learner.steps_per_epoch, progress=False)
    losses = [record["loss"] for record in history.records]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5]) and history.best_score > 0.6
    still = [
        name
        for name, value in learner.module.named_parameters()
        if torch.equal(value, before[name])
    ]
    assert all("rel_attn_embed" in name for name in still), still


def test_an_interrupted_training_ends_like_an_uninterrupted_one(speech, tmp_path):
    class Killed(Exception):
        pass

    def stop(records):
        if len(records) == 5:
            raise Killed

    whole, first, again = (source_of(speech) for _ in range(3))
    train(whole, 8, tmp_path / "whole", every=1, progress=False, save_seconds=0)
    with pytest.raises(Killed):
        train(first, 8, tmp_path / "part", every=1, progress=False, save_seconds=0, on_record=stop)
    assert (
        train(again, 8, tmp_path / "part", every=1, progress=False, save_seconds=0).resumed_from
        == 4
    )
    assert all(
        torch.equal(value, again.module.state_dict()[name])
        for name, value in whole.module.state_dict().items()
    )


# --- the study
# --------------------------------------------------------------------------------------------------------------------------


def transfers_of(speech, root, **front_ends):
    checkpoint = save(root / "encoder")
    spec = SpeechEncoder(checkpoint=checkpoint, **front_ends)
    return Transfers(
        load_protocol("emofsl"), speech[0], root, front_ends={"tiny": spec}, progress=False
    )


def test_a_study_with_layers_runs_on_the_same_draws_and_is_not_computed_twice(
    speech, tmp_path, capsys
):
    study = transfers_of(speech, tmp_path).study("aa", "bb", "tiny", LABELS, tune_layers=2)
    runs = study.compare(CONFIG, shots=(1, 2), pictures=False)
    assert len(runs) == 2 * 10
    for (name, _), run in runs.items():
        assert run.metrics == recompute(run.path)
        learns = not name.startswith(("nearest", "logistic", "LDA"))
        assert ("the encoder's last layers learn, too: 2" in run.metrics["notes"]) == learns, name
    capsys.readouterr()
    again = transfers_of(speech, tmp_path).study("aa", "bb", "tiny", LABELS, tune_layers=2)
    again.compare(CONFIG, shots=(1, 2), pictures=False)
    assert capsys.readouterr().out.count("nothing is computed again") == 20
    frozen = transfers_of(speech, tmp_path).study("aa", "bb", "tiny", LABELS)
    plain = frozen.compare(dataclasses.replace(CONFIG, tune_layers=0), pictures=False)
    for name in ("EMOFSL, head", "logistic regression"):
        mine, other = (
            one[name, 2].split.query("role == 'support'").reset_index(drop=True)
            for one in (runs, plain)
        )
        assert mine.equals(other)
    one, other = (
        found["nearest prototype", 2].predictions.filter(like="p_").to_numpy()
        for found in (runs, plain)
    )
    # the baselines see the encoder as it comes, either way
    assert np.abs(one - other).max() < 1e-3
    assert (
        not runs["BTL, head", 2]
        .predictions.filter(like="p_")
        .equals(plain["BTL, head", 2].predictions.filter(like="p_"))
    )


def test_predictions_are_those_of_the_stages_done_by_hand(speech, tmp_path):
    study = transfers_of(speech, tmp_path).study("aa", "bb", "tiny", LABELS, tune_layers=2)
    run = study.compare(CONFIG, methods=["EMOFSL"], decisions=["head"], baselines=[])[
        "EMOFSL, head", 2
    ]
    config, fold = dataclasses.replace(CONFIG, method="EMOFSL"), study.folds[1]
    learner, draw = study.source_of(config, fold), study.draws(config, fold)[1]
    asked = study.numbers(fold, "test")
    tuned = fine_tune_layers(
        learner.module,
        study.frames.inputs(draw.ravel()),
        torch.arange(3).repeat_interleave(2),
        config,
        metric_loss(config, LABELS),
    )
    with torch.no_grad():
        logits = torch.cat([tuned(*study.frames.inputs(np.array([number])))[0] for number in asked])
    table = (
        run.predictions.query("fold == @fold and draw == 1")
        .set_index("utt_id")
        .loc[study.rows["utt_id"].iloc[asked]]
    )
    assert np.allclose(
        table[[f"p_{label}" for label in LABELS]], torch.softmax(logits, dim=1), atol=1e-4
    )


def test_another_pooling_of_the_same_frames_is_another_model_and_another_run(speech, tmp_path):
    found = []
    for pooling in ("mean", "mean-std"):
        study = transfers_of(speech, tmp_path, pooling=pooling).study(
            "aa", "bb", "tiny", LABELS, tune_layers=1
        )
        config = dataclasses.replace(CONFIG, tune_layers=1)
        found.append(
            study.compare(
                config,
                methods=["BTL"],
                decisions=["head"],
                baselines=["logistic regression"],
                pictures=False,
            )
        )
    assert all(found[0][name].path != found[1][name].path for name in found[0])
    assert len(list((tmp_path / "trained" / "emofsl").iterdir())) == 2


def test_the_source_is_trained_without_a_look_at_the_target(speech, tmp_path):
    study = transfers_of(speech, tmp_path).study("aa", "bb", "tiny", LABELS, tune_layers=1)
    read = set()
    padded = study.store.padded
    study.store.padded = lambda ids, *more: (read.update(ids), padded(ids, *more))[1]
    study.train_source(dataclasses.replace(CONFIG, tune_layers=1))
    assert read and all(one.startswith("aa/") for one in read)


def test_embeddings_move_and_a_loss_of_ones_own_counts(speech, tmp_path):
    study = transfers_of(speech, tmp_path).study("aa", "bb", "tiny", LABELS, tune_layers=2)
    found = embeddings(study, CONFIG)
    assert (
        found.before.shape == found.after.shape and np.abs(found.after - found.before).max() > 1e-3
    )
    own = study.compare(
        CONFIG,
        methods=["BTL"],
        decisions=["head"],
        baselines=[],
        own={"still": lambda embedding, y: embedding.sum(dim=(1, 2)) * 0},
    )
    assert own["still, head", 2].predictions["pred"].equals(own["BTL, head", 2].predictions["pred"])


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_tuned_encoder_is_written_in_the_hubs_format_and_read_back(speech, tmp_path, kind):
    manifest, config = speech[0], dataclasses.replace(CONFIG, tune_layers=1)
    spec = SpeechEncoder(checkpoint=save(tmp_path / "before", kind), pooling="mean")
    study = Transfers(
        load_protocol("emofsl"), manifest, tmp_path, front_ends={"tiny": spec}, progress=False
    ).study("aa", "bb", "tiny", LABELS, 1)
    folder = study.save_encoder(config, tmp_path / "after")
    old, new = (
        KINDS[kind][1].from_pretrained(one).state_dict() for one in (tmp_path / "before", folder)
    )
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    stable = (
        {"encoder.layer_norm.weight", "encoder.layer_norm.bias"}
        if kind.endswith("stable")
        else set()
    )
    assert moved and all(
        name.startswith("encoder.layers.2.") or name in stable for name in moved
    ), moved
    module = study.source_of(config).module
    (expected,) = study.frames.through(
        lambda values, mask: (over_time(module.upper(values, mask), mask, "mean"),),
        np.arange(len(study.rows)),
    )
    tuned = extract(
        manifest,
        dataclasses.replace(spec, checkpoint=str(folder)),
        tmp_path / "features",
        progress=False,
    )
    assert np.abs(tuned.matrix(study.rows["utt_id"]) - expected.numpy()).max() < 1e-4


def test_layers_below_an_inner_one_are_tuned_and_written_where_they_belong(speech, tmp_path):
    transfers = transfers_of(speech, tmp_path, layer=2)
    study = transfers.study("aa", "bb", "tiny", LABELS, tune_layers=1)
    folder = study.save_encoder(dataclasses.replace(CONFIG, tune_layers=1), tmp_path / "after")
    old, new = (
        KINDS["wav2vec2"][1].from_pretrained(one).state_dict()
        for one in (tmp_path / "encoder", folder)
    )
    moved = [name for name in old if not torch.equal(old[name], new[name])]
    assert moved and all(name.startswith("encoder.layers.1.") for name in moved), moved


@pytest.mark.parametrize(
    ("features", "front_ends", "layers", "config", "told"),
    [
        ("logmel", {}, 2, {}, "logmel has no transformer layers"),
        ("tiny", {}, 9, {}, "9 layers below"),
        ("tiny", {"layer": "all"}, 1, {}, "of one layer"),
        ("tiny", {"pooling": "frames"}, 1, {"tune_layers": 1}, "one vector an utterance"),
        ("tiny", {}, 1, {"tune_layers": 2}, "tune_layers = 2, but this study"),
        ("tiny", {}, 0, {"tune_layers": 2}, "no layers that could learn"),
        ("tiny", {}, 2, {"tune": "head", "method": "BTL"}, "tune_layers = 0"),
    ],
)
def test_settings_that_cannot_be_are_one_sentence(
    speech, tmp_path, features, front_ends, layers, config, told
):
    with pytest.raises(SettingError, match=told) as found:
        study = transfers_of(speech, tmp_path, **front_ends).study(
            "aa", "bb", features, LABELS, tune_layers=layers
        )
        study.compare(dataclasses.replace(CONFIG, **config), methods=["BTL"])
    assert "\n" not in str(found.value)


def test_layers_that_diverge_are_told(speech):
    module, frames, _, y = network(speech, "wav2vec2")
    support = np.array([0, 1, 4, 5, 8, 9])
    with torch.no_grad():
        module.net.head.weight[0, 0] = float("inf")
    with pytest.raises(TrainingError, match="lower learning_rate or layers_rate"):
        fine_tune_layers(module, frames.inputs(support), torch.as_tensor(y[support]), CONFIG, None)


# --- learned layer weights
# --------------------------------------------------------------------------------------------------------------


def test_layers_are_weighed_as_a_naive_loop_does_alone_and_for_many_draws():
    torch.manual_seed(0)
    mean, factor, values = torch.randn(12), torch.rand(12) + 0.5, torch.randn(5, 12)
    module = EmofslNet(mean, factor, 3, width=4, layers=3)
    with torch.no_grad():
        module.layer_weights.copy_(torch.tensor([0.3, -1.0, 2.0]))
    weights = torch.softmax(module.layer_weights, dim=0)
    expected = sum(weights[i] * ((values - mean) * factor)[:, 4 * i : 4 * i + 4] for i in range(3))
    assert torch.allclose(module.scaled(values), expected, atol=1e-6)
    parameters = {
        name: torch.stack([value, value + 0.1 * i])
        for i, (name, value) in enumerate(module.state_dict().items())
    }
    together = emofsl.forward(parameters, values)
    for draw in range(2):
        alone = emofsl.forward({name: value[draw] for name, value in parameters.items()}, values)
        assert all(
            torch.allclose(one[draw], other, atol=1e-5)
            for one, other in zip(together, alone, strict=True)
        )
    with pytest.raises(SettingError, match="so many layers"):
        EmofslNet(mean, factor, 3, layers=5)


def test_the_layer_that_tells_emotions_apart_gets_the_weight():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = rng.normal(size=(120, 3, 6)).astype(np.float32)
    x[:, 1, :3] += 2 * np.eye(3, dtype=np.float32)[y]
    config = EmofslConfig(source_epochs=40, source_rate=0.02, width=8, source_loss_weight=0.0)
    learner = emofsl.source_learner(
        x.reshape(120, 18), y, (x.reshape(120, 18)[:30], y[:30]), 3, config, layers=3
    )
    for i in range(learner.steps):
        learner.step(i)
    weights = torch.softmax(learner.module.layer_weights, dim=0)
    assert weights.argmax() == 1 and weights[1] > 0.5


def test_a_study_of_all_layers_learns_their_weights(speech, tmp_path):
    study = transfers_of(speech, tmp_path, layer="all").study("aa", "bb", "tiny", LABELS)
    config = dataclasses.replace(CONFIG, tune_layers=0)
    runs = study.compare(config, pictures=False)
    weights = study.layer_weights(config)
    assert weights.shape == (4,) and weights.sum() == pytest.approx(1) and np.ptp(weights) > 1e-3
    assert any(
        "4 layers of the encoder" in note for note in runs["EMOFSL, head", 2].metrics["notes"]
    )
    with pytest.raises(SettingError, match="holds one layer"):
        transfers_of(speech, tmp_path).study("aa", "bb", "tiny", LABELS).layer_weights(config)
