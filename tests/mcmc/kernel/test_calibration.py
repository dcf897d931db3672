"""Simulation-based calibration of the kernels: parameters from the prior, data from these, and their ranks among draws.

The whole joint distribution is exact, whatever the posterior looks like: a hierarchy of few groups, with a scale that the data
hardly determine.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

import sursum as su
import sursum.distributions as dist
from sursum.infer import HMC, MCMC, NUTS, WALNUTS

GROUPS, DRAWS, EVERY, SIMULATIONS = 4, 15, 20, 320

QUANTITIES = ("mu", "log_tau", "theta", "log likelihood")


def hierarchy(y):
    mu = su.sample("mu", dist.Normal(0.0, 1.0))
    log_tau = su.sample("log_tau", dist.Normal(0.0, 0.5))
    theta = su.sample("theta", dist.Normal(mu, log_tau.exp()).expand([GROUPS]).to_event(1))
    su.sample("y", dist.Normal(theta, 1.0).to_event(1), obs=y)


def simulate(rng):
    mu, log_tau = rng.normal(), 0.5 * rng.normal()
    theta = mu + np.exp(log_tau) * rng.normal(size=GROUPS)
    return mu, log_tau, theta, theta + rng.normal(size=GROUPS)


@pytest.fixture(scope="module")
def simulations():
    """For each simulation the parameters, the data, and the density."""
    rng = np.random.default_rng(0)
    density = su.compile(hierarchy, torch.zeros(GROUPS, dtype=torch.float64))
    found = [simulate(rng) for _ in range(SIMULATIONS)]
    return [(*one, density.with_data(torch.from_numpy(one[-1]))) for one in found]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
@pytest.mark.parametrize("kernel", [NUTS, HMC, WALNUTS])
def test_ranks_are_uniform(kernel, simulations):
    """Each 20th of 300 draws: these are independent but for what 20 transitions leave, and so the ranks are uniform."""
    ranks = np.zeros((len(QUANTITIES), SIMULATIONS), dtype=int)
    settings = {"num_warmup": 400, "num_samples": DRAWS * EVERY, "num_chains": 1, "thin": EVERY, "progress": False}
    for k, (mu, log_tau, theta, y, density) in enumerate(simulations):
        run = MCMC(kernel(hierarchy, target_accept=0.9), seed=k, **settings).prepared(density)
        run.work()
        q = {name: run.silently()[name][0].numpy() for name in ("mu", "log_tau", "theta")}
        truth = (mu, log_tau, theta[0], stats.norm.logpdf(y, theta).sum())
        found = (q["mu"], q["log_tau"], q["theta"][:, 0], stats.norm.logpdf(y, q["theta"]).sum(axis=1))
        ranks[:, k] = [(draws < value).sum() for draws, value in zip(found, truth, strict=True)]
    for name, row in zip(QUANTITIES, ranks, strict=True):
        counts = np.bincount(row, minlength=DRAWS + 1)
        # One test in a thousand fails by chance, of the twelve of all kernels together.
        limit = stats.chi2.ppf(1.0 - 1e-3 / 12, DRAWS)
        assert stats.chisquare(counts).statistic < limit, (name, counts)
