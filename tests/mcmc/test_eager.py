"""Programs that cannot be captured are sampled as they are, if that is asked for."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from tests.support.monte_carlo import error

import sursum as su
import sursum.distributions as dist
from sursum.errors import BranchError, CaptureError, EngineWarning, SamplingError


def branching():
    """π(z) ∝ exp(−z²) above 0 and exp(−5 z² / 2) below, by a branch of Python's."""
    z = su.sample("z", dist.Normal(0.0, 1.0))
    su.deterministic("positive", (z > 0).double())
    su.factor("f", -0.5 * z * z if z > 0 else -2.0 * z * z)


def solving(y):
    """x³ + x = z by Newton's method, until it has converged."""
    z = su.sample("z", dist.Normal(0.0, 2.0))
    x = z / 2
    while float((x**3 + x - z).abs().detach()) > 1e-12:
        x = x - (x**3 + x - z) / (3 * x**2 + 1)
    su.sample("y", dist.Normal(x, 0.3), obs=y)


def test_a_branch():
    mcmc = su.infer.MCMC(
        su.infer.NUTS(branching), num_warmup=60, num_samples=120, num_chains=1, seed=0, progress=False, engine="eager"
    )
    with pytest.warns() as seen:
        posterior = mcmc.run()
    (said,) = [str(one.message) for one in seen if issubclass(one.category, EngineWarning)]
    assert re.match(r"engine='eager' runs the program by Python for every gradient, [\d.e+]+ ms each", said)
    above, below = np.sqrt(np.pi) / 2, np.sqrt(np.pi / 2.5) / 2
    positive = posterior["positive"].numpy()
    assert abs(positive.mean() - above / (above + below)) < 4 * error(positive)
    assert torch.equal(posterior["positive"], (posterior["z"] > 0).double())


def test_the_error_of_a_capture_says_so():
    with pytest.raises(BranchError, match="Or sample the program as it is, many times slower: `engine='eager'`"):
        su.compile(branching)


def test_a_compiled_density_may_be_eager_and_stays_so_with_other_data():
    with pytest.warns(EngineWarning, match="by Python"):
        density = su.compile(solving, torch.tensor(0.7), engine="eager")
    assert density.engine == "eager"
    q = np.array([0.4])
    value, gradient = density.value_and_grad(q)
    step = 1e-6
    ends = [density.value_and_grad(q + s)[0] for s in (step, -step)]
    assert gradient[0] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)
    with pytest.warns(EngineWarning, match="by Python"):
        other = density.with_data(torch.tensor(0.1))
    assert other.engine == "eager"
    assert other.value_and_grad(q)[0] != value


def test_a_program_that_draws_has_no_density_by_any_engine():
    def drawing():
        z = su.sample("z", dist.Normal(0.0, 1.0))
        su.factor("f", -z * z * torch.rand(()))

    with pytest.raises(CaptureError, match="draws at random"):
        su.compile(drawing, engine="eager")


def test_the_engines_are_named():
    with pytest.raises(SamplingError, match="must be 'native', 'torch', 'eager' or None"):
        su.infer.MCMC(su.infer.NUTS(branching), engine="numba")
