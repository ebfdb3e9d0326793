"""One recording under two names, in every room: never trained and tested, listed, counted, said."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import soundfile
from toy_store import Features, cross_corpus_split, toy_corpus

from colab_utils import corpora
from colab_utils.csv_files import read_csv
from colab_utils.learning.study import Study, Tested
from colab_utils.methods import maml
from colab_utils.methods.alexnet.features_file import FeaturesFile
from colab_utils.methods.alexnet.notebook import AlexnetStudy
from colab_utils.methods.alexnet.settings import AlexnetConfig
from colab_utils.methods.baselines.settings import BaselineConfig
from colab_utils.methods.baselines.study import BaselineStudy
from colab_utils.methods.da_mldg.settings import DomainConfig
from colab_utils.methods.da_mldg.study import DomainStudy
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.study import TransferStudy
from colab_utils.protocols.build import build_task
from colab_utils.protocols.domains import leave_one_out, with_tasks
from colab_utils.protocols.draws import pair_task
from colab_utils.protocols.folds import (
    SIDES,
    LeakError,
    grouped_folds,
    leave_one_speaker_out,
    make_split,
)
from colab_utils.protocols.published import load_protocol

LABELS = ["anger", "fear", "happiness", "sadness"]
LOGISTIC = BaselineConfig(classifier="logistic", normalisation="none")
EMOFSL = EmofslConfig(shots=1, n_draws=2, epochs=2, source_epochs=2, width=8)
ERM = DomainConfig(network="mlp", steps=4)
MAML = maml.MamlConfig(
    network="mlp", ways=4, shots=1, queries=2, iterations=2, valid_tasks=8, meta_batch=2
)
FEW = {"methods": ["BTL"], "decisions": ["head"], "baselines": ["source only"], "pictures": False}


def nothing_is_tested_that_was_learnt(run, rows):
    """The split of a run as it was written, by what can be heard."""
    heard = rows.set_index("utt_id")["audio_sha256"].replace("", np.nan)
    split = read_csv(run.path / "split.csv", dtype={"fold": str})
    split["heard"] = split["utt_id"].map(heard)
    split = split.dropna(subset=["heard"])
    tested = split[split["role"].isin(["test", "query"])]
    assert len(tested)
    for roles, columns in SIDES:
        learnt = split.loc[split["role"].isin(roles), [*columns, "heard"]]
        assert tested.merge(learnt.drop_duplicates()).empty


# --- the small inputs of people -------------------------------------------------------------------


def clips_of(folder, names, same):
    """The manifest of a user's CSV of hums; `same` names those that are another's recording."""
    lines = ["file,label,who"]
    for name in names:
        who, label, _ = name.split("_")
        rng = np.random.default_rng(names.index(same.get(name, name)))
        wave = (3000 * rng.normal(size=4000)).astype(np.int16)
        # as another container, which says the same samples
        ending = "flac" if name in same else "wav"
        soundfile.write(folder / f"{name}.{ending}", wave, 16000)
        lines.append(f"{name}.{ending},{label},{who}")
    (folder / "clips.csv").write_text("\n".join(lines))
    columns = {"wav": "file", "emotion": "label", "speaker": "who"}
    return corpora.from_csv(folder / "clips.csv", **columns).manifest


def test_copies_under_another_speaker_leave_the_training_and_the_result_says_so(tmp_path, capsys):
    names = [f"{who}_{e}_{n}" for who in "0123" for e in ("anger", "sadness") for n in range(3)]
    same = {"1_anger_0": "0_anger_0", "3_sadness_2": "2_sadness_1"}
    rows = clips_of(tmp_path, names, same)
    study = BaselineStudy(
        rows, Features(rows, LABELS), ["anger", "sadness"], tmp_path, progress=False
    )
    run = study.run(LOGISTIC, pictures=False)
    nothing_is_tested_that_was_learnt(run, rows)
    assert len(run.predictions) == len(names)
    trained = run.split[run.split["role"] == "train"]
    assert len(trained) == len(names) * 3 - 4
    metrics = run.metrics
    assert metrics["speaker_independence"] == "unknown"
    (note,) = [note for note in metrics["notes"] if "equal recordings" in note]
    assert "4 utterances" in note and note in capsys.readouterr().out
    listed = read_csv(run.path / "copies.csv")
    pairs = {f"own/{one}" for pair in same.items() for one in pair}
    assert set(listed["utt_id"]) == set(listed.loc[listed["left_out"], "utt_id"]) == pairs
    assert run.done
    # the same settings load the same run
    assert study.run(LOGISTIC, pictures=False).path == run.path


def test_a_speaker_who_is_a_copy_of_the_other_is_one_sentence(tmp_path):
    names = [f"{who}_{e}_{n}" for n in range(3) for e in ("anger", "sadness") for who in "AB"]
    rows = clips_of(tmp_path, names, {name: "A" + name[1:] for name in names if name[0] == "B"})
    study = BaselineStudy(
        rows, Features(rows, LABELS), ["anger", "sadness"], tmp_path, progress=False
    )
    with pytest.raises(LeakError, match="fold own/A: no utterance is left to train on") as caught:
        study.run(LOGISTIC, pictures=False)
    assert "\n" not in str(caught.value) and "own/A_anger_0" in str(caught.value)


def test_copies_of_one_speaker_change_no_number(tmp_path):
    """As in RAVDESS: a side holds both, so all are used, and nothing is said."""
    rows = toy_corpus("aa", LABELS, 4, 3).assign(audio_sha256="")
    with_copies = rows.copy()
    with_copies.loc[[0, 1], "audio_sha256"] = "x"
    runs = []
    for number, one in enumerate((rows, with_copies)):
        root = tmp_path / str(number)
        study = BaselineStudy(one, Features(rows, LABELS), LABELS, root, progress=False)
        runs.append(study.run(LOGISTIC, pictures=False))
    first, second = runs
    for name in ("predictions.csv", "metrics.json", "config.json", "split.csv"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes()
    assert first.path.name == second.path.name
    assert not (second.path / "copies.csv").exists()


def test_a_split_of_ones_own_making_is_refused(tmp_path):
    rows = toy_corpus("aa", LABELS, 4, 3)
    rows["audio_sha256"] = np.arange(len(rows)).astype(str)
    rows.loc[rows.index[-1], "audio_sha256"] = "0"
    split = make_split(rows, grouped_folds(rows, 4, 0), 0, 1)

    class Mine(Study):
        def sides(self, tested):
            return split

    study = Mine("mine", rows, None, Features(rows, LABELS), LABELS, tmp_path, progress=False)
    with pytest.raises(LeakError, match="equal recordings.*aa/0-anger-0.*without_copies"):
        study.evaluate([Tested("x", LOGISTIC)])


# --- a renamed copy of a corpus as its own target -------------------------------------------------


def renamed(rows, corpus="mine"):
    """The same recordings under other names of clips and speakers."""
    names = [f"{corpus}/clip{number:04}" for number in range(len(rows))]
    return rows.assign(corpus=corpus, utt_id=names, path=names, speaker="who" + rows["speaker"])


def toy_domains():
    """A corpus, its renamed copy, and another one."""
    parts = [toy_corpus("aa", LABELS, 5, 3), toy_corpus("cc", LABELS, 5, 3)]
    rows = pd.concat(parts, ignore_index=True)
    rows["audio_sha256"] = np.arange(len(rows)).astype(str)
    return pd.concat([rows, renamed(rows[rows["corpus"] == "aa"])], ignore_index=True)


def few_shot(rows, source, root):
    """Notebook 03's study of the copy as target."""
    protocol = load_protocol("emofsl")
    task = dataclasses.replace(pair_task(protocol, source, "mine", 5), emotions=tuple(LABELS))
    used, split = build_task(with_tasks(protocol, [task]), task.name, rows)
    study = TransferStudy(
        task.name, used, split, Features(used, LABELS), LABELS, root, progress=False
    )
    return used, study.compare(EMOFSL, **FEW)


def left_out_domain(rows, corpora, root):
    """Notebook 04's study of the copy as target."""
    protocol = load_protocol("da_mldg")
    task = dataclasses.replace(leave_one_out(protocol, corpora)["mine"], emotions=tuple(LABELS))
    used, split = build_task(with_tasks(protocol, [task]), task.name, rows, check_counts=False)
    study = DomainStudy(
        task.name, used, split, Features(used, LABELS), LABELS, root, progress=False
    )
    return used, study.compare(ERM, ["erm"], pictures=False)


def episodes_of(rows, root):
    """Notebook 02's study of the copy as the tested language."""
    used = rows[rows["emotion"].isin(LABELS)].reset_index(drop=True)
    split = cross_corpus_split(used, "mine", 2)
    study = maml.MamlStudy(
        "to-mine", used, split, Features(used, LABELS), LABELS, root, progress=False
    )
    episodes = study.episodes(MAML, n_tasks=10)
    return used, study.compare(MAML, episodes, {"MAML": MAML}, ["nearest prototype"])


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda rows, root: episodes_of(rows, root), id="02"),
        pytest.param(lambda rows, root: few_shot(rows, "aa", root), id="03"),
        pytest.param(lambda rows, root: left_out_domain(rows, ["aa", "cc", "mine"], root), id="04"),
    ],
)
def test_a_renamed_corpus_is_no_source_of_its_copy(tmp_path, make):
    used, runs = make(toy_domains(), tmp_path)
    for run in runs.values():
        nothing_is_tested_that_was_learnt(run, used)
        (note,) = [note for note in run.metrics["notes"] if "equal recordings" in note]
        assert f"{(used['corpus'] == 'aa').sum()} utterances" in note
        assert run.metrics["speaker_independence"] == "independent"


def test_where_the_copy_is_all_that_could_train_one_sentence_says_so(tmp_path):
    rows = toy_domains()
    with pytest.raises(LeakError, match="fold mine: no utterance is left to train on"):
        left_out_domain(rows, ["aa", "mine"], tmp_path)
    with pytest.raises(LeakError, match="fold mine: no utterance is left to train on"):
        episodes_of(rows[rows["corpus"] != "cc"], tmp_path)


@pytest.mark.slow
def test_a_renamed_emodb_is_no_source_of_emodb(real_corpora, tmp_path):
    known = corpora.open_corpora(["emodb", "savee"], real_corpora, tmp_path)
    emodb = known[known["corpus"] == "emodb"]
    folder = tmp_path / "recordings"
    folder.mkdir()
    lines = ["file,label,who"]
    for number, row in enumerate(emodb.itertuples()):
        samples, rate = soundfile.read(row.file, dtype="int16")
        soundfile.write(folder / f"{number:04}.wav", samples, rate)
        lines.append(f"{number:04}.wav,{row.emotion},who{row.speaker}")
    (folder / "clips.csv").write_text("\n".join(lines))
    columns = {"wav": "file", "emotion": "label", "speaker": "who"}
    own = {"mine": {"audio": str(folder / "clips.csv"), **columns}}
    mine = corpora.open_corpus("mine", own=own, workspace=tmp_path).manifest
    rows = pd.concat([known, mine], ignore_index=True)
    for number, (used, runs) in enumerate(
        (
            episodes_of(rows, tmp_path),
            few_shot(rows, "emodb", tmp_path),
            left_out_domain(rows, ["emodb", "savee", "mine"], tmp_path),
        )
    ):
        left_out = emodb["emotion"].isin(used["emotion"]).sum()
        for run in runs.values():
            nothing_is_tested_that_was_learnt(run, used)
            assert f"{left_out} utterances" in " ".join(run.metrics["notes"]), number


def test_the_pictures_of_05_follow_the_rule_from_audio_and_from_a_features_file(tmp_path):
    names = [f"{who}_{e}_{n}" for who in "01234" for e in ("anger", "sadness") for n in range(2)]
    rows = clips_of(tmp_path, names, {"1_anger_0": "0_anger_0", "3_sadness_1": "2_sadness_1"})
    split = make_split(rows, leave_one_speaker_out(rows), 0, 1)
    labels = ["anger", "sadness"]

    def made(store, rows):
        return AlexnetStudy("own", rows, split, store, labels, tmp_path, progress=False)

    studies = [made(None, rows)]
    config = AlexnetConfig()
    file = FeaturesFile(studies[0].export(config))
    studies.append(made(file, file.rows))
    tested = Tested("x", config)
    for study in studies:
        for fold in study.folds:
            heard = {}
            for role in ("train", "valid", "test"):
                heard[role] = set(study.part(tested, fold, role)["audio_sha256"])
            assert not heard["test"] & (heard["train"] | heard["valid"])
        assert len(study.split) == 5 * len(rows) - 4
        assert study.copies(tested)["left_out"].sum() == 4
        alone = study.of_fold("own/1").copies(tested)
        assert alone["utt_id"].tolist() == ["own/0_anger_0", "own/1_anger_0"]
    pd.testing.assert_frame_equal(studies[0].split, studies[1].split)
