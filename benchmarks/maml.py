"""A meta-step of the suite against `higher`, against learn2learn and against the loop of
Few-Shot_SER as published, in one run.

    python benchmarks/maml.py [--peer FOLDER] [--repetitions 5] [--threads 2] [--no-memory]

All compute the same meta-gradient of the same tasks (5-way 5-shot, 15 queries, 5 inner steps); the
largest difference is printed. FOLDER is a checkout of learn2learn, of which MAML alone is loaded.
`passes` is the arithmetic floor: the bare forward and backward passes that a meta-step cannot do
without (one of the support per inner step, one of the query), without any graph through them.
Ratios are of medians, turn by turn.
"""

from __future__ import annotations

import argparse
import copy
import pathlib
import platform
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable

import torch
from torch import nn

from colab_utils.learning.tasks import Batch, Tasks, masked_cross_entropy
from colab_utils.methods.maml.inner_loop import best_tasks_at_once, meta_gradient, some_tasks
from colab_utils.methods.maml.losses import step_weights
from colab_utils.models import network

WAYS, SHOTS, QUERIES, RATE = 5, 5, 15, 0.01
# on a GPU conv4 takes the meta-batch of 16, too
CASES = {"mlp-768": ("mlp", 16), "conv4": ("conv4", 2)}
Gradients = list[torch.Tensor]


def make_tasks(name: str, number: int, device: str) -> Tasks:
    """Random tasks: vectors of 768 columns, or 200 frames of 80 bands."""
    torch.manual_seed(1)

    def batch(each: int) -> Batch:
        n = WAYS * each
        inputs = (
            (torch.randn(number, n, 768),)
            if name == "mlp"
            else (torch.randn(number, n, 200, 80), torch.ones(number, n, 200, dtype=torch.bool))
        )
        y = torch.arange(WAYS).repeat_interleave(each).repeat(number, 1)
        return Batch(
            tuple(part.to(device) for part in inputs),
            y.to(device),
            torch.ones(number, WAYS, dtype=torch.bool, device=device),
        )

    return Tasks(batch(SHOTS), batch(QUERIES))


def ours(model: nn.Module, tasks: Tasks, steps: int, first_order: bool) -> Gradients:
    """The suite's engine."""
    device = tasks.query.y.device
    rates = {
        name: torch.full((steps,), RATE, device=device) for name, _ in model.named_parameters()
    }
    at_once = best_tasks_at_once(model, str(device), len(tasks.query.y))
    weights = step_weights("final", steps, 1.0)
    found = meta_gradient(
        model,
        masked_cross_entropy,
        rates,
        tasks,
        weights,
        first_order=first_order,
        tasks_at_once=at_once,
    )
    return list(found.gradients.values())


def by_higher(model: nn.Module, tasks: Tasks, steps: int, first_order: bool) -> Gradients:
    """`higher` as its documentation uses it: one differentiable copy and optimiser a task, backward
    task by task.
    """
    import higher

    model.zero_grad()
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
    for i in range(len(tasks.query.y)):
        task = some_tasks(tasks, i)
        with higher.innerloop_ctx(
            model, optimiser, copy_initial_weights=False, track_higher_grads=not first_order
        ) as (fast, optimise):
            for _ in range(steps):
                optimise.step(masked_cross_entropy(*fast(*task.support.inputs), task.support))
            loss = masked_cross_entropy(*fast(*task.query.inputs), task.query) / len(tasks.query.y)
            # higher cuts the graph: the gradient at the adapted weights is the first-order
            # meta-gradient
            if first_order:
                for value, slope in zip(
                    model.parameters(),
                    torch.autograd.grad(loss, list(fast.parameters())),
                    strict=True,
                ):
                    value.grad = slope if value.grad is None else value.grad + slope
            else:
                loss.backward()
    return [value.grad.clone() for value in model.parameters()]


def published(model: nn.Module, tasks: Tasks, steps: int, first_order: bool) -> Gradients:
    """The first-order loop of Few-Shot_SER (method_facts §1.4): a copy of the model a task, SGD
    steps on it, its query gradient the result.
    """
    total = [torch.zeros_like(value) for value in model.parameters()]
    for i in range(len(tasks.query.y)):
        task, fast = some_tasks(tasks, i), copy.deepcopy(model)
        optimiser = torch.optim.SGD(fast.parameters(), lr=RATE)
        for _ in range(steps):
            optimiser.zero_grad()
            masked_cross_entropy(*fast(*task.support.inputs), task.support).backward()
            optimiser.step()
        optimiser.zero_grad()
        masked_cross_entropy(*fast(*task.query.inputs), task.query).backward()
        for mean, value in zip(total, fast.parameters(), strict=True):
            mean += value.grad / len(tasks.query.y)
    return total


def learn2learn(folder: pathlib.Path) -> Callable:
    """MAML of a checkout of learn2learn; its package start, which imports game environments, is
    left out.
    """
    package = types.ModuleType("learn2learn")
    package.__path__ = [str(folder / "learn2learn")]
    algorithms = types.ModuleType("learn2learn.algorithms")
    algorithms.__path__ = [str(folder / "learn2learn" / "algorithms")]
    sys.modules |= {"learn2learn": package, "learn2learn.algorithms": algorithms}
    from learn2learn.algorithms.maml import MAML

    def run(model: nn.Module, tasks: Tasks, steps: int, first_order: bool) -> Gradients:
        model.zero_grad()
        maml = MAML(model, lr=RATE, first_order=first_order)
        for i in range(len(tasks.query.y)):
            task, fast = some_tasks(tasks, i), maml.clone()
            for _ in range(steps):
                fast.adapt(masked_cross_entropy(*fast(*task.support.inputs), task.support))
            (
                masked_cross_entropy(*fast(*task.query.inputs), task.query) / len(tasks.query.y)
            ).backward()
        return [value.grad.clone() for value in model.parameters()]

    return run


def passes(model: nn.Module, tasks: Tasks, steps: int, first_order: bool) -> Gradients:
    """The floor: forward and backward of the support `steps` times and of the query once, for every
    task.
    """
    for i in range(len(tasks.query.y)):
        task = some_tasks(tasks, i)
        for batch in [task.support] * steps + [task.query]:
            torch.autograd.grad(
                masked_cross_entropy(*model(*batch.inputs), batch), list(model.parameters())
            )
    return []


def seconds(function: Callable, *arguments: object) -> tuple[float, Gradients]:
    """Wall time of one call, and what it gave."""
    begin = time.perf_counter()
    result = function(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin, result


def duel(
    case: str, first_order: bool, peers: dict[str, Callable], repetitions: int, device: str
) -> None:
    """All engines in turn on one case; prints agreement, medians and one RATIO line a peer."""
    name, number = CASES[case]
    number = 16 if device == "cuda" else number
    torch.manual_seed(0)
    model, tasks = (
        network(name, 768 if name == "mlp" else 80, WAYS).to(device),
        make_tasks(name, number, device),
    )
    order = "first" if first_order else "second"
    print(
        f"\n{case}, {order} order, meta-batch {number}, tasks at once"
        f" {best_tasks_at_once(model, device, number)}"
    )
    times: dict[str, list[float]] = {one: [] for one in peers}
    # the first turn warms all up and is not counted
    for repetition in range(repetitions + 1):
        reference = None
        for one, function in peers.items():
            spent, gradients = seconds(function, model, tasks, 5, first_order)
            reference = gradients if reference is None else reference
            if repetition == 0 and gradients:
                gap = max(
                    float((a - b).abs().max()) for a, b in zip(reference, gradients, strict=True)
                )
                largest = max(float(a.abs().max()) for a in reference)
                print(
                    f"  {one}: largest difference of the meta-gradient {gap:.1e} (largest entry"
                    f" {largest:.1e})"
                )
            if repetition:
                times[one].append(spent)
    medians = {one: statistics.median(values) for one, values in times.items()}
    print("  " + ", ".join(f"{one} {1e3 * value:.0f} ms" for one, value in medians.items()))
    for one, value in medians.items():
        if one != "suite":
            print(f"RATIO {case}-{order}-order/{one} {value / medians['suite']:.2f}")


def memory(steps: int) -> None:
    """Peak memory of second-order conv4 in a process of its own, above that of the process before
    its first meta-step.
    """
    model, tasks = network("conv4", 80, WAYS), make_tasks("conv4", 2, "cpu")
    before = peak_rss()
    ours(model, tasks, steps, False)
    print(f"{peak_rss() - before:.0f}")


def peak_rss() -> float:
    """The largest resident size of this process so far, in MB (Linux; getrusage would also count
    the process that started it).
    """
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=pathlib.Path)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        memory(arguments.memory_of)
    else:
        duels(arguments)


def duels(arguments: argparse.Namespace) -> None:
    """All cases, then peak memory."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(
        f"{platform.processor() or platform.machine()}, {arguments.threads} threads, torch"
        f" {torch.__version__}, {torch.cuda.get_device_name() if device == 'cuda' else 'no GPU'}"
    )
    peers: dict[str, Callable] = {"suite": ours, "higher": by_higher}
    if arguments.peer:
        peers["learn2learn"] = learn2learn(arguments.peer)
    else:
        print("learn2learn was not measured: give a checkout with --peer")
    for case in CASES:
        duel(case, False, {**peers, "passes": passes}, arguments.repetitions, device)
        duel(
            case,
            True,
            {**peers, "published-loop": published, "passes": passes},
            arguments.repetitions,
            device,
        )
    if not arguments.no_memory and device == "cpu":
        for steps in (5, 20):
            done = subprocess.run(
                [
                    sys.executable,
                    __file__,
                    "--memory-of",
                    str(steps),
                    "--threads",
                    str(arguments.threads),
                ],
                capture_output=True,
                text=True,
                check=True,
            )
            print(
                f"peak memory of a second-order conv4 meta-step, {steps} inner steps, one task at a"
                f" time: {done.stdout.strip()} MB"
            )


if __name__ == "__main__":
    main()
