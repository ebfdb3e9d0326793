"""A kept model: the run's own scores in another process, and one sentence for what is no model."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from kept_again import first_of, largest_difference, scores_elsewhere

from colab_utils import corpora, features
from colab_utils.corpora.audio import load_audio
from colab_utils.learning import kept, recipe
from colab_utils.learning.kept.steps import Linear
from colab_utils.methods.baselines import BaselineConfig, BaselineStudy
from colab_utils.models.linear import LinearHead, linear_head

EMOTIONS = ["anger", "happiness", "sadness"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A few speakers of the embedded corpus, normalised by speaker."""
    root = tmp_path_factory.mktemp("kept")
    rows = corpora.open_corpora(["synthetic-studio"], "", root)
    rows = rows[rows["emotion"].isin(EMOTIONS) & (rows["speaker"] < "f4")]
    rows = rows.groupby(["speaker", "emotion"]).head(3).reset_index(drop=True)
    store = features.open_store(rows, "acoustic", root)
    return BaselineStudy(rows, store, EMOTIONS, root, progress=False)


@pytest.fixture(scope="module")
def run(study):
    config = BaselineConfig(normalisation="speaker", folds="leave-one-speaker-out")
    return study.run(config, pictures=False)


@pytest.fixture
def folder(study, run, tmp_path):
    """A copy of a kept model, to be spoilt."""
    made = study.keep(run)
    there = tmp_path / "model"
    there.mkdir()
    for file in made.iterdir():
        (there / file.name).write_bytes(file.read_bytes())
    return there


@pytest.mark.slow
def test_a_fresh_process_without_the_corpus_gives_the_scores_of_the_run(study, run, tmp_path):
    assert largest_difference(study, run) < 1e-9
    wanted = first_of(run)
    rows = study.rows.set_index("utt_id", drop=False).loc[wanted["utt_id"]]
    found = scores_elsewhere(study.keep(run), rows, tmp_path)
    columns = [f"p_{label}" for label in EMOTIONS]
    assert np.allclose(found, wanted[columns], atol=1e-6, rtol=0)


def test_a_card_says_on_whom_it_was_tested_and_what_it_is_not_for(folder, run):
    card = (folder / "MODEL_CARD.md").read_text()
    assert f"UAR {100 * run.metrics['uar']:.1f} %" in card and "Acted emotion is not felt" in card
    assert "synthetic-studio" in card and "Apache-2.0" in card and "Not to judge people" in card
    about = kept.open_model(folder).about
    assert about["run"] == run.path.name and about["metrics"]["uar"] == run.metrics["uar"]
    assert sum(one["speakers"] for one in about["tested_on"]) == 1


SPOILT = {
    "no model.json": (lambda f: (f / "model.json").unlink(), "holds no model.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "holds no model.safetensors"),
    "torn json": (lambda f: cut(f / "model.json"), "cannot be read"),
    "torn weights": (lambda f: cut(f / "model.safetensors"), "is torn, or not the one"),
    "newer": (lambda f: change(f, format=2, package="9.0"), "a newer version, colab_utils 9.0"),
    "older": (lambda f: change(f, format=0), "an older version"),
    "foreign": (lambda f: (f / "model.json").write_text("[1, 2]"), "something else than a kept"),
    "foreign json": (lambda f: (f / "model.json").write_text('{"format": "x"}'), "names no format"),
    "half": (lambda f: change(f, predictor={"kind": "magic"}), "does not describe a model"),
    "front end": (lambda f: change_front_end(f, version=99), "another one"),
    "no front end": (lambda f: change_front_end(f, name="acme"), "acme"),
    "settings": (lambda f: change_front_end(f, settings={"speed": 1}), "knows other settings"),
}


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def change(folder, **values):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_front_end(folder, **values):
    front_ends = json.loads((folder / "model.json").read_text())["front_ends"]
    change(folder, front_ends=[front_ends[0] | values])


@pytest.mark.parametrize("how", SPOILT)
def test_a_folder_that_is_no_model_of_this_version_is_one_sentence(folder, how):
    spoil, told = SPOILT[how]
    spoil(folder)
    with pytest.raises(kept.ModelError, match=told) as error:
        kept.open_model(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


def clips(study, model, number, **who):
    rows = study.rows.iloc[:number]
    waves = [load_audio(file) for file in rows["file"]]
    found = dict(zip(rows["utt_id"], model.features({16000: waves}), strict=True))
    new = {"corpus": "", "speaker": ""} | who
    return found, pd.DataFrame({"utt_id": rows["utt_id"], **new})


def test_new_recordings_are_normalised_by_themselves_from_ten_on(study, folder):
    model = kept.open_model(folder)
    found, rows = clips(study, model, kept.model.OWN_CORPUS)
    values = np.concatenate([found[name] for name in rows["utt_id"]]).astype(float)
    linear = Linear(*model.predictor.steps[0].weight.shape)
    linear.load_state_dict(model.predictor.steps[0].state_dict())

    def by_hand(normal):
        scaled = model.predictor.scale.applied(torch_of(normal.astype(np.float32)))
        return torch_softmax(linear(scaled))

    own = (values - values.mean(axis=0)) / values.std(axis=0)
    assert np.allclose(model.scores(found, rows), by_hand(own), atol=1e-6)
    assert "by their own mean and deviation" in model.how_normalised(rows)
    few, rest = rows[:-1], values[:-1]
    known = model.normalisation.known["synthetic-studio"]
    of_corpus = (rest - known.mean) / np.sqrt(known.variance)
    assert np.allclose(model.scores(found, few), by_hand(of_corpus), atol=1e-6)
    assert "fewer than 10, by the statistics of synthetic-studio" in model.how_normalised(few)
    mine = few.assign(speaker="me")
    share = len(few) / (len(few) + 10)
    mean = share * rest.mean(axis=0) + (1 - share) * known.mean
    of_speaker = (rest - mean) / np.sqrt(known.variance)
    assert np.allclose(model.scores(found, mine), by_hand(of_speaker), atol=1e-6)


def torch_of(values):
    import torch

    return torch.from_numpy(values)


def torch_softmax(logits):
    return logits.softmax(dim=1).numpy()


def test_a_few_labelled_clips_adapt_a_linear_model_by_the_recipe(study, folder):
    model = kept.open_model(folder)
    found, rows = clips(study, model, 6)
    emotions = list(study.rows["emotion"][:6])
    view = model._normalised(found, rows)
    x = model.predictor.scale.applied(torch_of(view.matrix(list(rows["utt_id"])))).double().numpy()
    y = np.array([EMOTIONS.index(one) for one in emotions])
    # the recipe by hand: the head of the clips about the model's, and a vote
    head, shots = model.predictor.steps[0].head, 6 / 3
    own = linear_head(x, y, 3, recipe.SUPPORT_PRECISION / 6, head)
    share = 1 / (1 + np.sqrt(shots))
    voted = share * head.logits(x) + (1 - share) / (1 + 1 / shots) * own.logits(x)
    adapted = model.adapted(found, rows, emotions)
    wanted = torch_softmax(torch_of(voted))
    assert isinstance(head, LinearHead)
    assert np.allclose(adapted.scores(found, rows), wanted, atol=1e-6)
    with pytest.raises(kept.ModelError, match="boredom: this model knows anger"):
        model.adapted(found, rows, ["boredom"] * 6)


def test_what_is_not_linear_is_not_adapted(study, run):
    config = dataclasses.replace(BaselineConfig(), classifier="nearest-mean")
    other = study.run(config, pictures=False)
    model = kept.open_model(study.keep(other, "nearest"))
    found, rows = clips(study, model, 3)
    with pytest.raises(kept.ModelError, match="adapt a linear model"):
        model.adapted(found, rows, EMOTIONS)
