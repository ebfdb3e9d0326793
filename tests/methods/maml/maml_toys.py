"""A toy study: three corpora that exist only as tables, two to learn from and one to be tested."""

import dataclasses

import pandas as pd
from toy_store import Features, cross_corpus_split, toy_corpus

from colab_utils.learning.study import Tested
from colab_utils.methods.maml.settings import EpisodeConfig, MamlConfig
from colab_utils.methods.maml.study import MamlStudy

LABELS = ["anger", "fear", "happiness", "sadness"]
CONFIG = MamlConfig(
    ways=4,
    shots=2,
    queries=3,
    steps=2,
    iterations=30,
    meta_batch=4,
    validate_every=10,
    valid_tasks=8,
    width=16,
)
EPISODES = EpisodeConfig(ways=4, shots=2, queries=3, steps=3, n_tasks=20)


def make_rows(tested_speakers=4):
    """Six utterances of each speaker and emotion; aa and bb train, cc is tested."""
    corpora = [toy_corpus("aa", LABELS, 4, 6), toy_corpus("bb", LABELS, 4, 6)]
    corpora.append(toy_corpus("cc", LABELS, tested_speakers, 6))
    return pd.concat(corpora, ignore_index=True)


def study_of(rows, split, root, **more):
    store = Features(rows, LABELS)
    return MamlStudy("toy", rows, split, store, LABELS, root, progress=False, **more)


def make_study(root, **more):
    rows = make_rows()
    return study_of(rows, cross_corpus_split(rows, "cc", n_valid_speakers=4), root, **more)


def folded_study(root, n_folds):
    """A target in several folds of four speakers, which all have the same training side."""
    rows = make_rows(4 * n_folds)
    one = cross_corpus_split(rows, "cc", n_valid_speakers=4)
    parts = []
    for fold in range(n_folds):
        mine = {f"cc/s{who}" for who in range(4 * fold, 4 * fold + 4)}
        kept = (one["role"] != "test") | one["speaker"].isin(mine)
        parts.append(one[kept].assign(fold=str(fold)))
    return study_of(rows, pd.concat(parts, ignore_index=True), root)


def small_study(root):
    """From start to end, for a test that kills it."""
    study = folded_study(root, 2)
    config = dataclasses.replace(CONFIG, iterations=60, validate_every=5)
    study.train(config)
    study.compare(
        config,
        dataclasses.replace(EPISODES, n_seeds=2),
        {"MAML": config},
        ["nearest prototype", "ProtoNet", "pooled, fine-tuned"],
    )


def one_of(kind):
    return Tested(kind, CONFIG, kind=kind, test=EPISODES)


def only_run(study, baseline, episodes=EPISODES):
    """The run of one baseline."""
    return study.compare(CONFIG, episodes, {}, [baseline])[baseline]


def meta_trained(study, config=CONFIG, episodes=EPISODES):
    """The run of one meta-trained network."""
    return study.compare(config, episodes, {"MAML": config}, [])["MAML"]
