"""`ParamStore` keeps parameters where they can be optimised."""

import pickle

import pytest
import torch

import sursum as su
from sursum.distributions import constraints
from sursum.errors import SiteError, StorageError

CONSTRAINTS = {
    "real": (constraints.real, torch.tensor([0.3, -2.0])),
    "positive": (constraints.positive, torch.tensor([0.3, 2.0])),
    "interval": (constraints.interval(-1, 3), torch.tensor([0.3, 2.0])),
    "greater_than": (constraints.greater_than(1.5), torch.tensor(2.0)),
    "less_than": (constraints.less_than(1.5), torch.tensor(1.0)),
    "simplex": (constraints.simplex, torch.tensor([0.2, 0.3, 0.5])),
    "ordered": (constraints.ordered, torch.tensor([0.2, 0.3, 0.5])),
    "lower_cholesky": (constraints.lower_cholesky, torch.tensor([[1.0, 0.0], [0.5, 2.0]])),
    "positive_definite": (constraints.positive_definite, torch.tensor([[1.0, 0.5], [0.5, 2.0]])),
    "corr_cholesky": (constraints.corr_cholesky, torch.tensor([[1.0, 0.0], [0.6, 0.8]])),
}


@pytest.mark.parametrize(("constraint", "start"), CONSTRAINTS.values(), ids=CONSTRAINTS)
def test_what_goes_in_comes_out(constraint, start):
    store = su.ParamStore()
    for _ in range(2):
        with store:
            value = su.param("s", start, constraint=constraint)
        assert torch.allclose(value, start, atol=1e-6)
    assert value.requires_grad
    again = pickle.loads(pickle.dumps(store))
    assert torch.equal(again["s"], store["s"])


def test_an_optimiser_finds_the_optimum_inside_the_constraint():
    store = su.ParamStore()

    def loss():
        with store:
            return (su.param("s", torch.tensor(1.0), constraint=constraints.positive) - 3.0) ** 2

    loss()
    optimiser = torch.optim.Adam(store.leaves(), lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert torch.allclose(store["s"].detach(), torch.tensor(3.0), atol=1e-2)


def test_the_stores_value_wins_over_the_programs_and_serves_those_without_one():
    store = su.ParamStore()
    with store:
        su.param("s", torch.tensor(1.0))
        assert su.param("s", torch.tensor(5.0)) == 1
        assert su.param("s") == 1
        with pytest.raises(SiteError, match="has no value"):
            su.param("t")
    assert list(store) == ["s"]
    assert len(store) == 1
    assert bool(su.ParamStore())


def test_as_a_decorator_it_is_the_same_store():
    store = su.ParamStore()

    @store
    def program():
        return su.param("s", torch.tensor(1.0))

    program()
    assert list(store) == ["s"]
    assert program().grad_fn is not None or program() is store["s"] or program().requires_grad


def test_two_stores_do_not_know_of_each_other():
    one, two = su.ParamStore(), su.ParamStore()
    with one:
        su.param("s", torch.tensor(1.0))
    with two:
        assert su.param("s", torch.tensor(2.0)) == 2
    assert su.param("s", torch.tensor(3.0)) == 3


def test_frozen_parameters_are_kept_but_not_optimised():
    net = torch.nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    store = su.ParamStore()
    with store:
        su.module("net", net)
    assert list(store) == ["net.weight", "net.bias"]
    assert len(store.leaves()) == 1


def test_another_network_of_the_same_name_is_refused():
    store = su.ParamStore()
    with store:
        su.module("net", torch.nn.Linear(2, 1))
        with pytest.raises(SiteError, match="belongs to a different network than the one of that name in the store"):
            su.module("net", torch.nn.Linear(2, 1))


def test_a_start_on_the_boundary_is_refused():
    with su.ParamStore(), pytest.raises(SiteError, match="'s' .* starts at 0.0, on the boundary"):
        su.param("s", torch.tensor(0.0), constraint=constraints.nonnegative)


def test_a_lazy_start_is_made_once():
    calls, store = [], su.ParamStore()
    for _ in range(3):
        with store:
            su.param("s", lambda: calls.append(1) or torch.tensor(1.0))
    assert len(calls) == 1


def test_local_parameters_are_kept_whole():
    store = su.ParamStore()
    with store, su.plate("data", 4, subsample=torch.tensor([2, 0])):
        assert su.param("s", torch.arange(4.0), event_dim=0).tolist() == [2, 0]
    assert store["s"].shape == (4,)


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path):
    store, net = su.ParamStore(), torch.nn.Linear(2, 3).bfloat16()
    for constraint, start in CONSTRAINTS.values():
        with store:
            su.param(f"{constraint}", start, constraint=constraint)
            su.module("net", net)
    with torch.no_grad():
        for leaf in store.leaves():
            leaf.add_(0.1)
    store.save(tmp_path / "params.npz")
    again = su.ParamStore()
    again.load(tmp_path / "params.npz")
    assert list(again) == list(store)
    assert dict(again.items()).keys() == store.keys()
    for name, value in store.items():
        assert torch.equal(again[name], value.detach())
    with again:  # the program reads them, and gives each its constraint
        for constraint, start in CONSTRAINTS.values():
            su.param(f"{constraint}", start, constraint=constraint)
        read = su.module("net", net)
    assert all(torch.equal(again.unconstrained[name], leaf) for name, leaf in store.unconstrained.items())
    assert torch.equal(read.weight, store["net.weight"])
    net.load_state_dict({name.removeprefix("net."): v for name, v in again.state_dict().items() if name.startswith("net.")})
    assert torch.equal(net.weight, store["net.weight"])


def test_loading_into_another_programs_store(tmp_path):
    store, other = su.ParamStore(), su.ParamStore()
    with store:
        su.param("s", torch.zeros(2))
    with other:
        su.param("s", torch.zeros(3))
    store.save(tmp_path / "params.npz")
    with pytest.raises(StorageError, match=r"has parameter 's' with shape \(2,\), and this store one with \(3,\)"):
        other.load(tmp_path / "params.npz")
    fresh = su.ParamStore()
    fresh.load(tmp_path / "params.npz")
    with fresh, pytest.raises(SiteError, match=r"parameter 's' .* has shape \(3,\), and a different one in the file"):
        su.param("s", torch.zeros(3))
    with pytest.raises(StorageError, match=r"would be a file in NumPy's \.npz format"):
        store.save(tmp_path / "params.pt")
