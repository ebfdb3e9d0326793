"""The texts of a download, made from its runs: a paragraph on methods, README, what to cite."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from colab_utils import files
from colab_utils.corpora.cards import card_name, corpus_names, data_folder, load_card
from colab_utils.display import captions
from colab_utils.results.runs import Run

Runs = Mapping[str, Run]
ROLES = {
    "test": "Tested corpora",
    "train": "Corpora of the training",
    "valid": "Corpora of the validation",
    "support": "Corpora of the labelled examples",
}
SETTINGS = "Settings (each method uses those that concern it)"
LIBRARIES = ("colab_utils", "python", "torch", "scikit-learn", "numpy", "scipy")
MEASURES = (
    "UAR (unweighted average recall) is the mean of the recalls of the emotions, WA (weighted"
    " accuracy) the share of right answers, chance the UAR of guessing, majority the WA of always"
    " answering with the most frequent emotion, ECE the expected calibration error. A 95 % interval"
    " comes from leaving out each speaker (or film) in turn, with Student's t."
)
CONTENTS = """\
figures/        each figure that was shown, for a paper: PNG (300 dpi), PDF and SVG without a title;
                title and caption beside it as .txt
tables/         results (UAR, WA and so on), recalls, counts of each confusion matrix: as .csv and,
                for LaTeX with \\usepackage{booktabs}, as .tex (LuaLaTeX for letters beyond Latin)
runs/           one folder a run: predictions.csv (one row per tested utterance), metrics.json (all
                rates, as fractions), config.json (all settings), split.csv (who trained, who was
                tested), environment.json (versions)
methods.txt     a paragraph on data, method and results, with the numbers of these runs
cite.bib        BibTeX of the corpora, methods and libraries used
"""


def methods_text(runs: Runs) -> str:
    """What was done and what came out, for the methods section of a paper.

    Args:
        runs: finished runs by the name to show.

    Returns:
        A paragraph of what holds for all, then one for each run.
    """
    common = _common(map(_sentences, runs.values()))
    common_settings = _common(map(_settings, runs.values()))
    first = [*common, *_listing(SETTINGS, common_settings), MEASURES]
    paragraphs = [" ".join(first)]
    for name, run in runs.items():
        own = [one for one in _sentences(run) if one not in common]
        its = [one for one in _settings(run) if one not in common_settings]
        paragraph = [f"{name}:", *own, *_listing("Settings", its)]
        paragraphs.append(" ".join(paragraph))
    return _plain("\n\n".join(paragraphs))


def _plain(text: str) -> str:
    """A text as any editor shows it: plain spaces, a line end at its end."""
    return text.replace("\u00a0", " ") + "\n"


def _sentences(run: Run) -> list[str]:
    """What is to be said of a run besides its settings, each once."""
    return list(dict.fromkeys([*_data(run), *_method(run), *_result(run)]))


def _common(lists: Iterable[list[str]]) -> list[str]:
    """What stands in all lists, in the order of the first."""
    lists = list(lists)
    return [one for one in lists[0] if all(one in other for other in lists)] if lists else []


def _listing(title: str, parts: Sequence[str]) -> list[str]:
    """One sentence with a title; none without parts."""
    return [f"{title}: {', '.join(parts)}."] if parts else []


def _data(run: Run) -> list[str]:
    """Who was tested, and on what was learnt."""
    predictions, metrics, config = run.predictions, run.metrics, run.config
    corpora = config.get("corpora", {})
    told = []
    for role, begin in ROLES.items():
        given = corpora.get(role, [])
        again = given and role != "test" and given == corpora.get("test")
        told += _listing(begin, ["as tested"] if again else _titles(given))
    told.append(f"Tested: {captions.sample(predictions)}.")
    told += _listing(f"The {len(metrics['labels'])} emotions", metrics["labels"])
    told += _listing("Of the corpora's labels", _merged(config.get("merge", {})))
    if metrics["speaker_independence"] == "independent":
        told.append("No tested speaker was heard in training.")
    return told + _repetition(metrics)


def _titles(corpora: Iterable[str]) -> list[str]:
    """Corpora as their cards call them, each with the domains that are meant."""
    domains: dict[str, list[str]] = {}
    for corpus in corpora:
        card = card_name(corpus)
        title = load_card(card).title if card in corpus_names() else corpus
        domains.setdefault(title, []).append(corpus.removeprefix(card).lstrip("-"))
    told = []
    for title, named in domains.items():
        named = " and ".join(filter(None, named))
        told.append(f"{title}, {named}" if named else title)
    return told


def _merged(merge: Mapping[str, str | None]) -> list[str]:
    """How emotions were joined or left out."""
    told = []
    for emotion, to in merge.items():
        told.append(f"{emotion} counts as {to}" if to else f"{emotion} is left out")
    return told


def _method(run: Run) -> list[str]:
    """Features, method and protocol, and the versions that it ran with."""
    config = run.config
    features = config.get("feature_spec", {}).get("name")
    about = [config.get("model") or config["method"], config.get("condition")]
    told = _listing("Features", [features] if features else [])
    told += _listing("Method", [*filter(None, about), f"preset {config.get('preset')}"])
    if config.get("protocol"):
        told.append(f"Protocol: {config['protocol']}, task {config['task']}.")
    if run.metrics["rule"] == ["inductive"]:
        told.append("Each clip was answered without looking at other tested clips (inductive).")
    path = run.path / "environment.json"
    if path.exists():
        made = files.read_json(path)
        told += _listing("Made with", [f"{name} {made['versions'][name]}" for name in LIBRARIES])
    return told


def _settings(run: Run) -> list[str]:
    """All settings, as in config.json."""
    return [f"{name} {value}" for name, value in run.config.get("settings", {}).items()]


def _repetition(metrics: Mapping[str, Any]) -> list[str]:
    """How many folds, seeds, draws and tasks the predictions are of."""
    numbers = {
        "folds": metrics["n_folds"],
        "seeds": len(metrics["seeds"]),
        "draws of the labelled examples": metrics["n_draws"],
        "tasks": metrics["n_tasks"],
    }
    told = [f"{number:,} {name}" for name, number in numbers.items() if number > 1]
    return _listing(f"{metrics['n']:,} predictions in all", told)


def _result(run: Run) -> list[str]:
    """What came out, and what has to be said of it."""
    predictions, metrics = run.predictions, run.metrics
    ece = metrics["ece"]
    more = "" if ece is None else f", ECE {captions.per_cent(ece)}"
    rates = f"{captions.headline(metrics)}, {captions.rates(metrics)}{more}."
    return [rates, *captions.notes(metrics), *captions.stamps(predictions, metrics)]


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
    told.append("To go on with them: notebook 06_compare_methods, RUNS = the unzipped folder.")
    return _plain("\n".join(told))


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
    settings = config.get("settings", {})
    used = {name: value for name, value in settings.items() if value and value != "none"}
    corpora = [card_name(corpus) for corpus in _corpora(run)]
    about: Sequence = [config.get(key) for key in ("method", "model", "feature_spec")]
    text = json.dumps([corpora, used, *about]).lower()
    return set(re.findall(r"[a-z0-9_]+", text))
