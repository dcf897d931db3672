"""Independent draws as a posterior of one chain, and their log densities."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from tests.support import regression

import sursum as su
import sursum.distributions as dist
from sursum.draws.psis import verdict
from sursum.errors import DiagnosticWarning
from sursum.optimise.approximation import as_posterior, log_densities

X, Y, MEAN, COVARIANCE = regression.problem()
DRAWS = np.random.default_rng(0).normal(size=(6, 3))


@pytest.fixture(scope="module")
def density():
    return su.compile(regression.program, X, Y, engine="torch")


def test_log_densities_by_closed_form(density):
    found = log_densities(density, DRAWS)
    away = DRAWS - MEAN
    quadratic = -0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(COVARIANCE), away)
    np.testing.assert_allclose(found - found[0], quadratic - quadratic[0], rtol=1e-10)


def test_what_is_no_density_counts_as_none():
    def program():
        x = su.sample("x", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
        su.factor("f", torch.where(x > 1.0, torch.inf, torch.where(x < -1.0, torch.nan, 0.0)))

    found = log_densities(su.compile(program, engine="torch"), np.array([[2.0], [-2.0], [0.0]]))
    assert found[:2].tolist() == [-np.inf, -np.inf]
    assert found[2] == pytest.approx(-0.5 * np.log(2 * np.pi), rel=1e-12)


def test_a_posterior_of_one_chain(density):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = as_posterior(density, DRAWS, {"log_weight": np.arange(6.0)}, pareto_k=0.1)
    np.testing.assert_array_equal(found["w"], DRAWS[None])
    np.testing.assert_array_equal(found.unconstrained, DRAWS[None])
    np.testing.assert_array_equal(found.stats["log_weight"], np.arange(6.0)[None])
    assert (found.latents, found.coordinates) == (("w",), ("w[0]", "w[1]", "w[2]"))
    assert found.dims == {"w": ("w_dim_0",), "y": ("row",)}
    assert torch.equal(found.observed["y"], Y)
    assert (found.warnings, found.pareto_k) == ((), 0.1)


def test_doubts_are_warned_of_at_the_callers_line_and_kept(density):
    with pytest.warns(DiagnosticWarning) as caught:
        found = as_posterior(density, DRAWS, {}, pareto_k=2.0, doubts=("It is bent.",))
    said = [str(one.message) for one in caught]
    assert said == ["It is bent.", *verdict(2.0)]
    assert len(said) == 2
    assert found.warnings == tuple(said)
    assert {one.filename for one in caught} == {__file__}
