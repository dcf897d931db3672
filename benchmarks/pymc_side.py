"""PyMC's side of a benchmark, compiled by numba and sampled by nutpie: one model in this process, figures as JSON."""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import warnings  # noqa: E402
from typing import Any  # noqa: E402

warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import nutpie  # noqa: E402
import pymc as pm  # noqa: E402

from benchmarks import models, timing  # noqa: E402
from benchmarks.pymc_models import PROGRAMS  # noqa: E402


def main() -> None:
    options = timing.options(__doc__).parse_args()
    data = list(models.MODELS[options.model].data().values())

    def compiled() -> Any:
        with pm.Model() as model:
            PROGRAMS[options.model](*data)
        return nutpie.compile_pymc_model(model, backend="numba")

    density = compiled()

    def sample(chains: int, warmup: int, draws: int, seed: int) -> Any:
        settings = {"draws": draws, "tune": warmup, "chains": chains, "cores": min(chains, 2), "seed": seed}
        return nutpie.sample(density, progress_bar=False, target_accept=0.8, **settings)

    sample(timing.CHAINS, options.warmup, options.draws, 0)
    cold = time.perf_counter() - _STARTED
    warm, trace = timing.timed(lambda: sample(timing.CHAINS, options.warmup, options.draws, 1))
    samples = {name: trace.posterior[name].to_numpy() for name in trace.posterior}

    function, q = density.compiled_logp_func, np.asarray(density.initial_point_func(0))
    gradient = timing.raw_seconds(function.address, density.n_dim, density.user_data.ctypes.data, q)
    warmup = min(options.warmup, 500)
    few, one = timing.timed(lambda: sample(1, warmup, options.draws, 2))
    extra = timing.extra_draws(few / (warmup + options.draws))
    many, other = timing.timed(lambda: sample(1, warmup, options.draws + extra, 2))
    steps = float(other.sample_stats["n_steps"].sum() - one.sample_stats["n_steps"].sum())
    flat = np.concatenate([v.reshape(*v.shape[:2], -1) for n, v in samples.items() if n in _free(options.model, data)], axis=-1)
    timing.report(
        gradient=gradient * 1e6,
        leapfrog=timing.microseconds(timing.slope(few, many, steps)),
        draw=timing.microseconds(timing.slope(few, many, extra)),
        compile=timing.timed(compiled)[0],
        **timing.totals(cold, warm, options.warmup, options.draws),
        rate=timing.smallest_ess(flat) / warm,
        moments=timing.moments(options.model, samples),
        steps=float(trace.sample_stats["n_steps"].mean()),
    )


def _free(model: str, data: list[Any]) -> set[str]:
    """The names of the latent sites."""
    with pm.Model() as built:
        PROGRAMS[model](*data)
    return {variable.name for variable in built.free_RVs}


if __name__ == "__main__":
    main()
