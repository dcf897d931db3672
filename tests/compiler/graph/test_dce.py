"""Sites at draws are computed without what only the density's guards need."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.compiler.capture.capture import capture
from sursum.compiler.graph.dce import drop_guards


def test_what_only_a_guard_needs_goes_with_it():
    def run(q):
        dist.MultivariateNormal(torch.zeros(2).double(), torch.diag(q.exp()))
        return (q.exp(),)

    graph = capture(run, (torch.ones(2).double(), torch.zeros(2).double()), gradient=False)
    assert graph.guards
    bare = drop_guards(graph)
    assert not bare.guards
    assert [node.op.__name__ for node in bare.nodes] == ["exp.default"]


@pytest.mark.filterwarnings("ignore:.*Profiler clears events")  # torch 2.11, of what is asked here
def test_a_covariance_is_not_factored_for_each_draw_once_more():
    x = torch.linspace(0.0, 1.0, 30, dtype=torch.float64)

    def run(y):
        rho = su.sample("rho", dist.LogNormal(0.0, 0.3)).double()
        cov = torch.exp(-0.5 * (x[:, None] - x) ** 2 / rho**2) + 0.1 * torch.eye(30)
        su.sample("y", dist.MultivariateNormal(torch.zeros_like(x), cov), obs=y)

    density = su.compile(run, torch.sin(6 * x))
    q = np.array([[0.1], [-0.2]])
    density.expand(q)  # captures
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        found = density.expand(q)
    assert torch.allclose(found["rho"], torch.from_numpy(q[:, 0]).exp(), rtol=1e-6)
    assert not any("cholesky" in event.key for event in seen.key_averages())
