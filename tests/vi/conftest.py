"""Small programs on which what variational inference should find is known in closed form."""

import pytest
import torch

import sursum as su
import sursum.distributions as dist


@pytest.fixture
def normal_normal():
    """Two correlated coefficients of a linear regression with known noise, in float64: the posterior is normal."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 2, generator=generator, dtype=torch.float64) @ torch.tensor([[1.0, 0.6], [0.0, 0.8]]).double()
    y = x @ torch.tensor([1.0, -0.5]).double() + 0.7 * torch.randn(20, generator=generator, dtype=torch.float64)

    def model(x, y):
        w = su.sample("w", dist.Normal(torch.zeros(2).double(), 1.5).to_event(1))
        with su.plate("data", len(y)):
            su.sample("y", dist.Normal(x @ w, 0.7), obs=y)

    precision = torch.eye(2).double() / 1.5**2 + x.T @ x / 0.7**2
    mean = torch.linalg.solve(precision, x.T @ y / 0.7**2)
    covariance = 1.5**2 * x @ x.T + 0.7**2 * torch.eye(20).double()
    evidence = torch.distributions.MultivariateNormal(torch.zeros(20).double(), covariance).log_prob(y)
    return model, (x, y), mean, precision, evidence
