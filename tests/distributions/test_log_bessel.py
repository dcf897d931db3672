"""Bessel functions of any argument, and the angles that need them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mpmath import mp

import sursum as su
import sursum.distributions as dist
from sursum.distributions.log_bessel import log_i0e

D = torch.float64
SIZES = [0.0, 1e-9, 0.7, 12.0, 39.999, 40.001, 300.0, 1e8]


def test_logarithms_and_slopes_are_those_of_mpmath() -> None:
    x = torch.tensor([*SIZES, 1e150], dtype=D, requires_grad=True)
    found = log_i0e(x)
    (slope,) = torch.autograd.grad(found.sum(), x)
    with mp.workdps(60):
        values = [mp.mpf(one) for one in SIZES]
        wanted = [float(mp.log(mp.besseli(0, one)) - one) for one in values]
        slopes = [float(mp.besseli(1, one) / mp.besseli(0, one) - 1) for one in values]
    np.testing.assert_allclose(found.detach(), [*wanted, -0.5 * np.log(2 * np.pi * 1e150)], rtol=2e-14, atol=1e-15)
    np.testing.assert_allclose(slope[1:], [*slopes[1:], -0.5e-150], rtol=2e-13, atol=1e-15)  # at 0 torch's is that of x and −x


@pytest.mark.parametrize("kappa", [1e-3, 0.7, 39.0, 41.0, 1e6, 1e150])
def test_a_von_mises_of_any_concentration(kappa: float) -> None:
    """By mpmath; near the mean of a large one it is a normal density."""
    away = torch.tensor([0.0, 0.3, 1.0], dtype=D) / max(kappa, 1.0) ** 0.5
    found = dist.VonMises(torch.tensor(0.0, dtype=D), kappa).log_prob(away)
    if kappa > 1e100:
        wanted = 0.5 * np.log(kappa / (2 * np.pi)) - kappa * away.numpy() ** 2 / 2
    else:
        with mp.workdps(40 + int(np.log10(kappa) + 3)):
            k = mp.mpf(kappa)
            norm = mp.log(2 * mp.pi * mp.besseli(0, k))
            wanted = [float(k * mp.cos(mp.mpf(float(one))) - norm) for one in away]
    np.testing.assert_allclose(found, wanted, rtol=1e-13)


def test_a_von_mises_in_c() -> None:
    y = torch.tensor([0.3, -2.5], dtype=D)

    def program() -> None:
        kappa = su.sample("kappa", dist.LogNormal(torch.tensor(0.0, dtype=D), 1.0))
        su.sample("y", dist.VonMises(torch.tensor(0.2, dtype=D), kappa).expand([2]).to_event(1), obs=y)

    density = su.compile(program)
    assert density.engine == "native"
    for q in (-1.0, 3.0, 4.0, 20.0):
        value, slope = density.value_and_grad(np.array([q]))
        point = torch.tensor([q], dtype=D, requires_grad=True)
        eager = density.density(point)
        assert value == pytest.approx(float(eager.detach()), rel=1e-13)
        assert slope[0] == pytest.approx(float(torch.autograd.grad(eager, point)[0]), rel=1e-12)
