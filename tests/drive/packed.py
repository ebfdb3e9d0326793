"""Archives made for tests, and what lies in a folder."""

import hashlib
import io
import pathlib
import tarfile
import zipfile


def contents(folder) -> dict[str, str]:
    """Every file below `folder` with its SHA-256, hidden ones too; locks do not count."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(pathlib.Path(folder).rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def pack(path, members: dict[str, bytes]) -> pathlib.Path:
    """A zip or tar (by suffix) with these members."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(
            path, f"w:{path.suffix[1:].replace('t', '').replace('ar', '') or ''}"
        ) as archive:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


CLIPS = {
    "emodb/wav/03a01Fa.wav": b"RIFF" * 100,
    "emodb/wav/03a02Fc.wav": b"",
    "readme.txt": "Grüße".encode(),
}
