"""What a panel shows while it runs, and what stands in a notebook that was run without a reader."""

import re
import time

import nbclient
import pytest
from browser import make_notebook, wait_until

from colab_utils import progress
from colab_utils.panel import busy
from colab_utils.panel.panel import Panel


def test_a_clock_and_a_bar_go_while_it_runs_and_stop_after_it(monkeypatch):
    monkeypatch.setattr(busy, "_EVERY", 0.01)
    seen = []

    def work():
        with progress.bar(total=4, desc="test draws", mininterval=0) as bar:
            bar.update()
            wait_until(lambda: "1 of 4" in panel._busy.line.value, "the bar in the panel")
            seen.append(panel._busy.line.value)
        wait_until(lambda: "of 4" not in panel._busy.line.value, "no bar after it was closed")
        seen.append(panel._busy.line.value)

    panel = Panel(None, run=work)
    panel.run_once()
    with_bar, without = seen
    assert re.search(r"Running \d s · test draws 1 of 4, about \d+ s left", with_bar)
    assert '<progress max="4" value="1"' in with_bar and "<progress style" in without
    time.sleep(0.05)
    assert "Done in" in panel._busy.line.value, "the clock has stopped"


def test_a_minute_is_told_as_such():
    assert busy._duration(59.4) == "59 s" and busy._duration(125) == "2 min 5 s"


CELLS = (
    """
import dataclasses
from colab_utils.settings import setting
from colab_utils.panel.panel import Panel
@dataclasses.dataclass(frozen=True)
class C:
    n: int = setting(2, "a number", low=1, high=5)
def run(config):
    print("ran with", config.n)
    if config.n == 4:
        raise ValueError("four is refused")
panel = Panel(C, run)
panel""",
    "panel.run_once()",
    "panel.set(n=3); panel.run_once()",
    "panel.set(n=4); panel.run_once()",
)


@pytest.mark.slow
def test_headless_a_run_replaces_its_output_and_a_failing_one_fails_the_notebook(tmp_path):
    notebook = make_notebook(*CELLS)
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=60, resources=where, allow_errors=True).execute()
    once, again, failing = notebook.cells[1:]
    assert once.outputs == again.outputs == [], "what a run prints goes into the panel"
    (error,) = failing.outputs
    assert error["output_type"] == "error" and "four is refused" in error["evalue"]
    states = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    outputs = []
    for model in states.values():
        outputs += model["state"].get("outputs", [])
    printed, shown = outputs
    assert printed["text"] == "ran with 4\n", "of the last run alone"
    assert "four is refused" in shown["data"]["text/html"]
