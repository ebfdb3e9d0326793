"""All notebooks as a reader uses them, in both front ends: run, sliders, Run, the zip."""

import pytest
from browser import press, shipped, shots_folder, take_home, wait_until, workspace
from front_ends import LAB_4, NOTEBOOK_6, drag, opened, run_everything

pytestmark = pytest.mark.long

# notebook, lines behind its parameters, a slider and where it goes, what an alt text says of it
NOTEBOOKS = (
    ("01_feature_extraction", "", "C", "Left", "C = "),
    ("02_maml_training", "ITERATIONS = 60", "shots", "Left", "-shot"),
    ("03_emofsl_finetuning", "COMPARED = [5]", "shots", "Left", "-shot"),
    ("04_da_mldg", 'TASKS = ["synthetic-street"]\nSETTINGS = {"steps": 50}', "steps", "Left", ""),
    ("05_alexnet_spectrogram", "NUM_EPOCHS = 1", "stability", "Right", ""),
    ("06_compare_methods", "", "most", "Left", ""),
    ("08_sweep", 'METHODS = ["recommended", "erm"]\nSEEDS = 4', "seeds", "Left", ""),
)


def answered(page, before: list[str]) -> list[str]:
    """Press Run and wait for pictures that are others than `before`; returns them."""
    page.locator(".suite-panel button", has_text="Run").click()
    done = page.locator(".suite-panel [role=status]").filter(has_text="Done")

    def pictures() -> list[str]:
        return [one.get_attribute("src") for one in page.locator(".suite-output img").all()]

    wait_until(lambda: pictures() not in (before, []) and done.count(), "an answer", 300)
    return pictures()


@pytest.mark.parametrize(("name", "more", "slider", "way", "told"), NOTEBOOKS)
@pytest.mark.parametrize("front_end", [NOTEBOOK_6, LAB_4])
def test_a_notebook_runs_answers_and_gives_its_zip(
    tmp_path, embedded_workspace, front_end, name, more, slider, way, told
):
    parts = ("corpora", "features", "runs") if name.startswith("06") else ("corpora", "features")
    work, environment = workspace(tmp_path / "out", embedded_workspace[0], *parts)
    shots = shots_folder(tmp_path)
    with opened(front_end, tmp_path, shipped(f"{name}.ipynb", more), environment) as page:
        run_everything(front_end, page, seconds=590)
        print(front_end, name, *sorted(take_home(page, 240)), sep="\n    ")
        panel = page.locator(".suite-panel")
        before = answered(page, [])
        row = panel.locator(".widget-hslider").filter(
            has=page.locator(".widget-label", has_text=slider)
        )
        readout, handle = row.locator(".widget-readout"), row.locator(HANDLE)
        start = readout.first.inner_text()
        press(handle.first, f"Arrow{way}", 1)
        wait_until(lambda: readout.first.inner_text() != start, "the keyboard moves it")
        by_keys = readout.first.inner_text()
        drag(page, handle.first, 40 if way == "Right" else -40)
        wait_until(lambda: readout.first.inner_text() != by_keys, "the mouse moves it")
        answered(page, before)
        alts = [one.get_attribute("alt") for one in page.locator(".suite-output img").all()]
        assert any(told in alt for alt in alts), alts
        page.screenshot(path=shots / f"{name[:2]}-{front_end[:3]}.png")
        panel.locator("button", has_text="Download").click()
        panel.locator(".suite-messages a[download]").wait_for(timeout=240_000)
        assert page.errors == []


HANDLE = ".ui-slider-handle, .noUi-handle"
