"""A kept model beside the run that it is of: the same scores of the same clips."""

import subprocess
import sys

import numpy as np
import pandas as pd
from safetensors.torch import load, save

from colab_utils.files import read_json
from colab_utils.results.runs import load_run

# what another process does: no manifest, no store, no study
ELSEWHERE = """
import sys
import numpy as np, pandas as pd
from colab_utils.corpora.audio import load_audio
from colab_utils.learning.kept import open_model
model = open_model(sys.argv[1])
table = pd.read_csv(sys.argv[2], keep_default_na=False)
waves = {rate: [load_audio(file, rate) for file in table["file"]] for rate in model.rates}
found = dict(zip(table["utt_id"], model.features(waves), strict=True))
np.save(sys.argv[3], model.scores(found, table[["utt_id", "corpus", "speaker"]]))
"""


def again(predictor):
    """The predictor as it comes out of its folder."""
    tensors = {name: value.contiguous() for name, value in predictor.tensors().items()}
    return type(predictor).made(predictor.labels, predictor.described(), load(save(tensors)))


def first_of(run):
    """The predictions of a run's first seed, fold, draw and episode."""
    table = run.predictions
    for column in ("seed", "fold", "draw", "task"):
        table = table[table[column] == table[column].min()]
    return table.drop_duplicates("utt_id")


def largest_difference(study, run):
    """Of the scores of a kept model and of the run, over the clips of its first fold."""
    tested = study.evaluated(run)
    fold = study.folds_of(tested)[0]
    learner = study.trained(tested, fold)[0]
    predictor, features = study.kept(learner, tested, fold)
    wanted = first_of(run)
    rows = study.rows.set_index("utt_id", drop=False).loc[wanted["utt_id"]]
    columns = [f"p_{label}" for label in predictor.labels]
    others = [f"p_{label}" for label in study.labels if label not in predictor.labels]
    assert not wanted[others].to_numpy().any(), "a label that it does not know"
    found = again(predictor).scores(features, rows.reset_index(drop=True))
    # in the other order, and one alone
    turned = again(predictor).scores(features, rows[::-1].reset_index(drop=True))
    one = predictor.scores(features, rows[:1])
    assert np.allclose(turned[::-1], found, atol=1e-6)
    assert np.allclose(one, found[:1], atol=1e-6)
    return np.abs(found - wanted[columns].to_numpy()).max()


def scores_elsewhere(folder, clips, scratch):
    """The scores of clips (utt_id, corpus, speaker, file) by a kept model in a fresh process."""
    table, found = scratch / "clips.csv", scratch / "scores.npy"
    clips.to_csv(table, index=False)
    command = [sys.executable, "-c", ELSEWHERE, folder, table, found]
    subprocess.run([str(part) for part in command], check=True, cwd=scratch)
    return np.load(found)


def check_kept_by_notebook(workspace, scratch):
    """The one model that a notebook kept of the embedded corpus gives the scores of its run."""
    (folder,) = workspace.glob("models/*")
    kept = read_json(folder / "model.json")
    (path,) = workspace.glob(f"runs/*/{kept['about']['run']}")
    wanted = first_of(load_run(path))
    files = []
    for utt_id in wanted["utt_id"]:
        corpus, name = utt_id.split("/", 1)
        files.append(workspace / "corpora/synthetic" / corpus.split("-")[1] / f"{name}.flac")
    clips = wanted[["utt_id", "corpus", "speaker"]].assign(file=files)
    columns = [f"p_{label}" for label in kept["labels"]]
    found = scores_elsewhere(folder, pd.DataFrame(clips), scratch)
    assert np.allclose(found, wanted[columns], atol=1e-6, rtol=0), np.abs(found - wanted[columns])
    assert "Acted emotion is not felt emotion" in (folder / "MODEL_CARD.md").read_text()
