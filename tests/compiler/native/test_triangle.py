"""Products with what lies below a diagonal, and its gradient: on the elements themselves, without the squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compiler.native.agreement import compiled, matrix

import sursum as su
import sursum.distributions as dist


def square(elements, n, diagonal=-1, index=None):
    rows, columns = torch.tril_indices(n, n, diagonal)
    at = rows * n + columns if index is None else index
    return torch.zeros(n * n, dtype=torch.float64).index_put((at,), elements).reshape(n, n)


def density(n, use, count=None):
    """A density of the elements, by a function of them."""

    def program():
        size = n * (n - 1) // 2 if count is None else count
        elements = su.sample("u", dist.Normal(torch.zeros(size, dtype=torch.float64), 1.0).to_event(1))
        su.factor("f", -(use(elements) ** 2).sum() / n)

    return compiled(program)


@pytest.mark.parametrize("n", [16, 17, 40, 131])
@pytest.mark.parametrize("column", [False, True])
def test_neither_square_is_made(n, column):
    x = matrix(n, 1)
    source = density(n, lambda u: square(u, n) @ (x if column else x[:, 0]) - 0.5).source
    assert "su_triangle_times" in source
    assert "su_triangle_outer" in source
    assert str(n * n) not in source
    assert f"{n}x{n}" not in source


def test_a_vector_that_depends_on_the_unknowns():
    source = density(20, lambda u: square(u, 20) @ torch.tanh(u[:20])).source
    assert "su_triangle_times" in source


def test_what_also_looks_at_the_square_has_it():
    source = density(20, lambda u: square(u, 20) @ torch.ones(20).double() + square(u, 20).square().sum(0)).source
    assert "su_triangle_times" in source


COLUMN, TWO = matrix(20, 1), matrix(20, 2)
OTHERS = {
    "with its diagonal": (210, lambda u: square(u, 20, 0) @ COLUMN),
    "in another order": (190, lambda u: square(u, 20, index=torch.arange(190).flip(0)) @ COLUMN),
    "transposed": (190, lambda u: square(u, 20).T @ COLUMN),
    "times a matrix": (190, lambda u: square(u, 20) @ TWO),
    "with ones": (190, lambda u: (square(u, 20) + torch.eye(20)) @ COLUMN),
    "a corner": (190, lambda u: square(u, 20)[:10, :10] @ COLUMN[:10]),
    "a part of it that is square": (190, lambda u: square(u, 20).reshape(-1)[:100].reshape(10, 10) @ COLUMN[:10]),
    "of another shape": (190, lambda u: square(u, 20).reshape(10, 40) @ TWO.reshape(40, 1)),
    "upon something": (190, lambda u: (square(u, 20) + 1.0) @ COLUMN),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_matrices_are_multiplied_as_ever(name):
    count, use = OTHERS[name]
    assert "su_triangle_times" not in density(20, use, count).source


def test_other_parts_of_an_outer_product_are_picked_as_ever():
    rows, columns = torch.tril_indices(20, 20, -1)
    for at in (columns * 20 + rows, rows * 20 + columns + 1, torch.arange(190)):
        x = matrix(20, 1)
        source = density(20, lambda u, at=at, x=x: torch.outer(u[:20], u[20:40]).reshape(-1)[at] - x[0], 40).source
        assert "su_triangle_outer" not in source
    assert (
        "su_triangle_outer" in density(20, lambda u: torch.outer(u[:20], u[20:40]).reshape(-1)[rows * 20 + columns], 40).source
    )


@pytest.mark.parametrize("place", [0, 7, 19])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_not_finite_goes_where_it_goes_in_torch(place, value):
    x = matrix(20, 1)[:, 0].index_put((torch.tensor(place),), torch.tensor(value, dtype=torch.float64))

    def program():
        elements = su.sample("u", dist.Normal(torch.zeros(190, dtype=torch.float64), 1.0).to_event(1))
        # Every row that is finite, or infinite but a number, counts.
        product = square(elements, 20) @ x
        su.factor("f", torch.where(product.isnan(), 3.0, torch.where(product.isinf(), 5.0, product)).sum())

    found = su.compile(program, engine="native")
    q = np.random.default_rng(0).normal(size=190)
    assert "su_triangle_times" in found.source
    assert found.value_and_grad(q)[0] == pytest.approx(float(found.replay(torch.from_numpy(q))[0]), rel=1e-12)
