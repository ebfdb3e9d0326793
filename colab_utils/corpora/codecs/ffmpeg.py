"""Containers that libsndfile does not read, such as browsers and telephones record, by ffmpeg."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
from typing import IO

# what a reader calls the containers that ffmpeg opens here
NAMES = {"mp4": "an MPEG-4 recording", "matroska": "a WebM or Matroska recording"}
_SPEAKER = re.compile(r"^(\[[^]]*\] *)+")


def container(start: bytes) -> str:
    """Which of NAMES a file with these first bytes is; "" for none."""
    if start[4:8] == b"ftyp":
        return "mp4"
    if start[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    return ""


class Conversion:
    """A file on its way through ffmpeg: in a `with` block a pipe of Sun audio (.au), 32-bit floats.

    Rate and channels are kept. The container is told, so that a playlist that poses as a recording
    fetches nothing.

    Args:
        path: the file.
        container: of NAMES.

    Raises:
        FileNotFoundError: there is no ffmpeg.
    """

    def __init__(self, path: pathlib.Path, container: str):
        program = shutil.which("ffmpeg")
        if program is None:
            raise FileNotFoundError("ffmpeg")
        command = [program, "-nostdin", "-v", "error", "-f", container]
        command += ["-i", f"file:{os.path.abspath(path)}", "-map", "0:a:0"]
        command += ["-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
        self._told = tempfile.TemporaryFile()  # noqa: SIM115 (closed at the end of the block)
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._told)

    def __enter__(self) -> IO[bytes]:
        return self._process.stdout

    def __exit__(self, *_: object) -> None:
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()
        self._told.close()

    def fault(self) -> str:
        """What went wrong first, in ffmpeg's words, once the pipe is empty; "" for nothing."""
        code = self._process.wait()
        self._told.seek(0)
        lines = self._told.read().decode("utf-8", "replace").splitlines()
        # a line begins with the part of ffmpeg that speaks, [aac @ 0x55f8a2]
        words = [_SPEAKER.sub("", line).strip() for line in lines]
        return next(filter(None, words), f"ffmpeg ended with {code}" if code else "")
