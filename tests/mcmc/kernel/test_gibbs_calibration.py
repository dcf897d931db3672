"""Simulation-based calibration of `DiscreteGibbs`: of parameters drawn from the prior and data drawn given them, the rank of
each parameter among independent draws from the posterior is uniform."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import sursum as su
import sursum.distributions as dist
from sursum.infer import MCMC, NUTS, DiscreteGibbs
from sursum.mcmc import mcmc as running
from sursum.mcmc.sweeps import sweeps_of

PLACES, DRAWS, EVERY, SIMULATIONS = 2, 15, 30, 640

QUANTITIES = ("rate", "label", "first count", "all counts", "log likelihood")


def occupied(seen):
    """How many animals live at each place, of which each is seen with probability 1/2; whether any was seen."""
    rate = su.sample("rate", dist.Gamma(2.0, 1.0))
    label = su.sample("label", dist.Categorical(torch.tensor([0.3, 0.3, 0.4])))
    with su.plate("place", PLACES):
        n = su.sample("n", dist.Poisson(rate * (0.5 + label)))
        su.sample("seen", dist.Bernoulli(1.0 - 0.5**n), obs=seen)


def simulate(rng):
    rate, label = rng.gamma(2.0), rng.choice(3, p=[0.3, 0.3, 0.4])
    n = rng.poisson(rate * (0.5 + label), PLACES)
    return rate, label, n, rng.random(PLACES) < 1.0 - 0.5**n


def quantities(rate, label, n, seen):
    """Those of `QUANTITIES`, at draws of n of shape (…, place)."""
    log = stats.bernoulli.logpmf(seen, 1.0 - 0.5 ** np.asarray(n)).sum(-1)
    return np.stack(np.broadcast_arrays(rate, label, n[..., 0], n.sum(-1), log), -1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
@pytest.mark.parametrize("kind", ["at once", "one by one"])
def test_ranks_are_uniform(kind, monkeypatch):
    """Simulations with the same data share a chain, each a piece of it; a tie is broken by chance."""
    if kind == "one by one":

        def one_by_one(compiled):
            found = sweeps_of(compiled)
            single = [
                replace(how, blocks=tuple(replace(block, noise=0, draw=None) for block in how.blocks))
                for how in (found.by_torch, found.native)
            ]
            return replace(found, by_torch=single[0], native=single[1])

        monkeypatch.setattr(running, "sweeps_of", one_by_one)
    rng = np.random.default_rng(0)
    by_data = {}
    for *truth, seen in (simulate(rng) for _ in range(SIMULATIONS)):
        by_data.setdefault(tuple(seen), []).append(truth)
    assert len(by_data) == 4
    ranks = []
    for k, (seen, truths) in enumerate(sorted(by_data.items())):
        kernel = DiscreteGibbs(NUTS(occupied, target_accept=0.9), sites=["label", "n"])
        settings = {"num_warmup": 500, "num_samples": len(truths) * DRAWS * EVERY, "thin": EVERY, "num_chains": 1}
        drawn = MCMC(kernel, seed=k, progress=False, **settings).run(torch.tensor(seen, dtype=torch.float64))
        q = {name: drawn[name][0].numpy() for name in ("rate", "label", "n")}
        draws = quantities(q["rate"], q["label"], q["n"], np.array(seen)).reshape(len(truths), DRAWS, -1)
        for truth, found in zip(truths, draws, strict=True):
            value = quantities(*truth, np.array(seen))
            ties = (found == value).sum(0)
            ranks.append((found < value).sum(0) + rng.integers(0, ties + 1))
    for name, row in zip(QUANTITIES, np.array(ranks).T, strict=True):
        counts = np.bincount(row, minlength=DRAWS + 1)
        # One test in a thousand fails by chance, of the ten together.
        limit = stats.chi2.ppf(1.0 - 1e-3 / 10, DRAWS)
        assert stats.chisquare(counts).statistic < limit, (name, counts)
