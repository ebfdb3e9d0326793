"""methods.txt says of a run what its files say, no more, and what who repeats it has to know."""

import json
import re

import pandas as pd
from finished_run import BOTH, finished
from toy_predictions import predictions

from colab_utils.features import front_end
from colab_utils.panel.methods import methods_text
from colab_utils.results.runs import load_run


def test_what_was_done_and_what_came_out(tmp_path):
    runs = {"weak": finished(tmp_path), "good": finished(tmp_path, "other", 0.9)}
    common, *own = methods_text(runs).split("\n\n")
    for sentence in (
        "Test corpora: EmoDB (Berlin database of emotional speech).",
        "Training corpora: SAVEE (Surrey audio-visual expressed emotion).",
        "Tested: 120 utterances, 12 speakers.",
        "The 4 emotions: anger, happiness, neutral, sadness.",
        "Of the corpora's labels: boredom is left out, excited counts as happiness.",
        "No tested speaker was heard in training.",
        "Seeds: 0.",
    ):
        assert common.count(sentence) == 1
    for (name, run), told in zip(runs.items(), own, strict=True):
        stored = json.loads((run.path / "metrics.json").read_text())
        low, high = (f"{100 * limit:.1f}" for limit in stored["uar_ci95"])
        assert told.startswith(f"{name}: UAR {100 * stored['uar']:.1f} % (95")
        assert f"interval over speakers {low} to {high})" in told
        for rate in ("wa", "chance", "majority"):
            word = {"wa": "WA"}.get(rate, rate)
            assert f"{word} {100 * stored[rate]:.1f} %" in told


def test_settings_are_those_that_had_a_part(tmp_path):
    linear = finished(tmp_path, settings={"C": 0.5, "normalisation": "none"})
    told = re.search(r"Settings: (.*?)\. UAR", methods_text({"linear": linear}))[1].split(", ")
    assert "C = 0.5" in told and "normalisation = none" in told
    assert not re.search("dropout|hidden|epochs|prior_clips", " ".join(told))
    (linear.path / "settings.csv").unlink()  # a run of an earlier version
    told = methods_text({"linear": load_run(linear.path)})
    assert "Settings (each method uses those that concern it)" in told and "dropout = 0.3" in told


def test_how_features_were_made_normalised_and_scaled(tmp_path):
    told = methods_text({"by speaker": finished(tmp_path, settings={"prior_clips": 4.0})})
    for name in ("acoustic", "moonshine"):
        assert f"{name}, {front_end(name).dim} numbers an utterance: " in told
    assert "a share of n / (n + 4) in it" in told
    assert "scaled to mean 0 and standard deviation 1 over the training utterances." in told
    assert "normalised" not in methods_text(
        {"none": finished(tmp_path, "none", settings={"normalisation": "none"})}
    )
    other = json.loads(json.dumps(BOTH["parts"][0]))
    other["settings"]["n_mfcc"] = 6
    told = methods_text({"other": finished(tmp_path, "other", feature_spec=other)})
    assert "Features: acoustic (n_mfcc = 6): Functionals" in told
    vectors = {"name": "a+b.npz", "version": 1, "settings": {"dim": 3}, "parts": []}
    told = methods_text({"vectors": finished(tmp_path, "vectors", feature_spec=vectors)})
    assert "Features: a+b.npz (dim = 3)." in told


def test_how_many_trained_and_validated(tmp_path):
    run = finished(tmp_path)
    cells = {"0": (5, 2, "train"), "1": (1007, 3, "train"), "2": (4, 1, "valid")}
    parts = [run.split]
    for fold, (number, speakers, role) in cells.items():
        who = [f"savee/{place % speakers}" for place in range(number)]
        ids = [f"savee/{place}" for place in range(number)]
        about = {"seed": 0, "fold": fold, "draw": 0, "task": 0, "role": role}
        one = pd.DataFrame({"utt_id": ids, "speaker": who}).assign(**about)
        parts += [one, one.assign(draw=1)]  # in each draw of the support anew
    run.split = pd.concat(parts)
    told = methods_text({"one": run})
    assert "Training in each fold: 5 to 1,007 utterances, 2 to 3 speakers." in told
    assert "Validation: 4 utterances, 1 speaker." in told


def test_repetitions_and_the_interval(tmp_path):
    once = methods_text({"one": finished(tmp_path)})
    assert "predictions in all" not in once and "means over seeds" not in once
    assert once.count("delete-one jackknife") == 1
    several = finished(tmp_path, "several", table=predictions(draws=3, seeds=(4, 5)))
    told = methods_text({"one": several})
    assert "720 predictions in all: 2 seeds, 3 draws of the labelled examples." in told
    assert "Rates are means over seeds and draws" in told and "Seeds: 4, 5." in told
    few = predictions(n_speakers=3)
    assert "jackknife" not in methods_text({"few": finished(tmp_path, "few", table=few)})


def test_what_most_have_is_said_once(tmp_path):
    runs = {}
    for number in range(4):
        how = {"normalisation": "none" if number == 2 else "speaker"}
        runs[f"run {number}"] = finished(tmp_path, f"r{number}", 0.3 + number / 10, settings=how)
    _, most, *own = methods_text(runs).split("\n\n")
    assert most.startswith("All but run 2: Of each feature the mean of its speaker")
    assert most.endswith("Settings: normalisation = speaker, prior_clips = 10.0.")
    assert [told.partition(":")[0] for told in own] == list(runs)
    assert ["normalisation = none" in told for told in own] == [False, False, True, False]
    assert not [told for told in own if "mean of its speaker" in told]


def test_a_run_of_ones_own_corpus_and_without_facts(tmp_path):
    run = finished(tmp_path, corpora={"test": ["mine"]}, merge={}, changed={}, feature_spec={})
    (run.path / "environment.json").unlink()
    assert methods_text({"one": run}).startswith("Test corpora: mine. Tested: 120")


def test_conditions_in_words(tmp_path):
    heard = {"condition": "pink@20", "conditions": ["babble@10", "reverb"]}
    told = methods_text({"noisy": finished(tmp_path, model="net", **heard)})
    assert "Method: net, pink noise of 20 dB SNR, preset default." in told
    assert "one of: babble noise of 10 dB SNR, reverberation of 0.5 s." in told
    told = methods_text({"clean": finished(tmp_path, "c", condition="clean", conditions=[])})
    assert "clean recordings, preset" in told and "Copies of" not in told
    told = methods_text({"shots": finished(tmp_path, "k", condition="5-shot")})
    assert ", 5-shot, preset default." in told
