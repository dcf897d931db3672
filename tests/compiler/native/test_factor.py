"""The gradient through a Cholesky factorisation: one C function in the place of torch's six operators."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compiler.native.agreement import compiled, matrix
from tests.support.few import few

import sursum as su
import sursum.distributions as dist


def covariance(a, q, batch):
    """A covariance that depends on three numbers and on data."""
    n = len(a)
    lead = 1.0 + 0.1 * torch.arange(int(np.prod(batch)), dtype=torch.float64).reshape(*batch, 1, 1)
    spread = q[0].exp() * a + q[1] * torch.eye(n, dtype=torch.float64)
    return spread @ spread.mT * lead / n + (0.1 + q[2].exp()) * torch.eye(n, dtype=torch.float64)


def program(n, batch=(), use=None, **options):
    """A density that is any function of all elements of a factor."""
    data, weight = matrix(n, n, seed=n), matrix(n, n, seed=1 + n)

    def run():
        q = su.sample("q", dist.Normal(torch.zeros(3, dtype=torch.float64), 1.0).to_event(1))
        factor = torch.linalg.cholesky(covariance(data, q, batch), **options)
        su.factor("f", use(factor) if use is not None else -((factor - weight) ** 2).sum() / n)

    return run


@pytest.mark.parametrize("n", few([1, 2, 3, 7, 24, 25, 47, 48, 49, 73, 130], [1, 3, 25, 47, 48, 73]))
def test_the_gradient_is_that_of_torch_for_every_size(n):
    density = compiled(program(n))
    assert ("su_factor_gradient_blas" in density.source) == (n >= 48)
    assert "su_factor_gradient" in density.source
    assert "su_solve" not in density.source


@pytest.mark.parametrize("n", [3, 60])
@pytest.mark.parametrize("batch", [(2,), (3, 2)])
def test_of_every_matrix_of_a_batch(n, batch):
    assert "su_factor_gradient" in compiled(program(n, batch)).source


@pytest.mark.parametrize("n", [4, 60])
def test_an_upper_factor_is_differentiated_as_torch_does_it(n):
    density = compiled(program(n, upper=True))
    assert "su_factor_gradient" not in density.source


def test_what_reads_only_a_part_of_the_factor():
    compiled(program(30, use=lambda factor: factor.diagonal().log().sum() - factor[7, 3] ** 2))
    compiled(program(60, use=lambda factor: -(factor[-1] ** 2).sum()))


def test_a_batch_of_nothing_and_a_matrix_of_nothing():
    compiled(program(3, (0,)))
    compiled(program(0, use=lambda factor: factor.sum()))


def test_against_finite_differences():
    density = compiled(program(50))
    q = np.array([0.1, -0.3, 0.2])
    _, gradient = density.value_and_grad(q)
    step = 1e-5
    for k, unit in enumerate(np.eye(3)):
        up, down = (density.value_and_grad(q + sign * step * unit)[0] for sign in (1.0, -1.0))
        assert gradient[k] == pytest.approx((up - down) / (2 * step), rel=1e-7)


def test_a_factor_is_not_asked_whether_it_is_one():
    x = torch.linspace(0.0, 1.0, 60, dtype=torch.float64)

    def run(y):
        rho = su.sample("rho", dist.LogNormal(0.0, 0.3)).double()
        cov = torch.exp(-0.5 * (x[:, None] - x) ** 2 / rho**2) + 0.1 * torch.eye(60)
        su.sample("y", dist.MultivariateNormal(torch.zeros_like(x), scale_tril=torch.linalg.cholesky(cov)), obs=y)

    density = compiled(run, torch.sin(6 * x))
    assert [guard.kind for guard in density.graph.guards] == ["zero"]


def normal(factor):
    return dist.MultivariateNormal(torch.zeros(2, dtype=torch.float64), scale_tril=factor)


def test_a_point_whose_covariance_is_not_positive_definite_is_rejected_all_the_same():
    def run():
        q = su.sample("q", dist.Normal(torch.zeros((), dtype=torch.float64), 0.3))
        one = torch.ones_like(q)
        cov = torch.stack([torch.stack([one, q]), torch.stack([q, one])])
        su.sample("y", normal(torch.linalg.cholesky(cov)), obs=torch.ones(2, dtype=torch.float64))

    density = su.compile(run, engine="native")
    assert density.value_and_grad(np.array([1.5]))[0] == -np.inf
    assert np.isfinite(density.value_and_grad(np.array([0.5]))[0])


def test_a_triangle_that_no_factorisation_made_is_still_asked():
    def run():
        q = su.sample("q", dist.LogNormal(torch.zeros(2, dtype=torch.float64), 1.0).to_event(1))
        su.sample("y", normal(torch.diag(q)), obs=torch.ones(2, dtype=torch.float64))

    assert "true" in [guard.kind for guard in compiled(run).graph.guards]


def test_nor_is_one_believed_whose_factorisation_may_have_failed():
    def run():
        q = su.sample("q", dist.LogNormal(torch.zeros(2, dtype=torch.float64), 1.0).to_event(1))
        su.sample("y", normal(torch.linalg.cholesky_ex(torch.diag(q))[0]), obs=torch.ones(2, dtype=torch.float64))

    assert [guard.kind for guard in compiled(run).graph.guards] == ["true"]


def test_a_triangle_with_a_row_of_another_is_asked():
    def run():
        q = su.sample("q", dist.LogNormal(torch.zeros(2, dtype=torch.float64), 1.0).to_event(1))
        factor = torch.linalg.cholesky(torch.diag(q))
        su.sample("y", normal(factor + factor.mT), obs=torch.ones(2, dtype=torch.float64))

    assert "true" in [guard.kind for guard in compiled(run).graph.guards]


@pytest.mark.parametrize("n", [5, 60])
def test_a_factor_that_is_not_a_number_is_rejected_where_nothing_else_looks_at_it(n):
    zero, unit = torch.zeros(n, dtype=torch.float64), torch.eye(n, dtype=torch.float64)

    def run():
        q = su.sample("q", dist.Normal(torch.zeros((), dtype=torch.float64), 0.3))
        nothing = (400 * q).exp() * 0.0  # not a number where the exponential overflows
        factor = torch.linalg.cholesky(unit * (1 + q**2) + nothing)
        with su.poutine.mask(mask=torch.tensor(False)):
            su.sample("y", dist.MultivariateNormal(zero, scale_tril=factor), obs=zero)

    density = su.compile(run, engine="native")
    assert np.isfinite(density.value_and_grad(np.array([0.5]))[0])
    assert density.value_and_grad(np.array([2.0]))[0] == -np.inf


def test_a_chain_of_the_same_operators_for_more_matrices_is_not_taken_for_it():
    data, weight = matrix(4, 4, seed=4), matrix(4, 4, seed=5)

    def run():
        q = su.sample("q", dist.Normal(torch.zeros(3, dtype=torch.float64), 1.0).to_event(1))
        factor = torch.linalg.cholesky(covariance(data, q, (2,)))
        product = (factor.mT @ weight.expand(2, 4, 4)).tril()
        both = 0.5 * (product + product.tril(-1).mT)
        left = torch.linalg.solve_triangular(factor.mT, both, upper=True)
        su.factor("f", -(torch.linalg.solve_triangular(factor, left.unsqueeze(1), upper=False, left=False) ** 2).sum())

    compiled(run)
