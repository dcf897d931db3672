"""Programs that hypothesis makes up, with discrete sites, against sums over all assignments: value, gradient and posterior."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.handlers.enumerate.programs import RandomProgram

from sursum.density.backwards import slopes
from sursum.errors import DensityError
from sursum.handlers.enumerate.elimination import log_sum
from sursum.infer import LogDensity

FAST, MANY, MOST = 10, 1500, 200
"""Programs of a usual run, of a slow one, and the assignments that a program may have."""

QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None, "derandomize": True}


def compare(program: RandomProgram, number: int) -> None:
    """Hold the density, its gradient and the probabilities of each value to sums over all assignments."""
    if program.entangled():
        with pytest.raises(DensityError, match="every element of one plate"):
            LogDensity(program)
        return
    density = LogDensity(program)
    w = torch.as_tensor(np.random.default_rng(number).normal(size=3)).requires_grad_()
    exact, assignments = program.exact(w)
    value = density(w)
    assert float(value.detach()) == pytest.approx(float(exact.detach()), rel=1e-9)
    (ours,), (theirs,) = torch.autograd.grad(value, w), torch.autograd.grad(exact, w)
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)
    weights = torch.stack([term.detach() for _, term in assignments]).softmax(0)
    with torch.enable_grad():
        found = slopes(density, w.detach(), log_sum)
    for site in program.sites:
        dim, slope = found[site.name]
        ours = (slope / slope.sum(dim, keepdim=True)).movedim(dim, -1)
        exact_one = torch.zeros_like(ours)
        for (given_values, _), weight in zip(assignments, weights, strict=True):
            chosen = given_values[site.name]
            index = chosen.argmax(-1) if site.family == "one_hot" else chosen.long()
            exact_one += weight * torch.nn.functional.one_hot(index.expand(ours.shape[:-1]), ours.shape[-1])
        torch.testing.assert_close(ours, exact_one, rtol=1e-7, atol=1e-9)


def small(seed: int) -> RandomProgram:
    program = RandomProgram(seed)
    assume(program.assignments() <= MOST)
    return program


@settings(max_examples=FAST, **QUIET)
@given(st.integers(0, 10_000))
def test_value_gradient_and_posterior(seed):
    program = RandomProgram(seed)
    assume(program.assignments() <= 16)
    compare(program, seed)


@pytest.mark.slow
@settings(max_examples=MANY, **QUIET)
@given(st.integers(20_000, 10_000_000))
def test_value_gradient_and_posterior_of_many(seed):
    compare(small(seed), seed)
