"""A real corpus that the suite does not know, by its table alone, in every notebook and place."""

import json

import pytest
from notebook_runs import run


@pytest.fixture(scope="module")
def bangla(real_corpora, tmp_path_factory):
    """The parameter OWN, and a workspace that all places share."""
    table = real_corpora / "banglaser" / "labels.csv"
    if not table.exists():
        pytest.skip(f"no {table}")
    columns = {"wav": "file", "emotion": "emotion", "speaker": "speaker"}
    own = {"bangla": {"audio": str(table), **columns}}
    return f"OWN={own}", tmp_path_factory.mktemp("own")


FOUR = "EMOTIONS=['anger', 'happiness', 'neutral', 'sadness']"
FEW = ["FEATURES=logmel", "COMPARED=[1]", "SHOTS=1", "DRAWS=2"]
QUICK = ["SETTINGS={'steps': 40}", "ALGORITHMS=['erm']", "FEATURES=acoustic", FOUR]
EPISODES = ["ITERATIONS=10", "TASKS=20", "WAYS=4", "PROTOCOL=open_languages", "FEATURES=logmel"]
# notebook, parameters, whether the tested speakers are all of bangla
PLACES = {
    "the corpus of 01": ("01_feature_extraction", ["CORPUS=bangla", "FEATURES=logmel"], True),
    "learnt from in 02": (
        "02_maml_training",
        ["TRAIN=['bangla']", "TEST=['savee']", *EPISODES],
        False,
    ),
    "tested in 02": (
        "02_maml_training",
        ["TRAIN=['savee', 'emovo']", "TEST=['bangla']", *EPISODES],
        True,
    ),
    "the source of 03": (
        "03_emofsl_finetuning",
        ["SOURCE=bangla", "TARGET=emovo", *FEW],
        False,
    ),
    "the target of 03": ("03_emofsl_finetuning", ["SOURCE=savee", "TARGET=bangla", *FEW], True),
    "a domain of 04": ("04_da_mldg", ["CORPORA=['bangla', 'savee', 'emovo']", *QUICK], True),
    "the corpus of 05": (
        "05_alexnet_spectrogram",
        ["CORPUS=bangla", "NUM_EPOCHS=1", "EMOTIONS=['anger', 'sadness']", "STABILITY=0.0"],
        True,
    ),
}
LONG = {"the source of 03", "learnt from in 02", "the corpus of 01", "the corpus of 05"}


@pytest.mark.parametrize(
    "place",
    [pytest.param(place, marks=pytest.mark.long if place in LONG else ()) for place in PLACES],
)
@pytest.mark.slow
def test_a_corpus_of_ones_own_stands_wherever_a_corpus_may(place, bangla, real_corpora):
    own, workspace = bangla
    notebook, parameters, tested = PLACES[place]
    audio = [] if "CORPUS=bangla" in parameters else [f"AUDIO={real_corpora}"]
    before = set(workspace.glob("runs/*/*/DONE"))
    done = run(f"{notebook}.ipynb", workspace, own, *parameters, *audio)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    made = sorted(set(workspace.glob("runs/*/*/DONE")) - before)
    assert made
    speakers = set()
    for mark in made:
        config = json.loads((mark.parent / "config.json").read_text())
        assert "bangla" in str(config["corpora"]), mark
        metrics = json.loads((mark.parent / "metrics.json").read_text())
        assert metrics["speaker_independence"] == "independent"
        if "bangla" in config["corpora"]["test"]:
            speakers.add(metrics["n_speakers"])
    assert bool(speakers) == tested and speakers <= set(range(20, 35))
    assert "bangla" in (workspace / "index.html").read_text()
