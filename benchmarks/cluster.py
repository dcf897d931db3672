"""Work beyond one process: what chains at workers cost, posteriors a minute, gradients over ranks, and the loss of a worker.

    python benchmarks/cluster.py overhead [--seconds 12] [--runs 3] [--ray]
    python benchmarks/cluster.py studies [--data-sets 400] [--workers 2] [--peers PYTHON]
    python benchmarks/cluster.py ranks [--rows 1000000 10000000] [--ranks 2]
    python benchmarks/cluster.py loss [--workers 10] [--seconds 20] [--ray]

`overhead` samples the same chains by threads and at worker processes in turn, and times a call of a worker that only gives back
as many bytes as a block of draws. `studies` fits one small regression to many data sets: in this process, in worker processes,
and by NumPyro over joblib, in an interpreter that has both. `ranks` evaluates a regression's gradient in one process and over
ranks of gloo, and says what follows for more:

    seconds = rows / ranks · compute + latency · log2(ranks) + 16 n · log2(ranks) / bandwidth

with `compute` and `latency` as measured here, each the least of many calls, and 1 GB/s. `latency` is that of a broadcast and a
sum, over the loopback of this machine. `loss` kills one of the workers in the middle of a run of as many chains, and compares
its draws and its time with those of a run that was left alone.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sursum as su
import sursum.distributions as dist
from sursum.common.cores import available_cores
from sursum.mcmc.kernel.state import RECORD
from sursum.mcmc.remote import SECONDS

COLUMNS = 5
BANDWIDTH = 1e9
SOME = 40
"""Of how many data sets the peers are timed."""


def model(x: torch.Tensor, y: torch.Tensor) -> None:
    weights = su.sample("weights", dist.Normal(torch.zeros(x.shape[1], dtype=torch.float64), 1.0).to_event(1))
    scale = su.sample("scale", dist.HalfNormal(1.0))
    with su.plate("data", len(y)):
        su.sample("y", dist.Normal(x @ weights, scale), obs=y)


def data(rows: int, columns: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=rng, dtype=torch.float64)
    return x, x.sum(1) + torch.randn(rows, generator=rng, dtype=torch.float64)


def timed(function: Callable[[], Any]) -> float:
    """The time of a call."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def seconds(function: Callable[[], Any], repeats: int = 5) -> float:
    """The median time of a call."""
    return statistics.median(timed(function) for _ in range(repeats))


def least(function: Callable[[], Any], repeats: int) -> float:
    """The least time of a call, which holds on a busy machine too."""
    return min(timed(function) for _ in range(repeats))


def places(workers: int, ray: bool) -> dict[str, Any]:
    """Where work is done: processes, and Ray if it is asked for."""
    found: dict[str, Any] = {"processes": su.cluster.Local(num_workers=workers)}
    if ray:
        import ray as package

        os.environ.update({"RAY_worker_niceness": str(os.nice(0))})  # as threads have
        package.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        found["Ray"] = su.cluster.Ray()
    return found


def chains(program: Callable[..., Any], count: int, draws: int, **settings: Any) -> su.infer.MCMC:
    return su.infer.MCMC(
        su.infer.NUTS(program), num_warmup=500, num_samples=draws, num_chains=count, seed=0, progress=False, **settings
    )


def draws_for(target: float, count: int, cores: int) -> int:
    """How many draws make a run by threads take so long."""
    took = timed(lambda: chains(model, count, 3000, cores=cores).run(*REGRESSION))
    return max(int(3500 * target / took), 1000)


REGRESSION = data(5_000, COLUMNS, 0)


# Overhead -------------------------------------------------------------------------------------------------------------


def overhead(target: float, runs: int, ray: bool) -> None:
    count = available_cores()
    chains(model, count, 100).run(*REGRESSION)  # C is compiled
    draws = draws_for(target, count, count)
    settings = {"threads": {"cores": count}} | {name: {"on": place} for name, place in places(count, ray).items()}
    for name in settings:
        if name != "threads":
            chains(model, count, 100, **settings[name]).run(*REGRESSION)  # workers are started
    times: dict[str, list[float]] = {name: [] for name in settings}
    for _ in range(runs):
        for name, options in settings.items():
            mcmc = chains(model, count, draws, **options)
            times[name].append(timed(functools.partial(mcmc.run, *REGRESSION)))
    threads = statistics.median(times["threads"])
    print(f"{count} chains of {draws} draws by threads: {threads:.2f} s")
    block = int(draws / threads * SECONDS)
    for name, options in settings.items():
        if name == "threads":
            continue
        over = statistics.median(here / alone - 1.0 for here, alone in zip(times[name], times["threads"], strict=True))
        call = options["on"].sent(lambda draws: (np.empty((draws, COLUMNS + 1)), np.zeros(draws, RECORD)))
        call(block)
        trip = seconds(functools.partial(call, block), 20)
        print(
            f"{name:<10} {statistics.median(times[name]):6.2f} s, {100 * over:+.1f} % over threads; a block of {SECONDS} s "
            f"({block} draws) costs {1e3 * trip:.1f} ms, {100 * trip / SECONDS:.1f} %"
        )
    print(json.dumps({"draws": draws, "times": times}))


# Studies --------------------------------------------------------------------------------------------------------------


def studies(count: int, workers: int, peers: str | None) -> None:
    sets = [data(50, 3, seed) for seed in range(count)]
    rows: dict[str, float] = {}
    for name, place in {"this process": None, f"{workers} processes": su.cluster.Local(num_workers=workers)}.items():
        su.infer.many(model, sets[: 4 * workers], seed=0, on=place, progress=False)  # workers start, C is compiled
        begin = time.perf_counter()
        found = su.infer.many(model, sets, seed=0, on=place, progress=False)
        rows[name] = count / (time.perf_counter() - begin) * 60
        assert not found.failures
    if peers is not None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "data.npz")
            some = sets[:SOME]
            np.savez(file, x=np.stack([x.numpy() for x, _ in some]), y=np.stack([y.numpy() for _, y in some]))
            path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
            command = [peers, str(Path(__file__).with_name("cluster_numpyro.py")), str(file), str(workers)]
            environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "JAX_CACHE": f"{folder}/jax"}
            said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        rows[f"NumPyro, joblib of {workers}"] = float(said[0])
        np.testing.assert_allclose(float(said[1]), np.asarray(found["scale", "mean"])[:SOME].mean(), rtol=0.01)
    for name, rate in rows.items():
        print(f"{name:<24}{rate:8.0f} posteriors a minute")


# Ranks ----------------------------------------------------------------------------------------------------------------

RANK = """
import os, sys, time
sys.path.insert(0, os.environ["BENCHMARKS"])
import numpy as np, torch, torch.distributed as td
from cluster import COLUMNS, data, least, model
import sursum as su
from sursum.distributed.ranks import led

rank, size, rows = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "ROWS"))
td.init_process_group("gloo", init_method="file://" + os.environ["MEET"], rank=rank, world_size=size)
x, y = data(rows // size, COLUMNS, rank)

class Timing:
    model = su.distributed.shard(model, plate="data", split=())

    @led
    def run(self):
        density = su.compile(self.model, x, y)
        q = np.zeros(density.dim)
        density.value_and_grad(q)
        return least(lambda: density.value_and_grad(q), 30 if rows > 10_000 else 1000)

found = Timing().run()
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


def alone(rows: int) -> tuple[float, int]:
    """Seconds a gradient in one process, by one thread, and the number of unknowns."""
    density = su.compile(su.distributed.shard(model, plate="data", threads=1), *data(rows, COLUMNS, 0))
    q = np.zeros(density.dim)
    density.value_and_grad(q)
    return least(lambda: density.value_and_grad(q), 30), density.dim


def ranks(rows: list[int], size: int) -> None:
    hops = math.log2(size)
    latency = over_ranks(16 * size, size) / hops
    print(f"latency {latency * 1e6:.0f} µs a doubling, measured on {16 * size} rows")
    for many in rows:
        one, n = alone(many)
        together = over_ranks(many, size)
        print(
            f"{many} rows in one process: {one * 1e3:.2f} ms a gradient, {one / many * 1e9:.2f} ns a row; over {size} ranks "
            f"{together * 1e3:.2f} ms, {one / together:.2f} times faster"
        )
        for count in (size, 8, 64):
            hops = math.log2(count)
            cost = one / count + latency * hops + 16 * n * hops / BANDWIDTH
            print(f"model: {count:3} ranks {cost * 1e3:8.2f} ms, {one / cost:5.1f} times faster")
        print(json.dumps({"rows": many, "alone": one, "ranks": size, "together": together, "latency": latency}))


# The loss of a worker -------------------------------------------------------------------------------------------------


def loss(workers: int, target: float, ray: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        main = os.getpid()

        def noting(x: torch.Tensor, y: torch.Tensor) -> None:
            if os.getpid() != main:
                Path(folder, str(os.getpid())).touch()
            model(x, y)

        chains(noting, 1, 100).run(*REGRESSION)
        draws = draws_for(target, workers, available_cores())

        def kill_one() -> None:
            time.sleep(target / 2.0)
            os.kill(int(sorted(file.name for file in Path(folder).iterdir())[0]), signal.SIGKILL)

        for name, place in places(workers, ray).items():
            chains(noting, workers, 100, on=place).run(*REGRESSION)  # workers are started
            for file in Path(folder).iterdir():
                file.unlink()
            run = chains(noting, workers, draws, on=place)
            begin = time.perf_counter()
            quiet = run.run(*REGRESSION)
            undisturbed = time.perf_counter() - begin
            killer = threading.Thread(target=kill_one)
            killer.start()
            begin = time.perf_counter()
            found = run.run(*REGRESSION)
            disturbed = time.perf_counter() - begin
            killer.join()
            same = np.array_equal(found.unconstrained, quiet.unconstrained)
            print(
                f"{name:<10} {workers} chains of {draws} draws: {undisturbed:.1f} s; with one of {workers} workers killed "
                f"{disturbed:.1f} s; draws {'the same' if same else 'DIFFER'}, {found.unconstrained.shape[1]} of {draws}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "studies", "ranks", "loss"])
    parser.add_argument("--seconds", type=float, default=None, help="of a run by threads: 12, and 20 of `loss`")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ray", action="store_true", help="on a local cluster of Ray as well")
    parser.add_argument("--data-sets", type=int, default=400)
    parser.add_argument("--workers", type=int, default=None, help="2, and 10 of `loss`")
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has NumPyro and joblib")
    parser.add_argument("--rows", type=int, nargs="+", default=[10**6, 10**7])
    parser.add_argument("--ranks", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # what matters here is time
    if options.what == "overhead":
        overhead(options.seconds or 12.0, options.runs, options.ray)
    elif options.what == "studies":
        studies(options.data_sets, options.workers or 2, options.peers)
    elif options.what == "ranks":
        ranks(options.rows, options.ranks)
    else:
        loss(options.workers or 10, options.seconds or 20.0, options.ray)


if __name__ == "__main__":
    main()
