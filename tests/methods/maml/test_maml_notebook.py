"""What notebook 02 shows of a study: figures of finished runs, and the panel."""

import dataclasses
import importlib

import pytest
from drawn import words
from maml_toys import CONFIG, EPISODES, make_study

from colab_utils.methods import maml
from colab_utils.settings import SettingError


@pytest.mark.slow
def test_the_notebook_s_figures_say_what_the_runs_were(tmp_path):
    study = make_study(tmp_path)
    config = dataclasses.replace(CONFIG, iterations=2)
    runs = study.compare(config, EPISODES)
    table = study.table(runs)
    assert list(table.index) == list(runs) and table.loc["nearest prototype", "difference"] == ""
    assert study.overview().loc[("test", "cc"), "speakers"] == 4
    for figure in (maml.methods_figure(runs), maml.steps_figure(runs)):
        said = words(figure)
        assert "toy, 4-way 2-shot" in said and "MAML, permuted ids" in said
        assert "chance" in said and "25.0" in said
    main = runs[config.title]
    assert "4-way 2-shot, MAML, fixed ids, 3 steps" in words(maml.matrix_figure(main, ", 3 steps"))
    said = words(maml.seen_figure(main))
    assert "20 tasks x 1 seed" in said
    assert all(f"{name} episodes" in said for name in ("training", "validation", "test"))
    assert config.title in words(maml.support_figure(main))
    assert config.title in words(maml.speakers_figure(main))


def test_the_panel_tests_other_episodes_and_says_where_it_cannot(tmp_path, monkeypatch):
    shown = []
    module = importlib.import_module("colab_utils.methods.maml.opening")
    monkeypatch.setattr(module, "display", shown.append)
    permuted = dataclasses.replace(CONFIG, regime="permuted", ways=3, iterations=2)
    study = make_study(tmp_path)
    panel = maml.panel(study, permuted, study.episodes(permuted, n_tasks=10))
    panel.set(shots=1, steps=4)
    runs = panel.run_once()
    simple = ["recommended", "nearest prototype", "logistic regression"]
    assert list(runs) == [*simple, "MAML, permuted ids"]
    assert runs["MAML, permuted ids"].config["test"]["shots"] == 1 and len(shown) == 3
    assert "recommended" in words(shown[0]) and "MAML" in words(shown[2])
    panel.set(ways=4)
    with pytest.raises(SettingError, match="train again"):
        panel.run_once()
