"""Programs of Pyro's users, unchanged but for the import: one side of `benchmarks/porting.py`.

python -m benchmarks.ports ROOT PORT, with ROOT either `pyro` or `sursum.compat.pyro`. The last line is JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

Port = Callable[[Any], dict[str, float]]


def names(root: str) -> Any:
    """The modules of Pyro that programs import."""
    load = lambda path: importlib.import_module(f"{root}{path}")
    return SimpleNamespace(
        pyro=load(""),
        dist=load(".distributions"),
        infer=load(".infer"),
        auto=load(".infer.autoguide"),
        optim=load(".optim"),
        stats=load(".ops.stats"),
    )


def stepping(step: Callable[[int], float], seconds: float = 3.0) -> dict[str, float]:
    """Seconds of CPU from the start of the process to the end of 64 steps, compilers included, and milliseconds for each step
    after them: the median of blocks of 16."""
    for k in range(64):
        step(k)
    cold, blocks, at = sum(os.times()[:4]), list[float](), 64
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(blocks) < 4:
        start = time.process_time()
        for k in range(at, at + 16):
            loss = step(k)
        blocks.append((time.process_time() - start) / 16)
        at += 16
    return {"cold s": cold, "ms": 1e3 * statistics.median(blocks), "loss": float(loss)}


def sampling(p: Any, model: Callable[..., Any], args: tuple[Any, ...], draws: int) -> dict[str, float]:
    """Milliseconds of CPU per draw by NUTS, whatever is compiled among them, and per effective draw of the slowest number."""
    start = time.process_time()
    mcmc = p.infer.MCMC(p.infer.NUTS(model), num_samples=draws, warmup_steps=draws, disable_progbar=True)
    mcmc.run(*args)
    spent = time.process_time() - start
    sizes = [p.stats.effective_sample_size(value.unsqueeze(0), 0, 1).min() for value in mcmc.get_samples().values()]
    return {"ms": 1e3 * spent / (2 * draws), "ms per effective draw": 1e3 * spent / float(min(sizes))}


def eight_schools(p: Any) -> dict[str, float]:
    effect = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    error = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

    def model(error: Tensor, effect: Tensor) -> None:
        mu = p.pyro.sample("mu", p.dist.Normal(0.0, 5.0))
        tau = p.pyro.sample("tau", p.dist.HalfCauchy(5.0))
        with p.pyro.plate("schools", 8):
            eta = p.pyro.sample("eta", p.dist.Normal(0.0, 1.0))
            p.pyro.sample("y", p.dist.Normal(mu + tau * eta, error), obs=effect)

    return sampling(p, model, (error, effect), 300)


def _vae(p: Any, pixels: int, hidden: int, latent: int, batch: int) -> dict[str, float]:
    encoder = nn.Sequential(nn.Linear(pixels, hidden), nn.Softplus(), nn.Linear(hidden, 2 * latent))
    decoder = nn.Sequential(nn.Linear(latent, hidden), nn.Softplus(), nn.Linear(hidden, pixels))

    def model(x: Tensor) -> None:
        p.pyro.module("decoder", decoder)
        with p.pyro.plate("data", len(x)):
            z = p.pyro.sample("z", p.dist.Normal(torch.zeros(len(x), latent), 1.0).to_event(1))
            p.pyro.sample("x", p.dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        p.pyro.module("encoder", encoder)
        with p.pyro.plate("data", len(x)):
            loc, scale = encoder(x).chunk(2, -1)
            p.pyro.sample("z", p.dist.Normal(loc, scale.exp()).to_event(1))

    batches = (torch.rand(8, batch, pixels) > 0.5).float()
    svi = p.infer.SVI(model, guide, p.optim.Adam({"lr": 1e-3}), p.infer.Trace_ELBO())
    return stepping(lambda k: svi.step(batches[k % 8]))


def vae(p: Any) -> dict[str, float]:
    return _vae(p, 16, 8, 2, 32)


def large_vae(p: Any) -> dict[str, float]:
    return _vae(p, 784, 400, 20, 256)


def hierarchical_regression(p: Any) -> dict[str, float]:
    groups, rows = 20, 1000
    x, group = torch.randn(rows), torch.arange(rows) % groups
    y = 0.5 + torch.randn(groups)[group] * x + 0.3 * torch.randn(rows)

    def model() -> None:
        mean = p.pyro.sample("mean", p.dist.Normal(0.0, 1.0))
        spread = p.pyro.sample("spread", p.dist.LogNormal(0.0, 0.5))
        noise = p.pyro.sample("noise", p.dist.LogNormal(-1.0, 0.5))
        base = p.pyro.sample("base", p.dist.Normal(0.0, 1.0))
        with p.pyro.plate("groups", groups):
            slope = p.pyro.sample("slope", p.dist.Normal(mean, spread))
        with p.pyro.plate("data", rows, subsample_size=100) as index:
            p.pyro.sample("y", p.dist.Normal(base + slope[group[index]] * x[index], noise), obs=y[index])

    svi = p.infer.SVI(model, p.auto.AutoNormal(model), p.optim.Adam({"lr": 1e-2}), p.infer.Trace_ELBO())
    return stepping(lambda k: svi.step())


def enumerated_mixture(p: Any) -> dict[str, float]:
    data = torch.cat([torch.randn(100) - 3.0, torch.randn(100) + 3.0])

    def model(data: Tensor) -> None:
        weights = p.pyro.sample("weights", p.dist.Dirichlet(torch.ones(3)))
        scale = p.pyro.sample("scale", p.dist.LogNormal(0.0, 1.0))
        with p.pyro.plate("components", 3):
            locs = p.pyro.sample("locs", p.dist.Normal(0.0, 5.0))
        with p.pyro.plate("data", len(data)):
            which = p.pyro.sample("which", p.dist.Categorical(weights), infer={"enumerate": "parallel"})
            p.pyro.sample("y", p.dist.Normal(locs[which], scale), obs=data)

    guide = p.auto.AutoDelta(p.pyro.poutine.block(model, hide=["which"]))
    svi = p.infer.SVI(model, guide, p.optim.Adam({"lr": 1e-2}), p.infer.TraceEnum_ELBO(max_plate_nesting=1))
    return stepping(lambda k: svi.step(data))


def lifted_network(p: Any) -> dict[str, float]:
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    prior = {name: p.dist.Normal(0.0, 1.0).expand(w.shape).to_event(w.dim()) for name, w in net.named_parameters()}
    x = torch.randn(100, 3)
    y = x[:, 0] * x[:, 1]

    def model(x: Tensor, y: Tensor) -> None:
        drawn = p.pyro.random_module("net", net, prior)()
        with p.pyro.plate("data", len(x)):
            p.pyro.sample("y", p.dist.Normal(drawn(x).squeeze(-1), 0.3), obs=y)

    svi = p.infer.SVI(model, p.auto.AutoNormal(model), p.optim.Adam({"lr": 1e-2}), p.infer.Trace_ELBO())
    return stepping(lambda k: svi.step(x, y))


PORTS: dict[str, Port] = {
    "eight schools": eight_schools,
    "vae": vae,
    "large vae": large_vae,
    "hierarchical regression": hierarchical_regression,
    "enumerated mixture": enumerated_mixture,
    "lifted network": lifted_network,
}


def main() -> None:
    root, port = sys.argv[1:]
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    p = names(root)
    p.pyro.set_rng_seed(0)
    print(json.dumps(PORTS[port](p)))


if __name__ == "__main__":
    main()
