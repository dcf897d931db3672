"""Densities that torch loses the digits of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mpmath import mp
from scipy import stats

import sursum as su
import sursum.distributions as dist

D = torch.float64


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=D)


@pytest.mark.parametrize("df", [1e-3, 0.5, 3.0, 1e3, 1e8, 1e150])
def test_a_student_t_of_any_degrees_of_freedom(df: float) -> None:
    """From 10⁸ on torch's own has eight digits fewer, and from 10¹⁶ on none."""
    x = double(0.0, 0.3, 4.0)
    found = dist.StudentT(double(df).squeeze(), 0.0, 1.0).log_prob(x)
    with mp.workdps(200):
        v = mp.mpf(df)
        norm = mp.loggamma((v + 1) / 2) - mp.loggamma(v / 2) - mp.log(v * mp.pi) / 2
        wanted = [float(norm - (v + 1) / 2 * mp.log1p(mp.mpf(float(one)) ** 2 / v)) for one in x]
    np.testing.assert_allclose(found, wanted, rtol=2e-14)


def test_a_student_t_in_c() -> None:
    def program(y: torch.Tensor) -> None:
        df = su.sample("df", dist.LogNormal(double(0.0).squeeze(), 1.0))
        su.sample("y", dist.StudentT(df, 0.0, 2.0).expand([2]).to_event(1), obs=y)

    y = double(0.3, -5.0)
    density = su.compile(program, y)
    assert density.engine == "native"
    for q in (-3.0, 1.0, 18.0):
        value, slope = density.value_and_grad(np.array([q]))
        wanted = stats.norm.logpdf(q) + dist.StudentT(double(np.exp(q)), 0.0, 2.0).log_prob(y).sum()
        assert value == pytest.approx(float(wanted), rel=1e-13)
        h = 1e-4
        ends = [float(dist.StudentT(double(np.exp(q + s)), 0.0, 2.0).log_prob(y).sum()) for s in (h, -h)]
        assert slope[0] == pytest.approx(-q + (ends[0] - ends[1]) / (2 * h), abs=1e-6)


def test_a_weibull_density_whose_power_underflows() -> None:
    found = dist.Weibull(double(1.0).squeeze(), 200.0).log_prob(double(0.01, 0.5, 1.1))
    size = np.log([0.01, 0.5, 1.1])
    np.testing.assert_allclose(found, np.log(200.0) + 199 * size - np.exp(200 * size), rtol=1e-13)


@pytest.mark.parametrize(
    "fn",
    [
        dist.Poisson(double(2.5).squeeze()),
        dist.Binomial(40, double(0.3).squeeze()),
        dist.NegativeBinomial(double(3.0).squeeze(), double(0.3).squeeze()),
        dist.LogNormal(double(0.0).squeeze(), 1.0),
        dist.FisherSnedecor(double(2.0).squeeze(), 3.0),
        dist.BetaBinomial(double(1.3).squeeze(), 2.0, 40),
        dist.AsymmetricLaplace(double(0.3).squeeze(), 1.0, 2.0),
        dist.Geometric(double(0.3).squeeze()),
        dist.GammaPoisson(double(2.0).squeeze(), 0.3),
    ],
    ids=lambda fn: type(fn).__name__,
)
def test_integers_are_scored_in_the_precision_of_the_arguments(fn: dist.Distribution) -> None:
    """Not in torch's default dtype: a logarithm of integers is a float32."""
    value = torch.tensor([1, 3, 30])
    found = fn.log_prob(value)
    assert found.dtype == D
    torch.testing.assert_close(found, fn.log_prob(value.double()), rtol=1e-15, atol=0.0)


def test_vectors_of_which_there_are_none() -> None:
    normal = dist.MultivariateNormal(torch.zeros(3), torch.eye(3)).expand([0])
    assert normal.log_prob(normal.sample((4,))).shape == (4, 0)
    walk = dist.AR(double(0.3, 0.1), double(1.0).squeeze(), 3).expand([2, 0])
    assert walk.log_prob(walk.sample((4,))).shape == (4, 2, 0)
