"""One first-order step of MLDG: the suite's against DomainBed's own, on the same network and data.

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

from colab_utils.methods.da_mldg.algorithms.algorithm import Batches
from colab_utils.methods.da_mldg.algorithms.mldg import Mldg
from colab_utils.methods.da_mldg.settings import DomainConfig
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
        x = torch.randn(n, *shape, generator=generator) + 0.1 * number
        y = torch.randint(CLASSES, (n,), generator=generator)
        x, y = x.to(device), y.to(device)
        made[f"domain-{number}"] = (x, *masks_of(x)), y
    return made


def masks_of(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The mask of frames (n, frames, dim), all valid; none of vectors (n, dim)."""
    if values.dim() == 2:
        return ()
    return (torch.ones(values.shape[:2], dtype=torch.bool, device=values.device),)


def ours(net: nn.Module, order: str = "first") -> Mldg:
    """The suite's MLDG with plain SGD."""
    config = DomainConfig(
        algorithm="mldg",
        order=order,
        inner_rate=INNER_RATE,
        optimiser="sgd",
        learning_rate=RATE,
        momentum=MOMENTUM,
        weight_decay=0.0,
    )
    return Mldg(net, config)


def suite(net: nn.Module, batches: Batches, order: str = "first") -> Step:
    """Ours."""
    algorithm = ours(net, order)
    return lambda: algorithm.update(batches)["loss"]


def plain_copy(net: nn.Module, batches: Batches) -> Step:
    """The published formula, word by word.

    A deep copy is trained for one step and tested, its gradients go to the network.
    """
    optimiser = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)
    order = ours(net)

    def loss_of(model: nn.Module, names: list[str]) -> torch.Tensor:
        losses = []
        for name in names:
            inputs, y = batches[name]
            losses.append(functional.cross_entropy(model(*inputs)[0], y))
        return sum(losses) / len(losses)

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
        """Logits of values, all of whose frames are valid."""
        return self.net(values, *masks_of(values))[0]


def domainbed(
    algorithms: types.ModuleType, net: nn.Module, batches: Batches, as_it_is: bool = False
) -> Step:
    """DomainBed's own MLDG.update.

    Its loss and its gradient are divided by the number of domains, which is taken back here.
    """
    names, order = sorted(batches), ours(net)
    # its constructor would download a network
    peer = algorithms.MLDG.__new__(algorithms.MLDG)
    nn.Module.__init__(peer)
    peer.hparams, peer.num_meta_test = {"lr": INNER_RATE, "weight_decay": 0.0, "mldg_beta": 1.0}, 1
    peer.network = _Logits(net)
    rate = RATE * len(names)
    peer.optimizer = torch.optim.SGD(peer.network.parameters(), lr=rate, momentum=MOMENTUM)
    minibatches = []
    for name in names:
        inputs, y = batches[name]
        minibatches.append((inputs[0], y))
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
    """DomainBed's algorithms.

    Where timm is missing, which its image networks alone need, an empty module takes its place.
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
    """Wall and processor milliseconds (of all threads together) of one step, and its loss."""
    wall, processor = time.perf_counter(), time.process_time()
    loss = step()
    if device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor), loss


def peak_of(step: Step, net: nn.Module, device: str) -> float:
    """Megabytes that a step holds at most beyond what was there before.

    Gradients count as the step's own.
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
    """Run them turn by turn; losses of those in `same` must agree.

    Prints and returns median wall and processor milliseconds and peak megabytes of each.
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
    """One network and number of domains.

    Returns the ratios of the peer (DomainBed with two domains, else the plain copy) to ours.
    """
    batches = batches_of(case, domains, device)
    torch.manual_seed(0)
    start = network(case, 768, CLASSES).to(device)
    made = {}

    def add(name: str, maker: Callable, *before, **settings) -> None:
        net = copy.deepcopy(start)
        made[name] = maker(*before, net, batches, **settings), net

    add("suite", suite)
    add("plain copy", plain_copy)
    same, peer = ["suite", "plain copy"], "plain copy"
    if domains == 2:
        add("suite, second order", suite, order="second")
    if algorithms is not None and domains == 2:
        peer = "DomainBed"
        same.append(peer)
        add(peer, domainbed, algorithms)
        add("DomainBed as it is (another loss)", domainbed, algorithms, as_it_is=True)
    elif algorithms is not None:
        add("DomainBed (another loss)", domainbed, algorithms)
    n, shape = CASES[case]
    title = f"{case}, {domains} domains x {n} utterances of {' x '.join(map(str, shape))}"
    found = duel(title, made, same, turns, device)
    wall, processor, megabytes = found["suite"]
    if domains == 2:
        second = found["suite, second order"]
        print(
            f"  second order takes {second[0] / wall:.1f} times the time and "
            f"{second[2] / megabytes:.1f} times the memory of the first"
        )
    name = f"mldg_{case}_{domains}_domains_over_{peer.lower().replace(' ', '_')}"
    ratios = {f"{name}_time": found[peer][0] / wall, f"{name}_memory": found[peer][2] / megabytes}
    if device == "cpu":
        ratios[f"{name}_processor_time"] = found[peer][1] / processor
    return ratios


def main() -> None:
    """Read the command line and run all contests."""
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
