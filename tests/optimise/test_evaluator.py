"""The density as optimisers call it: the numbers of `value_and_grad`, in arrays that stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.support import regression

import sursum as su
from sursum.optimise.evaluator import evaluator


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_values_and_gradients_by_closed_form(engine):
    x, y, mean, covariance = regression.problem()
    density = su.compile(regression.program, x, y, engine=engine)
    value_and_grad = evaluator(density)
    precision = np.linalg.inv(covariance)
    at_mode, slope = value_and_grad(mean)
    np.testing.assert_allclose(slope, 0.0, atol=1e-10)
    for q in np.random.default_rng(0).normal(size=(5, 3)):
        value, gradient = value_and_grad(q)
        assert type(value) is float
        assert value - at_mode == pytest.approx(-0.5 * (q - mean) @ precision @ (q - mean), rel=1e-11)
        np.testing.assert_allclose(gradient, -precision @ (q - mean), rtol=1e-10)
        np.testing.assert_array_equal(gradient, density.value_and_grad(q)[1])


def test_a_gradient_is_not_written_over_by_the_next():
    x, y, *_ = regression.problem()
    value_and_grad = evaluator(su.compile(regression.program, x, y, engine="native"))
    q = np.ones(3)
    first = value_and_grad(q)[1]
    kept = first.copy()
    value_and_grad(-q)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(q, np.ones(3))


def test_two_evaluators_of_one_density_do_not_disturb_each_other():
    x, y, *_ = regression.problem()
    density = su.compile(regression.program, x, y, engine="native")
    one, other = evaluator(density), evaluator(density)
    a = one(np.zeros(3))
    other(np.ones(3))
    assert one(np.zeros(3))[0] == a[0]
    assert torch.equal(torch.from_numpy(one(np.zeros(3))[1]), torch.from_numpy(a[1]))
