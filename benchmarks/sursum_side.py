"""sursum's side of a benchmark: one model in this process, figures as JSON on standard output."""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import os  # noqa: E402
import statistics  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

import sursum as su  # noqa: E402
from benchmarks import sursum_models, timing  # noqa: E402
from benchmarks.kernels import KERNELS, Kernel  # noqa: E402
from sursum.compiler.recent import RECENT  # noqa: E402


def main() -> None:
    options = timing.options(__doc__).parse_args()
    torch.set_default_dtype(torch.float64)
    warnings.simplefilter("ignore")
    program, data = sursum_models.load(options.model)

    def sample(chains: int, warmup: int, draws: int, seed: int) -> su.Posterior:
        kernel = su.infer.NUTS(program, target_accept=0.8)
        settings = {"num_warmup": warmup, "num_samples": draws, "num_chains": chains, "seed": seed, "progress": False}
        return su.infer.MCMC(kernel, **settings).run(*data)

    sample(timing.CHAINS, options.warmup, options.draws, 0)
    cold = time.perf_counter() - _STARTED
    warm, posterior = timing.timed(lambda: sample(timing.CHAINS, options.warmup, options.draws, 1))

    density = su.compile(program, *data)
    instance, q = density.instance(), np.asarray(posterior.unconstrained[0, 0])
    gradient = timing.raw_seconds(density.address, density.dim, instance.pointer, q)
    kernel = None
    if options.model in KERNELS:
        by_hand = Kernel(options.model)
        order = by_hand.order(density.density.latents)
        kernel = timing.raw_seconds(by_hand.address, density.dim, by_hand.pointer, q[order]) * 1e6
    # Sampling alone has a clock of its own: no difference of two runs, which noise may turn round.
    whole, alone, _ = _apart(program, data, timing.CHAINS, options.warmup, options.draws)
    _, one_chain, one = _apart(program, data, 1, min(options.warmup, 500), options.draws)
    leapfrog = one_chain / float(one.stats["n_steps"].sum() + one.warmup.stats["n_steps"].sum())
    steps = float(posterior.stats["n_steps"].mean())
    factor = timing.FULL / (options.warmup + options.draws)
    timing.report(
        gradient=gradient * 1e6,
        kernel=kernel,
        leapfrog=leapfrog * 1e6,
        draw=leapfrog * steps * 1e6,
        sampling=alone * factor,
        around=whole - alone,
        compile=statistics.median(_compile_seconds(program, data) for _ in range(3)),
        **timing.totals(cold, warm, options.warmup, options.draws),
        rate=timing.smallest_ess(np.asarray(posterior.unconstrained)) / warm,
        moments=timing.moments(options.model, posterior),
        steps=steps,
    )


def _apart(
    program: object, data: tuple[torch.Tensor, ...], chains: int, warmup: int, draws: int
) -> tuple[float, float, su.Posterior]:
    """Seconds of a whole run, from the program to the posterior, and those of its sampling alone."""
    settings = {"num_warmup": warmup, "num_samples": draws, "num_chains": chains, "seed": 2, "progress": False}
    began = time.perf_counter()
    run = su.infer.MCMC(su.infer.NUTS(program, target_accept=0.8), **settings).prepared(su.compile(program, *data))
    alone, _ = timing.timed(run.work)
    posterior = run.result()
    return time.perf_counter() - began, alone, posterior


def _compile_seconds(program: object, data: tuple[torch.Tensor, ...]) -> float:
    """From the program to a function that is ready, its library not being in the cache (the compiler is known already)."""
    RECENT.clear()
    for library in Path(os.environ["SURSUM_CACHE"]).glob("*.so"):
        library.unlink()
    return timing.timed(lambda: su.compile(program, *data))[0]


if __name__ == "__main__":
    main()
