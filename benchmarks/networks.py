r"""A lifted network against NumPyro's `random_flax_module`, Pyro's `PyroModule` and `posteriors`.

The regression of `examples/diabetes_network.py`, in double precision, 331 patients and 98 unknowns,

.. math:: y_i \sim N(f_w(x_i), \sigma), \quad f: 10 \to 8 \to 1 \text{ with tanh}, \quad
          w_{ij} \sim N(0, 1 / n_{in}), \quad b_j \sim N(0, 1), \quad \sigma \sim N^+(0, 1)

with NUTS and target acceptance 0.8; `posteriors` has no NUTS and runs its Langevin dynamics (BAOA) on all rows, with a step
that is small enough not to bias it much. Each system runs in a process of its own (NumPyro needs `flax` beside it, `posteriors`
is in no extra):

    python benchmarks/networks.py [--draws 500] [--sides sursum numpyro pyro posteriors]

Printed are the seconds of a first and of a second run (compiled before, other seed), the smallest bulk effective sample size of
f at the 111 held-out patients, that per second and per CPU second of the second run, and their mean log score with its
Monte-Carlo error. On a busy machine read the CPU seconds, of all threads of the process. Pyro, at about a millisecond a
leapfrog step, makes 50 + 50 draws of one chain: its seconds and effective draws, marked ≈, are extrapolated to four such
chains, two at a time, of as many draws as the others make.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
HIDDEN, HELD_OUT, CHAINS = 8, 111, 4
#: Draws of Pyro's one chain, and as many of warm-up; chains that would run at once on two cores.
PYRO, CORES = 50, 2
#: The step and friction of Langevin dynamics, and steps from one draw to the next.
STEP, FRICTION, THINNING = 1e-2, 2.0, 10
Draws = dict[str, np.ndarray]
"""`f`, (chain, draw, held-out row), and `sigma`, (chain, draw)."""


def patients() -> tuple[np.ndarray, ...]:
    """x, y of the rows to fit and of those held out, standardised by the former."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    fit, new = slice(HELD_OUT, None), slice(None, HELD_OUT)
    x, y = (x - x[fit].mean(0)) / x[fit].std(0), (y - y[fit].mean()) / y[fit].std()
    return x[fit], y[fit], x[new], y[new]


def sursum_side(draws: int) -> Callable[[int], Draws]:
    import torch

    import sursum as su
    import sursum.distributions as dist
    from sursum.distributions import constraints

    x, y, x_new, _ = (torch.from_numpy(part) for part in patients())
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(10, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, 1)).double()

    def program(x: torch.Tensor, y: torch.Tensor | None = None) -> None:
        f = su.deterministic("f", su.module("net", net)(x).squeeze(-1))
        sigma = su.param("sigma", torch.tensor(1.0, dtype=torch.float64), constraint=constraints.positive)
        with su.plate("patient", len(x)):
            su.sample("y", dist.Normal(f, sigma), obs=y)

    priors = {"net.**.weight": su.priors.fan_in(), "net.**.bias": dist.Normal(0.0, 1.0), "sigma": dist.HalfNormal(1.0)}
    lifted = su.lift(program, priors)

    def run(seed: int) -> Draws:
        settings: dict[str, Any] = {"num_warmup": draws, "num_samples": draws, "num_chains": CHAINS, "progress": False}
        posterior = su.infer.MCMC(su.infer.NUTS(lifted), seed=seed, **settings).run(x, y)
        prediction = su.infer.Predictive(lifted, posterior, sites=["f"], seed=0)(x_new)
        return {"f": prediction["f"].numpy(), "sigma": posterior["sigma"].numpy()}

    return run


def numpyro_side(draws: int) -> Callable[[int], Draws]:
    import numpyro

    numpyro.enable_x64()
    numpyro.set_host_device_count(CHAINS)
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import numpyro.distributions as dist
    from numpyro.contrib.module import random_flax_module
    from numpyro.infer import MCMC, NUTS, Predictive

    x, y, x_new, _ = (jnp.asarray(part) for part in patients())

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            hidden = nn.tanh(nn.Dense(HIDDEN, param_dtype=jnp.float64)(x))
            return nn.Dense(1, param_dtype=jnp.float64)(hidden)

    priors = {
        "Dense_0.kernel": dist.Normal(0.0, 10**-0.5),
        "Dense_1.kernel": dist.Normal(0.0, HIDDEN**-0.5),
        "Dense_0.bias": dist.Normal(0.0, 1.0),
        "Dense_1.bias": dist.Normal(0.0, 1.0),
    }

    def program(x: Any, y: Any = None) -> None:
        net = random_flax_module("net", Net(), priors, input_shape=(1, 10))
        f = numpyro.deterministic("f", net(x).squeeze(-1))
        sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
        with numpyro.plate("patient", len(x)):
            numpyro.sample("y", dist.Normal(f, sigma), obs=y)

    settings: dict[str, Any] = {"num_warmup": draws, "num_samples": draws, "num_chains": CHAINS, "progress_bar": False}
    mcmc = MCMC(NUTS(program), chain_method="parallel", jit_model_args=True, **settings)

    def run(seed: int) -> Draws:
        mcmc.run(jax.random.PRNGKey(seed), x, y)
        samples = mcmc.get_samples(group_by_chain=True)
        predictive = Predictive(program, samples, batch_ndims=2, return_sites=["f"])
        found = predictive(jax.random.PRNGKey(0), x_new)["f"]
        return {"f": np.asarray(found), "sigma": np.asarray(samples["sigma"])}

    return run


def pyro_side(draws: int) -> Callable[[int], Draws]:
    import pyro
    import pyro.distributions as dist
    import torch
    from pyro.infer import MCMC, NUTS
    from pyro.nn import PyroModule, PyroSample

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    x, y, x_new, _ = (torch.from_numpy(part) for part in patients())

    class Net(PyroModule):
        def __init__(self) -> None:
            super().__init__()
            self.first = PyroModule[torch.nn.Linear](10, HIDDEN)
            self.last = PyroModule[torch.nn.Linear](HIDDEN, 1)
            for layer, inputs in ((self.first, 10), (self.last, HIDDEN)):
                layer.weight = PyroSample(dist.Normal(0.0, inputs**-0.5).expand(layer.weight.shape).to_event(2))
                layer.bias = PyroSample(dist.Normal(0.0, 1.0).expand(layer.bias.shape).to_event(1))

        def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
            f = self.last(torch.tanh(self.first(x))).squeeze(-1)
            sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
            with pyro.plate("patient", len(x)):
                pyro.sample("y", dist.Normal(f, sigma), obs=y)
            return f

    net = Net()

    def run(seed: int) -> Draws:
        pyro.set_rng_seed(seed)
        mcmc = MCMC(NUTS(net, jit_compile=False), num_samples=draws, warmup_steps=draws, num_chains=1, disable_progbar=True)
        mcmc.run(x, y)
        s = mcmc.get_samples()
        hidden = torch.tanh(x_new @ s["first.weight"].mT + s["first.bias"][:, None])
        f = (hidden @ s["last.weight"].mT + s["last.bias"][:, None]).squeeze(-1)
        return {"f": f[None].numpy(), "sigma": s["sigma"][None].numpy()}

    return run


def posteriors_side(draws: int) -> Callable[[int], Draws]:
    import posteriors
    import torch
    from torch.func import functional_call

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    x, y, x_new, _ = (torch.from_numpy(part) for part in patients())
    net = torch.nn.Sequential(torch.nn.Linear(10, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, 1))
    scales = {name: value.shape[-1] ** -0.5 if value.dim() == 2 else 1.0 for name, value in net.named_parameters()}

    def forward(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return functional_call(net, {name: w[name] for name in scales}, (x,)).squeeze(-1)

    def log_posterior(w: dict[str, torch.Tensor], batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Of all chains together: their gradients do not mix."""
        f, log_sigma = torch.func.vmap(lambda one: forward(one, x))(w), w["log_sigma"]
        prior = sum(-0.5 * (w[name] / scale).square().sum() for name, scale in scales.items())
        prior = prior + (log_sigma - 0.5 * (2.0 * log_sigma).exp()).sum()
        misfit = ((y - f) * (-log_sigma).exp()[:, None]).square().sum()
        return prior - 0.5 * misfit - len(y) * log_sigma.sum(), f

    sampler = posteriors.sgmcmc.baoa.build(log_posterior, lr=STEP, alpha=FRICTION)

    def run(seed: int) -> Draws:
        torch.manual_seed(seed)
        w = {name: 0.1 * torch.randn(CHAINS, *value.shape) for name, value in net.named_parameters()}
        state = sampler.init(w | {"log_sigma": torch.zeros(CHAINS)})
        kept: list[dict[str, torch.Tensor]] = []
        for step in range(2 * draws * THINNING):
            state, _ = sampler.update(state, None)
            if step >= draws * THINNING and step % THINNING == 0:
                kept.append(dict(state.params))
        f = torch.stack([torch.func.vmap(lambda one: forward(one, x_new))(w) for w in kept], 1)
        return {"f": f.detach().numpy(), "sigma": torch.stack([w["log_sigma"].exp() for w in kept], 1).numpy()}

    return run


SIDES = {"sursum": sursum_side, "numpyro": numpyro_side, "pyro": pyro_side, "posteriors": posteriors_side}


def score(draws: Draws) -> tuple[float, float, float]:
    """The smallest effective sample size of f, the mean held-out log score, and its Monte-Carlo error."""
    from benchmarks.timing import smallest_ess

    y = patients()[3]
    sigma = draws["sigma"][..., None]
    density = np.exp(-0.5 * ((y - draws["f"]) / sigma) ** 2) / sigma / np.sqrt(2 * np.pi)
    average = density.mean((0, 1))
    ess = smallest_ess(draws["f"])
    # By the delta method; the rows' averages come of the same draws, so their errors are added up as they are correlated.
    influence = (density / average).mean(-1)
    return ess, float(np.log(average).mean()), float(influence.std() / np.sqrt(min(ess, influence.size)))


def one_side(name: str, draws: int) -> dict[str, float]:
    """Both runs of one system, in this process; Pyro compiles nothing, and makes one run of few draws."""
    warnings.simplefilter("ignore")
    made = min(draws, PYRO) if name == "pyro" else draws
    start = time.perf_counter()
    run = SIDES[name](made)
    if name != "pyro":
        run(0)
        first = time.perf_counter() - start
    start, used = time.perf_counter(), time.process_time()
    found = run(1)
    second, cpu = time.perf_counter() - start, time.process_time() - used
    ess, log_score, error = score(found)
    if name == "pyro":
        factor = CHAINS * draws / made
        second, cpu, ess = second * factor / CORES, cpu * factor, ess * factor
        first = second
    figures = {"first": first, "second": second, "cpu": cpu, "ess": ess, "log_score": log_score, "error": error}
    return figures | {"rate": ess / second, "cpu_rate": ess / cpu, "chains": found["f"].shape[0], "draws": made}


def versions(names: list[str]) -> str:
    """What was measured, and on what."""
    packages = {
        "sursum": ("torch", "nutpie"),
        "numpyro": ("numpyro", "flax", "jax"),
        "pyro": ("pyro-ppl",),
        "posteriors": ("posteriors",),
    }
    found = [f"{package} {version(package)}" for name in names for package in packages[name]]
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{datetime.date.today()}, {where}, {', '.join(found)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500, help="draws of each chain, and as many of warm-up")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=["sursum", "numpyro"])
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(one_side(options.side, options.draws)))
        return
    columns = (
        "system", "chains × draws", "first run s", "second run s", "CPU s", "min ESS of f", "ESS/s", "ESS/CPU s", "log score"
    )  # fmt: skip
    print(f"{versions(options.sides)}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    figures: dict[str, dict[str, float]] = {}
    for name in options.sides:
        command = [sys.executable, "-m", "benchmarks.networks", "--side", name, "--draws", str(options.draws)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ))
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr}")
        row = figures[name] = json.loads(done.stdout.splitlines()[-1])
        about = "≈ " if row["draws"] != options.draws else ""
        numbers = (row["first"], row["second"], row["cpu"], row["ess"], row["rate"], row["cpu_rate"])
        cells = [f"{about}{number:.3g}" for number in numbers]
        print(
            f"| {name} | {row['chains']:.0f} × ({row['draws']:.0f} + {row['draws']:.0f}) | {' | '.join(cells)} | "
            f"{row['log_score']:.4f} ± {row['error']:.4f} |",
            flush=True,
        )
    for name, row in figures.items():
        if name != "sursum" and "sursum" in figures:
            ratios = [figures["sursum"][key] / row[key] for key in ("rate", "cpu_rate")]
            print(f"\nsursum has {ratios[0]:.1f} times the ESS per second of {name}, {ratios[1]:.1f} times per CPU second.")


if __name__ == "__main__":
    main()
