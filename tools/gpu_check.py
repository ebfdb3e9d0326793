"""Does everything compute the same on this GPU as on the CPU, and how fast against its peers?

    python tools/gpu_check.py                       once, on a machine with a GPU (Colab: a T4)
    python tools/gpu_check.py --only maml           what has this word in its name
    python tools/gpu_check.py --device meta         a rehearsal without a GPU (or --device cpu)

Needs no git and no installed package: a clone or an unzipped copy of the suite, and what
requirements-colab.txt names. One small update of each method and the features of each front end,
in float32, are made on both devices from the same seed; then the benchmarks run. It takes up to
half an hour and prints tables to paste into an issue. Exit code 0: all agrees; 1: something
does not, or failed; 2: there is no GPU. What stands below a `CUDA error` fails with it: run that
again by --only.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # this copy, whatever is installed

import numpy as np  # noqa: E402
import torch  # noqa: E402
from on_device import ON_THE_CPU  # noqa: E402
from on_device.found import Found  # noqa: E402
from on_device.pretend import pretended  # noqa: E402
from on_device.steps import STEPS  # noqa: E402

from colab_utils import session  # noqa: E402
from colab_utils.features.encoders.packaged import MissingPackageError  # noqa: E402

COLUMNS = ("loss", "gradient", "weights", "scores", "features")
# Largest |a - b| / |b| of two vectors. Rounding at each operation alone makes 1e-8 to 1e-5. Adam
# divides by the size of the gradient: where that is 0 but for rounding, such as that of a bias
# before batch normalisation, its weight goes either way.
BOUND, BOUNDS = 1e-3, {"weights": 5e-3}
HALF = 2e-2  # of features in float16
LEAST = 1e-3  # a number smaller than this is compared as if it were this
# Shares of right answers and the like: one utterance on the border moves them.
COUNTS = {"validation", "query_accuracy", "challenged", "held_out", "spatial"}
BENCHMARKS = {
    "maml": ["--no-memory"],
    "mldg": [],
    "embeddings": [],
    "encoder_layers": [],
    "alexnet": [],
}
SECONDS = 1800  # that a benchmark may take


def differences(expected: Found, found: Found) -> dict[str, float]:
    """How far a step is from the same one on the CPU, a number for each column."""
    apart: dict[str, float] = {}
    for name, value in found.values.items():
        if name in COUNTS:
            continue
        column = name if name in COLUMNS else "loss"
        known = expected.values[name].double()
        one = float((value.double() - known).norm() / known.norm().clamp(min=LEAST))
        # of NaN and a number: NaN
        apart[column] = float(np.maximum(apart.get(column, 0.0), one))
    return apart


def verdict(name: str, apart: dict[str, float]) -> str:
    """What is too far apart, or "ok"."""
    wrong = []
    for column, value in apart.items():
        bound = HALF if "float16" in name else BOUNDS.get(column, BOUND)
        if not value <= bound:
            wrong.append(f"{column} beyond {bound:g}")
    return f"**{', '.join(wrong)}**" if wrong else "ok"


def told(error: Exception) -> str:
    """An error in one line of a table, with the place in the suite that it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [one for one in frames if "colab_utils" in one.filename] or list(frames)
    place = f"{pathlib.Path(inside[-1].filename).name}:{inside[-1].lineno}"
    first = (str(error).splitlines() or [""])[0][:200].replace("|", "/")
    return f"**{type(error).__name__}: {first}** ({place})"


def compare(device: str, only: str) -> Iterator[bool]:
    """Print a table, row by row; whether each is as it should be."""
    chosen = [name for name in STEPS if only in name]
    if chosen:
        print("| step | " + " | ".join(COLUMNS) + " | |")
        print("|---" * (len(COLUMNS) + 2) + "|")
    for name in chosen:
        apart: dict[str, float] = {}
        try:
            expected = STEPS[name]("cpu")
            with pretended(device):
                apart = differences(expected, STEPS[name](device))
            how = verdict(name, apart)
        except MissingPackageError as error:
            how = f"left out: {error}"
        except ImportError as error:
            how = f"**{error}**: pip install -r requirements-colab.txt"
        except Exception as error:  # whatever it is, the others are still to be checked
            how = told(error)
        cells = [f"{apart[column]:.0e}" if column in apart else "" for column in COLUMNS]
        print(f"| {name} | " + " | ".join(cells) + f" | {how} |", flush=True)
        yield not how.startswith("**")


def measure(only: str) -> Iterator[bool]:
    """Print the benchmarks' ratios (above 1: the suite is faster); whether each ran."""
    searched = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": searched.rstrip(os.pathsep)}
    chosen = [name for name in BENCHMARKS if only in f"benchmark/{name}"]
    if chosen:
        print("\n| benchmark | ratio |\n|---|---|")
    for name in chosen:
        command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *BENCHMARKS[name]]
        how = {"capture_output": True, "text": True, "timeout": SECONDS, "env": environment}
        try:
            done = subprocess.run(command, **how)
        except subprocess.TimeoutExpired:
            print(f"| {name} | **not done after {SECONDS} s** |", flush=True)
            yield False
            continue
        for title, ratio in re.findall(r"^RATIO (\S+) (\S+)", done.stdout, re.M):
            print(f"| {title} | {ratio} |")
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            print(f"| {name} | **{''.join(said)[:200].replace('|', '/')}** |", flush=True)
        yield not done.returncode


def main(arguments: list[str] | None = None) -> int:
    """Run the checks that the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "meta", "cpu"))
    parser.add_argument("--only", default="", help="names with this word; `benchmark` for ratios")
    asked = parser.parse_args(arguments)
    if asked.device == "cuda" and not torch.cuda.is_available():
        print(
            "There is no GPU here: on Colab choose Runtime, Change runtime type, T4 GPU, and run "
            "this again (--device meta rehearses it without one)."
        )
        return 2
    session.seed_everything(0)  # as a notebook does
    torch.backends.cudnn.allow_tf32 = False  # its convolutions round at 1e-3
    where = torch.cuda.get_device_name() if asked.device == "cuda" else f"rehearsal: {asked.device}"
    made = session.versions()
    names = ("colab_utils", "python", "torch", "torchaudio", "torchvision")
    print(f"`tools/gpu_check.py`, {where}; " + ", ".join(f"{one} {made[one]}" for one in names))
    print(f"commit {session.commit()}; differences relative to the CPU, bound {BOUND:g}\n")
    good = [*compare(asked.device, asked.only)]
    good += measure(asked.only)
    if not good:
        print(f"\nNothing has {asked.only!r} in its name: leave --only away to see all names.")
        return 1
    print("\nOn the CPU whatever the device: ", end="")
    print("; ".join(f"{name} ({why})" for name, why in ON_THE_CPU.items()))
    print(f"\n{sum(good)} of {len(good)} as they should be.")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
