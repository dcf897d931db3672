"""`lift`, rule 11: any network, as it is, with lifted values in its forward pass, and untouched afterwards."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.distributions as td
from tests.support.networks import NETWORKS, VECTORS, Tied
from torch import Tensor, nn
from torch.func import functional_call

import sursum as su
import sursum.distributions as dist
from sursum.errors import DensityError, HeldParameterWarning, ModuleWarning, SiteError

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


def test_without_a_lift_the_copy_is_the_network() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()
    copied = su.module("net", net)
    assert type(copied) is nn.Sequential
    assert copied is not net
    assert copied[0].weight is net[0].weight
    assert copied[1].running_mean is net[1].running_mean
    assert torch.equal(copied(VECTORS), net(VECTORS))


def test_a_program_may_call_parts_of_the_network() -> None:
    class Coder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = nn.Linear(3, 2), nn.Linear(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("the program does not call the whole")

    net = Coder()

    def program() -> Tensor:
        f = su.module("net", net)
        return f.decoder(f.encoder(VECTORS))

    tr = su.trace(su.lift(program, PRIOR)).get_trace()
    v = {key.removeprefix("net."): site.value for key, site in tr.items()}
    hidden = VECTORS @ v["encoder.weight"].T + v["encoder.bias"]
    torch.testing.assert_close(tr.result, hidden @ v["decoder.weight"].T + v["decoder.bias"])


def test_tied_weights_are_one_site_and_stay_tied() -> None:
    net = Tied()
    with su.trace() as t, su.lift(prior=PRIOR):
        f = su.module("net", net)
    assert list(t.trace) == ["net.encoder.weight"]
    assert f.encoder.weight is f.decoder.weight is t.trace["net.encoder.weight"].value


def test_the_same_network_twice_is_one_set_of_weights() -> None:
    net = nn.Linear(3, 1)

    def program() -> tuple[Tensor, Tensor]:
        return su.module("net", net)(VECTORS), su.module("net", net)(VECTORS)

    tr = su.trace(su.lift(program, PRIOR)).get_trace()
    assert torch.equal(*tr.result)
    assert list(tr) == ["net.weight", "net.bias"]


def test_frozen_parameters_stay_unless_asked_for() -> None:
    net = nn.Sequential(nn.Linear(3, 2).requires_grad_(False), nn.Linear(2, 1))
    tr = su.trace(su.lift(net, PRIOR)).get_trace(VECTORS)
    assert list(tr.params) == ["0.weight", "0.bias"]
    assert tr["0.weight"].value is net[0].weight
    assert su.trace(su.lift(net, PRIOR, frozen=True)).get_trace(VECTORS).param_nodes == []


def test_a_plain_parameter_is_never_frozen() -> None:
    fixed = nn.Parameter(torch.tensor(1.0), requires_grad=False)
    assert su.trace(su.lift(lambda: su.param("s", fixed), PRIOR)).get_trace().stochastic_nodes == ["s"]


def test_batch_norm_in_training_mode_drops_its_updates_and_says_so() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.warns(ModuleWarning, match="layer '1' of module '' .*training mode.*dropped.*eval"):
        out = su.lift(net, PRIOR)(VECTORS)
    assert out.std(0, correction=0).max() < 2.0
    assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())


def test_a_lazy_network_is_an_error_until_it_has_run() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = nn.LazyLinear(2)
    with pytest.raises(SiteError, match=r"'weight' .*lazy network has no shape yet.*Run the network once"):
        su.lift(net, PRIOR)(VECTORS)
    net(VECTORS)
    assert su.lift(net, PRIOR)(VECTORS).shape == (5, 2)


def test_a_network_that_copies_itself_in_a_way_of_its_own_is_an_error() -> None:
    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo: Any) -> Stubborn:
            new = Stubborn(3, 1)
            new.load_state_dict(self.state_dict())
            return new

    with pytest.raises(SiteError, match=r"'weight', 'bias' cannot be replaced.*Stubborn makes copies of itself"):
        su.lift(Stubborn(3, 1), PRIOR)(VECTORS)


def test_hooks_of_the_network_see_the_copy() -> None:
    net, seen = nn.Linear(3, 1), []
    net.register_forward_hook(lambda layer, args, out: seen.append(layer))
    su.lift(net, PRIOR)(VECTORS)
    assert isinstance(seen[0], nn.Linear)
    assert seen[0] is not net


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


def regression(net: nn.Module, direct: Callable[[nn.Module, Tensor], Tensor] | None = None) -> Callable[[], None]:
    def program() -> None:
        f = su.module("net", net)
        mean = f(VECTORS) if direct is None else direct(net, VECTORS)
        su.sample("y", dist.Normal(mean.squeeze(-1), 1.0), obs=torch.ones(5))

    return program


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
    with pytest.raises(DensityError, match=r"'net\.weight' \(test_networks.py:\d+\) was lifted, but .* is read at test_"):
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
    with pytest.warns(HeldParameterWarning, match=r"parameter 'net.bias' is not lifted, and held at the present value"):
        density = su.infer.LogDensity(su.lift(regression(net), {"net.weight": PRIOR}))
    q = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    mean = VECTORS.double() @ q + net.bias.detach().double()
    expected = td.Normal(0.0, 0.5).log_prob(q).sum() + td.Normal(mean, 1.0).log_prob(torch.ones(5).double()).sum()
    torch.testing.assert_close(density(q).detach().double(), expected, rtol=1e-5, atol=1e-5)


# What a network keeps outside of parameters and buffers


class Keeping(nn.Module):
    """Holds tensors wherever Python can hold them, its own weight among them."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(3, 1)
        self.tables: Any = (torch.tensor(2.0), [torch.tensor(3.0)], {"deep": (torch.tensor(0.5),)})
        self.weights = [self.lin.weight]
        self.layer = partial(nn.functional.linear, weight=self.lin.weight)
        self.cache: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        self.cache["twice"] = self.weights[0] * self.tables[0]
        return self.layer(x) * self.tables[1][0] + x @ self.cache["twice"].T * self.tables[2]["deep"][0] + self.lin.bias


def test_tensors_in_containers_partials_and_caches_are_carried_along() -> None:
    net = Keeping()
    net(VECTORS)  # leaves a tensor in the cache that was computed from the weight
    q = torch.linspace(-1.0, 1.0, 4, dtype=torch.float64)
    density = su.compile(su.lift(regression(net), PRIOR))
    names = [latent.name for latent in density.density.latents]
    assert names == ["net.lin.weight", "net.lin.bias"]
    mean = VECTORS.double() @ q[:3] * (3.0 + 2.0 * 0.5) + q[3]
    expected = td.Normal(mean, 1.0).log_prob(torch.ones(5).double()).sum() + td.Normal(0.0, 0.5).log_prob(q).sum()
    assert density.value_and_grad(q.numpy())[0] == pytest.approx(float(expected), rel=1e-6)
    assert float(net.cache["twice"].detach()[0, 0]) == 2.0 * float(net.lin.weight.detach()[0, 0])


def test_a_network_in_training_mode_may_write_into_what_it_keeps() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin, self.seen = nn.Linear(3, 1), [torch.zeros(())]

        def forward(self, x: Tensor) -> Tensor:
            self.seen[0] += 1
            return self.lin(x) * self.seen[0]

    net = Counting()
    for _ in range(2):
        with su.poutine.substitute(data={"net.lin.weight": torch.ones(1, 3), "net.lin.bias": torch.ones(1)}):
            out = su.module("net", net)(torch.ones(1, 3))
        assert float(out) == 4.0
    assert float(net.seen[0]) == 0.0


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
    with pytest.raises(DensityError, match=r"'net.lin.weight'.*kept from an earlier call"):
        su.infer.LogDensity(program)


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
