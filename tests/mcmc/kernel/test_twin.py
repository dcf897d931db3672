"""The kernels in C against those in NumPy: from one state, with the same random numbers, to the same next state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.mcmc.kernel import targets
from tests.mcmc.kernel.targets import KERNELS, begin, by_c, by_numpy, metrics, same_transitions

import sursum as su
import sursum.distributions as dist
from sursum.errors import CompileError, SamplingError
from sursum.mcmc.kernel import native
from sursum.mcmc.kernel.metric import Metric
from sursum.mcmc.kernel.native import NativeKernel
from sursum.mcmc.kernel.random_numbers import MOMENTUM, normals
from sursum.mcmc.kernel.reference import GO_ON, NOW, REST, advance
from sursum.mcmc.kernel.state import HEADER, RECORD, State, Transition, header_in_c


@pytest.fixture(scope="module")
def kernel() -> NativeKernel:
    try:
        return NativeKernel.open()
    except CompileError:
        pytest.skip("no C compiler")


@pytest.fixture(scope="module", params=["banana", "funnel", "bounded"])
def density(request):
    return su.compile(getattr(targets, request.param), engine="native")


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("which", ["adapted", "low rank", "dense"])
def test_every_transition_is_the_same(kernel, density, name, which):
    metric = metrics(density.dim)[which]
    state = begin(
        density, num_warmup=25, metric=metric, kernel=KERNELS[name], max_depth=5, max_halvings=5, max_steps=40, length=3.0
    )
    same_transitions(kernel, density, state, 40)  # of which 25 are warm-up


def test_normal_numbers_are_the_same(kernel):
    """Where the density is all but flat, one step goes as far as the momentum."""
    density = su.compile(lambda: su.sample("x", dist.Normal(torch.zeros(33), 1e12).to_event(1)), engine="native")
    state = begin(density, 0.0, metric=Metric.unit(33), key=7, num_warmup=0, kernel=Transition.HMC, step_size=1.0, length=0.6)
    assert np.allclose(by_c(kernel, density, state, 1).q[0], normals(7, 0, MOMENTUM, 0, 33), rtol=1e-14, atol=1e-15)


def test_a_chain_in_pieces_is_the_chain_in_one(kernel):
    density = su.compile(targets.banana, engine="native")
    whole, pieces = begin(density), begin(density)
    all_at_once = by_c(kernel, density, whole, 150).q
    found = []
    for count in (1, 9, 50, 1, 89):
        pieces = State.of(pieces.copy())  # as through a file
        found.append(by_c(kernel, density, pieces, count).q)
    assert np.array_equal(np.concatenate(found), all_at_once)
    assert np.array_equal(whole.block, pieces.block)


def test_a_chain_that_is_told_to_stop_gives_up_the_draw_and_continues_as_if_nothing_had_been(kernel):
    density = su.compile(targets.banana, engine="native")
    state, stop = begin(density), np.full(1, NOW, dtype=np.int64)
    before = state.copy()
    q, records = np.empty((5, 5)), np.zeros(5, RECORD)
    assert kernel.advance(state, 5, density, density.instance(), stop, q, None, records) == 0
    assert np.array_equal(state.block, before)
    calls = iter([GO_ON] * 4 + [NOW] * 10**6)
    assert advance(state, 5, density.value_and_grad, lambda: next(calls), q, None, records) == 0
    stop[0] = REST  # which lets one draw come to its end
    assert kernel.advance(State.of(before.copy()), 5, density, density.instance(), stop, q, None, records) == 1
    assert advance(State.of(before.copy()), 5, density.value_and_grad, lambda: REST, q, None, records) == 1
    whole = by_numpy(density.value_and_grad, State.of(before), 20)
    assert np.array_equal(by_numpy(density.value_and_grad, state, 20).q, whole.q)


def test_a_density_that_fails_ends_the_chain_by_an_error(kernel, native_gaussian):
    density = native_gaussian(fail_at=30, code=-5)
    with pytest.raises(SamplingError, match="returned -5"):
        by_c(kernel, density, begin(density), 200)


def test_a_density_that_is_not_finite_somewhere_diverges_there(kernel, native_gaussian):
    density = native_gaussian(fail_at=300, code=3)
    made = by_c(kernel, density, begin(density), 200)
    assert made.count == 200
    assert made.records["diverging"][-100:].all()
    assert np.isfinite(made.q).all()


def test_a_state_is_checked():
    state = State.create(np.zeros(2), 0.0, np.ones(2), key=1)
    with pytest.raises(ValueError, match="too short"):
        State.of(state.block[:50])
    with pytest.raises(ValueError, match="bytes instead of"):
        State.of(state.block[:-8])
    state.head["version"] = 99
    with pytest.raises(ValueError, match="version 99"):
        State.of(state.block)


def test_the_header_in_c_has_every_field():
    text = header_in_c()
    assert all(f"    {kind} {name};" in text for name, kind in HEADER.items())
    assert native.source().index("struct chain {") < native.source().index("sursum_advance")
