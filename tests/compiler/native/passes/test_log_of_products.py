"""Sums of softplus take a logarithm for many rows, and lose nothing by it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid

import sursum as su
import sursum.distributions as dist

JOINT = "+= log1p(", "-= log1p("


def density(term, rows, slope=None):
    """q ↦ term(q · slope) for one unknown, its prior left out."""
    x = torch.linspace(-3, 3, rows, dtype=torch.float64) if slope is None else slope

    def program(x):
        q = su.sample("q", dist.ImproperUniform(dist.constraints.real, (), ())).double()
        su.factor("f", term(q * x))

    return su.compile(program, x, engine="native")


def joined(source):
    return any(text in source for text in JOINT)


@pytest.mark.parametrize("rows", [7, 79, 80, 81, 239, 240, 241, 487, 919, 5000])
def test_every_number_of_rows(rows):
    found = density(lambda x: logsigmoid(x).sum(), rows)
    assert joined(found.source) == (rows >= 80)
    for q in (0.0, 0.3, -2.0, 40.0):
        x = q * np.linspace(-3, 3, rows)
        value, gradient = found.value_and_grad(np.array([q]))
        np.testing.assert_allclose(value, -np.logaddexp(0, -x).sum(), rtol=1e-13)
        slope = (np.linspace(-3, 3, rows) / (1 + np.exp(x))).sum()
        np.testing.assert_allclose(gradient[0], slope, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_either_sign_and_other_terms_beside_it(sign):
    found = density(lambda x: (sign * (logsigmoid(x) - x.square()) + torch.sin(x)).sum(), 400)
    x = 0.7 * np.linspace(-3, 3, 400)
    wanted = (sign * (-np.logaddexp(0, -x) - x**2) + np.sin(x)).sum()
    assert joined(found.source)
    np.testing.assert_allclose(found.value_and_grad(np.array([0.7]))[0], wanted, rtol=1e-12)


@pytest.mark.parametrize("logit", [30.0, 60.0, 700.0, 745.0])
def test_tiny_terms_keep_their_digits(logit):
    """log(1 + e) of e = exp(−60): where 1 + e is 1, the sum would be 0."""
    found = density(lambda x: logsigmoid(x).sum(), 500, torch.ones(500, dtype=torch.float64))
    value, _ = found.value_and_grad(np.array([logit]))
    assert value == pytest.approx(-500 * math.log1p(math.exp(-logit)), rel=1e-12 if logit < 700 else 1e-2, abs=0)


def test_many_rows_do_not_overflow():
    rows = 100_003
    found = density(lambda x: logsigmoid(x).sum(), rows)
    assert found.value_and_grad(np.zeros(1))[0] == pytest.approx(-rows * math.log(2), rel=1e-13)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e308, -1e308])
def test_what_is_not_a_number_comes_out_as_in_torch(number):
    slope = torch.ones(300, dtype=torch.float64)
    slope[123] = number
    found = density(lambda x: torch.exp(logsigmoid(x).sum() / 1e306), 300, slope)
    value, _ = found.value_and_grad(np.array([0.5]))
    wanted = float(torch.exp(logsigmoid(0.5 * slope).sum() / 1e306))
    assert value == pytest.approx(wanted, rel=1e-12) if math.isfinite(wanted) else not math.isfinite(value)


def test_a_logarithm_that_is_wanted_otherwise_too_is_taken_row_by_row():
    found = density(lambda x: (logsigmoid(x) * x).sum() + logsigmoid(x).sum(), 200)
    x = 0.4 * np.linspace(-3, 3, 200)
    term = -np.logaddexp(0, -x)
    assert not joined(found.source)
    np.testing.assert_allclose(found.value_and_grad(np.array([0.4]))[0], (term * x).sum() + term.sum(), rtol=1e-12)


def test_a_logistic_regression_in_panels():
    x = torch.randn(1003, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).double()

    def program(x, y):
        b = su.sample("b", dist.Normal(torch.zeros(9, dtype=torch.float64), 1.0).to_event(1))
        with su.plate("row", len(x)):
            su.sample("y", dist.Bernoulli(logits=x @ b), obs=y)

    found = su.compile(program, x, y, engine="native")
    assert joined(found.source)
    q = np.linspace(-1, 1, 9)
    eta = x.numpy() @ q
    wanted = (y.numpy() * eta - np.logaddexp(0, eta)).sum() - 0.5 * (q**2).sum() - 9 * 0.5 * math.log(2 * math.pi)
    value, gradient = found.value_and_grad(q)
    np.testing.assert_allclose(value, wanted, rtol=1e-13)
    np.testing.assert_allclose(gradient, x.numpy().T @ (y.numpy() - 1 / (1 + np.exp(-eta))) - q, rtol=1e-10, atol=1e-11)
