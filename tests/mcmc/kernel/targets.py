"""Densities in Python and in C, for the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.mcmc.kernel.metric import Metric
from sursum.mcmc.kernel.native import NativeKernel
from sursum.mcmc.kernel.reference import advance
from sursum.mcmc.kernel.state import HEADER, RECORD, State, Transition

KERNELS = {transition.name.lower(): transition for transition in Transition}


def banana() -> None:
    """Five unknowns: one curved pair, and scales over two orders of magnitude."""
    x = su.sample("x", dist.Normal(torch.zeros(5), torch.tensor([1.0, 2.0, 0.1, 5.0, 10.0])).to_event(1))
    su.factor("f", -2.0 * (x[0] * x[1] - 1.0) ** 2)


def funnel() -> None:
    """Neal's funnel in three unknowns, and a normal."""
    v = su.sample("v", dist.Normal(0.0, 3.0))
    su.sample("x", dist.Normal(torch.zeros(2), (0.5 * v).exp()).to_event(1))


def bounded() -> None:
    """Half of a normal, cut at 0 without a change of coordinates: the density is zero beyond."""
    x = su.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    su.factor("inside", torch.where(x[0] > 0.0, 0.0, -torch.inf))


@dataclass(frozen=True)
class Made:
    """Draws, gradients and records of a chain."""

    q: np.ndarray
    gradients: np.ndarray
    records: np.ndarray
    count: int


def by_c(kernel: NativeKernel, density: Any, state: State, draws: int) -> Made:
    q, g, records = np.empty((draws, density.dim)), np.empty((draws, density.dim)), np.zeros(draws, RECORD)
    stop = np.zeros(1, dtype=np.int64)
    return Made(q, g, records, kernel.advance(state, draws, density, density.instance(), stop, q, g, records))


def by_numpy(value_and_grad: Any, state: State, draws: int) -> Made:
    n = len(state["position"])
    q, g, records = np.empty((draws, n)), np.empty((draws, n)), np.zeros(draws, RECORD)
    return Made(q, g, records, advance(state, draws, value_and_grad, lambda: 0, q, g, records))


def begin(density: Any, at: float | np.ndarray = 0.3, **fields: Any) -> State:
    q = np.full(density.dim, at) if np.isscalar(at) else np.asarray(at)
    value, gradient = density.value_and_grad(q)
    return State.create(q, value, gradient, **{"key": 0x123456789ABCDEF, "num_warmup": 60, **fields})


def metrics(n: int) -> dict[str, Metric | None]:
    """One of each kind."""
    a = np.random.default_rng(1).normal(size=(n, n))
    covariance = a @ a.T / n + np.eye(n)
    vectors = np.linalg.eigh(covariance)[1].T[:2]
    low = Metric.low_rank(np.linspace(0.5, 2.0, n), vectors, np.array([9.0, 0.2])[: len(vectors)])
    return {"adapted": None, "low rank": low, "dense": Metric.dense(covariance)}


def same_transitions(kernel: NativeKernel, density: Any, state: State, draws: int) -> np.ndarray:
    """Make draws by C, and each of them by NumPy too, which must agree; those draws, (draw, n)."""
    found = []
    for _ in range(draws):
        other = State.of(state.copy())
        ours, theirs = by_c(kernel, density, state, 1), by_numpy(density.value_and_grad, other, 1)
        for field in ("depth", "steps", "diverging", "full", "tuning"):
            assert ours.records[field][0] == theirs.records[field][0]
        for field in ("value", "accepted", "step_size", "energy"):
            assert ours.records[field][0] == pytest.approx(theirs.records[field][0], rel=1e-9, abs=1e-9)
        # Sums of small differences of large numbers, such as the windows' squares, agree to what the draws do.
        assert all(state.head[name] == pytest.approx(other.head[name], rel=1e-8, abs=1e-8) for name in HEADER)
        for array in state.views:
            scale = 1.0 + np.abs(other[array]).max(initial=0.0)
            assert np.abs(state[array] - other[array]).max(initial=0.0) < (1e-8 if array == "windows" else 1e-10) * scale
        assert np.abs(ours.q - theirs.q).max() < 1e-10 * (1.0 + np.abs(theirs.q).max())
        found.append(ours.q[0])
    return np.array(found)
