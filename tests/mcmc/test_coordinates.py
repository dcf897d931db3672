"""Other coordinates of a density: there and back, and the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import sursum as su
import sursum.distributions as dist
from sursum.distributions import constraints
from sursum.mcmc.coordinates import Turned, Whitened, turn

POINTS = hnp.arrays(np.float64, 3, elements=st.floats(-5.0, 5.0))


class Quadratic:
    """−½ Σ k q_k², with k from 1."""

    dim = 3
    title = "quadratic"

    def with_values(self, q):
        return -0.5 * (torch.arange(1.0, 4.0, dtype=torch.float64) * q**2).sum(), {"q": q}

    def start(self, rng):
        return np.array([1.0, -2.0, 0.5])

    def explain(self, q):
        return f"at {q.tolist()}"


CENTRE, SCALES = np.array([1.0, -1.0, 0.0]), np.array([0.5, 2.0, 4.0])
U = np.array([0.6, 0.0, 0.8])
BOTH = [Whitened(Quadratic(), CENTRE, SCALES), Turned(Quadratic(), U)]
both = pytest.mark.parametrize("there", BOTH, ids=["whitened", "turned"])


@both
@given(q=POINTS)
def test_there_and_back(there, q):
    np.testing.assert_allclose(there.outward(there.inward(q)), q, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(there.moved(torch.from_numpy(there.inward(q))).numpy(), q, rtol=1e-13, atol=1e-13)
    assert there.inward(q).flags.c_contiguous


@both
def test_the_density_is_the_same_there(there):
    q = np.array([0.3, -0.2, 0.9])
    x = torch.from_numpy(there.inward(q))
    expected = -0.5 * (0.3**2 + 2 * 0.2**2 + 3 * 0.9**2)
    assert float(there(x)) == pytest.approx(expected, rel=1e-13)
    value, sites = there.with_values(x)
    assert float(value) == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(sites["q"].numpy(), q, rtol=1e-13)


@both
def test_starts_and_explanations_are_the_densitys(there):
    rng = np.random.default_rng(0)
    start, value = there.scored_start(rng)
    np.testing.assert_allclose(there.outward(start), [1.0, -2.0, 0.5], rtol=1e-14)
    np.testing.assert_array_equal(start, there.start(rng))
    assert value == pytest.approx(-0.5 * (1.0 + 2 * 4.0 + 3 * 0.25), rel=1e-14)
    assert there.explain(np.zeros(3)) == f"at {there.outward(np.zeros(3)).tolist()}"
    assert (there.dim, there.title) == (3, "quadratic")
    with pytest.raises(AttributeError):
        there.nothing  # noqa: B018


@both
def test_many_points_at_once(there):
    x = np.random.default_rng(0).normal(size=(4, 5, 3))
    np.testing.assert_allclose(there.outward(x)[2, 3], there.outward(x[2, 3]), rtol=1e-14)


def test_whitened_by_hand():
    np.testing.assert_array_equal(BOTH[0].outward(np.array([2.0, 1.0, -1.0])), [2.0, 1.0, -4.0])


def test_a_reflection_by_hand():
    np.testing.assert_allclose(BOTH[1].outward(U), -U, rtol=1e-15)
    np.testing.assert_allclose(BOTH[1].outward(np.array([0.8, 5.0, -0.6])), [0.8, 5.0, -0.6], rtol=1e-15)


@pytest.mark.filterwarnings("ignore::sursum.errors.UnusedSiteWarning")
def test_turned_coordinates_are_the_same_density():
    def program():
        free = su.sample("free", dist.ImproperUniform(constraints.real, (), ()))
        su.factor("walls", torch.where(free.abs() < 1.0, 0.0, -torch.inf))
        su.sample("z", dist.Normal(0.0, 1.0))

    density = su.infer.LogDensity(program)
    compiled = su.compile(program)
    other = turn(density, compiled.value_and_grad, np.random.default_rng(0))
    q = np.array([0.3, -0.7])
    np.testing.assert_allclose(other.outward(other.inward(q)), q, rtol=1e-14)
    np.testing.assert_allclose(float(other(torch.from_numpy(other.inward(q)))), float(density(torch.from_numpy(q))), rtol=1e-14)
    assert turn(density, lambda q: (0.0, np.array([0.0, 1.0])), np.random.default_rng(0)) is None


class Box:
    """Flat between walls by all coordinates but the last `sloped`."""

    def __init__(self, walls, sloped, start=None):
        self.dim, self.walls, self.sloped, self._start = len(walls), np.array(walls), sloped, start

    def start(self, rng):
        return rng.uniform(-0.4, 0.4, self.dim) if self._start is None else self._start

    def value_and_grad(self, q):
        gradient = np.where(np.arange(self.dim) >= self.dim - self.sloped, -1.0, 0.0)
        inside = (np.abs(q) < self.walls).all()
        return (float(gradient @ q), gradient) if inside else (-np.inf, gradient)


def test_the_direction_maps_the_sloped_coordinate_to_the_mean_of_it_and_the_flat_ones():
    box = Box([1.0, 1.0, 1.0], 1)
    found = turn(box, box.value_and_grad, np.random.default_rng(0))
    assert np.linalg.norm(found.direction) == pytest.approx(1.0, rel=1e-14)
    np.testing.assert_allclose(found.outward(np.array([0.0, 0.0, 1.0])), np.full(3, 3**-0.5), rtol=1e-14)


def test_what_is_flat_nowhere_everywhere_or_without_end_is_not_turned():
    rng = np.random.default_rng(0)
    for box in (Box([1.0, 1.0], 2), Box([1.0, 1.0], 0), Box([np.inf, 1.0], 1)):
        assert turn(box, box.value_and_grad, rng) is None
    far = Box([1000.0, 1.0], 1)
    assert turn(far, far.value_and_grad, rng) is not None
