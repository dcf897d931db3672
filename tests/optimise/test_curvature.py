"""Second derivatives by differences, against those known; what has none."""

from __future__ import annotations

import numpy as np
import pytest

from sursum.optimise.curvature import Curvature, curvature


def quartic(q):
    """log p = -Σ exp(a·q) over rows a, with its own scale in each coordinate."""
    terms = np.exp(ROWS @ q)
    return -float(terms.sum()), -(ROWS.T @ terms)


RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(6, 4)) * [1.0, 1e3, 1e-3, 5.0]


def test_against_the_exact_ones():
    q = RNG.normal(size=4) * [0.1, 1e-4, 1e2, 0.02]
    exact = (ROWS.T * np.exp(ROWS @ q)) @ ROWS
    found = curvature(quartic, q)
    size = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    assert (np.abs(found.matrix - exact) / size).max() < 1e-9
    np.testing.assert_allclose(found.factor @ found.factor.T @ exact, np.eye(4), atol=1e-6)
    np.testing.assert_allclose(found.log_det, np.linalg.slogdet(exact)[1], rtol=1e-9)
    np.testing.assert_allclose(found.solve(exact @ [1.0, 2.0, 3.0, 4.0]), [1.0, 2.0, 3.0, 4.0], rtol=1e-6)
    assert found.definite
    assert found.flat() == []


def test_a_ridge_names_its_coordinates():
    found = curvature(
        lambda q: (-0.5 * float(q[0] + q[2]) ** 2 - q[1] ** 2, np.array([-(q[0] + q[2]), -2 * q[1], -(q[0] + q[2])])),
        np.zeros(3),
    )
    assert not found.definite
    assert sorted(found.flat()) == [0, 2]


def test_a_saddle_and_a_plain():
    assert not curvature(lambda q: (0.5 * (q[0] ** 2 - q[1] ** 2), np.array([q[0], -q[1]])), np.zeros(2)).definite
    flat = curvature(lambda q: (-0.5 * q[0] ** 2, np.array([-q[0], 0.0])), np.ones(2))
    assert not flat.definite
    assert flat.flat() == [1]


def test_beside_a_wall_there_is_none():
    def wall(q):
        return (-np.inf, np.zeros(1)) if q[0] > 0 else (-(float(q[0]) ** 2), -2 * q)

    found = curvature(wall, np.zeros(1))
    assert not found.definite


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_scale_does_not_matter(scale):
    found = curvature(
        lambda q: (float(np.log(np.cosh(q / scale)).sum()) * -1.0, -np.tanh(q / scale) / scale), np.full(2, 0.3 * scale)
    )
    np.testing.assert_allclose(np.diag(found.matrix), np.cosh(0.3) ** -2 / scale**2, rtol=1e-9)


@pytest.mark.parametrize("smallest", [1e-3, 1e-8, 3e-9, 3e-10, 1e-12])
def test_the_quick_look_decides_as_eigenvalues_do(smallest):
    """From 1 down to `smallest` and 1e-9, where a maximum stops being strict."""
    rng = np.random.default_rng(1)
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    matrix = turn @ np.diag([1.0, 0.5, 0.3, 0.1, smallest]) @ turn.T
    found = Curvature((matrix + matrix.T) / 2)
    assert found.definite is bool((found.values > 1e-9 * found.values.max()).all())
    if found.definite and smallest > 1e-6:
        right = rng.normal(size=5)
        np.testing.assert_allclose(found.solve(right), np.linalg.solve(matrix, right), rtol=1e-9)
        slow = found.scales * (found.vectors @ (found.vectors.T @ (found.scales * right) / found.values))
        np.testing.assert_allclose(found.solve(right), slow, rtol=1e-9)
