"""A program of `discrete.py` in NumPyro with funsor or in Pyro: microseconds per value and gradient, as a line of JSON.

    python discrete_peers.py NumPyro hidden_markov [--quick]

Runs by itself in an environment that has the peer: `discrete.py --peers PYTHON` calls it, for each program anew, so that a
peer that takes too long for one of them has the others. Each is written as the peer's documentation does: NumPyro's loops
are its `scan`, which sums states out in parallel; Pyro's are `markov` over a loop of Python.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

K, N, STATES, STEPS, PARTS, ANIMALS, OCCASIONS = 5, 10_000, 16, 1_000, 4, 200, 10


def least(run: Callable[[], Any], rounds: int) -> float:
    """The least CPU time in microseconds."""
    run()
    found = math.inf
    for _ in range(rounds):
        began = time.process_time()
        run()
        found = min(found, time.process_time() - began)
    return 1e6 * found


def numpyro_side(name: str, part: int) -> dict[str, float]:
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.contrib.control_flow import scan
    from numpyro.contrib.funsor import config_enumerate, enum
    from numpyro.infer.util import potential_energy

    jax.config.update("jax_enable_x64", True)

    def mixture(y: Any) -> None:
        w = numpyro.sample("w", dist.Dirichlet(jnp.ones(K)))
        mu = numpyro.sample("mu", dist.Normal(jnp.zeros(K), 5.0).to_event(1))
        s = numpyro.sample("s", dist.HalfNormal(jnp.ones(K)).to_event(1))
        with numpyro.plate("data", len(y)):
            k = numpyro.sample("k", dist.Categorical(w), infer={"enumerate": "parallel"})
            numpyro.sample("y", dist.Normal(mu[k], s[k]), obs=y)

    def hidden_markov(y: Any) -> None:
        mu = numpyro.sample("mu", dist.Normal(jnp.zeros(STATES), 1.0).to_event(1))
        moves = numpyro.sample("moves", dist.Dirichlet(jnp.ones((STATES, STATES))).to_event(1))

        def step(z: Any, y: Any) -> tuple[Any, None]:
            z = numpyro.sample("z", dist.Categorical(moves[z]), infer={"enumerate": "parallel"})
            numpyro.sample("y", dist.Normal(mu[z], 1.0), obs=y)
            return z, None

        scan(step, 0, y)

    def factorial(y: Any) -> None:
        stay = numpyro.sample("stay", dist.Beta(jnp.full(2, 8.0), 2.0).to_event(1))
        height = numpyro.sample("height", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
        same = jnp.eye(PARTS)
        moves = [stay[k] * same + (1 - stay[k]) * (1 - same) / (PARTS - 1) for k in range(2)]

        def step(z: Any, y: Any) -> tuple[Any, None]:
            a = numpyro.sample("a", dist.Categorical(moves[0][z[0]]), infer={"enumerate": "parallel"})
            b = numpyro.sample("b", dist.Categorical(moves[1][z[1]]), infer={"enumerate": "parallel"})
            numpyro.sample("y", dist.Normal(height[0] * a + height[1] * b, 1.0), obs=y)
            return (a, b), None

        scan(step, (0, 0), y)

    def capture_recapture(y: Any) -> None:
        survives = numpyro.sample("survives", dist.Beta(2.0, 2.0))
        seen = numpyro.sample("seen", dist.Beta(2.0, 2.0))

        def step(alive: Any, y: Any) -> tuple[Any, None]:
            with numpyro.plate("animals", ANIMALS, dim=-1):
                alive = numpyro.sample("alive", dist.Bernoulli(survives * alive), infer={"enumerate": "parallel"})
                numpyro.sample("y", dist.Bernoulli(seen * alive), obs=y)
            return alive, None

        scan(step, jnp.ones(ANIMALS, dtype=int), y)

    models = {
        mixture: {"w": (K - 1,), "mu": (K,), "s": (K,)},
        hidden_markov: {"mu": (STATES,), "moves": (STATES, STATES - 1)},
        factorial: {"stay": (2,), "height": (2,)},
        capture_recapture: {"survives": (), "seen": ()},
    }
    model, shapes = next((model, shapes) for model, shapes in models.items() if model.__name__ == name)
    nesting, y = int(name in ("mixture", "capture_recapture")), jnp.asarray(data(name, part))
    together = enum(config_enumerate(model), -nesting - 1)
    at = {site: jnp.full(shape, 0.1) for site, shape in shapes.items()}  # unconstrained, as a sampler has them
    gradient = jax.jit(jax.value_and_grad(lambda q: potential_energy(together, (y,), {}, q, enum=True)))
    began = time.process_time()
    jax.block_until_ready(gradient(at))
    compiled = time.process_time() - began
    return {"us": least(lambda: jax.block_until_ready(gradient(at)), 30), "compile": compiled}


def pyro_side(name: str, part: int) -> dict[str, float]:
    import pyro
    import pyro.distributions as dist
    import torch
    from pyro.infer import TraceEnum_ELBO
    from pyro.infer.autoguide import AutoDelta

    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    together = {"enumerate": "parallel"}

    def mixture(y: Any) -> None:
        w = pyro.sample("w", dist.Dirichlet(torch.ones(K)))
        mu = pyro.sample("mu", dist.Normal(torch.zeros(K), 5.0).to_event(1))
        s = pyro.sample("s", dist.HalfNormal(torch.ones(K)).to_event(1))
        with pyro.plate("data", len(y)):
            k = pyro.sample("k", dist.Categorical(w), infer=together)
            pyro.sample("y", dist.Normal(mu[k], s[k]), obs=y)

    def hidden_markov(y: Any) -> None:
        mu = pyro.sample("mu", dist.Normal(torch.zeros(STATES), 1.0).to_event(1))
        moves = pyro.sample("moves", dist.Dirichlet(torch.ones(STATES, STATES)).to_event(1))
        z = torch.tensor(0)
        for t in pyro.markov(range(len(y))):
            z = pyro.sample(f"z{t}", dist.Categorical(moves[z]), infer=together)
            pyro.sample(f"y{t}", dist.Normal(mu[z], 1.0), obs=y[t])

    def factorial(y: Any) -> None:
        stay = pyro.sample("stay", dist.Beta(torch.full((2,), 8.0), 2.0).to_event(1))
        height = pyro.sample("height", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        same = torch.eye(PARTS)
        moves = [stay[k] * same + (1 - stay[k]) * (1 - same) / (PARTS - 1) for k in range(2)]
        a, b = torch.tensor(0), torch.tensor(0)
        for t in pyro.markov(range(len(y))):
            a = pyro.sample(f"a{t}", dist.Categorical(moves[0][a]), infer=together)
            b = pyro.sample(f"b{t}", dist.Categorical(moves[1][b]), infer=together)
            pyro.sample(f"y{t}", dist.Normal(height[0] * a + height[1] * b, 1.0), obs=y[t])

    def capture_recapture(y: Any) -> None:
        survives = pyro.sample("survives", dist.Beta(2.0, 2.0))
        seen = pyro.sample("seen", dist.Beta(2.0, 2.0))
        with pyro.plate("animals", ANIMALS, dim=-1):
            alive = torch.ones(ANIMALS)
            for t in pyro.markov(range(OCCASIONS)):
                alive = pyro.sample(f"alive{t}", dist.Bernoulli(survives * alive), infer=together)
                pyro.sample(f"y{t}", dist.Bernoulli(seen * alive), obs=y[t])

    models = {
        mixture: ["w", "mu", "s"],
        hidden_markov: ["mu", "moves"],
        factorial: ["stay", "height"],
        capture_recapture: ["survives", "seen"],
    }
    model, names = next((model, names) for model, names in models.items() if model.__name__ == name)
    guide = AutoDelta(pyro.poutine.block(model, expose=names))
    elbo, y = TraceEnum_ELBO(max_plate_nesting=1), torch.as_tensor(data(name, part))
    return {"us": least(lambda: elbo.loss_and_grads(model, guide, y), 3)}


def data(name: str, part: int) -> np.ndarray:
    """Data of the size of `discrete.py`'s."""
    rng = np.random.default_rng(0)
    if name == "capture_recapture":
        draws = rng.random((2, OCCASIONS, ANIMALS))
        return np.cumprod(draws[0] < 0.8, axis=0) * (draws[1] < 0.5) * 1.0
    return rng.normal(size=(N if name == "mixture" else STEPS) // part)


SIDES = {"NumPyro": numpyro_side, "Pyro": pyro_side}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=SIDES)
    parser.add_argument("program")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    print(json.dumps(SIDES[given.peer](given.program, 10 if given.quick else 1)))


if __name__ == "__main__":
    main()
