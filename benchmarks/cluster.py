"""Work beyond one process: posteriors a minute, and a gradient over ranks, with a model of its cost.

    python benchmarks/cluster.py studies [--data-sets 200] [--workers 2]
    python benchmarks/cluster.py ranks [--rows 1000000] [--ranks 2]

`studies` fits one small regression to many data sets: in this process, in worker processes, and by NumPyro over joblib where
both are installed. `ranks` evaluates a regression's gradient in one process and over ranks of gloo, and says what follows
for more:

    seconds = rows / ranks · compute + latency · log2(ranks) + 16 n · log2(ranks) / bandwidth

with `compute` and `latency` as measured here, and 1 GB/s.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sursum as su
import sursum.distributions as dist

COLUMNS = 20
BANDWIDTH = 1e9


def model(x: torch.Tensor, y: torch.Tensor) -> None:
    weights = su.sample("weights", dist.Normal(torch.zeros(x.shape[1], dtype=torch.float64), 1.0).to_event(1))
    scale = su.sample("scale", dist.HalfNormal(1.0))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(x @ weights, scale), obs=y)


def data(rows: int, columns: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=rng, dtype=torch.float64)
    return x, x.sum(1) + torch.randn(rows, generator=rng, dtype=torch.float64)


def seconds(function: Callable[[], Any], repeats: int = 5) -> float:
    """The median time of a call."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 2]


# Studies --------------------------------------------------------------------------------------------------------------


def by_numpyro(item: tuple[np.ndarray, np.ndarray]) -> float:
    import jax
    import numpyro
    import numpyro.distributions as nd
    from numpyro.infer import MCMC, NUTS

    numpyro.enable_x64()

    def program(x: Any, y: Any) -> None:
        weights = numpyro.sample("weights", nd.Normal(np.zeros(x.shape[1]), 1.0).to_event(1))
        scale = numpyro.sample("scale", nd.HalfNormal(1.0))
        with numpyro.plate("data", len(y)):
            numpyro.sample("y", nd.Normal(x @ weights, scale), obs=y)

    mcmc = MCMC(NUTS(program), num_warmup=500, num_samples=500, num_chains=2, chain_method="vectorized", progress_bar=False)
    mcmc.run(jax.random.PRNGKey(0), *item)
    return float(mcmc.get_samples()["scale"].mean())


def studies(count: int, workers: int) -> None:
    sets = [data(50, 3, seed) for seed in range(count)]
    rows: dict[str, float] = {}
    places = {"this process": None, f"{workers} processes": su.cluster.Local(num_workers=workers)}
    for name, place in places.items():
        su.infer.many(model, sets[:workers], seed=0, on=place, progress=False)  # workers start, C is compiled
        begin = time.perf_counter()
        found = su.infer.many(model, sets, seed=0, on=place, progress=False)
        rows[name] = count / (time.perf_counter() - begin) * 60
        assert not found.failures
    try:
        from joblib import Parallel, delayed

        arrays = [(x.numpy(), y.numpy()) for x, y in sets]
        run = Parallel(n_jobs=workers)
        run(delayed(by_numpyro)(item) for item in arrays[:workers])
        begin = time.perf_counter()
        run(delayed(by_numpyro)(item) for item in arrays)
        rows[f"NumPyro, joblib of {workers}"] = count / (time.perf_counter() - begin) * 60
    except ModuleNotFoundError as error:
        print(f"without NumPyro: {error}")
    for name, rate in rows.items():
        print(f"{name:<24}{rate:8.0f} posteriors a minute")


# Ranks ----------------------------------------------------------------------------------------------------------------

RANK = """
import os, sys, time
sys.path.insert(0, os.environ["BENCHMARKS"])
import numpy as np, torch, torch.distributed as td
from cluster import COLUMNS, data, model, seconds
import sursum as su
from sursum.distributed.ranks import led

rank, size, rows = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "ROWS"))
td.init_process_group("gloo", init_method="file://" + os.environ["MEET"], rank=rank, world_size=size)
x, y = data(rows // size, COLUMNS, rank)

@led
def run():
    density = su.compile(su.distributed.shard(model, plate="data", split=()), x, y)
    q = np.zeros(density.dim)
    density.value_and_grad(q)
    return seconds(lambda: density.value_and_grad(q), 30)

found = run()
if rank == 0:
    print(found)
td.destroy_process_group()
"""


def over_ranks(rows: int, size: int) -> float:
    """Seconds a gradient."""
    with tempfile.TemporaryDirectory() as folder:
        shared = {"OMP_NUM_THREADS": "1", "WORLD_SIZE": str(size), "ROWS": str(rows), "MEET": f"{folder}/meet"}
        environment = {**os.environ, **shared, "BENCHMARKS": str(Path(__file__).parent)}
        command = [sys.executable, "-c", RANK]
        started = [
            subprocess.Popen(command, env={**environment, "RANK": str(k)}, stdout=subprocess.PIPE, text=True)
            for k in range(size)
        ]
        said = [process.communicate()[0] for process in started]
    return float(said[0].strip().splitlines()[-1])


def ranks(rows: int, size: int) -> None:
    few = 16 * size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        density = su.compile(model, *data(rows, COLUMNS, 0))
    q = np.zeros(density.dim)
    alone = seconds(lambda: density.value_and_grad(q), 30)
    together, latency = over_ranks(rows, size), over_ranks(few, size) / math.log2(size)
    print(f"{rows} rows in one process: {alone * 1e3:.2f} ms a gradient; over {size} ranks {together * 1e3:.2f} ms")
    print(f"latency {latency * 1e6:.0f} µs a doubling, measured on {few} rows")
    for many in (size, 8, 64):
        hops = math.log2(many)
        cost = alone / many + latency * hops + 16 * density.dim * hops / BANDWIDTH
        print(f"model: {many:3} ranks {cost * 1e3:8.2f} ms, {alone / cost:5.1f} times faster")
    print(json.dumps({"rows": rows, "alone": alone, "ranks": size, "together": together, "latency": latency}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["studies", "ranks"])
    parser.add_argument("--data-sets", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--ranks", type=int, default=2)
    options = parser.parse_args()
    if options.what == "studies":
        studies(options.data_sets, options.workers)
    else:
        ranks(options.rows, options.ranks)


if __name__ == "__main__":
    main()
