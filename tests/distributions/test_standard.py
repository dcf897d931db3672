"""Densities that torch loses the digits of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


@pytest.mark.parametrize(
    "fn",
    [
        dist.Categorical(torch.ones(3)),
        dist.Multinomial(4, torch.ones(3)),
        dist.OneHotCategorical(torch.ones(3)),
        dist.OneHotCategoricalStraightThrough(torch.ones(3)),
        dist.MixtureSameFamily(dist.Categorical(torch.ones(3)), dist.Normal(torch.zeros(3), 1.0)),
        dist.Empirical(torch.arange(3.0), torch.zeros(3)),
    ],
    ids=lambda fn: type(fn).__name__,
)
def test_no_draws_are_as_any_number_of_them(fn: dist.Distribution) -> None:
    none, one = fn.sample((2, 0)), fn.sample((2, 1))
    assert none.shape == (2, 0, *fn.event_shape)
    assert none.dtype == one.dtype
    assert fn.log_prob(none).shape == (2, 0)


@pytest.mark.parametrize(
    "fn",
    [dist.Categorical, dist.OneHotCategorical, lambda p: dist.Multinomial(4, p), lambda p: dist.DirichletMultinomial(p, 4)],
)
def test_batches_of_none_are_drawn(fn: Callable[..., Any]) -> None:
    empty = fn(torch.ones(3)).expand([2, 0])
    drawn = empty.sample((4,))
    assert drawn.shape == (4, 2, 0, *empty.event_shape)
    assert empty.log_prob(drawn).shape == (4, 2, 0)


@pytest.mark.parametrize("q", [1e-3, 0.4, 1 - 1e-3, 1 - 1e-8, 1 - 2.0**-53])
@pytest.mark.parametrize("beta", [1e-8, 0.3, 1.0, 4.0, 1e8])
def test_a_discrete_weibull_next_to_its_ends(q: float, beta: float) -> None:
    x = double(0.0, 1.0, 2.0, 7.0, 1e6)
    given = double(q).squeeze().requires_grad_(), double(beta).squeeze().requires_grad_()
    found = dist.DiscreteWeibull(*given).log_prob(x)
    with mp.workdps(120):
        rate, b = -mp.log(mp.mpf(q)), mp.mpf(beta)
        exact = []
        for one in map(float, x):
            if one and b * mp.log(one + 1) > 5000:  # of so large a power mpmath makes no exponential
                exact.append(-rate if one == 1 else -mp.inf)
                continue
            power = mp.mpf(one) ** b if one else mp.mpf(0)
            exact.append(-rate * power + mp.log(-mp.expm1(-rate * ((one + 1) ** b - power))))
    wanted = np.array([float(max(one, -1e300)) for one in exact])  # or less
    np.testing.assert_allclose(found.detach().clamp(min=-1e300), wanted, rtol=1e-13 if beta < 1e3 else 1e-8)
    for one in found:
        assert all(bool(slope.isfinite()) for slope in torch.autograd.grad(one, given, retain_graph=True))


def test_vectors_of_which_there_are_none() -> None:
    normal = dist.MultivariateNormal(torch.zeros(3), torch.eye(3)).expand([0])
    assert normal.log_prob(normal.sample((4,))).shape == (4, 0)
    walk = dist.AR(double(0.3, 0.1), double(1.0).squeeze(), 3).expand([2, 0])
    assert walk.log_prob(walk.sample((4,))).shape == (4, 2, 0)


@pytest.mark.parametrize(
    ("make", "zero"),
    [
        (lambda g: dist.HurdleDistribution(dist.Poisson(double(2.0).squeeze()), gate=g), 0.0),
        (lambda g: dist.HurdleGamma(g, double(2.0).squeeze(), 1.0), 0.0),
        (lambda g: dist.ZeroInflatedPoisson(double(2.0).squeeze(), gate=g), 0.0),
        (lambda g: dist.ZeroInflatedNegativeBinomial(double(2.0).squeeze(), logits=0.3, gate=g), 0.0),
    ],
)
def test_a_gate_that_is_shut_for_good(make: Callable[..., Any], zero: float) -> None:
    """As the sigmoid of 40 is: a zero is certain, with a gradient, and nothing else is possible."""
    gate = double(1.0, 1.0).requires_grad_()
    found = make(gate[:1]).log_prob(double(0.0))
    assert found.item() == zero
    assert torch.autograd.grad(found.sum(), gate)[0][0].item() == pytest.approx(1.0, abs=0.2)
    assert make(gate[:1]).log_prob(double(1.0)).item() == -np.inf


@pytest.mark.parametrize("gate", [1e-9, 0.3, 0.5, 0.999999, 1.0])
@pytest.mark.parametrize("rate", [0.5, 900.0])
def test_the_probability_of_a_zero_has_a_slope_for_every_gate(gate: float, rate: float) -> None:
    """g + (1 − g) p₀, where p₀ may be less than any double."""
    g, none = double(gate).squeeze().requires_grad_(), np.exp(-rate)
    found = dist.ZeroInflatedPoisson(double(rate).squeeze(), gate=g).log_prob(double(0.0).squeeze())
    zero = gate + (1 - gate) * none
    assert found.item() == pytest.approx(np.log(zero), rel=1e-13, abs=1e-15)
    assert torch.autograd.grad(found, g)[0].item() == pytest.approx((1 - none) / zero, rel=1e-13)


def test_a_hazard_that_overflows_leaves_others_a_slope() -> None:
    """Of a mixture of censored and seen lifetimes, of a density that is next to none."""
    shape = double(1e8).squeeze().requires_grad_()
    for base in (dist.Weibull(double(1.0).squeeze(), shape), dist.Frechet(double(1.0).squeeze(), shape)):
        x = double(1.1 if isinstance(base, dist.Weibull) else 0.9)
        side = dist.RightCensoredDistribution if isinstance(base, dist.Weibull) else dist.LeftCensoredDistribution
        found = side(base, True).log_prob(x)
        assert bool((found < -1e300).all())
        assert bool(torch.autograd.grad(found.sum(), shape)[0].isfinite())


def test_a_density_between_points_of_different_size() -> None:
    fn = dist.Interpolated(double(0.0, 1.0, 2.0), double(1.0, 1e150, 0.5))
    np.testing.assert_allclose(fn.log_prob(double(0.0, 0.5, 2.0)), np.log([1e-150, 0.5, 0.5e-150]), rtol=1e-14)


@pytest.mark.parametrize("spread", [1e-150, 1e-3, 1e6, 1e140])
def test_groups_that_are_far_apart(spread: float) -> None:
    """A pair with a common mean: its sum and its difference are independent."""
    x, noise = double(3.0, 3.5), 0.1
    found = dist.GroupedNormalNormal(double(1.0), spread, noise, torch.tensor([0, 0])).log_prob(x)
    with mp.workdps(400):
        s2, t2 = mp.mpf(noise) ** 2, mp.mpf(spread) ** 2
        parts = [(mp.mpf(4.5) / mp.sqrt(2), s2 + 2 * t2), (mp.mpf(0.5) / mp.sqrt(2), s2)]
        wanted = sum(-(z**2) / (2 * v) - mp.log(2 * mp.pi * v) / 2 for z, v in parts)
    assert found.item() == pytest.approx(float(wanted), rel=1e-13)
