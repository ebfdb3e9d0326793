"""A transfer study whose encoder learns: the same draws as frozen, the encoder written back."""

import dataclasses

import numpy as np
import pytest
import torch
from kept_again import first_of
from notebook_runs import loaded
from test_emofsl_layers import CONFIG, LABELS
from tiny_encoders import KINDS, save

from colab_utils.corpora.audio import load_audio
from colab_utils.features.encoders.embeddings import SpeechEncoder
from colab_utils.features.store.extract import extract
from colab_utils.learning import kept
from colab_utils.methods.emofsl.emofsl import metric_loss
from colab_utils.methods.emofsl.layers.tuning import fine_tune_layers
from colab_utils.methods.emofsl.retrieval.embeddings import embeddings
from colab_utils.methods.emofsl.transfers import Transfers, keep_encoder
from colab_utils.protocols.published import load_protocol
from colab_utils.results.metrics import recompute
from colab_utils.settings import SettingError

ONE_LAYER = dataclasses.replace(CONFIG, tune_layers=1)
BTL = {"methods": ["BTL"], "decisions": ["head"], "pictures": False}


def transfers_of(speech, root, kind="wav2vec2", **feature_settings):
    """Transfers whose own front end is a tiny encoder."""
    checkpoint = root / "encoder"
    if not checkpoint.exists():
        save(checkpoint, kind)
    protocol = load_protocol("emofsl")
    own = {"features": str(checkpoint), "feature_settings": feature_settings}
    return Transfers(protocol, speech[0], root, **own, progress=False)


@pytest.fixture(scope="module")
def whole(speech, tmp_path_factory):
    """A study of two layers, its runs, and the folder of both."""
    root = tmp_path_factory.mktemp("whole")
    study = transfers_of(speech, root).study("aa", "bb", "", LABELS, tune_layers=2)
    return study, study.compare(CONFIG, pictures=False), root


@pytest.mark.slow
def test_what_takes_the_encoder_as_it_comes_is_kept_with_its_folder(whole):
    study, runs, root = whole
    run = runs["recommended", CONFIG.shots]
    folder = study.keep(run)
    model = kept.open_model(folder)
    wanted = first_of(run)
    rows = study.rows.set_index("utt_id", drop=False).loc[wanted["utt_id"]]
    waves = [load_audio(file) for file in rows["file"]]
    found = dict(zip(rows["utt_id"], model.features({16000: waves}), strict=True))
    scores = model.scores(found, rows[["utt_id", "corpus", "speaker"]])
    columns = [f"p_{label}" for label in model.labels]
    assert np.allclose(scores, wanted[columns], atol=1e-5)
    with pytest.raises(kept.ModelError, match="hold the encoder, too"):
        study.keep(runs["source only", CONFIG.shots])
    (root / "encoder").rename(root / "moved")
    with pytest.raises(kept.ModelError, match="where nothing is now"):
        kept.open_model(folder)
    assert kept.open_model(folder, checkpoint=str(root / "moved")).labels == model.labels
    (root / "moved").rename(root / "encoder")


@pytest.mark.slow
def test_a_study_with_layers_runs_on_the_same_draws_as_a_frozen_one(speech, whole):
    _, runs, root = whole
    for (name, _), run in runs.items():
        assert run.metrics == recompute(run.path)
        learns = name == "source only" or "," in name
        assert ("the encoder's last layers learn, too: 2" in run.metrics["notes"]) == learns, name
    frozen = transfers_of(speech, root).study("aa", "bb", "", LABELS)
    config = dataclasses.replace(CONFIG, tune_layers=0)
    plain = frozen.compare(config, **{**BTL, "baselines": ["nearest prototype"]})
    scores = {}
    for name in ("BTL, head", "nearest prototype"):
        both = [one[name, 2] for one in (runs, plain)]
        mine, other = (one.split.query("role == 'support'").reset_index(drop=True) for one in both)
        assert mine.equals(other)
        scores[name] = [one.predictions.filter(like="p_").to_numpy() for one in both]
    # the baselines see the encoder as it comes, either way
    one, other = scores["nearest prototype"]
    assert np.abs(one - other).max() < 1e-3
    assert not np.array_equal(*scores["BTL, head"])


@pytest.mark.slow
def test_a_second_call_computes_nothing(speech, whole, capsys):
    _, runs, root = whole
    again = transfers_of(speech, root).study("aa", "bb", "", LABELS, tune_layers=2)
    capsys.readouterr()
    again.compare(CONFIG, pictures=False)
    assert loaded(capsys.readouterr().out) == len(runs) == 13


@pytest.mark.slow
def test_predictions_are_those_of_the_stages_done_by_hand(whole):
    study, runs, _ = whole
    run = runs["EMOFSL, head", 2]
    config, fold = dataclasses.replace(CONFIG, method="EMOFSL"), study.folds[1]
    learner, data = study.source_of(config, fold), study.data(config)
    draw = data.draws(config, fold)[1]
    asked, y = data.numbers(fold, "test"), torch.arange(3).repeat_interleave(2)
    support = data.inputs(draw.ravel())
    tuned = fine_tune_layers(learner.module, support, y, config, metric_loss(config, LABELS))
    with torch.no_grad():
        logits = [tuned(*data.inputs(np.array([number])))[0] for number in asked]
    table = run.predictions.query("fold == @fold and draw == 1").set_index("utt_id")
    mine = table.loc[study.rows["utt_id"].iloc[asked], [f"p_{label}" for label in LABELS]]
    assert np.allclose(mine, torch.softmax(torch.cat(logits), dim=1), atol=1e-4)


@pytest.mark.slow
def test_embeddings_move_and_a_loss_of_ones_own_counts(whole):
    study, runs, _ = whole
    found = embeddings(study, CONFIG)
    assert found.before.shape == found.after.shape
    assert np.abs(found.after - found.before).max() > 1e-3

    def still(embedding, y):
        return embedding.sum(dim=(1, 2)) * 0

    own = study.compare(CONFIG, **BTL, baselines=[], own={"still": still})
    assert (
        own["still, head", 2].predictions["pred"].equals(runs["BTL, head", 2].predictions["pred"])
    )


@pytest.mark.slow
def test_another_pooling_of_the_same_frames_is_another_model_and_another_run(speech, tmp_path):
    found = []
    for pooling in ("mean", "mean-std"):
        transfers = transfers_of(speech, tmp_path, pooling=pooling)
        study = transfers.study("aa", "bb", "", LABELS, tune_layers=1)
        found.append(study.compare(ONE_LAYER, **BTL, baselines=["logistic regression"]))
    assert all(found[0][name].path != found[1][name].path for name in found[0])
    assert len(list((tmp_path / "trained" / "emofsl").iterdir())) == 2


def test_the_source_is_trained_without_a_look_at_the_target(speech, tmp_path):
    study = transfers_of(speech, tmp_path).study("aa", "bb", "", LABELS, tune_layers=1)
    read, padded = set(), study.store.padded

    def watched(ids, *more):
        read.update(ids)
        return padded(ids, *more)

    study.store.padded = watched
    study.train_source(ONE_LAYER)
    assert read and all(one.startswith("aa/") for one in read)


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_tuned_encoder_is_written_in_the_hubs_format_and_read_back(
    speech,
    tmp_path,
    kind,
    capsys,
):
    transfers = transfers_of(speech, tmp_path, kind, pooling="mean")
    study = transfers.study("aa", "bb", "", LABELS, tune_layers=1)
    keep_encoder(study, ONE_LAYER, tmp_path)
    folder = tmp_path / "encoders" / study.name
    assert str(folder) in capsys.readouterr().out
    model = KINDS[kind][1]
    old, new = (model.from_pretrained(one).state_dict() for one in (tmp_path / "encoder", folder))
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    last = {name for name in moved if name.startswith("encoder.layers.2.")}
    if kind.endswith("stable"):
        last |= {"encoder.layer_norm.weight", "encoder.layer_norm.bias"}
    assert moved and moved <= last
    module = study.source_of(ONE_LAYER).module
    numbers = np.arange(len(study.rows))
    data = study.data(ONE_LAYER)
    (expected,) = data.through(lambda *inputs: (module.pooled(*inputs),), numbers)
    spec = SpeechEncoder(checkpoint=str(folder), pooling="mean")
    tuned = extract(speech[0], spec, tmp_path / "features", progress=False)
    assert np.abs(tuned.matrix(study.rows["utt_id"]) - expected.numpy()).max() < 1e-4


def test_layers_below_an_inner_one_are_tuned_and_written_where_they_belong(speech, tmp_path):
    study = transfers_of(speech, tmp_path, layer=2).study("aa", "bb", "", LABELS, tune_layers=1)
    folder = study.save_encoder(ONE_LAYER, tmp_path / "after")
    model = KINDS["wav2vec2"][1]
    old, new = (model.from_pretrained(one).state_dict() for one in (tmp_path / "encoder", folder))
    moved = [name for name in old if not torch.equal(old[name], new[name])]
    assert moved and all(name.startswith("encoder.layers.1.") for name in moved), moved


@pytest.mark.parametrize(
    ("features", "feature_settings", "layers", "config", "told"),
    [
        ("logmel", {}, 2, {}, "logmel has no transformer layers"),
        ("", {}, 9, {}, "9 layers below"),
        ("", {"layer": "all"}, 1, {}, "of one layer"),
        ("", {"pooling": "frames"}, 1, {"tune_layers": 1}, "one vector an utterance"),
        ("", {}, 1, {"tune_layers": 2}, "tune_layers = 2, but this study"),
        ("", {}, 0, {"tune_layers": 2}, "no layers that could learn"),
        ("", {}, 2, {"tune": "head", "method": "BTL"}, "tune_layers = 0"),
    ],
)
def test_settings_that_cannot_be_are_one_sentence(
    speech,
    tmp_path,
    features,
    feature_settings,
    layers,
    config,
    told,
):
    transfers = transfers_of(speech, tmp_path, **feature_settings)
    with pytest.raises(SettingError, match=told) as found:
        study = transfers.study("aa", "bb", features, LABELS, tune_layers=layers)
        study.compare(dataclasses.replace(CONFIG, **config), methods=["BTL"])
    assert "\n" not in str(found.value)


def test_a_study_of_all_layers_learns_their_weights(speech, tmp_path):
    study = transfers_of(speech, tmp_path, layer="all").study("aa", "bb", "", LABELS)
    config = dataclasses.replace(CONFIG, tune_layers=0)
    runs = study.compare(config, **BTL, baselines=[])
    assert study.layers == 4 and study.source_of(config).module.layer_weights.std() > 1e-3
    notes = runs["BTL, head", 2].metrics["notes"]
    assert any("4 layers of the encoder" in note for note in notes)
