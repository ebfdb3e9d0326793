"""A real corpus that the suite does not know, by its table alone, in every notebook and place."""

import json

import pandas as pd
import pytest
import soundfile
from browser import (
    notebook_page,
    press,
    run_all,
    run_panel,
    shipped,
    shots_folder,
    workspace,
)
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


EMODB = {"W": "anger", "F": "happiness", "N": "neutral", "T": "sadness"}  # by the sixth letter
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
        ["SOURCE=bangla+savee", "TARGET=emovo", *FEW],
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
    assert bool(speakers) == tested and speakers <= set(range(17, 35))  # one fold of two: 17
    assert "bangla" in (workspace / "index.html").read_text()


@pytest.mark.long
def test_a_corpus_of_ones_own_is_the_target_of_03_in_a_browser(tmp_path, bangla, real_corpora):
    """Its name stands in the figure; the slider moves and Run answers."""
    own, _ = bangla
    work, environment = workspace(tmp_path / "out", real_corpora)
    more = [own, "SOURCE = 'savee'", "TARGET = 'bangla'", f"AUDIO = {str(real_corpora)!r}"]
    more += ["FEATURES = 'logmel'", "COMPARED = [1]"]
    notebook = shipped("03_emofsl_finetuning.ipynb", "\n".join(more))
    shots = shots_folder(tmp_path)
    with notebook_page(tmp_path, notebook, environment) as page:
        run_all(page, seconds=590)
        panel = page.locator(".suite-panel")
        before = run_panel(page)
        page.locator(".suite-output").last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "own-03-before.png")
        # shots 5 -> 3
        press(panel.locator(".ui-slider-handle, .noUi-handle").first, "ArrowLeft", 2)
        run_panel(page, before, seconds=120)
        page.locator(".suite-output").last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "own-03-after.png")
        assert not page.errors, page.errors
    assert list(work.glob("runs/emofsl/savee-bangla-*3shot*/DONE"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("notebook", "parameters"),
    [
        pytest.param(
            "02_maml_training",
            ["TRAIN=['emodb', 'savee']", "TEST=['renamed']", "SHOTS=1", *EPISODES],
            marks=pytest.mark.long,
        ),
        ("03_emofsl_finetuning", ["SOURCE=emodb", "TARGET=renamed", *FEW]),
        pytest.param(
            "04_da_mldg",
            ["CORPORA=['emodb', 'renamed', 'savee']", "TASKS=['renamed']", *QUICK],
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_renamed_copy_is_never_learnt_from_and_tested(
    notebook, parameters, real_corpora, tmp_path
):
    """Four of EmoDB's speakers under other names of files and people, as the target of EmoDB."""
    audio, files = tmp_path / "copies", 0
    for number, file in enumerate(sorted((real_corpora / "emodb").rglob("*.flac"))):
        emotion = EMODB.get(file.stem[5])
        if emotion and file.stem[:2] in ("03", "08", "09", "10"):
            samples, rate = soundfile.read(file, dtype="int16")
            other = audio / emotion / f"p{file.stem[:2]}x{number}.wav"
            other.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(other, samples, rate)
            files += 1
    own = {"renamed": {"audio": str(audio), "speaker_pattern": "/(p..)x"}}
    given = [f"OWN={own}", f"AUDIO={real_corpora}", *parameters]
    done = run(f"{notebook}.ipynb", tmp_path / "out", *given)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    made = list((tmp_path / "out").glob("runs/*/*/copies.csv"))
    assert made
    for table in made:
        copies = pd.read_csv(table)
        tested = copies["role"].isin(["test", "query"])
        assert copies.loc[tested, "utt_id"].str.startswith("renamed/").all()
        assert not copies.loc[tested, "left_out"].any()
        assert copies.loc[~tested, "utt_id"].str.startswith("emodb/").all()
        assert copies.loc[~tested, "left_out"].all()
        metrics = json.loads((table.parent / "metrics.json").read_text())
        told = [note for note in metrics["notes"] if note.startswith("equal recordings: ")]
        gone = copies.loc[~tested, "utt_id"].nunique()
        assert len(told) == 1 and told[0].startswith(f"equal recordings: {gone} utterances")
        assert gone == files
