"""Nests over the rows of one large matrix run together, some rows at a time, and give what the graph gives."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from tests.compiler.native.agreement import compiled, matrix

import sursum as su
import sursum.distributions as dist
from sursum.compiler.native.passes import tile

TILED = "for (int64_t start = 0;"
JAMMED = "i += 4)"
PANEL = "su_lanes *const"


def beta(columns, prior=None):
    return su.sample("beta", (prior or dist.Normal(0.0, 1.0)).expand([columns]).to_event(1)).double()


@pytest.mark.parametrize("rows", [1000, 1003, 24, 17])
@pytest.mark.parametrize("columns", [5, 25, 64])
def test_a_regression_goes_once_over_its_matrix(rows, columns):
    x = matrix(rows, columns)
    y = (matrix(rows, 1, seed=1)[:, 0] > 0).double()

    def program(x, y):
        logits = x @ beta(columns)
        with su.plate("row", len(x)):
            su.sample("y", dist.Bernoulli(logits=logits), obs=y)

    source = compiled(program, x, y).source
    assert (TILED in source) == (rows * columns * 8 >= 32_768)
    assert (PANEL if TILED in source else JAMMED) in source


def test_the_transposed_matrix_is_no_row_of_the_same():
    """A product with the columns and one with the rows walk the matrix in different orders: no tile, and no wrong answer."""
    x = matrix(100, 100)

    def program(x):
        b = beta(100)
        su.factor("f", -((x @ torch.tanh(x.T @ b)) ** 2).sum() / 100)

    compiled(program, x)


def test_a_reduction_over_the_rows_that_all_rows_need_ends_the_tile():
    x = matrix(400, 30)

    def program(x):
        eta = x @ beta(30)
        su.factor("f", torch.log_softmax(eta, 0)[:50].sum() - (eta - eta.mean()).pow(2).sum())

    compiled(program, x)


@pytest.mark.parametrize("shift", [1, 3])
def test_a_row_that_needs_the_row_before_is_not_in_its_tile(shift):
    x = matrix(400, 30)

    def program(x):
        eta = x @ beta(30)
        su.factor("f", -((eta[shift:] - 0.5 * eta[:-shift]) ** 2).sum() - torch.exp(eta).sum() * 1e-3)

    compiled(program, x)


def test_two_matrices_of_equal_height_are_two_sweeps_or_one():
    x, z = matrix(500, 20), matrix(500, 30, seed=2)

    def program(x, z):
        one = beta(20)
        other = su.sample("gamma", dist.Normal(0.0, 1.0).expand([30]).to_event(1)).double()
        su.factor("f", -(((x @ one).sin() + (z @ other).cos()) ** 2).sum())

    source = compiled(program, x, z).source
    assert len(re.findall(re.escape(TILED), source)) == 1


def test_scales_that_depend_on_the_sum_need_a_second_sweep():
    """Standard deviations of residuals: the second product needs the first one's sum over all rows."""
    x, y = matrix(600, 20), matrix(600, 1, seed=3)[:, 0]

    def program(x, y):
        r = y - x @ beta(20)
        scale = r.pow(2).mean().sqrt()
        su.factor("f", -torch.log1p((r / scale) ** 2).sum())

    compiled(program, x, y)


def test_what_must_run_before_a_group_is_found_by_value():
    rng = np.random.default_rng(0)
    some = lambda: frozenset(rng.integers(0, 12, size=rng.integers(0, 4)).tolist())
    facts = [tile.GroupFacts(some(), some(), some()) for _ in range(60)]
    for g, group in enumerate(facts):
        wanted = set()
        for h, other in enumerate(facts[:g]):
            touched = other.reads | other.writes
            if other.writes & (group.reads | group.writes) or touched & group.after or other.reads & group.writes:
                wanted.add(h)
        assert tile.find_dependencies(facts)[g] == wanted


def test_groups_without_a_large_array_are_not_compared_with_each_other(monkeypatch):
    monkeypatch.setattr(tile, "find_dependencies", lambda facts: pytest.fail("every group is compared with those before it"))

    def model():
        a = su.sample("a", dist.Normal(torch.zeros(20, 16), 1.0).to_event(2))
        x = torch.full((20,), 0.3)
        for k in range(10):
            x = torch.tanh((a.T @ x).sum() * x + 0.1 * k)
        su.factor("f", -x.square().sum())

    assert su.compile(model, engine="native").engine == "native"
