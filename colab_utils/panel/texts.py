"""Texts of a download besides its methods: README, what to cite."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from colab_utils.corpora.cards import card_name, corpus_names, data_folder, load_card
from colab_utils.display import captions
from colab_utils.panel.methods import Runs, plain, used_settings
from colab_utils.results.runs import Run

EMPTY = ("", "none", "None", "False", "0", "0.0")  # settings that use nothing
CONTENTS = """\
figures/        each figure that was shown, for a paper: PNG (300 dpi), PDF and SVG without a title;
                title and caption beside it as .txt
tables/         results (UAR, WA and so on), recalls, counts of each confusion matrix: as .csv and,
                for LaTeX with \\usepackage{booktabs}, as .tex (LuaLaTeX for letters beyond Latin)
                (in a CSV, an apostrophe before +, - or = keeps a spreadsheet from computing it);
                difference: in points, to the run that has none, with its 95 % interval and p, both
                paired by speaker; Holm: p corrected for all contrasts of the table
runs/           one folder a run: predictions.csv (a row for each answer), metrics.json (all rates,
                as fractions), settings.csv (settings that had a part in it, with their meaning),
                config.json (all that names the run), split.csv (who trained, who was tested),
                environment.json (versions, commit), confusion_matrix.*, tables of the method
methods.txt     a paragraph on data, method and results, with the numbers of these runs
cite.bib        BibTeX of the corpora, methods and libraries used
"""


def readme_text(name: str, runs: Runs, figures: Mapping[str, Any], tables: Iterable[str]) -> str:
    """What is in the zip, what must not be missed, and how to open it again.

    Args:
        name: of the zip.
        runs: finished runs by the name to show.
        figures: by file name without suffix.
        tables: file names without suffix.

    Returns:
        Plain text.
    """
    told = [f"# {name}", "", CONTENTS]
    results = {one: (run.predictions, run.metrics) for one, run in runs.items()}
    told += _listed("Must not be missed", captions.stamps_of_all(results))
    where = [f"{one}: {_where(run)}" for one, run in runs.items()]
    told += _listed("Runs", where)
    seen = [f"{stem}: {figure.alt}" for stem, figure in figures.items()]
    told += _listed("Figures", seen)
    told += _listed("Tables", tables)
    told += _listed("Licences of the corpora", _licences(runs))
    if runs:
        told.append("To go on with them: notebook 06_compare_methods, RUNS = the unzipped folder.")
    return plain("\n".join(told))


def _where(run: Run) -> str:
    """What came out, and where the run lies in the zip."""
    return f"{captions.headline(run.metrics)}; runs/{run.path.parent.name}/{run.path.name}"


def _listed(title: str, lines: Iterable[str]) -> list[str]:
    """A section; none without lines."""
    lines = [f"- {line}" for line in lines]
    return [f"## {title}", "", *lines, ""] if lines else []


def _licences(runs: Runs) -> list[str]:
    """What the owners of the corpora allow."""
    cards = sorted({card_name(corpus) for run in runs.values() for corpus in _corpora(run)})
    told = []
    for card in cards:
        known = card in corpus_names()
        told.append(f"{load_card(card).title}: {load_card(card).license}" if known else card)
    return told


def _corpora(run: Run) -> list[str]:
    """All corpora of a run, whatever their role."""
    return [corpus for role in run.config.get("corpora", {}).values() for corpus in role]


def bibliography(runs: Runs) -> str:
    """BibTeX of what the runs used: corpora, methods, front ends, libraries.

    Args:
        runs: finished runs.

    Returns:
        The entries of data_manifests/references.bib that stand for one of their words. A corpus of
        the reader's own has none.
    """
    words = {"all"}.union(*map(_words, runs.values()))
    path = data_folder() / "references.bib"
    text = path.read_text(encoding="utf-8")
    cited = []
    for wanted, entry in re.findall(r"^for: (.*)\n(@(?:.+\n)+)", text, flags=re.MULTILINE):
        if words & set(wanted.split()):
            cited.append(entry)
    return "\n".join(cited)


def _words(run: Run) -> set[str]:
    """The words of a run's settings that are not empty, and of its corpora, method and features."""
    config = run.config
    used = used_settings(run).items()
    used = {name: value for name, value in used if value not in EMPTY}
    corpora = [card_name(corpus) for corpus in _corpora(run)]
    about: Sequence = [config.get(key) for key in ("method", "model", "feature_spec")]
    text = json.dumps([corpora, used, *about]).lower()
    return set(re.findall(r"[a-z0-9_]+", text))
