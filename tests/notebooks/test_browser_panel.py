"""The panel in a real browser, as a reader uses it: keys on a slider, Run, an error, Reset,
Download.
"""

import hashlib
import pathlib
import zipfile

import pytest
from browser import make_notebook, notebook_page, run_all, shots_folder, wait_until

pytestmark = pytest.mark.slow

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
    seed: int = setting(0, "Of the draws.", low=0, high=9, more=True)
"""
PANEL = """
import time
from IPython.display import display
from colab_utils.display import style
from colab_utils.panel.download import Download
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
    time.sleep(1.5 * (config.n_shot == 5))
    figure.name, figure.alt = "demo", f"a line of {config.n_shot + 1} points"
    display(figure)
    return {}

def save(result, figures):
    return Download("demo", result, figures=figures).save()

panel = Panel(DemoConfig, run, download=save, form={}, title="Demo")
panel
"""


CODE = ".suite-panel .widget-html pre"  # the settings to paste


def picture(page) -> str:
    """A hash of the one picture in the panel's output."""
    return hashlib.sha256(
        page.locator(".suite-output img").first.get_attribute("src").encode()
    ).hexdigest()


def text_of(page, selector):
    return page.locator(selector).first.inner_text()


def move_the_slider(page):
    """Three keys to the right: the code says so, and nothing runs."""
    before = picture(page)
    handle = page.locator(".ui-slider-handle, .noUi-handle").first
    handle.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    wait_until(
        lambda: "'n_shot': 5" in text_of(page, CODE), "the code shows the slider's new value"
    )
    assert picture(page) == before, "nothing runs before Run is pressed"


def unfold_by_keyboard(page):
    """Tab leads to the button that hides a setting, Enter shows it, Tab leads to its slider."""
    page.locator(".suite-panel input[type=checkbox]").last.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    seed = page.locator(".ui-slider-handle:visible, .noUi-handle:visible").nth(2)
    seed.wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    wait_until(lambda: "'seed': 1" in text_of(page, CODE), "the hidden slider has moved")


def run_by_mouse(page, out):
    """A new picture takes the place of the old one."""
    before = picture(page)
    page.locator(".suite-panel button", has_text="Run").click()
    page.locator(".suite-panel [role=timer] progress").wait_for()
    wait_until(lambda: "drawn with n_shot=5" in out.inner_text(), "the output names the setting")
    wait_until(
        lambda: page.locator(".suite-output img").count() == 1 and picture(page) != before,
        "another picture, alone",
    )
    assert "n_shot=2" not in out.inner_text(), "the earlier output was cleared"


def make_an_error(page):
    """One sentence; the traceback is folded away."""
    for name in ("anger", "sadness"):
        page.locator(".suite-panel").get_by_label(name, exact=True).uncheck()
    page.locator(".suite-panel button", has_text="Run").click()
    page.wait_for_selector(".suite-output [role=alert]")
    told = text_of(page, ".suite-output [role=alert]")
    assert "emotions = (): choose at least one" in told
    assert "Traceback" not in told


def reset_and_run_by_keyboard(page, out, first):
    """Every setting is back, and so is the first picture."""
    page.locator(".suite-panel button", has_text="Reset").click()
    wait_until(lambda: "SETTINGS = {}" in text_of(page, CODE), "Reset puts every setting back")
    page.locator(".suite-panel button", has_text="Run").focus()
    page.keyboard.press("Enter")
    wait_until(
        lambda: "drawn with n_shot=2" in out.inner_text() and picture(page) == first,
        "Run by keyboard gives the first picture",
    )


def download(page, archive):
    """The zip lies in the workspace, a line says where, and its link gives it to the reader."""
    page.locator(".suite-panel button", has_text="Download").click()
    wait_until(lambda: "Saved" in text_of(page, ".suite-messages"), "the line that says where")
    assert str(archive) in text_of(page, ".suite-messages")
    with page.expect_download() as taken:
        page.locator(".suite-messages a[download]").click()
    assert pathlib.Path(taken.value.path()).read_bytes() == archive.read_bytes()


def test_panel_runs_redraws_explains_errors_and_downloads(tmp_path):
    """The workspace lies where the server does not serve it."""
    notebook = make_notebook(SETTINGS, PANEL, "panel.run_once(); print('ALL RUN')")
    work, shots = tmp_path / "out", shots_folder(tmp_path)
    archive = work / "downloads" / "demo.zip"
    root = tmp_path / "notebooks"
    root.mkdir()
    with notebook_page(root, notebook, {"SER_WORKSPACE": str(work)}) as page:
        run_all(page)
        page.wait_for_selector(".suite-output img")
        out = page.locator(".suite-output").last
        assert "drawn with n_shot=2" in out.inner_text()
        shown = page.locator(".suite-output img").first
        assert shown.get_attribute("alt") == "a line of 3 points"
        first = picture(page)
        move_the_slider(page)
        unfold_by_keyboard(page)
        run_by_mouse(page, out)
        make_an_error(page)
        page.screenshot(path=shots / "panel-error.png", full_page=True)
        reset_and_run_by_keyboard(page, out, first)
        download(page, archive)
        page.screenshot(path=shots / "panel.png", full_page=True)
        assert page.errors == []
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        names = {pathlib.PurePosixPath(name).name for name in opened.namelist()}
    assert names >= {"demo.png", "demo.pdf", "demo.svg", "README.txt", "methods.txt", "cite.bib"}
