"""Inference in programs with a scan: posteriors, predictions, likelihoods."""

import numpy as np
import pytest
import torch
from tests.support.monte_carlo import agree

import sursum as su
import sursum.distributions as dist

T = 12
LEVEL, NOISE = 0.7, 0.5
Y = torch.tensor([0.1, -0.3, 0.4, 1.2, 1.0, 0.6, -0.5, -1.1, -1.0, -0.2, 0.9, 1.6])


def local_level(y):
    def step(x, y):
        x = su.sample("x", dist.Normal(x, LEVEL))
        su.sample("y", dist.Normal(x, NOISE), obs=y)
        return x, x

    su.deterministic("path", su.scan(step, torch.tensor(0.0), y)[1])


def exact():
    """Mean and covariance of the Gaussian posterior of x."""
    difference = np.eye(T) - np.eye(T, k=-1)
    covariance = np.linalg.inv(difference.T @ difference / LEVEL**2 + np.eye(T) / NOISE**2)
    return covariance @ (Y.double().numpy() / NOISE**2), covariance


@pytest.fixture(scope="module")
def posterior():
    return su.infer.MCMC(su.infer.NUTS(local_level), num_warmup=500, num_samples=1500, num_chains=2, seed=0).run(Y)


def test_the_posterior_is_the_smoothers(posterior):
    mean, covariance = exact()
    assert posterior["x"].shape == (2, 1500, T)
    assert torch.equal(posterior["x"], posterior["path"])
    # 12 means and 78 covariances.
    assert agree(posterior["x"].numpy(), mean, covariance, errors=4.5)


def test_predictions_and_likelihoods_by_step(posterior):
    likelihood = posterior.log_likelihood()["y"]
    wanted = dist.Normal(posterior["x"], NOISE).log_prob(Y.double())
    assert torch.allclose(likelihood, wanted, atol=1e-5)
    few = {"x": posterior["x"][0, :200]}
    prediction = su.infer.Predictive(local_level, few, seed=0, replicate=True)(Y)
    assert prediction["y"].shape == (200, T)
    error = (prediction["y"] - few["x"]) / NOISE
    assert float(error.mean()) == pytest.approx(0.0, abs=4.5 / (200 * T) ** 0.5)
    assert float(error.std()) == pytest.approx(1.0, abs=4.5 / (2 * 200 * T) ** 0.5)
    prior = su.infer.Predictive(local_level, num_samples=300, seed=1, replicate=True)(Y)
    assert prior["x"].shape == (300, T)
    steps = prior["x"].diff(dim=1) / LEVEL
    assert float(steps.std()) == pytest.approx(1.0, abs=4.5 / (2 * steps.numel()) ** 0.5)


def test_a_guide_with_a_scan_of_its_own():
    mean, covariance = exact()

    def guide(y):
        def step(_, row):
            su.sample("x", dist.Normal(row[0], row[1]))
            return None, None

        loc = su.param("loc", torch.zeros(T))
        sd = su.param("sd", torch.ones(T), constraint=dist.constraints.positive)
        su.scan(step, None, (torch.stack([loc, sd], 1)))

    svi = su.infer.SVI(local_level, guide, su.optim.Adam(lr=0.05), su.infer.Trace_ELBO(), seed=0)
    svi.run(300, Y)
    # The best factorised guide has the posterior's mean, and the variances given all others.
    found = svi.params["loc"].detach().numpy()
    assert np.abs(found - mean).max() < 0.25
    assert np.abs(svi.params["sd"].detach().numpy() / np.sqrt(1 / np.diag(np.linalg.inv(covariance))) - 1.0).max() < 0.35
