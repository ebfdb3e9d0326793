"""A wrong parameter of a notebook is one sentence that says what to do: the last line shown."""

import pytest
from notebook_runs import embedded_parts, run

pytestmark = pytest.mark.slow

WRONG = [
    ("01_feature_extraction", ["CORPORA=emodb"], "has no parameter CORPORA (did you mean CORPUS?)"),
    ("01_feature_extraction", ["CORPUS=emodb"], "where is emodb? Set AUDIO to its folder"),
    (
        "02_maml_training",
        ["ITERATIONS=2", "TASKS=10", "SHOTS=25", "QUERIES=30"],
        "fewer shots or queries",
    ),
    ("03_emofsl_finetuning", ["TARGET=synthetic-studio"], "choose two different corpora"),
    ("04_da_mldg", ["SETTINGS={'norm': 'batch'}"], "norm = 'batch' with the mlp"),
    ("05_alexnet_spectrogram", ["TEST_ID=nobody", "VAL_ID=f1"], "test_id = 'nobody': no such"),
    ("06_compare_methods", ["WORDS=nothing"], "no run's name holds 'nothing'"),
    ("07_your_voice", ["MODEL=nobody"], "MODEL = 'nobody': there is no such model"),
    ("08_sweep", ["TASKS=['emodb']"], "task 'emodb': with da_mldg a task is written like"),
    ("08_sweep", ["METHODS=['magic']"], "no cell is left: see above"),
]


@pytest.mark.parametrize(("notebook", "parameters", "sentence"), WRONG)
def test_a_wrong_setting_is_one_sentence(
    notebook, parameters, sentence, embedded_workspace, tmp_path
):
    embedded_parts(tmp_path, embedded_workspace, "corpora", "features", "runs")
    done = run(f"{notebook}.ipynb", tmp_path, *parameters)
    assert done.returncode != 0
    assert sentence in done.stderr.splitlines()[-1]
