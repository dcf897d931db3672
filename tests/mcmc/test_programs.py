"""Whole programs whose posteriors are known in closed form, from `run` to the posterior."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.support.monte_carlo import agree

import sursum as su
import sursum.distributions as dist
from sursum.mcmc import MCMC, NUTS

SETTINGS = {"num_warmup": 200, "num_samples": 300, "num_chains": 2, "seed": 1, "progress": False}


def location(y):
    """y ~ Normal(mu, 1), with a parameter to be lifted."""
    mu = su.param("mu", torch.tensor(0.5))
    su.deterministic("twice", 2 * mu)
    with su.plate("row", len(y)):
        su.sample("y", dist.Normal(mu, 1.0), obs=y)


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_a_lifted_location_and_another_run_on_other_data():
    mcmc = MCMC(NUTS(su.lift(location, {"mu": dist.Normal(0.0, 2.0)})), **SETTINGS)
    for y in (torch.tensor([1.0, 2.0, 4.0]), torch.tensor([-3.0])):
        posterior = mcmc.run(y)
        precision = 1 / 4 + len(y)
        mean, sd = float(y.sum()) / precision, precision**-0.5
        draws = posterior["mu"]
        assert agree(draws.numpy()[..., None], mean, sd**2)
        torch.testing.assert_close(posterior["twice"], 2 * draws)
        assert draws.dtype == torch.float64
        assert posterior.dims["y"] == ("row",)
        assert torch.equal(posterior.observed["y"], y)
        assert posterior.latents == ("mu",)


@pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")
def test_a_positive_site_with_a_known_law():
    """Gamma(3, 2) seen through Poisson counts: the posterior is Gamma(3 + Σy, 2 + n), on the positive line."""
    y = torch.tensor([4.0, 6.0, 3.0])

    def counts():
        rate = su.sample("rate", dist.Gamma(3.0, 2.0))
        with su.plate("row", 3):
            su.sample("y", dist.Poisson(rate), obs=y)

    posterior = MCMC(NUTS(counts), **SETTINGS).run()
    shape, rate = 3.0 + 13.0, 2.0 + 3.0
    draws = posterior["rate"].numpy()
    assert draws.min() > 0
    assert agree(draws[..., None], shape / rate, shape / rate**2)
    np.testing.assert_allclose(np.log(draws), posterior.unconstrained[..., 0], rtol=1e-9, atol=1e-9)
    # The log density on the unconstrained line, up to a constant: the Jacobian adds one power of the rate.
    lp = posterior.stats["lp"].ravel()
    wanted = shape * np.log(draws.ravel()) - rate * draws.ravel()
    np.testing.assert_allclose(lp - lp[0], wanted - wanted[0], rtol=1e-6, atol=1e-6)
