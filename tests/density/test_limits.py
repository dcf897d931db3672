"""The bounds of discrete coordinates: constant ones, those that another site decides, and programs without any."""

from __future__ import annotations

import numpy as np
import torch

import sursum as su
import sursum.distributions as dist
from sursum.density.log_density import LogDensity
from sursum.handlers.enumerate.held import Held


def limits(program):
    return LogDensity(Held(program, sites=("n", "k"))).limits


def test_bounds_of_the_support():
    def program():
        p = su.sample("p", dist.Beta(2.0, 2.0))
        with su.plate("two", 2):
            su.sample("n", dist.Poisson(3.0))
        su.sample("k", dist.Binomial(5, p))
        su.sample("y", dist.Normal(p, 1.0), obs=torch.tensor(0.3))

    np.testing.assert_array_equal(limits(program), [[0.0, np.inf], [0.0, np.inf], [0.0, 5.0]])


def test_a_bound_that_another_site_decides_is_left_open():
    def program():
        n = su.sample("n", dist.Poisson(3.0))
        k = su.sample("k", dist.Binomial(n + 2.0, 0.5))
        su.sample("y", dist.Normal(k, 1.0), obs=torch.tensor(0.3))

    np.testing.assert_array_equal(limits(program), [[0.0, np.inf], [0.0, np.inf]])


def test_a_program_without_discrete_coordinates_has_none():
    assert LogDensity(lambda: su.sample("x", dist.Normal(0.0, 1.0))).limits.shape == (0, 2)
