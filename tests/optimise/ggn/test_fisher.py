"""The Fisher information of each family, against the covariance of the score by integration or by exact sums."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import sursum.distributions as dist
from sursum.errors import OptimisationError
from sursum.optimise.ggn.fisher import fisher_root

double = lambda *values: torch.tensor(values, dtype=torch.float64)
GRID = torch.linspace(-60.0 + 1.5e-4, 60.0 - 1.5e-4, 400_000, dtype=torch.float64)
POSITIVE = torch.linspace(1e-7, 120.0, 400_001, dtype=torch.float64)
COUNTS = torch.arange(0.0, 400.0, dtype=torch.float64)

FAMILIES: dict[str, tuple[Any, tuple[Tensor, ...], Tensor, float]] = {
    "normal": (lambda a, b: dist.Normal(a, b), (double(0.3), double(0.7)), GRID, 3e-4),
    "log-normal": (lambda a, b: dist.LogNormal(a, b), (double(0.1), double(0.4)), POSITIVE, 3e-4),
    "laplace": (lambda a, b: dist.Laplace(a, b), (double(0.3), double(0.7)), GRID, 3e-4),
    "student": (lambda a, b: dist.StudentT(5.0, a, b), (double(0.3), double(0.7)), GRID, 3e-4),
    "bernoulli": (lambda a: dist.Bernoulli(logits=a), (double(0.4),), double(0.0, 1.0), 1.0),
    "bernoulli by probability": (lambda a: dist.Bernoulli(a), (double(0.3),), double(0.0, 1.0), 1.0),
    "binomial": (lambda a: dist.Binomial(7, logits=a), (double(0.4),), COUNTS[:8], 1.0),
    "negative binomial": (lambda a: dist.NegativeBinomial(4.0, logits=a), (double(0.4),), COUNTS, 1.0),
    "negative binomial by probability": (lambda a: dist.NegativeBinomial(4.0, a), (double(0.6),), COUNTS, 1.0),
    "poisson": (lambda a: dist.Poisson(a), (double(2.5),), COUNTS, 1.0),
    "exponential": (lambda a: dist.Exponential(a), (double(0.8),), POSITIVE, 3e-4),
    "gamma": (lambda a, b: dist.Gamma(a, b), (double(2.3), double(1.4)), POSITIVE, 3e-4),
    "categorical": (lambda a: dist.Categorical(logits=a), (double(0.2, -0.5, 1.0)[None],), double(0, 1, 2), 1.0),
    "categorical by probability": (lambda a: dist.Categorical(a), (double(0.2, 0.5, 0.3)[None],), double(0, 1, 2), 1.0),
    "one-hot": (lambda a: dist.OneHotCategorical(logits=a), (double(0.2, -0.5, 1.0)[None],), torch.eye(3).double(), 1.0),
}


def information(make: Any, theta: tuple[Tensor, ...]) -> Tensor:
    """Jᵀ F J in the arguments of the family."""
    theta = tuple(t.clone().requires_grad_() for t in theta)
    root = fisher_root(make(*theta), "site 'y'")
    rows = [
        torch.cat([g.reshape(-1) for g in torch.autograd.grad(root.tensors, theta, column, retain_graph=True)])
        for column in root.columns
    ]
    return sum(row[:, None] * row for row in rows)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_the_covariance_of_the_score(name: str) -> None:
    make, theta, values, width = FAMILIES[name]

    rows = tuple(t.expand(len(values), *t.shape[1:]).clone().requires_grad_() for t in theta)
    log_prob = make(*rows).log_prob(values)
    scores = torch.cat([s.reshape(len(values), -1) for s in torch.autograd.grad(log_prob.sum(), rows)], 1)
    weights = log_prob.detach().exp() * width
    expected = scores.mT @ (scores * weights[:, None])
    torch.testing.assert_close(information(make, theta), expected, rtol=2e-4, atol=2e-6)


def test_a_normal_of_many_dimensions() -> None:
    tril = double(1.0, 0.0, 0.0, 0.3, 1.2, 0.0, -0.4, 0.2, 0.7).reshape(3, 3)
    found = information(lambda loc: dist.MultivariateNormal(loc, scale_tril=tril), (double(0.1, 0.2, 0.3)[None],))
    torch.testing.assert_close(found, torch.linalg.inv(tril @ tril.mT))


def test_what_is_not_known() -> None:
    with pytest.raises(OptimisationError, match="site 'y' is a VonMises, whose Fisher information is not known"):
        fisher_root(dist.VonMises(0.0, 1.0), "site 'y'")
    with pytest.raises(OptimisationError, match="`df` of the StudentT of site 'y' depends on the unknowns"):
        fisher_root(dist.StudentT(torch.tensor(3.0, requires_grad=True), 0.0, 1.0), "site 'y'")
