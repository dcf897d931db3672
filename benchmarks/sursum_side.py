"""sursum's side of a benchmark: one model in this process, figures as JSON on standard output."""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

import sursum as su  # noqa: E402
import sursum.distributions as dist  # noqa: E402
from benchmarks import models, timing  # noqa: E402
from sursum.distributions import constraints  # noqa: E402
from sursum.infer.reparam import LocScaleReparam  # noqa: E402

NON_CENTRED = LocScaleReparam(0.0)


def eight_schools() -> tuple[Any, tuple[torch.Tensor, ...]]:
    """The program, lifted, and its data."""

    def program(error: torch.Tensor, effect: torch.Tensor) -> None:
        theta = su.param("theta", torch.zeros(8, dtype=torch.float64))
        with su.plate("school", 8):
            su.sample("y", dist.Normal(theta, error), obs=effect)

    def alike(theta: torch.Tensor) -> dist.Distribution:
        return dist.Normal(su.sample("mu", dist.Normal(0.0, 5.0)), su.sample("tau", dist.HalfCauchy(5.0)))

    lifted = su.reparam(su.lift(program, {"theta": alike}), {"theta": NON_CENTRED})
    return lifted, (torch.from_numpy(models.ERROR), torch.from_numpy(models.EFFECT))


def radon() -> tuple[Any, tuple[torch.Tensor, ...]]:
    """The program, lifted, and its data."""

    def program(county: torch.Tensor, floor: torch.Tensor, y: torch.Tensor) -> None:
        a = su.param("a", torch.zeros(models.GROUPS, dtype=torch.float64))
        b = su.param("b", torch.zeros(models.GROUPS, dtype=torch.float64))
        sigma = su.param("sigma", torch.tensor(1.0, dtype=torch.float64), constraint=constraints.positive)
        with su.plate("house", len(y)):
            su.sample("y", dist.Normal(a[county] + b[county] * floor, sigma), obs=y)

    def alike(init: torch.Tensor, *, name: str) -> dist.Distribution:
        mean = su.sample(f"mu_{name}", dist.Normal(0.0, 10.0))
        return dist.Normal(mean, su.sample(f"sigma_{name}", dist.HalfNormal(1.0)))

    priors = {"a": alike, "b": alike, "sigma": dist.HalfNormal(1.0)}
    lifted = su.reparam(su.lift(program, priors), {"a": NON_CENTRED, "b": NON_CENTRED})
    county, floor, y = models.survey()
    return lifted, (torch.from_numpy(county), torch.from_numpy(floor), torch.from_numpy(y))


PROGRAMS: dict[str, Callable[[], tuple[Any, tuple[torch.Tensor, ...]]]] = {"eight_schools": eight_schools, "radon": radon}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=PROGRAMS)
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    warnings.simplefilter("ignore")
    program, data = PROGRAMS[options.model]()

    def sample(chains: int, warmup: int, draws: int, seed: int) -> su.Posterior:
        kernel = su.infer.NUTS(program, target_accept=0.8)
        settings = {"num_warmup": warmup, "num_samples": draws, "num_chains": chains, "seed": seed, "progress": False}
        return su.infer.MCMC(kernel, **settings).run(*data)

    posterior = sample(4, 1000, 1000, 0)
    cold = time.perf_counter() - _STARTED
    warm, posterior = timing.timed(lambda: sample(4, 1000, 1000, 1))

    density = su.compile(program, *data)
    fresh = timing.without_cache(lambda: su.compile(program, *data))
    gradient = timing.raw_seconds(density.address, density.dim, density.instance(), posterior.unconstrained[0, 0])
    short, few = timing.timed(lambda: sample(1, 500, 1000, 2))
    long, many = timing.timed(lambda: sample(1, 500, 21000, 2))
    steps = many.stats["n_steps"].sum() - few.stats["n_steps"].sum()
    names = {"eight_schools": ["mu", "tau"], "radon": ["mu_a", "mu_b", "sigma_a", "sigma_b", "sigma"]}[options.model]
    print(
        json.dumps(
            {
                "gradient": gradient * 1e6,
                "leapfrog": float((long - short) / steps * 1e6),
                "draw": (long - short) / 20000 * 1e6,
                "compile": fresh,
                "cold": cold,
                "warm": warm,
                "ess": timing.smallest_ess(np.asarray(posterior.unconstrained)),
                "means": {name: float(posterior[name].mean()) for name in names},
                "errors": {name: timing.standard_error(posterior[name].numpy()) for name in names},
                "kernel": timing.kernel_seconds(options.model) * 1e6,
                "steps": float(posterior.stats["n_steps"].mean()),
            }
        )
    )


if __name__ == "__main__":
    main()
