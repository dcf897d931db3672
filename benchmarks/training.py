"""Training steps beside plain torch loops of the same arithmetic: milliseconds of processor time per step, and their ratio.

    python benchmarks/training.py [width ...]

MAP, mean field and SGLD of networks 784-width-width-10 on batches of 128 of 6,000 rows. The two loops alternate, and the median
of each is taken, since other work on the machine would otherwise count against one of them. Pyro is measured if installed.
After each network: seconds of `svi.sample(20)`, and what the mean-field loops add to the largest memory of their processes.
`--only TEXT` runs the rows whose name has it.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist

ROWS, BATCH, STEPS, ROUNDS = 6000, 128, 20, 5
X = torch.randn(ROWS, 784, generator=torch.Generator().manual_seed(0))
Y = torch.randint(10, (ROWS,), generator=torch.Generator().manual_seed(1))


def network(width: int) -> nn.Sequential:
    torch.manual_seed(1)
    layers = [nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)]
    return nn.Sequential(*layers)


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    while True:
        rows = torch.randint(ROWS, (BATCH,), generator=generator)
        yield X[rows], Y[rows]


def nll(net: nn.Module, weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    out = torch.func.functional_call(net, weights, (x,))
    return nn.functional.cross_entropy(out, y, reduction="sum") * (ROWS / BATCH)


def plain(net: nn.Module, kind: Callable[..., torch.optim.Optimizer], lr: float) -> Callable[[Tensor, Tensor], Any]:
    """A step of an optimiser on the log density, as one writes it with torch alone."""
    weights = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    optimizer, prior = kind(weights.values(), lr=lr), torch.distributions.Normal(0.0, 1.0)

    def step(x: Tensor, y: Tensor) -> None:
        loss = nll(net, weights, x, y) - sum(prior.log_prob(w).sum() for w in weights.values())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def plain_map(net: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    return plain(net, torch.optim.Adam, lr=1e-3)


def plain_mean_field(net: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    normal, prior = torch.distributions.Normal, torch.distributions.Normal(0.0, 1.0)
    locs = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    logs = {name: torch.full_like(p, -2.3).requires_grad_() for name, p in locs.items()}
    optimizer = torch.optim.Adam([*locs.values(), *logs.values()], lr=1e-3)

    def step(x: Tensor, y: Tensor) -> None:
        guides = {name: normal(loc, logs[name].exp(), validate_args=False) for name, loc in locs.items()}
        weights = {name: guide.rsample() for name, guide in guides.items()}
        loss = nll(net, weights, x, y)
        for name, guide in guides.items():
            loss = loss + (guide.log_prob(weights[name]) - prior.log_prob(weights[name])).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def ours(net: nn.Module, guide: Any) -> Callable[[Tensor, Tensor], Any]:
    program = lifted(net)
    return su.infer.SVI(program, guide(program), su.optim.Adam({"lr": 1e-3}), seed=0, progress=False).step


def plain_sgd(net: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    return plain(net, torch.optim.SGD, lr=1e-8)


def lifted(net: nn.Module) -> su.lift:
    def program(x: Tensor, y: Tensor) -> None:
        with su.plate("rows", ROWS, subsample_size=len(x)):
            su.sample("y", dist.Categorical(logits=su.module("net", net)(x)), obs=y)

    return su.lift(program, {"net.**": dist.Normal(0.0, 1.0)})


def sgld(net: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    """A step of the chain itself: gradient, noise and move, as `SGMCMC` takes it."""
    from sursum.networks.preconditioner import Preconditioner
    from sursum.networks.target import Target

    program, dynamics = lifted(net), su.infer.SGLD(lifted(net), 1e-4)
    target = Target(program, next(batches()), {}, title="SGLD")
    q, generator, number = target.vector()[None].clone(), torch.Generator().manual_seed(0), 0
    normal = lambda like: torch.randn(like.shape, generator=generator, dtype=like.dtype)
    state, scale, given = dynamics.begin(q, normal), Preconditioner(), target.first
    chains = [replace(target.chain(0), take=lambda: given)]

    def step(x: Tensor, y: Tensor) -> None:
        nonlocal number, given
        given, number = (x, y), number + 1
        _, gradient = target.at_points(q, chains, number, at_once=False)
        dynamics.move(q, gradient, scale.root, state, 1e-4, normal)

    return step


def peak(width: int, whose: str, queue: Any) -> None:
    """Megabytes of the largest resident memory of a loop above what the process had before it."""
    torch.set_num_threads(1)
    net, data = network(width), batches()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = plain_mean_field(net) if whose == "plain" else ours(net, su.infer.autoguide.AutoNormal)
    for _ in range(5):
        step(*next(data))
    queue.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def memory(width: int) -> dict[str, float]:
    context, found = multiprocessing.get_context("spawn"), dict[str, float]()
    for whose in ("plain", "sursum"):
        queue = context.Queue()
        process = context.Process(target=peak, args=(width, whose, queue))
        process.start()
        found[whose] = queue.get()
        process.join()
    return found


def pyros(net: nn.Module, guide: str) -> Callable[[Tensor, Tensor], Any]:
    import pyro
    import pyro.distributions as pd
    from pyro.infer import SVI, Trace_ELBO, autoguide

    def program(x: Tensor, y: Tensor) -> None:
        weights = {
            name: pyro.sample(name.replace(".", "_"), pd.Normal(torch.zeros_like(p), 1.0).to_event(p.dim()))
            for name, p in net.named_parameters()
        }
        with pyro.plate("rows", ROWS, subsample_size=len(x)):
            logits = torch.func.functional_call(net, weights, (x,))
            pyro.sample("y", pd.Categorical(logits=logits), obs=y)

    pyro.clear_param_store()
    return SVI(program, getattr(autoguide, guide)(program), pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO()).step


def compare(steps: dict[str, Callable[[Tensor, Tensor], Any]]) -> dict[str, float]:
    """Milliseconds per step of each, the median over steps, in alternation."""
    data, times = batches(), {name: [] for name in steps}
    for step in steps.values():
        step(*next(data))
    for _ in range(ROUNDS):
        for name, step in steps.items():
            for _ in range(STEPS):
                batch = next(data)
                began = time.process_time()
                step(*batch)
                times[name].append(1e3 * (time.process_time() - began))
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("widths", type=int, nargs="*", default=[110, 600, 2800])
    parser.add_argument("--only", default="", help="rows whose name has this text")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with_pyro = importlib.util.find_spec("pyro") is not None
    for width in chosen.widths:
        net = network(width)
        count = sum(p.numel() for p in net.parameters())
        rows: list[tuple[str, Any, Any, str | None]] = [
            ("MAP", plain_map, lambda net: ours(net, su.infer.autoguide.AutoDelta), "AutoDelta"),
            ("mean field", plain_mean_field, lambda net: ours(net, su.infer.autoguide.AutoNormal), "AutoNormal"),
            ("SGLD beside plain SGD", plain_sgd, sgld, None),
        ]
        for what, plain, made, guide in rows:
            if chosen.only not in what:
                continue
            steps = {"plain": plain(net), "sursum": made(net)}
            if with_pyro and guide is not None:
                steps["pyro"] = pyros(net, guide)
            found = compare(steps)
            ratios = ", ".join(f"{name} {ms:.2f} ms ({ms / found['plain']:.2f})" for name, ms in found.items())
            print(f"{count:>9} weights, {what}: {ratios}", flush=True)
        if chosen.only in "sample(20)":
            program = lifted(net)
            svi = su.infer.SVI(
                program, su.infer.autoguide.AutoNormal(program), su.optim.Adam({"lr": 1e-3}), seed=0, progress=False
            )
            batch = next(batches())
            svi.step(*batch)
            began = time.process_time()
            svi.sample(20, *batch)
            print(f"{count:>9} weights, svi.sample(20): {time.process_time() - began:.2f} s", flush=True)
        if chosen.only in "memory":
            used = memory(width)
            ratio = used["sursum"] / used["plain"]
            print(f"{count:>9} weights, memory of mean field: plain {used['plain']:.0f} MB, ours {ratio:.2f} of it", flush=True)


if __name__ == "__main__":
    main()
