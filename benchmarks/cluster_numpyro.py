"""The studies of `cluster.py` by NumPyro, over joblib: runs by itself in an environment that has both.

    python cluster_numpyro.py DATA.npz WORKERS

`DATA.npz` has `x`, (data set, row, column), and `y`, (data set, row). Prints the posteriors a minute, and the mean scale.
`JAX_CACHE` is a folder for what JAX compiles.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from typing import Any

import numpy as np


@functools.cache
def sampler() -> Any:
    """One sampler a process, which compiles once for all data sets."""
    import jax
    import numpyro
    import numpyro.distributions as nd
    from numpyro.infer import MCMC, NUTS

    numpyro.enable_x64()
    # What a run compiles anew, the next one finds here.
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_CACHE"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

    def program(x: Any, y: Any) -> None:
        weights = numpyro.sample("weights", nd.Normal(np.zeros(x.shape[1]), 1.0).to_event(1))
        scale = numpyro.sample("scale", nd.HalfNormal(1.0))
        with numpyro.plate("data", len(y)):
            numpyro.sample("y", nd.Normal(x @ weights, scale), obs=y)

    settings = {"num_warmup": 500, "num_samples": 500, "num_chains": 2, "chain_method": "vectorized", "progress_bar": False}
    return MCMC(NUTS(program), jit_model_args=True, **settings)


def posterior(seed: int, x: np.ndarray, y: np.ndarray) -> float:
    """Sample one data set; the mean of its scale."""
    import jax

    sampler().run(jax.random.PRNGKey(seed), x, y)
    return float(sampler().get_samples()["scale"].mean())


def main() -> None:
    """Time all data sets, after each worker has compiled."""
    from cluster_numpyro import posterior as task  # by name, so that workers keep what they have compiled
    from joblib import Parallel, delayed

    with np.load(sys.argv[1]) as data:
        items = list(enumerate(zip(data["x"], data["y"], strict=True)))
    workers = int(sys.argv[2])
    with Parallel(n_jobs=workers) as run:
        run(delayed(task)(k, *item) for k, item in items[: 2 * workers])
        begin = time.perf_counter()
        found = run(delayed(task)(k, *item) for k, item in items)
        rate = len(items) / (time.perf_counter() - begin) * 60
    print(rate, np.mean(found))


if __name__ == "__main__":
    main()
