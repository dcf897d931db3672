"""Ranks of gloo: the same density and draws as in one process, on every rank; and ranks that differ, fail or are killed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.support.ranks import run_ranks
from tests.support.row_regression import PLACES, X, Y, regression

import sursum as su

PROGRAM = """
import json
import numpy as np
import sursum as su, sursum.distributions as dist
from tests.support.row_regression import PLACES, X, Y, regression
from sursum.distributed.ranks import led

sharded = su.distributed.shard(regression, plate="data")
mcmc = su.infer.MCMC(su.infer.NUTS(sharded), num_warmup=10, num_samples=10, num_chains=2, seed=0, progress=False)
"""

AGREE = """
@led
def evaluate():
    density = su.compile(sharded, X, Y)
    return [[float(value), gradient.tolist()] for value, gradient in map(density.value_and_grad, PLACES)]

import warnings; warnings.simplefilter("ignore")
values = evaluate()
draws = mcmc.run(X, Y)
own = slice(0, 50) if rank == 0 else slice(50, 101)
mine = su.infer.Laplace(su.distributed.shard(regression, plate="data", split=()), seed=0).run(X[own], Y[own])
fit = su.infer.Fit(sharded).run(X, Y)
means = mine["b"].mean((0, 1)).tolist()
paths = su.infer.Pathfinder(sharded, num_paths=2, num_samples=100, seed=0).run(X, Y)
found = [
    *(values, draws.unconstrained.tolist(), means, fit["b"].tolist(), draws.program is None),
    *(paths.unconstrained.tolist(), paths.program is None),
]
"""

DIFFER = """
def other(x, y):
    su.sample("extra", dist.Normal(0.0, 1.0))
    regression(x, y)

try:
    su.infer.Laplace(su.distributed.shard(other if rank else regression, plate="data"), seed=0).run(X, Y)
except su.errors.ShardError as error:
    print(json.dumps([found, str(error)]))
"""


FAST = PROGRAM + AGREE + DIFFER
"""Run by `two_ranks`."""


@pytest.fixture(scope="module")
def said(two_ranks):
    """Of each rank, what it found, and what it is told where the programs differ."""
    return two_ranks["ranks"]


@pytest.fixture(scope="module")
def agreed(said):
    return [found for found, _ in said]


def test_value_and_gradient_are_those_of_one_process(agreed):
    density = su.compile(regression, X, Y)
    for q, (value, gradient) in zip(PLACES, agreed[0][0], strict=True):
        whole, slope = density.value_and_grad(q)
        np.testing.assert_allclose(value, whole, rtol=1e-12)
        np.testing.assert_allclose(gradient, slope, rtol=1e-12, atol=1e-12 * np.abs(slope).max())


def test_every_rank_has_the_same_results(agreed):
    assert agreed[0] == agreed[1]
    assert agreed[1][4] is False


def test_the_first_draws_are_those_of_one_process(agreed):
    sharded = su.distributed.shard(regression, plate="data", threads=1)
    mcmc = su.infer.MCMC(su.infer.NUTS(sharded), num_warmup=10, num_samples=10, num_chains=2, seed=0, progress=False)
    with pytest.warns(su.errors.DiagnosticWarning):
        draws = mcmc.run(X, Y).unconstrained
    # Sums in another order: the twenty transitions, ten of warm-up, multiply their difference of 1e-15 or so.
    np.testing.assert_allclose(np.asarray(agreed[0][1]), draws, rtol=1e-8, atol=1e-8)


def test_each_rank_may_bring_its_own_rows(agreed):
    whole = su.infer.Laplace(regression, seed=0).run(X, Y)["b"].mean((0, 1))
    np.testing.assert_allclose(agreed[0][2], whole, atol=1e-4)
    np.testing.assert_allclose(agreed[0][3], su.infer.Fit(regression).run(X, Y)["b"], atol=1e-5)


def test_paths_are_those_of_one_process(agreed):
    here = su.infer.Pathfinder(su.distributed.shard(regression, plate="data", threads=1), num_paths=2, num_samples=100, seed=0)
    # Steps of L-BFGS multiply the difference of sums in another order, as transitions do.
    np.testing.assert_allclose(np.asarray(agreed[1][5]), here.run(X, Y).unconstrained, rtol=1e-6, atol=1e-6)
    assert agreed[1][6] is False


def test_programs_that_differ_are_told_apart(said):
    for _, error in said:
        assert error.startswith("rank 1 has a different program than rank 0")
        assert "'extra'" in error


@pytest.mark.slow
def test_a_rank_that_is_killed_is_named(tmp_path):
    script = f"""
import signal
count = [0]
if rank == 2:
    from sursum.distributed.ranks import Session
    whole = Session._sum
    def dies(self, here, q):
        count[0] += 1
        if count[0] > 200:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, here, q)
    Session._sum = dies
import dataclasses
dataclasses.replace(mcmc, store={str(tmp_path / "run.zarr")!r}, num_warmup=10, num_samples=100_000, num_chains=1).run(X, Y)
"""
    ended = run_ranks(PROGRAM + script, tmp_path, size=3)
    assert ended[2][0] == -9
    for status, _, error in ended[:2]:
        assert status == 1
        assert "rank 2 of 3 ended, and with it the run" in error
    assert torch.isfinite(su.Posterior.load(tmp_path / "run.zarr")["b"]).all()
