"""A run that starts from a fit takes its metric and step size, and is the same posterior after a short warm-up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.infer import MCMC, NUTS
from sursum.mcmc.earlier_fit import WARMUP, find_earlier_fit
from sursum.mcmc.mcmc import USUAL_WARMUP

pytestmark = pytest.mark.filterwarnings("ignore::sursum.errors.DiagnosticWarning")  # of short runs: bounds are on means

X = torch.tensor(np.random.default_rng(0).normal(size=(40, 3)) @ [[1.0, 1.0, 1.0], [0.0, 0.05, 0.0], [0.0, 0.0, 0.02]])
Y = torch.tensor(np.random.default_rng(1).normal(size=40))
PRECISION = X.T @ X + torch.eye(3, dtype=torch.float64)
"""Of the coefficients a posteriori; its condition number is 1e2, so that scales alone do not do."""
COVARIANCE = torch.linalg.inv(PRECISION).numpy()
SETTINGS = {"num_samples": 500, "num_chains": 2, "progress": False}


def regression(y=Y):
    beta = su.sample("beta", dist.Normal(torch.zeros(3, dtype=torch.float64), 1.0).to_event(1))
    su.sample("y", dist.Normal(X @ beta, 1.0).to_event(1), obs=y)


def run(**settings):
    return MCMC(NUTS(regression), **{"seed": 1, **SETTINGS, **settings}).run()


def warmup(posterior):
    return posterior.warmup.num_samples


def is_exact(posterior, y=Y):
    """The mean of each coefficient, within five of its Monte-Carlo standard errors."""
    mean = COVARIANCE @ (X.T @ y).numpy()
    ess = posterior.summary()["beta"]["ess_bulk"]
    off = (posterior["beta"].mean((0, 1)).numpy() - mean) / np.sqrt(np.diag(COVARIANCE) / ess)
    return np.abs(off).max() < 5.0 and ess.min() > 200.0


@pytest.fixture(scope="module")
def first():
    return MCMC(NUTS(regression), seed=0, **SETTINGS).run()


@pytest.fixture(scope="module")
def laplace():
    return su.infer.Laplace(regression, num_samples=500, seed=0).run()


@pytest.fixture(scope="module")
def svi():
    svi = su.infer.SVI(regression, su.infer.autoguide.AutoMultivariateNormal(regression), su.optim.Adam({"lr": 0.1}), seed=0)
    svi.run(400)
    return svi


def steps(posterior):
    return float(posterior.stats["n_steps"].mean())


def test_a_posterior_gives_metric_and_step_size(first):
    assert warmup(first) == USUAL_WARMUP
    again = run(init=first)
    assert warmup(again) == WARMUP
    assert is_exact(first)
    assert is_exact(again)
    # The same steps a draw, in the warm-up too, which takes at most a quarter of the steps.
    assert steps(again) < 1.5 * steps(first)
    assert again.warmup.stats["n_steps"].sum() < 0.3 * first.warmup.stats["n_steps"].sum()
    found = find_earlier_fit(first, su.compile(regression))
    assert found.metric.rank > 0
    assert found.step_size == first.stats["step_size"][:, -1].mean()


def test_an_approximation_gives_the_metric(first, laplace, svi):
    for fit in (laplace, svi):
        found = run(init=fit)
        assert warmup(found) == WARMUP
        assert is_exact(found)
        assert steps(found) < 1.5 * steps(first)


@pytest.mark.parametrize("fit", ["first", "laplace", "svi"])
def test_a_metric_that_is_given_is_that_of_the_fit(first, fit, request):
    found = MCMC(NUTS(regression, metric=request.getfixturevalue(fit)), num_warmup=100, seed=2, **SETTINGS).run()
    assert is_exact(found)
    assert steps(found) < 1.5 * steps(first)
    scales = MCMC(NUTS(regression, metric=np.diag(COVARIANCE)), num_warmup=100, seed=2, **SETTINGS).run()
    assert steps(scales) > 2.0 * steps(found)


def test_other_data_are_sampled_as_well(first):
    other = Y + 3.0 * X[:, 0]
    found = MCMC(NUTS(regression), seed=1, init=first, **SETTINGS).run(other)
    assert warmup(found) == WARMUP
    assert is_exact(found, other)


def test_what_is_asked_for_comes_first(first):
    assert warmup(run(init=first, num_warmup=30)) == 30
    assert warmup(MCMC(NUTS(regression, metric="diagonal"), init=first, seed=1, **SETTINGS).run()) == USUAL_WARMUP


def test_a_fit_of_other_coordinates_or_one_that_cannot_be_trusted_gives_a_start_only(first, laplace):
    compiled = su.compile(regression)
    nothing = {"mu": torch.zeros(1, 5)}
    for other in (
        None,
        {"beta": np.zeros(3)},
        su.Posterior(nothing, {}, np.zeros((1, 5, 1))),
        replace(laplace, pareto_k=0.8),
        replace(laplace, pareto_k=float("nan"), stats={"log_weight": np.full((1, 500), -np.inf)}),
        replace(first, unconstrained=np.repeat(first.unconstrained[:, :1], 500, axis=1)),
    ):
        assert find_earlier_fit(other, compiled) is None
    assert find_earlier_fit(replace(laplace, pareto_k=0.5), compiled).step_size is None
    assert np.isnan(laplace.pareto_k)  # the approximation is exact: its weights are all alike
    assert find_earlier_fit(laplace, compiled) is not None


def test_coordinates_of_one_name_and_another_support_are_others():
    """The logarithm of a site that was real before."""

    def model(prior):
        su.sample("s", prior)

    real = MCMC(NUTS(model), seed=0, **SETTINGS).run(dist.Normal(torch.tensor(2.0, dtype=torch.float64), 0.1))
    same = su.compile(model, dist.Normal(torch.tensor(2.0, dtype=torch.float64), 0.2))
    other = su.compile(model, dist.LogNormal(torch.tensor(0.7, dtype=torch.float64), 0.1))
    assert find_earlier_fit(real, same) is not None
    assert find_earlier_fit(real, other) is None
