"""Real small runs of two methods, and what can happen to a run folder after it was made."""

import os
import shutil

import pandas as pd
from one_file_method import SoftmaxConfig, SoftmaxStudy
from toy_predictions import predictions
from toy_store import Features, toy_corpus

from colab_utils import files
from colab_utils.csv_files import write_csv
from colab_utils.learning.study import Tested
from colab_utils.methods.baselines import BaselineConfig, BaselineStudy
from colab_utils.protocols import folds
from colab_utils.results.runs import open_run

LABELS = ["anger", "fear", "sadness"]


def make_runs(root):
    """A finished run of each of two methods, of the same utterances; their folders."""
    rows = toy_corpus("aa", LABELS, 6, 3)
    split = folds.make_split(rows, folds.grouped_folds(rows, 3, 0), 0, 1)
    store = Features(rows, LABELS, spread=0.7)
    softmax = SoftmaxStudy("toy", rows, split, store, LABELS, root, progress=False)
    baselines = BaselineStudy(rows, store, LABELS, root, split=split, progress=False)
    tested = {
        softmax: Tested("softmax", SoftmaxConfig(steps=5)),
        baselines: Tested("logistic", BaselineConfig()),
    }
    made = [study.evaluate([one], pictures=False) for study, one in tested.items()]
    return [run.path for runs in made for run in runs.values()]


def _another(folder, number):
    """A finished run like the one in `folder`, of other settings, where those of a run lie."""
    config = files.read_json(folder / "config.json")
    config["settings"]["number"] = number
    name = f"{folder.name[:-13]}-{number}-{files.short_hash(config)}"
    copy = shutil.copytree(folder, folder.with_name(name))
    files.write_json(copy / "config.json", config)
    return copy


def _vouch(folder, *more):
    """A DONE that matches whatever lies in the folder now."""
    names = ("predictions.csv", "metrics.json", *more)
    files.write_json(folder / "DONE", {name: files.file_sha256(folder / name) for name in names})
    return folder


def _json(folder, name, change):
    """Change the content of a JSON file."""
    content = files.read_json(folder / name)
    change(content)
    files.write_json(folder / name, content)
    return folder


def _text(folder, name, text):
    files.write_text(folder / name, text)
    return folder


def _garbage(folder, name):
    (folder / name).write_bytes(bytes(range(256)) * 4)
    return folder


def _metrics(folder, **changed):
    return _vouch(_json(folder, "metrics.json", lambda metrics: metrics.update(changed)))


def without_method(folder):
    return _json(folder, "config.json", lambda config: config.pop("method"))


def edited_config(folder):
    return _json(folder, "config.json", lambda config: config["settings"].update(seed=7))


def renamed(folder):
    return folder.rename(folder.with_name(f"{folder.name} - Copy"))


def twin(folder):
    """Another folder of the same settings beside the run, which stays a finished one."""
    copy = folder.with_name(f"copy-of-{folder.name}")
    return shutil.copytree(folder, copy)


def moved(folder):
    other = folder.parent.parent / f"other-{folder.parent.name}"
    other.mkdir(exist_ok=True)
    return folder.rename(other / folder.name)


def lies_too_high(folder):
    return folder.rename(folder.parent.parent / folder.name)


def done_outside(folder):
    secret = folder.parent.parent.parent / "secret.txt"
    secret.write_text("x")
    _vouch(folder)
    marks = {"../../../secret.txt": files.file_sha256(secret)}
    return _json(folder, "DONE", lambda done: done.update(marks))


def done_absent(folder):
    return _json(folder, "DONE", lambda done: done.update({"steps.csv": "0" * 64}))


def no_predictions(folder):
    table = pd.read_csv(folder / "predictions.csv", dtype=str)
    write_csv(folder / "predictions.csv", table.head(0))
    return _vouch(folder)


def edited_predictions(folder):
    table = (folder / "predictions.csv").read_text()
    return _text(folder, "predictions.csv", table.replace("anger", "fear", 1))


def other_predictions(folder):
    """Edited, with a DONE that was made to match."""
    table = pd.read_csv(folder / "predictions.csv", dtype=str)
    write_csv(folder / "predictions.csv", table.assign(pred=LABELS[0]))
    return _vouch(folder)


def huge_seed(folder):
    table = pd.read_csv(folder / "predictions.csv", dtype=str)
    write_csv(folder / "predictions.csv", table.assign(seed="9" * 30))
    return _vouch(folder)


def foreign_predictions(folder):
    return _vouch(_text(folder, "predictions.csv", "a,b\n1,2\n"))


def binary_predictions(folder):
    return _vouch(_garbage(folder, "predictions.csv"))


def without(name):
    def remove(folder):
        (folder / name).unlink()
        return folder

    return remove


def other_split(folder):
    table = pd.read_csv(folder / "split.csv", dtype=str)
    write_csv(folder / "split.csv", table.assign(role="train"))
    return folder


def emptied(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    return folder


def a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("not a folder")
    return folder


def nowhere(folder):
    """A link to itself, which the system refuses to open even for root."""
    shutil.rmtree(folder)
    folder.symlink_to(folder.name)
    return folder


def unreadable(folder):
    """A folder in the place of config.json: it cannot be read, even by root."""
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    return folder


# what happens to a finished run: (how, a word by which its problem is told)
KINDS = {
    "config without method": (without_method, "config.json"),
    "config a list": (lambda folder: _text(folder, "config.json", "[1]"), "config.json"),
    "config a number": (lambda folder: _text(folder, "config.json", "7"), "config.json"),
    "config torn": (lambda folder: _text(folder, "config.json", '{"a'), "config.json"),
    "config binary": (lambda folder: _garbage(folder, "config.json"), "config.json"),
    "config too deep": (lambda folder: _text(folder, "config.json", "[" * 99999), "config.json"),
    "config unreadable": (unreadable, "config.json"),
    "config edited": (edited_config, "edited"),
    "renamed": (renamed, "copied, renamed or edited"),
    "copied": (twin, "copy"),
    "moved": (moved, "copied, renamed or edited"),
    "lies too high": (lies_too_high, "copied, renamed or edited"),
    "DONE empty": (lambda folder: _text(folder, "DONE", "{}"), "DONE"),
    "DONE a list": (lambda folder: _text(folder, "DONE", "[]"), "DONE"),
    "DONE binary": (lambda folder: _garbage(folder, "DONE"), "DONE"),
    "DONE outside": (done_outside, "secret.txt"),
    "DONE of absent files": (done_absent, "steps.csv"),
    "predictions without rows": (no_predictions, "no rows"),
    "predictions edited": (edited_predictions, "predictions.csv"),
    "predictions edited, DONE too": (other_predictions, "does not follow"),
    "predictions foreign": (foreign_predictions, "predictions.csv"),
    "predictions binary": (binary_predictions, "predictions.csv"),
    "predictions with a number too large": (huge_seed, "predictions.csv"),
    "metrics edited": (
        lambda folder: _json(folder, "metrics.json", lambda metrics: metrics.update(uar=0.123)),
        "metrics.json",
    ),
    "metrics missing": (without("metrics.json"), "metrics.json"),
    "metrics a list": (lambda folder: _vouch(_text(folder, "metrics.json", "[]")), "metrics.json"),
    "metrics lack a name": (lambda folder: _metrics(folder, macro_f1=None), "macro_f1"),
    "metrics of text": (lambda folder: _metrics(folder, uar="0.9"), "uar"),
    "metrics with half an interval": (lambda folder: _metrics(folder, uar_ci95=[0.1]), "uar_ci95"),
    "labels of another run": (lambda folder: _metrics(folder, labels=["joy"]), "does not follow"),
    "split missing": (without("split.csv"), "split.csv"),
    "split of another run": (other_split, "split.csv"),
    "not finished": (without("DONE"), "not finished"),
    "nothing inside": (emptied, "config.json"),
    "a file": (a_file, "a file"),
    "a link to itself": (nowhere, "symbolic links"),
}


def tamper(root):
    """Let each of KINDS happen to a run of each of two methods below `root`.

    Returns {tampered path: word of its problem} and the folders that nothing happened to.
    """
    whole = make_runs(root)
    told = {}
    for made in list(whole):
        for number, (how, word) in enumerate(KINDS.values()):
            folder = _another(made, number)
            tampered = how(folder)
            told[tampered] = word
            if os.path.exists(folder) and tampered != folder:
                whole.append(folder)
    return told, whole


XSS = '"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


def nasty_runs(root):
    """Two finished runs with tags in all their texts, and folders with tags in their names."""
    labels = [XSS, "<svg onload=window.hacked=1>", "joy & $x^$"]
    tag = XSS.replace("/", "")
    for seed, method in enumerate((f"{XSS} method", "other")):
        texts = {"corpus": XSS, "method": method, "rule": XSS}
        data = predictions(labels, n=90, n_speakers=5, seed=seed, **texts)
        data["speaker"] = XSS + data["speaker"]
        split = data[["seed", "fold", "draw", "task", "utt_id", "speaker"]].assign(role="test")
        facts = {"task": XSS, "preset": XSS, "labels": labels, XSS: XSS}
        run = open_run(root, method, "name", BaselineConfig(), facts, split)
        about = {"speaker_independence": XSS, "notes": [XSS, f"transductive: {XSS}"]}
        run.finish(data, labels, **about)
        run.mark_done()
        run.path.rename(run.path.with_name(f"{tag}{run.path.name[-13:]}"))
    for name, config in ((tag, f'["{XSS}"]'), (f"x {tag}", '{"method": "<script>"}')):
        files.write_text(root / "runs" / tag / name / "config.json", config)
    no_utf8 = os.fsencode(root / "runs" / "other") + b"/\xfc-000000000001"
    os.makedirs(no_utf8)
