"""A network that is read directly although its parameters were lifted is found by the first run, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributions as td
from tests.support.networks import VECTORS, regression
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.density.bypassed_module import watch_originals
from sursum.errors import DensityError, HeldParameterWarning

PRIOR = dist.Normal(0.0, 0.5)


DIRECT: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "call": lambda net, x: net(x),
    "transposed": lambda net, x: x @ net.weight.T,
    "mT": lambda net, x: x @ net.weight.mT,
    "functional": lambda net, x: nn.functional.linear(x, net.weight),
    "arithmetic": lambda net, x: (x * net.weight).sum(-1, keepdim=True),
    "data": lambda net, x: x @ net.weight.data.T,
    "detached": lambda net, x: x @ net.weight.detach().T,
    "stacked": lambda net, x: x @ torch.stack([net.weight[0], net.weight[0]]).T[:, :1],
    "indexed": lambda net, x: x[:, :1] * net.weight[0, 0],
}


@pytest.mark.parametrize("how", DIRECT)
def test_a_network_that_is_called_although_it_was_lifted_is_an_error(how: str) -> None:
    net = nn.Linear(3, 1)
    with pytest.raises(DensityError, match=r"'net\.weight' \(networks.py:\d+\) was lifted, but .* is read at test_"):
        su.infer.LogDensity(su.lift(regression(net, DIRECT[how]), PRIOR))


def test_looking_at_shapes_is_no_read() -> None:
    net = nn.Linear(3, 1)
    net.weight.grad = torch.zeros(1, 3)

    def program() -> None:
        f = su.module("net", net)
        assert net.weight.shape == net.weight.size() == (1, 3)
        assert net.weight.stride() == (3, 1)
        assert net.weight.numel() == 3
        assert net.weight.dim() == net.weight.ndim == 2
        assert net.weight.grad is not None
        assert len(net.weight) == 1
        _ = net.weight.dtype, net.weight.device, net.weight.requires_grad, net.weight.is_floating_point()
        su.sample("y", dist.Normal(f(VECTORS).squeeze(-1), 1.0), obs=torch.ones(5))

    assert su.infer.LogDensity(su.lift(program, PRIOR)).dim == 4


def test_parts_that_are_not_lifted_are_held_and_may_be_read() -> None:
    net = nn.Linear(3, 1)
    with pytest.warns(HeldParameterWarning, match=r"parameter 'net.bias' is not lifted, and held at the current value"):
        density = su.infer.LogDensity(su.lift(regression(net), {"net.weight": PRIOR}))
    q = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    mean = VECTORS.double() @ q + net.bias.detach().double()
    expected = td.Normal(0.0, 0.5).log_prob(q).sum() + td.Normal(mean, 1.0).log_prob(torch.ones(5).double()).sum()
    torch.testing.assert_close(density(q).detach().double(), expected, rtol=1e-5, atol=1e-5)


def test_what_a_network_has_memoised_from_its_own_weights_is_an_error() -> None:
    class Memoising(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin, self.memo = nn.Linear(3, 1), {}

        def forward(self, x: Tensor) -> Tensor:
            if "w" not in self.memo:
                self.memo["w"] = 2 * self.lin.weight
            return x @ self.memo["w"].T + self.lin.bias

    program = su.lift(regression(net := Memoising()), PRIOR)
    assert su.infer.LogDensity(program).dim == 4  # a fresh one memoises anew in each execution
    net(VECTORS)
    with pytest.raises(DensityError, match=r"'net.lin.weight'.*cached in an earlier call"):
        su.infer.LogDensity(program)


def test_the_line_of_the_first_read_is_told() -> None:
    net = nn.Linear(3, 1)

    def direct(net: Any, x: Tensor) -> Tensor:
        weight = 2 * net.weight
        return x @ (weight + net.weight).T

    line = direct.__code__.co_firstlineno + 1
    with pytest.raises(DensityError, match=rf"is read at test_bypassed_module.py:{line}\. Call what module"):
        su.infer.LogDensity(su.lift(regression(net, direct), PRIOR))


def test_a_trained_parameter_is_watched_only_where_it_is_asked_for() -> None:
    net = nn.Linear(3, 1)
    program = regression(net, lambda net, x: x @ net.weight.T)
    with su.trace() as t, watch_originals() as originals:
        program()
    originals.check(t.trace)
    with pytest.raises(DensityError, match=r"'net.weight' .*is trained, but .*: no step would change it"):
        originals.check(t.trace, trained=True)
    net.requires_grad_(False)
    with su.trace() as t, watch_originals() as originals:
        program()
    originals.check(t.trace, trained=True)


EXITS: dict[str, Callable[[Tensor], Any]] = {
    "numpy": lambda x: x.numpy(),
    "list": lambda x: x.tolist(),
    "pointer": lambda x: x.data_ptr(),
    "hook": lambda x: x.clone().requires_grad_().register_hook(print),
}


@pytest.mark.parametrize("how", EXITS)
def test_numbers_that_leave_torch_are_noted_with_the_first_line(how: str) -> None:
    leave = EXITS[how]
    with watch_originals() as originals:
        _ = torch.ones(2) + 1
        assert originals.exit is None
        leave(torch.ones(2))
        first = originals.exit
        torch.ones(2).tolist()
    assert first == originals.exit == f"test_bypassed_module.py:{leave.__code__.co_firstlineno}"
