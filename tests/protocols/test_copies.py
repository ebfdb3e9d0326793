"""Equal recordings: never on two sides of a split or of an episode, and nothing else is lost."""

import time

import hypothesis
import numpy as np
import pandas as pd
import pytest
from clips_at_random import EMOTIONS, table
from fabricated import needed
from hypothesis import strategies as st

from colab_utils.protocols.build import build_task
from colab_utils.protocols.copies import check_copies, contradicted, persons, without_copies
from colab_utils.protocols.episodes import EpisodeError, EpisodePlan, EpisodePool
from colab_utils.protocols.folds import (
    ROLES,
    SPLIT_COLUMNS,
    LeakError,
    leave_one_speaker_out,
    make_split,
    speaker_independence,
)
from colab_utils.protocols.published import load_protocol
from colab_utils.protocols.recordings import recordings


def rows_of(clips):
    """Manifest rows of clips written as "name speaker emotion samples", "-" for an empty cell."""
    cells = [clip.replace("-", "").split(" ") for clip in clips]
    rows = pd.DataFrame(cells, columns=["utt_id", "speaker", "emotion", "audio_sha256"])
    rows["utt_id"] = "c/" + rows["utt_id"]
    return rows.assign(corpus="c", film="")


def split_of(rows, roles, **more):
    split = rows[["utt_id"]].assign(seed=0, fold="f", draw=0, task=0, role=roles)
    split["speaker"] = (rows["corpus"] + "/" + rows["speaker"]).to_numpy()
    return split.assign(**more)[list(SPLIT_COLUMNS)]


def goes(one, split, facts):
    """The rule, word by word, for one row of a split."""
    sha, emotion = facts[one.utt_id]
    for other in split.itertuples():
        learns = {"train", "valid", "support"} & {one.role, other.role}
        tested = {"test", "query"} & {one.role, other.role}
        same_task = (one.draw, one.task) == (other.draw, other.task)
        two_sides = learns and tested and (same_task or "support" not in learns)
        same_fold = (one.seed, one.fold) == (other.seed, other.fold)
        if not two_sides or not same_fold or sha == "" or one.utt_id == other.utt_id:
            continue
        other_sha, other_emotion = facts[other.utt_id]
        if sha == other_sha and (one.role not in tested or emotion != other_emotion):
            return True
    return False


@st.composite
def random_splits(draw):
    """Rows in which a few recordings have many names, and a split with all roles."""
    number = draw(st.integers(1, 14))
    each = [st.integers(0, 5), st.sampled_from(["anger", "fear"]), st.integers(0, 3)]
    clips = draw(st.lists(st.tuples(*each), min_size=number, max_size=number))
    names = [f"{n} s{who} {label} {sha or '-'}" for n, (sha, label, who) in enumerate(clips)]
    rows = rows_of(names)
    role = st.sampled_from(ROLES)
    cell = st.tuples(st.integers(0, number - 1), role, st.integers(0, 1), st.integers(0, 1))
    cells = draw(st.lists(cell, min_size=1, max_size=25, unique_by=lambda c: (c[0], c[2])))
    if draw(st.booleans()):  # something of everything that no other equals, so that no role is lost
        alone = [f"x{place} s9 {('anger', 'fear')[place % 2]} -" for place in range(20)]
        rows = pd.concat([rows, rows_of(alone)], ignore_index=True)
        cells += [(number + n, ROLES[n // 4], n // 2 % 2, 0) for n in range(20)]
    places, roles, folds, draws = zip(*cells, strict=True)
    split = split_of(rows.iloc[list(places)], list(roles), fold=list(map(str, folds)), draw=draws)
    return rows, split.reset_index(drop=True)


@pytest.mark.slow
@hypothesis.given(random_splits(), st.integers(0, 99))
@hypothesis.settings(max_examples=120, deadline=None)
def test_what_goes_is_what_the_rule_says_and_nothing_else(drawn, seed):
    rows, split = drawn
    facts = dict(
        zip(rows["utt_id"], zip(rows["audio_sha256"], rows["emotion"], strict=True), strict=True)
    )
    gone = np.array([goes(one, split, facts) for one in split.itertuples()])
    try:
        left, copies = without_copies(split, rows)
    except LeakError as error:
        assert "\n" not in str(error)
        emotion = split["utt_id"].map(rows.set_index("utt_id")["emotion"])
        whole = split.assign(emotion=emotion, gone=gone)
        lost = [whole.groupby(["fold", "role"])["gone"].all().any()]
        for roles, on in (
            (["train", "support"], ["fold", "role", "emotion"]),
            (["test", "query"], ["role", "emotion"]),
        ):
            lost.append(whole[whole["role"].isin(roles)].groupby(on)["gone"].all().any())
        assert any(lost)
        return
    pd.testing.assert_frame_equal(left, split[~gone].reset_index(drop=True))
    check_copies(left, rows)
    # the whole list: each that goes once a fold and role, beside what it is a copy of
    of_list = set(zip(copies["fold"], copies["utt_id"], copies["role"], strict=True))
    wanted = split[gone]
    listed = copies[copies["left_out"]]
    assert set(zip(listed["fold"], listed["utt_id"], listed["role"], strict=True)) == set(
        zip(wanted["fold"], wanted["utt_id"], wanted["role"], strict=True)
    )
    for one in listed.itertuples():
        mine = copies[(copies["recording"] == one.recording) & (copies["fold"] == one.fold)]
        assert mine["utt_id"].nunique() > 1
    assert len(of_list) <= len(copies)
    again, none = without_copies(left, rows)
    assert again is left and none.empty
    mixed, same = without_copies(split.sample(frac=1, random_state=seed), rows.iloc[::-1])
    columns = list(SPLIT_COLUMNS)
    pd.testing.assert_frame_equal(
        mixed.sort_values(columns, ignore_index=True), left.sort_values(columns, ignore_index=True)
    )
    pd.testing.assert_frame_equal(same, copies)


def test_without_copies_a_split_is_the_very_same_and_unknown_is_different():
    rows = rows_of(["a A anger 1", "b B anger 2", "d A fear -", "e B fear -"])
    split = split_of(rows, ["train", "test", "train", "test"])
    assert without_copies(split, rows)[0] is split
    assert without_copies(split, rows.drop(columns="audio_sha256"))[0] is split
    assert without_copies(split, rows.assign(audio_sha256=np.nan))[0] is split
    # copies on one side
    rows["audio_sha256"] = ["1", "2", "1", "2"]
    assert without_copies(split, rows)[0] is split and (recordings(rows) != "").all()


@pytest.mark.parametrize(
    ("clips", "roles", "words"),
    [
        (
            ["a A anger 1", "b B anger 1"],
            ["train", "test"],
            ["fold f", "no utterance", "train on", "all 1", "c/a and c/b"],
        ),
        (
            ["a A anger 1", "x A fear 2", "b B anger 1"],
            ["train", "train", "test"],
            ["fold f", "no anger", "train on", "c/a and c/b"],
        ),
        (
            ["a A anger 1", "x A anger 2", "b B anger 1"],
            ["valid", "train", "test"],
            ["fold f", "no utterance", "validate"],
        ),
        (
            ["a A anger 1", "x A anger 2", "b B anger 1"],
            ["support", "train", "query"],
            ["fold f", "no utterance", "support"],
        ),
        (
            ["a A fear 1", "x A anger 2", "y A fear 4", "b B anger 1", "z B fear 3"],
            ["train", "train", "train", "test", "test"],
            ["no anger", "to test", "another label", "c/b and c/a"],
        ),
    ],
)
def test_where_nothing_is_left_one_sentence_says_so(clips, roles, words):
    rows = rows_of(clips)
    with pytest.raises(LeakError) as caught:
        without_copies(split_of(rows, roles), rows)
    told = str(caught.value)
    assert "\n" not in told and all(word in told for word in words), told


def test_a_tested_copy_goes_only_for_another_label():
    rows = rows_of(
        ["a A anger 1", "b A fear 2", "x A anger 8", "y A fear 9"]
        + ["c B anger 1", "d B anger 2", "e B fear 7", "g B anger 6"]
    )
    split = split_of(rows, ["train"] * 4 + ["test"] * 4)
    left, copies = without_copies(split, rows)
    assert left["utt_id"].tolist() == ["c/x", "c/y", "c/c", "c/e", "c/g"]
    out = dict(zip(copies["utt_id"], copies["left_out"], strict=True))
    assert out == {"c/a": True, "c/c": False, "c/b": True, "c/d": True}
    with pytest.raises(LeakError, match="recordings.*c/a, c/b"):
        check_copies(split, rows)


def test_speakers_under_whose_names_one_recording_stands_may_be_one():
    rows = rows_of(["a A anger 1", "b B anger 1", "d A anger 2", "e B anger 3", "f C anger 4"])
    assert persons(rows).tolist() == ["c/A", "c/A", "c/A", "c/A", "c/C"]
    split = split_of(rows.iloc[2:], ["train", "test", "train"])
    assert speaker_independence(split) == "independent"
    assert speaker_independence(split, persons(rows)) == "unknown"
    assert speaker_independence(split[split["speaker"] != "c/A"], persons(rows)) == "independent"


def test_validation_speakers_are_drawn_among_those_that_stay():
    """A copy of the target: whoever validated by chance would leave with the tested folds."""
    clips = [f"{who}{emotion[0]}{n} {who} {emotion} {who}{emotion}{n}" for who in "ABCDE"
             for emotion in EMOTIONS for n in range(2)]  # fmt: skip
    rows = rows_of(clips)
    mine = rows.assign(corpus="d", utt_id="d/" + rows["utt_id"].str[2:])
    both = pd.concat([rows, mine[mine["speaker"] != "E"]], ignore_index=True)
    for seed in range(8):
        folds = leave_one_speaker_out(both)
        for fold, part in make_split(both, folds, seed, 1).groupby("fold"):
            left, _ = without_copies(part, both)
            held = left.loc[left["role"] == "valid", "speaker"].unique()
            assert len(held) == 1 and held[0][2:] != fold[2:]
            assert (left["role"] == "valid").sum() == 10


@pytest.mark.slow
def test_published_tasks_draw_their_validation_so_too(corpora):
    protocol = load_protocol("emofsl")
    rows = needed(corpora, protocol.tasks["I-M"])
    source = rows[rows["corpus"] == "iemocap"]
    split = build_task(protocol, "I-M", rows)[1]
    held = split.loc[split["role"] == "valid", "utt_id"].drop_duplicates()
    # the tested corpus holds all that validated
    sha = pd.Series(np.arange(len(rows)).astype(str), rows["utt_id"])
    tested = split.loc[split["role"] == "test", "utt_id"].drop_duplicates()
    sha[tested.head(len(held))] = sha[held].to_numpy()
    copied = rows.assign(audio_sha256=rows["utt_id"].map(sha).to_numpy())
    used, again = build_task(protocol, "I-M", copied)
    try:
        left, _ = without_copies(again, used)
    except LeakError as error:
        raise AssertionError(f"{len(source)} utterances of the source: {error}") from error
    assert {"train", "valid"} <= set(left["role"])


# --- episodes -------------------------------------------------------------------------------------


def copied_table(seed, share, n_speakers=6):
    """Clips of which some are recordings of another clip, mostly of its emotion."""
    rows = table([24] * 4, n_speakers, seed).reset_index(drop=True)
    rng = np.random.default_rng(seed)
    sha = np.arange(len(rows))
    for place in np.flatnonzero(rng.random(len(rows)) < share):
        alike = np.flatnonzero(rows["emotion"] == rows["emotion"].iloc[place])
        sha[place] = sha[rng.choice(alike if rng.random() < 0.9 else len(rows))]
    return rows.assign(audio_sha256=sha.astype(str))


@pytest.mark.parametrize("apart", [(), ("speaker",)])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_no_episode_supports_with_what_it_asks(apart, share):
    asked_copies = 0
    for seed in range(6):
        rows = copied_table(seed, share)
        sha = rows["audio_sha256"].to_numpy()
        emotions = rows.groupby("audio_sha256")["emotion"].nunique()
        pool = EpisodePool(rows, EMOTIONS, EpisodePlan(3, 2, 3, apart))
        out = contradicted(rows, apart)
        drawn = set()
        for episode in pool.episodes(seed, 0, 40):
            support, query = episode.support.ravel(), episode.query.ravel()
            assert not set(sha[support]) & set(sha[query])
            drawn |= {*support, *query}
        assert not drawn & set(np.flatnonzero(out))
        assert set(emotions[sha[out]]) <= {2, 3, 4}
        if not apart:
            assert (emotions[sha[~out]] == 1).all()
        asked_copies += sum((sha == sha[place]).sum() > 1 for place in drawn)
    assert asked_copies  # copies take part, on one side


def test_an_episode_of_copies_alone_is_refused_in_a_sentence():
    rows = copied_table(0, 0.0)
    rows["audio_sha256"] = rows["emotion"]
    with pytest.raises(EpisodeError, match="other recordings") as caught:
        EpisodePool(rows, EMOTIONS, EpisodePlan(2, 1, 1, ())).episode(0, 0)
    assert "apart" not in str(caught.value)


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_no_matter_of_minutes():
    number = 100_000
    rows = pd.DataFrame({"utt_id": [f"c/{n}" for n in range(number)], "corpus": "c"})
    rows["speaker"] = [str(n % 50) for n in range(number)]
    rows["emotion"] = [EMOTIONS[n % 5] for n in range(number)]
    # one recording under ten thousand names, too
    rows["audio_sha256"] = [str(n if n > 10_000 else n % 5) for n in range(number)]
    roles = np.where(np.arange(number) % 3 == 0, "test", "train")
    split = split_of(rows, roles)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        left, copies = without_copies(split, rows)
        took.append(time.perf_counter() - began)
    assert len(left) < number and copies["left_out"].any() and min(took) < 5
