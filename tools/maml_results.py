"""The tables of docs/results/maml.md: meta-learning and its baselines from language to language, on the open corpora.

    python tools/few_shot_results.py --audio <folder with emodb/ emovo/ ravdess/ savee/> --out out/maml            the full table, MLP head
    python tools/few_shot_results.py --audio <...> --out out/maml --features logmel --settings network=conv4 ...       Conv4 (see the page)

Whatever was finished before is loaded, so a stopped run goes on. Prints Markdown, and writes results.csv to --out.
"""
from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
import time

import pandas as pd
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from run_notebook import read_value  # noqa: E402

from colab_utils import corpora, session  # noqa: E402
from colab_utils.features import front_end  # noqa: E402
from colab_utils.features.store.extract import extract  # noqa: E402
from colab_utils.methods.maml.maml import MamlConfig  # noqa: E402
from colab_utils.methods.maml.study import BASELINES, EpisodeConfig, Study  # noqa: E402
from colab_utils.protocols.build import build_task  # noqa: E402
from colab_utils.protocols.published import load_protocol  # noqa: E402
from colab_utils.results.methods import methods_table, readable  # noqa: E402

TARGETS = {"it": "de+en-it", "de": "en+it-de", "en": "de+it-en"}


def variants(base: MamlConfig, which: str) -> dict[str, MamlConfig]:
    """The meta-trained models of the table."""
    fixed, permuted = dataclasses.replace(base, regime="fixed"), dataclasses.replace(base, regime="permuted")
    if which == "few":
        return {"MAML, fixed ids": fixed, "MAML, permuted ids": permuted}
    plain = dataclasses.replace(permuted, multi_step="final", learn_rates=False)
    # one support utterance a class makes no positive pair, so that the contrastive term is left out of the 1-shot table
    contrastive = {"MAML, fixed ids, supervised contrastive": dataclasses.replace(fixed, contrastive="supervised")} if base.shots > 1 else {}
    return {"MAML, fixed ids": fixed, "MAML, permuted ids": permuted,
            "MAML, fixed ids, first order": dataclasses.replace(fixed, order="first"),
            "MAML, permuted ids, plain (no multi-step loss, one rate)": plain,
            "MAML, permuted ids, plain, first order": dataclasses.replace(plain, order="first"),
            "ANIL, fixed ids": dataclasses.replace(fixed, adapted="head"), **contrastive}


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown, its index as the first column."""
    body = [[name, *values] for name, values in zip(table.index, table.to_numpy(), strict=True)]
    rows = [["method", *table.columns], ["---"] * (table.shape[1] + 1), *body]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/maml"))
    parser.add_argument("--features", default="acoustic")
    parser.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE", help="of MamlConfig, for all models and trained baselines")
    parser.add_argument("--baselines", nargs="+", default=list(BASELINES), choices=BASELINES)
    parser.add_argument("--tasks", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--variants", choices=["all", "few"], default="all")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    protocol = load_protocol("open_languages")
    everything = corpora.open_corpora(protocol.tasks["de+en-it"].corpora, arguments.audio, arguments.out)
    found = []
    for target in arguments.tasks:
        rows, split = build_task(protocol, TARGETS[target], everything, 0)
        store = extract(rows, front_end(arguments.features), arguments.out / "features", device=session.device())
        study = Study(TARGETS[target], rows, split, store, protocol.tasks[TARGETS[target]].emotions, arguments.out, device=session.device(),
                      progress=sys.stderr.isatty())
        for shots in arguments.shots:
            base = MamlConfig(shots=shots, **{name: read_value(value) for name, value in (one.split("=", 1) for one in arguments.settings)})
            begin = time.perf_counter()
            episodes = EpisodeConfig(shots=shots, n_tasks=arguments.episodes, n_boot=2000)
            runs = study.evaluate(episodes, variants(base, arguments.variants), arguments.baselines, seeds=arguments.seeds, config=base)
            table = methods_table(runs, "nearest prototype")
            tuned = methods_table(runs, arguments.baselines[-1])
            found.append(table.assign(target=target, shots=shots, other=arguments.baselines[-1], against_other=tuned["difference"],
                                      against_low=tuned["difference_low"], against_high=tuned["difference_high"]))
            print(f"\n### {TARGETS[target]}, {shots}-shot ({time.perf_counter() - begin:.0f} s)\n\n{markdown(readable(table))}", flush=True)
    name = "-".join([base.network, *arguments.tasks, *map(str, arguments.shots)])
    pd.concat(found).to_csv(arguments.out / f"results-{name}.csv", index=False)


if __name__ == "__main__":
    main()
