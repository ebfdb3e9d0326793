"""The small study of each room, from start to end, and what it leaves."""

import hashlib
import sys

from repo import REPO

# where the tests of a study lie: one of them has `small_study(root)`, the study from start to end
STUDIES = {
    "contract": "learning",
    "baselines": "methods/baselines",
    "maml": "methods/maml",
    "emofsl": "methods/emofsl",
    "da_mldg": "methods/da_mldg",
    "alexnet": "methods/alexnet",
}
RESULTS = ("predictions.csv", "metrics.json", "config.json", "split.csv", "steps.csv")


def module_of(study):
    """The name of the test module with the small study, which then can be imported."""
    folder = REPO / "tests" / STUDIES[study]
    found = [path for path in folder.glob("*.py") if "def small_study(" in path.read_text()]
    assert len(found) == 1, f"one small study in {folder}"
    sys.path.insert(0, str(folder))
    return found[0].stem


def results(root):
    """{folder/file: hash} of all finished runs and trained weights."""
    found = {}
    for mark in root.glob("*/*/*/DONE"):
        for name in (*RESULTS, "model.safetensors"):
            path = mark.parent / name
            if path.exists():
                key = str(path.relative_to(root))
                found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
