"""Data are looked at once, and again where they, or what they are compared with, may be other ones."""

import copy
import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import sursum as su
import sursum.distributions as dist
from sursum.core.valid_data import ValidData
from sursum.distributions import constraints
from sursum.errors import ObservationError

AT = torch.zeros(1, dtype=torch.float64)


class Operators(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


def exponential(y):
    def model():
        rate = su.sample("rate", dist.LogNormal(0.0, 1.0))
        su.sample("y", dist.Exponential(rate).expand(y.shape).to_event(1), obs=y)

    return model


def test_a_run_after_the_first_does_not_look_at_the_data_again():
    density = su.infer.LogDensity(exponential(torch.tensor([1.0, 2.0])))
    with Operators() as seen:
        density(AT)
    assert "ge.Scalar" not in seen.seen, "the support's own check of the data"
    with Operators() as seen, pytest.raises(ObservationError):
        su.infer.LogDensity(exponential(torch.tensor([1.0, -2.0])))
    assert "ge.Scalar" in seen.seen


def test_data_that_were_changed_are_looked_at():
    y = torch.tensor([1.0, 2.0])
    density = su.infer.LogDensity(exponential(y))
    assert math.isfinite(density(AT))
    y[1] = -2.0
    with pytest.raises(ObservationError, match="outside the support"):
        density(AT)


def test_a_support_that_depends_on_unknowns_is_asked_every_time():
    y = torch.tensor([1.0, 2.0])

    def model():
        width = su.sample("width", dist.LogNormal(1.0, 1.0))
        su.sample("y", dist.Uniform(0.0, width).expand([2]).to_event(1), obs=y)

    density = su.infer.LogDensity(model)
    assert math.isfinite(density(AT + 2))
    with pytest.raises(ObservationError):
        density(AT - 2)
    compiled = su.compile(model)
    assert math.isfinite(compiled.value_and_grad([2.0])[0])
    assert compiled.value_and_grad([-2.0])[0] == -math.inf


def test_what_is_computed_in_a_run_is_looked_at_in_each():
    def model():
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.sample("y", dist.Exponential(1.0), obs=z.detach() + 1.5)

    density = su.infer.LogDensity(model)
    assert math.isfinite(density(AT))
    with pytest.raises(ObservationError):
        density(AT - 2)


def test_layouts_versions_and_supports_are_told_apart():
    data, value = ValidData(), torch.tensor([1.0, 2.0, -1.0])
    data.add(value[:2], constraints.positive)
    assert data.holds(value[:2], constraints.positive)
    assert data.holds(value[:2], constraints.independent(constraints.positive, 1))
    assert not data.holds(value, constraints.positive)
    assert not data.holds(value[1:], constraints.positive)
    assert not data.holds(value[:2], constraints.real)
    assert not copy.deepcopy(data).holds(value[:2], constraints.positive)
    data.close()
    data.add(value, constraints.real)
    assert not data.holds(value, constraints.real)
    value.mul_(-1)
    assert not data.holds(value[:2], constraints.positive)
