"""Notebook 08, a sweep: without a browser, and what is there when it is run again."""

import pytest
from notebook_runs import embedded_parts, run

from colab_utils import ledger

pytestmark = pytest.mark.slow
SMALL = (
    "METHODS=['recommended', 'erm']",
    "TASKS=['synthetic-phone+synthetic-room -> synthetic-studio']",
    "SETTINGS={'steps': 50}",
)


def test_notebook_08_computes_once_chooses_by_validation_and_goes_on(embedded_workspace, tmp_path):
    embedded_parts(tmp_path, embedded_workspace, "corpora", "features")
    done = run("08_sweep.ipynb", tmp_path, *SMALL, "SAVE=True")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "differ in settings alone that their method does not look at" in done.stdout
    table = ledger.ledger(tmp_path, "sweep")
    assert set(table["state"]) == {"done"} and table["seconds"].gt(0).all()
    assert f"{len(table)} cells: {len(table)} done" in done.stdout
    assert set(table.loc[table["method"] == "erm", "settings"]) == {
        "learning_rate=0.0003",
        "learning_rate=0.003",
    }
    page = (tmp_path / "index.html").read_text()
    assert f"<b>Sweep sweep</b>: {len(table)} cells: {len(table)} done" in page
    assert (tmp_path / "downloads" / "08_sweep.zip").exists()

    times = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("runs/*/*/DONE"))]
    again = run("08_sweep.ipynb", tmp_path, *SMALL, "VALIDATE_ON=[]", "AGAINST=erm")
    assert again.returncode == 0, again.stdout + again.stderr
    assert times == [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("runs/*/*/DONE"))]


ROOM_TO_STREET = "synthetic-studio+synthetic-room -> synthetic-street"
TO_PHONE = "synthetic-studio -> synthetic-phone"


@pytest.mark.parametrize(
    "methods_of, task, methods, grid",
    [
        ("baselines", "synthetic-studio", ["logistic", "majority"], {"C": [0.01, 0.1]}),
        ("maml", ROOM_TO_STREET, ["nearest prototype", "recommended"], {"n_tasks": [20]}),
        ("emofsl", TO_PHONE, ["recommended", "BTL, head"], {"shots": [1, 5]}),
        ("alexnet", "synthetic-studio", ["alexnet_gap"], {"lr": [0.001]}),
    ],
)
def test_a_sweep_over_the_methods_of_any_notebook(
    embedded_workspace, tmp_path, methods_of, task, methods, grid
):
    embedded_parts(tmp_path, embedded_workspace, "corpora", "features")
    parameters = [f"METHODS_OF={methods_of}", f"TASKS={[task]}", f"METHODS={methods}"]
    settings = "{'num_epochs': 1}" if methods_of == "alexnet" else "{}"
    preset = "small" if methods_of == "alexnet" else "default"
    parameters += [f"GRID={grid}", "SEEDS=1", f"SETTINGS={settings}", f"PRESET={preset}"]
    done = run("08_sweep.ipynb", tmp_path, *parameters)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(ledger.ledger(tmp_path)["state"]) == {"done"}
