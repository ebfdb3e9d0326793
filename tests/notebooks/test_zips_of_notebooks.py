"""The zip of each notebook: what its page shows, and texts and tables that a paper can take."""

import html
import io
import json
import pathlib
import re
import shutil
import subprocess
import zipfile

import nbformat
import pandas as pd
import pytest
from notebook_runs import embedded_parts, only, run
from PIL import Image

# fewer steps, so that a notebook is done in a minute or two
NOTEBOOKS = {
    "01_feature_extraction": [],
    "02_maml_training": ["ITERATIONS=60"],
    "03_emofsl_finetuning": ["COMPARED=[1, 5]"],
    "04_da_mldg": ["TASKS=['synthetic-street']", "SETTINGS={'steps': 100}"],
    "05_alexnet_spectrogram": ["NUM_EPOCHS=1"],
    "06_compare_methods": [],
    "08_sweep": ["METHODS=['recommended', 'erm']"],
}
IMAGE = re.compile(r'<img [^>]*?alt="([^"]*)"[^>]*?src="data:image/png')
DOCUMENT = r"""\documentclass{article}\usepackage[utf8]{inputenc}\usepackage{booktabs,graphicx}
\usepackage[landscape,a2paper]{geometry}\begin{document}\nocite{*}
%s
\bibliographystyle{plain}\bibliography{cite}\end{document}
"""


def shown_in(notebook: pathlib.Path) -> list[str]:
    """The alt texts of the pictures that an executed notebook shows, widgets included."""
    executed = nbformat.read(notebook, as_version=4)
    pages = []
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            pages.append(output.get("data", {}).get("text/html", ""))
            assert "image/png" not in output.get("data", {}), "a picture without alt text"
    widgets = executed.metadata.get("widgets", {}).values()
    for model in (model for states in widgets for model in states["state"].values()):
        pages.append(str(model["state"].get("value", "")))
    alts = [html.unescape(alt) for page in pages for alt in IMAGE.findall(page)]
    return [alt.replace("\u00a0", " ") for alt in alts]


def check_figures(folder: pathlib.Path, shown: list[str]):
    """Each picture of the page is there once, as PNG, PDF and SVG, under a readable name.

    The slider of certainty starts with all predictions: with a picture that is shown above it, too.
    """
    shown = set(shown)
    readme = (folder / "README.txt").read_text()
    listed = readme.split("## Figures\n\n")[1].split("\n\n")[0].removeprefix("- ").split("\n- ")
    assert sorted(line.partition(": ")[2] for line in listed) == sorted(shown)
    stems = sorted(path.stem for path in folder.glob("figures/*.png"))
    assert len(stems) == len(shown) > 0
    assert not [stem for stem in stems if re.match(r"figure \d|unnamed", stem)]
    for stem in stems:
        picture = Image.open(folder / "figures" / f"{stem}.png")
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert (folder / "figures" / f"{stem}.pdf").read_bytes().startswith(b"%PDF")
        assert "</svg>" in (folder / "figures" / f"{stem}.svg").read_text()


def check_numbers(folder: pathlib.Path):
    """Tables and the paragraph on methods have the numbers of metrics.json."""
    methods = (folder / "methods.txt").read_text()
    rows = (folder / "tables" / "results.tex").read_text().split("\\midrule\n")[1]
    rows = rows.split("\\bottomrule")[0].splitlines()
    stored = [json.loads(path.read_text()) for path in folder.glob("runs/*/*/metrics.json")]
    assert len(rows) == len(stored)
    for metrics in stored:
        rates = [f"{100 * metrics[key]:.1f}" for key in ("uar", "wa", "macro_f1")]
        assert [row for row in rows if " & ".join(rates) in row], rates
        told = f"WA {rates[1]} %, chance {100 * metrics['chance']:.1f} %"
        assert f"UAR {rates[0]} % (" in methods and told in methods


def check_files(folder: pathlib.Path):
    """Nothing is empty, and pandas reads each table with a name for each column."""
    for path in folder.rglob("*.*"):
        assert path.is_dir() or path.read_bytes().strip(), path
    for path in folder.rglob("*.csv"):
        table = pd.read_csv(path)
        assert len(table) and not [name for name in table if "Unnamed" in name], path


def check_latex(folder: pathlib.Path, place: pathlib.Path):
    """All tables, figures under their names and the bibliography compile with Debian's texlive."""
    inputs = []
    for number, table in enumerate(sorted(folder.glob("tables/*.tex"))):
        shutil.copy(table, place / f"t{number}.tex")
        inputs.append(rf"\input{{t{number}}}\par")
    shutil.copytree(folder / "figures", place / "figures")
    for figure in sorted(folder.glob("figures/*.pdf")):
        inputs.append(rf"\includegraphics{{figures/{figure.name}}}\par")
    shutil.copy(folder / "cite.bib", place)
    (place / "all.tex").write_text(DOCUMENT % "\n".join(inputs))
    latex = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "all"]
    for command in (latex, ["bibtex", "all"], latex, latex):
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-3000:]
    log = (place / "all.log").read_text(errors="replace")
    assert "Missing character" not in log and "undefined" not in log


@pytest.mark.long
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_zip_is_what_was_shown(name, tmp_path, embedded_workspace):
    if shutil.which("pdflatex") is None:
        pytest.skip("no LaTeX: apt-get install --no-install-recommends texlive-latex-recommended")
    work = tmp_path / "out"
    parts = ["corpora", "features"] + ["runs"] * (name[:2] == "06")
    embedded_parts(work, embedded_workspace, *parts)
    done = run(f"{name}.ipynb", work, "SAVE=True", *NOTEBOOKS[name])
    assert done.returncode == 0, done.stdout + done.stderr
    archive = only(work, "downloads/*.zip")
    with zipfile.ZipFile(io.BytesIO(archive.read_bytes())) as opened:
        opened.extractall(tmp_path / "zip")
    folder = tmp_path / "zip" / archive.stem
    check_figures(folder, shown_in(work / "notebooks" / f"{name}.ipynb"))
    check_numbers(folder)
    check_files(folder)
    place = tmp_path / "latex"
    place.mkdir()
    check_latex(folder, place)
