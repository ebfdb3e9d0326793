"""Notebook 04, DA-MLDG: without a browser, and as a reader uses it in one."""

import json

import pytest
from browser import notebook_page, run_all, run_panel, shipped, shots_folder, wait_until, workspace
from notebook_runs import embedded_parts, only, run

pytestmark = pytest.mark.slow


def test_notebook_04_on_the_embedded_corpus_and_on_real_corpora(
    embedded_workspace, real_corpora, tmp_path
):
    """Two left-out corpora: made, and spoken (vectors, then frames with speakers told apart first);
    a second run loads everything.
    """
    embedded_parts(tmp_path, embedded_workspace, "corpora", "features")
    for _ in range(2):
        done = run(
            "04_da_mldg.ipynb",
            tmp_path,
            "SETTINGS={'steps': 100}",
            "TASKS=['synthetic-room', 'scenario 7']",
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "front end: acoustic" in done.stdout and "trained before, loaded" in done.stdout
    assert done.stdout.count("nothing is computed again") >= 10
    for task in ("synthetic-phone+synthetic-street+synthetic-studio-synthetic-room", "scenario-7"):
        metrics = json.loads(
            only(tmp_path, f"runs/da_mldg/{task}-acoustic-da-mldg-*/metrics.json").read_text()
        )
        assert (
            metrics["uar"] > metrics["chance"] and metrics["speaker_independence"] == "independent"
        )
    assert "Synthetic" in (tmp_path / "index.html").read_text()
    small = (
        "{'network': 'resnet18', 'start': 'speakers', 'steps': 2, 'width': 8, 'per_domain': 4,"
        " 'validate_every': 2, 'n_boot': 50}"
    )
    done = run(
        "04_da_mldg.ipynb",
        tmp_path,
        "CORPORA=['emodb', 'emovo', 'savee']",
        "TASKS=['savee']",
        f"AUDIO={real_corpora}",
        f"SETTINGS={small}",
        "ALGORITHMS=['erm', 'da-mldg']",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads(
        only(tmp_path, "runs/da_mldg/emodb+emovo-savee-da-mldg-da-mldg*/metrics.json").read_text()
    )
    assert metrics["n_utterances"] == 300 and any(
        "speakers of emodb, emovo" in note for note in metrics["notes"]
    )


def test_notebook_04_in_a_browser(tmp_path, embedded_workspace):
    work, environment = workspace(tmp_path / "out", embedded_workspace[0], "corpora", "features")
    shots = shots_folder(tmp_path)
    with notebook_page(
        tmp_path,
        shipped("04_da_mldg.ipynb", 'TASKS = ["synthetic-street"]\nSETTINGS = {"steps": 100}'),
        environment,
    ) as page:
        run_all(page, seconds=400)
        page.locator(".cell").filter(
            has_text="readable_targets(table)"
        ).last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-04-test.png")
        panel = page.locator(".suite-panel")
        code = panel.locator(".widget-html pre").first
        before = run_panel(page)
        for name in ("da-mldg", "coral"):  # erm, da-mldg -> erm, coral
            panel.locator("label").filter(has_text=name).locator(
                "input[type=checkbox]"
            ).first.click()
        panel.locator("select").first.select_option(label="scenario 6")
        wait_until(
            lambda: "('erm', 'coral')" in code.inner_text() and "scenario 6" in code.inner_text(),
            "the settings to paste name them",
        )
        run_panel(page, before, seconds=120)
        assert [
            path
            for path in (work / "runs" / "da_mldg").iterdir()
            if path.name.startswith("scenario-6") and "coral" in path.name
        ]
        page.locator(".suite-output").last.scroll_into_view_if_needed()
        page.screenshot(path=shots / "notebook-04-panel.png")
        panel.locator("button", has_text="Download").click()
        wait_until(lambda: list((work / "downloads").glob("*.zip")), "the zip is saved", seconds=60)
        assert not page.errors, page.errors
