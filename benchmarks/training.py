"""Training steps beside plain torch loops of the same arithmetic: milliseconds of processor time per step, and their ratio.

    python benchmarks/training.py [width ...]

MAP and mean field of networks 784-width-width-10 on batches of 128 of 6,000 rows. The two loops alternate, and the median of
each is taken, since other work on the machine would otherwise count against one of them. Pyro is measured if installed.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterator
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


def plain_map(net: nn.Module) -> Callable[[Tensor, Tensor], Any]:
    weights = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    optimizer, prior = torch.optim.Adam(weights.values(), lr=1e-3), torch.distributions.Normal(0.0, 1.0)

    def step(x: Tensor, y: Tensor) -> None:
        loss = nll(net, weights, x, y) - sum(prior.log_prob(w).sum() for w in weights.values())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


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
    def program(x: Tensor, y: Tensor) -> None:
        with su.plate("rows", ROWS, subsample_size=len(x)):
            su.sample("y", dist.Categorical(logits=su.module("net", net)(x)), obs=y)

    lifted = su.lift(program, {"net.**": dist.Normal(0.0, 1.0)})
    return su.infer.SVI(lifted, guide(lifted), su.optim.Adam({"lr": 1e-3}), seed=0, progress=False).step


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


def main(widths: list[int]) -> None:
    torch.set_num_threads(1)
    with_pyro = importlib.util.find_spec("pyro") is not None
    for width in widths:
        net = network(width)
        count = sum(p.numel() for p in net.parameters())
        for what, plain, guide in (("MAP", plain_map, "AutoDelta"), ("mean field", plain_mean_field, "AutoNormal")):
            steps = {"plain": plain(net), "sursum": ours(net, getattr(su.infer.autoguide, guide))}
            if with_pyro:
                steps["pyro"] = pyros(net, guide)
            found = compare(steps)
            ratios = ", ".join(f"{name} {ms:.2f} ms ({ms / found['plain']:.2f})" for name, ms in found.items())
            print(f"{count:>9} weights, {what}: {ratios}", flush=True)


if __name__ == "__main__":
    main([int(width) for width in sys.argv[1:]] or [110, 600, 2800])
