"""Frozen folds: no speaker or session on both sides, and every class on every training side."""

import itertools

import pytest

from colab_utils.corpora import ManifestError, corpus_names, frozen_folds, load_card
from colab_utils.corpora.cards import card_name, data_folder, shipped_manifest
from colab_utils.corpora.parsers import esd
from colab_utils.corpora.synthetic.channels import DOMAINS
from colab_utils.corpora.synthetic.corpus import plan
from colab_utils.protocols.folds import (
    FoldError,
    grouped_folds,
    leave_one_speaker_out,
    make_split,
)

# corpus -> (unit, number of folds, the units that have to be in the file)
FROZEN = {
    "emodb": ("speaker", 10, ["03", *(f"{n:02}" for n in range(8, 17))]),
    "ravdess": ("speaker", 6, [f"{n:02}" for n in range(1, 25)]),
    "emovo": ("speaker", 6, ["f1", "f2", "f3", "m1", "m2", "m3"]),
    "savee": ("speaker", 4, ["DC", "JE", "JK", "KL"]),
    "iemocap": ("session", 5, list("12345")),
    "msp_improv": ("session", 6, list("123456")),
    "crema_d": ("speaker", 5, [str(n) for n in range(1001, 1092)]),
    "tess": ("speaker", 2, ["OAF", "YAF"]),
    "aesdd": ("speaker", 6, list("123456")),
    "cafe": ("speaker", 6, [f"{n:02}" for n in range(1, 13)]),
    "shemo": (
        "speaker",
        5,
        [f"F{n:02}" for n in range(1, 32)] + [f"M{n:02}" for n in range(1, 57)],
    ),
    "esd": ("speaker", 5, [f"{n:04}" for n in range(1, 21)]),
}
WITH_ROWS = sorted(name for name in FROZEN if (data_folder() / f"{name}.csv").is_file())


@pytest.mark.parametrize("corpus", FROZEN)
def test_every_unit_stands_in_one_fold_of_the_file(corpus):
    unit, number, units = FROZEN[corpus]
    folds, card = frozen_folds(corpus), load_card(corpus)
    assert (
        card.folds["unit"] == unit
        and card.folds["file"] == f"folds/{corpus}.csv"
        and (data_folder() / card.folds["file"]).is_file()
    )
    assert (
        list(folds.columns) == [unit, "fold"]
        and sorted(folds[unit]) == sorted(units)
        and sorted(set(folds["fold"])) == list(range(number))
    )
    sides = [
        (set(folds[unit][folds["fold"] == fold]), set(folds[unit][folds["fold"] != fold]))
        for fold in range(number)
    ]
    assert all(test and train and not test & train for test, train in sides)
    sizes = folds["fold"].value_counts()
    assert sizes.max() - sizes.min() <= 1


def test_no_fold_file_is_without_a_card_and_the_rest_say_why():
    files = {path.stem for path in (data_folder() / "folds").glob("*.csv")}
    assert files >= set(FROZEN) and files <= set(corpus_names())
    assert "file" not in load_card("emofilm").folds and load_card("emofilm").folds["unit"] == "film"
    assert "No frozen file" in load_card("emofilm").folds["note"]
    with pytest.raises(
        ManifestError, match="emofilm has no frozen folds: use grouped folds .*film"
    ):
        frozen_folds("emofilm")


@pytest.mark.parametrize("corpus", WITH_ROWS)
def test_every_class_and_both_genders_are_on_every_training_side(corpus):
    rows, folds = shipped_manifest(corpus), frozen_folds(corpus)
    where = dict(zip(folds["speaker"], folds["fold"], strict=True))
    classes, genders = set(rows["emotion"]), set(rows["gender"])
    for fold in set(folds["fold"]):
        train = [
            (e, g, s)
            for e, g, s in zip(rows["emotion"], rows["gender"], rows["speaker"], strict=True)
            if where[s] != fold
        ]
        test = {s for s in rows["speaker"] if where[s] == fold}
        assert (
            {e for e, _, _ in train} == classes
            and {g for _, g, _ in train} == genders
            and not test & {s for _, _, s in train}
        )


def test_domains_of_the_embedded_corpus_share_its_folds():
    folds = frozen_folds("synthetic")
    for number, domain in enumerate(DOMAINS):
        speakers = {
            job["name"]
            for job in plan(seed=0, n_speakers=8, n_repetitions=1)
            if job["domain"] == number
        }
        assert (
            set(folds["speaker"]) == speakers
            and len(folds) == len(speakers) == folds["fold"].nunique() == 8
        )
        assert card_name(domain.corpus) == "synthetic" and frozen_folds(domain.corpus).equals(folds)
    names = {
        "synthetic": "synthetic",
        "emodb": "emodb",
        "own": "own",
        "own-mine": "own-mine",
        "emodb-noisy": "emodb",
    }
    assert {name: card_name(name) for name in names} == names
    with pytest.raises(ManifestError, match="unknown corpus 'own-mine'"):
        frozen_folds("own-mine")


def test_sessions_hold_speakers_that_no_other_fold_has():
    for corpus, speakers in (
        ("iemocap", {n: {f"{n}F", f"{n}M"} for n in "12345"}),
        ("msp_improv", {n: {f"F0{n}", f"M0{n}"} for n in "123456"}),
    ):
        folds = frozen_folds(corpus)
        held = {
            fold: set().union(*(speakers[session] for session in group))
            for fold, group in folds.groupby("fold")["session"]
        }
        assert all(not first & second for first, second in itertools.combinations(held.values(), 2))
        assert all(len(group) == 2 for group in held.values())


def test_large_groups_balance_women_and_men():
    crema = frozen_folds("crema_d").merge(
        shipped_manifest("crema_d")[["speaker", "gender"]].drop_duplicates(), on="speaker"
    )
    women = (crema["gender"] == "female").groupby(crema["fold"]).sum()
    assert (
        women.sum() == 43 and set(women) == {8, 9} and set(crema.groupby("fold").size()) == {18, 19}
    )
    shemo = frozen_folds("shemo")
    assert set(shemo["speaker"].str[0].eq("F").groupby(shemo["fold"]).sum()) == {6, 7}
    cafe = frozen_folds("cafe")
    assert set(cafe["speaker"].astype(int).mod(2).groupby(cafe["fold"]).sum()) == {1}
    for _, group in frozen_folds("esd").groupby("fold")["speaker"]:
        assert sorted((int(s) <= 10, int(s) in esd.MALE) for s in group) == sorted(
            itertools.product([False, True], repeat=2)
        )


@pytest.mark.parametrize(
    ("corpus", "words"),
    [
        ("tess", ("only two speakers", "no speaker is left for validation", "no interval")),
        ("iemocap", ("partner", "too few turns")),
        ("crema_d", ("no standard", "the text is known")),
        ("shemo", ("2,838", "two clips only")),
        ("emofilm", ("Group any split by film",)),
        ("cafe", ("six sentences",)),
        ("aesdd", ("same utterances",)),
        ("esd", ("same sentences",)),
        ("savee", ("Four folds",)),
    ],
)
def test_notes_say_what_the_folds_cannot_do(corpus, words):
    note = load_card(corpus).folds["note"]
    assert all(word in note for word in words)


def test_what_two_speakers_cannot_give_is_said():
    tess = shipped_manifest("tess")
    by_speaker = leave_one_speaker_out(tess)
    assert set(make_split(tess, by_speaker)["role"]) == {"train", "test"}
    with pytest.raises(FoldError, match="1 held-out speaker.*out of 1"):
        make_split(tess, by_speaker, n_valid_speakers=1)
    with pytest.raises(FoldError, match="2 speaker.*5 folds: choose at most 2"):
        grouped_folds(tess, 5, seed=0)
