"""The tables of docs/results/da_mldg.md: domain generalisation over the open corpora, each left out
once.

    python tools/da_mldg_results.py --audio <folder with emodb/ emovo/ ravdess/ savee/> --out
    out/da-mldg                       embeddings as input python tools/da_mldg_results.py --audio
    <...> --out out/da-mldg --features da-mldg --targets emodb --seeds 1 \\
        --settings network=resnet18 start=speakers steps=150 ...
        log-mel, see the page

Whatever was finished before is loaded, so a stopped run goes on. Prints Markdown, and writes
results-<features>.csv to --out.
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

from colab_utils import corpora  # noqa: E402
from colab_utils.learning.study import Tested  # noqa: E402
from colab_utils.methods.da_mldg import (
    DomainConfig,
    DomainStudies,
    SpeakerConfig,
    means_table,
    targets_table,
)
from colab_utils.protocols.published import load_protocol  # noqa: E402

CORPORA = ("emodb", "emovo", "ravdess", "savee")


def variants(base: DomainConfig, which: str) -> list[Tested]:
    """The algorithms of the table."""

    def one(name: str, algorithm: str, **changes: object) -> Tested:
        return Tested(name, dataclasses.replace(base, algorithm=algorithm, **changes))

    main = [
        one("ERM (Deep-All)", "erm"),
        one("MLDG", "mldg"),
        one("DA-MLDG", "da-mldg", gamma_rule="gamma"),
        one("RSC", "rsc"),
        one("CORAL", "coral"),
    ]
    if which == "main":
        return main
    return [
        *main,
        one("MLDG, first order", "mldg", order="first"),
        one("DA-MLDG, 1 + gamma", "da-mldg", gamma_rule="1+gamma"),
        one("DA-MLDG, gamma over its mean", "da-mldg", gamma_rule="normalised"),
        one("DA-MLDG, first order", "da-mldg", gamma_rule="gamma", order="first"),
    ]


def markdown(head: list[str], rows: list[list]) -> str:
    return "\n".join(
        f"| {' | '.join(map(str, row))} |" for row in [head, ["---"] * len(head), *rows]
    )


def target_rows(table: pd.DataFrame) -> list[list]:
    """One row for each target and algorithm."""
    rows = []
    for row in table.itertuples():
        apart = (
            ""
            if pd.isna(row.difference)
            else (
                f"{100 * row.difference:+.1f} [{100 * row.difference_low:+.1f},"
                f" {100 * row.difference_high:+.1f}]"
            )
        )
        rows.append(
            [
                row.target,
                row.algorithm,
                f"{100 * row.uar:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]",
                apart,
                f"{100 * row.wa:.1f}",
                f"{100 * row.majority:.1f}",
                f"{100 * row.chance:.1f}",
            ]
        )
    return rows


def values(given: list[str]) -> dict:
    """{name: value} of NAME=VALUE."""
    return {name: read_value(value) for name, value in (one.split("=", 1) for one in given)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/da-mldg"))
    parser.add_argument("--features", default="moonshine")
    parser.add_argument("--preset", default="default")
    parser.add_argument(
        "--settings", nargs="*", default=[], metavar="NAME=VALUE", help="of DomainConfig"
    )
    parser.add_argument(
        "--pretraining", nargs="*", default=[], metavar="NAME=VALUE", help="of SpeakerConfig"
    )
    parser.add_argument("--targets", nargs="+", default=list(CORPORA), choices=CORPORA)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--variants", choices=["all", "main"], default="all")
    arguments = parser.parse_args()
    changes, pretraining = values(arguments.settings), values(arguments.pretraining)
    base = DomainConfig.from_preset(arguments.preset, n_seeds=arguments.seeds, **changes)
    manifest = corpora.open_corpora(CORPORA, arguments.audio, arguments.out)
    studies = DomainStudies(
        load_protocol("da_mldg"),
        manifest,
        arguments.out,
        arguments.features,
        arguments.targets,
        progress=sys.stderr.isatty(),
        check_counts=False,
        pretraining=SpeakerConfig.from_preset(**pretraining),
    )
    begin, runs, within = time.perf_counter(), {}, []
    alone = Tested("ERM", dataclasses.replace(base, algorithm="erm", start="scratch"))
    for target in arguments.targets:
        study, within_target = studies.study(target), studies.study(f"within {target}")
        runs[target] = study.evaluate(variants(base, arguments.variants))
        reference = within_target.evaluate([alone])["ERM"].metrics
        study.let_go()
        within_target.let_go()
        low, high = reference["uar_ci95"] or (float("nan"),) * 2
        within.append(
            [
                target,
                f"{100 * reference['uar']:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
                f"{100 * reference['wa']:.1f}",
                reference["n_speakers"],
                reference["n_utterances"],
            ]
        )
        print(
            f"{target} done, {time.perf_counter() - begin:.0f} s in all",
            file=sys.stderr,
            flush=True,
        )
    table = targets_table(runs, "ERM (Deep-All)")
    table.to_csv(arguments.out / f"results-{arguments.features.replace('/', '-')}.csv", index=False)
    print(
        f"{arguments.features}, {arguments.seeds} seeds, {time.perf_counter() - begin:.0f} s\n\n##"
        " Each corpus left out\n"
    )
    print(
        markdown(
            ["target", "algorithm", "UAR", "less ERM", "WA", "majority", "chance"],
            target_rows(table),
        )
    )
    if len(arguments.targets) > 1:
        means = {rate: 100 * means_table(table, rate) for rate in ("uar", "wa")}
        rows = [
            [
                name,
                *(
                    f"{means[rate].loc[name, mean]:.1f}"
                    for rate in ("uar", "wa")
                    for mean in ("UM", "WM", "GM")
                ),
            ]
            for name in means["uar"].index
        ]
        print(
            "\n## Means over targets\n\n"
            + markdown(["algorithm", "UAR UM", "WM", "GM", "WA UM", "WM", "GM"], rows)
        )
    print(
        "\n## Within one corpus, other speakers (80/20, ERM)\n\n"
        + markdown(["corpus", "UAR", "WA", "test speakers", "utterances"], within)
    )


if __name__ == "__main__":
    main()
