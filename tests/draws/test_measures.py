"""The diagnostics in NumPy, which C is held to, against ArviZ."""

from __future__ import annotations

import numpy as np
import pytest
import xarray

from sursum.draws.arviz import _arviz
from sursum.draws.measures import mixing_of, moments

arviz = _arviz()


@pytest.mark.parametrize("shape", [(3, 4, 250), (2, 4, 101), (4, 2, 9)])
@pytest.mark.parametrize("ties", [False, True])
def test_equals_arviz(shape, ties):
    rows = np.random.default_rng(0).normal(size=shape).cumsum(axis=2)
    rows = np.round(rows) if ties else rows
    data = xarray.Dataset({"x": (("unknown", "chain", "draw"), rows)}).transpose("chain", "draw", "unknown")
    wanted = (arviz.rhat(data), arviz.ess(data), arviz.ess(data, method="tail", prob=(0.05, 0.95)))
    np.testing.assert_allclose(mixing_of(rows), [np.asarray(part["x"]) for part in wanted], rtol=1e-10)


def test_what_is_undefined_is_nan():
    rows = np.random.default_rng(0).normal(size=(3, 2, 50))
    rows[1, 0, 0], rows[2] = np.nan, 5.0
    found = mixing_of(rows)
    assert np.isnan(found).tolist() == [[False, True, True], [False, True, False], [False, True, False]]
    assert found[1:, 2].tolist() == [100.0, 100.0]
    assert np.isnan(mixing_of(rows[:, :, :3])).all()
    assert np.isnan(mixing_of(rows[:, :1])[0]).all()


def test_moments_of_one_draw_are_the_draw():
    np.testing.assert_array_equal(moments(np.array([[3.0]])), [[3.0], [np.nan], [3.0], [3.0], [3.0]])
    assert np.isnan(moments(np.empty((2, 0)))).all()
