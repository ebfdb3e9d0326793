"""Episodes shared out over the folds of a target, and code of one's own in them."""

import dataclasses
import weakref

import pandas as pd
import pytest
import torch
from maml_toys import (
    CONFIG,
    EPISODES,
    LABELS,
    folded_study,
    make_rows,
    make_study,
    one_of,
    only_run,
    study_of,
)
from toy_store import cross_corpus_split

from colab_utils.methods import maml
from colab_utils.methods.maml.episode_tasks import shares_of
from colab_utils.methods.maml.steps import read_seen
from colab_utils.protocols.episodes import EpisodePlan, EpisodePool
from colab_utils.protocols.folds import LeakError
from colab_utils.results.metrics import recompute


@pytest.mark.parametrize(
    ("n_tasks", "n_folds", "sizes"),
    [(10, 1, [10]), (10, 6, [2, 2, 2, 2, 1, 1]), (2, 3, [1, 1, 0]), (9, 3, [3, 3, 3])],
)
def test_episodes_are_shared_out_over_folds(n_tasks, n_folds, sizes):
    shares = shares_of(n_tasks, [str(fold) for fold in range(n_folds)])
    assert [len(share) for share in shares.values()] == sizes
    assert [number for share in shares.values() for number in share] == list(range(n_tasks))


@pytest.mark.parametrize(("n_folds", "n_tasks"), [(6, 10), (3, 2), (1, 4)])
def test_any_number_of_folds_and_episodes_works(tmp_path, n_folds, n_tasks):
    study = folded_study(tmp_path, n_folds)
    episodes = dataclasses.replace(EPISODES, n_tasks=n_tasks, n_seeds=2)
    models = {"MAML": dataclasses.replace(CONFIG, iterations=2)}
    runs = study.compare(CONFIG, episodes, models, ["nearest prototype"])
    for run in runs.values():
        table = run.predictions
        assert len(table) == 2 * n_tasks * 12 and run.metrics == recompute(run.path)
        for fold, share in shares_of(n_tasks, study.folds).items():
            mine = table[table["fold"] == fold]
            assert set(mine["task"]) == set(share)
            if not share:
                continue
            rows = study.part(one_of("maml"), fold, "test")
            pool = EpisodePool(rows, LABELS, EpisodePlan(4, 2, 3, ("speaker",)))
            wanted = []
            for episode in pool.episodes(1, share.start, len(share)):
                wanted += list(rows["utt_id"].to_numpy()[episode.query.ravel()])
            assert list(mine.loc[mine["seed"] == 1, "utt_id"]) == wanted
        steps = pd.read_csv(run.path / "steps.csv")
        assert len(steps[steps["step"] == 0]) == 2 * n_tasks
    for table in read_seen(runs["MAML"].path).values():
        assert len(table[table["step"] == 0]) == 2 * n_tasks, "as many as are tested"
    assert len(list(tmp_path.glob("trained/maml/*"))) == 2, "one training side, two seeds"


def test_what_a_fold_needed_is_let_go(tmp_path):
    study = folded_study(tmp_path, 3)
    seen, held = [], []
    read = study._read

    def watched(*arguments):
        held.append(sum(clips() is not None for clips in seen))
        clips = read(*arguments)
        seen.append(weakref.ref(clips))
        return clips

    study._read = watched
    study.compare(CONFIG, EPISODES, {}, ["nearest prototype", "logistic regression"])
    assert len(seen) == 6 and max(held) == 0, "three folds: for the scale, and to be tested"


def test_an_episode_of_any_fold_can_be_looked_at(tmp_path):
    study = folded_study(tmp_path, 3)
    study.rows = study.rows.assign(file="")
    for task in (0, 7, 19, 40):
        shown = study.episode(CONFIG, EPISODES, task)
        assert set(shown["task"]) == {task} and len(shown) == 4 * (2 + 3)
    run = only_run(study, "chance")
    split = run.split[(run.split["task"] == 7) & run.split["role"].isin(["support", "query"])]
    assert list(study.episode(CONFIG, EPISODES, 7)["utt_id"]) == list(split["utt_id"])


def test_films_stay_on_one_side_unless_they_were_published_so(tmp_path):
    rows = make_rows()
    dubbed = rows.assign(film=[f"f{i % 3}" for i in range(len(rows))], corpus="aa")
    split = cross_corpus_split(rows, "cc", n_valid_speakers=4)
    with pytest.raises(LeakError, match="film"):
        study_of(dubbed, split, tmp_path)
    study = study_of(dubbed, split, tmp_path, film_overlap=True)
    assert "films stand in training and in test, as published" in study.notes(one_of("maml"))


# --- one's own code -------------------------------------------------------------------------------


def test_a_method_of_ones_own_runs_in_the_same_episodes_and_anew_each_time(tmp_path):
    sign = [1.0]

    def nearest(tasks):
        """The nearest class mean, or with a sign of -1 the farthest."""
        member = torch.nn.functional.one_hot(tasks.support.y, len(LABELS)).float()
        means = member.transpose(1, 2) @ maml.vectors(tasks.support) / EPISODES.shots
        apart = torch.cdist(maml.vectors(tasks.query), means)
        return torch.softmax(-sign[0] * apart, dim=-1)

    study = make_study(tmp_path)
    runs = study.compare(CONFIG, EPISODES, {}, ["nearest prototype"], {"mine": nearest})
    before, known = runs["mine"], runs["nearest prototype"]
    assert list(before.predictions["pred"]) == list(known.predictions["pred"])
    sign[0] = -1.0
    after = study.compare(CONFIG, EPISODES, {}, [], {"mine": nearest})["mine"]
    assert after.metrics["uar"] < 0.2 and before.path != after.path
    assert not list(tmp_path.glob("trained/*/*")), "nothing was trained for it"
