r"""What `su.reparam(model, "auto")` finds beside the best that one would write: gradients for each effective draw.

The hierarchies of `hierarchies.py`, ten of them posteriordb's, as written (all sites centred). One would write every site
centred or non-centred: all of these are sampled, and what the search found, each by 4 × 2,000 draws with other seeds than the
search. The share is the effective draws for each gradient of what was found, over those of the best that one would write among
runs that can be trusted: whose chains agree, and in which at most one draw in 200 diverges. 0.9 is promised.

Gradients are counted and not timed, so that the load of the machine does not matter. The last columns are what the search cost,
in gradients with its warm-up, beside one run of 4 × 2,000 draws of what it found, without its own.

    python -m benchmarks.reparam
    python -m benchmarks.reparam funnel rats_data-rats_model

The centring of each element can be learnt by SVI as well, as a parameter. The share of the two, in gradients for each effective
draw: what the draws of short runs say, over what SVI says.

    python -m benchmarks.reparam learnt
    python -m benchmarks.reparam learnt uneven
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
from numpy.typing import NDArray

import sursum as su
from benchmarks.hierarchies import HIERARCHIES
from sursum.draws.ess_rhat import mixing_by_name
from sursum.infer.reparam import LocScaleReparam, TransformReparam
from sursum.mcmc.centring import FindRelative, RecordRelative, Relative, learn_centring

SEEDS = (101, 102)


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


LEARNT = ("eight_schools-eight_schools_centered", "funnel", "precise", "uneven")


@dataclass(frozen=True)
class Learnt:
    """The centring of one site, by SVI and by the draws of short runs, and what a run costs with each."""

    name: str
    by_svi: NDArray[np.float64]
    by_draws: NDArray[np.float64]
    cost: float
    cost_by_draws: float
    error: float

    @property
    def share(self) -> float:
        return self.cost_by_draws / self.cost


def learn(name: str) -> Learnt:
    """Learn the centring of the only site that has one, in both ways, and sample with each."""
    model, args = HIERARCHIES[name]()
    found: dict[str, Relative] = {}
    su.infer.LogDensity(FindRelative(model, found=found), args)
    ((site, relative),) = found.items()
    whole = su.reparam(RecordRelative(model, sites=found), {site: LocScaleReparam(0.0)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draws = su.infer.MCMC(su.infer.NUTS(whole), num_warmup=500, num_samples=500, seed=0, progress=False).run(*args)
    by_draws = learn_centring(draws, site, relative.in_time)
    easy = su.reparam(model, {site: LocScaleReparam(None)})
    guide = su.infer.autoguide.AutoNormal(easy)
    svi = su.infer.SVI(easy, guide, su.optim.Adam({"lr": 0.02}), su.infer.Trace_ELBO(num_particles=10), seed=0, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        svi.run(5000, *args)
    by_svi = svi.params[f"{site}_centered"].detach().double()
    names = [latent.name for latent in su.infer.LogDensity(model, args).latents]
    costs = [_measure(su.reparam(model, {site: LocScaleReparam(c)}), args, names) for c in (by_svi, torch.from_numpy(by_draws))]
    (cost, error, _, _), (other, other_error, _, _) = costs
    return Learnt(name, by_svi.numpy(), by_draws, cost, other, other / cost * float(np.hypot(error, other_error)))


def compare_learnt(names: list[str]) -> None:
    print(f"{'hierarchy':<50}{'share':>14}{'SVI':>9}{'draws':>9}  centring by SVI; by draws")
    for name in names or LEARNT:
        row = learn(name)
        share = f"{row.share:.2f} ± {row.error:.2f}"
        spans = "; ".join(f"{c.min():.2f}–{c.max():.2f}" for c in (row.by_svi, row.by_draws))
        print(f"{name:<50}{share:>14}{row.cost:>9.1f}{row.cost_by_draws:>9.1f}  {spans}", flush=True)


def main(names: list[str]) -> None:
    if names[:1] == ["learnt"]:
        compare_learnt(names[1:])
        return
    print(f"{'hierarchy':<50}{'share':>14}{'found':>9}{'best':>9}{'search':>12}{'run':>10}  found; best written")
    for name in names or HIERARCHIES:
        row = compare(name)
        share = f"{row.share:.2f} ± {row.error:.2f}"
        numbers = f"{share:>14}{row.cost:>9.1f}{row.best_cost:>9.1f}{row.search:>12,}{row.run:>10,}"
        print(f"{name:<50}{numbers}  {row.found}; {row.best}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
