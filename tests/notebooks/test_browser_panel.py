"""The panel in a real browser, as a reader uses it: keys on a slider, Run, an error, Reset,
Download.
"""

import hashlib
import os
import pathlib
import zipfile

from browser import make_notebook, notebook_page, run_all, wait_until

SETTINGS = """
import dataclasses
from colab_utils.settings import setting

@dataclasses.dataclass(frozen=True)
class DemoConfig:
    n_shot: int = setting(2, "Labelled utterances per emotion in the support set.", low=1, high=10)
    learning_rate: float = setting(0.01, "Step size of the inner loop.", low=1e-4, high=1.0)
    emotions: tuple = setting(
        ("anger", "sadness"), "Emotions of a task.", options=("anger", "happiness", "sadness")
    )
    rule: str = setting("nearest", "How a query is labelled.", options=("nearest", "linear"))
    first_order: bool = setting(False, "Leave out second derivatives.")
"""
PANEL = """
import pathlib
from IPython.display import display
from colab_utils import drive, session
from colab_utils.display import style
from colab_utils.panel.panel import Panel

def run(config):
    if not config.emotions:
        raise ValueError("emotions = (): choose at least one")
    with style.suite_style():
        figure = style.new_figure(3.5, 1.6)
        axes = figure.subplots()
        axes.plot(range(config.n_shot + 1))
        axes.set_title(f"n_shot = {config.n_shot}, rule = {config.rule}")
    print(f"drawn with n_shot={config.n_shot}")
    display(figure)
    return style.save_figure(figure, session.workspace() / "demo")

panel = Panel(DemoConfig, run, download=lambda paths: drive.download(paths, "demo"), title="Demo")
panel
"""


def picture(page) -> str:
    """A hash of the one picture in the panel's output."""
    return hashlib.sha256(
        page.locator(".suite-output img").first.get_attribute("src").encode()
    ).hexdigest()


def test_panel_runs_redraws_explains_errors_and_downloads(tmp_path):
    notebook = make_notebook(SETTINGS, PANEL, "panel.run_once(); print('ALL RUN')")
    work, shots = tmp_path / "out", pathlib.Path(os.environ.get("BROWSER_SHOTS", tmp_path))
    with notebook_page(tmp_path, notebook, {"SER_WORKSPACE": str(work)}) as page:
        run_all(page)
        page.wait_for_selector(".suite-output img")
        before = picture(page)
        panel = page.locator(".suite-panel")
        out = page.locator(".suite-output").last
        assert "drawn with n_shot=2" in out.inner_text()

        handle = page.locator(".ui-slider-handle, .noUi-handle").first
        handle.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        wait_until(
            lambda: "n_shot=5" in panel.locator(".widget-html pre").first.inner_text(),
            "the code shows the slider's new value",
        )
        assert picture(page) == before, "nothing runs before Run is pressed"

        panel.locator("button", has_text="Run").click()
        wait_until(
            lambda: "drawn with n_shot=5" in out.inner_text(),
            "the run's output names the new setting",
        )
        wait_until(
            lambda: page.locator(".suite-output img").count() == 1 and picture(page) != before,
            "another picture, alone",
        )
        assert "n_shot=2" not in out.inner_text(), "the earlier output was cleared"

        for name in ("anger", "sadness"):
            panel.get_by_label(name, exact=True).uncheck()
        panel.locator("button", has_text="Run").click()
        page.wait_for_selector(".suite-output [role=alert]")
        alert = page.locator(".suite-output [role=alert]").first
        assert "emotions = (): choose at least one" in alert.inner_text()
        assert "Traceback" not in alert.inner_text(), "the traceback is folded away"
        page.screenshot(path=shots / "panel-error.png", full_page=True)

        panel.locator("button", has_text="Reset").click()
        wait_until(
            lambda: "DemoConfig()" in panel.locator(".widget-html pre").first.inner_text(),
            "Reset puts every setting back",
        )
        panel.locator("button", has_text="Run").focus()
        page.keyboard.press("Enter")
        wait_until(
            lambda: "drawn with n_shot=2" in out.inner_text() and picture(page) == before,
            "Run by keyboard gives the first picture",
        )

        panel.locator("button", has_text="Download").click()
        archive = work / "downloads" / "demo.zip"
        wait_until(archive.is_file, "the zip in the workspace")
        wait_until(
            lambda: "Saved" in page.locator(".suite-messages").inner_text(),
            "the line that says where the zip is",
        )
        page.screenshot(path=shots / "panel.png", full_page=True)
        assert page.errors == []
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert {pathlib.PurePosixPath(name).name for name in opened.namelist()} == {
            "demo.png",
            "demo.pdf",
            "demo.svg",
        }
