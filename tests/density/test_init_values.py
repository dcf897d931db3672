"""Values to start from, in unconstrained coordinates: against closed forms, and what cannot be started from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import sursum.distributions as dist
from sursum.core.messages import Sample
from sursum.density.init_values import brief, carry_over, place_given
from sursum.distributions.bijections import bijection
from sursum.errors import DensityError


def site(fn, init=None):
    return Sample(name="s", fn=fn, init=init, where="m.py:1")


def onto(fn):
    return bijection(fn.support)


POSITIVE, UNIT, PAIR = dist.HalfNormal(1.0), dist.Uniform(0.0, 4.0), dist.HalfNormal(torch.ones(2))


def test_a_carried_value_by_closed_form():
    assert float(carry_over(site(POSITIVE, torch.tensor(3.0)), onto(POSITIVE))) == pytest.approx(math.log(3.0))
    assert float(carry_over(site(UNIT, torch.tensor(1.0)), onto(UNIT))) == pytest.approx(math.log(1 / 3))
    torch.testing.assert_close(carry_over(site(PAIR, torch.tensor([1.0, 2.0])), onto(PAIR)), torch.tensor([1.0, 2.0]).log())


def test_it_has_no_gradient_and_no_memory_of_the_parameter():
    fn = dist.Normal(torch.zeros(2), 1.0)
    init = torch.zeros(2, requires_grad=True)
    free = carry_over(site(fn, init), onto(fn))
    assert not free.requires_grad
    free += 1
    assert float(init.detach().sum()) == 0.0


@pytest.mark.parametrize(
    ("fn", "init"),
    [
        (POSITIVE, None),
        (POSITIVE, -1.0),
        (UNIT, 5.0),
        (POSITIVE, 0.0),
        (PAIR, 1.0),
        (POSITIVE, [1.0, 2.0]),
        (PAIR, [1.0, -1.0]),
    ],
)
def test_where_there_is_none_inside(fn, init):
    assert carry_over(site(fn, None if init is None else torch.tensor(init)), onto(fn)) is None


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_carried_value_that_is_not_finite(wrong):
    with pytest.raises(DensityError, match=rf"latent site 's' \(m.py:1\) starts from is not finite: \[1, {wrong}\]. Give"):
        carry_over(site(PAIR, torch.tensor([1.0, wrong])), onto(PAIR))


def test_a_given_value_by_closed_form():
    found = place_given(site(POSITIVE), 3, onto(POSITIVE), ())
    assert (found.dtype, found.shape) == (np.float64, (1,))
    assert found[0] == pytest.approx(math.log(3.0), rel=1e-15)
    grid = np.arange(1.0, 7.0).reshape(3, 2)
    np.testing.assert_allclose(place_given(site(PAIR), grid, onto(PAIR), (3, 2)), np.log(grid).ravel(), rtol=1e-15)
    with torch.enable_grad():
        place_given(site(POSITIVE), torch.tensor(2.0, requires_grad=True), onto(POSITIVE), ())


@pytest.mark.parametrize(
    ("fn", "value", "said"),
    [
        (PAIR, [1.0], r"has shape \(1,\), and the site has \(2,\). Give one of that shape"),
        (POSITIVE, -2.0, r"is -2, outside its support .*Give one inside"),
        (POSITIVE, math.nan, r"is nan, outside its support"),
        (UNIT, 5.0, r"is 5, outside its support"),
        (POSITIVE, 0.0, r"is 0, on the boundary of its support .*Move it inside"),
        (PAIR, [1.0, -1.0], r"is \[1, -1\], outside"),
    ],
)
def test_a_given_value_that_cannot_be(fn, value, said):
    with pytest.raises(DensityError, match=rf"given for site 's' \(m.py:1\) {said}"):
        place_given(site(fn), value, onto(fn), tuple(fn.batch_shape))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.tensor(1 / 3), "0.3333"),
        (torch.tensor([1.0]), "[1]"),
        (torch.arange(4.0), "[0, 1, 2, 3]"),
        (torch.arange(5.0), "[0, 1, 2, 3, …]"),
        (torch.tensor([[1, 2]]), "[1, 2]"),
        ({}, "dict"),
    ],
)
def test_in_brief(value, expected):
    assert brief(value) == expected
