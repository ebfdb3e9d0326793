"""The address of the repository, stamped in every place and in nothing else."""

import json
import re
import subprocess
import sys

import pytest
import set_repo
import setup_cell
from repo import REPO

import colab_utils


def slugs_in(text):
    """Every address that stands in a badge or a REPOSITORY constant of `text`."""
    badges = " ".join(set_repo.BADGE.findall(text))
    in_badges = re.findall(r"/github/([^/]+/[^/]+)/blob/", badges)
    return {match["slug"] for match in set_repo.CONSTANT.finditer(text)} | set(in_badges)


@pytest.fixture
def small_repo(tmp_path):
    """The places that hold the address, in small, with neighbours that must stay as they are."""
    badge = setup_cell.badge("01_feature_extraction.ipynb", "OWNER/NAME")
    notebook = {
        "cells": [
            {"cell_type": "markdown", "source": [badge]},
            {
                "cell_type": "code",
                "source": setup_cell.setup_cell("OWNER/NAME").splitlines(keepends=True),
            },
        ]
    }
    texts = {
        "colab_utils/__init__.py": '__version__ = "1"\nREPOSITORY = "OWNER/NAME"\n',
        "README.md": (
            f"| `01_feature_extraction` | does this | {badge} |\r\n"
            "git clone https://github.com/OWNER/NAME.git, see"
            " https://github.com/OWNER/NAME.\npeer:"
            " https://github.com/sicara/easy-few-shot-learning, fork: github.com/OWNER/NAMESAKE,"
            " tools/set_repo.py OWNER/NAME\n"
        ),
        "notebooks/01_feature_extraction.ipynb": json.dumps(notebook, indent=1) + "\n",
        "docs/guide.md": "https://github.com/OWNER/NAME/issues",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def all_text(root) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes().decode()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_stamping_changes_every_place_and_nothing_else(small_repo):
    before = all_text(small_repo)
    assert len(set_repo.stamp("ada/speech.emotion-2", small_repo)) == 4
    after = all_text(small_repo)
    upload, link = (
        setup_cell.badge("01_feature_extraction.ipynb", slug)
        for slug in ("OWNER/NAME", "ada/speech.emotion-2")
    )
    assert link.endswith(
        "/github/ada/speech.emotion-2/blob/main/notebooks/01_feature_extraction.ipynb)"
    )
    expected = {
        name: (
            text.replace(upload, link)
            .replace("OWNER/NAME", "ada/speech.emotion-2")
            .replace("ada/speech.emotion-2SAKE", "OWNER/NAMESAKE")
            .replace("set_repo.py ada/speech.emotion-2", "set_repo.py OWNER/NAME")
        )
        for name, text in before.items()
    }
    assert after == expected
    cell = "".join(json.loads(after["notebooks/01_feature_extraction.ipynb"])["cells"][1]["source"])
    assert cell == setup_cell.setup_cell("ada/speech.emotion-2")


def test_stamping_twice_again_and_back(small_repo):
    before = all_text(small_repo)
    set_repo.stamp("ada/one", small_repo)
    assert set_repo.stamp("ada/one", small_repo) == []
    set_repo.stamp("bob/two", small_repo)
    assert "ada/one" not in "".join(all_text(small_repo).values())
    set_repo.stamp("OWNER/NAME", small_repo)
    assert all_text(small_repo) == before


def test_places_that_disagree_are_brought_together(small_repo):
    readme = small_repo / "README.md"
    set_repo.stamp("ada/one", small_repo)
    readme.write_bytes(readme.read_bytes().replace(b"github/ada/one", b"github/old/other"))
    set_repo.stamp("ada/one", small_repo)
    assert slugs_in(readme.read_text()) == {"ada/one"}


@pytest.mark.parametrize(
    "slug",
    [
        "",
        "ada",
        "ada/one/two",
        "https://github.com/ada/one",
        "ada/one.git",
        "a da/one",
        "ada/",
        '"/x',
        "-a/b",
    ],
)
def test_what_is_no_slug_is_refused_and_changes_nothing(small_repo, slug):
    before = all_text(small_repo)
    with pytest.raises(ValueError, match="OWNER/NAME"):
        set_repo.stamp(slug, small_repo)
    assert all_text(small_repo) == before


def test_the_package_without_its_constant_is_an_error(small_repo):
    (small_repo / "colab_utils" / "__init__.py").write_text("")
    with pytest.raises(ValueError, match="put it back"):
        set_repo.stamp("ada/one", small_repo)


def test_all_places_of_this_repository_agree():
    found = {
        path.name: slugs_in(path.read_text(encoding="utf-8")) for path in set_repo.stamped_files()
    }
    assert found["__init__.py"] == {colab_utils.REPOSITORY}
    assert {name: slugs for name, slugs in found.items() if slugs - {colab_utils.REPOSITORY}} == {}
    assert slugs_in(setup_cell.SETUP_CELL) == {colab_utils.REPOSITORY}


def test_command_line(small_repo):
    (small_repo / "tools").mkdir()
    for name in ("set_repo.py", "setup_cell.py"):
        (small_repo / "tools" / name).write_bytes((REPO / "tools" / name).read_bytes())
    commands = [
        [sys.executable, "tools/set_repo.py", slug] for slug in ("ada/one", "ada/one", "nonsense")
    ]
    done = [
        subprocess.run(command, cwd=small_repo, capture_output=True, text=True)
        for command in commands
    ]
    assert [one.returncode for one in done] == [0, 0, 2]
    assert done[0].stdout.count("stamped ") == 4
    assert "already" in done[1].stdout
    assert "'nonsense' is not of the form OWNER/NAME" in done[2].stderr
