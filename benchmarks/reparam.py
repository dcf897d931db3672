r"""What `su.reparam(model, "auto")` finds beside the best that one would write: gradients for each effective draw.

Eleven hierarchies, as written (all sites centred). One would write every site centred or non-centred: all of these are sampled,
and what the search found, each by 4 × 2,000 draws with other seeds than the search. The share is the effective draws for each
gradient of what was found, over those of the best that one would write among runs without many divergences; 0.9 is promised.

Gradients are counted and not timed, so that the load of the machine does not matter. The last columns are what the search cost,
in gradients with its warm-up, beside one run of 4 × 2,000 draws of what it found, without its own.

    python -m benchmarks.reparam schools radon

Data: Rubin (1981), Gelman & Hill (2007), Efron & Morris (1975), and of the BUGS examples seeds, pumps and dyes.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sursum as su
import sursum.distributions as dist
from benchmarks.models import survey
from sursum.draws.ess_rhat import mixing_by_name
from sursum.infer.reparam import LocScaleReparam, TransformReparam

SEEDS = (101, 102)


def _double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def normal_groups(y: Tensor, sd: Tensor) -> None:
    mu, tau = su.sample("mu", dist.Normal(0.0, 5.0)), su.sample("tau", dist.HalfCauchy(5.0))
    with su.plate("groups", len(y)):
        su.sample("y", dist.Normal(su.sample("theta", dist.Normal(mu, tau)), sd), obs=y)


def funnel() -> None:
    v = su.sample("v", dist.Normal(0.0, 3.0))
    with su.plate("elements", 9):
        su.sample("x", dist.Normal(0.0, (v / 2).exp()))


def radon(county: Tensor, floor: Tensor, y: Tensor, slopes: bool) -> None:
    mu_a, sigma_a = su.sample("mu_a", dist.Normal(0.0, 10.0)), su.sample("sigma_a", dist.HalfNormal(1.0))
    mu_b, sigma = su.sample("mu_b", dist.Normal(0.0, 10.0)), su.sample("sigma", dist.HalfNormal(1.0))
    sigma_b = su.sample("sigma_b", dist.HalfNormal(1.0)) if slopes else 0.0
    with su.plate("county", 85):
        a = su.sample("a", dist.Normal(mu_a, sigma_a))
        b = su.sample("b", dist.Normal(mu_b, sigma_b))[county] if slopes else mu_b
    with su.plate("house", len(y)):
        su.sample("y", dist.Normal(a[county] + b * floor, sigma), obs=y)


def trials(hits: Tensor, of: Tensor, spread: float) -> None:
    mu, tau = su.sample("mu", dist.Normal(0.0, 2.0)), su.sample("tau", dist.HalfNormal(spread))
    with su.plate("groups", len(hits)):
        alpha = su.sample("alpha", dist.Normal(mu, tau))
        su.sample("hits", dist.Binomial(of, logits=alpha), obs=hits)


def pumps(failures: Tensor, hours: Tensor) -> None:
    mu, tau = su.sample("mu", dist.Normal(0.0, 2.0)), su.sample("tau", dist.HalfNormal(2.0))
    with su.plate("pumps", len(failures)):
        su.sample("failures", dist.Poisson(su.sample("rate", dist.LogNormal(mu, tau)) * hours), obs=failures)


def dyes(grams: Tensor) -> None:
    mean = su.sample("mean", dist.Normal(1500.0, 200.0))
    between, within = su.sample("between", dist.HalfNormal(100.0)), su.sample("within", dist.HalfNormal(100.0))
    with su.plate("batch", 6):
        level = su.sample("level", dist.Normal(mean, between))
        with su.plate("sample", 5, dim=-2):
            su.sample("grams", dist.Normal(level, within), obs=grams)


def local_level(y: Tensor) -> None:
    spread, noise = su.sample("spread", dist.HalfNormal(1.0)), su.sample("noise", dist.HalfNormal(1.0))

    def step(x: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        x = su.sample("x", dist.Normal(x, spread))
        su.sample("y", dist.Normal(x, noise), obs=value)
        return x, x

    su.scan(step, torch.tensor(0.0, dtype=torch.float64), y)


EFFECTS = _double(28, 8, -3, 7, -1, 1, 18, 12)
ERRORS = _double(15, 10, 16, 11, 9, 11, 10, 18)
HITS = _double(18, 17, 16, 15, 14, 14, 13, 12, 11, 11, 10, 10, 10, 10, 10, 9, 8, 7)
GERMINATED = _double(10, 23, 23, 26, 17, 5, 53, 55, 32, 46, 10, 8, 10, 8, 23, 0, 3, 22, 15, 32, 3)
SEEDS_SOWN = _double(39, 62, 81, 51, 39, 6, 74, 72, 51, 79, 13, 16, 30, 28, 45, 4, 12, 41, 30, 51, 7)
FAILURES = _double(5, 1, 5, 14, 3, 19, 1, 1, 4, 22)
HOURS = _double(94.3, 15.7, 62.9, 126, 5.24, 31.4, 1.05, 1.05, 2.1, 10.5)
GRAMS = _double(
    *(1545, 1440, 1440, 1520, 1580, 1540, 1555, 1490, 1560, 1495, 1595, 1550, 1605, 1510, 1560),
    *(1445, 1440, 1595, 1465, 1545, 1595, 1630, 1515, 1635, 1625, 1520, 1455, 1450, 1480, 1445),
).reshape(6, 5)


def _radon(slopes: bool) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    county, floor, y = (torch.as_tensor(survey()[name]) for name in ("county", "floor", "y"))
    return radon, (county, floor, y, slopes)


def _walk() -> Tensor:
    rng = np.random.default_rng(5)
    return torch.from_numpy(np.cumsum(0.3 * rng.normal(size=100)) + rng.normal(size=100))


HIERARCHIES: dict[str, Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]]] = {
    "schools": lambda: (normal_groups, (EFFECTS, ERRORS)),
    "precise": lambda: (normal_groups, (EFFECTS, ERRORS / 20)),
    "uneven": lambda: (normal_groups, (torch.linspace(-8, 8, 30).double(), torch.logspace(-1.5, 1.5, 30).double())),
    "funnel": lambda: (funnel, ()),
    "radon_intercepts": lambda: _radon(False),
    "radon": lambda: _radon(True),
    "baseball": lambda: (trials, (HITS, torch.full((18,), 45.0), 1.0)),
    "seeds": lambda: (trials, (GERMINATED, SEEDS_SOWN, 2.0)),
    "pumps": lambda: (pumps, (FAILURES, HOURS)),
    "dyes": lambda: (dyes, (GRAMS.T,)),
    "local_level": lambda: (local_level, (_walk(),)),
}


@dataclass(frozen=True)
class Row:
    """One hierarchy: what was found, its share of the best written one, and the standard error of that."""

    name: str
    found: str
    cost: float
    best: str
    best_cost: float
    error: float
    search: int
    run: int

    @property
    def share(self) -> float:
        return self.best_cost / self.cost


def compare(name: str) -> Row:
    """Search, sample what was found and all that one would write, and compare."""
    model, args = HIERARCHIES[name]()
    found = su.infer.ReparamSearch(model, progress=False).run(*args)
    names = [latent.name for latent in su.infer.LogDensity(model, args).latents]
    cost, error, _, run = _measure(found.model, args, names)
    written = []
    for ways in itertools.product((False, True), repeat=len(found.sites)):
        config = {
            one.name: TransformReparam(LocScaleReparam(0.0)) if one.name == "rate" else LocScaleReparam(0.0)
            for one, whole in zip(found.sites, ways, strict=True)
            if whole
        }
        label = " ".join("non-centred" if whole else "centred" for whole in ways)
        written.append((*_measure(su.reparam(model, config) if config else model, args, names), label))
    trusted = [one for one in written if one[2]] or written
    best = min(trusted)
    # The warm-up of a short run is as long as the run, and its steps are of like number.
    return Row(
        name,
        ", ".join(f"{one.name} {one.way}" for one in found.sites),
        *(cost, best[4], best[0], best[0] / cost * float(np.hypot(error, best[1])), 2 * found.gradients, run),
    )


def _measure(program: Callable[..., Any], args: tuple[Any, ...], names: list[str]) -> tuple[float, float, bool, int]:
    """Gradients for each effective draw, its relative standard error, whether the runs can be trusted, gradients of a run."""
    costs, trusted, steps = [], True, 0
    for seed in SEEDS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mcmc = su.infer.MCMC(su.infer.NUTS(program), num_samples=2000, seed=seed, progress=False)
            posterior = mcmc.run(*args)
        mixed = mixing_by_name({name: np.asarray(posterior[name]) for name in names})
        ess = min(float(np.nanmin(one.ess_bulk)) for one in mixed.values())
        r_hat = max(float(np.nanmax(one.r_hat)) for one in mixed.values())
        steps = int(posterior.stats["n_steps"].sum())
        costs.append(steps / ess)
        trusted &= r_hat <= 1.05 and int(posterior.stats["diverging"].sum()) <= 40
    mean = float(np.mean(costs))
    return mean, float(np.std(costs, ddof=1) / np.sqrt(len(costs)) / mean), trusted, steps


def main(names: list[str]) -> None:
    print(f"{'hierarchy':<18}{'share':>14}{'found':>9}{'best':>9}{'search':>12}{'run':>10}  found; best written")
    for name in names or HIERARCHIES:
        row = compare(name)
        share = f"{row.share:.2f} ± {row.error:.2f}"
        numbers = f"{share:>14}{row.cost:>9.1f}{row.best_cost:>9.1f}{row.search:>12,}{row.run:>10,}"
        print(f"{name:<18}{numbers}  {row.found}; {row.best}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
