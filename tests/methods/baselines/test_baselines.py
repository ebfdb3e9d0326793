"""Baselines as a study: the same as by hand, folds kept over a kill, and real speech in range."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from toy_store import InMemory, cross_corpus_split, toy_corpus

from colab_utils.corpora.manifest import ManifestError
from colab_utils.corpora.scan import scan
from colab_utils.features import front_end
from colab_utils.features.store.extract import extract
from colab_utils.features.store.views import NORMALISATIONS
from colab_utils.learning import study as contract
from colab_utils.methods.baselines import study
from colab_utils.methods.baselines.settings import (
    CLASSIFIERS,
    BaselineConfig,
)
from colab_utils.methods.baselines.study import BaselineError, BaselineStudy
from colab_utils.protocols import folds
from colab_utils.protocols.folds import LeakError
from colab_utils.results import folders, metrics
from colab_utils.settings import SettingError

EMOTIONS = ["anger", "neutral", "sadness"]
LOSO = BaselineConfig(folds="leave-one-speaker-out", normalisation="none")
RULES = {
    "none": "inductive",
    "corpus": "transductive: normalised by corpus",
    "speaker": "transductive: normalised by speaker",
}


@pytest.fixture(autouse=True)
def drawn(monkeypatch):
    """The runs whose confusion matrix was asked for; drawing itself is done in one test."""
    asked = []

    def note(run):
        asked.append((run.path, run.done))

    monkeypatch.setattr(contract, "save_confusion_matrix", note)
    return asked


def corpus(per_class=4, separation=1.5, offset=3.0, seed=0, name="toy"):
    """Six speakers: emotions are Gaussian clouds, each speaker's moved by an offset of its own."""
    manifest = toy_corpus(name, EMOTIONS, 6, per_class)
    rng = np.random.default_rng(seed)
    means = {emotion: rng.normal(0, separation, 5) for emotion in EMOTIONS}
    own = {speaker: rng.normal(0, offset, 5) for speaker in sorted(set(manifest["speaker"]))}
    values = {}
    for row in manifest.itertuples():
        vector = means[row.emotion] + own[row.speaker] + rng.normal(0, 1, 5)
        values[row.utt_id] = vector[None].astype(np.float32)
    return manifest, InMemory(values)


def run(tmp_path, config=LOSO, data=None, **options):
    manifest, store = data or corpus()
    emotions = options.pop("emotions", EMOTIONS)
    return BaselineStudy(manifest, store, emotions, tmp_path, progress=False, **options).run(config)


def small_study(root):
    """From start to end, for a test that kills it."""
    manifest, store = corpus()
    study = BaselineStudy(manifest, store, EMOTIONS, root, progress=False)
    for classifier in ("logistic", "mlp"):
        config = dataclasses.replace(LOSO, classifier=classifier, epochs=20, n_seeds=2)
        study.run(config, pictures=False)


# --- what a run is --------------------------------------------------------------------------------


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_every_baseline_runs_and_says_what_it_is(tmp_path, classifier, normalisation, drawn):
    config = dataclasses.replace(LOSO, classifier=classifier, normalisation=normalisation, epochs=1)
    done = run(tmp_path, config)
    table, found = done.predictions, done.metrics
    assert done.done and len(table) == 72 and set(table["method"]) == {classifier}
    assert set(table["rule"]) == {RULES[normalisation]}
    notes = " ".join(found["notes"])
    assert ("transductive" in notes) == (normalisation != "none")
    assert ("not calibrated" in notes) == (classifier in ("nearest-mean", "linear-svm"))
    assert found["speaker_independence"] == "independent"
    assert found["labels"] == EMOTIONS and found["n_speakers"] == 6
    assert drawn == [(done.path, True)]
    stored = json.loads((done.path / "config.json").read_text())
    assert stored["features"] == "0123456789ab" and stored["version"] == BaselineStudy.VERSION
    assert stored["settings"]["classifier"] == classifier
    assert stored["contract"] == contract.CONTRACT
    assert stored["protocol"] == "leave-one-speaker-out folds" and stored["task"] == "toy"
    valid = {"valid": ["toy"]} if classifier == "mlp" else {}
    assert stored["corpora"] == {"test": ["toy"], "train": ["toy"]} | valid


@pytest.mark.slow
def test_the_confusion_matrix_is_drawn(tmp_path, monkeypatch):
    monkeypatch.undo()
    done = run(tmp_path)
    counts = pd.read_csv(done.path / "confusion_matrix.csv", index_col=0)
    assert counts.to_numpy().tolist() == done.metrics["confusion"]
    assert list(counts.columns) == done.metrics["labels"]
    for suffix in ("png", "pdf", "svg"):
        assert (done.path / f"confusion_matrix.{suffix}").stat().st_size > 1000


def test_a_run_equals_the_same_work_by_hand(tmp_path):
    manifest, store = corpus(separation=1.0)
    x = store.matrix(manifest["utt_id"]).astype(float)
    hits = pd.Series(index=manifest.index, dtype=object)
    for speaker in manifest["speaker"].unique():
        test = (manifest["speaker"] == speaker).to_numpy()
        scaler = StandardScaler().fit(x[~test])
        model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000)
        model.fit(scaler.transform(x[~test]), manifest["emotion"][~test])
        hits[test] = model.predict(scaler.transform(x[test]))
    done = run(tmp_path, data=(manifest, store))
    predicted = done.predictions.set_index("utt_id")["pred"].loc[manifest["utt_id"]]
    assert list(predicted) == list(hits)
    expected = balanced_accuracy_score(manifest["emotion"], hits)
    assert done.metrics["uar"] == pytest.approx(expected) and expected < 1


@pytest.mark.slow
def test_what_a_notebook_compares(tmp_path):
    manifest, store = corpus(offset=8.0)
    study = BaselineStudy(manifest, store, EMOTIONS, tmp_path, progress=False)
    found = study.compare(LOSO)
    assert list(found) == ["majority class", "speaker", "none"]
    assert list(study.table(found).index) == list(found)
    rates = {name: one.metrics["uar"] for name, one in found.items()}
    assert rates["speaker"] > rates["none"] + 0.1, "speakers differ much here"
    nobody = BaselineStudy(manifest.assign(speaker=""), store, EMOTIONS, tmp_path, progress=False)
    assert list(nobody.compare(LOSO)) == ["majority class", "none"]


def test_same_settings_compute_nothing_again_and_others_do(tmp_path, monkeypatch, capsys):
    first = run(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(BaselineStudy, "predict", lambda *a: pytest.fail("computed again"))
        assert run(tmp_path).path == first.path and "done before" in capsys.readouterr().out
    assert run(tmp_path, dataclasses.replace(LOSO, C=0.2)).path != first.path


@pytest.mark.parametrize("classifier", ["logistic", pytest.param("mlp", marks=pytest.mark.slow)])
def test_stopped_in_the_middle_it_keeps_its_folds_and_ends_the_same(
    tmp_path, monkeypatch, classifier
):
    config = dataclasses.replace(LOSO, classifier=classifier, epochs=1, n_seeds=2)
    whole = run(tmp_path / "whole", config)
    made, predict = [], BaselineStudy.predict

    def failing(self, learner, tested, fold):
        if len(made) == 4:
            raise KeyboardInterrupt
        return noting(self, learner, tested, fold)

    def noting(self, learner, tested, fold):
        made.append((tested.config.seed, fold))
        return predict(self, learner, tested, fold)

    monkeypatch.setattr(BaselineStudy, "predict", failing)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", config)
    monkeypatch.setattr(BaselineStudy, "predict", noting)
    again = run(tmp_path / "stopped", config)
    assert len(made) == 12 and len(set(made)) == 12
    for name in ("predictions.csv", "metrics.json", "config.json", "split.csv"):
        assert (again.path / name).read_bytes() == (whole.path / name).read_bytes()
    assert again.path.name == whole.path.name and metrics.recompute(again.path) == whole.metrics


def test_presets_are_named_in_the_run(tmp_path):
    svm = BaselineConfig.from_preset("linear-svm", folds="leave-one-speaker-out", C=0.01)
    found = run(tmp_path, svm)
    assert found.metrics["preset"] == "linear-svm" and found.config["changed"] == {"C": 0.01}
    assert run(tmp_path).config["changed"] == {"normalisation": "none"}
    assert BaselineConfig.from_preset("default") == BaselineConfig()
    assert set(folders.runs_table(tmp_path)["method"]) == {"baselines"}


# --- the perceptron -------------------------------------------------------------------------------


def test_the_mlp_selects_on_training_speakers_and_depends_on_the_seed(tmp_path):
    config = dataclasses.replace(LOSO, classifier="mlp", epochs=2, n_seeds=2, n_valid_speakers=2)
    done = run(tmp_path, config)
    for (_, fold), rows in done.split.groupby(["seed", "fold"]):
        who = rows.groupby("role")["speaker"].agg(set)
        assert len(who["valid"]) == 2 and who["test"] == {fold}
        assert not who["valid"] & (who["test"] | who["train"])
    table = done.predictions
    assert done.metrics["seeds"] == [0, 1]
    assert len(list(tmp_path.glob("trained/baselines/*/model.safetensors"))) == 12
    assert not list(tmp_path.rglob("*.pt"))
    assert not np.allclose(*(table.loc[table["seed"] == seed, "p_anger"] for seed in (0, 1)))


def test_the_mlp_needs_speakers_to_select_on_as_many_as_were_asked_for(tmp_path):
    manifest, store = corpus()
    split = folds.make_split(manifest, folds.leave_one_speaker_out(manifest))
    config = dataclasses.replace(LOSO, classifier="mlp", epochs=1)
    with pytest.raises(BaselineError, match="the split has none"):
        run(tmp_path, config, (manifest, store), split=split)
    study = BaselineStudy(manifest, store, EMOTIONS, tmp_path, progress=False)
    for number in (1, 3):
        one = study.run(dataclasses.replace(config, n_valid_speakers=number))
        valid = one.split[one.split["role"] == "valid"]
        assert set(valid.groupby("fold")["speaker"].nunique()) == {number}


# --- features, corpora and speakers ---------------------------------------------------------------


def test_frames_are_pooled_over_time_and_it_is_said(tmp_path):
    manifest, store = corpus()
    rng = np.random.default_rng(3)
    frames, vectors = {}, {}
    for utt_id, value in store.values.items():
        clip = (value + rng.normal(0, 0.1, (rng.integers(2, 9), 5))).astype(np.float32)
        frames[utt_id] = clip
        vectors[utt_id] = np.concatenate([clip.mean(axis=0), clip.std(axis=0)])[None]
    done = run(tmp_path / "frames", data=(manifest, InMemory(frames, pooled=False)))
    assert any("pooled" in note for note in done.metrics["notes"])
    same = run(tmp_path / "vectors", data=(manifest, InMemory(vectors)))
    pd.testing.assert_frame_equal(done.predictions, same.predictions)


def test_cross_corpus_split_is_used_as_given(tmp_path):
    (one, store), (other, more) = (corpus(seed=0, name=name) for name in ("a", "b"))
    manifest = pd.concat([one, other], ignore_index=True)
    data = manifest, InMemory(store.values | more.values)
    done = run(tmp_path, data=data, split=cross_corpus_split(manifest, "b"))
    assert set(done.predictions["corpus"]) == set(done.predictions["fold"]) == {"b"}
    assert done.metrics["n"] == 72 and done.path.name.startswith("a+b-toy-logistic-none-")


def test_an_overlap_is_refused_or_stamped(tmp_path):
    manifest, store = corpus()
    table = manifest[["utt_id", "speaker", "corpus"]].assign(fold=np.arange(len(manifest)) % 2)
    split = folds.make_split(manifest, table, allow_speaker_overlap=True)
    with pytest.raises(LeakError, match="toy/s0"):
        run(tmp_path, LOSO, (manifest, store), split=split)
    done = run(tmp_path, LOSO, (manifest, store), split=split, allow_speaker_overlap=True)
    assert done.metrics["speaker_independence"] == "overlap allowed"


def test_unknown_speakers_run_and_are_stamped(tmp_path, capsys):
    manifest, store = corpus(per_class=6)
    data = manifest.assign(speaker=""), store
    done = run(tmp_path, data=data)
    assert "unknown" in capsys.readouterr().out
    assert done.metrics["speaker_independence"] == "unknown"
    assert done.metrics["uar_ci95"] is None
    assert any("speakers unknown: no interval" in note for note in done.metrics["notes"])
    config = dataclasses.replace(LOSO, normalisation="speaker")
    done = run(tmp_path, config, data)
    assert "108 utterance(s) of unknown speakers by" in done.metrics["notes"][0]


def test_what_cannot_be_run_is_said(tmp_path, capsys):
    manifest, store = corpus()
    with pytest.raises(ManifestError, match="sadness"):
        run(tmp_path, emotions=["anger", "neutral"])
    with pytest.raises(BaselineError, match="no utterance of the manifest has features"):
        run(tmp_path, data=(manifest, InMemory({"x": np.zeros((1, 5))})))
    with pytest.raises(BaselineError, match="'toy'.*'leave-one-speaker-out'"):
        run(tmp_path, BaselineConfig(folds="frozen"))
    with pytest.raises(SettingError, match="classifier = 'forest'"):
        run(tmp_path, BaselineConfig(classifier="forest"))
    with pytest.raises(SettingError, match="no preset 'best'"):
        BaselineConfig.from_preset("best")
    del store.values[manifest["utt_id"][0]]
    assert run(tmp_path, data=(manifest, store)).metrics["n"] == 71
    assert "1 utterance(s) have no features" in capsys.readouterr().out


# --- folds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speakers", "film", "expected"),
    [
        ("emodb/03 emodb/08 emodb/09", "", "frozen"),
        ("emodb/03 emodb/08 emodb/99", "", "leave-one-speaker-out"),
        ("toy/1 toy/2", "", "leave-one-speaker-out"),
        ("emofilm/1 emofilm/2", "one", "grouped"),
        ("synthetic-room/ synthetic-room/", "", "leave-one-speaker-out"),
        ("emodb/03 savee/DC", "", "frozen"),
        ("emodb/03 savee/DC toy/1", "", "leave-one-speaker-out"),
    ],
)
def test_default_folds_are_those_that_can_be_made(speakers, film, expected):
    pairs = [one.split("/") for one in speakers.split(" ")]
    manifest = pd.DataFrame(pairs, columns=["corpus", "speaker"]).assign(film=film)
    manifest["utt_id"] = manifest["corpus"] + "/" + manifest.index.astype(str)
    assert study.default_folds(manifest) == expected


def test_dubbed_films_are_never_on_both_sides(tmp_path):
    manifest, store = corpus()
    manifest["film"] = ["f" + str(int(speaker[1]) // 2) for speaker in manifest["speaker"]]
    with pytest.raises(LeakError, match="film.*toy/f0, toy/f1, toy/f2"):
        run(tmp_path, data=(manifest, store))
    assert study.default_folds(manifest) == "grouped"
    config = dataclasses.replace(LOSO, folds="auto", n_folds=3)
    tested = run(tmp_path, config, (manifest, store)).split.query("role == 'test'")
    together = {frozenset(part) for _, part in tested.groupby("fold")["speaker"]}
    assert together == {frozenset({f"toy/s{n}", f"toy/s{n + 1}"}) for n in (0, 2, 4)}
    by_hand = folds.make_split(manifest.assign(film=""), folds.leave_one_speaker_out(manifest))
    with pytest.raises(LeakError, match="film"):
        run(tmp_path, data=(manifest, store), split=by_hand)


# --- real speech ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def emodb(real_corpora, request):
    """All 535 clips of EmoDB and their eGeMAPS functionals, kept in pytest's cache."""
    pytest.importorskip("opensmile", reason="the egemaps extra is not installed")
    folder = request.config.cache.mkdir("emodb-egemaps")
    found = scan("emodb", real_corpora / "emodb", cache=folder / "scan.csv")
    manifest = found.manifest
    return manifest, extract(manifest, front_end("egemaps"), folder, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("normalisation", ["none", "speaker"])
def test_emodb_is_where_it_should_be(emodb, tmp_path, normalisation):
    """Leave one speaker out, 7 emotions, against a pipeline of numpy and scikit-learn."""
    manifest, store = emodb
    emotions = sorted(set(manifest["emotion"]))
    config = BaselineConfig.from_preset("linear-svm", normalisation=normalisation)
    done = run(tmp_path, config, emodb, emotions=emotions)
    assert done.metrics["n"] == 535 and done.metrics["n_speakers"] == done.metrics["n_folds"] == 10
    x = store.matrix(manifest["utt_id"]).astype(float)
    speakers = manifest["speaker"].to_numpy()
    if normalisation == "speaker":
        whole = x.mean(0)
        means = np.zeros_like(x)
        for speaker in set(speakers):
            mine = speakers == speaker
            share = mine.sum() / (mine.sum() + 10)
            means[mine] = share * x[mine].mean(0) + (1 - share) * whole
        x = (x - means) / x.std(0)
    hits = np.empty(535, dtype=object)
    for speaker in set(speakers):
        test = speakers == speaker
        scaler = StandardScaler().fit(x[~test])
        model = LinearSVC(C=0.001, class_weight="balanced", max_iter=10000, random_state=0)
        model.fit(scaler.transform(x[~test]), manifest["emotion"][~test])
        hits[test] = model.predict(scaler.transform(x[test]))
    expected = balanced_accuracy_score(manifest["emotion"], list(hits))
    assert done.metrics["uar"] == pytest.approx(expected, abs=0.005)
    low, high = {"none": (0.62, 0.68), "speaker": (0.70, 0.75)}[normalisation]
    assert low < expected < high and done.metrics["preset"] == "linear-svm"
