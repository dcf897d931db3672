"""The largest value of a function of some more coordinates: L-BFGS nearly there, then Newton's method; or L-BFGS alone."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.few import few

from sursum.optimise.maximise import Iterate, lbfgs, maximise


def begin(value_and_grad, n, seed=0):
    q = np.random.default_rng(seed).normal(size=n)
    return Iterate(q, *value_and_grad(q))


@pytest.mark.parametrize(("decades", "n"), few([(1, 60), (2, 60), (2, 175), (2, 400)], [(1, 60)]))
def test_a_badly_scaled_logarithm_of_cosines(decades, n):
    scales = np.logspace(-decades, decades, n)

    def value_and_grad(q):
        z = scales * (q - 1.0)
        return -float(np.logaddexp(z, -z).sum()), -scales * np.tanh(z)

    found = maximise(value_and_grad, begin(value_and_grad, n), 5000)
    assert found.converged
    assert found.gain < 1e-12
    np.testing.assert_allclose(found.point.q, 1.0, rtol=1e-6)


def test_newtons_method_takes_the_place_of_most_last_steps():
    scales = np.logspace(0, 3, 100)

    def value_and_grad(q):
        return -0.5 * float(scales @ q**2) - 0.25 * float((q**4).sum()), -scales * q - q**3

    start = begin(value_and_grad, 100)
    found, alone = maximise(value_and_grad, start, 5000), lbfgs(value_and_grad, start, 5000)[0]
    assert found.converged
    assert np.abs(found.point.q).max() < 1e-9
    assert found.steps < 0.8 * (len(alone) - 1)


@pytest.mark.parametrize("n", [60, 300])
def test_on_a_ridge_l_bfgs_goes_on_alone(n):
    """Half of the coordinates say nothing, so that the second derivatives have no inverse."""

    def value_and_grad(q):
        z = q[: n // 2] - 2.0
        slope = np.zeros(n)
        slope[: n // 2] = -4.0 * z**3
        return -float((z**4).sum()), slope

    found = maximise(value_and_grad, begin(value_and_grad, n), 5000)
    assert found.converged
    assert found.point.value > -1e-6
    assert np.abs(found.point.q[: n // 2] - 2.0).max() < 0.05


def test_the_steps_asked_for_are_all_that_are_taken():
    scales = np.logspace(-1, 3, 200)
    value_and_grad = lambda q: (-0.5 * float(scales @ q**2), -scales * q)
    found = maximise(value_and_grad, begin(value_and_grad, 200), 7)
    assert found.steps == 7
    assert not found.converged


def test_what_has_no_end_is_not_a_maximum():
    value_and_grad = lambda q: (float(np.exp(np.clip(q, None, 700.0)).sum()), np.exp(np.clip(q, None, 700.0)))
    assert not maximise(value_and_grad, begin(value_and_grad, 100), 1000).converged
