"""Thinned chains are the draws of whole ones, and forget nothing that happened."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import DiagnosticWarning, SamplingError
from sursum.mcmc.thinning import Thinning
from sursum.mcmc.trace import Block


def program():
    scale = su.sample("scale", dist.Normal(0.0, 3.0))
    z = su.sample("z", dist.Normal(0.0, (scale / 2).exp()))
    su.factor("f", -1e-4 * z.square())


def run(**settings):
    kernel = su.infer.NUTS(program)
    mcmc = su.infer.MCMC(kernel, num_warmup=60, num_samples=100, num_chains=2, seed=3, progress=False, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosticWarning)  # it is a funnel
        return mcmc.run()


@pytest.fixture(scope="module")
def whole():
    return run()


@pytest.mark.parametrize("stored", [False, True])
def test_every_third_draw_of_the_same_chain(whole, stored, tmp_path):
    thinned = run(thin=3, **({"store": tmp_path / "run.zarr"} if stored else {}))
    assert (thinned.num_samples, thinned.warmup.num_samples) == (33, 60)
    assert torch.equal(thinned["z"], whole["z"][:, 2:99:3])
    np.testing.assert_array_equal(np.asarray(thinned.unconstrained), whole.unconstrained[:, 2:99:3])
    np.testing.assert_array_equal(thinned.stats["lp"], whole.stats["lp"][:, 2:99:3])
    groups = {name: whole.stats[name][:, :99].reshape(2, 33, 3) for name in ("diverging", "n_steps")}
    assert groups["diverging"].any()
    np.testing.assert_array_equal(thinned.stats["diverging"], groups["diverging"].any(axis=2))
    np.testing.assert_array_equal(thinned.stats["n_steps"], groups["n_steps"].sum(axis=2))
    assert not any("interrupted" in text or "not finished" in text for text in thinned.warnings)


@pytest.mark.parametrize("cuts", [[], [1], [7, 8, 9], [20], [5, 10, 15, 20]])
def test_blocks_may_end_anywhere(cuts):
    q, thinning, kept = np.arange(23.0)[:, None], Thinning(4), []
    for begin, end in zip([0, *cuts], [*cuts, 23], strict=True):
        kept.append(thinning(Block("sample", q[begin:end], {"lp": q[begin:end, 0], "diverging": q[begin:end, 0] == 9})))
    assert np.concatenate([block.unconstrained[:, 0] for block in kept]).tolist() == [3, 7, 11, 15, 19]
    assert np.concatenate([block.stats["lp"] for block in kept]).tolist() == [3, 7, 11, 15, 19]
    assert np.concatenate([block.stats["diverging"] for block in kept]).tolist() == [False, False, True, False, False]


def test_the_warm_up_is_whole():
    block = Block("warmup", np.zeros((5, 1)), {})
    assert Thinning(3)(block) is block


def test_no_draw_would_be_left():
    with pytest.raises(SamplingError, match="`thin` is 11, but must be at most `num_samples`, 10"):
        su.infer.MCMC(su.infer.NUTS(program), num_samples=10, thin=11)
    with pytest.raises(SamplingError, match="`thin` is 0"):
        su.infer.MCMC(su.infer.NUTS(program), thin=0)
