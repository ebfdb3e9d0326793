"""The one thing all corpus parsers share: how a name is refused."""

from __future__ import annotations

import pathlib
import re


class ForeignNameError(ValueError):
    """A file name that is not one of the corpus' own utterances; `.reason` says why."""

    def __init__(self, path: pathlib.PurePosixPath, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason


def matched(
    pattern: re.Pattern, path: pathlib.PurePosixPath, rule: str, stem: str | None = None
) -> re.Match:
    """The match of the whole `stem` (default: the name without extension), or ForeignNameError with
    the naming `rule` in its reason.
    """
    match = pattern.fullmatch(path.stem if stem is None else stem)
    if match is None:
        raise ForeignNameError(path, f"the name does not follow {rule}")
    return match
