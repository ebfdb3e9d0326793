"""A meta-step of the suite against `higher`, learn2learn and the published loop of Few-Shot_SER.

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
from colab_utils.methods.maml.inner_loop import meta_gradient, portions, tasks_at_once
from colab_utils.methods.maml.losses import step_weights
from colab_utils.models import network

WAYS, SHOTS, QUERIES, STEPS, RATE = 5, 5, 15, 5, 0.01
# on a GPU conv4 takes the meta-batch of 16, too
CASES = {"mlp-768": ("mlp", 16), "conv4": ("conv4", 2)}
Gradients = list[torch.Tensor]


def make_batch(name: str, number: int, each: int) -> Batch:
    """Random utterances of `number` tasks: vectors of 768 columns, or 200 frames of 80 bands."""
    n = WAYS * each
    if name == "mlp":
        inputs = (torch.randn(number, n, 768),)
    else:
        mask = torch.ones(number, n, 200, dtype=torch.bool)
        inputs = (torch.randn(number, n, 200, 80), mask)
    y = torch.arange(WAYS).repeat_interleave(each).repeat(number, 1)
    return Batch(inputs, y, torch.ones(number, WAYS, dtype=torch.bool))


def make_case(name: str, number: int, device: str) -> tuple[nn.Module, Tasks]:
    """A network and its tasks."""
    dim = 768 if name == "mlp" else 80
    torch.manual_seed(0)
    model = network(name, dim, WAYS).to(device)
    torch.manual_seed(1)
    support = make_batch(name, number, SHOTS)
    tasks = Tasks(support, make_batch(name, number, QUERIES))
    return model, torch.utils._pytree.tree_map(lambda value: value.to(device), tasks)


def loss_of(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The loss of one task's batch."""
    return masked_cross_entropy(*model(*batch.inputs), batch)


# --- engines --------------------------------------------------------------------------------------


def ours(
    model: nn.Module, tasks: Tasks, steps: int, first_order: bool, recompute: bool = False
) -> Gradients:
    """The suite's engine."""
    device = tasks.query.y.device
    rates = {}
    for name, _ in model.named_parameters():
        rates[name] = torch.full((steps,), RATE, device=device)
    found = meta_gradient(
        model,
        masked_cross_entropy,
        rates,
        tasks,
        step_weights("final", steps, 1.0),
        first_order,
        recompute,
    )
    return list(found.gradients.values())


def by_higher(model: nn.Module, tasks: Tasks, steps: int, first_order: bool) -> Gradients:
    """`higher` as its documentation uses it.

    One differentiable copy and optimiser a task, backward task by task.
    """
    import higher

    model.zero_grad()
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
    for task in portions(tasks, 1):
        with higher.innerloop_ctx(
            model, optimiser, copy_initial_weights=False, track_higher_grads=not first_order
        ) as (fast, optimise):
            for _ in range(steps):
                optimise.step(loss_of(fast, task.support))
            loss = loss_of(fast, task.query) / len(tasks.query.y)
            if first_order:
                # higher cuts the graph: the gradient at the adapted weights is the first-order
                # meta-gradient
                slopes = torch.autograd.grad(loss, list(fast.parameters()))
                for value, slope in zip(model.parameters(), slopes, strict=True):
                    value.grad = slope if value.grad is None else value.grad + slope
            else:
                loss.backward()
    return [value.grad.clone() for value in model.parameters()]


def published(model: nn.Module, tasks: Tasks, steps: int, first_order: bool) -> Gradients:
    """The first-order loop of Few-Shot_SER.

    A copy of the model a task, SGD steps on it, its query gradient the result.
    """
    total = [torch.zeros_like(value) for value in model.parameters()]
    for task in portions(tasks, 1):
        fast = copy.deepcopy(model)
        optimiser = torch.optim.SGD(fast.parameters(), lr=RATE)
        for _ in range(steps):
            optimiser.zero_grad()
            loss_of(fast, task.support).backward()
            optimiser.step()
        optimiser.zero_grad()
        loss_of(fast, task.query).backward()
        for mean, value in zip(total, fast.parameters(), strict=True):
            mean += value.grad / len(tasks.query.y)
    return total


def learn2learn(folder: pathlib.Path) -> Callable:
    """MAML of a checkout of learn2learn.

    The start of its package, which imports game environments, is left out.
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
        for task in portions(tasks, 1):
            fast = maml.clone()
            for _ in range(steps):
                fast.adapt(loss_of(fast, task.support))
            loss = loss_of(fast, task.query) / len(tasks.query.y)
            loss.backward()
        return [value.grad.clone() for value in model.parameters()]

    return run


def passes(model: nn.Module, tasks: Tasks, steps: int, first_order: bool) -> Gradients:
    """The floor: forward and backward of the support `steps` times and of the query once."""
    parameters = list(model.parameters())
    for task in portions(tasks, 1):
        for batch in [task.support] * steps + [task.query]:
            loss = loss_of(model, batch)
            torch.autograd.grad(loss, parameters)
    return []


# --- measuring ------------------------------------------------------------------------------------


def seconds(function: Callable, *arguments: object) -> tuple[float, Gradients]:
    """Wall time of one call, and what it gave."""
    begin = time.perf_counter()
    result = function(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin, result


def say_difference(name: str, reference: Gradients, found: Gradients) -> None:
    """Print how far two meta-gradients are apart."""
    gap = max(float((a - b).abs().max()) for a, b in zip(reference, found, strict=True))
    largest = max(float(a.abs().max()) for a in reference)
    print(
        f"  {name}: largest difference of the meta-gradient {gap:.1e} (largest entry {largest:.1e})"
    )


def duel(
    case: str, first_order: bool, peers: dict[str, Callable], repetitions: int, device: str
) -> None:
    """All engines in turn on one case; prints agreement, medians and one RATIO line a peer."""
    name, number = CASES[case]
    number = 16 if device == "cuda" else number
    model, tasks = make_case(name, number, device)
    order = "first" if first_order else "second"
    print(
        f"\n{case}, {order} order, meta-batch {number}, tasks at once"
        f" {tasks_at_once(model, number)}"
    )
    # The first turn warms all up and is not counted.
    reference = ours(model, tasks, STEPS, first_order)
    for one, function in peers.items():
        found = function(model, tasks, STEPS, first_order)
        if found:
            say_difference(one, reference, found)
    times: dict[str, list[float]] = {one: [] for one in peers}
    for _ in range(repetitions):
        for one, function in peers.items():
            times[one].append(seconds(function, model, tasks, STEPS, first_order)[0])
    medians = {one: statistics.median(values) for one, values in times.items()}
    print("  " + ", ".join(f"{one} {1e3 * value:.0f} ms" for one, value in medians.items()))
    for one, value in medians.items():
        if one != "suite":
            print(f"RATIO {case}-{order}-order/{one} {value / medians['suite']:.2f}")


def memory(steps: int, how: str) -> None:
    """Print the peak memory of second-order conv4, above that before its first meta-step, in MB.

    And its time, in seconds.
    """
    model, tasks = make_case("conv4", 2, "cpu")
    before = peak_rss()
    spent, _ = seconds(ours, model, tasks, steps, False, how == "again")
    print(f"{peak_rss() - before:.0f} MB, {spent:.1f} s")


def peak_rss() -> float:
    """The largest resident size of this process so far, in MB.

    Linux; getrusage would also count the process that started it.
    """
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def all_memory(threads: int) -> None:
    """Peak memory and time with steps kept and computed again, each in a process of its own."""
    for steps in (5, 20):
        for how in ("kept", "again"):
            command = [sys.executable, __file__, "--memory-of", str(steps), "--how", how]
            command += ["--threads", str(threads)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(
                f"peak memory of a second-order conv4 meta-step, {steps} inner steps "
                f"{'kept' if how == 'kept' else 'computed again'}: {done.stdout.strip()}"
            )


def duels(arguments: argparse.Namespace) -> None:
    """All cases, then peak memory."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    gpu = torch.cuda.get_device_name() if device == "cuda" else "no GPU"
    processor = platform.processor() or platform.machine()
    print(f"{processor}, {arguments.threads} threads, torch {torch.__version__}, {gpu}")
    peers: dict[str, Callable] = {"suite": ours, "higher": by_higher}
    if arguments.peer:
        peers["learn2learn"] = learn2learn(arguments.peer)
    else:
        print("learn2learn was not measured: give a checkout with --peer")
    peers["passes"] = passes
    for case in CASES:
        duel(case, False, peers, arguments.repetitions, device)
        duel(case, True, peers | {"published-loop": published}, arguments.repetitions, device)
    if not arguments.no_memory and device == "cpu":
        all_memory(arguments.threads)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=pathlib.Path)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--how", default="again", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        memory(arguments.memory_of, arguments.how)
    else:
        duels(arguments)


if __name__ == "__main__":
    main()
