"""Recording in a browser with a WAV as its microphone, uploads, and the folder of recordings."""

import base64
import io
import sys
import types

import numpy as np
import pytest
import soundfile
from browser import browser_page
from fake_colab import FakeColab, MessageError
from scipy.signal import correlate, resample_poly

from colab_utils.panel import record
from colab_utils.panel.record import ENROLMENT, OwnRecordings, RecordingError

EMOTIONS = ["anger", "sadness"]
ASKED = {"kinds": ["no label", "anger"], "kind": 1, "most": 2, "upload": True}
DEVICE = "--use-fake-device-for-media-stream"
ALLOWED = "--use-fake-ui-for-media-stream"


def chirp(seconds=3.0, rate=16000):
    """A rising tone, at each moment another one: a lost piece would show."""
    n = np.arange(round(seconds * rate))
    return 0.4 * np.sin(2 * np.pi * (200 + 150 * n / rate) * n / rate)


def wav(wave, rate=16000):
    """The bytes of a WAV."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def asked_in(page):
    """The recorder on an empty page; its answer will be in `window.answer`."""
    body = {"body": "<!doctype html><body></body>", "content_type": "text/html"}
    page.route("https://voice.test/", lambda route: route.fulfill(**body))
    page.goto("https://voice.test/")
    script = record.expression(**ASKED)
    page.evaluate(f"{script}.then((answer) => {{ window.answer = answer; }}); null")


def answer_of(page):
    page.wait_for_function("window.answer !== undefined", timeout=20_000)
    assert page.locator(".suite-recorder").count() == 0, "nothing stays in the page"
    assert page.errors == []
    return page.evaluate("window.answer")


def recorded_to_the_end(page):
    """What is recorded until the time is over: the answer, and its samples at 16 kHz."""
    asked_in(page)
    page.get_by_role("button", name="Record").click()
    page.wait_for_function("document.querySelector('meter').value > -30", timeout=20_000)
    found = record.understood(answer_of(page))
    assert found["kind"] == 1
    heard, rate = soundfile.read(io.BytesIO(found["wav"]))
    assert len(heard) == 2 * rate, "the time limit, to the sample"
    assert soundfile.info(io.BytesIO(found["wav"])).subtype == "PCM_16"
    return found, resample_poly(heard, 16000, rate)


@pytest.mark.slow
def test_what_the_microphone_heard_is_what_is_recorded_and_played(tmp_path):
    """To the end of its time, without a gap, and stopped by hand."""
    fed = chirp()
    file = tmp_path / "fed.wav"
    file.write_bytes(wav(fed))
    flags = DEVICE, ALLOWED, f"--use-file-for-fake-audio-capture={file}"
    with browser_page(flags=flags) as page:
        same = []
        # on a loaded machine the pretended microphone itself stutters
        while len(same) < 4 and max(same, default=0) < 0.98:
            found, heard = recorded_to_the_end(page)
            # the microphone begins again where the file ends
            start = correlate(np.tile(fed, 3), heard, "valid").argmax()
            piece = np.tile(fed, 3)[start : start + len(heard)]
            same.append(np.corrcoef(piece, heard)[0, 1])
        assert max(same) > 0.98, same
        assert np.std(heard) == pytest.approx(np.std(fed), rel=0.1), "no level is evened out"
        played = """async (data) => {
            const sound = new Audio("data:audio/wav;base64," + data);
            const ended = new Promise((resolve) => { sound.onended = resolve; });
            sound.playbackRate = 8; await sound.play(); await ended; return sound.duration; }"""
        data = base64.b64encode(found["wav"]).decode()
        assert page.evaluate(played, data) == pytest.approx(2.0, abs=1e-3)
        asked_in(page)
        page.locator("select").select_option(index=0)
        page.get_by_role("button", name="Record").click()
        page.wait_for_function(
            "parseFloat(document.querySelector('[role=status]').innerText) > 0.5"
        )
        page.get_by_role("button", name="Stop").click()
        found = record.understood(answer_of(page))
        assert found["kind"] == 0
        heard, rate = soundfile.read(io.BytesIO(found["wav"]))
        assert 0.3 * rate < len(heard) < 1.8 * rate
        for button, answer in (("Done", {"done": True}), ("Upload files", {"kind": 1})):
            asked_in(page)
            page.get_by_role("button", name=button).click()
            assert answer.items() <= record.understood(answer_of(page)).items()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "told"), [([DEVICE], "microphone was not allowed"), ([], "no microphone")]
)
def test_without_a_microphone_there_is_one_sentence(flags, told):
    with browser_page(flags=tuple(flags)) as page:
        asked_in(page)
        page.get_by_role("button", name="Record").click()
        with pytest.raises(RecordingError, match=told) as raised:
            record.understood(answer_of(page))
    assert "upload a file" in str(raised.value) and "Error" not in str(raised.value)


def test_what_the_browser_may_say_besides():
    for answer, told in (
        (None, "nobody pressed"),
        ({"error": "AbortError", "told": "x"}, r"AbortError: x"),
        ({"kind": 0, "wav": "", "lost": 0.4}, r"lost 0.4 s"),
    ):
        with pytest.raises(RecordingError, match=told):
            record.understood(answer)


class Browser:
    """Colab's front end: each answer once, to `eval_js`; `upload` leaves files as Colab does."""

    def __init__(self, monkeypatch, tmp_path, answers, chosen=None):
        FakeColab(monkeypatch)
        monkeypatch.chdir(tmp_path)
        self.answers, self.scripts = list(answers), []
        output = types.ModuleType("google.colab.output")
        output.eval_js = self.eval_js
        colab = sys.modules["google.colab"]
        colab.output = output
        monkeypatch.setitem(sys.modules, "google.colab.output", output)
        chosen = chosen or {}

        def upload():
            for name, data in chosen.items():
                (tmp_path / name).write_bytes(data)
            return chosen

        colab.files.upload = upload

    def eval_js(self, script, timeout_sec=None):
        assert timeout_sec, "nobody is waited for without an end"
        self.scripts.append(script)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def spoken(kind, wave=None):
    """The recorder's answer."""
    data = wav(chirp(1.0) if wave is None else wave)
    return {"kind": kind, "wav": base64.b64encode(data).decode(), "lost": 0.0}


def test_recording_goes_on_until_done(monkeypatch, tmp_path, capsys):
    upload = {"kind": 3, "upload": True}
    silent = spoken(2, np.zeros(16000))
    answers = [spoken(0), spoken(0), silent, spoken(2), upload, {"done": True}]
    chosen = {"one.wav": wav(chirp(0.5)), "bad.txt": b"no sound"}
    browser = Browser(monkeypatch, tmp_path, answers, chosen)
    mine = OwnRecordings(tmp_path / "recordings", EMOTIONS, 7)
    mine.record()
    names = [f"{ENROLMENT}/enrolment-01.wav", f"{ENROLMENT}/enrolment-02.wav"]
    assert list(mine.table["name"]) == [*names, "anger/anger-01.wav", "sadness/one.wav"]
    assert (mine.folder / "anger" / "anger-01.wav").read_bytes() == wav(chirp(1.0))
    told = capsys.readouterr().out
    assert "anger-01.wav is not taken: no signal" in told and "bad.txt is not taken" in told
    assert not list(tmp_path.glob("*.wav")), "the dialogue's own copies are gone"
    assert '"most": 7' in browser.scripts[0] and '"kind": 2' in browser.scripts[-2]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"error": "NotAllowedError", "told": "denied"}, "Not recorded: the microphone was not"),
        (MessageError("ReferenceError: askForVoice"), "Not recorded: the browser could not be"),
    ],
)
def test_a_browser_without_a_microphone_ends_it_in_a_sentence(
    monkeypatch, tmp_path, capsys, answer, told
):
    Browser(monkeypatch, tmp_path, [answer])
    OwnRecordings(tmp_path / "recordings", EMOTIONS).record()
    said = capsys.readouterr().out
    assert said.startswith(told) and said.count("\n") == 1


def test_outside_colab_nothing_is_waited_for(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    OwnRecordings(tmp_path, EMOTIONS).record()
    assert capsys.readouterr().out.startswith("Only Colab's browser lends its microphone")


def test_files_are_taken_by_name_and_bad_ones_refused(tmp_path):
    mine = OwnRecordings(tmp_path / "recordings", EMOTIONS)
    one, other = wav(chirp(0.5)), wav(chirp(0.7))
    first = mine.take("anger", "../../a<b>.wav", one)
    assert first.parent == tmp_path / "recordings" / "anger" and first.read_bytes() == one
    assert mine.take("anger", "../../a<b>.wav", one) == first, "the same again"
    assert mine.take("anger", "../../a<b>.wav", other) != first
    bad = {"x.wav": b"", "y.wav": wav(chirp(0.01)), "notes.txt": b"words", "z.flac": one[:60]}
    for name, data in bad.items():
        with pytest.raises(RecordingError, match=f"^{name} is not taken: "):
            mine.take("sadness", name, data)
    assert len(mine.table) == 2
    assert mine.delete().startswith("2 recording(s) deleted") and not mine.folder.exists()
    assert mine.delete().startswith("0 recording(s) deleted")


@pytest.mark.parametrize("version", [7, 8])
def test_uploads_of_both_widget_versions(tmp_path, version):
    name, data = "<b>one</b>.wav", wav(chirp(0.5))
    value = {name: {"content": data}, "bad.wav": {"content": b"x"}}
    if version == 8:
        value = tuple({"name": key, **one} for key, one in value.items())
    mine = OwnRecordings(tmp_path, EMOTIONS)
    box = mine.box()
    (kind, upload), shown = box.children[0].children, box.children[2]
    assert "no recordings yet" in shown.value
    kind.value = "sadness"
    (refused,) = mine.take_uploaded(kind.value, value)
    assert refused.startswith("bad.wav is not taken: ")
    assert list(mine.table["kind"]) == ["sadness"]
    assert "<audio" in mine.html() and "<b>one" not in mine.html()
    assert upload.multiple


def test_what_stands_against_a_recording_is_under_it(tmp_path):
    mine = OwnRecordings(tmp_path, EMOTIONS)
    mine.take("anger", "quiet.wav", wav(0.003 * chirp()))
    assert "too quiet: speech at" in mine.html()
