"""The Gaussians along a path: covariance, draws and densities against dense quasi-Newton updates."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from sursum.optimise.lbfgs_gaussian import _diagonal, gaussians
from sursum.optimise.maximise import Iterate


def path(n, length, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n))
    precision = root @ root.T + np.eye(n)
    points = [Iterate(q, -0.5 * float(q @ precision @ q), -precision @ q) for q in rng.normal(size=(length, n))]
    return points, precision


def dense(points, history):
    """The inverse Hessian by BFGS updates of a diagonal matrix, written out."""
    pairs = [(b.q - a.q, a.gradient - b.gradient) for a, b in pairwise(points)]
    alpha = np.ones(len(points[0].q))
    for s, y in pairs:
        alpha = _diagonal(alpha, s, y)
    h = np.diag(alpha)
    for s, y in pairs[-history:]:
        v = np.eye(len(s)) - np.outer(s, y) / (s @ y)
        h = v @ h @ v.T + np.outer(s, s) / (s @ y)
    return h


@pytest.mark.parametrize(("n", "length", "history"), [(2, 3, 6), (5, 9, 3), (30, 6, 4), (1, 2, 1)])
def test_covariance_and_mean(n, length, history):
    points, _ = path(n, length)
    *_, last = gaussians(points, history)
    expected = dense(points, history)
    np.testing.assert_allclose(last.covariance, expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(last.mean, points[-1].q + expected @ points[-1].gradient, rtol=1e-7, atol=1e-9)
    # The secant equation: the covariance maps the last change of the gradient to the last step.
    step, fall = points[-1].q - points[-2].q, points[-2].gradient - points[-1].gradient
    np.testing.assert_allclose(last.covariance @ fall, step, rtol=1e-6, atol=1e-9)


def test_the_diagonal_is_that_of_a_scaled_update():
    """Gilbert and Lemaréchal's update: the diagonal of the direct BFGS update of the scaled diag(1/α)."""
    rng = np.random.default_rng(1)
    alpha, s = rng.uniform(0.5, 2.0, 4), rng.normal(size=4)
    y = s * rng.uniform(0.5, 2.0, 4)
    scaled = (y @ (alpha * y)) / (y @ s)
    direct = scaled * (np.diag(1 / alpha) - np.outer(s / alpha, s / alpha) / (s @ (s / alpha))) + np.outer(y, y) / (y @ s)
    np.testing.assert_allclose(_diagonal(alpha, s, y), 1 / np.diag(direct), rtol=1e-12)


@pytest.mark.parametrize("n", [3, 40])
def test_draws_and_their_densities(n):
    points, _ = path(n, 6, seed=2)
    *_, last = gaussians(points, 3)
    draws, log_density = last.draw(20_000, np.random.default_rng(0))
    reference = multivariate_normal(last.mean, last.covariance)
    np.testing.assert_allclose(log_density[:100], reference.logpdf(draws[:100]), rtol=1e-8)
    sd = np.sqrt(np.diag(last.covariance))
    assert (np.abs(draws.mean(0) - last.mean) < 5 * sd / np.sqrt(20_000)).all()
    # The sd of an estimated correlation is at most 1/√N.
    found = np.cov(draws.T) / np.outer(sd, sd)
    assert np.abs(found - last.covariance / np.outer(sd, sd)).max() < 5 * np.sqrt(2.0 / 20_000)


def test_steps_without_curvature_are_passed_over():
    points, _ = path(3, 4)
    uphill = Iterate(points[-1].q + 1.0, 0.0, points[-1].gradient + 1.0)
    *_, before = gaussians(points, 5)
    *_, after = gaussians([*points, uphill], 5)
    np.testing.assert_allclose(after.covariance, before.covariance)
    assert list(gaussians([points[0]], 5)) == []
