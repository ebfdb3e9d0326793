"""methods.txt of a download: data, method and results of its runs, as a paper says them."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from colab_utils import features, files
from colab_utils.corpora.cards import card_name, corpus_names, load_card
from colab_utils.csv_files import read_csv
from colab_utils.display import captions
from colab_utils.features.acoustic.degrade import NOISES
from colab_utils.features.front_end import identity
from colab_utils.results.runs import Run
from colab_utils.results.tables import SETTINGS

Runs = Mapping[str, Run]
ROLES = {
    "test": "Test corpora",
    "train": "Training corpora",
    "valid": "Validation corpora",
    "support": "Corpora of the labelled examples (support)",
}
SIZES = {"train": "Training", "valid": "Validation", "enrolment": "Enrolment"}
# by what each room scales features once they are normalised; `standardise` may switch it off
_AT_1 = "Each feature was scaled to mean 0 and standard deviation 1 over the training utterances"
SCALED = {
    "baselines": f"{_AT_1}.",
    "maml": f"{_AT_1}.",
    "emofsl": f"{_AT_1} of the source.",
    "da_mldg": f"{_AT_1} of the sources, each corpus counting the same.",
    "alexnet": "Each frequency was scaled by its least and largest value in the training"
    " utterances and drawn as a picture.",
}
NORMALISED = {
    "corpus": "Of each feature the mean of its corpus was subtracted, and it was divided by the"
    " standard deviation over that corpus; no label was read.",
    "speaker": "Of each feature the mean of its speaker was subtracted (a speaker of n utterances"
    " has a share of n / (n + {prior_clips}) in it, the corpus the rest), and it was divided by the"
    " standard deviation over the corpus; no label was read.",
}
LINEAR = "source_strength prior_strength support_precision source_temperature surer support_mass"
LIBRARIES = ("colab_utils", "python", "torch", "scikit-learn", "numpy", "scipy")
MEASURES = (
    "UAR (unweighted average recall) is the mean of the recalls of the emotions, WA (weighted"
    " accuracy) the share of right answers, chance the UAR of guessing, majority the WA of always"
    " answering with the most frequent emotion, ECE the expected calibration error over 15 bins of"
    " equally many predictions."
)
INTERVAL = (
    "A 95 % interval is a delete-one jackknife (Efron and Stein, 1981) with Student's t: each"
    " tested speaker (or film) is left out, unless said otherwise with the few-shot episodes that"
    " it supports; the variance between seeds or draws is added. It takes the training as given."
)


def methods_text(runs: Runs) -> str:
    """What was done and what came out, for the methods section of a paper.

    Args:
        runs: finished runs by the name to show.

    Returns:
        A paragraph of what holds for all runs, then those of most of them and of each.
    """
    sentences = {name: _sentences(run) for name, run in runs.items()}
    said, own = _shared(sentences)
    settings = {name: _settings(run) for name, run in runs.items()}
    set_alike, own_settings = _shared(settings)
    of_all = said.pop("") + _listing(_title(runs), set_alike.pop(""))
    of_all.append(MEASURES)
    if any(run.metrics["uar_ci95"] for run in runs.values()):
        of_all.append(INTERVAL)
    paragraphs = [" ".join(of_all)]
    for whose in {**said, **set_alike}:
        paragraphs.append(_paragraph(whose, said.get(whose, []), set_alike.get(whose, [])))
    for name in runs:
        paragraphs.append(_paragraph(name, own[name], own_settings[name]))
    return plain("\n\n".join(paragraphs))


def _paragraph(whose: str, sentences: Sequence[str], settings: Sequence[str]) -> str:
    """What is said of one run, or of most."""
    return " ".join([f"{whose}:", *sentences, *_listing("Settings", settings)])


def _title(runs: Runs) -> str:
    """What is listed: what had a part in the runs, or, where one does not say, all settings."""
    told = [(run.path / f"{SETTINGS}.csv").exists() for run in runs.values()]
    return "Settings" if all(told) else "Settings (each method uses those that concern it)"


def plain(text: str) -> str:
    """A text as any editor shows it: plain spaces, a line end at its end."""
    return text.replace("\u00a0", " ") + "\n"


def _sentences(run: Run) -> list[str]:
    """What is to be said of a run besides its settings, each once."""
    return list(dict.fromkeys([*_data(run), *_method(run), *_result(run)]))


def _shared(
    said: Mapping[str, list[str]],
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What all runs have (""), or most of them ("All but chance"); and what is left of each."""
    shared: dict[str, list[str]] = {"": []}
    for sentence in dict.fromkeys(one for told in said.values() for one in told):
        others = [name for name, told in said.items() if sentence not in told]
        if len(others) < (len(said) - len(others)) / 2:
            whose = f"All but {'; '.join(others)}" if others else ""
            shared.setdefault(whose, []).append(sentence)
    there = {one for told in shared.values() for one in told}
    own = {}
    for name, told in said.items():
        own[name] = [one for one in told if one not in there]
    return shared, own


def _listing(title: str, parts: Sequence[str]) -> list[str]:
    """One sentence with a title; none without parts."""
    return [f"{title}: {', '.join(parts)}."] if parts else []


def _data(run: Run) -> list[str]:
    """Who was tested, and on what was learnt."""
    predictions, metrics, config = run.predictions, run.metrics, run.config
    corpora = config.get("corpora", {})
    told, roles = [], {}
    for role, begin in ROLES.items():
        given = _titles(corpora.get(role, []))
        if given in roles.values():
            before = next(one for one in roles if roles[one] == given)
            told.append(f"{begin}: the same as for {before}.")
        elif given:
            roles[SIZES.get(role, "the test").lower()] = given
            told += _listing(begin, given)
    told.append(f"Tested: {captions.sample(predictions)}.")
    told += _sizes(run.split)
    told += _listing(f"The {len(metrics['labels'])} emotions", metrics["labels"])
    told += _listing("Of the corpora's labels", _merged(config.get("merge", {})))
    if metrics["speaker_independence"] == "independent":
        told.append("No tested speaker was heard in training.")
    return told + _repetition(metrics)


def _sizes(split: pd.DataFrame) -> list[str]:
    """How many utterances and speakers train and validate: of all folds the least and the most."""
    told = []
    for role, begin in SIZES.items():
        part = split[split["role"] == role]
        if part.empty:
            continue
        folds = part.groupby(["seed", "fold"])
        numbers = [f"{_span(folds['utt_id'].nunique())} utterances"]
        if part["speaker"].ne("").all():
            many = _span(folds["speaker"].nunique())
            numbers.append(f"{many} speaker{'s' * (many != '1')}")
        where = " in each fold" if part["fold"].nunique() > 1 else ""
        told += _listing(f"{begin}{where}", numbers)
    return told


def _span(numbers: pd.Series) -> str:
    """`468 to 500`, or the one number that all are."""
    return " to ".join(f"{one:,}" for one in sorted({numbers.min(), numbers.max()}))


def _titles(corpora: Iterable[str]) -> list[str]:
    """Corpora as their cards call them, each with the domains that are meant."""
    domains: dict[str, list[str]] = {}
    for corpus in corpora:
        card = card_name(corpus)
        title = load_card(card).title if card in corpus_names() else corpus
        domains.setdefault(title, []).append(corpus.removeprefix(card).lstrip("-"))
    told = []
    for title, named in domains.items():
        named = ", ".join(filter(None, named))
        told.append(f"{title}: {named}" if named else title)
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
    about = [config.get("model") or config["method"], _condition(config.get("condition", ""))]
    told = _listing("Features", _front_ends(config.get("feature_spec", {})))
    told += _scaling(run)
    told += _listing("Method", [*filter(None, about), f"preset {config.get('preset')}"])
    heard = [_condition(name) for name in config.get("conditions", [])]
    told += _listing("Copies of training clips were heard, each time one of", heard)
    numbers = [f"{name} = {config[name]}" for name in LINEAR.split() if name in config]
    told += _listing("Numbers of the linear heads", numbers)
    if config.get("protocol"):
        told.append(f"Protocol: {config['protocol']}{_rules(config)}, task {config['task']}.")
    if run.metrics["rule"] == ["inductive"]:
        told.append("Each clip was answered without looking at other tested clips (inductive).")
    path = run.path / "environment.json"
    if path.exists():
        made = files.read_json(path)
        versions = [f"{name} {made['versions'][name]}" for name in LIBRARIES]
        if made.get("commit"):
            versions.insert(1, f"commit {made['commit'][:12]}")
        told += _listing("Made with", versions)
    return told


def _condition(name: str) -> str:
    """A condition of recordings in words: `pink@10` -> `pink noise of 10 dB SNR`; others stay."""
    kind, _, value = name.partition("@")
    if name == "clean":
        return "clean recordings"
    if kind in NOISES:
        return f"{kind} noise of {value} dB SNR"
    return f"reverberation of {value or 0.5} s" if kind == "reverb" else name


def _front_ends(spec: Mapping[str, Any]) -> list[str]:
    """What the features are; several front ends have the specification of each."""
    if not spec:
        return []
    joined = [part for part in spec.get("parts", []) if "settings" in part]
    parts = joined or [spec]
    told = [_front_end(part) for part in parts]
    if len(parts) > 1:
        told.append("side by side, each with the same weight")
    return ["; ".join(told)]


def _front_end(spec: Mapping[str, Any]) -> str:
    """One front end: `moonshine, 576 numbers an utterance: The encoder of ...`."""
    name, settings = spec["name"], spec.get("settings", {})
    if name not in features.FRONT_ENDS:
        listed = [f"{one} = {value}" for one, value in settings.items()]
        return f"{name} ({', '.join(listed)})" if listed else name
    usual = features.front_end(name)
    same = identity(usual)["settings"] | {"condition": settings.get("condition")}
    listed = [f"{one} = {value}" for one, value in settings.items() if same.get(one) != value]
    told = f"{name} ({', '.join(listed)})" if listed else name
    if not listed:
        told += f", {usual.dim} numbers {'an utterance' if usual.pooled else 'a frame'}"
    line = inspect.getdoc(usual).splitlines()[0].rstrip(".").replace("`", "")
    return f"{told}: {line}"


def _scaling(run: Run) -> list[str]:
    """How features were normalised and scaled, where they were."""
    settings = run.config.get("settings", {})
    prior_clips = settings.get("prior_clips", 0)
    told = NORMALISED.get(settings.get("normalisation"), "")
    told = [told.format(prior_clips=f"{prior_clips:g}")]
    if settings.get("standardise", True):
        told.append(SCALED.get(run.config["method"], ""))
    return list(filter(None, told))


def _rules(config: Mapping[str, Any]) -> str:
    """What frozen folds are, ` (leave one speaker out)`, by the cards of the tested corpora."""
    if config["protocol"] != "frozen folds":
        return ""
    cards = sorted({card_name(corpus) for corpus in config.get("corpora", {}).get("test", [])})
    rules = [load_card(card).folds["rule"] for card in cards if card in corpus_names()]
    return f" ({'; '.join(dict.fromkeys(rules))})" if rules else ""


def _settings(run: Run) -> list[str]:
    """The settings that had a part in a run, `name = value`."""
    return [f"{name} = {value}" for name, value in used_settings(run).items()]


def used_settings(run: Run) -> dict[str, str]:
    """The settings that had a part in a run; of one that does not say which, all of them."""
    path = run.path / f"{SETTINGS}.csv"
    if path.exists():
        table = read_csv(path, dtype=str)
        return dict(zip(table["setting"], table["value"], strict=True))
    return {name: str(value) for name, value in run.config.get("settings", {}).items()}


def _repetition(metrics: Mapping[str, Any]) -> list[str]:
    """How many folds, seeds, draws and episodes the predictions are of, and how they are pooled."""
    numbers = {
        "folds": metrics["n_folds"],
        "seeds": len(metrics["seeds"]),
        "draws of the labelled examples": metrics["n_draws"],
        "episodes": metrics["n_tasks"],
    }
    told = [f"{number:,} {name}" for name, number in numbers.items() if number > 1]
    sentences = _listing(f"{metrics['n']:,} predictions in all", told)
    if len(metrics["seeds"]) > 1 or metrics["n_draws"] > 1:
        sentences.append("Rates are means over seeds and draws; all else is pooled.")
    elif told:
        sentences.append("Rates are of all predictions together.")
    return sentences + _listing("Seeds", map(str, metrics["seeds"]))


def _result(run: Run) -> list[str]:
    """What came out, and what has to be said of it."""
    predictions, metrics = run.predictions, run.metrics
    ece = metrics["ece"]
    more = "" if ece is None else f", ECE {captions.per_cent(ece)}"
    rates = f"{captions.headline(metrics)}, {captions.rates(metrics)}{more}."
    stamps = captions.stamps(predictions, metrics)
    front_end = run.config.get("feature_spec", {}).get("name")
    known = f"Features: {front_end}.", f"Condition: {run.config.get('condition')}."
    notes = [note for note in captions.notes(metrics) if note not in known]
    return [rates, *notes, *stamps]
