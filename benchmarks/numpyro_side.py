"""NumPyro's side of a benchmark: one model in this process, figures as JSON on standard output."""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import numpyro  # noqa: E402

from benchmarks import models, timing  # noqa: E402

numpyro.enable_x64()
numpyro.set_host_device_count(timing.CHAINS)

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from numpyro.infer import MCMC, NUTS  # noqa: E402
from numpyro.infer.util import initialize_model  # noqa: E402

from benchmarks.numpyro_models import PROGRAMS  # noqa: E402


def gradient_seconds(program: Callable[..., None], data: tuple[Any, ...], calls: int) -> float:
    """Seconds of a value and gradient inside a compiled loop, where each depends on the one before."""
    found = initialize_model(jax.random.PRNGKey(0), program, model_args=data)
    slope = jax.value_and_grad(found.potential_fn)

    @jax.jit
    def loop(q: Any) -> Any:
        def step(_: int, q: Any) -> Any:
            value, gradient = slope(q)
            return jax.tree.map(lambda a, g: a + 1e-12 * (g + value), q, gradient)

        return jax.lax.fori_loop(0, calls, step, q)

    jax.block_until_ready(loop(found.param_info.z))
    seconds = [timing.timed(lambda: jax.block_until_ready(loop(found.param_info.z)))[0] for _ in range(5)]
    return min(seconds) / calls


def main() -> None:
    parser = timing.options(__doc__)
    parser.add_argument("--method", choices=["parallel", "vectorized"], default="parallel")
    options = parser.parse_args()
    program = PROGRAMS[options.model]
    data = tuple(jnp.asarray(part) for part in models.MODELS[options.model].data().values())

    def sampler(chains: int, warmup: int, draws: int) -> MCMC:
        kernel = NUTS(program, target_accept_prob=0.8)
        method = options.method if chains > 1 else "sequential"
        settings = {"num_warmup": warmup, "num_samples": draws, "num_chains": chains, "progress_bar": False}
        return MCMC(kernel, chain_method=method, jit_model_args=True, **settings)

    def run(mcmc: MCMC, seed: int) -> MCMC:
        mcmc.run(jax.random.PRNGKey(seed), *data, extra_fields=("num_steps",))
        jax.block_until_ready(mcmc.get_samples())
        return mcmc

    four = run(sampler(timing.CHAINS, options.warmup, options.draws), 0)
    cold = time.perf_counter() - _STARTED
    warm, _ = timing.timed(lambda: run(four, 1))
    samples = {name: np.asarray(value) for name, value in four.get_samples(group_by_chain=True).items()}

    warmup = min(options.warmup, 500)
    one = sampler(1, warmup, options.draws)
    compiling, _ = timing.timed(lambda: run(one, 2))
    short, _ = timing.timed(lambda: run(one, 3))
    few = int(np.sum(one.get_extra_fields()["num_steps"]))
    extra = timing.extra_draws(short / (warmup + options.draws))
    other = sampler(1, warmup, options.draws + extra)
    run(other, 2)
    long, _ = timing.timed(lambda: run(other, 3))
    many = int(np.sum(other.get_extra_fields()["num_steps"]))
    per_step = timing.slope(short, long, many - few)
    calls = int(np.clip(0.3 / (per_step or short / few), 3, 20000))
    flat = np.concatenate([value.reshape(*value.shape[:2], -1) for value in samples.values()], axis=-1)
    timing.report(
        gradient=gradient_seconds(program, data, calls) * 1e6,
        leapfrog=timing.microseconds(per_step),
        draw=timing.microseconds(timing.slope(short, long, extra)),
        compile=max(compiling - short, 0.0),
        **timing.totals(cold, warm, options.warmup, options.draws),
        rate=timing.smallest_ess(flat) / warm,
        moments=timing.moments(options.model, samples),
        steps=float(np.mean(np.asarray(four.get_extra_fields()["num_steps"]))),
    )


if __name__ == "__main__":
    main()
