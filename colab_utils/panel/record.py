"""Recordings of one's own, from Colab's browser or uploaded: a folder for each kind."""

import base64
import html
import json
import pathlib
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ipywidgets
import pandas as pd

from colab_utils import files, session
from colab_utils.corpora.audio import EXTENSIONS, AudioError, read_audio
from colab_utils.display.hear import clip_html
from colab_utils.features.acoustic.quality import quality, remarks
from colab_utils.panel.fields import QUIET, WRAPPED

ENROLMENT, UNLABELLED = "enrolment", "unlabelled"  # kinds besides the emotions
_WORDS = {ENROLMENT: "neutral sentence", UNLABELLED: "no label"}
_SCRIPT = pathlib.Path(__file__).with_name("recorder.js")
_PATIENCE = 600  # seconds until nobody is waited for any longer
_LOST = 0.1  # seconds that a recording may lack
# by the name that the browser gives its error
_REFUSED = {
    "NotAllowedError": "the microphone was not allowed: allow it at the left of the address bar",
    "NotFoundError": "this machine has no microphone: plug one in",
    "NotReadableError": "another program holds the microphone: close it",
    "SecurityError": "the browser gives no microphone to a page without https: open it so",
}


class RecordingError(ValueError):
    """Something that could not be recorded or taken; one sentence says why and what to do."""


def expression(kinds: Sequence[str], kind: int, most: float, upload: bool) -> str:
    """The recorder as one expression of JavaScript, a promise of what `recorder.js` says.

    Args:
        kinds: what may be recorded, in words.
        kind: the one that is chosen at first.
        most: seconds of a recording.
        upload: whether files may be chosen instead.
    """
    wanted = {"kinds": list(kinds), "kind": kind, "most": most, "upload": upload}
    script = _SCRIPT.read_text(encoding="utf-8")
    return f"(async () => {{\n{script}\nreturn await askForVoice({json.dumps(wanted)});\n}})()"


def understood(answer: Any) -> Mapping[str, Any]:
    """What the recorder gave, its WAV as bytes.

    Raises:
        RecordingError: no microphone, or a recording with holes.
    """
    if not isinstance(answer, Mapping):
        raise RecordingError("nobody pressed a button: run the cell again")
    if "error" in answer:
        name, told = answer["error"], answer.get("told", "")
        why = _REFUSED.get(name, f"the browser did not record ({name}: {told}): reload the page")
        raise RecordingError(f"{why}, and run the cell again, or upload a file")
    if answer.get("lost", 0.0) > _LOST:
        raise RecordingError(
            f"the browser lost {answer['lost']:.1f} s of the recording, which is not kept: close "
            "other tabs and record again"
        )
    if "wav" in answer:
        return {**answer, "wav": base64.b64decode(answer["wav"])}
    return answer


class OwnRecordings:
    """A folder of recordings, a sub-folder for each kind; in a notebook a box to upload to it.

    Kinds are ENROLMENT (neutral sentences of the speaker), UNLABELLED, and the emotions. The folder
    is one that notebooks read as a corpus of one's own (`corpora.open_corpus("own", folder)`).

    Args:
        folder: where they lie; made with the first of them.
        emotions: what recordings may be labelled as.
        most: seconds of a recording in the browser.

    Example:
        >>> recordings = OwnRecordings(workspace / "recordings", model.labels)
        >>> recordings.take("anger", "mine.wav", data)
    """

    def __init__(self, folder: files.AnyPath, emotions: Iterable[str], most: float = 20.0):
        self.folder, self.most = pathlib.Path(folder), most
        self.kinds = [ENROLMENT, UNLABELLED, *emotions]
        self._words = [_WORDS.get(kind, f"meant as {kind}") for kind in self.kinds]

    @property
    def table(self) -> pd.DataFrame:
        """file, kind and name ("anger/anger-01.wav") of each, in the order of kinds and names."""
        rows = []
        for kind in self.kinds:
            for path in sorted((self.folder / kind).glob("*")):
                if path.suffix.lower() in EXTENSIONS and not path.name.startswith("."):
                    rows.append((str(path), kind, f"{kind}/{path.name}"))
        return pd.DataFrame(rows, columns=["file", "kind", "name"])

    def take(self, kind: str, name: str, data: bytes) -> pathlib.Path:
        """Put a recording into the folder of its kind.

        Args:
            kind: one of `kinds`.
            name: of the file; a number is put behind it where it is another one's.
            data: its bytes, of any format that the suite reads.

        Returns:
            Where it lies.

        Raises:
            RecordingError: it cannot be used; the sentence names it, and it is not kept.
        """
        plain = re.sub(r'[<>:"/\\|?*\x00-\x1f]+', "-", name).strip(" .") or "unnamed"
        path = self.folder / kind / plain[-100:]
        number = 2
        while path.exists() and path.read_bytes() != data:
            path = path.with_name(f"{pathlib.Path(plain).stem[-90:]}-{number}{path.suffix}")
            number += 1
        files.write_bytes(path, data)
        try:
            if path.suffix.lower() not in EXTENSIONS:
                raise AudioError(path, f"no audio file ({', '.join(EXTENSIONS)})")
            read_audio(path)
        except AudioError as error:
            path.unlink()
            raise RecordingError(f"{name} is not taken: {error.reason}") from error
        return path

    def take_uploaded(self, kind: str, value: Any) -> list[str]:
        """Take what an upload widget holds, as far as it can be used.

        Args:
            kind: one of `kinds`.
            value: of `ipywidgets.FileUpload`, version 7 or 8.

        Returns:
            A sentence for each file that was not taken.
        """
        refused = []
        for name, data in _uploaded(value):
            try:
                self.take(kind, name, data)
            except RecordingError as error:
                refused.append(f"{error}.")
        return refused

    def record(self) -> None:
        """Ask for recordings, one after another, until *Done* is pressed; needs Colab.

        A box with the microphone shows below the cell; each recording is kept and judged as it
        ends. Elsewhere, and where there is no microphone, one sentence says so.
        """
        if not session.in_colab():
            print("Only Colab's browser lends its microphone to Python: upload files below.")
            return
        kind, going = 0, True
        while going:
            try:
                kind, going = self._ask(kind)
            except RecordingError as error:
                print(f"Not recorded: {error}.")
                return

    def _ask(self, kind: int) -> tuple[int, bool]:
        """One press of a button: the kind that was chosen, and whether there may be more."""
        from google.colab import output
        from IPython.display import HTML, display

        script = expression(self._words, kind, self.most, upload=True)
        try:
            answer = output.eval_js(script, timeout_sec=_PATIENCE)
        except Exception as error:  # MessageError and others: the list is Google's
            raise RecordingError(
                f"the browser could not be reached ({files.one_line(error)}): run the cell again"
            ) from error
        found = understood(answer)
        if found.get("done"):
            return kind, False
        kind = found["kind"]
        name = self.kinds[kind]
        if found.get("upload"):
            self._upload_in_colab(name)
            return kind, True
        number = len(list((self.folder / name).glob("*"))) + 1
        try:
            taken = self.take(name, f"{name}-{number:02d}.wav", found["wav"])
            display(HTML(card_html(taken, taken.stem)))
        except RecordingError as error:
            print(f"{error}.")
        return kind, True

    def _upload_in_colab(self, kind: str) -> None:
        """Files by Colab's dialogue, which leaves a copy of each in the current folder."""
        from google.colab import files as browser

        for name, data in browser.upload().items():
            pathlib.Path(name).unlink(missing_ok=True)
            try:
                print(f"taken: {self.take(kind, name, data).name}")
            except RecordingError as error:
                print(f"{error}.")

    def delete(self) -> str:
        """Delete all recordings.

        Returns:
            A sentence: how many there were.
        """
        number = len(self.table)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        return f"{number} recording(s) deleted; {self.folder} is gone."

    def deleter(self) -> ipywidgets.HBox:
        """A button that deletes all recordings, and what it says."""
        button = ipywidgets.Button(
            description="Delete all recordings", icon="trash", layout={"width": "auto"}
        )
        told = ipywidgets.HTML()

        def deleted(_button: Any) -> None:
            told.value = f'<span role="status">{html.escape(self.delete())}</span>'

        button.on_click(deleted)
        return ipywidgets.HBox([button, told], layout=WRAPPED)

    def _ipython_display_(self) -> None:
        """Show the box: what it is, files to choose, what is there."""
        from IPython.display import display

        display(self.box())

    def box(self) -> ipywidgets.VBox:
        """A drop-down of kinds, a button to upload, and what is there, with players."""
        options = list(zip(self._words, self.kinds, strict=True))
        kind = ipywidgets.Dropdown(options=options, description="what it is")
        upload = ipywidgets.FileUpload(multiple=True, description="Upload")
        told = ipywidgets.HTML()
        shown = ipywidgets.HTML(self.html())

        def taken(_change: Any) -> None:
            sentences = self.take_uploaded(kind.value, upload.value)
            lines = "".join(f"<div>{html.escape(one)}</div>" for one in sentences)
            told.value = f'<div role="status">{lines}</div>'
            shown.value = self.html()

        upload.observe(taken, names="value")
        box = ipywidgets.VBox([ipywidgets.HBox([kind, upload], layout=WRAPPED), told, shown])
        box.add_class("suite-recordings")
        return box

    def html(self) -> str:
        """All recordings with a player and what stands against each."""
        table = self.table
        if table.empty:
            return f'<div style="{QUIET}">no recordings yet</div>'
        cards = [card_html(one.file, one.name) for one in table.itertuples()]
        return f'<div style="display:flex;flex-wrap:wrap;gap:1em">{"".join(cards)}</div>'


def _uploaded(value: Any) -> list[tuple[str, bytes]]:
    """Name and bytes of each file: a dict in ipywidgets 7, a tuple in 8."""
    if isinstance(value, Mapping):
        return [(name, bytes(one["content"])) for name, one in value.items()]
    return [(one["name"], bytes(one["content"])) for one in value]


def judged(file: files.AnyPath) -> list[str]:
    """What stands against judging a file, a sentence each.

    Args:
        file: any that the suite reads.
    """
    samples, rate = read_audio(file)
    return remarks(quality(samples.mean(axis=1), rate))


def card_html(file: files.AnyPath, name: str) -> str:
    """A recording's name, player and what stands against it, as HTML.

    Args:
        file: of the audio.
        name: to show.
    """
    try:
        told = judged(file) or ["fit to be judged"]
    except AudioError as error:
        told = [error.reason]
    lines = "".join(f"<div>{html.escape(one)}</div>" for one in told)
    return (
        f'<figure style="margin:0;width:21em"><figcaption>{html.escape(name)}</figcaption>'
        f'{clip_html(file, name)}<div style="{QUIET}">{lines}</div></figure>'
    )
