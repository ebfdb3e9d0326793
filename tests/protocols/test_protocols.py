"""The papers' protocols: each builds from a fabricated corpus of the published shape, and refuses
one that is not.
"""

import collections

import pandas as pd
import pytest

from colab_utils.corpora.cards import card_name, corpus_names
from colab_utils.corpora.manifest import empty_row, validate
from colab_utils.corpora.synthetic import DOMAINS, EMOTIONS
from colab_utils.protocols.build import build_task, unit_keys
from colab_utils.protocols.folds import FoldError, LeakError, check_disjoint
from colab_utils.protocols.published import (
    Protocol,
    ProtocolError,
    Task,
    describe_task,
    load_protocol,
    protocol_names,
)

# method_facts §5: utterances per emotion before any choice, and how many speakers share them.
SHAPES = {
    "iemocap": (
        {
            "anger": 1103,
            "happiness": 595,
            "excited": 1041,
            "neutral": 1708,
            "sadness": 1084,
            "fear": 40,
            "disgust": 2,
            "frustration": 1849,
        },
        10,
    ),
    "msp_improv": (
        {"anger": 792, "happiness": 2644, "sadness": 885, "neutral": 3477, "other": 85, "": 555},
        12,
    ),
    "ravdess": (
        {
            **dict.fromkeys(
                ("calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise"), 192
            ),
            "neutral": 96,
        },
        24,
    ),
    "emodb": (
        {
            "anger": 127,
            "boredom": 81,
            "disgust": 46,
            "fear": 69,
            "happiness": 71,
            "sadness": 62,
            "neutral": 79,
        },
        10,
    ),
    "crema_d": (
        {
            "anger": 1271,
            "disgust": 1271,
            "fear": 1271,
            "happiness": 1271,
            "sadness": 1270,
            "neutral": 1087,
        },
        91,
    ),
    "savee": (
        {
            **dict.fromkeys(("anger", "disgust", "fear", "happiness", "sadness", "surprise"), 60),
            "neutral": 120,
        },
        4,
    ),
    "tess": (
        dict.fromkeys(
            ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"), 400
        ),
        2,
    ),
    "emovo": (
        dict.fromkeys(
            ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"), 84
        ),
        6,
    ),
    "aesdd": ({"anger": 121, "disgust": 122, "fear": 120, "happiness": 119, "sadness": 122}, 6),
    "cafe": (
        {
            **dict.fromkeys(("anger", "disgust", "happiness", "fear", "surprise", "sadness"), 144),
            "neutral": 72,
        },
        12,
    ),
    "shemo": (
        {
            "anger": 1059,
            "neutral": 1028,
            "sadness": 449,
            "surprise": 225,
            "happiness": 201,
            "fear": 38,
        },
        87,
    ),
    **{
        domain.corpus: ({name: round(40 * domain.balance.get(name, 1)) for name in EMOTIONS}, 8)
        for domain in DOMAINS
    },
}
SPEAKERS = {
    "iemocap": [f"{n}{g}" for n in range(1, 6) for g in "FM"],
    "ravdess": [f"{n:02}" for n in range(1, 25)],
}
IMPROVISED = {"anger": 289, "sadness": 608, "happiness": 284, "neutral": 1099, "excited": 663}
FILM_COUNTS = {"en": (77, 50, 72, 70, 74), "es": (82, 50, 64, 76, 87), "it": (73, 68, 85, 94, 93)}


def fabricated(corpus: str) -> pd.DataFrame:
    """A corpus of the published size: utterances of each emotion dealt over speakers in turn,
    IEMOCAP and MSP-IMPROV two speakers a session.
    """
    counts, n_speakers = SHAPES[corpus]
    names = SPEAKERS.get(corpus, [f"s{n:02}" for n in range(n_speakers)])
    rows = []
    for emotion, count in counts.items():
        for number in range(count):
            speaker = names[number % n_speakers]
            fields = {
                "speaker": speaker,
                "emotion": emotion,
                "emotion_raw": emotion,
                "style": "scripted",
            }
            if corpus in ("iemocap", "msp_improv"):
                fields["session"] = (
                    speaker[0] if corpus == "iemocap" else str(int(speaker[1:]) // 2 + 1)
                )
                fields["style"] = (
                    "improvised" if number < IMPROVISED.get(emotion, 0) else "scripted"
                )
            rows.append(empty_row(corpus, f"{emotion or 'none'}{number:04}", **fields))
    return validate(pd.DataFrame(rows))


def emofilm() -> pd.DataFrame:
    """1115 clips of 43 films in three languages, every film in every language."""
    rows = []
    for language, counts in FILM_COUNTS.items():
        for emotion, count in zip(
            ("anger", "contempt", "fear", "happiness", "sadness"), counts, strict=True
        ):
            rows += [
                empty_row(
                    "emofilm",
                    f"{emotion}{n:03}{language}",
                    language=language,
                    film=f"film{n % 43:02}",
                    speaker=f"{language}{n % 43}",
                    emotion=emotion,
                    emotion_raw=emotion,
                )
                for n in range(count)
            ]
    return validate(pd.DataFrame(rows))


@pytest.fixture(scope="module")
def corpora() -> dict[str, pd.DataFrame]:
    return {**{name: fabricated(name) for name in SHAPES}, "emofilm": emofilm()}


def needed(corpora, task):
    return pd.concat([corpora[name] for name in task.corpora], ignore_index=True)


ALL_TASKS = [(name, task) for name in protocol_names() for task in load_protocol(name).tasks]


@pytest.mark.parametrize(("name", "task"), ALL_TASKS)
def test_every_task_builds_and_keeps_its_groups_apart(corpora, name, task):
    protocol = load_protocol(name)
    rows, split = build_task(protocol, task, needed(corpora, protocol.tasks[task]), seed=3)
    mine = protocol.tasks[task]
    assert (
        set(rows["emotion"]) <= set(mine.emotions)
        and set(split["utt_id"]) <= set(rows["utt_id"])
        and set(split["task"]) == {task}
    )
    units = dict(zip(rows["utt_id"], unit_keys(rows, protocol.group), strict=True))
    for fold, part in split.groupby("fold"):
        sides = {
            role: {units[one] for one in part.loc[part["role"] == role, "utt_id"]}
            for role in ("train", "valid", "test")
        }
        assert part["utt_id"].is_unique and sides["train"] and sides["test"], fold
        if not mine.allow_group_overlap:
            assert (
                not sides["test"] & (sides["train"] | sides["valid"])
                and not sides["valid"] & sides["train"]
            )
        heard = set(
            rows.set_index("utt_id").loc[part.loc[part["role"] == "train", "utt_id"], "emotion"]
        )
        tested = set(
            rows.set_index("utt_id").loc[part.loc[part["role"] == "test", "utt_id"], "emotion"]
        )
        assert tested <= heard


@pytest.mark.parametrize(
    ("name", "task"),
    [
        one
        for one in ALL_TASKS
        if not load_protocol(one[0]).tasks[one[1]].only_folds
        and not load_protocol(one[0]).tasks[one[1]].holdout
    ],
)
def test_every_target_utterance_is_tested_exactly_once(corpora, name, task):
    protocol = load_protocol(name)
    rows, split = build_task(protocol, task, needed(corpora, protocol.tasks[task]))
    mine = protocol.tasks[task]
    target = rows["corpus"].isin(mine.test["corpus"]) & (
        rows["language"].isin(mine.test["language"]) if "language" in mine.test else True
    )
    assert sorted(split.loc[split["role"] == "test", "utt_id"]) == sorted(
        rows.loc[target, "utt_id"]
    )


def sizes(corpora, name, task):
    protocol = load_protocol(name)
    return build_task(protocol, task, needed(corpora, protocol.tasks[task]))


def test_emofsl_sizes_folds_and_support(corpora):
    rows, split = sizes(corpora, "emofsl", "I-R")
    assert (
        rows["corpus"].value_counts().to_dict() == {"iemocap": 5531, "ravdess": 672}
        and split["fold"].nunique() == 6
    )
    for _, part in split.groupby("fold"):
        roles = part.groupby("role")["speaker"].agg(set)
        assert (
            len(roles["test"]) == 4
            and len(roles["support"]) == 20
            and not roles["test"] & roles["support"]
        )
        assert (
            all(name.startswith("iemocap/") for name in roles["train"] | roles["valid"])
            and len(roles["valid"]) == 1
        )
    assert (
        sizes(corpora, "emofsl", "I-M")[1]["fold"].nunique() == 6
        and sizes(corpora, "emofsl", "R-I")[1]["fold"].nunique() == 5
    )


def test_alexnet_speakers_partner_validates_and_hand_picked_five(corpora):
    rows, split = sizes(corpora, "alexnet", "iemocap-speakers")
    assert (
        len(rows) == 2280 and set(rows["style"]) == {"improvised"} and split["fold"].nunique() == 10
    )
    for fold, part in split.groupby("fold"):
        roles = part.groupby("role")["speaker"].agg(set)
        partner = fold[0] + {"F": "M", "M": "F"}[fold[1]]
        assert (
            roles["test"] == {f"iemocap/{fold}"}
            and roles["valid"] == {f"iemocap/{partner}"}
            and len(roles["train"]) == 8
        )
    assert set(sizes(corpora, "alexnet", "iemocap-hand-picked")[1]["fold"]) == {
        "1M",
        "2F",
        "3F",
        "4F",
        "5F",
    }
    sessions = (
        sizes(corpora, "alexnet", "iemocap-sessions")[1]
        .groupby(["fold", "role"])["speaker"]
        .nunique()
    )
    assert set(sessions.xs("test", level="role")) == {2} and set(
        sessions.xs("valid", level="role")
    ) == {2}


def test_da_mldg_sizes_validation_in_every_source_and_shemo_without_disgust(corpora, capsys):
    rows, split = sizes(corpora, "da_mldg", "1")
    assert rows["corpus"].value_counts().to_dict() == {
        "crema_d": 6354,
        "iemocap": 3865,
        "ravdess": 960,
        "savee": 300,
    }
    valid = split[split["role"] == "valid"]
    shares = collections.Counter(name.split("/")[0] for name in valid["speaker"].unique())
    assert shares == {"crema_d": 14, "ravdess": 4, "savee": 1}
    assert set(split.loc[split["role"] == "test", "speaker"].str.split("/").str[0]) == {"iemocap"}
    rows, _ = sizes(corpora, "da_mldg", "6")
    assert set(rows.loc[rows["corpus"] == "shemo", "emotion"]) == {
        "anger",
        "happiness",
        "sadness",
        "fear",
    }
    capsys.readouterr()
    sizes(corpora, "da_mldg", "in-domain-tess")
    assert (
        "tess" not in load_protocol("da_mldg").absent
        and "has one speaker for training" in capsys.readouterr().out
    )


def test_emofilm_films_and_the_unrestricted_variant(corpora):
    rows, split = sizes(corpora, "few_shot_ser", "en+es-it")
    assert len(rows) == 1115 and split["fold"].nunique() == 5
    assert (split[split["role"] == "test"]["speaker"].str.startswith("emofilm/it")).all()
    _, free = sizes(corpora, "few_shot_ser", "en+es-it-unrestricted")
    films = dict(zip(rows["utt_id"], rows["film"], strict=True))
    sides = {
        role: {films[one] for one in free.loc[free["role"] == role, "utt_id"]}
        for role in ("train", "test")
    }
    assert sides["train"] & sides["test"]
    with pytest.raises(LeakError, match="film"):
        check_disjoint(free, units=pd.Series(rows["film"].to_numpy(), rows["utt_id"], name="film"))


def refusal(corpora, name, task, change) -> str:
    protocol = load_protocol(name)
    table = change(needed(corpora, protocol.tasks[task]).copy())
    with pytest.raises(ProtocolError) as caught:
        build_task(protocol, task, table)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("emofsl", "I-R"),
        ("alexnet", "iemocap-speakers"),
        ("da_mldg", "2"),
        ("few_shot_ser", "agnostic"),
    ],
)
def test_a_wrong_count_is_refused_with_both_numbers(corpora, name, task):
    protocol = load_protocol(name)
    corpus = protocol.tasks[task].test["corpus"][0]
    expected = protocol.expected[corpus]["utterances"]

    def lose_one(table):
        wanted = (
            (table["corpus"] == corpus)
            & (table["emotion"] == "happiness")
            & ((table["style"] == "improvised") | (name != "alexnet"))
        )
        return table.drop(index=table.index[wanted][0])

    message = refusal(corpora, name, task, lose_one)
    assert corpus in message and str(expected - 1) in message and str(expected) in message


def test_a_recalled_count_only_warns_and_check_counts_can_be_waived(corpora, capsys):
    protocol = load_protocol("emofsl")
    table = needed(corpora, protocol.tasks["I-M"])
    rows, _ = build_task(
        protocol,
        "I-M",
        table.drop(
            index=table.index[(table["corpus"] == "msp_improv") & (table["emotion"] == "anger")][0]
        ),
    )
    assert (
        len(rows) == 5531 + 7797
        and "7797 utterances where 7798 are recalled" in capsys.readouterr().out
    )
    small = (
        needed(corpora, protocol.tasks["I-R"])
        .groupby(["corpus", "emotion", "speaker"], group_keys=False)
        .head(3)
    )
    rows, _ = build_task(protocol, "I-R", small, check_counts=False)
    assert len(rows) < 5531 and "warning" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "task", "column", "word"),
    [("emofsl", "I-R", "speaker", "speaker"), ("few_shot_ser", "en+es-it", "film", "film")],
)
def test_an_unknown_group_is_refused(corpora, name, task, column, word):
    def forget(table):
        table.loc[table.index[table["emotion"] == "anger"][0], column] = ""
        return table

    assert f"1 utterance(s) have no {word}" in refusal(corpora, name, task, forget)


def test_a_missing_corpus_emotion_or_task_is_named(corpora):
    assert "has no ravdess" in refusal(
        corpora, "emofsl", "I-R", lambda table: table[table["corpus"] == "iemocap"]
    )
    assert "no anger" in refusal(
        corpora,
        "emofsl",
        "I-R",
        lambda table: table[(table["corpus"] == "iemocap") | (table["emotion"] != "anger")],
    )
    with pytest.raises(ProtocolError, match="no task 'R-R'; it has I-R"):
        build_task(load_protocol("emofsl"), "R-R", corpora["ravdess"])


def test_an_overlap_is_refused(corpora):
    """A film that stands in two folds' sides: the same film on the training and the test side
    without film folds.
    """
    base = load_protocol("few_shot_ser")
    task = Task(
        name="leaky",
        train={"corpus": ["emofilm"], "language": ["en"]},
        test={"corpus": ["emofilm"], "language": ["it"]},
        emotions=base.tasks["agnostic"].emotions,
    )
    leaky = Protocol(
        name="x", title="t", source="s", metric="UAR", group="film", tasks={"leaky": task}
    )
    with pytest.raises(LeakError, match="film.*on both the training and the test side"):
        build_task(leaky, "leaky", corpora["emofilm"])


def test_an_emotion_that_nobody_trains_is_refused(corpora):
    task = Task(
        name="t",
        train={"corpus": ["shemo"]},
        test={"corpus": ["aesdd"]},
        emotions=load_protocol("da_mldg").tasks["1"].emotions,
    )
    protocol = Protocol(
        name="x",
        title="t",
        source="s",
        metric="UAR",
        group="speaker",
        tasks={"t": task},
        absent={"shemo": ["disgust"]},
    )
    with pytest.raises(FoldError, match="nobody on the training side speaks disgust"):
        build_task(protocol, "t", pd.concat([corpora["shemo"], corpora["aesdd"]]))


def test_the_seed_decides_and_nothing_else(corpora):
    protocol = load_protocol("few_shot_ser")
    shuffled = corpora["emofilm"].sample(frac=1, random_state=1)
    one, again, other = (
        build_task(protocol, "agnostic", table, seed)[1]
        for table, seed in (
            (corpora["emofilm"], 0),
            (corpora["emofilm"], 0),
            (corpora["emofilm"], 1),
        )
    )

    def folds_of(split):
        return split[split["role"] == "test"].set_index("utt_id")["fold"].sort_index()

    assert one.equals(again) and not folds_of(one).equals(folds_of(other))
    assert folds_of(one).equals(folds_of(build_task(protocol, "agnostic", shuffled, 0)[1]))


@pytest.mark.parametrize("name", protocol_names())
def test_describe_tells_all_of_it(name):
    protocol = load_protocol(name)
    text = protocol.describe()
    told = (
        protocol.title,
        protocol.source,
        protocol.metric,
        *protocol.deviations,
        *protocol.disagreements,
    )
    for part in (*told, *map(describe_task, protocol.tasks.values())):
        assert part in text
    assert protocol.deviations and all(
        str(one["utterances"]) in text for one in protocol.expected.values()
    )
    assert {
        card_name(corpus) for task in protocol.tasks.values() for corpus in task.corpora
    } <= set(corpus_names())


def test_scenario_five_stands_both_ways_and_says_why():
    tasks = load_protocol("da_mldg").tasks
    assert tasks["5"].test["corpus"] == ["emodb"] and tasks["5-as-printed"].test["corpus"] == [
        "aesdd"
    ]
    assert any("Scenario 5" in one for one in load_protocol("da_mldg").disagreements)
    with pytest.raises(ProtocolError, match="known: alexnet"):
        load_protocol("nope")
