"""Pyro's and NumPyro's sides of `training.py`: milliseconds of processor time per step, a row of JSON each.

Pyro takes a batch a call; NumPyro draws the rows of many steps, with replacement, and takes them in the same call
(`jax.lax.scan`), the data in memory. Both in single precision on one thread. Either may be missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import torch

from benchmarks import training_models as models
from benchmarks.training_models import MANY, RATE, ROUNDS, SPREAD, TASKS, Task

GUIDES = {"MAP": "AutoDelta", "mean field": "AutoNormal"}


def pyro_step(task: Task, guide: str) -> Callable[..., Any]:
    import pyro
    import pyro.distributions as pd
    from pyro.infer import SVI, Trace_ELBO, autoguide

    net = task.made()
    likelihoods = {
        "bernoulli": lambda out: pd.Bernoulli(logits=out[..., 0]),
        "normal": lambda out: pd.Normal(out[..., 0], SPREAD),
        "categorical": lambda out: pd.Categorical(logits=out),
    }

    def program(x: Any, y: Any) -> None:
        weights = {
            name: pyro.sample(name.replace(".", "_"), pd.Normal(torch.zeros_like(p), 1.0).to_event(p.dim()))
            for name, p in net.named_parameters()
        }
        with pyro.plate("rows", task.rows, subsample_size=len(x)):
            out = torch.func.functional_call(net, weights, (x,))
            pyro.sample("y", likelihoods[task.observed](out), obs=y)

    pyro.clear_param_store()
    return SVI(program, getattr(autoguide, guide)(program), pyro.optim.Adam({"lr": RATE}), Trace_ELBO()).step


def pyro_vae() -> Callable[..., Any]:
    import pyro
    import pyro.distributions as pd
    from pyro.infer import SVI, Trace_ELBO

    torch.manual_seed(1)
    encoder, decoder = models.Encoder(), models.decoder()

    def model(x: Any) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("rows", models.IMAGES, subsample_size=len(x)):
            z = pyro.sample("z", pd.Normal(torch.zeros(len(x), models.LATENT), 1.0).to_event(1))
            pyro.sample("x", pd.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    def guide(x: Any) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("rows", models.IMAGES, subsample_size=len(x)):
            pyro.sample("z", pd.Normal(*encoder(x)).to_event(1))

    pyro.clear_param_store()
    return SVI(model, guide, pyro.optim.Adam({"lr": RATE}), Trace_ELBO()).step


def step_by_step(step: Callable[..., Any], data: Any, count: int) -> float:
    times = []
    for k in range(2 + count * ROUNDS):
        batch = next(data)
        began = time.process_time()
        step(*batch)
        if k >= 2:
            times.append(1e3 * (time.process_time() - began))
    return statistics.median(times)


def by_numpyro(model: Any, guide: Any, data: tuple[Any, ...], rows: int, batch: int, count: int) -> float:
    """A step of a scan of `count` of them."""
    import jax
    import jax.numpy as jnp
    import numpyro
    from numpyro.infer import SVI, Trace_ELBO

    svi = SVI(model, guide, numpyro.optim.Adam(RATE), Trace_ELBO())
    held = tuple(jnp.asarray(part.numpy()) for part in data)
    state = jax.jit(svi.init)(jax.random.PRNGKey(1), *(part[:batch] for part in held))

    @jax.jit
    def loop(state: Any, key: Any, held: Any) -> Any:
        chosen = jax.random.randint(key, (count, batch), 0, rows)  # at once, which takes less time than in each step
        return jax.lax.scan(lambda now, rows: svi.update(now, *(part[rows] for part in held)), state, chosen)

    key = jax.random.PRNGKey(2)
    jax.block_until_ready(loop(state, key, held))
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        jax.block_until_ready(loop(state, key, held))
        times.append(1e3 * (time.process_time() - began) / count)
    return statistics.median(times)


def numpyro_task(task: Task, guide: str) -> float:
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as nd
    from numpyro.infer import autoguide

    net = task.made()
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    activation = jnp.tanh if task.name == "10-50-1" else jax.nn.relu
    likelihoods = {
        "bernoulli": lambda out: nd.Bernoulli(logits=out[..., 0]),
        "normal": lambda out: nd.Normal(out[..., 0], SPREAD),
        "categorical": lambda out: nd.Categorical(logits=out),
    }

    def linear(w: dict[str, Any], name: str, x: Any) -> Any:
        return x @ w[f"{name}weight"].T + w[f"{name}bias"]

    def perceptron(w: dict[str, Any], x: Any) -> Any:
        names = [name.removesuffix("weight") for name in shapes if name.endswith("weight")]
        for name in names[:-1]:
            x = activation(linear(w, name, x))
        return linear(w, names[-1], x)

    def normed(w: dict[str, Any], name: str, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w[f"{name}weight"] + w[f"{name}bias"]

    def transformer(w: dict[str, Any], words: Any) -> Any:
        x = w["words.weight"][words] + w["places"]
        for layer in range(models.LAYERS):
            at = f"layers.layers.{layer}."
            both = x @ w[f"{at}self_attn.in_proj_weight"].T + w[f"{at}self_attn.in_proj_bias"]
            q, k, v = jnp.moveaxis(both.reshape(*x.shape[:2], 3, models.HEADS, -1), 2, 0)
            scores = jax.nn.softmax(jnp.einsum("bihd,bjhd->bhij", q, k) / jnp.sqrt(q.shape[-1]), -1)
            found = jnp.einsum("bhij,bjhd->bihd", scores, v).reshape(x.shape)
            x = normed(w, f"{at}norm1.", x + linear(w, f"{at}self_attn.out_proj.", found))
            inner = jax.nn.relu(linear(w, f"{at}linear1.", x))
            x = normed(w, f"{at}norm2.", x + linear(w, f"{at}linear2.", inner))
        return linear(w, "out.", x.mean(1))

    run = transformer if task.name == "transformer" else perceptron

    def program(x: Any, y: Any) -> None:
        weights = {
            name: numpyro.sample(name, nd.Normal(jnp.zeros(shape), 1.0).to_event(len(shape))) for name, shape in shapes.items()
        }
        with numpyro.plate("rows", task.rows, subsample_size=len(x)):
            numpyro.sample("y", likelihoods[task.observed](run(weights, x)), obs=y)

    starts = {name: jnp.asarray(p.detach().numpy()) for name, p in net.named_parameters()}
    made = getattr(autoguide, guide)(program, init_loc_fn=numpyro.infer.init_to_value(values=starts))
    return by_numpyro(program, made, task.data(), task.rows, task.batch, MANY if task.many else task.steps)


def numpyro_vae() -> float:
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as nd

    torch.manual_seed(1)
    starts = {name: jnp.asarray(p.detach().numpy()) for name, p in models.Encoder().named_parameters()}
    starts |= {name: jnp.asarray(p.detach().numpy()) for name, p in models.decoder().named_parameters()}

    def linear(name: str, x: Any) -> Any:
        weight, bias = (numpyro.param(f"{name}.{part}", starts[f"{name}.{part}"]) for part in ("weight", "bias"))
        return x @ weight.T + bias

    def model(x: Any) -> None:
        with numpyro.plate("rows", models.IMAGES, subsample_size=len(x)):
            z = numpyro.sample("z", nd.Normal(jnp.zeros((len(x), models.LATENT)), 1.0).to_event(1))
            logits = linear("2", jax.nn.softplus(linear("0", z)))
            numpyro.sample("x", nd.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(x: Any) -> None:
        hidden = jax.nn.softplus(linear("hidden", x))
        with numpyro.plate("rows", models.IMAGES, subsample_size=len(x)):
            numpyro.sample("z", nd.Normal(linear("loc", hidden), jnp.exp(linear("log_scale", hidden))).to_event(1))

    return by_numpyro(model, guide, models.data_of_images(), models.IMAGES, models.IMAGES_BATCH, models.IMAGES_STEPS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--only", default="")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with_pyro, with_numpyro = (importlib.util.find_spec(name) is not None for name in ("pyro", "numpyro"))
    for name in chosen.tasks:
        rows = {"vae": "vae"} if name == "vae" else {f"{name}, {kind}": kind for kind in GUIDES}
        for row, kind in rows.items():
            if chosen.only not in kind:
                continue
            found = {}
            if name == "vae":
                if with_pyro:
                    found["Pyro"] = step_by_step(pyro_vae(), models.images(), models.IMAGES_STEPS)
                if with_numpyro:
                    found["NumPyro"] = numpyro_vae()
            else:
                task, guide = TASKS[name], GUIDES[kind]
                if with_pyro:
                    found["Pyro"] = step_by_step(pyro_step(task, guide), task.batches(), task.steps)
                if with_numpyro:
                    found["NumPyro"] = numpyro_task(task, guide)
            print(json.dumps([row, found]), flush=True)


if __name__ == "__main__":
    main()
