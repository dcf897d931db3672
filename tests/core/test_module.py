"""`module`: a copy of a network that holds what `param` gives, shares all else, and leaves the network as it is."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import pytest
import torch
import torch.distributions as td
from tests.support.networks import VECTORS, Tied, regression
from torch import Tensor, nn

import sursum as su
import sursum.distributions as dist
from sursum.core.module import Forward
from sursum.errors import ModuleWarning, SiteError

PRIOR = dist.Normal(0.0, 0.5)


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

    with pytest.raises(SiteError, match=r"'weight', 'bias' cannot be replaced.*Stubborn has custom copying"):
        su.lift(Stubborn(3, 1), PRIOR)(VECTORS)


def test_hooks_of_the_network_see_the_copy() -> None:
    net, seen = nn.Linear(3, 1), []
    net.register_forward_hook(lambda layer, args, out: seen.append(layer))
    su.lift(net, PRIOR)(VECTORS)
    assert isinstance(seen[0], nn.Linear)
    assert seen[0] is not net


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


def test_a_name_that_is_none() -> None:
    with pytest.raises(SiteError, match=r"the name of a module .*must be a string, and is 3: module\('net', net\)"):
        su.module(3, nn.Linear(2, 1))


def test_what_is_no_network() -> None:
    with pytest.raises(SiteError, match=r"module 'net' \(test_module.py:\d+\) must be a torch.nn.Module, and is tensor\(1.\)"):
        su.module("net", torch.tensor(1.0))


def test_a_network_without_memory() -> None:
    with pytest.raises(SiteError, match=r"'net.weight' .* is on the meta device.*to_empty"):
        su.module("net", nn.Linear(3, 1, device="meta"))


def test_sites_are_named_by_their_path_and_know_their_network_and_line() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1).requires_grad_(False))
    with su.trace() as t:
        su.module("net", net)
    assert list(t.trace) == ["net.0.weight", "net.0.bias", "net.1.weight", "net.1.bias"]
    assert [site.frozen for site in t.trace.values()] == [False, False, True, True]
    assert all(site.owner is net and site.where.startswith("test_module.py:") for site in t.trace.values())
    with su.trace() as t:
        Forward(net)(VECTORS)
    assert list(t.trace) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_values_from_outside_are_what_the_copy_computes_with() -> None:
    net = nn.Linear(3, 1)
    weight = torch.tensor([[1.0, -2.0, 0.5]])
    with su.substitute(data={"net.weight": weight}):
        copied = su.module("net", net)
    assert copied.weight is weight
    assert copied.bias is net.bias
    torch.testing.assert_close(copied(VECTORS), VECTORS @ weight.T + net.bias)


def test_buffers_are_shared_in_evaluation_and_copied_in_training() -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(2))

        def forward(self) -> Tensor:
            self.count += 1
            return self.count

    layer = Layer()
    assert torch.equal(su.module("layer", layer)(), torch.ones(2))
    assert torch.equal(layer.count, torch.zeros(2))
    layer.eval()
    assert su.module("layer", layer).count is layer.count


def test_an_embedding_with_sparse_gradients_has_dense_ones_and_the_same_rows() -> None:
    net, rows = nn.Embedding(4, 2, sparse=True), torch.tensor([3, 0])
    copied = su.module("net", net)
    copied(rows).sum().backward()
    assert torch.equal(net.weight.grad, torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    assert net.sparse


def test_a_compiled_network_is_the_one_inside() -> None:
    net = nn.Linear(3, 1)
    wrapped = nn.Module()
    wrapped._orig_mod = net  # as `torch.compile` wraps
    with su.trace() as t:
        copied = su.module("net", wrapped)
    assert type(copied) is nn.Linear
    assert list(t.trace) == ["net.weight", "net.bias"]
