"""Sweeps over discrete coordinates in C against those in NumPy, and against exact conditionals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.compiler.compiled import compile_density
from sursum.compiler.scan import rolled
from sursum.density.log_density import LogDensity
from sursum.errors import CompileError
from sursum.handlers.enumerate.held import Held
from sursum.mcmc.kernel.gibbs import Sweep, advance_held, renew
from sursum.mcmc.kernel.native import HeldInC, NativeKernel
from sursum.mcmc.kernel.state import RECORD, State, Transition
from sursum.mcmc.sweeps import sweeps_of

Y = torch.tensor([[2.0, 3.0, 0.0], [1.0, 3.0, 1.0]])


def counts(y):
    """A count in each of three places, a label, and a long binomial."""
    rate = su.sample("rate", dist.Gamma(2.0, 0.5))
    label = su.sample("label", dist.Categorical(torch.tensor([0.2, 0.5, 0.3])))
    with su.plate("place", 3):
        n = su.sample("n", dist.Poisson(rate * (1.0 + label)))
        su.sample("y", dist.Binomial(n, 0.6), obs=y[0])
    seen = su.sample("seen", dist.Binomial(10_000, 0.3))
    su.sample("mean", dist.Normal(seen / 1000.0, 0.2), obs=torch.tensor(3.0))


@pytest.fixture(scope="module")
def density():
    return compile_density(LogDensity(rolled(Held(counts, sites=("label", "n", "seen"))), (Y,)))


@pytest.fixture(scope="module")
def kernel() -> NativeKernel:
    try:
        return NativeKernel.open()
    except CompileError:
        pytest.skip("no C compiler")


@pytest.fixture(scope="module")
def sweeps(density):
    return sweeps_of(density)


def one_by_one(how: Sweep) -> Sweep:
    return replace(how, blocks=tuple(replace(block, noise=0, draw=None) for block in how.blocks))


def begin(density) -> State:
    free = density.density.num_free
    q = np.concatenate([np.full(free, 0.3), [1.0, 3.0, 4.0, 2.0, 3000.0]])
    value, gradient = density.value_and_grad(q)
    return State.create(q[:free], value, gradient[:free], held=q[free:], key=11, num_warmup=20, kernel=Transition.NUTS)


@pytest.mark.parametrize("kind", ["at once", "one by one"])
def test_every_draw_is_the_same(kernel, density, sweeps, kind):
    by_torch, native = sweeps.by_torch, sweeps.native
    assert all(block.draw is not None for block in native.blocks)
    if kind == "one by one":
        by_torch, native = one_by_one(by_torch), one_by_one(native)
    state, held, n = begin(density), HeldInC(density, native), len(begin(density).point)
    stop, moved = np.zeros(1, dtype=np.int64), np.zeros(n, dtype=bool)
    for _ in range(40):
        other = State.of(state.copy())
        before = state.point
        q, g, records = np.empty((1, n)), np.empty((1, 1)), np.zeros(1, RECORD)
        assert kernel.gibbs(state, 1, stop, q, g, records, held) == 1
        p, h, rows = np.empty((1, n)), np.empty((1, 1)), np.zeros(1, RECORD)
        assert advance_held(other, 1, density.value_and_grad, lambda: 0, p, h, rows, by_torch) == 1
        np.testing.assert_array_equal(q[:, 1:], p[:, 1:])
        np.testing.assert_allclose(q, p, rtol=1e-10)
        np.testing.assert_allclose(g, h, rtol=1e-8, atol=1e-9)
        assert records["value"][0] == pytest.approx(rows["value"][0], rel=1e-10)
        assert records["value"][0] == pytest.approx(density.value_and_grad(q[0])[0], rel=1e-12)
        np.testing.assert_array_equal(state.point, q[0])
        moved |= state.point != before
    assert moved.all()


def test_a_draw_that_is_given_up_leaves_the_chain_as_it_was(kernel, density, sweeps):
    state = begin(density)
    before = state.copy()
    held, n = HeldInC(density, sweeps.native), len(state.point)
    stop = np.full(1, 2, dtype=np.int64)  # NOW
    assert kernel.gibbs(state, 1, stop, np.empty((1, n)), None, np.zeros(1, RECORD), held) == 0
    told = iter([0, 2, 2, 2])  # in the trajectory, after the sweep
    made = advance_held(
        state, 1, density.value_and_grad, lambda: next(told, 2), np.empty((1, n)), None, np.zeros(1, RECORD), sweeps.by_torch
    )
    assert made == 0
    np.testing.assert_array_equal(state.block, before)


@pytest.mark.parametrize(("low", "high"), [(0.0, 5.0), (0.0, np.inf), (-np.inf, np.inf)])
def test_a_draw_of_one_coordinate_leaves_its_distribution(low, high):
    """The transition matrix by all uniform numbers on a grid has the target as its left eigenvector."""
    values = np.arange(-4.0, 5.0) if low == -np.inf else np.arange(0.0, 6.0 if high == 5.0 else 10.0)
    log = {v: -0.5 * (v - 2.0) ** 2 / 4.0 + 0.3 * np.sin(v) for v in values}  # beyond them the density is zero

    def score(q):
        return log.get(q[0], -np.inf)

    # Strides 1 to 4, all places, and quantiles of the choice: each combination equally likely.
    first, places, last = np.sqrt((np.arange(3) + 0.5) / 10.0), (np.arange(8) + 0.5) / 8.0, (np.arange(60) + 0.5) / 60.0
    target = np.exp(np.array([log[v] for v in values]))
    target /= target.sum()
    after = np.zeros(len(values))
    for v, mass in zip(values, target, strict=True):
        plans = [()] if high - low < 64 else [(a, b) for a in first for b in places]
        for plan in plans:
            for u in last:
                chosen = _chosen(v, low, high, log[v], score, (*plan, u))
                after[int(np.searchsorted(values, chosen))] += mass / len(plans) / len(last)
    assert np.abs(after - target).max() < 0.5 / len(last)  # what 60 quantiles can miss of a probability


def _chosen(v, low, high, now, score, numbers):
    q, drawn = np.array([v]), iter(numbers)
    value = renew(q, 0, np.array([low, high]), now, score, lambda: next(drawn))
    assert value == score(q)
    return q[0]
