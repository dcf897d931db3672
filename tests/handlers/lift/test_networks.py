"""`lift`, rule 11: any network, as it is, with lifted values in its forward pass, and untouched afterwards."""

from __future__ import annotations

import threading

import pytest
import torch
import torch.distributions as td
from tests.support.networks import NETWORKS, VECTORS, regression
from torch import nn
from torch.func import functional_call

import sursum as su
import sursum.distributions as dist

PRIOR = dist.Normal(0.0, 0.5)


@pytest.mark.parametrize("name", NETWORKS)
def test_any_network(name: str) -> None:
    build, x = NETWORKS[name]
    torch.manual_seed(0)
    net = build()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    identities = {key: id(value) for key, value in net.named_parameters()}
    own = net(x).detach()
    lifted = su.lift(net, PRIOR)
    first, second = su.trace(lifted).get_trace(x), su.trace(lifted).get_trace(x)

    # Two draws give two outputs, each what torch's own functional call gives at these values.
    assert not torch.equal(first.result, second.result)
    assert not torch.equal(first.result, own)
    values = {key: site.value for key, site in first.stochastic.items()}
    assert list(values) == [key for key, p in net.named_parameters() if p.requires_grad]
    twin = build()  # functional_call leaves other values in a network with a shared layer
    twin.load_state_dict(net.state_dict())
    torch.testing.assert_close(first.result, functional_call(twin, values, (x,)))

    # The log density is the prior's.
    expected = sum(td.Normal(0.0, 0.5).log_prob(value).sum() for value in values.values())
    torch.testing.assert_close(first.log_prob_sum(), torch.as_tensor(expected))

    # The gradient of the output flows to the lifted values and nowhere else.
    leaves = {key: value.detach().requires_grad_() for key, value in values.items()}
    result = su.substitute(lifted, data=leaves)(x)
    ours = torch.autograd.grad(result.sum(), list(leaves.values()), allow_unused=True)
    theirs = torch.autograd.grad(functional_call(twin, leaves, (x,)).sum(), list(leaves.values()), allow_unused=True)
    assert any(gradient is not None for gradient in ours)
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)
    assert all(parameter.grad is None for parameter in net.parameters())

    # The network is as it was, to the bit.
    after = net.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert identities == {key: id(value) for key, value in net.named_parameters()}
    torch.testing.assert_close(net(x), own, rtol=0, atol=0)


def test_frozen_parameters_stay_unless_asked_for() -> None:
    net = nn.Sequential(nn.Linear(3, 2).requires_grad_(False), nn.Linear(2, 1))
    tr = su.trace(su.lift(net, PRIOR)).get_trace(VECTORS)
    assert list(tr.params) == ["0.weight", "0.bias"]
    assert tr["0.weight"].value is net[0].weight
    assert su.trace(su.lift(net, PRIOR, frozen=True)).get_trace(VECTORS).param_nodes == []


def test_a_plain_parameter_is_never_frozen() -> None:
    fixed = nn.Parameter(torch.tensor(1.0), requires_grad=False)
    assert su.trace(su.lift(lambda: su.param("s", fixed), PRIOR)).get_trace().stochastic_nodes == ["s"]


def test_one_network_in_four_threads() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    lifted = su.lift(net, PRIOR)
    wrong: list[int] = []

    def work() -> None:
        for _ in range(40):
            tr = su.trace(lifted).get_trace(VECTORS)
            v = {key: site.value for key, site in tr.items()}
            expected = (VECTORS @ v["0.weight"].T + v["0.bias"]).tanh() @ v["2.weight"].T + v["2.bias"]
            if not torch.allclose(tr.result, expected, atol=1e-5):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# In a density.


def test_the_density_of_a_network_and_its_gradient() -> None:
    net = nn.Linear(3, 1)
    density = su.infer.LogDensity(su.lift(regression(net), PRIOR))
    q = torch.tensor([0.3, -0.2, 0.5, 0.1], dtype=torch.float64, requires_grad=True)
    mean = VECTORS.double() @ q[:3] + q[3]
    expected = td.Normal(0.0, 0.5).log_prob(q).sum() + td.Normal(mean, 1.0).log_prob(torch.ones(5).double()).sum()
    value = density(q)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)
    ours, theirs = (torch.autograd.grad(f, q)[0] for f in (value, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_program_may_differentiate() -> None:
    """u' of a network by its inputs, in the density: value against the derivative by hand, and draws."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    t = torch.linspace(0.0, 1.0, 4, dtype=torch.float64)[:, None]

    def model() -> None:
        s = t.clone().requires_grad_()
        u = su.module("u", net)(s)
        (slope,) = torch.autograd.grad(u.sum(), s, create_graph=True)
        su.deterministic("slope", slope)
        su.sample("r", dist.Normal(slope + 2 * u, 0.1).to_event(2), obs=torch.zeros_like(t))

    lifted = su.lift(model, dist.Normal(0.0, 1.0))
    density = su.compile(lifted)
    q = torch.linspace(-1.0, 1.0, 10, dtype=torch.float64).requires_grad_()
    inward, bias, outward, offset = q.split([3, 3, 3, 1])
    hidden = torch.tanh(t * inward + bias)
    u, slope = (hidden @ outward)[:, None] + offset, ((1 - hidden**2) * inward @ outward)[:, None]
    expected = td.Normal(slope + 2 * u, 0.1).log_prob(torch.zeros_like(t)).sum() + td.Normal(0.0, 1.0).log_prob(q).sum()
    value, gradient = density.value_and_grad(q.detach().numpy())
    assert value == pytest.approx(float(expected.detach()), rel=1e-12)
    torch.testing.assert_close(torch.from_numpy(gradient), torch.autograd.grad(expected, q)[0], rtol=1e-10, atol=1e-9)
    draws = {name: value[None] for name, value in density.unravel(q.detach().numpy()).items()}
    torch.testing.assert_close(
        su.infer.Predictive(lifted, draws, replicate=True)()["slope"].squeeze(), slope.detach().squeeze(), rtol=1e-6, atol=1e-6
    )
