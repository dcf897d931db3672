"""Pyro's side of the SVI benchmark: one model and guide in this process, figures as JSON on standard output."""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import json  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import pyro  # noqa: E402
import pyro.distributions as dist  # noqa: E402
import torch  # noqa: E402
from pyro.infer import SVI, Trace_ELBO, autoguide  # noqa: E402

from benchmarks import models, svi_models, timing  # noqa: E402

torch.set_default_dtype(torch.float64)
STEPS = 300


def eight_schools(error: Any, effect: Any) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(torch.tensor(5.0)))
    with pyro.plate("school", 8):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(mu + tau * z, error), obs=effect)


def radon(county: Any, floor: Any, y: Any) -> None:
    mu_a = pyro.sample("mu_a", dist.Normal(0.0, 10.0))
    mu_b = pyro.sample("mu_b", dist.Normal(0.0, 10.0))
    sigma_a = pyro.sample("sigma_a", dist.HalfNormal(torch.tensor(1.0)))
    sigma_b = pyro.sample("sigma_b", dist.HalfNormal(torch.tensor(1.0)))
    sigma = pyro.sample("sigma", dist.HalfNormal(torch.tensor(1.0)))
    with pyro.plate("county", models.GROUPS):
        a = mu_a + sigma_a * pyro.sample("z_a", dist.Normal(0.0, 1.0))
        b = mu_b + sigma_b * pyro.sample("z_b", dist.Normal(0.0, 1.0))
    with pyro.plate("house", len(y)):
        pyro.sample("y", dist.Normal(a[county] + b[county] * floor, sigma), obs=y)


def logistic(x: Any, y: Any) -> None:
    w = pyro.sample("w", dist.Normal(torch.zeros(25), 1.0).to_event(1))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Bernoulli(logits=x @ w), obs=y)


def network(x: Any, y: Any) -> None:
    a = pyro.sample("a", dist.Normal(torch.zeros(10, 50), 1.0).to_event(2))
    b = pyro.sample("b", dist.Normal(torch.zeros(50), 1.0).to_event(1))
    c = pyro.sample("c", dist.Normal(torch.zeros(50), 1.0).to_event(1))
    d = pyro.sample("d", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(torch.tanh(x @ a + b) @ c + d, 0.2), obs=y)


PROGRAMS: dict[str, Callable[..., None]] = {
    "eight_schools": eight_schools,
    "radon": radon,
    "logistic": logistic,
    "network": network,
}


def main() -> None:
    options = svi_models.options(__doc__).parse_args()
    name, guide = options.model, options.guide
    program = PROGRAMS[name]
    data = tuple(torch.from_numpy(part) for part in svi_models.data(name))
    imported = time.perf_counter() - _STARTED
    q = getattr(autoguide, guide)(program, init_scale=svi_models.SCALE, init_loc_fn=autoguide.init_to_feasible)
    svi = SVI(program, q, pyro.optim.Adam({"lr": svi_models.RATE}), Trace_ELBO())
    setting_up, _ = timing.timed(lambda: svi.step(*data))
    seconds, _ = timing.timed(lambda: [svi.step(*data) for _ in range(STEPS)])
    step = seconds / STEPS
    # It takes no more than a few hundred steps: what 10,000 take is reckoned from them, and the loss is not judged.
    print(
        json.dumps(
            {
                "step": step * 1e6,
                "whole": setting_up + step * svi_models.STEPS,
                "import": imported,
            }
        )
    )


if __name__ == "__main__":
    main()
