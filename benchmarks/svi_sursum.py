"""sursum's side of the SVI benchmark: one model and guide in this process, figures as JSON on standard output."""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import json  # noqa: E402
import os  # noqa: E402
import tempfile  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
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
    a = su.sample("a", dist.Normal(torch.zeros(10, 50), 1.0).to_event(2))
    b = su.sample("b", dist.Normal(torch.zeros(50), 1.0).to_event(1))
    c = su.sample("c", dist.Normal(torch.zeros(50), 1.0).to_event(1))
    d = su.sample("d", dist.Normal(0.0, 1.0))
    with su.plate("rows", len(y)):
        su.sample("y", dist.Normal(torch.tanh(x @ a + b) @ c + d, 0.2), obs=y)


PROGRAMS: dict[str, Callable[..., None]] = {
    "eight_schools": eight_schools,
    "radon": radon,
    "logistic": logistic,
    "network": network,
}


def end(svi: su.infer.SVI) -> svi_models.Normal:
    """The guide as it is now."""
    params, guide = svi.params, svi.guide
    if isinstance(guide, su.infer.autoguide.AutoMultivariateNormal):
        sizes = {name: part.stop - part.start for name, part in guide.slices.items()}
        return svi_models.Normal(sizes, params["auto.loc"].detach().numpy(), guide.scale_tril(params).numpy())
    names = [name.removeprefix("auto.loc.") for name in params if name.startswith("auto.loc.")]
    loc, scale = ([params[f"auto.{kind}.{name}"].detach().reshape(-1).numpy() for name in names] for kind in ("loc", "scale"))
    sizes = {name: part.size for name, part in zip(names, loc, strict=True)}
    return svi_models.Normal(sizes, np.concatenate(loc), np.diag(np.concatenate(scale)))


def put(svi: su.infer.SVI, path: Any) -> None:
    """Make the guide the one in a file."""
    leaves = svi.params.unconstrained
    with torch.no_grad():
        if isinstance(svi.guide, su.infer.autoguide.AutoMultivariateNormal):
            found = svi_models.Normal.read(path, list(svi.guide.slices))
            scale = np.diag(found.factor)
            below = np.tril_indices(len(scale), -1)
            leaves["auto.loc"].copy_(torch.from_numpy(found.loc))
            leaves["auto.scale"].copy_(torch.from_numpy(np.log(scale)))
            leaves["auto.lower"].copy_(torch.from_numpy((found.factor / scale[:, None])[below]))
            return
        names = [name.removeprefix("auto.loc.") for name in svi.params if name.startswith("auto.loc.")]
        for name, (loc, scale) in svi_models.Normal.read(path, names).parts().items():
            for kind, part in (("loc", loc), ("scale", np.log(scale))):
                leaf = leaves[f"auto.{kind}.{name}"]
                leaf.copy_(torch.from_numpy(np.ascontiguousarray(part)).reshape(leaf.shape))


def main() -> None:
    options = svi_models.options(__doc__).parse_args()
    name, guide = options.model, options.guide
    program = PROGRAMS[name]
    data = tuple(torch.from_numpy(part) for part in svi_models.data(name))
    imported = time.perf_counter() - _STARTED

    def svi(seed: int, schedule: Any = None) -> su.infer.SVI:
        q = getattr(su.infer.autoguide, guide)(program, init_scale=svi_models.SCALE)
        optim = su.optim.Adam({"lr": svi_models.RATE}, scheduler=schedule)
        return su.infer.SVI(program, q, optim, seed=seed, progress=False, engine="native")

    if options.at is not None:
        held = svi(1)
        held.run(1, *data)
        put(held, options.at)
        warnings.simplefilter("ignore")  # of the guide's fit, which is not judged here
        print(json.dumps(svi_models.estimate(-held.sample(svi_models.DRAWS).stats["log_weight"][0])))
        return
    with tempfile.TemporaryDirectory() as directory:  # an empty cache: the compiler's time is counted
        os.environ["SURSUM_CACHE"] = directory
        whole, _ = timing.timed(lambda: svi(0).run(svi_models.STEPS, *data))
    del os.environ["SURSUM_CACHE"]
    fitted = svi(0)
    first = fitted.run(svi_models.STEPS, *data)
    seconds = min(timing.timed(lambda: fitted.run(svi_models.STEPS, *data))[0] for _ in range(5)) / svi_models.STEPS
    schedule = lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: svi_models.rate(t) / svi_models.RATE)
    long = [svi(2 + k, schedule) for k in range(svi_models.SEEDS.get(name, 1))]
    tails = [one.run(svi_models.LONG, *data).losses[-svi_models.TAIL :].numpy() for one in long]
    if options.keep is not None:
        end(long[0]).write(options.keep)
    print(
        json.dumps(
            {
                "step": seconds * 1e6,
                "whole": whole,
                "import": imported,
                "ends": [svi_models.estimate(tail.reshape(20, -1).mean(1)) for tail in tails],
                "engine": first.engine,
            }
        )
    )


if __name__ == "__main__":
    main()
