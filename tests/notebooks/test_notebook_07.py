"""Notebook 07, one's own voice: without a browser, with a microphone, and uploads in a browser."""

import json
import pathlib
import shutil
import zipfile

import pytest
import soundfile
from browser import browser_page, shipped, shots_folder, wait_until, workspace
from front_ends import LAB_4, NOTEBOOK_6, opened, run_everything
from notebook_runs import embedded_parts, only, run

from colab_utils.label import label
from colab_utils.learning import kept
from colab_utils.panel import record
from colab_utils.panel.record import ENROLMENT, OwnRecordings

NAME = "07_your_voice.ipynb"
LOUD = "THIS MODEL KNOWS SYNTHETIC VOICES ALONE"
SOUND = {".wav", ".flac", ".mp3", ".ogg", ".opus"}


def clips_of(folder: pathlib.Path, speaker: str, emotion: str) -> list[pathlib.Path]:
    """An embedded voice on the phone."""
    return sorted(folder.glob(f"corpora/synthetic/phone/{speaker}-{emotion}-*.flac"))


@pytest.fixture(scope="module")
def run_all(embedded_workspace, tmp_path_factory) -> tuple[pathlib.Path, str]:
    """The workspace after *Run all*, and what was printed."""
    work = tmp_path_factory.mktemp("voice") / "out"
    embedded_parts(work, embedded_workspace, "corpora", "features")
    done = run(NAME, work, "SAVE=True")
    assert done.returncode == 0, done.stdout + done.stderr
    return work, done.stdout


def test_run_all_needs_no_microphone(run_all):
    work, printed = run_all
    assert LOUD in printed and "clips of an embedded, synthetic voice stand in" in printed
    assert "All of it is one voice" in printed and "right: that fits any model" in printed
    assert not (work / "recordings").exists(), "nothing of the reader's is there"
    model = kept.open_model(work / "models" / "synthetic-studio")
    assert {one["corpus"] for one in model.about["trained_on"]} == {"synthetic-studio"}
    with zipfile.ZipFile(only(work, "downloads/*.zip")) as opened_zip:
        names = {name.partition("/")[2] for name in opened_zip.namelist()}
    assert not {name for name in names if pathlib.Path(name).suffix in SOUND}
    pictures = [name for name in names if name.endswith(".png")]
    assert len(pictures) == 14, "twelve recordings, what changed, confusion matrices"
    assert {"tables/answers.csv", "tables/as kept.csv", "README.txt"} <= names
    executed = json.loads((work / "notebooks" / NAME).read_text())
    pages = [
        "".join(output.get("data", {}).get("text/html", ""))
        for cell in executed["cells"]
        for output in cell.get("outputs", [])
    ]
    assert "Synthetic corpus: not a result on speech" in "".join(pages)


def test_recorded_in_a_browser_played_and_labelled(run_all, tmp_path):
    """A clip that the browser hears as its microphone is answered as the file itself is."""
    work, _ = run_all
    clip = clips_of(work, "m1", "anger")[0]
    samples, rate = soundfile.read(clip)
    fed = tmp_path / "fed.wav"
    soundfile.write(fed, samples, rate)
    most = len(samples) / rate
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with browser_page(flags=(*flags, f"--use-file-for-fake-audio-capture={fed}")) as page:
        body = {"body": "<!doctype html><body></body>", "content_type": "text/html"}
        page.route("https://voice.test/", lambda route: route.fulfill(**body))
        page.goto("https://voice.test/")
        script = record.expression(["no label"], 0, most, upload=False)
        page.evaluate(f"{script}.then((answer) => {{ window.answer = answer; }}); null")
        page.get_by_role("button", name="Record").click()
        page.wait_for_function("window.answer !== undefined", timeout=20_000)
        found = record.understood(page.evaluate("window.answer"))
    model = kept.open_model(work / "models" / "synthetic-studio")
    mine = OwnRecordings(tmp_path / "recordings", model.labels)
    taken = mine.take("unlabelled", "mine.wav", found["wav"])
    assert "<audio" in mine.html()
    others = [str(path) for path in clips_of(work, "m1", "neutral")]
    for file in (taken, clip):
        answers = label(model, [str(file), *others], speaker="me", progress=False)
        row = answers.table.iloc[0]
        print(row["emotion"], row.filter(regex="^p_").round(2).to_dict())
        if file == taken:
            heard = row
    assert heard["emotion"] == row["emotion"]
    assert abs(heard["p_anger"] - row["p_anger"]) < 0.25


@pytest.mark.long
@pytest.mark.parametrize("keep", [False, True])
def test_recordings_go_to_drive_only_where_it_is_asked(
    embedded_workspace, tmp_path, monkeypatch, keep
):
    work, drive = tmp_path / "out", tmp_path / "drive"
    drive.mkdir()
    monkeypatch.setenv("SER_DRIVE", str(drive))
    embedded_parts(work, embedded_workspace, "corpora", "features")
    mine = OwnRecordings(work / "recordings", ["anger", "sadness"])
    for kind, emotion in ((ENROLMENT, "neutral"), ("anger", "anger"), ("sadness", "sadness")):
        for path in clips_of(work, "f2", emotion)[:5]:
            mine.take(kind, path.name, path.read_bytes())
    asked = "USE_DRIVE=True", f"KEEP_ON_DRIVE={keep}", "SAVE=True", "DELETE=True"
    done = run(NAME, work, *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stand in" not in done.stdout and "recording(s) deleted" in done.stdout
    assert not (work / "recordings").exists()
    sent = [path for path in drive.rglob("*") if path.suffix in SOUND]
    assert bool(sent) == keep
    assert all(path.parent.parent.name == "recordings" for path in sent)
    assert keep or not [path for path in drive.rglob("*") if path.is_file()]


@pytest.mark.long
@pytest.mark.parametrize("front_end", [NOTEBOOK_6, LAB_4])
def test_upload_in_a_browser(tmp_path, embedded_workspace, front_end):
    """Two files at once and a bad one; then the cells below again: they are labelled."""
    work, environment = workspace(tmp_path / "out", embedded_workspace[0], "corpora", "features")
    shots = shots_folder(tmp_path)
    chosen = []
    for number, path in enumerate(clips_of(work, "f3", "anger")[:2]):
        chosen.append(tmp_path / f"mine-{number}.flac")
        shutil.copy(path, chosen[-1])
    bad = tmp_path / "notes.txt"
    bad.write_text("no sound")
    with opened(front_end, tmp_path, shipped(NAME), environment) as page:
        run_everything(front_end, page, seconds=590)
        page.screenshot(path=shots / f"07-{front_end[:3]}-end.png", full_page=True)
        box = page.locator(".suite-recordings")
        box.locator("select").select_option(label="meant as anger")
        with page.expect_file_chooser() as dialogue:
            box.locator("button", has_text="Upload").click()
        dialogue.value.set_files([str(path) for path in (*chosen, bad)])
        wait_until(lambda: box.locator("audio").count() == 2, "a player for each", 60)
        assert "notes.txt is not taken: no audio file" in box.inner_text()
        files = sorted((work / "recordings" / "anger").glob("*"))
        assert [path.read_bytes() for path in files] == [path.read_bytes() for path in chosen]
        box.scroll_into_view_if_needed()
        page.screenshot(path=shots / f"07-{front_end[:3]}-upload.png")
        run_everything(front_end, page, seconds=590)
        shown = page.locator("td", has_text="mine-1.flac")
        wait_until(lambda: shown.count() == 1, "the file in the table of answers", 120)
        button = page.locator("button", has_text="Delete all recordings")
        button.scroll_into_view_if_needed()
        page.screenshot(path=shots / f"07-{front_end[:3]}-keep.png")
        button.click()
        wait_until(lambda: not (work / "recordings").exists(), "they are gone", 60)
        assert page.errors == []
