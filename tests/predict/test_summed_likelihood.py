"""The likelihood of observations that depend on discrete sites, against sums by hand."""

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import DensityError

Y = torch.tensor([0.1, 2.0, -1.0], dtype=torch.float64)
MU = torch.as_tensor(np.random.default_rng(0).normal(size=(4, 2)))
WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)


def test_of_a_mixture_one_number_for_each_observation():
    def model(y):
        mu = su.sample("mu", dist.Normal(torch.zeros(2), 3.0).to_event(1))
        with su.scale(scale=3.0), su.plate("rows", len(y)):
            k = su.sample("k", dist.Categorical(WEIGHTS))
            su.sample("y", dist.Normal(mu[k], 1.0), obs=y)

    found = su.infer.log_likelihood(model, {"mu": MU}, Y)["y"]
    exact = torch.logsumexp(WEIGHTS.log() + dist.Normal(MU[:, None, :], 1.0).log_prob(Y[:, None]), -1)
    np.testing.assert_allclose(found, exact, rtol=1e-9)


def test_of_observations_that_share_a_site_one_number():
    """And the density of a continuous site given the discrete one is no part of it."""

    def model(y):
        mu = su.sample("mu", dist.Normal(torch.zeros(2), 3.0).to_event(1))
        k = su.sample("k", dist.Categorical(WEIGHTS))
        x = su.sample("x", dist.Normal(1.0 * k, 1.0))
        with su.plate("rows", len(y)):
            su.sample("y", dist.Normal(mu[k] + x, 1.0), obs=y)
            su.sample("u", dist.Normal(mu[k], 1.0), obs=y)
            su.sample("v", dist.Normal(mu[0], 1.0), obs=y)

    x = torch.tensor([0.3, -1.0, 0.0, 2.0], dtype=torch.float64)
    found = su.infer.log_likelihood(model, {"mu": MU, "x": x}, Y)
    assert {name: tuple(value.shape) for name, value in found.items()} == {"v": (4, 3), "y & u": (4,)}
    prior = WEIGHTS.log() + dist.Normal(torch.arange(2.0), 1.0).log_prob(x[:, None])
    seen = dist.Normal(MU[:, None, :] + x[:, None, None], 1.0).log_prob(Y[:, None]).sum(1)
    seen = seen + dist.Normal(MU[:, None, :], 1.0).log_prob(Y[:, None]).sum(1)
    exact = torch.logsumexp(prior + seen, -1) - torch.logsumexp(prior, -1)
    np.testing.assert_allclose(found["y & u"], exact, rtol=1e-6)


def test_of_a_hidden_chain_one_number_for_each_series():
    matrix = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
    y = torch.as_tensor(np.random.default_rng(1).normal(size=(5, 3)))

    def model(y):
        mu = su.sample("mu", dist.Normal(torch.zeros(2), 1.0).to_event(1))

        def step(z, y):
            with su.plate("series", 3):
                z = su.sample("z", dist.Categorical(matrix[z]))
                su.sample("y", dist.Normal(mu[z], 1.0), obs=y)
            return z, None

        su.scan(step, torch.zeros(3, dtype=torch.long), y)

    found = su.infer.log_likelihood(model, {"mu": MU}, y)["y"]
    for k in range(4):
        for series in range(3):
            alpha = matrix[0].log()
            for t in range(5):
                alpha = alpha if not t else torch.logsumexp(alpha[:, None] + matrix.log(), 0)
                alpha = alpha + dist.Normal(MU[k], 1.0).log_prob(y[t, series])
            assert abs(float(found[k, series] - torch.logsumexp(alpha, 0))) < 1e-9


def test_a_program_that_is_not_written_for_all_values():
    def model(y):
        mu = su.sample("mu", dist.Normal(torch.zeros(2), 3.0).to_event(1))
        k = su.sample("k", dist.Categorical(WEIGHTS))
        with su.plate("rows", len(y)):
            su.sample("y", dist.Normal(mu[k].sum(), 1.0), obs=y)

    with pytest.raises(DensityError, match="'y' .* is not the same"):
        su.infer.log_likelihood(model, {"mu": MU}, Y)
