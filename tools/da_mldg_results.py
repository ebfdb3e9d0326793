"""The tables of docs/results/da_mldg.md: domain generalisation over the open corpora, each left out once.

    python tools/da_mldg_results.py --audio <folder with emodb/ emovo/ ravdess/ savee/> --out out/da-mldg                       embeddings as input
    python tools/da_mldg_results.py --audio <...> --out out/da-mldg --features da-mldg --targets emodb --seeds 1 \\
        --settings network=resnet18 start=speakers steps=150 ...                                                              log-mel, see the page

Whatever was finished before is loaded, so a stopped run goes on. Prints Markdown, and writes results-<features>.csv to --out.
"""
from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
import time

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from run_notebook import read_value  # noqa: E402

from colab_utils import corpora, session  # noqa: E402
from colab_utils.features import front_end  # noqa: E402
from colab_utils.features.store.extract import extract  # noqa: E402
from colab_utils.methods.da_mldg.settings import DomainConfig  # noqa: E402
from colab_utils.methods.da_mldg.speaker_pretraining import SpeakerConfig  # noqa: E402
from colab_utils.methods.da_mldg.study import DomainStudy  # noqa: E402
from colab_utils.methods.da_mldg.tables import means_table, targets_table  # noqa: E402
from colab_utils.protocols.build import build_task  # noqa: E402
from colab_utils.protocols.domains import in_domain, leave_one_out, with_tasks  # noqa: E402
from colab_utils.protocols.published import load_protocol  # noqa: E402

CORPORA = ("emodb", "emovo", "ravdess", "savee")


def variants(base: DomainConfig, which: str) -> dict[str, DomainConfig]:
    """The algorithms of the table."""
    def one(algorithm: str, **changes: object) -> DomainConfig:
        return dataclasses.replace(base, algorithm=algorithm, **changes)
    main = {"ERM (Deep-All)": one("erm"), "MLDG": one("mldg"), "DA-MLDG": one("da-mldg", gamma_rule="gamma"), "RSC": one("rsc"),
            "CORAL": one("coral")}
    more = {"MLDG, first order": one("mldg", order="first"), "DA-MLDG, 1 + gamma": one("da-mldg", gamma_rule="1+gamma"),
            "DA-MLDG, gamma over its mean": one("da-mldg", gamma_rule="normalised"),
            "DA-MLDG, first order": one("da-mldg", gamma_rule="gamma", order="first")}
    return main if which == "main" else main | more


def markdown(head: list[str], rows: list[list]) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in [head, ["---"] * len(head), *rows])


def target_rows(table: pd.DataFrame) -> list[list]:
    """One row for each target and algorithm."""
    rows = []
    for row in table.itertuples():
        apart = "" if pd.isna(row.difference) else f"{100 * row.difference:+.1f} [{100 * row.difference_low:+.1f}, {100 * row.difference_high:+.1f}]"
        rows.append([row.target, row.algorithm, f"{100 * row.uar:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]", apart, f"{100 * row.wa:.1f}",
                     f"{100 * row.majority:.1f}", f"{100 * row.chance:.1f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/da-mldg"))
    parser.add_argument("--features", default="moonshine")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE", help="of DomainConfig")
    parser.add_argument("--pretraining", nargs="*", default=[], metavar="NAME=VALUE", help="of SpeakerConfig")
    parser.add_argument("--targets", nargs="+", default=list(CORPORA), choices=CORPORA)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--variants", choices=["all", "main"], default="all")
    arguments = parser.parse_args()
    changes, pretraining = ({name: read_value(value) for name, value in (one.split("=", 1) for one in given)}
                            for given in (arguments.settings, arguments.pretraining))
    base = dataclasses.replace(DomainConfig.preset(arguments.preset), n_seeds=arguments.seeds, **changes)
    protocol = load_protocol("da_mldg")
    manifest = corpora.open_corpora(CORPORA, arguments.audio, arguments.out)
    store = extract(manifest, front_end(arguments.features), arguments.out / "features", device=session.device())
    tasks, begin, runs, within = leave_one_out(protocol, CORPORA), time.perf_counter(), {}, []

    def study(task: object) -> DomainStudy:
        rows, split = build_task(with_tasks(protocol, [task]), task.name, manifest, check_counts=False)
        return DomainStudy(task.name, rows, split, store, task.emotions, arguments.out, device=session.device(), progress=sys.stderr.isatty(),
                           pretraining=SpeakerConfig(**pretraining))
    for target in arguments.targets:
        runs[target] = study(tasks[target]).evaluate(variants(base, arguments.variants))
        reference = study(in_domain(protocol, target)).evaluate({"ERM": dataclasses.replace(base, algorithm="erm", start="scratch")})["ERM"].metrics
        low, high = reference["uar_ci95"] or (float("nan"),) * 2
        within.append([target, f"{100 * reference['uar']:.1f} [{100 * low:.1f}, {100 * high:.1f}]", f"{100 * reference['wa']:.1f}",
                       reference["n_speakers"], reference["n_utterances"]])
        print(f"{target} done, {time.perf_counter() - begin:.0f} s in all", file=sys.stderr, flush=True)
    table = targets_table(runs, "ERM (Deep-All)")
    table.to_csv(arguments.out / f"results-{arguments.features.replace('/', '-')}.csv", index=False)
    print(f"{arguments.features}, {arguments.seeds} seeds, {time.perf_counter() - begin:.0f} s\n\n## Each corpus left out\n")
    print(markdown(["target", "algorithm", "UAR", "less ERM", "WA", "majority", "chance"], target_rows(table)))
    if len(arguments.targets) > 1:
        means = {rate: 100 * means_table(table, rate) for rate in ("uar", "wa")}
        rows = [[name, *(f"{means[rate].loc[name, mean]:.1f}" for rate in ("uar", "wa") for mean in ("UM", "WM", "GM"))]
                for name in means["uar"].index]
        print("\n## Means over targets\n\n" + markdown(["algorithm", "UAR UM", "WM", "GM", "WA UM", "WM", "GM"], rows))
    print("\n## Within one corpus, other speakers (80/20, ERM)\n\n" + markdown(["corpus", "UAR", "WA", "test speakers", "utterances"], within))


if __name__ == "__main__":
    main()
