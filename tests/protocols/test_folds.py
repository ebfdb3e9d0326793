"""Folds and splits: nobody is on both sides, all are tested once, each emotion can be learnt."""

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from colab_utils.protocols import folds
from colab_utils.protocols.folds import FoldError, LeakError

EMOTIONS = ["anger", "neutral", "sadness"]


def manifest(n_speakers=6, per_class=3, corpus="c"):
    """Every speaker speaks every emotion `per_class` times."""
    rows = [
        (f"{corpus}/{s}-{e}-{i}", corpus, f"{s:02}", e)
        for s in range(n_speakers)
        for e in EMOTIONS
        for i in range(per_class)
    ]
    return pd.DataFrame(rows, columns=["utt_id", "corpus", "speaker", "emotion"]).assign(
        session="", film=""
    )


def sides(split, fold):
    rows = split[split["fold"] == fold]
    return {role: set(rows.loc[rows["role"] == role, "speaker"]) for role in folds.ROLES}


def test_leave_one_speaker_out_tests_each_speaker_once():
    table = folds.leave_one_speaker_out(
        pd.concat([manifest(3), manifest(2, corpus="d")], ignore_index=True)
    )
    assert list(table.columns) == ["speaker", "corpus", "fold"] and len(table) == 5
    assert list(table["fold"]) == ["c/00", "c/01", "c/02", "d/00", "d/01"]
    with pytest.raises(FoldError, match="one speaker"):
        folds.leave_one_speaker_out(manifest(1))


@hypothesis.given(st.integers(0, 10_000), st.integers(3, 9), st.integers(2, 4), st.integers(0, 2))
@hypothesis.settings(max_examples=20, deadline=None)
def test_every_utterance_is_tested_once_by_people_who_did_not_train(
    seed, n_speakers, n_folds, n_valid
):
    hypothesis.assume(n_folds <= n_speakers and n_valid < n_speakers - -(-n_speakers // n_folds))
    rng = np.random.default_rng(seed)
    data = manifest(n_speakers).sample(frac=1, random_state=seed).reset_index(drop=True)
    data = data[rng.random(len(data)) < 0.9].reset_index(drop=True)
    hypothesis.assume(
        data.groupby("speaker")["emotion"].nunique().eq(3).all()
        and data["speaker"].nunique() == n_speakers
    )
    split = folds.make_split(data, folds.grouped_folds(data, n_folds, seed), seed, n_valid)
    assert list(split.columns) == list(folds.SPLIT_COLUMNS)
    assert (
        split[split["role"] == "test"]["utt_id"].sort_values().tolist()
        == data["utt_id"].sort_values().tolist()
    )
    for fold in split["fold"].unique():
        who = sides(split, fold)
        assert not who["test"] & (who["train"] | who["valid"]) and not who["train"] & who["valid"]
        assert len(who["valid"]) == n_valid and who["train"]
        assert set(split.loc[(split["fold"] == fold), "utt_id"]) == set(data["utt_id"])
    assert folds.speaker_independence(split) == "independent"


def test_grouped_folds_depend_on_the_seed_alone_and_balance_classes():
    data = manifest(12)
    one, again, other = (folds.grouped_folds(data, 4, seed) for seed in (0, 0, 1))
    assert one.equals(again) and not one["fold"].equals(other["fold"])
    assert one.groupby("fold").size().tolist() == [3, 3, 3, 3]
    skewed = data[(data["emotion"] != "sadness") | (data["speaker"] < "04")]
    # four speakers are sad: one in each fold
    for seed in range(5):
        dealt = folds.grouped_folds(skewed, 4, seed).set_index("speaker")["fold"]
        assert dealt.loc[["00", "01", "02", "03"]].nunique() == 4
    with pytest.raises(FoldError, match="12 speaker.* cannot make 13"):
        folds.grouped_folds(data, 13, 0)


def test_an_emotion_nobody_else_speaks_is_named():
    data = manifest(4)
    data.loc[data["speaker"] == "02", "emotion"] = "fear"
    with pytest.raises(FoldError, match="fold c/02: nobody on the training side speaks fear"):
        folds.make_split(data, folds.leave_one_speaker_out(data))


def test_validation_leaves_every_tested_emotion_in_training():
    data = manifest(6)
    data = data[
        (data["emotion"] != "sadness") | data["speaker"].isin(["00", "01", "02"])
    ].reset_index(drop=True)
    for seed in range(5):
        split = folds.make_split(data, folds.leave_one_speaker_out(data), seed, n_valid_speakers=3)
        for fold, rows in split.groupby("fold"):
            role = data["utt_id"].map(rows.set_index("utt_id")["role"])
            assert set(data.loc[role == "test", "emotion"]) <= set(
                data.loc[role == "train", "emotion"]
            ), fold
    with pytest.raises(FoldError, match="leave nobody to train"):
        folds.make_split(data, folds.leave_one_speaker_out(data), 0, n_valid_speakers=5)


def test_validation_speakers_follow_from_the_seed():
    data = manifest(8)
    table = folds.leave_one_speaker_out(data)
    one, again, other = (folds.make_split(data, table, seed, 2) for seed in (0, 0, 1))
    assert one.equals(again) and not one["role"].equals(other["role"])


def test_frozen_folds_by_speaker_and_session():
    data = manifest(4)
    frozen = pd.DataFrame({"speaker": ["00", "01", "02", "03", "09"], "fold": [0, 0, 1, 1, 1]})
    split = folds.make_split(data, folds.folds_from_table(data, frozen))
    assert sides(split, "0")["test"] == {"c/00", "c/01"}
    assert sides(split, "1")["test"] == {"c/02", "c/03"}
    sessions = data.assign(session=data["speaker"].map(lambda s: str(int(s) // 2)))
    table = pd.DataFrame({"session": ["0", "1"], "fold": [5, 6]})
    by_session = folds.folds_from_table(sessions, table)
    assert sides(folds.make_split(data, by_session), "6")["test"] == {"c/02", "c/03"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frozen: frozen[frozen["speaker"] != "03"], "without a fold: '03'"),
        (lambda frozen: frozen.replace({"speaker": {"09": "03"}}), "'03' stands twice"),
        (lambda frozen: frozen.rename(columns={"speaker": "who"}), "who, fold: fold and one of"),
    ],
)
def test_frozen_folds_that_do_not_fit_are_refused(change, words):
    frozen = pd.DataFrame({"speaker": ["00", "01", "02", "03", "09"], "fold": [0, 0, 1, 1, 1]})
    with pytest.raises(FoldError, match=words):
        folds.folds_from_table(manifest(4), change(frozen))
    two = pd.concat([manifest(4), manifest(4, corpus="d")], ignore_index=True)
    with pytest.raises(FoldError, match="several corpora"):
        folds.folds_from_table(two, frozen)


def test_films_that_share_a_speaker_leak():
    data = manifest(2).assign(film=["f1", "f2", "f3"] * 6)
    table = folds.folds_from_table(
        data, pd.DataFrame({"film": ["f1", "f2", "f3"], "fold": [0, 1, 1]})
    )
    with pytest.raises(LeakError, match="c/00, c/01"):
        folds.make_split(data, table)
    assert (
        folds.speaker_independence(folds.make_split(data, table, allow_speaker_overlap=True))
        == "overlap allowed"
    )
    with pytest.raises(LeakError, match=r"film\(s\) on both.*c/f1, c/f2, c/f3 \(grouped folds"):
        folds.make_split(data, folds.leave_one_speaker_out(data))


@hypothesis.given(st.integers(0, 10_000), st.booleans())
@hypothesis.settings(max_examples=20, deadline=None)
def test_grouped_folds_keep_the_speakers_of_a_film_together(seed, some_unknown):
    """Twelve speakers in eight films, some dubbing two; nobody who shares a film, directly or
    through others, is on both sides.
    """
    rng = np.random.default_rng(seed)
    data = manifest(12)
    films = {f"{s:02}": [f"f{s // 2}", *(["f6"] if s in (0, 5) else [])] for s in range(12)}
    data["film"] = [str(rng.choice(films[speaker])) for speaker in data["speaker"]]
    data.loc[data["speaker"] == "11", "film"] = ""
    if some_unknown:
        data.loc[data["speaker"] == "07", "speaker"] = ""
    split = folds.make_split(data, folds.grouped_folds(data, 3, seed))
    film = split["utt_id"].map(data.set_index("utt_id")["film"])
    for _, part in split.assign(film=film).groupby("fold"):
        train, test = (part[part["role"] == role] for role in ("train", "test"))
        assert not (set(train["film"]) & set(test["film"]) - {""}) and not (
            set(train["speaker"]) & set(test["speaker"]) - {""}
        )
    assert sorted(split.loc[split["role"] == "test", "utt_id"]) == sorted(data["utt_id"])
    with pytest.raises(FoldError, match="1 group.*of speakers by film cannot make 2 folds"):
        folds.grouped_folds(data.assign(film="one"), 2, seed)


@pytest.mark.parametrize("known", [0, 3])
def test_unknown_speakers_run_with_a_notice_and_are_stamped(capsys, known):
    data = manifest(6, per_class=5)
    data["speaker"] = data["speaker"].where(data["speaker"].astype(int) < known, "")
    table = folds.leave_one_speaker_out(data)
    assert "without a known speaker" in capsys.readouterr().out and "utt_id" in table.columns
    split = folds.make_split(data, table, 0, n_valid_speakers=1)
    assert "stratified 20%" in capsys.readouterr().out
    assert folds.speaker_independence(split) == "unknown"
    tested = split[split["role"] == "test"]
    assert sorted(tested["utt_id"]) == sorted(data["utt_id"]) and set(split["role"]) == {
        "train",
        "valid",
        "test",
    }
    shares = (
        data.set_index("utt_id")
        .loc[tested["utt_id"], "emotion"]
        .groupby(tested["fold"].to_numpy())
        .value_counts()
        .unstack()
    )
    assert shares.min().min() > 0


def rows(*given):
    return pd.DataFrame(given, columns=list(folds.SPLIT_COLUMNS))


@pytest.mark.parametrize(
    ("split", "leaks"),
    [
        (rows((0, "0", 0, 0, "u1", "c/1", "train"), (0, "0", 0, 0, "u2", "c/1", "test")), True),
        (rows((0, "0", 0, 0, "u1", "c/1", "valid"), (0, "0", 0, 0, "u2", "c/1", "test")), True),
        (rows((0, "0", 0, 0, "u1", "c/1", "train"), (0, "0", 3, 7, "u2", "c/1", "query")), True),
        (rows((0, "0", 0, 1, "u1", "c/1", "support"), (0, "0", 0, 1, "u2", "c/1", "query")), True),
        (rows((0, "0", 0, 1, "u1", "c/1", "support"), (0, "0", 0, 2, "u2", "c/1", "query")), False),
        (rows((0, "0", 0, 0, "u1", "c/1", "train"), (0, "1", 0, 0, "u2", "c/1", "test")), False),
        (rows((0, "0", 0, 0, "u1", "c/1", "train"), (0, "0", 0, 0, "u2", "d/1", "test")), False),
        (rows((0, "0", 0, 0, "u1", "c/1", "train"), (0, "0", 0, 0, "u2", "c/1", "support")), False),
    ],
)
def test_who_may_stand_where(split, leaks):
    if leaks:
        with pytest.raises(LeakError, match="speaker.*c/1"):
            folds.check_disjoint(split)
        folds.check_disjoint(split, allow_speaker_overlap=True)
        assert folds.speaker_independence(split) == "overlap allowed"
    else:
        folds.check_disjoint(split)
        assert folds.speaker_independence(split) == "independent"


def test_one_utterance_on_both_sides_is_always_refused():
    split = rows((0, "0", 0, 0, "u1", "", "train"), (0, "0", 0, 0, "u1", "", "test"))
    with pytest.raises(LeakError, match="utterance.*u1"):
        folds.check_disjoint(split, allow_speaker_overlap=True)
    with pytest.raises(FoldError, match="role.*'?trian"):
        folds.check_disjoint(split.assign(role="trian"))


def test_an_utterance_without_a_fold_and_a_single_fold_are_refused():
    data = manifest(3)
    table = folds.leave_one_speaker_out(data)
    with pytest.raises(FoldError, match="c/2-anger-0 has no fold"):
        folds.make_split(data, table.iloc[:2])
    with pytest.raises(FoldError, match="nobody is left"):
        folds.make_split(data, table.assign(fold="x"))


def test_one_split_trains_here_and_tests_there():
    data = pd.concat([manifest(4, corpus=name) for name in "abc"], ignore_index=True)
    tested = (data["corpus"] == "c").to_numpy()
    split = folds.split_once(data, tested, "c", (1, 0), 1, n_valid_speakers=2)
    assert set(split["fold"]) == {"c"} and set(split["seed"]) == {1}
    mine = split.loc[split["role"] == "test", "utt_id"]
    assert set(mine) == set(data.loc[tested, "utt_id"])
    assert split.loc[split["role"] == "valid", "speaker"].nunique() == 2
    assert set(split.loc[split["role"] != "test", "speaker"].str[0]) == {"a", "b"}
    data.loc[data["utt_id"] == "c/0-anger-0", "emotion"] = "fear"
    with pytest.raises(FoldError, match="nobody on the training side speaks fear"):
        folds.split_once(data, tested, "c", (1, 0), 1)
