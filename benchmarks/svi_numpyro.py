"""NumPyro's side of the SVI benchmark: one model and guide in this process, figures as JSON on standard output."""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import json  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import numpyro  # noqa: E402
import numpyro.distributions as dist  # noqa: E402
from numpyro.infer import SVI, Trace_ELBO, autoguide  # noqa: E402

from benchmarks import models, svi_models, timing  # noqa: E402

numpyro.enable_x64()


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


def logistic(x: Any, y: Any) -> None:
    w = numpyro.sample("w", dist.Normal(jnp.zeros(25), 1.0).to_event(1))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Bernoulli(logits=x @ w), obs=y)


def network(x: Any, y: Any) -> None:
    a = numpyro.sample("a", dist.Normal(jnp.zeros((10, 50)), 1.0).to_event(2))
    b = numpyro.sample("b", dist.Normal(jnp.zeros(50), 1.0).to_event(1))
    c = numpyro.sample("c", dist.Normal(jnp.zeros(50), 1.0).to_event(1))
    d = numpyro.sample("d", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(jnp.tanh(x @ a + b) @ c + d, 0.2), obs=y)


PROGRAMS: dict[str, Callable[..., None]] = {
    "eight_schools": eight_schools,
    "radon": radon,
    "logistic": logistic,
    "network": network,
}


def places(guide: Any, dim: int) -> dict[str, int]:
    """How many coordinates each site has in the one vector of a joint guide, in their order there."""
    where = {name: np.ravel(part) for name, part in guide._unpack_latent(jnp.arange(dim)).items()}
    return {name: where[name].size for name in sorted(where, key=lambda name: where[name][0])}


def end(guide: Any, params: dict[str, Any]) -> svi_models.Normal:
    """A guide as it is with these parameters."""
    if isinstance(guide, autoguide.AutoMultivariateNormal):
        return svi_models.Normal(
            places(guide, len(params["auto_loc"])), np.asarray(params["auto_loc"]), np.asarray(params["auto_scale_tril"])
        )
    names = [name.removesuffix("_auto_loc") for name in params if name.endswith("_auto_loc")]
    loc, scale = ([np.ravel(params[f"{name}_auto_{kind}"]) for name in names] for kind in ("loc", "scale"))
    sizes = {name: part.size for name, part in zip(names, loc, strict=True)}
    return svi_models.Normal(sizes, np.concatenate(loc), np.diag(np.concatenate(scale)))


def put(guide: Any, params: dict[str, Any], path: Any) -> dict[str, Any]:
    """The parameters of the guide in a file."""
    if isinstance(guide, autoguide.AutoMultivariateNormal):
        found = svi_models.Normal.read(path, list(places(guide, len(params["auto_loc"]))))
        return {"auto_loc": jnp.asarray(found.loc), "auto_scale_tril": jnp.asarray(found.factor)}
    names = [name.removesuffix("_auto_loc") for name in params if name.endswith("_auto_loc")]
    held = {}
    for name, parts in svi_models.Normal.read(path, names).parts().items():
        for kind, part in zip(("loc", "scale"), parts, strict=True):
            held[f"{name}_auto_{kind}"] = jnp.asarray(part).reshape(params[f"{name}_auto_{kind}"].shape)
    return held


def main() -> None:
    options = svi_models.options(__doc__).parse_args()
    name, guide = options.model, options.guide
    program = PROGRAMS[name]
    data = tuple(jnp.asarray(part) for part in svi_models.data(name))
    imported = time.perf_counter() - _STARTED

    def run(seed: int, steps: int, optim: Any) -> tuple[Any, Any]:
        # Both sides start at zero in unconstrained coordinates.
        start = numpyro.infer.init_to_feasible
        q = getattr(autoguide, guide)(program, init_scale=svi_models.SCALE, init_loc_fn=start)
        svi = SVI(program, q, optim, Trace_ELBO())
        result = svi.run(jax.random.PRNGKey(seed), steps, *data, progress_bar=False)
        return q, jax.block_until_ready(result)

    if options.at is not None:
        q, result = run(1, 1, numpyro.optim.Adam(svi_models.RATE))
        params = put(q, result.params, options.at)
        loss = lambda key: Trace_ELBO().loss(key, params, program, q, *data)
        losses = jax.jit(lambda keys: jax.lax.map(loss, keys))(jax.random.split(jax.random.PRNGKey(0), svi_models.DRAWS))
        print(json.dumps(svi_models.estimate(np.asarray(losses))))
        return
    whole, _ = timing.timed(lambda: run(0, svi_models.STEPS, numpyro.optim.Adam(svi_models.RATE)))
    # The body of `svi.run`, compiled once: what one more step costs, without the compiler's time.
    q = getattr(autoguide, guide)(program, init_scale=svi_models.SCALE, init_loc_fn=numpyro.infer.init_to_feasible)
    svi = SVI(program, q, numpyro.optim.Adam(svi_models.RATE), Trace_ELBO())
    state = svi.init(jax.random.PRNGKey(1), *data)
    loop = jax.jit(lambda state: jax.lax.scan(lambda state, _: svi.update(state, *data), state, None, length=svi_models.STEPS))
    jax.block_until_ready(loop(state))
    seconds = min(timing.timed(lambda: jax.block_until_ready(loop(state)))[0] for _ in range(5)) / svi_models.STEPS
    long = [run(2 + k, svi_models.LONG, numpyro.optim.Adam(svi_models.rate)) for k in range(svi_models.SEEDS.get(name, 1))]
    tails = [np.asarray(result.losses)[-svi_models.TAIL :] for _, result in long]
    if options.keep is not None:
        q, result = long[0]
        end(q, result.params).write(options.keep)
    print(
        json.dumps(
            {
                "step": seconds * 1e6,
                "whole": whole,
                "import": imported,
                "ends": [svi_models.estimate(tail.reshape(20, -1).mean(1)) for tail in tails],
            }
        )
    )


if __name__ == "__main__":
    main()
