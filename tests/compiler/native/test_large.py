"""Large programs: a Python loop of a thousand steps is cut into functions, and says what it says one step at a time."""

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist

D = torch.float64
STEPS = 1000


def walk(y):
    """A thousand observations of an autoregression, written as a Python loop: some ten thousand operators."""
    phi = su.sample("phi", dist.Normal(torch.zeros((), dtype=D), 0.5))
    sigma = su.sample("sigma", dist.LogNormal(torch.zeros((), dtype=D), 1.0))
    state, total = torch.zeros((), dtype=D), torch.zeros((), dtype=D)
    for value in y:
        state = torch.tanh(phi * state + 0.1 * value)
        total = total - ((value - state) / sigma) ** 2 / 2 - sigma.log()
    su.factor("y", total)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sursum.errors.EngineWarning")
def test_a_thousand_steps_of_a_python_loop_are_compiled():
    y = torch.sin(torch.arange(STEPS, dtype=D))
    density = su.compile(walk, y, engine="native")
    assert len(density.graph.nodes) > 10_000
    functions = [line for line in density.source.splitlines() if line.startswith("static __attribute__((noinline)) int")]
    assert len(functions) > 10
    q = torch.tensor([0.3, -0.2], dtype=D, requires_grad=True)
    wanted = density.density(q)
    (slope,) = torch.autograd.grad(wanted, q)
    value, gradient = density.value_and_grad(q.detach().numpy())
    np.testing.assert_allclose(value, wanted.item(), rtol=1e-11)
    np.testing.assert_allclose(gradient, slope, rtol=1e-9)
