"""Densities of Beta, Dirichlet and F numbers against mpmath, and in C, where the concentrations are large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mpmath import mp
from torch import Tensor

import sursum as su
import sursum.distributions as dist

D = torch.float64
#: Concentrations, and distances from the mean in standard deviations.
SIZES = [1e-150, 0.3, 20.0, 63.0, 1e16, 1e150]
AWAY = [0.0, -4.0]


def log_beta(a: Any, b: Any) -> Any:
    return mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)


def beta(a: Any, b: Any, x: Any) -> tuple[Any, Any]:
    """The logarithm of the density, and its derivative by x."""
    return (a - 1) * mp.log(x) + (b - 1) * mp.log(1 - x) - log_beta(a, b), (a - 1) / x - (b - 1) / (1 - x)


def ratio(a: Any, b: Any, x: Any) -> tuple[Any, Any]:
    a, b = a / 2, b / 2
    value = a * mp.log(a / b) + (a - 1) * mp.log(x) - (a + b) * mp.log(1 + a / b * x) - log_beta(a, b)
    return value, (a - 1) / x - (a + b) * a / (b + a * x)


@pytest.mark.parametrize(("kind", "formula"), [(dist.Beta, beta), (dist.FisherSnedecor, ratio)])
def test_concentrations_of_any_size(kind: Callable[..., Any], formula: Callable[..., Any]) -> None:
    """Within what the rounding of the value, and of the result, makes of the density."""
    checked = 0
    for a in SIZES:
        for b in SIZES:
            for away in AWAY:
                if kind is dist.Beta:
                    mean = a / (a + b)
                    x = mean + away * (mean * (1 - mean) / (a + b + 1)) ** 0.5
                else:
                    x = float(np.exp(away * (1 / max(a, 1.0) + 1 / max(b, 1.0)) ** 0.5))
                if not 1e-15 < x < (1 - 1e-15 if kind is dist.Beta else np.inf):
                    continue
                given = [torch.tensor(v, dtype=D, requires_grad=True) for v in (a, b, x)]
                found = kind(*given[:2]).log_prob(given[2])
                with mp.workdps(330 if 1e150 in (a, b) else 200):
                    wanted, slope = formula(*(mp.mpf(v) for v in (a, b, x)))
                close = 1e-13 + 2e-14 * abs(float(wanted)) + 5e-16 * abs(float(slope)) * x
                assert found.item() == pytest.approx(float(wanted), rel=0, abs=close), (a, b, x)
                assert all(bool(one.isfinite()) for one in torch.autograd.grad(found, given)), (a, b, x)
                checked += 1
    assert checked > 25


@pytest.mark.parametrize("size", [0.7, 30.0, 2.0**500])
def test_a_dirichlet_with_concentrations_of_any_size(size: float) -> None:
    """Values that are sums of powers of two, whose sum is 1 exactly."""
    a = torch.tensor([1.0, 2.0, 5.0], dtype=D) * size
    x = torch.tensor([[0.125, 0.25, 0.625], [0.25, 0.25, 0.5]], dtype=D)
    found = dist.Dirichlet(a).log_prob(x)
    with mp.workdps(400):
        exact = [mp.mpf(v) for v in a.tolist()]
        norm = mp.loggamma(sum(exact)) - sum(mp.loggamma(v) for v in exact)
        wanted = [float(norm + sum((v - 1) * mp.log(mp.mpf(y)) for v, y in zip(exact, row, strict=True))) for row in x.tolist()]
    np.testing.assert_allclose(found, wanted, rtol=1e-13)
    # Beside the simplex too, as the formula continues it there.
    inside = (0.9 * x).requires_grad_()
    (slope,) = torch.autograd.grad(dist.Dirichlet(a, validate_args=False).log_prob(inside).sum(), inside)
    torch.testing.assert_close(slope, (a - 1) / inside.detach(), rtol=1e-12, atol=0.0)


def test_ends_and_degenerate_concentrations() -> None:
    ends = torch.tensor([0.0, 1.0], dtype=D)
    np.testing.assert_array_equal(dist.Beta(torch.tensor(1.0, dtype=D), 1.0).log_prob(ends), [0.0, 0.0])
    np.testing.assert_array_equal(dist.Beta(torch.tensor(100.0, dtype=D), 3.0).log_prob(ends), [-np.inf, -np.inf])
    np.testing.assert_allclose(
        dist.Beta(torch.tensor(100.0, dtype=D), 1.0).log_prob(ends), [-np.inf, np.log(100.0)], rtol=1e-13
    )
    none = dist.Beta(torch.tensor(1e150, dtype=D), 0.0, validate_args=False).log_prob(torch.tensor(1e-9, dtype=D))
    assert float(none) == -np.inf


def test_they_are_compiled() -> None:
    """C computes what torch does, with latent concentrations on both sides of where the formula changes."""
    share, parts = torch.tensor(0.3, dtype=D), torch.tensor([0.2, 0.3, 0.5], dtype=D)

    def program(seen: Tensor) -> None:
        a, b = (su.sample(name, dist.LogNormal(torch.tensor(0.0, dtype=D), 1.0)) for name in "ab")
        su.sample("share", dist.Beta(a, b), obs=share)
        su.sample("ratio", dist.FisherSnedecor(a, b), obs=seen)
        su.sample("parts", dist.Dirichlet(torch.stack([a, b, a + b])), obs=parts)

    density = su.compile(program, torch.tensor(1.1, dtype=D))
    assert density.engine == "native"
    for q in (np.array([0.3, -0.2]), np.array([9.0, 9.5]), np.array([30.0, 5.0])):
        value, slope = density.value_and_grad(q)
        point = torch.from_numpy(q).requires_grad_()
        eager = density.density(point)
        assert value == pytest.approx(float(eager.detach()), rel=1e-12)
        np.testing.assert_allclose(slope, torch.autograd.grad(eager, point)[0], rtol=1e-9)


@pytest.mark.parametrize("eta", [0.3, 40.0, 1e6, 1e150])
def test_volumes_of_correlation_matrices(eta: float) -> None:
    """Of three dimensions, at the unit matrix, by the integrals over two balls."""
    given = torch.tensor(eta, dtype=D, requires_grad=True)
    with mp.workdps(400):
        e = mp.mpf(eta)
        rows = [(k, e + mp.mpf(2 - k) / 2) for k in (1, 2)]
        volume = sum(k * mp.log(mp.pi) / 2 + mp.loggamma(c) - mp.loggamma(c + mp.mpf(k) / 2) for k, c in rows)
    for fn in (dist.LKJ(3, given), dist.LKJCholesky(3, given)):
        found = fn.log_prob(torch.eye(3, dtype=D))
        assert found.item() == pytest.approx(-float(volume), rel=1e-13, abs=1e-13)
        slope = torch.autograd.grad(found, given)[0].item()
        if eta >= 1e6:
            assert slope == pytest.approx(1.5 / eta, rel=1e-5)


@pytest.mark.parametrize("size", [0.7, 30.0, 1e4, 1e150])
def test_students_of_any_freedom(size: float) -> None:
    """In one dimension, and without a skew, they are Student's."""
    given = torch.tensor(size, dtype=D, requires_grad=True)
    x = torch.tensor([0.0, 0.3, -4.0, 30.0], dtype=D)
    wanted = dist.StudentT(2 * given, 0.5, 2.0).log_prob(x)
    skew = dist.SkewStudentT(given, given, 0.5, 2.0).log_prob(x)
    several = dist.MultivariateStudentT(2 * given, torch.tensor([0.5], dtype=D), 2 * torch.eye(1, dtype=D)).log_prob(
        x.unsqueeze(-1)
    )
    for found in (skew, several):
        np.testing.assert_allclose(found.detach(), wanted.detach(), rtol=1e-13)
        assert bool(torch.autograd.grad(found.sum(), given, retain_graph=True)[0].isfinite())
    centred = dist.SkewStudentT(torch.tensor(1e8 * size, dtype=D), 1e8 * size)
    assert centred.variance.item() == pytest.approx(1.0, rel=1e-7)
