"""NumPyro's side of a benchmark: one model in this process, figures as JSON on standard output."""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import numpyro  # noqa: E402

CHAINS = 4
numpyro.enable_x64()
numpyro.set_host_device_count(CHAINS)

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import numpyro.distributions as dist  # noqa: E402
from numpyro.infer import MCMC, NUTS  # noqa: E402
from numpyro.infer.util import initialize_model  # noqa: E402

from benchmarks import models, timing  # noqa: E402


def eight_schools(error: Any, effect: Any) -> None:
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("school", 8):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(mu + tau * z, error), obs=effect)


def radon(county: Any, floor: Any, y: Any) -> None:
    mu_a = numpyro.sample("mu_a", dist.Normal(0.0, 10.0))
    mu_b = numpyro.sample("mu_b", dist.Normal(0.0, 10.0))
    sigma_a = numpyro.sample("sigma_a", dist.HalfNormal(1.0))
    sigma_b = numpyro.sample("sigma_b", dist.HalfNormal(1.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("county", models.GROUPS):
        a = mu_a + sigma_a * numpyro.sample("z_a", dist.Normal(0.0, 1.0))
        b = mu_b + sigma_b * numpyro.sample("z_b", dist.Normal(0.0, 1.0))
    with numpyro.plate("house", len(y)):
        numpyro.sample("y", dist.Normal(a[county] + b[county] * floor, sigma), obs=y)


PROGRAMS: dict[str, tuple[Callable[..., None], Callable[[], tuple[np.ndarray, ...]]]] = {
    "eight_schools": (eight_schools, lambda: (models.ERROR, models.EFFECT)),
    "radon": (radon, models.survey),
}


def gradient_seconds(program: Callable[..., None], data: tuple[Any, ...], calls: int = 20000) -> float:
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=PROGRAMS)
    parser.add_argument("--method", choices=["parallel", "vectorized"], default="parallel")
    options = parser.parse_args()
    program, load = PROGRAMS[options.model]
    data = tuple(jnp.asarray(part) for part in load())

    def sampler(chains: int, warmup: int, draws: int) -> MCMC:
        kernel = NUTS(program, target_accept_prob=0.8)
        method = options.method if chains > 1 else "sequential"
        settings = {"num_warmup": warmup, "num_samples": draws, "num_chains": chains, "progress_bar": False}
        return MCMC(kernel, chain_method=method, jit_model_args=True, **settings)

    def run(mcmc: MCMC, seed: int) -> MCMC:
        mcmc.run(jax.random.PRNGKey(seed), *data, extra_fields=("num_steps",))
        jax.block_until_ready(mcmc.get_samples())
        return mcmc

    four = run(sampler(CHAINS, 1000, 1000), 0)
    cold = time.perf_counter() - _STARTED
    warm, _ = timing.timed(lambda: run(four, 1))
    samples = {name: np.asarray(value) for name, value in four.get_samples(group_by_chain=True).items()}

    one = sampler(1, 500, 1000)
    compiling, _ = timing.timed(lambda: run(one, 2))
    short, _ = timing.timed(lambda: run(one, 3))
    few = int(np.sum(one.get_extra_fields()["num_steps"]))
    other = sampler(1, 500, 21000)
    run(other, 2)
    long, _ = timing.timed(lambda: run(other, 3))
    many = int(np.sum(other.get_extra_fields()["num_steps"]))
    names = {"eight_schools": ["mu", "tau"], "radon": ["mu_a", "mu_b", "sigma_a", "sigma_b", "sigma"]}[options.model]
    flat = np.concatenate([value.reshape(*value.shape[:2], -1) for value in samples.values()], axis=-1)
    print(
        json.dumps(
            {
                "gradient": gradient_seconds(program, data) * 1e6,
                "leapfrog": (long - short) / (many - few) * 1e6,
                "draw": (long - short) / 20000 * 1e6,
                "compile": compiling - short,
                "cold": cold,
                "warm": warm,
                "ess": timing.smallest_ess(flat),
                "means": {name: float(samples[name].mean()) for name in names},
                "errors": {name: timing.standard_error(samples[name]) for name in names},
                "steps": float(np.mean(np.asarray(four.get_extra_fields()["num_steps"]))),
            }
        )
    )


if __name__ == "__main__":
    main()
