"""Functions that torch has scripted: captured as they are written, whatever its optimiser has made of them before."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sursum as su
import sursum.distributions as dist
from sursum.errors import BranchError

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*")


def smooth(x: torch.Tensor, scale: float) -> torch.Tensor:
    y = x * x + scale
    for _ in range(3):
        y = torch.tanh(y) * x + 0.5
    return y


def branching(x: torch.Tensor) -> torch.Tensor:
    if bool(x.sum() > 0.0):
        return x
    return 2.0 * x


def program(use):
    def model():
        x = su.sample("x", dist.Normal(torch.zeros(4, dtype=torch.float64), 1.0).to_event(1))
        su.factor("f", -use(x).sum())

    return model


@pytest.mark.parametrize("warm", [0, 5])
def test_a_scripted_function_is_captured(warm):
    scripted = torch.jit.script(smooth)
    for _ in range(warm):
        scripted(torch.ones(4, dtype=torch.float64, requires_grad=True), 0.3).sum().backward()
    density = su.compile(program(lambda x: scripted(x, 0.3)), engine="native")
    plain = su.infer.LogDensity(program(lambda x: smooth(x, 0.3)))
    for k in range(3):
        q = torch.from_numpy(np.random.default_rng(k).normal(size=4)).requires_grad_()
        wanted = plain(q)
        (slope,) = torch.autograd.grad(wanted, q)
        value, gradient = density.value_and_grad(q.detach().numpy())
        assert value == pytest.approx(float(wanted.detach()), rel=1e-12)
        assert gradient == pytest.approx(slope.numpy(), rel=1e-10)


def test_a_module_that_is_traced():
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh()).double()
    traced = torch.jit.trace(net, torch.zeros(4, dtype=torch.float64))
    one, other = (su.compile(program(use), engine="native") for use in (traced, net))
    q = np.array([0.3, -1.0, 0.2, 2.0])
    assert one.value_and_grad(q)[0] == pytest.approx(other.value_and_grad(q)[0], rel=1e-12)


def test_a_branch_inside_is_refused_in_our_words():
    with pytest.raises(BranchError, match=r"Write the choice as torch\.where"):
        su.compile(program(torch.jit.script(branching)))
    assert torch.jit.script(smooth)(torch.zeros(4), 0.3).shape == (4,)


def test_the_switch_is_put_back():
    su.compile(program(lambda x: x), engine="torch")
    assert torch._C._get_graph_executor_optimize()
