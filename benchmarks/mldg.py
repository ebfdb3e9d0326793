"""One first-order step of MLDG: the suite's against DomainBed's own, on the same network and
batches.

    python benchmarks/mldg.py --peer PATH/TO/DomainBed [--turns 7] [--device cpu] [--threads 1]

All contestants start from the same weights and train side by side, turn by turn, in this process;
after every turn their losses must agree. DomainBed (github.com/facebookresearch/DomainBed) adapts
to one meta-train domain at a time, so with two source domains, and with these only, its step is
that of the paper; its inner optimiser is exchanged for the paper's plain gradient step (its own is
Adam, which is timed as well, "as it is"). Without --peer a plain implementation of the published
formula with a deep copy takes its place. One thread unless told otherwise: on shared cores threads
mostly wait for one another. Memory is what a step holds at most beyond the network, its optimiser
and the batches, as torch's allocator counts it.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import random
import statistics
import sys
import time
import types
from collections.abc import Callable
from unittest import mock

# torch's profiler, which counts the memory, reports a missing GPU as an error
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import torch
from torch import nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from colab_utils.methods.da_mldg.algorithms import Batches, Mldg
from colab_utils.models import network

CLASSES, INNER_RATE, RATE, MOMENTUM = 5, 0.01, 1e-3, 0.9
# utterances of a domain, shape of each: an embedding; 2 s of log-mel frames
CASES = {"mlp": (32, (768,)), "resnet18": (16, (198, 64))}
Step = Callable[[], float]


def batches_of(case: str, domains: int, device: str) -> Batches:
    """Noise, the same each time."""
    n, shape = CASES[case]
    generator = torch.Generator().manual_seed(0)
    made = {}
    for number in range(domains):
        x, y = (
            torch.randn(n, *shape, generator=generator) + 0.1 * number,
            torch.randint(CLASSES, (n,), generator=generator),
        )
        mask = (
            () if len(shape) == 1 else (torch.ones(n, shape[0], dtype=torch.bool, device=device),)
        )
        made[f"domain-{number}"] = ((x.to(device), *mask), y.to(device))
    return made


def sgd(parameters, rate: float = RATE) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=rate, momentum=MOMENTUM)


def suite(net: nn.Module, batches: Batches, **settings) -> Step:
    """Ours."""
    algorithm = Mldg(net, sgd, inner_rate=INNER_RATE, **settings)
    return lambda: algorithm.update(batches)["loss"]


def plain_copy(net: nn.Module, batches: Batches) -> Step:
    """The published formula, word by word: a deep copy is trained for one step and tested, its
    gradients go to the network.
    """
    optimiser, order = sgd(net.parameters()), Mldg(net, sgd)

    def loss_of(model: nn.Module, names: list[str]) -> torch.Tensor:
        return sum(
            functional.cross_entropy(model(*batches[name][0])[0], batches[name][1])
            for name in names
        ) / len(names)

    def step() -> float:
        held = order.held_out(batches)
        order.step += 1
        clone = copy.deepcopy(net)
        inner = torch.optim.SGD(clone.parameters(), lr=INNER_RATE)
        train = loss_of(clone, [name for name in batches if name != held])
        inner.zero_grad()
        train.backward()
        optimiser.zero_grad()
        for own, copied in zip(net.parameters(), clone.parameters(), strict=True):
            own.grad = copied.grad.clone()
        inner.step()
        test = loss_of(clone, [held])
        slopes = torch.autograd.grad(test, list(clone.parameters()))
        for own, slope in zip(net.parameters(), slopes, strict=True):
            own.grad += slope
        optimiser.step()
        return train.item() + test.item()

    return step


class _Logits(nn.Module):
    """A network as DomainBed calls it: a batch's values in, its logits out."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        mask = (
            ()
            if values.dim() == 2
            else (torch.ones(values.shape[:2], dtype=torch.bool, device=values.device),)
        )
        return self.net(values, *mask)[0]


def domainbed(
    algorithms: types.ModuleType, net: nn.Module, batches: Batches, as_it_is: bool = False
) -> Step:
    """DomainBed's own MLDG.update; its loss and its gradient are divided by the number of domains,
    which is taken back here.
    """
    names, order = sorted(batches), Mldg(net, sgd)
    # its constructor would download a network
    peer = algorithms.MLDG.__new__(algorithms.MLDG)
    nn.Module.__init__(peer)
    peer.hparams, peer.num_meta_test = {"lr": INNER_RATE, "weight_decay": 0.0, "mldg_beta": 1.0}, 1
    peer.network = _Logits(net)
    peer.optimizer = sgd(peer.network.parameters(), RATE * len(names))
    minibatches = [(batches[name][0][0], batches[name][1]) for name in names]
    inner = torch.optim.Adam if as_it_is else torch.optim.SGD

    def step() -> float:
        held, seed = names.index(order.held_out(batches)), 0
        order.step += 1
        # let it hold out the same domain
        while int(torch.manual_seed(seed) and torch.randperm(len(names))[-1]) != held:
            seed += 1
        torch.manual_seed(seed)
        with mock.patch.object(torch.optim, "Adam", inner):
            return peer.update(minibatches)["loss"] * len(names)

    return step


def peer_from(path: str) -> types.ModuleType:
    """DomainBed's algorithms; timm, which its image networks alone need, is replaced by an empty
    module where it is missing.
    """
    sys.path.insert(0, path)
    try:
        import timm  # noqa: F401
    except ImportError:
        sys.modules["timm"] = types.ModuleType("timm")
    try:
        import domainbed.algorithms
    except ImportError as error:
        raise SystemExit(
            f"{path}: no DomainBed that can be imported ({error}); give the folder that holds"
            " `domainbed/`"
        ) from error
    return domainbed.algorithms


def timed(step: Step, device: str) -> tuple[float, float, float]:
    """Wall and processor milliseconds of one step (processor: all threads together), and its loss."""
    wall, processor = time.perf_counter(), time.process_time()
    loss = step()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor), loss


def peak_of(step: Step, net: nn.Module, device: str) -> float:
    """Megabytes that a step holds at most beyond what was there before, gradients counted as the
    step's own.
    """
    net.zero_grad()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        step()
    events = sorted(
        (event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"),
        key=lambda event: event.start_ns(),
    )
    held = most = 0
    for event in events:
        held += event.nbytes()
        most = max(most, held)
    return most / 1e6


def duel(
    title: str,
    contestants: dict[str, tuple[Step, nn.Module]],
    same: list[str],
    turns: int,
    device: str,
) -> dict[str, list[float]]:
    """Turn by turn; prints and returns median wall and processor milliseconds and peak megabytes of
    each. Losses of those in `same` must agree.
    """
    runs = {name: [] for name in contestants}
    for turn in range(turns + 1):  # the first one warms up and is not counted
        for name in random.Random(turn).sample(list(contestants), len(contestants)):
            runs[name].append(timed(contestants[name][0], device))
    found = {
        name: (
            [statistics.median(run[kind] for run in runs[name][1:]) for kind in (0, 1)]
            + [peak_of(*contestants[name], device)]
        )
        for name in contestants
    }
    print(f"\n{title}; median of {turns} turns: wall ms (processor ms), peak MB, first losses")
    for name, (wall, processor, megabytes) in found.items():
        print(
            f"  {name:34s} {wall:9.2f} ({processor:.2f}) {megabytes:9.2f} MB  "
            f" {' '.join(f'{loss:.6f}' for _, _, loss in runs[name][:5])}"
        )
    worst = max(
        abs(a[2] - b[2]) / abs(b[2])
        for name in same
        for a, b in zip(runs[name], runs[same[0]], strict=True)
    )
    print(
        f"  {', '.join(same)} computed the same: largest relative difference of a loss {worst:.1e}"
        " (bound: 1e-3)"
    )
    if not worst < 1e-3:
        raise SystemExit("they do not agree, so their times cannot be compared")
    return found


def contest(
    case: str, algorithms: types.ModuleType | None, domains: int, turns: int, device: str
) -> dict[str, float]:
    """One network and number of domains; the ratios of the peer (DomainBed with two domains, else
    the plain copy) to ours.
    """
    batches = batches_of(case, domains, device)
    torch.manual_seed(0)
    start = network(case, 768, CLASSES).to(device)
    made, peer = {}, "DomainBed" if algorithms is not None and domains == 2 else "plain copy"

    def add(name: str, maker: Callable, *arguments, **settings) -> None:
        net = copy.deepcopy(start)
        made[name] = maker(*arguments, net, batches, **settings), net

    # frames are many, vectors are few: one domain at a time, or all at once
    apart = case != "mlp"
    add("suite", suite, apart=apart)
    add("plain copy", plain_copy)
    same = ["suite", "plain copy"]
    if domains == 2:
        add("suite, second order", suite, order="second")
    else:
        same.append(f"suite, domains {'together' if apart else 'apart'}")
        add(same[-1], suite, apart=not apart)
    if algorithms is not None and domains == 2:
        same.append("DomainBed")
        add("DomainBed", domainbed, algorithms)
        add("DomainBed as it is (another loss)", domainbed, algorithms, as_it_is=True)
    elif algorithms is not None:
        add("DomainBed (another loss)", domainbed, algorithms)
    n, shape = CASES[case]
    found = duel(
        f"{case}, {domains} domains x {n} utterances of {' x '.join(map(str, shape))}",
        made,
        same,
        turns,
        device,
    )
    if domains == 2:
        wall, _, megabytes = (
            second / first
            for second, first in zip(found["suite, second order"], found["suite"], strict=True)
        )
        print(
            f"  second order takes {wall:.1f} times the time and {megabytes:.1f} times the memory"
            " of the first"
        )
    name = f"mldg_{case}_{domains}_domains_over_{peer.lower().replace(' ', '_')}"
    kinds = ("time", "processor_time", "memory") if device == "cpu" else ("time", "", "memory")
    return {
        f"{name}_{kind}": theirs / ours
        for kind, theirs, ours in zip(kinds, found[peer], found["suite"], strict=True)
        if kind
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--peer", help="a checkout of DomainBed: the folder that holds `domainbed/`"
    )
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda")
    )
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    algorithms = peer_from(arguments.peer) if arguments.peer else None
    machine = (
        torch.cuda.get_device_name()
        if arguments.device == "cuda"
        else platform.processor() or platform.machine()
    )
    print(
        f"{machine}, {torch.get_num_threads()} threads of {os.cpu_count()} cores, torch"
        f" {torch.__version__}, Python {platform.python_version()}"
    )
    if algorithms is None:
        print(
            "DomainBed was not measured: give --peer; a plain copy of the network stands in for it"
        )
    ratios = {}
    for case, turns in (("mlp", 20 * arguments.turns), ("resnet18", arguments.turns)):
        for domains in (2, 4):
            ratios |= contest(case, algorithms, domains, turns, arguments.device)
    print()
    for name, ratio in ratios.items():
        print(f"RATIO {name} {ratio:.2f}")


if __name__ == "__main__":
    main()
