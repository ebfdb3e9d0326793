"""Tell the badges, the set-up cells and the package where the repository lives on GitHub.

    python tools/set_repo.py OWNER/NAME

Any address stamped before is replaced; a second run changes nothing. `OWNER/NAME` itself,
literally, takes the address out again; a badge then opens Colab's dialogue for uploading.
"""

from __future__ import annotations

import argparse
import pathlib
import re

import setup_cell

REPO = pathlib.Path(__file__).resolve().parent.parent
SLUG = r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}"
# The constant (with \" inside a notebook's JSON) and the badges are ours whatever they hold.
CONSTANT = re.compile(rf'(?P<before>REPOSITORY = \\?")(?P<slug>{SLUG})(?=\\?")')
BADGE = re.compile(re.escape(setup_cell.BADGE) + r"\([^)\s]*\)")
NOTEBOOK = re.compile(r"\b\d\d_[a-z_]+")


def stamped_files(root: pathlib.Path = REPO) -> list[pathlib.Path]:
    """The files that may hold the address, those that exist.

    The package's own is the last, so that an interrupted stamp can be repeated.
    """
    single = [path for name in ("README.md", "CITATION.cff") if (path := root / name).is_file()]
    return [
        *single,
        *sorted(root.glob("docs/**/*.md")),
        *sorted(root.glob("notebooks/*.ipynb")),
        root / "colab_utils/__init__.py",
    ]


def current_slug(root: pathlib.Path = REPO) -> str:
    """The address in colab_utils/__init__.py. Raises ValueError when the constant is missing."""
    found = CONSTANT.search((root / "colab_utils/__init__.py").read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(
            f'{root / "colab_utils/__init__.py"} has no line REPOSITORY = "OWNER/NAME": put it back'
        )
    return found["slug"]


def with_badges(text: str, slug: str, stem: str) -> str:
    """`text` with every badge for `slug`: of the notebook named in its line, else of `stem`."""
    lines = []
    for line in text.splitlines(keepends=True):
        named = NOTEBOOK.search(line)
        badge = setup_cell.badge(f"{named[0] if named else stem}.ipynb", slug)
        lines.append(BADGE.sub(lambda _, badge=badge: badge, line))
    return "".join(lines)


def stamp(slug: str, root: pathlib.Path = REPO) -> list[pathlib.Path]:
    """Write `slug` in all places below `root`; returns the files that changed.

    Raises ValueError for something that is no slug.

    Plain links to github.com are changed only where they name the address stamped before: others
    lead to other projects.
    """
    if not re.fullmatch(SLUG, slug) or slug.endswith(".git"):
        raise ValueError(f"{slug!r} is not of the form OWNER/NAME, such as 'ada/speech-emotion'")
    longer_name = r"(?![A-Za-z0-9_-]|\.(?!git\b)[A-Za-z0-9])"
    link = re.compile(
        rf"(?P<before>(?<![\w-])github\.com/){re.escape(current_slug(root))}{longer_name}"
    )
    changed = []
    for path in stamped_files(root):
        text = path.read_bytes().decode("utf-8")
        new = with_badges(text, slug, path.stem)
        for place in (CONSTANT, link):
            new = place.sub(lambda match: match["before"] + slug, new)
        if new != text:
            path.write_bytes(new.encode("utf-8"))
            changed.append(path)
    return changed


def main() -> None:
    """Stamp the address of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slug", metavar="OWNER/NAME")
    try:
        changed = stamp(parser.parse_args().slug)
    except ValueError as error:
        parser.error(str(error))
    print(
        "\n".join(f"stamped {path.relative_to(REPO)}" for path in changed)
        or "every place has this address already"
    )


if __name__ == "__main__":
    main()
