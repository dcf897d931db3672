"""sursum's side of the SVI benchmark: one model and guide in this process, figures as JSON on standard output."""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402

import sursum as su  # noqa: E402
import sursum.distributions as dist  # noqa: E402
from benchmarks import models, svi_models, timing  # noqa: E402

torch.set_default_dtype(torch.float64)


def eight_schools(error: Any, effect: Any) -> None:
    mu = su.sample("mu", dist.Normal(0.0, 5.0))
    tau = su.sample("tau", dist.HalfCauchy(5.0))
    with su.plate("school", 8):
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Normal(mu + tau * z, error), obs=effect)


def radon(county: Any, floor: Any, y: Any) -> None:
    mu_a = su.sample("mu_a", dist.Normal(0.0, 10.0))
    mu_b = su.sample("mu_b", dist.Normal(0.0, 10.0))
    sigma_a = su.sample("sigma_a", dist.HalfNormal(1.0))
    sigma_b = su.sample("sigma_b", dist.HalfNormal(1.0))
    sigma = su.sample("sigma", dist.HalfNormal(1.0))
    with su.plate("county", models.GROUPS):
        a = mu_a + sigma_a * su.sample("z_a", dist.Normal(0.0, 1.0))
        b = mu_b + sigma_b * su.sample("z_b", dist.Normal(0.0, 1.0))
    with su.plate("house", len(y)):
        su.sample("y", dist.Normal(a[county] + b[county] * floor, sigma), obs=y)


def logistic(x: Any, y: Any) -> None:
    w = su.sample("w", dist.Normal(torch.zeros(25), 1.0).to_event(1))
    with su.plate("rows", len(y)):
        su.sample("y", dist.Bernoulli(logits=x @ w), obs=y)


def network(x: Any, y: Any) -> None:
    a = su.sample("a", dist.Normal(torch.zeros(1, 50), 1.0).to_event(2))
    b = su.sample("b", dist.Normal(torch.zeros(50), 1.0).to_event(1))
    c = su.sample("c", dist.Normal(torch.zeros(50), 1.0).to_event(1))
    d = su.sample("d", dist.Normal(0.0, 1.0))
    with su.plate("rows", len(y)):
        su.sample("y", dist.Normal(torch.tanh(x @ a + b) @ c + d, 0.1), obs=y)


PROGRAMS: dict[str, Callable[..., None]] = {
    "eight_schools": eight_schools,
    "radon": radon,
    "logistic": logistic,
    "network": network,
}


def main() -> None:
    name, guide = sys.argv[1:3]
    program = PROGRAMS[name]
    data = tuple(torch.from_numpy(part) for part in svi_models.data(name))
    imported = time.perf_counter() - _STARTED

    def svi(seed: int, schedule: Any = None) -> su.infer.SVI:
        q = getattr(su.infer.autoguide, guide)(program, init_scale=svi_models.SCALE)
        optim = su.optim.Adam({"lr": svi_models.RATE}, scheduler=schedule)
        return su.infer.SVI(program, q, optim, seed=seed, progress=False, engine="native")

    with tempfile.TemporaryDirectory() as directory:  # an empty cache: the compiler's time is counted
        os.environ["SURSUM_CACHE"] = directory
        whole, _ = timing.timed(lambda: svi(0).run(svi_models.STEPS, *data))
    del os.environ["SURSUM_CACHE"]
    fitted = svi(0)
    first = fitted.run(svi_models.STEPS, *data)
    seconds = min(timing.timed(lambda: fitted.run(svi_models.STEPS, *data))[0] for _ in range(5)) / svi_models.STEPS
    schedule = lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: svi_models.rate(t) / svi_models.RATE)
    tail = svi(2, schedule).run(svi_models.LONG, *data).losses[-svi_models.TAIL :]
    print(
        json.dumps(
            {
                "step": seconds * 1e6,
                "whole": whole,
                "import": imported,
                "loss": float(tail.mean()),
                "error": float(tail.reshape(20, -1).mean(1).std() / 20**0.5),
                "engine": first.engine,
            }
        )
    )


if __name__ == "__main__":
    main()
